# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""NAT: what is known of the domains that ports are forwarded to. Reads only."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import domains, leases
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import connect
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.values import version
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.whereabouts import Whereabouts

_URI = "qemu:///system"


def look(names: t.Collection[str]) -> dict[str, Whereabouts]:
    """What this host knows of these domains. Without any it asks nobody; what fails is in the answer."""
    if not names:
        return {}
    try:
        with connect(_URI) as connection:
            reserved, given = leases.reservations(connection), leases.read(connection)
            return {name: _of(connection, name, reserved, given) for name in sorted(names)}
    except KvmError as exc:
        return {name: Whereabouts(error=exc) for name in names}


def _of(connection: t.Any, name: str, reserved: t.Sequence[leases.Reservation], given: leases.Leases) -> Whereabouts:
    raw = domains.read(connection, name)
    if raw is None:
        # Networks and NAT are declared before domains are, on a host that has nothing yet.
        named = tuple(one.address for one in reserved if one.name == name)
        return Whereabouts(exists=bool(named), groups=(named,))
    macs: dict[str, None] = {}
    stated: dict[str, None] = {}
    for document in filter(None, (raw.inactive_xml, raw.running_xml)):
        for node in _xml.parse(document, f"domain {name}").findall("devices/interface"):
            macs[(_xml.find_attribute(node, "mac", "address") or "").lower()] = None
            stated.update(dict.fromkeys(ip.get("address") or "" for ip in node.findall("ip")))
    return Whereabouts(
        groups=(
            tuple(one.address for one in reserved if _is_for(one, name, macs)),
            tuple(address for address in stated if address),
            tuple(address for mac in macs for address in _newest(given.get(mac, ()))),
            tuple(address for mac, address in leases.neighbours(connection, name) if mac in macs) if raw.active else (),
        )
    )


def _is_for(one: leases.Reservation, name: str, macs: t.Collection[str]) -> bool:
    """Whether it is for a domain: by its name only where it has no MAC address (of IPv6 it never has one of its own)."""
    return one.mac in macs if one.mac else one.name == name or one.duid_mac in macs


def _newest(some: t.Sequence[dict[str, t.Any]]) -> list[str]:
    """The addresses of the latest leases in each network: a guest that was installed anew has left others behind."""
    latest: dict[tuple[str, int], dict[str, t.Any]] = {}
    for lease in some:
        place = lease["network"], version(lease["address"])
        known = latest.get(place)
        if known is None or (lease["expires"] or 0) > (known["expires"] or 0):
            latest[place] = lease
    return [lease["address"] for lease in latest.values()]
