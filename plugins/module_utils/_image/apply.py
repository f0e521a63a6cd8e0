# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: carries out a ChangeSet. The only room that writes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import typing as t
import uuid

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import compare, manifest, observe, overlays, render
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.compare import ImagePlan
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.manifest import Manifest
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import DEFAULT_SIZE, MANIFEST_SUFFIX
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import (
    bootstrap,
    disk,
    guest,
    overlay,
    publish,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.guest_files import GuestFiles
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.publish import Piece
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.run import Run
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.workspace import Workspace, remove_empty, sync

_TOOLS = (("mke2fs", ["-V"]), ("qemu-img", ["--version"]))


@dataclasses.dataclass
class Outcome:
    """What was done: the steps (``name``, ``seconds``), and whether anything outside of the work folder was changed."""

    steps: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    touched: bool = False


def apply(changes: ChangeSet, say: t.Callable[[str], None], outcome: Outcome) -> None:
    """Makes, changes or removes one image; fills ``outcome``, also when it fails."""
    planned = t.cast("ImagePlan", changes.plan)
    spec = planned.spec
    try:
        if spec.state == "absent" and not os.path.isdir(os.path.dirname(spec.path)):
            return
        with Workspace(spec.path, spec.keep_failed) as space:
            run = Run(spec, space, say, outcome.steps)
            # Now that nobody else works on it: look again, and do only what was announced.
            fresh = compare.compare(spec, observe.observe(spec))
            plan = t.cast("ImagePlan", fresh.plan)
            try:
                _carry_out(run, planned, plan)
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


def _carry_out(run: Run, planned: ImagePlan, plan: ImagePlan) -> None:
    if (plan.create and not planned.create) or (plan.replace and not planned.replace):
        raise KvmError(f"image {run.spec.path}: it has changed since this task looked at it; run it again.")
    if plan.remove:
        _remove(run, plan)
    elif plan.create:
        _create(run, plan)
    else:
        if plan.grow is not None:
            _grow(run, plan, plan.grow)
        if plan.extract:
            _extract(run, plan)
        if plan.permissions:
            run.touched = True
            publish.set_permissions(run.spec.path, run.spec.owner, run.spec.group, run.spec.mode)


def _remove(run: Run, plan: ImagePlan) -> None:
    """The image first and its record last: after a kill in between, the rest is still known as ours."""
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


def _create(run: Run, plan: ImagePlan) -> None:
    spec = run.spec
    with contextlib.ExitStack() as held:
        if spec.base is not None:
            held.enter_context(publish.base_held(spec.base.path))
        if plan.replace:
            held.enter_context(publish.base_alone(spec.path))
        publish.numbers(spec.owner, spec.group)
        raw, before = _content(run, plan)
        files = GuestFiles(f"image {spec.path}", raw, run.space.path, run.left)
        root = _finish_content(run, plan, raw, files)
        pieces, kernels = _extracted(run, plan, files) if root is not None else ([], [])
        system = guest.operating_system(files) if root is not None else None
        image = _emit(run, raw, before)
        publish.set_permissions(image, spec.owner, spec.group, spec.mode or ("0644" if spec.bootstrap else "0600"))
        before_record = plan.observed.manifest
        record = Manifest(
            id=str(uuid.uuid4()),
            declared=manifest.declared(spec),
            base=None if spec.base is None else {"path": spec.base.path, "identity": plan.observed.base_identity},
            # Files that an earlier declaration named are still known as made with this image.
            kernel=spec.kernel or (before_record.kernel if before_record is not None else None),
            initrd=spec.initrd or (before_record.initrd if before_record is not None else None),
            root=root,
            operating_system=system,
            kernels=tuple(kernels),
            texts=render.texts(spec),
            tools=_tools(run),
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        with run.step("publish", "putting it into its place"):
            run.touched = True
            if spec.base is not None and spec.base.mode == "overlay":
                publish.note_overlay(spec.base.path, spec.path, present=True)
            publish.publish(run.space, [Piece(image, spec.path, plan.replace), *pieces], record)


def _content(run: Run, plan: ImagePlan) -> tuple[str, str | None]:
    """The content as a raw work file, before it is customized; with an overlay, the raw file that it differs from as well."""
    spec, space = run.spec, run.space
    raw = space.file("disk.raw")
    if spec.bootstrap is not None:
        with run.step("bootstrap", "fetching and installing the operating system"):
            tree = bootstrap.build(spec, space, run.say, run.left)
        with run.step("filesystem", "making the file system"):
            fs = t.cast(t.Any, spec.filesystem)
            disk.make_filesystem(raw, spec.size or DEFAULT_SIZE, fs, scratch=space.path, timeout=run.left, tree=tree)
        return raw, None
    if spec.base is not None:
        base = t.cast(observe.FileState, plan.observed.base)
        size = max(spec.size or 0, base.virtual_size)
        with run.step("copy", f"copying {spec.base.path}"):
            disk.to_raw(spec.base.path, spec.base.format, raw, size, run.left)
            before = _raw_of(run, spec.base.path, spec.base.format) if spec.base.mode == "overlay" else None
        return raw, before
    with run.step("blank", "making an empty image"):
        if spec.filesystem is not None:
            disk.make_filesystem(raw, spec.size or 0, spec.filesystem, scratch=space.path, timeout=run.left)
        else:
            with open(raw, "xb") as file:
                file.truncate(spec.size or 0)
    return raw, None


def _raw_of(run: Run, path: str, image_format: str) -> str:
    """The raw form of an image that is only read."""
    if image_format == "raw":
        return path
    target = run.space.file("base.raw")
    if not os.path.exists(target):
        disk.to_raw(path, image_format, target, 0, run.left)
    return target


def _finish_content(run: Run, plan: ImagePlan, raw: str, files: GuestFiles) -> dict[str, t.Any] | None:
    """Grows and customizes the file system of the work file; gives the facts of the root file system."""
    spec = run.spec
    found = disk.superblock(raw)
    if found is None:
        if spec.individual or spec.fstab or spec.kernel or spec.initrd:
            raise KvmError(
                f"image {spec.path}: there is no ext2, ext3 or ext4 file system directly on its base image (is it partitioned?),"
                " so it can be neither customized nor read; leave out customize, fstab, kernel and initrd."
            )
        return None
    if spec.base is not None:
        base = t.cast(observe.FileState, plan.observed.base)
        # Also when nothing grows: it may have been in use, and its journal is to be replayed before anything is written.
        with run.step("grow", "checking and growing the file system"):
            disk.repair(raw, run.left)
            if os.path.getsize(raw) > base.virtual_size:
                disk.grow_filesystem(raw, run.left)
    if spec.bootstrap is not None or spec.individual or spec.fstab is not None:
        with run.step("customize", "putting in what the guest gets of its own"):
            guest.customize(files, spec)
    with run.step("verify", "checking the file system"):
        disk.verify(raw, run.left)
    return {"number": None, "offset": 0, **found, "reason": "the only file system, on the whole disk"}


def _extracted(run: Run, plan: ImagePlan, files: GuestFiles) -> tuple[list[Piece], list[dict[str, t.Any]]]:
    """The kernel and the initrd as finished work files, and what kernels there are."""
    spec, record = run.spec, plan.observed.manifest
    kernels = guest.kernels(files)
    ours = (record.kernel, record.initrd) if record is not None else ()
    pieces = []
    for name, place in (("kernel", spec.kernel), ("initrd", spec.initrd)):
        if place is None:
            continue
        inside = kernels[0][name] if kernels else None
        source = files.resolve(inside) if inside else None
        if source is None:
            raise KvmError(f"image {spec.path}: there is no {name} in /boot of the image; leave out the option {name}.")
        with run.step(name, f"copying {inside} out"):
            work = files.dump(source, name)
            if os.path.getsize(work) == 0:
                raise KvmError(f"image {spec.path}: {inside} in the image is empty; the image is broken.")
            publish.set_permissions(work, spec.owner, spec.group, "0644")
            os.makedirs(os.path.dirname(place), exist_ok=True)
        pieces.append(Piece(work, place, place in ours and place in plan.observed.existing))
    return pieces, kernels


def _emit(run: Run, raw: str, before: str | None) -> str:
    """The finished image in its format, from the raw work file."""
    spec = run.spec
    if spec.format == "raw":
        return raw
    target = run.space.file("disk.qcow2")
    with run.step("write", "writing the qcow2 image"):
        if spec.base is not None and before is not None:
            size = os.path.getsize(raw)
            overlay.create(target, spec.base.path, spec.base.format, size, run.left)
            written = overlay.write_difference(target, before, raw, run.space.path, run.left)
            run.say(f"{written} bytes differ from the base image")
        else:
            disk.to_qcow2(raw, target, run.left)
    return target


def _grow(run: Run, plan: ImagePlan, size: int) -> None:
    """Makes an image and the file system on it larger, on a copy that takes the image's place when it is complete."""
    spec, file = run.spec, plan.observed.file
    image_format = t.cast(str, file.format)
    raw = run.space.file("disk.raw")
    with contextlib.ExitStack() as held:
        for base in file.backing[:1]:
            held.enter_context(publish.base_held(base))
        with run.step("copy", "copying it"):
            disk.to_raw(spec.path, image_format, raw, size, run.left)
        if disk.superblock(raw) is not None:
            with run.step("grow", "growing the file system"):
                disk.repair(raw, run.left)
                disk.grow_filesystem(raw, run.left)
                disk.verify(raw, run.left)
        before = _raw_of(run, spec.base.path, spec.base.format) if spec.base is not None and file.backing else None
        image = _emit(run, raw, before)
        publish.set_permissions(image, file.owner, file.group, file.mode)
        with run.step("publish", "putting it into its place"):
            sync(image)
            if observe.read_file(spec.path, image_format).in_use:
                raise KvmError(f"image {spec.path}: a domain was started on it while it grew; stop it and run again.")
            run.touched = True
            publish.place(Piece(image, spec.path, replace=True))


def _extract(run: Run, plan: ImagePlan) -> None:
    """The kernel or initrd of an image that exists."""
    spec, record = run.spec, t.cast(Manifest, plan.observed.manifest)
    raw = _raw_of(run, spec.path, t.cast(str, plan.observed.file.format))
    pieces, kernels = _extracted(run, plan, GuestFiles(f"image {spec.path}", raw, run.space.path, run.left))
    run.touched = True
    for piece in pieces:
        sync(piece.work)
        publish.place(piece)
    kernel, initrd = spec.kernel or record.kernel, spec.initrd or record.initrd
    publish.write_record(run.space, dataclasses.replace(record, kernel=kernel, initrd=initrd, kernels=tuple(kernels)))


def _tools(run: Run) -> dict[str, str]:
    """The versions of the programs that made it, for whoever wonders later."""
    used = [*_TOOLS, *([("mmdebstrap", ["--version"])] if run.spec.bootstrap is not None else [])]
    found = {}
    for name, arguments in used:
        program = _command.find(name, "mmdebstrap") if name == "mmdebstrap" else disk.program(name)
        done = _command.run([program, *arguments], timeout=30)
        found[name] = ((done.stdout or done.stderr).splitlines() or [""])[0]
    return found
