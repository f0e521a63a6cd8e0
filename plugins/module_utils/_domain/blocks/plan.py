# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What is done to disks beside their definition: they grow, are copied, and go on with their copies. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import Change, ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks import place
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks.adopt import at
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks.seen import Disk
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks.wish import Mirror, Wish
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Values
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.observe import DomainState
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import format_size

#: What of a disk may change while it is copied: qemu takes it, and slowing down the guest helps the copy.
_MEANWHILE = "iotune."


@dataclasses.dataclass(frozen=True)
class Growth:
    """A disk that gets larger."""

    target: str
    path: str
    format: str
    size: int


@dataclasses.dataclass(frozen=True)
class Copy:
    """A disk that is copied; ``source`` is what it is copied from, ``ours`` whether an earlier run began it."""

    target: str
    source: str | None
    mirror: Mirror
    ours: bool = False


@dataclasses.dataclass
class Blocks:
    """What the apply room does, in this order."""

    #: Copies that are declared no more, or elsewhere: target and path.
    ended: dict[str, str] = dataclasses.field(default_factory=dict)
    growths: list[Growth] = dataclasses.field(default_factory=list)
    copies: list[Copy] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class _About:
    """One disk: as it is declared (where it is by now), what is wanted of it beside that, and how it is."""

    what: str
    target: str
    values: Values
    wish: Wish
    disk: Disk
    #: The copy that an earlier run began, if any.
    known: str | None


def compare(changes: ChangeSet, spec: DomainSpec, observed: DomainState) -> Blocks:
    """Adds what disks need beside their definition, before it is known what else changes; raises for what cannot be."""
    found = Blocks()
    known = {**observed.memory.mirrors, **observed.live_memory.mirrors}
    wishes = spec.definition.wishes
    wanted = {values["target"]: values for values in spec.definition.devices.get("disks", ())}
    for target, (path, _source) in known.items():
        disk = observed.disks.get(target, Disk())
        if disk.job == "copy" and disk.copy == path and not _wants(wishes.get(target), path):
            found.ended[target] = path
    for target, values in wanted.items():
        wish, what = wishes.get(target, Wish(values.get("source"))), f"domain {spec.name}: disk {target}"
        disk, copied = observed.disks.get(target, Disk()), known.get(target)
        _no_way_back(what, wish, values, disk.chain, copied)
        about = _About(what, target, values, wish, disk, None if copied is None else copied[0])
        _grow(changes, found, about, observed)
        if wish.mirror is not None and not wish.reached:
            _copy(changes, found, about, spec, observed)
    for target in found.ended:
        if not any(copy.target == target for copy in found.copies):
            changes.add(f"disks.{target}.mirror", found.ended[target], None)
    return found


def _wants(wish: Wish | None, path: str) -> bool:
    return wish is not None and wish.mirror is not None and wish.mirror.path == path


def _no_way_back(
    what: str, wish: Wish, values: Values, chain: t.Sequence[str], known: tuple[str, str | None] | None
) -> None:
    """A disk that has gone on with its copy does not go back to what it was before just because a task still says so."""
    declared = values.get("source")
    if not chain or declared is None or declared == chain[0] or wish.reached:
        return
    if _wants(wish, chain[0]) or (known is not None and known[0] in chain and known[1] == declared):
        copy = known[0] if known is not None else chain[0]
        raise Busy(
            f"{what} is declared as {declared}, but the domain has gone on with its copy {copy}, and going back would lose"
            f" what was written since; state {chain[0]} as its source (once, if the other one is really meant)."
        )


def _grow(changes: ChangeSet, found: Blocks, about: _About, observed: DomainState) -> None:
    size, disk, what = about.wish.size, about.disk, about.what
    if size is None or disk.size is None or size == disk.size:
        return
    if disk.device is not None and size != disk.device:
        raise InvalidSpec(
            f"{what} is on a device of {format_size(disk.device)} and as large as that; state that size, or change the device."
        )
    if size < disk.size:
        raise InvalidSpec(
            f"{what} has {format_size(disk.size)}, and is never made smaller (size: {format_size(size)}); state a size of"
            f" {format_size(disk.size)} or more."
        )
    if disk.fixed is not None:
        raise InvalidSpec(f"{what} cannot get another size: {disk.fixed}.")
    if disk.user is not None:
        raise Busy(f"{what} cannot get another size while domain {disk.user} uses it ({about.values.get('source')}).")
    if disk.job is not None and about.target not in found.ended:
        raise Busy(
            f"{what} cannot get another size while a {disk.job} job is at it; let that come to its end, or take its mirror out"
            " of the declaration until it has grown."
        )
    if observed.state == "saved" and not changes.plan.activity.opening:
        raise Busy(f"{what} cannot get another size while the memory of the guest is saved; start the domain first.")
    changes.add(f"disks.{about.target}.size", disk.size, size)
    found.growths.append(Growth(about.target, str(about.values["source"]), about.values.get("format", "raw"), size))


def _copy(changes: ChangeSet, found: Blocks, about: _About, spec: DomainSpec, observed: DomainState) -> None:
    mirror, disk, what = t.cast("Mirror", about.wish.mirror), about.disk, about.what
    if spec.state in ("stopped", "saved") or (spec.state == "defined" and not observed.active):
        raise InvalidSpec(
            f"{what} cannot have a mirror while the domain does not run (state: {spec.state}); leave mirror out, or have it run."
        )
    there = disk.job == "copy" and disk.copy == mirror.path
    if disk.job is not None and not there and about.target not in found.ended:
        raise Busy(
            f"{what} has a {disk.job} job{f' to {disk.copy}' if disk.copy else ''} that this declaration knows nothing of; let it"
            f" come to its end, or end it (virsh blockjob {spec.name} {about.target} --abort)."
        )
    if not there:
        size = about.wish.size if about.wish.size is not None else disk.size
        place.reused(what, mirror, disk.place, size, about.known == mirror.path)
        if disk.place is not None and not disk.place.folder:
            changes.plan.missing.append(
                f"the folder for the mirror of disk {about.target} ({mirror.path}) does not exist"
            )
    found.copies.append(Copy(about.target, about.values.get("source"), mirror, about.known == mirror.path))
    if mirror.pivot:
        _moves(changes, about.target, about.values, at(about.values, mirror))
    elif not there:
        changes.add(f"disks.{about.target}.mirror", found.ended.get(about.target), mirror.path)


def _moves(changes: ChangeSet, target: str, before: Values, after: Values) -> None:
    """Tells where the disk goes on: one change of a field, also where the definition changes it on the way."""
    for name in ("source", "type", "format"):
        field, old = f"disks.{target}.{name}", before.get(name, "raw" if name == "format" else None)
        same = [change for change in changes.changes if change.field == field]
        changes.changes = [change for change in changes.changes if change.field != field]
        first = same[0].before if same else old
        if first != after[name]:
            changes.changes.append(Change(changes.object, field, first, after[name]))


def guard(changes: ChangeSet, spec: DomainSpec, observed: DomainState) -> None:
    """When all changes are known: raises Busy for what a job on a disk does not let happen."""
    plan = changes.plan
    if not plan.activity.goes_on:
        return
    blocks: Blocks = plan.blocks
    for copy in blocks.copies:
        running = observed.disks.get(copy.target, Disk()).running
        if running is not None and running != copy.source:
            raise Busy(
                f"domain {spec.name}: disk {copy.target} is {running} until the next start, not {copy.source} as declared, so a"
                " mirror would be one of that; have it restarted first (restart: if_required)."
            )
    moving = {copy.target for copy in blocks.copies if copy.mirror.pivot}
    for target, disk in observed.disks.items():
        if disk.job is None or target in blocks.ended:
            continue
        fields = [change for change in changes.changes if _touches(change, target, target in moving)]
        if fields:
            raise Busy(
                f"domain {spec.name}: {fields[0].field} cannot change while a {disk.job} job is at disk {target}"
                f"{f' (to {disk.copy})' if disk.copy else ''}; let it come to its end, or end it (virsh blockjob {spec.name}"
                f" {target} --abort)."
            )


def _touches(change: Change, target: str, moving: bool) -> bool:
    """Whether a change needs the disk itself, which a job holds."""
    for whole in (f"disks.{target}", f"devices.disk[{target}]"):
        if change.field == whole:
            return True
        if change.field.startswith(f"{whole}."):
            part = change.field[len(whole) + 1 :]
            place = part.partition(".")[0] in ("source", "type", "format")
            if part == "mirror" or part.startswith(_MEANWHILE) or (place and moving):
                return False
            return place or change.effect == "live"
    return False
