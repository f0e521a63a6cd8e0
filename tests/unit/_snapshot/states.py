# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains with disks and snapshots, as observe would see them."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import snapshots
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.chain import Disk, Layer
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.observe import SnapshotState
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.spec import SnapshotSpec, parse
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.xml import Machine

MACHINE = Machine(False, "raw", False, False, False, 64 << 20)
#: What libvirt knows before it can go back to external snapshots by itself, and after.
OLD, NEW = 9_000_000, 11_003_000


def spec(name: str = "before", **params: t.Any) -> SnapshotSpec:
    return parse({"domain": "web", "name": name, **params})


def disk(target: str, *paths: str, **more: t.Any) -> Disk:
    """A disk on overlays; the last path is the file that the user knows."""
    last = len(paths) - 1
    formats = ["qcow2" if index < last or path.endswith("qcow2") else "raw" for index, path in enumerate(paths)]
    chain = tuple(
        Layer(path, form, size=1 << 30, backing=paths[index + 1] if index < last else None)
        for index, (path, form) in enumerate(zip(paths, formats))
    )
    return Disk(
        target, source=paths[0] if paths else None, format=formats[0] if formats else "raw", chain=chain, **more
    )


def document(name: str, kind: str, parts: dict[str, tuple[str, str | None]], **more: t.Any) -> str:
    """A snapshot's document: for each disk its content, and the overlay that was made on it."""
    parent = f"<parent><name>{more['parent']}</name></parent>" if more.get("parent") else ""
    memory = more.get("memory", "no")
    where = f" file='{more['memory_path']}'" if more.get("memory_path") else ""
    disks = "".join(
        f"<disk name='{target}' snapshot='{kind}'>"
        + (f"<driver type='qcow2'/><source file='{path}'/>" if path else "")
        + "</disk>"
        for target, (_content, path) in parts.items()
    )
    devices = "".join(
        f"<disk type='file' device='disk'><driver name='qemu' type='{'qcow2' if path.endswith(('qcow2', 'one')) else 'raw'}'/>"
        f"<source file='{path}'/><target dev='{target}'/></disk>"
        for target, (path, _overlay) in parts.items()
    )
    return (
        f"<domainsnapshot><name>{name}</name>{parent}<state>{more.get('state', 'shutoff')}</state>"
        f"<creationTime>{more.get('created', 1)}</creationTime><memory snapshot='{memory}'{where}/>"
        f"<disks>{disks}</disks><domain type='qemu'><name>web</name><devices>{devices}</devices></domain></domainsnapshot>"
    )


def taken(name: str, kind: str, parts: dict[str, tuple[str, str | None]], **more: t.Any) -> snapshots.Snapshot:
    return snapshots.parse(document(name, kind, parts, **more), bool(more.get("current")))


def state(disks: t.Sequence[Disk], *made: snapshots.Snapshot, **more: t.Any) -> SnapshotState:
    given: dict[str, t.Any] = {
        "exists": True,
        "version": OLD,
        "state": "stopped",
        "persistent": True,
        "document": "<domain><name>web</name></domain>",
        "machine": MACHINE,
        "disks": tuple(disks),
        "snapshots": tuple(snapshots.ordered(made)),
        **more,
    }
    if given["state"] in ("running", "paused"):
        given["active"] = True
    return SnapshotState(**given)


def files(seen: SnapshotState, **more: t.Any) -> SnapshotState:
    return dataclasses.replace(seen, files=dataclasses.replace(seen.files, **more))
