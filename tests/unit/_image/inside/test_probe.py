# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images, inside: what a range holds. blkid is asked the same of the same bytes, made by mkfs or by hand."""

from __future__ import annotations

import os
import pathlib
import random
import re
import shutil
import struct
import subprocess
import typing as t
import uuid
import zlib

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import (
    probe,
    probe_foreign,
    probe_layers,
    probe_linux,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import RawFile
from hypothesis import given, settings
from hypothesis import strategies as st

MIB = 1 << 20
UUID = "01234567-89ab-cdef-0123-456789abcdef"
RAW = uuid.UUID(UUID).bytes
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class Bytes:
    """A disk of zeros with pieces on it."""

    def __init__(self, size: int, pieces: dict[int, bytes]) -> None:
        self.size, self.pieces = size, pieces

    def read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size - offset))
        data = bytearray(length)
        for start, raw in self.pieces.items():
            low, high = max(start, offset), min(start + len(raw), offset + length)
            if low < high:
                data[low - offset : high - offset] = raw[low - start : high - start]
        return bytes(data)


def run(*words: object) -> str:
    program = shutil.which(str(words[0]), path=PATH)
    if program is None:
        pytest.skip(f"the program {words[0]} is not installed")
    done = subprocess.run(
        [program, *map(str, words[1:])], capture_output=True, text=True, errors="surrogateescape", check=False
    )
    assert done.returncode == 0 or words[0] == "blkid", done.stderr
    return done.stdout


def blkid(path: pathlib.Path) -> dict[str, str]:
    """What blkid says; its backslashes are for shells, and a label is asked for alone as only that gives its bytes."""
    out = run("blkid", "-p", "-o", "export", path)
    said = {key: re.sub(r"\\(.)", r"\1", value) for key, value in re.findall(r"^(\w+)=(.*)$", out, re.M)}
    if "LABEL" in said:
        said["LABEL"] = run("blkid", "-p", "-o", "value", "-s", "LABEL", path).rstrip("\n")
    return said


def identify(path: pathlib.Path) -> probe.Signature | None:
    fd = os.open(path, os.O_RDONLY)
    try:
        return probe.identify(RawFile(fd))
    finally:
        os.close(fd)


def blank(folder: pathlib.Path, size: int) -> pathlib.Path:
    path = folder / "disk"
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    return path


def agree(path: pathlib.Path, kind: str) -> probe.Signature:
    """Asserts that blkid sees the same, and gives what was found."""
    said, found = blkid(path), identify(path)
    assert found is not None
    assert found.kind == said.get("TYPE") == kind
    assert (found.label, found.uuid) == (said.get("LABEL"), said.get("UUID") or said.get("LOGUUID"))
    if "VERSION" in said and found.version is not None:
        assert found.version == said["VERSION"]
    return found


# --- what mkfs makes --------------------------------------------------------------------------------------------------

MKE2FS = [
    (["-t", "ext2"], "ext2"),
    (["-t", "ext3"], "ext3"),
    (["-t", "ext4"], "ext4"),
    (["-t", "ext2", "-O", "^resize_inode,meta_bg"], "ext2"),
    (["-t", "ext4", "-O", "^has_journal"], "ext4"),
    (["-t", "ext4", "-O", "64bit,^metadata_csum"], "ext4"),
    (["-t", "ext3", "-O", "extent"], "ext4"),
    (["-t", "ext3", "-O", "huge_file"], "ext4"),
    (["-t", "ext2", "-O", "has_journal"], "ext3"),
    (["-t", "ext4", "-b", "1024"], "ext4"),
    (["-t", "ext2", "-r", "0"], "ext2"),
    (["-t", "ext4", "-O", "encrypt,casefold"], "ext4"),
    (["-O", "journal_dev"], "jbd"),
    (["-t", "ext4", "-E", "test_fs"], "ext4dev"),
]


@pytest.mark.parametrize(("options", "kind"), MKE2FS, ids=lambda value: " ".join(value) if value is not str else value)
def test_ext_is_named_as_blkid_names_it(tmp_path: pathlib.Path, options: list[str], kind: str) -> None:
    path = blank(tmp_path, 16 * MIB)
    run("mke2fs", "-q", "-F", "-L", "a name here", "-U", UUID, *options, path)
    found = agree(path, kind)
    assert (found.label, found.size) == ("a name here", 16 * MIB)


MKFS: dict[str, tuple[int, list[str], str]] = {
    "xfs": (300, ["mkfs.xfs", "-q", "-L", "rootfs"], "xfs"),
    "xfs v4": (300, ["mkfs.xfs", "-q", "-m", "crc=0", "-L", "x"], "xfs"),
    "btrfs": (110, ["mkfs.btrfs", "-q", "-L", "a label"], "btrfs"),
    "swap": (1, ["mkswap", "-L", "swapname", "-U", UUID], "swap"),
    "swap without a name": (1, ["mkswap"], "swap"),
    "swap 8k": (1, ["mkswap", "-p", "8192", "-L", "p"], "swap"),
    "swap 64k": (2, ["mkswap", "-p", "65536", "-L", "p"], "swap"),
    "fat12": (2, ["mkfs.vfat", "-n", "EFI SYS"], "vfat"),
    "fat16": (16, ["mkfs.vfat", "-F", "16", "-i", "0badcafe"], "vfat"),
    "fat32": (64, ["mkfs.vfat", "-F", "32", "-n", "ESP"], "vfat"),
    "fat32 of 4k sectors": (300, ["mkfs.vfat", "-F", "32", "-S", "4096", "-n", "ESP"], "vfat"),
    "exfat": (8, ["mkfs.exfat", "-L", "große Karte"], "exfat"),
    "exfat without a name": (8, ["mkfs.exfat"], "exfat"),
    "ntfs": (8, ["mkntfs", "-q", "-F", "-f", "-L", "Größe"], "ntfs"),
    "luks1": (8, ["cryptsetup", "-q", "luksFormat", "--type", "luks1"], "crypto_LUKS"),
    "luks2": (20, ["cryptsetup", "-q", "luksFormat", "--type", "luks2", "--label", "secret"], "crypto_LUKS"),
    "f2fs": (64, ["mkfs.f2fs", "-q", "-f", "-l", "flash"], "f2fs"),
    "reiserfs": (40, ["mkreiserfs", "-q", "-f", "-l", "old"], "reiserfs"),
    "erofs": (1, ["mkfs.erofs", "-L", "e"], "erofs"),
    "jfs": (20, ["mkfs.jfs", "-q", "-L", "j"], "jfs"),
}


def make(folder: pathlib.Path, name: str, path: pathlib.Path | None = None) -> tuple[pathlib.Path, str]:
    size, words, kind = MKFS[name]
    path = path or blank(folder, size * MIB)
    if words[0] == "cryptsetup":
        key = folder / "key"
        key.write_text("0" * 16)
        run(*words, "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", path, key)
    elif words[0] == "mkfs.erofs":
        (folder / "empty").mkdir()
        run(*words, path, folder / "empty")
    else:
        run(*words, path)
    return path, kind


@pytest.mark.parametrize("name", MKFS)
def test_what_mkfs_makes(tmp_path: pathlib.Path, name: str) -> None:
    path, kind = make(tmp_path, name)
    found = agree(path, kind)
    if found.size is not None:
        assert 0 < found.size <= path.stat().st_size


@pytest.mark.parametrize("offset", [44, 76, 172, 176, 180])
def test_rubbish_behind_the_header_of_swap(tmp_path: pathlib.Path, offset: int) -> None:
    path, kind = make(tmp_path, "swap")
    with path.open("r+b") as file:
        file.seek(1024 + offset)
        file.write(b"\x01")
    agree(path, kind)


def test_squashfs(tmp_path: pathlib.Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("x")
    run("mksquashfs", tmp_path / "tree", tmp_path / "disk", "-quiet", "-no-progress")
    agree(tmp_path / "disk", "squashfs")


def test_a_physical_volume(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(pv())
    assert agree(path, "LVM2_member").uuid == "ABCDEF-GHIJ-KLMN-OPQR-STUV-WXYZ-abcdef"


# --- by hand, for what few machines can make --------------------------------------------------------------------------


def at(size: int, pieces: dict[int, bytes]) -> bytes:
    data = bytearray(size)
    for start, raw in pieces.items():
        data[start : start + len(raw)] = raw
    return bytes(data)


def pv(name: bytes = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef") -> bytes:
    head = bytearray(512)
    struct.pack_into("<8sQII8s32sQ", head, 0, b"LABELONE", 1, 0, 32, b"LVM2 001", name, 8 * MIB)
    # LVM's own start value, and no inversion at the end
    struct.pack_into("<I", head, 16, ~zlib.crc32(bytes(head[20:]), ~0xF597A6CF & 0xFFFFFFFF) & 0xFFFFFFFF)
    return at(4 * MIB, {512: bytes(head)})


def md(offset: int, size: int = 4 * MIB) -> bytes:
    head = bytearray(256)
    struct.pack_into("<III", head, 0, 0xA92B4EFC, 1, 0)
    head[16:32] = RAW
    head[32:40] = b"host:md0"
    struct.pack_into("<Q", head, 144, offset // 512)
    struct.pack_into("<I", head, 216, md_sum(head))
    return at(size, {offset: bytes(head)})


def md_sum(head: bytearray) -> int:
    total = sum(struct.unpack("<64I", head))
    return (total & 0xFFFFFFFF) + (total >> 32)


def md_old() -> bytes:
    words = [0xA92B4EFC, 0, 90, 0, 0, 0x01234567, 0, 1, 512, 2, 2, 0, 0, 0x89ABCDEF, 0x01234567, 0x89ABCDEF]
    return at(4 * MIB, {4 * MIB - 0x10000: struct.pack("<16I", *words)})


def nvpair(name: bytes, kind: int, value: bytes) -> bytes:
    padded = name.ljust(len(name) + 3 & ~3, b"\0")
    body = struct.pack(">I", len(name)) + padded + struct.pack(">II", kind, 1) + value
    return struct.pack(">II", len(body) + 8, 64) + body


def zfs() -> bytes:
    values = nvpair(b"version", 8, struct.pack(">Q", 5000))
    values += nvpair(b"name", 9, struct.pack(">I", 5) + b"rpool\0\0\0")
    values += nvpair(b"pool_guid", 8, struct.pack(">Q", 12345678901234567890))
    pieces = {0x4000: b"\1\1\0\0" + struct.pack(">II", 0, 1) + values + bytes(8)}
    pieces.update({0x20000 + number * 1024: struct.pack("<QQ", 0xBAB10C, 5000) for number in range(6)})
    return at(64 * MIB, pieces)


def iso(name: bytes = b"Debian 12.5.0 amd64 n", joliet: bytes = b"") -> bytes:
    first = bytearray(2048)
    first[:7] = b"\1CD001\1"
    first[40:72] = name.ljust(32)
    struct.pack_into("<I", first, 80, 30)
    struct.pack_into("<H", first, 128, 2048)
    first[813:830] = b"2024021011273000\0"
    first[830:847] = b"0000000000000000\0"
    second = bytearray(2048)
    second[:7] = b"\2CD001\1"
    second[40:72] = joliet.ljust(32, b"\0")
    second[88:91] = b"%/E"
    pieces = {0x8000: bytes(first), 0x8800: b"\xffCD001\1"}
    if joliet:
        pieces.update({0x8800: bytes(second), 0x9000: b"\xffCD001\1"})
    return at(MIB, pieces)


def jfs() -> bytes:
    head = bytearray(184)
    struct.pack_into("<4sIQIHHIH", head, 0, b"JFS1", 2, 65536, 4096, 12, 3, 512, 9)
    head[136:152], head[152:156] = RAW, b"jjjj"
    return at(32 * MIB, {0x8000: bytes(head)})


def erofs() -> bytes:
    head = bytearray(128)
    struct.pack_into("<III", head, 0, 0xE0F5E1E2, 0, 0)
    head[12] = 12
    struct.pack_into("<I", head, 36, 200)
    head[48:64], head[64:68] = RAW, b"live"
    return at(MIB, {1024: bytes(head)})


def bitlocker() -> bytes:
    head = bytearray(512)
    head[:11] = b"\xeb\x58\x90-FVE-FS-"
    struct.pack_into("<Q", head, 176, 0x10000)
    return at(MIB, {0: bytes(head), 0x10000: b"-FVE-FS-\0\0\2\0"})


def suspended() -> bytes:
    head = struct.pack("<III16s16s", 1, 200, 0, RAW, b"sleeping")
    return at(MIB, {1024: head, 4086: b"S1SUSPEND\0"})


def udf() -> bytes:
    return at(MIB, {0x8000: b"\0BEA01\1", 0x8800: b"\0NSR03\1", 0x9000: b"\0TEA01\1"})


BY_HAND: dict[str, tuple[t.Callable[[], bytes], str]] = {
    "md 1.0": (lambda: md(4 * MIB - 0x2000), "linux_raid_member"),
    "md 1.1": (lambda: md(0), "linux_raid_member"),
    "md 1.2": (lambda: md(4096), "linux_raid_member"),
    "md 0.90": (md_old, "linux_raid_member"),
    "zfs": (zfs, "zfs_member"),
    "iso": (iso, "iso9660"),
    "iso with joliet": (lambda: iso(b"CAFE_DISK", "Café disk".encode("utf-16-be")), "iso9660"),
    "iso with a longer name": (
        lambda: iso(b"DEBIAN 12.5.0 AMD64 N", "Debian 12.5.0 am".encode("utf-16-be")),
        "iso9660",
    ),
    "jfs": (jfs, "jfs"),
    "erofs": (erofs, "erofs"),
    "bitlocker": (bitlocker, "BitLocker"),
    "suspended": (suspended, "swsuspend"),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_what_is_made_by_hand(tmp_path: pathlib.Path, name: str) -> None:
    path = tmp_path / "disk"
    data, kind = BY_HAND[name]
    path.write_bytes(data())
    agree(path, kind)


def test_udf_is_recognised() -> None:
    assert probe.identify(Bytes(MIB, {0: udf()})) == probe.Signature("udf")


def test_bcache_is_recognised() -> None:
    head = struct.pack("<QQQ16s16s16s32s", 0, 8, 1, probe_layers._BCACHE_MAGIC, RAW, bytes(16), b"")
    assert probe.identify(Bytes(MIB, {4096: head})) == probe.Signature("bcache", uuid=UUID)


def test_the_second_header_of_luks_counts_when_the_first_is_gone(tmp_path: pathlib.Path) -> None:
    path, kind = make(tmp_path, "luks2")
    with path.open("r+b") as file:
        file.write(bytes(4096))
    assert agree(path, kind).label == "secret"


# --- more than one, less than one -------------------------------------------------------------------------------------

OVER = ["swap", "fat16", "ntfs", "luks2", "reiserfs"]


@pytest.mark.parametrize("new", OVER)
@pytest.mark.parametrize("old", OVER)
def test_the_newest_wins_where_blkid_can_tell(tmp_path: pathlib.Path, old: str, new: str) -> None:
    path = blank(tmp_path, 64 * MIB)
    make(tmp_path, old, path)
    make(tmp_path, new, path)
    said = blkid(path)
    found = identify(path)
    assert found is not None
    if "TYPE" in said:
        assert found.kind == said["TYPE"]


def test_a_layer_that_is_not_valid_hides_nothing(tmp_path: pathlib.Path) -> None:
    path = blank(tmp_path, 4 * MIB)
    run("mke2fs", "-q", "-F", "-t", "ext4", path)
    torn = pv().replace(b"LVM2 001ABC", b"LVM2 001XBC")  # its checksum is wrong now
    with path.open("r+b") as file:
        file.seek(512)
        file.write(torn[512:1024])
        file.seek(4 * MIB - 0x2000)
        file.write(md(4096)[4096:4352])  # says that it stands elsewhere
    assert agree(path, "ext4")


def test_nothing_is_nothing() -> None:
    for size in (0, 1, 511, 4096, MIB):
        assert probe.identify(Bytes(size, {})) is None
    assert probe.identify(Bytes(MIB, {510: b"\x55\xaa"})) is None


def test_a_file_system_that_is_larger_than_its_range_says_so(tmp_path: pathlib.Path) -> None:
    path = blank(tmp_path, 16 * MIB)
    run("mke2fs", "-q", "-F", "-t", "ext4", path)
    os.truncate(path, 4 * MIB)
    found = identify(path)
    assert found is not None
    assert found.size == 16 * MIB


# --- text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rootfs", "rootfs"),
        ("Größe 1", "Größe 1"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\0\x7f\x9b", "a\\x0ab\\x00\\x7f\\x9b"),
        ("\udcff\udc80", "\\xff\\x80"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\U000e0001", "\\U000e0001"),
        ("\ud800", "\\ud800"),
    ],
)
def test_text_of_unknown_origin(text: str, shown: str) -> None:
    assert probe.clean(text) == shown


@given(st.text() | st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_any_text_becomes_printable(text: str) -> None:
    shown = probe.clean(text)
    assert shown.isprintable()
    shown.encode("utf-8")
    assert probe.clean(shown) == shown


def test_a_hostile_label(tmp_path: pathlib.Path) -> None:
    path = blank(tmp_path, 4 * MIB)
    run("mke2fs", "-q", "-F", "-t", "ext4", path)
    with path.open("r+b") as file:
        file.seek(1024 + 120)
        file.write(b"\x1b]0;owned\x07\xff")
    found = identify(path)
    assert found is not None
    assert found.label == "\\x1b]0;owned\\x07\\xff"


# --- hostile bytes ----------------------------------------------------------------------------------------------------

_MODULES = (probe_layers, probe_linux, probe_foreign)
PROBES = probe._PROBES


def sane(found: probe.Signature | None) -> None:
    if found is not None:
        for text in (found.kind, found.label, found.uuid, found.version):
            assert text is None or text.isprintable()
        assert found.size is None or found.size >= 0


@pytest.mark.parametrize("name", [*BY_HAND, "lvm"])
def test_flipped_bytes_of_what_is_made_by_hand(name: str) -> None:
    data = pv() if name == "lvm" else BY_HAND[name][0]()
    flip(data, name)


@pytest.mark.parametrize("name", ["fat12", "fat16", "fat32", "exfat", "ntfs", "swap", "luks2", "f2fs"])
def test_flipped_bytes_of_real_file_systems(tmp_path: pathlib.Path, name: str) -> None:
    path, _kind = make(tmp_path, name)
    flip(path.read_bytes(), name)


def flip(data: bytes, seed: str) -> None:
    chance = random.Random(seed)
    used = [start for start in range(0, len(data), 512) if data[start : start + 512].strip(b"\0")][:200]
    for _turn in range(150):
        pieces = {0: data}
        for _turn in range(chance.randint(1, 6)):
            offset = chance.choice(used) + chance.randrange(512)
            pieces[offset] = bytes([chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))])
        sane(probe.identify(Bytes(len(data), pieces)))


HEADS = [
    b"EXFAT   ", b"NTFS    ", b"XFSB", b"hsqs", b"LUKS\xba\xbe\0\2", b"LABELONE", b"FAT32   ", b"\x55\xaa", b"JFS1",
    b"_BHRfS_M", b"CD001", b"NSR02", b"\x53\xef", b"ReIsEr2Fs", b"SWAPSPACE2", b"\xfc\x4e\x2b\xa9\1\0\0\0", b"FILE",
]  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 70000), st.sampled_from(HEADS) | st.binary(max_size=64)), max_size=8))
def test_any_bytes(pieces: list[tuple[int, bytes]]) -> None:
    sane(probe.identify(Bytes(72000, dict(pieces))))


@pytest.mark.parametrize("number", range(len(PROBES)))
@settings(max_examples=25)  # for each of the probes
@given(head=st.binary(min_size=512, max_size=2048), at=st.sampled_from((0, 1024, 4096, 0x8000, 0x10000)))
def test_every_probe_takes_any_bytes(number: int, head: bytes, at: int) -> None:
    """Behind the right magic, as random bytes never get there by themselves."""
    magics = {0: b"EXFAT   ", 1024: b"\xe2\xe1\xf5\xe0", 4096: b"", 0x8000: b"JFS1", 0x10000: b""}
    for shift in (0, 3, 52, 56, 64, 82):
        data = head[:shift] + (magics[at] or HEADS[shift % len(HEADS)]) + head[shift:]
        sane(PROBES[number](Bytes(MIB, {at: data})))
