# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots from libvirt's documents, and their order."""

from __future__ import annotations

import random
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.snapshots import (
    Snapshot,
    SnapshotDisk,
    ordered,
    parse,
)
from hypothesis import given
from hypothesis import strategies as st

EXTERNAL = """
<domainsnapshot>
  <name>after</name>
  <description>two
lines</description>
  <state>running</state>
  <parent><name>before</name></parent>
  <creationTime>1795897525</creationTime>
  <memory snapshot='external' file='/x/after.mem'/>
  <disks>
    <disk name='vda' snapshot='external' type='file'>
      <driver type='qcow2'/>
      <source file='/x/a.after'/>
    </disk>
    <disk name='vdb' snapshot='no'/>
  </disks>
  <revertDisks>
    <disk name='vda' snapshot='external' type='file'><driver type='qcow2'/><source file='/x/a.179'/></disk>
  </revertDisks>
  <domain type='qemu'>
    <name>web</name>
    <devices>
      <disk type='block' device='disk'><source dev='/dev/vg/a'/><target dev='vda'/></disk>
      <disk type='file' device='disk'><source file='/x/b.raw'/><target dev='vdb'/></disk>
      <disk type='file' device='cdrom'><target dev='sda'/></disk>
    </devices>
  </domain>
</domainsnapshot>
"""


def test_an_external_snapshot() -> None:
    seen = parse(EXTERNAL, current=True)
    assert (seen.name, seen.parent, seen.current, seen.created) == ("after", "before", True, 1795897525)
    assert (seen.kind, seen.memory, seen.memory_path, seen.state) == ("external", "external", "/x/after.mem", "running")
    assert seen.description == "two\nlines"
    assert seen.disks == (
        SnapshotDisk("vda", "external", "/dev/vg/a", "/x/a.after", "qcow2", ("/x/a.179",)),
        SnapshotDisk("vdb", "none", "/x/b.raw"),
    )
    facts = seen.facts()
    assert "document" not in facts
    assert facts["disks"][0]["reverted"] == ["/x/a.179"]


def test_an_internal_snapshot_of_an_old_libvirt() -> None:
    seen = parse("<domainsnapshot><name>a</name><disks><disk name='vda' snapshot='internal'/></disks></domainsnapshot>")
    assert (seen.kind, seen.memory, seen.parent, seen.created, seen.state) == ("internal", "none", None, 0, "unknown")
    assert seen.disks == (SnapshotDisk("vda", "internal"),)


def test_a_snapshot_of_nothing_but_memory_has_a_kind() -> None:
    text = "<domainsnapshot><name>a</name><memory snapshot='internal'/></domainsnapshot>"
    assert parse(text).kind == "internal"
    assert parse("<domainsnapshot><name>a</name></domainsnapshot>").kind == "none"


def _snapshot(name: str, parent: str | None, created: int) -> Snapshot:
    return Snapshot(name, parent, False, created, "shutoff", "internal", "none", None, None, ())


@given(st.data())
def test_parents_come_first_whatever_the_order(data: t.Any) -> None:
    count = data.draw(st.integers(0, 12))
    parents = [None if number == 0 else data.draw(st.integers(-1, number - 1)) for number in range(count)]
    made = [
        _snapshot(f"s{number}", None if parent in (None, -1) else f"s{parent}", data.draw(st.integers(0, 3)))
        for number, parent in enumerate(parents)
    ]
    shuffled = list(made)
    random.Random(data.draw(st.integers(0, 99))).shuffle(shuffled)
    found = ordered(shuffled)
    assert sorted(item.name for item in found) == sorted(item.name for item in made)
    names = [item.name for item in found]
    assert all(item.parent is None or names.index(item.parent) < names.index(item.name) for item in found)
    assert found == ordered(made)


def test_a_parent_that_is_gone_is_no_parent() -> None:
    assert [item.name for item in ordered([_snapshot("a", "gone", 1)])] == ["a"]
