# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, network: systemd-networkd's files (systemd.network(5), systemd.netdev(5)). Pure."""

from __future__ import annotations

import fnmatch
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._image.interfaces import Bond, Interface
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.network import common

FOLDER = common.LINKS
PREFIX = "10-kvm-"
_MAX_GLOB = 256
_DHCP = {(False, False): "no", (True, False): "ipv4", (False, True): "ipv6", (True, True): "yes"}


def texts(items: t.Sequence[Interface]) -> dict[str, str]:
    """The files, path to text, with those that give names."""
    found = common.links(items)
    parts = common.bonds(items)
    for item in items:
        vlans = [other.name for other in items if other.link == item.name]
        found[f"{FOLDER}/{PREFIX}{item.name}.network"] = common.HEAD + _network(item, vlans, parts.get(item.name))
        if item.kind != "ethernet":
            found[f"{FOLDER}/{PREFIX}{item.name}.netdev"] = common.HEAD + _netdev(item)
    return found


def wins(name: str, text: str, names: t.Collection[str]) -> bool:
    """Whether the file ``name`` would set up one of the interfaces ``names`` in our files' place.

    The first file in alphabetical order that matches is the one. What it matches is only looked at as far as it is named;
    in doubt it matches.
    """
    if not name.endswith(".network") or name > PREFIX:
        return False
    globs: list[str] = []
    section = ""
    for line in (line.strip() for line in text.splitlines()):
        if line.startswith("["):
            section = line
        elif section == "[Match]" and line.partition("=")[0].strip() == "Name":
            globs += line.partition("=")[2].split()
    if not globs or any(glob.startswith("!") or len(glob) > _MAX_GLOB for glob in globs):
        return True
    return any(fnmatch.fnmatchcase(own, glob) for own in names for glob in globs)


def _network(item: Interface, vlans: t.Sequence[str], bond: Interface | None) -> str:
    link = [] if item.mtu is None else [f"MTUBytes={item.mtu}"]
    network = [f"DHCP={_DHCP[item.dhcp4, item.dhcp6]}"]
    if bond is not None:
        # It has no addresses of its own, not even those that it would make itself.
        network = ["LinkLocalAddressing=no", f"Bond={bond.name}"]
        if bond.parameters is not None and bond.parameters.primary == item.name:
            network.append("PrimarySlave=yes")
    network += [f"Address={text}" for text in item.addresses]
    network += [f"DNS={text}" for text in item.nameservers]
    if item.search:
        network.append(f"Domains={' '.join(item.search)}")
    network += [f"VLAN={name}" for name in vlans]
    sections = [("Match", [f"Name={item.name}"]), ("Link", link), ("Network", network)]
    return _text([*sections, *(("Route", lines) for lines in _routes(item))])


def _routes(item: Interface) -> list[list[str]]:
    found = []
    for version in (4, 6):
        gateway = common.gateway(item, version)
        if gateway is not None:
            found.append([f"Gateway={gateway}"])
            if common.on_link(item, version):
                found[-1].append("GatewayOnLink=yes")
    for route in item.routes:
        lines = [] if route.to == "default" else [f"Destination={route.to}"]
        lines.append(f"Gateway={route.via}")
        found.append(lines if route.metric is None else [*lines, f"Metric={route.metric}"])
    return found


def _netdev(item: Interface) -> str:
    if item.parameters is None:
        return _text([("NetDev", [f"Name={item.name}", "Kind=vlan"]), ("VLAN", [f"Id={item.id}"])])
    return _text([("NetDev", [f"Name={item.name}", "Kind=bond"]), ("Bond", _bond(item.parameters))])


def _bond(bond: Bond) -> list[str]:
    lines = [f"Mode={bond.mode}", f"MIIMonitorSec={bond.mii_monitor_interval}ms"]
    lines += [f"LACPTransmitRate={bond.lacp_rate}"] if bond.lacp_rate else []
    return lines + ([f"TransmitHashPolicy={bond.transmit_hash_policy}"] if bond.transmit_hash_policy else [])


def _text(sections: t.Sequence[tuple[str, t.Sequence[str]]]) -> str:
    return "\n".join(f"[{name}]\n" + "".join(f"{line}\n" for line in lines) for name, lines in sections if lines)
