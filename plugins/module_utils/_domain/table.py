# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: leaves together: what an element has of them, what is stated of them, and what Ansible is told of them. Pure.

Of hundreds of leaves few are needed at a time: those that a declaration states, or of which an element has the place.
"""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Leaf, Plain, Values

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


class Table:
    """Leaves of which few are needed at a time, and the same ones for each of a thousand domains."""

    def __init__(self, leaves: t.Iterable[Leaf]) -> None:
        self._leaves = tuple(leaves)
        self._known: dict[t.Hashable, tuple[Leaf, ...]] = {}
        self._readings: dict[frozenset[str], tuple[_Reading, ...]] = {}
        self._places = _Places()
        for leaf in self._leaves:
            for place in (leaf.place, leaf.other_place):
                if place is not None:
                    self._places.add(place)

    def __iter__(self) -> t.Iterator[Leaf]:
        return iter(self._leaves)

    def few(self, key: t.Hashable, needed: t.Callable[[Leaf], bool]) -> tuple[Leaf, ...]:
        """Those that are needed, in their order; ``key`` stands for what ``needed`` depends on."""
        if key not in self._known:
            self._known[key] = tuple(filter(needed, self._leaves))
        return self._known[key]

    def present(self, node: Element) -> dict[str, str | None]:
        """Which of the places of the leaves an element has, with the text there."""
        found: dict[str, str | None] = {}
        _walk(node, self._places, found, set(), first=True)
        return found

    def to_read(self, present: frozenset[str]) -> tuple[_Reading, ...]:
        """How the leaves are read of which an element with those places may have something."""
        if present not in self._readings:
            some = ((leaf, _may_be(leaf, present)) for leaf in self._leaves)
            self._readings[present] = tuple(
                _Reading(leaf, None if there else leaf.absent, _plain(leaf))
                for leaf, there in some
                if there or leaf.absent is not None
            )
        return self._readings[present]


class _Reading(t.NamedTuple):
    """How a leaf is read: it has that value for sure, or it is the text at its place, or (neither) it has to be looked at."""

    leaf: Leaf
    absent: t.Any
    plain: Plain | None


def _may_be(leaf: Leaf, present: frozenset[str]) -> bool:
    return leaf.place is None or leaf.place in present or leaf.other_place in present


def _plain(leaf: Leaf) -> Plain | None:
    exact = isinstance(leaf.read, Plain) and leaf.place is not None and leaf.read.place == leaf.place
    return t.cast("Plain", leaf.read) if exact else None


class _Places:
    """The places in an element."""

    def __init__(self) -> None:
        #: The place that the element itself is.
        self.own: str | None = None
        self.attributes: dict[str, str] = {}
        self.inside: dict[str, _Places] = {}

    def add(self, place: str) -> None:
        """Adds one of this element or of one inside."""
        path, at, key = place.partition("@")
        node = self
        for tag in path.split("/") if path else ():
            node = node.inside.setdefault(tag, _Places())
        if at:
            node.attributes[key] = place
        else:
            node.own = place


#: There is more than one such element: which one is meant is for the leaf to say.
_SEVERAL = "\0"


def _walk(node: Element, places: _Places, found: dict[str, str | None], seen: set[_Places], *, first: bool) -> None:
    if places.attributes:
        for key, value in node.items():
            place = places.attributes.get(key)
            if place is not None:
                found.setdefault(place, value if first else _SEVERAL)
    for child in node if places.inside else ():
        inner = places.inside.get(str(child.tag))
        if inner is None:
            continue
        again = inner in seen
        seen.add(inner)
        if inner.own is not None and not again:
            found[inner.own] = (child.text or "").strip() or None
        if inner.attributes or inner.inside:
            _walk(child, inner, found, seen, first=not again)


def read(leaves: t.Iterable[Leaf], node: Element) -> Values:
    """What an element has of the options of a table."""
    if not isinstance(leaves, Table):
        values = {leaf.name: leaf.value(node) for leaf in leaves}
        return {name: value for name, value in values.items() if value is not None}
    # Most of hundreds of options are not there, and that can be told of all of them at once.
    present = leaves.present(node)
    found: Values = {}
    for leaf, absent, plain in leaves.to_read(frozenset(present)):
        text = None if absent is not None or plain is None else present[leaf.place or ""]
        if absent is not None:
            value = absent
        elif plain is None or text == _SEVERAL:
            value = leaf.value(node)
        else:
            value = plain.missing if text is None else plain.load(text)
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
            # What it is called makes no secret of it (keywrap); what is in it may be one.
            place = place.setdefault(parent, {"type": "dict", "no_log": False, "options": {}})["options"]
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
