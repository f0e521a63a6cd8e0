# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: what stands below a file system: LVM, RAID, encryption, pools and caches."""

from __future__ import annotations

import struct
import typing as t
import zlib

from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.signature import (
    Signature,
    clean,
    dashed,
    label,
    piece,
)

_MD_MAGIC = 0xA92B4EFC
_BCACHE_MAGIC = bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")
_LUKS_SECONDARY = (0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000, 0x100000, 0x200000, 0x400000)
_BITLOCKER_TO_GO = bytes.fromhex("3bd66749292ed84a8399f6a339e3d001")
_ZFS_LABEL = 256 * 1024
_ZFS_MAGIC = 0x00BAB10C
_UBERBLOCK = 1024


def md_raid(reader: Reader) -> Signature | None:
    """A member of a Linux RAID (linux/raid/md_p.h): version 0.90 and 1.0 end the range, 1.1 and 1.2 begin it."""
    found = _md_old(reader, (reader.size & ~0xFFFF) - 0x10000)
    places = (("1.0", (reader.size & ~0xFFF) - 0x2000), ("1.1", 0), ("1.2", 0x1000))
    for version, offset in places:
        found = found or _md(reader, version, offset)
    return found


def _md(reader: Reader, version: str, offset: int) -> Signature | None:
    head = piece(reader, offset, 256)
    magic, major = struct.unpack_from("<II", head)
    if (magic, major) != (_MD_MAGIC, 1) or struct.unpack_from("<Q", head, 144)[0] != offset // 512:
        return None
    return Signature("linux_raid_member", label(head[32:64]), dashed(head[16:32]), version=version)


def _md_old(reader: Reader, offset: int) -> Signature | None:
    head = piece(reader, offset, 64)
    for order in "<>":
        words = struct.unpack(f"{order}16I", head)
        # A superblock of the whole disk also ends its last partition; it is this range's only if its data fit in.
        if words[0] == _MD_MAGIC and words[1] == 0 and words[8] * 1024 <= offset:
            name = struct.pack(">4I", words[5], *words[13:16])
            version = f"{words[1]}.{words[2]}.{words[3]}"
            return Signature("linux_raid_member", uuid=dashed(name), version=version)
    return None


def lvm(reader: Reader) -> Signature | None:
    """A physical volume of LVM2: its label stands in one of the first four sectors (lib/format_text/layout.h of LVM2)."""
    for sector in range(4):
        head = piece(reader, sector * 512, 512)
        if head[:8] != b"LABELONE" or head[24:32] != b"LVM2 001":
            continue
        number, crc = struct.unpack_from("<QI", head, 8)
        if number != sector or crc != ~zlib.crc32(head[20:], ~0xF597A6CF & 0xFFFFFFFF) & 0xFFFFFFFF:
            continue
        raw = clean(head[32:64].decode("ascii", "surrogateescape"))
        cuts = (0, 6, 10, 14, 18, 22, 26)
        name = "-".join([raw[start:end] for start, end in zip(cuts, cuts[1:])] + [raw[26:]])
        return Signature("LVM2_member", None, name, struct.unpack_from("<Q", head, 64)[0], "LVM2 001")
    return None


def luks(reader: Reader) -> Signature | None:
    """An encrypted range (LUKS1 and LUKS2 on-disk format); of LUKS2 the second header counts when the first is gone."""
    for offset in (0, *_LUKS_SECONDARY):
        head = piece(reader, offset, 264)
        version = struct.unpack_from(">H", head, 6)[0]
        if head[:6] == (b"SKUL\xba\xbe" if offset else b"LUKS\xba\xbe") and _is_luks(version, offset, head):
            name = label(head[24:72]) if version == 2 else None
            return Signature("crypto_LUKS", name, label(head[168:208]), version=str(version))
    return None


def _is_luks(version: int, offset: int, head: bytes) -> bool:
    if version == 1:
        return offset == 0
    return bool(version == 2 and struct.unpack_from(">Q", head, 256)[0] == offset)


def bitlocker(reader: Reader) -> Signature | None:
    """A range that Windows has encrypted, also on a removable disk (BitLocker To Go)."""
    head = piece(reader, 0, 512)
    fixed = head[:3] in {b"\xeb\x52\x90", b"\xeb\x58\x90"} and head[3:11] == b"-FVE-FS-"
    to_go = head[:11] == b"\xeb\x58\x90MSWIN4.1" and head[424:440] == _BITLOCKER_TO_GO
    return Signature("BitLocker") if fixed or to_go else None


def bcache(reader: Reader) -> Signature | None:
    """A bcache device (linux/bcache.h); its superblock says in which sector it stands."""
    head = piece(reader, 4096, 104)
    if head[24:40] != _BCACHE_MAGIC or struct.unpack_from("<Q", head, 8)[0] != 8:
        return None
    return Signature("bcache", label(head[72:104]), dashed(head[40:56]))


def zfs(reader: Reader) -> Signature | None:
    """A member of a ZFS pool: four labels, each with a list of names and values and a ring of uberblocks.

    Four uberblocks are wanted, as one may be left of something older.
    """
    end = reader.size & ~(_ZFS_LABEL - 1)
    found, version, best = 0, 0, None
    for offset in (0, _ZFS_LABEL, end - 2 * _ZFS_LABEL, end - _ZFS_LABEL):
        for number in _uberblocks(piece(reader, offset + _ZFS_LABEL // 2, _ZFS_LABEL // 2)):
            found, version = found + 1, number
            best = offset if best is None else best
    if best is None or found < 4:
        return None
    values = _nvlist(piece(reader, best + 16 * 1024, 112 * 1024))
    name, guid = values.get("name"), values.get("pool_guid")
    return Signature(
        "zfs_member",
        label(name) if isinstance(name, bytes) else None,
        str(guid) if isinstance(guid, int) else None,
        version=str(version),
    )


def _uberblocks(ring: bytes) -> t.Iterator[int]:
    """The versions of the uberblocks in a ring, first the little-endian ones. Nearly every range has none."""
    for order, last in (("<", 0), (">", 7)):
        # One slice has the lowest byte of every magic there can be.
        if _ZFS_MAGIC & 0xFF not in ring[last::_UBERBLOCK]:
            continue
        for start in range(0, len(ring), _UBERBLOCK):
            magic, version = struct.unpack_from(f"{order}QQ", ring, start)
            if magic == _ZFS_MAGIC:
                yield version


def _nvlist(data: bytes) -> dict[str, int | bytes]:
    """The numbers and strings of the top of a list in XDR (libnvpair); stops silently where it makes no sense."""
    found: dict[str, int | bytes] = {}
    offset = 12
    for _turn in range(200):
        if offset + 12 > len(data):
            break
        size, _decoded, length = struct.unpack_from(">3I", data, offset)
        value = offset + 12 + ((length + 3) & ~3)
        if size < 12 or size % 4 or value + 16 > len(data):
            break
        kind = struct.unpack_from(">I", data, value)[0]
        name = data[offset + 12 : offset + 12 + length].decode("ascii", "replace")
        if kind == 8:
            found[name] = struct.unpack_from(">Q", data, value + 8)[0]
        elif kind == 9:
            found[name] = data[value + 12 : value + 12 + min(struct.unpack_from(">I", data, value + 8)[0], 256)]
        offset += size
    return found
