# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Networks: what is there now. Reads only."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import networks
from ansible_collections.hypervisor.kvm.plugins.module_utils._net import xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._net.spec import NetworkSpec


@dataclasses.dataclass(frozen=True)
class NetworkState:
    """A network as libvirt has it; all empty when there is none of that name.

    ``document`` is the persistent definition, ``defined`` the same as a specification; ``live`` what runs now.
    """

    exists: bool = False
    persistent: bool = False
    active: bool = False
    autostart: bool = False
    uuid: str | None = None
    document: str | None = None
    defined: NetworkSpec | None = None
    live: NetworkSpec | None = None
    connections: int = 0


def observe(connection: t.Any, spec: NetworkSpec) -> NetworkState:
    """Reads one network by name; without a connection (a machine before its first run) there is none."""
    raw = None if connection is None else networks.read(connection, spec.name)
    if raw is None:
        return NetworkState()
    return NetworkState(
        exists=True,
        persistent=raw.persistent,
        active=raw.active,
        autostart=raw.autostart,
        uuid=xml.uuid(raw.inactive_xml),
        document=raw.inactive_xml,
        defined=xml.read(raw.inactive_xml),
        live=xml.read(raw.live_xml) if raw.live_xml is not None else None,
        connections=_connections(connection, spec.name, raw.live_xml),
    )


def _connections(connection: t.Any, name: str, live: str | None) -> int:
    if live is None:
        return 0
    # libvirt's own number starts from 0 again when a network is started while domains still have interfaces in it.
    return xml.connections(live) or len(taps(connection, name))


def taps(connection: t.Any, name: str) -> list[str]:
    """The host devices through which running domains are in the network."""
    return [device for document in networks.running_domains(connection) for device in xml.taps(document, name)]


def facts(state: NetworkState, name: str) -> dict[str, t.Any] | None:
    """The return value ``network``; None when there is none."""
    spec = state.live or state.defined
    if not state.exists or spec is None:
        return None
    return {
        "name": name,
        "uuid": state.uuid,
        "active": state.active,
        "autostart": state.autostart,
        "persistent": state.persistent,
        "forward": {"mode": spec.forward.mode, "dev": spec.forward.dev} if spec.forward else None,
        "bridge": spec.bridge.name if spec.bridge else None,
        "mac": spec.mac,
        "mtu": spec.mtu,
        "ips": [ip.interface for ip in spec.ips or ()],
        "connections": state.connections,
    }
