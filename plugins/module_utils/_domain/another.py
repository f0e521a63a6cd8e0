# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: whether a domain may become another one, and what is said when it may not. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import anew, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.candidate import Candidate
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document.naming import Named
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.halfway import Mark
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.observe import DomainState
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, InvalidSpec


def is_cause(observed: DomainState, difference: Named) -> bool:
    """Whether a domain with that difference is another one."""
    machines = observed.around.machines
    return (
        observed.exists
        and difference.option is not None
        and anew.is_another(difference.option, difference.before, difference.after, machines)
    )


def refuse_what_cannot_change(spec: DomainSpec, observed: DomainState) -> None:
    """That something cannot change while the domain exists says more than what libvirt has against the outcome."""
    if observed.document is None or spec.recreate:
        return
    seen = xml.read(observed.document).scalars
    around = observed.around
    for option in anew.causes(spec.definition, observed.document, around.machines, around.native):
        raise _refusal(spec, Named(option, seen.get(option), spec.definition.scalars.get(option)))


def allowed(spec: DomainSpec, observed: DomainState, causes: t.Sequence[Named], found: Candidate) -> None:
    """Raises InvalidSpec or Busy unless the domain may be made anew."""
    if not spec.recreate:
        raise _refusal(spec, causes[0])
    if observed.obstacles:
        raise Busy(f"domain {spec.name}: it cannot be made anew, for {'; '.join(observed.obstacles)}.")
    if observed.obstacles is None:
        raise _refusal(spec, causes[0], "libvirt has chosen that, so state it as it is to be")
    lost = anew.foreign(observed.document or "", found.after, observed.memory)
    if lost and anew.moves(item.option or "" for item in causes):
        raise Busy(
            f"domain {spec.name}: it cannot be made anew, for it has what no declaration names ({', '.join(lost)}) and"
            f" another {causes[0].option} has no place for; declare it as well, or remove it from the domain first."
        )


def _refusal(spec: DomainSpec, cause: Named, way_out: str = "") -> InvalidSpec:
    way_out = way_out or (
        "allow recreate to have it made anew (it is shut down for that, its disks stay), or remove it (state: absent,"
        " its disks stay) and declare it again"
    )
    after = f" and cannot become {cause.after} while it exists" if cause.after is not None else ""
    return InvalidSpec(f"domain {spec.name}: its {cause.option or cause.field} is {cause.before}{after}; {way_out}.")


def replaced(spec: DomainSpec, observed: DomainState, causes: t.Sequence[Named]) -> Mark | None:
    """The definition that another one takes the place of; None when it can be defined over the one there is."""
    other = any(item.option == "uuid" for item in causes)
    if not other or not observed.persistent or observed.uuid is None:
        return None
    return Mark(True, spec.name, observed.uuid, observed.autostart)
