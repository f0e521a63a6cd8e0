# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: the content of an image as a raw work file: all of it, or one partition as a disk of its own."""

from __future__ import annotations

import os
import typing as t

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.xfs import Xfs

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.content import Area
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import system, tree
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.ext import Ext
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.look import Inside
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.open_disk import Disk, open_disk
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import disk, publish
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.publish import Piece
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.run import Run


def used(inside: Inside, area: Area) -> list[disk.Range] | None:
    """The ranges of an area (bytes from its start) that its file system uses; None when that is not known for sure.

    A journal that is still to be replayed may make free blocks used ones.
    """
    volume = inside.volume(area)
    if isinstance(volume, Ext) and not volume.needs_recovery and volume.clean and not volume.has_errors:
        return volume.used()
    if volume is not None and volume.kind == "xfs" and t.cast("Xfs", volume).clean:
        return t.cast("Xfs", volume).used()
    return None


def whole(run: Run, path: str, image_format: str, target: str, *, through_backing: bool, sparse: bool = False) -> None:
    """The whole disk of an image as the raw file ``target``; ``sparse``: the blocks that its file systems do not use may be
    left out."""
    with run.step("copy", "copying it"):
        if image_format == "raw":
            disk.copy_window(path, 0, os.path.getsize(path), target, _kept(path) if sparse else None)
            return
        with open_disk(path, image_format, through_backing=through_backing) as opened:
            _convert(run, path, image_format, opened, 0, opened.reader.size, target)


def partition(run: Run, path: str, image_format: str, target: str, *, through_backing: bool) -> bool:
    """The stated partition as the raw file ``target``, as large as its file system; whether its free blocks are left out."""
    with open_disk(path, image_format, through_backing=through_backing) as opened:
        inside = Inside(opened.reader, run.spec.partition)
        if inside.root is None:
            raise KvmError(f"{path}: {inside.no_root}.")
        area = inside.root.area
        volume = inside.volume(area)
        size = volume.size if volume is not None else area.size
        if size > area.size:
            raise Damaged(f"the file system of partition {area.number} is larger than the partition; it is cut off")
        known = used(inside, area)
        with run.step("extract", f"taking partition {area.number} out" if area.number else "copying the file system"):
            if area.pieces:
                disk.copy_reader(inside.window(area), size, target, known)
            elif image_format == "raw":
                disk.copy_window(path, area.offset, size, target, known)
            else:
                _convert(run, path, image_format, opened, area.offset, size, target)
                drop(target, 0, size, known)
    return known is not None


def drop(path: str, offset: int, size: int, known: t.Sequence[disk.Range] | None) -> None:
    """Makes holes of what a file system of ``size`` bytes at ``offset`` does not use."""
    if known is None:
        return
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        for start, end in disk.complement(known, size):
            disk.punch(fd, offset + start, offset + end)
    finally:
        os.close(fd)


def sparsify(run: Run, path: str) -> None:
    """Makes holes of the free blocks of all file systems on a raw disk, as far as they are known."""
    with run.step("sparsify", "giving free blocks back"):
        for area, known in _known(path):
            drop(path, area.offset, area.size, known)


def _known(path: str) -> list[tuple[Area, list[disk.Range] | None]]:
    """The file systems on a raw disk with what they use."""
    with open(path, "rb") as file:
        inside = Inside(disk.raw_reader(file), None)
        return [(area, used(inside, area)) for area in inside.areas.values() if inside.readable(area)]


def _kept(path: str) -> list[disk.Range]:
    """All of a raw disk but for the free blocks of its file systems."""
    free = [
        (area.offset + start, area.offset + end)
        for area, known in _known(path)
        if known is not None
        for start, end in disk.complement(known, area.size)
    ]
    return list(disk.complement(sorted(free), os.path.getsize(path)))


def kernels(run: Run, inside: Inside, names: t.Sequence[str]) -> list[tuple[str, str]]:
    """Copies the newest kernel and its initrd (those of ``names``) out; gives (name, work file)."""
    files = inside.tree()
    found = system.newest(system.kernels(files), "initrd" in names) if files is not None else None
    if files is None or found is None:
        raise KvmError(f"image {run.spec.path}: there is no kernel in /boot of the image; leave out kernel and initrd.")
    copies = []
    for name in names:
        there = system.content(files, found[name])
        if there is None:
            raise KvmError(
                f"image {run.spec.path}: there is no {name} in /boot of the image; leave out the option {name}."
            )
        with run.step(name, f"copying {found[name]} out"):
            work = run.space.file(name)
            with open(work, "xb") as file:
                file.writelines(tree.pieces(there))
        copies.append((name, work))
    return copies


def kernel_pieces(run: Run, inside: Inside, ours: t.Collection[str], existing: t.Collection[str]) -> list[Piece]:
    """The kernel and the initrd that are declared as finished work files. ``ours`` may be replaced."""
    spec = run.spec
    places = {name: place for name, place in (("kernel", spec.kernel), ("initrd", spec.initrd)) if place is not None}
    pieces = []
    for name, work in kernels(run, inside, list(places)) if places else []:
        publish.set_permissions(work, spec.owner, spec.group, "0644")
        os.makedirs(os.path.dirname(places[name]), exist_ok=True)
        pieces.append(Piece(work, places[name], places[name] in ours and places[name] in existing))
    return pieces


def _convert(run: Run, path: str, image_format: str, opened: Disk, offset: int, size: int, target: str) -> None:
    graph = disk.source_graph(path, image_format, opened.chain_formats)
    disk.convert_window(graph, offset, size, target, run.left)
