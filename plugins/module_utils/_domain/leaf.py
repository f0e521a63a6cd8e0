# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: a leaf is one option and its place in libvirt's document. Pure.

A table of leaves says all there is to know of an object: reading, merging and comparing walk the table.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import Effect

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: Option names to values as plain data; a name that is missing is "not stated" (wanted) or "not there" (read).
Values = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One option. ``read`` gives None when the document does not have it, ``write`` of None takes it out.

    ``default`` is written into a new object when nothing is stated, and when the option is taken out of a
    declaration. ``keep``: an object cannot be without it, so taking it out of the declaration changes nothing.
    """

    name: str
    read: t.Callable[[Element], t.Any]
    write: t.Callable[[Element, t.Any], None]
    effect: Effect = "next_boot"
    default: t.Any = None
    keep: bool = False
    secret: bool = False
    #: Whether the running domain may differ from its definition here without anybody having to restart it.
    runtime: bool = False


def read(leaves: t.Iterable[Leaf], node: Element) -> Values:
    """What an element has of the options of a table."""
    values = {leaf.name: leaf.read(node) for leaf in leaves}
    return {name: value for name, value in values.items() if value is not None}


def write(leaves: t.Iterable[Leaf], node: Element, wanted: Values, forgotten: t.Collection[str], new: bool) -> None:
    """Puts the stated options into an element; ``forgotten`` are those stated earlier and not any more."""
    for leaf in leaves:
        value = wanted.get(leaf.name)
        if value is None:
            if not (new and leaf.default is not None) and (leaf.name not in forgotten or leaf.keep):
                continue
            value = leaf.default
        # Only what differs: a writer may have to throw away what belonged to the old value.
        if leaf.read(node) != value:
            leaf.write(node, value)


def ensure(node: Element, path: str) -> Element:
    """The element at ``path`` below ``node``, made with its parents when missing."""
    for tag in [] if path == "." else path.split("/"):
        found = node.find(tag)
        node = found if found is not None else _xml.child(node, tag)
    return node


def prune(node: Element, path: str) -> None:
    """Removes the element at ``path``, and its parents below ``node``, when nothing is left in it."""
    tags = [] if path == "." else path.split("/")
    while tags:
        found = node.find("/".join(tags))
        if found is None or len(found) or found.attrib or (found.text or "").strip():
            return
        tags.pop()
        parent = node.find("/".join(tags)) if tags else node
        if parent is not None:
            parent.remove(found)


def unset(node: Element, *names: str) -> None:
    """Removes the attributes that are there."""
    for name in names:
        if name in node.attrib:
            del node.attrib[name]


def drop(node: Element) -> None:
    """Removes an element from its parent."""
    parent = node.getparent()
    if parent is not None:
        parent.remove(node)


def drop_children(node: Element, *tags: str) -> None:
    """Removes the children with these tags."""
    for tag in tags:
        for item in node.findall(tag):
            node.remove(item)


def text(name: str, path: str, convert: t.Callable[[str], t.Any] = str, **facts: t.Any) -> Leaf:
    """An option that is the text of an element."""

    def get(node: Element) -> t.Any:
        found = _xml.find_text(node, path)
        return None if found is None else convert(found)

    def put(node: Element, value: t.Any) -> None:
        if value is not None:
            ensure(node, path).text = str(value)
            return
        found = node.find(path)
        if found is not None:
            found.text = None
            prune(node, path)

    return Leaf(name, get, put, **facts)


def attribute(
    name: str, path: str, key: str, convert: t.Callable[[str], t.Any] = str, missing: t.Any = None, **facts: t.Any
) -> Leaf:
    """An option that is an attribute; ``missing`` is what its absence means."""

    def get(node: Element) -> t.Any:
        found = _xml.find_attribute(node, path, key)
        return missing if found is None else convert(found)

    def put(node: Element, value: t.Any) -> None:
        if value is not None:
            _xml.set_attributes(ensure(node, path), {key: value})
            return
        found = node if path == "." else node.find(path)
        if found is not None:
            unset(found, key)
            prune(node, path)

    return Leaf(name, get, put, **facts)


def yes_no(value: str) -> bool:
    """libvirt's word for a boolean."""
    return value == "yes"


def flag(name: str, path: str, **facts: t.Any) -> Leaf:
    """An option that is an empty element: there or not."""

    def put(node: Element, value: t.Any) -> None:
        if value:
            ensure(node, path)
            return
        found = node.find(path)
        if found is not None:
            parent, _slash, _tag = path.rpartition("/")
            drop(found)
            prune(node, parent or ".")

    return Leaf(name, lambda node: node.find(path) is not None, put, **facts)
