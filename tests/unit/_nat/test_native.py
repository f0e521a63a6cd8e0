# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NAT: whether chains made with nft itself let the packets of guests through."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import native
from hypothesis import given
from hypothesis import strategies as st

ACCEPT, DROP, REJECT = {"accept": None}, {"drop": None}, {"reject": {"type": "icmpx", "expr": "admin-prohibited"}}
ESTABLISHED = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}


def meta(key: str, right: t.Any, op: str = "==") -> dict[str, t.Any]:
    return {"match": {"op": op, "left": {"meta": {"key": key}}, "right": right}}


def payload(protocol: str, field: str, right: t.Any, op: str = "==") -> dict[str, t.Any]:
    return {"match": {"op": op, "left": {"payload": {"protocol": protocol, "field": field}}, "right": right}}


def made(
    *rules: list[t.Any], policy: str = "accept", hook: str = "forward", sets: t.Any = (), **others: list[t.Any]
) -> native.Ruleset:
    """A table with the chain "main" of these rules, and others; as nft lists them."""
    chain = {"family": "inet", "table": "filter", "name": "main", "hook": hook, "prio": 0, "policy": policy}
    listing: dict[str, t.Any] = {"nftables": [{"metainfo": {}}, {"chain": chain}, *sets]}
    for name, some in {"main": list(rules), **others}.items():
        listing["nftables"] += [
            {"rule": {"family": "inet", "table": "filter", "chain": name, "expr": expr}} for expr in some
        ]
    return native.ruleset(native.base_chains(listing), [listing])


def refused(rules: native.Ruleset, out: str | None = None) -> tuple[bool, bool]:
    """Whether what guests send is refused, and the answers."""
    there, back = native.outgoing("br0", "192.168.0.0/24", out)
    return bool(native.refusing(rules, "forward", there)), bool(native.refusing(rules, "forward", back))


@pytest.mark.parametrize(
    ("rules", "policy", "wanted"),
    [
        ([], "accept", (False, False)),
        ([], "drop", (True, True)),
        ([[ESTABLISHED, ACCEPT]], "drop", (True, False)),
        ([[ESTABLISHED, ACCEPT], [REJECT]], "accept", (True, False)),
        ([[meta("iifname", "br0"), ACCEPT]], "drop", (False, True)),
        ([[meta("iifname", "br*"), ACCEPT], [ESTABLISHED, ACCEPT]], "drop", (False, False)),
        ([[meta("iifname", {"set": ["br1", "br0"]}), ACCEPT], [ESTABLISHED, ACCEPT]], "drop", (False, False)),
        ([[meta("iifname", "br1"), ACCEPT], [ESTABLISHED, ACCEPT]], "drop", (True, False)),
        ([[meta("iifname", "br0", "!="), ACCEPT], [ESTABLISHED, ACCEPT]], "drop", (True, False)),
        # It may leave by that device.
        ([[meta("oifname", "eth0"), ACCEPT], [ESTABLISHED, ACCEPT]], "drop", (False, False)),
        ([[payload("ip", "saddr", {"prefix": {"addr": "192.168.0.0", "len": 16}}), ACCEPT]], "drop", (False, False)),
        (
            [[payload("ip", "saddr", {"prefix": {"addr": "10.0.0.0", "len": 8}}), ACCEPT], [ESTABLISHED, ACCEPT]],
            "drop",
            (True, False),
        ),
        # Some of the guests.
        ([[payload("ip", "saddr", "192.168.0.5"), ACCEPT], [ESTABLISHED, ACCEPT]], "drop", (False, False)),
        (
            [[payload("tcp", "dport", {"set": [22, {"range": [400, 500]}]}), ACCEPT], [ESTABLISHED, ACCEPT]],
            "drop",
            (False, False),
        ),
        ([[payload("udp", "dport", 443), ACCEPT], [ESTABLISHED, ACCEPT]], "drop", (True, False)),
        ([[payload("tcp", "dport", 22), ACCEPT], [ESTABLISHED, ACCEPT]], "drop", (True, False)),
        ([[payload("icmp", "type", "echo-request", "!="), ACCEPT], [ESTABLISHED, ACCEPT]], "drop", (True, False)),
        ([[meta("mark", 1), ACCEPT]], "drop", (False, False)),
        ([[{"limit": {"rate": 3}}, DROP]], "accept", (False, False)),
        ([[{"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}}, ACCEPT]], "drop", (True, True)),
        ([[meta("nfproto", "ipv6"), DROP]], "accept", (False, False)),
        ([[{"log": None}, {"counter": {"packets": 0, "bytes": 0}}, DROP]], "accept", (True, True)),
        ([[payload("ether", "saddr", "52:54:00:00:00:01"), DROP]], "accept", (False, False)),
    ],
)
def test_rules(rules: list[t.Any], policy: str, wanted: tuple[bool, bool]) -> None:
    assert refused(made(*rules, policy=policy)) == wanted


def test_jumps_and_returns() -> None:
    jump, goto = [{"jump": {"target": "x"}}], [{"goto": {"target": "x"}}]
    returns = [[{"return": None}], [DROP]]
    assert refused(made(jump, [REJECT], x=[[ESTABLISHED, ACCEPT]])) == (True, False)
    assert refused(made(jump, [REJECT], x=returns)) == (True, True)
    assert refused(made(goto, [REJECT], x=returns)) == (False, False)
    assert refused(made(goto, [ACCEPT], x=returns, policy="drop")) == (True, True)
    assert refused(made([meta("iifname", "br0"), *jump], x=[[DROP]])) == (True, False)
    # Chains that lead to each other, which the kernel would not take.
    assert refused(made(jump, x=[jump], policy="drop")) == (True, True)


def test_maps_of_verdicts() -> None:
    state = {"key": {"ct": {"key": "state"}}}
    usual = [{"vmap": {**state, "data": {"set": [["invalid", DROP], ["established", ACCEPT], ["related", ACCEPT]]}}}]
    assert refused(made(usual, policy="drop")) == (True, False)
    named = [{"map": {"family": "inet", "table": "filter", "name": "m", "elem": [["br0", {"jump": {"target": "x"}}]]}}]
    use = [{"vmap": {"key": {"meta": {"key": "iifname"}}, "data": "@m"}}]
    assert refused(made(use, sets=named, x=[[DROP]])) == (True, False)
    assert refused(made(use, sets=named, x=[[ACCEPT]], policy="drop")) == (False, True)


def test_named_sets() -> None:
    element = {"elem": {"val": {"prefix": {"addr": "192.168.0.0", "len": 24}}, "comment": "guests"}}
    lans = [{"set": {"family": "inet", "table": "filter", "name": "lans", "elem": [element]}}]
    rule = [payload("ip", "saddr", "@lans"), ACCEPT]
    assert refused(made(rule, sets=lans, policy="drop"))[0] is False
    assert refused(made([payload("ip", "daddr", "@lans"), ACCEPT], sets=lans, policy="drop")) == (False, False)
    assert refused(made(rule, policy="drop"))[0] is True


def test_the_device_that_leads_out_is_known() -> None:
    rule = [meta("oifname", "eth0"), ACCEPT]
    assert refused(made(rule, policy="drop"), out="eth1") == (True, True)
    assert refused(made(rule, policy="drop"), out="eth0") == (False, True)


def test_questions_to_the_host() -> None:
    rules = made([payload("udp", "dport", 53), ACCEPT], policy="drop", hook="input")
    assert [bool(native.refusing(rules, "input", native.served("br0", port))) for port in (53, 67)] == [False, True]
    assert native.refusing(rules, "forward", native.served("br0", 67)) == []


def test_a_guest_asks_for_an_address_before_it_has_one() -> None:
    def asks(*rule: t.Any) -> bool:
        rules = made(list(rule), hook="input")
        return not native.refusing(rules, "input", native.served("br0", 67))

    to_all = {"match": {"op": "==", "left": {"fib": {"result": "type", "flags": ["daddr"]}}, "right": "broadcast"}}
    where = {"match": {"op": "==", "left": {"fib": {"result": "oif", "flags": ["saddr", "iif"]}}, "right": False}}
    lan = {"prefix": {"addr": "192.168.0.0", "len": 16}}
    assert not asks(to_all, DROP)
    assert not asks(meta("pkttype", "broadcast"), DROP)
    assert not asks(payload("ip", "saddr", lan, "!="), REJECT)
    assert not asks(payload("ip", "daddr", "255.255.255.255"), DROP)
    assert asks(payload("ip", "saddr", lan), DROP)
    assert asks(payload("udp", "dport", 53), DROP)
    assert asks(where, DROP)


def test_each_version_of_ip_has_its_own_rules() -> None:
    def refused6(*rules: list[t.Any], family: str = "inet") -> bool:
        found = made(*rules, policy="drop")
        chains = tuple(one._replace(family=family) for one in found.chains)
        moved = {(family, *place[1:]): some for place, some in found.rules.items()}
        there = native.outgoing("br0", "fd00:1::/64", None)[0]
        return bool(native.refusing(native.Ruleset(chains, moved, found.sets), "forward", there))

    assert refused6()
    assert refused6(family="ip6")
    assert not refused6(family="ip")
    assert refused6([payload("ip", "saddr", "192.168.0.1"), ACCEPT])
    assert refused6([meta("nfproto", "ipv4"), ACCEPT])
    assert refused6([payload("ip", "ttl", 1, "!="), ACCEPT])
    assert not refused6([payload("ip6", "saddr", {"prefix": {"addr": "fd00::", "len": 16}}), ACCEPT])
    assert refused6([payload("ip6", "saddr", {"prefix": {"addr": "fd01::", "len": 16}}), ACCEPT])
    # Some of the guests.
    assert not refused6([payload("ip6", "saddr", "fd00:1::5"), ACCEPT])
    only6 = made([payload("ip6", "saddr", "fd00:1::5"), ACCEPT], [ESTABLISHED, ACCEPT], policy="drop")
    assert refused(only6) == (True, False)


def test_only_chains_of_others_that_guests_pass() -> None:
    def chain(**what: t.Any) -> dict[str, t.Any]:
        return {
            "chain": {"family": "ip", "table": "filter", "name": "FORWARD", "hook": "forward", "policy": "drop", **what}
        }

    listing = {
        "nftables": [
            chain(),
            chain(name="forward"),
            chain(family="ip6"),
            chain(family="ip6", name="forward"),
            chain(family="inet", table="x", name="FORWARD"),
            chain(family="inet", table="x", name="out", hook="output"),
            {"chain": {"family": "inet", "table": "x", "name": "plain"}},
        ]
    }
    assert [str(one) for one in native.base_chains(listing)] == [
        "chain forward of table ip filter",
        "chain forward of table ip6 filter",
        "chain FORWARD of table inet x",
    ]
    assert native.base_chains({}) == ()


#: What a rule may ask, and what a packet then is.
FIELDS = {
    "iifname": (lambda v: meta("iifname", v), ["br0", "br1"]),
    "oifname": (lambda v: meta("oifname", v), ["eth0", "br0"]),
    "l4proto": (lambda v: meta("l4proto", v), ["tcp", "udp"]),
    "state": (lambda v: {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": v}}, ["new", "established"]),
    "dport": (lambda v: payload("th", "dport", v), [22, 443]),
    "mark": (lambda v: meta("mark", v), [0, 1]),
}
CONDITIONS = st.sampled_from([(field, value) for field, (_make, values) in FIELDS.items() for value in values])
RULES = st.lists(
    st.tuples(st.lists(CONDITIONS, max_size=2), st.sampled_from(["accept", "drop", "jump", "goto", "return"])),
    max_size=6,
)
PACKETS = st.fixed_dictionaries({field: st.sampled_from(values) for field, (_make, values) in FIELDS.items()})


def kernel(packet: dict[str, t.Any], chains: dict[str, t.Any], name: str) -> str | None:
    """What becomes of one packet in a chain; None = it comes back."""
    for conditions, verdict in chains[name]:
        if all(packet[field] == value for field, value in conditions):
            if verdict in ("accept", "drop"):
                return str(verdict)
            if verdict == "return":
                return None
            found = kernel(packet, chains, "x")
            if found is not None or verdict == "goto":
                return found
    return None


def listed(rules: t.Any) -> list[t.Any]:
    return [
        [
            *(FIELDS[field][0](value) for field, value in conditions),
            {verdict: {"target": "x"} if verdict in ("jump", "goto") else None},
        ]
        for conditions, verdict in rules
    ]


@given(
    RULES, RULES, st.sampled_from(["accept", "drop"]), PACKETS, st.sets(st.sampled_from(["oifname", "dport", "mark"]))
)
def test_what_is_called_refused_is_refused(
    main: t.Any, inner: t.Any, policy: str, packet: dict[str, t.Any], unknown: set[str]
) -> None:
    inner = [rule for rule in inner if rule[1] not in ("jump", "goto")]
    known = {**{field: value for field, value in packet.items() if field not in unknown}, "status": ()}
    rules = made(*listed(main), policy=policy, x=listed(inner))
    said = bool(native.refusing(rules, "forward", known))
    really = (kernel(packet, {"main": main, "x": inner}, "main") or policy) == "drop"
    if said:
        assert really
    elif not unknown:
        # With all of the packet known, it is also the other way round.
        assert not really
