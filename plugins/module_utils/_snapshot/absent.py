# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Snapshots: what it takes that there is none any more, and nothing of the data is lost. Pure."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.snapshots import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot import present
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.chain import (
    Disk,
    Layer,
    Merge,
    position,
    released,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.observe import SnapshotState
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.plan import SnapshotPlan
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.removal import Removal
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.spec import SnapshotSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import format_size

#: Kinds of block jobs that merge a chain.
_MERGING = ("commit", "active_commit")


def plan(changes: ChangeSet, spec: SnapshotSpec, state: SnapshotState) -> None:
    """Adds what is to be done; raises KvmError for what cannot be."""
    found, left = state.snapshot(spec.name), state.removal
    begun = left is not None and spec.name in left.snapshots
    if found is None and not begun:
        return
    if left is not None and (not begun or spec.metadata_only):
        raise present.interrupted(spec, left)
    going = [] if found is None else [found, *(state.descendants(spec.name) if spec.children else ())]
    if left is not None:
        going += [item for item in map(state.snapshot, left.snapshots) if item is not None and item not in going]
    # As they are in the tree, children first.
    going = [snapshot for snapshot in reversed(state.snapshots) if snapshot in going]
    changes.add("state", "present" if found is not None else "interrupted removal", "absent")
    for snapshot in going:
        if snapshot.name != spec.name:
            changes.add(f"children.{snapshot.name}", "present", "absent")
    if spec.metadata_only:
        changes.plan.forget = [snapshot.name for snapshot in going]
    else:
        _remove(changes, spec, state, going)


def _remove(changes: ChangeSet, spec: SnapshotSpec, state: SnapshotState, going: list[Snapshot]) -> None:
    plan: SnapshotPlan = changes.plan
    left = state.removal or Removal()
    merges = [merge for disk in state.disks for merge in _merges(disk, state, going, left)]
    known = Removal(
        tuple(snapshot.name for snapshot in going),
        tuple(merges),
        tuple(
            path
            for snapshot in going
            for path in [snapshot.memory_path]
            if path is not None and path in state.files.there
        ),
    ).joined(_done(left, state))
    dropped = {path for merge in known.merges for path in merge.drop}
    for snapshot in going:
        _sort(plan, spec, state, snapshot, dropped)
    _check(spec, state, going, merges)
    if known.merges or known.files or state.removal is not None:
        plan.removal = known
    for merge in merges:
        for path in merge.drop:
            changes.add(f"disks.{merge.target}", path, None)
    for path in known.files:
        changes.add("memory", path, None)
    _warn(plan, spec, state, going, dropped)


def _merges(disk: Disk, state: SnapshotState, going: t.Sequence[Snapshot], left: Removal) -> list[Merge]:
    """What is to be merged as the disk is now, with what an interrupted removal was about to merge."""
    parts = [item for snapshot in going for item in snapshot.disks if item.target == disk.target]
    contents = [item.content for item in parts if item.kind == "external" and item.content is not None]
    made = [path for item in parts for path in (item.path, *item.reverted) if path is not None]
    for merge in left.merges:
        if merge.target == disk.target:
            contents += [merge.base, *merge.drop[1:]]
            made += merge.drop
    return released(disk, contents, made, state.same)


def _done(left: Removal, state: SnapshotState) -> Removal:
    """What of an interrupted removal needs no merging any more, but its files are to go; the rest is planned anew, as
    merging a file once more after a later one would bring back old data."""
    chained = [path for disk in state.disks for path in disk.paths]
    done = [
        merge for merge in left.merges if not any(state.same(path, other) for path in merge.drop for other in chained)
    ]
    return Removal(left.snapshots, tuple(done), left.files)


def _sort(
    plan: SnapshotPlan, spec: SnapshotSpec, state: SnapshotState, snapshot: Snapshot, dropped: t.Collection[str]
) -> None:
    """Who removes the snapshot itself: libvirt with its data, or only its record, because its files are ours to merge."""
    if snapshot.kind == "internal":
        contents = [disk.content for disk in snapshot.disks if disk.kind == "internal"]
        if any(content in dropped for content in contents):
            # It goes with the file that it is in.
            plan.forget.append(snapshot.name)
        else:
            _check_internal(spec, state, snapshot, dropped)
            plan.delete.append(snapshot.name)
    elif snapshot.kind == "external" and _elsewhere(state, snapshot, dropped):
        _check_within(spec, state, snapshot, plan)
        _check_leaf(spec, state, snapshot, plan)
        plan.delete.append(snapshot.name)
    else:
        plan.forget.append(snapshot.name)


def _elsewhere(state: SnapshotState, snapshot: Snapshot, dropped: t.Collection[str]) -> bool:
    """Whether the domain does not stand on the snapshot, or on no files that we can see: then only libvirt can remove it."""
    for part in snapshot.disks:
        disk = state.disk(part.target)
        if part.kind != "external" or disk is None or part.content in dropped:
            # What an interrupted removal has merged is in no chain any more.
            continue
        seen = state.local and disk.chain and part.content is not None
        if not seen or position(disk, part.content or "", state.same) is None:
            return True
    return False


def _check_within(spec: SnapshotSpec, state: SnapshotState, snapshot: Snapshot, plan: SnapshotPlan) -> None:
    """libvirt 9 removes an overlay even when another snapshot is inside of it."""
    overlays = [path for part in snapshot.disks for path in (part.path, *part.reverted) if path is not None]
    for other in state.snapshots:
        inside = [part.content for part in other.disks if part.kind == "internal" and part.content in overlays]
        if inside and other.name not in plan.delete:
            raise _is_inside(spec, other, inside[0])


def _check_leaf(spec: SnapshotSpec, state: SnapshotState, snapshot: Snapshot, plan: SnapshotPlan) -> None:
    """Where the domain does not stand on it, libvirt removes an external snapshot only when none was made after it."""
    parents = {item.name: item.parent for item in state.snapshots}
    step = next((item.parent for item in state.snapshots if item.current), None)
    while step is not None and step != snapshot.name:
        step = parents.get(step)
    later = [
        item.name
        for item in state.descendants(snapshot.name)[::-1]
        if item.name not in plan.delete and item.name not in plan.forget
    ]
    if later and step is None:
        raise Busy(
            f"{spec.what}: the domain has gone on from another snapshot, and {' and '.join(later)} {'was' if len(later) == 1 else 'were'}"
            f" made after this one; remove {'it' if len(later) == 1 else 'them, in this order,'} first (or children: true)."
        )


def _is_inside(spec: SnapshotSpec, other: Snapshot, path: str | None) -> Busy:
    return Busy(
        f"{spec.what}: snapshot {other.name} is inside of {path}, which would be merged and removed; remove that snapshot first"
        " (or children: true)."
    )


def _check_internal(spec: SnapshotSpec, state: SnapshotState, snapshot: Snapshot, dropped: t.Collection[str]) -> None:
    """libvirt removes it from the image that a running domain writes to, and from no other one."""
    if not state.active:
        return
    for part in snapshot.disks:
        disk = state.disk(part.target)
        if part.kind != "internal" or disk is None or part.content is None:
            continue
        above = disk.chain[: position(disk, part.content, state.same) or 0]
        left = [layer.path for layer in above if layer.path not in dropped]
        if left:
            later = _made(state, left)
            first = (
                f"remove {' and '.join(later)}, made later, first (or children: true)" if later else "merge it first"
            )
            raise Busy(
                f"{spec.what}: the domain runs on {above[0].path}, which stands on the image with the snapshot; {first}, or stop"
                " the domain."
            )


def _made(state: SnapshotState, paths: t.Sequence[str]) -> list[str]:
    """The snapshots that have made these overlays, the last one first, as that is the order to remove them in."""
    return [
        snapshot.name
        for snapshot in reversed(state.snapshots)
        if any(
            state.same(path, own)
            for part in snapshot.disks
            for own in (part.path, *part.reverted)
            if own
            for path in paths
        )
    ]


def _check(spec: SnapshotSpec, state: SnapshotState, going: t.Sequence[Snapshot], merges: t.Sequence[Merge]) -> None:
    if not merges:
        return
    if state.state not in ("running", "paused", "stopped"):
        raise KvmError(
            f"{spec.what}: the domain is {state.state} ({state.reason}); start it, or force it off, before its disks are merged.",
            domain_state=state.state,
        )
    if state.managed_save and not state.active:
        raise Busy(
            f"{spec.what}: the domain has a saved state, which knows the disks as they are now; start it, or discard the saved"
            f" state (virsh managedsave-remove {spec.domain}), before they are merged."
        )
    for merge in merges:
        _check_job(spec, state, merge)
        _check_inside(spec, state, going, merge)
        _check_users(spec, state, merge)
        _check_files(spec, state, merge)
    _check_room(spec, state, merges)


def _check_job(spec: SnapshotSpec, state: SnapshotState, merge: Merge) -> None:
    """A job that merges what we would merge is ours, or as good as ours."""
    disk = state.disk(merge.target)
    if disk is None or (disk.job is None and disk.mirror is None):
        return
    ours = disk.job in _MERGING and (disk.mirror is None or state.same(disk.mirror, merge.base))
    if not ours:
        raise Busy(
            f"{spec.what}: a block job ({disk.job or 'copy'}) is at work on disk {merge.target}; wait for its end, or end it"
            f" (virsh blockjob {spec.domain} {merge.target} --abort)."
        )


def _check_inside(spec: SnapshotSpec, state: SnapshotState, going: t.Sequence[Snapshot], merge: Merge) -> None:
    """An internal snapshot goes with the file that it is in."""
    for snapshot in state.snapshots:
        for part in snapshot.disks:
            if part.kind == "internal" and part.content in merge.drop and snapshot not in going:
                raise _is_inside(spec, snapshot, part.content)
    disk = state.disk(merge.target)
    known = {snapshot.name for snapshot in state.snapshots}
    for layer in disk.chain if disk is not None else ():
        foreign = [name for name in layer.internal if name not in known]
        if layer.path in merge.drop and foreign:
            raise Busy(
                f"{spec.what}: {layer.path}, which would be merged and removed, has a snapshot {foreign[0]} that libvirt does not"
                " know; remove that first (qemu-img snapshot -d)."
            )


def _check_users(spec: SnapshotSpec, state: SnapshotState, merge: Merge) -> None:
    for path in (*merge.drop, merge.base):
        user = state.files.users.get(state.files.real.get(path, path))
        if user is not None:
            raise Busy(
                f"{spec.what}: {path} is also what {user} stands on, which would be broken when disk {merge.target} is merged. Give"
                " that one a disk of its own first, or remove only the record of the snapshot (metadata_only: true)."
            )


def _check_files(spec: SnapshotSpec, state: SnapshotState, merge: Merge) -> None:
    disk = state.disk(merge.target)
    layers = {layer.path: layer for layer in disk.chain} if disk is not None else {}
    for path in (merge.base, *merge.drop):
        layer = layers.get(path, Layer(path, "raw"))
        if layer.problem is not None:
            raise KvmError(f"{spec.what}: disk {merge.target} cannot be merged: {layer.problem}")
        if path != merge.base and not layer.typed:
            raise KvmError(
                f"{spec.what}: {path} does not state the format of what it stands on; state it (qemu-img rebase -u -b FILE -F FORMAT)."
            )


def _check_room(spec: SnapshotSpec, state: SnapshotState, merges: t.Sequence[Merge]) -> None:
    needs: dict[str, int] = {}
    for merge in merges:
        disk = state.disk(merge.target)
        paths = disk.paths if disk is not None else []
        if merge.base_type != "file" or (disk is not None and disk.job is not None):
            continue
        folder = os.path.dirname(merge.base)
        # Of several files at least the one that needs the most; how far they overlap is not known.
        grown = [
            state.files.growth.get((path, lower)) or 0
            for path, lower in zip(paths, paths[1:])
            if path in merge.drop and lower == merge.base
        ]
        needs[folder] = needs.get(folder, 0) + max(grown, default=0)
    for folder, need in needs.items():
        free = state.files.free.get(folder)
        if free is not None and free < need:
            raise KvmError(
                f"{spec.what}: merging needs {format_size(need)} in {folder}, where {format_size(free)} are free; make room first.",
                needed=need,
                free=free,
            )


def _warn(
    plan: SnapshotPlan,
    spec: SnapshotSpec,
    state: SnapshotState,
    going: t.Sequence[Snapshot],
    dropped: t.Collection[str],
) -> None:
    """Says which files stay because nobody knows whether their data is elsewhere."""
    chained = [path for disk in state.disks for path in disk.paths]
    for snapshot in going:
        if snapshot.name in plan.delete:
            continue
        for part in snapshot.disks:
            path = part.path
            if part.kind != "external" or path is None or path in dropped or path not in state.files.there:
                continue
            how = "is what the domain goes on with" if path in chained else "is not used by the domain any more"
            plan.warnings.append(
                f"{spec.what}: the overlay {path} of disk {part.target} {how} and stays; it was not merged by this module."
            )
