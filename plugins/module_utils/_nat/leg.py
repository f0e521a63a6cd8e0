# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""One packet on its way through the hooks of the kernel: which rule of which chain decides at each. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import native, translate
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.native import Ruleset
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.packet import (
    EPHEMERAL,
    PROTOCOLS,
    WITH_PORTS,
    Address,
    Device,
    Host,
    Packet,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.passage import TRACKED, Passage, Station, stations
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.saved import Saved
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.walk import REFUSE, End, Place, Way, walk

#: Messages of ICMP as nft names them, by protocol: those of the first packet and of its answer, and of neighbours.
_ECHO = {1: (("echo-request", 8), ("echo-reply", 0)), 58: (("echo-request", 128), ("echo-reply", 129))}
_MESSAGES = {135: ("nd-neighbor-solicit", 135), 136: ("nd-neighbor-advert", 136)}


@dataclasses.dataclass(frozen=True)
class Route:
    """Where the kernel sends a packet. ``kind`` is unicast, local (to the host itself, also what is for all) or none."""

    kind: str
    device: str = ""
    gateway: Address | None = None
    source: Address | None = None
    problem: str = ""


#: (destination, source, the device that it comes by, or none from the host itself) -> where it goes.
Router = t.Callable[[Address, t.Optional[Address], str], Route]


@dataclasses.dataclass(frozen=True)
class World:
    """The host: its rules by backend (the chosen one first), its devices, its routes, the guests' networks by bridge.

    ``forwards`` are the versions of IP that it forwards, ``native`` the chains of nft itself.
    """

    saved: t.Mapping[str, Saved]
    host: Host
    route: Router
    networks: t.Mapping[str, t.Sequence[str]] = dataclasses.field(default_factory=dict)
    forwards: t.Container[int] = (4, 6)
    native: Ruleset = dataclasses.field(default_factory=Ruleset)


@dataclasses.dataclass
class Step:
    """One table at one hook, or the routing decision: what decides there."""

    direction: str
    hook: str
    verdict: str
    text: str
    table: str = ""
    backend: str = ""
    place: Place | None = None
    via: tuple[Place, ...] = ()
    doubts: tuple[Place, ...] = ()


class Leg:
    """One packet on its way through the host. ``verdict`` is accepted, dropped, rejected, unreachable or depends."""

    def __init__(self, world: World, packet: Packet, direction: str, at_home: bool) -> None:
        self.world, self.packet, self.direction = world, packet, direction
        #: Whether it is from the host itself.
        self.at_home = at_home
        self.steps: list[Step] = []
        self.doubts: list[Place] = []
        self.out_device, self.hop = "", packet.destination
        self.local = False
        #: The device whose link the addresses are on that each link has for itself.
        self.link = ""
        #: By device, the neighbours that the host and they know of each other.
        self.neighbours: set[tuple[str, Address]] = set()
        self.ports: str | None = None
        self.before_snat = packet
        #: Whether table nat has said all that it says of this packet.
        self.asked = packet.state != "NEW"
        self._refused, self._unsure = "", False

    @property
    def verdict(self) -> str:
        """What becomes of the packet."""
        if self._refused and not self._unsure:
            return self._refused
        return "depends" if self.doubts else self._refused or "accepted"

    def note(self, hook: str, verdict: str, text: str) -> None:
        """A step that no rule decides."""
        self.steps.append(Step(self.direction, hook, verdict, text))

    def refuse(self, hook: str, verdict: str, text: str) -> bool:
        """The way ends here."""
        self.note(hook, verdict, text)
        self._refused = verdict
        return False

    def doubt(self, hook: str, text: str, *places: Place) -> None:
        """Something that the rules do not tell."""
        self.note(hook, "depends", text)
        self.doubts += places or [Place("", hook, 0, text)]

    def hook(self, name: str) -> bool:
        """Sends the packet through the chains of a hook; False when it goes no further."""
        by: Station | None = None
        before = self.packet
        for station in stations(self.world.saved, self.world.native, name):
            if station.translates and (self.asked or self.packet.state != "NEW"):
                continue
            if station.translates and by is not None:
                self._contested(name, by, station, before)
                continue
            before = self.packet
            goes_on, translated = self._asks(name, station)
            if not goes_on:
                return False
            by = station if translated else by
        return True

    def _asks(self, hook: str, station: Station) -> tuple[bool, bool]:
        """Whether the packet goes on behind a chain, and whether that has translated it."""
        if station.chain is not None:
            return self._of_nft(hook, station.chain)
        table, backend = station.table, station.backend
        way = walk(table, self.world.saved[backend][table], hook, self._as_seen(hook), self.world.host)
        seen = way.packet
        self.packet = dataclasses.replace(self.packet, mark=seen.mark, ct_mark=seen.ct_mark, state=seen.state)
        step = self._step(hook, table, backend, way)
        if step.verdict in REFUSE:
            self._refused = "rejected" if step.verdict == "REJECT" else "dropped"
            # One of those rules may let it pass instead.
            self._unsure = self._unsure or bool(step.doubts)
            self._compare(step, hook, table)
            return False, False
        return True, station.translates and self._translate(hook, way, step)

    def _contested(self, hook: str, by: Station, other: Station, before: Packet) -> None:
        """Of two chains at the same time, one of them of nft, only the first one translates, and which one that is is not known."""
        if by.when != other.when or (by.chain is None and other.chain is None):
            return
        first, ports, kept = self.packet, self.ports, (self.steps[:], self.doubts[:], self._refused, self._unsure)
        self.packet, self.ports = before, None
        goes_on, translated = self._asks(hook, other)
        second, others = self.packet, self.ports
        unsure = not goes_on or len(self.doubts) > len(kept[1])
        self.packet, self.ports, (self.steps, self.doubts, self._refused, self._unsure) = first, ports, kept
        if translated and dataclasses.replace(second, source_port=first.source_port) == first:
            # It is seen with the same address either way.
            if (second.source_port, others) != (first.source_port, ports):
                self.packet, self.ports = dataclasses.replace(first, source_port=None), "any"
        elif translated or unsure:
            self.doubt(hook, f"{_named(by, hook)} or {_named(other, hook)}: which comes first cannot be told")

    def _of_nft(self, hook: str, chain: native.Chain) -> tuple[bool, bool]:
        """As ``_asks``, of a chain of nft itself."""
        ends, passages = self._ends(hook, chain)
        self._mark(passages)
        refusals = ends & {"drop", "reject"}
        if ends == refusals:
            aloud = "" if len(refusals) == 1 else " (whether aloud cannot be told)"
            self.refuse(
                hook, "rejected" if refusals == {"reject"} else "dropped", f"{chain}, of nft, refuses it{aloud}"
            )
            return False, False
        made = sorted(ends - refusals - {"accept", "queue"})
        if refusals or "queue" in ends or len(made) > 1 or (made and "accept" in ends):
            self.doubt(hook, f"{chain}, of nft")
        if not made or "accept" in ends:
            return True, False
        target, *arguments = made[0].split(" ")
        text = self._made(hook, target, tuple(arguments))
        if text is None:
            self._unsure = True
            self.doubt(hook, f"{chain}, of nft: what it makes of the address cannot be told from here")
        else:
            self.note(hook, target, f"{chain}, of nft{text}")
        return True, True

    def _ends(self, hook: str, chain: native.Chain) -> tuple[set[str], list[Passage]]:
        """What may become of the packet in a chain of nft, whichever port a client has."""
        packets = [self._for_nft(hook, client, chain.priority) for client in EPHEMERAL]
        passages = [Passage(self.world.native, chain, packet) for packet in packets]
        return {end for one in passages for end in one.outcomes()}, passages

    def _mark(self, passages: t.Sequence[Passage]) -> None:
        marks, ct_marks = {one.mark for one in passages}, {one.ct_mark for one in passages}
        self.packet = dataclasses.replace(
            self.packet,
            mark=marks.pop() if len(marks) == 1 else None,
            ct_mark=ct_marks.pop() if len(ct_marks) == 1 else None,
        )
        if all(one.untracked for one in passages):
            self.packet = dataclasses.replace(self.packet, state="UNTRACKED")

    def _for_nft(self, hook: str, client: int, priority: int) -> native.Packet:
        """The packet in the words of nft; ``client`` is the port of a client where nobody has stated it."""
        if self.packet.protocol not in WITH_PORTS:
            client = 0
        packet, four = self._as_seen(hook), self.packet.source.version == 4
        known = {
            "nfproto": "ipv4" if four else "ipv6",
            "protocol": "ip" if four else "ip6",
            # By name, or by number where nft knows no name.
            "l4proto": (packet.protocol, *(name for name, one in PROTOCOLS.items() if one == packet.protocol)),
            "icmp type": _MESSAGES.get(packet.message) or _ECHO.get(packet.protocol, ("", ""))[packet.answer],
            "hoplimit": packet.hops or 0,
            "iifname": packet.in_interface,
            "oifname": packet.out_interface,
            "saddr": str(packet.source),
            "daddr": str(packet.destination),
            "sport": packet.source_port or (0 if packet.answer else client),
            "dport": packet.destination_port or (client if packet.answer else 0),
            "state": packet.state.lower() if priority >= TRACKED or packet.state == "UNTRACKED" else "invalid",
            "direction": "reply" if packet.answer else "original",
            "fib type": self.world.host.kind(packet.destination).lower(),
            "tcp flags": ("syn", "ack") if packet.answer else ("syn",),
            "first daddr": str(packet.first[0] if packet.first else packet.destination),
            "first port": (packet.first[1] if packet.first else packet.destination_port) or 0,
            "status": tuple(name for name, on in (("dnat", packet.dnat), ("snat", packet.snat)) if on),
        }
        found = {name: value for name, value in known.items() if value not in (0, "")}
        marks = {"mark": packet.mark, "ct mark": packet.ct_mark}
        return {**found, **{name: value for name, value in marks.items() if value is not None}}

    def _compare(self, step: Step, hook: str, table: str) -> None:
        """Two kinds of iptables may refuse the packet, each in its way."""
        for backend, saved in self.world.saved.items():
            if backend == step.backend or hook not in saved.get(table, {}):
                continue
            end = walk(table, saved[table], hook, self._as_seen(hook), self.world.host).main
            if end.verdict in REFUSE and end.verdict != step.verdict:
                step.text += f"; or {backend} {_decided(end, table, hook)}: which comes first cannot be told"

    def _as_seen(self, hook: str) -> Packet:
        packet = self.packet
        if hook in ("OUTPUT", "POSTROUTING"):
            packet = dataclasses.replace(packet, in_interface="")
        return dataclasses.replace(
            packet, out_interface=self.out_device if hook in ("FORWARD", "OUTPUT", "POSTROUTING") else ""
        )

    def _step(self, hook: str, table: str, backend: str, way: Way) -> Step:
        end = way.main
        step = Step(
            self.direction, hook, end.verdict, "", table, backend, end.place, end.via if end.place else (), way.doubts
        )
        self.doubts += way.doubts
        self._unsure = self._unsure or (table == "nat" and bool(way.doubts))
        step.text = f"{backend} {_decided(end, table, hook)}"
        # A chain without rules says nothing, but for those that one looks for.
        chosen = table == "filter" and backend == next(iter(self.world.saved))
        if end.place or step.doubts or end.verdict != "ACCEPT" or chosen:
            self.steps.append(step)
        return step

    def _translate(self, hook: str, way: Way, step: Step) -> bool:
        """What a nat table makes of the packet; True when it made something."""
        end = way.main
        if end.verdict in ("ACCEPT", "UNKNOWN"):
            return False
        text = self._made(hook, end.verdict, end.arguments)
        if text is None:
            self._unsure = True
            self.doubts += [end.place] if end.place else []
        step.text += text or "; what it makes of the address cannot be told from here"
        return True

    def _made(self, hook: str, target: str, arguments: t.Sequence[str]) -> str | None:
        """Translates the packet, and says what it is now; None where it cannot be told."""
        devices = self.world.host.devices
        if hook in ("PREROUTING", "OUTPUT"):
            device = devices.get(self.packet.in_interface) if hook == "PREROUTING" else None
            made = translate.destination(target, arguments, self.packet, device)
        else:
            device = devices.get(self.out_device, Device(self.out_device))
            made = translate.source(target, arguments, self.packet, device, self.hop, devices.values())
        if made is None:
            return None
        self.packet, self.ports = made.packet, made.ports or self.ports
        if hook in ("PREROUTING", "OUTPUT"):
            return f": now to {shown(made.packet.destination, made.packet.destination_port)}"
        return f": now from {shown(made.packet.source, made.packet.source_port, made.ports)}"


def _named(station: Station, hook: str) -> str:
    return f"{station.chain}, of nft" if station.chain is not None else f"{station.backend} {station.table} {hook}"


def _decided(end: End, table: str, hook: str) -> str:
    if end.place is None:
        return f"{table} {hook}: no rule decides, policy {end.verdict}"
    way = "".join(f" (from {step.chain}[{step.position}])" for step in end.via[-1:])
    return f"{end.place}{way}"


def shown(address: Address, port: int | None, ports: str | None = None) -> str:
    """``192.168.0.11 port 80``."""
    return f"{address} port {port}" if port else f"{address} port from {ports}" if ports else str(address)
