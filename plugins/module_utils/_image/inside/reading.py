# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: the image is opened, looked into, and told of as plain data."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.content import Area, Content
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import system
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.look import Inside
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.open_disk import open_disk
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.qcow2_file import Withheld
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.tables import Partition


class Asking(t.Protocol):
    """What is asked for beyond the facts (``inside.asked.Question``)."""

    partition: int | str | None
    #: Whether it matters how much there is to copy. All tables of the format are walked for it, seconds on a large disk.
    measured: bool

    def of_disk(self, inside: Inside, area: Area, found: Content) -> Content:
        """What the tables say, with ``area`` as what is meant; never raises."""

    def of_files(self, inside: Inside, found: Content) -> t.Iterator[Content]:
        """What the files say, layer by layer."""


def read(
    path: str,
    image_format: str,
    *,
    through_backing: bool,
    partition: int | str | None = None,
    question: Asking | None = None,
) -> Content:
    """Looks into an image; never raises for what is wrong with it, but says so in ``problem``."""
    found = Content()
    try:
        with open_disk(path, image_format, through_backing=through_backing) as disk:
            for layer in _layers(disk.reader, disk.data_bytes, partition, question):
                found = layer
    except KvmError as exc:
        return dataclasses.replace(found, problem=exc.message, withheld=isinstance(exc, Withheld))
    return found


def _layers(
    reader: Reader, data_bytes: t.Callable[[], int], partition: int | str | None, question: Asking | None
) -> t.Iterator[Content]:
    """The picture, layer by layer, so that a fault in one does not hide those above it."""
    fault, measured = None, Content()
    if question is not None and question.measured:
        measured, fault = _measured(data_bytes)
        yield measured
    inside = Inside(reader, partition if question is None else question.partition)
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
    if question is not None:
        found = question.of_disk(inside, area, found)
    yield found
    yield from _files(inside, area, found, question)


def _files(inside: Inside, area: Area, found: Content, question: Asking | None) -> t.Iterator[Content]:
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
    if question is not None:
        yield from question.of_files(inside, found)


def _measured(data_bytes: t.Callable[[], int]) -> tuple[Content, KvmError | None]:
    """How much there is to copy, as far as that can be told."""
    try:
        return Content(data_bytes=data_bytes()), None
    except KvmError as exc:
        return Content(data_bytes=None, copy_problem=exc.message if isinstance(exc, Damaged) else None), exc


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
