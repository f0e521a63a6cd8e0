# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, network: netplan's YAML (netplan(5)). Pure.

Only words that all versions since Ubuntu 18.04 (0.36) know: default gateways are routes to 0.0.0.0/0 and ::/0, because
``gateway4`` is deprecated in new versions and ``to: default`` unknown in old ones.
"""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._image.interfaces import Bond, Interface
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.network import common

FOLDER = "/etc/netplan"
#: Files of packages: not to be changed, but the renderer may be said in them.
PACKAGED = ("/usr/lib/netplan", "/lib/netplan")
PATH = f"{FOLDER}/50-hypervisor-kvm.yaml"
_RENDERER = re.compile(r"\s*[\"']?renderer[\"']?:\s*[\"']?NetworkManager[\"']?\s*(?:#.*)?")
_NO_INTERFACES = re.compile(r"\s*(?:#.*|network:|version:\s*2|renderer:\s*\S+|---)?\s*")


def texts(items: t.Sequence[Interface], networkmanager: bool) -> dict[str, str]:
    """The one file, path to text; ``networkmanager``: NetworkManager is to do it, not networkd."""
    network: dict[str, t.Any] = {"version": 2}
    if networkmanager:
        network["renderer"] = "NetworkManager"
    for kind, word in (("ethernet", "ethernets"), ("bond", "bonds"), ("vlan", "vlans")):
        found = {json.dumps(item.name): _interface(item) for item in items if item.kind == kind}
        if found:
            network[word] = found
    return {PATH: common.HEAD + "\n".join(_block({"network": network}, 0)) + "\n"}


def says_networkmanager(text: str) -> bool:
    """Whether a file of netplan leaves the network to NetworkManager."""
    return any(_RENDERER.fullmatch(line) for line in text.splitlines())


def only_renderer(text: str) -> bool:
    """Whether a file of netplan has nothing beside the renderer: it fights with nothing."""
    return all(_NO_INTERFACES.fullmatch(line) for line in text.splitlines())


def _interface(item: Interface) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {}
    if item.mac is not None:
        found.update({"match": {"macaddress": item.mac}, "set-name": item.name})
    if item.id is not None:
        found.update({"id": item.id, "link": item.link})
    if item.parameters is not None:
        found.update({"interfaces": list(item.interfaces), "parameters": _bond(item.parameters)})
    found.update({"dhcp4": item.dhcp4, "dhcp6": item.dhcp6})
    if item.addresses:
        found["addresses"] = list(item.addresses)
    servers = {"addresses": list(item.nameservers), "search": list(item.search)}
    if any(servers.values()):
        found["nameservers"] = {word: texts for word, texts in servers.items() if texts}
    routes = _routes(item)
    if routes:
        found["routes"] = routes
    if item.mtu is not None:
        found["mtu"] = item.mtu
    return found


def _routes(item: Interface) -> list[dict[str, t.Any]]:
    found: list[dict[str, t.Any]] = []
    for version in (4, 6):
        gateway = common.gateway(item, version)
        if gateway is not None:
            found.append({"to": common.ANYWHERE[version], "via": gateway})
            if common.on_link(item, version):
                found[-1]["on-link"] = True
    for route in item.routes:
        to = common.ANYWHERE[common.version_of(route.via)] if route.to == "default" else route.to
        found.append({"to": to, "via": route.via})
        if route.metric is not None:
            found[-1]["metric"] = route.metric
    return found


def _bond(bond: Bond) -> dict[str, t.Any]:
    found = {
        "mode": bond.mode,
        "primary": bond.primary,
        "mii-monitor-interval": bond.mii_monitor_interval,
        "lacp-rate": bond.lacp_rate,
        "transmit-hash-policy": bond.transmit_hash_policy,
    }
    return {word: value for word, value in found.items() if value is not None}


def _block(value: dict[str, t.Any], depth: int) -> list[str]:
    """YAML with one line for each key. Texts are written as JSON has them, which YAML reads: an interface may be called
    ``on`` or ``1e3``."""
    lines = []
    for key, item in value.items():
        if isinstance(item, dict):
            lines += [f"{'  ' * depth}{key}:", *_block(item, depth + 1)]
        else:
            lines.append(f"{'  ' * depth}{key}: {json.dumps(item)}")
    return lines
