# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Growing a partition of an MBR, and the chain of tables of the logical ones."""

from __future__ import annotations

import struct
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import mbr
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader, exactly
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.partition import Partition, Table
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.layout_room import Patch, Plan, Room, check_fits

#: The largest number in an entry.
MOST = 0xFFFFFFFF
# The usual geometry, and what stands in an entry for a place that it cannot say.
_HEADS, _TRACK, _CYLINDERS = 255, 63, 1024
_TOO_FAR = b"\xfe\xff\xff"
_MARKERS = (_TOO_FAR, b"\xff\xff\xff")


def plan(reader: Reader, table: Table, grown: Partition, disk_size: int, contents: t.Mapping[int, str | None]) -> Plan:
    """See layout.grow. No partition is made to end behind the last sector that 32 bits can name."""
    sectors = disk_size // mbr.SECTOR
    check_fits(table.partitions, sectors)
    disk = _Disk(reader, table, grown, min(sectors, MOST), contents)
    if disk.places[grown.number][1] == grown.sectors:
        return Plan((), (), grown.offset, grown.size, None)
    patches = disk.patches()
    size = disk.places[grown.number][1] * mbr.SECTOR
    return Plan(patches, disk.room.moves(disk.shift), grown.offset, size, len(patches) - 1)


def change(
    sector: bytearray, entry: mbr.Entry, base: int, start: int, sectors: int, new_base: int | None = None
) -> None:
    """Puts another place into an entry. ``start`` counts from the disk's beginning, what is written from ``new_base``,
    what was there from ``base``. The old form of addresses is kept up where it was right."""
    at = mbr.ENTRIES + mbr.ENTRY * entry.slot
    old = base + entry.start
    new_base = base if new_base is None else new_base
    if (old, entry.sectors, base) == (start, sectors, new_base):
        return
    _address(sector, at + 1, old, start)
    _address(sector, at + 5, old + entry.sectors - 1, start + sectors - 1)
    relative = start - new_base
    if not 0 <= relative <= MOST or not 0 < sectors <= MOST:
        raise Unsupported("the entries of an MBR have no room for numbers that large")
    struct.pack_into("<II", sector, at + 8, relative, sectors)


def _address(sector: bytearray, at: int, old: int, new: int) -> None:
    there = bytes(sector[at : at + 3])
    if there not in _MARKERS:
        sector[at : at + 3] = _cylinders(new) if there == _cylinders(old) else _TOO_FAR


def _cylinders(sector: int) -> bytes:
    cylinder, rest = divmod(sector, _HEADS * _TRACK)
    if cylinder >= _CYLINDERS:
        return _TOO_FAR
    return bytes([rest // _TRACK, rest % _TRACK + 1 | cylinder >> 8 << 6, cylinder & 0xFF])


class _Disk:
    """The disk as it shall be: ``places`` are first sector and length by number; all behind the grown partition has
    moved by ``shift``, tables included."""

    def __init__(
        self, reader: Reader, table: Table, grown: Partition, limit: int, contents: t.Mapping[int, str | None]
    ) -> None:
        self._reader = reader
        self._grown = grown
        self._partitions = table.partitions
        self._extended = next((item for item in table.partitions if item.role == "extended"), None)
        self._tables = mbr.chain(reader, self._extended) if self._extended is not None else ()
        behind = [item for item in table.partitions if item.start > grown.start]
        around = self._extended if grown.role == "logical" else None
        # Primary ones behind it bound the extended partition; else it takes all, as after a run that was interrupted.
        is_bound = any(item.role == "primary" for item in behind)
        tables = tuple(place for place in self._tables if place > grown.start)
        self.room = Room(
            grown=grown,
            behind=tuple(item for item in behind if item.role != "extended"),
            tables=tables,
            end=max([item.end for item in [*behind, grown]] + [place + 1 for place in tables]),
            limit=limit,
            contents=contents,
            inside=around.end if around and is_bound else None,
        )
        self.shift = self.room.shift()
        self.places = {item.number: (self._moved(item.start), item.sectors) for item in table.partitions}
        self.places[grown.number] = (grown.start, self.room.grown_end(self.shift) - grown.start)
        if around is not None:
            new_end = around.end + self.shift if is_bound else max(limit, around.end)
            self.places[around.number] = (around.start, new_end - around.start)

    def _moved(self, sector: int) -> int:
        return sector + self.shift if sector > self._grown.start else sector

    def patches(self) -> tuple[Patch, ...]:
        """The new tables where nobody looks yet, then the first sector; it is the last one except for a logical
        partition, whose own table then switches: until there the extended partition is only larger than needed."""
        copies: list[Patch] = []
        changes: list[Patch] = []
        switch: list[Patch] = []
        for place in self._tables:
            old = exactly(self._reader, place * mbr.SECTOR, mbr.SECTOR, "a table of logical partitions")
            new = self._rewritten(place, old)
            if self._moved(place) != place:
                copies.append(Patch(self._moved(place) * mbr.SECTOR, new))
            elif new != old:
                patch = Patch(place * mbr.SECTOR + mbr.ENTRIES, new[mbr.ENTRIES : 510])
                (switch if self._is_own(place) else changes).append(patch)
        return (*copies, self._first(), *changes, *switch)

    def _is_own(self, place: int) -> bool:
        return self._grown.entry // mbr.SECTOR == place

    def _first(self) -> Patch:
        sector = bytearray(exactly(self._reader, 0, mbr.SECTOR, "the first sector"))
        for entry in mbr.entries(bytes(sector)):
            place = self.places.get(entry.slot + 1)
            if place is not None and place != (entry.start, entry.sectors):
                change(sector, entry, 0, *place)
        return Patch(mbr.ENTRIES, bytes(sector[mbr.ENTRIES : 510]))

    def _rewritten(self, place: int, old: bytes) -> bytes:
        sector = bytearray(old)
        if old[510:] != mbr.SIGNATURE:
            return old
        links = [entry for entry in mbr.entries(old) if entry.sectors and entry.is_extended]
        held = self._held(place)
        for entry in mbr.entries(old):
            if held is not None and held.entry == place * mbr.SECTOR + mbr.ENTRIES + mbr.ENTRY * entry.slot:
                self._check_order(self._moved(held.start) - held.start == self._moved(place) - place)
                change(sector, entry, place, *self.places[held.number], new_base=self._moved(place))
            elif entry in links:
                self._relink(sector, entry, place)
            elif entry.sectors and self._grown.role == "logical":
                # It is ignored because it leads out of the extended partition, which is about to grow.
                raise Unsupported(f"the extended partition table at sector {place} has an entry without meaning")
        return bytes(sector)

    def _relink(self, sector: bytearray, entry: mbr.Entry, place: int) -> None:
        """A link is relative to the extended partition and tells the length of what it leads to, table included."""
        base = t.cast(Partition, self._extended).start
        target = base + entry.start
        new = self._moved(target)
        stays = self._moved(place) == place and not self._is_own(place)
        self._check_order(not stays or new == target)
        held, length = self._held(target), entry.sectors
        if held is not None:
            start, sectors = self.places[held.number]
            length += (start + sectors - new) - (held.end - target)
        change(sector, entry, base, new, length, new_base=self._moved(base))

    def _held(self, place: int) -> Partition | None:
        logicals = (item for item in self._partitions if item.role == "logical")
        return next((item for item in logicals if item.entry // mbr.SECTOR == place), None)

    def _check_order(self, is_kept: bool) -> None:
        # More than one sector would have to change at once.
        if not is_kept:
            raise Unsupported(
                "the logical partitions are not in the order of the disk: sort them first (fdisk, expert menu, f)"
            )
