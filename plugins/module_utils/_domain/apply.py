# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: carries out ChangeSets. The only room that writes."""

from __future__ import annotations

import contextlib
import os
import random
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import memory, observe, seen_log, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.compare import DomainPlan
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError, WaitTimeout
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import domains

#: Seconds between two looks at a domain, and after which a guest that ignored a request is asked again.
_POLL = 0.25
_AGAIN = 15
#: Seconds in which a domain that was forced off has to be off.
_FORCED = 30

Say = t.Callable[[str], None]


def refuse(spec: DomainSpec, changes: ChangeSet) -> None:
    """Ends a real run before anything is touched when something that the declaration names is not there."""
    missing = t.cast("DomainPlan", changes.plan).missing
    if missing:
        raise KvmError(
            f"domain {spec.name}: {'; '.join(missing)}. Make it first, or correct the declaration.", missing=missing
        )


def define(connection: t.Any, changes: ChangeSet) -> None:
    """First part: the running domain, then its definition. A failure half-way is repaired by the next run."""
    name, plan = changes.object, t.cast("DomainPlan", changes.plan)
    for field, value in plan.live.items():
        if field == "current_memory":
            domains.set_live_memory(connection, name, value)
        elif field == "current_vcpus":
            domains.set_live_vcpus(connection, name, value)
        else:
            domains.set_live_text(connection, name, field, value)
    if plan.merged is not None:
        document = xml.with_macs(plan.merged, lambda: _new_mac(connection))
        domains.define(connection, name, document)
    if plan.autostart is not None:
        domains.set_autostart(connection, name, plan.autostart)


def remember(connection: t.Any, name: str, record: Memory) -> None:
    """Refreshes the record of the declaration when the definition itself has not changed."""
    domains.set_record(connection, name, memory.element_text(record), (memory.PREFIX, memory.URI))


def _new_mac(connection: t.Any) -> str:
    """A MAC address in qemu's range that no domain of the host has."""
    used = {mac for texts in domains.documents(connection).values() for text in texts for mac in xml.macs(text)}
    while True:
        number = random.SystemRandom().randrange(1 << 24)
        mac = f"52:54:00:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
        if mac not in used:
            return mac


def stop(connection: t.Any, spec: DomainSpec, changes: ChangeSet, local: bool, say: Say) -> None:
    """Second part, only what has to be off: may take ``stop_timeout``, so the domains of a call do it at once."""
    name, plan = changes.object, t.cast("DomainPlan", changes.plan)
    if plan.resume and plan.stop:
        domains.resume(connection, name)
        plan.resume = False
    if plan.stop:
        _stop(connection, spec, local, say)


def _stop(connection: t.Any, spec: DomainSpec, local: bool, say: Say) -> None:
    if spec.stop_timeout > 0 and _graceful(connection, spec, say):
        return
    if not spec.force_stop:
        raw = domains.read(connection, spec.name)
        state, reason = (raw.state, raw.reason) if raw is not None else ("absent", "gone")
        raise WaitTimeout(
            f"domain {spec.name}: the guest did not shut down within {spec.stop_timeout:g} s (it is {state}); does it react to"
            " ACPI or run the guest agent? Allow more stop_timeout, or force_stop, which is like pulling the plug.",
            domain_state=state,
            domain_reason=reason,
            console_tail=seen_log.tail(observe.console_log(raw.running_xml)) if raw is not None and local else [],
        )
    say(f"domain {spec.name}: forcing it off")
    domains.destroy(connection, spec.name)
    if not _until_off(connection, spec.name, time.monotonic() + _FORCED, lambda: None):
        raise WaitTimeout(
            f"domain {spec.name}: it was forced off, but still is not off after {_FORCED} s; see qemu's log."
        )


def _graceful(connection: t.Any, spec: DomainSpec, say: Say) -> bool:
    say(f"domain {spec.name}: asking the guest to shut down")
    asked: list[float] = []

    def ask() -> None:
        # A guest that is just booting misses the request, and libvirt calls that a success.
        if not asked or time.monotonic() - asked[-1] >= _AGAIN:
            asked.append(time.monotonic())
            domains.shutdown(connection, spec.name)

    return _until_off(connection, spec.name, time.monotonic() + spec.stop_timeout, ask)


def _until_off(connection: t.Any, name: str, deadline: float, between: t.Callable[[], None]) -> bool:
    while True:
        state, _reason = domains.state(connection, name)
        if state in ("stopped", "absent"):
            return True
        if time.monotonic() >= deadline:
            return False
        # A crashed guest hears nothing any more.
        if state != "crashed":
            between()
        time.sleep(_POLL)


def finish(connection: t.Any, changes: ChangeSet, local: bool) -> None:
    """Third part: what follows once the domain is off, or what makes it run."""
    name, plan = changes.object, t.cast("DomainPlan", changes.plan)
    if plan.undefine:
        domains.undefine(connection, name)
    if plan.remove:
        _remove(connection, name, plan, local)
    if plan.resume:
        domains.resume(connection, name)
    if plan.start:
        try:
            domains.start(connection, name)
        except KvmError as exc:
            exc.details["qemu_log_tail"] = seen_log.qemu_log(name) if local else []
            raise


def _remove(connection: t.Any, name: str, plan: DomainPlan, local: bool) -> None:
    state, _reason = domains.state(connection, name)
    if state != "absent":
        raise Busy(f"domain {name}: it is there again ({state}), so its disks stay; run the task again.")
    for target, disk in plan.remove.items():
        # Once more: somebody may have begun to use the file since it was looked at.
        reason = observe.why_not_removable(disk, domains.documents(connection), local)
        if reason is not None:
            raise Busy(f"domain {name}: it is removed, but its disk {target} {reason}.")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(disk["source"])
