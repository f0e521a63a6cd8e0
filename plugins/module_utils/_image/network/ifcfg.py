# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, network: the ifcfg files of Red Hat's systems up to RHEL 8 (initscripts' sysconfig.txt, nm-settings-ifcfg-rh(5)).
Pure. Only what both readers of them, the network scripts and NetworkManager, understand."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.interfaces import Bond, Interface
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.network import common

FOLDER = "/etc/sysconfig/network-scripts"
OWN = re.compile(r"(?:ifcfg|route6?|rule6?)-.+")
_NOT_READ = ("~", ".bak", ".orig", ".rpmnew")


def texts(items: t.Sequence[Interface]) -> dict[str, str]:
    """The files, path to text, with those that give names; raises InvalidSpec for what these files cannot say."""
    found = common.links(items, old=True)
    parts = common.bonds(items)
    for item in items:
        lines = [*_device(item, parts.get(item.name)), *_ipv4(item), *_ipv6(item), *_resolver(item)]
        found[f"{FOLDER}/ifcfg-{item.name}"] = common.HEAD + "".join(f"{line}\n" for line in lines)
        for version, name in ((4, "route"), (6, "route6")):
            routes = _routes(item, version)
            if routes:
                found[f"{FOLDER}/{name}-{item.name}"] = common.HEAD + "".join(f"{line}\n" for line in routes)
    return found


def fights(name: str, names: t.Collection[str]) -> bool:
    """Whether a file of somebody else is read: another interface, or routes and rules of one of the interfaces ``names``."""
    kind, _sign, interface = name.partition("-")
    if name.endswith(_NOT_READ) or not OWN.fullmatch(name):
        return False
    return interface != "lo" if kind == "ifcfg" else interface in names


def _device(item: Interface, bond: Interface | None) -> list[str]:
    types = {"ethernet": "Ethernet", "bond": "Bond", "vlan": "Vlan"}
    lines = [f"DEVICE={item.name}", f"NAME=kvm-{item.name}", f"TYPE={types[item.kind]}", "ONBOOT=yes"]
    if item.mac is not None:
        lines.append(f"HWADDR={item.mac.upper()}")
    if item.mtu is not None:
        lines.append(f"MTU={item.mtu}")
    if item.id is not None:
        if item.name not in (f"{item.link}.{item.id}", f"vlan{item.id}"):
            raise InvalidSpec(
                f"customize.interfaces: this guest's network scripts take the id of a vlan from its name; call"
                f" {item.name} {item.link}.{item.id} or vlan{item.id}."
            )
        lines += ["VLAN=yes", f"PHYSDEV={item.link}", f"VLAN_ID={item.id}"]
    if item.parameters is not None:
        lines += ["BONDING_MASTER=yes", f'BONDING_OPTS="{_bond(item.parameters)}"']
    return lines if bond is None else [*lines, f"MASTER={bond.name}", "SLAVE=yes"]


def _bond(bond: Bond) -> str:
    found = {
        "mode": bond.mode,
        "miimon": bond.mii_monitor_interval,
        "primary": bond.primary,
        "lacp_rate": bond.lacp_rate,
        "xmit_hash_policy": bond.transmit_hash_policy,
    }
    return " ".join(f"{word}={value}" for word, value in found.items() if value is not None)


def _ipv4(item: Interface) -> list[str]:
    own = common.of_version(item.addresses, 4)
    lines = [f"BOOTPROTO={'dhcp' if item.dhcp4 else 'none'}"]
    for number, text in enumerate(own):
        address, _slash, prefix = text.partition("/")
        mark = str(number) if number else ""
        lines += [f"IPADDR{mark}={address}", f"PREFIX{mark}={prefix}"]
    if item.gateway4 is not None and own and not common.on_link(item, 4):
        lines.append(f"GATEWAY={item.gateway4}")
    return lines


def _ipv6(item: Interface) -> list[str]:
    own = common.of_version(item.addresses, 6)
    if not item.dhcp6 and not own:
        return []
    lines = ["IPV6INIT=yes", f"IPV6_AUTOCONF={'yes' if item.dhcp6 else 'no'}"]
    if item.dhcp6:
        lines.append("DHCPV6C=yes")
    if own:
        lines.append(f"IPV6ADDR={own[0]}")
    if own[1:]:
        lines.append(f'IPV6ADDR_SECONDARIES="{" ".join(own[1:])}"')
    if item.gateway6 is not None and own:
        # Without its interface a link-local gateway leads nowhere.
        scope = f"%{item.name}" if item.gateway6.startswith(("fe8", "fe9", "fea", "feb")) else ""
        lines.append(f"IPV6_DEFAULTGW={item.gateway6}{scope}")
    return lines


def _resolver(item: Interface) -> list[str]:
    lines = [f"DNS{number}={text}" for number, text in enumerate(item.nameservers, 1)]
    return lines + ([f'DOMAIN="{" ".join(item.search)}"'] if item.search else [])


def _routes(item: Interface, version: int) -> list[str]:
    lines = []
    gateway = common.gateway(item, version)
    if gateway is not None and (common.on_link(item, version) or not common.of_version(item.addresses, version)):
        flag = " onlink" if version == 4 else ""
        lines.append(f"{common.ANYWHERE[version]} via {gateway} dev {item.name}{flag}")
    for route in item.routes:
        if common.version_of(route.via) == version:
            to = common.ANYWHERE[version] if route.to == "default" else route.to
            metric = "" if route.metric is None else f" metric {route.metric}"
            lines.append(f"{to} via {route.via} dev {item.name}{metric}")
    return lines
