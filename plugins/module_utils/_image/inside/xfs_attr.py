# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""XFS: extended attributes. Few are kept in the inode (the "short form"), others in a chain of leaves below a tree of
hashes; a value that is too long for a leaf stands in blocks of its own."""

from __future__ import annotations

import struct
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.xfs_map import (
    EXTENTS,
    LOCAL,
    Fork,
    Inode,
    block_of,
    check_self,
    mapped,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.xfs_super import Disk

# Flags of an attribute: value in the leaf, name spaces, a parent's name (which is no attribute), half written.
_IN_LEAF, _ROOT, _SECURE, _PARENT, _INCOMPLETE = 0x1, 0x2, 0x4, 0x8, 0x80
_LONGEST_VALUE = 64 << 10  # of Linux
# Of one inode. The format has no limit; some hundred KiB are already odd.
_MOST_BYTES, _MOST_BLOCKS, _OVERHEAD = 16 << 20, 4096, 64
_ACLS = {b"SGI_ACL_FILE": "system.posix_acl_access", b"SGI_ACL_DEFAULT": "system.posix_acl_default"}

_Attribute = tuple[int, bytes, bytes]  # flags, name, value


def attributes(disk: Disk, inode: Inode) -> dict[str, bytes]:
    """The extended attributes of an inode by their full names, ACLs as Linux gives them (``system.posix_acl_access``)."""
    fork = inode.attributes
    if fork is None or (fork.form == EXTENTS and fork.extents == 0):
        return {}
    found: dict[str, bytes] = {}
    left = _MOST_BYTES
    for flags, name, value in _short_form(fork) if fork.form == LOCAL else _from_leaves(disk, fork):
        left -= _OVERHEAD + len(name) + len(value)
        if left < 0:
            raise Unsupported(f"{fork.what} are more than {_MOST_BYTES >> 20} MiB")
        if not name or b"\0" in name:
            raise Damaged(f"a name in {fork.what} is none")
        if flags & _ROOT and name in _ACLS:
            found[_ACLS[name]] = _acl(value, fork.what)
        else:
            space = "trusted." if flags & _ROOT else "security." if flags & _SECURE else "user."
            found[space + name.decode("utf-8", "surrogateescape")] = value
    return found


def _acl(value: bytes, what: str) -> bytes:
    """An ACL as Linux gives it: little-endian, each entry as tag, permissions, id (none where the tag needs none)."""
    if len(value) < 4 or len(value) != 4 + 12 * int.from_bytes(value[:4], "big"):
        raise Damaged(f"an ACL in {what} has another length than it says")
    entries = struct.iter_unpack(">IIHxx", value[4:])
    named = (0x2, 0x8)  # a user, a group
    return struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag & 0xFFFF, permissions, number if tag in named else 0xFFFFFFFF)
        for tag, number, permissions in entries
    )


def _hidden(flags: int) -> bool:
    return bool(flags & (_PARENT | _INCOMPLETE))


def _short_form(fork: Fork) -> t.Iterator[_Attribute]:
    """Head: length of all, count, a spare byte. Attribute: length of name, length of value, flags, name, value."""
    data = fork.data
    if len(data) < 4:
        raise Damaged(f"{fork.what} have no head")
    position = 4
    for _turn in range(data[2]):
        begin = position + 3
        if begin > len(data):
            raise Damaged(f"{fork.what} are fewer than they say")
        flags, middle = data[position + 2], begin + data[position]
        position = middle + data[position + 1]
        if position > len(data):
            raise Damaged(f"{fork.what} are longer than the inode")
        if not _hidden(flags):
            yield flags, data[begin:middle], data[middle:position]


def _from_leaves(disk: Disk, fork: Fork) -> t.Iterator[_Attribute]:
    """Down to the first leaf, and along the chain of leaves."""
    number, seen = 0, set[int]()
    while True:
        if number in seen or len(seen) == _MOST_BLOCKS:
            raise Damaged(f"{fork.what} lead in a circle, or to more than {_MOST_BLOCKS} blocks")
        seen.add(number)
        data, is_leaf, following = _block(disk, fork, number)
        if not is_leaf:
            # Head of a node: its count, its level; a child is a hash and a block.
            number = int.from_bytes(data[68:72] if disk.geometry.crc else data[20:24], "big")
            continue
        yield from _leaf(disk, fork, data)
        if not following:
            return
        number = following


def _block(disk: Disk, fork: Fork, number: int) -> tuple[bytes, bool, int]:
    """A block of the tree, whether it is a leaf, and the one that follows on the same level (0: none)."""
    address, data = block_of(disk, fork, number)
    crc = disk.geometry.crc
    following, magic = struct.unpack_from(">I4xH", data)
    leaf, node = (0x3BEE, 0x3EBE) if crc else (0xFBEE, 0xFEBE)
    if magic not in (leaf, node):
        raise Damaged(f"block {number} of {fork.what} is none")
    if crc:
        check_self(disk, data, (16, 12), address, fork.owner, f"block {number} of {fork.what}")
    return data, magic == leaf, following


def _leaf(disk: Disk, fork: Fork, data: bytes) -> t.Iterator[_Attribute]:
    """The entries of a leaf: hash, place in the leaf, flags; there a length and a name, or the value's block."""
    count_at, start = (56, 80) if disk.geometry.crc else (12, 32)
    count = int.from_bytes(data[count_at : count_at + 2], "big")
    if start + count * 8 > len(data):
        raise Damaged(f"a leaf of {fork.what} has more entries than room for them")
    for place, flags in struct.iter_unpack(">4xHBx", data[start : start + count * 8]):
        if _hidden(flags):
            continue
        fixed = 3 if flags & _IN_LEAF else 9
        if place + fixed > len(data):
            raise Damaged(f"an entry of {fork.what} lies outside its leaf")
        name_at = place + fixed
        middle = name_at + data[name_at - 1]
        if flags & _IN_LEAF:
            end = middle + int.from_bytes(data[place : place + 2], "big")
            value = data[middle:end]
        else:
            end = middle
            value = _value(disk, fork, *struct.unpack_from(">II", data, place))
        if end > len(data):
            raise Damaged(f"an entry of {fork.what} does not end in its leaf")
        yield flags, data[name_at:middle], value


def _value(disk: Disk, fork: Fork, number: int, length: int) -> bytes:
    """A value in blocks of its own; since version 5 each of them has a head."""
    geometry = disk.geometry
    if length > _LONGEST_VALUE:
        raise Damaged(f"a value of {fork.what} has {length} bytes, more than there can be")
    if not geometry.crc:
        return mapped(disk, fork, number * geometry.block, length)
    pieces, position = [], 0
    while position < length:
        address, data = block_of(disk, fork, number)
        piece = headed(disk, data, b"XARM", position, address, fork)
        if len(piece) != min(length - position, geometry.block - 56):
            raise Damaged(f"a block of a value of {fork.what} is shorter than it must be")
        pieces.append(piece)
        position += len(piece)
        number += 1
    return b"".join(pieces)


def headed(disk: Disk, data: bytes, magic: bytes, position: int, address: int, fork: Fork) -> bytes:
    """What follows the head (56 bytes, version 5) of a value's block or of a symbolic link's."""
    found, offset, length, stamp, owner, sector = struct.unpack_from(">4sII4x16sQQ", data)
    if (found, offset, stamp, owner, sector * 512) != (magic, position, disk.geometry.stamp, fork.owner, address):
        raise Damaged(f"a block of {fork.what} calls itself another one's")
    disk.check(data, 12, address, f"a block of {fork.what}")
    if not 0 < length <= len(data) - 56:
        raise Damaged(f"a block of {fork.what} has {length} bytes, more than it can")
    return data[56 : 56 + length]
