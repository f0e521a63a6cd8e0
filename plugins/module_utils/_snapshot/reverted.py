# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Snapshots: what it takes that the domain is again what it was in one. Pure."""

from __future__ import annotations

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, InvalidSpec, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.snapshots import Snapshot, SnapshotDisk
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot import present, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.chain import position
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.observe import SnapshotState
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.plan import Overlay, Reversion
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.spec import SnapshotSpec

#: libvirt itself goes back to external snapshots since 9.9.
_EXTERNAL_SINCE = 9_009_000
_WITH_MEMORY = ("running", "paused")
#: The reasons of a domain that goes on with a memory that it had before, not with one of a boot.
_FROM_MEMORY = ("from_snapshot", "restored")


def plan(changes: ChangeSet, spec: SnapshotSpec, state: SnapshotState) -> None:
    """Adds what is to be done; raises KvmError for what cannot be."""
    found = state.snapshot(spec.name)
    if found is None:
        what = f"there is no domain {spec.domain}"
        if state.exists:
            have = ", ".join(snapshot.name for snapshot in state.snapshots) or "none"
            what = f"domain {spec.domain} has no snapshot {spec.name} (it has: {have})"
        changes.plan.missing.append(what)
        changes.add("state", "absent", "reverted")
        return
    wanted = _wanted(spec, found)
    definition = xml.definition(found.document, running=False)
    if _is_there(state, found, wanted, definition):
        return
    if state.removal is not None:
        raise present.interrupted(spec, state.removal)
    _check(spec, state, found)
    # What the guest wrote since is what goes; that has no other name.
    changes.add("state", "changed since", "reverted")
    changes.compare("running", state.state, wanted)
    if state.managed_save:
        changes.add("managed_save", "present", "discarded")
    if definition is not None and state.document is not None:
        targets = _external(found)
        if not xml.same_definition(definition, state.document, targets):
            changes.document(f"{spec.domain} (definition)", xml.shown(state.document), xml.shown(definition))
    changes.plan.revert = _reversion(spec, state, found, wanted)


def _wanted(spec: SnapshotSpec, found: Snapshot) -> str:
    """What the domain is to do afterwards: ``running``, ``paused`` or ``stopped``."""
    if spec.running is None:
        return found.state if found.memory != "none" and found.state in _WITH_MEMORY else "stopped"
    return "running" if spec.running else "stopped"


def _external(found: Snapshot) -> list[str]:
    return [part.target for part in found.disks if part.kind == "external"]


def _is_there(state: SnapshotState, found: Snapshot, wanted: str, definition: str | None) -> bool:
    """Whether nothing has changed since: neither the disks nor the definition nor what the domain does."""
    if not (found.current and state.local and state.state == wanted) or state.managed_save:
        return False
    if wanted != "stopped" and found.memory != "none" and state.reason not in _FROM_MEMORY:
        return False
    if definition is None or state.document is None:
        return False
    parts = [part for part in found.disks if part.kind != "none"]
    untouched = all(_untouched(state, part) for part in parts)
    return untouched and xml.same_definition(definition, state.document, _external(found))


def _untouched(state: SnapshotState, part: SnapshotDisk) -> bool:
    disk = state.disk(part.target)
    if disk is None or not disk.chain or part.content is None or disk.job is not None:
        return False
    if state.active and disk.written is not False:
        return False
    if part.kind == "internal":
        return state.same(disk.chain[0].path, part.content) and part.target in state.files.at
    return len(disk.chain) > 1 and disk.chain[0].empty and state.same(disk.chain[1].path, part.content)


def _check(spec: SnapshotSpec, state: SnapshotState, found: Snapshot) -> None:
    for disk in state.disks:
        if disk.job is not None or disk.mirror is not None:
            raise Busy(
                f"{spec.what}: a block job ({disk.job or 'copy'}) is at work on disk {disk.target}; wait for its end, or end it"
                f" (virsh blockjob {spec.domain} {disk.target} --abort)."
            )
    if state.managed_save and not spec.force:
        raise Busy(
            f"{spec.what}: the domain has a saved state, which would not fit its disks any more; allow force to have it discarded,"
            " or start the domain first."
        )
    if not state.persistent and _wanted(spec, found) == "stopped":
        raise InvalidSpec(
            f"{spec.what}: the domain is transient, so it would be gone when it is off; state running: true, or define it."
        )
    if state.local:
        _check_contents(spec, state, found)


def _check_contents(spec: SnapshotSpec, state: SnapshotState, found: Snapshot) -> None:
    """A domain is stopped for it: what is missing has to be known before."""
    for part in found.disks:
        layer = state.files.contents.get(part.target)
        if layer is None:
            continue
        if layer.problem is not None:
            raise KvmError(
                f"{spec.what}: the image of disk {part.target} with the snapshot is not readable: {layer.problem}"
            )
        if part.kind == "internal" and found.name not in layer.internal:
            raise KvmError(
                f"{spec.what}: the image {layer.path} of disk {part.target} has no such snapshot any more; remove its record"
                " (state: absent, metadata_only: true)."
            )
        if part.kind == "internal":
            _check_above(spec, state, part)
    memory = found.memory_path
    if memory is not None and memory not in state.files.there and _wanted(spec, found) != "stopped":
        raise KvmError(
            f"{spec.what}: the file {memory} with its memory is not there any more; state running: false to have the disks only."
        )


def _check_above(spec: SnapshotSpec, state: SnapshotState, part: SnapshotDisk) -> None:
    """Going back changes the image; whatever stands on it would be broken."""
    disk, content = state.disk(part.target), part.content or ""
    user = state.files.users.get(state.files.real.get(content, content))
    if disk is not None and (position(disk, content, state.same) or 0) > 0:
        user = disk.chain[0].path
    others = [
        other.name
        for other in state.snapshots
        for item in other.disks
        if item.kind == "external" and item.content is not None and state.same(item.content, content)
    ]
    if others:
        raise Busy(
            f"{spec.what}: snapshot {others[0]} keeps {content} as it was later, and going back would change it; remove"
            f" {others[0]} first (state: absent)."
        )
    if user is not None:
        raise Busy(
            f"{spec.what}: {user} stands on {content}, and going back would break it; give it a disk of its own first."
        )


def _reversion(spec: SnapshotSpec, state: SnapshotState, found: Snapshot, wanted: str) -> Reversion:
    if found.kind == "external":
        overlays = _own_overlays(state, found)
        if overlays is not None:
            return _by_us(spec, state, found, wanted, overlays)
        if state.version < _EXTERNAL_SINCE:
            raise _not_here(spec, state, found)
    return _by_libvirt(spec, state, found, wanted)


def _by_libvirt(spec: SnapshotSpec, state: SnapshotState, found: Snapshot, wanted: str) -> Reversion:
    flags = ["FORCE"] if spec.force else []
    memory = found.memory != "none"
    if wanted == "running" and (not memory or found.state != "running"):
        flags.append("RUNNING")
    off_after = memory and wanted == "stopped"
    if off_after:
        # So that the guest does nothing before it is forced off.
        flags.append("PAUSED")
    return Reversion(
        stop=state.active and not memory and state.persistent,
        discard=state.managed_save,
        flags=tuple(flags),
        off_after=off_after,
    )


def _own_overlays(state: SnapshotState, found: Snapshot) -> tuple[Overlay, ...] | None:
    """The overlays to be made anew: possible where the domain stands on the snapshot with nothing but what it wrote since.

    None when the files cannot be seen, when later snapshots stand on what was written, or when the domain is elsewhere.
    """
    if not state.local or not state.persistent or state.descendants(found.name):
        return None
    made: list[Overlay] = []
    for part in found.disks:
        if part.kind == "none":
            continue
        disk, layer = state.disk(part.target), state.files.contents.get(part.target)
        own = [path for path in (part.path, *part.reverted) if path is not None]
        if part.kind != "external" or disk is None or layer is None or len(disk.chain) < 2 or layer.size is None:
            return None
        top, below = disk.chain[:2]
        on_it = state.same(below.path, layer.path) and any(state.same(top.path, path) for path in own)
        if (
            not on_it
            or top.type != "file"
            or top.internal
            or state.files.real.get(top.path, top.path) in state.files.users
        ):
            return None
        made.append(Overlay(part.target, top.path, layer.path, layer.format, layer.size))
    return tuple(made)


def _by_us(
    spec: SnapshotSpec, state: SnapshotState, found: Snapshot, wanted: str, overlays: tuple[Overlay, ...]
) -> Reversion:
    paths = {overlay.target: overlay.path for overlay in overlays}
    definition = xml.definition(found.document, running=False)
    memory = found.memory_path if found.memory == "external" and wanted != "stopped" else None
    ran = xml.definition(found.document, running=True) if memory is not None else None
    return Reversion(
        stop=state.active,
        discard=state.managed_save,
        overlays=overlays,
        definition=xml.on_overlays(definition, spec.domain, paths) if definition is not None else None,
        start=wanted if wanted != "stopped" else None,
        memory=memory,
        memory_definition=xml.on_overlays(ran, spec.domain, paths) if ran is not None else None,
    )


def _not_here(spec: SnapshotSpec, state: SnapshotState, found: Snapshot) -> KvmError:
    later = [snapshot.name for snapshot in state.descendants(found.name)]
    if later:
        return Busy(
            f"{spec.what}: snapshot {later[-1]} was made after it, and this libvirt cannot go back behind an external one (9.9 and"
            f" newer can). Remove what is later first (state: absent for {', '.join(reversed(later))}), which keeps the data as it"
            " is now, then go back."
        )
    return KvmError(
        f"{spec.what}: the disks of the domain are not what this snapshot left behind (its overlays are not in use), and this libvirt"
        " cannot go back to external snapshots (9.9 and newer can). Let the domain use the overlays again, or remove the snapshot."
    )
