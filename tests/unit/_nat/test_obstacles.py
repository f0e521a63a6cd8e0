# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NAT: what others refuse still when the rules of a bridge are in place."""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import (
    backend,
    compare,
    dialect,
    native,
    obstacles,
    report,
    rules,
    saved,
    spec,
    surroundings,
    tables,
    verdicts,
)
from ansible_collections.hypervisor.kvm.tests.unit._nat import hosts
from hypothesis import given
from hypothesis import strategies as st

CLOSED = "-A DOCKER-USER -i docker0 -j ACCEPT\n-A DOCKER-USER -j DROP\n"


def said(
    text: str,
    name: str = backend.NFT,
    policies: str = "",
    subnet: str = "192.168.0.0/24",
    ports: t.Sequence[dict[str, t.Any]] | None = None,
    **others: t.Any,
) -> list[str]:
    """The warnings for br0 among these rules of table filter."""
    listing = f"*filter\n{text}COMMIT\n"
    params = {"bridge": "br0", "subnets": [subnet], "backend": name}
    declared = spec.parse({"state": None, "port_forwards": ports, **params})
    beside = {backend.NFT: saved.parse(f"*filter\n{policies}COMMIT\n")} if policies else {}
    six = backend.six(name) if ":" in subnet else name
    seen = hosts.seen({name: {}, six: tables.parse(listing)}, policies=beside, **others)
    return obstacles.overruled(declared, compare.compare(declared, seen).plan.result)


def test_a_policy_that_refuses_the_answers_of_the_host() -> None:
    closed = (
        "*mangle\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n*filter\n:INPUT DROP [1:2]\n:FORWARD DROP [0:0]\n:OUTPUT DROP [3:4]\n"
    )
    assert saved.closed(f"{closed}-A INPUT -j DROP\nCOMMIT\n") == {"INPUT", "FORWARD", "OUTPUT"}
    assert saved.closed("*nat\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n") == frozenset()
    for chains, text, words in (
        ({"OUTPUT"}, ":OUTPUT DROP [0:0]\n", ["(filter OUTPUT, policy DROP)"]),
        ({"OUTPUT"}, ":OUTPUT DROP [0:0]\n-A OUTPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n", []),
        ({"INPUT", "FORWARD"}, ":OUTPUT ACCEPT [0:0]\n", []),
    ):
        found = said(text, closed={backend.NFT: frozenset(chains)})
        assert len(found) == len(words)
        assert [word in line for word, line in zip(words, found)] == [True] * len(words)


@pytest.mark.parametrize(
    ("marked", "words"),
    [
        ("-A PREROUTING -i br0 -j MARK --set-xmark 0x1/0xffffffff\n", None),
        ("-A PREROUTING -i br1 -j MARK --set-xmark 0x1/0xffffffff\n", "-m mark ! --mark 0x1 -j DROP"),
        ("-A FORWARD -i br0 -o eth0 -j MARK --set-xmark 0x1/0xffffffff\n", None),
        ("-A PREROUTING -m set --match-set x src -j MARK --set-xmark 0x1/0xffffffff\n", None),
    ],
)
def test_marks_that_other_tables_give_count(marked: str, words: str | None) -> None:
    chains = ":PREROUTING ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
    drops = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -i br0 -m mark ! --mark 0x1 -j DROP\nCOMMIT\n"
    found = saved.parse(f"{drops}*mangle\n{chains}{marked}COMMIT\n")
    rule = verdicts.overruled(found, "br0", "192.168.0.0/24", "eth0")
    assert (rule is None) if words is None else (words in str(rule))
    assert verdicts.refuses_forwarding(found, "br0", "192.168.0.0/24", None, "eth0") is (words is not None)
    answers = drops.replace("-i br0 -m mark ! --mark", "-o br0 -m connmark ! --mark")
    connection = marked.replace("MARK --set-xmark", "CONNMARK --set-xmark")
    found = saved.parse(f"{answers}*mangle\n{chains}{connection}COMMIT\n")
    assert (verdicts.overruled(found, "br0", "192.168.0.0/24", "eth0") is None) is (words is None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", None),
        ("-A FORWARD -j DROP\n", None),
        ("-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -j RETURN\n", None),
        (f"-A FORWARD -j DOCKER-USER\n{CLOSED}", "(filter DOCKER-USER[2] -j DROP)"),
        ("-A FORWARD -s 192.168.0.0/16 -j REJECT\n", "(filter FORWARD[1] -s 192.168.0.0/16 -j REJECT)"),
        # The answers.
        ("-A FORWARD ! -i br0 -o br0 -p tcp -j DROP\n", "(filter FORWARD[1] ! -i br0 -o br0 -p tcp -j DROP)"),
        # To some places only, or nobody knows.
        ("-A FORWARD -d 10.0.0.0/8 -j DROP\n", None),
        ("-A FORWARD -i br0 -p tcp -m owner --uid-owner 0 -j DROP\n", None),
        ("-A FORWARD -o eth1 -p tcp -j DROP\n", None),
        (
            "-A OUTPUT -o lo -j ACCEPT\n-A OUTPUT -j DROP\n",
            "answers of this host to its guests, as of DNS and DHCP (filter OUTPUT[2] -j DROP)",
        ),
        ("-A OUTPUT -m state --state RELATED,ESTABLISHED -j ACCEPT\n-A OUTPUT -j DROP\n", None),
        # What takes too long to follow is not followed.
        (f"-A FORWARD -j DOCKER-USER\n{CLOSED}" + "-A other -s 10.0.0.1/32 -j DROP\n" * 1000, None),
    ],
)
def test_what_comes_before_the_rules_of_the_bridge(text: str, words: str | None) -> None:
    found = said(text)
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


@pytest.mark.parametrize(
    ("text", "source", "words"),
    [
        ("", None, None),
        (
            "-A FORWARD -d 192.168.0.7/32 -p tcp -m tcp --dport 80 -j DROP\n",
            None,
            "FORWARD[1] -d 192.168.0.7/32 -p tcp",
        ),
        ("-A FORWARD -d 192.168.0.7/32 -p udp -m udp --dport 80 -j DROP\n", None, None),
        # The port of the host is another one by now.
        ("-A FORWARD -p tcp -m tcp --dport 8080 -j DROP\n", None, None),
        ("-A FORWARD -m conntrack --ctstate DNAT -j DROP\n", None, "FORWARD[1] -m conntrack --ctstate DNAT"),
        # The answers.
        ("-A FORWARD -s 192.168.0.7/32 -p tcp -m tcp --sport 80 -j DROP\n", None, "--sport 80"),
        # Only who comes from somewhere else is refused.
        ("-A FORWARD -d 192.168.0.0/24 -s 10.0.0.0/8 -j DROP\n", None, None),
        ("-A FORWARD -d 192.168.0.0/24 -s 10.0.0.0/8 -j DROP\n", ["10.1.2.0/24"], "-s 10.0.0.0/8"),
        ("-A FORWARD -i eth0 -o br0 -p tcp -m tcp --dport 80 -m set --match-set x src -j DROP\n", None, None),
    ],
)
@pytest.mark.parametrize("name", [backend.NFT, dialect.NFTABLES])
def test_forwarded_ports_that_others_refuse(text: str, source: list[str] | None, words: str | None, name: str) -> None:
    to = {"protocol": "tcp", "listen_port": "8080", "to_address": "192.168.0.7", "to_port": "80", "source": source}
    beside = name == dialect.NFTABLES
    found = said("" if beside else text, name, f":FORWARD ACCEPT [0:0]\n{text}" if beside else "", ports=[to])
    assert [line for line in found if "tcp port 8080" not in line] == []
    assert len(found) == (words is not None)
    assert words is None or (words in found[0] and "forwarded to 192.168.0.7" in found[0])


def test_forwarded_ports_come_before_what_refuses_all() -> None:
    assert said("-A FORWARD -j DROP\n", ports=[{"listen_port": "8080", "to_address": "192.168.0.7"}]) == []


def test_the_device_of_the_default_route_counts() -> None:
    text = "-A FORWARD -o eth1 -p tcp -j DROP\n"
    assert said(text, leads_out={6: "eth1"}) == []
    assert "eth1" in said(text, leads_out={4: "eth1"})[0]


def test_of_ipv6_as_well() -> None:
    found = said("-A FORWARD -s fd00::/8 -j DROP\n", subnet="fd00:1::/64")
    assert "ip6tables-nft refuses what the guests of fd00:1::/64 send" in found[0]


def test_beside_a_table_of_nft() -> None:
    pods = ":FORWARD DROP [0:0]\n-A FORWARD -s 10.244.0.0/16 -j ACCEPT\n-A FORWARD -d 10.244.0.0/16 -j ACCEPT\n"
    (found,) = said("", dialect.NFTABLES, pods)
    assert "(filter FORWARD, policy DROP)" in found
    (found,) = said("", dialect.NFTABLES, ":OUTPUT DROP [0:0]\n")
    assert "(filter OUTPUT, policy DROP)" in found


def test_default_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    four = (
        "eth1\t00000000\t01A8C0\t0003\t0\t0\t200\t00000000\t0\t0\t0\n",
        "br0\t0000A8C0\t0\t1\t0\t0\t0\t00FFFFFF\t0\t0\t0\n",
    )
    lower = "eth0\t00000000\t01A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
    six = f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 1 0 200200 lo\n{'0' * 32} 00 {'0' * 32} 00 fe80{'0' * 28} 400 1 0 3 eth2\n"
    files = {"/proc/net/route": head + "".join(four) + lower, "/proc/net/ipv6_route": six}
    monkeypatch.setattr(surroundings, "read", files.get)
    assert surroundings.leads_out() == {4: "eth0", 6: "eth2"}
    files.clear()
    assert surroundings.leads_out() == {}


def test_what_is_stated_of_the_host_and_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    trie = "Local:\n  |-- 203.0.113.1\n     /32 host LOCAL\n  |-- 203.0.113.255\n     /32 link BROADCAST\n"
    inet6 = "20010db8000000000000000000000001 02 40 00 80 eth0\n"
    files = {"/proc/net/fib_trie": trie, "/proc/net/if_inet6": inet6}
    monkeypatch.setattr(surroundings, "read", files.get)
    forward = {
        **dict.fromkeys(("protocol", "domain", "source", "hairpin", "to_port")),
        "listen_port": "80",
        "to_address": "192.168.0.9",
    }
    for there, away in ((("203.0.113.1", "2001:db8::1"), 0), (("203.0.113.255", "2001:db8::2"), 3)):
        params = {"bridge": "br0", "subnets": ["192.168.0.0/24", "fd00::/64"], "snat_address": list(there)}
        params["port_forwards"] = [{**forward, "listen_address": there[0]}]
        declared = spec.parse({**dict.fromkeys(("state", "backend")), **params})
        stated = surroundings.stated([declared])
        found = report.warnings(declared, hosts.seen(systemd=True, **stated), first=True)
        assert len(found) == away
        assert all("is no address of this host now" in one for one in found)
        aimed = spec.parse(
            {
                **params,
                "subnets": ["203.0.113.0/24"],
                "snat_address": None,
                "port_forwards": [{**forward, "to_address": "203.0.113.1"}],
            }
        )
        with pytest.raises(KvmError, match="is an address of this host itself"):
            compare.compare(aimed, hosts.seen(systemd=True, **surroundings.stated([aimed])))


def test_a_way_out_that_is_not_there() -> None:
    declared = spec.parse({"bridge": "br0", "subnets": ["192.168.0.0/24"], "out_interface": "eth9"})
    for devices, words in (
        (frozenset({"eth9"}), []),
        (None, []),
        (frozenset({"eth0"}), ["there is no device eth9 (out_interface)"]),
    ):
        found = report.warnings(declared, hosts.seen(systemd=True, devices=devices), first=True)
        assert [word in line for word, line in zip(words, found)] == [True] * len(found)
        assert len(found) == len(words)


def test_a_subnet_that_another_bridge_of_the_call_gives_up() -> None:
    one, other = "192.168.0.0/24", "192.168.9.0/24"
    before = compare.compare(spec.parse({"bridge": "br0", "subnets": [one]}), hosts.seen()).plan.result
    both = [spec.parse({"bridge": "br0", "subnets": [other]}), spec.parse({"bridge": "br1", "subnets": [one]})]
    seen = dataclasses.replace(before, called=frozenset({"br0", "br1"}))
    for several in (both, both[::-1]):
        assert compare.in_turn(several, seen)[1].records["br1"].subnets == (one,)
    with pytest.raises(InvalidSpec, match="take another one"):
        compare.compare(both[1], before)


@pytest.mark.parametrize(
    "subnet",
    [
        "128.0.0.0/1",
        "64.0.0.0/2",
        "240.0.0.0/4",
        "255.255.255.255/32",
        "::ffff:10.0.0.0/120",
        "::/8",
        "fd00::%eth0/64",
        "fe00::/8",
    ],
)
def test_networks_of_nobody(subnet: str) -> None:
    with pytest.raises(InvalidSpec, match=r"br0: subnet"):
        spec.parse({"bridge": "br0", "subnets": [subnet]})


def test_a_table_of_somebody_with_chains_named_as_those_of_iptables() -> None:
    assert native.is_known("ip", "filter", "FORWARD")
    assert not native.is_known("ip", "mine", "FORWARD")
    assert not native.is_known("inet", "filter", "FORWARD")
    assert native.is_known("bridge", "filter", "FORWARD")
    assert not native.is_known("inet", "kvm_nat", "forward")


@given(st.integers(0, 2**32 - 1), st.integers(4, 30), st.integers(0, 2**32 - 1), st.booleans())
def test_rules_speak_of_guests_by_any_of_their_addresses(base: int, length: int, other: int, inside: bool) -> None:
    network = ipaddress.IPv4Network((base, length), strict=False)
    address = network[other % network.num_addresses] if inside else ipaddress.IPv4Address(other)
    # Who comes to the device of the default route is refused; other devices matter only to whom a rule speaks of.
    text = "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -o eth1 -j ACCEPT\n-A FORWARD -i eth1 -j ACCEPT\n"
    found = saved.parse(f"{text}-A FORWARD -s {address}/32 -i eth7 -j RETURN\nCOMMIT\n")
    assert verdicts.refuses_forwarding(found, "br0", str(network), None, "eth0") is (address not in network)


def test_what_is_left_of_iptables_when_rules_of_ours_go_from_there() -> None:
    theirs = "-A FORWARD -i eth7 -j DROP\n-A FORWARD -i br0 -m comment --comment x -j REJECT --reject-with icmp-port-unreachable\n"
    ours = rules.render("br0", ["192.168.0.0/24"])
    lines = "".join(f"-A FORWARD {rule}\n" for rule in ours["filter"]["FORWARD"]).replace("/24", "/255.255.255.0")
    before, head = f"{theirs}{lines}COMMIT\n", "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:mine - [0:0]\n"
    left = saved.without(saved.parse(head + before), ours)
    assert left == saved.parse(f"{head}{theirs}COMMIT\n")
    assert saved.without(left, ours) == left

    # They refuse another subnet of the bridge, and are not there any more when it is judged.
    found = saved.parse(f"*filter\n:FORWARD ACCEPT [0:0]\n{lines}COMMIT\n")
    assert verdicts.refuses_forwarding(found, "br0", "10.20.0.0/16", None, "eth0")
    assert not verdicts.refuses_forwarding(saved.without(found, ours), "br0", "10.20.0.0/16", None, "eth0")
