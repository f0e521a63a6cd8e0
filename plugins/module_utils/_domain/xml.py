# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: specification <-> libvirt's document. Pure.

Source of the format: https://libvirt.org/formatdomain.html
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import HIDDEN
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import leaf as leaves
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import memory as memories
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kinds import BY_OPTION, KINDS
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Values
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.scalars import scalars
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


def read(text: str) -> Seen:
    """A document of libvirt to everything in it that has an option."""
    root = _xml.parse(text, "the domain's document")
    devices = {
        kind.option: {label: leaves.read(kind.leaves, node) for label, node in _labelled(root, kind)} for kind in KINDS
    }
    return Seen(leaves.read(scalars(), root), devices)


def definition(seen: Seen) -> Definition:
    """The same as a declaration of all of it."""
    return Definition(seen.scalars, {kind: tuple(group.values()) for kind, group in seen.devices.items()})


def _labelled(root: Element, kind: Kind) -> list[tuple[str, Element]]:
    """The devices of a kind with their labels: the identity, else the position."""
    found: list[tuple[str, Element]] = []
    for index, node in enumerate(root.findall(f"devices/{kind.tag}")):
        key = str(index) if kind.identity is None else kind.leaf(kind.identity).read(node)
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
    leaves.write(scalars(aliases, arch), root, wanted.scalars, forgotten, existing is None)
    memory = Memory(list(wanted.scalars))
    for kind in KINDS:
        group = _merge_kind(root, kind, wanted.devices.get(kind.option, ()), last.devices.get(kind.option, {}))
        if group:
            memory.devices[kind.option] = group
    memories.write(root, memory)
    return Merged(_xml.to_text(root), memory)


def _merge_kind(
    root: Element, kind: Kind, wanted: t.Sequence[Values], last: dict[str, list[str]]
) -> dict[str, list[str]]:
    before = [_xml.canonical(node) for _label, node in _labelled(root, kind)]
    existing = dict(_labelled(root, kind))
    pairs = _match(kind, wanted, existing, last)
    used = {label for label in pairs if label is not None}
    for label in last:
        if label in existing and label not in used:
            leaves.drop(existing[label])
    touched: list[tuple[Element, Values]] = []
    for pair, values in zip(pairs, wanted):
        node = _add(root, kind) if pair is None else existing[pair]
        forgotten = [option for option in last.get(pair or "", ()) if option not in values]
        leaves.write(kind.leaves, node, values, forgotten, pair is None)
        touched.append((node, values))
    after = _labelled(root, kind)
    if kind.after_change is not None and before != [_xml.canonical(node) for _label, node in after]:
        kind.after_change(leaves.ensure(root, "devices"))
    # By the elements themselves: a changed identity has changed the label.
    return {label: sorted(values) for label, node in after for touched_node, values in touched if touched_node is node}


def _match(
    kind: Kind, wanted: t.Sequence[Values], existing: dict[str, Element], last: t.Collection[str]
) -> list[str | None]:
    """For each wanted device the label of the existing one that it is, None when it is new."""
    pairs: list[str | None] = [None] * len(wanted)
    for index, values in enumerate(wanted):
        key = str(index) if kind.identity is None else str(values.get(kind.identity))
        if key in existing:
            pairs[index] = key
    # What has no identity of its own (an interface without a stated MAC): by what it is connected to, in order; then
    # what an earlier declaration left over, so that a changed connection keeps its MAC.
    seen = {label: leaves.read(kind.leaves, node) for label, node in existing.items()}
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


def _add(root: Element, kind: Kind) -> Element:
    """A new element after the last of its kind."""
    devices = leaves.ensure(root, "devices")
    node = _xml.element(kind.tag)
    same = devices.findall(kind.tag)
    if same:
        devices.insert(devices.index(same[-1]) + 1, node)
    else:
        devices.append(node)
    return node


def shown(text: str | None) -> str:
    """A document for a diff: without the record of ours, without passwords."""
    if text is None:
        return ""
    root = _xml.parse(text)
    memories.forget(root)
    for node in root.iter("graphics"):
        if node.get("passwd") is not None:
            node.set("passwd", HIDDEN)
    return _xml.to_text(root)


def with_macs(merged: Merged, make: t.Callable[[], str]) -> str:
    """The document with a MAC address in each interface that has none, also in the record."""
    root = _xml.parse(merged.document)
    group = merged.memory.devices.get("interfaces", {})
    renamed: dict[str, str] = {}
    for label, node in _labelled(root, BY_OPTION["interfaces"]):
        if label.startswith(NEW):
            renamed[label] = make()
            leaves.ensure(node, "mac").set("address", renamed[label])
    if not renamed:
        return merged.document
    devices = {
        **merged.memory.devices,
        "interfaces": {renamed.get(label, label): names for label, names in group.items()},
    }
    memories.write(root, Memory(merged.memory.scalars, devices))
    return _xml.to_text(root)


def macs(text: str) -> list[str]:
    """All MAC addresses of a document."""
    return [node.get("address", "").lower() for node in _xml.parse(text).findall("devices/interface/mac")]


def connected_channels(text: str) -> list[str]:
    """The names of the channels that somebody in the guest has opened (of a running document)."""
    nodes = _xml.parse(text).findall("devices/channel/target")
    return [node.get("name") or "" for node in nodes if node.get("state") == "connected"]


def displays(text: str) -> list[dict[str, t.Any]]:
    """Where the displays are: of a running document with the ports that they have got."""
    found: list[dict[str, t.Any]] = []
    for node in _xml.parse(text).findall("devices/graphics"):
        port = int(node.get("port") or -1)
        listen = node.get("listen") or _xml.find_attribute(node, "listen", "address")
        found.append({"type": node.get("type"), "listen": listen, "port": port if port > 0 else None})
    return found
