# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Running domains: what a declaration, this one or the last, has to say of a domain. Pure.

All else is somebody else's, and stays as it is while the domain runs.
"""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import memory as memories
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kinds import BY_OPTION, KINDS
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import difference, identity, naming
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document.naming import Named
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.scalars import BY_NAME
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.xml import NEW, labelled

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


#: What a running domain has of an option that only a definition knows: a list of processors is the pins of all threads.
_SHOWN = {"cpuset": ("cputune.vcpupin", "cputune.emulatorpin", "cputune.iothreadpin")}


class Claims:
    """What several records of declarations name: options, devices with their options, and documents."""

    def __init__(self, *records: Memory, generated: t.Collection[str] = ()) -> None:
        """``generated``: MAC addresses of which a comparison must not speak, for a prediction cannot know them."""
        self.scalars = list(dict.fromkeys(name for record in records for name in record.scalars))
        self.devices: naming.Owned = {kind.option: {} for kind in KINDS}
        for record in records:
            for option, group in record.devices.items():
                for label, names in group.items():
                    known = self.devices.setdefault(option, {}).setdefault(label, [])
                    known += [name for name in names if name not in known]
        self.add(name for stated in list(self.scalars) for name in _SHOWN.get(stated, ()))
        for number, mac in enumerate(sorted(generated)):
            interfaces = self.devices["interfaces"]
            interfaces[f"{NEW}{number}"] = interfaces.get(mac, [])
        texts = dict.fromkeys(text for record in records for text in (record.document, record.fragments) if text)
        self._documents = [_xml.parse(text) for text in texts]

    def add(self, fields: t.Iterable[str]) -> None:
        """What goes with what is claimed; of devices that are, their options."""
        for field in fields:
            if field in BY_NAME and field not in self.scalars:
                self.scalars.append(field)
            for names, name in self._of_devices(field):
                if name not in names:
                    names.append(name)

    def has(self, field: str) -> bool:
        """Whether an option, or one of a device, is claimed."""
        return field in self.scalars or any(name in names for names, name in self._of_devices(field))

    def _of_devices(self, field: str) -> t.Iterator[tuple[list[str], str]]:
        kind = BY_OPTION.get(field.partition(".")[0])
        if kind is None:
            return
        for label, names in self.devices.get(kind.option, {}).items():
            within = f"{kind.name(label)}."
            name = field[len(within) :]
            if field.startswith(within) and any(leaf.name == name for leaf in kind.leaves):
                yield names, name

    def named(self, before: str, after: str) -> list[Named]:
        """All that differs between two documents, claimed or not, in the words of the options."""
        return naming.differences(before, after, self.scalars, self.devices)

    def waiting(self, now: str, wanted: str, before: str | None = None) -> list[Named]:
        """The same without what others have made of the running domain, and without what no start is needed for.

        ``before`` is the definition that there was: what goes with it is not of others."""
        found = self.named(now, wanted)
        if not found or self._documents:
            return found
        one, other = _xml.parse(now), _xml.parse(wanted)
        memories.forget(other)
        ours = self.names(one, other)
        if before is not None and any(item.after is None and item.field not in ours for item in found):
            ours |= {item.field for item in self.named(before, wanted) if not _of_no_start(item.field)}
        return [item for item in found if item.field in ours or not (item.after is None or _of_no_start(item.field))]

    def names(self, before: Element, after: Element) -> set[str]:
        """What of the differences is claimed."""
        found = {item.field for item in naming.between(before, after, self.scalars, self.devices, rest_too=False)}
        if self._documents:
            whole, leaves = self._places((after, before))
            for place in difference.between(before, after):
                parts = (f"{place}.", f"{place}[")
                if place in whole or place in leaves or any(leaf.startswith(parts) for leaf in leaves):
                    found.add(place)
        return found

    def _places(self, roots: tuple[Element, ...]) -> tuple[set[str], set[str]]:
        """The places of the devices that the documents name, and of all values in them."""
        whole: set[str] = set()
        leaves: set[str] = set()
        for document in self._documents:
            for node in document:
                if node.tag != "devices":
                    leaves |= _leaves(identity.local(node), node)
            for tag, nodes in _by_tag(document).items():
                for root in roots:
                    there = root.findall(f"devices/{tag}")
                    for index, position in identity.pair(nodes, there).items():
                        place = f"devices.{tag}[{identity.label(there[position], position)}]"
                        whole.add(place)
                        leaves |= _leaves(place, nodes[index])
        return whole, leaves

    def brought(self, device: Element) -> bool:
        """Whether a declaration has brought a device."""
        return self._options(device) is not None or bool(self._stated(device))

    def placed(self, device: Element) -> bool:
        """Whether a declaration says where a device is to be."""
        options = self._options(device) or []
        return "address" in options or any(node.find("address") is not None for node in self._stated(device))

    def _options(self, device: Element) -> list[str] | None:
        """The options that are stated of a device; None when it is not declared by options."""
        for kind in KINDS:
            if kind.tag == device.tag and kind.parent == "devices" and self.devices.get(kind.option):
                for label, node in labelled(_root(device), kind):
                    if node is device and label in self.devices[kind.option]:
                        return self.devices[kind.option][label]
        return None

    def _stated(self, device: Element) -> list[Element]:
        """What the documents say of a device."""
        siblings = [node for node in _siblings(device) if node.tag == device.tag]
        found: list[Element] = []
        for document in self._documents:
            nodes = document.findall(f"devices/{identity.local(device)}")
            for index, position in identity.pair(nodes, siblings).items():
                if siblings[position] is device:
                    found.append(nodes[index])
        return found


def prefix(option: str, label: str) -> str:
    """The beginning of the names of the options of a device."""
    return f"{BY_OPTION[option].name(label)}."


def _of_no_start(field: str) -> bool:
    return field.partition(".")[0] in ("title", "description", "metadata")


def _root(device: Element) -> Element:
    holder = device.getparent()
    root = None if holder is None else holder.getparent()
    return device if root is None else root


def _siblings(device: Element) -> list[Element]:
    parent = device.getparent()
    return [device] if parent is None else list(parent)


def _by_tag(document: Element) -> dict[str, list[Element]]:
    found: dict[str, list[Element]] = {}
    for node in document.findall("devices/*"):
        found.setdefault(identity.local(node), []).append(node)
    return found


def _leaves(place: str, node: Element) -> set[str]:
    value = difference.value(node)
    if not isinstance(value, dict):
        return {place}
    return {f"{place}.{name}" if name else place for name in value}
