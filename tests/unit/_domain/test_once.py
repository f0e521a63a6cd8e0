# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: what the entries of a list have in common is worked out once, and no entry gets another's."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import spec
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.once import Once
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec


def test_it_is_made_once_of_equal_data() -> None:
    once: Once[list[int]] = Once(2)
    first = once.get({"a": [1]}, lambda: [0])
    assert once.get({"a": [1]}, lambda: [1]) is first
    # What only counts as equal is something else.
    assert once.get({"a": [True]}, lambda: [2]) == [2]
    assert once.get({"a": ["1"]}, lambda: [3]) == [3]
    # By then it has forgotten the first, for there is room for two.
    assert once.get({"a": [1]}, lambda: [4]) == [4]


def test_what_cannot_be_made_is_tried_again() -> None:
    once: Once[int] = Once(2)
    with pytest.raises(ZeroDivisionError):
        once.get("a", lambda: 1 // 0)
    assert once.get("a", lambda: 1) == 1


def parsed(name: str, **options: t.Any) -> spec.DomainSpec:
    return spec.parse({"name": name, "memory": 512, **options})


def test_a_declaration_is_the_same_whatever_was_declared_before() -> None:
    disks = [{"target": "vda", "source": "/srv/a", "size": "1GiB"}, {"target": "sda", "device": "cdrom"}]
    one, other = (parsed(name, disks=disks, serials=[{}, {}], consoles=[{"port": 1}]) for name in ("a", "b"))
    assert one.definition == other.definition
    assert one.definition.wishes["vda"].size == other.definition.wishes["vda"].size == 1 << 30
    assert [port["port"] for port in other.definition.devices["serials"]] == [0, 1]
    one.definition.devices["disks"][0]["source"] = "/srv/b"
    assert parsed("c", disks=disks).definition.devices["disks"][0]["source"] == "/srv/a"


def test_an_error_is_of_the_domain_that_has_it() -> None:
    for name in ("a", "b"):
        with pytest.raises(InvalidSpec, match=f"domain {name}: disk vda has no source"):
            parsed(name, disks=[{"target": "vda"}])
