# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images: what is read and written on real files with the real programs."""

from __future__ import annotations

import fcntl
import os
import pathlib
import struct
import subprocess
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import observe, overlays, qcow2
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import Filesystem
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import disk, guest, overlay, publish
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.guest_files import GuestFiles
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.workspace import (
    MADE,
    Workspace,
    remove_empty,
    work_folder,
)
from hypothesis import given
from hypothesis import strategies as st

MIB = 1 << 20


def qemu(*words: t.Any) -> str:
    argv = ["qemu-img", *map(str, words)]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture(name="image")
def _image(tmp_path: pathlib.Path) -> pathlib.Path:
    """A file system with the files of a small system, and with links that lead out of it."""
    tree = tmp_path / "tree"
    for folder in ("etc/network", "etc/ssh", "boot", "usr/lib", "root"):
        (tree / folder).mkdir(parents=True)
    (tree / "etc/shadow").write_text("root:*:1:::::\n")
    (tree / "etc/shadow").chmod(0o640)
    (tree / "usr/lib/os-release").write_text('ID=tiny\nVERSION_ID="1"\nPRETTY_NAME="Tiny 1"\n')
    (tree / "etc/os-release").symlink_to("../usr/lib/os-release")
    (tree / "etc/resolv.conf").symlink_to("/etc/hostname")
    (tree / "out").symlink_to("/../../etc")
    for version in ("6.1.9", "6.1.10"):
        (tree / f"boot/vmlinuz-{version}").write_text(f"kernel {version}")
    (tree / "boot/initrd.img-6.1.10").write_text("initrd")
    path = tmp_path / "a.img"
    disk.make_filesystem(
        str(path), 16 * MIB, Filesystem(label="root"), scratch=str(tmp_path), timeout=30, tree=str(tree)
    )
    return path


@pytest.fixture(name="files")
def _files(image: pathlib.Path, tmp_path: pathlib.Path) -> GuestFiles:
    return GuestFiles("image a", str(image), str(tmp_path), 30)


def test_the_file_system_is_as_asked_for(image: pathlib.Path) -> None:
    found = disk.superblock(str(image))
    assert found is not None
    assert (found["filesystem"], found["label"]) == ("ext4", "root")
    assert image.stat().st_size == 16 * MIB
    disk.verify(str(image), 30)


def test_files_are_written_with_their_owner_and_mode(files: GuestFiles, image: pathlib.Path) -> None:
    files.write("/etc/new/deep/file", "text\n", 0o600, 33, 44)
    files.write("/etc/shadow", "root:x:1:::::\n")
    files.write("/etc/empty", "")
    files.mkdir("/root/.ssh", 0o700)
    new, shadow, folder = files.stat("/etc/new/deep/file"), files.stat("/etc/shadow"), files.stat("/root/.ssh")
    assert new is not None
    assert (new.mode, new.owner, new.group) == (0o600, 33, 44)
    assert shadow is not None
    assert shadow.mode == 0o640
    assert folder is not None
    assert (folder.type, folder.mode) == ("directory", 0o700)
    assert files.read("/etc/new/deep/file") == "text\n"
    assert files.read("/etc/empty") == ""
    disk.verify(str(image), 30)


def test_links_are_looked_up_in_the_image_and_replaced_not_followed(files: GuestFiles, image: pathlib.Path) -> None:
    assert files.read("/etc/os-release") == 'ID=tiny\nVERSION_ID="1"\nPRETTY_NAME="Tiny 1"\n'
    files.write("/etc/resolv.conf", "nameserver 192.0.2.1\n")
    files.write("/out/escaped", "inside\n")
    inode = files.stat("/etc/resolv.conf")
    assert inode is not None
    assert inode.type == "regular"
    assert files.read("/etc/hostname") is None
    assert files.read("/etc/escaped") == "inside\n"
    assert not pathlib.Path("/etc/escaped").exists()
    disk.verify(str(image), 30)


def test_what_cannot_be_named_or_replaced_is_refused(files: GuestFiles) -> None:
    for path in ('/etc/"x', "/etc/x\ny", "/etc/\\x"):
        with pytest.raises(KvmError, match="no quotes"):
            files.write(path, "")
    with pytest.raises(KvmError, match="is a directory"):
        files.write("/etc/ssh", "")
    with pytest.raises(KvmError, match="not a folder"):
        files.write("/etc/shadow/x", "")


def test_extended_attributes_stay(files: GuestFiles, image: pathlib.Path) -> None:
    subprocess.run(
        ["debugfs", "-w", "-R", "ea_set /etc/shadow security.selinux label", image], check=True, capture_output=True
    )
    files.write("/etc/shadow", "root:y:1:::::\n")
    inode = files.stat("/etc/shadow")
    assert inode is not None
    assert inode.xattrs == ("security.selinux",)


def test_what_is_in_the_image(files: GuestFiles) -> None:
    assert guest.operating_system(files) == {"id": "tiny", "version": "1", "pretty_name": "Tiny 1"}
    assert guest.kernels(files) == [
        {"version": "6.1.10", "kernel": "/boot/vmlinuz-6.1.10", "initrd": "/boot/initrd.img-6.1.10"},
        {"version": "6.1.9", "kernel": "/boot/vmlinuz-6.1.9", "initrd": None},
    ]


def test_versions_are_ordered_as_people_count() -> None:
    ordered = [
        "5.10.0-9-amd64",
        "5.10.0-10-amd64",
        "6.1~rc1",
        "6.1",
        "6.1.0-9-cloud-amd64",
        "6.1.0-18-cloud-amd64",
        "6.12",
    ]
    backwards = list(reversed(ordered))
    assert sorted(backwards, key=guest.version_key) == ordered


def test_a_file_system_grows(image: pathlib.Path) -> None:
    os.truncate(image, 64 * MIB)
    disk.repair(str(image), 30)
    disk.grow_filesystem(str(image), 30)
    disk.verify(str(image), 30)


@given(st.lists(st.tuples(st.integers(0, 80), st.binary(min_size=1, max_size=9)), max_size=8), st.integers(0, 3))
def test_an_overlay_has_all_that_differs(
    tmp_path_factory: pytest.TempPathFactory, writes: list[t.Any], more: int
) -> None:
    folder = tmp_path_factory.mktemp("overlay")
    before, after, scratch = folder / "before", folder / "after", folder / "scratch"
    scratch.mkdir()
    before.write_bytes(b"\1" * overlay.CLUSTER * 3)
    os.truncate(before, 5 * MIB)
    disk.copy_sparse(str(before), str(after), 5 * MIB + more * MIB)
    with open(after, "r+b") as file:
        file.write(b"\0" * 100)
        for place, data in writes:
            file.seek(place * 65000)
            file.write(data)
    target = folder / "o.qcow2"
    overlay.create(str(target), str(before), "raw", after.stat().st_size, 30)
    written = overlay.write_difference(str(target), str(before), str(after), str(scratch), 30)
    assert written <= overlay.CLUSTER * (2 * len(writes) + 1)
    assert "identical" in qemu("compare", "-f", "qcow2", "-F", "raw", target, after)
    assert "No errors" in qemu("check", "-f", "qcow2", target)


@given(st.lists(st.integers(0, 600), unique=True, max_size=40))
def test_pieces_are_the_same_clusters_together(numbers: list[int]) -> None:
    size = overlay.CLUSTER
    clusters = [(n * size, (n + 1) * size) for n in sorted(numbers)]
    found = list(overlay.pieces(clusters))
    assert [(at, at + size) for start, end in found for at in range(start, end, size)] == clusters
    assert all(first[1] <= second[0] for first, second in zip(found, found[1:]))


def test_headers_of_qcow2(tmp_path: pathlib.Path) -> None:
    base, top = tmp_path / "base.img", tmp_path / "top.qcow2"
    base.write_bytes(b"")
    os.truncate(base, MIB)
    qemu("create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", top, "2M")
    found = observe.read_file(str(top))
    assert (found.format, found.virtual_size, found.backing, found.backing_found) == (
        "qcow2",
        2 * MIB,
        (str(base),),
        True,
    )
    base.unlink()
    assert not observe.read_file(str(top)).backing_found
    outside = tmp_path / "outside.qcow2"
    qemu("create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path / 'data'}", outside, "1M")
    assert observe.read_file(str(outside)).foreign_features


@given(st.binary(max_size=120))
def test_a_broken_header_is_an_error_and_nothing_worse(tail: bytes) -> None:
    message = ""
    try:
        qcow2.parse(qcow2.MAGIC + tail, "x")
    except KvmError as exc:
        message = exc.message
    assert message == "" or message.startswith("x: ")


def test_a_circle_of_backing_files_ends(tmp_path: pathlib.Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for one, other in ((first, second), (second, first)):
        qemu("create", "-q", "-u", "-f", "qcow2", "-b", other, "-F", "qcow2", one, "1M")
    with pytest.raises(KvmError, match="no end"):
        observe.read_file(str(first))


def test_a_raw_disk_stays_raw_whatever_its_guest_writes(tmp_path: pathlib.Path) -> None:
    qemu("create", "-q", "-f", "qcow2", tmp_path / "d", "1M")
    assert observe.read_file(str(tmp_path / "d"), "raw").format == "raw"


def _lock(path: pathlib.Path, start: int, kind: int) -> int:
    fd = os.open(path, os.O_RDWR)
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, start, 1, 0))
    return fd


def test_qemus_locks_are_seen(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "d"
    path.write_bytes(b"x")
    assert not observe.read_file(str(path)).in_use
    for start, written in ((100, False), (101, True), (201, False)):
        fd = _lock(path, start, fcntl.F_RDLCK)
        found = observe.read_file(str(path))
        assert (found.in_use, found.written) == (True, written)
        os.close(fd)


def test_the_work_folder_is_the_lock_and_leaves_nothing(tmp_path: pathlib.Path) -> None:
    target = str(tmp_path / "new" / "a.img")
    stale = pathlib.Path(work_folder(target)) / "tree" / "x"
    stale.mkdir(parents=True)
    with Workspace(target) as space:
        assert os.listdir(space.path) == []
        assert os.stat(space.path).st_mode & 0o777 == 0o700
        with pytest.raises(Busy, match="another task"), Workspace(target):
            pass
        assert os.path.isdir(space.path)
    assert os.listdir(tmp_path / "new") == []
    assert os.path.isdir(tmp_path / "new")


def test_a_failed_run_leaves_no_folder_it_made(tmp_path: pathlib.Path) -> None:
    with pytest.raises(KvmError), Workspace(str(tmp_path / "x" / "y" / "a.img")):
        raise KvmError("no")
    assert os.listdir(tmp_path) == []


def test_folders_that_were_made_go_with_the_last_image(tmp_path: pathlib.Path) -> None:
    first, second = tmp_path / "x" / "y" / "1", tmp_path / "x" / "2"
    for path in (first, second):
        with Workspace(str(path)):
            path.touch()
    first.unlink()
    remove_empty(str(first.parent))
    assert sorted(os.listdir(tmp_path / "x")) == [MADE, "2"]
    second.unlink()
    remove_empty(str(second.parent))
    assert os.listdir(tmp_path) == []
    remove_empty(str(tmp_path))
    assert tmp_path.is_dir()


def _fail_in(space: Workspace) -> None:
    with space:
        pathlib.Path(space.file("log")).write_text("why")
        raise KvmError("no")


def test_what_failed_is_kept_when_asked_for(tmp_path: pathlib.Path) -> None:
    with pytest.raises(KvmError) as caught:
        _fail_in(Workspace(str(tmp_path / "a.img"), keep_failed=True))
    kept = pathlib.Path(caught.value.details["kept"])
    assert (kept / "log").read_text() == "why"
    assert str(kept) in caught.value.message


def test_nothing_is_overwritten_that_came_in_between(tmp_path: pathlib.Path) -> None:
    work, place = tmp_path / "work", tmp_path / "place"
    work.write_text("new")
    place.write_text("somebody's")
    with pytest.raises(KvmError, match="has appeared"):
        publish.place(publish.Piece(str(work), str(place), replace=False))
    assert place.read_text() == "somebody's"
    publish.place(publish.Piece(str(work), str(place), replace=True))
    assert place.read_text() == "new"
    assert not work.exists()


def test_the_list_of_overlays(tmp_path: pathlib.Path) -> None:
    base, first, second = (str(tmp_path / name) for name in ("base", "1", "2"))
    for path in (first, second):
        publish.note_overlay(base, path, present=True)
        pathlib.Path(path).touch()
    assert overlays.recorded(base) == [first, second]
    assert overlays.living(base, lambda path: [base] if path == first else []) == [first]
    for path in (first, second):
        os.unlink(path)
        publish.note_overlay(base, path, present=False)
    assert os.listdir(tmp_path) == []
