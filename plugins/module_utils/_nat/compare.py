# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""NAT: (wanted, observed) -> ChangeSet. Pure."""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import (
    beside,
    conditions,
    dialect,
    persist,
    placing,
    record,
    rules,
    tables,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.firewalld import Move
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.observe import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.record import Record
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.shape import concern_others
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.spec import NatSpec, overlapping
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Own, Tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.values import of_version


@dataclasses.dataclass(frozen=True)
class Edit:
    """What happens to one table of one backend: the lines for iptables-restore, and by chain all rules as they are to be,
    which is how nft gets them."""

    backend: str
    table: str
    lines: tuple[str, ...]
    chains: dict[str, list[str]]


@dataclasses.dataclass
class NatPlan:
    """What the apply room does for one bridge.

    ``ahead`` are the records to write before any rule is touched, by path: they know the rules of before and of after. ``files``
    are texts by path (None = remove). ``owned`` are all rules of ours by backend, before and after. ``uplinks`` are
    the devices that are told to go on learning routes. ``unit`` is ``start`` or ``stop``. ``moves`` are between zones of
    firewalld, ``forget`` the subnets whose connections end. ``result`` is the host as it is then.
    """

    backend: str
    result: Snapshot
    edits: list[Edit] = dataclasses.field(default_factory=list)
    owned: dict[str, Tables] = dataclasses.field(default_factory=dict)
    ahead: dict[str, str] = dataclasses.field(default_factory=dict)
    files: dict[str, str | None] = dataclasses.field(default_factory=dict)
    forwarding: bool = False
    forwarding6: bool = False
    uplinks: frozenset[str] = frozenset()
    unit: str | None = None
    moves: list[Move] = dataclasses.field(default_factory=list)
    forget: tuple[str, ...] = ()


def compare(spec: NatSpec, seen: Snapshot) -> ChangeSet:
    """The changes that bring the NAT of one bridge to its specification; ``plan`` is a NatPlan.

    Raises KvmError when the host cannot give what is asked for.
    """
    conditions.check(spec, seen)
    known = seen.records.get(spec.bridge)
    spec = conditions.resolved(spec, seen, known)
    name = seen.backend_of(spec)
    plan = NatPlan(backend=name, result=seen)
    changes = ChangeSet(spec.bridge, plan)
    new = None
    if spec.state == "present":
        zone = beside.owned_zone(spec, seen)
        new = Record(spec.bridge, name, persistence(spec, seen), spec.subnets, {}, shape=spec.shape, zone=zone)
        new = _record(new, seen.records)
    for version, one in ((4, name), (6, record.six(name))):
        wanted = new.of(one)[0] if new is not None else {}
        if version == 4 or one in seen.tables:
            kept = _kept(known, known.all(version), one, seen.records) if known is not None else None
            _rules(changes, plan, one, spec.bridge, wanted, _owned(spec, version, wanted, kept, seen.tables[one]))
    if known is not None:
        # They are removed where they were, also where a move that was ended amid has left some.
        for one in (one for one in known.backends() if one not in (name, record.six(name))):
            _rules(changes, plan, one, spec.bridge, {}, _kept(known, known.all(record.version(one)), one, seen.records))
    if spec.state == "present" and spec.ip_forward == "enable":
        _forwarding(changes, plan, spec)
    plan.moves, zones = beside.zone(changes, spec, seen)
    plan.result = dataclasses.replace(plan.result, zones=zones)
    if plan.edits and spec.flush_conntrack:
        plan.forget = beside.connections(changes, spec, seen)
    _files(changes, plan, spec, new)
    if plan.edits and new is not None:
        _ahead(plan, seen, new, plan.owned)
    _neighbours(changes, plan, seen)
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
        for edit in (edit for edit in plan.edits if edit.backend not in dialect.FAMILIES):
            found.setdefault((edit.backend, edit.table), []).extend(edit.lines)
    order = tables.TABLES[::-1] if closing else tables.TABLES
    # The versions of IP have nothing to do with each other.
    ordered = sorted(found, key=lambda place: (record.version(place[0]), order.index(place[1])))
    return [(name, table, tables.payload(table, found[(name, table)])) for name, table in ordered]


def inputs(plans: t.Sequence[NatPlan], closing: bool) -> list[tuple[str, str]]:
    """(backend, input) of each program that is run: the payloads of its tables, each of which commits by itself; all of
    nft's at once."""
    grouped = itertools.groupby(payloads(plans, closing), key=lambda one: one[0])
    found = [(name, "".join(text for _name, _table, text in several)) for name, several in grouped]
    scripts = [one for one in (_script(plans, name) for name in dialect.FAMILIES) if one is not None]
    # A bridge that moves has its rules twice for a moment, never none.
    ours = [(name, text) for name, text, _left in scripts]
    return [*ours, *found] if any(left for _name, _text, left in scripts) else [*found, *ours]


def _script(plans: t.Sequence[NatPlan], name: str) -> tuple[str, str, bool] | None:
    """The backend, what nft is told, and whether rules are left in its table; None when nothing changes there."""
    chains: dict[tuple[str, str], list[str]] = {}
    for edit in (edit for plan in plans for edit in plan.edits if edit.backend == name):
        chains.update({(edit.table, chain): target for chain, target in edit.chains.items()})
    if not chains:
        return None
    after = plans[-1].result.tables[name]
    left = dialect.OTHERS in after or any(some for table in after.values() for some in table.values())
    return name, dialect.script(dialect.FAMILIES[name], chains, empty=not left), left


def persistence(spec: NatSpec, seen: Snapshot) -> str:
    """``systemd`` or ``none``: how the rules of the bridge come back after a restart of the host."""
    if spec.persist == "auto":
        return "systemd" if seen.systemd else "none"
    return spec.persist


def _record(one: Record, records: t.Mapping[str, Record]) -> Record:
    """A record with the rules of its bridge among the others that are recorded."""
    neighbours = [
        rules.Neighbour(bridge, other.shape.inter_bridge, other.shape.port_forwards, other.subnets)
        for bridge, other in sorted(records.items())
        if bridge != one.bridge
    ]
    four, six = (rules.render(one.bridge, one.subnets, one.shape, neighbours, version) for version in (4, 6))
    return dataclasses.replace(one, rules=four, stale={}, rules6=six, stale6={}, left=())


def _forwarding(changes: ChangeSet, plan: NatPlan, spec: NatSpec) -> None:
    seen = plan.result
    if of_version(spec.subnets, 4) and not seen.forwarding:
        changes.add("ip_forward", False, True)
        plan.forwarding = True
    if of_version(spec.subnets, 6):
        # First these: they would lose the routes that they have learned.
        plan.uplinks = seen.uplinks
        for device in sorted(seen.uplinks):
            changes.add(f"accept_ra of {device}", 1, 2)
        if not seen.forwarding6:
            changes.add("ipv6_forward", False, True)
            plan.forwarding6 = True
    plan.result = dataclasses.replace(
        seen,
        forwarding=seen.forwarding or plan.forwarding,
        forwarding6=seen.forwarding6 or plan.forwarding6,
        uplinks=seen.uplinks - plan.uplinks,
    )


def _ahead(plan: NatPlan, seen: Snapshot, new: Record, owned: t.Mapping[str, Tables]) -> None:
    # Also what is in another backend: the text of a rule is the same there.
    both = [rules.union(*(some for name, some in owned.items() if record.version(name) == one)) for one in (4, 6)]
    stale, stale6 = rules.without(both[0], new.rules), rules.without(both[1], new.rules6)
    left = tuple(name for name in owned if record.version(name) == 4 and name != new.backend)
    text = record.text(dataclasses.replace(new, stale=stale, stale6=stale6, left=left))
    path = record.path(new.bridge)
    if seen.files.get(path) != text:
        plan.ahead[path] = text


def _neighbours(changes: ChangeSet, plan: NatPlan, seen: Snapshot) -> None:
    """What the change of this bridge means for the rules of the others: those that are about this one."""
    said = [one.shape for some in (seen.records, plan.result.records) for one in some.values()]
    if not concern_others(said):
        return
    for bridge, known in sorted(plan.result.records.items()):
        new, path = _record(known, plan.result.records), record.path(bridge)
        text = record.text(new)
        if bridge == changes.object or text == plan.result.files.get(path):
            continue
        owned = {one: rules.union(new.of(one)[0], *known.all(record.version(one))) for one in known.backends()}
        for one, some in owned.items():
            _rules(changes, plan, one, bridge, new.of(one)[0], some)
        _ahead(plan, seen, new, owned)
        _file(changes, plan, path, text)
        plan.result = dataclasses.replace(
            plan.result, records={**plan.result.records, bridge: new}, files={**plan.result.files, path: text}
        )


def _kept(known: Record, both: t.Sequence[Tables], name: str, records: t.Mapping[str, Record]) -> Tables:
    """The recorded rules of a bridge, but for those that another one has in this backend by now: it got the subnet earlier in the
    same call."""
    some = rules.union(*both)
    for other in records.values():
        if other.bridge != known.bridge and (known.stale or known.stale6 or overlapping(known.subnets, other.subnets)):
            some = rules.without(some, other.of(name)[0])
    return some


def _owned(spec: NatSpec, version: int, wanted: Tables, kept: Tables | None, found: Tables) -> Tables:
    """All rules that are the bridge's: the wanted, the recorded, and without a record the recipe's where all of it is there."""
    stated = rules.union(wanted, rules.render(spec.bridge, spec.subnets, spec.shape, version=version))
    if kept is not None:
        return rules.union(stated, kept)
    recipe = rules.recognise(spec.bridge, found) if version == 4 else ()
    return rules.union(stated, rules.render(spec.bridge, recipe)) if recipe else stated


def _rules(changes: ChangeSet, plan: NatPlan, name: str, bridge: str, wanted: Tables, owned: Tables) -> None:
    found = plan.result.tables[name]
    after: Tables = {table: dict(chains) for table, chains in found.items()}
    suffix = ("" if bridge == changes.object else f" of {bridge}") + ("" if name == plan.backend else f" ({name})")
    plan.owned[name] = rules.union(plan.owned.get(name, {}), owned)
    rewrite = tables.Rewrite()
    for table in tables.TABLES:
        sites: list[tuple[placing.Site, list[str], Own]] = []
        for chain in (chain for of_table, chain in tables.CHAINS if of_table == table):
            own = Own(tables.get(owned, table, chain))
            site = placing.Site(found, table, chain, bridge)
            target = site.place(tables.get(wanted, table, chain), own)
            rewrite.bring(table, chain, site.have, target, own)
            sites.append((site, target, own))
            after.setdefault(table, {})[chain] = target
        if rewrite.lines[table]:
            before = [line for site, _target, own in sites for line in _shown(site.chain, site.have, own)]
            changes.add(
                f"{table}{suffix}",
                before,
                [line for site, target, own in sites for line in _shown(site.chain, target, own)],
            )
            changed = {chain: target for (of_table, chain), target in rewrite.chains.items() if of_table == table}
            plan.edits.append(Edit(name, table, tuple(rewrite.lines[table]), changed))
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
    wanted.update(_sysctl(plan, spec, records))
    on = any(one.persist == "systemd" for one in records.values())
    wanted.update(persist.files(seen.python) if on else dict.fromkeys((*persist.PROGRAMS, *persist.UNITS)))
    for path, text in wanted.items():
        _file(changes, plan, path, text)
    if on and (not seen.unit_on or any(path in persist.UNITS for path in plan.files)):
        plan.unit = "start"
        if not seen.unit_on:
            changes.add("unit", "off", "on")
    elif not on and any(path in persist.UNITS for path in plan.files):
        plan.unit = "stop"
        changes.add("unit", "on", "off")
    files = {path: text for path, text in {**seen.files, **plan.files}.items() if text is not None}
    plan.result = dataclasses.replace(seen, records=records, files=files, unit_on=on)


def _sysctl(plan: NatPlan, spec: NatSpec, records: t.Mapping[str, Record]) -> dict[str, str | None]:
    before = plan.result.files.get(persist.SYSCTL)
    left = {version for version in (4, 6) for one in records.values() if of_version(one.subnets, version)}
    own: set[int] = set()
    if spec.state == "present" and spec.ip_forward == "enable":
        own = {version for version in (4, 6) if of_version(spec.subnets, version)}
    return {persist.SYSCTL: persist.next_sysctl(before, left, own, plan.uplinks)}


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
    if path not in persist.PROGRAMS:
        # The programs are of no interest to a reader of the diff.
        changes.document(path, before or "", text or "")
