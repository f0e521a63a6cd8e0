# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Empty file systems and their labels, in the middle of a raw file; blkid and each file system's checker say what is there."""

from __future__ import annotations

import mmap
import os
import pathlib
import struct
import subprocess
import uuid as uuidlib

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, ToolMissing
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import labels, make
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.mounted import mounted
from ansible_collections.hypervisor.kvm.tests.unit._image.flat import MISSING, converted_back, exported

MIB = 1 << 20
OFFSET = 3 * MIB
SIZES = {"ext2": 5 * MIB, "ext3": 8 * MIB, "ext4": 8 * MIB, "xfs": 300 * MIB, "btrfs": 128 * MIB, "swap": 2 * MIB}
KINDS = sorted(SIZES)
UUID = "0a1b2c3d-1111-4222-8333-444455556666"
OTHER = "ffeeddcc-1111-4222-8333-444455556666"
#: XFS and btrfs have no program for the middle of a file.
NEED_LOOP = ("xfs", "btrfs")


def need_loop(kind: str) -> None:
    if kind in NEED_LOOP and (os.geteuid() != 0 or not os.path.exists("/dev/loop-control")):
        pytest.skip(f"the labels of {kind} behind the start of a file need root and loop devices")


def run(*argv: str | pathlib.Path, ok: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=False)
    assert done.returncode in ok, done.stdout + done.stderr
    return done.stdout


def seen(path: pathlib.Path, offset: int, size: int) -> dict[str, str]:
    out = run("blkid", "-p", "-o", "export", "-O", str(offset), "-S", str(size), path, ok=(0, 2))
    return dict(line.split("=", 1) for line in out.splitlines())


def check(path: pathlib.Path, offset: int, kind: str) -> None:
    """The file system alone is without a fault, and nothing around it was touched."""
    with path.open("rb") as file:
        assert file.read(6000) == b"before" * 1000
        file.seek(offset + SIZES[kind])
        assert file.read(6000) == b"behind" * 1000
        file.seek(offset)
        alone = path.with_name("alone")
        with alone.open("wb") as out:
            for _piece in range(SIZES[kind] // MIB):
                data = file.read(MIB)
                if data.count(0) == MIB:
                    out.seek(MIB, os.SEEK_CUR)
                else:
                    out.write(data)
            out.truncate(SIZES[kind])
    checkers = {"xfs": ["xfs_repair", "-n", "-f"], "btrfs": ["btrfs", "check", "-q"], "swap": ["true"]}
    run(*checkers.get(kind, ["e2fsck", "-f", "-n"]), alone)
    alone.unlink()


def surrounded(path: pathlib.Path, kind: str, offset: int = OFFSET) -> pathlib.Path:
    with path.open("wb") as file:
        file.write(b"before" * 1000)
        # What was there before is gone afterwards.
        file.seek(offset)
        file.write(os.urandom(256 << 10))
        file.seek(offset + SIZES[kind])
        file.write(b"behind" * 1000)
    return path


def made(path: pathlib.Path, kind: str, label: str | None = "first", uuid: str | None = UUID) -> pathlib.Path:
    surrounded(path, kind)
    make.make_filesystem(str(path), OFFSET, SIZES[kind], kind, label, uuid, 60)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_made_and_labelled(tmp_path: pathlib.Path, kind: str) -> None:
    path = made(tmp_path / "disk image?offset=7,LABEL='x'.img", kind)
    found = seen(path, OFFSET, SIZES[kind])
    assert (found["TYPE"], found["LABEL"], found["UUID"]) == (kind, "first", UUID)
    check(path, OFFSET, kind)
    assert path.stat().st_blocks * 512 < SIZES[kind] // 4 + MIB
    assert os.listdir(tmp_path) == [path.name]
    need_loop(kind)
    for label, uuid, result in (
        ("se-cond.:_+", None, ("se-cond.:_+", UUID)),
        (None, OTHER, ("se-cond.:_+", OTHER)),
        ("third", UUID, ("third", UUID)),
        ("third", UUID, ("third", UUID)),
        ("", None, (None, UUID)),
        (None, None, (None, UUID)),
    ):
        labels.set_labels(str(path), OFFSET, SIZES[kind], kind, label, uuid, 60)
        found = seen(path, OFFSET, SIZES[kind])
        assert (found.get("LABEL"), found["UUID"]) == result
        assert found["TYPE"] == kind
    check(path, OFFSET, kind)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
@pytest.mark.parametrize("offset", [0, OFFSET])
@pytest.mark.parametrize("kind", KINDS)
def test_a_qcow2_as_a_raw_file(tmp_path: pathlib.Path, kind: str, offset: int) -> None:
    raw = tmp_path / "raw"
    raw.touch()
    os.truncate(raw, SIZES[kind] + offset)
    with exported(tmp_path, raw) as (flat, _daemon):
        make.make_filesystem(str(flat), offset, SIZES[kind], kind, "first", None, 60)
        labels.set_labels(str(flat), offset, SIZES[kind], kind, "second", UUID, 60)
    assert (tmp_path / "flat").stat().st_size == 0
    converted_back(tmp_path, raw)
    found = seen(raw, offset, SIZES[kind])
    assert (found["TYPE"], found["LABEL"], found["UUID"]) == (kind, "second", UUID)


@pytest.mark.parametrize("kind", NEED_LOOP)
def test_a_whole_file_needs_no_loop_device(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    path = tmp_path / "odd ?offset=1 name.img"
    path.touch()
    os.truncate(path, SIZES[kind])
    make.make_filesystem(str(path), 0, SIZES[kind], kind, None, None, 60)
    assert "LABEL" not in seen(path, 0, SIZES[kind])
    monkeypatch.setattr(labels.loop, "attached", None)
    labels.set_labels(str(path), 0, SIZES[kind], kind, "mine", OTHER, 60)
    found = seen(path, 0, SIZES[kind])
    assert (found["LABEL"], found["UUID"]) == ("mine", OTHER)


@pytest.mark.parametrize("kind", KINDS)
def test_each_gets_a_uuid_of_its_own(tmp_path: pathlib.Path, kind: str) -> None:
    found = {seen(made(tmp_path / name, kind, None, None), OFFSET, SIZES[kind])["UUID"] for name in ("a", "b")}
    assert len(found) == 2
    assert all(uuidlib.UUID(uuid).version == 4 for uuid in found)


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4"])
def test_ext_has_what_every_guest_knows(tmp_path: pathlib.Path, kind: str) -> None:
    path = made(tmp_path / "disk", kind)
    with path.open("rb") as file:
        file.seek(OFFSET)
        (tmp_path / "alone").write_bytes(file.read(SIZES[kind]))
    shown = run("dumpe2fs", "-h", tmp_path / "alone")
    features = next(line for line in shown.splitlines() if line.startswith("Filesystem features:")).split()[2:]
    assert ("has_journal" in features) == (kind != "ext2")
    assert ("extent" in features) == ("metadata_csum" in features) == (kind == "ext4")
    assert not {"orphan_file", "metadata_csum_seed"} & set(features)


def test_xfs_can_be_mounted_by_older_kernels(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "disk"
    path.touch()
    os.truncate(path, SIZES["xfs"])
    make.make_filesystem(str(path), 0, SIZES["xfs"], "xfs", None, None, 60)
    version = run("xfs_db", "-r", "-f", "-c", "version", path)
    assert "BIGTIME" not in version
    assert "NREXT64" not in version
    assert "INOBTCNT" not in version


@pytest.mark.parametrize("page", [4096 << power for power in range(5)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_swap_of_any_page_size(tmp_path: pathlib.Path, page: int, order: str) -> None:
    path = surrounded(tmp_path / "swap", "swap")
    with path.open("r+b") as file:
        file.seek(OFFSET)
        file.write(bytes(1024) + struct.pack(order + "III", 1, SIZES["swap"] // page - 1, 0) + bytes(260 << 10))
        file.seek(OFFSET + page - 10)
        file.write(b"SWAPSPACE2")
    labels.set_labels(str(path), OFFSET, SIZES["swap"], "swap", "fifteen-bytes-x", UUID, 10)
    found = seen(path, OFFSET, SIZES["swap"])
    assert (found["TYPE"], found["LABEL"], found["UUID"]) == ("swap", "fifteen-bytes-x", UUID)


def test_swap_is_as_mkswap_makes_it(tmp_path: pathlib.Path) -> None:
    ours, theirs = made(tmp_path / "ours", "swap"), tmp_path / "theirs"
    theirs.write_bytes(bytes(SIZES["swap"]))
    run("mkswap", "-L", "first", "-U", UUID, theirs)
    with ours.open("rb") as file:
        file.seek(OFFSET)
        assert file.read(SIZES["swap"]) == theirs.read_bytes()


@pytest.mark.parametrize("magic", [b"SWAP-SPACE", b"S1SUSPEND\0", b"LINHIB0001", b"\0" * 10])
def test_other_swap_is_left_alone(tmp_path: pathlib.Path, magic: bytes) -> None:
    path = made(tmp_path / "swap", "swap")
    with path.open("r+b") as file:
        file.seek(OFFSET + mmap.PAGESIZE - 10)
        file.write(magic)
    before = path.read_bytes()
    with pytest.raises(KvmError, match="swap area"):
        labels.set_labels(str(path), OFFSET, SIZES["swap"], "swap", "new", UUID, 10)
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_log_to_replay_is_never_lost(tmp_path: pathlib.Path, kind: str) -> None:
    need_loop("xfs")
    if kind not in pathlib.Path("/proc/filesystems").read_text().split():
        pytest.skip(f"the kernel of this machine has no {kind}")
    path = made(tmp_path / "disk", kind)
    with mounted(str(path), OFFSET, SIZES[kind], kind, read_only=False) as there:
        os.mkdir("folder", dir_fd=there.root)
        os.fsync(there.root)
        run("cp", "--sparse=always", path, tmp_path / "dirty")
    if kind == "xfs":
        with pytest.raises(KvmError, match="log"):
            labels.set_labels(str(tmp_path / "dirty"), OFFSET, SIZES[kind], kind, "new", OTHER, 60)
        with mounted(str(tmp_path / "dirty"), OFFSET, SIZES[kind], kind, read_only=False) as there:
            assert os.listdir(there.root) == ["folder"]
    labels.set_labels(str(tmp_path / "dirty"), OFFSET, SIZES[kind], kind, "new", OTHER, 60)
    found = seen(tmp_path / "dirty", OFFSET, SIZES[kind])
    assert (found["LABEL"], found["UUID"]) == ("new", OTHER)
    with mounted(str(tmp_path / "dirty"), OFFSET, SIZES[kind], kind, read_only=True) as there:
        assert "folder" in os.listdir(there.root)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_system_gets_no_label(tmp_path: pathlib.Path, kind: str) -> None:
    need_loop(kind)
    path = surrounded(tmp_path / "disk", kind)
    with pytest.raises(KvmError):
        labels.set_labels(str(path), OFFSET, SIZES[kind], kind, "new", UUID, 60)
    assert path.read_bytes()[:6000] == b"before" * 1000


@pytest.mark.parametrize(
    ("kind", "label", "uuid"),
    [
        ("vfat", "x", None),
        ("xfs", "x" * 13, None),
        ("xfs", "a b", None),
        ("xfs", "a' -c 'x", None),
        ("ext4", "x" * 17, None),
        ("swap", "x" * 16, None),
        ("btrfs", "x\ny", None),
        ("ext4", "a/b", None),
        ("ext4", None, "random"),
        ("xfs", None, "generate"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_opened(kind: str, label: str | None, uuid: str | None) -> None:
    with pytest.raises(KvmError):
        labels.set_labels("/does/not/exist", 0, MIB, kind, label, uuid, 10)


@pytest.mark.parametrize(
    ("offset", "size", "kind"),
    [(0, 2 * MIB, "ext4"), (-1, 10, "ext4"), (0, 0, "ext4"), (0, MIB, "vfat"), (0, 8192, "swap"), (0, MIB, "xfs")],
)
def test_what_cannot_be_made_is_said(tmp_path: pathlib.Path, offset: int, size: int, kind: str) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(MIB))
    with pytest.raises(KvmError):
        make.make_filesystem(str(path), offset, size, kind, None, None, 10)
    assert os.listdir(tmp_path) == ["disk"]


@pytest.mark.parametrize(("kind", "package"), [("xfs", "xfsprogs"), ("btrfs", "btrfs-progs"), ("ext4", "e2fsprogs")])
def test_the_package_that_is_missing_is_named(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, kind: str, package: str
) -> None:
    path = tmp_path / "disk"
    path.touch()
    os.truncate(path, SIZES[kind])
    make.make_filesystem(str(path), 0, SIZES[kind], kind, None, None, 60)
    command = "ansible_collections.hypervisor.kvm.plugins.module_utils._command._search_path"
    monkeypatch.setattr(command, lambda: "/nonexistent")
    with pytest.raises(ToolMissing, match=package):
        labels.set_labels(str(path), 0, SIZES[kind], kind, "x", None, 60)
    with pytest.raises(ToolMissing, match=package):
        make.make_filesystem(str(path), 0, SIZES[kind], kind, None, None, 60)
