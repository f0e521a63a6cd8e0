# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, network: NetworkManager's keyfiles (nm-settings-keyfile(5)). Pure."""

from __future__ import annotations

import typing as t
import uuid

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.interfaces import Bond, Interface
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.network import common

FOLDER = "/etc/NetworkManager/system-connections"
#: NetworkManager ignores a keyfile that others may read.
MODE = 0o600
# A connection has a UUID; made of the name it is the same in every run.
_NAMESPACE = uuid.UUID("5f0f9b5e-5d3c-5f3b-9a43-0c1a4c8a7d52")
# Other connections for the same interface stay as they are and are passed over: the highest that there is.
_PRIORITY = 999


def path(name: str) -> str:
    """The keyfile of that interface."""
    return f"{FOLDER}/kvm-{name}.nmconnection"


def texts(items: t.Sequence[Interface]) -> dict[str, str]:
    """The files, path to text, with those that give names; raises InvalidSpec for what NetworkManager cannot do."""
    parts = common.bonds(items)
    found = {path(item.name): common.HEAD + _connection(item, parts.get(item.name)) for item in items}
    return {**common.links(items), **found}


def identity(name: str) -> str:
    """The UUID of the connection of that interface."""
    return str(uuid.uuid5(_NAMESPACE, name))


def _connection(item: Interface, bond: Interface | None) -> str:
    connection = [
        *(f"id=kvm-{item.name}", f"uuid={identity(item.name)}", f"type={item.kind}"),
        *(f"autoconnect-priority={_PRIORITY}",),
    ]
    if item.mac is None:
        connection.append(f"interface-name={item.name}")
    if bond is not None:
        connection += [f"master={bond.name}", "slave-type=bond"]
    ethernet = [] if item.mac is None else [f"mac-address={item.mac.upper()}"]
    ethernet += [] if item.mtu is None else [f"mtu={item.mtu}"]
    sections = [("connection", connection), ("ethernet", ethernet)]
    if item.id is not None and item.link is not None:
        sections.append(("vlan", [f"id={item.id}", f"parent={identity(item.link)}", "flags=1"]))
    if item.parameters is not None:
        sections.append(("bond", _bond(item.parameters)))
    if bond is None:
        sections += [("ipv4", _ip(item, 4)), ("ipv6", _ip(item, 6))]
    return "\n".join(f"[{name}]\n" + "".join(f"{line}\n" for line in lines) for name, lines in sections if lines)


def _ip(item: Interface, version: int) -> list[str]:
    own, gateway = common.of_version(item.addresses, version), common.gateway(item, version)
    method = "auto" if common.dhcp(item, version) else "manual" if own else None
    servers = common.of_version(item.nameservers, version)
    routes = _routes(item, version, with_gateway=not own or common.on_link(item, version))
    if method is None:
        _check_used(item, version, bool(servers or routes))
        # Like the kernel's own default: an IPv6 address from the router's announcements, no IPv4 address.
        return ["method=disabled" if version == 4 else "method=ignore"]
    lines = [f"method={method}", *(f"address{number}={text}" for number, text in enumerate(own, 1))]
    if gateway is not None and own and not common.on_link(item, version):
        lines.append(f"gateway={gateway}")
    if servers:
        lines.append(f"dns={';'.join(servers)};")
    if item.search:
        lines.append(f"dns-search={';'.join(item.search)};")
    return lines + routes


def _check_used(item: Interface, version: int, used: bool) -> None:
    if used:
        raise InvalidSpec(
            f"customize.interfaces: {item.name} has IPv{version} routes or name servers, but neither an IPv{version} address"
            f" nor dhcp{version}; this guest's NetworkManager ignores them there, so state them at an interface that has."
        )


def _routes(item: Interface, version: int, with_gateway: bool) -> list[str]:
    wanted = [
        (common.ANYWHERE[version] if route.to == "default" else route.to, route.via, route.metric)
        for route in item.routes
        if common.version_of(route.via) == version
    ]
    gateway = common.gateway(item, version)
    if gateway is not None and with_gateway:
        wanted.insert(0, (common.ANYWHERE[version], gateway, None))
    lines = []
    for number, (to, via, metric) in enumerate(wanted, 1):
        lines.append(f"route{number}={to},{via}" + ("" if metric is None else f",{metric}"))
        if via == gateway and with_gateway and number == 1 and version == 4:
            lines.append(f"route{number}_options=onlink=true")
    return lines


def _bond(bond: Bond) -> list[str]:
    found = {
        "mode": bond.mode,
        "miimon": bond.mii_monitor_interval,
        "primary": bond.primary,
        "lacp_rate": bond.lacp_rate,
        "xmit_hash_policy": bond.transmit_hash_policy,
    }
    return [f"{word}={value}" for word, value in found.items() if value is not None]
