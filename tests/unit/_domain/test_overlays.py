# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A domain whose snapshots have put its disks on overlays is what was declared."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import overlays
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.overlays import Step
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import Definition, DomainSpec
from hypothesis import given
from hypothesis import strategies as st

EXISTING = """
<domain type='qemu'><name>web</name><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/x/a.two'/>
  <backingStore type='file'><format type='qcow2'/><source file='/x/a.one'/></backingStore><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/x/b.raw'/><target dev='vdb' bus='virtio'/></disk>
<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>
</devices></domain>
"""
STEPS = [Step("vda", "/x/a.one", "/dev/vg/a"), Step("vda", "/x/a.two", "/x/a.one"), Step("vdb", "/x/a.two", "/x/no")]


def _spec(*disks: dict[str, t.Any], document: str | None = None) -> DomainSpec:
    return DomainSpec("web", definition=Definition({}, {"disks": disks} if disks else {}, document))


def test_what_is_beneath() -> None:
    assert overlays.beneath("vda", "/x/a.two", STEPS) == ["/x/a.one", "/dev/vg/a"]
    assert overlays.beneath("vda", "/x/a.one", STEPS) == ["/dev/vg/a"]
    assert overlays.beneath("vdb", "/x/b.raw", STEPS) == []
    assert overlays.beneath("vda", "/x/1", [Step("vda", "/x/1", "/x/2"), Step("vda", "/x/2", "/x/1")]) == [
        "/x/2",
        "/x/1",
    ]


@pytest.mark.parametrize(
    ("disk", "differs"),
    [
        ({"target": "vda", "source": "/x/a.two"}, False),
        ({"target": "vda", "source": "/dev/vg/a"}, True),
        ({"target": "vda", "cache": "none"}, False),
        ({"target": "vdz", "source": "/x/new"}, False),
        ({"target": "sda", "source": "/x/medium.iso"}, True),
    ],
)
def test_snapshots_are_asked_for_only_when_a_disk_is_elsewhere(disk: dict[str, t.Any], differs: bool) -> None:
    assert overlays.elsewhere(_spec(disk), EXISTING) is differs
    assert overlays.elsewhere(_spec(disk), None) is False
    assert overlays.elsewhere(dataclasses.replace(_spec(disk), state="absent"), EXISTING) is False


def test_the_declared_file_of_an_overlay_is_the_disk_that_is_meant() -> None:
    declared = {"target": "vda", "source": "/dev/vg/a", "type": "block", "format": "raw", "cache": "none"}
    found = overlays.adopted(_spec(declared, {"target": "vdb", "source": "/x/c.raw"}), EXISTING, STEPS)
    assert found.definition.devices["disks"] == (
        {"target": "vda", "source": "/x/a.two", "type": "file", "format": "qcow2", "cache": "none"},
        {"target": "vdb", "source": "/x/c.raw"},
    )


def test_what_was_said_of_the_old_place_is_what_there_is_now() -> None:
    image = {"source": "/x/base", "type": "file", "format": "raw"}
    said = {
        "backing_store": [image],
        "seclabels": [{"model": "dac", "relabel": False}],
        "slice": {"offset": 0, "size": 512},
    }
    found = overlays.adopted(_spec({"target": "vda", "source": "/dev/vg/a", "type": "block", **said}), EXISTING, STEPS)
    below = {"source": "/x/a.one", "type": "file", "format": "qcow2", "probe": True}
    assert found.definition.devices["disks"] == (
        {"target": "vda", "source": "/x/a.two", "type": "file", "format": "qcow2", "backing_store": [below]},
    )


@pytest.mark.parametrize("steps", [[], STEPS[:1], [Step("vdb", "/x/a.two", "/x/a.one")]])
def test_without_a_snapshot_that_made_it_the_declaration_counts(steps: list[Step]) -> None:
    spec = _spec({"target": "vda", "source": "/dev/vg/a"})
    assert overlays.adopted(spec, EXISTING, steps) == spec


def test_a_whole_document() -> None:
    text = """<domain type='qemu'><name>web</name><devices>
    <disk type='block' device='disk'><driver name='qemu' type='raw' cache='none'/><source dev='/dev/vg/a'/><target dev='vda'/></disk>
    <disk type='file' device='disk'><source file='/x/other'/><target dev='vdb'/></disk>
    </devices></domain>"""
    assert overlays.elsewhere(_spec(document=text), EXISTING)
    found = overlays.adopted(_spec(document=text), EXISTING, STEPS).definition.document
    disks = _xml.parse(found or "").findall("devices/disk")
    assert disks[0].get("type") == "file"
    assert _xml.find_attribute(disks[0], "source", "file") == "/x/a.two"
    assert _xml.find_attribute(disks[0], "source", "dev") is None
    assert _xml.find_attribute(disks[0], "driver", "type") == "qcow2"
    assert _xml.find_attribute(disks[0], "driver", "cache") == "none"
    assert _xml.find_attribute(disks[1], "source", "file") == "/x/other"
    assert overlays.adopted(_spec(document=EXISTING), EXISTING, STEPS).definition.document == EXISTING
    assert not overlays.elsewhere(_spec(document=EXISTING), EXISTING)


def test_an_overlay_that_no_snapshot_explains_is_not_given_up() -> None:
    chains = {"/x/a.two": ["/x/a.two", "/x/a.one", "/x/a"], "/x/b.raw": ["/x/b.raw"]}
    back = {"target": "vda", "source": "/x/a"}
    assert overlays.given_up(_spec(back), EXISTING, chains.__getitem__) == ("vda", "/x/a", "/x/a.two")
    assert overlays.given_up(_spec({**back, "source": "/x/a.two"}), EXISTING, chains.__getitem__) is None
    assert overlays.given_up(_spec({**back, "source": "/x/z"}), EXISTING, chains.__getitem__) is None
    assert overlays.given_up(_spec({"target": "vdz", "source": "/x/a"}), EXISTING, chains.__getitem__) is None
    text = EXISTING.replace("/x/a.two", "/x/a.one")
    assert overlays.given_up(_spec(document=text), EXISTING, chains.__getitem__) == ("vda", "/x/a.one", "/x/a.two")


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=6, unique=True), st.integers(0, 5))
def test_any_file_of_the_chain_is_the_disk(names: list[str], number: int) -> None:
    chain = [f"/x/{name}" for name in names]
    steps = [Step("vda", upper, lower) for upper, lower in zip(chain, chain[1:])]
    existing = EXISTING.replace("/x/a.two", chain[0])
    declared = chain[number % len(chain)]
    found = overlays.adopted(_spec({"target": "vda", "source": declared}), existing, steps)
    assert found.definition.devices["disks"][0]["source"] == chain[0]
