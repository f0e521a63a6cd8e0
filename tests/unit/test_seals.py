# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Seals: the files are whole and private, and anything else in their place is none."""

from __future__ import annotations

import os
import pathlib
import stat

import pytest
import yaml
from ansible_collections.hypervisor.kvm.plugins.module_utils import _seals


def test_what_is_written_is_read_and_nothing_else_is_left(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "seals"
    assert _seals.read(str(path)) is None
    for content in ({"a": [1, None]}, {}):
        _seals.write(str(path), content)
        assert _seals.read(str(path)) == content
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["seals"]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: pathlib.Path) -> None:
    (tmp_path / "seals").mkdir()
    with pytest.raises(OSError, match="directory"):
        _seals.write(str(tmp_path / "seals"), {})
    assert os.listdir(tmp_path) == ["seals"]


def test_a_file_of_somebody_else_is_none(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _seals.write(str(tmp_path / "seals"), {})
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert _seals.read(str(tmp_path / "seals")) is None


def test_the_version_is_that_of_the_collection() -> None:
    galaxy = pathlib.Path(__file__).resolve().parents[2] / "galaxy.yml"
    assert yaml.safe_load(galaxy.read_text(encoding="utf-8"))["version"] == _seals.VERSION
