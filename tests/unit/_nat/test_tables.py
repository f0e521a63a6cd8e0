# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NAT: rules in the format of iptables-save, placed among those of others, against a model of iptables-restore."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import rules, tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.placing import Site
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Own, Tables
from hypothesis import given
from hypothesis import strategies as st

#: The guide's own words, with br0 and its subnet (the order is the guide's).
GUIDE = """\
-t nat -A POSTROUTING -s 192.168.0.0/24 ! -d 192.168.0.0/24 -p tcp -j MASQUERADE --to-ports 1024-65535
-t nat -A POSTROUTING -s 192.168.0.0/24 ! -d 192.168.0.0/24 -p udp -j MASQUERADE --to-ports 1024-65535
-t nat -A POSTROUTING -s 192.168.0.0/24 ! -d 192.168.0.0/24 -j MASQUERADE
-t mangle -A POSTROUTING -o br0 -p udp -m udp --dport 68 -j CHECKSUM --checksum-fill
-t filter -A INPUT -i br0 -p udp -m udp --dport 53 -j ACCEPT
-t filter -A INPUT -i br0 -p tcp -m tcp --dport 53 -j ACCEPT
-t filter -A INPUT -i br0 -p udp -m udp --dport 67 -j ACCEPT
-t filter -A INPUT -i br0 -p tcp -m tcp --dport 67 -j ACCEPT
-t filter -A FORWARD -d 192.168.0.0/24 -o br0 -m state --state RELATED,ESTABLISHED -j ACCEPT
-t filter -A FORWARD -s 192.168.0.0/24 -i br0 -j ACCEPT
-t filter -A FORWARD -i br0 -o br0 -j ACCEPT
-t filter -A FORWARD -o br0 -j REJECT --reject-with icmp-port-unreachable
-t filter -A FORWARD -i br0 -j REJECT --reject-with icmp-port-unreachable
"""


def guide() -> Tables:
    found: Tables = {}
    for line in GUIDE.splitlines():
        _t, table, _a, chain, rule = line.split(" ", 4)
        found.setdefault(table, {}).setdefault(chain, []).append(rule)
    return found


WANTED = guide()

#: Rules that others have: harmless ones, jumps, catch-alls, refusals of single things, another bridge's.
FOREIGN = {
    "filter": [
        "-m state --state RELATED,ESTABLISHED -j ACCEPT",
        "-i lo -j ACCEPT",
        "-j LIBVIRT_FWX",
        "-j LIBVIRT_FWI",
        "-j DOCKER-USER",
        "-j REJECT --reject-with icmp-host-prohibited",
        "-j DROP",
        "-j ufw-end",
        "-j harmless",
        "-i eth0 -j DROP",
        "-i br1 -j REJECT --reject-with icmp-port-unreachable",
        "-o br0 -j DROP",
        "-p udp -m udp --dport 67 -j DROP",
        "-p tcp -m multiport --dports 22,80 -j REJECT --reject-with tcp-reset",
        '-m comment --comment "a -j DROP in words" -j ACCEPT',
        "-s 10.9.8.7/32 -j DROP",
        "-j ACCEPT",
        "-i eth0 -j ACCEPT",
        "-i eth0 -m state --state NEW -j DROP",
        "-g harmless",
    ],
    "mangle": ["-o eth0 -j TTL --ttl-set 64", "-j ACCEPT", "-p tcp -j ACCEPT", "-j MARK --set-xmark 0x1/0xffffffff"],
    "nat": [
        "-j LIBVIRT_PRT",
        "-o eth0 -j MASQUERADE",
        "-j MASQUERADE",
        "-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
        "-j RETURN",
        "-j hides-all",
        "-j hides-some",
        "-g harmless",
    ],
}
CHAINS_OF_OTHERS = {
    "ufw-end": [
        "-p icmp -j ACCEPT",
        "-m addrtype --dst-type BROADCAST -j harmless",
        "-j REJECT --reject-with icmp-port-unreachable",
    ],
    "hides-all": ["-o eth0 -j ACCEPT", "-j MASQUERADE"],
    "hides-some": ["-m mark ! --mark 0x4000/0x4000 -j RETURN", "-j MASQUERADE"],
    "harmless": ["-s 1.2.3.4/32 -j DROP", "-j RETURN"],
    "LIBVIRT_FWX": ["-i virbr0 -o virbr0 -j ACCEPT"],
    "LIBVIRT_FWI": ["-o virbr0 -j REJECT --reject-with icmp-port-unreachable"],
    "DOCKER-USER": ["-j RETURN"],
}


def restore(chains: dict[str, list[str]], lines: list[str]) -> None:
    """What iptables-restore --noflush does with the lines of one table."""
    for line in lines:
        command, chain, rest = line.split(" ", 2)
        have = chains.setdefault(chain, [])
        if command == "-D":
            have.remove(rest)
        elif command == "-A":
            have.append(rest)
        else:
            position, rule = rest.split(" ", 1)
            assert command == "-I"
            assert 1 <= int(position) <= len(have) + 1
            have.insert(int(position) - 1, rule)


def dead(chain: str, rule: str) -> bool:
    """An own telling of which of FOREIGN stand in the way, so that the code is not its own judge."""
    if chain == "INPUT":
        return rule in (
            FOREIGN["filter"][5],
            "-j DROP",
            "-j ufw-end",
            "-p udp -m udp --dport 67 -j DROP",
            "-g harmless",
        )
    if chain == "FORWARD":
        refusals = (FOREIGN["filter"][5], "-j DROP", "-j ufw-end", "-o br0 -j DROP", "-i eth0 -j DROP", "-g harmless")
        return rule in (*refusals, "-j ACCEPT", FOREIGN["filter"][10], FOREIGN["filter"][14])
    return rule in ("-j ACCEPT", "-j MASQUERADE", "-j RETURN", "-j hides-all", "-g harmless")


@st.composite
def chain_of_a_host(draw: st.DrawFn) -> tuple[str, str, list[str]]:
    table, chain = draw(st.sampled_from([(table, chain) for table in WANTED for chain in WANTED[table]]))
    wanted = WANTED[table][chain]
    old = rules.render("br0", ["10.1.0.0/16"])[table][chain]
    have = draw(st.lists(st.sampled_from([*FOREIGN[table], *wanted, *old]), max_size=14))
    if draw(st.booleans()):
        have = [*have, *wanted]
    return table, chain, have


@given(chain_of_a_host(), st.booleans())
def test_one_restore_puts_all_in_place_and_nothing_of_others_moves(
    host: tuple[str, str, list[str]], present: bool
) -> None:
    table, chain, have = host
    wanted = WANTED[table][chain] if present else []
    own = Own([*WANTED[table][chain], *rules.render("br0", ["10.1.0.0/16"])[table][chain]])
    chains = {**CHAINS_OF_OTHERS, chain: list(have)}
    site = Site({table: chains}, table, chain, "br0")
    target = site.place(wanted, own)
    restore(chains, tables.edits(chain, site.have, target, own))
    now = chains[chain]
    assert now == target
    assert [rule for rule in now if rule not in own] == [rule for rule in have if rule not in own]
    assert [rule for rule in now if rule in own] == wanted
    again = Site({table: chains}, table, chain, "br0").place(wanted, own)
    assert tables.edits(chain, now, again, own) == []
    if wanted:
        before = now[: now.index(wanted[-1])]
        assert not [rule for rule in before if rule not in own and dead(chain, rule)]


@given(chain_of_a_host())
def test_lines_of_ours_are_found_in_a_chain_as_one_by_one(host: tuple[str, str, list[str]]) -> None:
    table, chain, have = host
    own = Own(WANTED[table][chain])
    # The same words in another order, and two that only begin like ours.
    some = [
        *have,
        "-d 192.168.0.0/24 -o br0 -m state --state ESTABLISHED,RELATED -j ACCEPT",
        "-i br01 -j REJECT",
        "-i br",
    ]
    assert own.at(some) == [index for index, rule in enumerate(some) if rule in own]
    assert own.at([]) == []


@given(chain_of_a_host())
def test_libvirt_and_docker_decide_first_unless_a_catch_all_comes_before_them(host: tuple[str, str, list[str]]) -> None:
    table, chain, have = host
    if chain != "FORWARD":
        return
    own = Own(rules.union(WANTED, rules.render("br0", ["10.1.0.0/16"]))[table][chain])
    now = Site({table: {**CHAINS_OF_OTHERS, chain: have}}, table, chain, "br0").place(WANTED[table][chain], own)
    first = now.index(WANTED[table][chain][0])
    for rule in now[first:]:
        if rule not in own:
            if dead(chain, rule):
                break
            assert not rule.startswith(("-j LIBVIRT", "-j DOCKER"))


@given(st.permutations(range(5)), st.integers(0, 4))
def test_the_way_back_is_the_way_there_reversed(order: list[int], missing: int) -> None:
    wanted = WANTED["filter"]["FORWARD"]
    before = ["-i lo -j ACCEPT", *(wanted[index] for index in order if index != missing), "-j DROP"]
    own = Own(wanted)
    site = Site({"filter": {"FORWARD": before}}, "filter", "FORWARD", "br0")
    target = site.place(wanted, own)
    chains = {"FORWARD": list(before)}
    restore(chains, tables.edits("FORWARD", before, target, own))
    restore(chains, tables.edits("FORWARD", target, before, own))
    assert chains["FORWARD"] == before


def test_the_rules_are_those_of_the_guide() -> None:
    assert rules.render("br0", ["192.168.0.0/24"]) == WANTED


def test_rules_of_the_bridge_come_once_and_the_refusals_last() -> None:
    found = rules.render("br0", ["192.168.0.0/24", "10.0.0.0/8"])
    assert found["filter"]["INPUT"] == WANTED["filter"]["INPUT"]
    assert found["mangle"] == WANTED["mangle"]
    assert len(found["nat"]["POSTROUTING"]) == 6
    forward = found["filter"]["FORWARD"]
    assert len(forward) == 7
    assert forward[-3:] == WANTED["filter"]["FORWARD"][-3:]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("-s 192.168.0.5/24 -i br0 -j ACCEPT", "-s 192.168.0.0/24 -i br0 -j ACCEPT"),
        ("-s 192.168.0.0/255.255.255.0 -i br0 -j ACCEPT", "-s 192.168.0.0/24 -i br0 -j ACCEPT"),
        ("-s 10.0.0.1 -i br0 -j ACCEPT", "-s 10.0.0.1/32 -i br0 -j ACCEPT"),
        ("-i br0 -p tcp --dport 53 -j ACCEPT", "-i br0 -p tcp -m tcp --dport 53 -j ACCEPT"),
        (
            "-o br0 -m state --state ESTABLISHED,RELATED -j ACCEPT",
            "-o br0 -m state --state RELATED,ESTABLISHED -j ACCEPT",
        ),
    ],
)
def test_the_same_rule_in_other_words(one: str, other: str) -> None:
    assert tables.key(one) == tables.key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("-m state --state RELATED,ESTABLISHED -j ACCEPT", "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
        ("-i br0 -j ACCEPT", "! -i br0 -j ACCEPT"),
        ("-i br0 -j ACCEPT", '-i br0 -m comment --comment "mine" -j ACCEPT'),
        ("-i br0 -j ACCEPT", "-i br01 -j ACCEPT"),
        ("-s 10.0.0.0/255.0.255.0 -i br0 -j ACCEPT", "-s 10.0.0.0/8 -i br0 -j ACCEPT"),
    ],
)
def test_another_rule(one: str, other: str) -> None:
    assert tables.key(one) != tables.key(other)


def test_a_cut_answer_is_not_taken_for_an_empty_host() -> None:
    for text in (
        "*filter\n-A INPUT -j ACCEPT\n",
        "*filter\n*nat\nCOMMIT\n",
        "-A INPUT -j ACCEPT\n",
        "*filter\nsomething\nCOMMIT\n",
    ):
        with pytest.raises(ValueError, match=r"COMMIT|outside|no rule"):
            tables.parse(text)
    assert tables.parse("# Warning: iptables-legacy tables present\n") == {}


@pytest.mark.parametrize(
    ("rule", "stands"),
    [
        ("-j DROP", True),
        ("-i br+ -j DROP", True),
        ("! -i lo -j DROP", True),
        ("-i br0 -j REJECT --reject-with icmp-port-unreachable", True),
        ("-p udp -m udp --dport 1:100 -j DROP", True),
        ("-p udp -m multiport --dports 137,138,67 -j DROP", True),
        ("-p udp -j DROP", True),
        ("-m conntrack --ctstate NEW -j DROP", True),
        ("-p udp -m udp --dport 68 -j DROP", False),
        ("-i eth0 -j DROP", False),
        ("! -i br0 -j DROP", False),
        ("-m conntrack --ctstate INVALID -j DROP", False),
        ("-p icmp -j DROP", False),
        ("-s 203.0.113.0/24 -j DROP", False),
        ("-m mac --mac-source 52:54:00:00:00:01 -j DROP", False),
        ("-j LOG", False),
        ("-j nowhere", False),
        ("-j RETURN", True),
        ("-i eth0 -j RETURN", False),
        ('-m comment --comment "\\"not -j LOG" -j DROP', True),
        ('-m comment --comment "once -j DROP" -j LOG --log-prefix "-g OPEN "', False),
    ],
)
def test_what_stands_in_the_way_of_the_services_of_the_host(rule: str, stands: bool) -> None:
    wanted = WANTED["filter"]["INPUT"]
    have = [rule, *wanted]
    now = Site({"filter": {"INPUT": have}}, "filter", "INPUT", "br0").place(wanted, Own(wanted))
    assert now == ([*wanted, rule] if stands else have)


@pytest.mark.parametrize(
    ("others", "first"),
    [
        (["-i eth0 -j DROP"], True),
        # The bridge of somebody else is closed both ways.
        (["-o br1 -j REJECT", "-i br1 -j REJECT"], False),
        (["-i eth0 -o eth1 -j DROP"], False),
        (["-i eth0 -m conntrack --ctstate NEW -j DROP"], False),
        (["! -i eth0 -j DROP"], True),
        (["-j ACCEPT"], True),
        (["-m conntrack --ctstate NEW -j ACCEPT"], True),
        (["-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"], False),
        (["-i br0 -j ACCEPT"], False),
        (["-i wg0 -j ACCEPT", "-o wg0 -j ACCEPT"], False),
        (["-m physdev --physdev-is-bridged -j ACCEPT"], False),
        (["-j OPEN"], True),
        (["-j EMPTY"], False),
        (["-g EMPTY"], True),
        (["-i eth0 -g EMPTY"], False),
        (["-j RETURN"], True),
        (['-i br0 -m comment --comment "see -j LOG" -j DROP'], True),
        (["-j CLOSED"], False),
    ],
)
def test_what_stands_in_the_way_of_what_is_forwarded(others: list[str], first: bool) -> None:
    chains = {"FORWARD": others, "OPEN": ["-p icmp -j ACCEPT", "-j ACCEPT"], "EMPTY": [], "CLOSED": ["-j RETURN"]}
    wanted = WANTED["filter"]["FORWARD"]
    found = Site({"filter": chains}, "filter", "FORWARD", "br0").place(wanted, Own(wanted))
    assert found == ([*wanted, *others] if first else [*others, *wanted])


def test_names_with_single_quotes_are_words() -> None:
    assert tables.words('-m recent --name it"s -j DROP') == ["-m", "recent", "--name", 'it"s', "-j", "DROP"]
    assert tables.key('-m hashlimit --hashlimit-name a"b -j DROP')[-1] == "DROP"


def test_chains_that_jump_in_a_circle_end() -> None:
    wanted = WANTED["filter"]["INPUT"]
    found = {"filter": {"INPUT": ["-j a", *wanted], "a": ["-j b"], "b": ["-j a", "-j DROP"]}}
    assert Site(found, "filter", "INPUT", "br0").place(wanted, Own(wanted))[0] == wanted[0]


def test_the_recipe_is_recognised_when_all_of_it_is_there() -> None:
    assert rules.recognise("br0", WANTED) == ("192.168.0.0/24",)
    assert rules.recognise("br1", WANTED) == ()
    less = {**WANTED, "nat": {"POSTROUTING": WANTED["nat"]["POSTROUTING"][:2]}}
    assert rules.recognise("br0", less) == ()


@pytest.mark.parametrize("mask", ["255.0.255.0", "255.255.0.255", "0.0.0.255"])
def test_addresses_of_others_with_a_mask_that_is_no_prefix(mask: str) -> None:
    theirs = [f"-s 192.0.0.0/{mask} -i br0 -j ACCEPT", f"-d 192.0.0.0/{mask} -o br0 -j ACCEPT"]
    have = {"filter": {"FORWARD": [*theirs, *WANTED["filter"]["FORWARD"]]}, "nat": WANTED["nat"]}
    assert rules.recognise("br0", have) == ("192.168.0.0/24",)
    own = Own(WANTED["filter"]["FORWARD"])
    assert own.at(have["filter"]["FORWARD"]) == [2, 3, 4, 5, 6]
    assert Site(have, "filter", "FORWARD", "br0").place(WANTED["filter"]["FORWARD"], own) == have["filter"]["FORWARD"]


def test_libvirts_rules_for_the_bridge_are_found() -> None:
    found = {"filter": {"LIBVIRT_FWI": ["-o br0 -j REJECT", "-o br01 -j REJECT"], "FORWARD": ["-o br0 -j ACCEPT"]}}
    assert rules.names_bridge("br0", found) == [("filter", "LIBVIRT_FWI", "-o br0 -j REJECT")]


LINES = st.lists(
    st.tuples(
        st.sampled_from(["FORWARD", "INPUT", "FOR", "others", "A", "-A"]),
        st.sampled_from(["", "-j ACCEPT", '-m comment --comment "-A FORWARD " -j DROP', "-A FORWARD -j X", "COMMIT"]),
    ),
    max_size=12,
)


@given(st.lists(st.tuples(st.sampled_from(["filter", "nat"]), LINES), max_size=3))
def test_rules_are_read_as_they_stand_line_by_line(some: list[tuple[str, list[tuple[str, str]]]]) -> None:
    text, wanted = "# Generated\n", t.cast("Tables", {})
    for table, lines in some:
        text += f"*{table}\n:INPUT ACCEPT [0:0]\n"
        chains = wanted.setdefault(table, {})
        chains.setdefault("INPUT", [])
        for number, (chain, rule) in enumerate(lines):
            text += f"-A {chain} {rule}\n" if rule or number % 2 else f"-A {chain}\n"
            chains.setdefault(chain, []).append(rule)
        text += "COMMIT\n# Completed\n"
    assert tables.parse(text) == wanted
    assert tables.parse(text.rstrip("\n")) == wanted
