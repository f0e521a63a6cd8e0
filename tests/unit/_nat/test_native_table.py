# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NAT: the backend nftables, a table of our own."""

from __future__ import annotations

import dataclasses
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
    kernel,
    native,
    preference,
    record,
    report,
    rules,
    saved,
    spec,
    verdicts,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.observe import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.spec import NatSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Tables
from ansible_collections.hypervisor.kvm.tests.unit._nat import hosts
from hypothesis import given
from hypothesis import strategies as st

OURS, OURS6 = dialect.NFTABLES, dialect.NFTABLES6
NAMES = (backend.NFT, backend.LEGACY, OURS)
NET = "192.168.0.0/24"


def host(**more: t.Any) -> Snapshot:
    return hosts.seen({name: {} for name in (*NAMES, OURS6)}, **more)


def parse(bridge: str = "br0", **params: t.Any) -> NatSpec:
    return spec.parse({"bridge": bridge, "subnets": [NET], "backend": OURS, **params})


def full(some: Tables) -> Tables:
    """Without chains that have no rules."""
    chains = {table: {chain: lines for chain, lines in one.items() if lines} for table, one in some.items()}
    return {table: one for table, one in chains.items() if one}


def gone(bridge: str) -> NatSpec:
    return spec.parse({"bridge": bridge, "state": "absent"})


def carried_out(before: dict[str, t.Any], text: str, family: str) -> dict[str, t.Any]:
    """What nft makes of a script, with a table as it lists it."""
    found: dict[str, list[str]] = {name: list(lines) for name, lines in before.items()}
    for line in text.splitlines():
        verb, kind, *words = line.split(" ", 4)
        assert words[:2] == [family, "kvm_nat"], line
        if (verb, kind) == ("add", "chain"):
            found.setdefault(words[2].split()[0], [])
        elif verb == "flush":
            found[words[2]] = []
        elif (verb, kind) == ("add", "rule"):
            chain, _space, rule = words[2].partition(" ")
            found[chain].append(rule)
        elif (verb, kind) == ("delete", "chain"):
            assert found.pop(words[2]) == []
        elif (verb, kind) == ("delete", "table"):
            found = {}
    return found


def read(table: dict[str, t.Any], family: str) -> dict[str, dict[str, list[str]]]:
    headers = {name: definition for name, *definition in dialect.CHAINS.values()}
    lines = [f"table {family} kvm_nat {{"]
    for name, some in table.items():
        kind, hook, priority = headers[name]
        lines += [f"chain {name} {{", f"type {kind} hook {hook} priority {priority}; policy accept;", *some, "}"]
    return dialect.read("\n".join([*lines, "}"]), family)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["recipe", "isolate", "allow", None])), min_size=1, max_size=6
    )
)
def test_what_is_written_is_what_was_planned(calls: list[tuple[int, str | None]]) -> None:
    seen, table = host(), {}
    for number, says in calls:
        bridge = f"br{number}"
        one = gone(bridge) if says is None else parse(bridge, subnets=[f"10.{number}.0.0/16"], inter_bridge=says)
        plan = compare.compare(one, seen).plan
        for name, text in compare.inputs([plan], closing=says is None):
            assert name == OURS
            table = carried_out(table, text, "ip")
        seen = plan.result
        wanted = {
            place: some for place in dialect.CHAINS if (some := seen.tables[OURS].get(place[0], {}).get(place[1]))
        }
        found = {
            (name, chain): some for name, chains in read(table, "ip").items() for chain, some in chains.items() if some
        }
        assert found == wanted


def test_the_rules_are_in_one_backend_only_and_nothing_is_left() -> None:
    seen = compare.compare(parse(), host()).plan.result
    assert full(seen.tables[OURS]) == rules.render("br0", [NET])
    assert seen.tables[backend.NFT] == {}
    assert record.parse(seen.files[record.path("br0")]).backend == OURS
    plan = compare.compare(gone("br0"), seen).plan
    assert compare.inputs([plan], closing=True) == [(OURS, "add table ip kvm_nat\ndelete table ip kvm_nat\n")]


def test_what_somebody_has_put_into_the_table_stays() -> None:
    seen = dataclasses.replace(host(), tables={**host().tables, OURS: {dialect.OTHERS: {"set friends": []}}})
    after = compare.compare(parse(), seen).plan.result
    ((_name, text),) = compare.inputs([compare.compare(gone("br0"), after).plan], closing=True)
    assert "delete table" not in text
    assert text.count("delete chain") == 4


def test_a_bridge_that_moves_has_its_rules_twice_for_a_moment() -> None:
    seen = compare.compare(parse(backend=backend.NFT), host()).plan.result
    there = compare.compare(parse(), seen).plan
    assert [name for name, _text in compare.inputs([there], closing=False)] == [OURS, backend.NFT]
    back = compare.compare(parse(backend=backend.NFT), there.result).plan
    assert [name for name, _text in compare.inputs([back], closing=False)] == [backend.NFT, OURS]
    assert full(back.result.tables[backend.NFT]) == rules.render("br0", [NET])


def test_both_versions_have_a_table_and_the_record_knows() -> None:
    one = parse(subnets=[NET, "fd00:1::/64"])
    plan = compare.compare(one, host()).plan
    assert [name for name, _text in compare.inputs([plan], closing=False)] == [OURS, OURS6]
    known = record.parse(plan.result.files[record.path("br0")])
    assert [full(known.of(name)[0]) for name in (OURS, OURS6)] == [
        full(plan.result.tables[name]) for name in (OURS, OURS6)
    ]
    assert not compare.compare(one, plan.result)
    assert {record.version(name) for name in (OURS6, backend.NFT6, backend.LEGACY6)} == {6}
    assert {record.version(name) for name in NAMES} == {4}


def test_the_commands_are_those_that_are_run() -> None:
    changes = compare.compare(parse(), host())
    one = report.facts(parse(), changes, changes.plan.result)
    assert one["tables_changed"] == ["filter", "mangle", "nat"]
    assert one["backend"] == OURS
    (command,) = one["commands"]
    assert command["command"].endswith(" -f -")
    assert 'add rule ip kvm_nat forward iifname "br0" oifname "br0" counter accept' in command["input"]


def test_what_is_replayed_is_what_was_written(tmp_path: pathlib.Path) -> None:
    seen = compare.compare(parse(subnets=[NET, "fd00:1::/64"]), host(systemd=True)).plan.result
    program = hosts.programs(tmp_path, seen.files)
    (tmp_path / "br0.rules").write_text(seen.files[record.path("br0")], encoding="utf-8")

    def run(listing: str, name: str) -> str:
        argv = [sys.executable, "-I", "-B", str(program), name, str(tmp_path / "br0.rules")]
        return subprocess.run(argv, input=listing, capture_output=True, text=True, timeout=20, check=True).stdout

    for name, family in dialect.FAMILIES.items():
        table = carried_out({}, run("", name), family)
        found = read(table, family)
        for place in dialect.CHAINS:
            assert found.get(place[0], {}).get(place[1], []) == seen.tables[name].get(place[0], {}).get(place[1], [])
        lines = [f"table {family} kvm_nat {{"]
        for chain, some in table.items():
            kind, hook, priority = {one[0]: one[1:] for one in dialect.CHAINS.values()}[chain]
            lines += [f"chain {chain} {{", f"type {kind} hook {hook} priority {priority}; policy accept;", *some, "}"]
        assert run("\n".join([*lines, "}"]), name) == ""


DROP = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n{}COMMIT\n"
OUT = "-A FORWARD -i br0 -o eth0 -j ACCEPT\n"
BACK = "-A FORWARD -o br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        (DROP.format(""), True),
        (DROP.format(OUT), True),
        (DROP.format(OUT + BACK), False),
        (DROP.format(OUT.replace("-o eth0", "-d 10.0.0.0/8") + BACK), False),
        (DROP.format("-A FORWARD -m set --match-set x src -j ACCEPT\n"), False),
        (DROP.format("-A FORWARD -j ACCEPT\n"), False),
        (DROP.replace("FORWARD DROP", "FORWARD ACCEPT").format("-A FORWARD -j REJECT\n"), True),
        (DROP.replace("FORWARD DROP", "FORWARD ACCEPT").format("-A FORWARD -i br1 -j DROP\n"), False),
        (DROP.format("".join(f"-A FORWARD -d 10.0.{number}.0/24 -j DROP\n" for number in range(99))), False),
        ("", False),
    ],
)
def test_what_iptables_refuses_no_table_of_nft_lets_through(text: str, refused: bool) -> None:
    policies = {backend.NFT: saved.parse(text)}
    assert verdicts.refuses_forwarding(policies[backend.NFT], "br0", NET, None) is refused
    seen = host(policies=policies)
    if refused:
        with pytest.raises(
            KvmError, match=r"br0: iptables-nft refuses in table filter.*192.168.0.0/24.*backend: iptables\)"
        ):
            compare.compare(parse(), seen)
    else:
        assert compare.compare(parse(), seen)
    # Rules of iptables are beside it, and win.
    assert compare.compare(parse(backend=backend.NFT), seen)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("-A FORWARD -i docker0 -j ACCEPT\n-A FORWARD -o docker0 -j ACCEPT\n", True),
        (
            "-A FORWARD -i docker0 -j ACCEPT\n-A FORWARD -o docker0 -j ACCEPT\n-A FORWARD -i br0 -o eth1 -j ACCEPT\n"
            + BACK,
            False,
        ),
        ("-A FORWARD -o eth0 -j ACCEPT\n" + BACK.replace("-o br0 ", ""), False),
        # Pods have addresses of their own.
        ("-A FORWARD -s 10.244.0.0/16 -j ACCEPT\n-A FORWARD -d 10.244.0.0/16 -j ACCEPT\n", False),
    ],
)
def test_what_containers_may_is_nothing_to_guests(text: str, refused: bool) -> None:
    seen = host(policies={backend.NFT: saved.parse(DROP.format(text))}, leads_out={4: "eth0"})
    if refused:
        with pytest.raises(KvmError, match="iptables-nft refuses in table filter, chain FORWARD"):
            compare.compare(parse(), seen)
    else:
        assert compare.compare(parse(), seen)
    elsewhere = host(policies={backend.NFT: saved.parse(DROP.format(text))})
    assert compare.compare(parse(), elsewhere)


def test_services_that_iptables_refuses_are_named() -> None:
    shut = "*filter\n:INPUT DROP [0:0]\n{}COMMIT\n"
    for text, words in (
        ("", "DNS and DHCP"),
        ("-A INPUT -p udp -m udp --dport 67 -j ACCEPT\n", "DNS"),
        ("-A INPUT -i br0 -d 192.168.0.1/32 -j ACCEPT\n", "DHCP"),
        ("-A INPUT -i br0 -j ACCEPT\n", None),
    ):
        seen = host(policies={backend.NFT: saved.parse(shut.format(text))}, systemd=True)
        found = report.warnings(parse(), seen, first=True)
        assert [words is not None and f"refuses {words} from" in one for one in found] == [True] * (words is not None)
        assert report.warnings(parse(dns=False, dhcp=False), seen, first=True) == []


def test_auto_is_nft_where_there_is_no_iptables_and_nft_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    chains: list[kernel.BaseChain] | None = []
    monkeypatch.setattr(kernel, "base_chains", lambda: chains)
    monkeypatch.setattr(backend, "_STARTED", ())
    monkeypatch.setattr(backend, "legacy_tables", lambda _number: False)
    nft = {OURS: ("nft", "nft"), OURS6: ("nft", "nft")}

    def prefer(host: backend.Host) -> preference.Preferred:
        return preference.prefer(host, {})

    assert prefer(backend.Host(backend.NFT, nft)) == (backend.NFT, {}, ())
    chains = [kernel.BaseChain("inet", "filter", "input")]
    assert prefer(backend.Host(backend.NFT, nft)) == (OURS, {}, ())
    assert prefer(backend.Host(backend.NFT, {})) == (backend.NFT, {}, ())
    assert prefer(backend.Host(backend.NFT, {**nft, backend.NFT: ("save", "restore")})) == (backend.NFT, {}, ())


def test_our_own_table_is_none_of_others() -> None:
    chain = {"family": "ip", "table": "kvm_nat", "name": "forward", "hook": "forward", "policy": "accept"}
    assert native.base_chains({"nftables": [{"chain": chain}]}) == ()
    assert len(native.base_chains({"nftables": [{"chain": {**chain, "table": "other"}}]})) == 1


def test_rules_of_libvirt_for_the_bridge_are_seen_beside_the_table() -> None:
    text = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -j LIBVIRT_FWI\n-A LIBVIRT_FWI -o br0 -s 10.0.0.0/8 -j ACCEPT\nCOMMIT\n"
    seen = host(policies={backend.NFT: saved.parse(text)}, systemd=True)
    (found,) = report.warnings(parse(), seen, first=True)
    assert "libvirt has rules of its own for this bridge in iptables-nft (-A LIBVIRT_FWI -o br0" in found
    assert report.warnings(parse("br1"), seen, first=True) == []
