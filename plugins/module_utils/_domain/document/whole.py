# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Documents of domains: the plan for a definition that is declared as a whole document. Pure."""

from __future__ import annotations

import copy
import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import anew, candidate
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import memory as memories
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.candidate import Answer, Candidate, Ground, Plan
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import (
    carry_over,
    fragments,
    places,
    renamed,
    threeway,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import ensure
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


@dataclasses.dataclass
class _Work:
    """``declared`` with the identity of what exists, ``last`` the same of the declaration before it (None: not known).

    The steps get what exists with the names back that somebody has taken from it.
    """

    ground: Ground
    declared: Element
    existing: Element
    last: Element | None
    memory: Memory
    generated: frozenset[str]

    @property
    def forms(self) -> list[bytes]:
        """The forms of what exists; more are added as they become known."""
        return self._forms

    def __post_init__(self) -> None:
        self._forms: list[bytes] = []


def plan(ground: Ground, declared: Element, last: Element | None) -> Plan:
    """The plan for a declared document (its name is that of the domain)."""
    memories.forget(declared)
    existing = None if ground.existing is None else _xml.parse(ground.existing)
    if existing is None:
        return (yield from _new(ground, declared))
    memories.forget(existing)
    mine = None if last is None else carry_over.brought(last, existing)
    written = copy.deepcopy(declared)
    ours = None if last is None or mine is None else carry_over.with_other_macs(mine, last, existing)
    made = carry_over.identities(declared, existing, ours, ground.machines, ground.new_mac)
    if last is not None:
        carry_over.identities(last, existing, mine, ground.machines, None)
    work = _Work(ground, declared, existing, last, _record(written, declared), frozenset(made))
    return (yield from _there(work, renamed.known(existing, declared, ground.last)))


def _record(written: Element, declared: Element) -> Memory:
    """What was declared, with the MAC addresses by which its interfaces are known."""
    record = copy.deepcopy(written)
    for node, known in zip(record.findall("devices/interface"), declared.findall("devices/interface")):
        address = _xml.find_attribute(known, "mac", "address")
        if address is not None:
            ensure(node, "mac").set("address", address)
    return Memory(document=memories.without_secrets(record))


def _new(ground: Ground, declared: Element) -> Plan:
    written = copy.deepcopy(declared)
    origin, mine = _xml.element("domain"), None
    if ground.origin is not None:
        origin = _xml.parse(ground.origin)
        brought = anew.brought_interfaces(origin, ground.last)
        mine = None if brought is None else {"interface": brought}
    made = carry_over.identities(declared, origin, mine, {}, ground.new_mac)
    memory, lot = _record(written, declared), frozenset(made)
    if ground.origin is not None:
        anew.take_over(declared, origin, ground.last)
    document = _with_record(declared, memory)
    answers = (yield [document]) if ground.foresee else None
    if answers is None:
        shown = candidate.without_lot(document, document, lot)
        return Candidate(document, memory, shown, generated=lot, unsure=ground.foresee or ground.blind)
    after = candidate.accepted(ground.spec.name, answers[0])
    return Candidate(document, memory, candidate.without_lot(after, document, lot), normalised=True, generated=lot)


def _with_record(root: Element, memory: Memory) -> str:
    marked = copy.deepcopy(root)
    memories.write(marked, memory)
    return _xml.to_text(marked)


def _there(work: _Work, existing: Element) -> Plan:
    ground = work.ground
    before = _xml.to_text(work.existing)
    # The last declaration only where it is another: what it made is what the new one changes.
    other = work.last if work.last is not None and ground.last.document != work.memory.document else None
    questions = [_xml.to_text(work.declared), before, *([_xml.to_text(other)] if other is not None else [])]
    answers = yield questions
    if answers is None:
        return _guessed(work, existing)
    first = candidate.accepted(ground.spec.name, answers[0])
    work.forms.extend(candidate.plain(text) for text in (before, answers[1].document) if text is not None)
    if candidate.plain(first) in work.forms:
        return _same(work)
    if other is None:
        return (yield from _placed(work, existing, _xml.parse(first), None))
    base = _root(answers[2])
    return (yield from _placed(work, existing, _xml.parse(first), base, lost=base is None))


def _guessed(work: _Work, existing: Element) -> Candidate:
    """The declared put into what exists, where nobody can say what libvirt makes of it."""
    if work.ground.as_it_was(work.memory):
        return dataclasses.replace(_same(work), memory=work.ground.last, normalised=False, unsure=True)
    root = copy.deepcopy(existing)
    mine = None
    if work.last is not None:
        fragments.take_out(root, work.last, work.declared, [])
        mine = carry_over.brought(work.last, root)
    fragments.put(root, work.declared, mine)
    root.set("type", work.declared.get("type") or "")
    text = _xml.to_text(root)
    if candidate.plain(text) == candidate.plain(_xml.to_text(work.existing)):
        return dataclasses.replace(_same(work), normalised=False, unsure=True)
    return dataclasses.replace(_result(work, root, text, normalised=False), unsure=True)


def _root(answer: Answer) -> Element | None:
    return None if answer.document is None else _xml.parse(answer.document)


def _placed(work: _Work, existing: Element, first: Element, base: Element | None, *, lost: bool = False) -> Plan:
    """Once more with all devices in the places that they have.

    ``base`` is what libvirt makes of the declaration before, where that is another; ``lost``: it refuses that by now.
    """
    known = work.last is not None and not lost
    before = work.last if lost else base if base is not None else copy.deepcopy(first) if known else None
    stated = work.declared if base is None and not lost else work.last
    mine = carry_over.brought(before, existing, stated) if before is not None else None
    normal = copy.deepcopy(first)
    places.places(normal, work.declared, existing, mine, work.last)
    questions = [_xml.to_text(normal)]
    if base is not None and work.last is not None:
        places.places(
            base,
            work.last,
            existing,
            {tag: set(range(len(nodes))) for tag, nodes in carry_over.devices(existing).items()},
            None,
        )
        questions.append(_xml.to_text(base))
    answers = (yield questions) or []
    asked, kept = normal, _root(answers[0]) if answers else None
    if kept is not None and candidate.plain(_xml.to_text(kept)) not in work.forms:
        kept = yield from _in_own_words(work, asked, kept)
    if kept is None:
        # The places of old do not go with it: libvirt gives new ones.
        asked, kept = work.declared, first
    if candidate.plain(_xml.to_text(kept)) in work.forms:
        return _same(work)
    if len(answers) > 1:
        again = _root(answers[1])
        base = base if again is None else again
    elif known:
        base = kept
    return (yield from _merged(work, existing, (asked, kept), base))


def _in_own_words(work: _Work, asked: Element, kept: Element) -> t.Generator[list[str], list[Answer] | None, Element]:
    """What libvirt makes of what was asked, said in the words of the declaration where it does not read what it writes."""
    before = copy.deepcopy(asked)
    if places.in_own_words(asked, kept, work.declared):
        again = (yield [_xml.to_text(asked)]) or []
        answer = _root(again[0]) if again else None
        if answer is not None:
            return answer
        asked[:] = before[:]
    return kept


def _merged(work: _Work, existing: Element, fallback: tuple[Element, Element], base: Element | None) -> Plan:
    """With what others have made of it, as far as nobody declares it otherwise."""
    ours = copy.deepcopy(fallback[1])
    threeway.bring_together(ours, threeway.Sources(existing, base, work.declared, work.last))
    answers = (yield [_xml.to_text(ours)]) or []
    kept = _root(answers[0]) if answers else None
    if kept is not None and candidate.plain(_xml.to_text(kept)) in work.forms:
        return _same(work)
    if kept is not None:
        kept = yield from _in_own_words(work, ours, kept)
    asked, kept = (ours, kept) if kept is not None else fallback
    return _result(work, asked, _xml.to_text(kept), normalised=True)


def _same(work: _Work) -> Candidate:
    kept = work.ground.existing or ""
    return Candidate(_with_record(work.existing, work.memory), work.memory, kept, changed=False, normalised=True)


def _result(work: _Work, asked: Element, after: str, *, normalised: bool) -> Candidate:
    document = _with_record(asked, work.memory)
    drawn = carry_over.lots(asked).difference(*map(carry_over.lots, (work.declared, work.existing)))
    shown = candidate.without_lot(after, document, work.generated | drawn)
    return Candidate(document, work.memory, shown, normalised=normalised, generated=work.generated, drawn=drawn)


def name_of(declared: Element) -> str | None:
    """The name that a document says."""
    return _xml.find_text(declared, "name")


def named(declared: Element, name: str) -> None:
    """Puts the name in where a document says none."""
    if name_of(declared) is None:
        ensure(declared, "name").text = name
