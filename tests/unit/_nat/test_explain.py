# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NAT: what becomes of a flow, on a host that is made up (the integration target compares with the kernel)."""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import (
    conflicts,
    info,
    native,
    question,
    rules,
    saved,
    tables,
    translate,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.explain import explain
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.forwards import Forward
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.leg import Route, World
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.packet import Address, Device, Host, Packet
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.record import Record
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.saved import Saved
from hypothesis import given
from hypothesis import strategies as st

ip = ipaddress.ip_address
G1, G2, OUT, UP = "192.168.0.11", "192.168.0.12", "198.51.100.2", "198.51.100.1"
NOBODY = str(ipaddress.IPv4Address(0))
SIX = {"br0": "fd00:1::1", "eth0": "2001:db8::1"}
DEVICES = {
    "lo": Device("lo", False, False, ((ip("127.0.0.1"), 8, None),)),
    "br0": Device("br0", True, False, ((ip("192.168.0.1"), 24, ip("192.168.0.255")), (ip(SIX["br0"]), 64, None))),
    "eth0": Device("eth0", False, False, ((ip(UP), 24, None), (ip(SIX["eth0"]), 64, None))),
}
RECIPE = rules.render("br0", ["192.168.0.0/24"])


def route(destination: Address, source: Address | None, came_by: str) -> Route:
    """Two networks and nothing else."""
    del source
    for device in DEVICES.values():
        if any(destination == address for address, _length, _broadcast in device.addresses):
            return Route("local", "lo", source=destination)
    for device in DEVICES.values():
        if device.network_of(destination):
            own = next(one for one, _l, _b in device.addresses if one.version == destination.version)
            return Route("unicast", device.name, source=None if came_by else own)
    return Route("none", problem="Network is unreachable")


def world(*found: Saved, **changed: t.Any) -> World:
    host = Host(DEVICES, changed.pop("bridged", True))
    names = ["iptables-nft", "iptables-legacy"]
    return World(dict(zip(names, found)), host, route, {"br0": ["192.168.0.0/24"]}, **changed)


def save(text: str) -> Saved:
    return saved.parse(text)


def whole(recipe: tables.Tables, before: str = "") -> Saved:
    """A host with these rules, behind what somebody else has."""
    found = saved.parse(before)
    for table, inside in recipe.items():
        for chain, lines in inside.items():
            known = found.setdefault(table, {}).setdefault(chain, saved.Chain("ACCEPT"))
            known.lines += [saved.Line(line, 1, 40) for line in lines]
    return found


def ask(where: World, **params: t.Any) -> dict[str, t.Any]:
    asked = question.flow({"destination": OUT, "source": G1, "destination_port": 80, **params})
    return info.explanation(asked, explain(asked, where))


def test_a_guest_is_masqueraded() -> None:
    found = ask(world(whole(RECIPE)))
    assert (found["works"], found["verdict"], found["answer"]) == (True, "accepted", "accepted")
    assert (found["in_interface"], found["out_interface"]) == ("br0", "eth0")
    assert found["translated"] == {
        "source": UP,
        "source_port": "1024-65535",
        "destination": OUT,
        "destination_port": 80,
    }
    deciding = [(one["direction"], one["hook"], one["position"]) for one in found["steps"] if one["rule"]]
    assert deciding == [("there", "FORWARD", 2), ("there", "POSTROUTING", 1), ("back", "FORWARD", 1)]


def test_nobody_reaches_a_guest_from_outside() -> None:
    found = ask(world(whole(RECIPE)), source=OUT, destination=G1)
    assert (found["works"], found["verdict"], found["answer"]) == (False, "rejected", None)
    assert found["steps"][-1]["rule"] == "-o br0 -j REJECT --reject-with icmp-port-unreachable"
    assert found["summary"].startswith(f"From {OUT} to {G1} port 80: rejected, iptables-nft filter FORWARD[4] -o br0")


def test_an_answer_that_is_dropped() -> None:
    """The first packet passes; it is the answer that no rule lets in."""
    one = save("*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\nCOMMIT\n")
    found = ask(world(one), source=None)
    assert (found["works"], found["verdict"], found["answer"]) == (False, "accepted", "dropped")
    assert found["source"] == UP
    assert "the answer: dropped" in found["summary"]


def test_what_the_other_kind_of_iptables_refuses() -> None:
    other = save("*filter\n:FORWARD DROP [0:0]\nCOMMIT\n")
    found = ask(world(whole(RECIPE), other))
    assert (found["works"], found["verdict"], found["steps"][-1]["backend"]) == (False, "dropped", "iptables-legacy")


FORWARD = f"""*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -d {UP}/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination {G1}:80
-A OUTPUT -d {UP}/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination {G1}:80
COMMIT
*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -d {G1}/32 -o br0 -p tcp -m conntrack --ctstate DNAT -j ACCEPT
COMMIT
"""
HAIRPIN = f"""*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 192.168.0.0/24 -d {G1}/32 -p tcp -m conntrack --ctstate DNAT -j MASQUERADE
COMMIT
"""


@pytest.mark.parametrize("source", [OUT, None, G2])
def test_a_forwarded_port(source: str | None) -> None:
    found = ask(world(whole(RECIPE, FORWARD)), source=source, destination=UP, destination_port=8080)
    assert found["works"] is True
    assert found["translated"]["destination"] == G1
    assert found["translated"]["destination_port"] == 80
    assert f"sent on to {G1} port 80" in found["summary"]


@pytest.mark.parametrize(
    ("source", "text", "bridged", "works"),
    [
        # The guest answers its neighbour by itself, with an address that the neighbour has not asked.
        (G2, FORWARD, False, False),
        (G2, FORWARD + HAIRPIN, False, True),
        (G1, FORWARD, True, False),
        (G1, FORWARD + HAIRPIN, False, True),
        # The bridge does not send the packet back to the port that it came by.
        (G1, FORWARD + HAIRPIN, True, False),
    ],
)
def test_hairpin(source: str, text: str, bridged: bool, works: bool) -> None:
    found = ask(world(whole(RECIPE, text), bridged=bridged), source=source, destination=UP, destination_port=8080)
    assert found["works"] is works


def test_bridged_packets_pass_the_rules_or_not() -> None:
    one = save("*filter\n:FORWARD DROP [0:0]\nCOMMIT\n")
    assert ask(world(one), destination=G2)["works"] is False
    assert ask(world(one, bridged=False), destination=G2)["works"] is True


def test_what_is_not_known_is_said() -> None:
    one = whole(RECIPE, "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m set --match-set bad src -j DROP\nCOMMIT\n")
    found = ask(world(one))
    assert (found["works"], found["verdict"]) == (None, "depends")
    assert found["depends_on"] == ["filter FORWARD[1] -m set --match-set bad src -j DROP"]
    # What is refused in any case depends on nothing.
    assert ask(world(one), source=OUT, destination=G1)["works"] is False
    # But an address that is not known may change all that comes later.
    unsure = whole(
        RECIPE,
        "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -m set --match-set x src -j DNAT --to-destination 10.0.0.1\nCOMMIT\n",
    )
    assert ask(world(unsure), source=OUT, destination=G1)["works"] is None


@pytest.mark.parametrize(
    "rule", ["-m recent --rcheck --name x -j ACCEPT", "-m set --match-set good src -j open", "-j NFQUEUE"]
)
def test_what_may_pass_instead_is_not_refused(rule: str) -> None:
    """The rule that is not known comes first, and the policy, or another rule, would refuse."""
    for last in ("", "-A FORWARD -j REJECT\n"):
        text = f"*filter\n:FORWARD DROP [0:0]\n:open - [0:0]\n-A FORWARD {rule}\n{last}-A open -j ACCEPT\nCOMMIT\n"
        found = ask(world(save(text)))
        assert (found["works"], found["verdict"]) == (None, "depends")
        assert len(found["depends_on"]) == 1


def test_no_way() -> None:
    assert ask(world(), destination="10.9.9.9")["verdict"] == "unreachable"
    assert ask(world(), source="10.9.9.9")["verdict"] == "unreachable"
    assert ask(world(forwards=()))["verdict"] == "unreachable"
    assert ask(world(forwards=()), source=None)["works"] is True


def test_an_answer_to_all_is_masqueraded() -> None:
    """The trap of the thirteen rules: option exempt_local takes it away."""
    where = dataclasses.replace(world(whole(RECIPE)), route=lambda *_: Route("unicast", "br0"))
    asked = {"source": "192.168.0.1", "destination": "255.255.255.255", "protocol": "udp"}
    found = ask(where, **asked, source_port=67, destination_port=68)
    assert found["translated"]["source_port"] == "1024-65535"
    assert found["answer"] is None
    free = rules.render("br0", ["192.168.0.0/24"], rules.Shape(exempt_local=True))
    found = ask(
        dataclasses.replace(where, saved={"iptables-nft": whole(free)}), **asked, source_port=67, destination_port=68
    )
    assert found["translated"]["source_port"] == "67"
    assert found["steps"][-1]["rule"] == "-s 192.168.0.0/24 -d 255.255.255.255/32 -j RETURN"


def test_ipv6_is_followed_as_well() -> None:
    one = save(
        "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -s fd00:1::/64 -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j ACCEPT\n"
        "-A FORWARD -m state --state ESTABLISHED -j ACCEPT\nCOMMIT\n"
        "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -s fd00:1::/64 -o eth0 -j SNAT --to-source 2001:db8::7\nCOMMIT\n"
    )
    flow = {"source": "fd00:1::11", "destination": "2001:db8::2", "destination_port": None, "protocol": "icmp"}
    found = ask(world(one), **flow)
    assert (found["works"], found["translated"]["source"]) == (True, "2001:db8::7")
    assert ask(world(one), **{**flow, "protocol": "udp"})["works"] is False


@pytest.mark.parametrize(
    ("target", "words", "address", "port"),
    [
        ("DNAT", "--to-destination 10.0.0.5", "10.0.0.5", 80),
        ("DNAT", "--to-destination 10.0.0.5:8080", "10.0.0.5", 8080),
        ("DNAT", "--to-destination :8080", OUT, 8080),
        ("DNAT", "--to-destination 10.0.0.5:70-90", "10.0.0.5", 80),
        ("DNAT", "--to-destination 10.0.0.5:70-90 --random", "10.0.0.5", None),
        ("DNAT", "--to-destination 10.0.0.5:90-99", "10.0.0.5", None),
        # A range that begins at another port: each port has its own, and those outside of it come round.
        ("DNAT", "--to-destination 10.0.0.5:9000-9010/75", "10.0.0.5", 9005),
        ("DNAT", "--to-destination 10.0.0.5:9000-9010/80", "10.0.0.5", 9000),
        ("DNAT", "--to-destination 10.0.0.5:9000-9010/70", "10.0.0.5", 9010),
        ("DNAT", "--to-destination 10.0.0.5:9000-9010/69", "10.0.0.5", 9000),
        ("DNAT", "--to-destination 10.0.0.5:9000-9010/81", "10.0.0.5", 9000 + 65535 % 11),
        ("DNAT", "--to-destination 10.0.0.5:9000-9010/75 --random", "10.0.0.5", 9005),
        ("DNAT", "--to-destination [fd00::5]:9000-9010/75", "fd00::5", 9005),
        ("DNAT", "--to-destination 10.0.0.5-10.0.0.9", None, None),
        ("DNAT", "--to-destination [fd00::5]:8080", "fd00::5", 8080),
        ("DNAT", "--to-destination fd00::5", "fd00::5", 80),
        ("REDIRECT", "--to-ports 8080", "192.168.0.1", 8080),
        ("REDIRECT", "", "192.168.0.1", 80),
        ("NETMAP", "--to 10.0.0.0/24", None, None),
    ],
)
def test_new_destinations(target: str, words: str, address: str | None, port: int | None) -> None:
    packet = Packet(ip(G1), ip(OUT), 6, destination_port=80, in_interface="br0")
    made = translate.destination(target, words.split(), packet, DEVICES["br0"])
    if address is None:
        assert made is None
    else:
        assert made is not None
        assert (str(made.packet.destination), made.packet.destination_port) == (address, port)
        assert made.packet.first == (ip(OUT), 80)


def test_a_forwarded_range_that_begins_at_another_port() -> None:
    shape = rules.Shape(
        port_forwards=(
            Forward("tcp", listen_port="8000-8010", to_port="9000-9010", to_address=G1, source=(f"{OUT}/32",)),
        )
    )
    where = world(whole(rules.render("br0", ["192.168.0.0/24"], shape)))
    found = ask(where, source=OUT, destination=UP, destination_port=8003)
    assert (found["works"], found["translated"]["destination_port"]) == (True, 9003)
    assert f"sent on to {G1} port 9003" in found["summary"]
    assert ask(where, source=OUT, destination=UP, destination_port=8011)["translated"]["destination"] == UP


@pytest.mark.parametrize(
    ("destination", "own", "address"),
    [
        # Unique local addresses speak with their own kind, and others with theirs.
        ("2001:db8:9::2", ["fd00:9::1", "2001:db8::1"], "2001:db8::1"),
        ("fd00:8::2", ["2001:db8::1", "fd00:9::1"], "fd00:9::1"),
        # Of one kind, the one that is most alike.
        ("2001:db8:9::2", ["2001:db8::1", "2001:db8:8::1"], "2001:db8:8::1"),
        # But what is alike beyond the network counts for nothing: then it is the first.
        ("fd00:1::fff2", ["fd00:1::1", "fd00:1::fff1"], "fd00:1::1"),
        ("2001:db8::2", ["fe80::1", "fd00:9::1"], "fd00:9::1"),
        # No address of its own: that of another device.
        ("2001:db8::2", ["fe80::1"], "2001:db8:aa::1"),
        ("2001:db8::2", ["!2001:db8::1", "2001:db8:8::1"], "2001:db8:8::1"),
    ],
)
def test_an_ipv6_address_to_masquerade_with(destination: str, own: list[str], address: str) -> None:
    device = Device(
        "eth1",
        addresses=tuple((ip(one.lstrip("!")), 64, None) for one in own),
        deprecated=frozenset(ip(one[1:]) for one in own if one.startswith("!")),
    )
    other = Device("br7", addresses=((ip("::1"), 128, None), (ip("2001:db8:aa::1"), 64, None)))
    packet = Packet(ip("fd00:1::11"), ip(destination), 6, destination_port=80)
    # The next router is known by an address of the link, which tells nothing.
    made = translate.source("MASQUERADE", (), packet, device, ip("fe80::99"), [device, other])
    assert made is not None
    assert str(made.packet.source) == address


@pytest.mark.parametrize(
    ("target", "words", "before", "port", "ports"),
    [
        ("MASQUERADE", "", 700, 700, None),
        ("MASQUERADE", "--to-ports 1024-65535", 700, None, "1024-65535"),
        ("MASQUERADE", "--to-ports 1024-65535", 5000, 5000, None),
        ("MASQUERADE", "--to-ports 5000", 700, 5000, None),
        ("MASQUERADE", "--random", 700, None, "any"),
        ("SNAT", f"--to-source {UP}:2000-2999", 700, None, "2000-2999"),
        ("SNAT", f"--to-source {UP}", None, None, None),
    ],
)
def test_new_sources(target: str, words: str, before: int | None, port: int | None, ports: str | None) -> None:
    packet = Packet(ip(G1), ip(OUT), 17, source_port=before, destination_port=80)
    made = translate.source(target, words.split(), packet, DEVICES["eth0"], ip(OUT))
    assert made is not None
    assert (str(made.packet.source), made.packet.source_port, made.ports) == (UP, port, ports)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"destination": "host.example"}, "destination 'host.example' is no address"),
        ({"destination": "10.0.0.1/24"}, "is no address"),
        ({"destination": ""}, "is no address"),
        ({"source": ""}, "source '' is no address"),
        ({"destination": NOBODY}, "no address that a packet can go to"),
        ({"destination": "::", "source": None}, "no address that a packet can go to"),
        ({"destination": "::ffff:10.0.0.1"}, "write it as 10.0.0.1"),
        ({"destination": "fd00::1"}, "not of the same version"),
        ({"source": "224.0.0.1"}, "no address that a packet can come from"),
        ({"source": "255.255.255.255"}, "no address that a packet can come from"),
        ({"source": NOBODY}, "state another destination than"),
        ({"source": NOBODY, "destination": "255.255.255.255"}, "state in_interface"),
        ({"source": "::", "destination": "ff02::1:2"}, "state in_interface"),
        ({"source": "fe80::1", "destination": "fd00::1"}, "source fe80::1 may be on any link"),
        ({"source": None, "destination": "fe80::1"}, "like fe80::1%br0"),
        ({"source": None, "destination": "ff02::1"}, "destination ff02::1 may be on any link"),
        ({"source": None, "destination": "fe80::1%"}, "names no device"),
        ({"source": None, "destination": "fe80::1%br+"}, "is no name of a device"),
        ({"source": None, "destination": "fd00::1%br0"}, "leave '%br0' away"),
        ({"destination": "10.0.0.1%br0"}, "leave '%br0' away"),
        ({"source": "fe80::2%br1", "destination": "fe80::1%br0"}, "br0 and br1 are two devices"),
        ({"source": "fe80::2%br1", "destination": "fe80::1", "in_interface": "br0"}, "are two devices"),
        ({"protocol": "256"}, "is not known"),
        ({"protocol": "0"}, "is not known"),
        ({"protocol": ""}, "is not known"),
        ({"protocol": "\u00b2"}, "is not known"),
        ({"protocol": "icmp"}, "icmp has no ports; leave destination_port away"),
        ({"protocol": "icmpv6", "destination_port": None}, "is of IPv6, and"),
        ({"protocol": "1", "source": "fd00::2", "destination": "fd00::1", "destination_port": None}, "is of IPv4, and"),
        ({"protocol": "gre", "source_port": 7, "destination_port": None}, "leave source_port away"),
        ({"destination_port": 0}, "destination_port 0 is no port"),
        ({"source_port": 65536}, "source_port 65536 is no port"),
        ({"in_interface": "br0 -j"}, "is no name of a device"),
        ({"in_interface": "lo"}, "by which only the host itself sends"),
        ({"in_interface": "br0", "source": None}, "state their source"),
    ],
)
def test_wrong_questions(params: dict[str, t.Any], words: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        question.flow({"destination": OUT, "source": G1, "destination_port": 80, **params})
    said = caught.value.message
    assert said.startswith("explain: ")
    assert words in said
    assert said.endswith(".")
    assert "; " in said


@pytest.mark.parametrize(
    "flow", [{"source": G1, "in_interface": "eth9"}, {"source": None, "destination": "fe80::1%eth9"}]
)
def test_a_device_that_is_not_there(flow: dict[str, t.Any]) -> None:
    with pytest.raises(InvalidSpec, match="this host has no device eth9"):
        question.check(question.flow({"destination": OUT, **flow}), Host(DEVICES))


LINK = {"br0": ip("fe80::1"), "eth0": ip("fe80::2")}


@pytest.mark.parametrize(
    ("source", "destination", "works", "words"),
    [
        ("fe80::11%br0", "fe80::1", True, "to the host itself"),
        ("fe80::11", "fe80::1%br0", True, "to the host itself"),
        ("fe80::11%br0", "fd00:1::1", True, "to the host itself"),
        ("fe80::11%br0", "ff02::1:2", True, "to the host itself"),
        (None, "fe80::11%br0", True, "From fe80::1 to fe80::11 port 80: accepted, by br0"),
        ("fe80::1", "fe80::11%br0", True, "From fe80::1 to fe80::11 port 80: accepted, by br0"),
        ("fd00:1::1", "ff02::1%br0", True, "accepted, by br0"),
        # What is on a link stays there.
        ("fe80::11%br0", "2001:db8::2", False, "whose packets are not forwarded"),
        ("fe80::11%br0", "fe80::12", True, "by br0"),
        ("fe80::21%eth0", "fe80::22", False, "what is on a link is not forwarded"),
        ("fe80::11%br0", "fe80::2", False, "it is no address that this host has on br0"),
        ("fd00:1::11", "::1", False, "only the host itself reaches that address"),
        ("::1", "fd00:1::11", False, "::1 is for the host itself only"),
    ],
)
def test_addresses_of_a_link(source: str | None, destination: str, works: bool, words: str) -> None:
    devices = {
        name: dataclasses.replace(one, addresses=(*one.addresses, *(((LINK[name], 64, None),) if name in LINK else ())))
        for name, one in DEVICES.items()
    }
    where = dataclasses.replace(world(save("")), host=Host(devices))
    found = ask(where, source=source, destination=destination)
    assert found["works"] is works
    assert words in found["summary"]


def test_an_address_of_the_host_does_not_come_from_elsewhere() -> None:
    found = ask(world(save("")), source="192.168.0.1", in_interface="br0")
    assert (found["verdict"], found["works"]) == ("unreachable", False)


RECORD = Record("br0", "iptables-nft", "none", ("192.168.0.0/24",), RECIPE)


def test_a_nat_in_place() -> None:
    found = info.nat(RECORD, whole(RECIPE, FORWARD), recorded=True)
    assert found["in_place"]
    assert [line["position"] for line in found["rules"]] == [1, 2, 3, 4, 2, 3, 4, 5, 6, 1, 1, 2, 3]
    assert {line["packets"] for line in found["rules"]} == {1}


def test_a_move_that_was_ended_amid_is_a_problem() -> None:
    moving = dataclasses.replace(RECORD, left=("nftables",))
    found = info.nat(moving, whole(RECIPE, FORWARD), recorded=True)
    assert not found["in_place"]
    assert found["problems"] == ["a move from nftables was ended amid: rules of the bridge may be left there"]


@given(
    st.sampled_from([(table, chain) for table, chain in tables.CHAINS if tables.get(RECIPE, table, chain)]), st.data()
)
def test_any_damage_is_a_problem(place: tuple[str, str], data: st.DataObject) -> None:
    """One rule is taken away, doubled or moved, or one of others comes before all."""
    table, chain = place
    damaged = {name: {inner: list(lines) for inner, lines in inside.items()} for name, inside in RECIPE.items()}
    lines = damaged[table][chain]
    damage = data.draw(st.sampled_from(["missing", "doubled", "moved", "behind"]))
    at = data.draw(st.integers(0, len(lines) - 1))
    if damage == "missing":
        del lines[at]
    elif damage == "doubled":
        lines.append(lines[at])
    elif damage == "moved":
        lines.append(lines.pop(0))
    else:
        lines.insert(0, "-j DROP" if table == "filter" else "-j ACCEPT")
    found = info.nat(RECORD, whole(damaged), recorded=True)
    alike = damaged[table][chain] == RECIPE[table][chain]
    assert found["in_place"] is alike
    assert all(problem.startswith(f"{table} {chain}: ") for problem in found["problems"])
    if not alike and damage != "moved":
        word = {"missing": "missing", "doubled": "2 times", "behind": "rule 1 takes packets before"}[damage]
        assert word in found["problems"][0]


def test_rules_without_a_record() -> None:
    found = info.recognised("br0", "iptables-legacy", whole(RECIPE))
    assert found is not None
    assert (found.subnets, found.backend) == (("192.168.0.0/24",), "iptables-legacy")
    assert info.recognised("br1", "iptables-legacy", whole(RECIPE)) is None


def test_conflicts() -> None:
    one = save(
        "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:ufw-before-input - [0:0]\n:LIBVIRT_FWI - [0:0]\n"
        "-A LIBVIRT_FWI -o br0 -j REJECT --reject-with icmp-port-unreachable\n-A LIBVIRT_FWI -o br01 -j REJECT\nCOMMIT\n"
    )
    other = save("*nat\n:DOCKER - [0:0]\n-A PREROUTING -j DOCKER\nCOMMIT\n")
    found = conflicts.of_host({"iptables-nft": one, "iptables-legacy": other}, {"iptables-nft": "cut"}, "iptables-nft")
    assert [(one.manager, one.where) for one in found] == [
        ("iptables-nft", ""),
        ("iptables-legacy", "nat"),
        ("ufw", "filter ufw-before-input"),
        ("iptables-nft", "filter INPUT"),
        ("docker", "nat DOCKER"),
    ]
    of_bridge = conflicts.of_bridge("br0", {"iptables-nft": saved.plain(one)})
    assert [(one.manager, one.where, one.bridge) for one in of_bridge] == [("libvirt", "filter LIBVIRT_FWI", "br0")]
    assert "1 rules" not in of_bridge[0].problem
    found = conflicts.of_nft(NATIVE)
    assert [(one.manager, one.where) for one in found] == [
        ("firewalld", "inet firewalld filter_FORWARD"),
        ("nftables", "ip mine gate"),
    ]


def _match(key: str, value: t.Any) -> t.Any:
    left = {"meta": {"key": key}} if key.endswith("name") else {"payload": {"protocol": "tcp", "field": key}}
    return {"match": {"op": "==", "left": left, "right": value}}


NATIVE = native.Ruleset(
    (
        native.Chain("inet", "firewalld", "filter_FORWARD", "forward", "accept"),
        native.Chain("ip", "mine", "gate", "forward", "drop"),
        native.Chain("ip", "harmless", "in", "input", "accept"),
    ),
    {
        ("inet", "firewalld", "filter_FORWARD"): [
            [_match("dport", 25), {"reject": None}],
            [_match("dport", 26), {"limit": {"rate": 3}}, {"drop": None}],
        ],
        ("ip", "mine", "gate"): [
            [_match("iifname", "br0"), {"accept": None}],
            [_match("oifname", "br0"), {"accept": None}],
        ],
        ("ip", "harmless", "in"): [[{"counter": None}]],
    },
)


@pytest.mark.parametrize(
    ("port", "works", "text"),
    [
        (80, True, ""),
        (25, False, "chain filter_FORWARD of table inet firewalld, of nft, refuses it"),
        (26, None, "chain filter_FORWARD of table inet firewalld, of nft"),
    ],
)
def test_chains_of_nft_are_followed(port: int, works: bool | None, text: str) -> None:
    found = ask(world(whole(RECIPE), native=NATIVE), destination_port=port)
    assert found["works"] is works
    assert text in found["summary"]


def test_a_chain_of_nft_that_lets_only_guests_pass() -> None:
    where = dataclasses.replace(world(save("")), native=NATIVE)
    assert ask(where, source=OUT, destination="192.168.0.1")["works"] is True
    assert ask(where)["works"] is True
    elsewhere = dataclasses.replace(where, route=lambda *_: Route("unicast", "eth0"))
    assert ask(elsewhere, source=OUT, in_interface="eth0")["works"] is False


@pytest.mark.parametrize(("family", "four", "six"), [("ip", False, True), ("ip6", True, False), ("inet", False, False)])
def test_a_chain_of_nft_is_about_the_versions_of_its_family(family: str, four: bool, six: bool) -> None:
    chains = native.Ruleset((native.Chain(family, "mine", "gate", "forward", "drop"),))
    where = world(save(""), native=chains)
    assert ask(where)["works"] is four
    assert ask(where, source="fd00:1::11", destination="2001:db8::2")["works"] is six


def _chain(
    hook: str, *rules: list[t.Any], kind: str = "filter", priority: int = 0, family: str = "ip"
) -> native.Ruleset:
    """A table with one base chain of these rules."""
    name = f"{hook}{priority}"
    chains = (native.Chain(family, "theirs", name, hook, "accept", kind, priority),)
    return native.Ruleset(chains, {(family, "theirs", name): list(rules)})


def _together(*several: native.Ruleset) -> native.Ruleset:
    return native.Ruleset(
        tuple(chain for one in several for chain in one.chains),
        {place: some for one in several for place, some in one.rules.items()},
    )


_DPORT = _match("dport", 8080)
_TO_GUEST: dict[str, t.Any] = {"dnat": {"family": "ip", "addr": "192.168.0.11", "port": 80}}
_TO_OTHER: dict[str, t.Any] = {"dnat": {"addr": "192.168.0.12"}}
_OPEN = rules.render("br0", ["192.168.0.0/24"])["filter"]["FORWARD"][:3]


@pytest.mark.parametrize(
    ("statement", "address", "port"),
    [
        (_TO_GUEST, "192.168.0.11", 80),
        (_TO_OTHER, "192.168.0.12", 8080),
        ({"dnat": {"addr": "192.168.0.11", "port": {"range": [90, 90]}}}, "192.168.0.11", 90),
        (
            {"dnat": {"addr": {"map": {"key": _DPORT["match"]["left"], "data": {"set": [[8080, "192.168.0.12"]]}}}}},
            "192.168.0.12",
            8080,
        ),
        (
            {"dnat": {"addr": {"map": {"key": _DPORT["match"]["left"], "data": "@places"}}}},
            "192.168.0.12",
            81,
        ),
    ],
)
def test_chains_of_nft_send_packets_on(statement: t.Any, address: str, port: int) -> None:
    theirs = _chain("prerouting", [_DPORT, statement], kind="nat", priority=-100)
    element = [8080, {"concat": ["192.168.0.12", 81]}]
    theirs = dataclasses.replace(theirs, sets={("ip", "theirs", "places"): [element]})
    found = ask(world(save(""), native=theirs), source=OUT, destination="198.51.100.1", destination_port=8080)
    assert (found["works"], found["out_interface"]) == (True, "br0")
    assert (found["translated"]["destination"], found["translated"]["destination_port"]) == (address, port)
    assert "chain prerouting-100 of table ip theirs, of nft: now to" in " ".join(
        step["text"] for step in found["steps"]
    )


@pytest.mark.parametrize(
    "statement",
    [
        {"dnat": {"addr": {"range": ["192.168.0.11", "192.168.0.19"]}}},
        {"dnat": {"addr": {"prefix": {"addr": "192.168.0.0", "len": 24}}, "flags": "netmap"}},
        {
            "dnat": {
                "addr": {
                    "map": {"key": {"numgen": {"mode": "random", "mod": 2}}, "data": {"set": [[0, "192.168.0.11"]]}}
                }
            }
        },
        {"queue": {"num": 1}},
    ],
)
def test_what_nft_makes_of_an_address_may_not_be_known(statement: t.Any) -> None:
    theirs = _chain("prerouting", [_DPORT, statement], kind="nat", priority=-100)
    found = ask(world(save(""), native=theirs), source=OUT, destination="198.51.100.1", destination_port=8080)
    assert found["works"] is None
    assert "chain prerouting-100 of table ip theirs, of nft" in " ".join(found["depends_on"])


def test_a_map_without_an_element_for_the_packet() -> None:
    places: dict[str, t.Any] = {"key": _DPORT["match"]["left"], "data": {"set": [[81, "192.168.0.12"]]}}
    theirs = _chain("prerouting", [{"dnat": {"addr": {"map": places}}}], [_TO_GUEST], kind="nat", priority=-100)
    found = ask(world(save(""), native=theirs), source=OUT, destination="198.51.100.1", destination_port=8080)
    assert (found["works"], found["translated"]["destination"]) == (True, "192.168.0.11")


def test_what_the_host_sends_is_named_by_its_address() -> None:
    theirs = _chain("output", [{"drop": None}])
    found = ask(world(save(""), native=theirs), source=None, destination="192.168.0.11")
    assert found["source"] == "192.168.0.1"
    assert found["summary"].startswith("From 192.168.0.1 to 192.168.0.11")


def test_a_translation_of_another_version_of_ip_is_none() -> None:
    six = {"dnat": {"family": "ip6", "addr": "fd00:1::11"}}
    theirs = _chain("prerouting", [_DPORT, six], [_DPORT, _TO_GUEST], kind="nat", priority=-100, family="inet")
    found = ask(world(save(""), native=theirs), source=OUT, destination="198.51.100.1", destination_port=8080)
    assert found["translated"]["destination"] == "192.168.0.11"


@pytest.mark.parametrize(("priority", "address"), [(-101, "192.168.0.12"), (-99, "192.168.0.11"), (-100, None)])
def test_of_those_that_translate_the_first_one_does(priority: int, address: str | None) -> None:
    ours = save(
        "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination 192.168.0.11:80\nCOMMIT\n"
    )
    theirs = _chain("prerouting", [_DPORT, _TO_OTHER], kind="nat", priority=priority)
    found = ask(world(ours, native=theirs), source=OUT, destination="198.51.100.1", destination_port=8080)
    assert found["works"] is (True if address else None)
    if address:
        assert found["translated"]["destination"] == address
    else:
        assert "which comes first cannot be told" in found["depends_on"][0]


def test_two_that_hide_guests_in_the_same_way() -> None:
    theirs = _chain("postrouting", [{"masquerade": None}], kind="nat", priority=100)
    found = ask(world(whole(RECIPE), native=theirs))
    assert (found["works"], found["translated"]["source"], found["translated"]["source_port"]) == (
        True,
        "198.51.100.1",
        "any",
    )
    later = _chain("postrouting", [{"masquerade": {"port": {"range": [2000, 3000]}}}], kind="nat", priority=99)
    assert ask(world(whole(RECIPE), native=later))["translated"]["source_port"] == "2000-3000"


@pytest.mark.parametrize(
    ("hook", "flow", "verdict"),
    [
        ("prerouting", {"source": OUT, "destination": "192.168.0.11"}, "there"),
        ("postrouting", {}, "there"),
        ("output", {"source": None, "destination": "192.168.0.11"}, "there"),
        ("output", {}, ""),
    ],
)
def test_chains_of_nft_refuse_at_every_hook(hook: str, flow: dict[str, t.Any], verdict: str) -> None:
    for statement, word in (({"drop": None}, "dropped"), ({"reject": {"type": "tcp reset"}}, "rejected")):
        found = ask(world(save(""), native=_chain(hook, [statement], priority=-300)), **flow)
        assert (found["verdict"] == word) is bool(verdict)
        assert found["works"] is not bool(verdict)


def test_marks_lead_from_chain_to_chain() -> None:
    mark = {"meta": {"key": "mark"}}
    marks = _chain("prerouting", [_DPORT, {"mangle": {"key": mark, "value": {"|": [mark, 16]}}}], priority=-150)
    masked = {"match": {"op": "!=", "left": {"&": [mark, 16]}, "right": 0}}
    drops = _chain("forward", [masked, {"drop": None}])
    both = world(save(""), native=_together(marks, drops))
    assert ask(both, destination_port=8080)["works"] is False
    assert ask(both, destination_port=81)["works"] is True
    of_iptables = save("*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m mark --mark 0x10/0x10 -j DROP\nCOMMIT\n")
    assert ask(world(of_iptables, native=marks), destination_port=8080)["works"] is False


def test_marks_of_connections_lead_from_chain_to_chain_and_come_back_with_the_answer() -> None:
    mark, of_all = {"meta": {"key": "mark"}}, {"ct": {"key": "mark"}}
    guests = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "br0"}}
    world_side = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "eth0"}}

    def table(dropped: int) -> native.Ruleset:
        pre = _chain("prerouting", [guests, {"mangle": {"key": of_all, "value": {"|": [of_all, 5]}}}], priority=-150)
        back = _chain("postrouting", [{"mangle": {"key": mark, "value": of_all}}], priority=-150)
        drops = [world_side, {"match": {"op": "==", "left": of_all, "right": dropped}}, {"drop": None}]
        return _together(_together(pre, back), _chain("forward", drops))

    assert ask(world(save(""), native=table(5)))["answer"] == "dropped"
    assert ask(world(save(""), native=table(4)))["works"] is True
    rules = (
        "*mangle\n:PREROUTING ACCEPT [0:0]\n"
        "-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff\n"
        "-A PREROUTING -m mark ! --mark 0x0 -j ACCEPT\n"
        "-A PREROUTING -i {0} -j MARK --set-xmark 0x1/0xffffffff\n"
        "-A PREROUTING -j CONNMARK --save-mark --nfmask 0xff --ctmask 0xffffffff\nCOMMIT\n"
        "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -m connmark --mark 0x1 -j ACCEPT\nCOMMIT\n"
    )
    assert ask(world(save(rules.format("br0"))))["works"] is True
    assert ask(world(save(rules.format("br7"))))["verdict"] == "dropped"
    both = rules.format("br0").replace("-m connmark --mark 0x1", "-m mark --mark 0x1 -m connmark ! --mark 0x1/0x1")
    assert ask(world(save(both)))["verdict"] == "dropped"


@pytest.mark.parametrize(
    ("left", "right", "works"),
    [
        (
            {"concat": [{"payload": {"protocol": "ip", "field": "daddr"}}, {"meta": {"key": "l4proto"}}]},
            {"set": [{"concat": [OUT, "tcp"]}]},
            False,
        ),
        (
            {"concat": [{"payload": {"protocol": "ip", "field": "daddr"}}, {"meta": {"key": "l4proto"}}]},
            {"set": [{"concat": [OUT, "udp"]}]},
            True,
        ),
        ({"payload": {"protocol": "ip", "field": "saddr"}}, {"range": ["192.168.0.5", "192.168.0.20"]}, False),
        (
            {"payload": {"protocol": "ip", "field": "saddr"}},
            {"prefix": {"addr": str(ipaddress.IPv4Address(0)), "len": 0}},
            False,
        ),
        ({"payload": {"protocol": "ip", "field": "saddr"}}, {"prefix": {"addr": "128.0.0.0", "len": 1}}, False),
        ({"payload": {"protocol": "ip", "field": "saddr"}}, {"range": ["192.168.0.15", "192.168.0.20"]}, True),
        ({"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, ["fin", "syn"]]}, "syn", False),
        ({"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, ["fin", "syn"]]}, "fin", True),
        ({"ct": {"key": "direction"}}, "reply", False),
        ({"ct": {"key": "proto-dst", "dir": "original"}}, 81, True),
        ({"ct": {"key": "mark"}}, 1, True),
        ({"ct": {"key": "mark"}}, 0, False),
    ],
)
def test_what_nft_asks(left: t.Any, right: t.Any, works: bool | None) -> None:
    theirs = _chain("forward", [{"match": {"op": "==", "left": left, "right": right}}, {"drop": None}])
    assert ask(world(save(""), native=theirs), destination_port=80)["works"] is works


SIX_FLOW = {"source": "fd00:1::11", "destination": "2001:db8::2"}
#: What a host that knows of IPv4 only says of IPv6.
CLOSED = """*filter
:INPUT DROP [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
{}COMMIT
"""


@pytest.mark.parametrize(
    ("rules", "flow", "works", "words"),
    [
        (
            "",
            SIX_FLOW,
            False,
            "fd00:1::11 on br0 does not find its neighbour: the neighbour solicitation (ICMPv6 type 135) is dropped",
        ),
        (
            "-A INPUT -i br0 -j ACCEPT\n",
            SIX_FLOW,
            False,
            "this host on eth0 does not find its neighbour: the neighbour advertisement",
        ),
        ("-A INPUT -p ipv6-icmp -j ACCEPT\n", SIX_FLOW, True, ""),
        ("-A INPUT -p ipv6-icmp -m limit --limit 9/sec -j ACCEPT\n", SIX_FLOW, None, "-m limit --limit 9/sec"),
        ("", {**SIX_FLOW, "destination": "fd00:1::1", "destination_port": 22}, False, "does not find its neighbour"),
        ("", {"source": None, "destination": "fd00:1::1", "destination_port": 22}, True, ""),
        # IPv4 asks otherwise.
        ("", {}, True, ""),
    ],
)
def test_neighbours_have_to_find_each_other(rules: str, flow: dict[str, t.Any], works: bool | None, words: str) -> None:
    found = ask(world(save(CLOSED.format(rules))), **flow)
    assert found["works"] is works
    assert words in found["summary"]


def test_neighbours_behind_a_bridge_that_filters() -> None:
    one = save("*filter\n:FORWARD DROP [0:0]\n-A FORWARD -p tcp -j ACCEPT\nCOMMIT\n")
    flow = {"source": "fd00:1::11", "destination": "fd00:1::12"}
    assert ask(world(one), **flow)["verdict"] == "unreachable"
    assert ask(world(one, bridged=False), **flow)["works"] is True


def test_devices_without_neighbours_are_not_asked_for_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tunnels: whoever is at the other end gets it all."""
    one = save(CLOSED.format("-A INPUT -i br0 -j ACCEPT\n"))
    monkeypatch.setitem(DEVICES, "eth0", dataclasses.replace(DEVICES["eth0"], neighbours=False))
    assert ask(world(one), **SIX_FLOW)["works"] is True


def test_an_answer_from_somebody_else_is_none() -> None:
    """The connection is not tracked, so its answer is masqueraded like a packet of its own."""
    one = save(
        "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -i eth0 -j CT --notrack\nCOMMIT\n"
        "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -s 192.168.0.0/24 -j MASQUERADE\nCOMMIT\n"
    )
    found = ask(world(one), source=OUT, destination=G1)
    assert (found["verdict"], found["answer"], found["works"]) == ("accepted", "dropped", False)
    assert "which it has not asked" in found["summary"]
    assert ask(world(one), source=OUT, destination=UP)["works"] is True


@pytest.mark.parametrize(
    ("expression", "protocol", "works"),
    [
        ({"meta": {"key": "l4proto"}, "right": "ipv6-icmp"}, "icmp", False),
        ({"payload": {"protocol": "ip6", "field": "nexthdr"}, "right": "ipv6-icmp"}, "icmp", False),
        ({"meta": {"key": "l4proto"}, "right": 58}, "icmp", False),
        ({"meta": {"key": "l4proto"}, "right": "tcp"}, "icmp", True),
        ({"meta": {"key": "l4proto"}, "right": "ospf"}, "89", False),
        ({"payload": {"protocol": "icmpv6", "field": "type"}, "right": "echo-request"}, "icmp", False),
        ({"payload": {"protocol": "icmpv6", "field": "type"}, "right": {"set": ["echo-reply", 129]}}, "icmp", False),
        (
            {"payload": {"protocol": "icmpv6", "field": "type"}, "right": {"set": ["nd-router-advert", 137]}},
            "icmp",
            True,
        ),
        ({"payload": {"protocol": "icmpv6", "field": "type"}, "right": "echo-request"}, "tcp", True),
        ({"payload": {"protocol": "icmpv6", "field": "type"}, "right": {"range": [1, 4]}}, "icmp", None),
        ({"payload": {"protocol": "ip6", "field": "hoplimit"}, "right": 1}, "icmp", None),
        ({"exthdr": {"name": "rt", "field": "type"}, "right": 0}, "icmp", True),
        ({"exthdr": {"name": "rt"}, "right": False}, "icmp", False),
    ],
)
def test_what_nft_says_of_ipv6(expression: dict[str, t.Any], protocol: str, works: bool | None) -> None:
    left, right = {key: value for key, value in expression.items() if key != "right"}, expression["right"]
    rules = {("ip6", "mine", "gate"): [[{"match": {"op": "==", "left": left, "right": right}}, {"drop": None}]]}
    chains = native.Ruleset((native.Chain("ip6", "mine", "gate", "forward", "accept"),), rules)
    where = world(save(""), native=chains)
    port = 80 if protocol == "tcp" else None
    assert ask(where, **SIX_FLOW, protocol=protocol, destination_port=port)["works"] is works
