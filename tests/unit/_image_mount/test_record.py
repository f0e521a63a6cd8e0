# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mounts of images: the record of a mount."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import stat
import threading
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount import record
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.record import Record
from hypothesis import given
from hypothesis import strategies as st

ONE = Record(
    path="/i/a.img",
    mountpoint="/mnt/a",
    backend="loop",
    format="raw",
    partition="root",
    number=1,
    offset=1048576,
    size=4096,
    filesystem="ext4",
    read_only=False,
    trust="trusted",
    made_folders=("/mnt", "/mnt/a"),
)


@pytest.fixture(name="folder")
def _folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(record, "FOLDER", str(tmp_path / "mounts"))
    return tmp_path / "mounts"


def test_what_is_written_is_read(folder: pathlib.Path) -> None:
    with record.locked("/mnt/a", 1):
        record.write(ONE)
        record.write(dataclasses.replace(ONE, complete=True))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert record.read("/mnt/a") == dataclasses.replace(ONE, complete=True)
    assert record.read("/mnt/b") is None
    # A record under another's name is not that one's.
    os.link(ONE.work + ".json", record.work_folder("/mnt/b") + ".json")
    assert record.read("/mnt/b") is None
    os.unlink(record.work_folder("/mnt/b") + ".json")
    os.mkdir(ONE.work)
    pathlib.Path(ONE.export).touch()
    record.remove(ONE)
    assert list(folder.iterdir()) == []
    record.remove(ONE)


def test_there_is_none_before_the_first(folder: pathlib.Path) -> None:
    assert record.read("/mnt/a") is None
    assert not folder.exists()


@given(st.text() | st.sampled_from(["[]", "{}", '{"kvm_image_mount": 1}', '{"kvm_image_mount": 1, "x": 2}', "1"]))
def test_what_is_no_record_is_none(text: str) -> None:
    assert record.load(text) is None


def test_a_later_version_is_none() -> None:
    assert record.load(record.dump(ONE)) == ONE
    assert record.load(record.dump(ONE).replace('"kvm_image_mount": 1', '"kvm_image_mount": 2')) is None


@pytest.mark.usefixtures("folder")
def test_one_waits_for_the_other() -> None:
    seen: list[str] = []
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with record.locked("/mnt/a", 5):
            inside.set()
            leave.wait(10)
            seen.append("first")

    def second() -> None:
        with record.locked("/mnt/b", 10):
            seen.append("second")

    threads: list[t.Any] = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    inside.wait(10)
    with pytest.raises(Busy, match="another run"), record.locked("/mnt/c", 0.1):
        pass
    threads[1].start()
    leave.set()
    for thread in threads:
        thread.join()
    assert seen == ["first", "second"]
