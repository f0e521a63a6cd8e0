# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""NAT: ports of the host that are forwarded to guests, as declared and as recorded. Pure."""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.values import address, of_version, ports, span


@dataclasses.dataclass(frozen=True)
class Forward:
    """One port (or a range of them) of the host that a guest answers.

    ``listen_address`` None is every address of the host. ``to_address`` is None as long as nobody has looked where the
    ``domain`` is. ``source`` are the networks that it is for, none = everybody.
    """

    protocol: str
    listen_port: str
    to_port: str
    listen_address: str | None = None
    to_address: str | None = None
    domain: str | None = None
    source: tuple[str, ...] = ()
    hairpin: bool = True

    def __str__(self) -> str:
        at = f"{self.listen_address}:" if self.listen_address else "port "
        return f"{self.protocol} {at}{self.listen_port}"


def parse(bridge: str, subnets: t.Sequence[str], entries: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[Forward, ...]:
    """The option port_forwards of one bridge; raises InvalidSpec with a sentence that names the bridge."""
    found: list[Forward] = []
    for entry in entries:
        one = _forward(f"nat of bridge {bridge}: port_forwards", subnets, entry)
        for other in found:
            if clash(one, other):
                raise InvalidSpec(
                    f"nat of bridge {bridge}: port_forwards {other} and {one} are about the same port of the host; a port has"
                    " one target: remove one of the two."
                )
        found.append(one)
    return tuple(found)


def read(entries: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[Forward, ...]:
    """Those of a record; raises TypeError when they are of a version that knows more."""
    return tuple(Forward(**{**entry, "source": tuple(entry.get("source", ()))}) for entry in entries)


def clash(one: Forward, other: Forward) -> bool:
    """Whether a packet could be meant by both."""
    if one.protocol != other.protocol:
        return False
    if None not in (one.listen_address, other.listen_address) and one.listen_address != other.listen_address:
        return False
    (low, high), (first, last) = span(one.listen_port), span(other.listen_port)
    return low <= last and first <= high


def first_clash(some: t.Iterable[Forward], others: t.Iterable[Forward]) -> tuple[Forward, Forward] | None:
    """Two forwards of two bridges that are about the same port of the host."""
    theirs = list(others)
    return next(((one, other) for one in some for other in theirs if clash(one, other)), None)


def within(value: str, subnets: t.Iterable[str]) -> bool:
    """Whether an address can be a guest's in one of the subnets."""
    found = ipaddress.IPv4Address(value)
    for subnet in of_version(subnets, 4):
        network = ipaddress.IPv4Network(subnet)
        if found in network:
            return network.prefixlen > 30 or found not in (network.network_address, network.broadcast_address)
    return False


def _forward(what: str, subnets: t.Sequence[str], entry: t.Mapping[str, t.Any]) -> Forward:
    if entry.get("listen_port") is None:
        raise InvalidSpec(f"{what}: listen_port is missing; state the port of the host, or a range like 8000-8010.")
    listen_port = ports(f"{what}: listen_port", entry["listen_port"])
    listen_address = None
    if entry.get("listen_address") is not None:
        listen_address = str(address(f"{what}: listen_address", entry["listen_address"]))
    one = Forward(
        protocol=entry.get("protocol") or "tcp",
        listen_port=listen_port,
        to_port=listen_port if entry.get("to_port") is None else ports(f"{what}: to_port", entry["to_port"]),
        listen_address=listen_address,
        source=_source(what, entry.get("source") or ()),
        hairpin=entry.get("hairpin") is not False,
    )
    (low, high), (first, last) = span(one.listen_port), span(one.to_port)
    if first != last and high - low != last - first:
        raise InvalidSpec(
            f"{what} {one}: to_port {one.to_port} is not as many ports as listen_port; state as many, or one port for all of them."
        )
    domain, target = _target(f"{what} {one}", subnets, one, entry)
    return dataclasses.replace(one, domain=domain, to_address=target)


def _target(
    what: str, subnets: t.Sequence[str], one: Forward, entry: t.Mapping[str, t.Any]
) -> tuple[str | None, str | None]:
    domain, stated = entry.get("domain"), entry.get("to_address")
    if (domain is None) == (stated is None):
        raise InvalidSpec(f"{what}: it goes either to_address or to a domain; state one of the two.")
    if stated is None:
        if not str(domain).strip():
            raise InvalidSpec(f"{what}: domain is empty; state the name of a domain.")
        return str(domain), None
    target = str(address(f"{what}: to_address", stated))
    if subnets and not within(target, subnets):
        raise InvalidSpec(
            f"{what}: to_address {target} is no address of a guest in {', '.join(subnets)}; state one that is."
        )
    if target == one.listen_address:
        raise InvalidSpec(
            f"{what}: listen_address and to_address are the same; state an address of the host to listen on."
        )
    return None, target


def _source(what: str, values: t.Sequence[str]) -> tuple[str, ...]:
    networks: list[ipaddress.IPv4Network] = []
    for value in values:
        try:
            networks.append(ipaddress.IPv4Network(str(value).strip(), strict=False))
        except ValueError as exc:
            raise InvalidSpec(
                f"{what}: source '{value}' is no IPv4 network and no address; write it like 198.51.100.0/24."
            ) from exc
    found = tuple(str(network) for network in ipaddress.collapse_addresses(networks))
    return () if found == ("0.0.0.0/0",) else found
