# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Documents of domains: the differences between two of them, each with its place. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import HIDDEN
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import identity
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import SECRET_TEXTS, SECRETS

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: Place to (value before, value after); None is "not there". In the order of the document.
Differences = dict[str, tuple[t.Any, t.Any]]


def between(before: Element, after: Element) -> Differences:
    """What differs between two documents, both as libvirt writes them."""
    found: Differences = {}
    _walk(found, "", before, after)
    return found


def value(node: Element) -> t.Any:
    """An element as plain data: its text, else its attributes and those of what is in it by their places."""
    flat: dict[str, t.Any] = {}
    _flatten(flat, "", node)
    if set(flat) <= {""}:
        return flat.get("", "")
    return flat


def _flatten(flat: dict[str, t.Any], path: str, node: Element) -> None:
    for name, text in node.attrib.items():
        flat[_join(path, str(name))] = HIDDEN if name in SECRETS else text
    text = (node.text or "").strip()
    if text or not (node.attrib or len(node)):
        flat[path] = HIDDEN if text and node.tag in SECRET_TEXTS else text
    for tag, nodes in _by_tag(node).items():
        for index, item in enumerate(nodes):
            place = _join(path, identity.local(item)) + ("" if len(nodes) == 1 else f"[{_label(tag, item, index)}]")
            _flatten(flat, place, item)


def _label(_tag: str, node: Element, index: int) -> str:
    key = identity.element_key(node)
    return ",".join(part for part in key if part) if key else str(index)


def _join(path: str, name: str) -> str:
    name = name.rpartition("}")[2]
    return f"{path}.{name}" if path else name


def _by_tag(node: Element) -> dict[str, list[Element]]:
    found: dict[str, list[Element]] = {}
    for item in node:
        found.setdefault(str(item.tag), []).append(item)
    return found


def _hidden(pair: tuple[t.Any, t.Any]) -> tuple[t.Any, t.Any]:
    return None if pair[0] is None else HIDDEN, None if pair[1] is None else HIDDEN


def _walk(found: Differences, path: str, before: Element, after: Element) -> None:
    for name in dict.fromkeys([*before.attrib, *after.attrib]):
        pair: tuple[t.Any, t.Any] = before.get(name), after.get(name)
        if pair[0] != pair[1]:
            found[_join(path, str(name))] = _hidden(pair) if name in SECRETS else pair
    texts = (before.text or "").strip(), (after.text or "").strip()
    if texts[0] != texts[1]:
        pair = texts[0] or None, texts[1] or None
        found[path] = _hidden(pair) if before.tag in SECRET_TEXTS else pair
    old, new = _by_tag(before), _by_tag(after)
    for tag in dict.fromkeys([*old, *new]):
        place = _join(path, tag)
        groups = old.get(tag, []), new.get(tag, [])
        if path == "devices":
            _devices(found, place, *groups)
        elif max(len(groups[0]), len(groups[1])) == 1:
            _pair(found, place, groups[0][0] if groups[0] else None, groups[1][0] if groups[1] else None)
        else:
            _repeated(found, place, *groups)


def _pair(found: Differences, place: str, old: Element | None, new: Element | None) -> None:
    if old is not None and new is not None:
        _walk(found, place, old, new)
    else:
        found[place] = None if old is None else value(old), None if new is None else value(new)


def _repeated(found: Differences, place: str, old: list[Element], new: list[Element]) -> None:
    before, after = ({identity.element_key(node): node for node in group} for group in (old, new))
    if None in before or None in after or len(before) < len(old) or len(after) < len(new):
        # Nothing tells them apart, or their order counts: all together.
        pair = [value(node) for node in old] or None, [value(node) for node in new] or None
        if [_xml.canonical(node) for node in old] != [_xml.canonical(node) for node in new]:
            found[place] = pair
        return
    for key in dict.fromkeys([*before, *after]):
        name = ",".join(part for part in key or () if part)
        _pair(found, f"{place}[{name}]", before.get(key), after.get(key))


def _devices(found: Differences, place: str, old: list[Element], new: list[Element]) -> None:
    pairs = identity.pair(new, old)
    back = {position: index for index, position in pairs.items()}
    for position, node in enumerate(old):
        index = back.get(position)
        # The names of the new ones are what the declaration knows them by.
        name = identity.label(node if index is None else new[index], position if index is None else index)
        _pair(found, f"{place}[{name}]", node, None if index is None else new[index])
    for index, node in enumerate(new):
        if index not in pairs:
            found[f"{place}[{identity.label(node, index)}]"] = None, value(node)
