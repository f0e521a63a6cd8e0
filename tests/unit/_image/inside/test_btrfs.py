# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images, inside: btrfs, made by mkfs.btrfs from a folder (no root needed) or written by the kernel (skipped without)."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import random
import shutil
import stat
import struct
import subprocess
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, KvmError, NotFound, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import btrfs_tree, lzo
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import RawFile, Reader
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.btrfs import Btrfs, name_hash
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.btrfs_super import superblock
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.volume import Node
from hypothesis import given
from hypothesis import strategies as st

MIB = 1 << 20
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
SUPER = 0x10000


def run(*words: object) -> str:
    program = shutil.which(str(words[0]), path=PATH)
    if program is None:
        pytest.skip(f"the program {words[0]} is not installed")
    done = subprocess.run([program, *map(str, words[1:])], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Patched:
    """A disk with some bytes changed."""

    def __init__(self, data: bytes, pieces: dict[int, bytes]) -> None:
        self.size, self._data, self._pieces = len(data), data, pieces

    def read(self, offset: int, length: int) -> bytes:
        data = bytearray(self._data[offset : offset + max(0, length)])
        for start, raw in self._pieces.items():
            for place, byte in enumerate(raw, start - offset):
                if 0 <= place < len(data):
                    data[place] = byte
        return bytes(data)


@dataclasses.dataclass(frozen=True)
class Thing:
    """What the test compares, of a file on this machine or of one in the image."""

    kind: str
    mode: int
    owner: int
    content: bytes
    xattrs: dict[str, bytes]


def here(path: pathlib.Path) -> Thing:
    info = path.lstat()
    xattrs = {
        name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
    }
    if path.is_symlink():
        return Thing("symlink", 0o777, info.st_uid, os.readlink(path).encode(), xattrs)
    kind = "file" if path.is_file() else "directory" if path.is_dir() else "other"
    return Thing(kind, stat.S_IMODE(info.st_mode), info.st_uid, path.read_bytes() if kind == "file" else b"", xattrs)


def everything_here(top: pathlib.Path) -> dict[str, Thing]:
    return {str(path.relative_to(top)): here(path) for path in sorted(top.rglob("*"))}


def everything(volume: Btrfs, node: Node, prefix: str = "", left: int = 2000) -> dict[str, Thing]:
    found: dict[str, Thing] = {}
    for name in volume.names(node):
        child = volume.lookup(node, name)
        assert child is not None
        content = b""
        if child.kind == "file":
            content = volume.read(child, 0, child.size)
        elif child.kind == "symlink":
            content = volume.target(child).encode()
        found[prefix + name] = Thing(child.kind, child.mode, child.owner, content, volume.xattrs(child))
        if child.kind == "directory" and prefix.count("/") < 20 and len(found) < left:
            found.update(everything(volume, child, f"{prefix}{name}/", left - len(found)))
    return found


def fill(tree: pathlib.Path) -> None:
    chance = random.Random(5)
    (tree / "etc").mkdir(parents=True)
    (tree / "etc" / "fstab").write_text("LABEL=root / btrfs defaults 0 0\n")
    (tree / "etc" / "empty").touch()
    (tree / "etc" / "secret").write_text("x")
    (tree / "etc" / "secret").chmod(0o600)
    (tree / "numbers").write_text("\n".join(map(str, range(60000))))
    (tree / "noise").write_bytes(chance.randbytes(300_001))
    (tree / "link").symlink_to("etc/fstab")
    (tree / "größe").write_text("Umlaut")
    (tree / ("n" * 255)).write_text("long")
    with (tree / "holes").open("wb") as file:
        file.seek(3 * MIB)
        file.write(b"end")
    for number in range(600):
        folder = tree / "many" / str(number % 3)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file {number}").write_text(str(number) * (number % 50))
    with contextlib.suppress(OSError):  # not every file system below /tmp has them
        os.setxattr(tree / "etc" / "fstab", "user.note", b"a value")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, pathlib.Path]:
    """A file system of a folder, and the folder."""
    folder = tmp_path_factory.mktemp("btrfs")
    fill(folder / "tree")
    return make(folder / "disk", folder / "tree"), folder / "tree"


def make(disk: pathlib.Path, tree: pathlib.Path, *options: str, size: int = 120) -> pathlib.Path:
    with disk.open("wb") as file:
        file.truncate(size * MIB)
    run("mkfs.btrfs", "-q", "-f", "--rootdir", tree, *options, disk)
    return disk


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file system with few files, for what is done to it many times."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "tree" / "etc").mkdir(parents=True)
    for number in range(300):
        (folder / "tree" / "etc" / f"{number}").write_text("text" * number)
    (folder / "tree" / "etc" / "link").symlink_to("5")
    return make(folder / "disk", folder / "tree", "-n", "4096").read_bytes()


@contextlib.contextmanager
def opened(path: pathlib.Path) -> t.Iterator[Reader]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield RawFile(fd)
    finally:
        os.close(fd)


# --- what mkfs makes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [[], ["-n", "4096"], ["-n", "65536"], ["--mixed"], ["-O", "^no-holes"], ["-m", "single"], ["--csum", "blake2"]],
    ids=" ".join,
)
def test_every_file_is_what_it_was(
    made: tuple[pathlib.Path, pathlib.Path], tmp_path: pathlib.Path, options: list[str]
) -> None:
    disk, tree = made
    if options:
        disk = make(tmp_path / "disk", tree, *options)
    with opened(disk) as reader:
        volume = Btrfs(reader)
        assert everything(volume, volume.root()) == everything_here(tree)


def test_the_superblock_is_what_btrfs_says(made: tuple[pathlib.Path, pathlib.Path]) -> None:
    disk = made[0]
    run("btrfs", "filesystem", "label", disk, "a label")
    lines = run("btrfs", "inspect-internal", "dump-super", disk).splitlines()
    said = dict(line.split(None, 1) for line in lines if len(line.split(None, 1)) == 2)
    with opened(disk) as reader:
        volume = Btrfs(reader)
        assert (volume.kind, volume.label, volume.uuid) == ("btrfs", said["label"], said["fsid"])
        assert (volume.size, volume.block_size, volume.clean) == (int(said["total_bytes"]), 4096, True)
        sb = superblock(reader)
    assert (sb.node, sb.roots.address, sb.roots.generation) == tuple(
        int(said[key]) for key in ("nodesize", "root", "generation")
    )


def test_parts_of_a_file(made: tuple[pathlib.Path, pathlib.Path]) -> None:
    disk, tree = made
    chance = random.Random(1)
    with opened(disk) as reader:
        volume = Btrfs(reader)
        for name in ("numbers", "noise", "holes"):
            data = (tree / name).read_bytes()
            node = volume.lookup(volume.root(), name)
            assert node is not None
            for _turn in range(100):
                offset, length = chance.randrange(len(data) + 5000), chance.choice((1, 7, 4096, 100_000))
                assert volume.read(node, offset, length) == data[offset : offset + length]


def test_what_is_not_there(made: tuple[pathlib.Path, pathlib.Path]) -> None:
    with opened(made[0]) as reader:
        volume = Btrfs(reader)
        for name in ("nothing", "", ".", "..", "etc/fstab", "\ud800", "\udcff"):
            assert volume.lookup(volume.root(), name) is None
        file = volume.lookup(volume.root(), "numbers")
        assert file is not None
        with pytest.raises(Damaged, match="no folder"):
            volume.names(file)
        with pytest.raises(Damaged, match="symbolic link"):
            volume.target(file)
        with pytest.raises(NotFound, match="no subvolume nothing"):
            Btrfs(reader, "nothing")


# --- what the kernel writes -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def mounted(disk: pathlib.Path, point: pathlib.Path, *options: str) -> t.Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("only root can let the kernel write a btrfs, which compression and subvolumes need")
    point.mkdir(exist_ok=True)
    program = shutil.which("mount", path=PATH)
    assert program is not None
    words = [program, "-t", "btrfs", "-o", ",".join(["loop", *options]), disk, point]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine cannot mount a btrfs through a loop device: {done.stderr.strip()}")
    try:
        yield
    finally:
        run("umount", point)


def fresh(folder: pathlib.Path) -> pathlib.Path:
    with (folder / "disk").open("wb") as file:
        file.truncate(120 * MIB)
    run("mkfs.btrfs", "-q", folder / "disk")
    return folder / "disk"


@pytest.mark.parametrize("method", ["zlib", "lzo", "zstd"])
def test_compressed_files(tmp_path: pathlib.Path, method: str) -> None:
    disk, point = fresh(tmp_path), tmp_path / "mnt"
    chance = random.Random(method)
    with mounted(disk, point, f"compress-force={method}"):
        fill(point)
        (point / "inline").write_text("again and " * 150)
        (point / "words").write_bytes(b" ".join(chance.choice((b"one", b"two", b"three")) for _turn in range(70_000)))
        (point / "mixed").write_bytes(b"".join(chance.randbytes(2000) + bytes(3000) for _turn in range(80)))
        with (point / "words").open("r+b") as file:  # an extent of which only parts are used
            os.fsync(file.fileno())
            file.seek(50_000)
            file.write(b"in the middle" * 1000)
        run("sync", "-f", point)
        wanted = everything_here(point)
    kinds = run("btrfs", "inspect-internal", "dump-tree", "-t", "5", disk)
    assert f"({method})" in kinds
    with opened(disk) as reader:
        volume = Btrfs(reader)
        assert everything(volume, volume.root()) == wanted
        node = volume.lookup(volume.root(), "words")
        assert node is not None
        for offset in range(0, node.size, 9973):
            assert volume.read(node, offset, 5000) == wanted["words"].content[offset : offset + 5000]


def test_subvolumes(tmp_path: pathlib.Path) -> None:
    disk, point = fresh(tmp_path), tmp_path / "mnt"
    with mounted(disk, point):
        for name in ("@", "@home", "@/nested", "other"):
            run("btrfs", "-q", "subvolume", "create", point / name)
        (point / "@" / "file").write_text("in @")
        (point / "@" / "nested" / "file").write_text("nested")
        (point / "plain").mkdir()
        run("sync", "-f", point)
        run("btrfs", "-q", "subvolume", "snapshot", point / "@", point / "other" / "snap")
        (point / "@" / "file").write_text("changed")
        with (point / "reserved").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 10_000)
        wanted = everything_here(point)
        run("btrfs", "subvolume", "set-default", point / "@")
    assert wanted["@/file"].content == b"changed"
    assert wanted["other/snap/file"].content == b"in @"
    with opened(disk) as reader:
        top = Btrfs(reader, "/")
        found = everything(top, top.root())
        for name in [name for name in wanted if wanted[name].kind == "directory" and name.endswith("snap/nested")]:
            assert found[name].kind == "directory"
            del found[name], wanted[name]  # the kernel invents its mode
        assert found == wanted
        assert Btrfs(reader).names(Btrfs(reader).root()) == ["nested", "file"]
        nested = Btrfs(reader, "@/nested")
        assert everything(nested, nested.root())["file"].content == b"nested"
        assert Btrfs(reader, "other/snap").lookup(Btrfs(reader, "other/snap").root(), "file") is not None
        stub = Btrfs(reader, "other/snap/nested")
        assert stub.names(stub.root()) == []
        assert stub.lookup(stub.root(), "file") is None


def test_a_crash_leaves_a_log(tmp_path: pathlib.Path) -> None:
    disk, point = fresh(tmp_path), tmp_path / "mnt"
    with mounted(disk, point):
        (point / "first").write_text("1")
        run("sync", "-f", point)
        with (point / "second").open("w") as file:
            file.write("2")
            file.flush()
            os.fsync(file.fileno())
        shutil.copyfile(disk, tmp_path / "copy")
    with opened(tmp_path / "copy") as reader:
        volume = Btrfs(reader)
        assert not volume.clean
        assert volume.names(volume.root()) == ["first"]


# --- what is not read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "raw", "error", "words"),
    [
        (SUPER + 0x40, b"x", Damaged, "magic number"),
        (SUPER + 0x88, b"\2", Unsupported, "2 disks"),
        (SUPER + 0xBC + 1, b"\x10", Unsupported, "zoned"),
        (SUPER + 0xBC + 1, b"\x40", Unsupported, "raid-stripe-tree"),
        (SUPER + 0xBC + 7, b"\x80", Unsupported, "not known here"),
        (SUPER + 0x90, b"\0\0\0\0", Damaged, "impossible sizes"),
        (SUPER + 0x94, b"\0\0\0\1", Damaged, "impossible sizes"),
        (SUPER + 0xA0, b"\xff\xff", Damaged, "bytes of chunks"),
        (SUPER + 0x77, b"\x7f", Damaged, "its disk only"),
        (SUPER + 0x50, b"\xff" * 8, Damaged, "no block can begin"),
        (SUPER + 0x56, b"\1", Damaged, "where the btrfs has nothing"),
        (SUPER + 0xC6, b"\7", Damaged, "another one than its tree says"),
        (SUPER + 0xC7, b"\xff", Damaged, "256 levels"),
        (SUPER + 0x48, b"\xff", Damaged, "another one than its tree says"),
        (SUPER + 0x32B + 17 + 24, b"\x12", Unsupported, "RAID1"),
        (SUPER + 0x32B + 17 + 24 + 1, b"\x80", Unsupported, "of a kind that is not known"),
    ],
)
def test_what_cannot_be_read_is_named(small: bytes, offset: int, raw: bytes, error: type[KvmError], words: str) -> None:
    with pytest.raises(error, match=words):
        Btrfs(Patched(small, {offset: raw}))


def test_several_disks(tmp_path: pathlib.Path) -> None:
    for name in ("one", "two"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(150 * MIB)
    run("mkfs.btrfs", "-q", "-d", "raid1", tmp_path / "one", tmp_path / "two")
    with opened(tmp_path / "one") as reader, pytest.raises(Unsupported, match="on 2 disks"):
        Btrfs(reader)


def test_a_disk_that_was_cut_off(small: bytes) -> None:
    for size in (0, SUPER, SUPER + 100, SUPER + 4096, 30 * MIB):
        with pytest.raises(Damaged):
            Btrfs(Patched(small[:size], {}))


# --- hostile bytes ----------------------------------------------------------------------------------------------------


def explore(volume: Btrfs) -> None:
    """Reads what can be read, however little; nothing but our own errors may come out."""
    todo = [volume.root()]
    for _turn in range(60):
        if not todo:
            break
        node = todo.pop()
        with contextlib.suppress(KvmError):
            volume.xattrs(node)
            if node.kind == "directory":
                for name in volume.names(node)[:40]:
                    with contextlib.suppress(KvmError):
                        todo += filter(None, [volume.lookup(node, name)])
            elif node.kind == "symlink":
                volume.target(node)
            else:
                volume.read(node, 0, 100_000)
                volume.read(node, max(0, node.size - 100), 100)


def blocks_of(data: bytes, size: int) -> list[int]:
    """Where the blocks of trees are: they have the UUID of the file system at the same place as the superblock."""
    fsid = data[SUPER + 0x20 : SUPER + 0x30]
    return [start for start in range(0, len(data), size) if data[start + 0x20 : start + 0x30] == fsid]


def test_flipped_bytes(small: bytes) -> None:
    chance = random.Random(7)
    blocks = blocks_of(small, 4096)
    for _turn in range(250):
        pieces = {}
        for _turn in range(chance.randint(1, 4)):
            block = chance.choice(blocks)
            head = chance.random() < 0.6  # where the structure is denser
            offset = block + chance.randrange(101 + 25 * 8 if head else 4096)
            pieces[offset] = bytes([chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))])
        with contextlib.suppress(KvmError):
            explore(Btrfs(Patched(small, pieces)))


class Memory:
    """Blocks of a tree that are made for the test, in place of a disk."""

    sector = node = 4096

    def __init__(self, blocks: dict[int, bytes]) -> None:
        self.blocks = blocks
        self.reads = 0

    def read(self, address: int, length: int, what: str) -> bytes:
        self.reads += 1
        return self.blocks.get(address, bytes(length))


def block(address: int, level: int, keys: list[tuple[int, int, int]], below: list[int]) -> bytes:
    entries = b"".join(
        struct.pack("<QBQQQ", *key, place, 1) if level else struct.pack("<QBQII", *key, 0, 0)
        for key, place in zip(keys, below)
    )
    head = bytes(0x30) + struct.pack("<Q", address) + bytes(24) + struct.pack("<QQIB", 1, 5, len(keys), level)
    return (head + entries).ljust(4096, b"\0")


def trees(blocks: dict[int, bytes]) -> tuple[btrfs_tree.Trees, Memory]:
    memory = Memory(blocks)
    return btrfs_tree.Trees(t.cast(t.Any, memory)), memory


def test_a_pointer_to_another_leaf_is_noticed() -> None:
    keys = [(1, 1, 0), (2, 1, 0)]
    leaf = block(0x2000, 0, [keys[0]], [0])
    made, _memory = trees({0x1000: block(0x1000, 1, keys, [0x2000, 0x2000]), 0x2000: leaf})
    with pytest.raises(Damaged, match="begins with another key"):
        list(made.items(btrfs_tree.Top(0x1000, 1, 1), (0, 0, 0), (99, 0, 0)))


def test_leaves_that_overlap_end_a_walk() -> None:
    top = btrfs_tree.Top(0x1000, 1, 1)
    keys = [(1, 1, 0), (2, 1, 0)]
    leaves = {0x2000: block(0x2000, 0, [keys[0], (9, 1, 0)], [0, 0]), 0x3000: block(0x3000, 0, [keys[1]], [0])}
    made, _memory = trees({0x1000: block(0x1000, 1, keys, [0x2000, 0x3000]), **leaves})
    with pytest.raises(Damaged, match="leads back"):
        list(made.items(top, (0, 0, 0), (99, 0, 0)))


def test_an_exponential_tree_ends_soon() -> None:
    """Seven levels of nodes with all their pointers to the same block: 119 to the power of 7 ways."""
    blocks, keys = {}, [(0, 0, number) for number in range(119)]
    for level in range(1, 8):
        blocks[level * 0x1000] = block(level * 0x1000, level, keys, [(level - 1) * 0x1000] * 119)
    blocks[0] = block(0, 0, [(0, 0, 0)], [0])
    made, memory = trees(blocks)
    with pytest.raises(Damaged):
        list(made.items(btrfs_tree.Top(7 * 0x1000, 7, 1), (0, 0, 0), (99, 0, 0)))
    assert memory.reads < 20


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 255), st.integers(0, 9)), unique=True, max_size=60), st.data()
)
def test_what_a_walk_finds_is_what_a_list_finds(keys: list[tuple[int, int, int]], data: st.DataObject) -> None:
    keys = sorted(keys)
    leaves = [keys[start : start + 7] for start in range(0, len(keys), 7)]
    blocks = {0x1000 * (2 + n): block(0x1000 * (2 + n), 0, leaf, [0] * len(leaf)) for n, leaf in enumerate(leaves)}
    blocks[0x1000] = block(0x1000, 1, [leaf[0] for leaf in leaves], sorted(blocks))
    top = btrfs_tree.Top(0x1000, 1, 1)
    any_key = st.tuples(st.integers(0, 6), st.integers(0, 255), st.integers(0, 10))
    low, high = data.draw(any_key), data.draw(any_key)
    made, _memory = trees(blocks)
    assert [key for key, _item in made.items(top, low, high)] == [key for key in keys if low <= key <= high]
    assert made.floor(top, low) == max((key for key in keys if key <= low), default=None)


def lzop_blocks(data: bytes) -> t.Iterator[tuple[bytes, int]]:
    """The packed blocks of a file that lzop has written, each with its length when unpacked (lzop's src/lzop.c)."""
    flags = struct.unpack_from(">I", data, 17)[0]
    offset = 34 + data[33] + 4  # the name, and a checksum
    while True:
        size = struct.unpack_from(">I", data, offset)[0]
        if size == 0:
            return
        packed = struct.unpack_from(">I", data, offset + 4)[0]
        sums = bool(flags & 1) + bool(flags & 0x100)
        if packed < size:
            sums += bool(flags & 2) + bool(flags & 0x200)
        offset += 8 + 4 * sums
        if packed < size:  # others are stored as they were
            yield data[offset : offset + packed], size
        offset += packed


def samples() -> t.Iterator[bytes]:
    chance = random.Random(6)
    yield b"a"
    yield bytes(200_000)
    yield b"".join(chance.choice((b"kernel", b"initrd", b"boot", b"-")) for _turn in range(30_000))
    yield b"\n".join(str(number).encode() for number in range(30_000))
    yield b"".join(chance.randbytes(chance.randrange(1, 300)) + bytes(chance.randrange(1, 900)) for _turn in range(300))
    part = chance.randbytes(20_000)  # matches that are far away, of all three kinds
    yield part + part[:40] + chance.randbytes(18_000) + part[100:19_000] + part[:2000] + part[1:50]


@pytest.mark.parametrize("level", ["-1", "-3", "-9"])
def test_lzo_is_what_lzop_packs(tmp_path: pathlib.Path, level: str) -> None:
    seen = 0
    for number, data in enumerate(samples()):
        path = tmp_path / f"{number}"
        path.write_bytes(data)
        run("lzop", "-q", level, path)
        at = 0
        for packed, size in lzop_blocks((tmp_path / f"{number}.lzo").read_bytes()):
            assert lzo.decompress(packed, size) == data[at : at + size]
            with pytest.raises(Damaged):
                lzo.decompress(packed, size - 1)
            with pytest.raises(Damaged):
                lzo.decompress(packed[: len(packed) // 2], size)
            at, seen = at + size, seen + 1
    assert seen >= 4  # what cannot be packed is stored as it was


@given(st.binary(max_size=400))
def test_any_bytes_as_lzo(data: bytes) -> None:
    for function in (lzo.decompress, lambda raw, size: lzo.segments(raw, size, 4096)):
        with contextlib.suppress(Damaged):
            assert len(function(data, 4096)) <= 4096


@given(st.binary(max_size=200))
def test_any_bytes_in_a_block(raw: bytes) -> None:
    head = block(0x1000, 0, [(1, 1, 1)], [0])
    made, _memory = trees({0x1000: (head[:0x60] + raw).ljust(4096, b"\0")[:4096]})
    with contextlib.suppress(Damaged):
        list(made.items(btrfs_tree.Top(0x1000, 0, 1), (0, 0, 0), (1 << 64, 0, 0)))


def test_the_hash_of_a_name_is_that_of_the_kernel(small: bytes, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(small)
    dump = run("btrfs", "inspect-internal", "dump-tree", "-t", "5", path)
    # The inode has that name as well, and may come before its folder: the numbers are those of the machine's file system.
    items = [item for item in dump.split("\titem ") if " DIR_ITEM " in item and "name: link\n" in item]
    assert [int(item.split(" DIR_ITEM ")[1].split(")")[0]) for item in items] == [name_hash(b"link")]
