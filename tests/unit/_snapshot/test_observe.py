# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is seen of a domain and its snapshots."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import agent, domains, host, process, snapshots
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.domains import RawDomain
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.observe import Session, SnapshotState, observe
from ansible_collections.hypervisor.kvm.tests.unit._snapshot.states import spec

CHANNEL = "<channel><target name='org.qemu.guest_agent.0' state='connected'/></channel>"
DOCUMENT = f"<domain><name>web</name><memory>65536</memory><devices>{CHANNEL}</devices></domain>"
OFF = RawDomain("u", "stopped", "shutdown", False, True, False, DOCUMENT, None, None, None)
RUNS = dataclasses.replace(OFF, state="running", active=True, live_xml=DOCUMENT, running_xml=DOCUMENT)


def _observe(monkeypatch: pytest.MonkeyPatch, raw: RawDomain | None, **params: t.Any) -> SnapshotState:
    monkeypatch.setattr(domains, "read", lambda _connection, _name: raw)
    monkeypatch.setattr(host, "versions", lambda _connection: (9_000_000, 7_002_000))
    monkeypatch.setattr(host, "uri", lambda _connection: "qemu:///system")
    monkeypatch.setattr(snapshots, "resident", lambda _connection, _name: None)
    monkeypatch.setattr(snapshots, "tree", lambda _connection, _name: [])
    return observe(Session(object(), True), spec(**params))


def test_no_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _observe(monkeypatch, None) == SnapshotState()


@pytest.mark.parametrize(("document", "saved"), [(None, False), ("<domain/>", True), ("", True)])
def test_a_saved_state(monkeypatch: pytest.MonkeyPatch, document: str | None, saved: bool) -> None:
    """libvirt calls a saved domain off; one whose saved state is broken has one, too."""
    seen = _observe(monkeypatch, dataclasses.replace(OFF, saved_xml=document))
    assert (seen.state, seen.managed_save) == ("stopped", saved)


class Asked:
    """What the agent was asked, and what it was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: LibvirtError | None = None) -> None:
        self.calls: list[t.Any] = []
        self._error = error
        monkeypatch.setattr(agent, "ping", self.ping)
        monkeypatch.setattr(agent, "release", lambda _connection, _name, before: self.calls.append(("release", before)))
        monkeypatch.setattr(process, "agent_limit", lambda _uri, _name: 7)

    def ping(self, _connection: t.Any, _name: str, limit: int) -> None:
        self.calls.append(("ping", limit))
        if self._error is not None:
            raise self._error


def test_an_agent_that_is_needed_is_asked_and_gets_back_what_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    seen = _observe(monkeypatch, RUNS, quiesce=True, agent_timeout=4)
    assert (seen.agent_limit, seen.agent_problem) == (7, None)
    assert asked.calls == [("ping", 4), ("release", 7)]


def test_one_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch, LibvirtError("It is silent."))
    assert _observe(monkeypatch, RUNS, quiesce=True).agent_problem == "It is silent."
    assert asked.calls == [("ping", 30), ("release", 7)]


@pytest.mark.parametrize(
    ("raw", "params"),
    [
        (RUNS, {}),
        (OFF, {"quiesce": True}),
        (dataclasses.replace(RUNS, state="paused"), {"quiesce": True}),
        (RUNS, {"quiesce": True, "state": "absent"}),
    ],
)
def test_one_that_is_not_needed_or_cannot_answer(
    monkeypatch: pytest.MonkeyPatch, raw: RawDomain, params: dict[str, t.Any]
) -> None:
    asked = Asked(monkeypatch)
    _observe(monkeypatch, raw, **params)
    assert asked.calls == []
