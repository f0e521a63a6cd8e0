# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: where guests can be found: what leases, agents and the neighbour table know of them. Reads only."""

from __future__ import annotations

import contextlib
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests import neighbours
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.view import View
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.wait_for import is_useful
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import leases as calls

#: Seconds for which what was read is new enough.
_NEW = 1.0


class Directory:
    """The leases of all networks and the neighbour table, read anew when they are asked for and not just read."""

    def __init__(self, connection: t.Any, local: bool) -> None:
        self.connection = connection
        self.local = local
        self._leases: calls.Leases = {}
        self._table: list[neighbours.Neighbour] = []
        self._read = float("-inf")

    def refresh(self) -> None:
        """Reads them, unless they were just read."""
        if time.monotonic() - self._read < _NEW:
            return
        # Leases are one source of several: one that cannot be read knows nobody.
        with contextlib.suppress(LibvirtError):
            self._leases = calls.read(self.connection)
        if self.local:
            self._table = neighbours.read()
        self._read = time.monotonic()

    def leases(self, macs: t.Collection[str]) -> list[dict[str, t.Any]]:
        """The leases of these MAC addresses, as they were read last."""
        return [{"mac": mac, **lease} for mac in sorted(macs) for lease in self._leases.get(mac, ())]

    def known(self, name: str, macs: t.Collection[str], version: int = 0) -> list[str]:
        """The useful addresses of these MAC addresses of a running domain, as they were read last."""
        found = [lease["address"] for lease in self.leases(macs)]
        if self.local:
            found += [entry.address for entry in self._table if entry.mac in macs]
        else:
            found += [address for mac, address in calls.neighbours(self.connection, name) if mac in macs]
        return [address for address in dict.fromkeys(found) if is_useful(address, version)]

    def is_current(self, address: str, macs: t.Collection[str], since: float | None) -> bool:
        """Whether the kernel was sure of one of these MAC addresses under that address in the last ``since`` seconds (None:
        is sure of it now): what it knows from an earlier life of the guest does not count."""
        entries = [entry for entry in self._table if entry.address == address and entry.mac in macs]
        return any(entry.reachable if since is None else entry.age < since for entry in entries)

    def somebody_else(self, address: str, macs: t.Collection[str]) -> str | None:
        """The MAC address that an address belongs to when it is none of these."""
        others = [entry.mac for entry in self._table if entry.address == address and entry.reachable]
        return next((mac for mac in others if mac not in macs), None) if macs else None

    def can_be_asked(self, address: str) -> bool:
        """Whether an address can be asked from here: not when its lease is of a bridge that this process does not see."""
        bridges = [lease["bridge"] for group in self._leases.values() for lease in group if lease["address"] == address]
        return self.local and all(bridge is None or neighbours.has_link(bridge) for bridge in bridges)


def from_agent(interfaces: t.Sequence[dict[str, t.Any]], view: View, version: int = 0) -> list[str]:
    """The useful addresses that the agent tells of the domain's own interfaces: those that the guest made up for itself
    (bridges of containers, tunnels) are of no use to others."""
    found = [address for entry in interfaces if entry["mac"] in view.macs for address in entry["addresses"]]
    return [address for address in dict.fromkeys(found) if is_useful(address, version)]
