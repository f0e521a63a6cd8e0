# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Snapshots: what their documents and those of their domain say, and the documents to give to libvirt. Pure.

Source of the formats: https://libvirt.org/formatsnapshot.html and https://libvirt.org/formatdomain.html
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import HIDDEN
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.chain import Disk, Layer, Merge

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

AGENT = "org.qemu.guest_agent.0"
#: The begin of the names under which this collection keeps its own notes in metadata.
_OURS = "{urn:hypervisor.kvm:"
_PLACES = {"file": "file", "block": "dev"}
_SECRETS = ("passwd", "password")
_COOKIE = "cookie"


@dataclasses.dataclass(frozen=True)
class Machine:
    """What of a domain's document matters beside its disks; ``memory`` in bytes."""

    pflash: bool
    nvram_format: str
    agent: bool
    agent_connected: bool
    hostdevs: bool
    memory: int


def machine(document: str) -> Machine:
    """The domain; of a running one its running document says whether its agent is connected."""
    root = _xml.parse(document, "the domain's document")
    loader, nvram = root.find("os/loader"), root.find("os/nvram")
    firmware = _xml.find_attribute(root, "os", "firmware")
    channels = [node for node in root.findall("devices/channel/target") if node.get("name") == AGENT]
    memory = root.find("currentMemory") if root.find("currentMemory") is not None else root.find("memory")
    return Machine(
        pflash=firmware == "efi" or (loader is not None and loader.get("type") == "pflash"),
        nvram_format=(nvram.get("format") if nvram is not None else None) or "raw",
        agent=bool(channels),
        agent_connected=any(node.get("state") == "connected" for node in channels),
        hostdevs=any(node.get("type") == "pci" for node in root.findall("devices/hostdev")),
        memory=int((memory.text if memory is not None else None) or 0) * 1024,
    )


def disks(document: str) -> list[Disk]:
    """The disks of a domain, with the chains that a running document has; of others the first file only."""
    return [_disk(node) for node in _xml.parse(document).findall("devices/disk") if _target(node)]


def _target(node: Element) -> str:
    return _xml.find_attribute(node, "target", "dev") or ""


def _disk(node: Element) -> Disk:
    kind = node.get("type") or "file"
    source = node.find("source")
    chain: list[Layer] = []
    level: Element | None = node
    while level is not None:
        path = place(level)
        if path is None:
            break
        how = _xml.find_attribute(level, "driver" if level is node else "format", "type") or "raw"
        chain.append(Layer(path, how, level.get("type") or "file"))
        level = level.find("backingStore")
    return Disk(
        target=_target(node),
        device=node.get("device") or "disk",
        type=kind,
        source=_named(source) if source is not None else None,
        format=_xml.find_attribute(node, "driver", "type") or "raw",
        readonly=node.find("readonly") is not None,
        shareable=node.find("shareable") is not None,
        skip=node.get("snapshot") in ("no", "manual"),
        chain=tuple(chain),
    )


def place(node: Element) -> str | None:
    """The local file or device that a disk or a level of its chain is in."""
    source, attribute = node.find("source"), _PLACES.get(node.get("type") or "file")
    return source.get(attribute) if source is not None and attribute is not None else None


def _named(source: Element) -> str | None:
    """Anything that tells what the source is, wherever it may be; None for an empty drive."""
    names = [source.get(name) for name in ("file", "dev", "dir", "name", "volume", "path", "namespace")]
    return next((name for name in names if name is not None), "unnamed" if source.attrib else None)


def pool_volume(document: str, target: str) -> tuple[str, str] | None:
    """Pool and volume of a disk of type volume."""
    for node in _xml.parse(document).findall("devices/disk"):
        source = node.find("source")
        if _target(node) == target and node.get("type") == "volume" and source is not None:
            return source.get("pool") or "", source.get("volume") or ""
    return None


def creation(
    name: str, description: str | None, memory: tuple[str, str | None], disks: t.Mapping[str, tuple[str, str | None]]
) -> str:
    """The document of a new snapshot. ``memory`` and each of ``disks`` are how it is kept (libvirt's word) and its file."""
    root = _xml.element("domainsnapshot")
    _xml.child(root, "name", text=name)
    if description is not None:
        _xml.child(root, "description", text=description)
    _xml.child(root, "memory", {"snapshot": memory[0], "file": memory[1]})
    parent = _xml.child(root, "disks")
    for target, (kept, path) in disks.items():
        node = _xml.child(parent, "disk", {"name": target, "snapshot": kept})
        if path is not None:
            node.set("type", "file")
            _xml.child(node, "driver", {"type": "qcow2"})
            _xml.child(node, "source", {"file": path})
    return _xml.to_text(root)


def described(document: str, description: str) -> str:
    """A snapshot's document with another description."""
    root = _xml.parse(document)
    for node in root.findall("description"):
        root.remove(node)
    if description:
        root.insert(1, _xml.element("description", text=description))
    return _xml.to_text(root)


def rewritten(document: str, merges: t.Sequence[Merge]) -> str | None:
    """A snapshot's document without the files that were merged; None when it names none of them."""
    root = _xml.parse(document)
    before = _xml.canonical(root)
    for definition in ("domain", "inactiveDomain"):
        for node in root.findall(f"{definition}/devices/disk"):
            for merge in merges:
                if merge.target == _target(node):
                    _without(node, merge)
    for again in root.findall("revertDisks"):
        for node in list(again):
            if any(place(node) in merge.drop for merge in merges):
                again.remove(node)
    return _xml.to_text(root) if _xml.canonical(root) != before else None


def _without(node: Element, merge: Merge) -> None:
    if place(node) in merge.drop:
        point(node, merge.base, merge.base_format, merge.base_type)
        return
    level: Element = node
    while True:
        below = level.find("backingStore")
        if below is None:
            return
        if place(below) in merge.drop:
            level.remove(below)
            inner = below.find("backingStore")
            if inner is not None:
                level.append(inner)
        else:
            level = below


def point(node: Element, path: str, image_format: str, kind: str = "file") -> None:
    """Lets a disk be another file; the chain below it is left for libvirt to find, or was none."""
    for tag in ("source", "backingStore", "mirror"):
        for old in node.findall(tag):
            node.remove(old)
    node.set("type", kind)
    driver = node.find("driver")
    if driver is None:
        driver = _xml.element("driver", {"name": "qemu"})
        node.insert(0, driver)
    driver.set("type", image_format)
    node.insert(list(node).index(driver) + 1, _xml.element("source", {_PLACES[kind]: path}))


def merged(document: str, merges: t.Sequence[Merge]) -> str:
    """A domain's definition without the files that were merged."""
    root = _xml.parse(document)
    for node in root.findall("devices/disk"):
        for merge in merges:
            if merge.target == _target(node):
                _without(node, merge)
    return _xml.to_text(root)


def definition(document: str, running: bool) -> str | None:
    """The definition of the domain in a snapshot's document: of what ran (``running``), or of what was to run next."""
    root = _xml.parse(document)
    for tag in ("domain", "inactiveDomain") if running else ("inactiveDomain", "domain"):
        node = root.find(tag)
        if node is not None:
            node.tag = "domain"
            return _xml.to_text(node)
    return None


def on_overlays(document: str, name: str, overlays: t.Mapping[str, str]) -> str:
    """A definition from a snapshot for the domain as it is called now, with overlays (by target) on the old disks."""
    root = _xml.parse(document)
    for node in root.findall("name"):
        node.text = name
    for node in root.findall("devices/disk"):
        if _target(node) in overlays:
            point(node, overlays[_target(node)], "qcow2")
    return _xml.to_text(root)


def same_definition(one: str, other: str, targets: t.Collection[str]) -> bool:
    """Whether two definitions are the same, whatever the files of the disks ``targets``, the order of devices, and the
    notes of this collection."""
    return _comparable(one, targets) == _comparable(other, targets)


def _comparable(document: str, targets: t.Collection[str]) -> bytes:
    root = _xml.parse(document)
    _forget_notes(root)
    root.attrib.pop("id", None)
    for node in root.findall("name"):
        root.remove(node)
    for node in root.findall("devices/disk"):
        gone = ["backingStore", "mirror"]
        if _target(node) in targets:
            gone.append("source")
            node.set("type", "file")
            driver = node.find("driver")
            if driver is not None:
                driver.attrib.pop("type", None)
        for child in [child for child in node if child.tag in gone]:
            node.remove(child)
    devices = root.find("devices")
    if devices is not None:
        devices[:] = sorted(devices, key=_xml.canonical)
    return _xml.canonical(root)


def _forget_notes(root: Element) -> None:
    for metadata in root.findall("metadata"):
        for node in list(metadata):
            if str(node.tag).startswith(_OURS):
                metadata.remove(node)
        if len(metadata) == 0:
            root.remove(metadata)


def shown(document: str | None) -> str:
    """A definition for a diff: without notes of ours, without passwords."""
    if document is None:
        return ""
    root = _xml.parse(document)
    _forget_notes(root)
    for node in root.iter():
        for name in _SECRETS:
            if node.get(name) is not None:
                node.set(name, HIDDEN)
        if node.tag == _COOKIE:
            node.text = HIDDEN
    return _xml.to_text(root)
