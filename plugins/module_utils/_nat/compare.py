# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""NAT: (wanted, observed) -> ChangeSet. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import persist, record, rules, tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.observe import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.record import Record
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.spec import NatSpec, overlap
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Own, Tables


@dataclasses.dataclass(frozen=True)
class Edit:
    """What happens to one table of one backend: the lines for iptables-restore."""

    backend: str
    table: str
    lines: tuple[str, ...]


@dataclasses.dataclass
class NatPlan:
    """What the apply room does for one bridge.

    ``ahead`` is the record to write before any rule is touched: it knows the rules of before and of after. ``files``
    are texts by path (None = remove). ``owned`` are all rules of ours by backend, before and after. ``unit`` is
    ``start`` or ``stop``. ``rules`` are ours as they are then, ``result`` the host as it is then.
    """

    backend: str
    result: Snapshot
    edits: list[Edit] = dataclasses.field(default_factory=list)
    owned: dict[str, Tables] = dataclasses.field(default_factory=dict)
    ahead: str | None = None
    files: dict[str, str | None] = dataclasses.field(default_factory=dict)
    forwarding: bool = False
    unit: str | None = None
    rules: Tables = dataclasses.field(default_factory=dict)


def compare(spec: NatSpec, seen: Snapshot) -> ChangeSet:
    """The changes that bring the NAT of one bridge to its specification; ``plan`` is a NatPlan.

    Raises KvmError when the host cannot give what is asked for.
    """
    _check(spec, seen)
    known = seen.records.get(spec.bridge)
    name = seen.backend_of(spec)
    wanted = rules.render(spec.bridge, spec.subnets) if spec.state == "present" else {}
    plan = NatPlan(backend=name, result=seen, rules=wanted)
    changes = ChangeSet(spec.bridge, plan)
    _rules(changes, plan, name, wanted, _owned(spec, known, seen.tables[name]))
    if known is not None and known.backend != name:
        # They are removed where they were.
        _rules(changes, plan, known.backend, {}, rules.union(known.rules, known.stale))
    if spec.state == "present" and spec.ip_forward == "enable" and not seen.forwarding:
        changes.add("ip_forward", False, True)
        plan.forwarding = True
        plan.result = dataclasses.replace(plan.result, forwarding=True)
    new = Record(spec.bridge, name, persistence(spec, seen), spec.subnets, wanted) if wanted else None
    _files(changes, plan, spec, new)
    if plan.edits and new is not None:
        stale = rules.without(rules.union(*plan.owned.values()), wanted)
        ahead = record.text(dataclasses.replace(new, stale=stale))
        plan.ahead = ahead if seen.files.get(record.path(spec.bridge)) != ahead else None
    return changes


def in_turn(specs: t.Iterable[NatSpec], seen: Snapshot) -> tuple[list[ChangeSet], Snapshot]:
    """Compares several, each on the host as those before it will have left it."""
    found: list[ChangeSet] = []
    for spec in specs:
        changes = compare(spec, seen)
        seen = changes.plan.result
        found.append(changes)
    return found, seen


def payloads(plans: t.Sequence[NatPlan], closing: bool) -> list[tuple[str, str, str]]:
    """(backend, table, payload), in their order: towards closed first when adding, the other way when all is removed."""
    found: dict[tuple[str, str], list[str]] = {}
    for plan in plans:
        for edit in plan.edits:
            found.setdefault((edit.backend, edit.table), []).extend(edit.lines)
    order = tables.TABLES[::-1] if closing else tables.TABLES
    ordered = sorted(found, key=lambda place: order.index(place[1]))
    return [(name, table, tables.payload(table, found[(name, table)])) for name, table in ordered]


def persistence(spec: NatSpec, seen: Snapshot) -> str:
    """``systemd`` or ``none``: how the rules of the bridge come back after a restart of the host."""
    if spec.persist == "auto":
        return "systemd" if seen.systemd else "none"
    return spec.persist


def _check(spec: NatSpec, seen: Snapshot) -> None:
    if spec.state == "absent":
        return
    if spec.persist == "systemd" and not seen.systemd:
        raise KvmError(
            f"nat of bridge {spec.bridge}: persist: systemd needs a running systemd, and there is none on this host;"
            " say persist: none and put the rules back by other means after a restart."
        )
    if spec.ip_forward == "check" and not seen.forwarding:
        raise KvmError(
            f"nat of bridge {spec.bridge}: this host does not forward IPv4 (net.ipv4.ip_forward is 0), so no guest gets out;"
            " switch it on or say ip_forward: enable."
        )
    for other in seen.records.values():
        if other.bridge == spec.bridge:
            continue
        for subnet in spec.subnets:
            for theirs in other.subnets:
                if overlap(subnet, theirs):
                    raise InvalidSpec(
                        f"nat of bridge {spec.bridge}: subnet {subnet} overlaps {theirs} of bridge {other.bridge}"
                        f" (in {record.path(other.bridge)}); take another one, or remove the NAT of {other.bridge} first."
                    )


def _owned(spec: NatSpec, known: Record | None, found: Tables) -> Tables:
    """All rules that are the bridge's: the wanted, the recorded, and without a record the recipe's where all of it is there."""
    stated = rules.render(spec.bridge, spec.subnets) if spec.subnets else {}
    if known is not None:
        return rules.union(stated, known.rules, known.stale)
    recipe = rules.recognise(spec.bridge, found)
    return rules.union(stated, rules.render(spec.bridge, recipe)) if recipe else stated


def _rules(changes: ChangeSet, plan: NatPlan, name: str, wanted: Tables, owned: Tables) -> None:
    found = plan.result.tables[name]
    after: Tables = {table: dict(chains) for table, chains in found.items()}
    suffix = "" if name == plan.backend else f" ({name})"
    plan.owned[name] = owned
    for table in tables.TABLES:
        lines: list[str] = []
        sites: list[tuple[tables.Site, list[str], Own]] = []
        for chain in (chain for of_table, chain in tables.CHAINS if of_table == table):
            own = Own(tables.get(owned, table, chain))
            site = tables.Site(found, table, chain, changes.object)
            target = site.place(tables.get(wanted, table, chain), own)
            lines += tables.edits(chain, site.have, target, own)
            sites.append((site, target, own))
            after.setdefault(table, {})[chain] = target
        if lines:
            before = [line for site, _target, own in sites for line in _shown(site.chain, site.have, own)]
            changes.add(
                f"{table}{suffix}",
                before,
                [line for site, target, own in sites for line in _shown(site.chain, target, own)],
            )
            plan.edits.append(Edit(name, table, tuple(lines)))
    plan.result = dataclasses.replace(plan.result, tables={**plan.result.tables, name: after})


def _shown(chain: str, lines: t.Sequence[str], own: Own) -> list[str]:
    return [f"{chain}[{index}] {rule}" for index, rule in enumerate(lines, 1) if rule in own]


def _files(changes: ChangeSet, plan: NatPlan, spec: NatSpec, new: Record | None) -> None:
    seen = plan.result
    records = {bridge: one for bridge, one in seen.records.items() if bridge != spec.bridge}
    if new is not None:
        records[spec.bridge] = new
    path = record.path(spec.bridge)
    wanted: dict[str, str | None] = {path: record.text(new) if new is not None else None}
    if new is not None and spec.ip_forward == "enable":
        wanted[persist.SYSCTL] = persist.SYSCTL_TEXT
    elif not records and seen.files.get(persist.SYSCTL) == persist.SYSCTL_TEXT:
        wanted[persist.SYSCTL] = None
    unit = persist.files(seen.python)
    if any(one.persist == "systemd" for one in records.values()):
        wanted.update(unit)
        on = True
    else:
        wanted.update(dict.fromkeys(unit))
        on = False
    for path, text in wanted.items():
        _file(changes, plan, path, text)
    if on and (not seen.unit_on or persist.UNIT in plan.files):
        plan.unit = "start"
        if not seen.unit_on:
            changes.add("unit", "off", "on")
    elif not on and persist.UNIT in plan.files:
        plan.unit = "stop"
        changes.add("unit", "on", "off")
    files = {path: text for path, text in {**seen.files, **plan.files}.items() if text is not None}
    plan.result = dataclasses.replace(seen, records=records, files=files, unit_on=on)


def _file(changes: ChangeSet, plan: NatPlan, path: str, text: str | None) -> None:
    before = plan.result.files.get(path)
    if before == text:
        return
    plan.files[path] = text
    changes.add(
        path,
        "absent" if before is None else "present",
        "absent" if text is None else "changed" if before else "present",
    )
    if path not in (persist.PLACE, persist.REPLAY):
        # The programs are of no interest to a reader of the diff.
        changes.document(path, before or "", text or "")
