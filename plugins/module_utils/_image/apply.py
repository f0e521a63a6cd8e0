# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: carries out a ChangeSet. The only room that writes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import compare, manifest, observe, overlays
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.paths import MANIFEST_SUFFIX, half_done, work_folder
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.plan import ImagePlan
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.seen import read_manifest
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.run import Run
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.workspace import Workspace, remove_empty

_FULL = 1 << 20


@dataclasses.dataclass
class Outcome:
    """What was done: the steps (``name``, ``seconds``), and whether anything outside of the work folder was changed."""

    steps: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    touched: bool = False


def apply(changes: ChangeSet, say: t.Callable[[str], None], outcome: Outcome) -> None:
    """Makes, changes or removes one image; fills ``outcome``, also when it fails."""
    planned = t.cast("ImagePlan", changes.plan)
    spec = planned.spec
    # Loaded here, for most runs change nothing.
    from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import inplace

    try:
        if spec.state == "absent" and not os.path.isdir(os.path.dirname(spec.path)):
            return
        with Workspace(spec.path, spec.keep_failed, inplace.finish) as space:
            run = Run(spec, space, say, outcome.steps)
            # Now that nobody else works on it: look again, and do only what was announced.
            fresh = compare.compare(spec, observe.observe(spec, locked=True))
            plan = t.cast("ImagePlan", fresh.plan)
            try:
                _carry_out(run, planned, plan)
            except KvmError as exc:
                # Programs do not always say that it was the room.
                exc.message += "" if " free" in exc.message else _room(spec.path)
                raise
            finally:
                outcome.touched = run.touched
        if plan.remove:
            remove_empty(os.path.dirname(spec.path))
    except KvmError as exc:
        if spec.path not in exc.message:
            exc.message = f"image {spec.path}: {exc.message}"
        raise
    except OSError as exc:
        names = " -> ".join(str(name) for name in (exc.filename, exc.filename2) if name)
        where = f" ({names})" if names else ""
        after = "it is not complete, run again" if outcome.touched else "nothing was put in its place"
        raise KvmError(f"image {spec.path}: {exc.strerror}{where}; {after}.") from exc


def _room(path: str) -> str:
    """A hint when the file system of an image is as good as full; to be asked for before the work files are gone."""
    found = os.statvfs(os.path.dirname(path))
    free = found.f_bavail * found.f_frsize
    return f" Only {free} bytes are free in {os.path.dirname(path)}; make room there." if free < _FULL else ""


def _carry_out(run: Run, planned: ImagePlan, plan: ImagePlan) -> None:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import change, create

    if (plan.create and not planned.create) or (plan.replace and not planned.replace):
        raise KvmError(f"image {run.spec.path}: it has changed since this task looked at it; run it again.")
    if planned.finish:
        # The work folder has done it.
        run.touched = True
    if plan.remove:
        _remove(run, plan)
    elif plan.create:
        create.create(run, plan)
    else:
        change.change(run, plan)


def _remove(run: Run, plan: ImagePlan) -> None:
    """The image first and its record last: after a kill in between, the rest is still known as ours."""
    from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import publish

    spec, record = run.spec, plan.observed.manifest
    recorded = (record.kernel, record.initrd) if record is not None else ()
    bases = plan.observed.file.backing[:1]
    with run.step("remove", "removing it"), publish.base_alone(spec.path):
        run.touched = True
        publish.remove(spec.path)
        for path in (spec.kernel, spec.initrd):
            if path is not None and path in recorded:
                publish.remove(path)
        publish.remove(spec.path + overlays.SUFFIX)
        publish.remove(spec.path + MANIFEST_SUFFIX)
        for base in bases:
            publish.note_overlay(base, spec.path, present=False)


def tidy(path: str) -> None:
    """Removes what a killed run has left of its work on an image for which there was nothing to do."""
    if os.path.isdir(work_folder(path)) and not os.path.lexists(half_done(path)):
        # Another task may be at work there.
        with contextlib.suppress(Busy, OSError), Workspace(path) as space:
            _settle(space)


def _settle(space: Workspace) -> None:
    """Ends the record of a change that was killed between the image and its record: it must not speak of two files for ever."""
    record = read_manifest(space.target)
    if record is not None and record.switch is not None and os.path.lexists(space.target):
        from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import publish

        settled = manifest.settled(record, os.lstat(space.target).st_ino)
        publish.write_record(space, dataclasses.replace(settled, switch=None))
