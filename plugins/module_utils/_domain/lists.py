# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: options whose value is a list or a dictionary. Such an option is owned as a whole. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    drop,
    drop_children,
    ensure,
    place_of,
    prune,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import TEXT, Shape
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.table import (
    Table,
    arguments,
    nested,
    read,
    stated,
    write,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

Check = t.Callable[[str, Values], None]


def _put_away(node: Element, path: str, tag: str) -> Element | None:
    """Removes the elements of the old list; gives their parent when there is one."""
    parent = node if path == "." else node.find(path)
    if parent is not None:
        drop_children(parent, tag)
    return parent


def _place(path: str, tag: str) -> str | None:
    return place_of(tag if path == "." else f"{path}/{tag}")


def _content(item: Element, key: str | None) -> str | None:
    return (item.text or "").strip() if key is None else item.get(key)


def texts(
    name: str, path: str, tag: str, key: str | None = None, shape: Shape = TEXT, choices: bool = False, **facts: t.Any
) -> Leaf:
    """A list of words, an element each: its text, or its attribute ``key``. None when there is no element."""

    def get(node: Element) -> t.Any:
        parent = node if path == "." else node.find(path)
        found = [] if parent is None else parent.findall(tag)
        values = [_content(item, key) for item in found]
        return [shape.loaded(value) for value in values if value is not None] or None

    def put(node: Element, value: t.Any) -> None:
        _put_away(node, path, tag)
        for item in value or ():
            content = shape.dump(item)
            _xml.child(ensure(node, path), tag, {key: content} if key else {}, None if key else content)
        if not value:
            prune(node, path)

    def parse(what: str, value: t.Any) -> t.Any:
        return [shape.parse(f"{what}[{index}]", item) for index, item in enumerate(value)]

    option = {"type": "list", "elements": shape.option["type"]}
    if choices:
        option["choices"] = shape.option["choices"]
    return Leaf(name, get, put, Shape(option, parse), place=_place(path, tag), **facts)


@dataclasses.dataclass(frozen=True)
class _Items:
    """How the entries of a list of dictionaries are: see ``items``."""

    table: Table
    required: tuple[str, ...]
    unique: str | None
    check: Check | None

    def parse(self, what: str, value: t.Any) -> t.Any:
        found = [self._one(f"{what}[{index}]", item) for index, item in enumerate(value)]
        keys = [item.get(self.unique) for item in found] if self.unique is not None else []
        twice = sorted({str(key) for key in keys if key is not None and keys.count(key) > 1})
        if twice:
            raise InvalidSpec(f"{what}: two entries have the {self.unique} {twice[0]}; each needs its own.")
        return found

    def _one(self, what: str, item: t.Any) -> dict[str, t.Any]:
        values = stated(f"{what}.", self.table, item)
        for leaf in self.table:
            if leaf.default is not None:
                values.setdefault(leaf.name, leaf.default)
        lacking = [option for option in self.required if option not in values]
        if lacking:
            raise InvalidSpec(f"{what}: {lacking[0]} is missing; state it.")
        if self.check is not None:
            self.check(what, values)
        return in_order(self.table, values)


def in_order(table: t.Iterable[Leaf], values: Values) -> dict[str, t.Any]:
    """The values nested, in the order of their table."""
    return nested({leaf.name: values[leaf.name] for leaf in table if leaf.name in values})


def items(
    name: str,
    path: str,
    tag: str,
    table: tuple[Leaf, ...],
    *,
    required: tuple[str, ...] = (),
    unique: str | None = None,
    check: Check | None = None,
    **facts: t.Any,
) -> Leaf:
    """A list of dictionaries, an element each with a table of its own.

    ``required`` has to be stated in each, ``unique`` names what must not be there twice; ``check(what, values)``
    raises InvalidSpec for what cannot be.
    """
    entries = _Items(Table(table), required, unique, check)

    def get(node: Element) -> t.Any:
        parent = node if path == "." else node.find(path)
        found = [] if parent is None else parent.findall(tag)
        return [nested(read(entries.table, item)) for item in found] or None

    def put(node: Element, value: t.Any) -> None:
        _put_away(node, path, tag)
        for item in value or ():
            write(entries.table, _xml.child(ensure(node, path), tag), flat(entries.table, item), (), new=True)
        if not value:
            prune(node, path)

    return Leaf(
        name,
        get,
        put,
        Shape({"type": "list", "elements": "dict", "options": arguments(table)}, entries.parse),
        place=_place(path, tag),
        **facts,
    )


def ordered(leaf: Leaf, *keys: str) -> Leaf:
    """A list by the numbers or words ``keys`` of its entries, where their order means nothing or is libvirt's own."""
    shape = leaf.shape or TEXT

    def by_key(item: t.Mapping[str, t.Any]) -> list[str]:
        return [str(item.get(key)).zfill(9) for key in keys]

    def in_its_order(value: t.Any) -> t.Any:
        return None if value is None else sorted(value, key=by_key)

    return dataclasses.replace(
        leaf,
        read=lambda node: in_its_order(leaf.read(node)),
        shape=Shape(shape.option, lambda what, value: in_its_order(shape.parse(what, value))),
    )


def whole(
    name: str,
    path: str,
    table: tuple[Leaf, ...],
    *,
    normalise: Check | None = None,
    check: Check | None = None,
    **facts: t.Any,
) -> Leaf:
    """A dictionary that is an element, owned as a whole: what belongs together is not stated in part.

    ``normalise(what, values)`` brings what is stated, and what is read, to one form; ``check(what, values)`` raises InvalidSpec
    for what cannot be stated: what a document has is for libvirt to judge.
    """
    few = Table(table)

    def normal(what: str, values: Values) -> dict[str, t.Any]:
        if normalise is not None:
            normalise(what, values)
        return in_order(table, values)

    def get(node: Element) -> t.Any:
        found = node.find(path)
        return None if found is None else normal(path, read(few, found))

    def put(node: Element, value: t.Any) -> None:
        found = node.find(path)
        if found is not None:
            drop(found)
        if value is not None:
            write(few, ensure(node, path), flat(few, value), (), new=True)
        elif "/" in path:
            prune(node, path.rpartition("/")[0])

    def parse(what: str, value: t.Any) -> t.Any:
        values = stated(f"{what}.", few, value)
        if check is not None:
            check(what, values)
        return normal(what, values)

    return Leaf(
        name, get, put, Shape({"type": "dict", "options": arguments(table)}, parse), place=place_of(path), **facts
    )


def flat(table: t.Iterable[Leaf], value: t.Mapping[str, t.Any]) -> Values:
    """The opposite of ``nested``, for the options of a table: some of them are dictionaries themselves."""
    found: Values = {}
    for leaf in table:
        item: t.Any = value
        for part in leaf.name.split("."):
            item = item.get(part) if isinstance(item, dict) else None
        if item is not None:
            found[leaf.name] = item
    return found


def _several(content: t.Any) -> list[t.Any]:
    return content if isinstance(content, list) else [content]


def _text(what: str, word: t.Any, content: t.Any) -> str:
    if isinstance(content, (dict, list)) or content is None:
        raise InvalidSpec(f"{what}: {word} has to have a text, not {content!r}.")
    return str(content).lower() if isinstance(content, bool) else str(content)


def mapping(
    name: str, path: str, tag: str, key: str, value_key: str | None, *, several: bool = False, **facts: t.Any
) -> Leaf:
    """A dictionary of words, an element each: its attribute ``key``, and its attribute ``value_key`` or else its text.

    ``several``: a word may have a list of texts.
    """

    def get(node: Element) -> t.Any:
        parent = node if path == "." else node.find(path)
        found: dict[str, list[str]] = {}
        for item in [] if parent is None else parent.findall(tag):
            found.setdefault(item.get(key) or "", []).append(_content(item, value_key) or "")
        return {word: texts if several and len(texts) > 1 else texts[-1] for word, texts in found.items()} or None

    def put(node: Element, value: t.Any) -> None:
        _put_away(node, path, tag)
        for word, content in ((word, one) for word, some in (value or {}).items() for one in _several(some)):
            attributes = {key: word, **({value_key: content} if value_key else {})}
            _xml.child(ensure(node, path), tag, attributes, None if value_key else content)
        if not value:
            prune(node, path)

    def parse(what: str, value: t.Any) -> t.Any:
        found: dict[str, t.Any] = {}
        for word, content in value.items():
            if several and isinstance(content, list) and content:
                texts = [_text(what, word, item) for item in content]
                found[str(word)] = texts if len(texts) > 1 else texts[0]
            else:
                found[str(word)] = _text(what, word, content)
        return found

    return Leaf(name, get, put, Shape({"type": "dict"}, parse), place=_place(path, tag), **facts)
