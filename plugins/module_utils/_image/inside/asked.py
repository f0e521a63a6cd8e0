# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: what a declaration asks of a disk: whether it can grow, what its devices are, what stands at some paths."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import edits, fstab, layout
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.content import Area, Content
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.declaration import may_be_rewritten
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.ext import Ext
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.look import Inside
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.tree import Tree
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.manifest import Manifest
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import ImageSpec


@dataclasses.dataclass
class Question:
    """What is asked for beyond the facts: which partition is meant, and the files that a declaration concerns.

    ``of_base``: of a base image, not of the image itself. ``alone``: the partition becomes a disk of its own, and the
    others go. ``former`` are files of the guest that an earlier declaration had.
    """

    spec: ImageSpec
    partition: int | str | None = None
    of_base: bool = False
    alone: bool = False
    former: tuple[str, ...] = ()
    measured: bool = True

    def knowing(self, record: Manifest | None) -> Question:
        """The same with what was declared earlier."""
        entries = record.declared.get("customize.files") or () if record is not None else ()
        measured = self.measured and (self.of_base or may_be_rewritten(record, self.spec))
        return dataclasses.replace(self, former=tuple(entry["path"] for entry in entries), measured=measured)

    def of_disk(self, inside: Inside, area: Area, found: Content) -> Content:
        """With the reason why the disk cannot become as large as declared, if there is one."""
        problem = None if self.alone else _growth_problem(inside, area, self.spec.size)
        return dataclasses.replace(found, growth_problem=problem)

    def of_files(self, inside: Inside, found: Content) -> t.Iterator[Content]:
        """With the devices for fstab, then with the files of the guest."""
        found = dataclasses.replace(found, devices=devices(inside, self.alone), least=_least(inside, self.spec))
        yield found
        if self.spec.individual or self.spec.fstab is not None:
            yield dataclasses.replace(found, snapshot=guest(inside, self.spec, self.former))


def growth(inside: Inside, area: Area, size: int) -> layout.Plan:
    """How the partition ``area`` grows when its disk becomes ``size`` bytes large; raises Unsupported when it cannot."""
    kinds = {number: other.signature.kind if other.signature else None for number, other in inside.areas.items()}
    contents = {number: kind for number, kind in kinds.items() if number is not None}
    return layout.grow(inside.reader, inside.table, area.number or 0, size, contents)


def _growth_problem(inside: Inside, area: Area, size: int | None) -> str | None:
    if size is None or size <= inside.reader.size:
        return None
    try:
        room = size if area.number is None else growth(inside, inside.areas[area.number], size).size
    except KvmError as exc:
        return exc.message
    volume = inside.volume(area)
    return volume.growth_problem(room) if isinstance(volume, Ext) and room > volume.size else None


def _least(inside: Inside, spec: ImageSpec) -> int | None:
    volume = inside.volume(inside.meant) if inside.meant is not None and spec.shrink else None
    return volume.least() if isinstance(volume, Ext) else None


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
