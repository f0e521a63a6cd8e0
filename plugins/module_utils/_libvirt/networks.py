# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Networks of libvirt: thin typed calls that take and give plain data."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import is_code, translated

try:
    import libvirt
except ImportError:
    # connection.require_libvirt() reports it before anything here is called.
    libvirt = None

_COMMANDS = {"add": "VIR_NETWORK_UPDATE_COMMAND_ADD_LAST", "delete": "VIR_NETWORK_UPDATE_COMMAND_DELETE"}


@dataclasses.dataclass(frozen=True)
class RawNetwork:
    """What libvirt says of a network; ``live_xml`` only of an active one."""

    persistent: bool
    active: bool
    autostart: bool
    inactive_xml: str
    live_xml: str | None


def _lookup(connection: t.Any, name: str) -> t.Any | None:
    try:
        with translated(f"Cannot look up network {name}"):
            return connection.networkLookupByName(name)
    except LibvirtError as exc:
        if is_code(exc, "VIR_ERR_NO_NETWORK"):
            return None
        raise


def read(connection: t.Any, name: str) -> RawNetwork | None:
    """The network of that name, None when there is none."""
    network = _lookup(connection, name)
    if network is None:
        return None
    with translated(f"Cannot read network {name}"):
        active, persistent = bool(network.isActive()), bool(network.isPersistent())
        return RawNetwork(
            persistent=persistent,
            active=active,
            autostart=bool(network.autostart()) if persistent else False,
            inactive_xml=network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE),
            live_xml=network.XMLDesc(0) if active else None,
        )


def define(connection: t.Any, name: str, document: str) -> None:
    """Makes the persistent definition; a running network keeps running as it is."""
    with translated(f"Cannot define network {name}"):
        connection.networkDefineXML(document)


def _existing(connection: t.Any, name: str) -> t.Any:
    with translated(f"Cannot look up network {name}"):
        return connection.networkLookupByName(name)


def start(connection: t.Any, name: str) -> None:
    """Starts a defined network."""
    network = _existing(connection, name)
    with translated(f"Cannot start network {name}", "Free the bridge name or the subnet, or choose others."):
        network.create()


def stop(connection: t.Any, name: str) -> None:
    """Stops a network; a transient one is gone then."""
    network = _existing(connection, name)
    with translated(f"Cannot stop network {name}"):
        network.destroy()


def undefine(connection: t.Any, name: str) -> None:
    """Removes the persistent definition."""
    network = _existing(connection, name)
    with translated(f"Cannot undefine network {name}"):
        network.undefine()


def set_autostart(connection: t.Any, name: str, autostart: bool) -> None:
    """Whether the network starts with the host."""
    network = _existing(connection, name)
    with translated(f"Cannot set the autostart of network {name}"):
        network.setAutostart(autostart)


def update_dhcp_host(connection: t.Any, name: str, command: str, ip_index: int, host: str) -> None:
    """Changes one DHCP reservation in the running network and in its definition; ``command``: add, delete."""
    network = _existing(connection, name)
    # LIVE|CONFIG always: 0 would change the running network only and be lost at its next start.
    flags = libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE | libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG
    with translated(f"Cannot {command} the DHCP reservation {host} in network {name}"):
        network.update(
            getattr(libvirt, _COMMANDS[command]), libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST, ip_index, host, flags
        )


def running_domains(connection: t.Any) -> list[str]:
    """The documents of the running domains, for finding the interfaces that are in a network."""
    with translated("Cannot list the running domains"):
        domains = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
    documents: list[str] = []
    for domain in domains:
        try:
            with translated("Cannot read a running domain"):
                documents.append(domain.XMLDesc(0))
        except LibvirtError as exc:
            # One that has ended meanwhile is in no network.
            if not is_code(exc, "VIR_ERR_NO_DOMAIN"):
                raise
    return documents
