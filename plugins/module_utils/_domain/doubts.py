# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Domains: what a declaration in XML says that libvirt does not know, and silently leaves out. Reads only."""

from __future__ import annotations

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.candidate import Candidate
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import dropped, fragments
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.session import Session
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec


def about(session: Session, spec: DomainSpec, found: Candidate, kept: str | None) -> list[str]:
    """One warning, when libvirt's schema objects to the declaration and something of it is not in what libvirt keeps."""
    wanted = spec.definition
    if kept is None or found.unsure or not (wanted.document or wanted.fragments):
        return []
    declared = _xml.element("domain") if wanted.document is None else _xml.parse(wanted.document)
    fragments.put(declared, fragments.together(f"domain {spec.name}", wanted.fragments), None)
    places = dropped.places(declared, _xml.parse(kept))
    if not places or session.oracle.objections([found.document])[0] is None:
        return []
    return [
        f"domain {spec.name}: libvirt does not know all of what is declared and leaves out {', '.join(places)}; is that a"
        " mistake in writing, or for another version of libvirt?"
    ]
