# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what is there now, of the domain and of what its declaration names. Reads only."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import (
    candidate,
    files,
    halfway,
    leftovers,
    overlays,
    planning,
    surroundings,
    xml,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks import adopt, look
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks.seen import Disk
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.candidate import Candidate, Ground
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.facts import Known, facts
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.facts import read as read_facts
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.finder import Asking, Finder
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.view import view
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.halfway import Mark
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.session import Session
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.surroundings import Surroundings
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._floor import Work, catch
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import bulk, domains, host, snapshots

#: How the agents of a call's guests are asked for their addresses: those that hang cost this much at most.
_ASKING = Asking(limit=2, seconds=10)


@dataclasses.dataclass(frozen=True)
class DomainState:
    """A domain as libvirt has it. ``document`` is the definition, ``live`` what runs (or is saved, and will run again)
    as a definition, ``running`` what runs with all that only the moment gave it; ``memory`` the options of the last
    declaration. A domain that is off with its memory saved is ``saved``."""

    exists: bool = False
    uuid: str | None = None
    state: str = "absent"
    reason: str = "unknown"
    active: bool = False
    persistent: bool = False
    autostart: bool = False
    document: str | None = None
    live: str | None = None
    running: str | None = None
    memory: Memory = dataclasses.field(default_factory=Memory)
    #: That of the declaration which what runs is in line with.
    live_memory: Memory = dataclasses.field(default_factory=Memory)
    #: How many processors the host has (0: not known).
    cpus: int = 0
    around: Surroundings = dataclasses.field(default_factory=Surroundings)
    #: The declaration with the overlays that snapshots have put disks on, when there are such.
    spec: DomainSpec | None = None
    #: Disks of which more is wanted than a definition, or on which a job is.
    disks: dict[str, Disk] = dataclasses.field(default_factory=dict)
    #: What the definition is to be, in libvirt's words where it could be asked, or why it cannot be.
    candidate: Candidate | KvmError | None = None
    #: What a change of the UUID has left that was cut off.
    left: Mark | None = None
    #: Why it cannot be made anew (empty: it can); None when the declaration does not ask for that.
    obstacles: tuple[str, ...] | None = None


def observe_all(session: Session, works: t.Sequence[Work[DomainSpec, DomainState]]) -> None:
    """Reads the domains of a call, and what libvirt would make of their declarations (once: not after they are applied)."""
    plans: dict[str, candidate.Plan] = {}
    read = _reader(session, works)
    for work in works:
        with catch(work):
            raw, left = leftovers.found(work.name, read)
            was, state = work.observed, _observe(session, work.spec, raw, left, after=work.changes is not None)
            if was is not None and was.candidate is not None and not work.applied:
                # Others of the call were changed; this one is still what it was compared with.
                state = dataclasses.replace(state, candidate=was.candidate)
            work.observed = state
            work.spec = state.spec or work.spec
            if work.changes is None and planning.possible(work.spec, state.exists):
                # Without a definition there is nothing afterwards that says what libvirt has made of it.
                around, foresee = state.around, session.foresee or state.exists or bool(work.spec.transient)
                plans[work.name] = planning.plan(
                    Ground(
                        work.spec, state.document, state.memory, around.virt_type, around.machines,
                        session.new_mac, foresee, session.oracle.why_not is not None, native=around.native,
                    )
                )  # fmt: skip
    found = candidate.drive(plans, session.oracle.ask)
    for work in works:
        if work.name in found:
            work.observed = dataclasses.replace(work.seen, candidate=found[work.name])


#: From so many on, all domains of the host are asked for at once.
_MANY = 5

Raw = t.Optional[domains.RawDomain]


def _reader(session: Session, works: t.Sequence[Work[DomainSpec, DomainState]]) -> t.Callable[[str], Raw]:
    if session.connection is None:
        return lambda _name: None
    if len(works) < _MANY:
        return lambda name: domains.read(session.connection, name)
    names = [work.name for work in works]
    made = {work.name: kept for work in works if (kept := _just_made(work)) is not None}
    return bulk.read(session.connection, [*names, *map(halfway.aside, names)], made).__getitem__


def _just_made(work: Work[DomainSpec, DomainState]) -> str | None:
    """The definition of a new domain with which nothing else was done since it was read; None for others."""
    if not work.applied or work.seen.exists or work.plan.plan.activity:
        return None
    return t.cast("str | None", work.plan.plan.kept)


def observe(session: Session, spec: DomainSpec) -> DomainState:
    """Reads one domain by name; without a connection (a machine before its first run) there is none."""
    raw = None if session.connection is None else domains.read(session.connection, spec.name)
    return _observe(session, spec, raw, None)


def _observe(session: Session, spec: DomainSpec, raw: Raw, left: Mark | None, *, after: bool = False) -> DomainState:
    """``after``: nothing is to be compared any more."""
    if session.connection is None:
        return DomainState(around=surroundings.future(session, spec))
    around = Surroundings()
    if not after:
        spec = _adopted(session, spec, raw)
        existing, active = (None, False) if raw is None else (raw.inactive_xml, raw.active)
        around = surroundings.look(session, spec, existing, active=active)
        holder = leftovers.holder(session.connection, spec, None if raw is None else raw.uuid)
        if holder is not None:
            around = dataclasses.replace(around, holder=holder)
    if raw is None:
        return DomainState(around=around, disks={} if after else _disks(session, spec, raw))
    runs = raw.live_xml or raw.saved_xml or None
    # Afterwards they are of no use.
    memory = Memory() if after else xml.remembered(raw.inactive_xml, raw.live_xml)
    live_memory = Memory() if after else xml.remembered(raw.live_xml)
    return DomainState(
        exists=True,
        uuid=raw.uuid,
        state="saved" if raw.saved_xml is not None else raw.state,
        reason=raw.reason,
        active=raw.active,
        persistent=raw.persistent,
        autostart=raw.autostart,
        document=raw.inactive_xml if raw.persistent else _as_definition(session, spec.name, raw.inactive_xml),
        live=runs,
        running=raw.running_xml,
        memory=memory,
        live_memory=live_memory,
        cpus=session.cpus if runs is not None else 0,
        around=around,
        spec=spec,
        left=left,
        obstacles=None if after else leftovers.obstacles(session, spec, raw, left, around),
        disks={} if after else _disks(session, spec, raw, memory, live_memory),
    )


def _disks(session: Session, spec: DomainSpec, raw: Raw, *memories: Memory) -> dict[str, Disk]:
    known = {target for memory in memories for target in memory.mirrors}
    return look.look(session.connection, spec, raw, known, session.host.local)


def _adopted(session: Session, spec: DomainSpec, raw: Raw) -> DomainSpec:
    """The declaration as it is meant when disks have gone on with copies, and snapshots have put them on overlays."""
    if raw is None:
        return spec
    existing = raw.inactive_xml
    chain = files.chain if session.host.local else lambda path: [path]
    spec = adopt.adopted(spec, (existing, raw.live_xml), chain)
    if not overlays.elsewhere(spec, existing):
        return spec
    steps = [
        overlays.Step(disk.target, overlay, disk.content)
        for snapshot in snapshots.tree(session.connection, spec.name)
        for disk in snapshot.disks
        for overlay in (disk.path, *disk.reverted)
        if overlay is not None and disk.content is not None
    ]
    spec = overlays.adopted(spec, existing, steps)
    left = overlays.given_up(spec, existing, files.chain) if session.host.local else None
    if left is not None:
        target, declared, source = left
        raise Busy(
            f"domain {spec.name}: disk {target} is declared as {declared}, but the domain writes to {source}, which stands on it;"
            " going back would lose what is in there. Declare that one, or merge it first (virsh blockcommit while the domain"
            " runs, qemu-img commit while it is off)."
        )
    return spec


def _as_definition(session: Session, name: str, running: str) -> str:
    """What runs without a definition as the definition that it would have: libvirt shows it with all of the moment."""
    running = xml.without_labels(running)
    answers = session.oracle.ask([running])
    if answers is None:
        return running
    try:
        return candidate.accepted(name, answers[0])
    except KvmError:
        # It runs all the same, so it is for its next definition to say what is wrong with it.
        return running


def console_log(running: str | None) -> str | None:
    """The file that the first logged port writes to; None when none is logged."""
    return view(running).console


def facts_of(session: Session, state: DomainState, name: str) -> dict[str, t.Any] | None:
    """The return value ``domain``; None when there is none."""
    document = state.running or state.document
    if document is None:
        return None
    by_mac = session.by_mac.get(name, {})
    known = Known(name, state.uuid, state.state, state.reason, state.autostart, state.persistent, by_mac)
    return facts(known, document)


def expect(work: Work[DomainSpec, DomainState]) -> None:
    """Reads what will be told of a domain that was just made, ahead of its time."""
    kept = _just_made(work)
    if kept is not None and work.error is None:
        read_facts(kept)


def find_guests(session: Session, states: t.Mapping[str, DomainState]) -> None:
    """Where the guests of a call are, all at once, for their facts."""
    views = {name: view(state.running) for name, state in states.items() if state.running and state.state == "running"}
    session.by_mac = {}
    if views:
        finder = Finder(session.connection, host.uri(session.connection), session.host.local)
        with contextlib.closing(finder):
            session.by_mac = finder.addresses(views, finder.ask(views, _ASKING))
