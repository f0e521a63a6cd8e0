# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images, inside: the disk in a qcow2 file. qemu-img makes the images, and says what is in them."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import itertools
import json
import pathlib
import random
import shutil
import struct
import subprocess
import typing as t
import zlib

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, KvmError, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import qcow2
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import qcow2_file, zstd
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.qcow2_file import Qcow2File
from ansible_collections.hypervisor.kvm.tests.unit.ends import ends
from hypothesis import given, settings
from hypothesis import strategies as st

KIB, MIB = 1 << 10, 1 << 20
COPIED, COMPRESSED = 1 << 63, 1 << 62
Extents = list[tuple[int, int, str]]


class Bytes:
    """A file of these bytes, with a hole behind them up to ``size``."""

    def __init__(self, data: bytes, size: int | None = None) -> None:
        self.data, self.size = data, len(data) if size is None else size

    def read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size - offset))
        return self.data[offset : offset + length].ljust(length, b"\0")


def run(*words: object) -> str:
    if shutil.which(str(words[0])) is None:
        pytest.skip(f"the program {words[0]} is not installed")
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def io(path: pathlib.Path, *commands: str) -> None:
    run("qemu-io", "-f", "qcow2", *itertools.chain.from_iterable(("-c", command) for command in commands), path)


def io_may_fail(path: pathlib.Path, *commands: str) -> None:
    """Compressed data cannot be written where there is some already; the other commands are carried out all the same."""
    with contextlib.suppress(AssertionError):
        io(path, *commands)


def opened(data: bytes, backing: Reader | None = None, size: int | None = None) -> Qcow2File:
    return Qcow2File(Bytes(data, size), qcow2.parse(data[: qcow2.HEAD_BYTES], "x"), backing)


def told(path: pathlib.Path) -> bytes:
    """The whole disk as qemu-img reads it."""
    raw = path.with_suffix(".told")
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw)
    return raw.read_bytes()


def mapped(path: pathlib.Path) -> Extents:
    """What the file has itself, by qemu-img."""
    found: Extents = []
    for entry in json.loads(run("qemu-img", "map", "-f", "qcow2", "--output=json", path)):
        if entry["depth"] == 0 and entry["present"]:
            kind = "data" if entry["data"] else "zero"
            found.append((entry["start"], entry["start"] + entry["length"], kind))
    return joined(found)


def joined(extents: t.Iterable[tuple[int, int, str]]) -> Extents:
    """Compressed counts as data; neighbours of one kind are one."""
    found: Extents = []
    for start, end, told_kind in extents:
        kind = "data" if told_kind == "compressed" else told_kind
        if found and found[-1][1:] == (start, kind):
            found[-1] = (found[-1][0], end, kind)
        else:
            found.append((start, end, kind))
    return found


def agree(path: pathlib.Path, backing: Reader | None = None) -> Qcow2File:
    """The reader says what qemu-img says: the whole disk, ranges of it, and what is where."""
    disk, want = opened(path.read_bytes(), backing), told(path)
    assert disk.size == len(want)
    assert disk.read(0, disk.size) == want
    rnd = random.Random(path.name)
    for _turn in range(60):
        start, length = rnd.randrange(disk.size + 1), rnd.choice((1, 100, 512, 5000, 70000, 3 * MIB))
        assert disk.read(start, length) == want[start : start + length]
    extents = list(disk.allocated_extents())
    assert joined(extents) == mapped(path)
    assert all(one[1] < two[0] or one[2] != two[2] for one, two in zip(extents, extents[1:]))
    assert disk.data_bytes() == sum(end - start for start, end, kind in mapped(path) if kind == "data")
    return disk


@pytest.fixture(name="raw", scope="module")
def _raw(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Data that can and that cannot be compressed, holes, and an end that no cluster has."""
    rnd, data = random.Random(7), bytearray(3 * MIB + 1536)
    for number in range(40):
        start = rnd.randrange(len(data) - 70000)
        piece = rnd.randbytes(rnd.randrange(1, 30000)) if number % 2 else b"word " * rnd.randrange(1, 14000)
        data[start : start + len(piece)] = piece
    data[MIB : MIB + 600 * KIB] = bytes(600 * KIB)
    data[-100:] = b"e" * 100
    path: pathlib.Path = tmp_path_factory.mktemp("qcow2") / "disk.raw"
    path.write_bytes(data)
    return path


KINDS = [
    "cluster_size=512",
    "cluster_size=64k",
    "cluster_size=2M",
    "compat=0.10",
    "extended_l2=on",
    "extended_l2=on,cluster_size=16k",
    "compression_type=zstd,cluster_size=4k",
    "compression_type=zstd,cluster_size=2M",
    "compression_type=zstd,extended_l2=on",
    "preallocation=metadata",
]


@pytest.mark.parametrize("compressed", [(), ("-c",)])
@pytest.mark.parametrize("options", KINDS)
def test_converted_images_are_read(raw: pathlib.Path, tmp_path: pathlib.Path, options: str, compressed: t.Any) -> None:
    if compressed and "preallocation" in options:
        compressed = ()
    path = tmp_path / "d.qcow2"
    run("qemu-img", "convert", *compressed, "-f", "raw", "-O", "qcow2", "-o", options, raw, path)
    disk = agree(path)
    assert disk.read(0, disk.size) == raw.read_bytes()
    assert any(kind == "compressed" for _start, _end, kind in disk.allocated_extents()) == bool(compressed)


@pytest.mark.parametrize(
    "options", ["cluster_size=4k", "cluster_size=64k", "extended_l2=on", "compat=0.10", "compression_type=zstd"]
)
def test_written_images_are_read(tmp_path: pathlib.Path, options: str) -> None:
    """Whatever order of writes, zeros, discards, compressed writes and snapshots."""
    path, rnd, size = tmp_path / "d.qcow2", random.Random(options), 2 * MIB
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path, size)
    for _round in range(3):
        commands = []
        for _turn in range(25):
            start, length = rnd.randrange(0, size - 300 * KIB, 512), rnd.randrange(512, 200 * KIB, 512)
            kind = rnd.choice(("write -P 7", "write -P 9", "write -z", "write -z -u", "discard", "write -c -P 5"))
            if kind.startswith("write -c"):
                start, length = start // (64 * KIB) * 64 * KIB, 64 * KIB
            commands.append(f"{kind} {start} {length}")
        io_may_fail(path, *commands)
        run("qemu-img", "snapshot", "-c", f"s{_round}", path)
    disk = agree(path)
    assert qcow2.parse(path.read_bytes()[:65536], "x").snapshots == 3
    kinds = {kind for _start, _end, kind in disk.allocated_extents()}
    assert "data" in kinds
    assert "zero" in kinds or "compat" in options


@pytest.mark.parametrize("options", ["cluster_size=64k", "extended_l2=on"])
def test_a_backing_file_may_be_shorter(tmp_path: pathlib.Path, options: str) -> None:
    base, path, rnd = tmp_path / "base.raw", tmp_path / "d.qcow2", random.Random(3)
    base.write_bytes(rnd.randbytes(MIB + 5 * 512))
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, "-o", options, path, 2 * MIB)
    io(path, "write -P 3 70k 5k", "write -z 200k 100k", "discard 512k 64k", "write -P 4 1020k 10k")
    agree(path, Bytes(base.read_bytes()))
    alone = opened(path.read_bytes())
    assert alone.read(72 * KIB, 512) == b"\3" * 512
    with pytest.raises(Unsupported, match=r"stands on the backing file '.*base\.raw'"):
        alone.read(0, 512)


def test_what_a_header_says(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "d.qcow2"
    words = "compression_type=zstd,extended_l2=on,cluster_size=128k,lazy_refcounts=on"
    run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", "json:{}", "-o", words, path, "5G")
    run("qemu-img", "bitmap", "--add", path, "b")
    found = qcow2.parse(path.read_bytes()[: qcow2.HEAD_BYTES], "x")
    assert (found.version, found.virtual_size, found.cluster_size, found.cluster_bits) == (3, 5 << 30, 128 * KIB, 17)
    assert (found.backing_file, found.backing_format, found.compression) == ("json:{}", "raw", "zstd")
    assert (found.extended_l2, found.data_file, found.encrypted, found.corrupt) == (True, False, False, False)
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path}/data,data_file_raw=on", path, "1M")
    found = qcow2.parse(path.read_bytes()[: qcow2.HEAD_BYTES], "x")
    assert (found.data_file, found.data_file_name) == (True, f"{tmp_path}/data")
    with pytest.raises(Unsupported, match="in another file"):
        opened(path.read_bytes())


NAMES = [
    ("base.img", True),
    ("/a/b:c", True),
    ("./a:b", True),
    ("../a", True),
    ("a:b", False),
    ("json:{}", False),
    ("nbd://host/x", False),
    ("http://x", False),
    ("file:/etc/shadow", False),
    (":", False),
    ("", False),
    ("a\0b", False),
]


@pytest.mark.parametrize(("name", "plain"), NAMES)
def test_names_of_files_are_told_from_protocols(name: str, plain: bool) -> None:
    assert qcow2.is_plain_name(name) is plain


# What follows is made by hand: qemu-img would not make it.


def header(**wanted: int) -> bytes:
    """A header of version 3, of clusters of 64 KiB, with an L1 table in the second cluster."""
    told_fields = {"version": 3, "name_at": 0, "name": 0, "bits": 16, "size": MIB, "crypt": 0, "l1": 1, "l1_at": 65536}
    later = {"features": 0, "length": 112, "compression": 0}
    fields, more = {**told_fields, **wanted}, {**later, **wanted}
    values = [fields[key] for key in told_fields]
    head = b"QFI\xfb" + struct.pack(">IQIIQIIQ", *values) + bytes(24)
    return head + struct.pack(">QQQIIB7x", more["features"], 0, 0, 4, more["length"], more["compression"])


def image(entries: t.Sequence[int], data: bytes = b"", **wanted: int) -> bytes:
    """An image with these entries of its L2 table in the third cluster, and ``data`` from the fourth on."""
    table = b"".join(entry.to_bytes(8, "big") for entry in entries)
    pieces = (header(**wanted), (COPIED | 0x20000).to_bytes(8, "big"), table)
    return b"".join(piece.ljust(65536, b"\0") for piece in pieces) + data


def compressed(at: int, length: int) -> int:
    return COMPRESSED | (at % 512 + length - 1) // 512 << 54 | at


def deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -12)
    return stream.compress(data) + stream.flush()


def zstandard(data: bytes) -> bytes:
    """A frame, by the library's compressor."""
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError:
        pytest.skip("the library libzstd.so.1 is not installed")
    target = ctypes.create_string_buffer(len(data) + 1000)
    library.ZSTD_compress.restype = ctypes.c_size_t
    size = library.ZSTD_compress(target, ctypes.c_size_t(len(target)), data, ctypes.c_size_t(len(data)), 3)
    return target.raw[:size]


AT = 3 * 65536
BOTH = pytest.mark.parametrize("features", [{}, {"features": 8, "compression": 1}])


def pack(data: bytes, features: dict[str, int]) -> bytes:
    return zstandard(data) if features else deflated(data)


@BOTH
def test_what_stands_behind_a_compressed_cluster_is_ignored(features: dict[str, int]) -> None:
    raw = pack(b"a" * 65536, features)
    for tail in (b"", b"\xff" * 300, raw):
        disk = opened(image([compressed(AT, len(raw) + len(tail))], raw + tail, **features))
        assert disk.read(0, 65536) == b"a" * 65536
        assert disk.data_bytes() == 65536


@BOTH
@pytest.mark.parametrize("size", [0, 65535, 65537, 1 << 26])
def test_a_compressed_cluster_has_the_size_of_a_cluster(features: dict[str, int], size: int) -> None:
    """And 64 MiB are never made of it."""
    raw = pack(b"a" * size, features)
    disk = opened(image([compressed(AT, min(len(raw), 65536))], raw, **features))
    if size > 65536 and not features:
        assert disk.read(0, 65536) == b"a" * 65536  # qemu takes it as well: it stops when the cluster is full
        return
    with pytest.raises(Damaged, match="cluster"):
        disk.read(0, 512)


@BOTH
def test_a_broken_stream_is_damage(features: dict[str, int]) -> None:
    words = [random.Random(n).randbytes(5) for n in range(300)]
    raw = pack(b"".join(random.Random(1).choices(words, k=14000))[:65536], features)
    rnd, wrong = random.Random(2), 0
    for _turn in range(150):
        broken = bytearray(raw)
        broken[rnd.randrange(len(raw))] ^= 1 << rnd.randrange(8)
        with contextlib.suppress(Damaged):
            assert len(opened(image([compressed(AT, len(raw))], bytes(broken), **features)).read(0, 65536)) == 65536
            continue
        wrong += 1
    assert wrong > 10


def test_the_zstd_of_the_standard_library_does_the_same() -> None:
    module = None
    for name in ("compression.zstd", "backports.zstd"):
        with contextlib.suppress(ImportError):
            module = module or importlib.import_module(name)
    if module is None:
        pytest.skip("this Python has no compression.zstd, which 3.14 brings")
    raw = zstandard(b"a" * 65536)
    assert zstd._by_module(module, raw + b"behind", 65536) == b"a" * 65536
    for broken, size in ((raw, 65535), (raw, 65537), (raw[:-1], 65536), (raw[:9], 65536), (b"x" * 99, 65536)):
        with pytest.raises(Damaged, match="cluster"):
            zstd._by_module(module, broken, size)


def test_without_zstd_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = zstandard(b"a" * 65536)
    monkeypatch.setattr(zstd, "_library", lambda: None)
    monkeypatch.setattr(zstd, "_standard", lambda: None)
    with pytest.raises(Unsupported, match="libzstd1"):
        opened(image([compressed(AT, len(raw))], raw, features=8, compression=1)).read(0, 1)


WRONG_HEADERS: list[tuple[dict[str, int], str]] = [
    ({"version": 4}, "unknown version"),
    ({"bits": 8}, "not valid"),
    ({"bits": 22}, "not valid"),
    ({"length": 96}, "96 bytes long"),
    ({"length": 1 << 31}, "bytes long"),
    ({"name_at": 200, "name": 1024}, "name of its backing file"),
    ({"name_at": 1 << 63, "name": 10}, "name of its backing file"),
    ({"name_at": 65530, "name": 10}, "name of its backing file"),
    ({"compression": 1}, "without the feature"),
    ({"features": 16, "bits": 13}, "too small"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG_HEADERS)
def test_wrong_headers(fields: dict[str, int], message: str) -> None:
    with pytest.raises(KvmError, match=f"^x: .*{message}.*; the file is broken.$"):
        qcow2.parse(header(**fields).ljust(65536, b"\0"), "x")


def test_headers_that_are_cut_off() -> None:
    for length in range(104):
        with pytest.raises(KvmError, match="cut off"):
            qcow2.parse(header()[:length], "x")
    with pytest.raises(KvmError, match="longer than its room"):
        qcow2.parse(header() + struct.pack(">II", 0xE2792ACA, 100) + b"raw", "x")
    with pytest.raises(KvmError, match="not valid"):
        qcow2.parse(b"\0" + header()[1:], "x")


def test_names_in_a_header_are_what_qemu_reads() -> None:
    names = b"\0\5" + b"new\n".ljust(46, b"\0") + b"\1\6" + b"compatible".ljust(46, b"\0")
    extensions = (
        struct.pack(">II", 0x6803F857, len(names)) + names + struct.pack(">II", 0xE2792ACA, 3) + b"raw\0\0\0\0\0"
    )
    head = (header(features=1 << 5 | 1 << 6, name_at=400, name=9) + extensions).ljust(400, b"\0") + b"\xff\x1bb\0/etc/"
    found = qcow2.parse(head, "x")
    assert (found.backing_file, found.backing_format) == ("\udcff\x1bb", "raw")
    assert found.unknown_features == (r"'new\n' (bit 5)", "'' (bit 6)")
    with pytest.raises(Unsupported, match=r"'new\\n' \(bit 5\)"):
        Qcow2File(Bytes(head), found)


def test_the_marks_of_a_header() -> None:
    for kind in (1, 2):
        with pytest.raises(Unsupported, match="encrypted"):
            opened(image([], crypt=kind))
    assert qcow2.parse(header(features=1), "x").dirty
    assert opened(image([], features=1)).read(0, 512) == bytes(512)
    with pytest.raises(Damaged, match="marked as corrupt"):
        opened(image([], features=2))
    with pytest.raises(Unsupported, match="compression of type 9"):
        opened(image([], features=8, compression=9))


def test_a_disk_has_whole_sectors(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "d.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", path, "64k")
    io(path, "write -P 97 0 64k")
    data = bytearray(path.read_bytes())
    data[24:32] = (65535).to_bytes(8, "big")
    path.write_bytes(data)
    raw = told(path)
    assert len(raw) == 127 * 512
    assert opened(path.read_bytes()).read(0, 65536) == raw
    assert list(opened(path.read_bytes()).allocated_extents()) == [(0, 127 * 512, "data")]


@pytest.mark.parametrize("size", [(1 << 63) - 512, (1 << 64) - 1, 1 << 62])
@pytest.mark.parametrize("bits", [9, 16, 21])
def test_an_absurd_size_is_told_but_not_read(size: int, bits: int) -> None:
    raw = image([], size=size, bits=bits, l1=(1 << 32) - 1, l1_at=1 << bits)
    assert qcow2.parse(raw[:65536], "x").virtual_size == size
    with pytest.raises(Damaged):
        opened(raw)


def test_the_largest_disk_that_can_be_is_read() -> None:
    """2 EiB in a file with holes: the tables are looked at where they are needed."""
    raw = header(size=1 << 61, bits=21, l1=1 << 22, l1_at=1 << 21)
    disk = opened(raw, size=1 << 26)
    with ends():
        assert disk.read((1 << 61) - 4096, 8192) == bytes(4096)
        assert list(disk.allocated_extents()) == []
    with pytest.raises(Damaged, match="claims to be"):
        disk.read(0, 1 << 60)
    with pytest.raises(Damaged, match="before its begin"):
        disk.read(-1, 1)


ENTRIES = [
    (0x30000 | 0x200, {}, "cluster 0"),
    (0x40000, {}, "cluster 0"),
    (0x00FFFFFFFFFF0000, {}, "cluster 0"),
    (1, {"version": 2}, "version 2"),
    (COMPRESSED | AT + 65536, {}, "compressed cluster 0"),
    (COMPRESSED | (1 << 54) - 1, {}, "compressed cluster 0"),
]


@pytest.mark.parametrize(("entry", "fields", "message"), ENTRIES)
def test_wrong_entries(entry: int, fields: dict[str, int], message: str) -> None:
    disk = opened(image([0, entry], bytes(65536), **fields))
    assert disk.read(0, 65536) == bytes(65536)
    with pytest.raises(Damaged, match=message.replace("0", "1")):
        disk.read(65536, 1)
    with pytest.raises(Damaged, match=message.replace("0", "1")):
        list(disk.allocated_extents())


def test_a_walk_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = bytearray(image([1, 0] * 4096, image([])[131072:], size=1024 * MIB, l1=2))
    raw[65544:65552] = (COPIED | 0x30000).to_bytes(8, "big")
    disk = opened(bytes(raw))
    assert len(list(disk.allocated_extents())) == 4096
    monkeypatch.setattr(qcow2_file, "_MAX_RUNS", 4095)
    with pytest.raises(Unsupported, match="too many pieces"):
        list(disk.allocated_extents())
    monkeypatch.undo()
    for name, value in (("_MAX_TABLES", 1), ("_MAX_WALK", 65536)):
        monkeypatch.setattr(qcow2_file, name, value)
        with pytest.raises(Unsupported, match="too many tables"):
            disk.data_bytes()
        monkeypatch.undo()


def test_what_is_kept_in_memory_has_a_limit() -> None:
    """Tables of 2 MiB, of which two are kept, and clusters of 2 MiB, of which four are."""
    two, one = 2 * MIB, deflated(b"a" * 2 * MIB)
    raw = header(bits=21, size=6 << 39, l1=6, l1_at=two).ljust(two, b"\0")
    raw += b"".join((two * (2 + n)).to_bytes(8, "big") for n in range(6)).ljust(two, b"\0")
    at = 8 * two
    entry = (COMPRESSED | len(one) // 512 << 49 | at).to_bytes(8, "big")
    raw += b"".join(entry.ljust(two, b"\0") for _turn in range(6)) + one
    disk = opened(raw.ljust(9 * two, b"\0"))
    for number in range(6):
        assert disk.read(number << 39, 10) == b"a" * 10
        assert len(disk._map._cache) <= 2
    for number in range(6):
        disk._expand(len(one) // 512 + number << 49 | at)
        assert len(disk._expanded) <= 4


def test_more_tables_than_qemu_takes() -> None:
    raw = header(bits=9, size=1 << 38, l1=1 << 25, l1_at=512)
    with pytest.raises(Damaged, match="more than its clusters can hold"):
        opened(raw, size=1 << 40)


def test_a_run_that_leaves_the_file() -> None:
    """The last cluster may have been written in part, one behind it may not."""
    disk = opened(image([0x30000, 0x40000, 0x50000], b"a" * 70000))
    assert disk.read(0, 65536) == b"a" * 65536
    assert disk.read(65536, 65536) == (b"a" * (70000 - 65536)).ljust(65536, b"\0")
    with pytest.raises(Damaged, match="beyond the end"):
        disk.read(0, 3 * 65536)


@pytest.mark.parametrize("bitmap", [1 << 32 | 1, 1 << 63 | 1 << 31])
def test_parts_that_contradict_each_other(bitmap: int) -> None:
    raw = image([0x30000, bitmap], bytes(65536), features=16)
    with pytest.raises(Damaged, match="contradict"):
        opened(raw).read(0, 1)
    with pytest.raises(Damaged, match="contradict"):
        opened(image([0, 1], features=16)).read(0, 1)


@pytest.mark.parametrize("entry", [0x20001, 0x00FFFFFFFFFF0000, 0x30000])
def test_tables_that_are_not_in_the_file(entry: int) -> None:
    raw = bytearray(image([]))
    raw[65536:65544] = (entry | 0x200).to_bytes(8, "big")
    with pytest.raises(Damaged, match="table number 0"):
        opened(bytes(raw)).read(0, 1)


def test_clusters_that_share_their_place() -> None:
    """No file that small has so much; the walk ends when that is clear."""
    many = image([0x30000] * 8192, bytes(65536), size=512 * MIB)
    with pytest.raises(Damaged, match="more clusters"):
        opened(many).data_bytes()
    raw = bytearray(image([0x30000], bytes(65536), size=2048 * MIB, l1=4))
    raw[65536 : 65536 + 32] = (COPIED | 0x20000).to_bytes(8, "big") * 4
    with pytest.raises(Damaged, match="two parts"):
        opened(bytes(raw)).data_bytes()
    one = deflated(b"a" * 65536)
    with pytest.raises(Damaged, match="more clusters"):
        opened(image([compressed(AT, len(one))] * 8192, one, size=512 * MIB)).data_bytes()


def anything(data: bytes) -> None:
    """All that can be asked; only our errors may come of it."""
    with contextlib.suppress(KvmError):
        found = qcow2.parse(data[: qcow2.HEAD_BYTES], "x")
        disk = Qcow2File(Bytes(data), found, Bytes(b"below"))
        for ask in (
            lambda: disk.read(0, min(disk.size, MIB)),
            lambda: disk.read(disk.size - 100, 1000),
            lambda: disk.read(disk.size // 2, 70000),
            lambda: list(itertools.islice(disk.allocated_extents(), 10000)),
            disk.data_bytes,
        ):
            with contextlib.suppress(Damaged, Unsupported):
                ask()


@pytest.mark.parametrize("options", ["cluster_size=4k", "extended_l2=on,cluster_size=16k", "compression_type=zstd"])
def test_flipped_bits_end_in_an_error_or_in_other_content(tmp_path: pathlib.Path, options: str) -> None:
    path, rnd = tmp_path / "d.qcow2", random.Random(11)
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path, 8 * MIB)
    io(path, "write -P 7 0 9k", "write -c -P 3 64k 64k", "write -z 1M 64k", "write -P 9 1M 5k", "write -c -P 1 2M 64k")
    whole = path.read_bytes()
    found = qcow2.parse(whole[:65536], "x")
    # Where something stands: most bytes of an image are data or nothing.
    places = [at for at in range(len(whole)) if whole[at] not in (0, 7, 9)][:4000]
    tables = [*range(104), *range(found.l1_offset, found.l1_offset + 8 * found.l1_size), *places]
    with ends():
        for number in range(400):
            data = bytearray(whole)
            for _turn in range(1 + number % 3):
                data[rnd.choice(tables)] ^= 1 << rnd.randrange(8)
            if number % 10 == 0:
                del data[rnd.randrange(len(data)) :]
            anything(bytes(data))


numbers = st.one_of(st.integers(0, 300), st.sampled_from([1 << n for n in range(64)]), st.integers(0, (1 << 64) - 1))
small = st.one_of(st.integers(0, 300), st.sampled_from([(1 << 32) - 1, 1 << 31, 65536, 1023]))


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries(
        {"version": st.sampled_from([2, 3, 3, 4]), "bits": st.one_of(st.integers(9, 21), small), "size": numbers},
        optional={
            "name_at": numbers,
            "name": small,
            "crypt": st.sampled_from([0, 0, 1, 2]),
            "l1": small,
            "l1_at": numbers,
            "features": st.one_of(st.sampled_from([0, 1, 8, 16, 24]), numbers),
            "length": small,
            "compression": st.integers(0, 2),
        },
    ),
    st.binary(max_size=300),
    st.lists(numbers, max_size=20),
)
def test_headers_of_all_kinds(fields: dict[str, int], tail: bytes, entries: list[int]) -> None:
    anything(header(**fields) + tail)
    data = bytearray(image(entries, bytes(65536), **fields))
    data[112 : 112 + len(tail)] = tail
    anything(bytes(data))


def test_a_walk_of_a_full_disk() -> None:
    """5 GiB that are all there are one extent."""
    entries = 5 << 14
    tables = b"".join(((n << 16) + 0x1000000 | COPIED).to_bytes(8, "big") for n in range(entries))
    raw = header(size=5 << 30, l1=10).ljust(65536, b"\0")
    raw += b"".join((0x20000 + 65536 * n | COPIED).to_bytes(8, "big") for n in range(10)).ljust(65536, b"\0")
    disk = opened(raw + tables, size=6 << 30)
    assert list(disk.allocated_extents()) == [(0, 5 << 30, "data")]
