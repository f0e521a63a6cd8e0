# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""XFS: inodes, and where the blocks of a file are.

An inode has two forks, one of data and one of attributes; each holds its content itself, or a list of extents, or the
root of a tree of extents (the "bmap B+tree" of the specification).
"""

from __future__ import annotations

import dataclasses
import struct
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.xfs_super import Disk, check_crc

LOCAL, EXTENTS, BTREE = 1, 2, 3
_KINDS = {0x8000: "file", 0x4000: "directory", 0xA000: "symlink", 0x2000: "other", 0x6000: "other", 0x1000: "other"}
_KINDS[0xC000] = "other"
#: How the data of a kind may be kept (0: a device's number).
_FORMS = {
    "file": (EXTENTS, BTREE),
    "directory": (LOCAL, EXTENTS, BTREE),
    "symlink": (LOCAL, EXTENTS, BTREE),
    "other": (0, LOCAL, EXTENTS),
}
_CORE = struct.Struct(">2sHBBHII")
_COUNTS = struct.Struct(">QQIIHBb6xH")  # from byte 56: size, blocks, (hint), extents, extents of attributes, forks
_OLD_CORE, _NEW_CORE = 100, 176
_LARGE_COUNTS = 0x10
_DEEPEST = 12


class Extent(t.NamedTuple):
    """``blocks`` of a file from its block ``first`` on, which are at ``fsblock``; ``empty``: to be read as zeros."""

    first: int
    fsblock: int
    blocks: int
    empty: bool


@dataclasses.dataclass(frozen=True)
class Fork:
    """One of the two contents of an inode: ``data`` is what the inode itself has of it, ``extents`` their number."""

    form: int
    data: bytes
    extents: int
    what: str
    owner: int


@dataclasses.dataclass(frozen=True)
class Inode:
    """An inode; ``attributes`` is None where it has no second fork."""

    number: int
    kind: str
    mode: int
    owner: int
    group: int
    size: int
    real_time: bool
    data: Fork
    attributes: Fork | None


def read_inode(disk: Disk, number: int) -> Inode:
    """The inode ``number``; raises Damaged for one that is not in use or is none."""
    raw = _raw_inode(disk, number)
    _magic, mode, version, form, _links, owner, group = _CORE.unpack_from(raw)
    size, _blocks, _hint, extents, attr_extents, fork_at, attr_form, flags = _COUNTS.unpack_from(raw, 56)
    core = _OLD_CORE
    if version == 3:
        core = _NEW_CORE
        if int.from_bytes(raw[120:128], "big") & _LARGE_COUNTS:
            extents, attr_extents = int.from_bytes(raw[24:32], "big"), extents
    kind = _KINDS.get(mode & 0xF000)
    what = f"inode {number}"
    if kind is None or form not in _FORMS[kind] or size >> 63:
        raise Damaged(f"{what} has no possible mode, format or size")
    middle = core + fork_at * 8 if fork_at else len(raw)
    if middle > len(raw):
        raise Damaged(f"the attributes of {what} begin behind its end")
    data = Fork(form, raw[core:middle], extents, what, number)
    attributes = Fork(attr_form, raw[middle:], attr_extents, f"the attributes of {what}", number) if fork_at else None
    return Inode(number, kind, mode & 0o7777, owner, group, size, bool(flags & 1), data, attributes)


def _raw_inode(disk: Disk, number: int) -> bytes:
    geometry = disk.geometry
    what = f"inode {number}"
    per_block = geometry.block // geometry.inode
    offset = disk.address(number // per_block, 1, what) + number % per_block * geometry.inode
    raw = disk.read(offset, geometry.inode, what)
    if raw[:2] != b"IN" or raw[4] not in ((3,) if geometry.crc else (1, 2)):
        raise Damaged(f"{what} is not where it must be")
    if geometry.crc:
        check_crc(raw, 100, what)
        if int.from_bytes(raw[152:160], "big") != number or raw[160:176] != geometry.stamp:
            raise Damaged(f"{what} calls itself another one's")
    return raw


def extents(disk: Disk, fork: Fork, first: int = 0) -> t.Iterator[Extent]:
    """The extents of a fork that end behind its block ``first``, in order; raises Damaged, also halfway."""
    if fork.form == EXTENTS:
        if fork.extents * 16 > len(fork.data):
            raise Damaged(f"{fork.what} has more extents than room for them")
        records = _records(fork.data, fork.extents)
    elif fork.form == BTREE:
        records = _tree_records(disk, fork, first)
    else:
        raise Damaged(f"{fork.what} has no extents")
    position = 0
    for extent in records:
        if extent.first < position or extent.blocks == 0:
            raise Damaged(f"the extents of {fork.what} are not in order")
        position = extent.first + extent.blocks
        if position > first:
            yield extent


def _records(data: bytes, count: int) -> t.Iterator[Extent]:
    """An extent has 128 bits: 1 of state, 54 of the block in the file, 52 of the fsblock, 21 of the length."""
    for high, low in struct.iter_unpack(">QQ", data[: count * 16]):
        yield Extent(high >> 9 & (1 << 54) - 1, (high & 0x1FF) << 43 | low >> 21, low & (1 << 21) - 1, bool(high >> 63))


def _tree_records(disk: Disk, fork: Fork, first: int) -> t.Iterator[Extent]:
    """The leaves from the one that may have the block ``first`` on. A key must be that of its child's first record, and
    the caller holds the order of the records: so no block of a hostile tree is of use twice, and none without need."""
    if len(fork.data) < 4:
        raise Damaged(f"{fork.what} has no room for a tree")
    level, count = struct.unpack_from(">HH", fork.data)
    if not 0 < level <= _DEEPEST or not count:
        raise Damaged(f"the tree of {fork.what} has {level} levels")
    todo = _children(fork, fork.data[4:], count, level, first)
    while todo:
        level, key, fsblock = todo.pop()
        body, count = _tree_block(disk, fork, level, fsblock)
        if level == 0:
            if count * 16 > len(body) or [record.first for record in _records(body, 1)] != [key]:
                raise Damaged(f"a leaf in the tree of {fork.what} has other extents than its parent says")
            yield from _records(body, count)
            continue
        if int.from_bytes(body[:8], "big") != key:
            raise Damaged(f"a node in the tree of {fork.what} has another key than its parent says")
        todo += _children(fork, body, count, level, first)


def _children(fork: Fork, body: bytes, count: int, level: int, first: int) -> list[tuple[int, int, int]]:
    """Level, key and fsblock of the children to read, the last first. Keys and addresses have half of the room each."""
    room = len(body) // 16
    if count > room:
        raise Damaged(f"a node in the tree of {fork.what} has more children than room for them")
    keys = struct.unpack_from(f">{count}Q", body)
    addresses = struct.unpack_from(f">{count}Q", body, room * 8)
    if any(left >= right for left, right in zip(keys, keys[1:])):
        raise Damaged(f"the keys in the tree of {fork.what} are not in order")
    start = max((index for index in range(count) if keys[index] <= first), default=0)
    return [(level - 1, keys[index], addresses[index]) for index in range(count - 1, start - 1, -1)]


def _tree_block(disk: Disk, fork: Fork, level: int, fsblock: int) -> tuple[bytes, int]:
    """What follows the header of a block of the tree, and the number of records there."""
    what = f"a block in the tree of {fork.what}"
    crc = disk.geometry.crc
    address = disk.address(fsblock, 1, what)
    data = disk.read(address, disk.geometry.block, what)
    magic, found_level, count = struct.unpack_from(">4sHH", data)
    if magic != (b"BMA3" if crc else b"BMAP") or found_level != level or not count:
        raise Damaged(f"{what} is none of level {level}")
    if crc:
        check_self(disk, data, (24, 64), address, fork.owner, what)
    return data[72 if crc else 24 :], count


def check_self(disk: Disk, data: bytes, at: tuple[int, int], address: int, owner: int, what: str) -> None:
    """What a block of version 5 says of itself, its address, a log number, the file system, its owner, and its checksum;
    ``at`` are the offsets of both."""
    sector, _log, stamp, found = struct.unpack_from(">QQ16sQ", data, at[0])
    if sector * 512 != address or stamp != disk.geometry.stamp or found != owner:
        raise Damaged(f"{what} calls itself another one's")
    disk.check(data, at[1], address, what)


def mapped(disk: Disk, fork: Fork, offset: int, length: int) -> bytes:
    """``length`` bytes of a fork from ``offset`` on, holes and what was never written as zeros."""
    block = disk.geometry.block
    pieces, position, end = [], offset, offset + length
    for extent in extents(disk, fork, offset // block):
        begin, stop = max(extent.first * block, position), min((extent.first + extent.blocks) * block, end)
        if begin >= end:
            break
        pieces.append(bytes(begin - position))
        if extent.empty:
            pieces.append(bytes(stop - begin))
        else:
            where = disk.address(extent.fsblock, extent.blocks, fork.what) + begin - extent.first * block
            piece = disk.raw.read(where, stop - begin)
            if len(piece) != stop - begin:
                raise Damaged(f"the data of {fork.what} lies beyond the end of the disk")
            pieces.append(piece)
        position = stop
        if position >= end:
            break
    pieces.append(bytes(end - position))
    return b"".join(pieces)


def block_of(disk: Disk, fork: Fork, number: int) -> tuple[int, bytes]:
    """Address and content of one block of metadata; raises Damaged where the fork has a hole."""
    for extent in extents(disk, fork, number):
        if extent.first > number or extent.empty:
            break
        address = disk.address(extent.fsblock + number - extent.first, 1, fork.what)
        return address, disk.read(address, disk.geometry.block, fork.what)
    raise Damaged(f"{fork.what} have no block {number}")
