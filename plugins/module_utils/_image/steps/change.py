# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: an image that is there becomes what is declared: in place where that can be, else as a new file in its place."""

from __future__ import annotations

import dataclasses
import os
import time
import typing as t
import uuid

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import convergence, declaration, disk_file, manifest
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.look import Inside
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.open_disk import open_disk
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.manifest import Manifest
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.paths import half_done
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.plan import ImagePlan
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import (
    alter,
    disk,
    extract,
    inplace,
    overlay,
    publish,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.alter import Order
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.publish import Piece
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.run import Run
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.workspace import sync


def change(run: Run, plan: ImagePlan) -> None:
    """Carries out what the plan has for an existing image."""
    spec = run.spec
    # Before anything is done; a comparison cannot tell, for on a new host packages that come first make users.
    publish.numbers(spec.owner, spec.group)
    if plan.rewrite or (_is_altered(plan) and not inplace.possible()):
        _rewrite(run, plan)
    else:
        if _is_altered(plan):
            _in_place(run, plan)
        if plan.punch:
            run.touched = True
            extract.sparsify(run, spec.path)
            publish.write_record(run.space, _record(run, plan))
    if plan.extract:
        _extract(run, plan)
    if plan.permissions:
        run.touched = True
        publish.set_permissions(spec.path, spec.owner, spec.group, spec.mode)


def _is_altered(plan: ImagePlan) -> bool:
    return plan.size is not None or plan.relabel or bool(plan.parts)


def _order(run: Run, plan: ImagePlan) -> Order:
    return Order(
        size=plan.size,
        before=plan.observed.file.virtual_size,
        partition=run.spec.partition if run.spec.in_place else None,
        relabel=plan.relabel,
        parts=plan.parts,
        former=plan.former,
        trusted=plan.observed.trusted(run.spec.trust),
    )


def _record(run: Run, plan: ImagePlan) -> Manifest:
    before, spec = plan.observed.manifest, run.spec
    declared = declaration.merged(plan.observed.known, spec)
    declared["format"] = spec.format or plan.observed.file.format
    root = (spec.filesystem.uuid if spec.filesystem is not None else None) or plan.observed.root_uuid
    if before is not None:
        return dataclasses.replace(before, declared=declared, switch=None, root=root if before.adopted else None)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return Manifest(str(uuid.uuid4()), declared, created=now, trusted=False, adopted=True, root=root)


def _in_place(run: Run, plan: ImagePlan) -> None:
    """Through a log of changes, which are in the image wholly or not at all."""
    file = plan.observed.file
    size = plan.size or file.virtual_size
    editing = inplace.Editing(run.space, t.cast(str, file.format), size, run.left)
    alter.alter(run, editing, _order(run, plan))
    with run.step("commit", "putting the change into the image"):
        run.touched = True
        try:
            editing.commit(manifest.dump(_record(run, plan)))
        except KvmError:
            run.touched = os.path.lexists(half_done(run.spec.path))
            raise


def _rewrite(run: Run, plan: ImagePlan) -> None:
    """As a new file that takes the place of the old one."""
    spec, file, record = run.spec, plan.observed.file, plan.observed.manifest
    # Compared already, but for a host without FUSE, on which every change is one of these.
    convergence.refuse_snapshots(spec, file)
    raw = run.space.file("disk.raw")
    through = plan.observed.chained(spec.trust)
    extract.whole(run, spec.path, t.cast(str, file.format), raw, through_backing=through, sparse=spec.sparsify)
    if _is_altered(plan):
        alter.alter(run, inplace.Disk(run.space, raw, "raw", run.left), _order(run, plan))
    if spec.sparsify:
        extract.sparsify(run, raw)
    image = _emit(run, plan, raw)
    publish.set_permissions(image, file.owner, file.group, file.mode)
    with run.step("publish", "putting it into its place"):
        sync(image)
        now = disk_file.read_file(spec.path, file.format)
        if now.in_use or now.inode != file.inode:
            raise Busy(f"image {spec.path}: a domain was started on it while it was changed; stop it and run again.")
        after = _record(run, plan)
        before = record.declared if record is not None else {"format": file.format}
        switch = {"inode": os.lstat(image).st_ino, "declared": before}
        run.touched = True
        publish.write_record(run.space, dataclasses.replace(after, switch=switch))
        try:
            publish.place(Piece(image, spec.path, replace=True))
        except OSError:
            if os.lstat(spec.path).st_ino == file.inode:
                publish.restore_record(run.space, record)
            raise
        publish.write_record(run.space, after)
        if file.backing and not _stays_overlay(plan):
            publish.note_overlay(file.backing[0], spec.path, present=False)


def _stays_overlay(plan: ImagePlan) -> bool:
    spec = plan.spec
    flat = spec.base is not None and spec.base.mode == "copy"
    return bool(plan.observed.file.backing) and not flat and (spec.format or "qcow2") == "qcow2" and not spec.sparsify


def _emit(run: Run, plan: ImagePlan, raw: str) -> str:
    spec, file = run.spec, plan.observed.file
    image_format = spec.format or file.format
    if image_format == "raw":
        return raw
    target = run.space.file("disk.qcow2")
    with run.step("write", "writing the qcow2 image"):
        # What was written just now must not be taken for a hole.
        sync(raw)
        if not _stays_overlay(plan):
            disk.to_qcow2(raw, target, run.left, spec.compress)
            return target
        base = file.backing[0]
        with open_disk(spec.path, "qcow2", through_backing=True) as opened:
            base_format = opened.chain_formats[0][1]
        overlay.create(target, base, base_format, os.path.getsize(raw), run.left)
        before = base
        if base_format != "raw":
            before = run.space.file("base.raw")
            extract.whole(run, base, base_format, before, through_backing=True)
        overlay.write_difference(target, before, raw, run.space.path, run.left)
    return target


def _extract(run: Run, plan: ImagePlan) -> None:
    """The kernel or initrd of an image that exists."""
    spec, record = run.spec, plan.observed.manifest
    image_format = spec.format or t.cast(str, plan.observed.file.format)
    ours = {path for path in (record.kernel, record.initrd) if path} if record is not None else set()
    with open_disk(spec.path, image_format, through_backing=plan.observed.chained(spec.trust)) as opened:
        inside = Inside(opened.reader, spec.partition if spec.in_place else None)
        pieces = extract.kernel_pieces(run, inside, ours, plan.observed.existing)
    run.touched = True
    for piece in pieces:
        sync(piece.work)
        publish.place(piece)
    now = _record(run, plan)
    publish.write_record(
        run.space, dataclasses.replace(now, kernel=spec.kernel or now.kernel, initrd=spec.initrd or now.initrd)
    )
