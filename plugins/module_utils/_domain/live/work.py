# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Running domains: a plan while it is made. Pure."""

from __future__ import annotations

import copy
import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import difference
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import drop_children
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.situation import Operation, Situation

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: The names of what differs between two documents and is the task's to change.
Owned = t.Callable[["Element", "Element"], t.Collection[str]]


@dataclasses.dataclass
class Work:
    """``root`` is what runs, and becomes what runs afterwards; ``full`` the same with all that the moment gave it."""

    root: Element
    full: Element
    wanted: Element
    situation: Situation
    owned: Owned | None = None
    operations: list[Operation] = dataclasses.field(default_factory=list)
    reasons: dict[str, str] = dataclasses.field(default_factory=dict)
    refused: dict[str, str] = dataclasses.field(default_factory=dict)

    def device(
        self, operation: Operation, old: Element | None, new: Element | None, parent: Element | None = None
    ) -> bool:
        """Takes the operation that turns ``old`` into ``new`` (None: not there; a new one goes to ``parent``, without one
        to the domain itself), if it brings anything that is the task's to change."""
        names = self._names()
        undo = _turn(old, new, self.root if parent is None else parent)
        if not self._brings(names, operation):
            undo()
            return False
        self.operations.append(operation)
        return True

    def fields(self, tags: t.Sequence[str], change: t.Callable[[Element], None], *operations: Operation) -> bool:
        """Takes operations that together do a change to children of the domain (``tags``), if it brings anything that is
        the task's to change."""
        names = self._names()
        saved = [copy.deepcopy(node) for tag in tags for node in self.root.findall(tag)]
        change(self.root)
        if not self._brings(names, *operations):
            drop_children(self.root, *tags)
            self.root.extend(saved)
            return False
        self.operations += operations
        return True

    def _brings(self, names: set[str] | None, *operations: Operation) -> bool:
        """Whether operations, the change of which is made, leave less than there was (``names``), and were not refused."""
        left = self._names()
        if names is not None and names == left:
            return False
        refused = {
            item.key: self.situation.refused[item.key] for item in operations if item.key in self.situation.refused
        }
        self.refused.update(refused)
        for reason in refused.values():
            for name in sorted((names or set()) - (left or set())):
                self.reason(name, reason)
        return not refused

    def _names(self) -> set[str] | None:
        return None if self.owned is None else set(self.owned(self.root, self.wanted))

    def reason(self, place: str, text: str) -> None:
        """Notes why something has to wait for the next start."""
        self.reasons.setdefault(place, text)


def _turn(old: Element | None, new: Element | None, parent: Element) -> t.Callable[[], None]:
    """Puts one element in the place of another; returns what undoes it."""
    if old is None:
        parent.append(t.cast("Element", new))
        return lambda: parent.remove(t.cast("Element", new))
    owner = old.getparent()
    if owner is None:
        raise RuntimeError("an element that is changed has to be in the document")
    position = owner.index(old)
    owner.remove(old)
    if new is None:
        return lambda: owner.insert(position, old)
    owner.insert(position, new)

    def undo() -> None:
        owner.remove(new)
        owner.insert(position, old)

    return undo


def same(one: Element, other: Element, *tags: str) -> bool:
    """Whether two documents have the same of some children, in whichever order."""
    holders = []
    for root in (one, other):
        holder = _xml.element("domain")
        holder.extend(copy.deepcopy(node) for tag in tags for node in root.findall(tag))
        holders.append(holder)
    return not difference.between(*holders)
