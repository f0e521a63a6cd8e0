# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: new ones that are alike. One document is made for them; each gets a copy, with what is its own put in. Pure.

A list of a thousand domains has a few kinds of them, which differ in their names, titles, disks and addresses.
"""

from __future__ import annotations

import copy
import dataclasses
import uuid

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import memory as memories
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kinds import KINDS
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import naming
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document.naming import Named
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Values
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.once import Once
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.scalars import SCALARS
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import Definition
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.xml import Draft

#: The options that are put in, of the domain and of its devices.
_OWN = frozenset(leaf.name for leaf in SCALARS if leaf.own)
_OWN_OF = {kind.option: frozenset(leaf.name for leaf in kind.leaves if leaf.own) for kind in KINDS}
#: The beginning of what stands in a pattern where something is to be put in: nothing else has it.
_MARK = uuid.uuid4().hex
_NAME = f"{_MARK}.name."

#: What is put in, by the mark in whose place it is.
Own = dict[str, str]


@dataclasses.dataclass
class Copy(Draft):
    """The draft of a new domain, and what it has of what is stated (``naming.stated``)."""

    named: tuple[Named, ...] = ()


def draft(name: str, wanted: Definition, virt_type: str) -> Draft:
    """The draft of a new domain, the same that ``xml.draft`` makes; ``virt_type`` is its type when none is stated."""
    if any(wish.mirror is not None for wish in wanted.wishes.values()):
        return xml.draft(name, wanted, None, Memory(), virt_type=virt_type)
    own: Own = {_NAME: name}
    devices = {
        option: tuple(_common(values, _OWN_OF[option], own) for values in group) if _OWN_OF[option] else group
        for option, group in wanted.devices.items()
    }
    alike = Definition(_common(wanted.scalars, _OWN, own), devices)
    pattern = _PATTERNS.get((virt_type, alike.scalars, devices), lambda: _Pattern(alike, virt_type))
    return pattern.copy(own)


def _common(values: Values, names: frozenset[str], own: Own) -> Values:
    """The values with marks for what is a domain's own, which is added to ``own``."""
    found = dict(values)
    for name in names.intersection(values):
        value = values[name]
        # What is read has no space around it.
        if isinstance(value, str) and value and value == value.strip():
            mark = f"{_MARK}.{len(own)}."
            own[mark], found[name] = value, mark
    return found


class _Pattern:
    """A draft with marks in it."""

    def __init__(self, wanted: Definition, virt_type: str) -> None:
        made = xml.draft(_NAME, wanted, None, Memory(), virt_type=virt_type)
        self._root, self._memory = made.root, made.memory
        options = dict.fromkeys([*wanted.scalars, "type"])
        named = naming.stated(made.root, list(options), made.memory.devices)
        self._named = [(item, _MARK in repr(item)) for item in named]
        self._labels = any(_MARK in label for group in made.memory.devices.values() for label in group)
        #: Which element, in the order of the document, has which mark: as its text, or as that attribute.
        self._places: list[tuple[int, str | None, str]] = []
        for index, node in enumerate(made.root.iter()):
            for key, text in ((None, node.text), *node.items()):
                if text is not None and text.startswith(_MARK):
                    self._places.append((index, key, text))

    def copy(self, own: Own) -> Copy:
        """A draft with what is a domain's own in the places of the marks."""
        root = copy.deepcopy(self._root)
        nodes = list(root.iter())
        for index, key, mark in self._places:
            if key is None:
                nodes[index].text = own[mark]
            else:
                nodes[index].set(key, own[mark])
        devices = {
            option: {_filled(label, own): list(names) for label, names in group.items()}
            for option, group in self._memory.devices.items()
        }
        memory = Memory(list(self._memory.scalars), devices)
        if self._labels:
            memories.write(root, memory)
        named = tuple(_filled_in(item, own) if marked else item for item, marked in self._named)
        return Copy(root, memory, named)


def _filled_in(item: Named, own: Own) -> Named:
    after = item.after
    if isinstance(after, dict):
        after = {name: own.get(value, value) if isinstance(value, str) else value for name, value in after.items()}
    elif isinstance(after, str):
        after = own.get(after, after)
    return Named(_filled(item.field, own), item.before, after, item.secret, item.option)


def _filled(text: str, own: Own) -> str:
    if _MARK in text:
        for mark, value in own.items():
            text = text.replace(mark, value)
    return text


_PATTERNS: Once[_Pattern] = Once(64)
