# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""btrfs: the data of a file, which stand in its tree, or in extents that may be compressed."""

from __future__ import annotations

import dataclasses
import struct
import typing as t
import zlib

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import lzo, zstd
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.btrfs_super import Disk, Top
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.btrfs_tree import Trees

_EXTENT_DATA = 108
_HEAD = 21
# Compressed extents are never longer, neither packed nor unpacked.
_LONGEST = 128 * 1024


@dataclasses.dataclass(frozen=True)
class _Extent:
    """A range of a file. ``address`` 0 is a hole; ``skip`` are bytes of the (unpacked) extent before the first that counts."""

    start: int
    length: int
    address: int
    stored: int
    skip: int
    unpacked: int
    compression: int
    inline: bytes | None = None

    @property
    def end(self) -> int:
        return self.start + self.length


class Data:
    """Reads files. What was unpacked last is kept, as a reader goes on where it was."""

    def __init__(self, disk: Disk, trees: Trees) -> None:
        self._disk = disk
        self._trees = trees
        self._last: tuple[_Extent, bytes] | None = None

    def read(self, top: Top, inode: int, offset: int, length: int) -> bytes:
        """Bytes of a file that reaches at least as far, holes as zeros."""
        data = bytearray(length)
        last = 0
        for extent in self._extents(top, inode, offset, offset + length):
            if extent.start < last:
                raise Damaged(f"two extents of the file {inode} of the btrfs overlap")
            last = extent.end
            low, high = max(offset, extent.start), min(offset + length, extent.end)
            if low < high and (extent.address or extent.inline is not None):
                data[low - offset : high - offset] = self._part(extent, low - extent.start, high - low, inode)
        return bytes(data)

    def _extents(self, top: Top, inode: int, begin: int, end: int) -> t.Iterator[_Extent]:
        """Those between two places, and the one before: where it ends only its item says."""
        low = self._trees.floor(top, (inode, _EXTENT_DATA, begin))
        if low is None or low[:2] != (inode, _EXTENT_DATA):
            low = (inode, _EXTENT_DATA, begin)
        for key, item in self._trees.items(top, low, (inode, _EXTENT_DATA, end - 1)):
            yield _extent(key[2], item, inode, self._disk.sector)

    def _part(self, extent: _Extent, start: int, length: int, inode: int) -> bytes:
        what = f"the file {inode} of the btrfs"
        if extent.compression == 0 and extent.inline is None:
            return self._disk.read(extent.address + extent.skip + start, length, what)
        if self._last is None or self._last[0] != extent:
            stored = extent.inline
            if stored is None:
                stored = self._disk.read(extent.address, extent.stored, what)
            self._last = extent, _unpacked(extent, stored, self._disk.sector, what)
        return self._last[1][extent.skip + start :][:length].ljust(length, b"\0")


def _extent(start: int, item: bytes, inode: int, sector: int) -> _Extent:
    if len(item) < _HEAD:
        raise Damaged(f"an extent of the file {inode} of the btrfs is too short")
    _generation, unpacked, compression, encryption, other, kind = struct.unpack_from("<QQBBHB", item)
    if encryption or other or compression > 3:
        raise Unsupported(f"the file {inode} of the btrfs is encrypted or packed in a way that is not known here")
    if kind == 0:
        length = unpacked if compression else len(item) - _HEAD
        if start or length > _LONGEST:
            raise Damaged(f"the file {inode} of the btrfs has {length} bytes in its tree, or not at its begin")
        return _Extent(0, length, 0, len(item) - _HEAD, 0, length, compression, item[_HEAD:])
    if kind > 2 or len(item) < _HEAD + 32:
        raise Damaged(f"an extent of the file {inode} of the btrfs is of no known kind or too short")
    address, stored, skip, length = struct.unpack_from("<4Q", item, _HEAD)
    if kind == 2:  # reserved, not written: a hole to who reads it
        address = 0
    if (start | length | address | skip) % sector or length == 0 or skip + length > unpacked:
        raise Damaged(f"an extent of the file {inode} of the btrfs has impossible limits")
    if compression and address and max(stored, unpacked) > _LONGEST:
        raise Damaged(f"a compressed extent of the file {inode} of the btrfs is too long")
    return _Extent(start, length, address, stored, skip, unpacked, compression)


def _unpacked(extent: _Extent, stored: bytes, sector: int, what: str) -> bytes:
    """What is compressed may end before the extent does, which ends with a sector: the rest is zeros."""
    if extent.compression == 0:
        return stored
    try:
        if extent.compression == 1:
            data = zlib.decompressobj().decompress(stored, extent.unpacked)
        elif extent.compression == 2:
            data = lzo.segments(stored, extent.unpacked, sector)
        else:
            data = zstd.decompress(stored, _zstd_size(stored, extent.unpacked))
    except (zlib.error, Damaged) as error:
        raise Damaged(f"{what} cannot be unpacked: {error}") from error
    if len(data) + sector <= extent.unpacked:
        raise Damaged(f"{what} has less in it than it says")
    return data


def _zstd_size(stored: bytes, size: int) -> int:
    """What a frame says its content is long (RFC 8878, 3.1.1.1), if it says so and that is not more than ``size``."""
    if len(stored) < 18:
        stored = stored.ljust(18, b"\0")
    kind, single = stored[4] >> 6, stored[4] >> 5 & 1
    if kind == 0 and not single:
        return size
    start = 5 + (0 if single else 1) + (0, 1, 2, 4)[stored[4] & 3]
    told = int.from_bytes(stored[start : start + (1 << kind)], "little") + (256 if kind == 1 else 0)
    return min(size, told)
