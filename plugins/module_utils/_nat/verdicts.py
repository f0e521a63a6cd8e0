# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What iptables refuses of the guests' packets, which no table of nft can let through. Pure.

A rule of iptables that accepts is the end of its chain, whatever the policy; one of another table is not.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import itertools
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import match
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.forwards import Forward
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.packet import Address, Device, Host, Packet
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.saved import Chain, Line, Saved
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.values import span
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.walk import REFUSE, walk

#: Addresses of the world that no rule is about (documentation: RFC 5737, RFC 3849).
_WORLD = {4: ipaddress.ip_address("198.51.100.9"), 6: ipaddress.ip_address("2001:db8:5a::9")}
#: A device that no rule is about: no device can have this name.
_ANY = "another device"
#: With more of them, what all rules say together is not worth the time.
_MOST = 64
_TCP, _UDP = 6, 17
_PROTOCOLS = {"tcp": _TCP, "udp": _UDP}
#: What is for the host itself, or from it.
_HOST = ("INPUT", "OUTPUT")
_PLACED = ("-i", "-o", "-s", "-d")
_PLACES = re.compile(r"(?:^|(?<= ))(-[iosd]) (\S+)")


def refuses_forwarding(found: Saved, bridge: str, subnet: str, out: str | None, default: str | None = None) -> bool:
    """Whether table filter refuses each new connection of the guests to port 443, or the answers, wherever it leads; by the
    device of the ``default`` route where no rule is about these guests: what containers may is nothing to them."""
    chains = found.get("filter", {})
    if "FORWARD" not in chains:
        return False
    if out is None and not _speaks_of(chains, bridge, subnet):
        out = default
    places = _places(_deciding(found), ipaddress.ip_network(subnet).version, out, bridge)
    guest = _guest(subnet)
    both = [_both(found, guest, world, bridge, device) for device, world in places]
    return bool(places) and any(
        all(_refusing(found, "FORWARD", packet, Host({})) for packet in several) for several in zip(*both)
    )


def _deciding(found: Saved) -> list[Line]:
    """The rules for what is forwarded; with those that give marks, where it is asked for any."""
    some = [line for name, chain in found["filter"].items() if name not in _HOST for line in chain.lines]
    if any("--mark " in line.rule for line in some):
        marking = (chain for table in ("raw", "mangle") for chain in found.get(table, {}).values())
        some += [line for chain in marking for line in chain.lines]
    return some


def _both(found: Saved, guest: Address, world: Address, bridge: str, device: str) -> tuple[Packet, Packet]:
    """A new connection of a guest, and the answer to it."""
    there = Packet(guest, world, _TCP, None, 443, bridge, device)
    mark = _marked(found, "FORWARD", there, Host({})).ct_mark
    return there, Packet(world, guest, _TCP, 443, None, device, bridge, "ESTABLISHED", answer=True, ct_mark=mark)


def _speaks_of(chains: t.Mapping[str, Chain], bridge: str, subnet: str) -> bool:
    """Whether a rule for what is forwarded names the bridge, or addresses of its guests."""
    guests = ipaddress.ip_network(subnet)
    start = _start(guests)
    for line in (line for name, chain in chains.items() if name not in _HOST for line in chain.lines):
        for option, text in _PLACES.findall(line.rule):
            if option in ("-i", "-o"):
                if text == bridge:
                    return True
            # Thousands of addresses are told apart by how they begin, which is a tenth of the work.
            elif text.startswith(start) and any(address in guests for address in _addresses(text, guests.version)):
                return True
    return False


def _start(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    """How all addresses of a network begin when they are written."""
    if network.version == 6:
        return ""
    return "".join(f"{octet}." for octet in str(network.network_address).split(".")[: min(network.prefixlen // 8, 3)])


def refuses_service(found: Saved, bridge: str, subnet: str, port: int) -> bool:
    """Whether table filter refuses what a guest asks this host on a port of UDP: DNS, or DHCP before it has an address."""
    network = ipaddress.ip_network(subnet)
    here = network[1 % network.num_addresses]
    if port == 53:
        packet = Packet(_guest(subnet), here, _UDP, None, port, bridge)
    else:
        everyone = ipaddress.IPv4Address("255.255.255.255")
        packet = Packet(ipaddress.IPv4Address(0), everyone, _UDP, 68, port, bridge)
    host = Host({bridge: Device(bridge, True, False, ((here, 32, None),))})
    return _refusing(found, "INPUT", packet, host) is not None


def overruled(found: Saved, bridge: str, subnet: str, out: str | None) -> str | None:
    """What refuses new connections of the guests to places that no rule is about, or the answers; None when nothing does for sure."""
    version = ipaddress.ip_network(subnet).version
    there, back = _both(found, _guest(subnet), _WORLD[version], bridge, out or _ANY)
    return _refusing(found, "FORWARD", there, Host({})) or _refusing(found, "FORWARD", back, Host({}))


def shuts(found: Saved, bridge: str, one: Forward, out: str | None) -> str | None:
    """What refuses new connections from outside to a port that is forwarded to a guest, or the answers; None when nothing does for
    sure."""
    guest = ipaddress.ip_address(str(one.to_address))
    network = ipaddress.ip_network(one.source[0]) if one.source else None
    world = _WORLD[guest.version] if network is None else network[1 % network.num_addresses]
    protocol, port, device = _PROTOCOLS[one.protocol], span(one.to_port)[0], out or _ANY
    there = Packet(world, guest, protocol, None, port, device, bridge, dnat=True)
    mark = _marked(found, "FORWARD", there, Host({})).ct_mark
    back = Packet(
        guest, world, protocol, port, None, bridge, device, "ESTABLISHED", answer=True, dnat=True, ct_mark=mark
    )
    return _refusing(found, "FORWARD", there, Host({})) or _refusing(found, "FORWARD", back, Host({}))


def mutes(found: Saved, bridge: str, subnet: str) -> str | None:
    """What refuses the answers that the DNS server of this host gives to guests; None when nothing does for sure."""
    network = ipaddress.ip_network(subnet)
    here = network[1 % network.num_addresses]
    packet = Packet(here, _guest(subnet), _UDP, 53, None, "", bridge, "ESTABLISHED", answer=True)
    return _refusing(found, "OUTPUT", packet, Host({bridge: Device(bridge, True, False, ((here, 32, None),))}))


def _refusing(found: Saved, hook: str, packet: Packet, host: Host) -> str | None:
    """The rule or the policy of table filter that refuses a packet for sure."""
    if hook not in found.get("filter", {}):
        return None
    way = walk("filter", found["filter"], hook, _marked(found, hook, packet, host), host)
    if way.main.verdict not in REFUSE or way.doubts:
        return None
    return str(way.main.place) if way.main.place is not None else f"filter {hook}, policy {way.main.verdict}"


def _marked(found: Saved, hook: str, packet: Packet, host: Host) -> Packet:
    """The packet as table filter sees it: with the marks that rules before it give."""
    first = "OUTPUT" if hook == "OUTPUT" else "PREROUTING"
    for table, chain in dict.fromkeys((("raw", first), ("mangle", first), ("mangle", hook))):
        if chain in found.get(table, {}):
            as_there = packet if chain != "PREROUTING" else dataclasses.replace(packet, out_interface="")
            seen = walk(table, found[table], chain, as_there, host).packet
            packet = dataclasses.replace(packet, mark=seen.mark, ct_mark=seen.ct_mark, state=seen.state)
    return packet


def _guest(subnet: str) -> Address:
    network = ipaddress.ip_network(subnet)
    return network[9 % network.num_addresses]


def _places(lines: t.Sequence[Line], version: int, out: str | None, bridge: str) -> list[tuple[str, Address]]:
    """The devices and addresses that rules make a difference between, and one of each that they do not; none when too many."""
    devices, worlds = {out or _ANY}, {_WORLD[version]}
    for option, word in _asked(lines):
        if option in ("-s", "-d"):
            worlds |= _addresses(word, version)
        elif out is None:
            devices.add(word.rstrip("+") or _ANY)
        if len(devices) * len(worlds) > _MOST:
            return []
    return list(itertools.product(sorted(devices - {bridge}), sorted(worlds, key=int)))


def _asked(lines: t.Sequence[Line]) -> t.Iterator[tuple[str, str]]:
    """The devices and addresses that rules of forwarded packets ask for, with their options, each once."""
    known: set[tuple[str, str]] = set()
    for line in lines:
        if '"' in line.rule:
            found = [(test.option, test.words[0]) for test in match.rule(line.rule).tests if test.option in _PLACED]
        else:
            found = _PLACES.findall(line.rule)
        for pair in found:
            if pair not in known:
                known.add(pair)
                yield pair


def _addresses(text: str, version: int) -> set[Address]:
    try:
        address = ipaddress.ip_address(text.partition("/")[0])
    except ValueError:
        return set()
    return {address} if address.version == version else set()
