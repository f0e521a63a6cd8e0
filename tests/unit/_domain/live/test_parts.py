# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running domains: sets of processors, ports, and what declarations claim."""

from __future__ import annotations

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live import cpus
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.claims import Claims
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.plan import plan
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.ports import Room
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.situation import LivePlan, Situation
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.tests.unit._domain.live.documents import disk, interface, pci, q35, started


@pytest.mark.parametrize(
    ("text", "host", "expected"),
    [
        (None, 4, None),
        ("", 4, None),
        ("0-3", 4, None),
        ("0-3", 0, {0, 1, 2, 3}),
        ("1-4,^3,6", 8, {1, 2, 4, 6}),
        ("0", 1, None),
        ("x", 4, None),
    ],
)
def test_lists_of_processors(text: str | None, host: int, expected: set[int] | None) -> None:
    assert cpus.parse(text, host) == (None if expected is None else frozenset(expected))


def test_threads_that_are_not_named_get_the_lowest_numbers() -> None:
    root = _xml.parse(
        "<domain><iothreads>4</iothreads><iothreadids><iothread id='2'/><iothread id='9'/></iothreadids></domain>"
    )
    assert sorted(cpus.iothreads(root)) == [1, 2, 3, 9]


def test_a_port_is_found_once() -> None:
    root = _xml.parse(q35(ports=5))
    room = Room(root, root)
    new = [_xml.parse(disk(f"vd{letter}")) for letter in "abc"]
    # 1 to 3 are taken by the controllers and the balloon.
    assert [room.pci(node) for node in new] == [False, False, None]


def test_a_pc_has_slots() -> None:
    text = "<domain><devices><controller type='pci' index='0' model='pci-root'/>%s</devices></domain>"
    taken = "".join(f"<rng>{pci(0, slot)}</rng>" for slot in range(2, 31))
    root = _xml.parse(text % taken)
    room = Room(root, root)
    assert [room.pci(_xml.parse(disk(f"vd{letter}"))) for letter in "ab"] == [False, None]


def test_a_pc_without_acpi_has_none() -> None:
    text = (
        "<domain><os><type arch='%s'>hvm</type></os><features>%s</features><devices>"
        "<controller type='pci' index='0' model='pci-root'/></devices></domain>"
    )
    for arch, features, found in (("x86_64", "", None), ("x86_64", "<acpi/>", False), ("ppc64", "", False)):
        root = _xml.parse(text % (arch, features))
        assert Room(root, root).pci(_xml.parse(disk("vda"))) is found
        assert (Room(root, root).pluggable(_xml.parse(pci(0, 4))) is None) == (found is None)
    root = _xml.parse(q35())
    assert Room(root, root).pci(_xml.parse(disk("vda"))) is False


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (pci(4), "express"),
        (pci(0, 5), None),
        (pci(4).replace("function='0x0'", "function='0x1'"), None),
        (pci(4).replace("/>", " multifunction='on'/>"), None),
        (pci(40), None),
    ],
)
def test_where_something_can_be_plugged(address: str, expected: str | None) -> None:
    root = _xml.parse(q35())
    assert Room(root, root).pluggable(_xml.parse(address)) == expected


def claimed(before: str, after: str, *records: Memory) -> LivePlan:
    claims = Claims(*records)
    live, full = started(before)
    return plan(live, full, after, defined=before, situation=Situation(cpus=4), ours=claims, owned=claims.names)


def actions(found: LivePlan) -> list[str]:
    return [operation.action for operation in found.operations]


def test_only_what_is_declared_is_changed_while_it_runs() -> None:
    before, after = q35(), q35(disk("vda") + interface(1), "<title>a</title><description>b</description>")
    assert actions(claimed(before, after, Memory())) == []
    assert actions(claimed(before, after, Memory(["title"]))) == ["title"]
    assert actions(claimed(before, after, Memory([], {"disks": {"vda": ["source", "target"]}}))) == ["attach"]
    assert actions(claimed(before, after, Memory(document=q35(interface(1))))) == ["attach"]
    assert actions(claimed(before, after, Memory(fragments="<domain><description>b</description></domain>"))) == [
        "description"
    ]


def test_what_others_have_plugged_in_stays() -> None:
    before = q35(disk("vda") + disk("vdb", address=pci(4)) + interface(1, address=pci(5)))
    assert actions(claimed(before, q35(disk("vda")), Memory([], {"disks": {"vda": ["source", "target"]}}))) == []
    # What the last declaration has brought goes.
    last = Memory([], {"disks": {"vdb": ["source", "target"]}, "interfaces": {"52:54:00:00:00:01": ["mac"]}})
    assert actions(claimed(before, q35(disk("vda")), last)) == ["detach", "detach"]
    assert actions(claimed(before, q35(disk("vda")), Memory(document=q35(disk("vdb"))))) == ["detach"]


RUN = "<vcpupin vcpu='0' cpuset='1'/><vcpupin vcpu='1' cpuset='1'/><emulatorpin cpuset='1'/>"


@pytest.mark.parametrize(
    "defined", ["<vcpu placement='static' cpuset='1'>2</vcpu>", "<vcpu placement='static'>2</vcpu>"]
)
def test_a_list_of_processors_that_is_gone_is_lifted_from_each_thread(defined: str) -> None:
    """Also when the definition has been without it for long, for an earlier run was ended amid."""
    live, full = started(q35(more=f"<cputune>{RUN}</cputune>"))
    for record, expected in ((Memory(["cpuset"]), 3), (Memory(["title"]), 0)):
        claims = Claims(record)
        found = plan(
            live, full, q35(), defined=q35(vcpu=defined), situation=Situation(cpus=4), ours=claims, owned=claims.names
        )
        pins = [item for operation in found.operations for item in operation.arguments["pins"]]
        assert [item["cpus"] for item in pins] == [None] * expected
        assert [item.field for item in claims.waiting(found.after, q35())] == []


def test_a_list_of_processors_is_called_so_while_it_is_in_force() -> None:
    live, full = started(q35(more=f"<cputune>{RUN}</cputune>"))
    before = q35(vcpu="<vcpu placement='static' cpuset='1'>2</vcpu>")
    found = plan(live, full, q35(), defined=before, situation=Situation(cpus=4))
    assert [item.field for item in Claims(Memory(["cpuset"])).named(found.before, q35())] == ["cpuset"]


def test_a_place_counts_where_it_is_stated() -> None:
    before, after = q35(disk("vda", address=pci(4))), q35(disk("vda", address=pci(5)))
    for options, expected in ((["target"], False), (["target", "address"], True)):
        claims = Claims(Memory([], {"disks": {"vda": options}}))
        found = claimed(before, after, Memory([], {"disks": {"vda": options}}))
        assert bool(claims.waiting(found.after, after)) is expected


BARE = q35().replace("<input type='mouse' bus='ps2'/><audio id='1' type='none'/>", "")
SEEN = q35("<graphics type='vnc'/><input type='keyboard' bus='ps2'/><video><model type='vga'/></video>")
SAVED = SEEN.replace("<input type='mouse' bus='ps2'/><audio id='1' type='none'/>", "").replace(
    "<input type='keyboard' bus='ps2'/>", ""
)


@pytest.mark.parametrize("record", [Memory(), Memory([], {"graphics": {"vnc": ["type"]}})])
def test_what_libvirt_adds_beside_a_device_does_not_wait_by_itself(record: Memory) -> None:
    found = claimed(BARE, SEEN, record)
    assert [item.field for item in Claims(record).waiting(found.after, SEEN)] == ["graphics.vnc"]


@pytest.mark.parametrize(
    "record", [Memory(), Memory(document=SEEN), Memory([], {"inputs": {"keyboard.ps2": ["type"]}})]
)
def test_what_a_saved_state_leaves_out_does_not_wait(record: Memory) -> None:
    claims = Claims(record)
    found = plan(
        SAVED, SAVED, SEEN, defined=SEEN, situation=Situation(cpus=4, reachable=False), ours=claims, owned=claims.names
    )
    assert claims.waiting(found.after, SEEN) == []


def test_what_libvirt_would_add_waits_where_it_is_declared() -> None:
    record = Memory([], {"videos": {"0": ["model"]}, "inputs": {"keyboard.ps2": ["type"]}})
    found = claimed(BARE, SEEN, record)
    waiting = {item.field for item in Claims(record).waiting(found.after, SEEN)}
    assert waiting == {"graphics.vnc", "videos.0", "inputs.keyboard.ps2"}


def test_what_others_have_made_of_it_does_not_wait() -> None:
    before, after = q35(more="<title>theirs</title>"), q35(disk("vda"))
    found = claimed(before, after, Memory())
    assert [item.field for item in Claims(Memory()).waiting(found.after, after)] == ["disks.vda"]
    assert [item.field for item in Claims(Memory(["title"])).waiting(before, after)] == ["title", "disks.vda"]
