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
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import disk_file, overlays, qcow2
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import disk, overlay, publish
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.workspace import (
    MADE,
    Workspace,
    remove_empty,
    work_folder,
)
from hypothesis import given, settings
from hypothesis import strategies as st

MIB = 1 << 20


def qemu(*words: t.Any) -> str:
    argv = ["qemu-img", *map(str, words)]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout


@settings(max_examples=16)  # each starts four programs
@given(st.lists(st.tuples(st.integers(0, 80), st.binary(min_size=1, max_size=9)), max_size=24), st.integers(0, 3))
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
    found = disk_file.read_file(str(top))
    assert (found.format, found.virtual_size, found.backing, found.backing_found) == (
        "qcow2",
        2 * MIB,
        (str(base),),
        True,
    )
    base.unlink()
    assert not disk_file.read_file(str(top)).backing_found
    outside = tmp_path / "outside.qcow2"
    qemu("create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path / 'data'}", outside, "1M")
    assert disk_file.read_file(str(outside)).foreign_features


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
        disk_file.read_file(str(first))


def test_a_raw_disk_stays_raw_whatever_its_guest_writes(tmp_path: pathlib.Path) -> None:
    qemu("create", "-q", "-f", "qcow2", tmp_path / "d", "1M")
    assert disk_file.read_file(str(tmp_path / "d"), "raw").format == "raw"


def _lock(path: pathlib.Path, start: int, kind: int) -> int:
    fd = os.open(path, os.O_RDWR)
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, start, 1, 0))
    return fd


def test_qemus_locks_are_seen(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "d"
    path.write_bytes(b"x")
    assert not disk_file.read_file(str(path)).in_use
    for start, written in ((100, False), (101, True), (201, False)):
        fd = _lock(path, start, fcntl.F_RDLCK)
        found = disk_file.read_file(str(path))
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


def test_what_a_killed_run_began_is_finished_before_the_rest_is_cleared(tmp_path: pathlib.Path) -> None:
    target = str(tmp_path / "a.img")
    left = pathlib.Path(work_folder(target)) / "half"
    left.parent.mkdir()
    left.write_text("done")
    seen: list[str] = []

    def finish(space: Workspace) -> None:
        with pytest.raises(Busy), Workspace(target):
            pass
        seen.append(pathlib.Path(space.file("half")).read_text())

    with Workspace(target, recover=finish) as space:
        assert os.listdir(space.path) == []
    assert seen == ["done"]

    def cannot(_space: Workspace) -> None:
        raise KvmError("look at it")

    left.parent.mkdir()
    left.write_text("done")
    for _attempt in range(2):  # the lock is free again, and nothing was cleared
        with pytest.raises(KvmError, match="look at it"), Workspace(target, recover=cannot):
            pass
    assert left.read_text() == "done"


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
