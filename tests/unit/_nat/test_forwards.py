# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NAT: ports of the host that are forwarded to guests."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import socket
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec, KvmError, LibvirtError
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
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.forwards import Forward
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.observe import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.placing import Site
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.shape import Shape
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.spec import NatSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Own, Tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.whereabouts import Whereabouts
from ansible_collections.hypervisor.kvm.tests.unit._nat import hosts
from hypothesis import given
from hypothesis import strategies as st

DOCKER = "-m addrtype --dst-type LOCAL -j DOCKER"
THEIRS = {
    "filter": {"FORWARD": ["-j DOCKER-USER", "-j DROP"]},
    "nat": {
        "PREROUTING": [DOCKER],
        "OUTPUT": [f"! -d 127.0.0.0/8 {DOCKER}"],
        "DOCKER": [
            "-i docker0 -j RETURN",
            "! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80",
        ],
    },
}
EMPTY = hosts.seen({backend.NFT: THEIRS})
SPANS = st.tuples(st.integers(1, 60), st.integers(0, 5)).map(lambda pair: (pair[0], pair[0] + pair[1]))
LISTEN = st.sampled_from([None, "203.0.113.1", "203.0.113.2", "192.168.0.1"])


def written(span: tuple[int, int]) -> str:
    return str(span[0]) if span[0] == span[1] else f"{span[0]}-{span[1]}"


@st.composite
def entries(draw: st.DrawFn) -> dict[str, t.Any]:
    """One entry as a user writes it, right in itself."""
    low, high = draw(SPANS)
    start = draw(st.integers(1, 60000))
    kind = draw(st.sampled_from(["same", "one", "moved"]))
    to_port = {"same": None, "one": str(start), "moved": written((start, start + high - low))}[kind]
    entry = {
        "protocol": draw(st.sampled_from([None, "tcp", "udp"])),
        "listen_address": draw(LISTEN),
        "listen_port": written((low, high)),
        "to_address": f"192.168.0.{draw(st.integers(2, 9))}",
        "to_port": to_port,
        "source": draw(
            st.lists(st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "198.51.100.7", "0.0.0.0/0"]), max_size=3)
        ),
        "hairpin": draw(st.sampled_from([None, True, False])),
    }
    return {name: value for name, value in entry.items() if value is not None}


def parse(*some: t.Mapping[str, t.Any], bridge: str = "br0", number: int = 0, **params: t.Any) -> NatSpec:
    return spec.parse({"bridge": bridge, "subnets": [f"192.168.{number}.0/24"], "port_forwards": list(some), **params})


def ports(span: str) -> set[int]:
    low, _dash, high = span.partition("-")
    return set(range(int(low), int(high or low) + 1))


def lands(
    found: Tables, chain: str, packet: tuple[str, str, str, int], local: set[str]
) -> tuple[str, int | None] | None:
    """An own telling of where (protocol, source, destination, port) goes: (address, port, None = a range's first is unknown)."""
    protocol, source, destination, port = packet
    for rule in tables.get(found, "nat", chain):
        words = rule.split()
        pairs = dict(zip(words, words[1:]))
        if "--to-destination" not in pairs or pairs["-p"] != protocol:
            continue
        low, _colon, high = pairs["--dport"].partition(":")
        if not int(low) <= port <= int(high or low):
            continue
        if "-s" in pairs and ipaddress.ip_address(source) not in ipaddress.ip_network(pairs["-s"]):
            continue
        if "--dst-type" in pairs and destination not in local:
            continue
        if "-d" in pairs:
            inside = ipaddress.ip_address(destination) in ipaddress.ip_network(pairs["-d"])
            if inside == ("!" in words):
                continue
        address, _colon, to = pairs["--to-destination"].partition(":")
        span, _slash, base = to.partition("/")
        if not to:
            return address, port
        return address, int(span.partition("-")[0]) + (port - int(base) if base else 0)
    return None


@given(entries())
def test_a_forward_survives_its_record(entry: dict[str, t.Any]) -> None:
    one = parse(entry).shape
    assert shape.read(shape.text(one)) == one
    found = rules.render("br0", ["192.168.0.0/24"], one)
    known = record.Record("br0", backend.NFT, "none", ("192.168.0.0/24",), found, shape=one)
    assert record.parse(record.text(known)).shape == one


def test_records_of_before_have_none() -> None:
    assert shape.read('{"dns": false}') == Shape(dns=False)
    with pytest.raises(ValueError, match="does not know"):
        shape.read('{"port_forwards": [{"later": 1}]}')


@given(entries(), st.sampled_from(["10.1.2.3", "198.51.100.7", "198.51.100.8", "192.168.0.77", "203.0.113.1"]))
def test_every_port_goes_where_it_was_declared_to_and_is_let_in_there(entry: dict[str, t.Any], source: str) -> None:
    one = parse(entry).shape.port_forwards[0]
    found = rules.render("br0", ["192.168.0.0/24"], Shape(port_forwards=(one,)))
    local = {"203.0.113.1", "203.0.113.2", "192.168.0.1", "127.0.0.1"}
    wanted = (
        "source" not in entry
        or not one.source
        or any(ipaddress.ip_address(source) in ipaddress.ip_network(network) for network in entry["source"])
    )
    listen, to = sorted(ports(one.listen_port)), sorted(ports(one.to_port))
    for destination in (*sorted(local), "192.0.2.9"):
        for port in (*range(1, 70), 65535):
            meant = destination == one.listen_address or (one.listen_address is None and destination in local)
            meant = meant and wanted and port in listen and destination != "127.0.0.1"
            target = to[listen.index(port)] if port in listen and len(to) > 1 else to[0]
            packet = (one.protocol, source, destination, port)
            # What comes from outside is never for 127.0.0.1.
            for chain in ("PREROUTING", "OUTPUT") if destination != "127.0.0.1" else ("OUTPUT",):
                assert lands(found, chain, packet, local) == ((one.to_address, target) if meant else None)
    accepts = [rule for rule in found["filter"]["FORWARD"] if "--ctstate DNAT" in rule]
    assert found["filter"]["FORWARD"][: len(accepts)] == accepts
    assert all(f"-d {one.to_address}/32 -o br0" in rule for rule in accepts)
    assert len(accepts) == max(len(one.source), 1)
    hairpins = [rule for rule in found["nat"]["POSTROUTING"] if "--ctstate DNAT" in rule]
    assert found["nat"]["POSTROUTING"][: len(hairpins)] == hairpins
    assert len(hairpins) == (1 if one.hairpin and not one.source else 0)


@given(st.lists(entries(), min_size=2, max_size=4), st.booleans())
def test_no_packet_is_meant_by_two(some: list[dict[str, t.Any]], apart: bool) -> None:
    def keys(entry: dict[str, t.Any]) -> set[tuple[str, str, int]]:
        hosts = (
            [entry["listen_address"]]
            if "listen_address" in entry
            else ["203.0.113.1", "203.0.113.2", "192.168.0.1", "any"]
        )
        return {(entry.get("protocol", "tcp"), host, port) for host in hosts for port in ports(entry["listen_port"])}

    clash = any(keys(one) & keys(other) for at, one in enumerate(some) for other in some[:at])

    def declare() -> None:
        if apart:
            moved = [{**entry, "to_address": f"192.168.{at}.5"} for at, entry in enumerate(some)]
            spec.check_together([parse(entry, bridge=f"br{at}", number=at) for at, entry in enumerate(moved)])
        else:
            parse(*some)

    if clash:
        with pytest.raises(InvalidSpec, match="about the same port of the host"):
            declare()
    else:
        declare()


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
    assert changed.tables == fresh.tables
    assert changed.files == fresh.files
    gone = compare.compare(NatSpec("br0", "absent"), changed).plan.result
    left = {
        table: {chain: some for chain, some in chains.items() if some}
        for table, chains in gone.tables[backend.NFT].items()
    }
    assert {table: chains for table, chains in left.items() if chains} == THEIRS


WEB = {"listen_port": "8080", "to_address": "192.168.0.11", "to_port": "80"}


@pytest.mark.parametrize(
    ("rule", "stands"),
    [
        ("-p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.0.1:80", True),
        ("-i eth0 -j DNAT --to-destination 10.0.0.1", True),
        ("-p tcp -m multiport --dports 80,8000:9000 -j REDIRECT --to-ports 3128", True),
        ("-d 203.0.113.1/32 -p tcp -j ACCEPT", True),
        ("-j RETURN", True),
        ("-j theirs", True),
        ("-p udp -m udp --dport 8080 -j DNAT --to-destination 10.0.0.1:80", False),
        ("-p tcp -m tcp --dport 443 -j DNAT --to-destination 10.0.0.1:443", False),
        ("-j LOG", False),
        ("-j harmless", False),
        ("-p udp -j theirs", False),
    ],
)
def test_what_stands_in_the_way_of_a_forward(rule: str, stands: bool) -> None:
    wanted = rules.render("br0", ["192.168.0.0/24"], parse(WEB).shape)["nat"]["PREROUTING"]
    chains = {
        "PREROUTING": [rule, *wanted],
        "theirs": ["-j RETURN", "-j deeper"],
        "deeper": ["-j theirs", "-p tcp -m tcp --dport 8080 -j REDIRECT --to-ports 80"],
        "harmless": ["-i docker0 -j RETURN", "-p tcp -m tcp --dport 22 -j DNAT --to-destination 10.0.0.1:22"],
    }
    now = Site({"nat": chains}, "nat", "PREROUTING", "br0").place(wanted, Own(wanted))
    assert now == ([*wanted, rule] if stands else chains["PREROUTING"])


@pytest.mark.parametrize(
    ("addresses", "stands"),
    [
        ("203.0.0.1/255.0.0.255", True),
        ("203.0.0.2/255.0.0.255", False),
        ("203.0.0.0/255.0.0.0", True),
        ("0.0.0.1/0.0.0.3", True),
        ("0.0.0.2/0.0.0.3", False),
        ("203.0.113.0/24", True),
        ("203.0.113.1/32", True),
        ("203.0.113.2", False),
    ],
)
def test_whose_addresses_stand_in_the_way_of_a_forward_of_one(addresses: str, stands: bool) -> None:
    one = parse({**WEB, "listen_address": "203.0.113.1"}).shape
    wanted = rules.render("br0", ["192.168.0.0/24"], one)["nat"]["PREROUTING"]
    have = [f"-d {addresses} -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.0.1:80", *wanted]
    now = Site({"nat": {"PREROUTING": have}}, "nat", "PREROUTING", "br0").place(wanted, Own(wanted))
    assert now == ([*wanted, have[0]] if stands else have)


def test_forwards_to_different_addresses_stand_beside_each_other() -> None:
    one = parse({**WEB, "listen_address": "203.0.113.1"})
    other = parse({**WEB, "listen_address": "203.0.113.2", "to_address": "192.168.1.5"}, bridge="br1", number=1)
    first = compare.compare(one, EMPTY).plan.result
    both = compare.compare(other, first).plan.result
    assert not compare.compare(one, both)
    assert not compare.compare(other, both)


def test_a_line_of_ours_is_known_by_its_target() -> None:
    wanted = rules.render("br0", ["192.168.0.0/24"], parse(WEB).shape)["nat"]
    own = Own(wanted["PREROUTING"])
    assert "-p tcp --dport 8080 -m addrtype --dst-type LOCAL -j DNAT --to-destination 192.168.0.11:80" in own
    assert "-p tcp -m tcp --dport 8080 -m addrtype --dst-type LOCAL -j DNAT --to-destination 192.168.0.12:80" not in own


def test_a_port_that_another_bridge_has() -> None:
    seen = compare.compare(parse(WEB), EMPTY).plan.result
    other = parse({"listen_port": "8000-9000", "to_address": "192.168.1.5"}, bridge="br1", number=1)
    with pytest.raises(InvalidSpec, match=r"tcp port 8000-9000: tcp port 8080 leads to a guest on bridge br0 already"):
        compare.compare(other, seen)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_port_moves_from_one_bridge_to_another_in_one_call(order: tuple[int, int]) -> None:
    seen = compare.compare(parse(WEB), EMPTY).plan.result
    both = [parse(), parse({**WEB, "to_address": "192.168.1.5"}, bridge="br1", number=1)]
    specs = [both[number] for number in order]
    spec.check_together(specs)
    called = dataclasses.replace(seen, called=frozenset({"br0", "br1"}))
    _changes, result = compare.in_turn(specs, called)
    _changes, fresh = compare.in_turn(specs, EMPTY)
    assert tables.get(result.tables[backend.NFT], "nat", "PREROUTING") == tables.get(
        fresh.tables[backend.NFT], "nat", "PREROUTING"
    )
    assert "192.168.0.11" not in str(result.tables) + str(result.files)
    assert not any(compare.in_turn(specs, result)[0])


@pytest.mark.parametrize("order", [("br0", "br1"), ("br1", "br0")])
def test_a_bridge_that_lets_nothing_out_still_lets_its_guests_to_ports(order: tuple[str, str]) -> None:
    both = {"br0": parse(WEB), "br1": parse(bridge="br1", number=1, out_interface="eth0")}
    _changes, seen = compare.in_turn([both[name] for name in order], EMPTY)
    accept = "-d 192.168.0.11/32 {}-o br0 -p tcp -m tcp --dport 80 -m conntrack --ctstate DNAT -j ACCEPT"
    known = tables.get(seen.records["br1"].rules, "filter", "FORWARD")
    assert known[0] == accept.format("-i br1 ")
    forward = tables.get(seen.tables[backend.NFT], "filter", "FORWARD")
    assert forward.index(known[0]) < forward.index("-i br1 -j REJECT --reject-with icmp-port-unreachable")
    assert not compare.compare(both["br1"], seen)
    gone = compare.compare(NatSpec("br0", "absent"), seen).plan.result
    assert "192.168.0.11" not in str(gone.records) + str(gone.tables)


def test_answers_leave_where_the_question_came_from() -> None:
    answer = "-s 192.168.0.0/24 -i br0 -m state --state RELATED,ESTABLISHED -j ACCEPT"
    for some, out, wanted in (((WEB,), "eth0", 1), ((WEB,), None, 0), ((), "eth0", 0)):
        one = parse(*some, out_interface=out).shape
        assert rules.render("br0", ["192.168.0.0/24"], one)["filter"]["FORWARD"].count(answer) == wanted


def test_two_ports_that_lead_to_one_are_let_in_once() -> None:
    one = parse(WEB, {**WEB, "listen_port": 8081}).shape
    found = rules.render("br0", ["192.168.0.0/24", "10.0.0.0/8"], one)
    assert len([rule for rule in found["filter"]["FORWARD"] if "DNAT" in rule]) == 1
    assert len([rule for rule in found["nat"]["POSTROUTING"] if "DNAT" in rule]) == 2


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"listen_port": "0"}, "listen_port '0' is no port"),
        ({"listen_port": "ssh"}, "listen_port 'ssh' is no port"),
        ({"listen_port": "90-80"}, "listen_port '90-80' is no port"),
        ({"listen_port": "80,81"}, "listen_port '80,81' is no port"),
        ({"listen_port": None}, "listen_port is missing"),
        ({"to_port": "70000"}, "to_port '70000' is no port"),
        ({"listen_port": "80-90", "to_port": "80-91"}, "not as many ports"),
        ({"to_port": "80-91"}, "not as many ports"),
        ({"listen_address": "127.0.0.1"}, "no address that a host"),
        ({"listen_address": "0.0.0.1"}, "no address that a host"),
        ({"listen_address": "::1"}, "no address that a host"),
        ({"listen_address": "eth0"}, "no IP address"),
        ({"listen_address": "192.168.0.11"}, "are the same"),
        ({"to_address": "192.168.1.11"}, "no address of a guest in 192.168.0.0/24"),
        ({"to_address": "192.168.0.0"}, "no address of a guest"),
        ({"to_address": "192.168.0.255"}, "no address of a guest"),
        ({"to_address": "web"}, "no IP address"),
        ({"to_address": None}, "either to_address or to a domain"),
        ({"domain": "web"}, "either to_address or to a domain"),
        ({"to_address": None, "domain": " "}, "domain is empty"),
        ({"source": ["office"]}, "source 'office' is no network"),
        ({"source": ["2001:db8::/32"]}, "to_address 192.168.0.11 is of IPv4 and source 2001:db8::/32 is of IPv6"),
    ],
)
def test_wrong_forwards(entry: dict[str, t.Any], sentence: str) -> None:
    with pytest.raises(InvalidSpec, match=sentence) as caught:
        parse({**WEB, **entry})
    assert "nat of bridge br0: port_forwards" in str(caught.value)


def named(*names: str) -> NatSpec:
    return parse(*({"listen_port": 8000 + at, "domain": name} for at, name in enumerate(names)))


def at(*groups: tuple[str, ...]) -> Snapshot:
    return dataclasses.replace(EMPTY, whereabouts={"web": Whereabouts(groups=groups)})


@pytest.mark.parametrize(
    ("groups", "address"),
    [
        ((("192.168.0.9",),), "192.168.0.9"),
        (((), ("192.168.0.8",), ("192.168.0.9",)), "192.168.0.8"),
        ((("10.0.0.1", "fd00::1"), ("192.168.0.8", "192.168.0.8", "10.0.0.2")), "192.168.0.8"),
        ((("192.168.0.255",), ("192.168.0.7",)), "192.168.0.7"),
    ],
)
def test_the_address_of_a_domain_is_the_most_reliable_one_in_the_subnets(groups: t.Any, address: str) -> None:
    result = compare.compare(named("web"), at(*groups)).plan.result
    assert result.records["br0"].shape.port_forwards[0] == Forward("tcp", "8000", "8000", None, address, "web")
    assert record.parse(result.files[record.path("br0")]).shape == result.records["br0"].shape
    assert f"--to-destination {address}:8000" in str(result.tables)


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        ((), "no known address in 192.168.0.0/24; give it"),
        ((("10.0.0.1",), ("fd00::1",)), r"no known address in 192.168.0.0/24 \(only 10.0.0.1, fd00::1\); give it"),
        ((("192.168.0.7", "192.168.0.8"),), r"2 addresses in 192.168.0.0/24 \(192.168.0.7, 192.168.0.8\); state"),
    ],
)
def test_a_domain_that_is_nowhere_or_in_two_places(groups: t.Any, sentence: str) -> None:
    with pytest.raises(KvmError, match=sentence):
        compare.compare(named("web"), at(*groups))


def test_a_domain_that_nobody_knows_or_can_ask_for() -> None:
    with pytest.raises(InvalidSpec, match="tcp port 8001: there is no domain db on this host"):
        compare.compare(named("web", "db"), at(("192.168.0.9",)))
    failed = Whereabouts(error=LibvirtError("Cannot connect.", libvirt_code=38))
    with pytest.raises(KvmError, match=r"not known where domain web is. Cannot connect.") as caught:
        compare.compare(named("web"), dataclasses.replace(EMPTY, whereabouts={"web": failed}))
    assert caught.value.details == {"libvirt_code": 38}


def test_a_domain_that_moves_and_one_that_is_off() -> None:
    seen = compare.compare(named("web"), at(("192.168.0.9",))).plan.result
    off = dataclasses.replace(seen, whereabouts={"web": Whereabouts()})
    assert not compare.compare(named("web"), off)
    two = dataclasses.replace(seen, whereabouts={"web": Whereabouts(groups=(("192.168.0.8", "192.168.0.9"),))})
    assert not compare.compare(named("web"), two)
    moved = dataclasses.replace(seen, whereabouts={"web": Whereabouts(groups=(("192.168.0.8",),))})
    result = compare.compare(named("web"), moved).plan.result
    assert "192.168.0.9" not in str(result.tables) + str(result.files)
    # Another subnet: where it was is no place any more.
    other = spec.parse(
        {"bridge": "br0", "subnets": ["10.0.0.0/8"], "port_forwards": [{"listen_port": 80, "domain": "web"}]}
    )
    with pytest.raises(KvmError, match=r"no known address in 10.0.0.0/8"):
        compare.compare(other, off)
    gone = compare.compare(dataclasses.replace(named("web"), state="absent"), seen).plan.result
    assert "192.168.0.9" not in str(gone.tables) + str(gone.files)


TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   2: 017100CB:1F92 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   3: 017100CB:1F93 020200C0:0050 01 00000000:00000000 00:00000000 00000000     0        0 1 1
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue
   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000
   1: 00000000000000000000000001000000:0017 00000000000000000000000000000000:0000 0A 00000000:00000000
   2: 0000000000000000FFFF0000017100CB:0018 00000000000000000000000000000000:0000 0A 00000000:00000000
"""


def swapped(text: str) -> str:
    """The same as a big endian machine has it: the addresses the other way round, the ports not."""
    return re.sub(r"\b([0-9A-F]{8})+:", lambda found: _swap(found.group()[:-1]) + ":", text)


def _swap(number: str) -> str:
    return "".join(bytes.fromhex(number[at : at + 8])[::-1].hex().upper() for at in range(0, len(number), 8))


@pytest.mark.parametrize(("order", "tcp", "tcp6"), [("little", TCP, TCP6), ("big", swapped(TCP), swapped(TCP6))])
def test_what_the_kernel_says_of_sockets(order: str, tcp: str, tcp6: str) -> None:
    assert listening.parse("tcp", "0A", tcp, order) == [("tcp", None, 8080, 4), ("tcp", "203.0.113.1", 8082, 4)]
    assert listening.parse("tcp", "0A", tcp6, order) == [("tcp", None, 22, None), ("tcp", "203.0.113.1", 24, 4)]
    assert listening.parse("udp", "07", "", order) == []


def test_a_big_endian_machine_writes_addresses_as_they_are_read() -> None:
    assert "CB007101:1F92" in swapped(TCP)
    assert "00000000000000000000FFFFCB007101:0018" in swapped(TCP6)


def test_what_this_machine_says_of_a_socket() -> None:
    """The order of bytes is that of the machine: an address that reads differently the other way round."""
    with socket.socket() as server:
        server.bind(("127.1.2.3", 0))
        server.listen(1)
        port = server.getsockname()[1]
        with open("/proc/net/tcp", encoding="ascii") as file:
            line = next(line for line in file if f":{port:04X} 00000000:0000 0A" in line)
    elsewhere = line.replace("7F", "CB", 1)
    assert listening.parse("tcp", "0A", f"head\n{elsewhere}") == [("tcp", "203.1.2.3", port, 4)]


@pytest.mark.parametrize(
    ("entry", "taken"),
    [
        ({"listen_port": "8080"}, "tcp *:8080"),
        ({"listen_port": "8000-8082"}, "tcp *:8080, tcp 203.0.113.1:8082"),
        ({"listen_port": "8082", "listen_address": "203.0.113.1"}, "tcp 203.0.113.1:8082"),
        ({"listen_port": "8082", "listen_address": "203.0.113.2"}, None),
        ({"listen_port": "8081"}, None),
        ({"listen_port": "8080", "protocol": "udp"}, None),
    ],
)
def test_a_program_that_listens_is_named(entry: dict[str, t.Any], taken: str | None) -> None:
    seen = dataclasses.replace(EMPTY, systemd=True, sockets=tuple(listening.parse("tcp", "0A", TCP)))
    found = report.warnings(parse({**WEB, "to_port": None, **entry}), seen, first=True)
    assert [f"({taken})" in line for line in found] == ([True] if taken else [])


def test_a_guest_that_cannot_reach_itself() -> None:
    seen = dataclasses.replace(EMPTY, systemd=True, loopless=frozenset({"br0"}))
    assert "does not reach itself" in report.warnings(parse(WEB), seen, first=True)[0]
    for other in (
        parse({**WEB, "hairpin": False}),
        parse(),
        parse({**WEB, "to_address": "192.168.1.2"}, bridge="br1", number=1),
    ):
        assert report.warnings(other, seen, first=True) == []


def test_the_replayed_program_knows_the_chains_of_forwards() -> None:
    seen = compare.compare(parse(WEB), dataclasses.replace(EMPTY, systemd=True)).plan.result
    restored = placing.replay("*nat\n-A PREROUTING -j DOCKER\nCOMMIT\n", [seen.files[record.path("br0")]])
    assert [line for line in restored.splitlines() if "DNAT --to" in line] == [
        "-I PREROUTING 1 -p tcp -m tcp --dport 8080 -m addrtype --dst-type LOCAL -j DNAT --to-destination 192.168.0.11:80",
        "-A OUTPUT ! -d 127.0.0.0/8 -p tcp -m tcp --dport 8080 -m addrtype --dst-type LOCAL -j DNAT --to-destination 192.168.0.11:80",
    ]


def test_what_a_forward_is_called() -> None:
    assert str(Forward("udp", "53", "53", "203.0.113.1")) == "udp 203.0.113.1:53"
    assert str(Forward("tcp", "80-90", "80-90")) == "tcp port 80-90"
    assert forwards.within("10.0.0.0", ["10.0.0.0/32"])
    assert forwards.within("10.0.0.1", ["10.0.0.0/31"])
