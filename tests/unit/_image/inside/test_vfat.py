# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images, inside: FAT, made by mkfs.vfat and filled by mtools."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import shutil
import struct
import subprocess

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.vfat import Vfat
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.volume import Node

MIB = 1 << 20
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
KINDS = {
    "FAT12": (3, ["-F", "12"]),
    "FAT16": (18, ["-F", "16"]),
    "FAT32": (34, ["-F", "32", "-s", "1"]),
    "FAT32 of 4096": (300, ["-F", "32", "-S", "4096"]),
    "FAT16 of large clusters": (70, ["-F", "16", "-s", "16"]),
}


class Disk:
    """A disk in memory, some bytes of it changed."""

    def __init__(self, data: bytes, pieces: dict[int, bytes] | None = None) -> None:
        self.size, self._data, self._pieces = len(data), data, pieces or {}

    def read(self, offset: int, length: int) -> bytes:
        data = bytearray(self._data[offset : offset + max(0, length)])
        for start, raw in self._pieces.items():
            for place, byte in enumerate(raw, start - offset):
                if 0 <= place < len(data):
                    data[place] = byte
        return bytes(data)


def run(*words: object) -> str:
    program = shutil.which(str(words[0]), path=PATH)
    if program is None:
        pytest.skip(f"the program {words[0]} is not installed")
    environment = {**os.environ, "MTOOLS_SKIP_CHECK": "1", "LC_ALL": "C.UTF-8"}
    done = subprocess.run([program, *map(str, words[1:])], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def blank(path: pathlib.Path, kind: str) -> pathlib.Path:
    size, options = KINDS[kind]
    with path.open("wb") as file:
        file.truncate(size * MIB)
    run("mkfs.vfat", "-n", "ESP", *options, path)
    return path


def fill(tree: pathlib.Path) -> None:
    chance = random.Random(3)
    (tree / "EFI" / "debian").mkdir(parents=True)
    (tree / "EFI" / "BOOT").mkdir()
    (tree / "loader" / "entries").mkdir(parents=True)
    (tree / "EFI" / "BOOT" / "BOOTX64.EFI").write_bytes(chance.randbytes(70_001))
    (tree / "EFI" / "debian" / "grub.cfg").write_text("search.fs_uuid 0123 root\n")
    (tree / "loader" / "entries" / "0123456789abcdef0123456789abcdef-6.1.0-18-amd64.conf").write_text("title x\n")
    (tree / "vmlinuz-6.1.0-18-amd64").write_bytes(chance.randbytes(300_000))
    (tree / "empty").touch()
    (tree / "LOWER.txt").write_text("a")
    (tree / "größe und ähnliches").write_text("b")
    (tree / ("n" * 200)).write_text("c")
    (tree / "many").mkdir()
    for number in range(90):
        (tree / "many" / f"a file with the number {number}").write_text(str(number))


def make(folder: pathlib.Path, kind: str) -> tuple[pathlib.Path, pathlib.Path]:
    tree, disk = folder / "tree", blank(folder / "disk", kind)
    if not tree.exists():
        fill(tree)
    run("mcopy", "-s", "-Q", "-i", disk, *sorted(tree.iterdir()), "::/")
    return disk, tree


def everything(volume: Vfat, folder: Node, prefix: str = "") -> dict[str, bytes]:
    found = {}
    for name in volume.names(folder):
        node = volume.lookup(folder, name)
        assert node is not None
        if node.kind == "directory":
            found.update(everything(volume, node, f"{prefix}{name}/"))
        else:
            found[prefix + name] = volume.read(node, 0, node.size)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_what_it_was(tmp_path: pathlib.Path, kind: str) -> None:
    disk, tree = make(tmp_path, kind)
    volume = Vfat(Disk(disk.read_bytes()))
    wanted = {str(path.relative_to(tree)): path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    assert everything(volume, volume.root()) == wanted
    assert (volume.kind, volume.label) == ("vfat", "ESP")
    assert volume.uuid == run("blkid", "-p", "-o", "value", "-s", "UUID", disk).strip()
    assert 0 < volume.size <= disk.stat().st_size


@pytest.fixture(scope="module", params=["FAT12", "FAT16", "FAT32"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, pathlib.Path]:
    disk, tree = make(tmp_path_factory.mktemp("fat"), request.param)
    return disk.read_bytes(), tree


def find(volume: Vfat, path: str) -> Node:
    node: Node | None = volume.root()
    for name in path.split("/"):
        assert node is not None
        node = volume.lookup(node, name)
    assert node is not None
    return node


def test_names_in_any_case_and_short(made: tuple[bytes, pathlib.Path]) -> None:
    volume = Vfat(Disk(made[0]))
    data = (made[1] / "EFI/BOOT/BOOTX64.EFI").read_bytes()
    for path in ("EFI/BOOT/BOOTX64.EFI", "efi/boot/bootx64.efi", "Efi/Boot/BootX64.efi"):
        node = find(volume, path)
        assert volume.read(node, 0, node.size) == data
    assert find(volume, "VMLINU~1.0-1").size == 300_000
    for name in ("nothing", "", ".", "..", "\ud800", "ESP"):
        assert volume.lookup(volume.root(), name) is None
        assert volume.lookup(find(volume, "EFI"), name) is None


def test_parts_of_a_fragmented_file(tmp_path: pathlib.Path) -> None:
    disk = blank(tmp_path / "disk", "FAT16")
    chance = random.Random(4)
    (tmp_path / "part").write_bytes(chance.randbytes(9000))
    for number in range(20):
        run("mcopy", "-i", disk, tmp_path / "part", f"::/{number}")
    run("mdel", "-i", disk, *(f"::/{number}" for number in range(0, 20, 2)))
    data = chance.randbytes(70_000)
    (tmp_path / "large").write_bytes(data)
    run("mcopy", "-i", disk, tmp_path / "large", "::/large")
    assert "-" in run("mshowfat", "-i", disk, "::/large")
    volume = Vfat(Disk(disk.read_bytes()))
    node = find(volume, "large")
    for _turn in range(200):
        offset, length = chance.randrange(71_000), chance.choice((1, 100, 4096, 30_000))
        assert volume.read(node, offset, length) == data[offset : offset + length]


def test_a_volume_is_no_place_for_links(made: tuple[bytes, pathlib.Path]) -> None:
    volume = Vfat(Disk(made[0]))
    node = find(volume, "empty")
    assert (volume.read(node, 0, 10), volume.xattrs(node)) == (b"", {})
    with pytest.raises(Damaged, match="no symbolic links"):
        volume.target(node)
    with pytest.raises(Damaged, match="no folder"):
        volume.names(node)
    with pytest.raises(Damaged, match="no file"):
        volume.read(volume.root(), 0, 1)


def test_what_is_no_fat() -> None:
    for data in (b"", bytes(511), bytes(MIB), b"\xeb\x52\x90NTFS    " + bytes(MIB)):
        with pytest.raises(Damaged):
            Vfat(Disk(data))


# --- hostile bytes ----------------------------------------------------------------------------------------------------


def table_of(data: bytes) -> int:
    return int(struct.unpack_from("<H", data, 14)[0]) * int(struct.unpack_from("<H", data, 11)[0])


def chained(data: bytes, number: int, after: int) -> dict[int, bytes]:
    """The table with one entry changed, for FAT16 and FAT32."""
    if data[82:87] == b"FAT32":
        return {table_of(data) + number * 4: struct.pack("<I", after)}
    return {table_of(data) + number * 2: struct.pack("<H", after)}


@pytest.mark.parametrize("kind", ["FAT16", "FAT32"])
def test_chains_that_lie(tmp_path: pathlib.Path, kind: str) -> None:
    data = make(tmp_path, kind)[0].read_bytes()
    plain = Vfat(Disk(data))
    first = find(plain, "vmlinuz-6.1.0-18-amd64").number
    for after, words in ((first, "leads back"), (1, "which it has not"), (0xFFF0, "which it has not|before its size")):
        volume = Vfat(Disk(data, chained(data, first + 3, after)))
        node = find(volume, "vmlinuz-6.1.0-18-amd64")
        assert volume.read(node, 0, 512) == plain.read(node, 0, 512)
        with pytest.raises(Damaged, match=words):
            volume.read(node, 0, node.size)
    end = 0xFFFF if kind == "FAT16" else 0x0FFFFFFF
    volume = Vfat(Disk(data, chained(data, first + 3, end)))
    with pytest.raises(Damaged, match="ends before its size"):
        volume.read(find(volume, "vmlinuz-6.1.0-18-amd64"), 0, 300_000)
    folder = find(plain, "many")
    volume = Vfat(Disk(data, chained(data, folder.number, folder.number)))
    with pytest.raises(Damaged, match="leads back"):
        volume.names(folder)


def test_a_folder_in_itself_is_only_a_folder(made: tuple[bytes, pathlib.Path]) -> None:
    """Who walks has to stop; who asks gets answers."""
    volume = Vfat(Disk(made[0]))
    folder = find(volume, "EFI")
    place = made[0].index(b"DEBIAN  ")
    volume = Vfat(Disk(made[0], {place + 26: struct.pack("<H", folder.number), place + 20: bytes(2)}))
    assert find(volume, "EFI/debian/debian/debian/BOOT/BOOTX64.EFI").size == 70_001


@pytest.mark.parametrize("name", [b"a/b.txt", b"/etc", b"."])
def test_names_that_would_lead_elsewhere(tmp_path: pathlib.Path, name: bytes) -> None:
    disk = blank(tmp_path / "disk", "FAT12")
    stand_in = "x" * len(name) + "y" * (20 - len(name))
    (tmp_path / "part").touch()
    run("mcopy", "-i", disk, tmp_path / "part", f"::/{stand_in}")
    wide = stand_in[:5].encode("utf-16-le")
    data = disk.read_bytes()
    place = data.index(wide)
    volume = Vfat(Disk(data, {place: (name.decode() + "\0\0\0\0\0")[:5].encode("utf-16-le")}))
    with pytest.raises(Damaged, match="impossible name"):
        volume.names(volume.root())


def test_flipped_bytes(made: tuple[bytes, pathlib.Path]) -> None:
    data, chance = made[0], random.Random(9)
    used = [start for start in range(0, len(data), 512) if data[start : start + 512].strip(b"\0")]
    dense = used[:12] + [start for start in used if b"\x0f\0" in data[start + 11 : start + 510 : 32]]
    for _turn in range(120):
        pieces = {}
        for _turn in range(chance.randint(1, 5)):
            offset = (chance.choice(dense) if chance.random() < 0.8 else 0) + chance.randrange(100)
            pieces[offset] = bytes([chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))])
        with contextlib.suppress(KvmError):
            explore(Vfat(Disk(data, pieces)))


def explore(volume: Vfat) -> None:
    todo = [volume.root()]
    for _turn in range(15):
        if not todo:
            break
        node = todo.pop()
        with contextlib.suppress(KvmError):
            if node.kind == "file":
                volume.read(node, max(0, node.size - 5000), 5000)
                continue
            for name in volume.names(node)[:6]:
                name.encode("utf-8")
                todo += filter(None, [volume.lookup(node, name)])
