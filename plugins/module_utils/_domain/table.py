# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: leaves together: what an element has of them, what is stated of them, and what Ansible is told of them. Pure.

Of hundreds of leaves few are needed at a time: those that a declaration states, or of which an element has the place.
"""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Leaf, Values

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


class Table:
    """Leaves of which few are needed at a time, and the same ones for each of a thousand domains."""

    def __init__(self, leaves: t.Iterable[Leaf]) -> None:
        self._leaves = tuple(leaves)
        self._known: dict[t.Hashable, tuple[Leaf, ...]] = {}
        self._places = frozenset(leaf.place for leaf in self._leaves if leaf.place is not None)
        #: The elements in which some of these places are.
        self._inside = frozenset(outer for place in self._places for outer in _outer(place))

    def __iter__(self) -> t.Iterator[Leaf]:
        return iter(self._leaves)

    def few(self, key: t.Hashable, needed: t.Callable[[Leaf], bool]) -> tuple[Leaf, ...]:
        """Those that are needed, in their order; ``key`` stands for what ``needed`` depends on."""
        if key not in self._known:
            self._known[key] = tuple(filter(needed, self._leaves))
        return self._known[key]

    def present(self, node: Element) -> frozenset[str]:
        """Which of the places of the leaves an element has."""
        found: set[str] = set()
        self._walk(node, "", found)
        return frozenset(found)

    def _walk(self, node: Element, path: str, found: set[str]) -> None:
        places, inside = self._places, self._inside
        keys = node.keys()
        for key in keys:
            place = f"{path}@{key}"
            if place in places:
                found.add(place)
        start = f"{path}/" if path else ""
        for child in node:
            place = start + str(child.tag)
            if place in places:
                found.add(place)
            if place in inside:
                self._walk(child, place, found)


def _outer(place: str) -> t.Iterator[str]:
    path, at, _key = place.partition("@")
    if at:
        yield path
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def read(leaves: t.Iterable[Leaf], node: Element) -> Values:
    """What an element has of the options of a table."""
    if not isinstance(leaves, Table):
        values = {leaf.name: leaf.value(node) for leaf in leaves}
        return {name: value for name, value in values.items() if value is not None}
    # Most of hundreds of options are not there, and that can be told of all of them at once.
    present = leaves.present(node)
    needed = leaves.few(
        ("read", present), lambda leaf: leaf.place is None or leaf.place in present or leaf.absent is not None
    )
    found: Values = {}
    for leaf in needed:
        value = leaf.absent if leaf.place is not None and leaf.place not in present else leaf.value(node)
        if value is not None:
            found[leaf.name] = value
    return found


def write(leaves: t.Iterable[Leaf], node: Element, wanted: Values, forgotten: t.Collection[str], new: bool) -> None:
    """Puts the stated options into an element; ``forgotten`` are those stated earlier and not any more."""
    if isinstance(leaves, Table):
        names = frozenset([*wanted, *forgotten])
        leaves = leaves.few(
            ("write", names, new), lambda leaf: leaf.name in names or (new and leaf.default is not None)
        )
    for leaf in leaves:
        value = wanted.get(leaf.name)
        if value is None:
            if not (new and leaf.default is not None) and (leaf.name not in forgotten or leaf.keep):
                continue
            value = leaf.default
        # Only what differs: a writer may have to throw away what belonged to the old value.
        if leaf.read(node) != value:
            leaf.write(node, value)


def stated(what: str, leaves: t.Iterable[Leaf], params: t.Mapping[str, t.Any]) -> Values:
    """The options of a table that are stated in (nested) parameters, in their normal form.

    ``what`` is the beginning of the name of an option in errors (``domain web: disks[0].``). Raises InvalidSpec.
    """
    if isinstance(leaves, Table):
        names = frozenset(name for name, value in params.items() if value is not None)
        leaves = leaves.few(("stated", names), lambda leaf: leaf.name.partition(".")[0] in names)
    values: Values = {}
    for leaf in leaves:
        value: t.Any = params
        for part in leaf.name.split("."):
            value = value.get(part) if value is not None else None
        # An empty text is no text: libvirt keeps none either.
        if leaf.shape is not None and value is not None and value != "":
            values[leaf.name] = leaf.shape.parse(what + leaf.name, value)
    return values


def arguments(leaves: t.Iterable[Leaf]) -> dict[str, t.Any]:
    """The options of a table as Ansible's argument specification, nested where the names are dotted."""
    found: dict[str, t.Any] = {}
    for leaf in leaves:
        if leaf.shape is None:
            continue
        place = found
        *parents, name = leaf.name.split(".")
        for parent in parents:
            place = place.setdefault(parent, {"type": "dict", "options": {}})["options"]
        place[name] = {**leaf.shape.option, **({"no_log": True} if leaf.secret else {})}
    return found


def nested(values: Values) -> dict[str, t.Any]:
    """Values by dotted names as a person writes them, nested."""
    found: dict[str, t.Any] = {}
    for dotted, value in values.items():
        place = found
        *parents, name = dotted.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = value
    return found
