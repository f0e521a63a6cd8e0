# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""A packet as the rules of a host see it, and what the rules may ask of the host. Pure."""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

Address = t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

#: As iptables-save names them, by number.
PROTOCOLS = {
    "icmp": 1,
    "igmp": 2,
    "ipencap": 4,
    "tcp": 6,
    "udp": 17,
    "ipv6": 41,
    "dccp": 33,
    "gre": 47,
    "esp": 50,
    "ipv6-crypt": 50,
    "ah": 51,
    "ipv6-auth": 51,
    "ipv6-icmp": 58,
    "icmpv6": 58,
    "ospf": 89,
    "pim": 103,
    "vrrp": 112,
    "l2tp": 115,
    "sctp": 132,
    "mh": 135,
    "ipv6-mh": 135,
    "udplite": 136,
}
#: What the port of a client is when nobody has stated it (net.ipv4.ip_local_port_range).
EPHEMERAL = (32768, 60999)
WITH_PORTS = frozenset({6, 17, 33, 132, 136})


def protocol_number(name: str) -> int | None:
    """The number of a protocol by its name or number; None for a name that is not known here."""
    word = name.lower()
    return int(word) if word.isascii() and word.isdigit() else PROTOCOLS.get(word)


@dataclasses.dataclass(frozen=True)
class Packet:
    """A packet as a chain sees it.

    The interfaces are empty where a chain has none to see. ``protocol`` is a number. ``state`` is NEW, ESTABLISHED or UNTRACKED;
    ``answer`` tells one that comes back; a port that a client has is None when it may be any of those that the kernel gives;
    ``first`` are destination and port of the first packet of its connection. ``bridged`` is one that goes from port to port of
    a bridge. ``mark`` and ``ct_mark`` (that of its connection) None = not known. ``message`` is the type of ICMP, 0 = an echo
    request or reply; ``hops`` how many more routers it may pass, None = not known.
    """

    source: Address
    destination: Address
    protocol: int
    source_port: int | None = None
    destination_port: int | None = None
    in_interface: str = ""
    out_interface: str = ""
    state: str = "NEW"
    answer: bool = False
    dnat: bool = False
    snat: bool = False
    bridged: bool = False
    mark: int | None = 0
    ct_mark: int | None = 0
    first: tuple[Address, int | None] | None = None
    message: int = 0
    hops: int | None = None


@dataclasses.dataclass(frozen=True)
class Device:
    """A network device; ``addresses`` are (address, length of its network, broadcast address), main ones first.

    ``hairpin``: whether ports of the bridge send packets back where they came from; None = some of them do. ``deprecated`` are
    the addresses that nothing new is to begin with. ``neighbours``: whether others on its link are looked for.
    """

    name: str
    bridge: bool = False
    hairpin: bool | None = False
    addresses: tuple[tuple[Address, int, Address | None], ...] = ()
    deprecated: frozenset[Address] = frozenset()
    neighbours: bool = True

    def network_of(self, *several: Address) -> bool:
        """Whether all of these are in one network of this device."""
        for address, length, _broadcast in self.addresses:
            network = ipaddress.ip_network(f"{address}/{length}", strict=False)
            if all(one.version == network.version and one in network for one in several):
                return True
        return False


@dataclasses.dataclass(frozen=True)
class Host:
    """What is known of the host: its devices by name, and whether bridged packets pass its rules."""

    devices: t.Mapping[str, Device]
    bridged_pass_rules: bool = False

    def kind(self, address: Address) -> str:
        """LOCAL, BROADCAST, MULTICAST or UNICAST."""
        if address.is_multicast:
            return "MULTICAST"
        if address.is_loopback:
            return "LOCAL"
        known = [entry for device in self.devices.values() for entry in device.addresses]
        if any(address == entry[0] for entry in known):
            return "LOCAL"
        if str(address) == "255.255.255.255" or any(address == entry[2] for entry in known):
            return "BROADCAST"
        return "UNICAST"
