# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Running domains: devices that are plugged in, pulled out and changed. Pure."""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import difference, identity
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import drop_children
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live import plugs, updates
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.ports import Room
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.situation import Operation
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.work import Work

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


def propose(work: Work) -> None:
    """The operations on devices; what is pulled out makes room for what is plugged in."""
    room = Room(work.full, work.wanted)
    devices = work.root.find("devices")
    if devices is None:
        return
    tags = dict.fromkeys(str(node.tag) for root in (work.root, work.wanted) for node in root.findall("devices/*"))
    coming: list[tuple[Element, str]] = []
    disks = work.full.findall("devices/disk")
    # What others have plugged in is none of the task's, and is not among what runs for it.
    known = identity.pair(devices.findall("disk"), disks).values()
    room.strangers = [node for position, node in enumerate(disks) if position not in known]
    for tag in tags:
        running, wanted = devices.findall(tag), work.wanted.findall(f"devices/{tag}")
        full = work.full.findall(f"devices/{tag}")
        in_full, pairs = identity.pair(running, full), identity.pair(wanted, running)
        for position, node in enumerate(running):
            if position not in pairs.values():
                _detach(work, room, node, full[in_full[position]] if position in in_full else None, position)
        for index, position in pairs.items():
            if difference.between(running[position], wanted[index]):
                whole = full[in_full[position]] if position in in_full else running[position]
                updates.propose(work, running[position], whole, wanted[index], _name(wanted[index], index))
        coming += [(node, _name(node, index)) for index, node in enumerate(wanted) if index not in pairs]
    for node, name in sorted(coming, key=lambda pair: pair[0].tag != "controller"):
        _attach(work, room, devices, node, name)


def _name(node: Element, position: int) -> str:
    return f"{identity.local(node)} {identity.label(node, position)}"


def place(node: Element, position: int) -> str:
    """A device's place in the document, as differences name it."""
    return f"devices.{identity.local(node)}[{identity.label(node, position)}]"


def _detach(work: Work, room: Room, node: Element, full: Element | None, position: int) -> None:
    alias = None if full is None else _xml.find_attribute(full, "alias", "name")
    reason = plugs.why_not_out(node, room)
    if reason is None and alias is None:
        reason = "it is not known to the running domain by a name"
    if reason is None and work.situation.paused:
        reason = "the guest is paused, and has to let go of it"
    name = _name(node, position)
    if reason is not None or alias is None or full is None:
        work.reason(place(node, position), reason or "")
        return
    operation = Operation("detach", name, {"alias": alias, "document": _xml.to_text(full)})
    if work.device(operation, node, None):
        room.leave(full)


#: What names the source of a disk.
_SOURCES = ("protocol", "pool", "file", "dev", "dir", "name", "volume", "path")


def _why_not_twice(node: Element, disks: t.Sequence[Element]) -> str | None:
    """Two disks cannot write to one source: the one that has it may still have to leave."""
    source = _source(node)
    for other in disks if node.tag == "disk" and source is not None else ():
        alike = [[disk.find(tag) is not None for disk in (node, other)] for tag in ("readonly", "shareable")]
        if _source(other) == source and [True, True] not in alike:
            return f"disk {_xml.find_attribute(other, 'target', 'dev')} of the running domain has the same source"
    return None


def _source(disk: Element) -> tuple[t.Any, ...] | None:
    """What tells the source of a disk from others: a server or a part of a file as well."""
    source = disk.find("source")
    found = [] if source is None else [source.get(name) for name in _SOURCES]
    if source is None or not any(found):
        return None
    within = (*source.findall("host"), *source.findall("slices/slice"))
    return (*found, *(tuple(sorted(node.items())) for node in within))


def _attach(work: Work, room: Room, devices: Element, node: Element, name: str) -> None:
    before = room.state()
    reason = plugs.why_not_in(node, room) or _why_not_twice(node, [*devices.findall("disk"), *room.strangers])
    found = plugs.find(node, room) if reason is None else None
    if found is None:
        tag, _space, label = name.partition(" ")
        full = "no port is free for it in the running domain; more controllers in its definition reserve some"
        if room.without_acpi:
            full = "no port is free for it in the running domain, which has no ACPI to plug something into a slot"
        work.reason(f"devices.{tag}[{label}]", reason or full)
        return
    parts = [*found.controllers, (node, found.stated)]
    operation = Operation("attach", name, {"documents": [_text(part, stated) for part, stated in parts]})
    # Where it comes to is the guest's to see, and the next start's to put right.
    if not work.device(operation, None, copy.deepcopy(node), devices):
        room.restore(before)


def _text(node: Element, stated: bool) -> str:
    """What libvirt is asked for: with the address of the definition, or for it to find one."""
    node = copy.deepcopy(node)
    if not stated:
        drop_children(node, "address")
    return _xml.to_text(node)
