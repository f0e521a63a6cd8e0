# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: the image is opened, looked into, and told of as plain data."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, KvmError, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import edits, fstab, layout
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.content import Area, Content, Question
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import snapshot, system
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.look import Inside
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.open_disk import open_disk
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.qcow2_file import Withheld
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.tables import Partition
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.tree import Tree
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import ImageSpec


def read(path: str, image_format: str, *, through_backing: bool, question: Question | None = None) -> Content:
    """Looks into an image; never raises for what is wrong with it, but says so in ``problem``."""
    found = Content()
    try:
        with open_disk(path, image_format, through_backing=through_backing) as disk:
            for layer in _layers(disk.reader, disk.data_bytes, question):
                found = layer
    except KvmError as exc:
        return dataclasses.replace(found, problem=exc.message, withheld=isinstance(exc, Withheld))
    return found


def _layers(reader: Reader, data_bytes: t.Callable[[], int], question: Question | None) -> t.Iterator[Content]:
    """The picture, layer by layer, so that a fault in one does not hide those above it."""
    declared, fault, measured = question is not None and question.spec is not None, None, Content()
    if declared:
        # All tables of the format are walked for it, which takes long on a large disk.
        measured, fault = _measured(data_bytes)
        yield measured
    inside = Inside(reader, question.partition if question is not None else None)
    partitions = tuple(partition_facts(item, inside.areas[item.number]) for item in inside.table.partitions)
    areas = tuple(inside.areas.values())
    found = dataclasses.replace(
        measured, table=inside.table.kind, partitions=partitions, areas=areas, no_root=inside.no_root
    )
    yield found
    if fault is not None:
        raise fault
    area = inside.meant
    if area is None:
        return
    root = _root_facts(area, inside.root.reason) if inside.root is not None else None
    found = dataclasses.replace(found, root=root, area=area)
    if question is not None and question.spec is not None and not question.alone:
        found = dataclasses.replace(found, growth_problem=_growth_problem(inside, area, question.spec.size))
    yield found
    volume = inside.volume(area)
    if volume is None:
        return
    found = dataclasses.replace(found, fs_size=volume.size)
    yield found
    tree = inside.tree()
    if tree is None:
        return
    found = dataclasses.replace(
        found, operating_system=system.operating_system(tree), kernels=tuple(system.kernels(tree))
    )
    yield found
    if question is not None and question.spec is not None:
        found = dataclasses.replace(found, devices=devices(inside, question.alone))
        yield dataclasses.replace(found, snapshot=guest(inside, question.spec, question.former))


def _measured(data_bytes: t.Callable[[], int]) -> tuple[Content, KvmError | None]:
    """How much there is to copy, as far as that can be told."""
    try:
        return Content(data_bytes=data_bytes()), None
    except KvmError as exc:
        return Content(data_bytes=None, copy_problem=exc.message if isinstance(exc, Damaged) else None), exc


def growth(inside: Inside, area: Area, size: int) -> layout.Plan:
    """How the partition ``area`` grows when its disk becomes ``size`` bytes large; raises Unsupported when it cannot."""
    kinds = {number: other.signature.kind if other.signature else None for number, other in inside.areas.items()}
    contents = {number: kind for number, kind in kinds.items() if number is not None}
    return layout.grow(inside.reader, inside.table, area.number or 0, size, contents)


def _growth_problem(inside: Inside, area: Area, size: int | None) -> str | None:
    if size is None or size <= inside.reader.size or area.number is None:
        return None
    try:
        growth(inside, inside.areas[area.number], size)
    except KvmError as exc:
        return exc.message
    return None


def guest(inside: Inside, spec: ImageSpec, former: t.Sequence[str] = ()) -> Snapshot:
    """The files of the guest that the declaration and an earlier one concern; its root file system alone, as only that is
    changed."""
    if inside.root is None:
        raise Unsupported(inside.no_root or "it has no root file system")
    volume = inside.volume(inside.root.area)
    if volume is None:
        raise Unsupported("its file system is of a kind that is not read here")
    tree = Tree(volume)
    paths = [*edits.paths(spec), *former]
    first = snapshot.take(tree, paths)
    return snapshot.take(tree, [*paths, *edits.more_paths(spec, first)])


def devices(inside: Inside, alone: bool = False) -> fstab.Devices:
    """What fstab may name; ``alone``: the root file system becomes a whole disk, and the others go."""
    area = inside.meant
    if area is None:
        raise Unsupported(inside.no_root or "it has no root file system")
    root = inside.known(area)
    kind = area.signature.kind if area.signature is not None else "auto"
    others = tuple(inside.known(other) for other in (*inside.areas.values(), *inside.logical) if other != area)
    if not alone:
        return fstab.Devices(root, kind, (root, *others))
    whole = fstab.Device(None, root.uuid, root.label, None, None)
    lvm = any(other.signature and other.signature.kind == "LVM2_member" for other in inside.areas.values())
    gone = tuple(other for other in (root, *others))
    # By its old partition the root cannot be named any more, by what it holds it can.
    return fstab.Devices(whole, kind, (whole,), gone, lvm)


def partition_facts(item: Partition, area: Area) -> dict[str, t.Any]:
    """An entry of ``partitions``."""
    sign = area.signature
    return {
        "number": item.number,
        "start": item.start,
        "sectors": item.sectors,
        "offset": item.offset,
        "size": item.size,
        "type": item.type,
        "bootable": item.bootable,
        "name": item.name,
        "partuuid": item.uuid,
        "filesystem": sign.kind if sign is not None else None,
        "label": sign.label if sign is not None else None,
        "uuid": sign.uuid if sign is not None else None,
    }


def _root_facts(area: Area, reason: str) -> dict[str, t.Any]:
    sign = area.signature
    return {
        "number": area.number,
        "offset": None if area.pieces else area.offset,
        "logical_volume": area.volume,
        "filesystem": sign.kind if sign is not None else None,
        "label": sign.label if sign is not None else None,
        "uuid": sign.uuid if sign is not None else None,
        "reason": reason,
    }
