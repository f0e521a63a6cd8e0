# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, network: ifupdown's interfaces(5). Pure.

Vlans and bonds are made with ip(8), which ifupdown needs anyway: its own words for them work only with packages that a
small guest has not.
"""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._image.interfaces import Bond, Interface, Route
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.network import common
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.network.common import HEAD

FOLDER = "/etc/network"
INTERFACES = f"{FOLDER}/interfaces"
#: The files in it are read as well.
MORE = f"{FOLDER}/interfaces.d"
RESOLV_CONF = "/etc/resolv.conf"


def interfaces(items: t.Sequence[Interface]) -> str:
    """The text of ifupdown's interfaces file."""
    parts = common.bonds(items)
    blocks = [f"source {MORE}/*\n", "auto lo\niface lo inet loopback\n"]
    blocks += [_stanzas(item, item.name in parts) for item in common.ordered(items)]
    return HEAD + "\n".join(blocks)


def resolv_conf(items: t.Sequence[Interface]) -> str:
    """The resolver's file from all interfaces; empty when none names a server or a domain."""
    # The resolver reads three servers and ignores the rest.
    servers = list(dict.fromkeys(server for item in items for server in item.nameservers))[:3]
    search = list(dict.fromkeys(domain for item in items for domain in item.search))
    if not servers and not search:
        return ""
    return HEAD + (f"search {' '.join(search)}\n" if search else "") + "".join(f"nameserver {s}\n" for s in servers)


def only_loopback(text: str) -> bool:
    """Whether an interfaces file is as a distribution's package has it: nobody's work is lost with it."""
    usual = ("source", "source-directory", "auto lo", "allow-hotplug lo", "iface lo inet loopback")
    for line in text.splitlines():
        words = " ".join(line.split())
        if (
            words
            and not words.startswith("#")
            and words not in usual
            and words.split(" ", maxsplit=1)[0] not in usual[:2]
        ):
            return False
    return True


def concerns(text: str, names: t.Collection[str]) -> bool:
    """Whether a file in interfaces.d sets up an interface with one of these names."""
    words = (line.split() for line in text.splitlines())
    return any(line[:1] == ["iface"] and len(line) > 1 and line[1].partition(":")[0] in names for line in words)


def _stanzas(item: Interface, part: bool) -> str:
    """All stanzas of one interface; ifupdown takes one per address."""
    stanzas: list[list[str]] = []
    for version, family in ((4, "inet"), (6, "inet6")):
        own, gateway = common.of_version(item.addresses, version), common.gateway(item, version)
        if common.dhcp(item, version):
            stanzas.append([f"iface {item.name} {family} dhcp"])
        for number, text in enumerate(own):
            stanzas.append([f"iface {item.name} {family} static", f"address {text}"])
            if gateway is not None and number == 0 and not common.on_link(item, version):
                stanzas[-1].append(f"gateway {gateway}")
        commands = [
            _route(item.name, version, route) for route in item.routes if common.version_of(route.via) == version
        ]
        if gateway is not None and (not own or common.on_link(item, version)):
            commands.insert(0, f"up ip -{version} route replace default via {gateway} dev {item.name} onlink")
        if commands and not (common.dhcp(item, version) or own):
            stanzas.append([f"iface {item.name} {family} manual", "up ip link set dev $IFACE up"])
        if commands:
            stanzas[-1] += commands
    if not stanzas:
        # What is part of a bond is started by it.
        stanzas.append([f"iface {item.name} inet manual", *([] if part else ["up ip link set dev $IFACE up"])])
    stanzas[0][1:1] = _common(item)
    lines = [f"auto {item.name}"]
    for head, *options in stanzas:
        lines += [head, *(f"    {line}" for line in options)]
    return "\n".join(lines) + "\n"


def _common(item: Interface) -> list[str]:
    lines = []
    if item.kind != "ethernet":
        lines += _made(item)
    if item.mtu is not None:
        # The DHCP method has no option for it; this works with every method.
        lines.append(f"pre-up ip link set dev $IFACE mtu {item.mtu}")
    if item.nameservers:
        lines.append(f"dns-nameservers {' '.join(item.nameservers)}")
    if item.search:
        lines.append(f"dns-search {' '.join(item.search)}")
    if item.kind != "ethernet":
        lines.append("post-down ip link del dev $IFACE")
    return lines


def _made(item: Interface) -> list[str]:
    """What makes a vlan or a bond, also when ifupdown itself has already made it from its name."""
    kind = f"type vlan id {item.id}" if item.parameters is None else f"type bond {_bond(item.parameters)}"
    below = f"link {item.link} " if item.link is not None else ""
    lines = [f"pre-up ip link show dev $IFACE >/dev/null 2>&1 || ip link add {below}name $IFACE {kind}"]
    for name in item.interfaces:
        # A bond takes only what is down.
        lines += [f"pre-up ip link set dev {name} down", f"pre-up ip link set dev {name} master $IFACE"]
    if item.parameters is not None and item.parameters.primary is not None:
        # Known to the bond only after it has been taken.
        lines.append(f"pre-up ip link set dev $IFACE type bond primary {item.parameters.primary}")
    return lines


def _bond(bond: Bond) -> str:
    words = [f"mode {bond.mode}", f"miimon {bond.mii_monitor_interval}"]
    words += [f"lacp_rate {bond.lacp_rate}"] if bond.lacp_rate else []
    words += [f"xmit_hash_policy {bond.transmit_hash_policy}"] if bond.transmit_hash_policy else []
    return " ".join(words)


def _route(name: str, version: int, route: Route) -> str:
    metric = "" if route.metric is None else f" metric {route.metric}"
    return f"up ip -{version} route replace {route.to} via {route.via} dev {name}{metric}"
