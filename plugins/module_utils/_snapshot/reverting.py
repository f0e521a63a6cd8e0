# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Snapshots: puts a domain back to one."""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, WaitTimeout
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import domains, lifecycle, snapshots
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.plan import Overlay, Reversion
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.spec import SnapshotSpec

#: Seconds in which a domain that was forced off has to be off, and in which an empty file is made.
_SHORT = 60.0
_POLL = 0.1
_SUFFIX = ".kvm_snapshot.new"

Say = t.Callable[[str], None]


def revert(connection: t.Any, spec: SnapshotSpec, plan: Reversion, say: Say) -> None:
    """A failure half-way leaves a domain that is off; the next run begins anew."""
    say(f"{spec.what}: going back to it")
    if plan.stop:
        _off(connection, spec)
    if plan.discard:
        snapshots.forget_saved_state(connection, spec.domain)
    if plan.overlays:
        _by_us(connection, spec, plan)
    else:
        snapshots.revert(connection, spec.domain, spec.name, plan.flags)
    if plan.off_after:
        _off(connection, spec)


def _off(connection: t.Any, spec: SnapshotSpec) -> None:
    lifecycle.destroy(connection, spec.domain)
    deadline = time.monotonic() + _SHORT
    while domains.state(connection, spec.domain)[0] not in ("stopped", "absent"):
        if time.monotonic() >= deadline:
            raise WaitTimeout(
                f"{spec.what}: the domain was forced off, but is not off after {_SHORT:g} s; see qemu's log."
            )
        time.sleep(_POLL)


def _by_us(connection: t.Any, spec: SnapshotSpec, plan: Reversion) -> None:
    for overlay in plan.overlays:
        _renew(spec, overlay)
    if plan.definition is not None:
        domains.define(connection, spec.domain, plan.definition)
    for snapshot in snapshots.tree(connection, spec.domain):
        if snapshot.name == spec.name and not snapshot.current:
            snapshots.create(connection, spec.domain, snapshot.document, ("REDEFINE", "CURRENT"))
    if plan.start is None:
        return
    paused = plan.start == "paused"
    if plan.memory is not None and plan.memory_definition is not None:
        snapshots.restore(connection, spec.domain, plan.memory, plan.memory_definition, paused)
    else:
        lifecycle.start(connection, spec.domain)


def _renew(spec: SnapshotSpec, overlay: Overlay) -> None:
    """An empty overlay takes the place of the one that the guest has written to, with its owner and its mode."""
    program, fresh = _command.find("qemu-img", "qemu-utils"), overlay.path + _SUFFIX
    what = f"{spec.what}: cannot make the overlay of disk {overlay.target} anew"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
        # -u: what it stands on need not be opened for it, both its format and its size are known.
        argv = [program, "create", "-q", "-u", "-f", "qcow2", "-b", overlay.base, "-F", overlay.base_format]
        _command.run([*argv, fresh, str(overlay.size)], timeout=_SHORT, what=what)
        status = os.stat(overlay.path)
        os.chown(fresh, status.st_uid, status.st_gid)
        os.chmod(fresh, status.st_mode & 0o7777)
        _sync(fresh, os.O_RDWR)
        os.rename(fresh, overlay.path)
        _sync(os.path.dirname(overlay.path), os.O_RDONLY)
    except OSError as exc:
        raise KvmError(f"{what}: {exc.strerror}.") from exc


def _sync(path: str, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
