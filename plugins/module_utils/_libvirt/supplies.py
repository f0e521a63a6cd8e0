# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What domains need beside their definition when they start: network filters, secrets, volumes. Thin typed calls that read only."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import is_code, steady, translated

#: What secrets are for, as documents say it, by libvirt's numbers.
_USES = {1: "volume", 2: "ceph", 3: "iscsi", 4: "tls", 5: "vtpm"}


@steady
def filters(connection: t.Any) -> frozenset[str] | None:
    """The names of the network filters; None where libvirt has none at all."""
    try:
        with translated("Cannot list the network filters"):
            return frozenset(str(item.name()) for item in connection.listAllNWFilters(0))
    except LibvirtError as exc:
        if is_code(exc, "VIR_ERR_NO_SUPPORT"):
            return None
        raise


@steady
def secrets(connection: t.Any) -> frozenset[tuple[str, str]] | None:
    """How the secrets are named: ``("uuid", UUID)``, and what they are for with their usage; None where libvirt has none at all."""
    found: set[tuple[str, str]] = set()
    try:
        with translated("Cannot list the secrets"):
            for item in connection.listAllSecrets(0):
                found |= {("uuid", str(item.UUIDString())), (_USES.get(item.usageType(), ""), str(item.usageID()))}
    except LibvirtError as exc:
        if is_code(exc, "VIR_ERR_NO_SUPPORT"):
            return None
        raise
    return frozenset(found)


@steady
def volume_lacks(connection: t.Any, pool: str, volume: str) -> str | None:
    """Why a domain with that volume would not start; None when there is nothing against it."""
    try:
        with translated(f"Cannot look up volume {volume} of pool {pool}"):
            found = connection.storagePoolLookupByName(pool)
            if not found.isActive():
                return f"the pool {pool} of volume {volume} is not active"
            found.storageVolLookupByName(volume)
    except LibvirtError as exc:
        if is_code(exc, "VIR_ERR_NO_STORAGE_POOL"):
            return f"there is no pool {pool}, in which volume {volume} is to be"
        if is_code(exc, "VIR_ERR_NO_STORAGE_VOL"):
            return f"the pool {pool} has no volume {volume}"
        if is_code(exc, "VIR_ERR_NO_SUPPORT"):
            return None
        raise
    return None
