# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: the domains of a call together. Definitions in order, stops at once, starts in order, waits at once."""

from __future__ import annotations

import concurrent.futures
import functools
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import (
    apply,
    comeback,
    observe,
    steps,
    turns,
    wait,
    xml,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks import carry_out
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.observe import DomainState
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.session import Session
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._floor import Work, catch
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import host, many

DomainWork = Work[DomainSpec, DomainState]
_AT_ONCE = 16
#: How many domains are compared before libvirt may begin with them: soon with some, later with more at a time.
_FIRST, _PART = 25, 200


def in_parts(works: t.Sequence[DomainWork]) -> t.Iterator[t.Sequence[DomainWork]]:
    """The domains of a call as they are compared."""
    if works:
        yield works[:_FIRST]
    for first in range(_FIRST, len(works), _PART):
        yield works[first : first + _PART]


def take_turns(session: Session, works: t.Sequence[DomainWork], say: apply.Say) -> None:
    """Before a real run looks at the domains: what it then sees stays so until its changes are made."""
    for work in sorted(works, key=lambda work: turns.place(work.name)):
        with catch(work):
            session.turns.take(work.name, say)


def begin(session: Session, work: DomainWork, say: apply.Say) -> None:
    """Begins with the definition of a domain that is new: nothing else of the call depends on it, nor it on them."""
    if not work.seen.exists and work.plan.plan.merged is not None and not work.plan.plan.activity.opening:
        session.ahead.begin(work.name, lambda: _define_alone(session, work, say))


def _define_alone(session: Session, work: DomainWork, say: apply.Say) -> None:
    with catch(work):
        _define(session, work, say)


def apply_all(session: Session, works: t.Sequence[DomainWork], say: apply.Say) -> None:
    """Carries out the plans; an error of one domain is that domain's alone."""
    try:
        for work in works:
            if session.ahead.done(work.name):
                # While libvirt is at the next ones.
                observe.expect(work)
            else:
                _define_alone(session, work, say)
        session.ahead.close()
        ending = [work for work in _sound(works) if work.plan.plan.activity.ending]
        if ending:
            # Guests take their time to shut down: all at once.
            with concurrent.futures.ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(ending))) as pool:
                list(pool.map(lambda work: _end(session, work, say), ending))
        for work in _sound(works):
            with catch(work):
                if work.plan.plan.anew:
                    # Only now: what runs must not be told to be another machine.
                    comeback.make(_way(session, work, say), functools.partial(_made, session, work))
        session.console_marks = _marks(session, _sound(works))
        for work in _sound(works):
            with catch(work):
                apply.note_removal(session.connection, work.plan)
                comeback.follow(_way(session, work, say))
                apply.remove(session.connection, work.plan)
        for work in _sound(works):
            with catch(work):
                # When all are as they are to be: a copy may take hours.
                blocks, timeout = work.plan.plan.blocks, work.spec.wait.timeout
                carry_out.copy(session.connection, work.name, blocks, session.host.local, timeout, say)
    finally:
        session.ahead.close()
        # Nothing is written any more; the waits for what guests do take no turns.
        session.turns.give_back()


def _define(session: Session, work: DomainWork, say: apply.Say) -> None:
    apply.refuse(work.spec, work.plan)
    work.applied = True
    apply.put_right(session.connection, work.plan)
    steps.run(_task(session, work, say), work.plan.plan.activity.opening)
    if not work.plan.plan.anew:
        _made(session, work)


def _made(session: Session, work: DomainWork) -> None:
    apply.define(session.connection, work.spec, work.seen, work.plan)
    work.warnings += work.plan.plan.surprises


def _marks(session: Session, works: t.Sequence[DomainWork]) -> dict[str, int]:
    """How long the consoles' logs are that the starts to come append to, of domains whose console is waited for."""
    waiting = [work for work in works if work.spec.wait.console is not None and work.plan.plan.activity.starts]
    if not waiting or not session.host.local:
        return {}
    found = many.documents(session.connection, [work.name for work in waiting], inactive=True)
    made = {work.name: work.plan.plan.create.document for work in waiting if work.plan.plan.create is not None}
    return wait.marks({**found, **made})


def _task(session: Session, work: DomainWork, say: apply.Say) -> steps.Task:
    create = work.plan.plan.create
    document = None if create is None else xml.with_uuid(create.document)
    return steps.Task(session.connection, work.spec, session.host.local, say, document)


def _way(session: Session, work: DomainWork, say: apply.Say) -> comeback.Way:
    return comeback.Way(_task(session, work, say), work.seen, work.plan)


def _end(session: Session, work: DomainWork, say: apply.Say) -> None:
    with catch(work):
        comeback.end(_way(session, work, say))


def finish_all(session: Session, works: t.Sequence[DomainWork], say: apply.Say) -> bool:
    """Refreshes records of declarations that did not change a definition, then waits for the guests; whether it did."""
    for work in works:
        with catch(work):
            plan = work.plan.plan
            for record, live in ((plan.remember, False), (plan.remember_live, True)):
                # What has been started since has the record of its definition.
                if record is not None and not (live and plan.activity.ending):
                    apply.remember(session.connection, work.name, record, live=live)
            carry_out.wait(session.connection, work.name, plan.blocks, work.spec.wait.timeout, say)
    waiting = [work for work in _sound(works) if work.spec.wait and work.spec.state == "running"]
    if not waiting:
        return False
    connection = session.connection
    waits = wait.Waiting(connection, host.uri(connection), session.host.local, say, apply.picture)
    results = waits.run([work.spec for work in waiting], session.console_marks)
    for work in waiting:
        work.warnings += waits.warnings.get(work.name, [])
        result = results[work.name]
        if isinstance(result, KvmError):
            work.error = result
        else:
            work.facts["waited"] = result
    return True


def _sound(works: t.Sequence[DomainWork]) -> list[DomainWork]:
    return [work for work in works if work.error is None]
