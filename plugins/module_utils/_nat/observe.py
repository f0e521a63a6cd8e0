# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""NAT: what is there now, of all bridges, in one read. Reads only."""

from __future__ import annotations

import dataclasses
import os
import sys
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, ToolMissing
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import (
    backend,
    dialect,
    firewalld,
    listening,
    native,
    persist,
    preference,
    record,
    rules,
    saved,
    surroundings,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.early import Early
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.record import Record
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.saved import Saved
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.shape import concern_others
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.spec import NatSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.surroundings import read
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.values import of_version
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.whereabouts import Whereabouts


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The host as far as NAT goes.

    ``tables`` are by backend, of those that matter to the call; ``files`` by path, those that exist; ``generation``
    changes with each change that this collection makes; ``unit_on``: the unit is enabled and active; ``python`` runs
    its program; ``preferred`` is what ``backend: auto`` means here; ``native`` are the chains of others that guests have to pass;
    ``zones`` are those of firewalld, when they matter to the call; ``warnings`` are about the host as a whole. ``whereabouts``
    are those of the domains that ports are forwarded to, ``sockets`` where programs of the host listen (only looked at when ports
    are forwarded), ``loopless`` (of IPv6: ``loopless6``) the bridges on which guests cannot reach themselves, ``called`` the
    bridges that the call is about, ``uplinks`` the devices that would forget their routes as soon as the host forwards IPv6,
    ``leads_out`` that of the default route by version of IP, ``addresses`` and ``devices`` those that are stated and that it
    has, ``closed`` by backend the chains of table filter with the policy DROP, ``policies`` all rules of iptables, with the
    policies, by backend, when rules of nft are to work beside them.
    """

    host: backend.Host
    preferred: str
    tables: dict[str, Tables]
    records: dict[str, Record]
    files: dict[str, str]
    forwarding: bool
    systemd: bool
    unit_on: bool
    generation: str
    python: str = sys.executable
    native: native.Ruleset = dataclasses.field(default_factory=native.Ruleset)
    zones: firewalld.Zones | None = None
    warnings: tuple[str, ...] = ()
    whereabouts: dict[str, Whereabouts] = dataclasses.field(default_factory=dict)
    sockets: tuple[listening.Socket, ...] = ()
    loopless: frozenset[str] = frozenset()
    loopless6: frozenset[str] = frozenset()
    called: frozenset[str] = frozenset()
    forwarding6: bool = False
    uplinks: frozenset[str] = frozenset()
    leads_out: t.Mapping[int, str] = dataclasses.field(default_factory=dict)
    addresses: frozenset[str] | None = None
    devices: frozenset[str] | None = None
    closed: t.Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)
    policies: dict[str, Saved] = dataclasses.field(default_factory=dict)

    def backend_of(self, spec: NatSpec) -> str:
        """The backend of a bridge: the stated one; with ``auto`` the one it already is in, else the preferred one."""
        if spec.backend == "iptables":
            return self.host.default
        if spec.backend != "auto":
            return spec.backend
        known = self.records.get(spec.bridge)
        return known.backend if known is not None and known.backend in self.host.programs else self.preferred


def observe(specs: t.Sequence[NatSpec]) -> Snapshot:
    """Reads everything that the NAT of these bridges depends on; raises KvmError when it cannot be relied on."""
    with Early() as early:
        return with_rules(around(specs, early), specs, early)


def around(specs: t.Sequence[NatSpec], early: Early) -> Snapshot:
    """Reads what it depends on beside the rules, of which nothing is known then, also not which backend is preferred."""
    files = surroundings.files()
    systemd = os.path.isdir("/run/systemd/system")
    seen = Snapshot(
        host=backend.probe(),
        preferred="",
        tables={},
        records=_records(files),
        files=files,
        forwarding=(read(persist.FORWARDING) or "0").strip() != "0",
        forwarding6=(read(persist.FORWARDING6) or "0").strip() != "0",
        systemd=systemd,
        unit_on=systemd and persist.UNIT in files and _unit_on(),
        generation=early.generation,
        called=frozenset(spec.bridge for spec in specs),
        **_forwarded(specs),
    )
    return dataclasses.replace(
        seen,
        zones=firewalld.read() if any(_in_zone(spec, seen) for spec in specs) else None,
        warnings=tuple(_conntrack(specs)),
        uplinks=surroundings.uplinks(specs, seen.records),
        leads_out=surroundings.leads_out(),
        **surroundings.stated(specs),
    )


def with_rules(seen: Snapshot, specs: t.Sequence[NatSpec], early: Early) -> Snapshot:
    """The same host with the rules that matter to the call."""
    asked = dict(early.rules)
    preferred = preference.prefer(seen.host, asked)
    seen = dataclasses.replace(seen, preferred=preferred.backend)
    names = _backends(specs, seen)
    missing = _missing(seen.host, names)
    rest = sorted(names - set(preferred.tables))
    found = {**preferred.tables, **backend.saves(seen.host, rest, asked)}
    return dataclasses.replace(
        seen,
        tables=found,
        closed=backend.closed({name: one for name, one in asked.items() if name in found}),
        native=backend.foreign() if any(spec.state == "present" for spec in specs) else seen.native,
        warnings=(*preferred.warnings, *missing, *seen.warnings),
        policies=_policies(specs, seen, early),
    )


def rules_again(before: Snapshot) -> dict[str, Tables]:
    """The rules by backend after they were written."""
    return backend.saves(before.host, before.tables)


def again(before: Snapshot, rules: dict[str, Tables]) -> Snapshot:
    """The host with these rules, after records were written; what no rule changes is as it was seen before."""
    files = surroundings.files()
    return dataclasses.replace(
        before,
        tables=rules,
        records=_records(files),
        files=files,
    )


def _backends(specs: t.Sequence[NatSpec], seen: Snapshot) -> set[str]:
    """Whose rules have to be read: of both versions of IP where they are in use."""
    names = {seen.backend_of(spec) for spec in specs}
    # With auto, that is where it is looked for once the record is gone.
    names |= {seen.preferred for spec in specs if spec.backend == "auto"}
    names |= {record.six(seen.backend_of(spec)) for spec in specs if of_version(spec.subnets, 6)}
    concerned = {spec.bridge for spec in specs}
    if concern_others([spec.shape for spec in specs] + [one.shape for one in seen.records.values()]):
        # A change of one bridge may be one of the others.
        concerned |= set(seen.records)
    for one in (seen.records[bridge] for bridge in concerned if bridge in seen.records):
        names |= set(one.backends())
    return names


def _policies(specs: t.Sequence[NatSpec], seen: Snapshot, early: Early) -> dict[str, Saved]:
    """What iptables says, where rules of nft are wanted: those cannot let through what it refuses. Their bridges' own rules in it are
    about to go."""
    ours = [spec for spec in specs if spec.state == "present" and seen.backend_of(spec) == dialect.NFTABLES]
    versions = [number for number in (4, 6) if any(of_version(spec.subnets, number) for spec in ours)]
    going = [seen.records[spec.bridge] for spec in ours if spec.bridge in seen.records]
    found: dict[str, Saved] = {}
    for number in versions:
        for name, some in backend.policies(seen.host, number, early.rules).items():
            own = rules.union(*(part for one in going if name in one.backends() for part in one.all(number)))
            found[name] = saved.without(some, own)
    return found


def _forwarded(specs: t.Sequence[NatSpec]) -> dict[str, t.Any]:
    """What forwarded ports need; nothing of it is looked at without any."""
    some = [spec for spec in specs if spec.state == "present" and spec.shape.port_forwards]
    return {
        "whereabouts": _whereabouts({one.domain for spec in some for one in spec.shape.port_forwards if one.domain}),
        "sockets": listening.sockets() if some else (),
        "loopless": frozenset(spec.bridge for spec in some if listening.loopless(spec.bridge, 4)),
        "loopless6": frozenset(spec.bridge for spec in some if listening.loopless(spec.bridge, 6)),
    }


def _whereabouts(domains: set[str]) -> dict[str, Whereabouts]:
    if not domains:
        return {}
    # It brings libvirt's library along, which takes longer to load than all else here.
    from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import targets

    return targets.look(domains)


def _records(files: t.Mapping[str, str]) -> dict[str, Record]:
    records: dict[str, Record] = {}
    for path, text in files.items():
        if not path.endswith(record.SUFFIX):
            continue
        try:
            one = record.parse(text)
        except ValueError as exc:
            raise KvmError(f"the record {path} is damaged ({exc}): move it away, then run this again.") from exc
        if record.path(one.bridge) != path:
            raise KvmError(f"the record {path} is of bridge {one.bridge}: move it away, then run this again.")
        records[one.bridge] = one
    return records


def _missing(host: backend.Host, names: t.Iterable[str]) -> list[str]:
    return [
        f"{name} is not installed: this assumes that a task before installs the package {backend.package(name)}, and that there are"
        " no rules yet."
        for name in sorted(names)
        if name not in host.programs
    ]


def _conntrack(specs: t.Sequence[NatSpec]) -> list[str]:
    if any(spec.flush_conntrack for spec in specs):
        try:
            backend.conntrack()
        except ToolMissing:
            return ["conntrack is not installed: this assumes that a task before installs the package conntrack."]
    return []


def _in_zone(spec: NatSpec, seen: Snapshot) -> bool:
    """Whether a zone of firewalld is stated for the bridge, or was."""
    known = seen.records.get(spec.bridge)
    return (spec.state == "present" and spec.firewalld_zone is not None) or (
        known is not None and known.zone is not None
    )


def _unit_on() -> bool:
    """Whether all units are enabled and ours run: the one of the host's start, and one for each service that runs."""
    program = _command.find("systemctl", "systemd")
    names = [persist.UNIT_NAME, *persist.BESIDE, *persist.BESIDE.values()]
    asked = [_command.Asked([program, "is-enabled", *persist.ENABLED]), _command.Asked([program, "is-active", *names])]
    enabled, states = (one.answer(timeout=30, ok=()).stdout.split() for one in asked)
    if enabled != ["enabled"] * len(persist.ENABLED):
        return False
    active = {name for name, answer in zip(names, states) if answer == "active"}
    return persist.UNIT_NAME in active and all(
        ours in active for theirs, ours in persist.BESIDE.items() if theirs in active
    )
