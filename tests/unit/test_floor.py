# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way of every state module, with boxes."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._floor import Work, converge, parse_all
from ansible_collections.hypervisor.kvm.tests.unit.boxes import BoxFloor


@pytest.fixture
def store(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "boxes"
    path.write_text(json.dumps({"old": {"size": 1}}))
    return path


def test_all_that_is_wrong_is_said_at_once() -> None:
    entries = [{"name": "a", "size": -1}, {"name": "b", "size": -2}, {"size": 1}, {"name": "c"}, {"name": "c"}]
    with pytest.raises(InvalidSpec) as error:
        parse_all(BoxFloor(), entries)
    for part in ("box a:", "box b:", "has no name (number 3)", "box c is in boxes twice"):
        assert part in error.value.message


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="do not fit"):
        parse_all(BoxFloor(), [{"name": "a", "size": 60}, {"name": "b", "size": 60}])


def test_check_mode_plans_the_same_and_writes_nothing(store: pathlib.Path) -> None:
    entries = [{"name": "old", "size": 2}, {"name": "new", "size": 3}, {"name": "gone", "state": "absent"}]
    before = store.read_text()
    checked = parse_all(BoxFloor(), entries)
    converge(BoxFloor(), store, checked, check_mode=True)
    assert store.read_text() == before
    real = parse_all(BoxFloor(), entries)
    converge(BoxFloor(), store, real, check_mode=False)
    assert [work.plan.results() for work in checked] == [work.plan.results() for work in real]
    assert [work.plan.diff() for work in checked] == [work.plan.diff() for work in real]
    assert json.loads(store.read_text()) == {"old": {"size": 2}, "new": {"size": 3}}
    assert [work.applied for work in real] == [True, True, False]
    assert not any(work.applied for work in checked)


def test_a_prediction_says_what_is_foreseen(store: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def foresee(_floor: BoxFloor, work: t.Any) -> None:
        raise KvmError(f"{work.name} cannot be")

    monkeypatch.setattr(BoxFloor, "foresee", foresee)
    for check_mode, told in ((True, "a cannot be"), (False, None)):
        works = parse_all(BoxFloor(), [{"name": "a", "size": 1}])
        converge(BoxFloor(), store, works, check_mode=check_mode)
        assert (works[0].error.message if works[0].error is not None else None) == told


def test_a_second_run_changes_nothing(store: pathlib.Path) -> None:
    for expected in (True, False):
        works = parse_all(BoxFloor(), [{"name": "new", "size": 3}])
        converge(BoxFloor(), store, works, check_mode=False)
        assert bool(works[0].plan) is expected
        assert works[0].facts == {"box": {"size": 3}, "finished": True}


def test_a_prediction_leaves_nothing_for_the_next_run(store: pathlib.Path) -> None:
    class Remembering(BoxFloor):
        remembers = True

        def remember(self, session: t.Any, works: t.Sequence[t.Any]) -> None:
            told.append([work.name for work in works])

    told: list[list[str]] = []
    entries = [{"name": "old", "size": 1}, {"name": "new", "size": 3}]
    for check_mode in (True, False):
        converge(Remembering(), store, parse_all(Remembering(), entries), check_mode)
    # The size of the other one waits for its next start.
    assert told == [["old"]]


def test_one_that_fails_does_not_stop_the_others(store: pathlib.Path) -> None:
    works = parse_all(BoxFloor(), [{"name": "locked"}, {"name": "stuck", "size": 1}, {"name": "new", "size": 3}])
    converge(BoxFloor(), store, works, check_mode=False)
    errors = [work.error.message if work.error else None for work in works]
    assert errors == ["Cannot read box locked: no key.", "Cannot change box stuck: it is stuck.", None]
    assert json.loads(store.read_text())["new"] == {"size": 3}
    assert works[0].changes is None
    assert "finished" not in works[1].facts


def test_steps_cannot_be_asked_for_too_early() -> None:
    work: Work[str, str] = Work("x", "spec")
    with pytest.raises(RuntimeError, match="not observed"):
        work.seen  # noqa: B018  # the property is asked for
    with pytest.raises(RuntimeError, match="not compared"):
        work.plan  # noqa: B018  # the property is asked for


def test_what_is_compared_in_parts_may_be_begun_with_before_the_others_are(store: pathlib.Path) -> None:
    seen: list[str] = []

    class Parted(BoxFloor):
        def parts(self, session: t.Any, works: t.Sequence[t.Any]) -> t.Iterator[t.Sequence[t.Any]]:
            for work in works:
                seen.append(f"part {work.name}")
                yield [work]

        def begin(self, session: t.Any, work: t.Any) -> None:
            seen.append(f"begin {work.name}")

    entries = [{"name": "a", "size": 1}, {"name": "old", "size": 1}, {"name": "b", "size": 1}]
    works = parse_all(Parted(), entries)
    converge(Parted(), store, works, check_mode=True)
    assert seen == ["part a", "part old", "part b"]
    seen.clear()
    works = parse_all(Parted(), entries)
    converge(Parted(), store, works, check_mode=False)
    assert seen == ["part a", "begin a", "part old", "part b", "begin b"]
    assert set(json.loads(store.read_text())) == {"old", "a", "b"}
