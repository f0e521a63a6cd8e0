# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: which parts of a disk an ext2, ext3 or ext4 file system uses, for copies without its free blocks."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader, exactly
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.ext_super import Group, Groups, Superblock

Ranges = list[tuple[int, int]]

# 16 TiB in groups of 128 MiB: one or two seconds, less than 100 MiB.
_MOST_GROUPS = 1 << 17
# When the bitmaps hold more ranges than this, the groups that follow count as used to the last block: costs space only.
_MOST_RANGES = 1 << 20
_AT_ONCE = 512  # groups
# The tables of the groups that tables need, and so on: each turn adds less than a tenth of the one before.
_TURNS = 3
_READ_AT_ONCE = 1024 * 1024

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def used(reader: Reader, sb: Superblock) -> Ranges:
    """See ``Ext.used``. ``sb`` has passed ``ext_super.check``."""
    if sb.needs_recovery or sb.has_errors or not sb.clean:
        return [(0, sb.size)]
    if not sb.bitmaps_known:
        raise Unsupported(f"the {sb.kind} file system has features that may give its block bitmaps another meaning")
    if sb.groups > _MOST_GROUPS:
        raise Unsupported(
            f"the {sb.kind} file system has {sb.groups} block groups, more than {_MOST_GROUPS} are not read"
        )
    groups = Groups(reader, sb)
    ranges: Ranges = [(0, sb.first_block + 1)]
    for first in range(0, sb.groups, _AT_ONCE):
        some = groups.some(first, min(_AT_ONCE, sb.groups - first))
        for number, group in enumerate(some, first):
            _add_metadata(ranges, sb, number, group, groups.table_blocks)
        _add_bitmaps(ranges, reader, sb, first, some)
    return _merged(ranges, sb)


def least(reader: Reader, sb: Superblock, journal: int) -> int | None:
    """Bytes below which no file system can have what this one holds; ``journal`` are the bytes of its journal, which can go.

    What is named is a little too low: the copies of the superblock and the descriptors are left out. None where the
    bitmaps say nothing or count in clusters.
    """
    ranges = used(reader, sb)
    if ranges == [(0, sb.size)] or sb.cluster != 1:
        return None
    own = 2 + -(-sb.inodes_per_group * sb.inode_size // sb.block_size)
    metadata = sum(own + sb.head_of(group) for group in range(sb.groups)) * sb.block_size
    content = max(0, sum(end - start for start, end in ranges) - metadata - journal)
    size, group_size = content, sb.blocks_per_group * sb.block_size
    for _turn in range(_TURNS):
        size = content + -(-size // group_size) * own * sb.block_size
    return size


def _add_metadata(ranges: Ranges, sb: Superblock, number: int, group: Group, table_blocks: int) -> None:
    """What a group holds for the file system itself: a bitmap that was never written does not have it.

    With flex_bg the bitmaps and inode tables of a group are in another one; so they are taken from all descriptors,
    whether a bitmap names them or not. Whole clusters, as the bitmaps have it.
    """
    first, cluster = sb.first_of(number), sb.cluster
    pieces = [(group.bitmap_block, 1), (group.inode_bitmap, 1), (group.inode_table, table_blocks)]
    head = sb.head_of(number)
    if head:
        pieces.append((first, head))
    for start, count in pieces:
        begin = start - start % cluster
        end = start + count
        ranges.append((begin, end + -end % cluster))


def _add_bitmaps(ranges: Ranges, reader: Reader, sb: Superblock, first: int, groups: list[Group]) -> None:
    whole = (1 << sb.clusters_per_group) - 1
    for number, bitmap in _bitmaps(reader, sb, first, groups):
        start = sb.first_of(number)
        end = min(start + sb.blocks_per_group, sb.blocks)
        if len(ranges) > _MOST_RANGES:
            ranges.append((start, end))
            continue
        bits = int.from_bytes(bitmap[: -(-sb.clusters_per_group // 8)].translate(_REVERSED), "big")
        bits >>= -sb.clusters_per_group % 8
        if bits == whole:
            ranges.append((start, end))
        elif bits:
            _add_bits(ranges, f"{bits:0{sb.clusters_per_group}b}", start, sb.cluster)


def _add_bits(ranges: Ranges, bits: str, start: int, cluster: int) -> None:
    """One digit per cluster, in order; the search of the string is much faster than a loop over its digits."""
    begin = bits.find("1")
    while begin >= 0:
        end = bits.find("0", begin)
        if end < 0:
            end = len(bits)
        ranges.append((start + begin * cluster, start + end * cluster))
        begin = bits.find("1", end)


def _bitmaps(reader: Reader, sb: Superblock, first: int, groups: list[Group]) -> t.Iterator[tuple[int, bytes]]:
    """(group, bitmap) of the groups that have one. Those that lie one after the other are read together."""
    present = [(number, group.bitmap) for number, group in enumerate(groups, first) if group.bitmap is not None]
    most, at = _READ_AT_ONCE // sb.block_size, 0
    while at < len(present):
        count, block = 1, present[at][1]
        while count < most and at + count < len(present) and present[at + count][1] == block + count:
            count += 1
        size = sb.block_size
        data = exactly(reader, block * size, count * size, "a block bitmap")
        for index in range(count):
            yield present[at + index][0], data[index * size : (index + 1) * size]
        at += count


def _merged(ranges: Ranges, sb: Superblock) -> Ranges:
    """Sorted, without overlaps and neighbours, in bytes; what a bitmap says about blocks behind the last one is left out."""
    size, merged = sb.block_size, []
    ranges.sort()
    begin, end = 0, 0
    for start, stop in ranges:
        if start > end:
            merged.append((begin * size, min(end, sb.blocks) * size))
            begin, end = start, stop
        elif stop > end:
            end = stop
    merged.append((begin * size, min(end, sb.blocks) * size))
    return [(start, stop) for start, stop in merged if start < stop]
