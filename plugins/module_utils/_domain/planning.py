# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Domains: the plan for a definition, from options or from XML. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import anew, candidate, pattern, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import memory as memories
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import table as tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.candidate import Candidate, Ground, Plan
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kinds import BY_OPTION, KINDS
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import (
    carry_over,
    fragments,
    renamed,
    whole,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import drop_children
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.pattern import Copy
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import Definition, DomainSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.xml import Draft
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


def possible(spec: DomainSpec, exists: bool) -> bool:
    """Whether there is anything to plan: a declaration, of more than changes when there is nothing yet."""
    if spec.state == "absent" or not spec.definition:
        return False
    return exists or "memory" in spec.definition.scalars or spec.definition.document is not None


def plan(ground: Ground) -> Plan:
    """The plan for a domain; raises KvmError when libvirt refuses it."""
    wanted = ground.spec.definition
    if ground.spec.recreate and ground.existing is not None:
        ground = _from_nothing(ground, ground.existing)
    if wanted.document is None:
        return by_options(ground)
    declared = _xml.parse(wanted.document)
    whole.named(declared, ground.spec.name)
    fragments.put(declared, fragments.together(_what(ground), wanted.fragments), None)
    return whole.plan(ground, declared, before(ground))


def _from_nothing(ground: Ground, existing: str) -> Ground:
    """The ground of a domain that is another machine than the one there is: nothing would be in its place any more."""
    wanted = ground.spec.definition
    if not anew.moves(anew.causes(wanted, existing, ground.machines, ground.native)):
        return ground
    if wanted.document is None and "memory" not in wanted.scalars:
        raise InvalidSpec(f"{_what(ground)}: it is to be made anew, so state all of what it is, at least its memory.")
    return dataclasses.replace(ground, existing=None, origin=existing)


def _what(ground: Ground) -> str:
    return f"domain {ground.spec.name}"


def before(ground: Ground) -> Element | None:
    """The last declaration as a document; None when it is not known. Values of options are those that there are."""
    last = ground.last
    if last.document is not None:
        return _xml.parse(last.document)
    if not last or ground.existing is None:
        return None
    seen = xml.read(ground.existing)
    devices = {
        option: tuple(
            {name: value for name, value in seen.devices.get(option, {}).get(label, {}).items() if name in names}
            for label, names in group.items()
        )
        for option, group in last.devices.items()
    }
    scalars = {name: value for name, value in seen.scalars.items() if name in last.scalars}
    root = xml.draft(ground.spec.name, Definition(scalars, devices), None, Memory()).root
    if last.fragments is not None:
        fragments.put(root, _xml.parse(last.fragments), None)
    return root


def _draft(ground: Ground) -> Draft:
    """The document to define, from options and fragments."""
    spec, existing, last = ground.spec, ground.existing, ground.last
    pieces = fragments.together(_what(ground), spec.definition.fragments)
    mine = None
    if existing is not None:
        existing = _with_names(ground, existing, pieces)
    if existing is not None and (last.fragments is not None or last.document is not None):
        root = _xml.parse(existing)
        then = _xml.parse(last.fragments or last.document or "")
        mine = carry_over.brought(then, root)
        # What options state, or give any domain, stays when a fragment that said it too is gone.
        now = xml.draft(spec.name, spec.definition, None, Memory()).root
        if last.document is None:
            drop_children(now, "devices")
        if last.document is not None:
            # It was a document, and is options now: these say what stays of its devices too.
            # Its interfaces are those of the options, before another's on the same network.
            macs = [str(label) for label, _node in xml.labelled(then, BY_OPTION["interfaces"])]
            last = dataclasses.replace(last, devices={**last.devices, "interfaces": {mac: [] for mac in macs}})
        fragments.put(now, pieces, None)
        fragments.take_out(root, then, now, _shared(root, ground))
        existing = _xml.to_text(root)
    if existing is None and ground.origin is None and not last and not len(pieces):
        return pattern.draft(spec.name, spec.definition, ground.virt_type)
    made = xml.draft(spec.name, spec.definition, existing, last, virt_type=ground.virt_type, aliases=ground.machines)
    if not len(pieces):
        return made
    root = made.root
    owned = _positions(root, made.memory)
    free = {
        tag: {index for index in range(len(nodes)) if index not in owned.get(tag, ())}
        for tag, nodes in carry_over.devices(root).items()
    }
    if mine is not None:
        free = {tag: mine.get(tag, set()) & indexes for tag, indexes in free.items()}
    fragments.put(root, pieces, free)
    made.memory = dataclasses.replace(made.memory, fragments=memories.without_secrets(pieces))
    memories.write(root, made.memory)
    return made


#: What alone is read to see whether devices are where they are declared, for very many domains.
_SOURCES = {
    option: tables.Table(leaf for leaf in BY_OPTION[option].table if leaf.name == "source")
    for option in renamed.OPTIONS
}
_NOWHERE = object()


def _sources(root: Element, option: str) -> dict[str, t.Any]:
    """What the devices of a kind are on, by their names; of one on nothing None."""
    devices = xml.labelled(root, BY_OPTION[option])
    return {label: tables.read(_SOURCES[option], node).get("source") for label, node in devices}


def _with_names(ground: Ground, existing: str, pieces: Element) -> str:
    """What exists, with the names by which its devices are declared."""
    wanted, root = ground.spec.definition.devices, _xml.parse(existing)
    seen = {option: _sources(root, option) for option in renamed.OPTIONS if wanted.get(option)}
    as_declared = all(
        values.get("source") == sources.get(str(values["target"]), _NOWHERE)
        for option, sources in seen.items()
        for values in wanted[option]
    )
    if as_declared and pieces.find("devices") is None:
        return existing
    declared = xml.draft(ground.spec.name, ground.spec.definition, None, Memory()).root
    fragments.put(declared, pieces, None)
    found = renamed.known(root, declared, ground.last)
    return existing if found is root else _xml.to_text(found)


def _shared(root: Element, ground: Ground) -> list[Element]:
    """The devices that options declare."""
    found: list[Element] = []
    for kind in KINDS:
        keys = [str(kind.key(values)) for values in ground.spec.definition.devices.get(kind.option, ())]
        labels = {*ground.last.devices.get(kind.option, {}), *keys}
        found += [node for label, node in xml.labelled(root, kind) if label in labels]
    return found


def _positions(root: Element, memory: Memory) -> dict[str, set[int]]:
    """Where the devices are that options declare, by their kind in the document."""
    owned: dict[str, set[int]] = {}
    groups = carry_over.devices(root)
    for kind in KINDS:
        labels = memory.devices.get(kind.option, {})
        nodes = [node for label, node in xml.labelled(root, kind) if label in labels]
        for index, item in enumerate(groups.get(kind.tag, ())):
            if any(item is node for node in nodes):
                owned.setdefault(kind.tag, set()).add(index)
    return owned


def by_options(ground: Ground) -> Plan:
    """The plan for a domain that is declared by options."""
    name, existing = ground.spec.name, ground.existing
    made = _draft(ground)
    if ground.origin is not None:
        anew.give_identity(made, ground.origin, ground.last)
    lot = frozenset(() if ground.new_mac is None else xml.give_macs(made, ground.new_mac))
    if existing is None and not ground.foresee:
        return _not_asked(made, lot, ground.blind)
    merged = made.merged()
    if existing is not None and candidate.plain(merged.document) == candidate.plain(existing):
        return Candidate(merged.document, merged.memory, existing, changed=False)
    answers = yield [merged.document, *([existing] if existing is not None else [])]
    if answers is None and existing is not None and ground.as_it_was(merged.memory):
        return Candidate(merged.document, ground.last, existing, changed=False, unsure=True)
    if answers is None:
        shown = candidate.without_lot(merged.document, merged.document, lot)
        return Candidate(merged.document, merged.memory, shown, generated=lot, unsure=True)
    after = candidate.accepted(name, answers[0])
    # libvirt does not always keep its own words as they are, so either form of what exists is what exists.
    same = existing is not None and candidate.plain(after) in (
        candidate.plain(existing),
        candidate.plain_answer(answers[1]),
    )
    return Candidate(
        merged.document,
        merged.memory,
        existing if same and existing is not None else candidate.without_lot(after, merged.document, lot),
        changed=not same,
        normalised=True,
        generated=lot,
    )


def _not_asked(made: Draft, lot: frozenset[str], unsure: bool) -> Candidate:
    """A new domain of which libvirt is not asked what it will keep, for that is seen when it is defined."""
    uuid = xml.give_uuid(made.root)
    document = made.merged().document
    if uuid is not None:
        made.root.remove(uuid)
    candidate.take_macs(made.root, lot)
    named = made.named if isinstance(made, Copy) else None
    return Candidate(
        document, made.memory, made.root, generated=lot, unsure=unsure, identified=uuid is not None, named=named
    )


def immediate(ground: Ground) -> Candidate:
    """The candidate when nobody can be asked."""
    steps = plan(ground)
    try:
        next(steps)
        steps.send(None)
    except StopIteration as done:
        return t.cast("Candidate", done.value)
    raise RuntimeError("a plan asks again after it was told that nobody answers")
