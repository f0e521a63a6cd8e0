# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The glue to Ansible, through a real AnsibleModule in this process."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hypervisor.kvm.plugins.module_utils import _module
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibraryMissing, NotFound
from ansible_collections.hypervisor.kvm.tests.unit.boxes import COMMON, OPTIONS, BoxFloor

Result = dict[str, t.Any]


class Runner:
    """Runs the module of boxes and gives what it printed for Ansible."""

    def __init__(self, store: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.store = store
        self.floor = BoxFloor()
        self._capsys = capsys

    def __call__(self, *, check: bool = False, diff: bool = True, rc: int = 0, **params: t.Any) -> Result:
        self.floor = BoxFloor()
        args = {"store": str(self.store), "_ansible_check_mode": check, "_ansible_diff": diff, **params}
        with patch_module_args(args), pytest.raises(SystemExit) as ended:
            _module.run(self.floor, OPTIONS, COMMON)
        assert ended.value.code == rc
        result: Result = json.loads(self._capsys.readouterr().out)
        assert bool(result.get("failed")) is bool(rc)
        return result


@pytest.fixture
def run(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> Runner:
    store = tmp_path / "boxes"
    store.write_text(json.dumps({"old": {"size": 1}}))
    return Runner(store, capsys)


KEYS = ("changed", "changes", "restart_required", "diff")


def test_check_and_real_run_return_the_same_then_nothing(run: Runner) -> None:
    checked = run(check=True, name="old", size=2)
    assert json.loads(run.store.read_text()) == {"old": {"size": 1}}
    real = run(name="old", size=2)
    assert {key: checked[key] for key in KEYS} == {key: real[key] for key in KEYS}
    assert real["changed"] is True
    assert real["changes"] == [{"object": "old", "field": "size", "before": 1, "after": 2, "effect": "next_boot"}]
    assert real["restart_required"] == [{"object": "old", "fields": ["size"]}]
    assert real["box"] == {"size": 2}
    assert checked["box"] == {"size": 1}
    for check in (False, True):
        again = run(check=check, name="old", size=2)
        assert (again["changed"], again["changes"], again["diff"]) == (False, [], [])


def test_no_diff_when_nobody_asks(run: Runner) -> None:
    assert "diff" not in run(diff=False, name="old", size=2)


def test_a_list_has_results_in_its_order_and_one_session(run: Runner) -> None:
    result = run(boxes=[{"name": "new"}, {"name": "old", "size": 1}, {"name": "other", "size": 7}], size=5)
    assert [(entry["name"], entry["changed"]) for entry in result["results"]] == [
        ("new", True),
        ("old", False),
        ("other", True),
    ]
    assert result["changed"] is True
    assert [change["after"] for change in result["changes"] if change["field"] == "size"] == [5, 7]
    assert run.floor.sessions == 1
    assert "box" not in result


def test_an_empty_list_is_nothing_to_do(run: Runner) -> None:
    result = run(boxes=[])
    assert (result["changed"], result["results"]) == (False, [])


@pytest.mark.parametrize("params", [{}, {"name": "a", "boxes": []}])
def test_a_name_or_a_list(run: Runner, params: dict[str, t.Any]) -> None:
    assert run(rc=1, **params)["msg"]


def test_an_error_of_one_of_many_names_it_and_the_others_are_done(run: Runner) -> None:
    result = run(rc=1, boxes=[{"name": "stuck", "size": 1}, {"name": "new", "size": 2}, {"name": "locked"}])
    assert result["msg"].startswith("2 of 3 failed. ")
    assert "stuck: Cannot change box stuck" in result["msg"]
    assert [entry.get("failed", False) for entry in result["results"]] == [True, False, True]
    assert result["results"][2]["libvirt_code"] == 38
    assert result["changed"] is True
    assert json.loads(run.store.read_text())["new"] == {"size": 2}


def test_an_error_of_the_only_one_has_its_details(run: Runner) -> None:
    result = run(rc=1, name="locked")
    assert result["msg"] == "Cannot read box locked: no key."
    assert result["libvirt_code"] == 38


def test_bad_input_fails_before_anything_is_opened(run: Runner) -> None:
    result = run(rc=1, boxes=[{"name": "new", "size": 1}, {"name": "bad", "size": -1}])
    assert result["msg"] == "box bad: a size of -1 is impossible."
    assert run.floor.sessions == 0
    assert json.loads(run.store.read_text()) == {"old": {"size": 1}}


def _info(read: t.Callable[[dict[str, t.Any], bool], Result], capsys: pytest.CaptureFixture[str]) -> Result:
    with patch_module_args({"name": "a"}), pytest.raises(SystemExit):
        _module.run_info({"name": {"type": "str"}}, read)
    result: Result = json.loads(capsys.readouterr().out)
    return result


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    result = _info(lambda params, check_mode: {"seen": params["name"], "check_mode": check_mode}, capsys)
    assert (result["changed"], result["seen"], result["check_mode"]) == (False, "a", False)


def test_info_errors(capsys: pytest.CaptureFixture[str]) -> None:
    def missing(_params: dict[str, t.Any], _check_mode: bool) -> Result:
        raise NotFound("There is no box a.", where="here")

    result = _info(missing, capsys)
    assert (result["failed"], result["msg"], result["where"]) == (True, "There is no box a.", "here")


def test_a_missing_library_says_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    def missing(_params: dict[str, t.Any], _check_mode: bool) -> Result:
        raise LibraryMissing("libvirt", "python3-libvirt", "Traceback of the import")

    result = _info(missing, capsys)
    assert "install the package python3-libvirt" in result["msg"]
