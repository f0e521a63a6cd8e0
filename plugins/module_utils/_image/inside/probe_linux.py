# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: the file systems of Linux by their superblocks (as in linux/fs/*), and swap."""

from __future__ import annotations

import struct

from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.signature import (
    Signature,
    dashed,
    label,
    piece,
    power_of_two,
    wide_label,
)

_SUSPENDED = {
    b"S1SUSPEND\0": "s1suspend",
    b"S2SUSPEND\0": "s2suspend",
    b"ULSUSPEND\0": "ulsuspend",
    b"LINHIB0001": "linhib0001",
    b"\xed\xc3\x02\xe9\x98\x56\xe5\x0c": "tuxonice",
}


def ext(reader: Reader) -> Signature | None:
    """ext2, ext3, ext4, or the journal of one that stands outside of it (jbd)."""
    block = piece(reader, 1024, 1024)
    shift = struct.unpack_from("<I", block, 24)[0]
    kind = _ext_kind(block) if block[56:58] == b"\x53\xef" else None
    if kind is None or shift > 6:
        return None
    count = struct.unpack_from("<I", block, 4)[0]
    if struct.unpack_from("<I", block, 96)[0] & 0x80:  # 64bit
        count |= struct.unpack_from("<I", block, 336)[0] << 32
    major, minor = struct.unpack_from("<I", block, 76)[0], struct.unpack_from("<H", block, 62)[0]
    return Signature(kind, label(block[120:136]), dashed(block[104:120]), count << (10 + shift), f"{major}.{minor}")


def _ext_kind(block: bytes) -> str | None:
    """blkid's rule: the name of the oldest driver that knows all features."""
    compat, incompat, read_only = struct.unpack_from("<III", block, 92)
    journal = compat & 0x4
    if incompat & 0x8:
        return "jbd"
    if struct.unpack_from("<I", block, 352)[0] & 0x4:
        return "ext4dev"
    if read_only & ~0x7 or incompat & ~0x16:  # more than file types, recovery and meta groups
        return "ext4"
    if journal:
        return "ext3"
    return None if incompat & 0x4 else "ext2"


def xfs(reader: Reader) -> Signature | None:
    """XFS, all versions."""
    block = piece(reader, 0, 264)
    size, blocks = struct.unpack_from(">IQ", block, 4)
    version, sector = struct.unpack_from(">HH", block, 100)
    sane = power_of_two(size, 512, 65536) and power_of_two(sector, 512, 32768) and 1 <= version & 0xF <= 5
    if block[:4] != b"XFSB" or not sane:
        return None
    return Signature("xfs", label(block[108:120]), dashed(block[32:48]), size * blocks)


def btrfs(reader: Reader) -> Signature | None:
    """btrfs, by its first superblock."""
    block = piece(reader, 0x10000, 4096)
    sector = struct.unpack_from("<I", block, 0x90)[0]
    if block[0x40:0x48] != b"_BHRfS_M" or not power_of_two(sector, 512, 65536):
        return None
    return Signature("btrfs", label(block[0x12B:0x22B]), dashed(block[32:48]), struct.unpack_from("<Q", block, 0x70)[0])


def swap(reader: Reader) -> Signature | None:
    """Swap space of either version, or one that holds a suspended system; the page size is that of its machine."""
    for page in (4096, 8192, 16384, 32768, 65536):
        magic = piece(reader, page - 10, 10)
        if magic == b"SWAP-SPACE":
            return Signature("swap", version="0")
        if magic == b"SWAPSPACE2":
            return _swap("swap", "1", reader, page)
        version = _SUSPENDED.get(magic) or _SUSPENDED.get(magic[:8])
        if version:
            return _swap("swsuspend", version, reader, page)
    return None


def _swap(kind: str, version: str, reader: Reader, page: int) -> Signature | None:
    head = piece(reader, 1024, 1024)
    for order in "<>":
        number, last = struct.unpack_from(f"{order}II", head)
        if number == 1 and last:
            # Old mkswap left rubbish behind the header: then there is neither name nor number in it.
            named = not any(head[172:180])
            name, uuid = (label(head[28:44]), dashed(head[12:28])) if named else (None, None)
            return Signature(kind, name, uuid, (last + 1) * page, version)
    return None


def reiserfs(reader: Reader) -> Signature | None:
    """ReiserFS 3.5 and 3.6; a name and a UUID are new in 3.6."""
    for offset in (0x10000, 0x2000):
        block = piece(reader, offset, 128)
        version = {b"ReIsErFs": "3.5", b"ReIsEr2Fs": "3.6", b"ReIsEr3Fs": "JR"}.get(block[52:62].rstrip(b"\0"))
        size = struct.unpack_from("<H", block, 44)[0]
        if version and power_of_two(size, 512, 8192):
            total = size * struct.unpack_from("<I", block)[0]
            if version == "3.5":
                return Signature("reiserfs", size=total, version=version)
            return Signature("reiserfs", label(block[100:116]), dashed(block[84:100]), total, version)
    return None


def jfs(reader: Reader) -> Signature | None:
    """IBM's JFS; its block sizes stand there twice, as numbers and as powers."""
    block = piece(reader, 0x8000, 184)
    blocks, size, power, factor, physical, power2 = struct.unpack_from("<QIHHIH", block, 8)
    if block[:4] != b"JFS1" or power > 16 or power2 > 16:
        return None
    if size != 1 << power or physical != 1 << power2 or power - power2 != factor:
        return None
    version = str(struct.unpack_from("<I", block, 4)[0])
    return Signature("jfs", label(block[152:168]), dashed(block[136:152]), blocks * physical, version)


def squashfs(reader: Reader) -> Signature | None:
    """SquashFS 4, and older ones that were written on a little-endian machine."""
    block = piece(reader, 0, 96)
    major, minor = struct.unpack_from("<HH", block, 28)
    if block[:4] != b"hsqs":
        return None
    if major < 4:
        return Signature("squashfs3", version=f"{major}.{minor}")
    return Signature("squashfs", size=struct.unpack_from("<Q", block, 40)[0], version=f"{major}.{minor}")


def erofs(reader: Reader) -> Signature | None:
    """EROFS."""
    block = piece(reader, 1024, 128)
    if block[:4] != b"\xe2\xe1\xf5\xe0" or not 9 <= block[12] <= 16:
        return None
    size = struct.unpack_from("<I", block, 36)[0] << block[12]
    return Signature("erofs", label(block[64:80]), dashed(block[48:64]), size)


def f2fs(reader: Reader) -> Signature | None:
    """F2FS; its name is in UTF-16."""
    block = piece(reader, 1024, 124 + 1024)
    magic, major, minor = struct.unpack_from("<IHH", block)
    power = struct.unpack_from("<I", block, 16)[0]
    if magic != 0xF2F52010 or not 9 <= power <= 16:
        return None
    size = struct.unpack_from("<Q", block, 36)[0] << power
    return Signature("f2fs", wide_label(block[124:1148]), dashed(block[108:124]), size, f"{major}.{minor}")
