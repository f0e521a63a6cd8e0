# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NAT: what is left to do when the rules are written."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import apply, backend, compare, record, spec
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Tables
from ansible_collections.hypervisor.kvm.tests.unit._nat import hosts

NAT = spec.parse({"bridge": "br0", "subnets": ["192.168.0.0/24"]})


@pytest.mark.parametrize(
    ("found", "same"),
    [
        ({"filter": {"INPUT": ["a", "b"]}}, True),
        ({"filter": {"INPUT": ["a", "b"], "FORWARD": []}, "nat": {"OUTPUT": []}}, True),
        ({"filter": {"INPUT": ["b", "a"]}}, False),
        ({"filter": {"INPUT": ["a"]}}, False),
        ({"filter": {"INPUT": ["a", "b"], "others": ["c"]}}, False),
        ({}, False),
    ],
)
def test_rules_are_as_planned_when_each_is_in_its_place(found: Tables, same: bool) -> None:
    planned: Tables = {"filter": {"INPUT": ["a", "b"]}, "nat": {"POSTROUTING": []}}
    assert apply._are({backend.NFT: found}, {backend.NFT: planned}) is same


def test_what_was_recorded_ahead_is_recorded_as_it_is_then() -> None:
    done = compare.compare(NAT, hosts.seen()).plan.result
    damaged: Tables = {"filter": {"FORWARD": ["-s 192.168.0.0/24 -i br0 -j ACCEPT"]}}
    plan = compare.compare(NAT, dataclasses.replace(done, tables={backend.NFT: damaged})).plan
    path = record.path("br0")
    # The record itself does not change by the repair, but a killed task must know what was its own.
    assert path not in plan.files
    plan.ahead[path] = "with rules of before"
    left = apply._left(plan, plan.result)
    assert left.files == {path: done.files[path]}
    assert (left.edits, left.ahead) == ([], {})
    assert plan.edits
