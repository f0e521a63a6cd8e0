# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NAT: subnets of IPv6 beside and without those of IPv4."""

from __future__ import annotations

import dataclasses
import pathlib
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import (
    backend,
    compare,
    dialect,
    persist,
    record,
    report,
    rules,
    spec,
    tables,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.observe import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.placing import Site
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.shape import Shape
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.spec import NatSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Own
from ansible_collections.hypervisor.kvm.tests.unit._nat import hosts
from hypothesis import given
from hypothesis import strategies as st

FOUR, SIX = backend.NFT, backend.NFT6
EMPTY = hosts.seen(
    {
        FOUR: {},
        SIX: {"filter": {"INPUT": ["-j DROP"]}},
        **{name: {} for name in (backend.LEGACY, backend.LEGACY6, dialect.NFTABLES, dialect.NFTABLES6)},
    },
    forwarding6=True,
)
#: Subnets by bridge, of each kind.
KINDS = {"four": "10.{}.0.0/16", "unique": "fd00:{}::/64", "routed": "2001:db8:{}::/64"}
CALLS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sets(st.sampled_from(sorted(KINDS))),
        st.sampled_from(["recipe", "isolate", "allow"]),
        st.sampled_from([FOUR, backend.LEGACY, dialect.NFTABLES]),
    ),
    min_size=1,
    max_size=6,
)


def parse(*subnets: str, bridge: str = "br0", **params: t.Any) -> NatSpec:
    return spec.parse({"bridge": bridge, "subnets": list(subnets), **params})


def lines(seen: Snapshot, name: str) -> list[str]:
    return [
        f"{table} {chain} {rule}"
        for table, chains in seen.tables[name].items()
        for chain, some in chains.items()
        for rule in some
        if rule != "-j DROP"
    ]


def test_unique_local_is_masqueraded_by_the_same_rules() -> None:
    four, six = (rules.render("br0", [net], version=version) for net, version in (("10.0.0.0/8", 4), ("fd00::/8", 6)))
    for table, chain in (("filter", "FORWARD"), ("nat", "POSTROUTING")):
        words = [
            rule.replace("10.0.0.0/8", "fd00::/8").replace("icmp-port", "icmp6-port") for rule in four[table][chain]
        ]
        assert six[table][chain] == words
    assert six["mangle"]["POSTROUTING"] == []
    assert [rule.split("--")[-1] for rule in six["filter"]["INPUT"]] == [
        *(f"icmpv6-type {kind} -j ACCEPT" for kind in (133, 134, 135, 136)),
        *(f"dport {port} -j ACCEPT" for port in (53, 53, 547)),
    ]


def test_another_is_routed() -> None:
    six = rules.render("br0", ["2001:db8::/64"], Shape(exempt_local=True, out_interface="eth0"), version=6)
    assert six["nat"]["POSTROUTING"] == []
    assert six["filter"]["FORWARD"][:2] == [
        "-d 2001:db8::/64 -o br0 -j ACCEPT",
        "-s 2001:db8::/64 -i br0 -o eth0 -j ACCEPT",
    ]


def test_each_version_has_what_is_for_it() -> None:
    one = parse("10.0.0.0/8", "fd00::/64", snat_address=["203.0.113.1"], exempt_local=True, dns=False).shape
    one = dataclasses.replace(
        one,
        port_forwards=parse(
            "10.0.0.0/8", port_forwards=[{"listen_port": 80, "to_address": "10.0.0.1"}]
        ).shape.port_forwards,
    )
    four, six = (rules.render("br0", ["10.0.0.0/8", "fd00::/64"], one, version=version) for version in (4, 6))
    assert "fd00" not in str(four)
    assert not [word for word in ("10.0.0", "203.0.113", "DNAT", "224.0", "--dport 53") if word in str(six)]
    assert six["nat"]["POSTROUTING"][0] == "-s fd00::/64 -d ff02::/16 -j RETURN"
    assert rules.render("br0", ["10.0.0.0/8"], one, version=6) == {}
    assert rules.render("br0", ["fd00::/64"], one) == {}


def test_a_forward_has_to_lead_to_an_address_of_ipv4() -> None:
    with pytest.raises(InvalidSpec, match="no address of a guest in fd00::/64"):
        parse("fd00::/64", port_forwards=[{"listen_port": 80, "to_address": "10.0.0.1"}])


@given(CALLS)
def test_whatever_came_before_only_what_is_declared_is_left(calls: list[tuple[int, set[str], str, str]]) -> None:
    seen, last = EMPTY, {}
    for number, kinds, says, name in calls:
        subnets = [KINDS[kind].format(number + 1) for kind in sorted(kinds)]
        one = (
            parse(*subnets, bridge=f"br{number}", inter_bridge=says, backend=name)
            if subnets
            else NatSpec(f"br{number}", "absent")
        )
        seen = compare.compare(one, seen).plan.result
        assert not compare.compare(one, seen)
        last[number] = one
    for known in seen.records.values():
        again = record.parse(seen.files[record.path(known.bridge)])
        assert record.text(again) == record.text(known)
        assert again.shape == known.shape
        assert {name: some for name, some in again.rules6.items() if some} == {
            name: {chain: rules_ for chain, rules_ in some.items() if rules_}
            for name, some in known.rules6.items()
            if any(some.values())
        }
    fresh = EMPTY
    for one in last.values():
        fresh = compare.compare(one, fresh).plan.result
    for name in EMPTY.tables:
        # Another order of calls may give another order of bridges, but no other rule.
        assert sorted(lines(seen, name)) == sorted(lines(fresh, name))
    gone = seen
    for number in last:
        gone = compare.compare(NatSpec(f"br{number}", "absent"), gone).plan.result
    assert [lines(gone, name) for name in EMPTY.tables] == [[]] * len(EMPTY.tables)
    assert (gone.records, gone.files) == ({}, {})


def test_a_kill_in_between_loses_none_of_the_old_rules() -> None:
    before = compare.compare(parse("10.0.0.0/8", "fd00::/64"), EMPTY).plan.result
    changes = compare.compare(parse("10.0.0.0/8", "fd01::/64"), before)
    ahead = record.parse(changes.plan.ahead[record.path("br0")])
    assert "fd01::/64" in str(ahead.rules6)
    assert "fd00::/64" in str(ahead.stale6)
    assert "fd00::/64" not in str(ahead.rules6) + str(ahead.rules) + str(ahead.stale)
    killed = dataclasses.replace(before, records={"br0": ahead})
    assert lines(compare.compare(NatSpec("br0", "absent"), killed).plan.result, SIX) == []


def test_records_of_before_have_no_ipv6() -> None:
    one = compare.compare(parse("10.0.0.0/8"), EMPTY).plan.result
    assert "ip6tables" not in str(one.files)
    assert record.parse(one.files[record.path("br0")]).rules6 == {}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("-s FD00:1:0::5/64 -i br0 -j ACCEPT", "-s fd00:1::/64 -i br0 -j ACCEPT", True),
        ("-s fd00::1 -j ACCEPT", "-s fd00::1/128 -j ACCEPT", True),
        ("-s fd00::/64 -j ACCEPT", "-s fd00::/65 -j ACCEPT", False),
        ("-s fd00::/64 -j ACCEPT", "-d fd00::/64 -j ACCEPT", False),
    ],
)
def test_the_same_rule_in_other_words(one: str, other: str, same: bool) -> None:
    assert (tables.key(one) == tables.key(other)) == same


@pytest.mark.parametrize(
    ("rule", "stands"),
    [
        ("-p ipv6-icmp -j DROP", True),
        ("-p udp -m udp --dport 547 -j DROP", True),
        ("-p udp -m udp --dport 546 -j DROP", False),
        ("-i eth0 -p ipv6-icmp -j DROP", False),
    ],
)
def test_what_stands_in_the_way_of_discovery_and_dhcp(rule: str, stands: bool) -> None:
    wanted = rules.render("br0", ["fd00::/64"], version=6)["filter"]["INPUT"]
    now = Site({"filter": {"INPUT": [rule, *wanted]}}, "filter", "INPUT", "br0").place(wanted, Own(wanted))
    assert now == ([*wanted, rule] if stands else [rule, *wanted])


def test_forwarding_is_switched_on_for_what_is_there() -> None:
    off = dataclasses.replace(EMPTY, forwarding=False, forwarding6=False, uplinks=frozenset({"eth0", "eth1.5"}))
    four, six = compare.compare(parse("10.0.0.0/8"), off), compare.compare(parse("fd00::/64"), off)
    assert (four.plan.forwarding, four.plan.forwarding6, four.plan.uplinks) == (True, False, frozenset())
    assert (six.plan.forwarding, six.plan.forwarding6, six.plan.uplinks) == (False, True, {"eth0", "eth1.5"})
    assert four.plan.files[persist.SYSCTL] == persist.sysctl({4})
    text = str(six.plan.files[persist.SYSCTL])
    assert text.splitlines()[1:] == [
        "net.ipv6.conf.all.forwarding = 1",
        "net/ipv6/conf/eth0/accept_ra = 2",
        "net/ipv6/conf/eth1.5/accept_ra = 2",
    ]
    # What is declared already has nothing to say the next time, and the devices are still known after it.
    after = six.plan.result
    assert not compare.compare(parse("fd00::/64"), after)
    both = compare.compare(parse("10.0.0.0/8", bridge="br1"), after).plan.result
    assert both.files[persist.SYSCTL] == persist.sysctl({4, 6}, {"eth0", "eth1.5"})
    left = compare.compare(NatSpec("br0", "absent"), both).plan.result
    assert left.files[persist.SYSCTL] == persist.sysctl({4})
    assert persist.SYSCTL not in compare.compare(NatSpec("br1", "absent"), left).plan.result.files


def test_a_setting_that_somebody_edited_stays_when_the_bridges_go() -> None:
    mine = persist.sysctl({4}) + "# mine\n"
    seen = dataclasses.replace(compare.compare(parse("10.0.0.0/8"), EMPTY).plan.result, files={persist.SYSCTL: mine})
    assert persist.read_sysctl(mine) is None
    assert compare.compare(NatSpec("br0", "absent"), seen).plan.result.files[persist.SYSCTL] == mine
    assert compare.compare(parse("10.0.0.0/8"), seen).plan.result.files[persist.SYSCTL] == persist.sysctl({4})


def test_forwarding_is_asked_for() -> None:
    off = dataclasses.replace(EMPTY, forwarding6=False)
    with pytest.raises(KvmError, match=r"does not forward IPv6 \(net.ipv6.conf.all.forwarding is 0\)"):
        compare.compare(parse("fd00::/64", ip_forward="check"), off)
    assert compare.compare(parse("10.0.0.0/8", ip_forward="check"), off)


def test_the_diff_and_the_facts_tell_the_versions_apart() -> None:
    one = parse("10.0.0.0/8", "fd00::/64")
    changes = compare.compare(one, EMPTY)
    fields = [change.field for change in changes.changes]
    assert fields[:5] == ["filter", "mangle", "nat", f"filter ({SIX})", f"nat ({SIX})"]
    facts = report.facts(one, changes, changes.plan.result)
    assert "fd00" not in str(facts["rules"])
    assert "10.0.0.0" not in str(facts["rules6"])
    assert [command["command"].split()[0] for command in facts["commands"]] == [
        f"{FOUR}-restore",
        f"{SIX}-restore",
    ]


def test_the_replayed_program_puts_both_versions_back(tmp_path: pathlib.Path) -> None:
    _changes, seen = compare.in_turn(
        [parse("10.0.0.0/8", "fd00::/64"), parse("fd01::/64", bridge="br1"), parse("11.0.0.0/8", bridge="br2")],
        dataclasses.replace(EMPTY, systemd=True),
    )
    program = hosts.programs(tmp_path, seen.files)
    paths = []
    for bridge in seen.records:
        paths.append(tmp_path / f"{bridge}.rules")
        paths[-1].write_text(seen.files[record.path(bridge)], encoding="utf-8")

    def run(name: str) -> list[str]:
        argv = [sys.executable, "-I", "-B", str(program), name, *map(str, paths)]
        done = subprocess.run(argv, input="", capture_output=True, text=True, timeout=20, check=True)
        return [line for line in done.stdout.splitlines() if line.startswith(("-A", "-I"))]

    assert (len(run(FOUR)), len(run(SIX)), run(backend.LEGACY), run(backend.LEGACY6)) == (26, 30, [], [])


def test_rules_of_libvirt_are_warned_of_in_the_versions_that_the_bridge_has() -> None:
    theirs = {"filter": {"LIBVIRT_FWI": ["-o br0 -j REJECT --reject-with icmp6-port-unreachable"]}}
    seen = hosts.seen({FOUR: {}, SIX: theirs}, systemd=True)
    [said] = report.warnings(parse("10.0.0.0/8", "fd00::/64"), seen, first=False)
    assert f"for this bridge in {SIX} (-A LIBVIRT_FWI -o br0 -j REJECT" in said
    assert report.warnings(parse("10.0.0.0/8"), seen, first=False) == []
    seen = hosts.seen({FOUR: theirs, SIX: {}}, systemd=True)
    assert f"in {FOUR} " in report.warnings(parse("10.0.0.0/8", "fd00::/64"), seen, first=False)[0]
