# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: a new domain of which libvirt is not asked has all that chance gives it, and shows nothing of that."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import candidate, planning, spec, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.candidate import Candidate, Ground
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory

UUID = "6b2f6c5c-2f0a-4d3e-9a61-1f4a3c7d9e10"
MAC = "52:54:00:00:00:01"


def new(**options: t.Any) -> Candidate:
    wanted = spec.parse({"name": "web", "memory": 512, "interfaces": [{"source": "a"}], **options})
    steps = planning.plan(Ground(wanted, None, Memory(), new_mac=lambda: MAC, foresee=False))
    with pytest.raises(StopIteration) as ended:
        next(steps)
    return t.cast("Candidate", ended.value.value)


def uuid(document: str) -> str | None:
    return _xml.find_text(_xml.parse(document), "uuid")


def test_what_was_drawn_by_lot_is_defined_and_not_shown() -> None:
    made = new()
    assert made.identified
    assert uuid(made.document) not in (None, uuid(new().document))
    assert xml.macs(made.document) == [MAC]
    assert list(made.memory.devices["interfaces"]) == [MAC]
    assert (uuid(made.after), xml.macs(made.after)) == (None, [])
    assert not isinstance(made.foreseen, str)
    # Nor in what libvirt has kept of it.
    kept = candidate.without_lot(made.document, made.document, made.generated, identified=made.identified)
    assert kept == made.after


def test_what_is_stated_is_shown() -> None:
    made = new(uuid=UUID, interfaces=[{"source": "a", "mac": MAC}])
    assert not made.identified
    for document in (made.document, made.after):
        assert (uuid(document), xml.macs(document)) == (UUID, [MAC])
    kept = candidate.without_lot(made.document, made.document, made.generated, identified=made.identified)
    assert uuid(kept) == UUID
