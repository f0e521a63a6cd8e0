# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Images, inside: the GUID partition table (UEFI specification, chapter 5.3)."""

from __future__ import annotations

import dataclasses
import struct
import typing as t
import uuid
import zlib

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader, exactly
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.partition import (
    Partition,
    check_ends,
    check_overlaps,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.signature import wide_label

SECTOR_SIZES = (512, 4096)
MAGIC = b"EFI PART"
#: Signature, revision, length, CRC, reserved, own place, the other header's place, first and last usable sector, GUID of
#: the disk, place, number and length of the entries, their CRC.
HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
#: Type, GUID, first and last sector, attributes, name.
ENTRY = struct.Struct("<16s16sQQQ72s")
#: The attribute for old BIOSes, which is GPT's flag of a bootable partition.
BOOTABLE = 1 << 2
# The specification sets no limit. The usual table has 128 entries of 128 bytes; Linux reads no more than 4 MiB and
# numbers no more than 256 partitions.
_LARGEST_TABLE = 4 * 1024 * 1024
_LARGEST_ENTRY = 4096
_MOST_PARTITIONS = 256


class Header(t.NamedTuple):
    """The fields of a header. Places are in sectors; ``last`` is itself usable."""

    magic: bytes
    revision: int
    length: int
    crc: int
    reserved: int
    own: int
    other: int
    first: int
    last: int
    disk: bytes
    entries_at: int
    entry_count: int
    entry_size: int
    entries_crc: int


@dataclasses.dataclass(frozen=True)
class Gpt:
    """A valid header, ``sector`` (all bytes of its sector), ``raw`` (its entries) and what they say."""

    header: Header
    sector_size: int
    sector: bytes
    raw: bytes
    partitions: tuple[Partition, ...]

    @property
    def disk_id(self) -> str:
        """The disk's GUID as sfdisk prints it."""
        return _guid(self.header.disk).upper()


def read(reader: Reader) -> Gpt:
    """The table by its first header or, when that is damaged, by the one in the disk's last sector.

    Raises Damaged when neither is valid, or when their partitions contradict each other or the disk.
    """
    table = _valid(reader)
    check_overlaps(table.partitions)
    for item in table.partitions:
        if not table.header.first <= item.start or item.end - 1 > table.header.last:
            raise Damaged(f"partition {item.number} is outside the sectors that the GPT has for partitions")
    return table


def is_announced(reader: Reader) -> bool:
    """Whether there is something like a header at the beginning of the disk, valid or not."""
    return any(reader.read(size, len(MAGIC)) == MAGIC for size in SECTOR_SIZES)


def at(reader: Reader, place: int, sector_size: int) -> Gpt:
    """The table of the header at a sector, whose own rules hold; raises Damaged where one does not."""
    what = f"the GPT header at sector {place}"
    sector = exactly(reader, place * sector_size, sector_size, what)
    header = Header(*HEADER.unpack_from(sector))
    _check_header(header, sector, place, what)
    _check_sizes(header, what)
    raw = _entries(reader, header, sector_size, what)
    sectors = reader.size // sector_size
    if header.last >= sectors:
        # A partition that is not all there says more than a number in the header.
        check_ends(_partitions(header, raw, sector_size), sectors)
    _check_places(header, len(raw), sector_size, sectors, what)
    return Gpt(header, sector_size, sector, raw, tuple(_partitions(header, raw, sector_size)))


class _Impossible(Damaged):
    """A header with the right checksum that says what cannot be."""

    def __init__(self, message: str, header: Header) -> None:
        super().__init__(message)
        self.entries_crc = header.entries_crc


def _valid(reader: Reader) -> Gpt:
    for size in SECTOR_SIZES:
        found = _valid_for(reader, size)
        if found is not None:
            return found
    raise Damaged("it says that it has a GPT, but there is none at its beginning and none at its end")


def _valid_for(reader: Reader, size: int) -> Gpt | None:
    """The table for sectors of that size; None when it has no header at all."""
    problems: list[Damaged] = []
    for place in (1, max(reader.size // size - 1, 0)):
        if reader.read(place * size, len(MAGIC)) != MAGIC:
            continue
        try:
            found = at(reader, place, size)
        except Damaged as exc:
            problems.append(exc)
            continue
        # What was written with care and is nonsense is not simply replaced by something else.
        if any(isinstance(item, _Impossible) and item.entries_crc != found.header.entries_crc for item in problems):
            raise Damaged(f"{problems[0].message}, and the one at sector {place} has other partitions")
        return found
    if problems:
        raise Damaged(" and ".join(dict.fromkeys(item.message for item in problems)))
    return None


def _check_header(header: Header, sector: bytes, place: int, what: str) -> None:
    if not HEADER.size <= header.length <= len(sector):
        raise Damaged(f"{what} says that it is {header.length} bytes long")
    if zlib.crc32(sector[:16] + bytes(4) + sector[20 : header.length]) != header.crc:
        raise Damaged(f"{what} does not match its checksum")
    if header.own != place:
        raise Damaged(f"{what} says that it is at sector {header.own}")


def _check_sizes(header: Header, what: str) -> None:
    # 128 times a power of two, says the specification.
    if not ENTRY.size <= header.entry_size <= _LARGEST_ENTRY or header.entry_size & (header.entry_size - 1):
        raise _Impossible(f"{what} says that an entry is {header.entry_size} bytes long", header)
    if not 0 < header.entry_count * header.entry_size <= _LARGEST_TABLE:
        raise _Impossible(f"{what} says that it has {header.entry_count} entries", header)


def _entries(reader: Reader, header: Header, sector_size: int, what: str) -> bytes:
    size = header.entry_count * header.entry_size
    raw = exactly(reader, header.entries_at * sector_size, size, f"the list of partitions of {what}")
    if zlib.crc32(raw) != header.entries_crc:
        raise Damaged(f"the list of partitions of {what} does not match its checksum")
    return raw


def _check_places(header: Header, size: int, sector_size: int, sectors: int, what: str) -> None:
    if header.last >= sectors:
        raise _Impossible(
            f"{what} is for a disk of more than {header.last} sectors, but this one has only {sectors}"
            " (is the image cut off?)",
            header,
        )
    entries_end = header.entries_at + -(-size // sector_size)
    usable = range(header.first, header.last + 1)
    covered = header.entries_at < usable.stop and entries_end > usable.start
    if not usable or header.own in usable or 1 in usable or covered or header.entries_at < 2:
        raise _Impossible(f"the sectors that {what} has for partitions are not free for them", header)


def _partitions(header: Header, raw: bytes, sector_size: int) -> t.Iterator[Partition]:
    empty, found = bytes(16), 0
    for index in range(header.entry_count):
        start = index * header.entry_size
        if raw[start : start + 16] == empty:
            continue
        found += 1
        if found > _MOST_PARTITIONS:
            raise Unsupported(f"the GPT has more than {_MOST_PARTITIONS} partitions")
        yield _partition(raw[start : start + ENTRY.size], index, header, sector_size)


def _partition(raw: bytes, index: int, header: Header, sector_size: int) -> Partition:
    kind, identity, first, last, attributes, name = ENTRY.unpack(raw)
    if first == 0 or last < first:
        raise Damaged(f"partition {index + 1} is said to begin at sector {first} and to end at {last}")
    return Partition(
        number=index + 1,
        start=first,
        sectors=last - first + 1,
        type=_guid(kind).upper(),
        bootable=bool(attributes & BOOTABLE),
        role="primary",
        name=wide_label(name),
        uuid=_guid(identity),
        attributes=attributes,
        entry=header.entries_at * sector_size + index * header.entry_size,
        sector_size=sector_size,
    )


def _guid(raw: bytes) -> str:
    return str(uuid.UUID(bytes_le=raw))
