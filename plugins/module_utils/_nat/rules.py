# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The thirteen rules and what options make of them: specification -> rules, and the way back from rules that nobody recorded. Pure."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.forwards import Forward
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.shape import THIRTEEN, Shape
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.values import (
    bracketed,
    host,
    of_version,
    span,
)

_REJECT = {
    4: "-j REJECT --reject-with icmp-port-unreachable",
    6: "-j REJECT --reject-with icmp6-port-unreachable",
}
#: A network as iptables-save writes it; one with a mask that is no prefix is nobody's subnet.
_PREFIX = re.compile(r"[0-9.]+/[0-9]+")
#: How libvirt's own chains begin.
LIBVIRT = "LIBVIRT_"
#: Packets that are for all on a network: a masqueraded DHCP answer would come from the wrong port.
_LOCAL = {4: ("224.0.0.0/24", "255.255.255.255/32"), 6: ("ff02::/16",)}
_DHCP = {4: (("udp", 67), ("tcp", 67)), 6: (("udp", 547),)}
#: Router and neighbour discovery: without it there is no IPv6 on a link.
_DISCOVERY = (133, 134, 135, 136)
#: Addresses of the host by which its ports are not forwarded: those of one link or of the host alone cannot lead to a guest.
_UNLESS = {
    4: {"PREROUTING": "", "OUTPUT": " ! -d 127.0.0.0/8"},
    6: {"PREROUTING": " ! -d fe80::/10", "OUTPUT": " ! -d ::1/128"},
}
#: Addresses that nobody outside knows the way to; others are routed.
_UNIQUE_LOCAL = ipaddress.IPv6Network("fc00::/7")


class Neighbour(t.NamedTuple):
    """Another bridge of this module, what it says about traffic between bridges, and the ports that lead to its guests."""

    bridge: str
    inter_bridge: str
    port_forwards: tuple[Forward, ...] = ()
    subnets: tuple[str, ...] | None = None


def render(
    bridge: str,
    subnets: t.Sequence[str],
    shape: Shape = THIRTEEN,
    neighbours: t.Sequence[Neighbour] = (),
    version: int = 4,
) -> Tables:
    """The rules of a bridge for one version of IP, each as iptables-save writes it; none without a subnet of that version.

    With several subnets the rules of a subnet come once for each, the rules of the bridge once: the two that refuse
    the rest are last, or they would refuse the second subnet.
    """
    subnets = of_version(subnets, version)
    if not subnets:
        return {}
    ports = _of_version(shape.port_forwards, version)
    nat = _hairpin(subnets, ports)
    # First of all: it is refused by what follows, of this bridge and of others.
    forward = _let_in(ports, f"-o {bridge}")
    forward += _between(bridge, subnets, shape, neighbours, version)
    for subnet in subnets:
        nat += _outward(subnet, shape, version)
        forward += _through(bridge, subnet, shape, bool(ports))
    forward.append(f"-i {bridge} -o {bridge} -j ACCEPT")
    forward += [f"{way} {bridge} {_REJECT[version]}" for way in ("-o", "-i")]
    fill = f"-o {bridge} -p udp -m udp --dport 68 -j CHECKSUM --checksum-fill"
    return {
        "filter": {"INPUT": _served(bridge, shape, version), "FORWARD": forward},
        "mangle": {"POSTROUTING": [fill] if shape.checksum_fill and version == 4 else []},
        "nat": {"POSTROUTING": nat, **_redirections(ports, version)},
    }


def is_routed(subnet: str) -> bool:
    """Whether the world knows the way to it, so that nothing is masqueraded and nothing refused."""
    network = ipaddress.ip_network(subnet)
    return isinstance(network, ipaddress.IPv6Network) and not network.overlaps(_UNIQUE_LOCAL)


def _served(bridge: str, shape: Shape, version: int) -> list[str]:
    found = [f"-p ipv6-icmp -m icmp6 --icmpv6-type {kind}" for kind in (_DISCOVERY if version == 6 else ())]
    served = [(protocol, 53) for protocol in ("udp", "tcp") if shape.dns] + [*(_DHCP[version] if shape.dhcp else ())]
    found += [f"-p {protocol} -m {protocol} --dport {port}" for protocol, port in served]
    return [f"-i {bridge} {one} -j ACCEPT" for one in found]


def _outward(subnet: str, shape: Shape, version: int) -> list[str]:
    """What guests are seen with outside."""
    if is_routed(subnet):
        return []
    out = f" -o {shape.out_interface}" if shape.out_interface else ""
    found = [f"-s {subnet} -d {local} -j RETURN" for local in _LOCAL[version] if shape.exempt_local]
    return found + [f"-s {subnet} ! -d {subnet}{out}{words}" for words in _masquerade(shape, version)]


def _through(bridge: str, subnet: str, shape: Shape, answers: bool) -> list[str]:
    """What passes between a subnet and the world."""
    out = f" -o {shape.out_interface}" if shape.out_interface else ""
    known = "-m state --state RELATED,ESTABLISHED -j ACCEPT"
    found = [
        f"-d {subnet} -o {bridge} -j ACCEPT" if is_routed(subnet) else f"-d {subnet} -o {bridge} {known}",
        f"-s {subnet} -i {bridge}{out} -j ACCEPT",
    ]
    # Who came to a forwarded port by another device gets the answer there.
    return [*found, f"-s {subnet} -i {bridge} {known}"] if out and answers else found


def _of_version(some: t.Iterable[Forward], version: int) -> list[Forward]:
    return [one for one in some if one.version in (version, None)]


def _redirections(some: t.Sequence[Forward], version: int) -> dict[str, list[str]]:
    """DNAT of what comes to the host, and of what the host itself sends to its own addresses."""
    chains: dict[str, list[str]] = {}
    for chain, unless in _UNLESS[version].items():
        for one in some:
            for source in _sources(one):
                to = f"{source}{f' -d {host(one.listen_address)}' if one.listen_address else unless}"
                local = "" if one.listen_address else " -m addrtype --dst-type LOCAL"
                rule = (
                    f"{to}{_ports(one.protocol, one.listen_port)}{local} -j DNAT --to-destination {_destination(one)}"
                )
                if one.to_address is not None:
                    chains.setdefault(chain, []).append(rule.strip())
    return chains


def _let_in(some: t.Sequence[Forward], ways: str) -> list[str]:
    """What makes forwarded connections pass, whatever is refused behind it."""
    found = [
        f"{source} -d {host(one.to_address)} {ways}{_ports(one.protocol, one.to_port)} -m conntrack --ctstate DNAT -j ACCEPT"
        for one in some
        if one.to_address is not None
        for source in _sources(one)
    ]
    # Several ports of the host may lead to the same of a guest.
    return [rule.strip() for rule in dict.fromkeys(found)]


def _hairpin(subnets: t.Sequence[str], some: t.Sequence[Forward]) -> list[str]:
    """Guests that come to a guest by a port of the host have to be answered by the host, not past it."""
    found = [
        f"-s {subnet} -d {host(one.to_address)}{_ports(one.protocol, one.to_port)} -m conntrack --ctstate DNAT -j MASQUERADE"
        for one in some
        if one.to_address is not None and one.hairpin
        for subnet in subnets
        if _is_for(one, subnet)
    ]
    return list(dict.fromkeys(found))


def _is_for(one: Forward, subnet: str) -> bool:
    network = ipaddress.ip_network(subnet)
    return not one.source or any(network.overlaps(ipaddress.ip_network(source)) for source in one.source)


def _sources(one: Forward) -> list[str]:
    return [f" -s {source}" for source in one.source] or [""]


def _ports(protocol: str, ports: str) -> str:
    return f" -p {protocol} -m {protocol} --dport {ports.replace('-', ':')}"


def _destination(one: Forward) -> str:
    """Without a port it stays as it is; a range that goes to another one is moved as a whole."""
    (low, high), (first, last) = span(one.listen_port), span(one.to_port)
    target = bracketed(str(one.to_address))
    if first == last:
        return f"{target}:{first}"
    return str(one.to_address) if (low, high) == (first, last) else f"{target}:{first}-{last}/{low}"


def _masquerade(shape: Shape, version: int) -> list[str]:
    ports = shape.masquerade_ports
    seen = shape.snat_address if version == 4 else shape.snat_address6
    if seen:
        target, with_ports = f"-j SNAT --to-source {seen}", f"-j SNAT --to-source {bracketed(seen)}:{ports}"
    else:
        target, with_ports = "-j MASQUERADE", f"-j MASQUERADE --to-ports {ports}"
    return [*(f" -p {protocol} {with_ports}" for protocol in ("tcp", "udp")), f" {target}"]


def _between(
    bridge: str, subnets: t.Sequence[str], shape: Shape, neighbours: t.Sequence[Neighbour], version: int
) -> list[str]:
    """What comes first, so that it does not depend on whose rules are before whose.

    Each bridge refuses what leaves it, as only its own rules would let that through; and it lets in and out what both want,
    as the rules of either would refuse it. What was forwarded to a port of the host is for everybody.
    """
    found: list[str] = []
    for other, theirs, ports, networks in neighbours:
        if other == shape.out_interface or (networks is not None and not of_version(networks, version)):
            # Its guests are meant to leave that way; or there is nobody of that version.
            continue
        if shape.out_interface:
            # Ports of the host are no way out.
            found += _let_in(_of_version(ports, version), f"-i {bridge} -o {other}")
        if "isolate" in (shape.inter_bridge, theirs):
            found.append(f"-i {bridge} -o {other} -m conntrack ! --ctstate DNAT {_REJECT[version]}")
        elif shape.inter_bridge == theirs == "allow":
            for subnet in subnets:
                found.append(f"-s {subnet} -i {bridge} -o {other} -j ACCEPT")
                found.append(f"-d {subnet} -i {other} -o {bridge} -j ACCEPT")
    return found


def recognise(bridge: str, found: Tables) -> tuple[str, ...]:
    """The subnets whose five rules are all there for the bridge, though no record says who made them.

    A single rule that looks alike may be somebody's own and proves nothing; the five of them are the recipe.
    """
    start, end = "-s ", f" -i {bridge} -j ACCEPT"
    subnets: list[str] = []
    for rule in tables.get(found, "filter", "FORWARD"):
        if not (rule.endswith(end) and rule.startswith(start)):
            continue
        subnet = rule[len(start) : -len(end)]
        if _PREFIX.fullmatch(subnet) is None or subnet in subnets:
            continue
        wanted = render(bridge, [subnet])
        forward = set(wanted["filter"]["FORWARD"][:2])
        if forward <= set(tables.get(found, "filter", "FORWARD")) and set(wanted["nat"]["POSTROUTING"]) <= set(
            tables.get(found, "nat", "POSTROUTING")
        ):
            subnets.append(subnet)
    return tuple(subnets)


def union(*several: Tables) -> Tables:
    """All rules of several, each once."""
    result: Tables = {}
    for one in several:
        for table, chains in one.items():
            for chain, rules in chains.items():
                known = result.setdefault(table, {}).setdefault(chain, [])
                known += [rule for rule in rules if rule not in known]
    return result


def without(some: Tables, others: Tables) -> Tables:
    """The rules of ``some`` that ``others`` has not."""
    result: Tables = {}
    for table, chains in some.items():
        for chain, rules in chains.items():
            left = [rule for rule in rules if rule not in tables.get(others, table, chain)]
            if left:
                result.setdefault(table, {})[chain] = left
    return result


def names_bridge(bridge: str, found: Tables) -> list[tuple[str, str, str]]:
    """The rules of libvirt's own chains that name the bridge: table, chain, rule."""
    words = (f" -i {bridge} ", f" -o {bridge} ")
    return [
        (table, chain, rule)
        for table, chains in found.items()
        for chain, rules in chains.items()
        if chain.startswith(LIBVIRT)
        for rule in rules
        if any(word in f" {rule} " for word in words)
    ]
