# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: specification <-> libvirt's document. Pure.

Source of the format: https://libvirt.org/formatdomain.html
"""

from __future__ import annotations

import dataclasses
import functools
import typing as t
import uuid

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import HIDDEN
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import leaf as leaves
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import memory as memories
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import table as tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks import wish
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices import character
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kinds import BY_OPTION, KINDS
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.given import TABLED_UUID
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Values
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.scalars import (
    CURRENT_MEMORY,
    MEMORY,
    SCALARS,
    machine,
    to_write,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import mac_text
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import Definition

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: The start of the label of a device that has no identity yet (an interface whose MAC address is to come).
NEW = "new"


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a document has: options by dotted name, devices by kind and label, each with its values."""

    scalars: Values
    devices: dict[str, dict[str, Values]]


@dataclasses.dataclass(frozen=True)
class Merged:
    """A document with the wanted options in it, and which options those were."""

    document: str
    memory: Memory


@dataclasses.dataclass
class Draft:
    """The same while it is worked on."""

    root: Element
    memory: Memory

    def merged(self) -> Merged:
        """What has been made of it."""
        return Merged(_xml.to_text(self.root), self.memory)


@functools.lru_cache(maxsize=4096)
def read(text: str) -> Seen:
    """A document of libvirt to everything in it that has an option. Several rooms ask for the same: nobody may change it."""
    root = _xml.parse(text, "the domain's document")
    devices = {
        kind.option: {label: tables.read(kind.table, node) for label, node in labelled(root, kind)} for kind in KINDS
    }
    return Seen(tables.read(SCALARS, root), devices)


def read_some(text: str, table: tables.Table) -> Values:
    """Some options of a document: all of them take long for very many domains."""
    return tables.read(table, _xml.parse(text, "the domain's document"))


def definition(seen: Seen) -> Definition:
    """The same as a declaration of all of it."""
    return Definition(seen.scalars, {kind: tuple(group.values()) for kind, group in seen.devices.items()})


def labelled(root: Element, kind: Kind) -> list[tuple[str, Element]]:
    """The devices of a kind with their labels: the identity, else the position."""
    found: list[tuple[str, Element]] = []
    for index, node in enumerate(kind.find(root)):
        key = str(index) if kind.identity is None else kind.label(node)
        if key is None:
            key = f"{NEW}{sum(1 for label, _node in found if label.startswith(NEW))}"
        found.append((str(key), node))
    return found


def remembered(*documents: str | None) -> Memory:
    """The record of the last declaration in the first document that has one; empty when none has."""
    for document in documents:
        memory = memories.read(_xml.parse(document)) if document is not None else None
        if memory is not None:
            return memory
    return Memory()


def merge(
    name: str,
    wanted: Definition,
    existing: str | None,
    last: Memory,
    *,
    virt_type: str = "qemu",
    aliases: t.Mapping[str, str] | None = None,
) -> Merged:
    """The document to define; see ``draft``."""
    return draft(name, wanted, existing, last, virt_type=virt_type, aliases=aliases).merged()


def draft(
    name: str,
    wanted: Definition,
    existing: str | None,
    last: Memory,
    *,
    virt_type: str = "qemu",
    aliases: t.Mapping[str, str] | None = None,
) -> Draft:
    """The document to define: what exists, with the stated options in it and without those stated only in ``last``.

    Whatever nobody stated (UUID, MAC and device addresses, devices of others) is carried over. ``virt_type`` is the
    type of a new domain whose type is not stated, ``aliases`` the host's short names of machine types.
    """
    if existing is None:
        root = _xml.element("domain", {"type": virt_type})
        _xml.child(root, "name", text=name)
    else:
        root = _xml.parse(existing)
    forgotten = [option for option in last.scalars if option not in wanted.scalars]
    arch = wanted.scalars.get("os.arch") or _xml.find_attribute(root, "os/type", "arch")
    for table in (to_write(arch, root.get("type")), (machine(aliases or {}),)):
        tables.write(table, root, wanted.scalars, forgotten, existing is None)
    vcpu = root.find("vcpu")
    if vcpu is not None and not vcpu.text:
        # Whatever is said of them, libvirt wants to read how many; a domain has one.
        vcpu.text = "1"
    wishes = wanted.wishes.items()
    mirrors = {target: (item.mirror.path, item.source) for target, item in wishes if item.mirror is not None}
    memory = Memory(list(wanted.scalars), mirrors=mirrors)
    for kind in KINDS:
        now, then = wanted.devices.get(kind.option, ()), last.devices.get(kind.option, {})
        group = _merge_kind(root, kind, now, then) if now or then else {}
        if group:
            memory.devices[kind.option] = group
    if existing is not None and last.devices.get("controllers"):
        _keep_buses(root, _xml.parse(existing))
    disks = memory.devices.get("disks", {})
    disks.update({target: wish.kept(disks[target], wanted.wishes.get(target)) for target in disks})
    _one_boot_order(root, wanted)
    character.add_mirror(root)
    if "memory" in wanted.scalars:
        # Memory devices came, went or changed their size after it was written.
        tables.write((MEMORY, CURRENT_MEMORY), root, wanted.scalars, (), new=False)
    memories.write(root, memory)
    return Draft(root, memory)


def _keep_buses(root: Element, existing: Element) -> None:
    """A device keeps its place when nobody declares the PCI controller under it any more, and so that controller stays: another
    one, which libvirt would put there, may have no such place."""
    there, known = _buses(root), _buses(existing)
    nodes = root.findall("devices/*")
    while nodes:
        place = nodes.pop().find("address[@type='pci']")
        bus = "0" if place is None else str(int(place.get("bus") or "0", 0))
        if bus != "0" and bus not in there and bus in known:
            there[bus] = known[bus]
            leaves.ensure(root, "devices").append(known[bus])
            # Which may be on another one.
            nodes.append(known[bus])


def _buses(root: Element) -> dict[str, Element]:
    return {node.get("index") or "": node for node in root.findall("devices/controller[@type='pci']")}


def _one_boot_order(root: Element, wanted: Definition) -> None:
    """Kinds of devices to boot from exclude an order of single ones: what is declared stays."""
    if "os.boot" in wanted.scalars:
        for node in root.findall("devices/*"):
            leaves.drop_children(node, "boot")
    elif any("boot_order" in values for group in wanted.devices.values() for values in group):
        leaves.drop_children(leaves.ensure(root, "os"), "boot")


def _merge_kind(
    root: Element, kind: Kind, wanted: t.Sequence[Values], last: dict[str, list[str]]
) -> dict[str, list[str]]:
    there = labelled(root, kind)
    existing = dict(there)
    before = [_xml.canonical(node) for _label, node in there] if kind.after_change is not None else []
    pairs = _match(kind, wanted, existing, last)
    used = {label for label in pairs if label is not None}
    for label in last:
        if label in existing and label not in used:
            leaves.drop(existing[label])
    touched: list[tuple[Element, Values]] = []
    for pair, values in zip(pairs, wanted):
        node = kind.add(root, values) if pair is None else existing[pair]
        forgotten = [option for option in last.get(pair or "", ()) if option not in values]
        tables.write(kind.table, node, values, forgotten, pair is None)
        touched.append((node, values))
    after = labelled(root, kind)
    if kind.after_change is not None and _differ(before, after):
        kind.after_change(leaves.ensure(root, "devices"))
    # By the elements themselves: a changed identity has changed the label.
    return {label: sorted(values) for label, node in after for touched_node, values in touched if touched_node is node}


def _differ(before: list[bytes], after: list[tuple[str, Element]]) -> bool:
    return len(before) != len(after) or before != [_xml.canonical(node) for _label, node in after]


def _match(
    kind: Kind, wanted: t.Sequence[Values], existing: dict[str, Element], last: t.Collection[str]
) -> list[str | None]:
    """For each wanted device the label of the existing one that it is, None when it is new."""
    pairs: list[str | None] = [None] * len(wanted)
    for index, values in enumerate(wanted):
        key = str(index) if kind.identity is None else str(kind.key(values))
        if key in existing:
            pairs[index] = key
    # What has no identity of its own (an interface without a stated MAC): by what it is connected to, in order; then
    # what an earlier declaration left over, so that a changed connection keeps its MAC.
    if all(pairs[index] is not None or kind.identity in (None, *values) for index, values in enumerate(wanted)):
        return pairs
    seen = {label: tables.read(kind.table, node) for label, node in existing.items()}
    alike: t.Callable[[Values, str], bool]
    for alike in (lambda values, label: _same_place(values, seen[label]), lambda _values, label: label in last):
        for index, values in enumerate(wanted):
            if pairs[index] is None and kind.identity is not None and kind.identity not in values:
                free = [label for label in existing if label not in pairs and alike(values, label)]
                # First those that a declaration brought: another tool's interface on the same network stays its own.
                pairs[index] = next((label for label in free if label in last), next(iter(free), None))
    return pairs


def _same_place(wanted: Values, seen: Values) -> bool:
    return all(wanted.get(name) == seen.get(name) for name in ("type", "source"))


def shown(text: str | None) -> str:
    """A document for a diff: without the record of ours, without passwords."""
    if text is None:
        return ""
    root = _xml.parse(text)
    memories.forget(root)
    for node in root.findall("devices/*"):
        for name in memories.SECRETS:
            if node.get(name) is not None:
                node.set(name, HIDDEN)
    for tag in memories.SECRET_TEXTS:
        for node in root.iter(tag):
            node.text = HIDDEN
    return _xml.to_text(root)


def give_macs(made: Draft, make: t.Callable[[], str]) -> list[str]:
    """Puts a MAC address into each interface that has none, also in the record; gives those addresses."""
    group = made.memory.devices.get("interfaces", {})
    renamed: dict[str, str] = {}
    for label, node in labelled(made.root, BY_OPTION["interfaces"]):
        if label.startswith(NEW):
            renamed[label] = make()
            leaves.ensure(node, "mac").set("address", renamed[label])
    if not renamed:
        return []
    devices = dict(made.memory.devices)
    if group:
        # Interfaces of fragments alone are none that options declare.
        devices["interfaces"] = {renamed.get(label, label): names for label, names in group.items()}
    made.memory = dataclasses.replace(made.memory, devices=devices)
    memories.write(made.root, made.memory)
    return list(renamed.values())


def with_uuid(text: str) -> str:
    """The document with a UUID. Without one a call that was cut off could not be made again: it would make a second domain."""
    root = _xml.parse(text)
    return text if give_uuid(root) is None else _xml.to_text(root)


def give_uuid(root: Element) -> Element | None:
    """Puts a UUID into a document that has none, and gives its element."""
    name = root.find("name")
    if root.find("uuid") is not None or name is None:
        return None
    node = _xml.element("uuid", text=_xml.find_text(root, TABLED_UUID) or str(uuid.uuid4()))
    root.insert(root.index(name) + 1, node)
    return node


def without_labels(text: str) -> str:
    """What runs without the security labels that it has got at its start; those that were asked for stay."""
    root = _xml.parse(text)
    for node in root.findall("seclabel"):
        if node.get("type") == "dynamic" and node.find("baselabel") is None:
            root.remove(node)
    return _xml.to_text(root)


def macs(text: str) -> list[str]:
    """All MAC addresses of a document."""
    return [mac_text(node.get("address", "")) for node in _xml.parse(text).findall("devices/interface/mac")]
