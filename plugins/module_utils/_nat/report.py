# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What the user is told beside the changes: return values and warnings. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import (
    compare,
    dialect,
    obstacles,
    rules,
    saved,
    tables,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.compare import NatPlan
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.forwards import Forward
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.listening import Socket
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.observe import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.record import six, version
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.spec import NatSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.values import of_version, span

_LOOPLESS = {4: "net.bridge.bridge-nf-call-iptables", 6: "net.bridge.bridge-nf-call-ip6tables"}


def facts(spec: NatSpec, changes: ChangeSet, after: Snapshot) -> dict[str, t.Any]:
    """The return values of one bridge, on the host as it is after all of the call."""
    plan: NatPlan = changes.plan
    known = after.records.get(spec.bridge)
    closing = spec.state == "absent"
    programs = plan.result.host.programs
    return {
        "rules": _lines(known.rules) if known is not None else {},
        "rules6": _lines(known.rules6) if known is not None else {},
        "subnets": list(spec.subnets),
        "port_forwards": [_forward(one) for one in known.shape.port_forwards] if known is not None else [],
        "backend": plan.backend,
        "persist": compare.persistence(spec, plan.result),
        "tables_changed": [table for table in tables.TABLES if any(edit.table == table for edit in plan.edits)],
        "commands": [
            {
                "command": _command(name, programs),
                "input": payload.splitlines(),
            }
            for name, payload in compare.inputs([plan], closing)
        ],
    }


def _command(name: str, programs: t.Mapping[str, tuple[str, str]]) -> str:
    if name in dialect.FAMILIES:
        return f"{programs.get(name, ('', 'nft'))[1]} -f -"
    return f"{programs.get(name, ('', f'{name}-restore'))[1]} -w 10 --noflush"


def warnings(spec: NatSpec, seen: Snapshot, first: bool) -> list[str]:
    """What may keep the guests of the bridge from the network; what is about the host as a whole with the ``first`` only."""
    found = list(seen.warnings) if first else []
    if spec.state == "absent":
        return found
    for name, some in _beside(spec, seen):
        for _table, chain, rule in rules.names_bridge(spec.bridge, some)[:1]:
            found.append(
                f"nat of bridge {spec.bridge}: libvirt has rules of its own for this bridge in {name} (-A {chain} {rule}), which come"
                " first; give its network the forward mode open."
            )
    found += obstacles.warnings(spec, seen)
    if spec.persist == "auto" and not seen.systemd:
        found.append(
            f"nat of bridge {spec.bridge}: there is no systemd on this host, so the rules are gone after its next start until this"
            " runs again; say persist: none if that is as you want it."
        )
    return [*found, *_absentees(spec, seen), *_ports(spec, seen)]


def _absentees(spec: NatSpec, seen: Snapshot) -> list[str]:
    """What is stated of the host and is not there (yet): what depends on it does not work without."""
    what, shape = f"nat of bridge {spec.bridge}:", spec.shape
    found = [
        f"{what} snat_address {one} is no address of this host now; what comes back to it gets here only if it is routed to this host."
        for one in (shape.snat_address, shape.snat_address6)
        if one is not None and seen.addresses is not None and one not in seen.addresses
    ]
    if shape.out_interface is not None and seen.devices is not None and shape.out_interface not in seen.devices:
        found.append(
            f"{what} there is no device {shape.out_interface} (out_interface) on this host now; no guest gets out without it."
        )
    listens = dict.fromkeys(one.listen_address for one in shape.port_forwards if one.listen_address is not None)
    return found + [
        f"{what} port_forwards: listen_address {one} is no address of this host now; only what is routed to this host gets there."
        for one in listens
        if seen.addresses is not None and one not in seen.addresses
    ]


def _beside(spec: NatSpec, seen: Snapshot) -> t.Iterator[tuple[str, Tables]]:
    """The rules that those of the bridge are among, by backend; those of nft have libvirt's of iptables beside them."""
    backend = seen.backend_of(spec)
    for number, name in ((4, backend), (6, six(backend))):
        if of_version(spec.subnets, number):
            yield name, seen.tables.get(name, {})
            if backend == dialect.NFTABLES:
                policies = {one: some for one, some in seen.policies.items() if version(one) == number}
                yield from ((one, saved.plain(some, rules.LIBVIRT)) for one, some in policies.items())


def _lines(some: Tables) -> dict[str, list[str]]:
    return {
        table: [f"-A {chain} {rule}" for chain, lines in chains.items() for rule in lines]
        for table, chains in some.items()
    }


def _forward(one: Forward) -> dict[str, t.Any]:
    return {**dataclasses.asdict(one), "source": list(one.source)}


def _ports(spec: NatSpec, seen: Snapshot) -> list[str]:
    """What is in the way of forwarded ports, and what is no longer reached for them."""
    what = f"nat of bridge {spec.bridge}: port_forwards"
    found: list[str] = []
    for one in spec.shape.port_forwards:
        # A program may listen on all addresses of each version, by two sockets that read the same.
        taken = ", ".join(dict.fromkeys(str(socket) for socket in seen.sockets if _is_taken(one, socket)))
        if taken:
            found.append(
                f"{what} {one}: a program of this host listens there ({taken}), and those that the forward is for do not reach"
                " it any more; forward another port if that is not as you want it."
            )
    loopless = [setting for version, setting in _LOOPLESS.items() if _is_loopless(spec, seen, version)]
    if loopless:
        found.append(
            f"{what}: this host filters what bridges pass on ({' and '.join(loopless)} is 1), so a guest does not reach"
            " itself by a port that leads to it; set that to 0, or switch the hairpin mode of the guest's port on"
            " (bridge link set dev DEVICE hairpin on)."
        )
    return found


def _is_loopless(spec: NatSpec, seen: Snapshot, version: int) -> bool:
    return spec.bridge in (seen.loopless if version == 4 else seen.loopless6) and any(
        one.hairpin and one.version in (version, None) and of_version(spec.subnets, version)
        for one in spec.shape.port_forwards
    )


def _is_taken(one: Forward, socket: Socket) -> bool:
    low, high = span(one.listen_port)
    anywhere = None in (one.listen_address, socket.address)
    return (
        one.protocol == socket.protocol
        and (None in (one.version, socket.version) or one.version == socket.version)
        and low <= socket.port <= high
        and (anywhere or one.listen_address == socket.address)
    )
