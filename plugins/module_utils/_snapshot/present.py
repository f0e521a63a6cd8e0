# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Snapshots: what it takes that there is one. Pure."""

from __future__ import annotations

import os

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, InvalidSpec, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.snapshots import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot import places, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.chain import Disk
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.observe import SnapshotState
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.plan import Creation, Quiet, SnapshotPlan
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.removal import Removal
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.spec import SnapshotSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import format_size

#: An empty overlay with its tables, and something for the guest to begin with.
_LEAST = 1 << 20
#: libvirt makes internal snapshots of domains with UEFI since 10.10, when the variables are in a qcow2 image too.
_UEFI_SINCE = 10_010_000
_MAX_FILE_NAME = 255


def plan(changes: ChangeSet, spec: SnapshotSpec, state: SnapshotState) -> None:
    """Adds what is to be done; raises KvmError for what cannot be."""
    found = state.snapshot(spec.name)
    if state.removal is not None and (found is None or spec.name in state.removal.snapshots):
        raise interrupted(spec, state.removal)
    if found is not None:
        _existing(changes, spec, found)
    else:
        _new(changes, spec, state)


def interrupted(spec: SnapshotSpec, removal: Removal) -> Busy:
    """Why nothing else can be done now."""
    return Busy(
        f"{spec.what}: the removal of snapshot {removal.snapshots[0]} of this domain was interrupted; finish it first (kvm_snapshot"
        f" with name: {removal.snapshots[0]} and state: absent).",
        interrupted_removal=list(removal.snapshots),
    )


def _existing(changes: ChangeSet, spec: SnapshotSpec, found: Snapshot) -> None:
    for option, is_now, wanted in _stated(spec, found):
        if is_now != wanted:
            raise InvalidSpec(
                f"{spec.what}: it is there already, and its {option} is {is_now}, not {wanted}. A snapshot cannot become another"
                " one: choose another name, or remove it first (state: absent)."
            )
    # libvirt strips what is around a description.
    if spec.description is not None and spec.description.strip() != (found.description or ""):
        changes.add("description", found.description, spec.description.strip() or None)
        plan: SnapshotPlan = changes.plan
        plan.describe = xml.described(found.document, spec.description.strip())


def _stated(spec: SnapshotSpec, found: Snapshot) -> list[tuple[str, object, object]]:
    """What is stated of an existing snapshot: the option, what it is, what it should be."""
    stated: list[tuple[str, object, object]] = []
    if spec.kind is not None:
        stated.append(("kind", found.kind, spec.kind))
    if spec.without_memory:
        stated.append(("memory", found.memory, "none"))
    if spec.memory_path is not None and found.memory != "none":
        stated.append(("memory_path", found.memory_path, spec.memory_path))
    there = {disk.target: disk.path for disk in found.disks if disk.kind != "none"}
    if spec.disks is not None:
        wanted = sorted(choice.target for choice in spec.disks)
        stated.append(("disks", ", ".join(sorted(there)), ", ".join(wanted)))
        stated += [
            (f"path of disk {choice.target}", there.get(choice.target), choice.path)
            for choice in spec.disks
            if choice.path is not None
        ]
    return stated


def _new(changes: ChangeSet, spec: SnapshotSpec, state: SnapshotState) -> None:
    plan: SnapshotPlan = changes.plan
    if not state.exists:
        plan.missing.append(f"there is no domain {spec.domain}")
        changes.add("state", "absent", "present")
        return
    disks = _chosen(spec, state)
    memory = _memory(spec, state)
    overlays = places.overlays(spec, state.disks) if spec.made_as == "external" else {}
    _check_domain(spec, state, memory)
    _check_disks(spec, disks)
    if spec.made_as == "internal":
        _check_internal(spec, state, disks)
    else:
        _check_external(plan, spec, state, {**overlays, **({"memory": memory[1]} if memory[1] is not None else {})})
    if state.local:
        _check_room(spec, state, disks, memory)
    changes.add("state", "absent", "present")
    changes.add("kind", None, spec.made_as)
    if spec.description:
        changes.add("description", None, spec.description)
    if memory[0] != "no":
        changes.add("memory", None, memory[1] or "internal")
    for disk in disks:
        changes.add(f"disks.{disk.target}", None, overlays.get(disk.target) or "internal")
    kept = {disk.target: ("no", None) for disk in state.disks} | {
        disk.target: (spec.made_as, overlays.get(disk.target)) for disk in disks
    }
    document = xml.creation(spec.name, (spec.description or "").strip() or None, memory, kept)
    quiet = Quiet(spec.agent_timeout, state.agent_limit) if spec.quiesce else None
    plan.create = Creation(document, _flags(spec, memory), quiet)


def _flags(spec: SnapshotSpec, memory: tuple[str, str | None]) -> tuple[str, ...]:
    if spec.made_as == "internal":
        return ()
    if memory[0] == "external":
        # The guest goes on while its memory is written; it stops only for the last part.
        return ("ATOMIC", "LIVE")
    return ("DISK_ONLY", "ATOMIC", *(("QUIESCE",) if spec.quiesce else ()))


def _chosen(spec: SnapshotSpec, state: SnapshotState) -> list[Disk]:
    for choice in spec.disks or ():
        disk = state.disk(choice.target)
        if disk is None:
            have = ", ".join(disk.target for disk in state.disks) or "none"
            raise InvalidSpec(f"{spec.what}: the domain has no disk {choice.target} (it has: {have}).")
        if not disk.writable:
            why = "cannot be written" if disk.device in ("disk", "lun") and disk.source else f"is a {disk.device} drive"
            raise InvalidSpec(
                f"{spec.what}: disk {choice.target} {why}, so there is nothing to keep; take it out of disks."
            )
    disks = places.chosen(spec, state.disks)
    if not disks:
        raise InvalidSpec(f"{spec.what}: the domain has no disk that can be written, so there is nothing to keep.")
    return disks


def _memory(spec: SnapshotSpec, state: SnapshotState) -> tuple[str, str | None]:
    """How the memory is kept (libvirt's word), and in which file."""
    if not state.active or (spec.without_memory and spec.made_as == "external"):
        return "no", None
    if spec.made_as == "internal":
        return "internal", None
    return "external", places.memory(spec, state.disks)


def _check_domain(spec: SnapshotSpec, state: SnapshotState, memory: tuple[str, str | None]) -> None:
    if state.state not in ("running", "paused", "stopped"):
        raise KvmError(
            f"{spec.what}: the domain is {state.state} ({state.reason}); start it, or force it off, before a snapshot is made.",
            domain_state=state.state,
        )
    if state.managed_save and not state.active:
        raise Busy(
            f"{spec.what}: the domain has a saved state, which knows the disks as they are now; start it, or discard the saved"
            f" state (virsh managedsave-remove {spec.domain}), before a snapshot is made."
        )
    if state.machine is not None and state.machine.hostdevs and memory[0] != "no":
        raise InvalidSpec(
            f"{spec.what}: the domain has a device of the host, so its memory cannot be kept; state disk_only: true, or stop it."
        )
    if spec.quiesce:
        _check_agent(spec, state)


def _check_agent(spec: SnapshotSpec, state: SnapshotState) -> None:
    if not state.active:
        raise InvalidSpec(f"{spec.what}: the domain does not run, so there is nothing to quiesce; leave out quiesce.")
    if state.machine is None or not state.machine.agent:
        raise InvalidSpec(
            f"{spec.what}: quiesce needs a channel to the guest's agent, and the domain has none ({xml.AGENT})."
        )
    if not state.machine.agent_connected or state.state != "running":
        raise KvmError(
            f"{spec.what}: the guest's agent is not connected; install and start qemu-guest-agent in the guest, or leave out"
            " quiesce."
        )
    if state.agent_problem is not None:
        raise KvmError(
            f"{spec.what}: the guest's agent is connected, but does not answer within {spec.agent_timeout} s; restart it in the guest,"
            f" or leave out quiesce. {state.agent_problem}"
        )


def _check_disks(spec: SnapshotSpec, disks: list[Disk]) -> None:
    for disk in disks:
        if disk.job is not None or disk.mirror is not None:
            raise Busy(
                f"{spec.what}: a block job ({disk.job or 'copy'}) is at work on disk {disk.target}; wait for its end, or end it"
                f" (virsh blockjob {spec.domain} {disk.target} --abort)."
            )
        if disk.shareable:
            raise InvalidSpec(
                f"{spec.what}: disk {disk.target} is shared with other domains, whose writes no snapshot of this one could hold"
                " off; name the other ones in disks."
            )
        wrong = [layer for layer in disk.chain if layer.problem is not None]
        if wrong:
            raise KvmError(f"{spec.what}: disk {disk.target} cannot be read: {wrong[0].problem}")


def _check_internal(spec: SnapshotSpec, state: SnapshotState, disks: list[Disk]) -> None:
    left = [disk for disk in state.disks if disk.writable and disk not in disks]
    if left:
        raise InvalidSpec(
            f"{spec.what}: an internal snapshot has all disks that can be written in it, so {left[0].target} as well; state"
            " kind: external to choose."
        )
    for disk in disks:
        if disk.format != "qcow2":
            raise InvalidSpec(
                f"{spec.what}: disk {disk.target} is in the format {disk.format}, which has no room for an internal snapshot; state"
                " kind: external, or convert the disk to qcow2."
            )
        if disk.chain and spec.name in disk.chain[0].internal:
            raise Busy(
                f"{spec.what}: the image {disk.chain[0].path} of disk {disk.target} has a snapshot of that name already, which libvirt"
                " does not know; choose another name, or remove that one (qemu-img snapshot -d)."
            )
    if spec.without_memory and state.active:
        raise InvalidSpec(
            f"{spec.what}: an internal snapshot of a running domain has its memory in it; state kind: external, or stop the domain."
        )
    machine = state.machine
    if machine is not None and machine.pflash and (state.version < _UEFI_SINCE or machine.nvram_format != "qcow2"):
        raise InvalidSpec(
            f"{spec.what}: the domain has UEFI firmware, whose variables would not be in an internal snapshot; state kind: external."
        )


def _check_external(plan: SnapshotPlan, spec: SnapshotSpec, state: SnapshotState, paths: dict[str, str | None]) -> None:
    left = [disk.target for disk in state.disks if disk.writable and disk.target not in paths]
    if left and "memory" in paths:
        raise InvalidSpec(
            f"{spec.what}: with the memory all disks that can be written have to be in it, so {left[0]} as well; or state"
            " disk_only: true."
        )
    for target, path in paths.items():
        if path is None:
            raise InvalidSpec(
                f"{spec.what}: disk {target} is no file, so there is no place beside it; state the path of its overlay in disks."
            )
        what = _called(spec, target)
        if len(os.path.basename(path).encode()) > _MAX_FILE_NAME:
            raise InvalidSpec(f"{spec.what}: {what} has a name that no file can have ({path}); state a shorter one.")
        if path in state.files.there:
            raise Busy(
                f"{spec.what}: {path}, where {what} is to be, is there already ({state.files.there[path] or 'unreadable'}), and"
                " nothing is ever overwritten. Remove it if nobody needs it (an interrupted task leaves an empty overlay), or state"
                f" another {'memory_path' if target == 'memory' else 'path in disks'}."
            )
        folder = os.path.dirname(path)
        if state.local and folder not in state.files.folders:
            plan.missing.append(f"the folder {folder} for {what} does not exist")


def _called(spec: SnapshotSpec, target: str) -> str:
    """What is to be in the file, in words that the user has written: nobody has to know where unstated memory goes."""
    if target != "memory":
        return f"the overlay of disk {target}"
    return (
        "memory_path" if spec.memory_path is not None else "the memory (beside the first overlay without memory_path)"
    )


def _memory_size(state: SnapshotState) -> int:
    """The most that the memory takes in a file: what the guest has ever touched."""
    most = state.machine.memory if state.machine is not None else 0
    return min(most, state.resident) if state.resident is not None else most


def _check_room(spec: SnapshotSpec, state: SnapshotState, disks: list[Disk], memory: tuple[str, str | None]) -> None:
    needs: dict[str, int] = {}
    overlays = places.overlays(spec, state.disks) if spec.made_as == "external" else {}
    for disk in disks:
        path = overlays.get(disk.target) or (
            disk.chain[0].path if disk.chain and disk.chain[0].type == "file" else None
        )
        if path is not None:
            needs[os.path.dirname(path)] = needs.get(os.path.dirname(path), 0) + _LEAST
    if memory[0] != "no" and state.machine is not None:
        # Internal: in the first of them.
        first = disks[0].chain[0].path if disks[0].chain and disks[0].chain[0].type == "file" else None
        path = memory[1] or first
        if path is not None:
            needs[os.path.dirname(path)] = needs.get(os.path.dirname(path), 0) + _memory_size(state)
    for folder, need in needs.items():
        free = state.files.free.get(folder)
        if free is not None and free < need:
            raise KvmError(
                f"{spec.what}: it needs up to {format_size(need)} in {folder}, where {format_size(free)} are free; make room, or"
                " state other paths.",
                needed=need,
                free=free,
            )
