# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NAT: zones of firewalld, connections that are forgotten, and what no rule of ours can overcome."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import (
    compare,
    firewalld,
    native,
    record,
    report,
    spec,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.firewalld import Move, Zone, Zones
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.observe import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.spec import NatSpec
from ansible_collections.hypervisor.kvm.tests.unit._nat import hosts
from hypothesis import given
from hypothesis import strategies as st

LIST = """\
libvirt (active)
  target: ACCEPT
  icmp-block-inversion: no
  interfaces: virbr0 br7
  sources:
  services: dhcp dns
  forward: no
  rich rules:
\trule priority="32767" reject

public (default, active)
  target: default
  interfaces:
  forward: yes

drop
  target: DROP
  interfaces:
  forward: no
"""
NAMES = ("libvirt", "public", "drop")


def zones(permanent: str | None = None, runtime: str | None = None, running: bool = True) -> Zones:
    """The zones of a host, with br0 in these."""

    def made(name: str | None) -> tuple[Zone, ...]:
        return tuple(
            dataclasses.replace(zone, interfaces=("br0",) if zone.name == name else ())
            for zone in firewalld.parse(LIST)
        )

    return Zones(made(permanent), made(runtime) if running else None)


def host(found: Zones | None = None, ruleset: native.Ruleset | None = None, **others: t.Any) -> Snapshot:
    return hosts.seen(zones=found, native=ruleset or native.Ruleset(), **others)


def wanted(**params: t.Any) -> NatSpec:
    return spec.parse({"bridge": "br0", "subnets": ["192.168.0.0/24"], **params})


def gone() -> NatSpec:
    return spec.parse({"bridge": "br0", "state": "absent"})


def fields(one: NatSpec, seen: Snapshot) -> dict[str, tuple[t.Any, t.Any]]:
    return {change.field: (change.before, change.after) for change in compare.compare(one, seen).changes}


def refusing(table: str = "filter", hook: str = "forward") -> native.Ruleset:
    """A chain that refuses all but br9."""
    rule = [{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "br9"}}, {"accept": None}]
    chain = native.Chain("inet", table, "main", hook, "drop")
    return native.Ruleset((chain,), {("inet", table, "main"): [rule]})


def test_zones_as_firewall_cmd_lists_them() -> None:
    assert firewalld.parse(LIST) == (
        Zone("libvirt", ("virbr0", "br7"), "ACCEPT", False, ("dhcp", "dns"), closed=True),
        Zone("public", (), "default", True),
        Zone("drop", (), "DROP", False),
    )
    assert [zone.lets_out for zone in firewalld.parse(LIST)] == [True, True, False]
    assert firewalld.parse("") == ()


def test_into_a_zone_and_again_and_out_of_it() -> None:
    one = wanted(firewalld_zone="libvirt")
    changes = compare.compare(one, host(zones()))
    assert changes.plan.moves == [Move("libvirt", "br0", True, True), Move("libvirt", "br0", True, False)]
    assert changes.has("firewalld_zone")
    assert changes.has("firewalld_zone (runtime)")
    seen = changes.plan.result
    assert seen.records["br0"].zone == "libvirt"
    assert record.parse(seen.files[record.path("br0")]).zone == "libvirt"
    assert fields(one, seen) == {}
    after = compare.compare(gone(), seen)
    assert after.plan.moves == [Move("libvirt", "br0", False, True), Move("libvirt", "br0", False, False)]
    assert after.plan.result.zones == zones()
    # Taken out of the declaration, on a host whose default zone lets it through.
    assert compare.compare(wanted(), seen).plan.moves == after.plan.moves


def test_what_somebody_else_did_stays() -> None:
    seen = compare.compare(wanted(firewalld_zone="libvirt"), host(zones("libvirt", "libvirt"))).plan.result
    assert seen.records["br0"].zone is None
    assert compare.compare(gone(), dataclasses.replace(seen, zones=zones("libvirt", "libvirt"))).plan.moves == []
    # Ours, but moved by somebody since.
    seen = compare.compare(wanted(firewalld_zone="libvirt"), host(zones())).plan.result
    assert compare.compare(gone(), dataclasses.replace(seen, zones=zones("public", "public"))).plan.moves == []


def test_what_cannot_be_taken_out_yet_is_not_forgotten() -> None:
    seen = compare.compare(wanted(firewalld_zone="libvirt"), host(zones())).plan.result
    without = compare.compare(wanted(), dataclasses.replace(seen, zones=None)).plan.result
    assert without.records["br0"].zone == "libvirt"
    assert fields(wanted(), without) == {}
    later = compare.compare(wanted(), dataclasses.replace(without, zones=zones("libvirt", "libvirt")))
    assert len(later.plan.moves) == 2
    assert later.plan.result.records["br0"].zone is None


def test_while_firewalld_does_not_run_its_settings_are_changed() -> None:
    one = wanted(firewalld_zone="libvirt")
    changes = compare.compare(one, host(zones(running=False)))
    assert changes.plan.moves == [Move("libvirt", "br0", True, True)]
    assert fields(one, changes.plan.result) == {}


@pytest.mark.parametrize(
    ("found", "zone", "says"),
    [
        (None, "libvirt", "not installed"),
        (zones(), "nowhere", "libvirt, public, drop"),
        (zones(), "bad zone", "no name of a zone"),
    ],
)
def test_zones_that_cannot_be(found: Zones | None, zone: str, says: str) -> None:
    with pytest.raises(KvmError, match=says):
        compare.compare(wanted(firewalld_zone=zone), host(found))


@given(st.lists(st.tuples(st.sampled_from([*NAMES, None, "absent"]), st.sampled_from([*NAMES, None, "-"])), max_size=6))
def test_whatever_was_before_it_ends_where_it_is_wanted(steps: list[t.Any]) -> None:
    """Each step: somebody may move the bridge, then a run with a zone, without one, or with state absent."""
    seen = host(zones())
    for zone, moved in steps:
        if moved != "-":
            seen = dataclasses.replace(seen, zones=zones(moved, moved))
        one = gone() if zone == "absent" else wanted(firewalld_zone=zone)
        before = t.cast(Zones, seen.zones).of("br0", permanent=True)
        known = seen.records["br0"].zone if "br0" in seen.records else None
        seen = compare.compare(one, seen).plan.result
        found = t.cast(Zones, seen.zones)
        stays = before if before != known else None
        after = stays if zone in (None, "absent") else zone
        assert (found.of("br0", permanent=True), found.of("br0", permanent=False)) == (after, after)
        assert fields(one, seen) == {}


def test_firewalld_that_refuses_ends_it_before_anything_is_written() -> None:
    seen = host(ruleset=refusing("firewalld"))
    with pytest.raises(KvmError, match="firewalld_zone: libvirt"):
        compare.compare(wanted(), seen)
    assert report.warnings(wanted(persist="none"), seen, first=True) == []
    assert fields(gone(), seen) == {}
    # In the zone that it is to get this is another matter.
    with_zone = dataclasses.replace(seen, zones=zones())
    assert report.warnings(wanted(firewalld_zone="libvirt", persist="none"), with_zone, first=True) == []
    said, served = report.warnings(wanted(firewalld_zone="drop", persist="none"), with_zone, first=True)
    assert "zone drop of firewalld does not by itself let out" in said
    assert "ask the host for DNS and DHCP; add the services dns and dhcp" in served
    said = report.warnings(wanted(firewalld_zone="public", persist="none", dns=False), with_zone, first=True)[0]
    assert "ask the host for DHCP" in said
    there = dataclasses.replace(seen, zones=zones("drop", "drop"))
    [said] = report.warnings(wanted(firewalld_zone="drop", persist="none"), there, first=True)
    assert "zone drop of firewalld lets nothing out" in said


def test_out_of_the_zone_it_is_refused_like_all_others() -> None:
    """As long as it is in its zone it passes; without the option it would not."""
    accept = [
        {"match": {"op": "==", "left": {"meta": {"key": side}}, "right": "br0"}} for side in ("iifname", "oifname")
    ]
    chain = native.Chain("inet", "firewalld", "main", "forward", "drop")
    rules = native.Ruleset((chain,), {("inet", "firewalld", "main"): [[one, {"accept": None}] for one in accept]})
    seen = compare.compare(wanted(firewalld_zone="libvirt"), host(zones(), rules)).plan.result
    assert fields(wanted(firewalld_zone="libvirt"), seen) == {}
    with pytest.raises(KvmError, match="firewalld_zone: libvirt"):
        compare.compare(wanted(), seen)


def test_chains_of_others_are_named() -> None:
    said = report.warnings(wanted(persist="none"), host(ruleset=refusing()), first=True)
    assert len(said) == 1
    assert "chain main of table inet filter" in said[0]
    said = report.warnings(wanted(persist="none"), host(ruleset=refusing(hook="input")), first=True)
    assert len(said) == 1
    assert "refuses DNS and DHCP" in said[0]
    said = report.warnings(wanted(persist="none", dns=False), host(ruleset=refusing(hook="input")), first=True)
    assert len(said) == 1
    assert "refuses DHCP from" in said[0]
    assert report.warnings(gone(), host(ruleset=refusing()), first=True) == []


def test_connections_are_forgotten_when_rules_change_only() -> None:
    one = wanted(flush_conntrack=True)
    changes = compare.compare(one, host())
    assert changes.plan.forget == ("192.168.0.0/24",)
    seen = changes.plan.result
    assert fields(one, seen) == {}
    assert "conntrack" not in fields(wanted(), host())
    other = spec.parse({"bridge": "br0", "subnets": ["10.0.0.0/8"], "flush_conntrack": True})
    assert compare.compare(other, seen).plan.forget == ("10.0.0.0/8", "192.168.0.0/24")
    assert compare.compare(dataclasses.replace(gone(), flush_conntrack=True), seen).plan.forget == ("192.168.0.0/24",)


def test_a_zone_is_a_name() -> None:
    for bad in ("", "-x", "a b", "x" * 30, "--permanent"):
        with pytest.raises(InvalidSpec, match="no name of a zone"):
            wanted(firewalld_zone=bad)
