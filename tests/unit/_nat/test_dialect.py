# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NAT: rules in the language of nft, and back."""

from __future__ import annotations

import dataclasses
import re
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import dialect, placing, rules, saved, shape, tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.forwards import Forward
from ansible_collections.hypervisor.kvm.tests.unit._nat.test_shape import SHAPES
from hypothesis import given
from hypothesis import strategies as st

FAMILIES = {4: "ip", 6: "ip6"}
SUBNETS = ["192.168.0.0/24", "10.77.0.5/32", "fd00:1::/64", "2001:db8::5/128"]
PORTS = st.lists(
    st.builds(
        lambda protocol, ports, **more: Forward(protocol, *ports, **more),
        st.sampled_from(["tcp", "udp"]),
        st.sampled_from([("80", "80"), ("80", "8080"), ("8100-8103", "8100-8103"), ("8100-8103", "9100-9103")]),
        listen_address=st.sampled_from([None, "203.0.113.1"]),
        to_address=st.just("192.168.0.9"),
        source=st.sampled_from([(), ("10.0.0.0/8", "198.51.100.7/32")]),
    ),
    max_size=3,
)


def sixth(one: Forward) -> Forward:
    """The same by IPv6."""
    listen = "2001:db8::1" if one.listen_address else None
    source = ("2001:db8:5::/48", "2001:db8::7/128") if one.source else ()
    return dataclasses.replace(one, listen_address=listen, to_address="fd00:1::9", source=source)


PORTS6 = PORTS.map(lambda some: [sixth(one) for one in some])
#: What nft 1.0.6 and 1.1.3 list of our rules, and the same as iptables-save writes it.
LISTED = {
    'iifname "br0" udp dport 53 counter accept': "-i br0 -p udp -m udp --dport 53 -j ACCEPT",
    'ip daddr 192.168.0.0/24 oifname "br0" ct state established,related counter packets 7 bytes 800 accept': (
        "-d 192.168.0.0/24 -o br0 -m state --state RELATED,ESTABLISHED -j ACCEPT"
    ),
    'iifname "br0" oifname "br1" ct status ! dnat counter reject': (
        "-i br0 -o br1 -m conntrack ! --ctstate DNAT -j REJECT --reject-with icmp-port-unreachable"
    ),
    'oifname "br0" counter reject with icmp port-unreachable': "-o br0 -j REJECT --reject-with icmp-port-unreachable",
    "ip saddr 10.0.0.1 ip daddr != 10.0.0.0/8 meta l4proto tcp counter masquerade to :1024-65535": (
        "-s 10.0.0.1/32 ! -d 10.0.0.0/8 -p tcp -j MASQUERADE --to-ports 1024-65535"
    ),
    "ip saddr 10.0.0.0/8 meta l4proto udp counter snat to 203.0.113.7:5000": (
        "-s 10.0.0.0/8 -p udp -j SNAT --to-source 203.0.113.7:5000"
    ),
    "tcp dport 80 fib daddr type local counter dnat to 192.168.0.9:8080": (
        "-p tcp -m tcp --dport 80 -m addrtype --dst-type LOCAL -j DNAT --to-destination 192.168.0.9:8080"
    ),
    "tcp dport 80-82 counter dnat to 192.168.0.9:tcp dport map { 80 : 8080, 81 : 8081, 82 : 8082 }": (
        "-p tcp -m tcp --dport 80:82 -j DNAT --to-destination 192.168.0.9:8080-8082/80"
    ),
    'oifname "br0" udp dport 68 counter udp checksum set 0': (
        "-o br0 -p udp -m udp --dport 68 -j CHECKSUM --checksum-fill"
    ),
}
LISTED6 = {
    'iifname "br0" icmpv6 type nd-neighbor-solicit counter accept': (
        "-i br0 -p ipv6-icmp -m icmp6 --icmpv6-type 135 -j ACCEPT"
    ),
    'oifname "br0" counter reject': "-o br0 -j REJECT --reject-with icmp6-port-unreachable",
    "ip6 daddr fd00::1 tcp dport 80 counter dnat to [fd00::2]:8080": (
        "-d fd00::1/128 -p tcp -m tcp --dport 80 -j DNAT --to-destination [fd00::2]:8080"
    ),
    "tcp dport 80-82 counter dnat to [fd00::2]:tcp dport map { 80 : 8080, 81 : 8081, 82 : 8082 }": (
        "-p tcp -m tcp --dport 80:82 -j DNAT --to-destination [fd00::2]:8080-8082/80"
    ),
}
#: What no rule of ours is.
STRANGE = (
    'ip saddr 10.0.0.1 tcp sport 5 counter jump aside comment "his own"',
    'iifname "br*" counter accept',
    'iifname "br0" counter accept comment "mine"',
    "ip saddr @friends counter accept",
    "ip saddr 10.0.0.0/8 counter masquerade random",
    "tcp dport { 22, 80 } counter accept",
    "tcp dport 80 counter dnat to 10.0.0.1:tcp dport map { 80 : 81 } persistent",
    "ct state established,related,new jump aside",
    "ip6 saddr fd00::1 counter accept",
    "iifname",
    "",
)
TABLE = """table ip kvm_nat {
    set friends {
        type ipv4_addr
        elements = { 192.0.2.7,
                 192.0.2.8 }
    }

    chain input {
        type filter hook input priority filter; policy accept;
        iifname "br0" udp dport 53 counter packets 3 bytes 180 accept
    }

    chain postrouting {
        type nat hook postrouting priority srcnat - 5; policy accept;
        ip saddr @friends counter packets 1 bytes 60 return
        ip saddr 10.0.0.0/8 ip daddr != 10.0.0.0/8 counter packets 2 bytes 120 masquerade
    }

    chain output {
        type nat hook output priority -105; policy accept;
    }

    chain aside {
        counter packets 0 bytes 0 accept
    }
}
"""


@given(SHAPES, PORTS, PORTS6, st.sampled_from([4, 6]), st.sampled_from([0, 1, 2]))
def test_each_rule_of_ours_comes_back_as_it_was(
    one: shape.Shape, four: list[Forward], six: list[Forward], version: int, neighbours: int
) -> None:
    ports = [*four, *six]
    said = dataclasses.replace(one, snat_address6="2001:db8::1", port_forwards=tuple(ports))
    others = [rules.Neighbour(f"br{number}", "allow", tuple(ports)) for number in range(1, 1 + neighbours)]
    some = rules.render("br0", SUBNETS, said, others, version)
    for chains in some.values():
        for rule in (rule for lines in chains.values() for rule in lines):
            words = dialect.to_nft(rule, FAMILIES[version])
            assert " counter " in f" {words} "
            assert dialect.from_nft(words, FAMILIES[version]) == rule


def test_what_nft_lists_is_understood() -> None:
    for family, listed in (("ip", LISTED), ("ip6", LISTED6)):
        for text, rule in listed.items():
            assert dialect.from_nft(text, family) == rule
            assert dialect.from_nft(dialect.to_nft(rule, family), family) == rule


@pytest.mark.parametrize("text", STRANGE)
def test_what_is_not_ours_keeps_its_words(text: str) -> None:
    found = dialect.from_nft(text, "ip")
    assert found.startswith(dialect.MARK)
    assert dialect.to_nft(found, "ip") == text
    # It is never taken for a rule that all packets end at.
    assert placing.Site({"filter": {"FORWARD": [found, "-j DROP"]}}, "filter", "FORWARD", "br0").place(
        ["-i br0 -j ACCEPT"], tables.Own(["-i br0 -j ACCEPT"])
    ) == [found, "-i br0 -j ACCEPT", "-j DROP"]


@given(
    st.lists(
        st.sampled_from(
            [
                "ip",
                "saddr",
                "iifname",
                '"br0"',
                "counter",
                "accept",
                "tcp",
                "dport",
                "80",
                "map",
                "{",
                "}",
                ":",
                "10.0.0.1",
            ]
        )
    )
)
def test_no_line_is_too_strange(words: list[str]) -> None:
    text = " ".join(words)
    # And none is written in other words.
    assert dialect.to_nft(dialect.from_nft(text, "ip"), "ip") == text


@pytest.mark.parametrize(
    ("text", "barrier"),
    [
        ("drop", True),
        ('iifname "br0" drop', True),
        ('iifname "br0" counter drop', True),
        ("accept", True),
        ("reject", True),
        ("ip saddr 192.0.2.7 drop", False),
        ('iifname "br0" accept', False),
        ('counter iifname "br0" accept', False),
        ('iifname "br0" counter counter accept', False),
    ],
)
def test_rules_of_others_are_understood_and_written_as_they_are(text: str, barrier: bool) -> None:
    found = dialect.from_nft(text, "ip")
    assert dialect.to_nft(found, "ip") == text
    ours = ["-i br0 -j ACCEPT"]
    have = [found, *ours]
    now = placing.Site({"filter": {"FORWARD": have}}, "filter", "FORWARD", "br0").place(ours, tables.Own(ours))
    assert now == ([*ours, found] if barrier else have)


def test_a_table_is_read() -> None:
    found = dialect.read(re.sub(r" packets \d+ bytes \d+", "", TABLE), "ip")
    assert found["filter"]["INPUT"] == ["-i br0 -p udp -m udp --dport 53 -j ACCEPT"]
    assert found["nat"]["POSTROUTING"] == [
        "@ ip saddr @friends counter return",
        "-s 10.0.0.0/8 ! -d 10.0.0.0/8 -j MASQUERADE",
    ]
    assert found["nat"]["OUTPUT"] == []
    assert set(found[dialect.OTHERS]) == {"set friends", "aside"}
    assert dialect.read("", "ip") == {}


def test_a_policy_that_refuses_is_written_anew_with_the_rules() -> None:
    shut = TABLE.replace("priority srcnat - 5; policy accept", "priority srcnat - 5; policy drop")
    assert [rule[0] for rule in dialect.read(shut, "ip")["nat"]["POSTROUTING"]] == ["@"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("hook input priority filter", "hook input priority filter + 1"),
        ("hook input", "hook forward"),
        ("type nat hook output priority -105; policy accept;", ""),
        ("table ip kvm_nat {", "table ip kvm_nat {\n\tflags dormant"),
    ],
)
def test_a_chain_that_is_somewhere_else_is_no_chain_of_ours(before: str, after: str) -> None:
    assert before in TABLE
    with pytest.raises(ValueError, match="kvm_nat"):
        dialect.read(TABLE.replace(before, after), "ip")


def test_priorities_are_numbers_or_words() -> None:
    for words in ("100", "srcnat", "95", "srcnat - 5", "-105"):
        text = TABLE.replace("priority srcnat - 5", f"priority {words}")
        if words in ("95", "srcnat - 5"):
            assert dialect.read(text, "ip") == dialect.read(TABLE, "ip")
        else:
            with pytest.raises(ValueError, match="postrouting"):
                dialect.read(text, "ip")


def test_counters_are_read_and_what_is_not_ours_is_a_question() -> None:
    found = saved.of_nft(TABLE, "ip")
    lines = found["nat"]["POSTROUTING"].lines
    assert [(line.packets, line.bytes) for line in lines] == [(1, 60), (2, 120)]
    assert found["nat"]["POSTROUTING"].policy == "ACCEPT"
    assert lines[0].rule.startswith(dialect.MARK)
    assert lines[0].rule.endswith("-j nftables")


def test_a_script_is_one_transaction_of_whole_chains() -> None:
    some = {
        ("filter", "INPUT"): ["-i br0 -p udp -m udp --dport 53 -j ACCEPT"],
        ("nat", "OUTPUT"): t.cast("list[str]", []),
    }
    assert dialect.script("ip", some, empty=False).splitlines() == [
        "add table ip kvm_nat",
        "add chain ip kvm_nat input { type filter hook input priority 0; policy accept; }",
        "flush chain ip kvm_nat input",
        'add rule ip kvm_nat input iifname "br0" udp dport 53 counter accept',
        "add chain ip kvm_nat output { type nat hook output priority -105; policy accept; }",
        "flush chain ip kvm_nat output",
        "delete chain ip kvm_nat output",
    ]
    assert dialect.script("ip6", some, empty=True) == "add table ip6 kvm_nat\ndelete table ip6 kvm_nat\n"


@pytest.mark.parametrize(
    "rule", ["-i br0 -m mark --mark 1 -j ACCEPT", "-i br0", "-j MARK --set-mark 1", "! -i br0 --state X"]
)
def test_a_rule_without_words_in_nft_is_an_error(rule: str) -> None:
    with pytest.raises(ValueError, match="nftables"):
        dialect.to_nft(rule, "ip")
