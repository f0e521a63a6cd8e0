# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Reads how disks are, as far as a declaration wants something of them beside their definition."""

from __future__ import annotations

import os
import stat
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import files
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import xml as documents
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks.adopt import source
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks.seen import Disk, Place
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks.wish import Mirror, Wish
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Values
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import disk_file, qcow2
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import blockjobs, domains

Users = t.Callable[[str, bool], t.Optional[str]]


def look(
    connection: t.Any, spec: DomainSpec, raw: domains.RawDomain | None, known: t.Collection[str], local: bool
) -> dict[str, Disk]:
    """The disks of a domain of which more is wanted than a definition, and those on which a job is, by target.

    ``raw`` is None of a domain that is still to be made; ``known`` are disks that an earlier run began to copy.
    """
    running, definition = (None, None) if raw is None else (raw.running_xml, raw.inactive_xml)
    mirrors = blockjobs.mirrors(running) if running else {}
    wishes = spec.definition.wishes
    targets = dict.fromkeys([*wishes, *known, *mirrors])
    if not targets or not spec.definition:
        return {}
    wanted = {values["target"]: values for values in spec.definition.devices.get("disks", ())}
    users = _users(connection, spec.name)
    found: dict[str, Disk] = {}
    for target in targets:
        there = source(running, target)
        asked = there is not None and (target in wishes or target in known)
        job = blockjobs.job(connection, spec.name, target) if asked else None
        mirror = mirrors.get(target)
        defined = source(definition, target)
        chain = () if defined is None else tuple(files.chain(defined)) if local else (defined,)
        facts: dict[str, t.Any] = {"running": there, "chain": chain}
        if job is not None or mirror is not None:
            facts["job"] = mirror.job if mirror is not None else t.cast("blockjobs.Job", job).kind
            facts["copy"], facts["ready"] = (mirror.path, mirror.ready) if mirror is not None else (None, False)
        if target in wishes and target in wanted:
            wish, values = wishes[target], wanted[target]
            facts.update(_size(connection, spec.name, values, there, local))
            facts.update(_rest(wish, values, facts, users if local else None))
        found[target] = Disk(**facts)
    return found


def _size(connection: t.Any, name: str, values: Values, running: str | None, local: bool) -> dict[str, t.Any]:
    """How large the disk is, its device, and why it cannot be changed, as far as that can be seen."""
    path, kind = values.get("source"), values.get("format", "raw")
    facts: dict[str, t.Any] = {}
    if local and values.get("type") in ("file", "block") and path is not None and os.path.exists(path):
        seen = place(path, kind)
        facts = {"size": seen.size, "device": seen.size if seen.kind == "block" and kind == "raw" else None}
        if seen.kind == "file" and kind == "qcow2":
            facts["fixed"] = _fixed(path, running is not None)
    if running is not None and running == path:
        capacity, physical = blockjobs.size(connection, name, values["target"])
        facts["size"] = capacity
        if values.get("type") == "block" and kind == "raw":
            facts["device"] = physical
    return facts


def _fixed(path: str, runs: bool) -> str | None:
    """Why a qcow2 file cannot get another size."""
    try:
        seen = disk_file.read_file(os.path.realpath(path), "qcow2", through_backing=False)
    except KvmError as exc:
        return exc.message.rstrip(".")
    if seen.fixed_size:
        return (
            f"{path} has snapshots inside and is qcow2 of version 2; make it version 3 (qemu-img amend -o compat=1.1)"
        )
    return None if runs or seen.foreign_reason is None else f"{path}: {seen.foreign_reason.rstrip('.')}"


def _rest(wish: Wish, values: Values, facts: dict[str, t.Any], users: Users | None) -> dict[str, t.Any]:
    """Who else uses the disk, and what is at the place of its copy; looked at only when that matters."""
    found: dict[str, t.Any] = {}
    path, mirror = values.get("source"), wish.mirror
    grows = wish.size is not None and facts.get("size") is not None and wish.size > facts["size"]
    if grows and users is not None and path is not None:
        found["user"] = users(path, False)
    begun = mirror is not None and facts.get("job") == "copy" and facts.get("copy") == mirror.path
    if mirror is not None and path != mirror.path and not begun and users is not None:
        found["place"] = _place_of(mirror, path, users)
    return found


def place_of(connection: t.Any, name: str, mirror: Mirror, path: str | None) -> Place:
    """What is where a copy of a disk (``path``) of a domain is to be."""
    return _place_of(mirror, path, _users(connection, name))


def _place_of(mirror: Mirror, path: str | None, users: Users) -> Place:
    beneath = path is not None and any(files.same(step, mirror.path) for step in files.chain(path))
    if not os.path.lexists(mirror.path):
        return Place(folder=os.path.isdir(os.path.dirname(mirror.path)))
    seen = place(mirror.path, mirror.format)
    return Place(seen.kind, True, seen.empty, seen.format, seen.size, seen.backing, beneath, users(mirror.path, True))


def place(path: str, format: str) -> Place:
    """What is at a path; ``format`` is what it is to be."""
    try:
        mode = os.stat(path)
        if stat.S_ISBLK(mode.st_mode):
            return _device(path, format)
        if not stat.S_ISREG(mode.st_mode):
            return Place("other")
        found = disk_file.read_file(os.path.realpath(path), None if format == "qcow2" else _told(path))
    except (OSError, KvmError):
        return Place("other")
    return Place("file", True, not mode.st_size, found.format, found.virtual_size, bool(found.backing))


def _told(path: str) -> str | None:
    """A raw disk may hold anything; but what looks like qcow2 is not taken for one."""
    return None if files.image_format(path) == "qcow2" else "raw"


def _device(path: str, format: str) -> Place:
    with open(path, "rb", buffering=0) as device:
        head = device.read(qcow2.HEAD_BYTES)
        if format == "qcow2" and qcow2.is_qcow2(head):
            header = qcow2.parse(head, path)
            return Place("block", True, False, "qcow2", header.virtual_size, header.backing_file is not None)
        return Place("block", format=None if format == "raw" else "raw", size=device.seek(0, os.SEEK_END))


def _users(connection: t.Any, name: str) -> Users:
    """Finds the other domain that uses a file: it runs on it, stands on it, or (``named``) just names it."""
    texts: dict[str, list[str]] = {}

    def find(path: str, named: bool) -> str | None:
        if not texts:
            texts.update(domains.documents(connection))
        for other, group in texts.items():
            for text in group if other != name else ():
                for disk in documents.read(text).devices["disks"].values():
                    steps = files.chain(disk["source"]) if "source" in disk else []
                    counted = steps if named or len(group) > 1 else steps[1:]
                    if any(files.same(step, path) for step in counted):
                        return other
        return None

    return find
