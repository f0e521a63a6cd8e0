# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What becomes of the first packet of a flow, and of the answer to it. Pure."""

from __future__ import annotations

import dataclasses

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import neighbours, routing
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.leg import Leg, Route, World, shown
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.match import within
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.packet import Address, Packet
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.routing import HOST


@dataclasses.dataclass(frozen=True)
class Flow:
    """What is asked about; ``source`` None = the host itself, ``in_interface`` None = told by the source.

    ``link`` is the device of addresses that each link has for itself.
    """

    destination: Address
    source: Address | None = None
    protocol: int = 6
    source_port: int | None = None
    destination_port: int | None = None
    in_interface: str | None = None
    link: str | None = None


@dataclasses.dataclass
class Explained:
    """The first packet there, the answer back (None = none is expected, or the first one does not arrive)."""

    there: Leg
    back: Leg | None

    @property
    def works(self) -> bool | None:
        """Whether both arrive; None when it depends on what the rules do not tell."""
        verdicts = {leg.verdict for leg in (self.there, self.back) if leg is not None}
        if verdicts & {"dropped", "rejected", "unreachable"}:
            return False if self.there.verdict != "depends" else None
        return None if "depends" in verdicts else True


def explain(flow: Flow, world: World) -> Explained:
    """Follows a new flow through all rules of the host."""
    there = _there(flow, world)
    expected = world.host.kind(there.packet.destination) not in ("BROADCAST", "MULTICAST")
    if there.verdict not in ("accepted", "depends") or not expected:
        return Explained(there, None)
    return Explained(there, _back(there, world))


def _entry(flow: Flow, world: World) -> Route:
    """The device by which the first packet comes; none with a problem, an empty one for the host itself."""
    if flow.in_interface is not None:
        return Route("unicast", flow.in_interface)
    if flow.source is None or world.host.kind(flow.source) == "LOCAL":
        return Route("local")
    if flow.link is not None:
        return Route("unicast", flow.link)
    for bridge, networks in world.networks.items():
        if any(within(flow.source, network) for network in networks):
            return Route("unicast", bridge)
    return world.route(flow.source, None, "")


def _there(flow: Flow, world: World) -> Leg:
    entry = _entry(flow, world)
    packet = Packet(
        source=flow.source or flow.destination,
        destination=flow.destination,
        protocol=flow.protocol,
        source_port=flow.source_port,
        destination_port=flow.destination_port,
        in_interface=entry.device,
    )
    leg = Leg(world, packet, "there", at_home=entry.kind == "local")
    leg.link = flow.link or entry.device
    if entry.kind == "none":
        leg.refuse("routing", "unreachable", f"no device leads to {flow.source} ({entry.problem}); state in_interface")
    elif leg.at_home:
        _from_host(leg, flow.source)
    elif world.host.kind(packet.source) == "LOCAL":
        leg.refuse(
            "routing",
            "unreachable",
            f"{packet.source} is an address of this host, which takes no such packet from others",
        )
    else:
        _through(leg)
        if leg.verdict in ("accepted", "depends"):
            _hairpin(leg)
    return leg


def _from_host(leg: Leg, source: Address | None) -> bool:
    """Out of the host, or by its loopback to itself."""
    if not routing.decide(leg, source):
        return False
    target = leg.packet.destination
    leg.before_snat = leg.packet
    if not leg.hook("OUTPUT"):
        return False
    if leg.packet.destination != target and not routing.decide(leg, leg.packet.source):
        return False
    leg.before_snat = leg.packet
    if not leg.hook("POSTROUTING"):
        return False
    if not leg.local:
        return neighbours.finds(leg, leg.out_device, leg.hop)
    # What table nat had to say was said on the way out.
    leg.packet = dataclasses.replace(leg.packet, in_interface="lo")
    leg.asked = True
    return leg.hook("PREROUTING") and leg.hook("INPUT")


def _bridged(leg: Leg) -> bool:
    """Whether the packet goes from port to port of a bridge: the guests see each other without the host."""
    packet, devices = leg.packet, leg.world.host.devices
    device = devices.get(packet.in_interface)
    if device is None or not device.bridge or leg.world.host.kind(packet.destination) != "UNICAST":
        return False
    return device.network_of(packet.source, packet.destination)


def _through(leg: Leg) -> bool:
    """From one of its devices to another, or to the host itself."""
    host = leg.world.host
    bridge = leg.packet.in_interface
    if _bridged(leg):
        if not host.bridged_pass_rules:
            leg.out_device = bridge
            leg.before_snat = leg.packet
            leg.note("bridge", "accepted", f"from port to port of {bridge}, where the rules of iptables do not apply")
            return True
        leg.packet = dataclasses.replace(leg.packet, bridged=True)
        program = "iptables" if leg.packet.source.version == 4 else "ip6tables"
        leg.note(
            "bridge", "accepted", f"from port to port of {bridge}, through the rules (bridge-nf-call-{program} is 1)"
        )
        first = leg.direction == "there"
        if first and not neighbours.see_each_other(leg, bridge, leg.packet.source, leg.packet.destination):
            return False
    elif not _arrives(leg):
        return False
    target = leg.packet.destination
    if not leg.hook("PREROUTING"):
        return False
    return _after_prerouting(leg, changed=leg.packet.destination != target)


def _after_prerouting(leg: Leg, changed: bool) -> bool:
    if leg.packet.bridged and not changed:
        leg.out_device = leg.packet.in_interface
    else:
        leg.packet = dataclasses.replace(leg.packet, bridged=False)
        if not routing.decide(leg, leg.packet.source):
            return False
    leg.before_snat = leg.packet
    if leg.local:
        return leg.hook("INPUT")
    if not leg.hook("FORWARD"):
        return False
    leg.before_snat = leg.packet
    return leg.hook("POSTROUTING") and (leg.packet.bridged or neighbours.finds(leg, leg.out_device, leg.hop))


def _arrives(leg: Leg) -> bool:
    """Whether the packet gets here: its sender, or the router before this host, has to find this host on the link."""
    packet = leg.packet
    if packet.source.version != 6:
        return True
    route = leg.world.route(packet.source, None, "")
    return neighbours.found_by(leg, packet.in_interface, route.gateway or packet.source)


def _hairpin(leg: Leg) -> None:
    """A guest that asks for itself: the packet has to go back to the port that it came by."""
    packet, host = leg.packet, leg.world.host
    if leg.local or packet.destination != leg.before_snat.source or leg.out_device != packet.in_interface:
        return
    if not packet.snat:
        leg.refuse("bridge", "dropped", f"{packet.destination} gets a packet from its own address, and drops it")
    elif host.bridged_pass_rules:
        device = host.devices.get(leg.out_device)
        text = f"ports of {leg.out_device} send a packet back where it came from in hairpin mode only"
        if device is None or device.hairpin is None:
            leg.doubt("bridge", f"{text}, which some of them have")
        elif not device.hairpin:
            leg.refuse("bridge", "dropped", text)


def _back(there: Leg, world: World) -> Leg:
    packet = there.packet
    first = packet.first or (packet.destination, packet.destination_port)
    tracked = packet.state != "UNTRACKED"
    answer = Packet(
        source=packet.destination,
        destination=packet.source,
        protocol=packet.protocol,
        source_port=packet.destination_port,
        destination_port=packet.source_port,
        in_interface=there.out_device,
        state="ESTABLISHED" if tracked else "NEW",
        answer=True,
        dnat=packet.dnat,
        snat=packet.snat,
        ct_mark=packet.ct_mark,
        first=first,
    )
    leg = Leg(world, answer, "back", at_home=there.local)
    leg.neighbours, leg.link = there.neighbours, there.link
    _follow_back(leg, there)
    if not tracked and leg.packet.snat and leg.verdict == "accepted":
        leg.refuse(
            "POSTROUTING",
            "dropped",
            f"{packet.source} gets the answer from {leg.packet.source}, which it has not asked: the connection is not tracked",
        )
    return leg


def _follow_back(leg: Leg, there: Leg) -> None:
    packet, world = there.packet, leg.world
    if there.local:
        # The kernel knows by now who is meant.
        leg.packet = _untranslated(leg.packet, there)
        _from_host(leg, leg.packet.source)
        return
    if not _bridged(leg) or packet.snat:
        if leg.hook("PREROUTING"):
            leg.packet = _untranslated(leg.packet, there)
            _home(leg) if there.at_home else _after_prerouting(leg, changed=False)
        return
    if packet.dnat and not world.host.bridged_pass_rules:
        leg.refuse(
            "bridge",
            "dropped",
            f"{packet.destination} answers to {packet.source} without the host, with an address that was not asked: masquerade such"
            " packets (hairpin), or let bridged packets pass the rules",
        )
        return
    _through(leg)


def _untranslated(packet: Packet, there: Leg) -> Packet:
    before = there.before_snat
    return dataclasses.replace(packet, destination=before.source, destination_port=before.source_port)


def _home(leg: Leg) -> bool:
    leg.local = True
    return leg.hook("INPUT")


def summary(flow: Flow, found: Explained) -> str:
    """One sentence for a person."""
    there, back = found.there, found.back
    first = there.packet.first or (there.packet.destination, there.packet.destination_port)
    source = f"{there.before_snat.source}" if there.steps else f"{flow.source}"
    words = f"From {source} to {shown(*first)}"
    if there.verdict in ("dropped", "rejected", "unreachable"):
        return f"{words}: {there.verdict}, {there.steps[-1].text}."
    by = HOST if there.local else there.out_device
    made = []
    if there.packet.dnat:
        made.append(f"sent on to {shown(there.packet.destination, there.packet.destination_port)}")
    if there.packet.snat:
        made.append(f"seen there as {shown(there.packet.source, there.packet.source_port, there.ports)}")
    text = f"{words}: {there.verdict}, {'to' if there.local else 'by'} {by}" + "".join(f", {one}" for one in made)
    if back is not None and back.verdict != "accepted":
        last = f", {back.steps[-1].text}" if back.steps and back.verdict != "depends" else ""
        text += f"; the answer: {back.verdict}{last}"
    doubts = [*there.doubts, *(back.doubts if back is not None else [])]
    return text + (f"; it depends on {doubts[0]}." if doubts else ".")


def doubts(found: Explained) -> list[str]:
    """What the rules do not tell, each once."""
    legs = [leg for leg in (found.there, found.back) if leg is not None]
    return list(dict.fromkeys(str(place) for leg in legs for place in leg.doubts))
