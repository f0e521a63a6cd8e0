# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: the superblock and the group descriptors of ext2, ext3 and ext4.

Source of the format: "ext4 Data Structures and Algorithms" of the Linux kernel's documentation; numbers are little-endian.
"""

from __future__ import annotations

import dataclasses
import struct
import typing as t
import uuid

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader, exactly

# Features of s_feature_compat.
_JOURNAL = 0x4
_SPARSE_SUPER2 = 0x200
# Features of s_feature_incompat.
_COMPRESSION, _FILETYPE, _RECOVER, _JOURNAL_DEV, _META_BG = 0x1, 0x2, 0x4, 0x8, 0x10
_64BIT = 0x80
LARGEDIR, EA_INODE = 0x4000, 0x400
# Those that are read: beside the above extents, mmp, flex_bg, csum_seed, inline_data, encrypt (by file) and casefold.
_READ = _FILETYPE | _RECOVER | _META_BG | 0x40 | _64BIT | 0x100 | 0x200 | EA_INODE | 0x2000 | LARGEDIR | 0x38000
# Features of s_feature_ro_compat.
_SPARSE_SUPER, _LARGE_FILE, _BTREE_DIR = 0x1, 0x2, 0x4
_GDT_CSUM, _METADATA_CSUM, _BIGALLOC = 0x10, 0x400, 0x200
# Those with which the bitmaps still mean what they say here; an unknown one may change just that, so much it may.
_BITMAPS_KNOWN = 0x1F77F
_BLOCK_UNINIT = 0x2

_DESCRIPTOR = struct.Struct("<3I6xH12x")
_DESCRIPTOR_HIGH = struct.Struct("<3I")


@dataclasses.dataclass(frozen=True)
class Superblock:
    """``kind`` is blkid's word (ext2, ext3, ext4; jbd for a journal of its own), ``size`` is in bytes.

    ``needs_recovery``: the journal holds changes that are not in their places yet. ``clean`` is the flag that an unmount
    sets, ``has_errors`` the one that the kernel sets when it found damage. What follows is the geometry: numbers of
    blocks unless their name says otherwise, ``cluster`` is the blocks that one bit of a block bitmap stands for.
    """

    kind: str
    label: str | None
    uuid: str | None
    size: int
    block_size: int
    needs_recovery: bool
    clean: bool
    has_errors: bool
    compat: int
    incompat: int
    ro_compat: int
    blocks: int
    first_block: int
    blocks_per_group: int
    clusters_per_group: int
    cluster: int
    inodes: int
    inodes_per_group: int
    inode_size: int
    first_inode: int
    descriptor_size: int
    reserved_descriptors: int
    first_meta_group: int
    backups: tuple[int, int]

    @property
    def groups(self) -> int:
        """How many block groups there are."""
        return -(-(self.blocks - self.first_block) // self.blocks_per_group)

    @property
    def descriptors_per_block(self) -> int:
        """How many group descriptors a block holds."""
        return self.block_size // self.descriptor_size

    @property
    def descriptor_blocks(self) -> int:
        """How many blocks the group descriptors fill."""
        return -(-self.groups // self.descriptors_per_block)

    @property
    def bitmaps_known(self) -> bool:
        """Whether no feature is set that may give the block bitmaps another meaning."""
        return not self.ro_compat & ~_BITMAPS_KNOWN

    def first_of(self, group: int) -> int:
        """The first block of a group."""
        return self.first_block + group * self.blocks_per_group

    def has_backup(self, group: int) -> bool:
        """Whether a group begins with a copy of the superblock (the first one: with the superblock)."""
        if group == 0:
            return True
        if self.compat & _SPARSE_SUPER2:
            return group in self.backups
        if group == 1 or not self.ro_compat & _SPARSE_SUPER:
            return True
        return any(_is_power(group, base) for base in (3, 5, 7))

    def head_of(self, group: int) -> int:
        """How many blocks at the begin of a group hold the superblock, descriptors and what is reserved for them."""
        per_block = self.descriptors_per_block
        count = int(self.has_backup(group))
        if group == 0 and self.block_size == 1024 and self.first_block == 0:
            count += 1  # the boot block, before the superblock
        if self.incompat & _META_BG and group >= self.first_meta_group * per_block:
            return count + int(group % per_block in (0, 1, per_block - 1))
        if not self.has_backup(group):
            return count
        tables = self.first_meta_group if self.incompat & _META_BG else self.descriptor_blocks
        return count + tables + self.reserved_descriptors


class Group(t.NamedTuple):
    """A group descriptor: blocks. ``bitmap`` is None where it was never written, as the group has no data blocks."""

    bitmap: int | None
    bitmap_block: int
    inode_bitmap: int
    inode_table: int


class Groups:
    """The group descriptors of a file system that ``check`` has passed."""

    def __init__(self, reader: Reader, sb: Superblock) -> None:
        self._reader = reader
        self._sb = sb
        self._table_blocks = -(-sb.inodes_per_group * sb.inode_size // sb.block_size)
        self._uninit = _BLOCK_UNINIT if sb.ro_compat & (_GDT_CSUM | _METADATA_CSUM) else 0

    @property
    def table_blocks(self) -> int:
        """How many blocks the inode table of a group has."""
        return self._table_blocks

    def one(self, group: int) -> Group:
        """The descriptor of one group."""
        return self.some(group, 1)[0]

    def some(self, first: int, count: int) -> list[Group]:
        """``count`` descriptors from the group ``first`` on; raises Damaged for one that leads out of the file system."""
        per_block, found = self._sb.descriptors_per_block, []
        while count > 0:
            number, skipped = divmod(first, per_block)
            taken = min(count, per_block - skipped)
            found += self._parsed(first, self._read(number, skipped, taken))
            first, count = first + taken, count - taken
        return found

    def _read(self, number: int, skipped: int, count: int) -> bytes:
        size, block = self._sb.descriptor_size, _place(self._sb, number)
        offset = block * self._sb.block_size + skipped * size
        return exactly(self._reader, offset, count * size, "the table of group descriptors")

    def _parsed(self, first: int, raw: bytes) -> list[Group]:
        sb, found = self._sb, []
        last, last_table = sb.blocks - 1, sb.blocks - self._table_blocks
        for at in range(0, len(raw), sb.descriptor_size):
            bitmap, inodes, table, flags = _DESCRIPTOR.unpack_from(raw, at)
            if sb.descriptor_size >= 64:
                high = _DESCRIPTOR_HIGH.unpack_from(raw, at + 32)
                bitmap, inodes, table = bitmap | high[0] << 32, inodes | high[1] << 32, table | high[2] << 32
            low = sb.first_block
            if not (low < bitmap <= last and low < inodes <= last and low < table <= last_table):
                group = first + at // sb.descriptor_size
                raise Damaged(f"the descriptor of block group {group} leads out of the {sb.kind} file system")
            found.append(Group(None if flags & self._uninit else bitmap, bitmap, inodes, table))
        return found


def superblock(reader: Reader) -> Superblock | None:
    """The superblock, as far as it has to be read to say what is there; None when there is none.

    Raises Damaged for one with a block size that cannot be. Nothing is compared with the disk: see ``check``.
    """
    raw = reader.read(1024, 1024)
    if len(raw) < 1024 or raw[56:58] != b"\x53\xef":
        return None
    (log_block,) = struct.unpack_from("<I", raw, 0x18)
    if log_block > 6:
        raise Damaged(
            f"the superblock of the ext file system gives an impossible block size (2^{log_block + 10} bytes)"
        )
    return _parsed(raw, 1024 << log_block)


def _parsed(raw: bytes, block_size: int) -> Superblock:
    compat, incompat, ro_compat = struct.unpack_from("<3I", raw, 0x5C)
    inodes, blocks = struct.unpack_from("<2I", raw, 0)
    first_block, _log, log_cluster, per_group, clusters_per_group, inodes_per_group = struct.unpack_from(
        "<6I", raw, 0x14
    )
    (state,) = struct.unpack_from("<H", raw, 0x3A)
    (revision,) = struct.unpack_from("<I", raw, 0x4C)
    first_inode, inode_size = struct.unpack_from("<IH", raw, 0x54) if revision else (11, 128)
    reserved, descriptor_size = (struct.unpack_from("<H", raw, at)[0] for at in (0xCE, 0xFE))
    if incompat & _64BIT:
        blocks |= struct.unpack_from("<I", raw, 0x150)[0] << 32
    log_cluster -= block_size.bit_length() - 11
    bigalloc = bool(ro_compat & _BIGALLOC)
    return Superblock(
        kind=_kind(compat, incompat, ro_compat),
        label=raw[0x78:0x88].split(b"\0")[0].decode("utf-8", "surrogateescape") or None,
        uuid=str(uuid.UUID(bytes=raw[0x68:0x78])) if any(raw[0x68:0x78]) else None,
        size=blocks * block_size,
        block_size=block_size,
        needs_recovery=bool(incompat & _RECOVER),
        clean=bool(state & 1),
        has_errors=bool(state & 2),
        compat=compat,
        incompat=incompat,
        ro_compat=ro_compat,
        blocks=blocks,
        first_block=first_block,
        blocks_per_group=per_group,
        clusters_per_group=clusters_per_group if bigalloc else per_group,
        # An impossible one becomes 0, which no other field can match.
        cluster=(1 << log_cluster if 0 <= log_cluster < 20 else 0) if bigalloc else 1,
        inodes=inodes,
        inodes_per_group=inodes_per_group,
        inode_size=inode_size,
        first_inode=first_inode,
        descriptor_size=descriptor_size if incompat & _64BIT else 32,
        reserved_descriptors=reserved,
        first_meta_group=struct.unpack_from("<I", raw, 0x104)[0],
        backups=struct.unpack_from("<2I", raw, 0x24C),
    )


def _kind(compat: int, incompat: int, ro_compat: int) -> str:
    if incompat & _JOURNAL_DEV:
        return "jbd"
    old = _SPARSE_SUPER | _LARGE_FILE | _BTREE_DIR
    if ro_compat & ~old or incompat & ~(_FILETYPE | _RECOVER | _META_BG):
        return "ext4"
    return "ext3" if compat & _JOURNAL else "ext2"


def check(sb: Superblock, disk: int) -> None:
    """Raises Unsupported for a feature that is not read, Damaged for a geometry that cannot be on ``disk`` bytes."""
    if sb.incompat & _JOURNAL_DEV:
        raise Unsupported("it is the journal of another ext3 or ext4 file system and has no files")
    if sb.incompat & _COMPRESSION:
        raise Unsupported(f"the {sb.kind} file system has compressed files, which are not read here")
    if sb.incompat & ~_READ:
        raise Unsupported(f"the {sb.kind} file system has features that are not known here ({sb.incompat & ~_READ:#x})")
    if sb.size > disk:
        raise Damaged(f"the {sb.kind} file system of {sb.size} bytes is larger than its disk of {disk} bytes")
    wrong = _wrong_sizes(sb) or _wrong_counts(sb)
    if wrong:
        raise Damaged(f"the superblock of the {sb.kind} file system contradicts itself ({wrong})")


def _wrong_sizes(sb: Superblock) -> str | None:
    bits = sb.block_size * 8
    if sb.first_block != int(sb.block_size == 1024 and not sb.ro_compat & _BIGALLOC):
        return "first data block"
    if not 0 < sb.clusters_per_group <= bits or sb.blocks_per_group != sb.clusters_per_group * sb.cluster:
        return "blocks per group"
    if not _power_of_two(sb.inode_size, 128, sb.block_size):
        return "inode size"
    if not _power_of_two(sb.descriptor_size, 64 if sb.incompat & _64BIT else 32, 1024):
        return "size of a group descriptor"
    if not 0 < sb.inodes_per_group <= bits:
        return "inodes per group"
    return None


def _wrong_counts(sb: Superblock) -> str | None:
    if sb.blocks <= sb.first_block + 1:
        return "number of blocks"
    if sb.inodes != sb.groups * sb.inodes_per_group or sb.first_inode > sb.inodes:
        return "number of inodes"
    if sb.incompat & _META_BG and sb.first_meta_group > sb.descriptor_blocks:
        return "first meta block group"
    if _place(sb, sb.descriptor_blocks - 1) >= sb.blocks:
        return "number of block groups"
    return None


def _place(sb: Superblock, number: int) -> int:
    """The block where the descriptor block ``number`` is."""
    boot = int(sb.block_size == 1024 and sb.first_block == 0)
    if not sb.incompat & _META_BG or number < sb.first_meta_group:
        return sb.first_block + boot + 1 + number
    group = number * sb.descriptors_per_block
    return sb.first_of(group) + int(sb.has_backup(group)) + (boot if number == 0 else 0)


def _power_of_two(number: int, least: int, most: int) -> bool:
    return least <= number <= most and not number & (number - 1)


def _is_power(number: int, base: int) -> bool:
    while number % base == 0 and number > 1:
        number //= base
    return number == 1
