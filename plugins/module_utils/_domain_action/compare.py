# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Actions on domains: (wanted, observed) -> ChangeSet. Pure. An action is always a change."""

from __future__ import annotations

import dataclasses
import os.path
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain_action.observe import ActionState, Place
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain_action.spec import ActionSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, InvalidSpec

_MIB = 1024 * 1024
#: The states in which an action means something.
_STATES: dict[str, tuple[str, ...]] = {
    "reboot": ("running",),
    "reset": ("running", "paused", "crashed"),
    "screenshot": ("running", "paused", "crashed"),
    "send_key": ("running",),
    "dump": ("running", "paused", "crashed"),
    "inject_nmi": ("running",),
}


@dataclasses.dataclass
class ActionPlan:
    """What is not there yet: the real run stops here."""

    missing: list[str] = dataclasses.field(default_factory=list)


def compare(spec: ActionSpec, observed: ActionState) -> ChangeSet:
    """The change that the action is; ``plan`` is an ActionPlan. Raises KvmError for what can never be."""
    plan = ActionPlan()
    changes = ChangeSet(spec.name, plan)
    changes.add(spec.action, None, _told(spec))
    if observed.state == "absent":
        plan.missing.append("there is no such domain")
    elif observed.state not in _STATES[spec.action]:
        *others, last = _STATES[spec.action]
        words = f"{', '.join(others)} or {last}" if others else last
        plan.missing.append(f"it is {observed.state}, and for {spec.action} it has to be {words}")
    elif not observed.screen:
        plan.missing.append("it has no screen (videos)")
    if spec.path is not None and observed.place is not None:
        _place(plan, spec, spec.path, observed.place)
    if spec.action == "dump":
        _room(spec, observed)
    return changes


def _told(spec: ActionSpec) -> t.Any:
    return spec.path or list(spec.chords) or True


def _place(plan: ActionPlan, spec: ActionSpec, path: str, place: Place) -> None:
    if not place.folder:
        plan.missing.append(f"the folder {os.path.dirname(path)} does not exist")
    elif place.holds == "other":
        raise InvalidSpec(f"{spec.what}: {path} is no regular file, so nothing is written there; choose another path.")
    elif place.holds is not None and not spec.overwrite:
        raise Busy(f"{spec.what}: {path} exists already; choose another path, or allow overwrite.")


def _room(spec: ActionSpec, observed: ActionState) -> None:
    if not observed.local:
        raise InvalidSpec(
            f"{spec.what}: the daemon of another machine would write it there; run this task on that machine."
        )
    compressed = spec.format not in (None, "elf")
    if observed.place is None or not observed.place.folder or compressed or observed.place.free >= observed.memory:
        return
    raise Busy(
        f"{spec.what}: it takes up to {observed.memory // _MIB} MiB, and {os.path.dirname(spec.path or '')} has"
        f" {observed.place.free // _MIB} MiB free; make room, or choose another path."
    )
