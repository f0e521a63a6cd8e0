# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: agents are asked all at once; one that hangs, or refuses, hides nothing of the others."""

from __future__ import annotations

import threading
import time
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import finder
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.finder import Asking, Finder, Told
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests import neighbours
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.view import View
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import leases, process

MAC = "52:54:00:aa:00:01"
VIEW = View(id="1", macs=frozenset({MAC}), agent="connected")
TELLS = [
    {"name": "lo", "mac": "00:00:00:00:00:00", "addresses": ["127.0.0.1"]},
    {"name": "eth0", "mac": MAC, "addresses": ["192.0.2.1", "fe80::1"]},
    {"name": "br0", "mac": MAC, "addresses": ["192.0.2.2", "192.0.2.1"]},
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, t.Any]:
    """What the agents do by name: an answer, or an error; and who was given its limit back."""
    answers: dict[str, t.Any] = {"released": []}

    def interfaces(_connection: object, name: str, _limit: int) -> t.Any:
        answer = answers[name]
        if callable(answer):
            return answer()
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(finder.Lines, "mine", lambda _self: "line")
    monkeypatch.setattr(finder.agent, "interfaces", interfaces)
    monkeypatch.setattr(finder.agent, "guest_info", lambda _connection, name, _limit: {"hostname": name})
    monkeypatch.setattr(finder.agent, "is_silent", lambda error: error.code == 86)
    monkeypatch.setattr(finder.agent, "release", lambda _connection, name, _before: answers["released"].append(name))
    monkeypatch.setattr(process, "agent_limit", lambda *_arguments: None)
    monkeypatch.setattr(leases, "read", lambda _connection: {MAC: [{"address": "192.0.2.9", "bridge": "lo"}]})
    monkeypatch.setattr(neighbours, "read", list)
    return answers


def test_only_who_is_connected_is_asked(asked: dict[str, t.Any]) -> None:
    asked["a"] = TELLS
    views = {"a": VIEW, "b": View(id="2", agent="disconnected"), "c": View(id="3")}
    told = Finder(None, "test:///", True).ask(views, Asking(5, 60, guest=True))
    assert told == {"a": Told(TELLS, {"hostname": "a"})}
    assert asked["released"] == ["a"]


def test_silence_and_refusals(asked: dict[str, t.Any]) -> None:
    never = threading.Event()
    asked.update(
        a=LibvirtError("gone", libvirt_code=86),
        b=LibvirtError("refused", libvirt_code=1),
        c=lambda: never.wait(60),
        d=TELLS,
    )
    told = Finder(None, "test:///", True).ask(dict.fromkeys("abcd", VIEW), Asking(5, 0.5, guest=True))
    assert told["a"] == Told(problem="gone")
    # It does not tell its addresses, but what it is.
    assert told["b"] == Told(guest={"hostname": "b"}, problem="refused")
    assert told["c"].silent
    assert told["d"].interfaces == TELLS
    never.set()
    # Its thread has to end in this test, or it is seen in the next one.
    end = time.monotonic() + 60
    while "c" not in asked["released"] and time.monotonic() < end:
        time.sleep(0.01)
    assert sorted(asked["released"]) == ["a", "b", "c", "d"]


def test_what_the_agent_tells_goes_before_leases(asked: dict[str, t.Any]) -> None:
    found = Finder(None, "test:///", True).addresses(
        {"a": VIEW, "b": VIEW, "c": View(id="1")}, {"a": Told(TELLS), "b": Told(problem="silent")}
    )
    assert found == {"a": {MAC: ["192.0.2.1", "192.0.2.2"]}, "b": {MAC: ["192.0.2.9"]}, "c": {}}
    assert asked["released"] == []
