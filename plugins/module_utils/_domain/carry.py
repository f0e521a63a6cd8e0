# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: the domains of a call together. Definitions in order, stops at once, starts in order, waits at once."""

from __future__ import annotations

import concurrent.futures
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import apply, wait
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.observe import DomainState, Session
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._floor import Work, catch

DomainWork = Work[DomainSpec, DomainState]
_AT_ONCE = 16


def apply_all(session: Session, works: t.Sequence[DomainWork], say: apply.Say) -> None:
    """Carries out the plans; an error of one domain is that domain's alone."""
    connection = session.connection
    for work in works:
        with catch(work):
            apply.refuse(work.spec, work.plan)
            work.applied = True
            apply.define(connection, work.plan)
    stopping = [work for work in _sound(works) if work.plan.plan.stop]
    if stopping:
        with concurrent.futures.ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(stopping))) as pool:
            list(pool.map(lambda work: _stop(session, work, say), stopping))
    for work in _sound(works):
        with catch(work):
            apply.finish(connection, work.plan, session.host.local)


def _stop(session: Session, work: DomainWork, say: apply.Say) -> None:
    with catch(work):
        apply.stop(session.connection, work.spec, work.plan, session.host.local, say)


def finish_all(session: Session, works: t.Sequence[DomainWork], say: apply.Say) -> None:
    """Refreshes records of declarations that did not change a definition, then waits for the guests."""
    for work in works:
        with catch(work):
            record = work.plan.plan.remember
            if record is not None:
                apply.remember(session.connection, work.name, record)
    waiting = [work for work in _sound(works) if work.spec.wait and work.spec.state == "running"]
    results = wait.wait_all(session.connection, [work.spec for work in waiting], session.host.local, say)
    for work in waiting:
        result = results[work.name]
        if isinstance(result, KvmError):
            work.error = result
        else:
            work.facts["waited"] = result


def _sound(works: t.Sequence[DomainWork]) -> list[DomainWork]:
    return [work for work in works if work.error is None]
