# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The option explain of kvm_nat_info: which flow is asked about. Pure."""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import shape
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.explain import Flow
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.packet import (
    WITH_PORTS,
    Address,
    Host,
    protocol_number,
)

_ALL = ipaddress.IPv4Address("255.255.255.255")
#: ICMP is another protocol in each version of IP.
_ICMP = {1: ("icmp", 4), 58: ("icmpv6", 6)}


def flow(params: t.Mapping[str, t.Any]) -> Flow:
    """The flow that is to be explained; raises InvalidSpec with one sentence."""
    destination, link = _address("destination", params["destination"])
    if destination.is_unspecified:
        raise InvalidSpec(
            f"explain: destination {destination} is no address that a packet can go to; state another one."
        )
    device = params.get("in_interface")
    if device is not None:
        _check_device("in_interface", device)
    source = None
    if params.get("source") is not None:
        source, other = _address("source", params["source"])
        _check_source(source, destination)
        link = _one_link(source, link, other, device)
    elif device is not None:
        raise InvalidSpec(
            f"explain: in_interface {device} is for packets that come from elsewhere; state their source, or leave it away."
        )
    _check_link(source, destination, device or link)
    number, word = _protocol(params.get("protocol"), destination)
    ports = {name: _port(name, params.get(name), number, word) for name in ("source_port", "destination_port")}
    return Flow(destination, source, number, ports["source_port"], ports["destination_port"], device, link)


def check(asked: Flow, host: Host) -> None:
    """Whether the host has the devices of the question; raises InvalidSpec when it has not."""
    for device in (asked.in_interface, asked.link):
        if device is not None and device not in host.devices:
            raise InvalidSpec(f"explain: this host has no device {device}; state one that it has.")


def _address(name: str, value: t.Any) -> tuple[Address, str | None]:
    """An address, and the device that is stated behind it (``fe80::1%br0``)."""
    word, percent, device = str(value).strip().partition("%")
    try:
        found = ipaddress.ip_address(word)
    except ValueError as exc:
        raise InvalidSpec(
            f"explain: {name} '{value}' is no address; write it like 192.168.0.11 or fd00:1::11."
        ) from exc
    if found.version == 6 and found.ipv4_mapped is not None:
        raise InvalidSpec(f"explain: {name} {value} is an address of IPv4; write it as {found.ipv4_mapped}.")
    if percent and not device:
        raise InvalidSpec(f"explain: {name} '{value}' names no device; write it like {found}%br0.")
    if percent:
        _check_device(f"the device of {name}", device)
        if found.version != 6 or not (found.is_link_local or found.is_multicast):
            raise InvalidSpec(f"explain: {name} {found} is not an address of one link; leave '%{device}' away.")
    return found, device if percent else None


def _check_device(name: str, device: str) -> None:
    if not shape.is_device(device):
        raise InvalidSpec(f"explain: {name} '{device}' is no name of a device; {shape.DEVICES}.")
    if device == "lo":
        raise InvalidSpec(f"explain: {name} is lo, by which only the host itself sends; leave it away.")


def _check_source(source: Address, destination: Address) -> None:
    if source.version != destination.version:
        raise InvalidSpec(f"explain: {source} and {destination} are not of the same version of IP; state two that are.")
    if source.is_multicast or source == _ALL:
        raise InvalidSpec(f"explain: source {source} is no address that a packet can come from; state another one.")
    if source.is_unspecified and not (destination.is_multicast or destination == _ALL):
        raise InvalidSpec(
            f"explain: source {source} is who has no address yet, and asks all on its network only; state another destination"
            f" than {destination}."
        )


def _one_link(source: Address, link: str | None, other: str | None, device: str | None) -> str | None:
    """The one device that all of them name."""
    named = list(dict.fromkeys(one for one in (link, other, device) if one is not None))
    if len(named) > 1 and (link or other):
        raise InvalidSpec(
            f"explain: {' and '.join(named)} are two devices, and an address of a link is on one; state the same for {source} and"
            " the others."
        )
    return link or other


def _check_link(source: Address | None, destination: Address, device: str | None) -> None:
    """Who has no address yet, and what each link has for itself, does not tell which link it is."""
    if device is not None:
        return
    if source is not None and source.is_unspecified:
        raise InvalidSpec(f"explain: {source} does not tell by which device it comes; state in_interface.")
    for name, one in (("source", source), ("destination", destination)):
        if one is not None and one.version == 6 and (one.is_link_local or one.is_multicast):
            raise InvalidSpec(
                f"explain: {name} {one} may be on any link; state the device, like {one}%br0."
                if source is None or name == "destination"
                else f"explain: source {one} may be on any link; state in_interface, or the device like {one}%br0."
            )


def _protocol(value: t.Any, destination: Address) -> tuple[int, str]:
    word = "tcp" if value is None else str(value).strip().lower()
    number = protocol_number(word)
    if number is None or not 0 < number < 256:
        raise InvalidSpec(f"explain: protocol '{value}' is not known; state tcp, udp, icmp or a number from 1 to 255.")
    if word == "icmp" and destination.version == 6:
        number = 58
    word, version = _ICMP.get(number, (word, destination.version))
    if version != destination.version:
        raise InvalidSpec(
            f"explain: protocol {value} is of IPv{version}, and {destination} is an address of IPv{destination.version}; state icmp."
        )
    return number, word


def _port(name: str, port: int | None, protocol: int, word: str) -> int | None:
    if port is not None and protocol not in WITH_PORTS:
        raise InvalidSpec(f"explain: {word} has no ports; leave {name} away.")
    if port is not None and not 0 < port < 65536:
        raise InvalidSpec(f"explain: {name} {port} is no port; state one from 1 to 65535.")
    return port
