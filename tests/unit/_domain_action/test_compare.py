# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Actions on domains: always a change, and what stands in the way."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain_action.compare import compare
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain_action.observe import ActionState, Place
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain_action.spec import ACTIONS, parse
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError

GIB = 1024 * 1024 * 1024
MORE: dict[str, dict[str, t.Any]] = {
    "screenshot": {"path": "/a/b"},
    "dump": {"path": "/a/b"},
    "send_key": {"keys": ["ctrl+c", "a"]},
}
TOLD = {"screenshot": "/a/b", "dump": "/a/b", "send_key": ["ctrl+c", "a"]}


def state(state: str = "running", **more: t.Any) -> ActionState:
    return ActionState("u", state, "x", GIB, **{"place": Place(True, None, 2 * GIB), **more})


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_is_a_change_in_every_run(action: str) -> None:
    changes = compare(parse({"name": "web", "action": action, **MORE.get(action, {})}), state())
    told = {"object": "web", "field": action, "before": None, "after": TOLD.get(action, True), "effect": "live"}
    assert changes.results() == [told]
    assert changes.plan.missing == []


@pytest.mark.parametrize(
    ("action", "now", "works"),
    [
        ("reboot", "paused", False),
        ("reboot", "stopped", False),
        ("reset", "paused", True),
        ("reset", "saved", False),
        ("screenshot", "crashed", True),
        ("screenshot", "stopped", False),
        ("send_key", "paused", False),
        ("dump", "crashed", True),
        ("dump", "suspended", False),
        ("inject_nmi", "stopped", False),
    ],
)
def test_the_state_has_to_fit(action: str, now: str, works: bool) -> None:
    missing = compare(parse({"name": "web", "action": action, **MORE.get(action, {})}), state(now)).plan.missing
    assert (missing == []) is works
    assert works or missing[0].startswith(f"it is {now}, and for {action} it has to be running")


def test_what_is_missing_is_listed() -> None:
    wanted = parse({"name": "web", "action": "screenshot", "path": "/a/b"})
    assert compare(wanted, state(screen=False)).plan.missing == ["it has no screen (videos)"]
    assert len(compare(wanted, state("stopped", screen=False)).plan.missing) == 1
    changes = compare(wanted, ActionState(place=Place(folder=False)))
    assert changes.plan.missing == ["there is no such domain", "the folder /a does not exist"]


@pytest.mark.parametrize(
    ("more", "seen", "says"),
    [
        ({}, {"place": Place(True, "file", 2 * GIB)}, "/a/b exists already"),
        ({"overwrite": True}, {"place": Place(True, "other", 2 * GIB)}, "is no regular file"),
        ({}, {"place": Place(True, "other", 2 * GIB)}, "is no regular file"),
        ({}, {"place": Place(True, None, GIB - 1)}, "takes up to 1024 MiB, and /a has 1023 MiB free"),
        ({}, {"local": False}, "another machine"),
    ],
)
def test_what_can_never_be(more: t.Any, seen: t.Any, says: str) -> None:
    with pytest.raises(KvmError, match=says):
        compare(parse({"name": "web", "action": "dump", "path": "/a/b", **more}), state(**seen))


def test_what_may_be() -> None:
    wanted = parse({"name": "web", "action": "dump", "path": "/a/b", "overwrite": True})
    assert compare(wanted, state(place=Place(True, "file", 2 * GIB))).plan.missing == []
    small = parse({"name": "web", "action": "dump", "path": "/a/b", "memory_only": True, "format": "kdump-zlib"})
    assert compare(small, state(place=Place(True, None, 1))).plan.missing == []
    picture = parse({"name": "web", "action": "screenshot", "path": "/a/b"})
    assert compare(picture, state(local=False, place=Place(True, None, 1))).plan.missing == []
