# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ext2, ext3 and ext4 as mke2fs, debugfs, dumpe2fs, e2fsck and blkid know them, against what our reader makes of the same
bytes; and bytes made to hurt. The file systems are filled by mke2fs and debugfs: nothing here needs root.
"""

from __future__ import annotations

import os
import pathlib
import random
import re
import struct
import subprocess
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, KvmError, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import ext, ext_used
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import RawFile, Reader
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.ext import Ext
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.volume import Node, Volume
from ansible_collections.hypervisor.kvm.tests.unit.ends import ends
from hypothesis import given, settings
from hypothesis import strategies as st

MIB = 1 << 20
#: Options of mke2fs and the size in MiB. The images end in a last group that is cut short by some blocks.
VARIANTS: dict[str, tuple[str, int]] = {
    "ext2": ("-t ext2", 24),
    "ext2-1k-all-backups": ("-t ext2 -b 1024 -O ^sparse_super,^resize_inode -g 1024", 24),
    "ext2-old": ("-t ext2 -r 0 -b 1024", 24),
    "ext3": ("-t ext3", 24),
    "ext3-no-types": ("-t ext3 -b 1024 -O ^filetype", 24),
    "ext4": ("-t ext4", 24),
    "ext4-1k": ("-t ext4 -b 1024", 48),
    "ext4-2k-128": ("-t ext4 -b 2048 -I 128 -g 2048", 24),
    "ext4-64k": ("-t ext4 -b 65536 -O ^has_journal", 160),
    "ext4-inodes-512": ("-t ext4 -I 512", 24),
    "ext4-inodes-1024": ("-t ext4 -b 1024 -I 1024 -N 3000", 48),
    "ext4-no-flex": ("-t ext4 -b 1024 -O ^flex_bg -g 512 -N 2048", 24),
    "ext4-large-flex": ("-t ext4 -b 1024 -g 512 -G 64 -N 4096", 24),
    "ext4-32bit": ("-t ext4 -O ^64bit,^metadata_csum", 24),
    "ext4-uninit": ("-t ext4 -b 1024 -O uninit_bg,^metadata_csum -g 2048", 48),
    "ext4-uninit-no-flex": ("-t ext4 -b 1024 -O uninit_bg,^metadata_csum,^flex_bg -g 2048", 48),
    "ext4-no-sums": ("-t ext4 -b 1024 -O ^metadata_csum,^uninit_bg -g 512", 24),
    "ext4-no-resize": ("-t ext4 -b 1024 -O ^resize_inode -g 1024", 24),
    "ext4-two-backups": ("-t ext4 -b 1024 -O sparse_super2 -g 1024", 24),
    "ext4-meta": ("-t ext4 -b 1024 -O meta_bg,^resize_inode,64bit -g 512", 48),
    "ext4-meta-4k": ("-t ext4 -b 4096 -O meta_bg,^resize_inode -g 256 -N 4096", 160),
    "ext4-clusters": ("-t ext4 -b 4096 -O bigalloc -C 16384 -g 8192", 120),
    "ext4-clusters-1k": ("-t ext4 -b 1024 -O bigalloc,^resize_inode -C 8192", 48),
    "ext4-clusters-meta": ("-t ext4 -b 1024 -O bigalloc,meta_bg,^resize_inode -C 4096 -g 1024", 48),
    "ext4-inline": ("-t ext4 -O inline_data", 24),
    "ext4-much": ("-t ext4 -O ea_inode,large_dir,quota,project,verity,encrypt", 24),
    "ext4-casefold": ("-t ext4 -O casefold -E encoding=utf8", 24),
    "ext4-orphan-file": ("-t ext4 -O orphan_file", 24),
}
#: What older or newer programs refuse.
OPTIONAL = ("ext2-old", "ext4-64k", "ext4-casefold", "ext4-orphan-file", "ext4-much", "ext4-clusters-meta")

LARGE = random.Random(1).randbytes(700_000)


def call(*words: str | pathlib.Path, codes: tuple[int, ...] = (0,)) -> str:
    """A program of e2fsprogs or of the machine; its output. Fails where the program is missing or does."""
    argv = [_command.find(str(words[0]), "e2fsprogs"), *map(str, words[1:])]
    done = subprocess.run(argv, capture_output=True, check=False)
    assert done.returncode in codes, (argv, done.stdout, done.stderr)
    return done.stdout.decode(errors="replace")


def mkfs(image: pathlib.Path, options: str, mebibytes: int, tree: pathlib.Path | None, optional: bool = False) -> None:
    size = f"{mebibytes * 1024 - (0 if '65536' in options else 12)}k"
    words = ["mke2fs", "-q", "-F", "-L", "a läbel", *options.split()]
    argv = [_command.find(words[0], "e2fsprogs"), *words[1:], *(["-d", str(tree)] if tree else []), str(image), size]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode and optional:
        pytest.skip(f"this mke2fs does not make {options}: {done.stderr.strip().splitlines()[:1]}")
    assert done.returncode == 0, (argv, done.stderr)


def debugfs(image: pathlib.Path, *commands: str) -> str:
    """The commands, which may write."""
    script = image.with_suffix(".commands")
    script.write_text("".join(f"{command}\n" for command in commands))
    return call("debugfs", "-w", "-f", script, image)


def opened(image: pathlib.Path) -> Ext:
    return Ext(Bytes(bytearray(image.read_bytes())))


def find(volume: Volume, path: str) -> Node:
    node = volume.root()
    for name in path.strip("/").split("/"):
        found = volume.lookup(node, name)
        assert found is not None, path
        node = found
    return node


class Bytes:
    """A disk in memory, which says how much of it was read."""

    def __init__(self, data: bytearray) -> None:
        self.data = data
        self.size = len(data)
        self.count = 0

    def read(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert length >= 0
        self.count += length
        return bytes(self.data[offset : offset + length])


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    top = tmp_path_factory.mktemp("ext") / "tree"
    (top / "etc" / "deep" / "deeper").mkdir(parents=True)
    (top / "big").mkdir()
    for number in range(300):
        (top / "big" / f"a-file-with-a-name-of-some-length-{number:05d}").write_text(str(number) if number < 40 else "")
    (top / "etc" / "os-release").write_text("ID=debian\n")
    (top / "etc" / "empty").write_bytes(b"")
    (top / "etc" / "middle").write_bytes(b"m" * 120)
    (top / "large").write_bytes(LARGE)
    (top / "large").chmod(0o4751)
    with (top / "sparse").open("wb") as file:
        for number in range(30):
            file.seek(number * 70_000)
            file.write(b"data %d" % number)
        file.seek(2_999_999)
        file.write(b"!")
    for length in (1, 59, 60, 61, 200, 1000):
        (top / f"link-{length}").symlink_to("x" * length)
    (top / "etc" / "up").symlink_to("../large")
    with open(os.fsencode(top) + b"/not-utf-8-\xff\xfe", "wb") as file:
        file.write(b"odd")
    return top


def compare(volume: Volume, folder: Node, real: str) -> int:
    """Compares a folder with the real one that it was made of; the number of entries."""
    names = volume.names(folder)
    assert sorted(name for name in names if name != "lost+found") == sorted(os.listdir(real))
    count = len(names)
    for name in names:
        path = f"{real}/{name}"
        if name == "lost+found":
            continue
        node, status = volume.lookup(folder, name), os.lstat(path)
        assert node is not None
        assert (node.mode, node.owner, node.group) == (status.st_mode & 0o7777, status.st_uid, status.st_gid), path
        if node.kind == "directory":
            count += compare(volume, node, path)
        elif node.kind == "symlink":
            assert volume.target(node) == os.readlink(path)
        else:
            assert (node.kind, node.size) == ("file", status.st_size)
            assert volume.read(node, 0, 1 << 40) == pathlib.Path(path).read_bytes()
    return count


def free_blocks(image: pathlib.Path) -> set[int]:
    """What dumpe2fs says is free. It ends a range with the first block of its last cluster."""
    text = call("dumpe2fs", image)
    sizes = [int(found[1]) for found in re.finditer(r"^(?:Block|Cluster) size: +(\d+)$", text, re.MULTILINE)]
    cluster = sizes[-1] // sizes[0]
    free: set[int] = set()
    for line in re.findall(r"^  Free blocks: (.+)$", text, re.MULTILINE):
        for piece in line.split(", "):
            first, _dash, last = piece.partition("-")
            free.update(range(int(first), int(last or first) + cluster))
    return free


def copied(image: pathlib.Path, ranges: list[tuple[int, int]]) -> pathlib.Path:
    """A copy that has only these parts, and elsewhere what no file system would have left there."""
    target = image.with_suffix(".copy")
    data = bytearray(b"\xa5" * image.stat().st_size)
    with image.open("rb") as file:
        for start, end in ranges:
            file.seek(start)
            data[start:end] = file.read(end - start)
    target.write_bytes(data)
    return target


@pytest.mark.parametrize("name", VARIANTS)
def test_as_the_tools_have_it(name: str, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    image = tmp_path / "image"
    mkfs(image, *VARIANTS[name], tree, name in OPTIONAL)
    check_tree(image, tree)
    # Files that were there leave free blocks in between, in what was written in one piece.
    removed = [f"big/a-file-with-a-name-of-some-length-{number:05d}" for number in range(0, 30, 3)]
    debugfs(image, *(f"rm {path}" for path in removed), f"write {tree}/large again", "rm large", "mkdir large2")
    with image.open("rb") as file:
        disk = RawFile(file.fileno())
        volume = Ext(disk)
        said = dict(line.split("=", 1) for line in call("blkid", "-p", "-o", "export", image).splitlines())
        assert (volume.kind, volume.label, volume.uuid) == (said["TYPE"], "a läbel", said["UUID"])
        assert ext.superblock(disk) is not None
        total, block_size = (
            int(re.findall(rf"^{word}: +(\d+)$", call("dumpe2fs", "-h", image), re.MULTILINE)[0])
            for word in ("Block count", "Block size")
        )
        assert (volume.size, volume.block_size) == (total * block_size, block_size)
        assert (volume.clean, volume.needs_recovery, volume.has_errors) == (True, False, False)
        ranges = volume.used()
        assert ranges == sorted(ranges)
        assert all(start < end for start, end in ranges)
        assert all(left[1] < right[0] for left, right in zip(ranges, ranges[1:]))
        blocks = {number for start, end in ranges for number in range(start // block_size, end // block_size)}
        assert blocks == set(range(total)) - free_blocks(image)
        check_copy(image, ranges, tree, removed)


def check_copy(image: pathlib.Path, ranges: list[tuple[int, int]], tree: pathlib.Path, removed: list[str]) -> None:
    """The copy of the used blocks is sound for e2fsck, and has all files."""
    target = copied(image, ranges)
    # debugfs does not keep the quota: what e2fsck says about it, it says about both.
    checks = [call("e2fsck", "-f", "-n", path, codes=(0, 4)).replace(str(path), "") for path in (target, image)]
    assert checks[0] == checks[1]
    assert "Fix" not in checks[0].replace("Update quota info", "")
    with target.open("rb") as file:
        volume = Ext(RawFile(file.fileno()))
        root = volume.root()
        assert volume.lookup(root, "large") is None
        assert volume.read(find(volume, "again"), 0, 1 << 20) == LARGE
        big = find(volume, "big")
        there = {f"big/{name}" for name in volume.names(big)}
        assert there == {f"big/{name}" for name in os.listdir(tree / "big")} - set(removed)
        assert volume.read(find(volume, sorted(there)[5]), 0, 9).decode() == (tree / sorted(there)[5]).read_text()


def check_tree(image: pathlib.Path, tree: pathlib.Path) -> None:
    with image.open("rb") as file:
        volume = Ext(RawFile(file.fileno()))
        assert compare(volume, volume.root(), str(tree)) > 310
        assert volume.lookup(volume.root(), "not-utf-8-\udcff\udcfe") is not None
        for absent in ("nothing", "", ".", "..", "etc/os-release", "x" * 300, "\ud800"):
            assert volume.lookup(volume.root(), absent) is None


def filled(image: pathlib.Path, options: str, tree: pathlib.Path | None = None, mebibytes: int = 24) -> None:
    """A file system on a disk that was full of something else: what is read by mistake is not zeros."""
    image.write_bytes(b"\xa5" * (mebibytes * MIB))
    mkfs(image, f"{options} -E nodiscard", mebibytes, tree)


@pytest.mark.parametrize("options", ["-t ext2 -b 1024", "-t ext2", "-t ext4 -b 1024"])
def test_sparse_files_of_every_depth(options: str, tmp_path: pathlib.Path) -> None:
    image, top = tmp_path / "image", tmp_path / "tree"
    top.mkdir()
    # With blocks of 1 KiB: direct, one, two and three tables.
    places = (0, 5_000, 12 * 1024 - 3, 200_000, 268 * 1024 - 2, 5_000_000, 67_383_296 - 4, 80_000_001, 5_000_000_000)
    with (top / "deep").open("wb") as file:
        for place in places:
            file.seek(place)
            file.write(b"here %d" % place)
    with (top / "scattered").open("wb") as file:
        for number in range(800):
            file.seek(number * 8192)
            file.write(b"%04d" % number)
    filled(image, options, top, 32)
    volume = opened(image)
    for name in ("deep", "scattered"):
        node, real = find(volume, name), (top / name).open("rb")
        assert node.size == os.fstat(real.fileno()).st_size
        for place in places:
            for offset, length in ((place - 700, 3000), (place + 1, 5), (place, 1), (place - 1_000_000, 2_500_000)):
                real.seek(max(0, offset))
                assert volume.read(node, max(0, offset), length) == real.read(length)
        assert volume.read(node, node.size, 5) == volume.read(node, node.size + 5, 5) == b""
        real.close()
    if "ext4" in options:
        assert "Level Entries" in debugfs(image, "dump_extents scattered")
        assert " 1/ 2 " in debugfs(image, "dump_extents scattered")


def test_preallocated_is_zeros(tmp_path: pathlib.Path) -> None:
    image = tmp_path / "image"
    filled(image, "-t ext4 -b 1024")
    debugfs(image, f"write {__file__} a", "fallocate a 100 2000", "sif a size 2000000")
    volume = opened(image)
    node = find(volume, "a")
    own = pathlib.Path(__file__).read_bytes()
    data = volume.read(node, 0, 3_000_000)
    assert "uninit" in debugfs(image, "ex a").lower()
    assert data == own + bytes(2_000_000 - len(own))


def test_inline_data(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    image = tmp_path / "image"
    mkfs(image, "-t ext4 -O inline_data -I 512", 24, tree)
    for path in ("etc/os-release", "etc/middle", "etc/deep", "link-200"):
        assert "0x10000000" in debugfs(image, f"stat {path}"), path
    volume = opened(image)
    compare(volume, volume.root(), str(tree))
    assert volume.read(find(volume, "etc/middle"), 50, 40) == b"m" * 40
    assert volume.xattrs(find(volume, "etc/middle")) == {}
    # A folder that goes on in the second place: the kernel makes such, debugfs reads them.
    assert "system.data" not in volume.xattrs(find(volume, "etc/deep"))
    inodes = [find(volume, path).number for path in ("etc/empty", "large")]
    more = b"".join(
        struct.pack("<IHBB", inode, size, len(name), 1) + name.ljust(size - 8, b"\0")
        for inode, size, name in zip(inodes, (20, 40), (b"second-name", b"the-third-name"))
    )
    (tmp_path / "more").write_bytes(more)
    debugfs(image, f"ea_set -f {tmp_path}/more etc/deep system.data", f"sif etc/deep size {60 + len(more)}")
    listed = re.findall(r"\) +([a-z][a-z-]+)", debugfs(image, "ls etc/deep"))
    volume = opened(image)
    deep = find(volume, "etc/deep")
    assert volume.names(deep) == listed == ["deeper", "second-name", "the-third-name"]
    assert volume.lookup(deep, "the-third-name") == find(volume, "large")


@pytest.mark.parametrize("options", ["-t ext4", "-t ext4 -I 128", "-t ext4 -O ea_inode -b 4096", "-t ext2 -b 1024"])
def test_extended_attributes(options: str, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    image = tmp_path / "image"
    mkfs(image, options, 24, tree)
    acl = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, mode, owner)
        for tag, mode, owner in ((1, 6, -1 & 0xFFFFFFFF), (2, 7, 70000), (4, 4, -1 & 0xFFFFFFFF), (8, 5, 12))
        + ((0x10, 7, -1 & 0xFFFFFFFF), (0x20, 4, -1 & 0xFFFFFFFF))
    )
    wanted = {
        "user.a": b"value",
        "security.selinux": b"system_u:object_r:etc_t:s0\0",
        "trusted.empty": b"",
        "user.long": b"v" * 600,
        "system.posix_acl_access": acl,
    }
    if "ea_inode" in options:
        wanted["user.huge"] = LARGE[:4096]  # has no place in a block
    commands = []
    for number, (name, value) in enumerate(wanted.items()):
        (tmp_path / str(number)).write_bytes(value)
        commands += [
            f"ea_set -f {tmp_path}/{number} {path} {name}" for path in ("etc/empty", "etc", "link-59", "link-60")
        ]
    debugfs(image, *commands)
    volume = opened(image)
    for path in ("etc/empty", "etc", "link-59", "link-60"):
        found = volume.xattrs(find(volume, path))
        for name, value in found.items():
            assert value == wanted[name]
            # It gives the entries of a list that are nobody's the id 0, the kernel -1.
            if name != "system.posix_acl_access":
                debugfs(image, f"ea_get -f {tmp_path}/got {path} {name}")
                assert (tmp_path / "got").read_bytes() == value
        assert set(found) == set(wanted), path
    assert volume.target(find(volume, "link-59")) == "x" * 59
    assert volume.target(find(volume, "link-60")) == "x" * 60
    assert volume.xattrs(find(volume, "etc/os-release")) == {}


def test_owners_kinds_and_sizes(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    image = tmp_path / "image"
    mkfs(image, "-t ext4", 24, tree)
    fields = ("uid 463412", "gid 611960", "mode 0107644", "size 5000000000")
    debugfs(image, *(f"sif etc/empty {field}" for field in fields), "mknod pipe p", "mknod disk b 8 1")
    volume = opened(image)
    node = find(volume, "etc/empty")
    assert (node.kind, node.mode, node.size) == ("file", 0o7644, 5_000_000_000)
    assert (node.owner, node.group) == (7 << 16 | 4660, 9 << 16 | 22136)
    assert volume.read(node, 4_999_999_990, 50) == bytes(10)
    assert {find(volume, name).kind for name in ("pipe", "disk")} == {"other"}
    assert volume.read(find(volume, "disk"), 0, 5) == volume.read(volume.root(), 0, 5) == b""
    assert volume.names(node) == []
    assert volume.lookup(node, "a") is None
    with pytest.raises(Damaged, match="not a symbolic link"):
        volume.target(node)


@pytest.mark.parametrize("options", ["-t ext4 -b 1024", "-t ext4", "-t ext3"])
def test_indexed_folder(options: str, tmp_path: pathlib.Path) -> None:
    image, top = tmp_path / "image", tmp_path / "tree"
    top.mkdir()
    (top / "one").write_bytes(b"")
    mkfs(image, f"{options} -N 4000", 32, top)
    names = [f"{number:06d}-{'n' * (number % 50)}" for number in range(2500)]
    debugfs(image, "mkdir big", "cd big", *(f"symlink {name} {name}" for name in names))
    call("e2fsck", "-f", "-y", "-D", image, codes=(0, 1))
    assert "Root node dump" in debugfs(image, "htree_dump big")
    disk = Bytes(bytearray(image.read_bytes()))
    volume = Ext(disk)
    big = find(volume, "big")
    listed = volume.names(big)
    assert sorted(listed) == names
    for name in (listed[0], listed[1250], listed[-1]):
        found = volume.lookup(big, name)
        assert found is not None
        assert volume.target(found) == name
    fresh = Ext(disk)
    disk.count = 0
    assert fresh.lookup(big, listed[0]) is not None
    near, disk.count = disk.count, 0
    assert fresh.lookup(big, "nothing") is None
    assert near <= 6 * 65536


def test_what_is_encrypted_or_not_known(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    image = tmp_path / "image"
    mkfs(image, "-t ext4 -O encrypt", 24, tree)
    debugfs(image, "sif large flags 0x80800", "sif big flags 0x80800", "sif link-200 flags 0x80800")
    volume = opened(image)
    for read in (
        lambda: volume.read(find(volume, "large"), 0, 1),
        lambda: volume.names(find(volume, "big")),
        lambda: volume.lookup(find(volume, "big"), "a"),
        lambda: volume.target(find(volume, "link-200")),
    ):
        with pytest.raises(Unsupported, match="is encrypted"):
            read()
    data = bytearray(image.read_bytes())
    for bit in (0x1, 0x8, 0x20, 0x1000, 0x40000, 0x80000000):
        changed = bytearray(data)
        struct.pack_into("<I", changed, 1024 + 0x60, struct.unpack_from("<I", data, 1024 + 0x60)[0] | bit)
        with pytest.raises(Unsupported):
            Ext(Bytes(changed))
    struct.pack_into("<I", data, 1024 + 0x64, struct.unpack_from("<I", data, 1024 + 0x64)[0] | 0x80)
    assert Ext(Bytes(data)).names(Ext(Bytes(data)).root())
    with pytest.raises(Unsupported, match="bitmaps"):
        Ext(Bytes(data)).used()


def test_the_journal_of_another(tmp_path: pathlib.Path) -> None:
    image = tmp_path / "image"
    mkfs(image, "-O journal_dev -b 4096", 24, None)
    said = dict(line.split("=", 1) for line in call("blkid", "-p", "-o", "export", image).splitlines())
    with image.open("rb") as file:
        found = ext.superblock(RawFile(file.fileno()))
        assert found is not None
        assert (found.kind, found.uuid) == (said["TYPE"], said.get("UUID", said.get("LOGUUID")))
        with pytest.raises(Unsupported):
            Ext(RawFile(file.fileno()))


@pytest.mark.parametrize(
    ("command", "flag"),
    [("feature needs_recovery", "needs_recovery"), ("ssv state 2", "has_errors"), ("ssv state 0", "")],
)
def test_bitmaps_that_cannot_be_believed(command: str, flag: str, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    image = tmp_path / "image"
    mkfs(image, "-t ext4", 24, tree)
    debugfs(image, command)
    volume = opened(image)
    assert (volume.needs_recovery, volume.has_errors) == (flag == "needs_recovery", flag == "has_errors")
    assert volume.clean == (flag == "needs_recovery")
    assert volume.used() == [(0, volume.size)]
    assert volume.read(find(volume, "large"), 0, 1 << 20) == LARGE


def test_too_many_ranges_cost_space_only(
    tree: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "image"
    mkfs(image, "-t ext4 -b 1024 -g 1024 -O ^metadata_csum,^uninit_bg", 24, tree)
    debugfs(image, *(f"setb {block}" for block in range(9001, 10001, 2)))
    volume = opened(image)
    exact = volume.used()
    assert len(exact) > 300
    monkeypatch.setattr(ext_used, "_MOST_RANGES", 100)
    more = volume.used()
    assert len(more) < len(exact)
    assert all(any(start <= begin and end <= stop for start, stop in more) for begin, end in exact)


def test_empty_and_foreign_disks(tmp_path: pathlib.Path) -> None:
    for data in (b"", bytes(1024), bytes(1081), bytes(1 << 20), b"\xff" * (1 << 20)):
        assert ext.superblock(Bytes(bytearray(data))) is None
        with pytest.raises(Damaged, match="no superblock"):
            Ext(Bytes(bytearray(data)))
    image = tmp_path / "image"
    mkfs(image, "-t ext4 -U clear", 24, None)
    data = image.read_bytes()
    assert Ext(Bytes(bytearray(data))).uuid is None
    cut = Bytes(bytearray(data[: 20 * MIB]))
    assert ext.superblock(cut) is not None
    with pytest.raises(Damaged, match="larger than its disk"):
        Ext(cut)


def test_folder_that_names_other_places(tmp_path: pathlib.Path, tree: pathlib.Path) -> None:
    image = tmp_path / "image"
    mkfs(image, "-t ext4", 24, tree)
    data = image.read_bytes()
    assert data.count(b"os-release") == 1
    for name in (b"../release", b"os\0release"):
        volume = Ext(Bytes(bytearray(data.replace(b"os-release", name))))
        with pytest.raises(Damaged, match="impossible name"):
            volume.names(find(volume, "etc"))


# ---------------------------------------------------------------------------------------------------------------- hostile


def walk(volume: Volume, left: int = 150) -> None:
    """Everything that can be asked of a file system, of so many nodes; what is damaged does not end the walk."""
    found = [volume.root()]
    while found and left > 0:
        node = found.pop()
        left -= 1
        for ask in (
            volume.xattrs,
            lambda node: volume.read(node, 0, 200_000),
            lambda node: volume.read(node, node.size - 9, 9),
        ):
            guarded(lambda ask=ask, node=node: ask(node))
        if node.kind == "symlink":
            guarded(lambda node=node: volume.target(node))
        for name in (guarded(lambda node=node: volume.names(node)) or [])[:60]:
            child = guarded(lambda node=node, name=name: volume.lookup(node, name))
            found += [child] if child else []


def guarded(ask: t.Callable[[], t.Any]) -> t.Any:
    """What it answers; None for one of our errors. Any other one, or one that is not written as ours are, is a failure."""
    try:
        return ask()
    except KvmError as error:
        message = error.message
    assert message[0].islower()
    assert not message.endswith(".")
    return None


def endure(disk: Reader) -> None:
    """Only our errors leave the reader, and it comes to its end."""
    with ends():
        volume = guarded(lambda: Ext(disk))
        if volume is not None:
            ranges = guarded(volume.used) or []
            assert all(0 <= start < end <= volume.size <= disk.size for start, end in ranges)
            guarded(lambda: walk(volume))


HOSTILE = {
    "ext4": "-t ext4 -b 1024 -N 64 -O inline_data -I 256 -J size=1",
    "ext4-plain": "-t ext4 -b 1024 -N 64 -g 1024 -O ^has_journal,ea_inode",
    "ext2": "-t ext2 -b 1024 -N 64 -I 128",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_flipped_bytes(name: str, tmp_path: pathlib.Path) -> None:
    image, top = tmp_path / "image", tmp_path / "tree"
    (top / "folder" / "inner").mkdir(parents=True)
    for number in range(6):
        (top / "folder" / f"file-{number}").write_bytes(b"\0" * number * 3000)
    (top / "link").symlink_to("folder")
    (top / "far").symlink_to("f" * 200)
    with (top / "sparse").open("wb") as file:
        for number in range(100):
            file.seek(number * 4096)
            file.write(b"\0")
        file.seek(70_000_000)
        file.write(b"\0")
    mkfs(image, HOSTILE[name], 4, top)
    (tmp_path / "value").write_bytes(b"\0" * 500)
    debugfs(image, f"ea_set -f {tmp_path}/value far user.a", "ea_set folder user.b value", "ea_set link user.c value")
    data = bytearray(image.read_bytes())
    # The files are zeros: what is not zero is metadata.
    places = [match.start() for match in re.finditer(rb"[^\0]", data)]
    chance = random.Random(name)
    for _turn in range(1000):
        changes = {}
        for _change in range(chance.choice((1, 1, 2, 8))):
            place = min(max(0, chance.choice(places) + chance.choice((0, 0, 0, 1, -1))), len(data) - 1)
            changes.setdefault(place, data[place])
            data[place] = chance.choice(
                (0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256), data[place] ^ 1 << chance.randrange(8))
            )
        endure(Bytes(data))
        for place, old in changes.items():
            data[place] = old


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    image = tmp_path_factory.mktemp("small") / "image"
    mkfs(image, "-t ext4 -b 1024 -N 64 -g 512", 2, None)
    return image.read_bytes()


#: Offsets of the fields of 32 bits that give the geometry, and of two halves in one.
FIELDS = (
    0x0,
    0x4,
    0x14,
    0x18,
    0x1C,
    0x20,
    0x24,
    0x28,
    0x4C,
    0x54,
    0x58,
    0x5C,
    0x60,
    0x64,
    0xCC,
    0xFC,
    0x104,
    0x150,
    0x24C,
)
NUMBERS = st.one_of(
    st.integers(0, 2**32 - 1), st.integers(0, 70), st.integers(0, 31).map(lambda bit: 1 << bit), st.just(2**32 - 1)
)


@settings(max_examples=250)
@given(changes=st.dictionaries(st.sampled_from(FIELDS), NUMBERS, min_size=1, max_size=5))
def test_impossible_superblocks(small: bytes, changes: dict[int, int]) -> None:
    data = bytearray(small)
    for offset, number in changes.items():
        struct.pack_into("<I", data, 1024 + offset, number)
    endure(Bytes(data))


@settings(max_examples=80)
@given(raw=st.binary(min_size=1024, max_size=1024), rest=st.binary(max_size=5000))
def test_random_superblocks(raw: bytes, rest: bytes) -> None:
    endure(Bytes(bytearray(bytes(1024) + raw[:56] + b"\x53\xef" + raw[58:] + rest)))


class Endless:
    """A disk of 8 EiB (as a small qcow2 can claim), with the same block everywhere behind the superblock."""

    size = 1 << 63

    def __init__(self, head: bytes, block: bytes) -> None:
        self._head = head
        self._block = block

    def read(self, offset: int, length: int) -> bytes:
        assert length <= 1 << 26
        data = (self._block * (length // len(self._block) + 2))[offset % len(self._block) :][:length]
        return (
            (self._head[offset:] + data[max(0, len(self._head) - offset) :])[:length]
            if offset < len(self._head)
            else data
        )


@pytest.mark.parametrize(
    "block", [bytes(1024), b"\x01" * 1024, b"\x55\0\0\0" * 256, struct.pack("<4H", 0xF30A, 84, 84, 1) * 128]
)
@pytest.mark.parametrize("log_blocks", [24, 32, 48, 53])
def test_endless_disks(small: bytes, block: bytes, log_blocks: int) -> None:
    head = bytearray(small[:2048])
    blocks = 1 << log_blocks
    groups = -(-(blocks - 1) // 512)
    (incompat,) = struct.unpack_from("<I", head, 1024 + 0x60)
    struct.pack_into("<I", head, 1024 + 0x4, blocks & 0xFFFFFFFF)
    struct.pack_into("<I", head, 1024 + 0x150, blocks >> 32)
    struct.pack_into("<I", head, 1024 + 0x60, incompat | 0x80)
    struct.pack_into("<H", head, 1024 + 0xFE, 64)
    struct.pack_into("<I", head, 1024, groups * 8 & 0xFFFFFFFF)
    struct.pack_into("<I", head, 1024 + 0x28, 8)
    endure(Endless(bytes(head), block))
