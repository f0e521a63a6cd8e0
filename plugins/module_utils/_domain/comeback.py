# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: a guest that was stopped for a change and does not start with it comes back as it was. Part of the apply room: it writes.

Whether a definition starts shows only when it is started, and until then the guest was stopped for it. So its old definition
takes its place again. Where that does not start either (an earlier task has changed it, and the guest had not been started
since), the guest gets what it ran with, and its definition waits on.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import Change, ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import candidate, exchange, running, steps, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.activity import Step
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.compare import DomainPlan
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.halfway import Mark
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.claims import Claims
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.situation import Situation
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.observe import DomainState
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.steps import Task
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import domains
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.domains import RawDomain

_ADVICE = "correct the declaration, or what it lacks on the host, then run the task again"


@dataclasses.dataclass(frozen=True)
class Way:
    """One domain as it was before, with the plan that was to change it."""

    task: Task
    observed: DomainState
    changes: ChangeSet

    @property
    def plan(self) -> DomainPlan:
        """What was to be done."""
        return t.cast("DomainPlan", self.changes.plan)

    @property
    def stopped(self) -> bool:
        """Whether a guest was stopped that was to be started again."""
        return self.observed.active and bool(self.plan.activity.ending) and self.plan.activity.starts

    @property
    def steps(self) -> list[Step]:
        """How it gets where it was to get to, with a definition that stays."""
        return [step for step in self.plan.activity.following if step != "forget"]

    def read(self) -> RawDomain | None:
        """The domain as it is now."""
        return domains.read(self.task.connection, self.task.name)


@dataclasses.dataclass
class Back:
    """What has come of bringing a guest back: what has failed as well, and whether it runs with what it ran with, which is not
    its definition; ``waiting`` is what that lacks."""

    failures: list[str] = dataclasses.field(default_factory=list)
    as_it_ran: bool = False
    waiting: tuple[str, ...] = ()


def make(way: Way, define: t.Callable[[], None]) -> None:
    """Defines a domain that was stopped to become another one; where that fails, the one that it was is started again."""
    try:
        define()
    except KvmError as exc:
        if _is_off(way.read()):
            _give_up(way, exc, "it cannot be made anew", grown=False)
        raise


def end(way: Way) -> None:
    """The steps until the guest is off; where it does not end, the changes say what has come of it until then."""
    try:
        steps.end(way.task, way.plan.activity.ending)
    except KvmError:
        raw = way.read()
        _tell(way, raw, None, old=raw is not None and _is_old(raw, way.observed), grown=not way.plan.anew)
        raise


def follow(way: Way) -> None:
    """The steps that come after the definition; where it does not start, what was there before comes back."""
    try:
        steps.run(way.task, way.plan.activity.following)
    except KvmError as exc:
        if way.plan.activity.starts and _is_off(way.read()):
            _give_up(way, exc, "it does not start as declared", grown=True)
        raise


def _is_off(raw: RawDomain | None) -> bool:
    return raw is None or not (raw.active or raw.saved_xml)


def _give_up(way: Way, error: KvmError, what: str, *, grown: bool) -> None:
    """Puts into the error, and into the changes, what has come of the domain."""
    back = Back()
    if way.stopped:
        back = _bring_back(way)
    raw = way.read()
    old = raw is not None and _is_old(raw, way.observed)
    error.details["domain_state"] = "absent" if raw is None else _state(raw)
    if way.stopped:
        failures = ", ".join([f"{what} ({_said(error)})", *back.failures])
        error.message = f"domain {way.task.name}: {failures}; {_outcome(way, raw, back, old)}; {_ADVICE}."
    elif raw is not None and way.plan.merged is not None and not old:
        error.message += " It is defined as declared, and the next run tries to start it again."
    _tell(way, raw, back, old=old, grown=grown)


def _said(error: KvmError) -> str:
    return str(error.details.get("libvirt_message", error.message)).strip().rstrip(".")


def _state(raw: RawDomain) -> str:
    return "saved" if raw.saved_xml is not None else raw.state


def _is_old(raw: RawDomain, observed: DomainState) -> bool:
    """Whether it is what it was before."""
    if observed.document is None:
        return False
    return not raw.persistent or candidate.plain(raw.inactive_xml) == candidate.plain(observed.document)


def _bring_back(way: Way) -> Back:
    """Lets the guest run again: with its definition from before, else with what it ran with."""
    back = Back()
    try:
        another = _put_back(way)
    except KvmError as exc:
        back.failures.append(f"its old definition cannot be put back ({_said(exc)})")
        return back
    observed = way.observed
    if another and _runs(way, back, "nor with its old definition", None if _has_definition(way) else observed.document):
        return back
    if observed.persistent and observed.live is not None:
        # Its definition stays what it is meanwhile.
        back.as_it_ran = _runs(way, back, "nor as it has run", xml.without_labels(observed.live))
        back.waiting = _waiting(observed) if back.as_it_ran else ()
    return back


def _has_definition(way: Way) -> bool:
    raw = way.read()
    return raw is not None and raw.persistent


def _runs(way: Way, back: Back, what: str, document: str | None) -> bool:
    try:
        steps.run(dataclasses.replace(way.task, document=document), way.steps)
    except KvmError as exc:
        back.failures.append(f"{what} ({_said(exc)})")
    return not _is_off(way.read())


def _put_back(way: Way) -> bool:
    """Puts the definition from before in force; whether it is another one than what did not start."""
    observed, raw = way.observed, way.read()
    if observed.document is None or raw is None:
        return observed.document is not None
    if raw.uuid != observed.uuid:
        exchange.replace(way.task.connection, Mark(True, way.task.name, raw.uuid, raw.autostart), observed.document)
    elif not _is_old(raw, observed):
        domains.define(way.task.connection, way.task.name, observed.document)
    else:
        # libvirt has refused the new one.
        return way.plan.anew
    return True


def _waiting(observed: DomainState) -> tuple[str, ...]:
    """What of the definition from before has waited for the next start of the guest."""
    if observed.document is None:
        return ()
    last, live = observed.memory, observed.live_memory
    found = running.look(
        observed,
        observed.document,
        Claims(last, last, live),
        situation=Situation(cpus=observed.cpus, refused=live.refused),
        waiting=live.waiting,
    )
    return tuple(item.field for item in found.pending) if found is not None else ()


def _outcome(way: Way, raw: RawDomain | None, back: Back, old: bool) -> str:
    """Which definition is in force now, and what the guest is."""
    if raw is None:
        return "it had no definition, so nothing is left of it"
    state = _state(raw)
    if not raw.persistent:
        return f"it is {state} again as it was before"
    if not old:
        return f"the new definition is in force, and the guest is {state}"
    which = "the old definition is in force again" if way.plan.merged is not None else "the definition stays"
    if back.as_it_ran:
        return f"{which} and waits for the next start, and the guest is {state} again as it has run before"
    return f"{which}, and the guest is {state}{' with it' if raw.active else ''}"


def _tell(way: Way, raw: RawDomain | None, back: Back | None, *, old: bool, grown: bool) -> None:
    """Leaves in the changes what has come about; ``back`` is None where the guest goes on, and what waits still does."""
    blocks, changes = way.plan.blocks, way.changes
    sizes = {f"disks.{growth.target}.size" for growth in blocks.growths}
    copied = {
        f"disks.{copy.target}.{part}" for copy in blocks.copies for part in ("mirror", "source", "type", "format")
    }

    def holds(change: Change) -> bool:
        if change.field in sizes:
            return grown
        if change.field == "name" or raw is None or change.field == "state" or change.field in copied:
            return change.field == "name"
        if change.field in ("persistent", "autostart"):
            return bool(getattr(raw, change.field) == change.after)
        return not old

    changes.only(holds, documents=raw is not None and not old)
    now = "absent" if raw is None else _state(raw)
    if now != way.observed.state:
        changes.add("state", way.observed.state, now)
    changes.restarts = False
    if back is not None:
        changes.waits_for_start(back.waiting)
