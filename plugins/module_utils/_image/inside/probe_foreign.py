# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: the file systems that Linux shares with others: FAT, exFAT, NTFS and those of optical disks."""

from __future__ import annotations

import dataclasses
import struct

from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.signature import (
    Signature,
    clean,
    label,
    piece,
    power_of_two,
    wide_label,
)

_STEPS = 100  # clusters of a root folder that are searched for a name: it is among the first entries


def _serial(raw: bytes) -> str | None:
    return f"{raw[3]:02X}{raw[2]:02X}-{raw[1]:02X}{raw[0]:02X}" if any(raw) else None


@dataclasses.dataclass(frozen=True)
class Fat:
    """What a boot sector says, in sectors of ``sector`` bytes; ``entries`` is 0 for FAT32."""

    boot: bytes
    sector: int
    cluster: int
    reserved: int
    entries: int
    total: int
    table: int
    tables: int

    @property
    def data(self) -> int:
        """The first sector of cluster 2, the first one."""
        return self.reserved + self.table * self.tables + -(-self.entries * 32 // self.sector)

    @property
    def clusters(self) -> int:
        return (self.total - self.data) // self.cluster

    @property
    def bits(self) -> int:
        """Of an entry of the table: 12, 16 or 32."""
        return 32 if self.wide else 16 if self.clusters > 4084 else 12

    @property
    def wide(self) -> bool:
        return not any(self.boot[22:24])


def vfat(reader: Reader) -> Signature | None:
    """FAT12, FAT16 and FAT32 (Microsoft's FAT specification); the name is the one in the root folder, as the one in the
    boot sector is often out of date."""
    fat = fat_boot(piece(reader, 0, 512))
    if fat is None:
        return None
    limit = 0x0FFFFFF6 if fat.wide else 65524
    if not 0 < fat.clusters <= limit:
        return None
    version = f"FAT{fat.bits}"
    name = _fat32_label(reader, fat) if fat.wide else _fat16_label(reader, fat)
    serial = fat.boot[67:71] if fat.wide else fat.boot[39:43]
    return Signature("vfat", name, _serial(serial), fat.total * fat.sector, version)


def fat_boot(boot: bytes) -> Fat | None:
    """The sizes in a boot sector; None when it is none of FAT, or of something that only looks like it."""
    named = boot[82:90] == b"FAT32   " or boot[82:87] == b"MSWIN" or boot[54:59] == b"MSDOS"
    named = named or boot[54:62] in {b"FAT16   ", b"FAT12   ", b"FAT     "}
    if not named and (boot[510:512] != b"\x55\xaa" or boot[54:62] in {b"JFS     ", b"HPFS    "}):
        return None
    if boot[3:11] in {b"NTFS    ", b"EXFAT   ", b"-FVE-FS-"}:
        return None
    sector, cluster, reserved, tables, entries, small, media, table = struct.unpack_from("<HBHBHHBH", boot, 11)
    total = small or struct.unpack_from("<I", boot, 32)[0]
    table = table or struct.unpack_from("<I", boot, 36)[0]
    sane = power_of_two(sector, 512, 4096) and power_of_two(cluster, 1, 128) and (media >= 0xF8 or media == 0xF0)
    if not sane or not all((reserved, tables, table)):
        return None
    return Fat(boot, sector, cluster, reserved, entries, total, table, tables)


def _fat16_label(reader: Reader, fat: Fat) -> str | None:
    start = (fat.reserved + fat.table * fat.tables) * fat.sector
    return _fat_label(piece(reader, start, fat.entries * 32))[0]


def _fat32_label(reader: Reader, fat: Fat) -> str | None:
    number = struct.unpack_from("<I", fat.boot, 44)[0]
    for _turn in range(_STEPS):
        if not 2 <= number < fat.clusters + 2:
            return None
        start = (fat.data + (number - 2) * fat.cluster) * fat.sector
        name, ended = _fat_label(piece(reader, start, fat.cluster * fat.sector))
        if ended:
            return name
        number = struct.unpack("<I", piece(reader, fat.reserved * fat.sector + number * 4, 4))[0] & 0x0FFFFFFF
    return None


def _fat_label(folder: bytes) -> tuple[str | None, bool]:
    """The name among the entries, and whether no more need be read."""
    for start in range(0, len(folder) - 31, 32):
        entry = folder[start : start + 32]
        if entry[0] == 0:
            return None, True
        kind = entry[11]
        if entry[0] != 0xE5 and kind & 0x3F != 0x0F and kind & 0x18 == 0x08 and not any(entry[20:22] + entry[26:28]):
            raw = b"\xe5" + entry[1:11] if entry[0] == 0x05 else entry[:11]
            return label(raw), True
    return None, False


def exfat(reader: Reader) -> Signature | None:
    """exFAT (Microsoft's exFAT specification); its name is an entry of the root folder."""
    boot = piece(reader, 0, 512)
    if boot[3:11] != b"EXFAT   " or not (9 <= boot[108] <= 12 and boot[108] + boot[109] <= 25):
        return None
    total, table, _length, heap, clusters, number = struct.unpack_from("<QIIIII", boot, 72)
    name = None
    for _turn in range(_STEPS):
        if not 2 <= number < clusters + 2:
            break
        start = (heap << boot[108]) + ((number - 2) << (boot[108] + boot[109]))
        name, ended = _exfat_label(piece(reader, start, min(1 << (boot[108] + boot[109]), 65536)))
        if ended:
            break
        number = struct.unpack("<I", piece(reader, (table << boot[108]) + number * 4, 4))[0]
    return Signature("exfat", name, _serial(boot[100:104]), total << boot[108], f"{boot[105]}.{boot[104]}")


def _exfat_label(folder: bytes) -> tuple[str | None, bool]:
    for start in range(0, len(folder) - 31, 32):
        if folder[start] == 0:
            return None, True
        if folder[start] == 0x83:
            return wide_label(folder[start + 2 : start + 2 + 2 * min(folder[start + 1], 11)]), True
    return None, False


def ntfs(reader: Reader) -> Signature | None:
    """NTFS; its name is an attribute of record 3 of the table of files ($Volume)."""
    boot = piece(reader, 0, 512)
    sector, factor = struct.unpack_from("<HB", boot, 11)
    total, table = struct.unpack_from("<QQ", boot, 40)
    if boot[3:11] != b"NTFS    " or not power_of_two(sector, 256, 4096):
        return None
    factor = factor if factor <= 128 else 1 << min(256 - factor, 31)
    power = struct.unpack_from("<b", boot, 64)[0]
    record = power * factor * sector if power > 0 else 1 << min(-power, 31)
    if not power_of_two(factor, 1, 1 << 22) or not power_of_two(record, 256, 65536):
        return None
    name = _ntfs_label(piece(reader, table * factor * sector + 3 * record, record))
    serial = struct.unpack_from("<Q", boot, 72)[0]
    return Signature("ntfs", name, f"{serial:016X}" if serial else None, total * sector)


def _ntfs_label(record: bytes) -> str | None:
    offset = struct.unpack_from("<H", record, 20)[0]
    if record[:4] != b"FILE":
        return None
    while offset + 24 <= len(record):
        kind, size = struct.unpack_from("<II", record, offset)
        if kind == 0x60:
            length, start = struct.unpack_from("<IH", record, offset + 16)
            return wide_label(record[offset + start : offset + start + min(length, 256)])
        if size < 24 or kind == 0xFFFFFFFF:
            break
        offset += size
    return None


def udf(reader: Reader) -> Signature | None:
    """UDF by its volume recognition sequence (ECMA-167); its names are not read."""
    for start in range(0x8000, 0x10000, 2048):
        identifier = piece(reader, start + 1, 5)
        if identifier in {b"NSR02", b"NSR03"}:
            return Signature("udf")
        if identifier not in {b"BEA01", b"CD001", b"BOOT2", b"CDW02", b"TEA01"}:
            break
    return None


def iso9660(reader: Reader) -> Signature | None:
    """ISO 9660, with the longer or better name of Joliet when there is one."""
    first, wide = None, None
    for start in range(0x8000, 0x10000, 2048):
        block = piece(reader, start, 2048)
        if block[1:6] != b"CD001" or block[0] == 255:
            break
        if block[0] == 1 and first is None:
            first = block
        elif block[0] == 2 and block[88:91] in {b"%/@", b"%/C", b"%/E"}:
            wide = wide or wide_label(block[40:72], "be")
    if first is None:
        return None
    narrow = label(first[40:72])
    size = struct.unpack_from("<I", first, 80)[0] * struct.unpack_from("<H", first, 128)[0]
    name = _joliet(wide, narrow or "") if wide else narrow
    return Signature("iso9660", name, _date(first[830:846]) or _date(first[813:829]), size)


def _joliet(wide: str, narrow: str) -> str:
    """Joliet has room for 16 characters only: what follows is taken from the other name if both begin alike."""
    same = len(wide) == 16 < len(narrow)
    same = same and all(one in {"_", other} or one.lower() == other.lower() for one, other in zip(narrow, wide))
    return wide + narrow[16:] if same else wide


def _date(raw: bytes) -> str | None:
    text = raw.decode("ascii", "surrogateescape")
    if text.strip("0\0 ") == "":
        return None
    parts = [text[:4], *(text[start : start + 2] for start in range(4, 16, 2))]
    return clean("-".join(parts))
