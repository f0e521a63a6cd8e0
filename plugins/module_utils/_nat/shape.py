# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""NAT: the options that make the rules of a bridge other than the thirteen, as declared and as recorded. Pure."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import forwards
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.forwards import Forward
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.values import address, of_version, ports, version

DEVICES = "up to 15 letters, digits, '_', '.' and '-', the first of them a letter, a digit or '_'"
_DEVICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")


@dataclasses.dataclass(frozen=True)
class Shape:
    """How the rules of a bridge are made; the defaults make the thirteen.

    The fields are options of the module; ``snat_address`` is that of IPv4, ``snat_address6`` that of IPv6.
    """

    exempt_local: bool = False
    inter_bridge: str = "recipe"
    out_interface: str | None = None
    snat_address: str | None = None
    masquerade_ports: str = "1024-65535"
    dns: bool = True
    dhcp: bool = True
    checksum_fill: bool = True
    port_forwards: tuple[Forward, ...] = ()
    snat_address6: str | None = None


#: What the guide has.
THIRTEEN = Shape()


def concern_others(shapes: t.Iterable[Shape]) -> bool:
    """Whether the rules of one of these bridges may be about another."""
    some = list(shapes)
    ports, out = any(one.port_forwards for one in some), any(one.out_interface for one in some)
    return (ports and out) or any(one.inter_bridge != "recipe" for one in some)


def is_device(name: str) -> bool:
    """Whether it is the plain name of a network device, no pattern and no option."""
    return _DEVICE.fullmatch(name) is not None


def parse(bridge: str, subnets: t.Sequence[str], params: t.Mapping[str, t.Any]) -> Shape:
    """The options of one NAT to its shape; raises InvalidSpec with a sentence that names the bridge."""
    names = [field.name for field in dataclasses.fields(Shape) if field.name != "snat_address6"]
    given = {name: params[name] for name in names if params.get(name) is not None}
    if "out_interface" in given:
        given["out_interface"] = _out_interface(bridge, given["out_interface"])
    if "snat_address" in given:
        given.update(_snat_addresses(bridge, subnets, given.pop("snat_address")))
    if "masquerade_ports" in given:
        given["masquerade_ports"] = ports(f"nat of bridge {bridge}: masquerade_ports", given["masquerade_ports"])
    if "port_forwards" in given:
        given["port_forwards"] = forwards.parse(bridge, subnets, given["port_forwards"])
    return Shape(**given)


def text(shape: Shape) -> str:
    """What differs from the thirteen rules, in one line; empty for these themselves."""
    if shape == THIRTEEN:
        return ""
    plain = dataclasses.asdict(THIRTEEN)
    left = {name: value for name, value in dataclasses.asdict(shape).items() if value != plain[name]}
    return json.dumps(left, sort_keys=True) if left else ""


def read(line: str) -> Shape:
    """A shape from its line; raises ValueError when it is none."""
    try:
        said = json.loads(line) if line else {}
        if "port_forwards" in said:
            said["port_forwards"] = forwards.read(said["port_forwards"])
        return Shape(**said)
    except TypeError as exc:
        raise ValueError(f"options that this version does not know: {line}") from exc


def _out_interface(bridge: str, value: str) -> str:
    if not is_device(value):
        raise InvalidSpec(f"nat of bridge {bridge}: out_interface '{value}' is no name of a device; {DEVICES}.")
    if value == "lo":
        raise InvalidSpec(
            f"nat of bridge {bridge}: out_interface is lo, by which nothing leaves the host; state the device that leads out of it."
        )
    if value == bridge:
        raise InvalidSpec(
            f"nat of bridge {bridge}: out_interface is the bridge itself; state the device that leads out of the host."
        )
    return value


def _snat_addresses(bridge: str, subnets: t.Sequence[str], values: t.Sequence[str]) -> dict[str, str]:
    """By field."""
    found: dict[str, str] = {}
    for value in values:
        one = _snat_address(bridge, subnets, value)
        name = "snat_address" if version(one) == 4 else "snat_address6"
        if name in found:
            raise InvalidSpec(
                f"nat of bridge {bridge}: snat_address has {found[name]} and {one}, which are both of IPv{version(one)}; state one of"
                " each version."
            )
        found[name] = one
    for one in found.values():
        if subnets and not of_version(subnets, version(one)):
            raise InvalidSpec(
                f"nat of bridge {bridge}: snat_address {one} is of IPv{version(one)}, and the bridge has no subnet of that"
                f" ({', '.join(subnets)}); state one, or leave the address out."
            )
    return found


def _snat_address(bridge: str, subnets: t.Sequence[str], value: str) -> str:
    found = address(f"nat of bridge {bridge}: snat_address", value)
    for subnet in of_version(subnets, found.version):
        if found in ipaddress.ip_network(subnet):
            raise InvalidSpec(
                f"nat of bridge {bridge}: snat_address {found} is in subnet {subnet}, where the guests are; state an address that"
                " the host has outside."
            )
    return str(found)
