# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: (wanted, observed, last declaration) -> ChangeSet. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet, Effect
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import (
    activity,
    another,
    candidate,
    halfway,
    planning,
    preflight,
    running,
    xml,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.activity import Activity
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks import plan as block_plan
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks.plan import Blocks
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.candidate import Candidate, Ground
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.character import AGENT
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kinds import KINDS
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import naming
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document.naming import Named
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.halfway import Mark
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.claims import Claims
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.situation import Situation
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.observe import DomainState
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.running import Running
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.xml import Merged, Seen
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, InvalidSpec, KvmError

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

_NOTHING = Seen({}, {kind.option: {} for kind in KINDS})
_EMPTY = "<domain/>"


@dataclasses.dataclass
class DomainPlan:
    """What the apply room does, in this order; None, empty or False = nothing of the kind."""

    #: What is not there yet: the real run stops here.
    missing: list[str] = dataclasses.field(default_factory=list)
    #: What runs, and what it gets at once.
    running: Running | None = None
    #: Whether it has a definition, or will have one.
    persistent: bool = True
    merged: Merged | None = None
    #: What is started without a definition.
    create: Merged | None = None
    #: The definition that was compared; then the one that libvirt has kept of ``merged`` (None: it is another by now).
    kept: str | None = None
    #: The same with what libvirt will keep of it.
    candidate: Candidate | None = None
    #: What has to be known beforehand, for the warnings.
    notes: list[str] = dataclasses.field(default_factory=list)
    #: What came otherwise than was foreseen, for the warnings.
    surprises: list[str] = dataclasses.field(default_factory=list)
    #: The record of the declaration alone, when it differs and nothing else does.
    remember: Memory | None = None
    #: That of what runs, which may still be in line with an earlier one.
    remember_live: Memory | None = None
    autostart: bool | None = None
    activity: Activity = dataclasses.field(default_factory=Activity)
    #: Whether it becomes another domain: then it is defined when it is off.
    anew: bool = False
    #: The definition whose place the new one takes, when that has another UUID.
    replaces: Mark | None = None
    #: What was cut off earlier and is put right first.
    left: Mark | None = None
    #: What disks need beside their definition.
    blocks: Blocks = dataclasses.field(default_factory=Blocks)
    #: Files to unlink when the domain is gone, by target.
    remove: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    #: The file of its firmware's variables, when there is no definition with which libvirt would remove it.
    variables: str | None = None


def compare(spec: DomainSpec, observed: DomainState) -> ChangeSet:
    """The changes that bring the domain to its specification; ``plan`` is a DomainPlan.

    Raises InvalidSpec for what cannot be, Busy for a disk that must not be removed.
    """
    doing = activity.plan(_aim(spec), _now(observed))
    changes = ChangeSet(spec.name, DomainPlan(activity=doing, left=observed.left, kept=observed.document))
    if observed.left is not None:
        changes.add("name", halfway.aside(spec.name), spec.name if observed.left.old else None)
    if spec.state == "absent":
        _absent(changes, spec, observed)
        return changes
    if not observed.exists and "memory" not in spec.definition.scalars and spec.definition.document is None:
        raise InvalidSpec(f"domain {spec.name}: it does not exist yet, so state what it is, at least its memory.")
    found: Candidate | None = None
    changes.plan.persistent = observed.persistent or not observed.exists or _to_define(spec, observed)
    if spec.definition:
        found = _definition(changes, spec, observed)
    elif changes.plan.activity.goes_on and observed.document is not None:
        _look(changes, observed, Memory(), observed.document)
    if spec.wait.needs_agent and not _has_agent(observed.document if found is None else found.after):
        thing = "agent" if spec.wait.agent else "cloud_init"
        raise InvalidSpec(
            f"domain {spec.name}: wait_for {thing} needs a channel to it; add an entry with its name ({AGENT}) to channels."
        )
    _pending(changes, spec, observed)
    block_plan.guard(changes, spec, observed)
    _persistence(changes, spec, observed)
    if changes.compare("autostart", observed.autostart, spec.autostart):
        changes.plan.autostart = spec.autostart
    if changes.plan.activity.told is not None:
        changes.add("state", *changes.plan.activity.told)
    if changes and spec.definition:
        preflight.check(spec, observed)
        changes.plan.missing += preflight.missing(spec, observed)
        changes.plan.notes += preflight.kept_variables(spec, observed, [change.field for change in changes.changes])
    return changes


def _has_agent(document: str | None) -> bool:
    return document is not None and AGENT in xml.read(document).devices["channels"]


def _aim(spec: DomainSpec) -> activity.Wanted:
    return activity.Wanted(
        spec.name, spec.state, bool(spec.transient), spec.force_stop, discard=spec.managed_save == "discard"
    )


def _now(observed: DomainState) -> activity.Now:
    return activity.Now(observed.state, observed.reason, observed.persistent)


def _to_define(spec: DomainSpec, observed: DomainState) -> bool:
    """Whether a transient domain gets a definition: what is off, is saved or starts with the host needs one."""
    if not observed.exists or observed.persistent or spec.transient:
        return False
    return bool(spec.definition or spec.autostart or spec.transient is False or spec.state in ("stopped", "saved"))


def _persistence(changes: ChangeSet, spec: DomainSpec, observed: DomainState) -> None:
    """Tells what becomes of the definition, and gives the plan the document of a domain that is to have none."""
    plan = changes.plan
    as_it_is = Merged(observed.document or "", observed.memory)
    if _to_define(spec, observed):
        changes.add("persistent", False, True)
        plan.merged = plan.merged or as_it_is
    elif spec.transient and observed.persistent:
        changes.add("persistent", True, False)
    elif (spec.transient or observed.exists) and not observed.persistent and plan.activity.starts:
        plan.create, plan.merged = plan.merged or as_it_is, None


def _absent(changes: ChangeSet, spec: DomainSpec, observed: DomainState) -> None:
    around = observed.around
    disks: t.Collection[str] = around.files
    if observed.exists and observed.document is not None:
        disks = xml.read(observed.document).devices["disks"]
        for target in spec.remove_disks:
            if target not in disks:
                have = ", ".join(disks) or "none"
                raise InvalidSpec(
                    f"domain {spec.name}: remove_disks names {target}, which it does not have (it has: {have})."
                )
        changes.add("state", observed.state, "absent")
        changes.plan.variables = None if observed.persistent else around.variables
        changes.document(f"{spec.name} (definition)", xml.shown(observed.document), "")
    for target in dict.fromkeys(spec.remove_disks):
        if target not in disks:
            continue
        reason = around.removable.get(target)
        if reason is not None:
            raise Busy(f"domain {spec.name}: disk {target} {reason}; take it out of remove_disks.")
        paths = changes.plan.remove[target] = around.files[target]
        changes.add(f"disks.{target}.source", paths[0] if len(paths) == 1 else list(paths), None)


def _definition(changes: ChangeSet, spec: DomainSpec, observed: DomainState) -> Candidate:
    """Compares what is defined with what is to be; returns the latter."""
    found = observed.candidate or planning.immediate(_ground(spec, observed))
    if isinstance(found, KvmError):
        # What is found here says more than what libvirt has against the outcome, and is what a real run says.
        another.refuse_what_cannot_change(spec, observed)
        preflight.check(spec, observed)
        raise found
    differences = _differences(spec, observed, found) if found.changed else []
    anew = [item for item in differences if another.is_cause(observed, item)]
    if anew:
        another.allowed(spec, observed, anew, found)
        _anew(changes, spec, observed, anew)
    if changes.plan.activity.goes_on:
        _look(changes, observed, found.memory, found.after, found.generated)
    if found.changed:
        for difference in differences:
            _named(changes, difference, difference in anew)
        texts = (lambda: xml.shown(observed.document), lambda: xml.shown(found.after))
        changes.document(f"{spec.name} (definition)", *texts)
    changes.plan.blocks = block_plan.compare(changes, spec, observed)
    if changes or _to_define(spec, observed):
        changes.plan.merged = Merged(found.document, found.memory)
        changes.plan.candidate = found
    else:
        _remember(changes.plan, observed, found.memory)
    return found


def _remember(plan: DomainPlan, observed: DomainState, now: Memory) -> None:
    if now.to_text() != observed.memory.to_text():
        plan.remember = now
    if plan.running is not None and plan.activity.reachable:
        record = plan.running.record(now, observed.live_memory)
        if record.to_text() != observed.live_memory.to_text():
            plan.remember_live = record


def _ground(spec: DomainSpec, observed: DomainState) -> Ground:
    around = observed.around
    return Ground(spec, observed.document, observed.memory, around.virt_type, around.machines, native=around.native)


def _differences(spec: DomainSpec, observed: DomainState, found: Candidate) -> list[Named]:
    if found.named is not None:
        return list(found.named)
    last = observed.memory
    devices = {kind.option: _owned(kind, found.memory, last) for kind in KINDS}
    if observed.document is not None:
        scalars = [*spec.definition.scalars, *(name for name in last.scalars if name not in spec.definition.scalars)]
        return naming.differences(observed.document, found.after, scalars, devices)
    # Of a new domain what was asked for; what libvirt adds to it shows in the diff.
    asked = _asked_for(found)
    if spec.definition.document is not None:
        found_in = naming.differences(_EMPTY, _xml.to_text(asked), [], {})
        return [dataclasses.replace(item, before=None) for item in found_in if item.field != "name"]
    # Without their addresses, which were drawn by lot, interfaces are known by their order.
    macs = [label for label in devices["interfaces"] if label in found.generated]
    lot = {mac: f"{xml.NEW}{index}" for index, mac in enumerate(macs)}
    devices["interfaces"] = {lot.get(label, label): names for label, names in devices["interfaces"].items()}
    return naming.stated(asked, list(dict.fromkeys([*spec.definition.scalars, "type"])), devices)


def _asked_for(found: Candidate) -> Element:
    """The new definition as it is handed to libvirt, without what was drawn by lot."""
    if not isinstance(found.foreseen, str):
        return found.foreseen
    if not found.normalised:
        return _xml.parse(found.foreseen)
    return _xml.parse(candidate.without_lot(found.document, found.document, found.lot))


def _anew(changes: ChangeSet, spec: DomainSpec, observed: DomainState, causes: t.Sequence[Named]) -> None:
    """It is off in between, so nothing is to be brought to what runs."""
    changes.plan.anew = True
    changes.plan.replaces = another.replaced(spec, observed, causes)
    changes.plan.activity = activity.plan(dataclasses.replace(_aim(spec), anew=True), _now(observed))
    changes.restarts = bool(changes.plan.activity.ending)


def _named(changes: ChangeSet, difference: Named, anew: bool) -> None:
    effect: Effect = "recreate" if anew else "next_boot" if changes.plan.activity.goes_on else "live"
    if changes.plan.running is not None:
        effect = changes.plan.running.effect(difference.field)
    changes.add(difference.field, difference.before, difference.after, effect, secret=difference.secret)


def _owned(kind: Kind, now: Memory, last: Memory) -> dict[str, list[str]]:
    """The labels of the devices that a declaration names, with the options that it states, now or last time."""
    owned: dict[str, list[str]] = {}
    for memory in (now, last):
        for label, options in memory.devices.get(kind.option, {}).items():
            owned.setdefault(label, []).extend(name for name in options if name not in owned.get(label, ()))
    return owned


def _look(
    changes: ChangeSet, observed: DomainState, now: Memory, wanted: str, generated: t.Collection[str] = ()
) -> None:
    """Compares what runs, or is saved and will run again, with what the definition is to be."""
    claims = Claims(now, observed.memory, observed.live_memory, generated=generated)
    changes.plan.running = running.look(
        observed,
        wanted,
        claims,
        situation=_situation(changes, observed),
        waiting=observed.live_memory.waiting,
    )


def _situation(changes: ChangeSet, observed: DomainState) -> Situation:
    goes_on = any(step in ("resume", "wake") for step in changes.plan.activity.opening)
    paused = observed.state in ("paused", "suspended") and not goes_on
    return Situation(paused, observed.cpus, changes.plan.activity.reachable, observed.live_memory.refused)


def _pending(changes: ChangeSet, spec: DomainSpec, observed: DomainState) -> None:
    """What the running domain lacks: it gets at once what it can, of this change or an earlier one, and waits for the
    rest."""
    found = changes.plan.running
    if found is not None and spec.definition:
        for item in found.at_once:
            if not any(change.field == item.field for change in changes.changes):
                changes.add(item.field, item.before, item.after, "live", secret=item.secret)
    if changes.plan.activity.goes_on:
        wait_for_start(changes, spec, observed, found)


def wait_for_start(changes: ChangeSet, spec: DomainSpec, observed: DomainState, found: Running | None) -> None:
    """Tells what waits for the next start; starts the domain afresh when that is wished."""
    fields = found.pending if found is not None else ()
    known = [change.field for change in changes.changes if change.effect == "next_boot"]
    if spec.restart == "if_required" and (fields or known):
        changes.plan.activity = activity.plan(dataclasses.replace(_aim(spec), restart=True), _now(observed))
        changes.restarts = not changes.plan.activity.goes_on
    if changes.restarts:
        for item in fields:
            if not any(running.related(item.field, name) for name in known):
                changes.add(item.field, item.before, item.after, "next_boot", secret=item.secret)
    elif spec.transient:
        # Nothing can remember what waits: it stays a difference until a restart is allowed.
        changes.postpone()
        if changes.plan.merged is not None:
            changes.plan.merged, changes.plan.remember_live = None, changes.plan.merged.memory
    if found is not None:
        changes.waits_for_start(item.field for item in fields)
