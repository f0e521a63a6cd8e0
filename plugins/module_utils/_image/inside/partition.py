# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Images, inside: what a partition table says, whatever its kind, and the rules that hold for all of them."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged


@dataclasses.dataclass(frozen=True)
class Partition:
    """One partition. ``start`` and ``sectors`` are in sectors of ``sector_size`` bytes.

    ``type`` is as sfdisk prints it: lower-case hexadecimal without prefix (MBR), upper-case GUID (GPT). ``role`` is
    primary, extended or logical. ``name`` is GPT's, None when empty. ``uuid`` is the PARTUUID as blkid writes it, None
    on an MBR without disk id. ``attributes`` are GPT's 64 bits. ``entry`` is the byte offset on the disk of the entry
    that was read.
    """

    number: int
    start: int
    sectors: int
    type: str
    bootable: bool
    role: str
    name: str | None
    uuid: str | None
    attributes: int
    entry: int
    sector_size: int = 512

    @property
    def offset(self) -> int:
        """Where it begins on the disk, in bytes."""
        return self.start * self.sector_size

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return self.sectors * self.sector_size

    @property
    def end(self) -> int:
        """The first sector behind it."""
        return self.start + self.sectors


@dataclasses.dataclass(frozen=True)
class Table:
    """A partition table: ``kind`` is mbr, gpt or none, ``disk_id`` as sfdisk prints it (0x1234abcd or a GUID)."""

    kind: str
    disk_id: str | None
    sector_size: int
    partitions: tuple[Partition, ...]


def check_ends(partitions: t.Iterable[Partition], sectors: int) -> None:
    """Raises Damaged for a partition that ends behind the disk of so many sectors."""
    for item in partitions:
        if item.end > sectors:
            raise Damaged(
                f"partition {item.number} ends at sector {item.end - 1}, but the disk has only {sectors} sectors"
                " (is the image cut off?)"
            )


def check_overlaps(partitions: t.Iterable[Partition]) -> None:
    """Raises Damaged where two partitions share a sector."""
    ordered = sorted(partitions, key=lambda item: item.start)
    for one, other in zip(ordered, ordered[1:]):
        if one.end > other.start:
            first, second = sorted((one.number, other.number))
            raise Damaged(f"the partitions {first} and {second} overlap at sector {other.start}")
