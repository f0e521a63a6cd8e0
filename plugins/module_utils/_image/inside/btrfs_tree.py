# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""btrfs: its trees. All of them are alike: leaves with items, sorted by a key of three numbers, below nodes with addresses."""

from __future__ import annotations

import bisect
import struct
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.btrfs_super import Disk, Top

#: What it belongs to (an inode, a tree), the type of the item, and what tells it from others (an offset, a hash).
Key = tuple[int, int, int]

LAST = (1 << 64) - 1

_HEAD = 101
_KEY = struct.Struct("<QBQ")
_POINTER = struct.Struct("<QBQQQ")
_ITEM = struct.Struct("<QBQII")
_DEEPEST = 7
# Unpacked they take a multiple of it.
_KEPT_BYTES = 4 << 20


class _Block:
    """A node or a leaf: its keys, and for each the address and generation below it, or the place and size of its data."""

    def __init__(self, raw: bytes, top: Top) -> None:
        address = struct.unpack_from("<Q", raw, 0x30)[0]
        generation, _owner, count, level = struct.unpack_from("<QQIB", raw, 0x50)
        if (address, generation, level) != (top.address, top.generation, top.level):
            raise Damaged(f"the block at {top.address} of the btrfs is another one than its tree says")
        form = _POINTER if level else _ITEM
        if count > (len(raw) - _HEAD) // form.size:
            raise Damaged(f"the block at {top.address} of the btrfs has {count} entries, more than fit into it")
        entries = list(form.iter_unpack(raw[_HEAD : _HEAD + count * form.size]))
        self.keys: list[Key] = [entry[:3] for entry in entries]
        self.places: list[tuple[int, int]] = [entry[3:] for entry in entries]
        self.raw = raw
        self.top = top
        if any(one >= other for one, other in zip(self.keys, self.keys[1:])):
            raise Damaged(f"the block at {top.address} of the btrfs is not in order")

    def below(self, index: int) -> Top:
        address, generation = self.places[index]
        return Top(address, self.top.level - 1, generation)

    def data(self, index: int) -> bytes:
        start, size = self.places[index]
        if start + size > len(self.raw) - _HEAD:
            raise Damaged(f"an item in the block at {self.top.address} of the btrfs lies outside of it")
        return self.raw[_HEAD + start : _HEAD + start + size]


class Trees:
    """Items by their keys, in any tree of the disk. Raises Damaged for blocks that are not what they should be."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._kept: dict[Top, _Block] = {}
        self._most = _KEPT_BYTES // disk.node

    def items(self, top: Top, low: Key, high: Key) -> t.Iterator[tuple[Key, bytes]]:
        """The items from ``low`` to ``high``, both included, in order.

        A block is never met twice, however its tree is knotted: every leaf has to begin behind the end of the last one.
        """
        last: Key = (-1, 0, 0)
        ways = [self._way(top, None, low)]
        while ways:
            block, indexes = ways[-1]
            index = next(indexes, None)
            if index is None:
                ways.pop()
                continue
            if block.keys[index] > high:
                return
            if block.top.level:
                ways.append(self._way(block.below(index), block.keys[index], low))
                lower = ways[-1][0]
                if lower.top.level == 0:
                    last = _behind(last, lower)
            elif block.keys[index] >= low:
                yield block.keys[index], block.data(index)

    def floor(self, top: Top, key: Key) -> Key | None:
        """The last key of a tree that is not above ``key``; None when there is none."""
        first = None
        while True:
            block = self._block(top, first)
            index = bisect.bisect_right(block.keys, key) - 1
            if index < 0:
                return None
            if top.level == 0:
                return block.keys[index]
            first, top = block.keys[index], block.below(index)

    def one(self, top: Top, key: Key) -> bytes | None:
        """The data of the item with exactly this key."""
        for _key, data in self.items(top, key, key):
            return data
        return None

    def _way(self, top: Top, first: Key | None, low: Key) -> tuple[_Block, t.Iterator[int]]:
        """A block, and the entries of it behind which ``low`` can be."""
        block = self._block(top, first)
        start = max(0, bisect.bisect_right(block.keys, low) - 1)
        return block, iter(range(start, len(block.keys)))

    def _block(self, top: Top, first: Key | None) -> _Block:
        block = self._kept.get(top)
        if block is None:
            if top.level > _DEEPEST:
                raise Damaged(f"a tree of the btrfs has {top.level + 1} levels, more than there can be")
            if top.address % self._disk.sector:
                raise Damaged(f"a tree of the btrfs leads to {top.address}, where no block can begin")
            block = _Block(self._disk.read(top.address, self._disk.node, "a block of a tree"), top)
            if len(self._kept) >= self._most:
                self._kept.clear()
            self._kept[top] = block
        if first is not None and block.keys[:1] != [first]:
            raise Damaged(f"the block at {top.address} of the btrfs begins with another key than its tree says")
        return block


def _behind(last: Key, leaf: _Block) -> Key:
    if leaf.keys[0] <= last:
        raise Damaged(f"a tree of the btrfs leads back to its block at {leaf.top.address}")
    return leaf.keys[-1]
