# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The glue to Ansible, through a real AnsibleModule in this process."""

from __future__ import annotations

import contextlib
import copy
import gc
import io
import json
import pathlib
import typing as t

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hypervisor.kvm.plugins.module_utils import _module
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibraryMissing, NotFound
from ansible_collections.hypervisor.kvm.tests.unit.boxes import COMMON, OPTIONS, Box, BoxFloor, BoxWork
from hypothesis import given
from hypothesis import strategies as st

Result = dict[str, t.Any]


class Runner:
    """Runs the module of boxes and gives what it printed for Ansible."""

    def __init__(self, store: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.store = store
        self.kind: type[BoxFloor] = BoxFloor
        self.floor = BoxFloor()
        self._capsys = capsys

    def __call__(self, *, check: bool = False, diff: bool = True, rc: int = 0, **params: t.Any) -> Result:
        self.floor = self.kind()
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


def test_what_was_not_changed_is_looked_at_once(run: Runner) -> None:
    run(name="old", size=1)
    assert run.floor.looks == 1
    run(name="old", size=2)
    assert run.floor.looks == 2


class KnowingFloor(BoxFloor):
    """Knows the boxes that have the size that they are to have, without any other step."""

    remembers = True

    def recognise(self, session: pathlib.Path, entries: t.Sequence[dict[str, t.Any]]) -> list[BoxWork]:
        boxes = json.loads(session.read_text())
        return [
            BoxWork(entry["name"], Box(entry["name"], entry["size"]), facts={"box": "known"})
            for entry in entries
            if boxes.get(entry["name"], {}).get("size") == entry["size"]
        ]


def test_a_list_that_is_known_is_left_at_once(run: Runner) -> None:
    run.kind = KnowingFloor
    result = run(boxes=[{"name": "old"}], size=1)
    assert (run.floor.looks, run.floor.sessions, result["changed"]) == (0, 1, False)
    assert result["results"] == [
        {"name": "old", "box": "known", "changed": False, "changes": [], "restart_required": [], "diff": []}
    ]
    result = run(boxes=[{"name": "new"}, {"name": "old"}, {"name": "other"}], size=1)
    assert (run.floor.sessions, result["changed"]) == (1, True)
    # Two looks at each of the others.
    assert run.floor.looks == 4
    assert [(entry["name"], entry["box"]) for entry in result["results"]] == [
        ("new", {"size": 1}),
        ("old", "known"),
        ("other", {"size": 1}),
    ]
    assert run(boxes=[{"name": "old"}, {"name": "new", "size": 100}], size=1, rc=1)["msg"].startswith(
        "The boxes do not"
    )
    for wrong in ([{"name": "old"}, {"name": "old"}], [{"name": "old"}, 7], [{"size": 1}], [{"name": "old", "no": 1}]):
        run(boxes=wrong, size=2, rc=1)


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


def test_what_is_set_for_large_lists_is_as_before_afterwards(run: Runner) -> None:
    before = gc.get_threshold()
    run(boxes=[{"name": "new"}], size=5)
    run(boxes=[{"name": "stuck"}], size=1, rc=1)
    assert gc.get_threshold() == before


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


NESTED: dict[str, t.Any] = {
    "name": {"type": "str"},
    "size": {"type": "int"},
    "kind": {"type": "str", "choices": ["a", "b"]},
    "lid": {"type": "dict", "options": {"open": {"type": "bool"}, "code": {"type": "str", "no_log": True}}},
    "items": {
        "type": "list",
        "elements": "dict",
        "options": {"what": {"type": "str", "required": True}, "weight": {"type": "float"}, "path": {"type": "path"}},
    },
    "tags": {"type": "list", "elements": "str", "choices": ["x", "y"]},
}
_SCALAR: st.SearchStrategy[t.Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.sampled_from(["", "a", "b", "x", "yes", "7", "1.5", "~/z", "s3cret"]),
)
_NAMES = ("name", "size", "kind", "lid", "items", "tags", "open", "code", "what", "weight", "path", "other")
_INNER = st.dictionaries(st.sampled_from(_NAMES), _SCALAR, max_size=4)
_ENTRY = st.dictionaries(
    st.sampled_from(_NAMES), st.one_of(_SCALAR, _INNER, st.lists(st.one_of(_SCALAR, _INNER), max_size=3)), max_size=5
)


def _ended(work: t.Callable[[], t.Any]) -> tuple[t.Any, str]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            return work(), ""
        except SystemExit:
            return None, str(json.loads(said.getvalue())["msg"])
        except TypeError as exc:
            return None, f"crashed: {exc}"


@given(st.lists(_ENTRY, max_size=3))
def test_entries_are_validated_as_ansible_does(entries: list[dict[str, t.Any]]) -> None:
    whole = {"boxes": {"type": "list", "elements": "dict", "options": NESTED}}

    def theirs() -> t.Any:
        return AnsibleModule(argument_spec=whole)

    def ours() -> t.Any:
        module = _module._Module(argument_spec={"boxes": {"type": "list", "elements": "dict"}})
        _module._validate(module, "boxes", NESTED)
        return module

    found = []
    for make in (theirs, ours):
        with patch_module_args({"boxes": copy.deepcopy(entries)}):
            module, message = _ended(make)
        found.append((module and module.params["boxes"], module and module.no_log_values, message))
    if found[0][2].startswith("crashed: "):
        assert "where a dictionary is expected" in found[1][2]
    else:
        assert found[0] == found[1]


def test_what_entries_have_in_common_is_converted_in_each() -> None:
    entries = [{"name": name, "size": "7", "lid": {"open": "yes"}, "items": [{"what": 1}]} for name in ("a", "b", "c")]
    entries[2]["size"] = 7
    with patch_module_args({"boxes": entries}):
        module = _module._Module(argument_spec={"boxes": {"type": "list", "elements": "dict"}})
        _module._validate(module, "boxes", NESTED)
    for name, entry in zip("abc", module.params["boxes"]):
        assert (entry["name"], entry["size"], entry["lid"]) == (name, 7, {"open": True, "code": None})
        assert entry["items"] == [{"what": "1", "weight": None, "path": None}]


def test_what_is_secret_is_neither_logged_nor_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(
        AnsibleModule, "log", lambda _self, message, log_args=None: logged.append(f"{message} {log_args}")
    )
    with patch_module_args({"boxes": [{"name": "n1", "lid": {"code": "s3cret"}}], "name": "visible"}):
        module = _module._Module(argument_spec={"name": {"type": "str"}, "boxes": {"type": "list", "elements": "dict"}})
        _module._validate(module, "boxes", NESTED)
        said = io.StringIO()
        with contextlib.redirect_stdout(said), pytest.raises(SystemExit):
            module.exit_json(told="it is s3cret")
        secret = io.StringIO()
        with contextlib.redirect_stdout(secret), pytest.raises(SystemExit):
            module.exit_json(results=[{"told": "it is s3cret"}])
    assert "s3cret" not in secret.getvalue()
    assert "visible" in "".join(logged)
    assert "s3cret" not in "".join(logged)
    assert "s3cret" not in said.getvalue()


def test_what_is_secret_is_not_returned_when_ansible_cannot_look_for_it() -> None:
    entries = [{"name": "n1", "lid": {"code": "s3cret"}}, {"name": "n2", "lid": 5}]
    with patch_module_args({"boxes": entries}):
        module = _module._Module(argument_spec={"boxes": {"type": "list", "elements": "dict"}})
        said = io.StringIO()
        with contextlib.redirect_stdout(said), pytest.raises(SystemExit):
            _module._validate(module, "boxes", NESTED)
    assert "where a dictionary is expected" in said.getvalue()
    assert "s3cret" not in said.getvalue()


def test_the_results_of_objects_are_as_ansible_would_return_them(run: Runner) -> None:
    boxes = [{"name": "old", "size": 2}, {"name": "\u00e9 new", "size": 3}]
    result = run(boxes=boxes, _ansible_verbosity=2)
    assert result["invocation"]["module_args"]["boxes"] == "left out; -vvv tells it"
    assert result["invocation"]["module_args"]["size"] is None
    assert [entry["name"] for entry in result["results"]] == [box["name"] for box in boxes]
    assert result["changed"] is True
    for key in ("changes", "restart_required", "diff"):
        assert result[key] == [item for entry in result["results"] for item in entry[key]]
        assert result[key]
    assert run(boxes=boxes, _ansible_verbosity=3)["invocation"]["module_args"]["boxes"] == boxes
    assert "much" in run(boxes=boxes, size="much", rc=1)["msg"]
    assert run(boxes=[{"name": "stuck", "size": 1}, {"name": "new"}], rc=1)["results"][0]["failed"] is True
