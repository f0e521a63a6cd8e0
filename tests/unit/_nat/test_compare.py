# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NAT: what a bridge needs on a host, one after the other; the record; the program that replays it."""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
import pathlib
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import (
    backend,
    compare,
    dialect,
    persist,
    placing,
    record,
    rules,
    tables,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.observe import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.shape import THIRTEEN, Shape
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.spec import NatSpec
from ansible_collections.hypervisor.kvm.tests.unit._nat import hosts

EMPTY = hosts.seen({backend.NFT: {}, backend.LEGACY: {}}, forwarding=False)
BR0 = NatSpec("br0", subnets=("192.168.0.0/24",))
BR1 = NatSpec("br1", subnets=("192.168.1.0/24",))


def gone(spec: NatSpec) -> NatSpec:
    return NatSpec(spec.bridge, "absent")


def after(spec: NatSpec, seen: Snapshot = EMPTY) -> Snapshot:
    result = compare.compare(spec, seen).plan.result
    assert isinstance(result, Snapshot)
    return result


def fields(spec: NatSpec, seen: Snapshot) -> list[str]:
    return [change.field for change in compare.compare(spec, seen).changes]


def own(seen: Snapshot, name: str = backend.NFT) -> dict[str, dict[str, list[str]]]:
    """Tables without their empty chains."""
    found = {
        table: {chain: lines for chain, lines in chains.items() if lines} for table, chains in seen.tables[name].items()
    }
    return {table: chains for table, chains in found.items() if chains}


def test_from_nothing_and_again() -> None:
    assert fields(BR0, EMPTY) == ["filter", "mangle", "nat", "ip_forward", record.path("br0"), persist.SYSCTL]
    seen = after(BR0)
    assert own(seen) == rules.render("br0", BR0.subnets)
    assert seen.forwarding
    assert fields(BR0, seen) == []


def test_the_diff_shows_where_each_rule_is() -> None:
    busy = dataclasses.replace(
        EMPTY, tables={backend.NFT: {"filter": {"FORWARD": ["-j DOCKER-USER", "-j DROP"]}}, backend.LEGACY: {}}
    )
    change = compare.compare(BR0, busy).changes[0]
    assert change.before == []
    assert change.after[0] == "INPUT[1] -i br0 -p udp -m udp --dport 53 -j ACCEPT"
    assert change.after[-1] == "FORWARD[6] -i br0 -j REJECT --reject-with icmp-port-unreachable"


def test_absent_takes_all_away_also_when_only_the_record_is_left() -> None:
    seen = after(gone(BR0), after(BR0))
    assert (own(seen), seen.records, seen.files, seen.forwarding) == ({}, {}, {}, True)
    assert fields(gone(BR0), seen) == []
    booted = dataclasses.replace(after(BR0), tables=EMPTY.tables, forwarding=False)
    assert fields(gone(BR0), booted) == [record.path("br0"), persist.SYSCTL]


def test_the_setting_of_the_kernel_goes_with_the_last_bridge_and_only_if_it_is_ours() -> None:
    both = after(BR1, after(BR0))
    one = after(gone(BR0), both)
    assert persist.SYSCTL in one.files
    assert own(one) == rules.render("br1", BR1.subnets)
    assert persist.SYSCTL not in after(gone(BR1), one).files
    edited = dataclasses.replace(one, files={**one.files, persist.SYSCTL: "net.ipv4.ip_forward = 1 # mine\n"})
    assert persist.SYSCTL in after(gone(BR1), edited).files


def test_a_changed_subnet_leaves_nothing_of_the_old_one() -> None:
    new = dataclasses.replace(BR0, subnets=("10.0.0.0/8", "172.20.0.0/16"))
    changes = compare.compare(new, after(BR0))
    assert own(changes.plan.result) == rules.render("br0", new.subnets)
    # The record that is written first knows both, so that a kill in between loses none of them.
    ahead = record.parse(changes.plan.ahead[record.path("br0")])
    assert ahead.rules == rules.render("br0", new.subnets)
    assert rules.without(rules.render("br0", BR0.subnets), new_rules := ahead.rules) == ahead.stale
    assert new_rules != ahead.stale


def test_a_kill_after_the_early_record_is_repaired() -> None:
    new = dataclasses.replace(BR0, subnets=("10.0.0.0/8",))
    before = after(BR0)
    ahead = compare.compare(new, before).plan.ahead[record.path("br0")]
    killed = dataclasses.replace(
        before, records={"br0": record.parse(ahead)}, files={**before.files, record.path("br0"): ahead}
    )
    assert own(after(new, killed)) == rules.render("br0", new.subnets)
    assert own(after(gone(BR0), killed)) == {}
    assert record.parse(after(new, killed).files[record.path("br0")]).stale == {}


def test_rules_typed_by_hand_are_adopted() -> None:
    typed = dataclasses.replace(
        EMPTY, tables={backend.NFT: rules.render("br0", BR0.subnets), backend.LEGACY: {}}, forwarding=True
    )
    assert fields(BR0, typed) == [record.path("br0"), persist.SYSCTL]
    other = NatSpec("br0", subnets=("10.0.0.0/8",))
    assert own(after(other, typed)) == rules.render("br0", other.subnets)
    assert own(after(gone(BR0), typed)) == {}


def test_a_single_rule_that_looks_alike_stays() -> None:
    lines = {
        "filter": {
            "INPUT": ["-i br0 -p udp -m udp --dport 67 -j ACCEPT"],
            "FORWARD": ["-s 10.0.0.0/8 -i br0 -j ACCEPT"],
        }
    }
    seen = dataclasses.replace(EMPTY, tables={backend.NFT: lines, backend.LEGACY: {}})
    assert own(after(gone(BR0), seen)) == lines


def test_another_backend_takes_over_completely() -> None:
    moved = after(dataclasses.replace(BR0, backend="iptables-legacy"), after(BR0))
    assert own(moved) == {}
    assert own(moved, backend.LEGACY) == rules.render("br0", BR0.subnets)
    assert fields(BR0, moved) == []  # auto stays where the rules are


@pytest.mark.parametrize("then", [backend.NFT, backend.LEGACY, dialect.NFTABLES, None])
@pytest.mark.parametrize("six", [(), ("fd00:1::/64",)])
def test_a_kill_amid_a_move_to_another_backend_is_repaired(then: str | None, six: tuple[str, ...]) -> None:
    names = [name for one in (backend.NFT, backend.LEGACY, dialect.NFTABLES) for name in (one, record.six(one))]
    one = dataclasses.replace(BR0, backend=backend.NFT, subnets=(*BR0.subnets, *six))
    before = after(one, dataclasses.replace(EMPTY, tables={name: {} for name in names}))
    path = record.path("br0")
    plan = compare.compare(dataclasses.replace(one, backend=backend.LEGACY), before).plan
    both = {name: rules.union(before.tables[name], plan.result.tables[name]) for name in names}
    for tables_then in (before.tables, both, plan.result.tables):
        known = record.parse(plan.ahead[path])
        killed = dataclasses.replace(before, tables=tables_then, records={"br0": known}, files={path: plan.ahead[path]})
        wanted = gone(one) if then is None else dataclasses.replace(one, backend=then)
        # Once more amid the next one; what that one leaves is known as well.
        again = compare.compare(wanted, killed).plan
        for text in filter(None, (again.ahead.get(path), plan.ahead[path])):
            seen = dataclasses.replace(killed, records={"br0": record.parse(text)}, files={path: text})
            result = after(wanted, seen)
            for name in names:
                place = then is not None and name in (then, record.six(then))
                expected = rules.render("br0", one.subnets, version=record.version(name)) if place else {}
                assert own(result, name) == {
                    table: {chain: some for chain, some in chains.items() if some}
                    for table, chains in expected.items()
                    if any(chains.values())
                }
            assert then is None or record.parse(result.files[path]).left == ()
            assert not compare.compare(wanted, result)


def exchange(names: t.Sequence[str], shape: Shape = THIRTEEN, backend: str = "auto") -> tuple[Snapshot, list[NatSpec]]:
    """Bridges with a subnet each, and what is declared when each gets that of the one behind it."""
    subnets = [f"192.168.{number}.0/24" for number in range(len(names))]
    seen = dataclasses.replace(EMPTY, tables={**EMPTY.tables, dialect.NFTABLES: {}}, called=frozenset(names))
    for name, subnet in zip(names, subnets):
        seen = after(NatSpec(name, subnets=(subnet,), shape=shape, backend=backend), seen)
    later = [*subnets[1:], subnets[0]]
    return seen, [NatSpec(name, subnets=(subnet,), shape=shape, backend=backend) for name, subnet in zip(names, later)]


@pytest.mark.parametrize("shape", [THIRTEEN, Shape(exempt_local=True, inter_bridge="isolate")])
@pytest.mark.parametrize("order", list(itertools.permutations(("br0", "br1", "br2"))))
def test_bridges_that_exchange_their_subnets(order: tuple[str, ...], shape: Shape) -> None:
    seen, wanted = exchange(order, shape)
    fresh = functools.reduce(lambda host, one: after(one, host), wanted, dataclasses.replace(EMPTY, called=seen.called))
    result = compare.in_turn(wanted, seen)[1]

    def counted(host: Snapshot) -> dict[tuple[str, str], list[str]]:
        return {(table, chain): sorted(lines) for table, chains in own(host).items() for chain, lines in chains.items()}

    assert counted(result) == counted(fresh)
    assert {name: one.rules for name, one in result.records.items()} == {
        name: one.rules for name, one in fresh.records.items()
    }
    assert not any(changes for changes in compare.in_turn(wanted, result)[0])


def test_bridges_that_exchange_their_subnets_and_go_to_another_backend() -> None:
    seen, wanted = exchange(("br0", "br1"))
    wanted[0] = dataclasses.replace(wanted[0], backend=dialect.NFTABLES)
    result = compare.in_turn(wanted, seen)[1]
    assert own(result) == rules.render("br1", wanted[1].subnets)
    assert own(result, dialect.NFTABLES) == rules.render("br0", wanted[0].subnets)


@pytest.mark.parametrize("order", [("br0", "br1", "br2"), ("br2", "br0", "br1")])
def test_a_kill_amid_an_exchange_of_subnets_is_repaired(order: tuple[str, ...]) -> None:
    seen, wanted = exchange(order)
    changes, result = compare.in_turn(wanted, seen)
    ahead = {path: text for one in changes for path, text in one.plan.ahead.items()}
    for tables_then in (seen.tables, result.tables):
        # All records are written ahead, the rules are the old ones or the new ones.
        for texts in itertools.permutations(ahead.values()):
            found = copy.deepcopy(tables_then[backend.NFT])
            placing.restored(found, [text for text in (tables.part(one, backend.NFT) for one in texts) if text])
            for one in wanted:
                for table, chains in rules.render(one.bridge, one.subnets).items():
                    for chain, lines in chains.items():
                        assert [found[table][chain].count(line) for line in lines] == [1] * len(lines)
        killed = dataclasses.replace(
            seen,
            tables=tables_then,
            files=ahead,
            records={one.bridge: one for one in map(record.parse, ahead.values())},
        )
        again = compare.in_turn(wanted, killed)[1]
        assert sorted(own(again)["nat"]["POSTROUTING"]) == sorted(own(result)["nat"]["POSTROUTING"])


def test_subnets_of_a_recorded_bridge_are_taken() -> None:
    with pytest.raises(
        KvmError, match=r"192.168.0.0/16 overlaps 192.168.0.0/24 of bridge br0 \(in /etc/kvm_nat/br0.rules\)"
    ):
        compare.compare(NatSpec("br1", subnets=("192.168.0.0/16",)), after(BR0))
    moved = NatSpec("br1", subnets=BR0.subnets)
    changes, result = compare.in_turn([gone(BR0), moved], after(BR0))
    assert own(result) == rules.render("br1", BR0.subnets)
    lines = [
        line
        for _name, table, text in compare.payloads([one.plan for one in changes], False)
        for line in text.splitlines()
    ]
    assert sum(line.startswith(("-A", "-I")) for line in lines) == 13


def test_persistence() -> None:
    with pytest.raises(KvmError, match="persist: systemd needs a running systemd"):
        compare.compare(dataclasses.replace(BR0, persist="systemd"), EMPTY)
    systemd = dataclasses.replace(EMPTY, systemd=True)
    changes = compare.compare(BR0, systemd)
    assert changes.plan.unit == "start"
    seen = changes.plan.result
    assert {persist.UNIT, persist.REPLAY, persist.PLACE} <= set(seen.files)
    assert fields(BR0, seen) == []
    assert fields(BR0, dataclasses.replace(seen, unit_on=False)) == ["unit"]
    without = compare.compare(dataclasses.replace(BR0, persist="none"), seen)
    assert without.plan.unit == "stop"
    assert persist.UNIT not in without.plan.result.files


def test_forwarding() -> None:
    with pytest.raises(KvmError, match="does not forward IPv4"):
        compare.compare(dataclasses.replace(BR0, ip_forward="check"), EMPTY)
    ignored = compare.compare(dataclasses.replace(BR0, ip_forward="ignore"), EMPTY)
    assert not ignored.plan.forwarding
    assert persist.SYSCTL not in ignored.plan.files


def test_the_tables_come_in_the_order_that_is_closed_at_every_step() -> None:
    adding = compare.compare(BR0, EMPTY).plan
    assert [table for _name, table, _text in compare.payloads([adding], False)] == ["filter", "mangle", "nat"]
    removing = compare.compare(gone(BR0), after(BR0)).plan
    assert [table for _name, table, _text in compare.payloads([removing], True)] == ["nat", "mangle", "filter"]


@pytest.mark.parametrize("damage", ["", "*filter\n", "# bridge: br0\n", "rubbish\n"])
def test_a_damaged_record_is_no_record(damage: str) -> None:
    with pytest.raises(ValueError, match=r"line|COMMIT"):
        record.parse(damage)


def test_the_replayed_program_puts_the_rules_where_the_module_has_them(tmp_path: pathlib.Path) -> None:
    systemd = dataclasses.replace(EMPTY, systemd=True)
    _changes, seen = compare.in_turn([BR0, BR1], systemd)
    program = hosts.programs(tmp_path, seen.files)
    paths = []
    for bridge in ("br0", "br1"):
        paths.append(tmp_path / f"{bridge}.rules")
        paths[-1].write_text(seen.files[record.path(bridge)], encoding="utf-8")

    def run(save: str, name: str = backend.NFT) -> str:
        argv = [sys.executable, "-I", "-B", str(program), name, *map(str, paths)]
        return subprocess.run(argv, input=save, capture_output=True, text=True, timeout=20, check=True).stdout

    payload = run("")
    lines = [line for line in payload.splitlines() if line.startswith(("-A", "-I"))]
    assert len(lines) == 26
    in_place = record.text(record.Record("x", "y", "z", ("1.0.0.0/8",), seen.tables[backend.NFT]))
    assert run(in_place) == ""
    assert run("", backend.LEGACY) == ""
