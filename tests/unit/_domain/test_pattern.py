# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: a draft that is made after a pattern is the one that would have been made without."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import pattern, spec, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kinds import KINDS
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import naming
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.scalars import SCALARS
from ansible_collections.hypervisor.kvm.tests.unit._domain.declarations import specs
from ansible_collections.hypervisor.kvm.tests.unit._domain.test_every_option import declarations
from hypothesis import given
from hypothesis import strategies as st

UUID = "6b2f6c5c-2f0a-4d3e-9a61-1f4a3c7d9e10"
#: All options that are a domain's own.
ALL: dict[str, t.Any] = {
    "memory": 512,
    "uuid": UUID,
    "genid": UUID,
    "title": "A & B",
    "description": "two\nlines",
    "os": {
        "kernel": "/k",
        "initrd": "/i",
        "cmdline": "quiet <x>",
        "firmware": "efi",
        "nvram": {"path": "/nvram/web"},
    },
    "disks": [
        {"target": "vda", "source": "/srv/a", "serial": "S1"},
        {"target": "vdb", "source": "/dev/b", "serial": "S2"},
        {"target": "vdc", "type": "network", "source": "pool/c", "network": {"protocol": "rbd", "query": "x=1"}},
        {"target": "vdd", "type": "volume", "pool": "images", "source": "d"},
        {"target": "sde", "device": "cdrom"},
    ],
    "interfaces": [
        {"source": "lan", "mac": "52:54:00:00:00:01", "target": {"dev": "web0"}},
        {"source": "lan"},
        {"type": "hostdev", "source": "0000:03:00.0", "mac": "52:54:00:00:00:02"},
    ],
}


def parsed(**options: t.Any) -> spec.Definition:
    return spec.parse({"name": "web", **options}).definition


def check(name: str, wanted: spec.Definition, virt_type: str = "qemu") -> xml.Draft:
    made = pattern.draft(name, wanted, virt_type)
    expected = xml.draft(name, wanted, None, Memory(), virt_type=virt_type)
    assert _xml.to_text(made.root) == _xml.to_text(expected.root)
    assert made.memory == expected.memory
    if isinstance(made, pattern.Copy):
        stated = list(dict.fromkeys([*wanted.scalars, "type"]))
        assert list(made.named) == naming.stated(expected.root, stated, expected.memory.devices)
    return made


@given(st.one_of(specs.map(lambda found: found.definition), declarations()), st.sampled_from(["web", "a < b"]))
def test_it_is_the_draft_that_is_made_without(wanted: spec.Definition, name: str) -> None:
    check(name, wanted)


def test_all_that_is_own_is_put_in_without_another_pattern() -> None:
    check("web", parsed(**ALL))
    before = dict(pattern._PATTERNS._made)
    changed = {
        **ALL,
        "uuid": UUID.replace("6", "7"),
        "genid": UUID.replace("6", "8"),
        "title": "C",
        "description": "D",
        "os": {**ALL["os"], "kernel": "/k2", "initrd": "/i2", "cmdline": "root=/dev/vda", "nvram": {"path": "/n2"}},
        "disks": [
            {**disk, **{key: f"{disk[key]}2" for key in ("source", "serial") if key in disk}} for disk in ALL["disks"]
        ],
        "interfaces": [
            {"source": "lan", "mac": "52:54:00:00:00:11", "target": {"dev": "db0"}},
            {"source": "lan"},
            {"type": "hostdev", "source": "0000:03:00.0", "mac": "52:54:00:00:00:12"},
        ],
    }
    made = check("db", parsed(**changed))
    assert before == pattern._PATTERNS._made
    assert list(made.memory.devices["interfaces"]) == ["52:54:00:00:00:11", "new0", "52:54:00:00:00:12"]


def test_all_that_is_own_is_tried() -> None:
    tables = {"": (SCALARS, [parsed(**ALL).scalars])}
    tables.update({kind.option: (kind.leaves, parsed(**ALL).devices.get(kind.option, [])) for kind in KINDS})
    for option, (leaves, values) in tables.items():
        for leaf in leaves:
            assert not leaf.own or any(leaf.name in group for group in values), (option, leaf.name)


@pytest.mark.parametrize(
    "options",
    [
        {"title": " with space "},
        {"memory": 1024},
        {"disks": [{"target": "vda", "source": "/srv/a", "cache": "none"}]},
        {"disks": [{"target": "vda", "source": "/srv/a", "mirror": {"path": "/srv/b"}}]},
        {"disks": [{"target": "vda", "source": "/srv/a", "size": "1GiB"}]},
        {"type": "kvm"},
    ],
)
def test_what_is_not_alike_is_made_as_it_is(options: dict[str, t.Any]) -> None:
    for more in ({}, options):
        check("web", parsed(**{"memory": 512, "title": "A", "disks": [{"target": "vda", "source": "/srv/a"}], **more}))
    check("web", parsed(memory=512), "kvm")


@pytest.mark.parametrize("options", [ALL, {"memory": 512, "serials": [{"port": 0}]}])
def test_no_copy_is_another(options: dict[str, t.Any]) -> None:
    made = check("a", parsed(**options))
    made.memory.scalars.append("x")
    for group in made.memory.devices.values():
        for names in group.values():
            names.append("x")
        group["x"] = []
    made.root.set("type", "x")
    check("b", parsed(**options))
