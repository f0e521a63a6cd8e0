# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Growing a partition of a GPT: both headers and lists, and the table that protects them (UEFI specification, 5.2, 5.3)."""

from __future__ import annotations

import struct
import typing as t
import zlib

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import layout_mbr
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import gpt, mbr
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader, exactly
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.partition import Partition
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.layout_room import Patch, Plan, Room, check_fits

#: New first sector and length in sectors of partitions, by their numbers.
Places = t.Mapping[int, tuple[int, int]]


def plan(reader: Reader, grown: Partition, disk_size: int, contents: t.Mapping[int, str | None]) -> Plan:
    """See layout.grow.

    The spare table is written first. A crash then leaves the old one, or (while the first list is written, which then
    does not match its checksum) the new one, which every reader takes from the end of the disk.
    """
    old = gpt.read(reader)
    if old.header.own != 1:
        raise Damaged("the GPT at the beginning of the disk is damaged: repair it first (gdisk does)")
    if old.header.entries_at > old.header.first:
        raise Unsupported("the GPT has its list of partitions behind them: such a disk cannot grow here")
    end = disk_size // old.sector_size - 1
    limit = end - -(-len(old.raw) // old.sector_size)
    check_fits(old.partitions, limit)
    behind = tuple(item for item in old.partitions if item.start > grown.start)
    room = Room(grown, behind, (), max([item.end for item in behind], default=0), limit, contents)
    shift = room.shift()
    places = {item.number: (item.start + shift, item.sectors) for item in behind}
    places[grown.number] = (grown.start, room.grown_end(shift) - grown.start)
    if places[grown.number][1] == grown.sectors:
        return Plan((), (), grown.offset, grown.size, None)
    patches = _patches(reader, old, places, end, limit)
    size = places[grown.number][1] * grown.sector_size
    return Plan(patches, room.moves(shift), grown.offset, size, len(patches) - 1)


def _patches(reader: Reader, old: gpt.Gpt, places: Places, end: int, limit: int) -> tuple[Patch, ...]:
    unit, header = old.sector_size, old.header
    raw = _entries(old, places)
    new = header._replace(other=end, last=limit - 1, entries_crc=zlib.crc32(raw))
    spare = new._replace(own=end, other=header.own, entries_at=limit)
    return (
        Patch(limit * unit, raw),
        Patch(end * unit, _sealed(old.sector, spare)),
        _protective(reader, old, places, end),
        Patch(header.entries_at * unit, raw),
        Patch(header.own * unit, _sealed(old.sector, new)),
    )


def _entries(old: gpt.Gpt, places: Places) -> bytes:
    raw = bytearray(old.raw)
    for number, (start, sectors) in places.items():
        struct.pack_into("<QQ", raw, (number - 1) * old.header.entry_size + 32, start, start + sectors - 1)
    return bytes(raw)


def _sealed(sector: bytes, header: gpt.Header) -> bytes:
    """The sector with other fields and their checksum; what the specification does not name stays."""
    blank = gpt.HEADER.pack(*header._replace(crc=0)) + sector[gpt.HEADER.size :]
    return gpt.HEADER.pack(*header._replace(crc=zlib.crc32(blank[: header.length]))) + sector[gpt.HEADER.size :]


def _protective(reader: Reader, old: gpt.Gpt, places: Places, end: int) -> Patch:
    """The entries of the first sector: the one that protects covers the disk, those of a hybrid table follow the GPT."""
    sector = bytearray(exactly(reader, 0, mbr.SECTOR, "the first sector"))
    used = [entry for entry in mbr.entries(bytes(sector)) if entry.sectors or entry.type]
    shown = {(item.start, item.sectors): places.get(item.number) for item in old.partitions}
    for entry in used:
        if entry.type == mbr.PROTECTIVE:
            whole = len(used) == 1 or entry.start + entry.sectors > old.header.other
            new = (entry.start, min(end + 1 - entry.start, layout_mbr.MOST)) if whole else None
        else:
            new = shown.get((entry.start, entry.sectors))
        if new is not None:
            layout_mbr.change(sector, entry, 0, *new)
    return Patch(mbr.ENTRIES, bytes(sector[mbr.ENTRIES : 510]))
