# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: carries out ChangeSets. The only room that writes.

What makes a domain run or end is in steps.py; carry.py has the order.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import tempfile
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _png
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import (
    candidate,
    disposal,
    exchange,
    live_apply,
    memory,
    removals,
    xml,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks import carry_out
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.candidate import Candidate
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.compare import DomainPlan
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.observe import DomainState
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.xml import Merged
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import domains, host

#: Pictures of screens: one for each domain, the last one; for root's eyes, for a screen may show anything.
_PICTURES = "/var/lib/hypervisor.kvm/screenshots"

Say = t.Callable[[str], None]


def refuse(spec: DomainSpec, changes: ChangeSet) -> None:
    """Ends a real run before anything is touched when something that the declaration names is not there."""
    missing = t.cast("DomainPlan", changes.plan).missing
    if missing:
        raise KvmError(
            f"domain {spec.name}: {'; '.join(missing)}. Make it first, or correct the declaration.", missing=missing
        )


def put_right(connection: t.Any, changes: ChangeSet) -> None:
    """Before anything else: what an earlier task has left that was cut off."""
    left = t.cast("DomainPlan", changes.plan).left
    if left is not None:
        exchange.put_right(connection, changes.object, left)


def define(connection: t.Any, spec: DomainSpec, observed: DomainState, changes: ChangeSet) -> None:
    """First part: the definition, then what runs. A failure half-way is repaired by the next run."""
    name, plan = changes.object, t.cast("DomainPlan", changes.plan)
    live_apply.first(connection, changes)
    carry_out.end(connection, name, plan.blocks)
    if plan.merged is not None:
        _define(connection, changes, plan.merged)
    carry_out.grow(connection, name, plan.blocks)
    live_apply.bring(connection, spec, observed, changes)
    if plan.autostart is not None:
        domains.set_autostart(connection, name, plan.autostart)


def _define(connection: t.Any, changes: ChangeSet, merged: Merged) -> None:
    plan: DomainPlan = changes.plan
    name, found = changes.object, plan.candidate
    document = merged.document if found is not None and found.identified else xml.with_uuid(merged.document)
    # The files of a domain of that name that is long gone are its own now.
    removals.forget(name, lambda: host.uri(connection))
    if plan.replaces is not None:
        kept = exchange.replace(connection, plan.replaces, document)
    else:
        kept = domains.define(connection, name, document)
    plan.kept = kept
    if found is None:
        # What ran without a definition has one now.
        return
    if found.unsure:
        # The next run cannot ask what libvirt makes of the declaration either, but it can know that this is it.
        plan.kept = None
        remember(connection, name, dataclasses.replace(found.memory, kept=candidate.digest(kept)))
    after = functools.partial(_after, found, merged, kept)
    if found.normalised and candidate.plain(after()) != candidate.plain(found.after):
        plan.surprises.append(
            f"domain {name}: libvirt has kept its definition otherwise than was foreseen; the diff shows how it is"
            " now. Please report that as a defect of hypervisor.kvm."
        )
    changes.document_is(f"{name} (definition)", lambda: xml.shown(after()))


def _after(found: Candidate, merged: Merged, kept: str) -> str:
    """What libvirt has kept, without what was drawn by lot."""
    return candidate.without_lot(kept, merged.document, found.lot, identified=found.identified)


def remember(connection: t.Any, name: str, record: Memory, *, live: bool = False) -> None:
    """Refreshes the record of the declaration where the definition itself has not changed."""
    domains.set_record(connection, name, memory.element_text(record), (memory.PREFIX, memory.URI), live=live)


def note_removal(connection: t.Any, changes: ChangeSet) -> None:
    """Before the domain goes: which files go with it."""
    disks = t.cast("DomainPlan", changes.plan).remove
    if disks:
        removals.note(changes.object, host.uri(connection), disks)


def remove(connection: t.Any, changes: ChangeSet) -> None:
    """Unlinks the disks that are to go, now that the domain is gone."""
    plan = t.cast("DomainPlan", changes.plan)
    name, disks = changes.object, plan.remove
    if not disks and plan.variables is None:
        return
    state, _reason = domains.state(connection, name)
    if state != "absent":
        raise Busy(f"domain {name}: it is there again ({state}), so its disks stay; run the task again.")
    # Once more: somebody may have begun to use a file since it was looked at.
    used = disposal.used(connection, domains.documents(connection))
    if plan.variables is not None and disposal.why_kept([plan.variables], [plan.variables], used) is None:
        _unlink(name, plan.variables)
    if not disks:
        return
    going = [path for paths in disks.values() for path in paths]
    for target, paths in disks.items():
        reason = disposal.why_kept(paths, going, used)
        if reason is not None:
            raise Busy(f"domain {name}: it is removed, but its disk {target} {reason}.")
        for path in paths:
            _unlink(name, path)
    removals.forget(name, lambda: host.uri(connection))


def _unlink(name: str, path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as exc:
        raise KvmError(
            f"domain {name}: it is removed, but {path} cannot be: {exc.strerror}. Run the task again when that is solved."
        ) from exc


def picture(connection: t.Any, name: str) -> str | None:
    """Keeps a picture of the screen, for whom a wait has failed; its path, None when there is no screen or no place."""
    taken = bytearray()
    try:
        domains.screenshot(connection, name, taken.extend)
        shown = _png.from_any(bytes(taken))
        os.makedirs(_PICTURES, mode=0o700, exist_ok=True)
        descriptor, part = tempfile.mkstemp(dir=_PICTURES)
    except (KvmError, OSError):
        # A guest without a video device has no picture; the error to tell is the one of the wait.
        return None
    path = os.path.join(_PICTURES, f"{name}.png")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(shown)
        os.replace(part, path)
    except OSError:
        os.unlink(part)
        return None
    return path
