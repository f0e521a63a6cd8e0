# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Documents of domains: what a declared document takes over from the definition that there is. Pure.

Without it a document that names no UUID, no MAC address and no place of a device would make another machine each time.
"""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import identity
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import drop_children, ensure, unset
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.scalars import machine_family

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: Kind of device -> positions in the definition of those that an earlier declaration brought (None: not known).
Mine = t.Optional[dict[str, set[int]]]


def devices(root: Element) -> dict[str, list[Element]]:
    """The devices of a document by kind, in order."""
    found: dict[str, list[Element]] = {}
    for node in root.findall("devices/*"):
        if node.tag != "emulator":
            found.setdefault(str(node.tag), []).append(node)
    return found


def brought(declared: Element, existing: Element, stated: Element | None = None) -> dict[str, set[int]]:
    """Which devices of a definition come from a declaration; ``stated`` is that as it was written, where ``declared`` is what
    libvirt makes of it."""
    there, own = devices(existing), {} if stated is None else devices(stated)
    found: dict[str, set[int]] = {}
    for tag, nodes in devices(declared).items():
        if tag in there:
            known = (
                nodes if stated is None else known_by(nodes, own.get(tag, []), identity.pair(nodes, own.get(tag, [])))
            )
            found[tag] = set(identity.pair(known, there[tag]).values())
    return found


def known_by(nodes: list[Element], stated: list[Element], said: identity.Pairs) -> list[Element]:
    """Devices by what they can be known by: a place that libvirt has found for one is no sign of it."""
    found: list[Element] = []
    for index, node in enumerate(nodes):
        if node.find("address") is not None and (index not in said or stated[said[index]].find("address") is None):
            found.append(copy.deepcopy(node))
            drop_children(found[-1], "address")
        else:
            found.append(node)
    return found


def with_other_macs(mine: dict[str, set[int]], last: Element, existing: Element) -> dict[str, set[int]]:
    """What a declaration has brought, with interfaces whose MAC address somebody has changed since: in the place of one that is
    not there any more under its own."""
    nodes, there = devices(last).get("interface", []), devices(existing).get("interface", [])
    pairs = identity.pair(nodes, there)
    free = [position for position in range(len(there)) if position not in pairs.values()]
    found = set(mine.get("interface", ()))
    for node in (node for index, node in enumerate(nodes) if index not in pairs):
        same = [at for at in free if identity.interface_place(there[at]) == identity.interface_place(node)]
        found.update(same[:1])
        free = [at for at in free if at not in same[:1]]
    return {**mine, "interface": found} if found else mine


def identities(
    declared: Element, existing: Element, mine: Mine, aliases: t.Mapping[str, str], new_mac: t.Callable[[], str] | None
) -> list[str]:
    """Gives a declared document the identity of what exists: UUID, MAC addresses, machine; in place.

    Returns the MAC addresses that had to be made, for interfaces that do not exist yet.
    """
    for tag in ("uuid", "genid"):
        _same_text(declared, existing, tag)
    _same_machine(declared, existing, aliases)
    wanted, there = devices(declared).get("interface", []), devices(existing).get("interface", [])
    pairs = identity.pair(wanted, there, None if mine is None else mine.get("interface", set()))
    made: list[str] = []
    for index, node in enumerate(wanted):
        if _xml.find_attribute(node, "mac", "address") is not None:
            continue
        address = _xml.find_attribute(there[pairs[index]], "mac", "address") if index in pairs else None
        if address is None and new_mac is not None:
            address = new_mac()
            made.append(address)
        if address is not None:
            ensure(node, "mac").set("address", address)
    return made


def _same_text(declared: Element, existing: Element, tag: str) -> None:
    """What libvirt would make up when nothing is said."""
    text = _xml.find_text(existing, tag)
    node = declared.find(tag)
    if text is None or (node is None and tag != "uuid") or _xml.find_text(declared, tag) is not None:
        return
    ensure(declared, tag).text = text


def _same_machine(declared: Element, existing: Element, aliases: t.Mapping[str, str]) -> None:
    """A short name means "the newest"; an existing domain keeps the version that its guest knows."""
    there = existing.find("os/type")
    node = declared.find("os/type")
    if node is None or there is None:
        return
    now, wanted = there.get("machine"), node.get("machine")
    if now is None or there.get("arch") != (node.get("arch") or there.get("arch")):
        return
    if wanted is None or (wanted in aliases and aliases[wanted] != wanted):
        # libvirt's own choice, when nothing is said, is the default of the architecture, "pc" on a PC.
        canonical = aliases.get(wanted or "pc", wanted)
        if canonical is not None and machine_family(canonical) == machine_family(now):
            node.set("machine", now)


#: What libvirt draws by lot for the port of a virtual switch.
_LOTS = ("interfaceid", "instanceid")


def same_port(node: Element, own: Element | None, there: Element | None) -> None:
    """Gives a port of a virtual switch the identity of that which exists (None: takes it away), unless it is stated."""
    found = node.find("virtualport/parameters")
    if found is None:
        return
    for name in _LOTS:
        if own is None or _xml.find_attribute(own, "virtualport/parameters", name) is None:
            value = None if there is None else _xml.find_attribute(there, "virtualport/parameters", name)
            if value is not None:
                found.set(name, value)
            elif there is None:
                unset(found, name)


def lots(root: Element) -> frozenset[str]:
    """All of a document that libvirt draws by lot when nobody says it, its UUID and MAC addresses aside."""
    ports = root.findall("devices/interface/virtualport/parameters")
    found = {node.get(name) for node in ports for name in _LOTS} | {_xml.find_text(root, "genid")}
    return frozenset(text for text in found if text is not None)


def take_ports(root: Element, lot: t.Collection[str]) -> None:
    """Takes the identities of ports that chance has made out of a document."""
    for node in root.findall("devices/interface/virtualport/parameters"):
        unset(node, *(name for name in _LOTS if node.get(name) in lot))
