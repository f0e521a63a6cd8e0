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
#: The kernel's table of kinds of IPv6 addresses (ip addrlabel).
_LABELS = tuple(
    (ipaddress.IPv6Network(network), label)
    for network, label in (
        ("fc00::/7", 5),
        ("fec0::/10", 11),
        ("2002::/16", 2),
        ("3ffe::/16", 12),
        ("2001::/32", 6),
        ("2001:10::/28", 7),
        ("::ffff:0:0/96", 4),
    )
)


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
        address = own if device is None else _first_of(device, packet.destination)
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


def source(
    target: str,
    arguments: t.Sequence[str],
    packet: Packet,
    device: Device,
    hop: Address,
    others: t.Iterable[Device] = (),
) -> Translated | None:
    """SNAT, MASQUERADE; None where it cannot be told. ``hop`` is where the packet goes next, by ``device`` of all the host has."""
    address: Address | None
    if target == "MASQUERADE":
        six = packet.destination.version == 6
        address = nearest(packet.destination, device, others) if six else address_of(device, hop)
        ports = _option(arguments, "--to-ports")
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
    """The IPv4 address of a device that the kernel masquerades with for what goes to ``near``."""
    own = [entry for entry in device.addresses if entry[0].version == near.version and not entry[0].is_link_local]
    for address, length, _broadcast in own:
        if near in ipaddress.ip_network(f"{address}/{length}", strict=False):
            return address
    return own[0][0] if own else None


def nearest(destination: Address, device: Device, others: t.Iterable[Device] = ()) -> Address | None:
    """The IPv6 address that the kernel speaks with to a destination beyond a device (RFC 6724, as far as addresses tell).

    One of the device, if it has any that is for more than its link, even where one of another device suited better.
    """
    for devices in ([device], others):
        known = [
            (one.deprecated, address, length)
            for one in devices
            for address, length, _broadcast in one.addresses
            if address.version == 6 and not address.is_link_local and not address.is_loopback
        ]
        if known:
            return max(known, key=lambda entry: _closeness(destination, *entry))[1]
    return None


def _closeness(
    destination: Address, deprecated: t.Container[Address], address: Address, length: int
) -> tuple[int, ...]:
    common = 128 - (int(address) ^ int(destination)).bit_length()
    return address not in deprecated, _label(address) == _label(destination), min(common, length)


def _label(address: Address) -> int:
    """Addresses of one kind speak with each other."""
    return next((label for network, label in _LABELS if address in network), 1)


def _first_of(device: Device, like: Address) -> Address | None:
    """Where REDIRECT sends what came by a device."""
    for address, _length, _broadcast in device.addresses:
        if address.version == like.version and (like.version == 4 or address.is_link_local is like.is_link_local):
            return address
    return None


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
