# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: what is on an image, as plain data. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._image import fstab
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.signature import Signature


@dataclasses.dataclass(frozen=True)
class Area:
    """A range of the disk with what it holds; ``number`` None is the whole disk. ``offset`` and ``size`` in bytes.

    A logical volume of LVM has its name in ``volume`` (``vg/lv``) and the paths of its device in ``paths``; ``number`` is
    the partition that it begins in, and ``pieces`` whether it is in more than one place, so that it is no range.
    """

    number: int | None
    offset: int
    size: int
    signature: Signature | None
    volume: str | None = None
    pieces: bool = False
    paths: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Content:
    """What is on an image. ``problem`` is why it (or what lies deeper) could not be read, as a sentence without the name
    of the image; what was read before it is there. ``area`` is the partition that is meant, the root if none is."""

    table: str | None = None
    partitions: tuple[dict[str, t.Any], ...] = ()
    root: dict[str, t.Any] | None = None
    operating_system: dict[str, t.Any] | None = None
    kernels: tuple[dict[str, t.Any], ...] = ()
    area: Area | None = None
    areas: tuple[Area, ...] = ()
    #: The size of the file system in ``area``, in bytes; None when it is of a kind that is not read here.
    fs_size: int | None = None
    devices: fstab.Devices | None = None
    snapshot: Snapshot | None = None
    #: How many bytes a raw and sparse copy of the disk takes at most; 0 where nothing is declared, None where it is not known.
    data_bytes: int | None = 0
    #: Why it cannot be copied: its tables are such as no image has, and would unpack to whatever size.
    copy_problem: str | None = None
    problem: str | None = None
    #: The ``problem`` is only that a backing file was not to be opened.
    withheld: bool = False
    #: Bytes below which its file system cannot be made for sure; None when nobody asks, or it is not known.
    least: int | None = None
    #: Why the disk cannot become as large as it is to be.
    growth_problem: str | None = None
    no_root: str | None = None

    def needed(self, virtual_size: int) -> int:
        """How many bytes a copy of the disk of that size takes at most."""
        return virtual_size if self.data_bytes is None else self.data_bytes

    def facts(self) -> dict[str, t.Any]:
        """The part of the return value ``image`` that comes from inside."""
        return {
            "partition_table": self.table,
            "partitions": list(self.partitions),
            "root": self.root,
            "operating_system": self.operating_system,
            "kernels": list(self.kernels),
        }
