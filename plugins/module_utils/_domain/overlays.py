# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: disks that go on in an overlay which a snapshot has made. Pure.

An external snapshot lets the domain write to an overlay on the file that its declaration names. That file is still the
disk that is meant; a domain that was put back on it would have lost what was written since, and would spoil the overlay.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Values
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


class Step(t.NamedTuple):
    """What a snapshot did to a disk: it went on in ``overlay``, on top of ``below``."""

    target: str
    overlay: str
    below: str


#: What says where a disk is; all of it changes with an overlay.
_PLACE = ("source", "type", "format")
#: What is said of that place, if it is.
_OF_PLACE = ("slice", "seclabels", "backing_store")
_PLACES = ("file", "dev")


def beneath(target: str, source: str, steps: t.Iterable[Step]) -> list[str]:
    """The files that a disk was before snapshots put it on overlays, the latest first."""
    made = {step.overlay: step.below for step in steps if step.target == target}
    found: list[str] = []
    while source in made and made[source] not in found:
        source = made[source]
        found.append(source)
    return found


def elsewhere(spec: DomainSpec, existing: str | None) -> bool:
    """Whether a disk is declared to be another file than it is: only then snapshots have to be asked for."""
    if existing is None or spec.state == "absent" or not spec.definition:
        return False
    now = _now(existing)
    if any(_other(now, values) for values in spec.definition.devices.get("disks", ())):
        return True
    document = spec.definition.document
    return document is not None and any(
        _place(node) not in (None, _place(now[target]))
        for target, node in _by_target(_xml.parse(document)).items()
        if target in now
    )


def adopted(spec: DomainSpec, existing: str, steps: t.Sequence[Step]) -> DomainSpec:
    """The declaration with the overlays in the place of the files that snapshots have put them on."""
    if not steps:
        return spec
    now, wanted = _now(existing), spec.definition
    devices = wanted.devices
    if "disks" in devices:
        disks = tuple(_adopted(values, now, existing, steps) for values in devices["disks"])
        devices = {**devices, "disks": disks}
    document = wanted.document
    if document is not None:
        document = _adopted_document(document, now, steps)
    return dataclasses.replace(spec, definition=dataclasses.replace(wanted, devices=devices, document=document))


def given_up(spec: DomainSpec, existing: str, chain: t.Callable[[str], t.Sequence[str]]) -> tuple[str, str, str] | None:
    """A disk that would go back from an overlay to the file below it: target, declared file, overlay. No snapshot says why
    it is there, so nobody knows what is in it. ``chain`` gives a file and those that it stands on."""
    now = _now(existing)
    wanted = {str(values.get("target")): values.get("source") for values in spec.definition.devices.get("disks", ())}
    if spec.definition.document is not None:
        wanted = {target: _place(node) for target, node in _by_target(_xml.parse(spec.definition.document)).items()}
    for target, declared in wanted.items():
        source = _place(now[target]) if target in now else None
        if source is not None and declared is not None and declared != source and declared in chain(source)[1:]:
            return target, declared, source
    return None


def _now(existing: str) -> dict[str, Element]:
    return _by_target(_xml.parse(existing))


def _by_target(root: Element) -> dict[str, Element]:
    found: dict[str, Element] = {}
    for node in root.findall("devices/disk"):
        target = _xml.find_attribute(node, "target", "dev")
        if target is not None:
            found[target] = node
    return found


def _place(node: Element) -> str | None:
    source = node.find("source")
    return None if source is None else next((source.get(name) for name in _PLACES if source.get(name)), None)


def _other(now: t.Mapping[str, Element], values: Values) -> bool:
    node = now.get(str(values.get("target")))
    return node is not None and values.get("source") is not None and values["source"] != _place(node)


def _adopted(values: Values, now: t.Mapping[str, Element], existing: str, steps: t.Sequence[Step]) -> Values:
    target = str(values.get("target"))
    if not _other(now, values) or values["source"] not in beneath(target, _place(now[target]) or "", steps):
        return values
    seen = xml.read(existing).devices["disks"][target]
    kept = {name: value for name, value in values.items() if name not in _OF_PLACE}
    names = (*_PLACE, *(name for name in _OF_PLACE if name in values))
    return {**kept, **{name: seen[name] for name in names if name in seen}}


def _adopted_document(text: str, now: t.Mapping[str, Element], steps: t.Sequence[Step]) -> str:
    root = _xml.parse(text)
    changed = False
    for target, node in _by_target(root).items():
        if target not in now or _place(node) not in beneath(target, _place(now[target]) or "", steps):
            continue
        changed = True
        there = _xml.parse(_xml.to_text(now[target]))
        for tag in ("source", "backingStore"):
            for old in node.findall(tag):
                node.remove(old)
            node.extend(there.findall(tag))
        node.set("type", there.get("type") or "file")
        driver = node.find("driver")
        if driver is None:
            driver = _xml.child(node, "driver", {"name": "qemu"})
        driver.set("type", _xml.find_attribute(there, "driver", "type") or "raw")
    return _xml.to_text(root) if changed else text
