# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Documents of domains: the places and the order that the devices of a declared document have in the definition. Pure."""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import identity
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document.carry_over import (
    Mine,
    devices,
    known_by,
    same_port,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import drop, drop_children, ensure

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


def places(normal: Element, declared: Element, existing: Element, mine: Mine, last: Element | None = None) -> None:
    """Gives the devices of a normal form the places of those that exist, in their order, with those of others; in place.

    Where the declaration itself (``declared``) says a place, that stands. ``last`` is the declaration before it.
    """
    container = normal.find("devices")
    if container is None:
        return
    wanted, there, stated = devices(normal), devices(existing), devices(declared)
    before = {} if last is None else devices(last)
    for tag in dict.fromkeys([*wanted, *there]):
        sources = there.get(tag, []), stated.get(tag, []), before.get(tag, [])
        _places_of(container, wanted.get(tag, []), sources, _of(mine, tag))
    for tag, nodes in wanted.items():
        _only_on_controllers(container, nodes, stated.get(tag, []))
    _foreign_metadata(normal, existing, last)


def _of(mine: Mine, tag: str) -> set[int] | None:
    return None if mine is None else mine.get(tag, set())


def _places_of(
    container: Element,
    wanted: list[Element],
    sources: tuple[list[Element], list[Element], list[Element]],
    mine: set[int] | None,
) -> None:
    """``sources``: the same devices of what exists, of the declaration, and of that before it."""
    there, stated, before = sources
    said, told = identity.pair(wanted, stated), identity.pair(there, before)
    pairs = identity.pair(known_by(wanted, stated, said), there, mine)
    kept: list[int] = []
    for index, node in enumerate(wanted):
        own = stated[said[index]] if index in said else None
        if index in pairs:
            last = before[told[pairs[index]]] if pairs[index] in told else None
            _same_place(node, own, there[pairs[index]], last)
            same_port(node, own, there[pairs[index]])
        else:
            _no_place(node, own)
            if own is None and _is_port(node):
                # libvirt makes as many as it needs.
                container.remove(node)
                continue
        kept.append(index)
    taken = set(pairs.values())
    others = [
        position for position in range(len(there)) if position not in taken and (mine is None or position not in mine)
    ]
    at = container.index(wanted[0]) if wanted and wanted[0].getparent() is container else len(container)
    order = _order(kept, pairs, others, in_turn=bool(there) and there[0].tag == "serial")
    for offset, (own_index, position) in enumerate(order):
        container.insert(at + offset, copy.deepcopy(there[position]) if own_index is None else wanted[own_index])


def _order(
    wanted: list[int], pairs: identity.Pairs, others: list[int], *, in_turn: bool
) -> list[tuple[int | None, int]]:
    """The devices of a kind in order, as positions among those that are wanted (None: one of others) and among those that exist.

    That of what exists stays: another order alone is no difference. Where a new one comes in, it is the order of the declaration,
    for it can tell which of them the guest starts from, and so it is where it always counts (``in_turn``: the first serial port is the
    console). Those of others stay behind what they were behind.
    """
    own = [(index, pairs.get(index, -1)) for index in wanted]
    if not in_turn and all(index in pairs for index in wanted):
        own.sort(key=lambda entry: entry[1])
    found: list[tuple[int | None, int]] = [*own]
    for position in others:
        before = [at for at, (_index, other) in enumerate(found) if 0 <= other < position]
        found.insert(max(before, default=-1) + 1, (None, position))
    return found


def _is_port(node: Element) -> bool:
    return node.tag == "controller" and node.get("type") == "pci"


def _same_place(node: Element, own: Element | None, there: Element, last: Element | None) -> None:
    if own is None or own.find("address") is None:
        _take(node, "address", [] if _withdrawn(node, there, last) else there.findall("address"))
    if not _is_port(node):
        return
    if own is None or own.find("target") is None:
        # What else it says is a setting, no place.
        places = [{name: item.get(name) for name in _PORT if item.get(name)} for item in there.findall("target")]
        _take(node, "target", [_xml.element("target", place) for place in places if place])
    if (own is None or own.find("model") is None) and (last is None or last.find("model") is None):
        _take(node, "model", there.findall("model"))


#: What of the target of a PCI controller is its place.
_PORT = ("chassisNr", "chassis", "port", "busNr", "index")


def _take(node: Element, tag: str, found: list[Element]) -> None:
    drop_children(node, tag)
    for item in found:
        node.append(copy.deepcopy(item))


def _only_on_controllers(container: Element, nodes: list[Element], stated: list[Element]) -> None:
    """Takes away the places that are not stated and lie on controllers that are not there any more: libvirt would add those."""
    said = identity.pair(nodes, stated)
    for index, node in enumerate(nodes):
        needed = _controller_of(node)
        if needed is None or (index in said and stated[said[index]].find("address") is not None):
            continue
        if not any((item.get("type"), item.get("index")) == needed for item in container.findall("controller")):
            drop_children(node, "address")


def _controller_of(node: Element) -> tuple[str, str] | None:
    """The type and index of the controller that the place of a device names; None for places on PCI, where ports follow."""
    place = node.find("address")
    kind = None if place is None else place.get("type")
    if place is None or kind not in ("drive", "usb", "virtio-serial", "ccid"):
        return None
    number = place.get("bus" if kind == "usb" else "controller", "0")
    # What is no disk has its drive on SCSI.
    return (_xml.find_attribute(node, "target", "bus") or "scsi") if kind == "drive" else kind, number


def _withdrawn(node: Element, there: Element, last: Element | None) -> bool:
    """Whether a place was declared, of a kind that such a device has only when it is declared."""
    kinds = [_xml.find_attribute(item, "address", "type") for item in (node, there)]
    return last is not None and last.find("address") is not None and kinds[0] != kinds[1]


def _no_place(node: Element, own: Element | None) -> None:
    for tag in ("address", "target") if _is_port(node) else ("address",):
        if own is None or own.find(tag) is None:
            drop_children(node, tag)


def _foreign_metadata(normal: Element, existing: Element, last: Element | None) -> None:
    """What other tools keep in the metadata stays."""
    known = {node.tag for root in (normal, last) if root is not None for node in root.findall("metadata/*")}
    for node in existing.findall("metadata/*"):
        if node.tag not in known:
            ensure(normal, "metadata").append(copy.deepcopy(node))


def in_own_words(asked: Element, kept: Element, declared: Element) -> bool:
    """Puts the words of the declaration into what was asked, in place, where libvirt does not read again what it writes itself
    (a size that it rounds down to nothing and takes for none); whether there was such a thing.

    ``kept`` is what it made of what was asked.
    """
    found = False
    wanted, there, stated = devices(asked), devices(kept), devices(declared)
    for tag, nodes in wanted.items():
        pairs, said = identity.pair(nodes, there.get(tag, [])), identity.pair(nodes, stated.get(tag, []))
        for index, node in enumerate(nodes):
            if index in pairs and index in said:
                found |= _own_words(node, there[tag][pairs[index]], stated[tag][said[index]])
    if found:
        _drop_implied(asked, declared)
    return found


def _drop_implied(asked: Element, declared: Element) -> None:
    """Takes out the console that is the first serial port once more, unless it is declared: libvirt adds it by itself, and when it
    reads it, it counts the other consoles from there."""
    consoles = asked.findall("devices/console")
    if (
        not consoles
        or asked.find("devices/serial") is None
        or _xml.find_attribute(consoles[0], "target", "type") != "serial"
    ):
        return
    if 0 not in identity.pair(consoles, declared.findall("devices/console")):
        drop(consoles[0])


def _own_words(node: Element, there: Element, own: Element) -> bool:
    found = False
    for item in list(node):
        same = [one.findall(str(item.tag)) for one in (node, there, own)]
        if item.tag == "address" or len(same[0]) != 1 or len(same[2]) != 1:
            continue
        if [_xml.canonical(one) for one in same[1]] != [_xml.canonical(item)]:
            node.replace(item, copy.deepcopy(same[2][0]))
            found = True
    return found
