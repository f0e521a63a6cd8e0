# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Images, inside: the partition table of PCs (MBR) with its chain of logical partitions.

There is no specification; what counts is how Linux reads it (block/partitions/msdos.c) and fdisk writes it. Sectors
have 512 bytes: the table does not say so, and an image has no others to offer.
"""

from __future__ import annotations

import struct
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader, exactly
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.partition import (
    Partition,
    check_ends,
    check_overlaps,
)

SECTOR = 512
#: Where the four entries of a table begin in its sector, and the length of one.
ENTRIES, ENTRY = 446, 16
SIGNATURE = b"\x55\xaa"
#: The type of the entry that protects a GPT from old programs.
PROTECTIVE = 0xEE
_EXTENDED = (0x05, 0x0F, 0x85)
_FIRST_LOGICAL = 5
# More than any system numbers; a chain that is longer was made to be long.
_LONGEST_CHAIN = 128


class Entry(t.NamedTuple):
    """One of the four entries of a table. ``start`` is relative to what the table is for; ``slot`` from 0."""

    slot: int
    flag: int
    type: int
    start: int
    sectors: int

    @property
    def is_extended(self) -> bool:
        """Whether it leads to further tables."""
        return self.type in _EXTENDED


def entries(sector: bytes) -> list[Entry]:
    """The four entries of a sector with a table, the empty ones too."""
    return [Entry(index, *struct.unpack_from("<B3xB3xII", sector, ENTRIES + ENTRY * index)) for index in range(4)]


def disk_id(sector: bytes) -> int:
    """The disk's 32 bits of identity in its first sector."""
    return int(struct.unpack_from("<I", sector, 440)[0])


def read(reader: Reader, sector: bytes) -> tuple[Partition, ...]:
    """The partitions of the table in ``sector``, the disk's first; their flags are for the caller to judge.

    Raises Damaged for what contradicts itself: partitions without type, start or length, beyond the end, or
    overlapping; a chain of logical ones that leads back, has no end, or leaves its extended partition.
    """
    identity = disk_id(sector)
    primaries = [_primary(entry, identity) for entry in entries(sector) if entry.sectors or entry.type]
    check_ends(primaries, reader.size // SECTOR)
    check_overlaps(primaries)
    extended = [item for item in primaries if item.role == "extended"]
    if len(extended) > 1:
        raise Damaged(f"the partitions {extended[0].number} and {extended[1].number} are both extended partitions")
    logicals = _Chain(reader, extended[0], identity).walk() if extended else []
    return tuple(primaries + logicals)


def chain(reader: Reader, extended: Partition) -> tuple[int, ...]:
    """The sectors of the tables inside an extended partition, in the order of the chain; raises Damaged as ``read``."""
    found = _Chain(reader, extended, 0)
    found.walk()
    return tuple(found.tables)


def _primary(entry: Entry, identity: int) -> Partition:
    number = entry.slot + 1
    if not entry.type or not entry.sectors or not entry.start:
        missing = "type" if not entry.type else "length" if not entry.sectors else "start"
        raise Damaged(f"the entry of partition {number} has no {missing}")
    role = "extended" if entry.is_extended else "primary"
    return _partition(number, entry, entry.start, role, identity, ENTRIES + ENTRY * entry.slot)


def _partition(number: int, entry: Entry, start: int, role: str, identity: int, place: int) -> Partition:
    return Partition(
        number=number,
        start=start,
        sectors=entry.sectors,
        type=f"{entry.type:x}",
        bootable=entry.flag == 0x80,
        role=role,
        name=None,
        # blkid, too, gives none for a disk without identity: all of them would have the same.
        uuid=f"{identity:08x}-{number:02x}" if identity else None,
        attributes=0,
        entry=place,
        sector_size=SECTOR,
    )


class _Chain:
    """The tables inside an extended partition: each has one logical partition and leads to the next table.

    The order of the chain gives the numbers; it may go back on the disk, as fdisk puts a new partition in an old gap at
    the chain's end. Tables without a partition count for nothing.
    """

    def __init__(self, reader: Reader, extended: Partition, identity: int) -> None:
        self._reader = reader
        self._extended = extended
        self._identity = identity
        self.tables: list[int] = []
        self._found: list[Partition] = []

    def walk(self) -> list[Partition]:
        """The logical partitions, numbered from 5."""
        place: int | None = self._extended.start
        while place is not None:
            place = self._step(place)
        check_overlaps(self._found)
        self._check_tables()
        return self._found

    def _step(self, place: int) -> int | None:
        """Takes the table at a sector; gives the place of the next."""
        self.tables.append(place)
        sector = exactly(self._reader, place * SECTOR, SECTOR, f"the extended partition table at sector {place}")
        if sector[510:] != SIGNATURE:
            # A partition that was never filled may begin with zeros.
            if len(self.tables) == 1 and not any(sector[ENTRIES:510]):
                return None
            raise Damaged(f"the extended partition table at sector {place} has no signature")
        table = [entry for entry in entries(sector) if entry.sectors]
        self._take(place, [entry for entry in table if not entry.is_extended])
        links = [entry for entry in table if entry.is_extended]
        if len(links) > 1:
            raise Damaged(f"the extended partition table at sector {place} leads to two others")
        return self._next(place, links[0]) if links else None

    def _next(self, place: int, link: Entry) -> int:
        following = self._extended.start + link.start
        if following in self.tables:
            raise Damaged(f"the extended partition table at sector {place} leads back to the one at {following}")
        if following >= self._extended.end:
            raise Damaged(f"the extended partition table at sector {place} leads out of the extended partition")
        if len(self.tables) >= _LONGEST_CHAIN:
            raise Damaged(f"the chain of extended partition tables is longer than {_LONGEST_CHAIN}")
        return following

    def _take(self, place: int, held: list[Entry]) -> None:
        # The last two entries have no use and some systems leave garbage there, which Linux ignores.
        held = [entry for entry in held if entry.slot < 2 or self._is_inside(place + entry.start, entry.sectors)]
        if not held:
            return
        if len(held) > 1:
            raise Damaged(f"the extended partition table at sector {place} has more than one partition")
        entry, number = held[0], _FIRST_LOGICAL + len(self._found)
        start = place + entry.start
        if not entry.type or not entry.start:
            raise Damaged(f"the entry of partition {number} has no {'start' if entry.type else 'type'}")
        if not self._is_inside(start, entry.sectors):
            raise Damaged(f"partition {number} is not inside the extended partition {self._extended.number}")
        offset = place * SECTOR + ENTRIES + ENTRY * entry.slot
        self._found.append(_partition(number, entry, start, "logical", self._identity, offset))

    def _is_inside(self, start: int, sectors: int) -> bool:
        return self._extended.start <= start and start + sectors <= self._extended.end

    def _check_tables(self) -> None:
        for item in self._found:
            for place in self.tables:
                if item.start <= place < item.end:
                    raise Damaged(f"partition {item.number} covers the extended partition table at sector {place}")
