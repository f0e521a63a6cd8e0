# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Mounts of images: carries out the plan."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount import binds, record
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.compare import MountPlan, compare
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.image import Image
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.make import Maker
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.observe import observe
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.undo import Undoer

Say = t.Callable[[str], None]


@dataclasses.dataclass
class Outcome:
    """What came of it beside the mount itself. ``touched`` is whether anything was changed, also when it failed."""

    touched: bool = False
    warnings: list[str] = dataclasses.field(default_factory=list)


def apply(changes: ChangeSet, say: Say, outcome: Outcome) -> None:
    """Brings the mount to its specification. Another run may have been faster, so it is looked at again first."""
    spec = changes.plan.spec
    with record.locked(spec.mountpoint, spec.timeout):
        now = compare(spec, observe(spec))
        if now:
            _carry_out(now.plan, say, outcome)


def _carry_out(plan: MountPlan, say: Say, outcome: Outcome) -> None:
    outcome.touched = True
    undoer = Undoer(plan.spec, plan.observed)
    try:
        if plan.unmount:
            say(f"{plan.spec.mountpoint}: unmounting")
            undoer.undo()
        undoer.unbind(plan.unbind)
    finally:
        outcome.warnings += undoer.warnings
    if plan.mount is not None and plan.observed.image is not None:
        say(f"{plan.spec.mountpoint}: mounting {plan.mount.path} by {plan.mount.backend}")
        _mount(plan, plan.observed.image)
    elif plan.bind or plan.unbind:
        _rebind(plan)


def _mount(plan: MountPlan, image: Image) -> None:
    maker = Maker(t.cast("record.Record", plan.mount), image, plan.spec.timeout)
    try:
        maker.mount()
        binds.bind(plan.observed.point, plan.bind)
        maker.finish()
    except KvmError:
        _take_back(plan)
        raise


def _take_back(plan: MountPlan) -> None:
    """What a failed mount has left; if that fails too, the record has it for the next run."""
    try:
        spec = dataclasses.replace(plan.spec, state="unmounted", holders="fail", lazy=False, path=None)
        Undoer(spec, observe(spec)).undo()
    except KvmError:
        return


def _rebind(plan: MountPlan) -> None:
    try:
        binds.bind(plan.observed.point, plan.bind)
    except KvmError:
        Undoer(plan.spec, plan.observed).unbind(tuple(reversed(plan.bind)))
        raise
    # A mount that was made by hand has no record, and gets none for this.
    if plan.observed.record is not None:
        record.write(dataclasses.replace(plan.observed.record, chroot=plan.spec.chroot))
