# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""NAT: the changes beside rules and files: a zone of firewalld, connections that the kernel remembers. Pure."""

from __future__ import annotations

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.firewalld import Move, Zones
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.observe import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.spec import NatSpec


def owned_zone(spec: NatSpec, seen: Snapshot) -> str | None:
    """The zone that the bridge is in because of this module: it was put there, or is about to be."""
    wanted, known = spec.firewalld_zone, seen.records.get(spec.bridge)
    if wanted is None and seen.zones is None and known is not None:
        # Without its programs it cannot be taken out of the zone yet.
        return known.zone
    if wanted is None or seen.zones is None:
        return wanted
    ours = known is not None and known.zone == wanted
    return wanted if ours or seen.zones.of(spec.bridge, permanent=True) != wanted else None


def zone(changes: ChangeSet, spec: NatSpec, seen: Snapshot) -> tuple[list[Move], Zones | None]:
    """What brings the bridge into its zone, or out of the one that it was put into; and the zones as they are then."""
    known = seen.records.get(spec.bridge)
    wanted = spec.firewalld_zone if spec.state == "present" else None
    before = known.zone if known is not None else None
    zones = seen.zones
    if wanted is not None:
        _check(spec, zones)
    if zones is None or (wanted is None and before is None):
        return [], zones
    moves: list[Move] = []
    for permanent, field in ((True, "firewalld_zone"), (False, "firewalld_zone (runtime)")):
        found = zones.of(spec.bridge, permanent)
        if found == wanted or (wanted is None and found != before) or (not permanent and zones.runtime is None):
            continue
        changes.add(field, found, wanted)
        moves.append(Move(wanted or str(found), spec.bridge, wanted is not None, permanent))
        zones = zones.moved(spec.bridge, wanted, permanent)
    return moves, zones


def _check(spec: NatSpec, zones: Zones | None) -> None:
    what = f"nat of bridge {spec.bridge}: firewalld_zone is {spec.firewalld_zone}, but"
    if zones is None:
        raise KvmError(
            f"{what} firewalld is not installed on this host; install the package firewalld, or leave the option out.",
            missing_package="firewalld",
        )
    names = [one.name for one in zones.permanent]
    if spec.firewalld_zone not in names:
        raise KvmError(f"{what} firewalld has no such zone; it has {', '.join(names)}.")
    if zones.runtime is not None and spec.firewalld_zone not in [one.name for one in zones.runtime]:
        raise KvmError(
            f"{what} firewalld has not loaded this zone yet; run firewall-cmd --reload first.", rolled_back=True
        )


def connections(changes: ChangeSet, spec: NatSpec, seen: Snapshot) -> tuple[str, ...]:
    """The subnets whose connections the kernel is to forget, as the rules that they were made under are no more."""
    known = seen.records.get(spec.bridge)
    subnets = tuple(dict.fromkeys((*spec.subnets, *(known.subnets if known is not None else ()))))
    if subnets:
        changes.add("conntrack", [f"connections of {subnet}" for subnet in subnets], [])
    return subnets
