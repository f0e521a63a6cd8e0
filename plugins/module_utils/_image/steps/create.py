# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: an image that is not there yet, from its source to its place."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import typing as t
import uuid

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import declaration, edits
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import asked
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.look import Inside
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.open_disk import open_disk
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.volumes import EXT
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.manifest import Manifest
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.plan import ImagePlan
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.sources import BaseImage
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import DEFAULT_SIZE
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import (
    alter,
    appliance,
    boot,
    bootstrap,
    disk,
    extfs,
    extract,
    inplace,
    make,
    overlay,
    publish,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.alter import Order
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.publish import Piece
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.run import Run
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.workspace import sync

_TOOLS = (("mke2fs", ["-V"]), ("qemu-img", ["--version"]))


def create(run: Run, plan: ImagePlan) -> None:
    """Makes the image of ``run`` and puts it into its place."""
    spec = run.spec
    with contextlib.ExitStack() as held:
        if spec.base is not None:
            held.enter_context(publish.base_held(spec.base.path))
        if plan.replace:
            held.enter_context(publish.base_alone(spec.path))
        publish.numbers(spec.owner, spec.group)
        image, kernels = _make(run, plan)
        publish.set_permissions(image, spec.owner, spec.group, spec.mode or ("0644" if spec.bootstrap else "0600"))
        with run.step("publish", "putting it into its place"):
            run.touched = True
            if spec.base is not None and spec.is_overlay:
                publish.note_overlay(spec.base.path, spec.path, present=True)
            publish.publish(run.space, [Piece(image, spec.path, plan.replace), *kernels], _record(run, plan))


def _raw(run: Run, path: str) -> inplace.Disk:
    return inplace.Disk(run.space, path, "raw", run.left)


def _record(run: Run, plan: ImagePlan) -> Manifest:
    spec, before = run.spec, plan.observed.manifest
    return Manifest(
        id=str(uuid.uuid4()),
        declared=declaration.declared(spec),
        base=None if spec.base is None else {"path": spec.base.path, "identity": plan.observed.base_identity},
        # Files that an earlier declaration named are still known as made with this image.
        kernel=spec.kernel or (before.kernel if before is not None else None),
        initrd=spec.initrd or (before.initrd if before is not None else None),
        tools=_tools(run),
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        trusted=spec.base is None or plan.observed.base.trusted(spec.trust),
    )


def _make(run: Run, plan: ImagePlan) -> tuple[str, list[Piece]]:
    """The finished image and its kernel and initrd, as work files."""
    spec = run.spec
    if spec.base is not None:
        return _from_base(run, plan, spec.base)
    raw = run.space.file("disk.raw")
    if spec.bootstrap is not None:
        _bootstrap(run, raw)
        alter.alter(run, _raw(run, raw), Order(parts=edits.PARTS, trusted=True))
    else:
        _blank(run, raw)
    with alter.look(raw) as inside:
        kernels = _kernels(run, plan, inside)
    return _emit(run, raw), kernels


def _kernels(run: Run, plan: ImagePlan, inside: Inside) -> list[Piece]:
    before = plan.observed.manifest
    ours = {path for path in (before.kernel, before.initrd) if path} if before is not None else set()
    return extract.kernel_pieces(run, inside, ours, plan.observed.existing)


def _bootstrap(run: Run, raw: str) -> None:
    spec = run.spec
    with run.step("bootstrap", "fetching and installing packages (minutes)"):
        tree = bootstrap.build(spec, run.space, run.say, run.left)
    with run.step("filesystem", "making the file system"):
        if spec.filesystem is None:
            raise RuntimeError(f"{spec.path} has no file system")
        size = spec.size or DEFAULT_SIZE
        extfs.make_filesystem(raw, size, spec.filesystem, scratch=run.space.path, timeout=run.left, tree=tree)


def _blank(run: Run, raw: str) -> None:
    spec = run.spec
    with run.step("blank", "making an empty image"):
        size, wanted = spec.size or 0, spec.filesystem
        with open(raw, "xb") as file:
            file.truncate(size)
        if wanted is not None:
            make.make_filesystem(raw, 0, size, wanted.type or "", wanted.label, wanted.uuid, run.left)


def _from_base(run: Run, plan: ImagePlan, base: BaseImage) -> tuple[str, list[Piece]]:
    seen = plan.observed.base
    image_format = t.cast(str, seen.file.format)
    trusted, through = seen.trusted(run.spec.trust), seen.chained(run.spec.trust)
    with open_disk(base.path, image_format, through_backing=through) as opened:
        inside = Inside(opened.reader, run.spec.partition)
        kernels = _kernels(run, plan, inside) if run.spec.kernel or run.spec.initrd else []
        order = _order(run, inside, trusted)
    if run.spec.is_overlay:
        return _overlay(run, base, image_format, seen.file.virtual_size, order), kernels
    raw = run.space.file("disk.raw")
    dense = False
    if run.spec.partition is None:
        extract.whole(run, base.path, image_format, raw, through_backing=through, sparse=run.spec.sparsify)
    else:
        # With a journal to replay it is known afterwards only what is free.
        dense = not extract.partition(run, base.path, image_format, raw, through_backing=through)
    alter.alter(run, _raw(run, raw), order)
    if run.spec.sparsify or dense:
        extract.sparsify(run, raw)
    return _emit(run, raw), kernels


def _order(run: Run, inside: Inside, trusted: bool) -> Order:
    spec = run.spec
    alone = spec.partition is not None
    kind = inside.root.area.signature.kind if inside.root is not None and inside.root.area.signature is not None else ""
    # A separate /boot is an extra for which nobody should have to install anything.
    merges = alone and (kind in EXT or trusted or appliance.available())
    concerned = spec.individual or spec.fstab is not None
    return Order(
        size=spec.size,
        relabel=spec.filesystem is not None,
        parts=edits.PARTS if concerned else (),
        more=tuple(boot.merge(run, inside)) if merges else (),
        trusted=trusted,
        sound=alone,
        devices=asked.devices(inside, alone) if concerned and inside.root is not None else None,
    )


def _overlay(run: Run, base: BaseImage, base_format: str, base_size: int, order: Order) -> str:
    """An overlay that holds only what differs from its base."""
    target = run.space.file("disk.qcow2")
    size = run.spec.size or base_size
    overlay.create(target, base.path, base_format, size, run.left)
    if not order.parts and not order.relabel and size == base_size and not order.more:
        return target
    if inplace.possible():
        order = dataclasses.replace(order, before=base_size)
        alter.alter(run, inplace.Disk(run.space, target, "qcow2", run.left), order)
        return target
    # Without FUSE the change is made in a copy, and what differs is written into the overlay.
    before, raw = base.path, run.space.file("disk.raw")
    if base_format != "raw":
        before = run.space.file("base.raw")
        extract.whole(run, base.path, base_format, before, through_backing=True)
    disk.copy_sparse(before, raw, base_size)
    alter.alter(run, _raw(run, raw), order)
    with run.step("write", "writing the qcow2 image"):
        run.say(
            f"{overlay.write_difference(target, before, raw, run.space.path, run.left)} bytes differ from the base image"
        )
    return target


def _emit(run: Run, raw: str) -> str:
    """The finished image in its format, from the raw work file."""
    if run.spec.format == "raw":
        return raw
    target = run.space.file("disk.qcow2")
    with run.step("write", "writing the qcow2 image"):
        # What was written just now must not be taken for a hole.
        sync(raw)
        disk.to_qcow2(raw, target, run.left, run.spec.compress)
    os.unlink(raw)
    return target


def _tools(run: Run) -> dict[str, str]:
    """The versions of the programs that made it, for whoever wonders later."""
    used = [*_TOOLS, *([("mmdebstrap", ["--version"])] if run.spec.bootstrap is not None else [])]
    found = {}
    for name, arguments in used:
        program = _command.find(name, "mmdebstrap") if name == "mmdebstrap" else disk.program(name)
        done = _command.run([program, *arguments], timeout=30)
        found[name] = ((done.stdout or done.stderr).splitlines() or [""])[0]
    return found
