# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what the rooms know of a kind of device, besides its table of leaves. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Leaf, Values, ensure
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.table import Table, arguments, stated

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: ``(what, index, values)``: looks at one entry, fills in what follows from it, raises InvalidSpec for what cannot be.
Complete = t.Callable[[str, int, Values], None]


def _as_stated(_what: str, _index: int, _values: Values) -> None:
    """Nothing follows from what is stated."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of device. ``option`` is its name in the module, ``tag`` in the document.

    ``identity`` names the leaf that tells devices of the kind apart (None: their order does). ``single``: the option
    is one device, no list.
    """

    option: str
    tag: str
    leaves: tuple[Leaf, ...]
    complete: Complete = _as_stated
    identity: str | None = None
    single: bool = False
    #: Of a single one: the option that is a list of them, where there may be more.
    several: str | None = None
    #: Where they are in the document, and which elements of that tag they are (None: all).
    parent: str = "devices"
    matches: t.Callable[[Element], bool] | None = None
    #: What has to follow when a device of the kind was changed, added or removed.
    after_change: t.Callable[[Element], None] | None = None
    #: The option by which libvirt puts a device before the others.
    first: str | None = None
    #: Options that are nowhere in the document.
    beside: tuple[Leaf, ...] = ()

    #: The leaves, for whoever wants those that matter.
    table: Table = dataclasses.field(init=False, compare=False)

    #: The names of the leaves that nobody may see.
    secrets: frozenset[str] = dataclasses.field(init=False, compare=False)

    _by_name: dict[str, Leaf] = dataclasses.field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {leaf.name: leaf for leaf in self.leaves})
        object.__setattr__(self, "table", Table(self.leaves))
        object.__setattr__(self, "secrets", frozenset(leaf.name for leaf in self.leaves if leaf.secret))

    def leaf(self, name: str) -> Leaf:
        """The leaf of that name."""
        return self._by_name[name]

    def label(self, node: Element) -> t.Any:
        """What tells a device of a document apart from others of its kind; None when it has no identity (yet)."""
        return None if self.identity is None else self.leaf(self.identity).value(node)

    def key(self, values: Values) -> t.Any:
        """The same of stated values."""
        return None if self.identity is None else values.get(self.identity)

    def name(self, label: str) -> str:
        """How the device of a label is called; a single one, or the first of several, as the option."""
        if self.single and (label == "0" or self.several is None):
            return self.option
        return f"{self.several or self.option}.{label}"

    def find(self, root: Element) -> list[Element]:
        """The devices of the kind in a document."""
        found = root.findall(f"{self.parent}/{self.tag}")
        return [node for node in found if self.matches is None or self.matches(node)]

    def add(self, root: Element, _values: Values) -> Element:
        """A new element after the last of its kind, for the stated values."""
        node = _xml.element(self.tag)
        place = ensure(root, self.parent)
        same = self.find(root)
        if same:
            place.insert(place.index(same[-1]) + 1, node)
        else:
            place.append(node)
        return node

    def parse(self, what: str, index: int, params: t.Any) -> Values:
        """One entry of the option to its stated values; ``what`` names the domain in errors. Raises InvalidSpec."""
        place = self.option if self.single and not index else f"{self.several or self.option}[{index}]"
        start = f"{what}: {place}."
        values = {**stated(start, self.table, params), **stated(start, self.beside, params)}
        self.complete(what, index, values)
        return values

    @property
    def arguments(self) -> dict[str, t.Any]:
        """The options in Ansible's argument specification."""
        options = arguments((*self.leaves, *self.beside))
        many = {"type": "list", "elements": "dict", "options": options}
        found = {self.option: {"type": "dict", "options": options} if self.single else many}
        return found if self.several is None else {**found, self.several: many}
