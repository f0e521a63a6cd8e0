# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: the entries of a directory of ext2, ext3 and ext4, and the extended attributes of an inode.

Source of the format: "ext4 Data Structures and Algorithms" of the Linux kernel's documentation.
"""

from __future__ import annotations

import struct
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged

# A directory is searched as far as this; a sound one of that size holds some hundred thousand files.
LARGEST_DIRECTORY = 128 * 1024 * 1024

_ENTRY = struct.Struct("<IHB")
_ATTRIBUTE = struct.Struct("<2BH3I")
_ATTRIBUTES_MAGIC = b"\0\0\2\xea"

# e_name_index: 2 and 3 are whole names, 9 is how a file is encrypted and no attribute.
_ACLS = {2: "system.posix_acl_access", 3: "system.posix_acl_default"}
_PREFIXES = {1: "user.", 4: "trusted.", 5: "lustre.", 6: "security.", 7: "system.", 8: "system.richacl", 10: "gnu."}
_INLINE_DATA = (7, b"data")


def entries(block: bytes, what: str) -> t.Iterator[tuple[int, bytes]]:
    """(inode, name) of the entries in a block of the directory ``what``, without ``.`` and ``..``.

    The index of a large directory is stored as entries without inode, which are passed over: its names are read one by one.
    """
    at = 0
    while at + 8 <= len(block):
        inode, length, name_length = _ENTRY.unpack_from(block, at)
        if len(block) == 65536 and length in (0, 65535):
            length = 65536
        if length < 8 + name_length or length % 4 or at + length > len(block):
            raise Damaged(f"{what} has a broken entry")
        if inode:
            name = block[at + 8 : at + 8 + name_length]
            if name not in (b".", b".."):
                if not name or b"/" in name or b"\0" in name:
                    raise Damaged(f"{what} has an entry with an impossible name")
                yield inode, name
        at += length


class Attribute(t.NamedTuple):
    """An extended attribute as stored: ``space`` is the number of its prefix, its value stands in ``value``, or in
    the data of the inode ``inode`` (then not 0)."""

    space: int
    name: bytes
    inode: int
    size: int
    value: bytes


def in_inode(rest: bytes, what: str) -> t.Iterator[Attribute]:
    """The attributes in an inode, ``rest`` is what follows its fields."""
    if rest[:4] == _ATTRIBUTES_MAGIC:
        yield from _attributes(rest[4:], 0, what)


def in_block(block: bytes, what: str) -> t.Iterator[Attribute]:
    """The attributes in a block for them."""
    if block[:4] != _ATTRIBUTES_MAGIC or struct.unpack_from("<I", block, 8) != (1,):
        raise Damaged(f"the block of {what} is none")
    yield from _attributes(block, 32, what)


def _attributes(area: bytes, at: int, what: str) -> t.Iterator[Attribute]:
    """Offsets of values count from the begin of ``area``, whose entries begin at ``at``."""
    while area[at : at + 4] != b"\0\0\0\0":
        if at + 16 > len(area):
            raise Damaged(f"the list of {what} has no end")
        name_length, space, offset, inode, size, _hash = _ATTRIBUTE.unpack_from(area, at)
        name = area[at + 16 : at + 16 + name_length]
        if len(name) != name_length or (size and not inode and offset + size > len(area)):
            raise Damaged(f"the list of {what} leads out of its place")
        yield Attribute(space, name, inode, size, b"" if inode else area[offset : offset + size])
        at += 16 + (name_length + 3) // 4 * 4


def is_inline_data(attribute: Attribute) -> bool:
    """Whether it is no attribute, but the second part of data that is stored in the inode."""
    return (attribute.space, attribute.name) == _INLINE_DATA


def is_acl(attribute: Attribute) -> bool:
    """Whether the value is an access control list, whose stored form differs from what programs see."""
    return attribute.space in _ACLS


def full_name(attribute: Attribute) -> str | None:
    """The name as programs see it; None for what they do not see."""
    if is_inline_data(attribute):
        return None
    if is_acl(attribute):
        return _ACLS[attribute.space]
    prefix = _PREFIXES.get(attribute.space)
    return None if prefix is None else prefix + attribute.name.decode("utf-8", "surrogateescape")


def acl(stored: bytes, what: str) -> bytes:
    """An access control list in the form of posix_acl_xattr (version 2), from that on the disk (version 1).

    On the disk only entries of a named user (tag 2) and a named group (tag 8) have an id.
    """
    if stored[:4] != b"\1\0\0\0":
        raise Damaged(f"{what} have an access control list of an unknown version")
    pieces, at = [b"\2\0\0\0"], 4
    while at < len(stored):
        named = stored[at : at + 2] in (b"\2\0", b"\x08\0")
        piece = stored[at : at + (8 if named else 4)]
        at += 8 if named else 4
        if at > len(stored):
            raise Damaged(f"{what} have an access control list that is cut off")
        pieces.append(piece if named else piece + b"\xff\xff\xff\xff")
    return b"".join(pieces)
