# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Snapshots of a domain: thin typed calls that take and give plain data."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import is_code, steady, translated

try:
    import libvirt
except ImportError:
    # connection.require_libvirt() reports it before anything here is called.
    libvirt = None

#: The attribute of a source that says what it is, by the type of the disk.
_PLACES = {"file": "file", "block": "dev", "dir": "dir", "network": "name", "volume": "volume"}


@dataclasses.dataclass(frozen=True)
class SnapshotDisk:
    """A disk in a snapshot. ``content`` is what holds the data of that moment, ``path`` (external only) the overlay that
    was made on top of it, where the guest went on writing; ``reverted`` the overlays that later reverts made instead."""

    target: str
    kind: str
    content: str | None = None
    path: str | None = None
    format: str | None = None
    reverted: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A snapshot. ``kind`` is ``internal``, ``external``, or ``none`` (no disk in it); ``memory`` ``none``, ``internal`` or
    ``external``, then ``memory_path`` is its file; ``created`` in seconds since 1970; ``state`` libvirt's word for what the
    domain did; ``document`` all of it, with the definition of that moment and its passwords."""

    name: str
    parent: str | None
    current: bool
    created: int
    state: str
    kind: str
    memory: str
    memory_path: str | None
    description: str | None
    disks: tuple[SnapshotDisk, ...]
    document: str = dataclasses.field(default="", repr=False)

    def facts(self) -> dict[str, t.Any]:
        """The return value of a snapshot, without its document."""
        facts = dataclasses.asdict(self)
        del facts["document"]
        facts["disks"] = [{**disk, "reverted": list(disk["reverted"])} for disk in facts["disks"]]
        return facts


def parse(document: str, current: bool = False) -> Snapshot:
    """A snapshot from its document."""
    root = _xml.parse(document, "the snapshot's document")
    memory = root.find("memory")
    kept = memory.get("snapshot", "no") if memory is not None else "no"
    disks = tuple(_disk(root, node) for node in root.findall("disks/disk"))
    kinds = {disk.kind for disk in disks} | {kept}
    return Snapshot(
        name=_xml.find_text(root, "name") or "",
        parent=_xml.find_text(root, "parent/name"),
        current=current,
        created=int(_xml.find_text(root, "creationTime") or 0),
        state=_xml.find_text(root, "state") or "unknown",
        kind=next((kind for kind in ("external", "internal") if kind in kinds), "none"),
        memory="none" if kept == "no" else kept,
        memory_path=memory.get("file") if memory is not None else None,
        description=_xml.find_text(root, "description"),
        disks=disks,
        document=document,
    )


def _source(node: t.Any) -> str | None:
    place = node.find("source")
    return None if place is None else place.get(_PLACES.get(node.get("type") or "file", "file"))


def _disk(root: t.Any, node: t.Any) -> SnapshotDisk:
    target, kind = node.get("name", ""), node.get("snapshot") or "none"
    # The definition of that moment names what the overlay was put on: the contents of the snapshot.
    before = [disk for disk in root.findall("domain/devices/disk") if disk.find("target").get("dev") == target]
    again = [other for other in root.findall("revertDisks/disk") if other.get("name") == target]
    return SnapshotDisk(
        target=target,
        kind="none" if kind in ("no", "manual") else kind,
        content=_source(before[0]) if before else None,
        path=_source(node),
        format=_xml.find_attribute(node, "driver", "type"),
        reverted=tuple(path for path in map(_source, again) if path is not None),
    )


@steady
def tree(connection: t.Any, name: str) -> list[Snapshot]:
    """All snapshots of the domain of that name, parents before their children, then by their age; empty when there is no
    such domain, or its hypervisor knows no snapshots."""
    found: list[Snapshot] = []
    try:
        with translated(f"Cannot read the snapshots of domain {name}"):
            listed = connection.lookupByName(name).listAllSnapshots(0)
    except LibvirtError as exc:
        if is_code(exc, "VIR_ERR_NO_DOMAIN", "VIR_ERR_NO_SUPPORT"):
            return []
        raise
    for snapshot in listed:
        try:
            with translated(f"Cannot read a snapshot of domain {name}"):
                document = snapshot.getXMLDesc(libvirt.VIR_DOMAIN_SNAPSHOT_XML_SECURE)
                found.append(parse(document, bool(snapshot.isCurrent())))
        except LibvirtError as exc:
            # One that somebody has just removed is not there.
            if not is_code(exc, "VIR_ERR_NO_DOMAIN_SNAPSHOT"):
                raise
    return ordered(found)


def checkpoints(connection: t.Any, name: str) -> list[str]:
    """The names of the checkpoints of a domain; empty when there is no such domain, or its hypervisor knows none."""
    try:
        with translated(f"Cannot read the checkpoints of domain {name}"):
            return sorted(str(item.getName()) for item in connection.lookupByName(name).listAllCheckpoints(0))
    except LibvirtError as exc:
        if is_code(exc, "VIR_ERR_NO_DOMAIN", "VIR_ERR_NO_SUPPORT"):
            return []
        raise


def ordered(found: t.Sequence[Snapshot]) -> list[Snapshot]:
    """Parents before their children; the older of two siblings first."""
    names = {snapshot.name for snapshot in found}
    left = sorted(found, key=lambda snapshot: (snapshot.created, snapshot.name))
    todo = [snapshot for snapshot in left if snapshot.parent not in names]
    done: list[Snapshot] = []
    while todo:
        done.append(todo.pop(0))
        todo = [snapshot for snapshot in left if snapshot.parent == done[-1].name] + todo
    return done


def _domain(connection: t.Any, name: str) -> t.Any:
    with translated(f"Cannot look up domain {name}"):
        return connection.lookupByName(name)


def _snapshot(connection: t.Any, domain: str, name: str) -> t.Any:
    with translated(f"Cannot look up snapshot {name} of domain {domain}"):
        return connection.lookupByName(domain).snapshotLookupByName(name)


def _flags(prefix: str, words: t.Iterable[str]) -> int:
    flags = 0
    for word in words:
        flags |= getattr(libvirt, f"VIR_DOMAIN_SNAPSHOT_{prefix}_{word}")
    return flags


def create(connection: t.Any, domain: str, document: str, flags: t.Iterable[str] = ()) -> None:
    """Makes a snapshot, or writes its record anew (flag ``REDEFINE``); ``flags`` are libvirt's words."""
    found = _domain(connection, domain)
    name = parse(document).name
    with translated(f"Cannot make snapshot {name} of domain {domain}"):
        found.snapshotCreateXML(document, _flags("CREATE", flags))


def revert(connection: t.Any, domain: str, name: str, flags: t.Iterable[str] = ()) -> None:
    """Puts the domain back to a snapshot; ``flags`` are libvirt's words."""
    snapshot = _snapshot(connection, domain, name)
    with translated(f"Cannot put domain {domain} back to its snapshot {name}"):
        snapshot.getDomain().revertToSnapshot(snapshot, _flags("REVERT", flags))


@steady
def delete(connection: t.Any, domain: str, name: str, flags: t.Iterable[str] = ()) -> None:
    """Removes a snapshot; one that is gone is gone. With the flag ``METADATA_ONLY`` only its record."""
    try:
        snapshot = _snapshot(connection, domain, name)
        with translated(f"Cannot remove snapshot {name} of domain {domain}"):
            snapshot.delete(_flags("DELETE", flags))
    except LibvirtError as exc:
        if not is_code(exc, "VIR_ERR_NO_DOMAIN_SNAPSHOT"):
            raise


def restore(connection: t.Any, domain: str, path: str, document: str, paused: bool) -> None:
    """Starts a domain from a file with its memory, with ``document`` in the place of the definition in that file."""
    flags = libvirt.VIR_DOMAIN_SAVE_PAUSED if paused else libvirt.VIR_DOMAIN_SAVE_RUNNING
    with translated(f"Cannot start domain {domain} from the memory in {path}"):
        connection.restoreFlags(path, document, flags)


@steady
def forget_saved_state(connection: t.Any, domain: str) -> None:
    """Removes the saved state of a domain that is off."""
    found = _domain(connection, domain)
    with translated(f"Cannot remove the saved state of domain {domain}"):
        if found.hasManagedSaveImage(0):
            found.managedSaveRemove(0)


@steady
def set_note(connection: t.Any, domain: str, element: str | None, namespace: tuple[str, str]) -> None:
    """Sets or removes (None) one element of metadata, in the definition and in what runs; ``namespace``: prefix and URI."""
    found = _domain(connection, domain)
    flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG if found.isPersistent() else 0
    flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE if found.isActive() else 0
    try:
        with translated(f"Cannot write the metadata of domain {domain}"):
            found.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, element, *namespace, flags)
    except LibvirtError as exc:
        if element is not None or not is_code(exc, "VIR_ERR_NO_DOMAIN_METADATA"):
            raise


@steady
def written(connection: t.Any, domain: str, target: str) -> bool | None:
    """Whether a running domain has written to a disk since its qemu runs; None when libvirt does not say."""
    found = _domain(connection, domain)
    with translated(f"Cannot read the statistics of disk {target} of domain {domain}"):
        requests = int(found.blockStats(target)[2])
    return None if requests < 0 else requests > 0


@steady
def volume_path(connection: t.Any, pool: str, volume: str) -> str | None:
    """The file of a volume; None when there is none."""
    try:
        with translated(f"Cannot look up volume {volume} of pool {pool}"):
            return str(connection.storagePoolLookupByName(pool).storageVolLookupByName(volume).path())
    except LibvirtError:
        return None


@steady
def resident(connection: t.Any, domain: str) -> int | None:
    """How much memory the qemu of a running domain has from the host, in bytes; None when libvirt does not say."""
    found = _domain(connection, domain)
    try:
        with translated(f"Cannot read the memory of domain {domain}"):
            pages = found.memoryStats().get("rss")
    except LibvirtError:
        return None
    return None if pages is None else int(pages) * 1024
