# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: the inodes of ext2, ext3 and ext4, and which blocks hold the data of one.

Source of the format: "ext4 Data Structures and Algorithms" of the Linux kernel's documentation.
"""

from __future__ import annotations

import dataclasses
import struct
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader, exactly
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.ext_super import LARGEDIR, Groups, Superblock

ROOT = 2

HUGE_FILE, ENCRYPT, EXTENTS, EA_INODE_FLAG, INLINE_DATA = 0x40000, 0x800, 0x80000, 0x200000, 0x10000000

_KINDS = {0x8: "file", 0x4: "directory", 0xA: "symlink", 0x1: "other", 0x2: "other", 0x6: "other", 0xC: "other"}
_INODE = struct.Struct("<2HI16xHxx2I4x60s4x2I4x4H")
_EXTENT_MAGIC = 0xF30A
_DEEPEST = 5


@dataclasses.dataclass(frozen=True)
class Inode:
    """An inode. ``size`` is in bytes, ``sectors`` what the inode says it occupies (in the unit that its flags give).

    ``block`` is where the map of its blocks begins, or a short target, or inline data; ``attributes`` the block of its
    extended attributes (0: none), ``rest`` what stands behind the fixed fields (attributes, too).
    """

    number: int
    kind: str
    mode: int
    owner: int
    group: int
    size: int
    flags: int
    sectors: int
    block: bytes
    attributes: int
    rest: bytes


class Inodes:
    """The inodes of a file system that ``ext_super.check`` has passed."""

    _KEPT = 4096

    def __init__(self, reader: Reader, sb: Superblock) -> None:
        self._reader = reader
        self._sb = sb
        self._groups = Groups(reader, sb)
        self._inodes: dict[int, Inode] = {}

    def get(self, number: int) -> Inode:
        """An inode by its number; raises Damaged for a number that cannot be, and for one that is not in use."""
        inode = self._inodes.get(number)
        if inode is None:
            if len(self._inodes) >= self._KEPT:
                self._inodes.clear()
            inode = self._inodes[number] = self._parsed(number, self._raw(number))
        return inode

    def _raw(self, number: int) -> bytes:
        sb = self._sb
        if not 1 <= number <= sb.inodes:
            raise Damaged(f"there is no inode {number} in the {sb.kind} file system of {sb.inodes} inodes")
        group, index = divmod(number - 1, sb.inodes_per_group)
        offset = self._groups.one(group).inode_table * sb.block_size + index * sb.inode_size
        return exactly(self._reader, offset, sb.inode_size, f"the inode {number}")

    def _parsed(self, number: int, raw: bytes) -> Inode:
        sb = self._sb
        mode, owner, low, group, sectors, flags, block, acl, high, sectors_high, acl_high, owner_high, group_high = (
            _INODE.unpack_from(raw)
        )
        kind = _KINDS.get(mode >> 12)
        if kind is None:
            raise Damaged(f"the inode {number} of the {sb.kind} file system is not in use or of no known kind")
        # The field of the high half has another meaning in what is not a file.
        size = low | high << 32 if kind == "file" or (kind == "directory" and sb.incompat & LARGEDIR) else low
        if size > sb.block_size << 32:
            raise Damaged(f"the inode {number} of the {sb.kind} file system has an impossible size ({size} bytes)")
        return Inode(
            number=number,
            kind=kind,
            mode=mode & 0o7777,
            owner=owner | owner_high << 16,
            group=group | group_high << 16,
            size=size,
            flags=flags,
            sectors=sectors | sectors_high << 32,
            block=block,
            attributes=acl | acl_high << 32 if sb.descriptor_size >= 64 else acl,
            rest=self._rest(number, raw),
        )

    def _rest(self, number: int, raw: bytes) -> bytes:
        if len(raw) <= 128:
            return b""
        (extra,) = struct.unpack_from("<H", raw, 128)
        if extra > len(raw) - 128 or extra % 4:
            raise Damaged(f"the fields of the inode {number} of the {self._sb.kind} file system end outside of it")
        return raw[128 + extra :] if extra else b""


class Map:
    """Where the data of inodes is. ``reader`` is asked for the blocks of the maps."""

    def __init__(self, reader: Reader, sb: Superblock) -> None:
        self._reader = reader
        self._sb = sb

    def runs(self, inode: Inode, first: int, end: int) -> t.Iterator[tuple[int, int, int]]:
        """(block of the file, block of the disk, count) of the blocks ``first`` to ``end`` (exclusive) of a file, rising.

        What is not named is a hole, or preallocated and not written: zeros.
        """
        # A sound map needs far less; one that is made to be slow must not cost more than what is asked for.
        walk = _Walk(self._reader, self._sb, inode.number, first, end, 2048 + max(0, end - first) // 64)
        return walk.extents(inode.block) if inode.flags & EXTENTS else walk.pointers(inode.block)


class _Walk:
    """One walk over the map of an inode, for the blocks ``first`` to ``end``; ``budget`` is the blocks that it may read."""

    def __init__(self, reader: Reader, sb: Superblock, number: int, first: int, end: int, budget: int) -> None:
        self._reader = reader
        self._sb = sb
        self._name = f"the block map of the inode {number} of the {sb.kind} file system"
        self._first = first
        self._end = end
        self._budget = budget

    def extents(self, root: bytes) -> t.Iterator[tuple[int, int, int]]:
        """The runs of an extent tree, whose root stands in the inode."""
        (depth,) = struct.unpack_from("<H", root, 6)
        if depth > _DEEPEST:
            raise Damaged(f"{self._name} is {depth} levels deep")
        return self._node(root, depth, 0, 1 << 32)

    def _node(self, node: bytes, depth: int, low: int, high: int) -> t.Iterator[tuple[int, int, int]]:
        """The runs of a node that may speak about the blocks ``low`` to ``high`` only: so no node can be its own child."""
        magic, count, _most, level = struct.unpack_from("<4H", node)
        if magic != _EXTENT_MAGIC or level != depth or count > len(node) // 12 - 1:
            raise Damaged(f"{self._name} has a broken node")
        return self._leaf(node, count, low, high) if depth == 0 else self._index(node, count, depth, low, high)

    def _leaf(self, node: bytes, count: int, low: int, high: int) -> t.Iterator[tuple[int, int, int]]:
        for block, stored, start_high, start in struct.iter_unpack("<I2HI", node[12 : 12 + count * 12]):
            written = stored <= 32768
            length = stored if written else stored - 32768
            if block < low or not length or block + length > high:
                raise Damaged(f"{self._name} is not in order")
            low = block + length
            if written and low > self._first and block < self._end:
                yield self._clipped(block, start | start_high << 32, length)

    def _index(self, node: bytes, count: int, depth: int, low: int, high: int) -> t.Iterator[tuple[int, int, int]]:
        entries = list(struct.iter_unpack("<2IHxx", node[12 : 12 + count * 12]))
        for number, (key, child, child_high) in enumerate(entries):
            limit = entries[number + 1][0] if number + 1 < count else high
            if not low <= key < limit <= high:
                raise Damaged(f"{self._name} is not in order")
            low = limit
            if limit > self._first and key < self._end:
                yield from self._node(self._block(child | child_high << 32), depth - 1, key, limit)

    def pointers(self, root: bytes) -> t.Iterator[tuple[int, int, int]]:
        """The runs of the classic map: 12 pointers to blocks, then one each to a table of one, two and three levels."""
        pointers = struct.unpack("<15I", root)
        yield from self._table(pointers[:12], 0, 1)
        low, span = 12, 1
        for pointer in pointers[12:]:
            inner, span = span, span * (self._sb.block_size // 4)
            if pointer and low < self._end and low + span > self._first:
                yield from self._table(self._numbers(pointer), low, inner)
            low += span

    def _table(self, pointers: tuple[int, ...], low: int, span: int) -> t.Iterator[tuple[int, int, int]]:
        """The runs of a table that begins with the block ``low``, each pointer of which stands for ``span`` blocks."""
        begin = max(0, (self._first - low) // span)
        end = min(len(pointers), -((low - self._end) // span))
        if span == 1:
            yield from self._merged(pointers, low, begin, end)
            return
        for at in range(begin, end):
            if pointers[at]:
                inner = span // (self._sb.block_size // 4)
                yield from self._table(self._numbers(pointers[at]), low + at * span, inner)

    def _merged(self, pointers: tuple[int, ...], low: int, begin: int, end: int) -> t.Iterator[tuple[int, int, int]]:
        at = begin
        while at < end:
            start, count = pointers[at], 1
            while start and at + count < end and pointers[at + count] == start + count:
                count += 1
            if start:
                yield self._clipped(low + at, start, count)
            at += count

    def _clipped(self, block: int, start: int, count: int) -> tuple[int, int, int]:
        if not self._sb.first_block < start <= self._sb.blocks - count:
            raise Damaged(f"{self._name} leads out of the file system")
        skipped = max(0, self._first - block)
        return block + skipped, start + skipped, min(block + count, self._end) - block - skipped

    def _numbers(self, block: int) -> tuple[int, ...]:
        return struct.unpack(f"<{self._sb.block_size // 4}I", self._block(block))

    def _block(self, block: int) -> bytes:
        self._budget -= 1
        if self._budget < 0:
            raise Damaged(f"{self._name} has too many nodes for so few blocks")
        if not self._sb.first_block < block < self._sb.blocks:
            raise Damaged(f"{self._name} leads out of the file system")
        return exactly(self._reader, block * self._sb.block_size, self._sb.block_size, self._name)
