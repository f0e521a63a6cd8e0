# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""XFS: what of a file system is in use, from the free space of each allocation group.

The free space stands in two trees, by place ("bnobt") and by length ("cntbt"). Who copies a file system without its free
blocks loses data by one wrong record: so both are read, and they must agree with each other and with the group's counts.
"""

from __future__ import annotations

import struct
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.xfs_super import Disk, check_crc

_AGF = struct.Struct(">4sIIIII4xII4x12xII4x16s")
_AGF_CRC_AT, _BLOCK_CRC_AT = 216, 52
_HEADERS = 4  # sectors at the start of a group: superblock, free space, inodes, reserve
_DEEPEST = 10
_MOST_GROUPS = 1 << 16

# By whether blocks describe themselves, and whether the tree is that of lengths.
_MAGICS = {(False, False): b"ABTB", (False, True): b"ABTC", (True, False): b"AB3B", (True, True): b"AB3C"}

_Run = tuple[int, int]  # first block, number of blocks; counted in the group


class _Agf(t.NamedTuple):
    """The head of a group's free space."""

    magic: bytes
    version: int
    number: int
    length: int
    place_root: int
    length_root: int
    place_levels: int
    length_levels: int
    free: int
    longest: int
    stamp: bytes


def used_ranges(disk: Disk) -> list[tuple[int, int]]:
    """Offset and length in bytes of all that is not free, sorted and merged; raises Damaged in any doubt."""
    geometry = disk.geometry
    if geometry.groups > _MOST_GROUPS:
        raise Unsupported(f"the xfs has {geometry.groups} allocation groups, too many to be looked at")
    ranges: list[tuple[int, int]] = []
    position = 0  # in bytes; what is before it is told
    for group in range(geometry.groups):
        start = group * geometry.group_blocks * geometry.block
        for first, count in _free(disk, group):
            begin = start + first * geometry.block
            if begin > position:
                ranges.append((position, begin - position))
            position = begin + count * geometry.block
    if position < geometry.told.size:
        ranges.append((position, geometry.told.size - position))
    return ranges


def _free(disk: Disk, group: int) -> list[_Run]:
    """The free runs of a group, in order."""
    what = f"the free space of allocation group {group}"
    agf = _agf(disk, group, what)
    by_place, place_blocks = _runs(disk, agf, agf.place_root, agf.place_levels, False)
    by_length, length_blocks = _runs(disk, agf, agf.length_root, agf.length_levels, True)
    end = 0
    for first, count in by_place:
        if first < end or first + count > agf.length:
            raise Damaged(f"{what} overlaps, or lies outside the group")
        end = first + count
    if sum(count for _first, count in by_place) != agf.free:
        raise Damaged(f"{what} has another sum than it says")
    if max((count for _first, count in by_place), default=0) != agf.longest or sorted(by_length) != by_place:
        raise Damaged(f"the two trees of {what} do not agree")
    _check_kept(disk, group, by_place, place_blocks | length_blocks, what)
    return by_place


def _agf(disk: Disk, group: int, what: str) -> _Agf:
    geometry = disk.geometry
    offset = group * geometry.group_blocks * geometry.block + geometry.sector
    data = disk.read(offset, geometry.sector, what)
    agf = _Agf(*_AGF.unpack_from(data))
    if (agf.magic, agf.version, agf.number, agf.length) != (b"XAGF", 1, group, geometry.group_length(group)):
        raise Damaged(f"{what} has no head of its own")
    if geometry.crc:
        check_crc(data, _AGF_CRC_AT, what)
        if agf.stamp != geometry.stamp:
            raise Damaged(f"{what} belongs to another file system")
    return agf


def _runs(disk: Disk, agf: _Agf, root: int, levels: int, by_length: bool) -> tuple[list[_Run], set[int]]:
    """All records of a tree from left to right, and the blocks that the tree is made of. What is out of order, or more
    than the group says, ends the walk at once: else a hostile tree could be made to be walked forever."""
    what = f"the free space of allocation group {agf.number}"
    if not 0 < levels <= _DEEPEST:
        raise Damaged(f"a tree of {what} has {levels} levels")
    runs: list[_Run] = []
    seen: set[int] = set()
    left, last = agf.free, (0, 0)
    todo = [(root, levels - 1)]
    while todo:
        block, level = todo.pop()
        if block in seen:
            raise Damaged(f"a tree of {what} leads back to itself")
        seen.add(block)
        body, count = _block(disk, agf.number, block, level, _MAGICS[disk.geometry.crc, by_length])
        if count > len(body) // (8 if level == 0 else 12) or (count == 0 and levels > 1):
            raise Damaged(f"a tree of {what} has a block of {count} records")
        if level:  # keys have two thirds of the room, addresses the rest
            children = struct.unpack_from(f">{count}I", body, len(body) // 12 * 8)
            todo += [(child, level - 1) for child in reversed(children)]
            continue
        for first, length in struct.iter_unpack(">II", body[: count * 8]):
            key = (length, first) if by_length else (first, length)
            left -= length
            if key <= last or length == 0 or left < 0:
                raise Damaged(f"a tree of {what} is not in order, or has another sum than it says")
            last = key
            runs.append((first, length))
    return runs, seen


def _block(disk: Disk, group: int, block: int, level: int, magic: bytes) -> tuple[bytes, int]:
    """What follows the header of a block of a tree, and the number of records there."""
    geometry = disk.geometry
    what = f"a block of the free space of allocation group {group}"
    address = disk.address(group << geometry.group_bits | block, 1, what) if block < geometry.group_blocks else -1
    data = disk.read(address, geometry.block, what)
    found, found_level, count = struct.unpack_from(">4sHH", data)
    if (found, found_level) != (magic, level):
        raise Damaged(f"{what} is none of level {level}")
    if not geometry.crc:
        return data[16:], count
    check_crc(data, _BLOCK_CRC_AT, what)
    sector, stamp, owner = struct.unpack_from(">Q8x16sI", data, 16)
    if (sector * 512, stamp, owner) != (address, geometry.stamp, group):
        raise Damaged(f"{what} calls itself another one's")
    return data[56:], count


def _check_kept(disk: Disk, group: int, free: list[_Run], trees: set[int], what: str) -> None:
    """What is surely in use must not be free: the heads of the group, the trees themselves, the log, the root inode."""
    geometry = disk.geometry
    mask = (1 << geometry.group_bits) - 1
    kept = [(block, 1) for block in trees] + [(0, -(-_HEADERS * geometry.sector // geometry.block))]
    if geometry.log_start and geometry.log_start >> geometry.group_bits == group:
        kept.append((geometry.log_start & mask, geometry.log_blocks))
    root = geometry.root // (geometry.block // geometry.inode)
    if root >> geometry.group_bits == group:
        kept.append((root & mask, 1))
    # Two kept ones may not meet either, but only what is free does harm.
    ends = sorted([(first, count, True) for first, count in free] + [(first, count, False) for first, count in kept])
    end_of = {True: 0, False: 0}
    for first, count, is_free in ends:
        if first < end_of[not is_free]:
            raise Damaged(f"{what} has blocks that are in use")
        end_of[is_free] = max(end_of[is_free], first + count)
