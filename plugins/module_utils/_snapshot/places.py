# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Snapshots: which disks a new one has, and where its files are to be. Pure."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.chain import Disk
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.spec import SnapshotSpec


def chosen(spec: SnapshotSpec, disks: t.Sequence[Disk]) -> list[Disk]:
    """The disks that are to be in it: those named, else all that can be written and do not refuse by their definition."""
    if spec.disks is not None:
        named = [choice.target for choice in spec.disks]
        return [disk for disk in disks if disk.target in named]
    return [disk for disk in disks if disk.writable and not disk.skip]


def overlays(spec: SnapshotSpec, disks: t.Sequence[Disk]) -> dict[str, str | None]:
    """Where the overlay of each chosen disk is to be, by target; None when it has no place of its own beside the disk.

    As libvirt names them: the disk's file with the snapshot's name in the place of its suffix.
    """
    stated = {choice.target: choice.path for choice in spec.disks or ()}
    found: dict[str, str | None] = {}
    for disk in chosen(spec, disks):
        path = stated.get(disk.target)
        if path is None and disk.type in ("file", "volume") and disk.chain:
            folder, name = os.path.split(disk.chain[0].path)
            stem = name.rpartition(".")[0] or name
            path = os.path.join(folder, f"{stem}.{spec.name}")
            if path in found.values():
                path += f"-{disk.target}"
        found[disk.target] = path
    return found


def memory(spec: SnapshotSpec, disks: t.Sequence[Disk]) -> str | None:
    """Where the memory of an external snapshot is to be: as stated, else beside the first overlay."""
    if spec.memory_path is not None:
        return spec.memory_path
    places = [path for path in overlays(spec, disks).values() if path is not None]
    return os.path.join(os.path.dirname(places[0]), f"{spec.domain}.{spec.name}.memory") if places else None
