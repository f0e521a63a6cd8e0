# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""XFS: folders. Small ones are kept in the inode (the "short form"), others in blocks of entries; the blocks of hashes,
which come behind 32 GiB of a folder's data, are not needed to read one."""

from __future__ import annotations

import struct
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.xfs_map import (
    LOCAL,
    Inode,
    check_self,
    extents,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.xfs_super import Disk

_HASHES_AT = 32 << 30
# The kernel would go on; a hostile image could keep us reading for hours.
_MOST_BYTES, _MOST_NAMES = 64 << 20, 1 << 20

Entry = tuple[bytes, int]


def entries(disk: Disk, folder: Inode) -> t.Iterator[Entry]:
    """Name and inode number of what is in a folder, without ``.`` and ``..``; raises Damaged, also halfway."""
    if folder.data.form == LOCAL:
        found = _short_form(folder, folder.data.data[: folder.size], disk.geometry.ftype)
    else:
        found = _from_blocks(disk, folder)
    for count, (name, number) in enumerate(found):
        if count > _MOST_NAMES:
            raise Unsupported(f"the folder of inode {folder.number} has more than {_MOST_NAMES} names")
        if not name or b"/" in name or b"\0" in name:
            raise Damaged(f"a name in the folder of inode {folder.number} is none")
        if name not in (b".", b".."):
            yield name, number


def find(disk: Disk, folder: Inode, name: bytes) -> int | None:
    """The inode number of one name; only the blocks that have its bytes are looked into, for folders that are large."""
    if folder.data.form == LOCAL:
        return next((number for found, number in entries(disk, folder) if found == name), None)
    for first, data in _blocks(disk, folder):
        if name not in data:
            continue
        start, end = _room(disk, folder, first, data)
        for found, number in _block_entries(folder, data, start, end, disk.geometry.ftype):
            if found == name:
                return number
    return None


def _short_form(folder: Inode, data: bytes, ftype: bool) -> t.Iterator[Entry]:
    """Head: count of names, count of those with long numbers, the parent. Entry: length, tag, name, type, number."""
    if len(data) < 6:
        raise Damaged(f"the folder of inode {folder.number} has no room for its parent")
    count, width = data[0], 8 if data[1] else 4
    position = 2 + width
    for _turn in range(count):
        if position >= len(data):
            raise Damaged(f"the folder of inode {folder.number} has fewer names than it says")
        name_at = position + 3
        number_at = name_at + data[position] + ftype
        position = number_at + width
        if position > len(data):
            raise Damaged(f"a name in the folder of inode {folder.number} is longer than the inode")
        yield data[name_at : name_at + data[name_at - 3]], int.from_bytes(data[number_at:position], "big")


def _from_blocks(disk: Disk, folder: Inode) -> t.Iterator[Entry]:
    for first, data in _blocks(disk, folder):
        start, end = _room(disk, folder, first, data)
        yield from _block_entries(folder, data, start, end, disk.geometry.ftype)


def _blocks(disk: Disk, folder: Inode) -> t.Iterator[tuple[int, bytes]]:
    """Each folder block and the address of its beginning; a folder block may be made of several blocks, anywhere."""
    geometry = disk.geometry
    what = f"the folder of inode {folder.number}"
    per, left = geometry.folder_block // geometry.block, _MOST_BYTES
    addresses: list[int] = []
    for first, address in _data_blocks(disk, folder, what):
        if first % per != len(addresses):
            raise Damaged(f"{what} has a gap in a block")
        addresses.append(address)
        if len(addresses) == per:
            yield addresses[0], b"".join(disk.read(at, geometry.block, what) for at in addresses)
            addresses = []
            left -= geometry.folder_block
            if left < 0:
                raise Unsupported(f"{what} is larger than {_MOST_BYTES >> 20} MiB")
    if addresses or left == _MOST_BYTES:
        raise Damaged(f"{what} has no block, or ends within one")


def _data_blocks(disk: Disk, folder: Inode, what: str) -> t.Iterator[tuple[int, int]]:
    """The number in the folder and the address of each block before those of hashes."""
    block = disk.geometry.block
    seen: set[int] = set()
    for extent in extents(disk, folder.data):
        if extent.first >= _HASHES_AT // block:
            return
        if extent.empty:
            raise Damaged(f"{what} has a block that was never written")
        start = disk.address(extent.fsblock, extent.blocks, what)
        for index in range(extent.blocks):
            address = start + index * block
            if address in seen:
                raise Damaged(f"{what} has one block twice")
            seen.add(address)
            yield extent.first + index, address


def _room(disk: Disk, folder: Inode, address: int, data: bytes) -> tuple[int, int]:
    """Where the entries of a folder block begin and end. A folder of a single block keeps its hashes at the end of it."""
    what = f"a block of the folder of inode {folder.number}"
    crc, magic = disk.geometry.crc, data[:4]
    if magic not in ((b"XDD3", b"XDB3") if crc else (b"XD2D", b"XD2B")):
        raise Damaged(f"{what} is none")
    if crc:
        check_self(disk, data, (8, 4), address, folder.number, what)
    start, end = 64 if crc else 16, len(data)
    if magic in (b"XDB3", b"XD2B"):
        end -= 8 + 8 * struct.unpack_from(">I", data, end - 8)[0]
        if end < start:
            raise Damaged(f"{what} has more hashes than room for them")
    return start, end


def _block_entries(folder: Inode, data: bytes, start: int, end: int, ftype: bool) -> t.Iterator[Entry]:
    """Entries: number, length, name, type, tag, in a multiple of 8 bytes. Free room: 0xffff and its length."""
    fixed = 8 + 1 + 2 + ftype
    while start < end:
        if data[start : start + 2] == b"\xff\xff":
            length = int.from_bytes(data[start + 2 : start + 4], "big")
            if length == 0 or length % 8:
                raise Damaged(f"free room in the folder of inode {folder.number} has no length")
        else:
            size = data[start + 8] if start + 8 < end else end
            length = (fixed + size + 7) & ~7
            if start + length <= end:
                yield data[start + 9 : start + 9 + size], int.from_bytes(data[start : start + 8], "big")
        start += length
    if start != end:
        raise Damaged(f"the last entry of the folder of inode {folder.number} does not end with its block")
