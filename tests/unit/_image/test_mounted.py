# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""File systems mounted in an image and changed there: read back by debugfs, xfs_db, blkid and losetup, never by themselves.

They need root and loop devices, as the feature does.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import subprocess
import sys
import time
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _loop
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Edit
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import kernel, loop
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.mounted import mounted
from ansible_collections.hypervisor.kvm.tests.unit._image.flat import MISSING, converted_back, exported

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/loop-control"), reason="needs root and loop devices"
)

MIB = 1 << 20
OFFSET = MIB
SIZES = {"ext2": 8 * MIB, "ext3": 8 * MIB, "ext4": 8 * MIB, "xfs": 300 * MIB, "btrfs": 280 * MIB}
KINDS = sorted(SIZES)


def run(*argv: str | pathlib.Path) -> str:
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=True)
    return done.stdout


def image(tmp_path: pathlib.Path, kind: str, tree: pathlib.Path | None = None, more: int = 0) -> pathlib.Path:
    """A file with a file system in the middle; what is around it is recognisable."""
    require(kind)
    alone = tmp_path / "alone"
    with alone.open("wb") as file:
        file.truncate(SIZES[kind])
    run(f"mkfs.{kind}", "-q", *(("-d", tree) if tree else ()), alone)
    path = tmp_path / f"{kind}.img"
    with path.open("wb") as file:
        file.write(b"before" * 1000)
        file.truncate(OFFSET + SIZES[kind] + more + MIB)
        file.seek(OFFSET + SIZES[kind] + more)
        file.write(b"behind" * 1000)
    with alone.open("rb") as source, path.open("r+b") as target:
        for offset, data in pieces(source.fileno()):
            os.pwrite(target.fileno(), data, OFFSET + offset)
    alone.unlink()
    return path


def pieces(fd: int, start: int = 0, end: int = 1 << 40) -> t.Iterator[tuple[int, bytes]]:
    """What of a file is neither a hole nor zeros."""
    os.fsync(fd)
    position = start
    with contextlib.suppress(OSError):
        while (position := os.lseek(fd, position, os.SEEK_DATA)) < end:
            data = os.pread(fd, min(os.lseek(fd, position, os.SEEK_HOLE), end) - position, position)
            for offset in range(0, len(data), MIB):
                piece = data[offset : offset + MIB]
                if piece.count(0) != len(piece):
                    yield position + offset, piece
            position += len(data)


def require(kind: str) -> None:
    known = pathlib.Path("/proc/filesystems").read_text().split()
    if kind not in known and subprocess.run(["modprobe", kind], check=False, capture_output=True).returncode != 0:
        pytest.skip(f"the kernel of this machine has no {kind}")


def content(path: pathlib.Path) -> list[tuple[int, bytes]]:
    with path.open("rb") as file:
        return list(pieces(file.fileno()))


def extracted(path: pathlib.Path, kind: str, more: int = 0) -> pathlib.Path:
    out = path.with_suffix(".out")
    size = SIZES[kind] + more
    with path.open("rb") as file, out.open("wb") as target:
        assert file.read(6000) == b"before" * 1000
        file.seek(OFFSET + size)
        assert file.read(6000) == b"behind" * 1000
        target.truncate(size)
        for offset, data in pieces(file.fileno(), OFFSET, OFFSET + size):
            os.pwrite(target.fileno(), data, offset - OFFSET)
    return out


def check(path: pathlib.Path, kind: str, more: int = 0) -> pathlib.Path:
    """The file system alone, without a fault in the eyes of its own checker."""
    out = extracted(path, kind, more)
    checkers = {"xfs": ["xfs_repair", "-n", "-f"], "btrfs": ["btrfs", "check", "-q"]}
    run(*checkers.get(kind, ["e2fsck", "-f", "-n"]), out)
    return out


def assert_nothing_left(path: pathlib.Path) -> None:
    assert str(path) not in run("losetup", "--list", "--noheadings", "--output", "BACK-FILE")
    assert str(path) not in pathlib.Path("/proc/self/mountinfo").read_text()


EDITS = (
    Edit("mkdir", "/etc", mode=0o750, owner=3, group=4),
    Edit("mkdir", "/etc/deep"),
    Edit("mkdir", "/etc", mode=0o777),
    Edit("write", "/etc/gone", b"x"),
    Edit("remove", "/etc/gone"),
    Edit("remove", "/etc/never"),
    Edit("remove", "/never/never"),
    Edit("symlink", "/etc/link", target="/etc/shadow"),
    Edit("symlink", "/etc/name", target="first"),
    Edit("symlink", "/etc/name", target="second"),
    Edit("write", "/etc/link", b"a file now\n", mode=0o4711, owner=1000, group=1001),
    Edit("write", "/etc/hostname", b"old"),
    Edit(
        "write", "/etc/hostname", b"new\n", mode=0o640, owner=5, group=6,
        xattrs=(("user.note", b"a\0b"), ("security.selinux", b"system_u:object_r:etc_t:s0\0")),
    ),
    Edit("chmod", "/etc/deep", mode=0o2711, owner=7, group=8),
    Edit("write", "/etc/odd \udcff\n\"name'", b"odd"),
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_changes_arrive_and_nothing_is_left(tmp_path: pathlib.Path, kind: str) -> None:
    path = image(tmp_path, kind)
    with mounted(str(path), OFFSET, SIZES[kind], kind, read_only=False) as there:
        there.apply(EDITS)
        there.set_label("edited")
    assert_nothing_left(path)
    check(path, kind)
    assert ' LABEL="edited"' in run("blkid", "-p", "-O", str(OFFSET), path)
    point = tmp_path / "point"
    point.mkdir()
    run("mount", "-t", kind, "-o", f"ro,loop,offset={OFFSET},sizelimit={SIZES[kind]}", path, point)
    try:
        listed = {}
        for folder, _folders, names in os.walk(os.fsencode(point / "etc")):
            for name in (b"", *names):
                full = os.path.join(folder, name) if name else folder
                status = os.lstat(full)
                listed[os.path.relpath(full, os.fsencode(point))] = (oct(status.st_mode), status.st_uid, status.st_gid)
        assert listed == {
            b"etc": ("0o40750", 3, 4),
            b"etc/deep": ("0o42711", 7, 8),
            b"etc/link": ("0o104711", 1000, 1001),
            b"etc/name": ("0o120777", 0, 0),
            b"etc/hostname": ("0o100640", 5, 6),
            b"etc/odd \xff\n\"name'": ("0o100644", 0, 0),
        }
        assert (point / "etc/link").read_bytes() == b"a file now\n"
        assert os.readlink(point / "etc/name") == "second"
        hostname = point / "etc/hostname"
        assert hostname.read_bytes() == b"new\n"
        assert os.getxattr(hostname, "user.note") == b"a\0b"
        assert os.getxattr(hostname, "security.selinux") == b"system_u:object_r:etc_t:s0\0"
    finally:
        run("umount", point)


def test_a_file_of_this_host_is_streamed_in(tmp_path: pathlib.Path) -> None:
    content = os.urandom(3 * MIB + 5)
    (tmp_path / "source").write_bytes(content)
    path = image(tmp_path, "ext4")
    with mounted(str(path), OFFSET, SIZES["ext4"], "ext4", read_only=False) as there:
        there.apply([Edit("write", "/big", source=str(tmp_path / "source"), mode=0o600)])
    out = check(path, "ext4")
    run("debugfs", "-R", f"dump /big {tmp_path}/back", out)
    assert (tmp_path / "back").read_bytes() == content


@pytest.mark.parametrize("kind", KINDS)
def test_read_only_writes_nothing(tmp_path: pathlib.Path, kind: str) -> None:
    path = image(tmp_path, kind)
    before = content(path)
    with mounted(str(path), OFFSET, SIZES[kind], kind, read_only=True) as there:
        os.listdir(there.root)
        with pytest.raises(KvmError, match="Read-only"):
            there.apply([Edit("write", "/x", b"x")])
    assert content(path) == before
    assert_nothing_left(path)


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_grows_to_its_range(tmp_path: pathlib.Path, kind: str) -> None:
    more = 64 * MIB
    path = image(tmp_path, kind, more=more)
    with mounted(str(path), OFFSET, SIZES[kind] + more, kind, read_only=False) as there:
        there.grow()
        there.grow()
    out = check(path, kind, more)
    if kind == "xfs":
        words = run("xfs_db", "-r", "-f", "-c", "sb 0", "-c", "print dblocks blocksize", out).split()
        assert int(words[2]) * int(words[5]) == SIZES[kind] + more
    else:
        dump = run("btrfs", "inspect-internal", "dump-super", out).split()
        assert int(dump[dump.index("total_bytes") + 1]) == SIZES[kind] + more


def test_a_subvolume_is_the_top(tmp_path: pathlib.Path) -> None:
    path = image(tmp_path, "btrfs")
    point = tmp_path / "point"
    point.mkdir()
    run("mount", "-o", f"loop,offset={OFFSET},sizelimit={SIZES['btrfs']}", path, point)
    run("btrfs", "subvolume", "create", point / "@")
    run("umount", point)
    with mounted(str(path), OFFSET, SIZES["btrfs"], "btrfs", read_only=False, subvol="@") as there:
        there.apply([Edit("write", "/inside", b"x")])
    out = check(path, "btrfs")
    (tmp_path / "restored").mkdir()
    run("btrfs", "restore", out, tmp_path / "restored")
    assert (tmp_path / "restored/@/inside").read_bytes() == b"x"


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_copies_of_one_file_system_are_not_mistaken(tmp_path: pathlib.Path, kind: str) -> None:
    first = image(tmp_path, kind)
    second = tmp_path / "second.img"
    run("cp", "--sparse=always", first, second)
    before = content(second)
    with mounted(str(first), OFFSET, SIZES[kind], kind, read_only=False) as there:
        there.apply([Edit("write", "/one", b"1")])
        # Older kernels take no second btrfs with the same UUID, and say so.
        try:
            with mounted(str(second), OFFSET, SIZES[kind], kind, read_only=False) as other:
                other.apply([Edit("write", "/two", b"2")])
                with pytest.raises(FileNotFoundError):
                    os.stat("one", dir_fd=other.root)
        except Busy:
            assert kind == "btrfs"
            assert content(second) == before
    check(first, kind)
    check(second, kind)


def test_another_btrfs_than_that_of_the_device_is_refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = image(tmp_path, "btrfs")
    real = kernel.detached_mount
    with mounted(str(first), OFFSET, SIZES["btrfs"], "btrfs", read_only=False) as there:
        # As if the kernel gave the mount that it has already.
        wrong = there.root
        monkeypatch.setattr(kernel, "detached_mount", lambda *_words, **_more: os.dup(wrong))
        (tmp_path / "other").write_bytes(bytes(MIB))
        with (
            pytest.raises(Busy, match="another copy"),
            mounted(str(tmp_path / "other"), 0, MIB, "btrfs", read_only=True),
        ):
            pass
        monkeypatch.setattr(kernel, "detached_mount", real)


def test_trim_makes_holes(tmp_path: pathlib.Path) -> None:
    path = image(tmp_path, "ext4")
    with mounted(str(path), OFFSET, SIZES["ext4"], "ext4", read_only=False) as there:
        there.apply([Edit("write", "/big", os.urandom(4 * MIB)), Edit("remove", "/big")])
        kernel.sync_file_system(there.root)
        before = path.stat().st_blocks
        assert there.trim() > 0
    assert path.stat().st_blocks * 512 < before * 512 - 3 * MIB
    check(path, "ext4")


def hostile(tmp_path: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """An image whose links lead to a folder of this host, and that folder."""
    victim = tmp_path / "victim"
    (victim / "sub").mkdir(parents=True)
    (victim / "file").write_text("of the host")
    tree = tmp_path / "tree"
    (tree / "real").mkdir(parents=True)
    for folder in (tree, tree / "real"):
        (folder / "absolute").symlink_to(victim)
        (folder / "magic").symlink_to(f"/proc/{os.getpid()}/root{victim}")
        (folder / "file").symlink_to(victim / "file")
        (folder / "sub").symlink_to(victim / "sub")
        (folder / "up").symlink_to("../" * 40 + str(victim).lstrip("/"))
        (folder / "self").symlink_to("/proc/self/root" + str(victim))
    return image(tmp_path, "ext4", tree), victim


def state(victim: pathlib.Path) -> list[tuple[str, str, int, bytes]]:
    return sorted(
        (str(path), oct(path.lstat().st_mode), path.lstat().st_uid, path.read_bytes() if path.is_file() else b"")
        for path in (victim, *victim.rglob("*"))
    )


def attacks() -> t.Iterator[Edit]:
    for base in ("", "/real"):
        for link in ("absolute", "magic", "up", "self"):
            for below in ("", "/sub"):
                folder = f"{base}/{link}{below}"
                yield Edit("write", f"{folder}/new", b"x")
                yield Edit("write", f"{folder}/file", b"x")
                yield Edit("mkdir", f"{folder}/made")
                yield Edit("symlink", f"{folder}/linked", target="/")
                yield Edit("remove", f"{folder}/file")
                yield Edit("chmod", f"{folder}/sub", mode=0o777)
        for link in ("absolute", "magic", "up", "self", "file", "sub"):
            yield Edit("chmod", f"{base}/{link}", mode=0o777)
            yield Edit("mkdir", f"{base}/{link}", mode=0o777, owner=77)


def attempt(path: pathlib.Path) -> int:
    refused = 0
    with mounted(str(path), OFFSET, SIZES["ext4"], "ext4", read_only=False) as there:
        for edit in attacks():
            try:
                there.apply([edit])
            except KvmError:
                refused += 1
    return refused


def test_no_link_leads_out(tmp_path: pathlib.Path) -> None:
    path, victim = hostile(tmp_path)
    before = state(victim)
    refused = attempt(path)
    assert state(victim) == before
    assert refused == len(list(attacks()))


def test_the_attacks_work_without_the_defence(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, victim = hostile(tmp_path)
    before = state(victim)
    monkeypatch.setattr(kernel, "_RESOLVE", 0)
    attempt(path)
    assert state(victim) != before


def test_a_link_in_the_last_place_is_replaced(tmp_path: pathlib.Path) -> None:
    path, victim = hostile(tmp_path)
    before = state(victim)
    links = ("absolute", "magic", "up", "self", "file", "sub")
    with mounted(str(path), OFFSET, SIZES["ext4"], "ext4", read_only=False) as there:
        there.apply([Edit("write", f"/{link}", b"mine") for link in links])
        there.apply([Edit("remove", f"/real/{link}") for link in links])
        with pytest.raises(KvmError, match="it is a folder there"):
            there.apply([Edit("remove", "/real")])
        for name in ("/real/../x", "/.", "/", "", "/a\0b"):
            with pytest.raises(KvmError):
                there.apply([Edit("write", name, b"x")])
    assert state(victim) == before
    out = check(path, "ext4")
    for link in links:
        assert run("debugfs", "-R", f"cat /{link}", out) == "mine"
    assert not any(link in run("debugfs", "-R", "ls -p /real", out) for link in links)


def test_a_full_file_system_is_said_and_keeps_the_old_file(tmp_path: pathlib.Path) -> None:
    path = image(tmp_path, "ext4")
    with mounted(str(path), OFFSET, SIZES["ext4"], "ext4", read_only=False) as there:
        there.apply([Edit("write", "/file", b"old")])
        with pytest.raises(KvmError, match="the file system is full"):
            there.apply([Edit("write", "/file", bytes(range(256)) * 65536)])
    out = check(path, "ext4")
    assert run("debugfs", "-R", "cat /file", out) == "old"
    assert ".kvm_image" not in run("debugfs", "-R", "ls -p /", out)


_AGAIN_AND_AGAIN = """
import sys
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Edit
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.mounted import mounted
print("mounted", flush=True)
while True:
    with mounted(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], read_only=False) as there:
        there.apply([Edit("write", "/file", b"x" * 100000)])
"""
_VICTIM = """
import sys, time
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Edit
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.mounted import mounted
with mounted(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], read_only=False) as there:
    print("mounted", flush=True)
    while True:
        there.apply([Edit("write", "/file", b"x" * 100000)])
"""


@contextlib.contextmanager
def victim_process(path: pathlib.Path, kind: str, script: str = _VICTIM) -> t.Iterator[subprocess.Popen[bytes]]:
    """A process that has mounted the file system and writes to it, until it is killed."""
    argv = [sys.executable, "-c", script, str(path), str(OFFSET), str(SIZES[kind]), kind]
    env = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"mounted\n"
        yield child


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_kill_leaves_nothing(tmp_path: pathlib.Path, kind: str) -> None:
    path = image(tmp_path, kind)
    for delay in (0.0, 0.02, 0.05):
        with victim_process(path, kind) as child:
            time.sleep(delay)
            child.kill()
        wait_until_gone(path)
        assert_nothing_left(path)


@pytest.mark.parametrize("kind", ["ext4", "btrfs"])
def test_a_kill_at_any_moment_leaves_nothing(tmp_path: pathlib.Path, kind: str) -> None:
    path = image(tmp_path, kind)
    moments = random.Random(20261124)
    for _kill in range(6):
        with victim_process(path, kind, _AGAIN_AND_AGAIN) as child:
            time.sleep(moments.random() * 0.03)
            child.kill()
        wait_until_gone(path)
        assert_nothing_left(path)
    with mounted(str(path), OFFSET, SIZES[kind], kind, read_only=False) as there:
        there.apply([Edit("write", "/file", b"the next run")])
    check(path, kind)


def wait_until_gone(path: pathlib.Path) -> None:
    deadline = time.monotonic() + 5
    while str(path) in run("losetup", "--list", "--noheadings", "--output", "BACK-FILE"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_works_on_a_qcow2_through_fuse(tmp_path: pathlib.Path, kind: str) -> None:
    raw = image(tmp_path, kind)
    with exported(tmp_path, raw) as (flat, _daemon):
        with mounted(str(flat), OFFSET, SIZES[kind], kind, read_only=False) as there:
            there.apply([Edit("write", "/file", b"through fuse")])
        assert_nothing_left(tmp_path / "flat")
    converted_back(tmp_path, raw)
    out = check(raw, kind)
    if kind == "ext4":
        assert run("debugfs", "-R", "cat /file", out) == "through fuse"


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_kill_of_the_daemon_as_well_leaves_nothing(tmp_path: pathlib.Path, kind: str) -> None:
    with exported(tmp_path, image(tmp_path, kind)) as (flat, daemon):
        with victim_process(flat, kind) as child:
            # It is known by that name while it is there.
            assert str(tmp_path / "flat") in run("losetup", "--list", "--noheadings", "--output", "BACK-FILE")
            daemon.kill()
            child.kill()
        daemon.wait()
        wait_until_gone(tmp_path / "flat")
        assert_nothing_left(tmp_path / "flat")


def test_without_the_newer_call_a_loop_device_takes_two(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = image(tmp_path, "ext4")
    monkeypatch.setattr(_loop, "_CONFIGURE", 0x4CFE)
    with mounted(str(path), OFFSET, SIZES["ext4"], "ext4", read_only=False) as there:
        there.apply([Edit("write", "/file", b"x")])
        row = run("losetup", "--list", "--noheadings", "--output", "AUTOCLEAR,OFFSET,SIZELIMIT,BACK-FILE")
        assert ["1", str(OFFSET), str(SIZES["ext4"]), str(path)] in [line.split() for line in row.splitlines()]
    assert_nothing_left(path)
    check(path, "ext4")


def test_a_device_that_somebody_holds_is_said(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = image(tmp_path, "ext4")
    monkeypatch.setattr(loop, "_GONE_WITHIN", 0.1)
    held = -1
    try:
        with pytest.raises(Busy, match="still in use"), loop.attached(str(path), 0, MIB, read_only=True) as device:
            held = os.open(device, os.O_RDONLY)
    finally:
        os.close(held)
    wait_until_gone(path)


@pytest.mark.parametrize(("offset", "size"), [(0, 1 << 40), (-512, 4096), (1, 4096), (0, 0), (OFFSET, 64 * MIB)])
def test_a_range_that_is_none_is_refused(tmp_path: pathlib.Path, offset: int, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(4096))
    with pytest.raises(KvmError, match="no range"), mounted(str(path), offset, size, "ext4", read_only=True):
        pass


def test_what_is_no_file_system_is_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(4 * MIB))
    for kind in ("ext2", "ext4", "xfs", "btrfs"):
        require(kind)
        with (
            pytest.raises(KvmError, match=f"does not mount its {kind}"),
            mounted(str(path), 0, 4 * MIB, kind, read_only=True),
        ):
            pass
    with pytest.raises(KvmError, match="not one that is mounted"), mounted(str(path), 0, MIB, "vfat", read_only=True):
        pass
    assert_nothing_left(path)
