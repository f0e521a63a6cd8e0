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
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.values import (
    Network,
    address,
    bracketed,
    of_version,
    ports,
    span,
    version,
)

#: Everybody, by version of IP.
_EVERYBODY = {4: "0.0.0.0/0", 6: "::/0"}


@dataclasses.dataclass(frozen=True)
class Forward:
    """One port (or a range of them) of the host that a guest answers.

    ``listen_address`` None is every address of the host. ``to_address`` is None as long as nobody has looked where the
    ``domain`` is. ``source`` are the networks that it is for, none = everybody (all of one version of IP only where nothing
    else says which version is meant).
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
        at = f"{bracketed(self.listen_address)}:" if self.listen_address else "port "
        return f"{self.protocol} {at}{self.listen_port}"

    @property
    def version(self) -> int | None:
        """4 or 6; None while it is for whatever addresses the domain has."""
        said = self.to_address or self.listen_address or next(iter(self.source), None)
        return version(said) if said is not None else None

    def at(self, target: str) -> Forward:
        """The same for a domain that is at an address."""
        everybody = self.source == (_EVERYBODY[version(target)],)
        return dataclasses.replace(self, to_address=target, source=() if everybody else self.source)


def parse(bridge: str, subnets: t.Sequence[str], entries: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[Forward, ...]:
    """The option port_forwards of one bridge; raises InvalidSpec with a sentence that names the bridge."""
    found: list[Forward] = []
    for entry in entries:
        one = _forward(f"nat of bridge {bridge}: port_forwards", subnets, entry)
        for other in found:
            if clash(one, other):
                raise InvalidSpec(
                    f"nat of bridge {bridge}: port_forwards {other} and {one} are about the same port of the host; a port has"
                    f" one target: remove one of the two{way_out(other, one)}."
                )
        found.append(one)
    return tuple(found)


def read(entries: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[Forward, ...]:
    """Those of a record; raises TypeError when they are of a version that knows more."""
    return tuple(Forward(**{**entry, "source": tuple(entry.get("source", ()))}) for entry in entries)


def clash(one: Forward, other: Forward) -> bool:
    """Whether a packet could be meant by both."""
    if one.protocol != other.protocol or len({one.version, other.version} - {None}) == 2:
        return False
    if None not in (one.listen_address, other.listen_address) and one.listen_address != other.listen_address:
        return False
    (low, high), (first, last) = span(one.listen_port), span(other.listen_port)
    return low <= last and first <= high


def way_out(*both: Forward) -> str:
    """What else can be done about two that are about the same port."""
    if all(one.version for one in both):
        return ""
    return ", or say of which version of IP the one of a domain is (source: [0.0.0.0/0] or ['::/0'])"


def first_clash(some: t.Iterable[Forward], others: t.Iterable[Forward]) -> tuple[Forward, Forward] | None:
    """Two forwards of two bridges that are about the same port of the host."""
    theirs = list(others)
    return next(((one, other) for one in some for other in theirs if clash(one, other)), None)


def within(value: str, subnets: t.Iterable[str]) -> bool:
    """Whether an address can be a guest's in one of the subnets."""
    found = ipaddress.ip_address(value)
    for network in map(ipaddress.ip_network, of_version(subnets, found.version)):
        if found in network:
            # Of IPv6 the first one is that of all routers, and the last one is like any other.
            ends = (network[0], network[-1]) if found.version == 4 else (network[0],)
            return network.num_addresses <= 2 or found not in ends
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
    return _one_version(f"{what} {one}", subnets, dataclasses.replace(one, domain=domain, to_address=target))


def _one_version(what: str, subnets: t.Sequence[str], one: Forward) -> Forward:
    """The forward, when all of its addresses are of one version of IP and the bridge has subnets of it."""
    said = {"listen_address": one.listen_address, "to_address": one.to_address, "source": next(iter(one.source), None)}
    versions = {name: version(value) for name, value in said.items() if value is not None}
    if len(set(versions.values())) > 1:
        parts = [f"{name} {said[name]} is of IPv{number}" for name, number in versions.items()]
        raise InvalidSpec(
            f"{what}: {' and '.join(parts)}; a forward is of one version of IP: state addresses of one, and a second forward for"
            " the other."
        )
    if subnets and one.version is not None and not of_version(subnets, one.version):
        raise InvalidSpec(
            f"{what}: it is of IPv{one.version}, and the bridge has no subnet of that ({', '.join(subnets)}); state one, or"
            " addresses of the other version."
        )
    return one if one.to_address is None else one.at(one.to_address)


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
    networks: list[Network] = []
    for value in values:
        text = str(value).strip()
        try:
            networks.append(ipaddress.ip_network(text if "%" not in text else "", strict=False))
        except ValueError as exc:
            raise InvalidSpec(
                f"{what}: source '{value}' is no network and no address; write it like 198.51.100.0/24 or 2001:db8:1::/64."
            ) from exc
    if len({network.version for network in networks}) > 1:
        raise InvalidSpec(
            f"{what}: source has networks of IPv4 and of IPv6; a forward is of one version of IP: state those of one, and a second"
            " forward for the other."
        )
    return tuple(str(network) for network in ipaddress.collapse_addresses(networks))  # type: ignore[type-var]
