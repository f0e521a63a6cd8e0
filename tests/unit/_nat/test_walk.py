# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NAT: which rule decides about a packet, against a plain model of how the kernel goes through chains."""

from __future__ import annotations

import dataclasses
import ipaddress

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import match, saved, tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.packet import Device, Host, Packet
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.saved import Chain, Line
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.walk import REFUSE, walk
from hypothesis import given
from hypothesis import strategies as st

HOST = Host(
    {
        "br0": Device(
            "br0", True, False, ((ipaddress.ip_address("192.168.0.1"), 24, ipaddress.ip_address("192.168.0.255")),)
        ),
        "eth0": Device("eth0", False, False, ((ipaddress.ip_address("198.51.100.1"), 24, None),)),
    }
)
PACKET = Packet(
    source=ipaddress.ip_address("192.168.0.11"),
    destination=ipaddress.ip_address("198.51.100.2"),
    protocol=6,
    source_port=40000,
    destination_port=443,
    in_interface="br0",
    out_interface="eth0",
)
ICMP = dataclasses.replace(PACKET, protocol=1, source_port=None, destination_port=None)
ANSWER = dataclasses.replace(PACKET, state="ESTABLISHED", answer=True)
SIX = dataclasses.replace(
    PACKET, source=ipaddress.ip_address("fd00:1::11"), destination=ipaddress.ip_address("2001:db8::2")
)
SOLICITATION = dataclasses.replace(SIX, protocol=58, state="UNTRACKED", message=135, hops=255)


@pytest.mark.parametrize(
    ("rule", "packet", "taken"),
    [
        ("-j ACCEPT", PACKET, True),
        ("-s 192.168.0.0/24 -i br0 -j ACCEPT", PACKET, True),
        ("! -s 192.168.0.0/24 -j ACCEPT", PACKET, False),
        ("-s 0.0.0.11/0.0.0.255 -j ACCEPT", PACKET, True),
        ("-s 10.0.0.0/255.0.0.0 -j ACCEPT", PACKET, False),
        ("-s fd00:1::/64 -d 2001:db8::2/128 -j ACCEPT", SIX, True),
        ("-i br+ -o eth1 -j ACCEPT", PACKET, False),
        ("-i br+ ! -o eth1 -j ACCEPT", PACKET, True),
        ("-i + -j ACCEPT", PACKET, True),
        ("-p tcp -m tcp --dport 443 -j ACCEPT", PACKET, True),
        ("-p 6 -m tcp ! --dport 443 -j ACCEPT", PACKET, False),
        ("-p tcp -m tcp --sport 1024:65535 --dport :1023 -j ACCEPT", PACKET, True),
        ("-p udp -m udp --dport 443 -j ACCEPT", PACKET, False),
        ("! -p udp -j ACCEPT", PACKET, True),
        ("-p tcp -m multiport --dports 22,80,400:500 -j ACCEPT", PACKET, True),
        ("-p tcp -m multiport ! --dports 22,80 -j ACCEPT", PACKET, True),
        ("-p tcp -m multiport --ports 40000 -j ACCEPT", PACKET, True),
        ("-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT", PACKET, True),
        ("-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT", ANSWER, False),
        ("-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m state --state NEW -j DROP", PACKET, False),
        ("-p icmp -m icmp --icmp-type 8 -j ACCEPT", ICMP, True),
        ("-p icmp -m icmp --icmp-type 8/0 -j ACCEPT", dataclasses.replace(ICMP, answer=True), False),
        ("-p icmp -m icmp --icmp-type any -j ACCEPT", ICMP, True),
        ("-p icmp -j ACCEPT", PACKET, False),
        ("-m state --state RELATED,ESTABLISHED -j ACCEPT", PACKET, False),
        ("-m state --state RELATED,ESTABLISHED -j ACCEPT", ANSWER, True),
        ("-m conntrack --ctstate NEW,DNAT -j ACCEPT", ANSWER, False),
        ("-m conntrack --ctstate DNAT -j ACCEPT", dataclasses.replace(PACKET, dnat=True), True),
        ("-m conntrack ! --ctstate DNAT -j REJECT", dataclasses.replace(PACKET, dnat=True), False),
        ("-m conntrack --ctdir REPLY -j ACCEPT", ANSWER, True),
        ("-m conntrack --ctorigdst 198.51.100.2/32 --ctorigdstport 443 -j ACCEPT", PACKET, True),
        ("-m iprange --src-range 192.168.0.10-192.168.0.20 -j ACCEPT", PACKET, True),
        ("-m iprange ! --dst-range 198.51.100.0-198.51.100.9 -j ACCEPT", PACKET, False),
        ("-m addrtype --dst-type LOCAL -j ACCEPT", PACKET, False),
        ("-m addrtype ! --src-type LOCAL,BROADCAST -j ACCEPT", PACKET, True),
        ("-m mark --mark 0x0/0xff -j ACCEPT", PACKET, True),
        ("-m mark ! --mark 0x1 -j ACCEPT", dataclasses.replace(PACKET, mark=None), None),
        ("-m physdev --physdev-is-bridged -j ACCEPT", PACKET, False),
        ("-m physdev --physdev-in vnet0 -j ACCEPT", PACKET, None),
        ('-m comment --comment "-j DROP ! -s 10.0.0.1, \\"said\\"" -j ACCEPT', PACKET, True),
        ("-f -j ACCEPT", PACKET, False),
        # A header that the packet has not, whatever is asked of it.
        ("-m rt --rt-type 0 -j DROP", SIX, False),
        ("-m rt ! --rt-type 0 -j DROP", SIX, False),
        ("-m frag --fragmore -j DROP", SIX, False),
        ("-m ipv6header --header frag --soft -j DROP", SIX, None),
        ("-m hl --hl-eq 255 -j ACCEPT", SIX, None),
        ("-p ipv6-icmp -m icmp6 --icmpv6-type 135 -m hl --hl-eq 255 -j ACCEPT", SOLICITATION, True),
        ("-p ipv6-icmp -m icmp6 --icmpv6-type 135 -m hl ! --hl-eq 255 -j DROP", SOLICITATION, False),
        ("-p ipv6-icmp -m icmp6 --icmpv6-type 128 -j ACCEPT", SOLICITATION, False),
        ("-p ipv6-icmp -m icmp6 --icmpv6-type 128 -j ACCEPT", dataclasses.replace(SIX, protocol=58), True),
        ("-m state --state NEW,RELATED,ESTABLISHED -j ACCEPT", SOLICITATION, False),
        ("-m set --match-set friends src -j ACCEPT", PACKET, None),
        ("-m limit --limit 3/min -j ACCEPT", PACKET, None),
        # What is known to be false makes the unknown meaningless.
        ("-s 10.0.0.0/8 -m set --match-set friends src -j ACCEPT", PACKET, False),
        ("-m rpfilter --invert -j DROP", PACKET, None),
        ("-m socket -j ACCEPT", PACKET, None),
        ("-p tcp -m tcp --sport 22 -j ACCEPT", dataclasses.replace(PACKET, source_port=None), False),
        ("-p tcp -m tcp --sport 40000 -j ACCEPT", dataclasses.replace(PACKET, source_port=None), None),
        ("-p tcp -m tcp --dport 1:65535 -j ACCEPT", dataclasses.replace(PACKET, destination_port=None), True),
        ("-p tcp -m tcp --dport 80 -j ACCEPT", dataclasses.replace(PACKET, destination_port=None), None),
    ],
)
def test_what_a_rule_takes(rule: str, packet: Packet, taken: bool | None) -> None:
    assert match.rule(rule).takes(packet, HOST) is taken
    assert taken is False or not match.apart(packet)(rule)


_WORDS = (
    *(
        "-s 192.168.0.11/32",
        "! -s 192.168.0.11/32",
        "-s 10.0.0.1/32",
        "! -s 10.0.0.1/32",
        "-s 10.0.0.1",
        "-s fd00:1::11/128",
    ),
    *("-d 10.0.0.1/32", "-i br0", "! -i br0", "-i eth0", "! -i eth0", "-i br+", "-i eth+", "-i br01", "-o eth0"),
    *(
        "-p tcp",
        '-m comment --comment "a -i eth0 b"',
        '-m comment --comment "-s 10.0.0.1/32 x"',
        "-m comment --comment -i",
    ),
)


@given(
    st.lists(st.sampled_from(_WORDS), max_size=4, unique=True),
    st.sampled_from(["-j ACCEPT", "-g own", ""]),
    st.sampled_from([PACKET, SIX, ANSWER, dataclasses.replace(PACKET, in_interface="")]),
)
def test_a_quick_look_never_passes_over_a_rule_that_may_take_the_packet(
    words: list[str], target: str, packet: Packet
) -> None:
    rule = " ".join([*words, target]).strip()
    if match.apart(packet)(rule):
        assert match.rule(rule).takes(packet, HOST) is False


def test_a_quick_look_is_enough_for_most_rules() -> None:
    look = match.apart(PACKET)
    assert look("-s 10.0.0.1/32 -j REJECT")
    assert look("-p tcp -i eth0 -m tcp --dport 22 -j ACCEPT")
    assert not look("-s 192.168.0.11/32 -j REJECT")


YES, NO, UNKNOWN = "-i br0", "-i eth7", "-m set --match-set {} src"


@st.composite
def rule_sets(draw: st.DrawFn) -> dict[str, list[tuple[str, str]]]:
    """Chains of (match, target); a chain jumps only to later ones, as the kernel allows no circles."""
    names = ["FORWARD", "A", "B", "C"]
    number = 0
    found: dict[str, list[tuple[str, str]]] = {}
    for at, name in enumerate(names):
        jumps = [f"{way} {other}" for other in names[at + 1 :] for way in ("-j", "-g")]
        targets = ["-j ACCEPT", "-j DROP", "-j REJECT", "-j RETURN", "-j LOG", ""] + jumps * 2
        rules = []
        for _rule in range(draw(st.integers(0, 5))):
            asked = draw(st.sampled_from([YES, YES, NO, UNKNOWN]))
            number += 1
            rules.append((asked.format(f"set{number}"), draw(st.sampled_from(targets))))
        found[name] = rules
    return found


def chains(rules: dict[str, list[tuple[str, str]]], policy: str) -> dict[str, Chain]:
    return {
        name: Chain(
            policy if name == "FORWARD" else None, [Line(f"{asked} {target}".strip(), 0, 0) for asked, target in inside]
        )
        for name, inside in rules.items()
    }


def model(rules: dict[str, list[tuple[str, str]]], policy: str, true: frozenset[str]) -> str:
    """What the kernel does: a stack of places, where a jump remembers where it came from and a goto does not."""
    stack: list[tuple[str, int]] = []
    chain, at = "FORWARD", 0
    while True:
        if at >= len(rules[chain]):
            if not stack:
                return policy
            chain, at = stack.pop()
            continue
        asked, target = rules[chain][at]
        at += 1
        if asked not in true:
            continue
        way, _space, name = target.partition(" ")
        if name in rules:
            if way == "-j":
                stack.append((chain, at))
            chain, at = name, 0
        elif name == "RETURN":
            at = len(rules[chain])
        elif name in ("ACCEPT", "DROP", "REJECT"):
            return name


@given(rule_sets(), st.sampled_from(["ACCEPT", "DROP"]), st.randoms(use_true_random=False))
def test_every_way_that_rules_may_go_is_among_its_ends(
    rules: dict[str, list[tuple[str, str]]], policy: str, chance: object
) -> None:
    way = walk("filter", chains(rules, policy), "FORWARD", PACKET, HOST)
    unknown = [asked for inside in rules.values() for asked, _target in inside if "set" in asked]
    assert way.main.verdict == model(rules, policy, frozenset({YES}))
    for _turn in range(8):
        true = frozenset({YES, *(asked for asked in unknown if chance.random() < 0.5)})  # type: ignore[attr-defined]
        verdict = model(rules, policy, true)
        assert verdict in {end.verdict for end in way.ends}
        if not way.doubts:
            assert (verdict in REFUSE) == (way.main.verdict in REFUSE)


@given(rule_sets())
def test_a_rule_that_decides_is_where_it_is_said_to_be(rules: dict[str, list[tuple[str, str]]]) -> None:
    for end in walk("filter", chains(rules, "DROP"), "FORWARD", PACKET, HOST).ends:
        if end.place is not None:
            asked, target = rules[end.place.chain][end.place.position - 1]
            assert end.place.rule == f"{asked} {target}"
            assert [step.chain for step in end.via] == list(dict.fromkeys(step.chain for step in end.via))


def through(text: str, packet: Packet = PACKET, table: str = "filter", chain: str = "FORWARD") -> tuple[str, list[str]]:
    way = walk(table, saved.parse(text)[table], chain, packet, HOST)
    return str(way.main.place or f"policy {way.main.verdict}"), [str(place) for place in way.doubts]


def test_a_mark_is_remembered() -> None:
    rules = "*filter\n:FORWARD DROP [0:0]\n:m - [0:0]\n-A FORWARD -j m\n-A FORWARD -m mark --mark 0x10/0xf0 -j ACCEPT\n"
    rules += "-A m -j MARK --set-xmark 0x5/0xff\n-A m -j MARK --or-mark 0x10\nCOMMIT\n"
    assert through(rules) == ("filter FORWARD[2] -m mark --mark 0x10/0xf0 -j ACCEPT", [])
    unsure = rules.replace("-A FORWARD -j m", "-A FORWARD -m set --match-set x src -j m")
    assert through(unsure) == ("policy DROP", ["filter FORWARD[2] -m mark --mark 0x10/0xf0 -j ACCEPT"])


@pytest.mark.parametrize(
    ("target", "mark", "ct_mark", "after"),
    [
        ("--set-xmark 0x3/0xffffffff", 8, 4, (8, 3)),
        ("--set-xmark 0x3/0xf", 8, 0x14, (8, 0x13)),
        ("--set-xmark 0x3/0xf", 8, None, (8, None)),
        ("--save-mark --nfmask 0xff --ctmask 0xf0", 0x1AB, 0x35, (0x1AB, 0xAE)),
        ("--save-mark --nfmask 0xffffffff --ctmask 0xffffffff", 7, None, (7, 7)),
        ("--restore-mark --nfmask 0xffffffff --ctmask 0xf", 7, 0x2C, (0xC, 0x2C)),
        ("--restore-mark --nfmask 0xf --ctmask 0xf", None, 5, (None, 5)),
        ("--restore-mark", 1, 5, (5, 5)),
    ],
)
def test_marks_of_connections(
    target: str, mark: int | None, ct_mark: int | None, after: tuple[int | None, ...]
) -> None:
    packet = dataclasses.replace(PACKET, mark=mark, ct_mark=ct_mark)
    for table, state, expected in (
        ("mangle", "NEW", after),
        ("raw", "NEW", (mark, ct_mark)),
        ("mangle", "UNTRACKED", (mark, ct_mark)),
    ):
        rules = saved.parse(f"*{table}\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j CONNMARK {target}\nCOMMIT\n")
        seen = walk(table, rules[table], "PREROUTING", dataclasses.replace(packet, state=state), HOST).packet
        assert (seen.mark, seen.ct_mark) == expected
    unsure = f"*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -m set --match-set x src -j CONNMARK {target}\nCOMMIT\n"
    seen = walk("mangle", saved.parse(unsure)["mangle"], "PREROUTING", packet, HOST).packet
    assert None in (seen.mark, seen.ct_mark)


def test_untracked_packets_are_no_new_ones() -> None:
    rules = saved.parse("*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -i br0 -j CT --notrack\nCOMMIT\n")
    assert walk("raw", rules["raw"], "PREROUTING", PACKET, HOST).packet.state == "UNTRACKED"


@pytest.mark.parametrize(
    ("rules", "place", "doubts"),
    [
        ("-A FORWARD -j NFQUEUE --queue-num 1\n-A FORWARD -j DROP\n", "-j NFQUEUE", ["-j NFQUEUE"]),
        ("-A FORWARD -j WEIRD --with this\n-A FORWARD -j DROP\n", "[2] -j DROP", ["-j WEIRD"]),
        ("-A FORWARD -m set --match-set x src -j DROP\n-A FORWARD -j REJECT\n", "[2] -j REJECT", []),
        ("-A FORWARD -m set --match-set x src -j ACCEPT\n-A FORWARD -j REJECT\n", "[2] -j REJECT", ["--match-set"]),
        ("-A FORWARD -m limit --limit 3/min -j LOG\n-A FORWARD -j REJECT\n", "[2] -j REJECT", []),
    ],
)
def test_what_cannot_be_told(rules: str, place: str, doubts: list[str]) -> None:
    found, unsure = through(f"*filter\n:FORWARD ACCEPT [0:0]\n{rules}COMMIT\n")
    assert place in found
    assert len(unsure) == len(doubts)
    assert all(word in one for word, one in zip(doubts, unsure))


def test_counters_and_policies_are_read() -> None:
    text = '# said\n*filter\n:INPUT DROP [3:40]\n:own - [0:0]\n[7:420] -A INPUT -m comment --comment "[1:2] -A x" -j own\n-A own\nCOMMIT\n'
    found = saved.parse(text)["filter"]
    assert found["INPUT"].policy == "DROP"
    assert found["own"].policy is None
    assert found["INPUT"].lines == [Line('-m comment --comment "[1:2] -A x" -j own', 7, 420)]
    assert found["own"].lines == [Line("", 0, 0)]


CHAINS = st.dictionaries(
    st.sampled_from(["INPUT", "own", "x-y"]), st.lists(st.sampled_from(["", "-j own", "-i br0 -j DROP"]))
)


@given(
    st.dictionaries(st.sampled_from(["filter", "nat", "raw"]), CHAINS), st.lists(st.sampled_from(["", "# said", "  "]))
)
def test_both_readers_say_the_same(rules: dict[str, dict[str, list[str]]], noise: list[str]) -> None:
    """That of kvm_nat and of its replay, and that of kvm_nat_info, which knows counters."""
    texts = []
    for count in ("", "[7:420] "):
        lines = list(noise)
        for table, chains in rules.items():
            lines += [f"*{table}", *(f":{chain} - [0:0]" for chain in chains)]
            lines += [f"{count}-A {chain} {rule}" for chain, some in chains.items() for rule in some]
            lines += [*noise, "COMMIT", *noise]
        texts.append("\n".join(lines))
    assert tables.parse(texts[0]) == rules
    assert [saved.plain(saved.parse(text)) for text in texts] == [rules, rules]
    shut = texts[0].replace(":INPUT -", ":INPUT DROP")
    assert saved.uncounted(shut) == saved.parse(shut)


@pytest.mark.parametrize(
    "text",
    [
        "*filter\n",
        "-A INPUT -j DROP\n",
        "*filter\nwords\nCOMMIT\n",
        "*filter\n*nat\nCOMMIT\n",
        "*filter\n[x] -A\nCOMMIT\n",
    ],
)
def test_half_an_answer_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"COMMIT|outside|no rule"):
        saved.parse(text)
