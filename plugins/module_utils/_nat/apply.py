# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""NAT: carries out ChangeSets. The only room that writes."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import (
    backend,
    compare,
    dialect,
    firewalld,
    observe,
    persist,
    record,
    rules,
    seal,
    tables,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.compare import NatPlan
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.observe import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.spec import NatSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Own, Tables

_LOCK_SECONDS = 60
_TRIES = 4

#: Reads the host again.
Look = t.Callable[[t.Sequence[NatSpec]], Snapshot]


def apply(
    specs: t.Sequence[NatSpec], seen: Snapshot, look: Look, planned: t.Mapping[str, ChangeSet] | None = None
) -> tuple[list[ChangeSet], Snapshot]:
    """Brings several bridges to their specifications, with one write per table for all of them.

    ``seen`` is what was observed, ``planned`` the changes by bridge that were found then; when another task of this collection has
    changed something since, it is observed again with ``look``. Gives the changes as they were made and the host as it is then.
    Raises KvmError; with ``rolled_back`` in its details when the rules are as they were before.
    """
    specs = sorted(specs, key=lambda spec: spec.state != "absent")
    with _lock() as lock:
        if lock.generation() != seen.generation:
            seen, planned = look(specs), None
        lock.advance()
        changes = compare.in_turn(specs, seen)[0] if planned is None else [planned[spec.bridge] for spec in specs]
        remaining, result = _converge(specs, seen, changes, lock)
        _finish(remaining)
        backend.forget([subnet for change in changes for subnet in change.plan.forget])
    units = {plan.unit for plan in remaining} - {None}
    if "start" in units:
        _start_unit()
    return changes, result


class _Lock:
    """The lock file; its text, a number, tells whether somebody else has written since."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def generation(self) -> str:
        return os.pread(self.descriptor, 64, 0).decode("utf-8", "replace")

    def advance(self) -> None:
        new = f"{os.getpid()}.{time.monotonic_ns()}".encode()
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, new, 0)


@contextlib.contextmanager
def _lock() -> t.Iterator[_Lock]:
    descriptor = os.open(record.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise Busy(
                    f"Another task has held {record.LOCK} for {_LOCK_SECONDS} s; run this again when it has ended.",
                    rolled_back=True,
                )
            time.sleep(0.02)
        yield _Lock(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _converge(
    specs: t.Sequence[NatSpec], before: Snapshot, changes: list[ChangeSet], lock: _Lock
) -> tuple[list[NatPlan], Snapshot]:
    """Writes the rules until a new read shows them in place; on failure puts those of before back.

    Gives what is left to do beside the rules, and the host as it is when that is done.
    """
    for name in {edit.backend for change in changes for edit in change.plan.edits}:
        backend.restore_command(before.host, name)
    if any(change.plan.forget for change in changes):
        backend.conntrack()
    error: KvmError | None = None
    current = changes
    for _attempt in range(_TRIES):
        try:
            _write_ahead(current)
            _restore([change.plan for change in current], all(spec.state == "absent" for spec in specs), lock)
            error = None
        except KvmError as exc:
            # Another program may have moved a line in between: plan again on what is there now.
            error = exc
        planned = current[-1].plan.result
        rules_now = observe.rules_again(before) if any(change.plan.edits for change in current) else planned.tables
        if error is None and _are(rules_now, planned.tables):
            return [_left(change.plan, planned) for change in current], planned
        seen = observe.again(before, rules_now)
        current, result = compare.in_turn(specs, seen)
        if not any(change.plan.edits for change in current):
            return [change.plan for change in current], result
    if error is None:
        error = KvmError(
            "The rules did not stay as they were written: another program keeps changing them; stop it and run this again."
        )
    try:
        _undo([change.plan for change in changes], before, seen, lock)
    except KvmError as exc:
        raise KvmError(f"{error.message} What was there before could not be put back: {exc.message}") from exc
    error.details["rolled_back"] = True
    raise error


def _are(found: t.Mapping[str, Tables], planned: t.Mapping[str, Tables]) -> bool:
    """Whether every rule of every backend is where it was planned."""
    return all(
        tables.get(found[name], table, chain) == tables.get(planned[name], table, chain)
        for name in found
        for some in (found[name], planned[name])
        for table, chains in some.items()
        for chain in chains
    )


def _left(plan: NatPlan, planned: Snapshot) -> NatPlan:
    """What is to be done when the rules are there: the records that were written ahead know of old rules still."""
    records = {path: planned.files.get(path) for path in plan.ahead}
    return dataclasses.replace(plan, edits=[], ahead={}, files={**plan.files, **records})


def _write_ahead(changes: t.Sequence[ChangeSet]) -> None:
    for change in changes:
        for path, text in change.plan.ahead.items():
            _write(path, text)


def _restore(plans: t.Sequence[NatPlan], closing: bool, lock: _Lock) -> None:
    for name, text in compare.inputs(plans, closing):
        backend.restore(plans[0].result.host, name, text, lock.descriptor)


def _undo(plans: t.Sequence[NatPlan], before: Snapshot, now: Snapshot, lock: _Lock) -> None:
    """Puts the rules and records of before back, among whatever others have made of theirs."""
    for name in {name for plan in plans for name in plan.owned}:
        owned = rules.union(*(plan.owned.get(name, {}) for plan in plans))
        text = _back(name, owned, before.tables[name], now.tables[name])
        if text:
            backend.restore(before.host, name, text, lock.descriptor)
    for path in (path for plan in plans for path in plan.files if path.endswith(record.SUFFIX)):
        if path in before.files:
            _write(path, before.files[path])
        else:
            _remove(path)


def _back(name: str, owned: Tables, before: Tables, now: Tables) -> str:
    """What the program of a backend is told, so that the rules of ours are those of before; empty when they are."""
    rewrite = tables.Rewrite()
    left = dialect.OTHERS in now
    for table, chain in tables.CHAINS:
        own, have = Own(tables.get(owned, table, chain)), tables.get(now, table, chain)
        target = [rule for rule in have if rule not in own]
        for index, rule in enumerate(tables.get(before, table, chain)):
            if rule in own:
                target.insert(min(index, len(target)), rule)
        rewrite.bring(table, chain, have, target, own)
        left = left or bool(target)
    if name in dialect.FAMILIES:
        return dialect.script(dialect.FAMILIES[name], rewrite.chains, empty=not left) if rewrite.chains else ""
    return rewrite.text(reversed(tables.TABLES))


def _finish(plans: t.Sequence[NatPlan]) -> None:
    """What is left when the rules are in place: forwarding, now and at boot, records, unit."""
    if any(plan.unit == "stop" for plan in plans):
        _stop_unit()
    _move(plans, into=False)
    files: dict[str, str | None] = {}
    for plan in plans:
        files.update(plan.files)
    for path, text in files.items():
        if text is None:
            _remove(path)
        else:
            _write(path, text)
    if not os.path.isdir(record.FOLDER):
        seal.forget()
    if any(path in persist.UNITS for path in files) and os.path.isdir("/run/systemd/system"):
        _systemctl("daemon-reload")
    _move(plans, into=True)
    # Last: the rules that keep the guests closed are there by now.
    for device in sorted(frozenset().union(*(plan.uplinks for plan in plans))):
        _set(f"/proc/sys/net/ipv6/conf/{device}/accept_ra", "2")
    if any(plan.forwarding for plan in plans):
        _set(persist.FORWARDING, "1")
    if any(plan.forwarding6 for plan in plans):
        _set(persist.FORWARDING6, "1")


def _move(plans: t.Sequence[NatPlan], into: bool) -> None:
    """Into zones with the record written, out of them before it is gone."""
    for plan in plans:
        running = plan.result.zones is not None and plan.result.zones.runtime is not None
        for move in (move for move in plan.moves if move.into == into):
            firewalld.carry_out(move, running)


def _set(path: str, value: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"{value}\n")
    except OSError as exc:
        name = path[len("/proc/sys/") :].replace("/", ".")
        raise KvmError(
            f"{name} cannot be set to {value} ({exc.strerror}); set it from outside of this container"
            " and say ip_forward: check."
        ) from exc


def _write(path: str, text: str) -> None:
    """A file complete and synced, or not at all."""
    folder = os.path.dirname(path)
    ours = folder == record.FOLDER
    try:
        os.makedirs(folder, 0o700 if ours else 0o755, exist_ok=True)
        new = f"{path}.new"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600 if ours else 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o600 if ours else 0o644)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        os.replace(new, path)
        _sync(folder)
    except OSError as exc:
        raise KvmError(
            f"{path} cannot be written: {exc.strerror}; make room or make it writable, then run this again."
        ) from exc


def _remove(path: str) -> None:
    """Removes a file that may be gone already, and our own folder when it was the last one in it."""
    folder = os.path.dirname(path)
    try:
        # A killed task may have left the half of a file.
        for one in (path, f"{path}.new"):
            if os.path.lexists(one):
                os.unlink(one)
        if folder == record.FOLDER and os.path.isdir(folder) and not os.listdir(folder):
            os.rmdir(folder)
    except OSError as exc:
        raise KvmError(f"{path} cannot be removed: {exc.strerror}; make it writable, then run this again.") from exc


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _systemctl(*words: str, ok: t.Collection[int] = (0,)) -> str:
    program = _command.find("systemctl", "systemd")
    what = "Cannot change what starts with the host"
    return _command.run([program, *words], timeout=120, ok=ok, what=what).stdout


def _start_unit() -> None:
    # Outside of the lock: the units take it, find everything in place and stay active.
    _systemctl("reenable", "--quiet", *persist.ENABLED)
    answers = _systemctl("is-active", *persist.BESIDE, ok=()).split()
    running = [ours for ours, answer in zip(persist.BESIDE.values(), answers) if answer == "active"]
    _systemctl("start", persist.UNIT_NAME, *running)


def _stop_unit() -> None:
    if os.path.isdir("/run/systemd/system"):
        _systemctl("disable", "--quiet", "--now", *persist.ENABLED)
