# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Actions on domains: a file takes its place complete, and never that of another."""

from __future__ import annotations

import os
import pathlib
import stat

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain_action import place
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain_action.observe import Place, look
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError


def put(path: pathlib.Path, overwrite: bool = False, text: str = "new") -> None:
    with place.made("web", str(path), overwrite) as part:
        pathlib.Path(part).write_text(text)


def test_a_new_file_is_for_its_owner(tmp_path: pathlib.Path) -> None:
    put(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["a"]


def test_nobody_sees_it_before_it_is_complete(tmp_path: pathlib.Path) -> None:
    with place.made("web", str(tmp_path / "a"), False) as part:
        pathlib.Path(part).write_text("half")
        assert not (tmp_path / "a").exists()
        assert stat.S_IMODE(pathlib.Path(part).parent.stat().st_mode) == 0o700


def test_a_file_is_replaced_only_when_that_is_allowed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(Busy, match="exists by now"):
        put(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "old"
    put(tmp_path / "a", overwrite=True)
    assert (tmp_path / "a").read_text() == "new"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_links_are_neither_followed_nor_replaced(tmp_path: pathlib.Path, overwrite: bool) -> None:
    (tmp_path / "victim").write_text("old")
    for name, target in (("link", "victim"), ("dangling", "nothing")):
        (tmp_path / name).symlink_to(tmp_path / target)
        with pytest.raises(Busy):
            put(tmp_path / name, overwrite)
        assert (tmp_path / name).is_symlink()
    assert (tmp_path / "victim").read_text() == "old"
    assert not (tmp_path / "nothing").exists()


def test_a_failure_leaves_nothing(tmp_path: pathlib.Path) -> None:
    def fails() -> None:
        with place.made("web", str(tmp_path / "a"), False) as part:
            pathlib.Path(part).write_text("half")
            raise KvmError("no picture")

    with pytest.raises(KvmError, match="no picture"):
        fails()
    with (
        pytest.raises(KvmError, match=r"cannot write .*/a: No such file"),
        place.made("web", str(tmp_path / "a"), False),
    ):
        pass
    assert os.listdir(tmp_path) == []
    with pytest.raises(KvmError, match="cannot write beside"):
        put(tmp_path / "no" / "a")


def test_what_is_at_a_path(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert look(str(tmp_path / "file")).holds == "file"
    assert look(str(tmp_path / "link")).holds == "other"
    assert look(str(tmp_path)).holds == "other"
    free = look(str(tmp_path / "nothing"))
    assert (free.folder, free.holds) == (True, None)
    assert free.free > 0
    assert look(str(tmp_path / "no" / "a")) == Place(folder=False)
