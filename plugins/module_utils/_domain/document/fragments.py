# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Documents of domains: pieces of one put into another, and taken out again. Pure.

The pieces are as a person writes them, the other document is as libvirt writes it.
"""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import given
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import alike, identity
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document.carry_over import devices
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import drop, ensure

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: A change of one of these makes another thing of an element.
_KINDS = ("type", "mode", "model", "device")
#: What a device keeps when it becomes another thing of its kind.
_OWN = ("mac", "alias", "address")
#: libvirt groups them in its own way, so those that there are say nothing about those that are stated.
_REGROUPED = ("vcpusched", "iothreadsched", "cachetune", "memorytune", "seclabel", "vcpus", "iothreadids")
#: No domain can be without.
_NEEDED = ("memory", "vcpu", "name", "uuid")
#: Parts of them may be declared otherwise.
_SHARED = (
    "os", "features", "clock", "cpu", "cputune", "numatune", "memoryBacking", "memtune", "blkiotune", "sysinfo", "pm", "metadata",
)  # fmt: skip


def together(what: str, texts: t.Sequence[str]) -> Element:
    """Fragments as one document."""
    root = _xml.element("domain")
    for text in texts:
        for node in given.elements(what, text):
            ensure(root, given.place(what, node)).append(node)
    return root


def put(root: Element, pieces: Element, mine: t.Mapping[str, t.Collection[int]] | None) -> None:
    """Puts pieces into a document, in place. ``mine``: the positions of the devices that may be taken for those of the
    pieces by their place alone (None: all)."""
    there = devices(root)
    for tag, nodes in devices(pieces).items():
        existing = there.get(tag, [])
        pairs = identity.pair(nodes, existing, None if mine is None else mine.get(tag, ()))
        for index, node in enumerate(nodes):
            if index in pairs:
                _onto(existing[pairs[index]], node)
            else:
                ensure(root, "devices").append(copy.deepcopy(node))
    for node in pieces.findall("devices/emulator"):
        ensure(root, "devices/emulator").text = node.text
    for tag, group in _groups(pieces).items():
        if tag != "devices":
            _group_onto(root, tag, group)


def _groups(node: Element) -> dict[str, list[Element]]:
    found: dict[str, list[Element]] = {}
    for item in node:
        found.setdefault(str(item.tag), []).append(item)
    return found


def _onto(there: Element, stated: Element) -> None:
    """One element onto the same of the other document."""
    if any(not alike.values(there.get(name) or "", stated.attrib[name]) for name in _KINDS if name in stated.attrib):
        _become(there)
    if alike.sizes(stated, there):
        return
    for name, value in stated.attrib.items():
        if not alike.values(there.get(name) or "", value):
            there.set(name, value)
    if stated.text and stated.text.strip() and not alike.values((there.text or "").strip(), stated.text.strip()):
        there.text = stated.text
    for tag, group in _groups(stated).items():
        _group_onto(there, tag, group)


def _become(there: Element) -> None:
    there.attrib.clear()
    for node in list(there):
        if node.tag not in _OWN:
            there.remove(node)


def _group_onto(parent: Element, tag: str, group: list[Element]) -> None:
    existing = parent.findall(tag)
    for stated, node in _counterparts(group, existing):
        if node is not None:
            _onto(node, stated)
        elif tag in _REGROUPED or not _told_apart(group):
            break
        else:
            parent.append(copy.deepcopy(stated))
    else:
        return
    at = parent.index(existing[0]) if existing else len(parent)
    for node in parent.findall(tag):
        parent.remove(node)
    for offset, stated in enumerate(group):
        parent.insert(at + offset, copy.deepcopy(stated))


def _told_apart(group: t.Sequence[Element]) -> bool:
    """Whether each can be found again among many of its name."""
    keys = [identity.element_key(node) for node in group]
    return len(keys) == 1 or (None not in keys and len(set(keys)) == len(keys))


def _counterparts(group: t.Sequence[Element], existing: t.Sequence[Element]) -> list[tuple[Element, Element | None]]:
    """Each of a group with that of the existing elements which it is (None: none of them)."""
    if len(group) == 1 and len(existing) == 1:
        keys = identity.element_key(group[0]), identity.element_key(existing[0])
        return [(group[0], existing[0] if None in keys or keys[0] == keys[1] else None)]
    if not _told_apart(group):
        return [(node, None) for node in group]
    known = {identity.element_key(node): node for node in existing}
    return [(node, known.get(identity.element_key(node))) for node in group]


def take_out(root: Element, last: Element, now: Element, shared: t.Collection[Element]) -> None:
    """Takes out of a document what was stated last and is not any more, in place.

    ``shared`` are devices that are also declared otherwise: of those only what was stated goes.
    """
    there, before, after = devices(root), devices(last), devices(now)
    for tag, nodes in before.items():
        found, still = identity.pair(nodes, there.get(tag, [])), identity.pair(after.get(tag, []), nodes)
        back = {position: index for index, position in still.items()}
        for index, position in found.items():
            device = there[tag][position]
            if index in back:
                _take(device, nodes[index], after[tag][back[index]])
            elif any(device is node for node in shared):
                _take(device, nodes[index], None)
            else:
                drop(device)
                _mirrors_gone(root, tag)
    for tag, group in _groups(last).items():
        if tag in _NEEDED:
            _take_attributes(root.find(tag), group[0], now.find(tag))
        elif tag != "devices":
            _take_group(root, tag, group, now.findall(tag), shallow=tag in _SHARED)


def _mirrors_gone(root: Element, tag: str) -> None:
    """The console that mirrors a serial port would bring it back."""
    if tag == "serial":
        for node in root.findall("devices/console"):
            if _xml.find_attribute(node, "target", "type") in (None, "serial"):
                drop(node)


def _take_attributes(there: Element | None, last: Element, now: Element | None) -> None:
    for name in last.attrib if there is not None else ():
        if there is not None and name != "unit" and (now is None or name not in now.attrib):
            there.attrib.pop(name, None)


def _take(there: Element, last: Element, now: Element | None) -> None:
    for name in last.attrib:
        # Without its kind or identity it would be something else.
        if name not in (*_KINDS, "arch", "machine") and (now is None or name not in now.attrib):
            there.attrib.pop(name, None)
    if (last.text or "").strip() and (now is None or not (now.text or "").strip()):
        there.text = None
    for tag, group in _groups(last).items():
        if tag not in ("mac", "target"):
            _take_group(there, tag, group, [] if now is None else now.findall(tag), shallow=False)


def _take_group(parent: Element, tag: str, last: list[Element], now: list[Element], *, shallow: bool) -> None:
    """``shallow``: it goes only when nothing is left in it."""
    kept = {id(node): stated for stated, node in _counterparts(now, last) if node is not None}
    for one, found in _counterparts(last, parent.findall(tag)):
        if found is None:
            if tag in _REGROUPED or not _told_apart(last):
                if not now:
                    for node in parent.findall(tag):
                        parent.remove(node)
                return
            continue
        if id(one) in kept:
            _take(found, one, kept[id(one)])
        elif shallow and len(one):
            _take_parts(found, one)
        else:
            parent.remove(found)


def _take_parts(there: Element, last: Element) -> None:
    for name in last.attrib:
        there.attrib.pop(name, None)
    for tag, group in _groups(last).items():
        _take_group(there, tag, group, [], shallow=False)
    if not len(there) and not there.attrib and not (there.text or "").strip():
        drop(there)
