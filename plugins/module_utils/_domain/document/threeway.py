# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Documents of domains: three of them brought together, all as libvirt writes them. Pure.

Each value is decided for itself: what the declaration states (or stated last time and does not any more) is as the
declaration has it; of the rest, what somebody has changed since stays, and what follows from the declaration follows.
"""

from __future__ import annotations

import copy
import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import identity

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: A change of one of these makes another thing of an element, to which nothing of the old one belongs.
_KINDS = ("type", "mode", "model", "device", "bus", "protocol")


@dataclasses.dataclass(frozen=True)
class Sources:
    """The same element in several documents (None: it has none, or the document is not known).

    ``existing`` is the definition, ``base`` what the last declaration made, ``stated`` and ``last`` are the
    declarations themselves as they were written.
    """

    existing: Element
    base: Element | None = None
    stated: Element | None = None
    last: Element | None = None


def bring_together(ours: Element, sources: Sources) -> None:
    """Takes into ``ours`` (what the declaration makes) what others have made of the domain; in place."""
    _follow_memory(ours, sources)
    _merge(ours, sources, "")


def _follow_memory(ours: Element, sources: Sources) -> None:
    """Who never asked for less than all gets all of the new size too, also where no base tells that it is derived."""
    existing = sources.existing
    if sources.base is None and _xml.find_text(existing, "memory") == _xml.find_text(existing, "currentMemory"):
        here, there = ours.find("currentMemory"), existing.find("currentMemory")
        if here is not None and there is not None:
            there.text = here.text


def _merge(ours: Element, sources: Sources, path: str) -> None:
    stated, existing = sources.stated, sources.existing
    if stated is not None and any(name in stated.attrib and ours.get(name) != existing.get(name) for name in _KINDS):
        return
    for name in dict.fromkeys([*(str(key) for key in ours.attrib), *(str(key) for key in existing.attrib)]):
        value = _choose(ours.get(name), existing.get(name), *_claims(sources, _reader(name)))
        if value is None:
            ours.attrib.pop(name, None)
        else:
            ours.set(name, value)
    if not len(ours) and not len(existing):
        chosen = _choose(_text(ours), _text(existing), *_claims(sources, _text))
        if chosen != _text(ours):
            ours.text = existing.text
    _children(ours, sources, path)


def _reader(name: str) -> t.Callable[[Element], str | None]:
    return lambda node: node.get(name)


def _text(node: Element) -> str | None:
    return (node.text or "").strip() or None


def _claims(sources: Sources, read: t.Callable[[Element], t.Any]) -> tuple[bool, bool, t.Any]:
    """Whether the declaration claims a value, now or last time; whether there is a base; its value."""
    claimed = any(node is not None and read(node) is not None for node in (sources.stated, sources.last))
    return claimed, sources.base is not None, None if sources.base is None else read(sources.base)


def _choose(ours: t.Any, existing: t.Any, claimed: bool, known: bool, base: t.Any) -> t.Any:
    if claimed or (known and existing == base):
        return ours
    return existing


def _groups(node: Element | None) -> dict[str, list[Element]]:
    found: dict[str, list[Element]] = {}
    for item in node if node is not None else ():
        found.setdefault(str(item.tag), []).append(item)
    return found


def _children(ours: Element, sources: Sources, path: str) -> None:
    own, existing = _groups(ours), _groups(sources.existing)
    base, stated, last = _groups(sources.base), _groups(sources.stated), _groups(sources.last)
    for tag in dict.fromkeys([*own, *existing]):
        here = Group(
            ours, own.get(tag, []), existing.get(tag, []),
            None if sources.base is None else base.get(tag, []), stated.get(tag, []), last.get(tag, []),
        )  # fmt: skip
        if path == "devices" and tag != "emulator":
            _devices(here)
        else:
            _elements(here, tag if not path else f"{path}.{tag}")


@dataclasses.dataclass(frozen=True)
class Group:
    """The children of one name of an element in the several documents; ``base`` is None when it is not known."""

    parent: Element
    ours: list[Element]
    existing: list[Element]
    base: list[Element] | None
    stated: list[Element]
    last: list[Element]


def _devices(group: Group) -> None:
    """What others have added is in ``ours`` already, where it took part in giving out places."""
    there = identity.pair(group.ours, group.existing)
    base = identity.pair(group.ours, group.base or [])
    stated, last = identity.pair(group.ours, group.stated), identity.pair(group.ours, group.last)
    for index, node in enumerate(group.ours):
        if index in there:
            found = Sources(
                group.existing[there[index]],
                group.base[base[index]] if group.base is not None and index in base else None,
                group.stated[stated[index]] if index in stated else None,
                group.last[last[index]] if index in last else None,
            )
            _merge(node, found, "device")


def _elements(group: Group, path: str) -> None:
    keyed = [_by_key(nodes) for nodes in (group.ours, group.existing, group.base or [], group.stated, group.last)]
    ours, existing, base, stated, last = keyed
    if any(item is None for item in keyed) or not set(stated or ()) <= set(ours or ()):
        # Nothing tells them apart, or libvirt groups them in another way than the declaration: all together.
        _together(group)
        return
    for key in dict.fromkeys([*(ours or {}), *(existing or {})]):
        one, other = (ours or {}).get(key), (existing or {}).get(key)
        claims = (stated or {}).get(key), (last or {}).get(key)
        if one is not None and other is not None:
            _merge(one, Sources(other, (base or {}).get(key), *claims), path)
        elif one is not None:
            if claims[0] is None and (group.base is None or key in (base or {})):
                # Somebody has taken it out, and nobody asked for it.
                group.parent.remove(one)
        elif other is not None:
            left = _of_others(other, [node for node in ((base or {}).get(key), claims[1]) if node is not None])
            if left is not None:
                group.parent.append(left)


def _of_others(existing: Element, brought: list[Element]) -> Element | None:
    """What there is in an element besides what declarations brought; None when that is nothing."""
    left = copy.deepcopy(existing)
    if not brought:
        return left
    for tag, nodes in _groups(left).items():
        keyed = _by_key(nodes)
        for node in nodes:
            same = [_by_key(_groups(one).get(tag, [])) for one in brought]
            key = () if keyed is None else next(name for name, item in keyed.items() if item is node)
            mine = [found[key] for found in same if found is not None and key in found]
            if keyed is None or None in same:
                mine = [item for one in brought for item in _groups(one).get(tag, [])]
            part = _of_others(node, mine)
            if part is None:
                left.remove(node)
    return left if len(left) else None


def _by_key(nodes: list[Element]) -> dict[tuple[str | None, ...], Element] | None:
    found: dict[tuple[str | None, ...], Element] = {}
    for node in nodes:
        key = identity.element_key(node)
        if key is None:
            if len(nodes) > 1:
                return None
            key = ()
        if key in found:
            return None
        found[key] = node
    return found


def _together(group: Group) -> None:
    forms = [[_xml.canonical(node) for node in nodes] for nodes in (group.ours, group.existing, group.base or [])]
    claimed = bool(group.stated or group.last)
    if forms[0] == forms[1] or claimed or (group.base is not None and forms[1] == forms[2]):
        return
    for node in group.ours:
        group.parent.remove(node)
    for node in group.existing:
        group.parent.append(copy.deepcopy(node))
