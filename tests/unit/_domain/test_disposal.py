# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: which files go with a disk, which have to stay, and what a removal that was killed has left."""

from __future__ import annotations

import json
import os
import pathlib
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import disposal, files, removals
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.snapshots import Snapshot, SnapshotDisk
from ansible_collections.hypervisor.kvm.tests.unit._domain.test_files import qcow2, raw, with_data_outside


def domain(source: str, more: str = "") -> str:
    disk = f"<disk type='file' device='disk'><source file='{source}'>{more}</source><target dev='vda'/></disk>"
    return f"<domain><devices>{disk}</devices></domain>"


def why_not(path: str, others: dict[str, list[str]], going: t.Sequence[str] = ()) -> str | None:
    return disposal.why_kept([path], [path, *going], disposal.used(None, others))


def test_a_file_that_nobody_needs_may_go(tmp_path: pathlib.Path) -> None:
    path, other = raw(tmp_path / "a"), raw(tmp_path / "b")
    assert why_not(path, {"db": [domain(other)]}) is None
    assert why_not(str(tmp_path / "gone"), {}) is None


def test_a_file_in_use_stays_also_by_another_name(tmp_path: pathlib.Path) -> None:
    path = raw(tmp_path / "a")
    (tmp_path / "link").symlink_to("a")
    os.link(tmp_path / "a", tmp_path / "hard")
    for name in ("a", "link", "hard"):
        assert "used by domain db" in str(why_not(path, {"db": [domain(str(tmp_path / name))]}))
    overlay = qcow2(tmp_path / "sub", str(tmp_path / "link"))
    assert "used by domain db" in str(why_not(path, {"db": [domain(overlay)]}))


def test_the_data_file_of_another_image_stays(tmp_path: pathlib.Path) -> None:
    path = raw(tmp_path / "a")
    (tmp_path / "far").mkdir()
    image = with_data_outside(tmp_path / "far" / "image", path)
    overlay = qcow2(tmp_path / "far" / "top", image)
    for source in (image, overlay):
        assert f"used by domain db, itself or through {source}" in str(why_not(path, {"db": [domain(source)]}))
    beside = with_data_outside(tmp_path / "beside", "a")
    assert f"is the data file of {beside}" in str(why_not(path, {}))
    assert why_not(path, {}, [beside]) is None


@pytest.mark.parametrize(
    "name", ["file:{}", 'json:{{"driver": "raw", "file": {{"driver": "file", "filename": "{}"}}}}']
)
def test_a_backing_file_in_another_notation_is_one(tmp_path: pathlib.Path, name: str) -> None:
    path = raw(tmp_path / "a")
    overlay = qcow2(tmp_path / "far", name.format(path))
    assert files.chain(overlay) == [overlay, path]
    assert "used by domain db" in str(why_not(path, {"db": [domain(overlay)]}))


@pytest.mark.parametrize("name", ["json:{", "json:[]", 'json:{"driver": "nbd"}', "nbd://host/x"])
def test_a_name_that_is_no_file_is_none(tmp_path: pathlib.Path, name: str) -> None:
    overlay = qcow2(tmp_path / "far", name)
    assert not os.path.exists(files.chain(overlay)[1])


def test_every_way_in_which_a_domain_names_a_file_counts(tmp_path: pathlib.Path) -> None:
    path = raw(tmp_path / "a")
    for document in (
        domain("/other", f"<x/></source><backingStore type='file'><source file='{path}'/></backingStore><source>"),
        f"<domain><devices><disk><mirror><source file='{path}'/></mirror></disk></devices></domain>",
        f"<domain><os><kernel>{path}</kernel></os></domain>",
        f"<domain><os><nvram>{path}</nvram></os></domain>",
        f"<domain><devices><filesystem><source file='{path}'/></filesystem></devices></domain>",
    ):
        assert "used by domain db" in str(why_not(path, {"db": [document]}))


def test_a_volume_of_a_pool_is_a_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = raw(tmp_path / "a")
    monkeypatch.setattr(
        disposal.domains, "volume_path", lambda _c, pool, volume: str(tmp_path / volume) if pool else ""
    )
    text = "<domain><devices><disk type='volume'><source pool='p' volume='{}'/></disk></devices></domain>"
    assert "used by domain db" in str(why_not(path, {"db": [text.format("a")]}))
    assert why_not(path, {"db": [text.format("b")]}) is None


def test_a_backing_file_stays_unless_all_that_is_on_it_goes_too(tmp_path: pathlib.Path) -> None:
    path = raw(tmp_path / "a")
    overlay = qcow2(tmp_path / "overlay", "a")
    assert why_not(path, {}) == f"({path}) is the backing file of {overlay}"
    assert why_not(path, {}, [overlay]) is None
    assert why_not(overlay, {}) is None
    far = tmp_path / "far"
    far.mkdir()
    base = raw(tmp_path / "base")
    qcow2(far / "overlay", base)
    assert "backing file" in str(why_not(base, {"db": [domain(raw(far / "other"))]}))


def test_the_other_disks_of_the_domain_stay(tmp_path: pathlib.Path) -> None:
    path = raw(tmp_path / "a")
    (tmp_path / "far").mkdir()
    document = domain(qcow2(tmp_path / "far" / "top", path))
    used = disposal.kept_by_itself("web", document, ["vdb"])
    assert "used by domain web for another disk" in str(disposal.why_kept([path], [path], used))
    assert disposal.kept_by_itself("web", document, ["vda"]) == {"web for another disk": set()}


def test_media_devices_and_files_of_other_machines_stay(tmp_path: pathlib.Path) -> None:
    disk = {"target": "vda", "device": "disk", "type": "file", "source": "/a"}
    assert disposal.why_not(disk, True) is None
    assert "never removed" in str(disposal.why_not({**disk, "device": "cdrom"}, True))
    assert "only files" in str(disposal.why_not({**disk, "type": "block"}, True))
    assert "another machine" in str(disposal.why_not(disk, False))
    assert "no regular file" in str(why_not(str(tmp_path), {}))


def snapshot(name: str, path: str | None, content: str, *reverted: str, kind: str = "external") -> Snapshot:
    disks = (SnapshotDisk("vda", kind, content, path, "qcow2", reverted), SnapshotDisk("vdb", kind, "/b", "/b.s"))
    return Snapshot(name, None, False, 0, "shutoff", kind, "none", None, None, disks)


def test_a_disk_is_all_that_its_snapshots_have_made_of_it() -> None:
    disk = {"source": "/s2"}
    taken = [snapshot("1", "/s1", "/base"), snapshot("2", "/s2", "/s1", "/s1.r")]
    assert disposal.files_of("vda", disk, taken) == ("/s2", "/s1.r", "/s1", "/base")
    assert disposal.files_of("vda", disk, [snapshot("1", None, "/base", kind="internal")]) == ("/s2",)
    assert disposal.files_of("vdc", disk, taken) == ("/s2",)


def test_a_link_goes_with_what_it_leads_to(tmp_path: pathlib.Path) -> None:
    path = raw(tmp_path / "a")
    (tmp_path / "link").symlink_to("a")
    link = str(tmp_path / "link")
    assert disposal.files_of("vda", {"source": link}, []) == (path, link)


def test_what_a_killed_removal_has_left_is_known(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removals, "_FOLDER", str(tmp_path / "removals"))
    monkeypatch.setattr(removals.os, "geteuid", lambda: 0)
    one, two, three = (raw(tmp_path / name) for name in ("a", "b", "c"))
    assert removals.left("web", "u", ["vda"]) == {}
    removals.forget("web", lambda: "u")
    removals.note("web", "u", {"vda": (one,), "vdb": (two, three)})
    assert removals.left("web", "u", ["vda", "vdb"]) == {"vda": (one,), "vdb": (two, three)}
    assert removals.left("web", "u", ["vda"]) == {"vda": (one,)}
    assert (removals.left("db", "u", ["vda"]), removals.left("web", "v", ["vda"])) == ({}, {})
    os.unlink(one)
    # Written since, or another file in its place.
    os.utime(two, ns=(0, 0))
    raw(tmp_path / "new")
    os.replace(tmp_path / "new", three)
    assert removals.left("web", "u", ["vda", "vdb"]) == {}
    removals.forget("web", lambda: "u")
    assert list((tmp_path / "removals").iterdir()) == []


def test_a_broken_record_is_none(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removals, "_place", lambda *_names: str(tmp_path / "record"))
    for content in ("{", json.dumps([1])[:-1]):
        (tmp_path / "record").write_text(content)
        assert removals.left("web", "u", ["vda"]) == {}
