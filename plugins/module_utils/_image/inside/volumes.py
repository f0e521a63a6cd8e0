# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: which reader reads which file system, and logical volumes."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.ext import Ext
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.volume import Volume

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.lvm import LogicalVolume

EXT = ("ext2", "ext3", "ext4")
# Where distributions put the system when the top of a btrfs has only subvolumes.
_SUBVOLUMES = ("root", "@", "@rootfs")

# A reader is loaded when a disk has its file system: all of them take longer to load than most disks to be read.


def _xfs(reader: Reader) -> Volume:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.xfs import Xfs

    return Xfs(reader)


def _vfat(reader: Reader) -> Volume:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.vfat import Vfat

    return Vfat(reader)


def _btrfs(reader: Reader) -> Volume:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.btrfs import Btrfs

    top = Btrfs(reader)
    if top.lookup(top.root(), "etc") is None:
        for name in _SUBVOLUMES:
            if (node := top.lookup(top.root(), name)) is not None and node.kind == "directory":
                return Btrfs(reader, name)
    return top


#: The kinds of file systems (blkid's words) that are read here.
READABLE: dict[str, t.Callable[[Reader], Volume]] = {
    **dict.fromkeys(EXT, Ext),
    "xfs": _xfs,
    "btrfs": _btrfs,
    "vfat": _vfat,
}


def open_volume(reader: Reader, kind: str) -> Volume:
    """The file system of that kind (blkid's word) on ``reader``; raises Unsupported for a kind that is not in READABLE."""
    if kind not in READABLE:
        raise Unsupported(f"a file system of the kind {kind} is not read here")
    return READABLE[kind](reader)


def logical_volumes(members: t.Mapping[int | None, Reader]) -> list[LogicalVolume]:
    """The logical volumes on physical ones (by their partition); see ``lvm.volumes``."""
    from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.lvm import volumes

    return volumes(members)
