# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Networks: which changes, and with which effect."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy
from ansible_collections.hypervisor.kvm.plugins.module_utils._net import xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._net.compare import NetworkPlan, compare
from ansible_collections.hypervisor.kvm.plugins.module_utils._net.observe import NetworkState
from ansible_collections.hypervisor.kvm.plugins.module_utils._net.spec import DhcpHost, NetworkSpec, parse
from ansible_collections.hypervisor.kvm.tests.unit._net.networks import NETWORKS
from hypothesis import given

UUID = "6bf57a4c-7b0b-4d0c-9d8b-0d8c0e3b8c0a"


def state_of(document: str, active: bool = True, autostart: bool = False, connections: int = 0) -> NetworkState:
    """A network with this definition; what runs is the same."""
    defined = xml.read(document)
    live = defined if active else None
    return NetworkState(True, True, active, autostart, UUID, document, defined, live, connections)


def filled(document: str) -> str:
    """What libvirt adds by itself when it defines a network."""
    spec = xml.read(document)
    if "<uuid>" not in document:
        document = document.replace("</name>", f"</name><uuid>{UUID}</uuid>")
    missing: dict[str, t.Any] = {"bridge": {"name": "virbr0", "stp": True, "delay": 0}}
    if spec.bridge is not None and spec.bridge.name is not None:
        missing["bridge"]["name"] = spec.bridge.name
    if spec.bridge is not None:
        missing["bridge"]["stp"] = spec.bridge.stp is not False
        missing["bridge"]["delay"] = spec.bridge.delay or 0
    if spec.mac is None:
        missing["mac"] = "52:54:00:12:34:56"
    return xml.merge(parse({"name": spec.name, **missing}), document)


def carried_out(changes_plan: NetworkPlan, before: NetworkState) -> NetworkState:
    """The state after a plan, as libvirt would have it."""
    document = filled(changes_plan.document or before.document or "")
    active = (before.active and not changes_plan.stop) or changes_plan.start
    autostart = before.autostart if changes_plan.autostart is None else changes_plan.autostart
    live = before.live if before.active and not changes_plan.stop else xml.read(document)
    return NetworkState(True, True, active, autostart, UUID, document, xml.read(document), live if active else None)


@given(NETWORKS)
def test_a_new_network_then_nothing(params: dict[str, t.Any]) -> None:
    spec = parse(params)
    changes = compare(spec, NetworkState())
    assert changes.has("state")
    assert changes.restart_required == []
    after = carried_out(changes.plan, NetworkState())
    assert after.active is (spec.state == "active")
    again = compare(spec, after)
    assert (again.results(), again.diff(), again.restart_required) == ([], [], [])
    assert again.plan == NetworkPlan()


@given(NETWORKS, NETWORKS)
def test_a_changed_network_then_nothing(first: dict[str, t.Any], second: dict[str, t.Any]) -> None:
    before = carried_out(compare(parse(first), NetworkState()).plan, NetworkState())
    spec = parse({**second, "name": first["name"], "restart": "if_required"})
    changes = compare(spec, before)
    plan = changes.plan
    if plan.hosts:
        # libvirt puts reservations into both documents itself.
        document = xml.merge(spec, before.document)
        after = dataclasses.replace(
            before,
            document=document,
            defined=xml.read(document),
            live=xml.read(document),
            autostart=before.autostart if plan.autostart is None else plan.autostart,
        )
    else:
        after = carried_out(plan, before)
    again = compare(spec, after)
    assert (again.results(), again.diff(), again.restart_required) == ([], [], [])


@given(NETWORKS)
def test_the_definition_keeps_uuid_and_mac(params: dict[str, t.Any]) -> None:
    before = state_of(filled("<network><name>lan</name><mac address='52:54:00:ab:ab:ab'/></network>"))
    spec = parse({**params, "name": "lan"})
    document = compare(spec, before).plan.document
    if document is not None:
        assert xml.uuid(document) == UUID
        assert xml.read(document).mac == (spec.mac or "52:54:00:ab:ab:ab")


LAN = filled(
    """<network><name>lan</name><forward mode='open'/><bridge name='br-lan'/><mtu size='1500'/>
    <ip address='10.0.0.1' prefix='24'><dhcp><range start='10.0.0.100' end='10.0.0.200'/></dhcp></ip></network>"""
)
IPS = [
    {
        "address": "10.0.0.1/24",
        "dhcp": {
            "ranges": [{"start": "10.0.0.100", "end": "10.0.0.200"}],
            "hosts": [{"ip": "10.0.0.9", "mac": "52:54:00:00:00:09"}],
        },
    }
]


def test_a_change_of_a_running_network_waits_for_its_start() -> None:
    changes = compare(parse({"name": "lan", "mtu": 9000}), state_of(LAN))
    assert [(change.field, change.effect) for change in changes.changes] == [("mtu", "next_boot")]
    assert changes.restart_required == [{"object": "lan", "fields": ["mtu"]}]
    assert not changes.plan.stop
    assert not changes.plan.start


def test_restart_if_required_brings_it_at_once() -> None:
    changes = compare(parse({"name": "lan", "mtu": 9000, "restart": "if_required"}), state_of(LAN))
    assert changes.plan.stop
    assert changes.plan.start
    assert changes.restart_required == []


def test_what_waits_from_earlier_is_still_named() -> None:
    before = dataclasses.replace(state_of(LAN), live=xml.read(LAN.replace('size="1500"', 'size="1400"')))
    changes = compare(parse({"name": "lan"}), before)
    assert not changes
    assert changes.restart_required == [{"object": "lan", "fields": ["mtu"]}]
    restarted = compare(parse({"name": "lan", "restart": "if_required"}), before)
    assert [change.field for change in restarted.changes] == ["mtu"]
    assert restarted.plan.stop


def test_reservations_reach_a_running_network() -> None:
    changes = compare(parse({"name": "lan", "ips": IPS}), state_of(LAN))
    assert changes.plan.hosts == [("add", 0, DhcpHost("10.0.0.9", "52:54:00:00:00:09"))]
    assert [change.effect for change in changes.changes] == ["live"]
    assert changes.plan.document is None
    assert changes.restart_required == []


def test_an_inactive_network_is_changed_in_its_definition() -> None:
    changes = compare(parse({"name": "lan", "state": "inactive", "ips": IPS, "mtu": 1400}), state_of(LAN, active=False))
    assert {change.effect for change in changes.changes} == {"live"}
    assert changes.plan.document is not None
    assert not changes.plan.hosts


def test_activity() -> None:
    start = compare(parse({"name": "lan"}), state_of(LAN, active=False))
    assert [(change.before, change.after) for change in start.changes] == [("inactive", "active")]
    assert start.plan == NetworkPlan(start=True)
    stop = compare(parse({"name": "lan", "state": "inactive"}), state_of(LAN))
    assert stop.plan == NetworkPlan(stop=True)


def test_absent() -> None:
    changes = compare(parse({"name": "lan", "state": "absent"}), state_of(LAN))
    assert [(change.before, change.after) for change in changes.changes] == [("active", "absent")]
    assert changes.plan == NetworkPlan(stop=True, undefine=True)
    assert not compare(parse({"name": "lan", "state": "absent"}), NetworkState())


@pytest.mark.parametrize("state", ["absent", "inactive"])
def test_a_network_in_use_is_not_taken_away(state: str) -> None:
    with pytest.raises(Busy, match="2 interface"):
        compare(NetworkSpec("lan", state), state_of(LAN, connections=2))


def test_autostart_only_when_stated() -> None:
    assert not compare(parse({"name": "lan"}), state_of(LAN, autostart=True))
    off = compare(parse({"name": "lan", "autostart": False}), state_of(LAN, autostart=True))
    assert off.plan == NetworkPlan(autostart=False)
