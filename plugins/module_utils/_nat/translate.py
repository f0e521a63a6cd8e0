# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What the targets of table nat make of a packet. Pure."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.packet import (
    WITH_PORTS,
    Address,
    Device,
    Packet,
)

#: ``198.51.100.1-198.51.100.9:20000-29999``, ``[2001:db8::1]:80``, ``:8080``, ``192.168.0.11:9000-9010/8000``.
_TO = re.compile(r"(?:\[([^]]+)\]|([^:\[\]]*)|([0-9a-f:.]+(?:-[0-9a-f:.]+)?))(?::([0-9]+(?:-[0-9]+)?(?:/[0-9]+)?))?")


@dataclasses.dataclass(frozen=True)
class Translated:
    """The packet then; ``ports`` is the range that its new source port is from ("any" = any); None: it stays as it is."""

    packet: Packet
    ports: str | None = None


def destination(target: str, arguments: t.Sequence[str], packet: Packet, device: Device | None) -> Translated | None:
    """DNAT, REDIRECT; None where it cannot be told. ``device`` is the one it came by, None for the host's own."""
    if packet.first is None:
        packet = dataclasses.replace(packet, first=(packet.destination, packet.destination_port))
    if target == "REDIRECT":
        own = ipaddress.ip_address("127.0.0.1" if packet.destination.version == 4 else "::1")
        address = own if device is None else address_of(device, packet.destination)
        port = _option(arguments, "--to-ports")
    elif target == "DNAT":
        address, port = _to(_option(arguments, "--to-destination") or "", packet.destination)
    else:
        return None
    if address is None:
        return None
    number = packet.destination_port
    if port and packet.protocol in WITH_PORTS:
        number = _moved(packet.destination_port, port, _random(arguments))
    same = address == packet.destination and number == packet.destination_port
    return Translated(
        dataclasses.replace(packet, destination=address, destination_port=number, dnat=packet.dnat or not same)
    )


def source(target: str, arguments: t.Sequence[str], packet: Packet, device: Device, hop: Address) -> Translated | None:
    """SNAT, MASQUERADE; None where it cannot be told. ``hop`` is where the packet goes next, by ``device``."""
    address: Address | None
    if target == "MASQUERADE":
        address, ports = address_of(device, hop), _option(arguments, "--to-ports")
    elif target == "SNAT":
        address, ports = _to(_option(arguments, "--to-source") or "", packet.source)
    else:
        return None
    if address is None:
        return None
    number, text = packet.source_port, None
    if packet.protocol in WITH_PORTS:
        number, text = _new_port(packet.source_port, ports, _random(arguments))
    same = address == packet.source and number == packet.source_port
    return Translated(dataclasses.replace(packet, source=address, source_port=number, snat=not same), text)


def address_of(device: Device, near: Address) -> Address | None:
    """The address of a device that the kernel masquerades with for what goes to ``near``."""
    own = [entry for entry in device.addresses if entry[0].version == near.version and not entry[0].is_link_local]
    for address, length, _broadcast in own:
        if near in ipaddress.ip_network(f"{address}/{length}", strict=False):
            return address
    return own[0][0] if own else None


def _moved(port: int | None, wanted: str, random: bool) -> int | None:
    """The port that a packet is sent on to; None where the kernel chooses one, or it is not known which was asked for."""
    span, _slash, base = wanted.partition("/")
    low, high = _range(span)
    if low == high:
        return low
    if port is None:
        return None
    if base:
        # As the kernel counts, with 16 bits: what is below the base comes round from the other end.
        return low + (port - int(base)) % 65536 % (high - low + 1)
    return port if low <= port <= high and not random else None


def _random(arguments: t.Sequence[str]) -> bool:
    return any(word.startswith("--random") for word in arguments)


def _new_port(port: int | None, wanted: str | None, random: bool) -> tuple[int | None, str | None]:
    if random:
        return None, wanted or "any"
    if wanted is None:
        return port, None
    low, high = _range(wanted)
    if low == high:
        return low, None
    # What is in the range already stays, unless another connection has it.
    return (port, None) if port is not None and low <= port <= high else (None, wanted)


def _range(text: str) -> tuple[int, int]:
    low, _dash, high = text.partition("-")
    return int(low), int(high or low)


def _option(arguments: t.Sequence[str], name: str) -> str | None:
    found = [value for option, value in zip(arguments, arguments[1:]) if option == name]
    return found[0] if len(found) == 1 else None


def _to(text: str, before: Address) -> tuple[Address | None, str | None]:
    """The address and ports of ``--to-destination`` and ``--to-source``; no address where it may be any of several."""
    match = _TO.fullmatch(text)
    if not text or match is None:
        return None, None
    address = match.group(1) or match.group(2) or match.group(3)
    if not address:
        return before, match.group(4)
    low, _dash, high = address.partition("-")
    try:
        return (ipaddress.ip_address(low) if high in ("", low) else None), match.group(4)
    except ValueError:
        return None, None
