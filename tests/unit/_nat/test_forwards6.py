# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NAT: ports of the host that are forwarded to guests, of IPv6 and of both versions of IP."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import leases
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import (
    backend,
    compare,
    forwards,
    listening,
    placing,
    record,
    report,
    rules,
    shape,
    spec,
    tables,
    targets,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.forwards import Forward
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.observe import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.shape import Shape
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.spec import NatSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Own, Tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.whereabouts import Whereabouts
from ansible_collections.hypervisor.kvm.tests.unit._nat import hosts
from hypothesis import given
from hypothesis import strategies as st

FOUR, SIX = backend.NFT, backend.NFT6
THEIRS: Tables = {
    "filter": {"FORWARD": ["-j DOCKER-USER", "-j DROP"]},
    "nat": {"PREROUTING": ["-m addrtype --dst-type LOCAL -j DOCKER"]},
}
EMPTY = hosts.seen({FOUR: THEIRS, SIX: THEIRS}, forwarding6=True)
SUBNETS = ("192.168.0.0/24", "fd00:1::/64", "2001:db8:1::/64")
#: By version: addresses of the host, of guests, of others.
OURS = {4: ["203.0.113.1", "192.168.0.1", "127.0.0.1"], 6: ["2001:db8:ff::1", "fd00:1::1", "fe80::1", "::1"]}
GUESTS = {4: ["192.168.0.5", "192.168.0.6"], 6: ["fd00:1::5", "2001:DB8:1:0::6"]}
PEERS = {4: ["198.51.100.7", "10.1.2.3"], 6: ["2001:db8:5::7", "fd00:1::9"]}
NETWORKS = {
    4: ["198.51.100.7", "10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0"],
    6: ["2001:db8:5::/48", "2001:DB8:5::7", "fd00::/8", "::/0"],
}
#: Where a packet comes in, and the addresses of the host by which it is meant by no forward.
NEVER = {("PREROUTING", 6): {"fe80::1"}, ("OUTPUT", 6): {"::1"}, ("OUTPUT", 4): {"127.0.0.1"}}


@st.composite
def entries(draw: st.DrawFn, version: int | None = None) -> dict[str, t.Any]:
    """One entry of one version of IP as a user writes it."""
    number = version or draw(st.sampled_from([4, 6]))
    low, more, start = draw(st.integers(1, 40)), draw(st.integers(0, 4)), draw(st.integers(1, 60000))
    entry = {
        "protocol": draw(st.sampled_from([None, "tcp", "udp"])),
        "listen_address": draw(st.sampled_from([None, *OURS[number][:2]])),
        "listen_port": f"{low}-{low + more}",
        "to_address": draw(st.sampled_from(GUESTS[number])),
        "to_port": draw(st.sampled_from([None, str(start), f"{start}-{start + more}"])),
        "source": draw(st.lists(st.sampled_from(NETWORKS[number]), max_size=2)),
        "hairpin": draw(st.sampled_from([None, False])),
    }
    return {name: value for name, value in entry.items() if value is not None}


def parse(
    *some: t.Mapping[str, t.Any], bridge: str = "br0", subnets: t.Sequence[str] = SUBNETS, **params: t.Any
) -> NatSpec:
    return spec.parse({"bridge": bridge, "subnets": list(subnets), "port_forwards": list(some), **params})


def span(text: str) -> tuple[int, int]:
    low, _dash, high = text.partition("-")
    return int(low), int(high or low)


def inside(address: str, network: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)


def lands(found: Tables, chain: str, version: int, protocol: str, source: str, to: str, port: int) -> t.Any:
    """An own telling of where a packet goes: (address, port)."""
    for rule in tables.get(found, "nat", chain):
        pairs = dict(zip(rule.split(), rule.split()[1:]))
        low, _colon, high = pairs["--dport"].partition(":")
        if pairs["-p"] != protocol or not int(low) <= port <= int(high or low):
            continue
        if "-s" in pairs and not inside(source, pairs["-s"]):
            continue
        if "--dst-type" in pairs and to not in OURS[version]:
            continue
        if "-d" in pairs and inside(to, pairs["-d"]) == ("!" in pairs):
            continue
        pattern = r"\[(.*)\]:(.*)|([^]]*)()" if version == 6 else r"(.*):(.*)|([^:]*)()"
        match = re.fullmatch(pattern, pairs["--to-destination"])
        assert match is not None
        address, ports = match.group(1) or match.group(3), match.group(2)
        if not ports:
            return address, port
        ports, _slash, base = ports.partition("/")
        return address, span(ports)[0] + (port - int(base) if base else 0)
    return None


@given(entries(), st.sampled_from(["PREROUTING", "OUTPUT"]), st.integers(0, 1))
def test_every_port_goes_where_it_was_declared_to(entry: dict[str, t.Any], chain: str, peer: int) -> None:
    one = parse(entry).shape.port_forwards[0]
    version = one.version
    assert version in (4, 6)
    found, other = (rules.render("br0", SUBNETS, Shape(port_forwards=(one,)), version=number) for number in (4, 6))
    if version == 6:
        found, other = other, found
    assert "DNAT" not in str(other)
    source = PEERS[version][peer]
    wanted = not entry["source"] or any(inside(source, network) for network in entry["source"])
    (low, high), (first, last) = span(one.listen_port), span(one.to_port)
    for to in OURS[version]:
        meant = wanted and to not in NEVER.get((chain, version), set())
        meant = meant and entry.get("listen_address", to) == to
        for port in range(1, 50):
            where = (str(ipaddress.ip_address(entry["to_address"])), first + (port - low if last != first else 0))
            got = lands(found, chain, version, one.protocol, source, to, port)
            assert got == (where if meant and low <= port <= high else None)
    accepts = [rule for rule in found["filter"]["FORWARD"] if "--ctstate DNAT" in rule]
    assert found["filter"]["FORWARD"][: len(accepts)] == accepts
    assert len(accepts) == max(len(one.source), 1)
    target = f"-d {one.to_address}/{32 if version == 4 else 128}"
    assert all(f"{target} -o br0 -p {one.protocol} " in rule for rule in accepts)
    hairpins = [rule for rule in found["nat"]["POSTROUTING"] if "--ctstate DNAT" in rule]
    assert found["nat"]["POSTROUTING"][: len(hairpins)] == hairpins
    assert all(rule.endswith("-j MASQUERADE") and target in rule for rule in hairpins)
    if not one.source:
        assert len(hairpins) == (len([net for net in SUBNETS if (":" in net) == (version == 6)]) if one.hairpin else 0)


@given(entries())
def test_a_forward_survives_its_record(entry: dict[str, t.Any]) -> None:
    one = parse(entry)
    seen = compare.compare(one, EMPTY).plan.result
    again = record.parse(seen.files[record.path("br0")])
    assert again.shape == one.shape
    assert record.text(again) == seen.files[record.path("br0")]


def test_a_record_of_before_is_read_as_it_is() -> None:
    line = (
        '{"port_forwards": [{"domain": "web", "hairpin": true, "listen_address": null, "listen_port": "80",'
        ' "protocol": "tcp", "source": [], "to_address": "192.168.0.5", "to_port": "80"}]}'
    )
    assert shape.text(shape.read(line)) == line


@given(entries(4), entries(6), st.sampled_from(["listen_address", "to_address", "source"]))
def test_a_forward_is_of_one_version(four: dict[str, t.Any], six: dict[str, t.Any], name: str) -> None:
    mixed = {**four, **({name: six[name]} if six.get(name) else {})}
    stated = [mixed.get("listen_address"), mixed["to_address"], *mixed["source"]]
    if len({":" in str(value) for value in stated if value}) == 1:
        assert parse(mixed).shape.port_forwards
        return
    with pytest.raises(InvalidSpec, match="a forward is of one version of IP: state addresses of one") as caught:
        parse(mixed)
    assert str(caught.value).startswith("nat of bridge br0: port_forwards ")


@given(st.lists(entries(), min_size=2, max_size=4))
def test_ports_clash_within_one_version(some: list[dict[str, t.Any]]) -> None:
    def keys(entry: dict[str, t.Any]) -> set[tuple[str, str, int]]:
        number = 6 if ":" in entry["to_address"] else 4
        hosts = [entry["listen_address"]] if "listen_address" in entry else OURS[number]
        low, high = span(entry["listen_port"])
        return {(entry.get("protocol", "tcp"), host, port) for host in hosts for port in range(low, high + 1)}

    if any(keys(one) & keys(other) for at, one in enumerate(some) for other in some[:at]):
        with pytest.raises(
            InvalidSpec, match=r"about the same port of the host; a port has one target: remove one of the two\."
        ):
            parse(*some)
    else:
        assert len(parse(*some).shape.port_forwards) == len(some)


@given(st.lists(entries(), max_size=3), st.lists(entries(), max_size=3))
def test_changed_forwards_leave_nothing_of_those_before(
    first: list[dict[str, t.Any]], second: list[dict[str, t.Any]]
) -> None:
    def spread(some: list[dict[str, t.Any]]) -> NatSpec:
        return parse(*({**entry, "listen_port": f"{1000 * at + 1}", "to_port": 80} for at, entry in enumerate(some, 1)))

    one, two = spread(first), spread(second)
    before = compare.compare(one, EMPTY).plan.result
    assert not compare.compare(one, before)
    changed = compare.compare(two, before).plan.result
    fresh = compare.compare(two, EMPTY).plan.result
    assert (changed.tables, changed.files) == (fresh.tables, fresh.files)
    gone = compare.compare(NatSpec("br0", "absent"), changed).plan.result
    for name in (FOUR, SIX):
        left = {
            table: {chain: some for chain, some in chains.items() if some}
            for table, chains in gone.tables[name].items()
        }
        assert {table: chains for table, chains in left.items() if chains} == THEIRS


@given(st.lists(entries(6), min_size=1, max_size=2, unique_by=lambda one: one["to_address"]))
def test_the_replayed_program_does_the_same_and_nothing_twice(some: list[dict[str, t.Any]]) -> None:
    one = parse(*({**entry, "listen_port": str(at), "to_port": 80} for at, entry in enumerate(some, 1)))
    seen = compare.compare(one, dataclasses.replace(EMPTY, tables={FOUR: {}, SIX: {}}, systemd=True)).plan.result
    part = tables.part(seen.files[record.path("br0")], SIX)
    assert part is not None
    restored = placing.replay("", [part])
    # On a host without any rules, what is restored is all that it saves then.
    for chain in ("PREROUTING", "OUTPUT"):
        assert tables.parse(restored)["nat"][chain] == seen.tables[SIX]["nat"][chain]
    assert placing.replay(restored, [part]) == ""


WEB = {"listen_port": "8080", "to_address": "fd00:1::b", "to_port": "80"}


def test_the_rules_of_one() -> None:
    found = rules.render("br0", SUBNETS, parse({**WEB, "source": ["2001:DB8:5::/48"]}).shape, version=6)
    to = "-p tcp -m tcp --dport 8080 -m addrtype --dst-type LOCAL -j DNAT --to-destination [fd00:1::b]:80"
    assert found["nat"]["PREROUTING"] == [f"-s 2001:db8:5::/48 ! -d fe80::/10 {to}"]
    assert found["nat"]["OUTPUT"] == [f"-s 2001:db8:5::/48 ! -d ::1/128 {to}"]
    assert found["filter"]["FORWARD"][0] == (
        "-s 2001:db8:5::/48 -d fd00:1::b/128 -o br0 -p tcp -m tcp --dport 80 -m conntrack --ctstate DNAT -j ACCEPT"
    )
    shown = report._forward(parse(WEB).shape.port_forwards[0])
    assert (shown["to_address"], shown["source"], shown["domain"]) == ("fd00:1::b", [], None)


@pytest.mark.parametrize("order", [("br0", "br1"), ("br1", "br0")])
def test_a_bridge_that_lets_nothing_out_still_lets_its_guests_to_ports(order: tuple[str, str]) -> None:
    aside = parse(bridge="br1", subnets=["fd00:2::/64"], out_interface="eth0", inter_bridge="isolate")
    both = {"br0": parse(WEB), "br1": aside}
    _changes, seen = compare.in_turn([both[name] for name in order], EMPTY)
    accept = "-d fd00:1::b/128 -i br1 -o br0 -p tcp -m tcp --dport 80 -m conntrack --ctstate DNAT -j ACCEPT"
    assert seen.records["br1"].rules6["filter"]["FORWARD"][0] == accept
    assert "DNAT" not in str(seen.records["br0"].rules)
    gone = compare.compare(NatSpec("br0", "absent"), seen).plan.result
    assert "fd00:1::b" not in str(gone.records) + str(gone.tables)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("-j DNAT --to-destination [FD00:0:0::2]:80", "-j DNAT --to-destination [fd00::2]:80", True),
        ("-j DNAT --to-destination [fd00::0:2]:80-90/8080", "-j DNAT --to-destination [fd00::2]:80-90/8080", True),
        ("-j DNAT --to-destination [FD00::2]", "-j DNAT --to-destination fd00::2", True),
        ("-j SNAT --to-source 2001:DB8::0007", "-j SNAT --to-source 2001:db8::7", True),
        ("-j SNAT --to-source fd00::2-fd00::9", "-j SNAT --to-source fd00::2", False),
        ("-j DNAT --to-destination [fd00::2]:80", "-j DNAT --to-destination [fd00::2]:81", False),
        ("-j DNAT --to-destination [fd00::2]:80", "-j DNAT --to-destination [fd00::3]:80", False),
        ("-j DNAT --to-destination [fd00::2]:80", "-j DNAT --to-destination fd00::2:80", False),
        ("-j DNAT --to-destination [nonsense::]:80", "-j DNAT --to-destination [fd00::2]:80", False),
    ],
)
def test_the_same_target_in_other_words(one: str, other: str, same: bool) -> None:
    assert (tables.key(one) == tables.key(other)) == same


def test_a_line_of_ours_is_known_by_its_target() -> None:
    own = Own(rules.render("br0", SUBNETS, parse(WEB).shape, version=6)["nat"]["PREROUTING"])
    rule = "! -d fe80::/10 -p tcp --dport 8080 -m addrtype --dst-type LOCAL -j DNAT --to-destination {}:80"
    assert rule.format("[fd00:1::b]") in own
    assert rule.format("[FD00:1:0::b]") in own
    assert rule.format("[fd00:1::c]") not in own


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"to_address": "fd00:1::"}, "no address of a guest in"),
        ({"to_address": "fd00:2::5"}, "to_address fd00:2::5 is no address of a guest in"),
        ({"to_address": "fd00:1::5%eth0"}, "to_address 'fd00:1::5%eth0' is no IP address"),
        ({"to_address": "::ffff:192.168.0.5"}, "no address that a host"),
        ({"listen_address": "fe80::1"}, "no address that a host"),
        ({"listen_address": "::1"}, "no address that a host"),
        ({"listen_address": "ff02::1"}, "no address that a host"),
        ({"listen_address": "FD00:1::B"}, "are the same"),
        (
            {"listen_address": "203.0.113.1"},
            "listen_address 203.0.113.1 is of IPv4 and to_address fd00:1::b is of IPv6",
        ),
        ({"source": ["fe80::1%eth0"]}, "is no network and no address"),
        ({"source": ["::/0", "0.0.0.0/0"]}, "source has networks of IPv4 and of IPv6"),
        ({"source": ["10.0.0.0/8"]}, "to_address fd00:1::b is of IPv6 and source 10.0.0.0/8 is of IPv4"),
    ],
)
def test_wrong_forwards(entry: dict[str, t.Any], sentence: str) -> None:
    with pytest.raises(InvalidSpec, match=sentence) as caught:
        parse({**WEB, **entry})
    assert "nat of bridge br0: port_forwards" in str(caught.value)


def named(*subnets: str, **entry: t.Any) -> NatSpec:
    return parse({"listen_port": 80, "domain": "web", **entry}, subnets=subnets or SUBNETS)


def at(*groups: tuple[str, ...], seen: Snapshot = EMPTY) -> Snapshot:
    return dataclasses.replace(seen, whereabouts={"web": Whereabouts(groups=groups)})


BOTH = (("192.168.0.9", "FD00:1:0::9"),)


@pytest.mark.parametrize(
    ("entry", "groups", "addresses"),
    [
        ({}, BOTH, ["192.168.0.9", "fd00:1::9"]),
        ({}, (("fd00:1::9", "fd00:1:0::9"), ("192.168.0.9",)), ["192.168.0.9", "fd00:1::9"]),
        ({}, (("192.168.0.9", "fd00:7::9"),), ["192.168.0.9"]),
        ({}, (("2001:db8:1::9", "10.0.0.1"),), ["2001:db8:1::9"]),
        ({"listen_address": "203.0.113.1"}, BOTH, ["192.168.0.9"]),
        ({"listen_address": "2001:db8::1"}, BOTH, ["fd00:1::9"]),
        ({"source": ["::/0"]}, BOTH, ["fd00:1::9"]),
        ({"source": ["0.0.0.0/0"]}, BOTH, ["192.168.0.9"]),
        ({"source": ["198.51.100.0/24"]}, BOTH, ["192.168.0.9"]),
    ],
)
def test_a_domain_is_reached_by_each_version_that_is_known(entry: t.Any, groups: t.Any, addresses: list[str]) -> None:
    result = compare.compare(named(**entry), at(*groups)).plan.result
    some = result.records["br0"].shape.port_forwards
    assert [one.to_address for one in some] == addresses
    assert {one.domain for one in some} == {"web"}
    assert not [one for one in some if one.source and one.source[0].endswith("/0")]
    for name, version in ((FOUR, 4), (SIX, 6)):
        wanted = [f"[{one}]:80" if version == 6 else f"{one}:80" for one in addresses if (":" in one) == (version == 6)]
        dnat = [rule for rule in tables.get(result.tables[name], "nat", "PREROUTING") if "--to-destination" in rule]
        assert [rule.split()[-1] for rule in dnat] == wanted
    assert not compare.compare(named(**entry), at(*groups, seen=result))


def test_a_domain_that_is_off_is_where_it_was_by_both() -> None:
    seen = compare.compare(named(), at(*BOTH)).plan.result
    assert not compare.compare(named(), at(seen=seen))
    # One version is known again, at another address.
    moved = compare.compare(named(), at(("192.168.0.8",), seen=seen)).plan.result
    assert [one.to_address for one in moved.records["br0"].shape.port_forwards] == ["192.168.0.8", "fd00:1::9"]
    assert "192.168.0.9" not in str(moved.tables) + str(moved.files)
    # Its other version is meant no more, or cannot be.
    for other in (named(source=["0.0.0.0/0"]), named("192.168.0.0/24")):
        left = compare.compare(other, at(seen=seen)).plan.result
        assert "fd00:1::9" not in str(left.tables) + str(left.files)
        assert not compare.compare(other, at(seen=left))


@pytest.mark.parametrize(
    ("entry", "groups", "sentence"),
    [
        ({"source": ["::/0"]}, (("192.168.0.9",),), r"no known address in fd00:1::/64, 2001:db8:1::/64 \(only 192"),
        ({}, (("10.0.0.1", "fd00:7::1"),), r"no known address in 192.168.0.0/24, fd00:1::/64, 2001:db8:1::/64 \(only"),
        (
            {},
            (("192.168.0.9", "fd00:1::8", "fd00:1::9"),),
            r"2 addresses in fd00:1::/64, 2001:db8:1::/64 \(fd00:1::8, fd",
        ),
    ],
)
def test_a_domain_that_is_nowhere_or_in_two_places(entry: t.Any, groups: t.Any, sentence: str) -> None:
    with pytest.raises(KvmError, match=sentence):
        compare.compare(named(**entry), at(*groups))


def test_a_domain_of_a_version_that_the_bridge_has_not() -> None:
    with pytest.raises(InvalidSpec, match=r"it is of IPv6, and the bridge has no subnet of that \(192.168.0.0/24\)"):
        named("192.168.0.0/24", listen_address="2001:db8::1")


def test_a_domain_for_both_versions_has_the_port_of_both() -> None:
    domain = {"listen_port": 8080, "domain": "web"}
    for other in (WEB, {**WEB, "to_address": "192.168.0.5"}):
        with pytest.raises(InvalidSpec, match="or say of which version of IP the one of a domain is"):
            parse(domain, other)
    assert len(parse({**domain, "source": ["0.0.0.0/0"]}, WEB).shape.port_forwards) == 2
    with pytest.raises(InvalidSpec, match="say of which version of IP"):
        spec.check_together(
            [parse(domain), parse({**WEB, "to_address": "fd00:2::5"}, bridge="br1", subnets=["fd00:2::/64"])]
        )


def test_a_domain_has_the_ports_of_other_bridges_where_it_is_only() -> None:
    other = parse({**WEB, "to_address": "fd00:2::5"}, bridge="br1", subnets=["fd00:2::/64"])
    seen = compare.compare(other, EMPTY).plan.result
    wanted = parse({"listen_port": 8080, "domain": "web"})
    assert compare.compare(wanted, at(("192.168.0.9",), seen=seen))
    with pytest.raises(InvalidSpec, match="tcp port 8080 leads to a guest on bridge br1 already"):
        compare.compare(wanted, at(*BOTH, seen=seen))


TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000
   1: B80D0120000000000000000001000000:1F91 00000000000000000000000000000000:0000 0A 00000000:00000000
"""
TCP4 = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F92 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
"""


@pytest.mark.parametrize(
    ("entry", "taken"),
    [
        ({**WEB}, "tcp *:8080"),
        ({**WEB, "to_address": "192.168.0.5"}, "tcp *:8080"),
        ({**WEB, "listen_port": 8081}, "tcp [2001:db8::1]:8081"),
        ({**WEB, "listen_port": 8081, "listen_address": "2001:DB8::1"}, "tcp [2001:db8::1]:8081"),
        ({**WEB, "listen_port": 8081, "listen_address": "2001:db8::2"}, None),
        ({**WEB, "listen_port": 8081, "to_address": "192.168.0.5"}, None),
        ({**WEB, "listen_port": 8082}, None),
        ({**WEB, "listen_port": 8082, "to_address": "192.168.0.5"}, "tcp *:8082"),
        ({"listen_port": 8082, "domain": "web"}, "tcp *:8082"),
    ],
)
def test_a_program_that_listens_is_named(entry: dict[str, t.Any], taken: str | None) -> None:
    sockets = (*listening.parse("tcp", "0A", TCP6), *listening.parse("tcp", "0A", TCP4))
    seen = dataclasses.replace(EMPTY, systemd=True, sockets=sockets)
    found = report.warnings(parse(entry), seen, first=True)
    assert [f"({taken})" in line for line in found] == ([True] if taken else [])


def test_a_program_that_listens_on_all_addresses_of_each_version_is_named_once() -> None:
    both = (listening.Socket("tcp", None, 8080, 4), listening.Socket("tcp", None, 8080, None))
    seen = dataclasses.replace(EMPTY, systemd=True, sockets=both)
    (said,) = report.warnings(parse({**WEB, "to_address": "192.168.0.5"}), seen, first=True)
    assert "(tcp *:8080)" in said


def test_a_guest_that_cannot_reach_itself_by_ipv6() -> None:
    seen = dataclasses.replace(EMPTY, systemd=True, loopless6=frozenset({"br0"}))
    (said,) = report.warnings(parse(WEB), seen, first=True)
    assert "(net.bridge.bridge-nf-call-ip6tables is 1), so a guest does not reach itself" in said
    assert report.warnings(parse({**WEB, "to_address": "192.168.0.5"}), seen, first=True) == []
    both = dataclasses.replace(seen, loopless=frozenset({"br0"}))
    (said,) = report.warnings(named(), both, first=True)
    assert "(net.bridge.bridge-nf-call-iptables and net.bridge.bridge-nf-call-ip6tables is 1)" in said


@pytest.mark.parametrize(
    ("text", "mac"),
    [
        ("0:3:0:1:52:54:0:0:0:a", "52:54:00:00:00:0a"),
        ("00:01:00:01:4f:3e:a5:1c:52:54:00:01:02:03", "52:54:00:01:02:03"),
        ("0:2:0:0:ab:11:52:54:0:0", ""),
        ("0:3:0:1:52:54", ""),
        ("0:3:0:20:52:54:0:0:0:a", ""),
        ("nonsense", ""),
        ("", ""),
    ],
)
def test_the_mac_address_in_a_duid(text: str, mac: str) -> None:
    assert leases.duid_mac(text) == mac


def test_whose_a_reservation_is() -> None:
    macs = {"52:54:00:00:00:0a"}
    for one, wanted in (
        (leases.Reservation("52:54:00:00:00:0a", "other", "192.168.0.5"), True),
        (leases.Reservation("52:54:00:00:00:0b", "web", "192.168.0.5"), False),
        (leases.Reservation("", "web", "fd00:1::5"), True),
        (leases.Reservation("", "", "fd00:1::5", "52:54:00:00:00:0a"), True),
        (leases.Reservation("", "other", "fd00:1::5", "52:54:00:00:00:0b"), False),
    ):
        assert targets._is_for(one, "web", macs) == wanted


def test_the_latest_leases_are_those_of_each_version() -> None:
    some = [
        {"address": address, "network": "lab", "expires": expires}
        for address, expires in (("192.168.0.5", 5), ("192.168.0.6", 9), ("fd00:1::5", 7), ("fd00:1::6", None))
    ]
    assert targets._newest(some) == ["192.168.0.6", "fd00:1::5"]


def test_what_a_forward_is_called() -> None:
    assert str(Forward("udp", "53", "53", "2001:db8::1")) == "udp [2001:db8::1]:53"
    assert forwards.within("fd00::1", ["fd00::/127"])
    assert forwards.within("fd00::", ["fd00::/127"])
    assert not forwards.within("fd00::", ["fd00::/126", "0.0.0.0/1"])
