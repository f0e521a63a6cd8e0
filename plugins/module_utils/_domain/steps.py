# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: the steps of activity.py carried out. Each looks again before it says that something went wrong:
what somebody else has done meanwhile is done.
"""

from __future__ import annotations

import dataclasses
import functools
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import asking, observe, seen_log, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.activity import Step
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests import evidence
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, WaitTimeout
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import domains, host, lifecycle

#: Seconds between two looks at a domain.
_POLL = 0.25
#: Seconds in which a domain that was forced off has to be off, and a sleeping one awake.
_FORCED = 30
#: Seconds for which a guest that was paused by a disk's error has to go on before that is believed.
_STEADY = 2

Say = t.Callable[[str], None]
_OFF = ("stopped", "absent")
#: Nobody holds such a guest: it is to go on as soon as its disk is well again.
_FAULTY = ("paused", "ioerror")


@dataclasses.dataclass
class Task:
    """One domain on its way through its steps; ``document`` is what is started when there is no definition."""

    connection: t.Any
    spec: DomainSpec
    local: bool
    say: Say
    document: str | None = None

    @property
    def name(self) -> str:
        """The domain's name."""
        return self.spec.name


def run(task: Task, steps: t.Sequence[Step]) -> None:
    """Carries out steps in their order."""
    for step in steps:
        _STEPS[step](task)


def end(task: Task, steps: t.Sequence[Step]) -> None:
    """The steps until the domain is off. When it cannot be made to hear, it cannot be asked: then only force helps."""
    held = "resume" in steps and domains.state(task.connection, task.name) != _FAULTY
    for step in steps:
        try:
            _STEPS[step](task)
        except KvmError as exc:
            if step not in ("resume", "wake") or not task.spec.force_stop:
                if held and step == "shutdown":
                    _hold(task, exc)
                raise
            _force(task)
            return


def _hold(task: Task, error: KvmError) -> None:
    """A guest that somebody has paused went on only to shut down; it has not, so it is paused again."""
    if domains.state(task.connection, task.name)[0] == "running":
        lifecycle.suspend(task.connection, task.name)
        error.message += " It is paused again."
        error.details["domain_state"], error.details["domain_reason"] = domains.state(task.connection, task.name)


def _resume(task: Task) -> None:
    faulty = domains.state(task.connection, task.name) == _FAULTY
    lifecycle.resume(task.connection, task.name)
    if not faulty:
        return
    deadline = time.monotonic() + _STEADY
    while time.monotonic() < deadline:
        time.sleep(_POLL)
        if domains.state(task.connection, task.name) == _FAULTY:
            errors = lifecycle.disk_errors(task.connection, task.name)
            shown = ", ".join(f"{disk}: {text}" for disk, text in errors.items()) or "unknown"
            raise KvmError(
                f"domain {task.name}: a disk gives errors ({shown}), which pause it again as soon as it goes on; look at the"
                " disk and at the free space of the host, then run the task again.",
                domain_state="paused",
                domain_reason="ioerror",
                disk_errors=errors,
            )


def _wake(task: Task) -> None:
    lifecycle.wake(task.connection, task.name)
    if not _until(task, lambda state: state != "suspended", _FORCED):
        raise WaitTimeout(
            f"domain {task.name}: the guest sleeps (suspended to memory) and did not wake up within {_FORCED} s; look at"
            " its console, or allow force_stop to have it forced off when it has to be off.",
            domain_state="suspended",
        )


def _suspend(task: Task) -> None:
    lifecycle.suspend(task.connection, task.name)


def _save(task: Task) -> None:
    task.say(f"domain {task.name}: saving its memory")
    lifecycle.managed_save(task.connection, task.name)


def _save_running(task: Task) -> None:
    lifecycle.managed_save(task.connection, task.name, to_run=True)


def _discard(task: Task) -> None:
    lifecycle.discard_saved(task.connection, task.name)


def _restore(task: Task) -> None:
    _start(task)
    # One that was saved while it was paused comes back paused.
    if domains.state(task.connection, task.name)[0] == "paused":
        lifecycle.resume(task.connection, task.name)


def _start(task: Task, paused: bool = False) -> None:
    try:
        if task.document is not None:
            lifecycle.create(task.connection, task.name, task.document, paused)
        else:
            lifecycle.start(task.connection, task.name, paused)
    except KvmError as exc:
        exc.details.update(evidence.of_start(task.connection, host.uri(task.connection), task.name, task.local))
        raise


def _start_paused(task: Task) -> None:
    _start(task, paused=True)


def _forget(task: Task) -> None:
    lifecycle.forget(task.connection, task.name)


def _undefine(task: Task) -> None:
    lifecycle.undefine(task.connection, task.name)


def _shutdown(task: Task) -> None:
    spec = task.spec
    if spec.stop_timeout > 0 and _graceful(task):
        return
    if not spec.force_stop:
        raw = domains.read(task.connection, spec.name)
        state, reason = (raw.state, raw.reason) if raw is not None else ("absent", "gone")
        raise WaitTimeout(
            f"domain {spec.name}: the guest did not shut down within {spec.stop_timeout:g} s (it is {state}); does it react to"
            " ACPI or run the guest agent? Allow more stop_timeout, or force_stop, which is like pulling the plug.",
            domain_state=state,
            domain_reason=reason,
            console_tail=seen_log.tail(observe.console_log(raw.running_xml)) if raw is not None and task.local else [],
        )
    _force(task)


def _force(task: Task) -> None:
    task.say(f"domain {task.name}: forcing it off")
    lifecycle.destroy(task.connection, task.name)
    if not _until(task, lambda state: state in _OFF, _FORCED):
        raise WaitTimeout(
            f"domain {task.name}: it was forced off, but still is not off after {_FORCED} s; see qemu's log."
        )


def _graceful(task: Task) -> bool:
    task.say(f"domain {task.name}: asking the guest to shut down")
    otherwise = _poweroff_action(task)
    let_end = None if otherwise is None else functools.partial(lifecycle.set_poweroff, name=task.name, action="destroy")
    requests = asking.Requests(task.connection, task.name, let_end)
    try:
        ended = _asked(task, requests)
        if otherwise is not None and not ended:
            requests.take_back(functools.partial(lifecycle.set_poweroff, name=task.name, action=otherwise))
    finally:
        requests.close()
    return ended


def _poweroff_action(task: Task) -> str | None:
    """What a domain would do when its guest powers off, if that is not to end with it (events.poweroff)."""
    raw = domains.read(task.connection, task.name)
    action = xml.read(raw.running_xml).scalars.get("events.poweroff") if raw is not None and raw.running_xml else None
    return None if action in (None, "destroy") else str(action)


def _asked(task: Task, requests: asking.Requests) -> bool:
    def off(state: str) -> bool:
        if state not in (*_OFF, "crashed"):
            requests.again()
        return state in _OFF

    return _until(task, off, task.spec.stop_timeout, until_crashed=True)


def _until(task: Task, there: t.Callable[[str], bool], seconds: float, until_crashed: bool = False) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        state, _reason = domains.state(task.connection, task.name)
        if there(state):
            return True
        # A crashed guest hears nothing any more.
        if time.monotonic() >= deadline or (until_crashed and state == "crashed"):
            return False
        time.sleep(_POLL)


_STEPS: dict[Step, t.Callable[[Task], None]] = {
    "restore": _restore,
    "restore_paused": _start_paused,
    "resume": _resume,
    "wake": _wake,
    "suspend": _suspend,
    "shutdown": _shutdown,
    "force": _force,
    "discard": _discard,
    "start": _start,
    "start_paused": _start_paused,
    "save": _save,
    "save_running": _save_running,
    "forget": _forget,
    "undefine": _undefine,
}
