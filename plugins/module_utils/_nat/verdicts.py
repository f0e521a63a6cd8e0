# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What iptables refuses of the guests' packets, which no table of nft can let through. Pure.

A rule of iptables that accepts is the end of its chain, whatever the policy; one of another table is not.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import match
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.packet import Address, Device, Host, Packet
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.saved import Chain
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.walk import REFUSE, walk

#: Addresses of the world that no rule is about (documentation: RFC 5737, RFC 3849).
_WORLD = {4: ipaddress.ip_address("198.51.100.9"), 6: ipaddress.ip_address("2001:db8:5a::9")}
#: A device that no rule is about: no device can have this name.
_ANY = "another device"
#: With more of them, what all rules say together is not worth the time.
_MOST = 64
_TCP, _UDP = 6, 17
_PLACED = ("-i", "-o", "-s", "-d")
_PLACES = re.compile(r"(?:^|(?<= ))(-[iosd]) (\S+)")


def refuses_forwarding(chains: t.Mapping[str, Chain], bridge: str, subnet: str, out: str | None) -> bool:
    """Whether table filter refuses each new connection of the guests to port 443, or the answers, wherever it leads."""
    if "FORWARD" not in chains:
        return False
    places = _places(chains, ipaddress.ip_network(subnet).version, out, bridge)
    guest = _guest(subnet)
    there = (Packet(guest, world, _TCP, None, 443, bridge, device) for device, world in places)
    back = (
        Packet(world, guest, _TCP, 443, None, device, bridge, "ESTABLISHED", answer=True) for device, world in places
    )
    host = Host({})
    return bool(places) and any(
        all(_refused(chains, "FORWARD", packet, host) for packet in several) for several in (there, back)
    )


def refuses_service(chains: t.Mapping[str, Chain], bridge: str, subnet: str, port: int) -> bool:
    """Whether table filter refuses what a guest asks this host on a port of UDP: DNS, or DHCP before it has an address."""
    if "INPUT" not in chains:
        return False
    network = ipaddress.ip_network(subnet)
    here = network[1 % network.num_addresses]
    if port == 53:
        packet = Packet(_guest(subnet), here, _UDP, None, port, bridge)
    else:
        everyone = ipaddress.IPv4Address("255.255.255.255")
        packet = Packet(ipaddress.IPv4Address(0), everyone, _UDP, 68, port, bridge)
    return _refused(chains, "INPUT", packet, Host({bridge: Device(bridge, True, False, ((here, 32, None),))}))


def _refused(chains: t.Mapping[str, Chain], hook: str, packet: Packet, host: Host) -> bool:
    way = walk("filter", chains, hook, packet, host)
    return way.main.verdict in REFUSE and not way.doubts


def _guest(subnet: str) -> Address:
    network = ipaddress.ip_network(subnet)
    return network[9 % network.num_addresses]


def _places(chains: t.Mapping[str, Chain], version: int, out: str | None, bridge: str) -> list[tuple[str, Address]]:
    """The devices and addresses that rules make a difference between, and one of each that they do not; none when too many."""
    devices, worlds = {out or _ANY}, {_WORLD[version]}
    for option, word in _asked(chains):
        if option in ("-s", "-d"):
            worlds |= _addresses(word, version)
        elif out is None:
            devices.add(word.rstrip("+") or _ANY)
        if len(devices) * len(worlds) > _MOST:
            return []
    return list(itertools.product(sorted(devices - {bridge}), sorted(worlds, key=int)))


def _asked(chains: t.Mapping[str, Chain]) -> t.Iterator[tuple[str, str]]:
    """The devices and addresses that rules of forwarded packets ask for, with their options, each once."""
    known: set[tuple[str, str]] = set()
    for line in (line for name, chain in chains.items() if name not in ("INPUT", "OUTPUT") for line in chain.lines):
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
