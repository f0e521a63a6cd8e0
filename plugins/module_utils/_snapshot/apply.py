# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Snapshots: carries out a ChangeSet. The only room that writes."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import agent, snapshots
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot import merging, reverting
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.plan import Creation, SnapshotPlan
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.spec import SnapshotSpec

#: Seconds for which an agent that has not answered in time is asked to thaw the guest, and between two questions.
_PATIENCE = 30
_PAUSE = 0.5

Say = t.Callable[[str], None]


def refuse(spec: SnapshotSpec, changes: ChangeSet) -> None:
    """Ends a real run before anything is touched when something that it needs is not there."""
    plan: SnapshotPlan = changes.plan
    missing = plan.missing
    if missing:
        raise KvmError(
            f"{spec.what}: {'; '.join(missing)}. Make it first, or correct the declaration.", missing=missing
        )


def apply(connection: t.Any, spec: SnapshotSpec, changes: ChangeSet, say: Say) -> None:
    """A failure half-way leaves what was there, or a removal that the next run finishes."""
    plan: SnapshotPlan = changes.plan
    if plan.create is not None:
        say(f"{spec.what}: making it")
        _create(connection, spec, plan.create, say)
    if plan.describe is not None:
        snapshots.create(connection, spec.domain, plan.describe, ("REDEFINE",))
    if plan.removal is not None:
        merging.merge(connection, spec, plan.removal, say)
    for name in plan.delete:
        say(f"domain {spec.domain}: removing snapshot {name}")
        snapshots.delete(connection, spec.domain, name)
    for name in plan.forget:
        snapshots.delete(connection, spec.domain, name, ("METADATA_ONLY",))
    if plan.removal is not None:
        merging.finish(connection, spec, plan.removal)
    if plan.revert is not None:
        reverting.revert(connection, spec, plan.revert, say)


def _create(connection: t.Any, spec: SnapshotSpec, making: Creation, say: Say) -> None:
    if making.quiet is None:
        snapshots.create(connection, spec.domain, making.document, making.flags)
        return
    agent.set_limit(connection, spec.domain, making.quiet.timeout)
    try:
        snapshots.create(connection, spec.domain, making.document, making.flags)
    except LibvirtError as exc:
        say(f"{spec.what}: it failed; seeing to it that the guest is not frozen")
        raise _thawed(connection, spec, making.quiet.timeout, exc) from exc
    finally:
        agent.release(connection, spec.domain, making.quiet.before)


def _thawed(connection: t.Any, spec: SnapshotSpec, timeout: int, error: LibvirtError) -> LibvirtError:
    """The error, when the guest writes again. libvirt itself asks for that once; but an agent that needs longer to freeze than it
    was given freezes the guest all the same, and does not hear anything before it has."""
    deadline = time.monotonic() + timeout + _PATIENCE
    while True:
        try:
            agent.thaw(connection, spec.domain, timeout)
            return error
        except LibvirtError as exc:
            if not agent.is_silent(exc):
                return error
            if time.monotonic() >= deadline:
                return LibvirtError(
                    f"{error.message} Nor does the agent say that the guest's file systems are thawed: look after the guest (virsh"
                    f" domfsthaw {spec.domain}, or a restart).",
                    **error.details,
                    thawed=False,
                )
        time.sleep(_PAUSE)
