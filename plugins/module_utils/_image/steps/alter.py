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

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import ToolError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import edits, fstab, layout
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.content import Area
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.customize import Former
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Edit
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import asked
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
    shrink,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.extfs import Part
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.inplace import Disk
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.run import Run

_BLOCK = 4096


@dataclasses.dataclass(frozen=True)
class Order:
    """What is to be done to a disk. ``size`` is what it is to have in bytes (None: as it is), ``before`` what the file system
    has room for now (None: all of the disk), ``partition`` the one that
    is meant, ``parts`` what of the declaration is to be put into its files (see edits.PARTS), ``more`` further changes of
    files. ``devices`` are those of the finished disk, for fstab (None: those of this disk)."""

    size: int | None = None
    before: int | None = None
    partition: int | str | None = None
    relabel: bool = False
    parts: tuple[str, ...] = ()
    former: Former = dataclasses.field(default_factory=Former)
    more: tuple[Edit, ...] = ()
    trusted: bool = False
    #: Whether the file system is to be sound though nothing is changed: it was taken out of a disk.
    sound: bool = False
    devices: fstab.Devices | None = None


@contextlib.contextmanager
def look(path: str, partition: int | str | None = None) -> t.Iterator[Inside]:
    """What is on the raw file ``path`` now."""
    with open(path, "rb") as file:
        yield Inside(RawFile(file.fileno()), partition)


def alter(run: Run, there: Disk, order: Order) -> None:
    """Carries out the order on a disk, and verifies the file system."""
    with there.whole() as flat:
        before = os.path.getsize(flat) if order.before is None else order.before
        wanted = order.size or before
        grown = _grow(run, flat, order, wanted) if wanted > before else False
        with look(flat, order.partition) as inside:
            area = inside.meant
            planned = [*(_plan(run, inside, order) if inside.root is not None else []), *order.more]
            size = _part_size(inside, area) if area is not None else 0
    kind = area.signature.kind if area is not None and area.signature is not None else ""
    if area is None or kind not in (*EXT, "swap", "xfs", "btrfs"):
        return
    changed = order.relabel or bool(planned) or wanted != before
    if not changed and not order.sound:
        return
    if area.pieces or (area.volume is not None and grown):
        _alter_logical(run, there, area, order, planned, grown)
        return
    if kind in EXT and wanted < before:
        _shrink(run, there, kind, order, planned)
        return
    with there.part(area.offset, size) as path:
        part = Part(path, size, kind)
        if kind in EXT and not changed:
            _make_sound(run, part)
            return
        if kind in EXT:
            _alter_ext(run, part, order, planned, grown)
        else:
            _alter_other(run, part, order, planned, grown)


def _part_size(inside: Inside, area: Area) -> int:
    """The whole blocks of an area: a file that ends within one is cut by the programs that count in blocks."""
    volume = inside.volume(area)
    return max(area.size - area.size % _BLOCK, volume.size if volume is not None else 0)


def _plan(run: Run, inside: Inside, order: Order) -> list[Edit]:
    if not order.parts:
        return []
    devices = order.devices or asked.devices(inside)
    there = asked.guest(inside, run.spec, order.former.files)
    return edits.plan(run.spec, there, order.parts, devices, order.former)


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
        extfs.verify(part, run.left, files=order.relabel or bool(planned))


def _make_sound(run: Run, part: Part) -> None:
    """Leaves every byte as it is, unless something is wrong, or its journal is to be replayed."""
    with run.step("verify", "checking the file system"):
        try:
            if extfs.needs_recovery(part):
                extfs.repair(part, run.left)
            extfs.verify(part, run.left)
        except ToolError:
            extfs.repair(part, run.left)
            extfs.verify(part, run.left)


def _shrink(run: Run, there: Disk, kind: str, order: Order, planned: t.Sequence[Edit]) -> None:
    """Makes the file system of the whole disk smaller when it has all that it is to have, and with it the work file."""
    size = t.cast(int, order.size)
    with there.whole() as flat:
        part = Part(flat, os.path.getsize(flat), kind)
        _alter_ext(run, part, order, planned, grown=False)
        with run.step("shrink", "making the file system smaller"):
            shrink.shrink(part, size, run.left)
            os.truncate(flat, size)
            extfs.verify(Part(flat, size, kind), run.left)


def _labels(run: Run, part: Part) -> None:
    wanted = run.spec.filesystem
    if wanted is not None:
        with run.step("label", "setting label and UUID"):
            labels.set_labels(part.path, 0, part.size, part.kind, wanted.label, wanted.uuid, run.left)


def _alter_other(run: Run, part: Part, order: Order, planned: t.Sequence[Edit], grown: bool) -> None:
    if order.relabel:
        _labels(run, part)
    if not planned and not grown:
        return
    with run.step("customize" if planned else "grow", "changing the file system"):
        if order.trusted:
            name = f"image {run.spec.path}"
            with mounted.mounted(part.path, 0, part.size, part.kind, read_only=False, name=name) as there:
                if grown:
                    there.grow()
                there.apply(planned)
            return
        # One start of the appliance for everything: without hardware acceleration it takes ten seconds and more.
        commands = appliance.grow_commands("/dev/sda", part.kind) if grown else []
        commands += appliance.edit_commands("/dev/sda", part.kind, planned, run.space.path) if planned else []
        appliance.carry_out(part.path, "raw", commands, run.left)


def _alter_logical(run: Run, there: Disk, area: Area, order: Order, planned: t.Sequence[Edit], grown: bool) -> None:
    """A logical volume that lies in pieces, or grows: that is for LVM itself, in the appliance of libguestfs."""
    kind = area.signature.kind if area.signature is not None else ""
    device, store = f"/dev/{area.volume}", "/dev/sda" if area.number is None else f"/dev/sda{area.number}"
    wanted = run.spec.filesystem
    commands = appliance.grow_commands(device, kind, physical_volume=store) if grown else []
    if order.relabel and wanted is not None:
        commands += appliance.relabel_commands(device, kind, wanted.label, wanted.uuid)
    commands += appliance.edit_commands(device, kind, planned, run.space.path) if planned else []
    with run.step("lvm", "changing the logical volume (in the appliance of libguestfs)"), there.whole() as flat:
        appliance.carry_out(flat, "raw", commands, run.left)


def _grow(run: Run, flat: str, order: Order, size: int) -> bool:
    """Makes the disk larger, and its partition if it has partitions; whether the file system has room to grow now."""
    if os.path.getsize(flat) < size:
        os.truncate(flat, size)
    with look(flat, order.partition) as inside:
        meant = inside.meant
        if meant is None or meant.number is None:
            return meant is not None
        # For a logical volume it is the partition that has it.
        area = inside.areas[meant.number]
        plan = asked.growth(inside, area, size)
        grown = plan.size > area.size
    if not plan.patches:
        return grown
    with run.step("partition", "growing the partition"):
        _carry_out(flat, plan)
    return grown


def _carry_out(flat: str, plan: layout.Plan) -> None:
    fd = os.open(flat, os.O_RDWR | os.O_CLOEXEC)
    try:
        for move in plan.moves:
            disk.copy_bytes(fd, move.old_offset, move.new_offset, move.copied)
        os.fsync(fd)
        for patch in plan.patches:
            disk.write_all(fd, patch.data, patch.offset)
        os.fsync(fd)
    finally:
        os.close(fd)
