# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Snapshots: what there is of a domain, of its disks and of its snapshots. Reads only."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import (
    agent,
    blockjobs,
    domains,
    host,
    process,
    snapshots,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.snapshots import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot import layers, places, removal, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.chain import Disk, Layer
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.removal import Removal
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.spec import SnapshotSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.xml import Machine


@dataclasses.dataclass(frozen=True)
class Session:
    """What the steps of one call have in common; ``connection`` None: a machine before its first run."""

    connection: t.Any
    local: bool


@dataclasses.dataclass(frozen=True)
class Files:
    """What was looked up about files. ``there``: those that exist, with what they look like; ``users``: who stands on a
    file, beside the chains of the domain itself; ``real``: the paths behind links; ``free``: the room in folders;
    ``growth``: how much the second of two layers grows when the first is merged into it; ``contents``: the files that a
    snapshot keeps, read; ``at``: the disks whose data is what the snapshot has."""

    there: dict[str, str | None] = dataclasses.field(default_factory=dict)
    folders: frozenset[str] = frozenset()
    users: dict[str, str] = dataclasses.field(default_factory=dict)
    real: dict[str, str] = dataclasses.field(default_factory=dict)
    free: dict[str, int | None] = dataclasses.field(default_factory=dict)
    growth: dict[tuple[str, str], int | None] = dataclasses.field(default_factory=dict)
    contents: dict[str, Layer] = dataclasses.field(default_factory=dict)
    at: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class SnapshotState:
    """A domain with its disks and snapshots. ``document`` is its definition, ``running`` what runs; ``removal`` what an
    interrupted task was about to remove; ``resident`` how much memory qemu has, in bytes; ``version`` libvirt's, as
    major * 1,000,000 + minor * 1,000 + release. ``agent_limit``: the seconds that somebody has given the agent; ``agent_problem``:
    why it does not answer, looked at when it is needed."""

    exists: bool = False
    unknown: bool = False
    local: bool = True
    version: int = 0
    state: str = "absent"
    reason: str = "unknown"
    active: bool = False
    persistent: bool = False
    managed_save: bool = False
    document: str | None = None
    running: str | None = None
    machine: Machine | None = None
    agent_limit: int | None = None
    agent_problem: str | None = None
    resident: int | None = None
    disks: tuple[Disk, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    removal: Removal | None = None
    files: Files = dataclasses.field(default_factory=Files)

    def snapshot(self, name: str) -> Snapshot | None:
        """The snapshot of that name."""
        return next((snapshot for snapshot in self.snapshots if snapshot.name == name), None)

    def disk(self, target: str) -> Disk | None:
        """The disk with that target."""
        return next((disk for disk in self.disks if disk.target == target), None)

    def descendants(self, name: str) -> list[Snapshot]:
        """All snapshots that were made from this one, parents first."""
        names = {name}
        found: list[Snapshot] = []
        for snapshot in self.snapshots:
            if snapshot.parent in names:
                names.add(snapshot.name)
                found.append(snapshot)
        return found

    def same(self, one: str, other: str) -> bool:
        """Whether two paths lead to the same file."""
        return self.files.real.get(one, one) == self.files.real.get(other, other)


def observe(session: Session, spec: SnapshotSpec) -> SnapshotState:
    """Reads one domain by name; without a connection (a machine before its first run) there is none."""
    if session.connection is None:
        return SnapshotState(unknown=True)
    raw = domains.read(session.connection, spec.domain)
    if raw is None:
        return SnapshotState(local=session.local)
    state = SnapshotState(
        exists=True,
        local=session.local,
        version=host.versions(session.connection)[0],
        state=raw.state,
        reason=raw.reason,
        active=raw.active,
        persistent=raw.persistent,
        managed_save=raw.saved_xml is not None,
        document=raw.inactive_xml,
        running=raw.running_xml,
        machine=xml.machine(raw.running_xml or raw.inactive_xml),
        resident=snapshots.resident(session.connection, spec.domain) if raw.active else None,
        snapshots=tuple(snapshots.tree(session.connection, spec.domain)),
        removal=removal.read(raw.inactive_xml, raw.running_xml),
    )
    if spec.quiesce and spec.state == "present" and state.snapshot(spec.name) is None:
        state = _with_agent(session, spec, state)
    disks = tuple(_disk(session, spec, state, disk) for disk in xml.disks(raw.running_xml or raw.inactive_xml))
    state = dataclasses.replace(state, disks=disks)
    return dataclasses.replace(state, files=_files(session, spec, state)) if session.local else state


def _with_agent(session: Session, spec: SnapshotSpec, state: SnapshotState) -> SnapshotState:
    """Whether the agent answers: one that does not is not asked to freeze anything, for nobody could have it thaw again."""
    connected = state.machine is not None and state.machine.agent_connected
    if not connected or state.state != "running":
        return state
    before = process.agent_limit(host.uri(session.connection), spec.domain) if session.local else None
    problem = None
    try:
        agent.ping(session.connection, spec.domain, spec.agent_timeout)
    except LibvirtError as exc:
        problem = exc.message
    agent.release(session.connection, spec.domain, before)
    return dataclasses.replace(state, agent_limit=before, agent_problem=problem)


def _disk(session: Session, spec: SnapshotSpec, state: SnapshotState, disk: Disk) -> Disk:
    """The disk with what libvirt's document does not say of it."""
    if disk.type == "volume" and not disk.chain:
        named = xml.pool_volume(state.running or state.document or "", disk.target)
        path = snapshots.volume_path(session.connection, *named) if named is not None else None
        disk = dataclasses.replace(disk, chain=(Layer(path, disk.format),) if path is not None else ())
    if session.local and disk.chain:
        whole = state.active and len(disk.chain) > 1
        chain = tuple(map(layers.read, disk.chain)) if whole else layers.chain(disk.chain[0])
        disk = dataclasses.replace(disk, chain=chain)
    if not state.active or disk.source is None:
        return disk
    job = blockjobs.job(session.connection, spec.domain, disk.target)
    mirror = blockjobs.mirror(state.running or "", disk.target)
    written = snapshots.written(session.connection, spec.domain, disk.target) if spec.state == "reverted" else None
    return dataclasses.replace(
        disk,
        job=job.kind if job is not None else None,
        mirror=mirror.path if mirror is not None else None,
        written=written,
    )


def _files(session: Session, spec: SnapshotSpec, state: SnapshotState) -> Files:
    if spec.state == "present":
        return _for_present(spec, state)
    if spec.state == "absent":
        return _for_absent(session, spec, state)
    return _for_reverted(session, spec, state)


def _real(paths: t.Iterable[str | None]) -> dict[str, str]:
    return {path: os.path.realpath(path) for path in paths if path is not None}


def _snapshot_paths(state: SnapshotState) -> list[str]:
    found: list[str | None] = []
    for snapshot in state.snapshots:
        for disk in snapshot.disks:
            found += [disk.content, disk.path, *disk.reverted]
    return [path for path in found if path is not None]


def _for_present(spec: SnapshotSpec, state: SnapshotState) -> Files:
    if state.snapshot(spec.name) is not None:
        return Files()
    planned = [path for path in places.overlays(spec, state.disks).values() if path is not None]
    memory = places.memory(spec, state.disks)
    if memory is not None:
        planned.append(memory)
    folders = {os.path.dirname(path) for path in planned}
    folders |= {os.path.dirname(disk.chain[0].path) for disk in places.chosen(spec, state.disks) if disk.chain}
    return Files(
        there={path: layers.looks_like(path) for path in planned if os.path.lexists(path)},
        folders=frozenset(folder for folder in folders if os.path.isdir(folder)),
        free={folder: layers.free(folder) for folder in folders},
    )


def _for_absent(session: Session, spec: SnapshotSpec, state: SnapshotState) -> Files:
    if spec.metadata_only or (state.snapshot(spec.name) is None and state.removal is None):
        return Files()
    # A job that merges has its own truth about what is left to do.
    pairs = [
        (upper, lower) for disk in state.disks if disk.job is None for upper, lower in zip(disk.chain, disk.chain[1:])
    ]
    left = state.removal.files if state.removal is not None else ()
    memory = [snapshot.memory_path for snapshot in state.snapshots]
    named = [*_snapshot_paths(state), *left, *(path for path in memory if path is not None)]
    chained = [layer.path for disk in state.disks for layer in disk.chain]
    return Files(
        there={path: layers.looks_like(path) for path in named if os.path.lexists(path)},
        users=_users(session, spec, state),
        real=_real([*named, *chained]),
        free={os.path.dirname(lower.path): layers.free(os.path.dirname(lower.path)) for _upper, lower in pairs},
        growth={(upper.path, lower.path): layers.growth(lower, [upper]) for upper, lower in pairs},
    )


def _users(session: Session, spec: SnapshotSpec, state: SnapshotState) -> dict[str, str]:
    """For the files of the domain's chains, by their real paths: who else stands on them."""
    own = {os.path.realpath(layer.path) for disk in state.disks for layer in disk.chain}
    below = {
        os.path.realpath(upper.path): os.path.realpath(lower.path)
        for disk in state.disks
        for upper, lower in zip(disk.chain, disk.chain[1:])
    }
    found: dict[str, str] = {}
    folders = {os.path.dirname(path) for path in own}
    for name, texts in domains.documents(session.connection).items():
        for disk in (disk for text in texts for disk in xml.disks(text) if name != spec.domain):
            for layer in disk.chain:
                folders.add(os.path.dirname(layer.path))
                found.setdefault(os.path.realpath(layer.path), f"domain {name}")
    for path in _snapshot_paths(state):
        folders.add(os.path.dirname(path))
    for image, backing in layers.images_in(folders).items():
        place = os.path.realpath(backing)
        if below.get(os.path.realpath(image)) != place:
            found.setdefault(place, image)
    return {path: user for path, user in found.items() if path in own}


def _for_reverted(session: Session, spec: SnapshotSpec, state: SnapshotState) -> Files:
    snapshot = state.snapshot(spec.name)
    if snapshot is None:
        return Files()
    contents: dict[str, Layer] = {}
    formats = _formats(snapshot)
    at: list[str] = []
    for disk in snapshot.disks:
        if disk.kind == "none" or disk.content is None:
            continue
        kind = "block" if disk.content.startswith("/dev/") else "file"
        contents[disk.target] = layers.read(Layer(disk.content, formats.get(disk.target, "raw"), kind))
        now = state.disk(disk.target)
        if now is not None and now.chain and disk.kind == "internal" and layers.is_at(disk.content, spec.name):
            at.append(disk.target)
    files = [snapshot.memory_path] if snapshot.memory_path is not None else []
    chained = [layer.path for disk in state.disks for layer in disk.chain]
    folders = {os.path.dirname(layer.path) for disk in state.disks for layer in disk.chain[:1]}
    return Files(
        there={path: layers.looks_like(path) for path in [*files, *_snapshot_paths(state)] if os.path.lexists(path)},
        users=_users(session, spec, state),
        real=_real([*_snapshot_paths(state), *chained]),
        free={folder: layers.free(folder) for folder in folders},
        contents=contents,
        at=frozenset(at),
    )


def _formats(snapshot: Snapshot) -> dict[str, str]:
    """The formats that the disks had when the snapshot was made."""
    definition = xml.definition(snapshot.document, running=False)
    return {disk.target: disk.format for disk in xml.disks(definition)} if definition is not None else {}


def facts(state: SnapshotState, spec: SnapshotSpec) -> dict[str, t.Any]:
    """The return values of one snapshot."""
    found = state.snapshot(spec.name)
    return {
        "domain": spec.domain,
        "snapshot": found.facts() if found is not None else None,
        "snapshots": [snapshot.name for snapshot in state.snapshots],
        "disks": [
            {"target": disk.target, "source": disk.chain[0].path if disk.chain else disk.source, "chain": disk.paths}
            for disk in state.disks
            if disk.writable
        ],
    }
