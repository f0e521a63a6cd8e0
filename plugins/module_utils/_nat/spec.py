# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""NAT: the parameters as a typed, validated specification. Pure."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

_BRIDGE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")


@dataclasses.dataclass(frozen=True)
class NatSpec:
    """The NAT of one bridge. ``subnets`` are networks in CIDR form with the host bits masked, in the stated order."""

    bridge: str
    state: str = "present"
    subnets: tuple[str, ...] = ()
    backend: str = "auto"
    ip_forward: str = "enable"
    persist: str = "auto"


def parse(params: dict[str, t.Any]) -> NatSpec:
    """The options of one NAT to its specification; raises InvalidSpec with a sentence that names the bridge."""
    bridge = params["bridge"]
    if not _BRIDGE.fullmatch(bridge):
        raise InvalidSpec(
            f"nat of bridge '{bridge}': that is no name for a bridge; up to 15 letters, digits, '_', '.' and '-',"
            " the first of them a letter, a digit or '_' (iptables would take other signs as a pattern)."
        )
    spec = NatSpec(
        bridge=bridge,
        state=params.get("state") or "present",
        subnets=_subnets(bridge, params.get("subnets") or ()),
        backend=params.get("backend") or "auto",
        ip_forward=params.get("ip_forward") or "enable",
        persist=params.get("persist") or "auto",
    )
    if spec.state == "present" and not spec.subnets:
        raise InvalidSpec(f"nat of bridge {bridge}: it needs subnets, the networks of the guests behind the bridge.")
    return spec


def check_together(specs: t.Sequence[NatSpec]) -> None:
    """No two bridges of one call may have overlapping subnets: their masquerade rules would be each other's."""
    taken: list[tuple[str, str]] = []
    for spec in specs:
        if spec.state == "absent":
            continue
        for subnet in spec.subnets:
            for bridge, other in taken:
                if overlap(subnet, other):
                    raise InvalidSpec(
                        f"nats of bridges {bridge} and {spec.bridge}: {other} and {subnet} overlap; give each bridge its own subnets."
                    )
        taken += [(spec.bridge, subnet) for subnet in spec.subnets]


def overlap(subnet: str, other: str) -> bool:
    """Whether two subnets share an address."""
    return ipaddress.IPv4Network(subnet).overlaps(ipaddress.IPv4Network(other))


def _subnets(bridge: str, values: t.Sequence[str]) -> tuple[str, ...]:
    networks: list[ipaddress.IPv4Network] = []
    for value in values:
        network = _subnet(bridge, str(value).strip())
        for other in networks:
            if other == network:
                raise InvalidSpec(
                    f"nat of bridge {bridge}: subnet {_shown(value, network)} is there twice; state it once."
                )
            if other.overlaps(network):
                raise InvalidSpec(
                    f"nat of bridge {bridge}: subnets {other} and {_shown(value, network)} overlap; state the larger one only."
                )
        networks.append(network)
    return tuple(str(network) for network in networks)


def _shown(value: str, network: ipaddress.IPv4Network) -> str:
    return str(network) if str(value) == str(network) else f"{value} (that is {network})"


def _subnet(bridge: str, value: str) -> ipaddress.IPv4Network:
    what = f"nat of bridge {bridge}: subnet '{value}'"
    if ":" in value:
        raise InvalidSpec(f"{what} is IPv6, which this version does not masquerade; state IPv4 subnets only.")
    if "/" not in value:
        raise InvalidSpec(f"{what} has no prefix; write it like 192.168.0.0/24.")
    try:
        network = ipaddress.IPv4Network(value, strict=False)
    except ValueError as exc:
        raise InvalidSpec(f"{what} is no IPv4 network; write it like 192.168.0.0/24.") from exc
    if network.prefixlen == 0:
        raise InvalidSpec(f"{what} is every address there is; state the network of the guests.")
    if network.is_multicast or network.is_loopback or network.network_address == ipaddress.IPv4Address(0):
        raise InvalidSpec(f"{what} ({network}) is no network that guests can have; state the network of the guests.")
    return network
