# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""NAT: the parameters as a typed, validated specification. Pure."""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import forwards, shape
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.shape import THIRTEEN, Shape
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.values import Network, version

#: What no guest has: addresses of a host itself, of all, of several, and what each link has for itself. (169.254.0.0/16 can be
#: routed, and is.)
_NOBODYS = tuple(
    map(
        ipaddress.ip_network,
        ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "::/16", "fe80::/10", "ff00::/8"),
    )
)

_ZONE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,20}")


@dataclasses.dataclass(frozen=True)
class NatSpec:
    """The NAT of one bridge. ``subnets`` are networks in CIDR form with the host bits masked, in the stated order."""

    bridge: str
    state: str = "present"
    subnets: tuple[str, ...] = ()
    backend: str = "auto"
    ip_forward: str = "enable"
    persist: str = "auto"
    firewalld_zone: str | None = None
    flush_conntrack: bool = False
    shape: Shape = THIRTEEN


def parse(params: dict[str, t.Any]) -> NatSpec:
    """The options of one NAT to its specification; raises InvalidSpec with a sentence that names the bridge."""
    bridge = params["bridge"]
    if not shape.is_device(bridge):
        raise InvalidSpec(
            f"nat of bridge '{bridge}': that is no name for a bridge; {shape.DEVICES} (iptables would take other signs as a pattern)."
        )
    if bridge == "lo":
        raise InvalidSpec(
            "nat of bridge lo: by lo the host reaches itself alone, no guest; state the bridge that guests are on."
        )
    subnets = _subnets(bridge, params.get("subnets") or ())
    spec = NatSpec(
        bridge=bridge,
        state=params.get("state") or "present",
        subnets=subnets,
        backend=params.get("backend") or "auto",
        ip_forward=params.get("ip_forward") or "enable",
        persist=params.get("persist") or "auto",
        firewalld_zone=_zone(bridge, params.get("firewalld_zone")),
        flush_conntrack=bool(params.get("flush_conntrack")),
        shape=shape.parse(bridge, subnets, params),
    )
    if spec.state == "present" and not spec.subnets:
        raise InvalidSpec(f"nat of bridge {bridge}: it needs subnets, the networks of the guests behind the bridge.")
    return spec


def check_together(specs: t.Sequence[NatSpec]) -> None:
    """No two bridges of one call may have overlapping subnets (their masquerade rules would be each other's) or one port."""
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
        _check_ports(spec, [other for other in specs if other is not spec and other.state != "absent"])
        taken += [(spec.bridge, subnet) for subnet in spec.subnets]


def _check_ports(spec: NatSpec, others: t.Sequence[NatSpec]) -> None:
    for other in others:
        both = forwards.first_clash(spec.shape.port_forwards, other.shape.port_forwards)
        if both is not None:
            raise InvalidSpec(
                f"nats of bridges {spec.bridge} and {other.bridge}: port_forwards {both[0]} and {both[1]} are about the same port of"
                f" the host; a port has one target: remove one of the two{forwards.way_out(*both)}."
            )


def overlap(subnet: str, other: str) -> bool:
    """Whether two subnets share an address."""
    one, two = _ends(subnet), _ends(other)
    return one[0] == two[0] and one[1] <= two[2] and two[1] <= one[2]


def overlapping(some: t.Iterable[str], others: t.Collection[str]) -> bool:
    """Whether any of some subnets shares an address with any of the others."""
    return any(overlap(subnet, other) for subnet in some for other in others)


# Each subnet is compared to all others.
@functools.lru_cache(maxsize=4096)
def _ends(subnet: str) -> tuple[int, int, int]:
    network = ipaddress.ip_network(subnet)
    return network.version, int(network[0]), int(network[-1])


def _zone(bridge: str, value: str | None) -> str | None:
    if value is not None and _ZONE.fullmatch(value) is None:
        raise InvalidSpec(
            f"nat of bridge {bridge}: firewalld_zone '{value}' is no name of a zone; take one that firewall-cmd --get-zones shows."
        )
    return value


def _subnets(bridge: str, values: t.Sequence[str]) -> tuple[str, ...]:
    networks: list[Network] = []
    for value in values:
        network = _subnet(bridge, str(value).strip())
        for other in networks:
            if other == network:
                raise InvalidSpec(
                    f"nat of bridge {bridge}: subnet {_shown(value, network)} is there twice; state it once."
                )
            if overlap(str(other), str(network)):
                raise InvalidSpec(
                    f"nat of bridge {bridge}: subnets {other} and {_shown(value, network)} overlap; state the larger one only."
                )
        networks.append(network)
    return tuple(str(network) for network in networks)


def _shown(value: str, network: Network) -> str:
    return str(network) if str(value) == str(network) else f"{value} (that is {network})"


def _subnet(bridge: str, value: str) -> Network:
    what = f"nat of bridge {bridge}: subnet '{value}'"
    like = "fd00:1::/64" if ":" in value else "192.168.0.0/24"
    if "/" not in value or "%" in value:
        raise InvalidSpec(f"{what} {'names a device' if '%' in value else 'has no prefix'}; write it like {like}.")
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError as exc:
        raise InvalidSpec(f"{what} is no IPv{version(value)} network; write it like {like}.") from exc
    if network.prefixlen == 0:
        raise InvalidSpec(f"{what} is every address there is; state the network of the guests.")
    if any(network.version == other.version and network.overlaps(other) for other in _NOBODYS):
        raise InvalidSpec(f"{what} ({network}) is no network that guests can have; state the network of the guests.")
    return network
