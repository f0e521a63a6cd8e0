# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Whether the two ends of a link find each other: in IPv6 they ask with ICMP, which rules may refuse as well. Pure.

Who knows the other already speaks on for a while; this is about those who have to ask.
"""

from __future__ import annotations

import ipaddress

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.leg import Leg
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.packet import Address, Packet

_ICMP = 58
SOLICITATION, ADVERTISEMENT = 135, 136
_NAMES = {SOLICITATION: "neighbour solicitation", ADVERTISEMENT: "neighbour advertisement"}
#: Whoever asks for an address asks all whose addresses end alike.
_ALIKE = int(ipaddress.IPv6Address("ff02::1:ff00:0"))


def found_by(leg: Leg, device: str, neighbour: Address) -> bool:
    """Whether a neighbour behind a device can ask for the host, which then knows it too; False when the way ends here."""
    return _between(leg, device, neighbour, asks=True)


def finds(leg: Leg, device: str, neighbour: Address) -> bool:
    """The same, when the host has to ask."""
    return _between(leg, device, neighbour, asks=False)


def see_each_other(leg: Leg, device: str, one: Address, other: Address) -> bool:
    """Whether two behind a bridge can ask for each other through the rules of the host."""
    there = _message(SOLICITATION, one, _asked(other), device, device)
    back = _message(ADVERTISEMENT, other, one, device, device)
    hooks = ("PREROUTING", "FORWARD", "POSTROUTING")
    return one.version != 6 or all(_pass(leg, packet, hooks, f"{one} on {device}") for packet in (there, back))


def _between(leg: Leg, device: str, neighbour: Address, asks: bool) -> bool:
    known = leg.world.host.devices.get(device)
    if neighbour.version != 6 or neighbour.is_multicast or (device, neighbour) in leg.neighbours:
        return True
    if not device or (known is not None and not known.neighbours):
        return True
    leg.neighbours.add((device, neighbour))
    here = _address(leg, device, neighbour)
    incoming, outgoing = ("PREROUTING", "INPUT"), ("OUTPUT", "POSTROUTING")
    if asks:
        what = f"{neighbour} on {device}"
        return _pass(leg, _message(SOLICITATION, neighbour, _asked(here), device, ""), incoming, what) and _pass(
            leg, _message(ADVERTISEMENT, here, neighbour, "", device), outgoing, what
        )
    what = f"this host on {device}"
    return _pass(leg, _message(SOLICITATION, here, _asked(neighbour), "", device), outgoing, what) and _pass(
        leg, _message(ADVERTISEMENT, neighbour, here, device, ""), incoming, what
    )


def _address(leg: Leg, device: str, neighbour: Address) -> Address:
    """The address of the host that a neighbour knows it by."""
    known = leg.world.host.devices.get(device)
    own = [entry for entry in known.addresses if entry[0].version == 6] if known is not None else []
    near = [
        address
        for address, length, _broadcast in own
        if neighbour in ipaddress.ip_network(f"{address}/{length}", strict=False)
    ]
    return (near or [entry[0] for entry in own] or [ipaddress.IPv6Address("fe80::1")])[0]


def _asked(address: Address) -> Address:
    return ipaddress.IPv6Address(_ALIKE | int(address) & 0xFFFFFF)


def _message(kind: int, source: Address, destination: Address, came_by: str, out: str) -> tuple[Packet, str]:
    packet = Packet(
        source,
        destination,
        _ICMP,
        in_interface=came_by,
        # The kernel does not track them.
        state="UNTRACKED",
        bridged=bool(came_by and out),
        message=kind,
        hops=255,
    )
    return packet, out


def _pass(leg: Leg, message: tuple[Packet, str], hooks: tuple[str, ...], who: str) -> bool:
    packet, out = message
    way = Leg(leg.world, packet, leg.direction, at_home=not packet.in_interface)
    way.out_device = out
    passed = all(way.hook(name) for name in hooks)
    text = f"{who} does not find its neighbour: the {_NAMES[packet.message]} (ICMPv6 type {packet.message})"
    if not passed and way.verdict != "depends":
        return leg.refuse("neighbours", "unreachable", f"{text} is {way.verdict}, {way.steps[-1].text}")
    if way.doubts:
        leg.doubt("neighbours", f"the {_NAMES[packet.message]} of {who} may be refused", *way.doubts)
    return True
