# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: carries out what a running domain gets at once.

The definition is made before, so whatever ends this half-way is found and done by the next run. Two things show nowhere
when they are due, and come before the definition: the balloon, and what the guest's agent is asked for.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import candidate, compare, running
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.compare import DomainPlan
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.situation import Operation, Refused, Situation
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.observe import DomainState
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.running import Running
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import live, refusals

#: Seconds between two looks at a device that is to go, after which the guest is asked again, and in which it has to be
#: gone: one that is just booting does not hear.
_POLL, _AGAIN, _GONE = 0.2, 4, 20
_TRIES = 3


@dataclasses.dataclass
class Refusals:
    """What the running domain did not take: why, by the key of the operation, and what it may take the next time."""

    reasons: dict[str, str] = dataclasses.field(default_factory=dict)
    passing: set[str] = dataclasses.field(default_factory=set)


_CALLS: dict[str, t.Callable[..., None]] = {
    "balloon": live.balloon,
    "guest_vcpus": live.guest_vcpus,
    "detach": live.detach,
    "update": live.update,
    "add_iothreads": live.add_iothreads,
    "attach": live.attach,
    "delete_iothreads": live.delete_iothreads,
    "iothread_parameters": live.iothread_parameters,
    "set_vcpus": live.set_vcpus,
    "enable_vcpus": live.enable_vcpus,
    "pin": live.pin,
    "scheduler": live.scheduler,
    "memory_limits": live.memory_limits,
    "block_limits": live.block_limits,
    "numa": live.numa,
    "block_io": live.block_io,
    "perf": live.perf,
    "lifecycle": live.lifecycle,
    "balloon_period": live.balloon_period,
    "title": live.title,
    "description": live.description,
    "metadata": live.metadata,
}


def first(connection: t.Any, changes: ChangeSet) -> None:
    """What comes before the definition."""
    found = _running(changes)
    for operation in found.plan.operations if found is not None else ():
        if operation.first:
            # What is refused here is not asked for again before the definition changes again.
            _carry_out(connection, changes, operation, Refusals())


def bring(connection: t.Any, spec: DomainSpec, observed: DomainState, changes: ChangeSet) -> None:
    """What comes after it. What the running domain does not take after all waits for its next start."""
    found, plan = _running(changes), t.cast("DomainPlan", changes.plan)
    if found is None or not plan.activity.reachable or not (plan.merged is not None or found.plan.operations):
        return
    noted = Refusals()
    for left in reversed(range(_TRIES)):
        try:
            if not _bring(connection, observed, changes, noted):
                return
            break
        except LibvirtError:
            # The daemon may have been started afresh; what was done by then shows, and only the rest is left.
            if not left or not refusals.is_broken(connection):
                raise
    after = _look(connection, observed, changes, exact=False, refused=noted.reasons)
    if after is None:
        return
    plan.running = after
    _tell(spec, observed, changes, after)
    if plan.candidate is not None:
        plan.remember_live = after.record(plan.candidate.memory, observed.live_memory, noted.passing)


def _bring(connection: t.Any, observed: DomainState, changes: ChangeSet, noted: Refusals) -> bool:
    """Carries out what is left to do; whether the domain still runs."""
    now = _look(connection, observed, changes, exact=True, refused=noted.reasons)
    if now is None:
        return False
    leaving = [operation for operation in now.plan.operations if operation.action == "detach"]
    # All are asked at once, and their places are free before others come.
    asked = [operation for operation in leaving if _carry_out(connection, changes, operation, noted)]
    _until_gone(connection, changes, noted, asked)
    if any(operation.key in noted.reasons for operation in leaving):
        # What has stayed still has its place, which others were to take.
        now = _look(connection, observed, changes, exact=True, refused=noted.reasons)
        if now is None:
            return False
    for operation in now.plan.operations:
        if not operation.first and operation.action != "detach":
            _carry_out(connection, changes, operation, noted)
    return True


def _running(changes: ChangeSet) -> Running | None:
    return t.cast("DomainPlan", changes.plan).running


def _look(
    connection: t.Any, observed: DomainState, changes: ChangeSet, *, exact: bool, refused: Refused | None = None
) -> Running | None:
    """Looks once more, at what is there now; ``exact``: with what chance has given new devices."""
    found, raw = _running(changes), live.read(connection, changes.object)
    if found is None or raw is None:
        return None
    wanted = _wanted(changes, raw.inactive_xml, exact)
    state = DomainState(exists=True, active=True, document=wanted, live=raw.live_xml, running=raw.running_xml)
    situation = Situation(raw.paused, observed.cpus, refused={**observed.live_memory.refused, **(refused or {})})
    if exact:
        return running.look(state, wanted, found.claims, situation=situation)
    return running.afterwards(state, wanted, found, situation, found.hidden)


def _wanted(changes: ChangeSet, inactive: str, exact: bool) -> str:
    plan: DomainPlan = changes.plan
    made = plan.candidate
    if made is None:
        return inactive
    if not plan.persistent:
        # Without a definition what runs is all there is, so it says nothing of what is wanted.
        return running.with_macs(made.after, made.document) if exact else made.after
    return inactive if exact else candidate.without_lot(inactive, made.document, made.lot)


def _carry_out(connection: t.Any, changes: ChangeSet, operation: Operation, noted: Refusals) -> bool:
    try:
        _CALLS[operation.action](connection, changes.object, **operation.arguments)
    except LibvirtError as exc:
        said = str(exc.details.get("libvirt_message", exc.message)).strip().rstrip(".")
        if not refusals.is_refusal(exc):
            exc.message = (
                f"domain {changes.object}: {operation.what} could not be changed ({operation.action}) while it runs: {said}."
                " The definition is as declared; the next run tries again to bring the rest in line."
            )
            raise
        _surprise(changes, noted, operation, said, passing=refusals.is_passing(exc))
        return False
    return True


def _surprise(changes: ChangeSet, noted: Refusals, operation: Operation, reason: str, *, passing: bool) -> None:
    plan: DomainPlan = changes.plan
    noted.reasons[operation.key] = reason
    if passing:
        noted.passing.add(operation.key)
    plan.surprises.append(
        f"domain {changes.object}: {operation.what} cannot be changed ({operation.action}) while it runs: {reason}. It waits"
        " for the next start."
    )


def _until_gone(connection: t.Any, changes: ChangeSet, noted: Refusals, operations: list[Operation]) -> None:
    """Waits until the guest has let go of devices; asks again, for it may just not have been up."""
    started = asked = time.monotonic()
    left = operations
    while left:
        there = live.aliases(connection, changes.object)
        left = [operation for operation in left if operation.arguments["alias"] in there]
        now = time.monotonic()
        if now - started >= _GONE:
            break
        if now - asked >= _AGAIN:
            asked = now
            left = [operation for operation in left if _carry_out(connection, changes, operation, noted)]
        time.sleep(_POLL if left else 0)
    for operation in left:
        _surprise(changes, noted, operation, f"the guest has not let go of it within {_GONE} s", passing=True)


def _tell(spec: DomainSpec, observed: DomainState, changes: ChangeSet, after: Running) -> None:
    """Puts right what was foreseen."""
    changes.changes = [
        dataclasses.replace(change, effect="next_boot")
        if change.effect == "live" and after.effect(change.field) == "next_boot"
        else change
        for change in changes.changes
    ]
    if not changes.restarts:
        compare.wait_for_start(changes, spec, observed, after)
