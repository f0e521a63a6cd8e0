# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: (wanted, observed, last declaration) -> ChangeSet. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import HIDDEN, ChangeSet, Effect
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import preflight, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.character import AGENT
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kinds import KINDS
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Values
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.observe import DomainState
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.pending import waiting
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.scalars import BY_NAME, machine_family
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.xml import Merged, Seen
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, InvalidSpec, KvmError

_NOTHING = Seen({}, {kind.option: {} for kind in KINDS})


@dataclasses.dataclass
class DomainPlan:
    """What the apply room does, in this order; None, empty or False = nothing of the kind."""

    #: What is not there yet: the real run stops here.
    missing: list[str] = dataclasses.field(default_factory=list)
    #: Field to new value, in the running domain.
    live: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    merged: Merged | None = None
    #: The record of the declaration alone, when it differs and nothing else does.
    remember: Memory | None = None
    autostart: bool | None = None
    resume: bool = False
    stop: bool = False
    undefine: bool = False
    #: Files to unlink when the domain is gone, by target.
    remove: dict[str, Values] = dataclasses.field(default_factory=dict)
    start: bool = False


def compare(spec: DomainSpec, observed: DomainState) -> ChangeSet:
    """The changes that bring the domain to its specification; ``plan`` is a DomainPlan.

    Raises InvalidSpec for what cannot be, Busy for a disk that must not be removed.
    """
    changes = ChangeSet(spec.name, DomainPlan())
    if spec.state == "absent":
        _absent(changes, spec, observed)
        return changes
    if not observed.exists and "memory" not in spec.definition.scalars:
        raise InvalidSpec(f"domain {spec.name}: it does not exist yet, so state what it is, at least its memory.")
    wanted = xml.read(observed.document) if observed.document is not None else _NOTHING
    if spec.definition:
        wanted = _definition(changes, spec, observed)
    if spec.wait.agent and AGENT not in wanted.devices["channels"]:
        raise InvalidSpec(
            f"domain {spec.name}: wait_for agent needs a channel to it; add an entry with its name ({AGENT}) to channels."
        )
    if _stays(spec, observed) and observed.live is not None:
        _pending(changes, spec, xml.read(observed.live), wanted)
    if changes.compare("autostart", observed.autostart, spec.autostart):
        changes.plan.autostart = spec.autostart
    _activity(changes, spec, observed)
    if changes and spec.definition:
        preflight.check(spec, observed)
        changes.plan.missing = preflight.missing(spec, observed)
    return changes


def _stays(spec: DomainSpec, observed: DomainState) -> bool:
    return observed.active and spec.state in ("running", "defined")


def _absent(changes: ChangeSet, spec: DomainSpec, observed: DomainState) -> None:
    if not observed.exists or observed.document is None:
        return
    disks = xml.read(observed.document).devices["disks"]
    for target in spec.remove_disks:
        if target not in disks:
            have = ", ".join(disks) or "none"
            raise InvalidSpec(
                f"domain {spec.name}: remove_disks names {target}, which it does not have (it has: {have})."
            )
        reason = observed.around.removable.get(target)
        if reason is not None:
            raise Busy(f"domain {spec.name}: disk {target} {reason}; take it out of remove_disks.")
        changes.plan.remove[target] = disks[target]
    changes.add("state", observed.state, "absent")
    for target, disk in changes.plan.remove.items():
        changes.add(f"disks.{target}.source", disk["source"], None)
    changes.document(f"{spec.name} (definition)", xml.shown(observed.document), "")
    changes.plan.stop = observed.active
    changes.plan.undefine = observed.persistent


def _definition(changes: ChangeSet, spec: DomainSpec, observed: DomainState) -> Seen:
    """Compares what is owned, now and by the last declaration; returns what the definition is to be."""
    around, last = observed.around, observed.memory
    merged = xml.merge(
        spec.name, spec.definition, observed.document, last, virt_type=around.virt_type, aliases=around.machines
    )
    before = xml.read(observed.document) if observed.document is not None else _NOTHING
    after = xml.read(merged.document)
    options = [*spec.definition.scalars, *(name for name in last.scalars if name not in spec.definition.scalars)]
    for option in options:
        _scalar(changes, spec, observed, option, (before.scalars.get(option), after.scalars.get(option)))
    if not observed.exists and "type" not in spec.definition.scalars:
        changes.add("type", None, around.virt_type)
    effect: Effect = "next_boot" if _stays(spec, observed) else "live"
    for kind in KINDS:
        owned = _owned(kind, merged.memory, last)
        _devices(changes, kind, owned, (before.devices[kind.option], after.devices[kind.option]), effect)
    if observed.exists and not observed.persistent:
        changes.add("persistent", False, True)
    if changes:
        changes.plan.merged = merged
        changes.document(f"{spec.name} (definition)", xml.shown(observed.document), xml.shown(merged.document))
    elif merged.memory.to_text() != last.to_text():
        changes.plan.remember = merged.memory
    return after


def _scalar(
    changes: ChangeSet, spec: DomainSpec, observed: DomainState, option: str, pair: tuple[t.Any, t.Any]
) -> None:
    leaf, (before, after) = BY_NAME[option], pair
    if before == after:
        return
    if observed.exists and (leaf.effect == "recreate" or _other_machine(observed, option, before, after)):
        raise InvalidSpec(
            f"domain {spec.name}: its {option} is {before} and cannot become {after} while it exists;"
            " remove it (state: absent, its disks stay) and declare it again."
        )
    effect: Effect = "live"
    if _stays(spec, observed) and observed.live is not None:
        effect = "live" if leaf.effect == "live" and _now(option, after, xml.read(observed.live)) else "next_boot"
        if effect == "live":
            changes.plan.live[option] = after
    changes.add(option, before, after, effect)


def _other_machine(observed: DomainState, option: str, before: t.Any, after: t.Any) -> bool:
    """Another version of a machine is an update; another kind of machine has other buses, with every device elsewhere."""
    if option != "os.machine" or before is None or after is None:
        return False
    return machine_family(before) != machine_family(observed.around.machines.get(after, after))


def _now(option: str, value: t.Any, live: Seen) -> bool:
    """Whether a running domain takes this value at once."""
    if option == "current_memory":
        balloon = live.devices["memballoon"].get("0", {}).get("model", "none")
        return value is not None and value <= live.scalars["memory"] and balloon != "none"
    if option == "current_vcpus":
        # Fewer needs a guest that gives them up; that is left to the next start.
        return value is not None and live.scalars["current_vcpus"] <= value <= live.scalars["vcpus"]
    return True


def _owned(kind: Kind, now: Memory, last: Memory) -> dict[str, list[str]]:
    """The labels of the devices that a declaration names, with the options that it states, now or last time."""
    owned: dict[str, list[str]] = {}
    for memory in (now, last):
        for label, options in memory.devices.get(kind.option, {}).items():
            owned.setdefault(label, []).extend(name for name in options if name not in owned.get(label, ()))
    return owned


def _devices(
    changes: ChangeSet,
    kind: Kind,
    owned: dict[str, list[str]],
    documents: tuple[dict[str, Values], dict[str, Values]],
    effect: Effect,
) -> None:
    before, after = documents
    for label, options in owned.items():
        name = kind.option if kind.single else f"{kind.option}.{label}"
        old, new = before.get(label), after.get(label)
        if old is None or new is None:
            if old is not new:
                changes.add(name, _shown(kind, old), _shown(kind, new), effect)
            continue
        for leaf in kind.leaves:
            if leaf.name in options and old.get(leaf.name) != new.get(leaf.name):
                values = old.get(leaf.name), new.get(leaf.name)
                changes.add(f"{name}.{leaf.name}", *values, effect, secret=leaf.secret)


def _shown(kind: Kind, values: Values | None) -> Values | None:
    if values is None:
        return None
    secrets = [leaf.name for leaf in kind.leaves if leaf.secret]
    return {name: HIDDEN if name in secrets else value for name, value in values.items()}


def _pending(changes: ChangeSet, spec: DomainSpec, live: Seen, wanted: Seen) -> None:
    """What the running domain lacks, from this change or an earlier one; restarts it when that is wished."""
    fields = waiting(live, wanted)
    known = [change.field for change in changes.changes if change.effect == "next_boot"]
    if spec.restart == "if_required" and (fields or known):
        for field, (before, after, secret) in fields.items():
            if not any(field == name or field.startswith(f"{name}.") or name.startswith(f"{field}.") for name in known):
                changes.add(field, before, after, "next_boot", secret=secret)
        changes.restarts = True
        changes.plan.stop = changes.plan.start = True
    for field in fields:
        changes.require_restart(field)


def _activity(changes: ChangeSet, spec: DomainSpec, observed: DomainState) -> None:
    wanted, now = spec.state, observed.state
    if wanted == "defined":
        if not observed.exists:
            changes.add("state", "absent", "stopped")
        return
    if now == wanted:
        return
    if wanted == "running":
        _to_running(changes, spec, observed)
    else:
        changes.plan.stop = observed.active
    changes.add("state", now, wanted)


def _to_running(changes: ChangeSet, spec: DomainSpec, observed: DomainState) -> None:
    plan = changes.plan
    if observed.state in ("absent", "stopped"):
        plan.start = True
    elif observed.state == "stopping":
        plan.stop = plan.start = True
    elif observed.state == "paused" and observed.reason in ("user", "snapshot", "from_snapshot", "unknown"):
        # A restart that is due anyway starts it afresh, but only a guest that goes on can shut down for it.
        plan.resume = True
    elif spec.force_stop:
        plan.stop = plan.start = True
    else:
        raise KvmError(
            f"domain {spec.name}: it is {observed.state} ({observed.reason}), which cannot simply go on; find out why, or"
            " allow force_stop to have it forced off and started again.",
            domain_state=observed.state,
            domain_reason=observed.reason,
        )
