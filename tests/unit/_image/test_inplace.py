# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images that others made are changed in their place: from the declaration to the bytes, with the real programs."""

from __future__ import annotations

import json
import os
import pathlib
import resource
import subprocess
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import apply, compare, manifest, observe, spec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.paths import half_done, work_folder
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import inplace
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.workspace import Workspace

MIB = 1 << 20


def run(*words: t.Any) -> str:
    return subprocess.run([*map(str, words)], check=True, capture_output=True, text=True, timeout=60).stdout


def planned(path: pathlib.Path, **options: t.Any) -> ChangeSet:
    """What check mode says."""
    wanted = spec.parse({"path": str(path), **options})
    return compare.compare(wanted, observe.observe(wanted))


def made_so(path: pathlib.Path, **options: t.Any) -> ChangeSet:
    """As a task does it."""
    changes = planned(path, **options)
    if changes:
        apply.apply(changes, lambda _text: None, apply.Outcome())
    return changes


def raw(folder: pathlib.Path, *mkfs: str, size: int = 16 * MIB, name: str = "a.img") -> pathlib.Path:
    path = folder / name
    path.touch()
    os.truncate(path, size)
    if mkfs:
        run(*mkfs, path)
    return path


def qcow2(folder: pathlib.Path, *options: str, snapshot: bool = False) -> pathlib.Path:
    path = folder / "a.qcow2"
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, raw(folder, "mkfs.ext4", "-q"), path)
    if snapshot:
        run("qemu-img", "snapshot", "-c", "before", path)
    return path


def test_owners_may_be_numbers_and_must_be_known(tmp_path: pathlib.Path) -> None:
    path = raw(tmp_path)
    uid, gid = os.stat(path).st_uid, os.stat(path).st_gid
    assert not planned(path, owner=str(uid), group=str(gid))
    assert planned(path, owner=str(uid + 1))
    with pytest.raises(KvmError, match="There is no group nobody-has-it on this host"):
        made_so(path, group="nobody-has-it", size="32MiB")
    assert path.stat().st_size == 16 * MIB


def test_a_qcow2_of_version_2_with_snapshots_keeps_its_size(tmp_path: pathlib.Path) -> None:
    path = qcow2(tmp_path, "-o", "compat=0.10", snapshot=True)
    before = path.read_bytes()
    with pytest.raises(KvmError, match="cannot get another size"):
        planned(path, size="32MiB")
    assert path.read_bytes() == before


def test_a_log_that_qemu_does_not_commit_is_dropped(tmp_path: pathlib.Path) -> None:
    path = qcow2(tmp_path, "-o", "compat=0.10", snapshot=True)
    before = path.read_bytes()
    with (
        Workspace(str(path), recover=inplace.finish) as space,
        pytest.raises(KvmError, match="qemu-img failed") as refused,
    ):
        inplace.Editing(space, "qcow2", 32 * MIB, 60).commit("{}")
    assert not isinstance(refused.value, Busy)
    assert path.read_bytes() == before
    assert not os.path.lexists(half_done(str(path)))
    assert not observe.observe(spec.parse({"path": str(path)})).interrupted


def committed_in_part(path: pathlib.Path, content: bytes) -> None:
    """As on a disk that is full: qemu gets so far and no further."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Workspace(str(path), keep_failed=True) as space:
        editing = inplace.Editing(space, "raw", 16 * MIB, 60)
        (path.parent / "new").write_bytes(content)
        run("qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2", path.parent / "new", space.file("edit.qcow2"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (4 * MIB, limits[1]))
        try:
            editing.commit('{"record": 1}')
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_change_that_is_in_the_image_in_part_is_finished_by_the_next_run(tmp_path: pathlib.Path) -> None:
    path, content = raw(tmp_path), os.urandom(8 * MIB)
    with pytest.raises(KvmError, match="in part only"):
        committed_in_part(path, content)
    assert path.read_bytes()[: 8 * MIB] != content
    assert os.path.lexists(half_done(str(path)))
    with Workspace(str(path), recover=inplace.finish):
        assert path.read_bytes() == content + bytes(8 * MIB)
    assert pathlib.Path(f"{path}.kvm_image.json").read_text() == '{"record": 1}'
    assert not os.path.lexists(half_done(str(path)))


@pytest.mark.parametrize("options", [{"format": "raw"}, {"sparsify": True}, {"format": "qcow2", "compress": "yes"}])
def test_snapshots_in_an_image_are_never_lost(tmp_path: pathlib.Path, options: dict[str, t.Any]) -> None:
    path = qcow2(tmp_path, snapshot=True)
    with pytest.raises(KvmError, match="snapshots would be lost"):
        planned(path, **options)


@pytest.mark.parametrize("kind", ["vmdk", "vdi", "vpc", "vhdx"])
def test_only_raw_and_qcow2_are_changed(tmp_path: pathlib.Path, kind: str) -> None:
    path = tmp_path / "b.img"
    run("qemu-img", "convert", "-f", "raw", "-O", kind, raw(tmp_path, "mkfs.ext4", "-q"), path)
    with pytest.raises(KvmError, match="it is an image in the format"):
        planned(path, size="64MiB")


def hostname(path: pathlib.Path) -> str:
    return run("debugfs", "-R", "cat /etc/hostname", path)


def guest(folder: pathlib.Path, name: str = "a.img") -> pathlib.Path:
    tree = folder / "tree"
    (tree / "etc").mkdir(parents=True, exist_ok=True)
    (tree / "etc" / "hostname").write_text("old\n")
    (tree / "etc" / "os-release").write_text("ID=debian\n")
    return raw(folder, "mkfs.ext4", "-q", "-d", str(tree), name=name)


def test_a_stated_type_of_file_system_is_the_one_there(tmp_path: pathlib.Path) -> None:
    path = guest(tmp_path)
    assert not planned(path, filesystem={"type": "ext4"})
    with pytest.raises(KvmError, match="xfs"):
        planned(path, filesystem={"type": "xfs"})


@pytest.mark.parametrize(
    ("features", "size", "says"),
    [("^64bit", "16TiB", "lacks the feature 64bit"), ("^64bit", "1TiB", None), ("bigalloc", "32MiB", "bigalloc")],
)
def test_what_resize2fs_cannot_do_is_told_before(
    tmp_path: pathlib.Path, features: str, size: str, says: str | None
) -> None:
    path = raw(tmp_path, "mkfs.ext4", "-q", "-b", "4096", "-O", features)
    if says is None:
        assert planned(path, size=size)
        return
    with pytest.raises(KvmError, match=says):
        planned(path, size=size)


def test_quotas_are_counted_anew(tmp_path: pathlib.Path) -> None:
    path = guest(tmp_path)
    run("tune2fs", "-Q", "usrquota,grpquota", path)
    run("e2fsck", "-fp", path)
    files = [{"path": "/srv/a", "content": "x" * 70000, "owner": 1000}]
    made_so(path, customize={"hostname": "new", "files": files})
    assert hostname(path) == "new\n"
    run("e2fsck", "-fn", path)


def test_another_image_in_its_place_is_looked_at_anew(tmp_path: pathlib.Path) -> None:
    path = guest(tmp_path)
    wanted = {"customize": {"hostname": "new"}}
    made_so(path, **wanted)
    run("debugfs", "-w", "-R", "rm /etc/hostname", path)
    assert not planned(path, **wanted)  # the guest's own doing
    os.rename(guest(tmp_path, "b.img"), path)
    assert made_so(path, **wanted)
    assert hostname(path) == "new\n"
    assert not planned(path, **wanted)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_without_fuse_it_is_written_anew(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not inplace.possible() or os.path.exists("/dev/fuse")
    for device in ("/dev/null", str(tmp_path / "none")):
        monkeypatch.setattr(inplace, "_FUSE", device)
        assert not inplace.possible()
    path = guest(tmp_path)
    made_so(path, customize={"hostname": "new"}, size="24MiB")
    assert hostname(path) == "new\n"
    run("e2fsck", "-fn", path)


@pytest.mark.parametrize(
    "body",
    [
        {"declared": {"customize.files": "x"}},
        {"declared": {"customize.files": [{"path": 7}]}},
        {"declared": {"customize.hosts": [{}]}},
        {"declared": {"format": "vmdk"}},
        {"declared": {}, "switch": 5},
        {"declared": {}, "switch": {"inode": 1, "declared": {"customize.files": [1]}}},
        {"declared": {}, "inodes": 5},
        {"declared": {}, "base": []},
        {"declared": {}, "id": None},
    ],
)
def test_a_damaged_record_is_none(body: dict[str, t.Any]) -> None:
    assert manifest.load(json.dumps({"kvm_image": 1, "id": "a", "declared": {}})) is not None
    assert manifest.load(json.dumps({"kvm_image": 1, "id": "a", **body})) is None


def test_a_record_that_no_parser_takes_is_none() -> None:
    assert manifest.load("[" * 100000) is None


@pytest.mark.parametrize("placed", [True, False])
def test_a_record_does_not_speak_of_two_files_for_ever(tmp_path: pathlib.Path, placed: bool) -> None:
    path = raw(tmp_path)
    record = pathlib.Path(f"{path}.kvm_image.json")
    inode = path.stat().st_ino if placed else 1
    # As a run leaves it that was killed after the new image had taken the place of the old one, or just before.
    body = {"kvm_image": 1, "id": "x", "declared": {"format": "raw"}, "complete": True, "adopted": True}
    record.write_text(json.dumps({**body, "switch": {"inode": inode, "declared": {"format": "qcow2"}}}))
    os.mkdir(work_folder(str(path)))
    apply.tidy(str(path))
    found = json.loads(record.read_text())
    assert found["switch"] is None
    assert found["declared"] == {"format": "raw" if placed else "qcow2"}
    assert sorted(os.listdir(tmp_path)) == [path.name, record.name]
