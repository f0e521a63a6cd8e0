# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Room on a disk: how far what stands behind a partition can move towards the end, so that nothing is lost on the way."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.partition import Partition

SWAP = "swap"
# A swap area is its first page, the largest of which any machine has; the rest has a meaning only while it is in use.
_SWAP_HEADER = 64 * 1024
_MIB = 1024 * 1024
# GRUB's code there knows the sector that it lies in, and so do boot sectors of Windows.
_BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
_PLACED = ("ntfs", "BitLocker")
# Steps of a MiB back, to get around the few sectors that must not be overwritten.
_STEPS = 64


@dataclasses.dataclass(frozen=True)
class Patch:
    """Bytes to be written at an offset of the disk."""

    offset: int
    data: bytes


@dataclasses.dataclass(frozen=True)
class Move:
    """A partition that gets another place. Offsets and ``size`` in bytes, ``kind`` is what it holds in blkid's words."""

    number: int
    old_offset: int
    new_offset: int
    size: int
    kind: str

    @property
    def copied(self) -> int:
        """How many bytes from its beginning have to be copied; the old and the new range of these never overlap."""
        return min(self.size, _SWAP_HEADER) if self.kind == SWAP else self.size


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to do, in this order: copy what ``moves`` say, write the ``patches`` as they come.

    After every single write the disk has a valid table, the old one until ``patches[commits]`` is there. ``offset``
    and ``size`` are those of the grown partition in bytes. Without patches it has its largest size already; ``commits``
    is None then.
    """

    patches: tuple[Patch, ...]
    moves: tuple[Move, ...]
    offset: int
    size: int
    commits: int | None


@dataclasses.dataclass(frozen=True)
class Room:
    """A partition that shall grow, all that would have to move, and the first sector behind the usable ones.

    ``behind`` are partitions without extended ones, ``tables`` the sectors of tables among them, ``end`` is where the
    last thing that moves along ends, ``inside`` where the extended partition around the grown one does.
    """

    grown: Partition
    behind: tuple[Partition, ...]
    tables: tuple[int, ...]
    end: int
    limit: int
    contents: t.Mapping[int, str | None]
    inside: int | None = None

    @property
    def is_free(self) -> bool:
        """Whether nothing stands between the partition and the end of the disk."""
        return not self.behind and not self.tables

    @property
    def _unit(self) -> int:
        return self.grown.sector_size

    @property
    def _align(self) -> int:
        return _MIB // self._unit

    def shift(self) -> int:
        """By how many sectors all behind it moves: whole MiB, which keeps every alignment. 0 when there is no room.

        Raises Unsupported where something behind it must not be moved or the disk has grown by too little for it.
        """
        most = (self.limit - self.end) // self._align * self._align
        if self.is_free or most <= 0:
            return 0
        for item in self.behind:
            self._check_movable(item)
        for shift in range(most, max(0, most - _STEPS * self._align), -self._align):
            if not self._overwrites(shift):
                return shift
        if not self.behind:
            return 0
        first = min(self.behind, key=lambda item: (self.contents[item.number] == SWAP, item.start))
        raise self._in_the_way(
            first,
            "and the disk has not grown by enough to move it",
            "make the disk larger, at best by twice the length of what stands behind",
        )

    def grown_end(self, shift: int) -> int:
        """Where the partition ends when all behind it has moved; on a whole MiB if it did before."""
        if self.is_free:
            return max(self.limit, self.grown.end)
        first = min([item.start for item in self.behind] + list(self.tables)) + shift
        if self.inside is not None:
            first = min(first, self.inside + shift)
        if self.grown.end % self._align == 0:
            first -= first % self._align
        return max(first, self.grown.end)

    def moves(self, shift: int) -> tuple[Move, ...]:
        """The partitions behind with their new places."""
        if shift == 0:
            return ()
        return tuple(
            Move(item.number, item.offset, item.offset + shift * self._unit, item.size, str(self.contents[item.number]))
            for item in sorted(self.behind, key=lambda item: item.start)
        )

    def _check_movable(self, item: Partition) -> None:
        kind = self.contents.get(item.number)
        if kind is None or item.type == _BIOS_BOOT:
            raise self._in_the_way(item, "and what it holds is not known here")
        if kind in _PLACED or (kind == "vfat" and item.bootable):
            raise self._in_the_way(item, f"and its {kind} would not start from another place")

    def _in_the_way(
        self, item: Partition, why: str, advice: str = "move or delete it first, or grow that one"
    ) -> Unsupported:
        return Unsupported(f"partition {item.number} stands behind partition {self.grown.number} {why}: {advice}")

    def _overwrites(self, shift: int) -> bool:
        """Whether something that is still needed at its old place would be written over."""
        kept = [(item.start, item.start + self._needed(item)) for item in self.behind]
        kept += [(place, place + 1) for place in self.tables]
        return any(
            start + shift < other_end and other < end + shift for start, end in kept for other, other_end in kept
        )

    def _needed(self, item: Partition) -> int:
        header = _SWAP_HEADER // self._unit
        return min(item.sectors, header) if self.contents.get(item.number) == SWAP else item.sectors


def check_fits(partitions: t.Iterable[Partition], limit: int) -> None:
    """Raises InvalidSpec where the disk was made smaller than its partitions."""
    for item in partitions:
        if item.end > limit:
            raise InvalidSpec(f"the disk is too small for partition {item.number}, which ends at sector {item.end - 1}")
