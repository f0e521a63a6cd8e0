# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what makes a domain another one, and what of the one before it has all the same. Pure.

Another UUID or type leaves everything else in its place. Another architecture or kind of machine has other places for all
devices, so there the domain is made from its declaration, and takes over only what is no place.
"""

from __future__ import annotations

import copy
import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import memory as memories
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kinds import BY_OPTION
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import identity
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Values, ensure
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.scalars import BY_NAME, machine_family
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import mac_text
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import Definition
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.xml import Draft

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: After a change of these nothing is where it was.
_ELSEWHERE = ("os.arch", "os.machine", "os.type")
#: Devices that somebody would miss; the others libvirt adds by itself.
_MISSED = ("disks", "interfaces", "hostdevs", "filesystems")
_PC = ("x86_64", "i686")

Machines = t.Mapping[str, str]


def is_another(option: str, before: t.Any, after: t.Any, machines: Machines) -> bool:
    """Whether a domain with that value would be another one. Another version of a machine is an update; another kind of
    machine has other buses, with every device elsewhere."""
    if before is None or after is None or before == after:
        return False
    if option == "os.machine":
        return machine_family(str(before)) != machine_family(machines.get(after, after))
    return BY_NAME[option].effect == "recreate"


def causes(wanted: Definition, existing: str, machines: Machines, native: str | None) -> tuple[str, ...]:
    """The options by which the declaration is of another domain than the one that exists; ``native`` is the architecture of the
    host (None: not known)."""
    declared, seen = _declared(wanted, machines, native), xml.read(existing).scalars
    return tuple(name for name, value in declared.items() if is_another(name, seen.get(name), value, machines))


def _declared(wanted: Definition, machines: Machines, native: str | None) -> Values:
    if wanted.document is None:
        return wanted.scalars
    scalars = dict(xml.read(wanted.document).scalars)
    # What libvirt chooses when nothing is said.
    if native is not None:
        scalars.setdefault("os.arch", native)
    if "os.machine" not in scalars and scalars.get("os.arch", "x86_64") in _PC and "pc" in machines:
        scalars["os.machine"] = "pc"
    return scalars


def moves(found: t.Iterable[str]) -> bool:
    """Whether such a change leaves nothing in its place."""
    return any(option in _ELSEWHERE for option in found)


def give_identity(made: Draft, origin: str, last: Memory) -> None:
    """Puts into a new document what the guest and others know the domain by: UUID, MAC addresses, variables of the firmware,
    metadata of others."""
    root, there = made.root, _xml.parse(origin)
    take_over(root, there, last)
    group = dict(made.memory.devices.get("interfaces", {}))
    before = [label for label, _node in xml.labelled(root, BY_OPTION["interfaces"])]
    _take_macs(root, there, last)
    after = [label for label, _node in xml.labelled(root, BY_OPTION["interfaces"])]
    renamed = {old: new for old, new in zip(before, after) if old.startswith(xml.NEW)}
    # Those that are still to come are counted anew.
    group = {renamed.get(label, label): names for label, names in group.items()}
    devices = {**made.memory.devices, **({"interfaces": group} if group else {})}
    made.memory = dataclasses.replace(made.memory, devices=devices)
    memories.write(root, made.memory)


def _declared_metadata(last: Memory) -> set[str]:
    """The namespaces of the metadata that the declaration before had: what it had and this one has not is to go."""
    found = set(last.devices.get("metadata", {}))
    if last.document is not None:
        found |= {_namespace(node) for node in _xml.parse(last.document).findall("metadata/*")}
    return found


def _was_declared(tag: str, last: Memory) -> bool:
    """Whether the declaration before said it: what it said and this one does not is to go."""
    return tag in last.scalars or (last.document is not None and _xml.parse(last.document).find(tag) is not None)


def _namespace(node: Element) -> str:
    return str(node.tag).rpartition("}")[0][1:]


def take_over(root: Element, there: Element, last: Memory) -> None:
    """Puts the UUID, the generation, the variables of the firmware and the metadata of others into a new document."""
    for tag in ("uuid", "genid"):
        text = _xml.find_text(there, tag)
        if text is not None and root.find(tag) is None and (tag == "uuid" or not _was_declared(tag, last)):
            name = ensure(root, "name")
            root.insert(root.index(name) + 1, _xml.element(tag, text=text))
    known = {_namespace(node) for node in root.findall("metadata/*")} | {memories.URI} | _declared_metadata(last)
    for node in there.findall("metadata/*"):
        if _namespace(node) not in known:
            ensure(root, "metadata").append(copy.deepcopy(node))
    variables, firmware = there.find("os/nvram"), _firmware(root)
    if variables is not None and root.find("os/nvram") is None and firmware and firmware == _firmware(there):
        ensure(root, "os").append(copy.deepcopy(variables))


def _firmware(root: Element) -> str | None:
    """How the firmware is chosen, when it is one with variables."""
    if _xml.find_attribute(root, "os", "firmware") == "efi":
        return "efi"
    pflash = _xml.find_attribute(root, "os/loader", "type") == "pflash"
    return _xml.find_text(root, "os/loader") if pflash else None


def variables(document: str) -> str | None:
    """The file of the firmware's variables; None when there is none."""
    return _xml.find_text(_xml.parse(document), "os/nvram")


def _take_macs(root: Element, there: Element, last: Memory) -> None:
    wanted, existing = root.findall("devices/interface"), there.findall("devices/interface")
    for index, position in identity.pair(wanted, existing, brought_interfaces(there, last)).items():
        address = _xml.find_attribute(existing[position], "mac", "address")
        if address is not None and _xml.find_attribute(wanted[index], "mac", "address") is None:
            ensure(wanted[index], "mac").set("address", address)


def brought_interfaces(there: Element, last: Memory) -> set[int] | None:
    """The positions of the interfaces that the declaration before has brought; None when it is not known."""
    if not last:
        return None
    known = {*last.devices.get("interfaces", {}), *(xml.macs(last.document) if last.document is not None else ())}
    nodes = enumerate(xml.labelled(there, BY_OPTION["interfaces"]))
    return {index for index, (label, node) in nodes if {label, _mac(node)} & known}


def _mac(node: Element) -> str | None:
    address = _xml.find_attribute(node, "mac", "address")
    return None if address is None else mac_text(address)


def foreign(existing: str, after: str, last: Memory) -> list[str]:
    """The devices that no declaration has named, and that a domain made from its declaration would not have."""
    there, then = xml.read(existing).devices, xml.read(after).devices
    earlier = [xml.read(text).devices for text in (last.document, last.fragments) if text is not None]
    found = []
    for kind in _MISSED:
        known = {*then[kind], *last.devices.get(kind, {}), *(label for group in earlier for label in group[kind])}
        found += [f"{kind} {label}" for label in there[kind] if label not in known]
    return found
