# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""XFS as mkfs.xfs, xfs_db and the kernel know it, against what our reader makes of the same bytes; and bytes made to hurt.

The file systems are filled by mkfs (a "protofile") and xfs_db, so that no test but the kernel's own needs root.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import stat
import struct
import subprocess
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, KvmError, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import xfs, xfs_super
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import RawFile, Reader
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.volume import Node, Volume
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.xfs import Xfs
from ansible_collections.hypervisor.kvm.tests.unit.ends import ends
from hypothesis import given, settings
from hypothesis import strategies as st

MIB = 1 << 20
UUID = "0d4bc2f1-1f0b-4c5c-9c0a-3b6a7e1f2a11"
#: Options of mkfs.xfs and the size in MiB.
VARIANTS: dict[str, tuple[str, int]] = {
    "v5": ("", 96),
    "v5-1k": ("-b size=1024 -d agcount=4", 96),
    "v5-2k-folders-8k": ("-b size=2048 -n size=8192 -d agcount=1", 96),
    "v5-64k": ("-b size=65536", 300),
    "v5-4k-sectors": ("-s size=4096 -i size=2048", 96),
    "v5-large-counts": ("-i nrext64=1 -m rmapbt=1,bigtime=1,inobtcount=1", 96),
    "v5-plain": ("-m finobt=0,rmapbt=0,reflink=0,bigtime=0 -i sparse=0", 96),
    "v4": ("-m crc=0", 96),
    "v4-no-types": ("-m crc=0 -n ftype=0 -b size=1024", 96),
    "v4-512": ("-m crc=0 -b size=512 -i size=256", 96),
    "v4-folders-16k": ("-m crc=0 -b size=1024 -n size=16384 -l version=1", 96),
}
#: Here the big folder does not fit into the inode's own list of extents.
TREES = ("v5-1k", "v4-no-types", "v4-512")
#: What mkfs and kernels have come to refuse, or do not know yet.
OPTIONAL = ("v5-large-counts", *(name for name in VARIANTS if name.startswith("v4")))

MANY = 5000
OS_RELEASE = b"ID=debian\n"
LARGE = bytes(number * 7 & 255 for number in range(300_000))
#: mkfs does not write the head that a long link needs since version 5 (the kernel refuses those, too).
SHORT_LINKS = (1, 20, 60, 150)
LONG_LINKS = (300, 1000, 1023)


def run(*words: str | pathlib.Path) -> str:
    """A program of xfsprogs or of the machine; its output. Fails where the program is missing or does."""
    argv = [_command.find(str(words[0]), "xfsprogs"), *map(str, words[1:])]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (argv, done.stdout, done.stderr)
    return done.stdout


def mkfs(image: pathlib.Path, options: str, mebibytes: int, optional: bool = False) -> None:
    with image.open("wb") as file:
        file.truncate(mebibytes * MIB)
    words = ["-q", "-m", f"uuid={UUID}", "-L", "a label", *options.split(), str(image)]
    # Since 6.0 a file system below 300 MiB wants a word that older ones do not know.
    for more in (["--unsupported"], []):
        argv = [_command.find("mkfs.xfs", "xfsprogs"), *more, *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
    if optional:
        pytest.skip(f"this mkfs.xfs does not make {options}: {done.stderr.strip().splitlines()[:1]}")
    pytest.fail(f"{argv}: {done.stderr}")


def protofile(folder: pathlib.Path, names: int, links: t.Iterable[int]) -> pathlib.Path:
    (folder / "os-release").write_bytes(OS_RELEASE)
    (folder / "large").write_bytes(LARGE)
    (folder / "one").write_bytes(b"1")
    lines = ["/dev/null", "0 0", "d--755 0 0", "etc d--750 5 6", f"os-release ---644 0 0 {folder}/os-release"]
    lines += [f"large -u-755 1200 3400 {folder}/large", "empty ---600 0 0 /dev/null", "$", "big d--755 0 0"]
    # Files with data between the entries, so that the folder's blocks are not one extent.
    lines += [f"{_name(i)} ---644 0 0 {folder / 'one' if i % 8 == 0 else '/dev/null'}" for i in range(names)]
    lines += ["$", "nothing d--700 0 0", "$", "pipe p--644 0 0", "null c--666 0 0 1 3"]
    lines += [f"link{length} l--777 0 0 {'x' * length}" for length in links]
    proto = folder / "proto"
    proto.write_text("\n".join([*lines, "$", ""]))
    return proto


def _name(number: int) -> str:
    return f"a-rather-ordinary-name-{number:05d}"


#: Options of attr_set, name in full, length of the value (xfs_db fills it with "v").
ATTRIBUTES = [  # a small one first: a first one that is long crashes xfs_db, for version 4
    ("etc", "-u", "user.some", 1),
    ("etc", "-s", "security.selinux", 300),
    ("etc", "-u", "user.huge", 40_000),
    ("pipe", "-u", "user.small", 10),
    ("pipe", "-r", "trusted.boss", 20),
    ("nothing", "-u", "user.first", 1),
    *(("nothing", "-u", f"user.number-{i}", 700 + i) for i in range(12)),  # more than a leaf
]


def links_of(variant: str) -> tuple[int, ...]:
    return SHORT_LINKS + (LONG_LINKS if variant.startswith("v4") else ())


class Images:
    """The images of the variants, each made once."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder

    def get(self, variant: str, names: int = MANY) -> pathlib.Path:
        image = self._folder / f"{variant}-{names}.img"
        if not image.exists():
            made = image.with_suffix(".new")
            options, size = VARIANTS[variant]
            proto = protofile(self._folder, names, links_of(variant))
            mkfs(made, f"{options} -p {proto}", size, variant in OPTIONAL)
            for path, space, name, length in ATTRIBUTES:
                command = f"attr_set {space} -v {length} {name.split('.', 1)[1]}"
                run("xfs_db", "-x", "-c", f"path /{path}", "-c", command, made)
            made.rename(image)
        return image


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return Images(tmp_path_factory.mktemp("xfs"))


@pytest.fixture
def opened() -> t.Iterator[t.Callable[[pathlib.Path], Xfs]]:
    with _Open() as opener:
        yield lambda image: Xfs(opener.reader(image))


class _Open:
    """Files that are closed in the end."""

    def __init__(self) -> None:
        self._fds: list[int] = []

    def __enter__(self) -> _Open:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._fds:
            os.close(fd)

    def reader(self, image: pathlib.Path) -> RawFile:
        self._fds.append(os.open(image, os.O_RDONLY))
        return RawFile(self._fds[-1])


def at(volume: Volume, path: str) -> Node:
    node = volume.root()
    for name in path.strip("/").split("/"):
        found = volume.lookup(node, name)
        assert found is not None, path
        node = found
    return node


def db(image: pathlib.Path, *commands: str) -> str:
    return run("xfs_db", "-r", *(word for command in commands for word in ("-c", command)), image)


def number(image: pathlib.Path, place: str, field: str) -> int:
    return int(db(image, place, f"print {field}").split("=")[1].split()[0], 0)


def place_of(image: pathlib.Path, node: Node) -> int:
    """The offset of an inode in bytes."""
    return int(db(image, f"inode {node.number}", "addr").split("byte offset ")[1].split(",")[0])


# What mkfs made


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_mkfs_wrote_is_read(images: Images, opened: t.Callable[[pathlib.Path], Xfs], variant: str) -> None:
    volume: Volume = opened(images.get(variant))
    top = ["etc", "big", "nothing", "pipe", "null", *(f"link{length}" for length in links_of(variant))]
    assert sorted(volume.names(volume.root())) == sorted(top)
    assert sorted(volume.names(at(volume, "big"))) == [_name(i) for i in range(MANY)]
    assert volume.names(at(volume, "nothing")) == []
    etc = at(volume, "etc")
    assert (etc.kind, etc.mode, etc.owner, etc.group) == ("directory", 0o750, 5, 6)
    assert volume.read(at(volume, "etc/os-release"), 0, 1 << 20) == OS_RELEASE
    large = at(volume, "etc/large")
    assert (large.kind, large.mode, large.owner, large.group) == ("file", 0o4755, 1200, 3400)
    assert (large.size, volume.read(large, 0, large.size)) == (len(LARGE), LARGE)
    for offset, length in ((0, 1), (4095, 2), (65536, 70000), (299_999, 5), (300_000, 5), (1 << 40, 5), (5, 0)):
        assert volume.read(large, offset, length) == LARGE[offset : offset + length]
    assert volume.read(at(volume, "etc/empty"), 0, 10) == b""
    for length in links_of(variant):
        assert volume.target(at(volume, f"link{length}")) == "x" * length
    assert [at(volume, name).kind for name in ("pipe", "null", "link1")] == ["other", "other", "symlink"]
    for name in ("nope", "", ".", "..", "\ud800", _name(0)):
        assert volume.lookup(etc, name) is None


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_name_in_a_large_folder_is_found_without_reading_all_of_them(
    images: Images, opened: t.Callable[[pathlib.Path], Xfs], variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = opened(images.get(variant))
    names = [_name(0), _name(MANY // 2), _name(MANY - 1), _name(0)[:-1], "nope", "etc"]
    folder = at(volume, "big")
    listed = opened(images.get(variant))
    assert len(listed.names(folder)) == MANY
    wanted = [listed.lookup(folder, name) for name in names]
    monkeypatch.setattr("ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.xfs.entries", None)
    assert folder.size > 64 * 1024
    assert [volume.lookup(folder, name) for name in names] == wanted


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_inode_numbers_are_those_of_xfs_db(
    images: Images, opened: t.Callable[[pathlib.Path], Xfs], variant: str
) -> None:
    image = images.get(variant)
    volume = opened(image)
    for path in ("etc", "etc/large", f"big/{_name(0)}", f"big/{_name(MANY - 1)}", "pipe"):
        assert f"{at(volume, path).number}" in db(image, f"path /{path}", "inode").split("is ")[1].split()
    if variant in TREES:
        assert "btree" in db(image, "path /big", "print core.format")


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_superblock_tells_what_blkid_tells(
    images: Images, opened: t.Callable[[pathlib.Path], Xfs], variant: str
) -> None:
    image = images.get(variant)
    volume = opened(image)
    told = dict(line.split("=", 1) for line in run("blkid", "-p", "-o", "export", image).splitlines())
    assert (volume.kind, volume.label, volume.uuid) == (told["TYPE"], "a label", told["UUID"])
    assert (volume.block_size, volume.uuid) == (number(image, "sb 0", "blocksize"), UUID)
    assert volume.size == number(image, "sb 0", "dblocks") * volume.block_size
    with _Open() as files:
        short = xfs.superblock(files.reader(image))
    assert short == xfs.Superblock("a label", UUID, volume.size, volume.block_size)


@pytest.mark.parametrize("variant", VARIANTS)
def test_attributes_that_xfs_db_has_set(images: Images, opened: t.Callable[[pathlib.Path], Xfs], variant: str) -> None:
    volume = opened(images.get(variant))
    for path in ("etc", "pipe", "nothing"):
        wanted = {name: b"v" * length for where, _space, name, length in ATTRIBUTES if where == path}
        assert volume.xattrs(at(volume, path)) == wanted
    assert volume.xattrs(at(volume, "null")) == {}


def test_a_changed_uuid_is_told(
    images: Images, opened: t.Callable[[pathlib.Path], Xfs], tmp_path: pathlib.Path
) -> None:
    """Blocks go on carrying the old one."""
    image = tmp_path / "image"
    run("cp", images.get("v5", 100), image)
    run("xfs_db", "-x", "-c", "uuid 11111111-2222-3333-4444-555555555555", image)
    volume = opened(image)
    assert volume.uuid == "11111111-2222-3333-4444-555555555555"
    assert volume.read(at(volume, "etc/os-release"), 0, 100) == OS_RELEASE


@pytest.mark.parametrize("variant", ["v4-512", "v4-no-types"])
def test_a_tree_of_extents_read_as_a_file(
    images: Images, opened: t.Callable[[pathlib.Path], Xfs], tmp_path: pathlib.Path, variant: str
) -> None:
    """The big folder is called a file; xfs_db tells where its blocks are."""
    image = tmp_path / "image"
    run("cp", images.get(variant), image)
    inode = at(opened(image), "big").number
    run("xfs_db", "-x", "-c", f"inode {inode}", "-c", "write core.mode 0100644", image)
    volume = opened(image)
    block, group = volume.block_size, number(image, "sb 0", "agblocks")
    wanted = bytearray(number(image, f"inode {inode}", "core.size"))
    with image.open("rb") as file:
        for line in db(image, f"inode {inode}", "bmap -d").splitlines():
            words = line.replace("(", " ").replace(")", " ").replace("/", " ").split()
            first, inside, count = int(words[2]), int(words[6]), int(words[8])
            file.seek((int(words[5]) * group + inside) * block)
            data = file.read(count * block)
            if first * block < len(wanted):
                wanted[first * block : first * block + len(data)] = data
    node = at(volume, "big")
    assert volume.read(node, 0, node.size) == bytes(wanted)
    for offset in range(0, len(wanted), 9973):
        assert volume.read(node, offset, 777) == bytes(wanted[offset : offset + 777])


# What is in use


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_free_is_what_xfs_db_calls_free(
    images: Images, opened: t.Callable[[pathlib.Path], Xfs], variant: str
) -> None:
    image = images.get(variant)
    volume = opened(image)
    group, block, spare, free = number(image, "sb 0", "agblocks"), volume.block_size, 0, set[int]()
    for line in db(image, "freesp -d").splitlines():
        words = line.split()
        if len(words) == 3 and words[0].isdigit():
            start = int(words[0]) * group + int(words[1])
            free.update(range(start, start + int(words[2])))
    for index in range(number(image, "sb 0", "agcount")):
        spare += number(image, f"agf {index}", "flcount")
    ours = set(range(volume.size // block))
    before = 0
    for offset, end in volume.used():
        assert offset % block == end % block == 0 < end - offset
        assert offset == 0 or offset > before
        before = end
        ours -= set(range(offset // block, end // block))
    # xfs_db also calls free what each group keeps for its trees: for us, and for the kernel, that is in use.
    assert ours <= free
    assert len(free - ours) == spare


def test_a_copy_of_what_is_in_use_is_whole(
    images: Images, opened: t.Callable[[pathlib.Path], Xfs], tmp_path: pathlib.Path
) -> None:
    image, copy = images.get("v5-1k"), tmp_path / "copy"
    volume = opened(image)
    with image.open("rb") as source, copy.open("wb") as target:
        for offset, end in volume.used():
            source.seek(offset)
            target.seek(offset)
            target.write(source.read(end - offset))
        target.truncate(volume.size)
    run("xfs_repair", "-n", copy)
    assert volume.clean
    assert opened(copy).names(at(volume, "big")) == volume.names(at(volume, "big"))


# What the kernel makes of it


@pytest.fixture
def mounted(tmp_path: pathlib.Path) -> t.Iterator[t.Callable[..., pathlib.Path]]:
    """Mounts images, or skips; what is mounted is unmounted in the end."""
    done: list[pathlib.Path] = []

    def mount(image: pathlib.Path, options: str) -> pathlib.Path:
        if os.geteuid() != 0:
            pytest.skip("a loop mount needs root")
        place = tmp_path / f"mounted-{len(done)}"
        place.mkdir()
        argv = [_command.find("mount", "mount"), "-t", "xfs", "-o", f"loop,nouuid,{options}", str(image), str(place)]
        tried = subprocess.run(argv, capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            pytest.skip(f"this machine does not mount an xfs through a loop device: {tried.stderr.strip()}")
        done.append(place)
        return place

    yield mount
    for place in done:
        if os.path.ismount(place):
            run("umount", place)


def fill(top: pathlib.Path) -> None:
    """Everything that a file system can have, and mkfs cannot make."""
    chance = random.Random(7)
    (top / "big").mkdir()
    for i in range(3000):
        (top / "big" / _name(i)).touch()
    for i in range(0, 3000, 7):
        (top / "big" / _name(i)).unlink()
    deep = top / "deep"
    for i in range(30):
        deep = deep / f"d{i}"
    deep.mkdir(parents=True)
    (deep / "end").write_bytes(b"end")
    for length in SHORT_LINKS + LONG_LINKS:
        (top / f"link{length}").symlink_to("x" * length)
    (top / os.fsdecode(b"\xff\xe4 name")).write_bytes(b"no UTF-8")
    with (top / "holes").open("wb") as file:
        file.write(chance.randbytes(2000 * 8192))
    # Every second block away: an extent for each of those that stay, so that their tree has more than one level.
    holes = [word for i in range(2000) for word in ("-c", f"fpunch {i * 8192} 4096")]
    run("xfs_io", *holes, top / "holes")
    with (top / "preallocated").open("wb") as file:
        file.write(b"x" * 100)
        file.flush()
        os.posix_fallocate(file.fileno(), 0, MIB)
        os.pwrite(file.fileno(), b"y" * 5000, 500_000)
    with (top / "sparse").open("wb") as file:
        file.truncate(1 << 40)
        os.pwrite(file.fileno(), b"z" * 10, (1 << 40) - 5000)
    _fill_attributes(top, chance)


def _fill_attributes(top: pathlib.Path, chance: random.Random) -> None:
    few = top / "few"
    few.touch()
    os.setxattr(few, "user.small", b"v" * 10)
    os.setxattr(few, "trusted.empty", b"")
    os.setxattr(few, "security.capability", struct.pack("<IIIII", 0x02000001, 1, 0, 0, 0))
    os.chown(few, 1000, 2000)
    many = top / "many"
    many.touch()
    for i in range(400):
        os.setxattr(many, f"user.{i}", bytes([i & 255]) * (i % 200))
    long = top / "long"
    long.mkdir()
    for i in range(3):
        os.setxattr(long, f"user.{i}", chance.randbytes(20_000 * (i + 1)))
    undefined = 0xFFFFFFFF
    acl = [(1, 7, undefined), (2, 6, 33), (4, 5, undefined), (8, 4, 50), (16, 7, undefined), (32, 0, undefined)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in acl)
    os.setxattr(long, "system.posix_acl_access", value)
    os.setxattr(long, "system.posix_acl_default", value)


def compare(volume: Xfs, node: Node, path: str) -> int:
    """Compares a tree with what the kernel says of it; the number of nodes."""
    told = os.lstat(path)
    kinds = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "symlink"}
    kind = kinds.get(stat.S_IFMT(told.st_mode), "other")
    wanted = Node(told.st_ino, kind, told.st_mode & 0o7777, told.st_uid, told.st_gid, told.st_size)
    assert node == wanted, path
    names = os.listxattr(path, follow_symlinks=False)
    # The kernel tells of an ACL twice, the second time as it is on the disk.
    values = {name: os.getxattr(path, name, follow_symlinks=False) for name in names if "SGI_ACL" not in name}
    assert volume.xattrs(node) == values, path
    if kind == "symlink":
        assert volume.target(node) == os.readlink(path)
    elif kind == "file":
        _compare_data(volume, node, path)
    elif kind == "directory":
        inside = os.listdir(path)
        assert sorted(volume.names(node)) == sorted(inside)
        return 1 + sum(compare(volume, at_name(volume, node, name), f"{path}/{name}") for name in inside[:100])
    return 1


def at_name(volume: Xfs, folder: Node, name: str) -> Node:
    found = volume.lookup(folder, name)
    assert found is not None, name
    return found


def _compare_data(volume: Xfs, node: Node, path: str) -> None:
    with open(path, "rb") as file:
        for offset in (0, max(0, node.size - 10_000_000)):
            file.seek(offset)
            length = min(node.size, 20_000_000)
            assert volume.read(node, offset, length) == file.read(length), path


@pytest.mark.parametrize("options", ["-b size=1024 -n size=8192", "-d agcount=2 -l su=64k"])
def test_the_kernel_reads_the_same(
    mounted: t.Callable[..., pathlib.Path],
    opened: t.Callable[[pathlib.Path], Xfs],
    tmp_path: pathlib.Path,
    options: str,
) -> None:
    image, crashed = tmp_path / "image", tmp_path / "crashed"
    mkfs(image, options, 128)
    place = mounted(image, "rw")
    fill(place)
    os.sync()
    run("cp", "--sparse=always", image, crashed)
    run("umount", place)
    volume = opened(image)
    assert (volume.clean, opened(crashed).clean) == (True, False)
    assert ["CLEAN" in run("xfs_logprint", "-t", name) for name in (image, crashed)] == [True, False]
    place = mounted(image, "ro,norecovery")
    assert compare(volume, volume.root(), str(place)) > 140
    run("xfs_repair", "-n", image)
    assert sum(end - start for start, end in volume.used()) < volume.size
    if "1024" in options:
        holes = f"inode {at(volume, 'holes').number}"
        assert number(image, holes, "u3.bmbt.level") == 2


# What somebody made to hurt


class Patched:
    """A reader with other bytes here and there; ``size`` may be a lie, what is not there is zeros."""

    def __init__(self, whole: Reader, patches: dict[int, bytes], size: int | None = None) -> None:
        self._whole = whole
        self._patches = patches
        self.size = whole.size if size is None else size

    def read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size - offset))
        data = bytearray(self._whole.read(offset, length))
        data += bytes(length - len(data))
        for where, patch in self._patches.items():
            for index, byte in enumerate(patch, where - offset):
                if 0 <= index < length:
                    data[index] = byte
        return bytes(data)


#: Length and place of the checksum of what begins with these bytes; 0: the whole block.
SEALS = {b"XFSB": (512, 224), b"XAGF": (512, 216), b"IN": (512, 100), b"AB3B": (0, 52), b"AB3C": (0, 52)}
SEALS.update({b"BMA3": (0, 64), b"XDD3": (0, 4), b"XDB3": (0, 4), b"XARM": (0, 12), b"XSLM": (0, 12)})
DA_MAGICS = (b"\x3b\xee", b"\x3e\xbe")


def sealed(whole: Reader, patches: dict[int, bytes], block: int) -> dict[int, bytes]:
    """The patches, and right checksums for what they changed: a hostile image has those, too."""
    changed = Patched(whole, patches)
    seals: dict[int, bytes] = {}
    for where in patches:
        for start in (where // 512 * 512, where // block * block):
            data = changed.read(start, block)
            length, place = next((seal for magic, seal in SEALS.items() if data.startswith(magic)), (0, 0))
            if data[8:10] in DA_MAGICS:
                place = 12
            if place and len(data) == block:
                part = data[: length or block]
                seals[start + place] = xfs_super.crc_without(part, place).to_bytes(4, "little")
    return {**patches, **seals}


class Recording:
    """A reader that remembers which of its sectors are read and not empty."""

    def __init__(self, whole: Reader) -> None:
        self._whole = whole
        self.size = whole.size
        self.sectors: dict[int, list[int]] = {}

    def read(self, offset: int, length: int) -> bytes:
        data = self._whole.read(offset, length)
        for start in range(0, len(data), 512):
            set_bytes = [offset + start + index for index, byte in enumerate(data[start : start + 512]) if byte]
            if set_bytes:
                self.sectors[offset + start] = set_bytes
        return data


def use(volume: Xfs, log: bool = True) -> None:
    """Reads what there is to read, if so wished also the whole log; an error ends one thing only, as it would for who looks around in an image."""
    todo, left = [volume.root], 40
    while todo and left:
        left -= 1
        try:
            node = todo.pop()()
            if node.kind == "directory":
                names = volume.names(node)[:12]
                todo += [lambda name=name, node=node: at_name(volume, node, name) for name in names]  # type: ignore[misc]
            elif node.kind == "file":
                volume.read(node, 0, 70_000)
                volume.read(node, node.size - 5, 10)
            elif node.kind == "symlink":
                volume.target(node)
            volume.xattrs(node)
        except KvmError:
            continue
    with contextlib.suppress(KvmError):
        volume.used()
    assert not log or volume.clean in (True, False)


@pytest.mark.parametrize(("variant", "seed"), [("v4-no-types", 1), ("v4-512", 2), ("v5-1k", 3), ("v5", 4)])
def test_flipped_bytes_end_in_our_errors(images: Images, variant: str, seed: int) -> None:
    chance = random.Random(seed)
    with _Open() as files:
        reader = files.reader(images.get(variant, 100))
        recording = Recording(reader)
        healthy = Xfs(recording)
        log = healthy._disk.geometry
        log_start = healthy._disk.address(log.log_start, 1, "the log")
        use(healthy)
        sectors = [
            set_bytes
            for sector, set_bytes in recording.sectors.items()
            if not log_start + 4096 <= sector < log_start + log.log_blocks * log.block
        ]
        for attempt in range(70):
            patches = {}
            for _flip in range(chance.choice((1, 1, 2, 8))):
                where = chance.choice(chance.choice(sectors)) + chance.choice((0, 0, 0, -1, 1))
                patches[max(0, where)] = bytes([chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))])
            with ends(), contextlib.suppress(KvmError):
                use(Xfs(Patched(reader, sealed(reader, patches, healthy.block_size))), attempt % 10 == 0)


@settings(max_examples=150)
@given(
    variant=st.sampled_from(["v4-512", "v5-1k"]),
    fields=st.dictionaries(
        st.sampled_from([*range(4, 16), *range(48, 64), *range(84, 108), *range(120, 128), *range(192, 224), 248]),
        st.integers(0, 255),
        min_size=1,
        max_size=4,
    ),
    size=st.sampled_from([None, 1 << 40, (1 << 63) - 1]),
)
def test_any_superblock_ends_in_our_errors(
    images: Images, variant: str, fields: dict[int, int], size: int | None
) -> None:
    with _Open() as files:
        reader = files.reader(images.get(variant, 100))
        patches = sealed(reader, {where: bytes([byte]) for where, byte in fields.items()}, 1024)
        with ends(), contextlib.suppress(KvmError):
            xfs.superblock(Patched(reader, patches, size))
            use(Xfs(Patched(reader, patches, size)))


@settings(max_examples=200)
@given(data=st.binary(max_size=700), magic=st.booleans())
def test_any_bytes_are_no_xfs(data: bytes, magic: bool) -> None:
    class Bytes:
        size = len(data)

        def read(self, offset: int, length: int) -> bytes:
            return (b"XFSB" + data[4:] if magic else data)[offset : offset + length]

    for ask in (xfs.superblock, Xfs):
        try:
            ask(Bytes())
        except KvmError:
            continue


@pytest.mark.parametrize(
    ("where", "value", "error", "sentence"),
    [
        (0, b"XFSX", Damaged, "no superblock"),
        (216, b"\0\0\x08\0", Unsupported, "features that are not known here"),
        (216, b"\0\0\0\x11", Damaged, "xfs_repair"),
        (100, b"\xb4\xa6", Unsupported, "version 6"),
        (8, b"\0\0\0\x01", Damaged, "tells of|do not add up"),
        (8, b"\0\0\0\0\0\x02", Damaged, "larger than its disk|do not add up"),
        (88, b"\0\0\0\x05", Damaged, "do not add up"),
        (102, b"\x01\0", Damaged, "contradict each other"),
        (126, b"\x01", Damaged, "never finished"),
    ],
)
def test_a_superblock_that_is_wrong(
    images: Images, where: int, value: bytes, error: type[KvmError], sentence: str
) -> None:
    with _Open() as files:
        reader = files.reader(images.get("v5", 100))
        with pytest.raises(error, match=sentence):
            Xfs(Patched(reader, sealed(reader, {where: value}, 4096)))
        with pytest.raises(KvmError):
            Xfs(Patched(reader, {where: value}))


def test_a_disk_that_ends_too_early(images: Images) -> None:
    with _Open() as files:
        reader = files.reader(images.get("v5", 100))
        with pytest.raises(Damaged, match="larger than its disk"):
            Xfs(Patched(reader, {}, reader.size - 1))
        assert xfs.superblock(Patched(reader, {}, 511)) is None


def test_an_inode_with_another_checksum(images: Images) -> None:
    with _Open() as files:
        image = images.get("v5", 100)
        reader = files.reader(image)
        healthy = Xfs(reader)
        node = at(healthy, "etc/os-release")
        where = place_of(image, node)
        assert reader.read(where, 2) == b"IN"
        volume = Xfs(Patched(reader, {where + 11: b"\x01"}))
        with pytest.raises(Damaged, match=f"the checksum of inode {node.number}"):
            at(volume, "etc/os-release")
        patches = sealed(reader, {where + 11: b"\x01"}, 4096)
        assert at(Xfs(Patched(reader, patches)), "etc/os-release").owner == 1


@pytest.mark.parametrize("variant", ["v4", "v5"])
def test_free_space_in_doubt_is_refused(images: Images, variant: str) -> None:
    """A record moved by two blocks is still in order and of the same sum: only the second tree, or a checksum, tells."""
    with _Open() as files:
        image = images.get(variant, 100)
        reader = files.reader(image)
        block, head = Xfs(reader).block_size, 512
        tree = number(image, "agf 0", "bnoroot") * block + (56 if variant == "v5" else 16)
        record = int.from_bytes(reader.read(tree, 4), "big")
        patches = {
            "no head": {head: b"XAGX"},
            "agree|another sum|checksum": {tree: (record - 2).to_bytes(4, "big")},
            "checksum|another sum": {head + 52: b"\0\0\0\1"},
            "leads back|has no head|none of level|checksum|levels": {head + 28: b"\0\0\0\x02"},
            "beyond|none of level|checksum": {head + 16: b"\xff\xff\xff\xff"},
        }
        for sentence, patch in patches.items():
            for some in (patch, sealed(reader, patch, block)):
                with pytest.raises(Damaged, match=sentence):
                    Xfs(Patched(reader, some)).used()


class FreeSpace:
    """The trees of the first group of a version 4 image, each a leaf of one record, to be written anew."""

    def __init__(self, image: pathlib.Path, reader: Reader) -> None:
        self.block = Xfs(reader).block_size
        self.roots = [number(image, "agf 0", name) * self.block for name in ("bnoroot", "cntroot")]
        self.first, self.count = struct.unpack(">II", reader.read(self.roots[0] + 16, 8))
        assert all(reader.read(root + 4, 4) == b"\0\0\0\x01" for root in self.roots)

    def patched(self, *records: tuple[int, int]) -> dict[int, bytes]:
        """Both trees and the counts with these records."""
        total, longest = sum(count for _first, count in records), max(count for _first, count in records)
        ordered = [sorted(records), sorted(records, key=lambda record: record[::-1])]
        patches = {512 + 52: struct.pack(">II", total, longest)}
        for root, some in zip(self.roots, ordered):
            patches[root + 6] = struct.pack(">H", len(some))
            patches[root + 16] = b"".join(struct.pack(">II", *record) for record in some)
        return patches


def test_free_space_that_agrees_with_itself_but_not_with_the_rest(images: Images) -> None:
    with _Open() as files:
        image = images.get("v4", 100)
        reader = files.reader(image)
        free = FreeSpace(image, reader)
        end = free.first + free.count
        assert (
            Xfs(Patched(reader, free.patched((free.first, 5), (end - 5, 5)))).used()[1][0]
            == (free.first + 5) * free.block
        )
        for records, sentence in (
            ([(1, end - 1)], "blocks that are in use"),
            ([(0, 1), (free.first, free.count)], "blocks that are in use"),
            ([(free.first, 10), (free.first + 9, 10)], "overlaps"),
            ([(free.first, free.count + 1)], "outside the group"),
        ):
            with pytest.raises(Damaged, match=sentence):
                Xfs(Patched(reader, free.patched(*records))).used()


def test_a_tree_of_free_space_with_one_leaf_many_times(images: Images) -> None:
    """As in a qcow2 image whose clusters are all the same one: each address is another, nothing leads back."""
    with _Open() as files:
        image = images.get("v4", 100)
        reader = files.reader(image)
        free = FreeSpace(image, reader)
        leaf = reader.read(free.roots[0], 16) + struct.pack(">II", free.first, 1)
        children = list(range(free.first, free.first + 100))
        room = (free.block - 16) // 12
        patches = {
            512 + 28: b"\0\0\0\x02",
            free.roots[0] + 4: struct.pack(">HH", 1, 100),
            free.roots[0] + 16 + room * 8: struct.pack(">100I", *children),
            **{child * free.block: leaf for child in children},
        }
        with pytest.raises(Damaged, match="not in order"):
            Xfs(Patched(reader, patches)).used()


def test_a_log_in_doubt_is_not_clean(images: Images) -> None:
    with _Open() as files:
        image = images.get("v5", 100)
        reader = files.reader(image)
        healthy = Xfs(reader)
        geometry = healthy._disk.geometry
        start = healthy._disk.address(geometry.log_start, 1, "the log")
        assert healthy.clean
        assert reader.read(start, 4) == b"\xfe\xed\xba\xbe"
        for patches in (
            {start: b"\0"},  # no header
            {start + 512 + 9: b"\0"},  # no unmount
            {start + 15: b"\x01"},  # another length
            {start + 304: b"\0\0\0\0"},  # of another file system
            {start + 43: b"\x02"},  # more than the unmount
            {start + 1024: b"\0\0\0\x01"},  # something behind it
            {start + 100 * 512: b"\0\0\0\x02"},  # far behind it
            {start: bytes(2048)},  # nothing at all
            {start + 35: b"\x01"},  # another checksum
            {start + 7: b"\x03", start + 19: b"\x03", start + 515: b"\x03"},  # two rounds after what is behind it
        ):
            assert not Xfs(Patched(reader, patches)).clean, patches


@pytest.mark.parametrize("flag", [0x08, 0x80])
def test_what_is_no_attribute_is_not_told(images: Images, flag: int) -> None:
    """A parent's name, and what was not written to its end."""
    with _Open() as files:
        image = images.get("v5", 100)
        reader = files.reader(image)
        where = place_of(image, at(Xfs(reader), "pipe"))
        where += reader.read(where, 512).index(b"smallv") - 1
        volume = Xfs(Patched(reader, sealed(reader, {where: bytes([flag])}, 4096)))
        assert list(volume.xattrs(at(volume, "pipe"))) == ["trusted.boss"]


def test_a_folder_of_the_same_block_again_and_again(images: Images) -> None:
    """Version 4: nothing in a block says whose it is; one extent of the longest length, or many of one block."""
    with _Open() as files:
        image = images.get("v4", 100)
        reader = files.reader(image)
        node = at(Xfs(reader), "big")
        where = place_of(image, node)
        assert reader.read(where, 2) == b"IN"
        high, low = struct.unpack(">QQ", reader.read(where + 100, 16))
        records = b"".join(struct.pack(">QQ", (i << 9) | (high & 511), low & ~0x1FFFFF | 1) for i in range(5))
        with ends():
            patched = {where + 5: b"\x02", where + 76: struct.pack(">I", 5), where + 100: records}
            with pytest.raises(Damaged, match=r"one block twice|a block of the folder"):
                Xfs(Patched(reader, patched)).names(node)
            longest = {
                where + 5: b"\x02",
                where + 76: struct.pack(">I", 1),
                where + 100: struct.pack(">QQ", high, low | 0x1FFFFF),
            }
            with pytest.raises(Damaged):
                Xfs(Patched(reader, longest)).names(node)


def test_extents_out_of_order(images: Images) -> None:
    with _Open() as files:
        image = images.get("v4", 100)
        reader = files.reader(image)
        node = at(Xfs(reader), "etc/large")
        where = place_of(image, node)
        high, low = struct.unpack(">QQ", reader.read(where + 100, 16))
        short = low & ~0x1FFFFF | 10
        twice = {where + 76: struct.pack(">I", 2), where + 100: struct.pack(">QQQQ", high, short, high, short)}
        none = {where + 100: struct.pack(">QQ", high, low & ~0x1FFFFF)}
        outside = {where + 100: struct.pack(">QQ", high | 511, low)}
        for patches, sentence in (
            (twice, "not in order"),
            (none, "not in order"),
            (outside, "outside the file system"),
        ):
            with pytest.raises(Damaged, match=sentence):
                Xfs(Patched(reader, patches)).read(node, 0, node.size)
        unwritten = {where + 100: struct.pack(">QQ", high | 1 << 63, low)}
        assert Xfs(Patched(reader, unwritten)).read(node, 5, 1000) == bytes(1000)


def test_leaves_of_attributes_in_a_circle(images: Images) -> None:
    with _Open() as files:
        image = images.get("v5", 100)
        reader = files.reader(image)
        place = int(db(image, "path /nothing", "ablock 1", "addr").split("byte offset ")[1].split(",")[0])
        assert reader.read(place + 8, 2) == b"\x3b\xee"
        following = int.from_bytes(reader.read(place, 4), "big")
        assert following
        with ends():
            volume = Xfs(Patched(reader, sealed(reader, {place: struct.pack(">I", 1)}, 4096)))
            with pytest.raises(Damaged, match="in a circle"):
                volume.xattrs(at(volume, "nothing"))


def test_a_tree_of_extents_that_leads_back_to_itself(images: Images) -> None:
    with _Open() as files:
        image = images.get("v4-512")
        reader = files.reader(image)
        node = at(Xfs(reader), "big")
        where = place_of(image, node)
        level, count = struct.unpack(">HH", reader.read(where + 100, 4))
        assert (level, count > 1) == (1, True)
        addresses = where + 104 + (156 - 4) // 16 * 8
        again = reader.read(addresses, 8)
        with pytest.raises(Damaged, match="other extents than its parent says"):
            Xfs(Patched(reader, {addresses + 8: again})).names(node)
        with pytest.raises(Damaged, match="not in order"):
            Xfs(Patched(reader, {addresses + 8: again, where + 112: bytes(8)})).names(node)
        with pytest.raises(Damaged, match="levels"):
            Xfs(Patched(reader, {where + 100: b"\x7f\xff"})).names(node)


def test_a_folder_with_a_name_twice(images: Images) -> None:
    with _Open() as files:
        image = images.get("v4", 100)
        reader = files.reader(image)
        node = at(Xfs(reader), "big")
        place = int(db(image, f"inode {node.number}", "dblock 0", "addr").split("byte offset ")[1].split(",")[0])
        again = place + reader.read(place, 4096).index(_name(7).encode())
        with pytest.raises(Damaged, match="a name twice"):
            Xfs(Patched(reader, {again: _name(8).encode()})).lookup(node, _name(1))
        with pytest.raises(Damaged, match="is none"):
            Xfs(Patched(reader, {again: b"../../"})).names(node)


def test_what_is_of_another_kind(images: Images, opened: t.Callable[[pathlib.Path], Xfs]) -> None:
    volume = opened(images.get("v5", 100))
    for ask in (
        lambda: volume.names(at(volume, "pipe")),
        lambda: volume.read(volume.root(), 0, 1),
        lambda: volume.target(volume.root()),
        lambda: volume.xattrs(Node(1 << 60, "file", 0, 0, 0, 0)),
        lambda: volume.xattrs(Node(0, "file", 0, 0, 0, 0)),
    ):
        with pytest.raises(Damaged):
            ask()
