# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Mounts of images: with which options a kernel mounts a file system. Pure."""

from __future__ import annotations

from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.record import Record

_RDONLY, _NOSUID, _NODEV, _NOEXEC = 1, 2, 4, 8


def flags(record: Record) -> int:
    """The flags of mount(2). Device nodes and setuid programs of an image are never those of this host."""
    noexec = _NOEXEC if record.trust == "untrusted" else 0
    return _NOSUID | _NODEV | noexec | (_RDONLY if record.read_only else 0)


def data(filesystem: str, read_only: bool) -> str:
    """The options of the file system itself. One that is only read is not repaired either: nothing of the image changes."""
    if filesystem in ("ext2", "ext3", "ext4"):
        # The superblock may say that an error is to bring the whole host down.
        journal = ",noload" if read_only and filesystem != "ext2" else ""
        return f"errors=remount-ro{journal}"
    if filesystem == "xfs":
        # A copy of an image has the UUID of what it was copied from.
        return "norecovery,nouuid" if read_only else "nouuid"
    if filesystem == "btrfs":
        return "rescue=nologreplay" if read_only else ""
    return ""
