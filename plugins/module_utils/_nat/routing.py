# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The routing decision about a packet: by which device it goes on, if by any. Pure, but for what it asks of the kernel."""

from __future__ import annotations

import dataclasses

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.leg import Leg, Route
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.packet import Address

HOST = "the host itself"


def decide(leg: Leg, source: Address | None) -> bool:
    """Where the packet goes on; False when there is no way. ``source`` None = the kernel chooses one of the host's."""
    packet = leg.packet
    came_by = "" if leg.at_home else packet.in_interface
    found = _where(leg, source, came_by)
    if found.kind == "none":
        return leg.refuse("routing", "unreachable", f"no way to {packet.destination}: {found.problem}")
    leg.local, leg.out_device = found.kind == "local", "lo" if found.kind == "local" else found.device
    leg.hop = found.gateway or packet.destination
    if leg.at_home and source is None and found.source is not None:
        leg.packet = dataclasses.replace(packet, source=found.source)
    if came_by and not leg.local and packet.source.version not in leg.world.forwards:
        return leg.refuse("routing", "unreachable", f"this host does not forward IPv{packet.source.version}")
    where = HOST if leg.local else f"{found.device}{f' via {found.gateway}' if found.gateway else ''}"
    leg.note("routing", "accepted", f"{packet.destination} is reached by {where}")
    return True


def _where(leg: Leg, source: Address | None, came_by: str) -> Route:
    packet, host = leg.packet, leg.world.host
    kind = host.kind(packet.destination)
    found: Route | None = None
    if packet.destination.is_loopback and came_by:
        found = Route("none", problem="only the host itself reaches that address")
    elif source is not None and source.is_loopback and kind != "LOCAL":
        found = Route("none", problem=f"{source} is for the host itself only")
    elif came_by and kind in ("BROADCAST", "MULTICAST"):
        found = Route("local", came_by)
    elif _of_link(packet.destination):
        found = _on_link(leg, kind, came_by)
    if found is None:
        found = leg.world.route(packet.destination, source, came_by)
    if came_by and found.kind == "unicast" and _of_link(packet.source):
        problem = f"{packet.source} is an address of the link {came_by}, whose packets are not forwarded"
        found = Route("none", problem=problem)
    return found


def _of_link(address: Address) -> bool:
    """Whether each link has such addresses for itself."""
    return address.version == 6 and (address.is_link_local or address.is_multicast)


def _on_link(leg: Leg, kind: str, came_by: str) -> Route:
    """By the link that is spoken of, and never from one to another."""
    link = came_by or leg.link
    device = leg.world.host.devices.get(link)
    own = [entry[0] for entry in device.addresses if _of_link(entry[0])] if device is not None else []
    if kind == "LOCAL" and (not came_by or leg.packet.destination in own):
        return Route("local", link, source=leg.packet.destination)
    if came_by:
        return Route(
            "none", problem=f"it is no address that this host has on {link}, and what is on a link is not forwarded"
        )
    return Route("unicast", link, source=next(iter(own), None))
