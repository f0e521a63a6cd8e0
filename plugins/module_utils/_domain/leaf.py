# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: a leaf is one option and its place in libvirt's document. Pure.

A table of leaves (table.py) says all there is to know of an object: reading, merging and comparing walk the table.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import Effect
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import ON_OFF, TEXT, YES_NO, Shape, size
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import parse_size

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: Option names (dotted when nested) to values as plain data in their normal form; a name that is missing is "not
#: stated" (wanted) or "not there" (read).
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
    #: What it is to Ansible, and how what is stated gets its normal form. None: no option, only found in documents.
    shape: Shape | None = TEXT
    effect: Effect = "next_boot"
    default: t.Any = None
    keep: bool = False
    secret: bool = False
    #: Whether the running domain may differ from its definition here without anybody having to restart it.
    runtime: bool = False
    #: Whether domains that are alike often differ in it. Its text is put down as it is, and nothing else depends on it.
    own: bool = False
    #: The place (tags, perhaps an attribute: ``driver/queue@size``) without which the element has ``absent`` for sure;
    #: None when it has to be looked at.
    place: str | None = None
    #: A second place: it has to be in neither.
    other_place: str | None = None
    absent: t.Any = None

    def value(self, node: Element) -> t.Any:
        """What an element has; None also when it is nonsense, in a document that libvirt has not seen (and refuses)."""
        try:
            return self.read(node)
        except (ValueError, InvalidSpec):
            return None


@dataclasses.dataclass(frozen=True)
class Plain:
    """Reads an option that is the text of an element, or of its attribute ``key``, and nothing else."""

    path: str
    key: str | None
    load: t.Callable[[str], t.Any]
    missing: t.Any = None

    def __call__(self, node: Element) -> t.Any:
        """What an element has of it."""
        path, key = self.path, self.key
        found = _xml.find_text(node, path) if key is None else _xml.find_attribute(node, path, key)
        return self.missing if found is None else self.load(found)

    @property
    def place(self) -> str | None:
        """Where the text is; None when that cannot be told by tags."""
        return place_of(self.path, self.key) if self.path == "." or _PLAIN.fullmatch(self.path) else None


KIB = 1024

_STEP = re.compile(r"([^\[]+)(?:\[@([a-z_-]+)='([^']*)'\])?")
_PLAIN = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")


def place_of(path: str, key: str | None = None) -> str | None:
    """The place of a path, or of an attribute there; as far as it is known without looking for more than tags."""
    if path == ".":
        return None if key is None else f"@{key}"
    if path.startswith("{"):
        # The name of a namespace has slashes of its own.
        return None
    if not _PLAIN.fullmatch(path):
        return re.split(r"[/\[]", path, maxsplit=1)[0]
    return path if key is None else f"{path}@{key}"


def ensure(node: Element, path: str) -> Element:
    """The element at ``path`` below ``node``, made with its parents when missing.

    A step of the path may name an attribute (``timer[@name='rtc']``), which a new element gets.
    """
    for step, tag, attribute in _steps(path):
        found = node.find(step) if len(node) else None
        node = _xml.child(node, tag, attribute) if found is None else found
    return node


@functools.lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[tuple[str, str, dict[str, t.Any]], ...]:
    """The steps of a path, each with the tag and the attribute of a new element."""
    found: list[tuple[str, str, dict[str, t.Any]]] = []
    for step in [] if path == "." else path.split("/"):
        match = _STEP.fullmatch(step)
        tag, key, value = match.groups() if match else (step, None, None)
        found.append((step, tag, {key: value} if key else {}))
    return tuple(found)


def prune(node: Element, path: str) -> None:
    """Removes the element at ``path``, and its parents below ``node``, when nothing is left in it.

    An attribute that the path itself names is nothing.
    """
    steps = [] if path == "." else path.split("/")
    while steps:
        found = node.find("/".join(steps))
        match = _STEP.fullmatch(steps.pop())
        named = {match.group(2)} if match else set()
        if found is None or len(found) or set(found.attrib) - named or (found.text or "").strip():
            return
        drop(found)


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
    if not len(node):
        return
    for tag in tags:
        for item in node.findall(tag):
            node.remove(item)


def text(name: str, path: str, shape: Shape = TEXT, **facts: t.Any) -> Leaf:
    """An option that is the text of an element."""

    def put(node: Element, value: t.Any) -> None:
        if value is not None:
            ensure(node, path).text = shape.dump(value)
            return
        found = node.find(path)
        if found is not None:
            found.text = None
            prune(node, path)

    return Leaf(name, Plain(path, None, shape.loaded), put, shape, place=place_of(path), **facts)


def attribute(
    name: str, path: str, key: str, shape: Shape | None = TEXT, missing: t.Any = None, **facts: t.Any
) -> Leaf:
    """An option that is an attribute; ``missing`` is what its absence means."""
    form = shape or TEXT

    def put(node: Element, value: t.Any) -> None:
        if value is not None:
            ensure(node, path).set(key, form.dump(value))
            return
        found = node if path == "." else node.find(path)
        if found is not None:
            unset(found, key)
            prune(node, path)

    reading = Plain(path, key, form.loaded, missing)
    return Leaf(name, reading, put, shape, place=place_of(path, key), absent=missing, **facts)


def switch(
    name: str,
    key: str,
    shape: Shape,
    clear: t.Callable[[Element], None] | None = None,
    missing: t.Any = None,
    **facts: t.Any,
) -> Leaf:
    """An attribute that decides what an element is: ``clear`` takes away what belonged to its old value."""

    def put(node: Element, value: t.Any) -> None:
        if clear is not None:
            clear(node)
        if value is None:
            unset(node, key)
        else:
            node.set(key, shape.dump(value))

    facts = {"keep": True, **facts}
    reading = Plain(".", key, lambda text: text or missing, missing)
    return Leaf(name, reading, put, shape, place=place_of(".", key), absent=missing, **facts)


def clearing(*tags: str) -> t.Callable[[Element], None]:
    """Takes away the children with these tags."""
    return lambda node: drop_children(node, *tags)


def attributes(prefix: str, path: str, shape: Shape, *keys: str, **facts: t.Any) -> tuple[Leaf, ...]:
    """Several attributes of one element that are alike; an option is called as its attribute, in lower case."""
    return tuple(attribute(f"{prefix}{_option_name(key)}", path, key, shape, **facts) for key in keys)


def _option_name(key: str) -> str:
    """``blockioDelay`` is ``blockio_delay``, as options are written."""
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", key).replace("-", "_").lower()


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

    return Leaf(
        name, lambda node: node.find(path) is not None, put, YES_NO, place=place_of(path), absent=False, **facts
    )


def state(name: str, path: str, **facts: t.Any) -> Leaf:
    """An option that is an element with ``state``; without a state it is on."""

    def get(node: Element) -> t.Any:
        found = node.find(path)
        return None if found is None else found.get("state", "on") == "on"

    def put(node: Element, value: t.Any) -> None:
        if value is not None:
            ensure(node, path).set("state", ON_OFF.dump(value))
            return
        found = node.find(path)
        if found is not None:
            parent, _slash, _tag = path.rpartition("/")
            drop(found)
            prune(node, parent or ".")

    return Leaf(name, get, put, ON_OFF, place=place_of(path), **facts)


def sized(name: str, path: str, unit: str = "MiB", least: int = 0, **facts: t.Any) -> Leaf:
    """A size in bytes that libvirt keeps in whole KiB, with its unit beside the number."""

    def get(node: Element) -> t.Any:
        found = _xml.find_text(node, path)
        return None if found is None else in_kib(found, path, _xml.find_attribute(node, path, "unit"))

    def put(node: Element, value: t.Any) -> None:
        if value is not None:
            element = ensure(node, path)
            element.text = str(value // KIB)
            element.set("unit", "KiB")
            return
        found = node.find(path)
        if found is not None:
            parent, _slash, _tag = path.rpartition("/")
            drop(found)
            prune(node, parent or ".")

    return Leaf(name, get, put, size(unit, "KiB", least), place=place_of(path), **facts)


def sized_attribute(name: str, key: str, unit_key: str = "unit", unit: str = "MiB", **facts: t.Any) -> Leaf:
    """The same as an attribute, with its unit in another one."""

    def get(node: Element) -> t.Any:
        found = node.get(key)
        return None if found is None else in_kib(found, key, node.get(unit_key))

    def put(node: Element, value: t.Any) -> None:
        unset(node, key, unit_key)
        if value is not None:
            node.set(key, str(value // KIB))
            node.set(unit_key, "KiB")

    return Leaf(name, get, put, size(unit, "KiB"), place=place_of(".", key), **facts)


def in_kib(text: str, what: str, unit: str | None) -> int:
    """A size of a document in bytes, rounded up as libvirt does; a bare number is in KiB."""
    return -(-parse_size(text, what, unit or "KiB") // KIB) * KIB
