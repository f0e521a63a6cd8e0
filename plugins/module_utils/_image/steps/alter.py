# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: what is changed on a disk that lies open as a raw file: its size, its labels, the files of its guest.

The file is a work copy, or a view whose changes go nowhere until they are verified: nothing here has to be undone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._image import edits, layout
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.content import Area
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Edit
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import reading
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import RawFile
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.look import Inside
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.volumes import EXT
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import (
    appliance,
    debugfs,
    disk,
    extfs,
    labels,
    mounted,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.extfs import Part
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.run import Run

# The first page of swap, whatever the size of a page.
_SWAP_HEAD = 64 << 10


@dataclasses.dataclass(frozen=True)
class Order:
    """What is to be done to a disk. ``size`` is what it is to have in bytes (None: as it is), ``partition`` the one that
    is meant, ``parts`` what of the declaration is to be put into its files (see edits.PARTS), ``more`` further changes of
    files. ``alone``: the file system was taken out of a disk whose other partitions are gone; ``source`` is that disk."""

    size: int | None = None
    partition: int | str | None = None
    relabel: bool = False
    parts: tuple[str, ...] = ()
    former_files: tuple[str, ...] = ()
    more: tuple[Edit, ...] = ()
    trusted: bool = False
    devices: t.Any = None


@contextlib.contextmanager
def look(path: str, partition: int | str | None = None) -> t.Iterator[Inside]:
    """What is on the raw file ``path`` now."""
    with open(path, "rb") as file:
        yield Inside(RawFile(file.fileno()), partition)


def alter(run: Run, flat: str, order: Order) -> None:
    """Carries out the order on the raw file ``flat``, and verifies the file system."""
    grown = _grow_table(run, flat, order) if order.size is not None else False
    with look(flat, order.partition) as inside:
        area = inside.root.area if inside.root is not None else None
        planned = _plan(run, inside, order) if area is not None else []
    if area is None:
        return
    kind = area.signature.kind if area.signature is not None else ""
    part = Part(flat, area.offset, area.size, kind)
    planned += order.more
    if kind in EXT:
        _alter_ext(run, part, order, planned, grown)
    elif kind == "swap":
        if order.relabel:
            _labels(run, part)
    elif kind in ("xfs", "btrfs"):
        _alter_other(run, part, area, order, planned, grown)


def _plan(run: Run, inside: Inside, order: Order) -> list[Edit]:
    if not order.parts:
        return []
    devices = order.devices or reading.devices(inside)
    return edits.plan(run.spec, reading.guest(inside, run.spec), order.parts, devices, order.former_files)


def _alter_ext(run: Run, part: Part, order: Order, planned: t.Sequence[Edit], grown: bool) -> None:
    # Also when nothing else is done: its journal is to be replayed before anybody writes.
    with run.step("check", "checking the file system"):
        extfs.repair(part, run.left)
    if order.relabel:
        _labels(run, part)
    if grown:
        with run.step("grow", "growing the file system"):
            extfs.grow(part, run.left)
    if planned:
        with run.step("customize", "putting in what the guest gets of its own"):
            debugfs.apply(part, planned, run.space.path, run.left)
    with run.step("verify", "checking the file system"):
        extfs.verify(part, run.left)


def _labels(run: Run, part: Part) -> None:
    wanted = run.spec.filesystem
    if wanted is not None:
        with run.step("label", "setting label and UUID"):
            labels.set_labels(part.path, part.offset, part.size, part.kind, wanted.label, wanted.uuid, run.left)


def _alter_other(run: Run, part: Part, area: Area, order: Order, planned: t.Sequence[Edit], grown: bool) -> None:
    if order.relabel:
        _labels(run, part)
    if not planned and not grown:
        return
    with run.step("customize" if planned else "grow", "changing the file system"):
        if order.trusted:
            with mounted.mounted(part.path, part.offset, part.size, part.kind, read_only=False) as there:
                if grown:
                    there.grow()
                there.apply(planned)
            return
        device = "/dev/sda" if area.number is None else f"/dev/sda{area.number}"
        if grown:
            appliance.grow(part.path, "raw", device, part.kind, timeout=run.left)
        if planned:
            appliance.edit(part.path, "raw", device, part.kind, planned, run.space.path, run.left)


def _grow_table(run: Run, flat: str, order: Order) -> bool:
    """Makes the disk larger, and its partition if it has partitions; whether the file system has room to grow now."""
    size = t.cast(int, order.size)
    if os.path.getsize(flat) < size:
        os.truncate(flat, size)
    with look(flat, order.partition) as inside:
        if inside.root is None or inside.root.area.number is None:
            return inside.root is not None
        plan = reading.growth(inside, inside.root.area, size)
        grown = plan.size > inside.root.area.size
    if not plan.patches:
        return grown
    with run.step("partition", "growing the partition"):
        _carry_out(flat, plan)
    return grown


def _carry_out(flat: str, plan: layout.Plan) -> None:
    fd = os.open(flat, os.O_RDWR | os.O_CLOEXEC)
    try:
        for move in plan.moves:
            if move.kind == "swap":
                # Only its first page says anything; the rest is what a guest left there.
                disk.copy_bytes(fd, move.old_offset, move.new_offset, min(move.size, _SWAP_HEAD))
            else:
                disk.copy_bytes(fd, move.old_offset, move.new_offset, move.size)
        os.fsync(fd)
        for patch in plan.patches:
            disk.write_all(fd, patch.data, patch.offset)
        os.fsync(fd)
    finally:
        os.close(fd)
