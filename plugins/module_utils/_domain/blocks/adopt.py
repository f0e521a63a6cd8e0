# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""A disk that went on with its copy: the copy is the disk that is meant from then on. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import table as tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks.wish import Mirror, of_old_place
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.disk import KIND
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Values
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec


def source(document: str | None, target: str) -> str | None:
    """What a document has as the source of a disk."""
    if not document:
        return None
    found = xml.read(document).devices["disks"].get(target, {}).get("source")
    return None if found is None else str(found)


def adopted(
    spec: DomainSpec, documents: t.Sequence[str | None], chain: t.Callable[[str], t.Sequence[str]]
) -> DomainSpec:
    """The declaration with the copies in the place of the disks that have gone on with them, as one of ``documents`` says.

    ``chain`` gives a file and those that it stands on: a snapshot may have put the copy on an overlay since.
    """
    wanted = spec.definition
    mirrors = {target: wish.mirror for target, wish in wanted.wishes.items() if wish.mirror is not None}
    if not any(mirror.pivot for mirror in mirrors.values()):
        return spec
    disks: list[Values] = []
    wishes = dict(wanted.wishes)
    for values in wanted.devices.get("disks", ()):
        mirror = mirrors.get(values["target"])
        places = {source(document, values["target"]) for document in documents} - {None, values.get("source")}
        there = mirror is not None and mirror.pivot and any(mirror.path in chain(str(place)) for place in places)
        disks.append(at(values, mirror) if mirror is not None and there else values)
        if there:
            wishes[values["target"]] = dataclasses.replace(wishes[values["target"]], reached=True)
    devices = {**wanted.devices, "disks": tuple(disks)}
    return dataclasses.replace(spec, definition=dataclasses.replace(wanted, devices=devices, wishes=wishes))


def at(values: Values, mirror: Mirror) -> Values:
    """A disk as it is when it has gone on with its copy."""
    place = {"source": mirror.path, "type": mirror.type, "format": mirror.format}
    return {**{name: value for name, value in values.items() if not of_old_place(name)}, **place}


def moved(document: str, target: str, mirror: Mirror) -> str:
    """A definition whose disk is at its copy."""
    root = _xml.parse(document)
    node = dict(xml.labelled(root, KIND))[target]
    wanted = {"source": mirror.path, "type": mirror.type, "format": mirror.format}
    # The type, which is written first, takes the old source along.
    tables.write(KIND.leaves, node, wanted, [leaf.name for leaf in KIND.leaves if of_old_place(leaf.name)], new=False)
    return _xml.to_text(root)
