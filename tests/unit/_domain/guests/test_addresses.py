# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: which of the addresses that somebody knows are the guest's."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests import addresses, neighbours
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.addresses import Directory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.neighbours import Neighbour
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.view import View
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import leases

MINE, OTHER = "52:54:00:aa:00:01", "52:54:00:aa:00:02"


def lease(address: str, bridge: str | None = "lo") -> dict[str, t.Any]:
    return {"address": address, "network": "lan", "bridge": bridge, "hostname": None, "expires": 1}


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch) -> Directory:
    found = {MINE: [lease("192.0.2.10"), lease("192.0.2.11", "no-such-bridge")], OTHER: [lease("192.0.2.20")]}
    table = [
        Neighbour(MINE, "192.0.2.10", True, 5.0), Neighbour(MINE, "192.0.2.30", False, 50.0),
        Neighbour(MINE, "fe80::1", True, 0.0), Neighbour(OTHER, "192.0.2.40", True, 1.0),
    ]  # fmt: skip
    monkeypatch.setattr(leases, "read", lambda _connection: found)
    monkeypatch.setattr(neighbours, "read", lambda: table)
    made = Directory(None, True)
    made.refresh()
    return made


def test_known_addresses(directory: Directory) -> None:
    assert directory.known("a", {MINE}) == ["192.0.2.10", "192.0.2.11", "192.0.2.30"]
    assert directory.known("a", {MINE}, 6) == []
    assert directory.known("a", set()) == []
    assert [entry["mac"] for entry in directory.leases({OTHER, MINE})] == [MINE, MINE, OTHER]


def test_what_is_of_an_earlier_life_is_not_current(directory: Directory) -> None:
    assert directory.is_current("192.0.2.10", {MINE}, None)
    assert directory.is_current("192.0.2.10", {MINE}, 10.0)
    assert not directory.is_current("192.0.2.10", {MINE}, 3.0)
    assert directory.is_current("192.0.2.30", {MINE}, 60.0)
    assert not directory.is_current("192.0.2.30", {MINE}, None)
    assert not directory.is_current("192.0.2.40", {MINE}, 60.0)


def test_an_address_of_somebody_else(directory: Directory) -> None:
    assert directory.somebody_else("192.0.2.40", {MINE}) == OTHER
    assert directory.somebody_else("192.0.2.10", {MINE}) is None
    assert directory.somebody_else("192.0.2.40", set()) is None


def test_a_bridge_that_is_not_here_cannot_be_asked(directory: Directory) -> None:
    assert directory.can_be_asked("192.0.2.10")
    assert not directory.can_be_asked("192.0.2.11")
    assert directory.can_be_asked("203.0.113.1")


def test_leases_that_cannot_be_read_know_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_connection: object) -> None:
        raise LibvirtError("no")

    monkeypatch.setattr(leases, "read", fails)
    monkeypatch.setattr(neighbours, "read", list)
    directory = Directory(None, True)
    directory.refresh()
    assert directory.known("a", {MINE}) == []


def test_what_the_agent_tells() -> None:
    told = [
        {"name": "lo", "mac": "00:00:00:00:00:00", "addresses": ["127.0.0.1", "::1"]},
        {"name": "eth0", "mac": MINE, "addresses": ["192.0.2.10", "fe80::1", "2001:db8::1", "192.0.2.10"]},
        {"name": "docker0", "mac": "02:42:00:00:00:01", "addresses": ["172.17.0.1"]},
    ]
    view = View(macs=frozenset({MINE}))
    assert addresses.from_agent(told, view) == ["192.0.2.10", "2001:db8::1"]
    assert addresses.from_agent(told, view, 4) == ["192.0.2.10"]
    assert addresses.from_agent(told, View()) == []
