# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""XFS: the superblock, and the addresses that follow from it.

Source: "XFS Algorithms & Data Structures" (kernel.org, xfs-documentation). All numbers of XFS are big-endian, except
checksums. A file system is cut into allocation groups of equal length (the last may be shorter); the address of a block
(an "fsblock") has the number of its group in the high bits.
"""

from __future__ import annotations

import dataclasses
import struct
import typing as t
import uuid as uuids

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Cached, Reader, exactly

_HEAD = struct.Struct(">4sIQ16x16sQQ20xII4xIHHHH12sBBBBBxBx")
_LATER = struct.Struct(">BB2xIIIIIII")  # from byte 192
_LATER_AT, _META_UUID_AT, _CRC_AT = 192, 248, 224
_CHECKED = 8192  # blocks whose checksum is remembered to be right

# Bits of the version word, of the second word of version 4, and of the features of version 5 that a reader must know.
_MORE_BITS, _FOLDERS_2, _NO_CASE, _V4_FTYPE = 0x8000, 0x2000, 0x4000, 0x200
_FTYPE, _META_UUID, _NEEDS_REPAIR = 0x1, 0x4, 0x10
# Known besides: sparse inodes, big time stamps, large extent counters, exchanged ranges, parent pointers, metadata folders.
_KNOWN = _FTYPE | _META_UUID | 0x2 | 0x8 | 0x20 | 0x40 | 0x80 | 0x100


def _crc_table() -> tuple[int, ...]:
    table = []
    for number in range(256):
        value = number
        for _bit in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc32c(data: bytes, value: int = 0) -> int:
    """The checksum of XFS (Castagnoli); ``value`` is that of what stands before ``data``."""
    table = _CRC_TABLE
    value ^= 0xFFFFFFFF
    for byte in data:
        value = (value >> 8) ^ table[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def crc_without(data: bytes, offset: int) -> int:
    """The checksum of a structure that has its own, counted as zeros, at ``offset``."""
    return crc32c(data[offset + 4 :], crc32c(b"\0\0\0\0", crc32c(data[:offset])))


def check_crc(data: bytes, offset: int, what: str) -> None:
    """Raises Damaged, which calls the structure ``what``, where its checksum at ``offset`` is not the right one."""
    if crc_without(data, offset) != int.from_bytes(data[offset : offset + 4], "little"):
        raise Damaged(f"the checksum of {what} is wrong")


class _Raw(t.NamedTuple):
    """The first 128 bytes, under the specification's names."""

    magic: bytes
    blocksize: int
    dblocks: int
    uuid: bytes
    logstart: int
    rootino: int
    agblocks: int
    agcount: int
    logblocks: int
    versionnum: int
    sectsize: int
    inodesize: int
    inopblock: int
    fname: bytes
    blocklog: int
    sectlog: int
    inodelog: int
    inopblog: int
    agblklog: int
    inprogress: int


class _Later(t.NamedTuple):
    """What stands from byte 192."""

    dirblklog: int
    logsectlog: int
    logsunit: int
    features2: int
    bad_features2: int
    compat: int
    ro_compat: int
    incompat: int
    log_incompat: int


@dataclasses.dataclass(frozen=True)
class Superblock:
    """What is told without a look at anything else; ``size`` (of the file system) and ``block_size`` are in bytes."""

    label: str | None
    uuid: str | None
    size: int
    block_size: int


@dataclasses.dataclass(frozen=True)
class Geometry:
    """The checked superblock. ``block``, ``sector``, ``inode`` and ``folder_block`` are lengths in bytes, other lengths
    are counted in blocks; ``group_bits`` is the part of an fsblock that counts in its group; ``log_start`` is an fsblock
    (0: the log is on another device); ``stamp`` is the UUID that blocks carry, ``uuid`` the one that users see."""

    told: Superblock
    version: int
    block: int
    blocks: int
    sector: int
    inode: int
    groups: int
    group_blocks: int
    group_bits: int
    root: int
    folder_block: int
    ftype: bool
    uuid: bytes
    stamp: bytes
    log_start: int
    log_blocks: int
    log_features: int

    @property
    def crc(self) -> bool:
        """Whether blocks describe themselves (checksum, owner, address), as they do since version 5."""
        return self.version == 5

    def group_length(self, group: int) -> int:
        """The number of blocks of an allocation group."""
        return min(self.group_blocks, self.blocks - group * self.group_blocks)


def _tell(raw: _Raw) -> Superblock:
    if not _is_power(raw.blocksize, 512, 65536) or not 0 < raw.dblocks <= 1 << 52:
        raise Damaged(f"the superblock of the xfs tells of {raw.dblocks} blocks of {raw.blocksize} bytes")
    label = raw.fname.split(b"\0")[0].decode("utf-8", "surrogateescape") or None
    uuid = str(uuids.UUID(bytes=raw.uuid)) if any(raw.uuid) else None
    return Superblock(label, uuid, raw.dblocks * raw.blocksize, raw.blocksize)


def superblock(reader: Reader) -> Superblock | None:
    """The superblock of an xfs, None where there is none; raises Damaged where its sizes make no sense."""
    data = reader.read(0, 512)
    return _tell(_Raw(*_HEAD.unpack_from(data))) if len(data) == 512 and data[:4] == b"XFSB" else None


def _is_power(value: int, least: int, most: int) -> bool:
    return least <= value <= most and value & (value - 1) == 0


def _check_sizes(raw: _Raw, dirblklog: int) -> None:
    """The kernel's own rules (xfs_validate_sb_common): all later arithmetic leans on them."""
    agrees = (
        _is_power(raw.sectsize, 512, 32768)
        and _is_power(raw.inodesize, 256, 2048)
        and raw.inodesize <= raw.blocksize
        and (1 << raw.blocklog, 1 << raw.sectlog) == (raw.blocksize, raw.sectsize)
        and (1 << raw.inodelog, 1 << raw.inopblog) == (raw.inodesize, raw.inopblock)
        and raw.inopblock * raw.inodesize == raw.blocksize
        and raw.blocklog + dirblklog <= 16
    )
    if not agrees:
        raise Damaged("the sizes of sectors, inodes and blocks in the superblock contradict each other")
    groups = -(-raw.dblocks // raw.agblocks) if raw.agblocks >= 64 else 0
    if raw.agcount == 0 or groups != raw.agcount or raw.agblklog != (raw.agblocks - 1).bit_length():
        raise Damaged("the superblock's allocation groups do not add up to the file system")
    if raw.inprogress:
        raise Damaged("the making of the xfs was never finished")


def _check_features(raw: _Raw, later: _Later) -> None:
    version = raw.versionnum & 0xF
    if version not in (4, 5):
        raise Unsupported(f"version {version} of xfs is not read here")
    if not raw.versionnum & _FOLDERS_2:
        raise Unsupported("xfs with folders of version 1 is not read here")
    if raw.versionnum & _NO_CASE:
        raise Unsupported("xfs whose names ignore upper and lower case is not read here")
    if version == 5:
        if later.incompat & _NEEDS_REPAIR:
            raise Damaged("the xfs is marked as in need of xfs_repair")
        if later.incompat & ~_KNOWN:
            raise Unsupported(f"the xfs has features that are not known here (incompat {later.incompat & ~_KNOWN:#x})")
        if raw.inodesize < 512 or raw.blocksize < 1024:
            raise Damaged("the inodes or blocks of the xfs are too small for its version 5")


def geometry(reader: Reader) -> Geometry:
    """Reads and checks the superblock; raises Damaged, and Unsupported for a feature that would mislead a reader."""
    told = superblock(reader)
    if told is None:
        raise Damaged("there is no superblock of an xfs")
    data = exactly(reader, 0, 512, "the superblock")
    raw, later = _Raw(*_HEAD.unpack_from(data)), _Later(*_LATER.unpack_from(data, _LATER_AT))
    _check_features(raw, later)
    _check_sizes(raw, later.dirblklog)
    if told.size > reader.size:
        raise Damaged(f"the xfs of {told.size} bytes is larger than its disk of {reader.size} bytes")
    version_5 = raw.versionnum & 0xF == 5
    if version_5:
        check_crc(exactly(reader, 0, raw.sectsize, "the superblock"), _CRC_AT, "the superblock")
    more = (later.features2 | later.bad_features2) if raw.versionnum & _MORE_BITS else 0
    own_stamp = version_5 and later.incompat & _META_UUID
    return Geometry(
        told=told,
        version=raw.versionnum & 0xF,
        block=raw.blocksize,
        blocks=raw.dblocks,
        sector=raw.sectsize,
        inode=raw.inodesize,
        groups=raw.agcount,
        group_blocks=raw.agblocks,
        group_bits=raw.agblklog,
        root=raw.rootino,
        folder_block=raw.blocksize << later.dirblklog,
        ftype=bool(later.incompat & _FTYPE) if version_5 else bool(more & _V4_FTYPE),
        uuid=raw.uuid,
        stamp=data[_META_UUID_AT : _META_UUID_AT + 16] if own_stamp else raw.uuid,
        log_start=raw.logstart,
        log_blocks=raw.logblocks,
        log_features=later.log_incompat if version_5 else 0,
    )


class Disk:
    """The blocks of a file system. ``raw`` is for data, which is read once; the rest goes through a cache."""

    def __init__(self, reader: Reader) -> None:
        self.geometry = geometry(reader)
        self.raw = reader
        self._cached = Cached(reader)
        self._checked: set[int] = set()

    def address(self, fsblock: int, count: int, what: str) -> int:
        """The offset in bytes of ``count`` blocks; raises Damaged where they are not all in one group."""
        geometry = self.geometry
        group, inside = fsblock >> geometry.group_bits, fsblock & ((1 << geometry.group_bits) - 1)
        if group >= geometry.groups or inside + count > geometry.group_length(group):
            raise Damaged(f"{what} lies outside the file system")
        return (group * geometry.group_blocks + inside) * geometry.block

    def read(self, offset: int, length: int, what: str) -> bytes:
        """``length`` bytes of metadata; raises Damaged where the disk ends before."""
        return exactly(self._cached, offset, length, what)

    def check(self, data: bytes, crc_at: int, address: int, what: str) -> None:
        """Compares the checksum of a block that was read from ``address``, once; raises Damaged."""
        if address in self._checked:
            return
        check_crc(data, crc_at, what)
        if len(self._checked) >= _CHECKED:
            self._checked.clear()
        self._checked.add(address)
