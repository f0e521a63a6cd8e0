# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Actions on domains: what is understood and what is refused."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain_action import keys, spec
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from hypothesis import given
from hypothesis import strategies as st


def parse(**options: t.Any) -> spec.ActionSpec:
    return spec.parse({"name": "web", **options})


def test_defaults() -> None:
    assert parse(action="reboot") == spec.ActionSpec("web", "reboot", "auto", 120, False)
    assert parse(action="screenshot", path="/a.png") == spec.ActionSpec("web", "screenshot", path="/a.png")
    assert parse(action="dump", path="/a", memory_only=None, live=False) == spec.ActionSpec("web", "dump", path="/a")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "a/b", "action": "reset"}, "no slashes"),
        ({}, "which action"),
        ({"action": "screenshot"}, "screenshot needs path"),
        ({"action": "dump", "path": ""}, "dump needs path"),
        ({"action": "send_key", "keys": []}, "send_key needs keys"),
        ({"action": "reset", "path": "/a"}, "path goes with the action screenshot or dump, not with reset"),
        ({"action": "screenshot", "path": "/a", "live": False}, "live goes with the action dump"),
        ({"action": "reset", "timeout": 5}, "timeout goes with the action reboot"),
        ({"action": "dump", "path": "a"}, "has to be absolute"),
        ({"action": "dump", "path": "/a/"}, "that of a folder"),
        ({"action": "dump", "path": "/a/.."}, "that of a folder"),
        ({"action": "reboot", "timeout": -1}, "timeout of -1 is impossible"),
        ({"action": "screenshot", "path": "/a", "screen": -1}, "screen of -1"),
        ({"action": "send_key", "keys": ["a"], "hold": 70000}, "hold of 70000"),
        ({"action": "dump", "path": "/a", "format": "elf"}, "format goes with memory_only"),
        ({"action": "dump", "path": "/a", "memory_only": True, "live": True}, "live goes with a whole dump"),
        ({"action": "send_key", "keys": ["ctrl+nokey"]}, "no key 'nokey'"),
        ({"action": "send_key", "keys": ["ctrl+"]}, "no key ''"),
        ({"action": "send_key", "keys": ["a+a"]}, "has the key 'a' twice"),
        ({"action": "send_key", "keys": ["+".join("abcdefghijklmnopq")]}, "17 keys at once"),
    ],
)
def test_what_is_refused(options: t.Any, says: str) -> None:
    with pytest.raises(InvalidSpec, match=says):
        parse(**options)


def test_keys_have_the_numbers_of_linux() -> None:
    wanted = parse(action="send_key", keys=["ctrl+alt+Delete", "KEY_F2", "5", "key_enter"], hold=10)
    assert wanted.keys == ((29, 56, 111), (60,), (6,), (28,))
    assert wanted.chords == ("ctrl+alt+Delete", "KEY_F2", "5", "key_enter")


def test_the_table_of_keys() -> None:
    # Some of each row, from linux/input-event-codes.h.
    known = {
        "ESC": 1, "Q": 16, "A": 30, "LEFTSHIFT": 42, "Z": 44, "SPACE": 57, "F1": 59, "KP7": 71, "KPDOT": 83, "102ND": 86,
        "F12": 88, "RIGHTCTRL": 97, "SYSRQ": 99, "UP": 103, "DELETE": 111, "POWER": 116, "LEFTMETA": 125, "MENU": 139,
        "SLEEP": 142, "WAKEUP": 143, "F13": 183, "F24": 194, "PRINT": 210,
    }  # fmt: skip
    assert {name: keys.NUMBERS[name] for name in known} == known
    assert len(set(keys.NUMBERS.values())) == len(keys.NUMBERS)


@given(st.lists(st.sampled_from(sorted(keys.NUMBERS)), min_size=1, max_size=16, unique=True))
def test_any_keys_together(names: list[str]) -> None:
    assert keys.parse("x", " + ".join(names)) == tuple(keys.NUMBERS[name] for name in names)


def test_two_actions_write_two_files() -> None:
    one, other = parse(action="dump", path="/a/b"), spec.parse({"name": "db", "action": "dump", "path": "/a//b"})
    with pytest.raises(InvalidSpec, match="domains web and db: both have the path"):
        spec.check_together([one, other])
    spec.check_together([one, parse(action="reset")])
