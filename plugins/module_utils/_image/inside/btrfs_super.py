# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""btrfs: its superblock, and where on the disk its addresses are (On-disk Format, btrfs.readthedocs.io).

btrfs addresses its blocks in a space of its own; chunks say which range of it is where on which disk. Only one disk is read
here, with the profiles single and DUP (two copies on the same disk, of which the first is read).
"""

from __future__ import annotations

import bisect
import dataclasses
import struct
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader, exactly
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.signature import dashed, label, power_of_two

_PLACE = 0x10000
_LENGTH = 4096
_CHUNKS = 0x32B
_CHUNKS_LENGTH = 2048

# Features that change nothing of what is read here, or are understood: all up to 64 KiB of metadata, holes without items,
# a UUID of the metadata, and (1 << 16) simple quotas.
_KNOWN = 0xFFF | 1 << 16
_UNKNOWN = {
    1 << 12: "zoned",
    1 << 13: "extent-tree-v2",
    1 << 14: "raid-stripe-tree",
    1 << 17: "remap-tree",
}
_METADUMP = 3 << 33
_DUP = 0x20
_PROFILES = {
    0x08: "RAID0",
    0x10: "RAID1",
    0x40: "RAID10",
    0x80: "RAID5",
    0x100: "RAID6",
    0x200: "RAID1C3",
    0x400: "RAID1C4",
}
_SHIFT_OF_PROFILES = 3
# Of 1 GiB each as a rule: enough for 200 TiB.
_MOST_CHUNKS = 200_000


@dataclasses.dataclass(frozen=True)
class Top:
    """The uppermost block of a tree: its address, its level (0 is a leaf) and the generation that it must have."""

    address: int
    level: int
    generation: int


@dataclasses.dataclass(frozen=True)
class Superblock:
    """What the superblock says, sizes in bytes. ``clean`` is False when there is a log of what was synced last."""

    label: str | None
    uuid: str | None
    size: int
    sector: int
    node: int
    device: int
    clean: bool
    roots: Top
    chunks: Top
    first_chunks: bytes


def superblock(reader: Reader) -> Superblock:
    """The first superblock. Raises Damaged when there is none or it is not sane, Unsupported for what is not read here."""
    raw = exactly(reader, _PLACE, _LENGTH, "the superblock of the btrfs")
    if raw[0x40:0x48] != b"_BHRfS_M":
        raise Damaged("there is no btrfs: its superblock has another magic number")
    place, flags, _magic, generation, roots, chunks, log = struct.unpack_from("<7Q", raw, 0x30)
    total, _used, _folder, devices, sector, node, _leaf, _stripe, length = struct.unpack_from("<4Q5I", raw, 0x70)
    chunk_generation, _compat, _read_only, features, _sum, level, chunk_level = struct.unpack_from("<4QHBB", raw, 0xA4)
    device, device_size = struct.unpack_from("<QQ", raw, 0xC9)
    if place != _PLACE or not (power_of_two(sector, 4096, 65536) and power_of_two(node, sector, 65536)):
        raise Damaged(
            f"the superblock of the btrfs has impossible sizes ({sector} and {node}) or is at the wrong place"
        )
    if length > _CHUNKS_LENGTH:
        raise Damaged(f"the superblock of the btrfs has {length} bytes of chunks, more than fit into it")
    _supported(features, flags, devices)
    if max(total, device_size) > reader.size:
        raise Damaged(f"the btrfs has {max(total, device_size)} bytes, its disk only {reader.size}")
    return Superblock(
        label(raw[0x12B:0x22B]),
        dashed(raw[0x20:0x30]),
        total,
        sector,
        node,
        device,
        log == 0,
        Top(roots, level, generation),
        Top(chunks, chunk_level, chunk_generation),
        raw[_CHUNKS : _CHUNKS + length],
    )


def _supported(features: int, flags: int, devices: int) -> None:
    for bit, name in _UNKNOWN.items():
        if features & bit:
            raise Unsupported(f"the btrfs has the feature {name}, which is not read here")
    if features & ~_KNOWN:
        raise Unsupported(f"the btrfs has features that are not known here ({features & ~_KNOWN:#x})")
    if flags & _METADUMP:
        raise Unsupported("the btrfs is only a dump of metadata without files")
    if devices != 1:
        raise Unsupported(f"the btrfs is on {devices} disks, only one of which is here")


@dataclasses.dataclass(frozen=True)
class _Chunk:
    start: int
    length: int
    place: int


class Disk:
    """Bytes by the addresses of btrfs."""

    def __init__(self, reader: Reader, sb: Superblock) -> None:
        self._reader = reader
        self._device = sb.device
        self._starts: list[int] = []
        self._chunks: list[_Chunk] = []
        self.sector = sb.sector
        self.node = sb.node
        self.take(_first_chunks(sb.first_chunks))

    def take(self, items: t.Iterable[tuple[int, bytes]]) -> None:
        """Adds chunks, each by its address and its item; raises Damaged for one that contradicts another."""
        chunks = {chunk.start: chunk for chunk in self._chunks}
        for start, item in items:
            chunk = _chunk(start, item, self._device)
            if chunks.setdefault(start, chunk) != chunk:
                raise Damaged(f"the btrfs has two different chunks at {start}")
            if len(chunks) > _MOST_CHUNKS:
                raise Damaged(f"the btrfs has more than {_MOST_CHUNKS} chunks")
        self._starts = sorted(chunks)
        self._chunks = [chunks[start] for start in self._starts]
        for before, after in zip(self._chunks, self._chunks[1:]):
            if before.start + before.length > after.start:
                raise Damaged(f"two chunks of the btrfs overlap at {after.start}")

    def read(self, address: int, length: int, what: str) -> bytes:
        """``length`` bytes at ``address``; raises Damaged, which calls them ``what``."""
        pieces = []
        while length > 0:
            number = bisect.bisect_right(self._starts, address) - 1
            chunk = self._chunks[number] if number >= 0 else _Chunk(0, 0, 0)
            inside = address - chunk.start
            if inside >= chunk.length:
                raise Damaged(f"{what} is at {address}, where the btrfs has nothing")
            size = min(length, chunk.length - inside)
            pieces.append(exactly(self._reader, chunk.place + inside, size, what))
            address, length = address + size, length - size
        return b"".join(pieces)


def _first_chunks(raw: bytes) -> t.Iterator[tuple[int, bytes]]:
    """Those that the superblock has itself: they hold the tree of all."""
    offset = 0
    while offset < len(raw):
        if offset + 17 + 48 > len(raw):
            raise Damaged("the chunks in the superblock of the btrfs end too early")
        _owner, kind, start = struct.unpack_from("<QBQ", raw, offset)
        size = 48 + 32 * struct.unpack_from("<H", raw, offset + 17 + 44)[0]
        if kind != 228:
            raise Damaged("the superblock of the btrfs has something else where its chunks should be")
        yield start, raw[offset + 17 : offset + 17 + size]
        offset += 17 + size


def _chunk(start: int, item: bytes, device: int) -> _Chunk:
    if len(item) < 48 + 32:
        raise Damaged(f"the chunk at {start} of the btrfs is too short")
    length, _owner, _stripe, kind = struct.unpack_from("<4Q", item)
    count = struct.unpack_from("<H", item, 44)[0]
    for bit, name in _PROFILES.items():
        if kind & bit:
            raise Unsupported(f"the btrfs uses the profile {name}, which is not read here")
    if kind >> _SHIFT_OF_PROFILES & ~(_DUP >> _SHIFT_OF_PROFILES):
        raise Unsupported(f"the btrfs has chunks of a kind that is not known here ({kind:#x})")
    if count != (2 if kind & _DUP else 1) or length == 0 or len(item) < 48 + 32 * count:
        raise Damaged(f"the chunk at {start} of the btrfs has {length} bytes in {count} copies")
    owner, place = struct.unpack_from("<QQ", item, 48)
    if owner != device:
        raise Unsupported(f"the btrfs has a chunk on another disk (number {owner})")
    return _Chunk(start, length, place)
