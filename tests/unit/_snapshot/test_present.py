# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is done so that there is a snapshot, and what is refused."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.compare import compare
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.observe import SnapshotState
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.plan import Quiet
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.removal import Removal
from ansible_collections.hypervisor.kvm.tests.unit._snapshot.states import MACHINE, NEW, disk, files, spec, state, taken

DISKS = [disk("vda", "/x/a.qcow2"), disk("vdb", "/x/b.qcow2"), disk("sda", device="cdrom")]
SEEN = files(state(DISKS), folders=frozenset({"/x"}), free={"/x": 1 << 40})
RUNS = dataclasses.replace(SEEN, state="running", active=True)
AGENT = dataclasses.replace(MACHINE, agent=True, agent_connected=True)


@pytest.mark.parametrize(
    ("params", "folder", "says"),
    [
        ({"memory_path": "/none/m"}, "/none", "for memory_path does not exist"),
        ({"kind": "external"}, "/x", "for the memory (beside the first overlay without memory_path) does not exist"),
    ],
)
def test_a_missing_folder_of_the_memory_is_named_as_it_was_stated(
    params: dict[str, t.Any], folder: str, says: str
) -> None:
    seen = files(RUNS, folders=set() if folder == "/x" else {"/x"})
    assert f"the folder {folder} {says}" in compare(spec(**params), seen).plan.missing


def _disks(text: str) -> dict[str, tuple[str | None, str | None]]:
    root = _xml.parse(text)
    return {
        node.get("name") or "": (node.get("snapshot"), _xml.find_attribute(node, "source", "file"))
        for node in root.findall("disks/disk")
    }


def test_internal() -> None:
    changes = compare(spec(description=" x "), SEEN)
    assert [change.field for change in changes.changes] == ["state", "kind", "description", "disks.vda", "disks.vdb"]
    create = changes.plan.create
    assert create.flags == ()
    assert _disks(create.document) == {"vda": ("internal", None), "vdb": ("internal", None), "sda": ("no", None)}
    assert _xml.find_text(_xml.parse(create.document), "description") == "x"


def test_external_of_one_disk() -> None:
    create = compare(spec(disks=[{"target": "vda", "path": "/x/o"}]), SEEN).plan.create
    assert create.flags == ("DISK_ONLY", "ATOMIC")
    assert _disks(create.document) == {"vda": ("external", "/x/o"), "vdb": ("no", None), "sda": ("no", None)}


def test_overlays_are_beside_the_disks_and_never_two_at_one_place() -> None:
    seen = files(state([disk("vda", "/x/d.qcow2"), disk("vdb", "/x/d.raw"), disk("vdc", "/x/plain")]), folders={"/x"})
    create = compare(spec(kind="external"), seen).plan.create
    assert [path for _kept, path in _disks(create.document).values()] == [
        "/x/d.before",
        "/x/d.before-vdb",
        "/x/plain.before",
    ]


@pytest.mark.parametrize(
    ("params", "memory", "flags"),
    [
        ({"kind": "external"}, ("external", "/x/web.before.memory"), ("ATOMIC", "LIVE")),
        ({"memory_path": "/x/m"}, ("external", "/x/m"), ("ATOMIC", "LIVE")),
        ({"disk_only": True}, ("no", None), ("DISK_ONLY", "ATOMIC")),
        ({"quiesce": True}, ("no", None), ("DISK_ONLY", "ATOMIC", "QUIESCE")),
        ({}, ("internal", None), ()),
    ],
)
def test_the_memory_of_a_running_domain(params: dict[str, t.Any], memory: t.Any, flags: tuple[str, ...]) -> None:
    plan = compare(spec(**params), dataclasses.replace(RUNS, machine=AGENT)).plan
    node = _xml.parse(plan.create.document).find("memory")
    assert node is not None
    assert (node.get("snapshot"), node.get("file")) == memory
    assert plan.create.flags == flags
    assert plan.create.quiet == (Quiet(30) if "QUIESCE" in flags else None)


def test_what_somebody_had_given_the_agent_it_gets_back() -> None:
    seen = dataclasses.replace(RUNS, machine=AGENT, agent_limit=7)
    assert compare(spec(quiesce=True, agent_timeout=4), seen).plan.create.quiet == Quiet(4, 7)


def test_an_agent_that_does_not_answer_is_asked_to_freeze_nothing() -> None:
    seen = dataclasses.replace(RUNS, machine=AGENT, agent_problem="Cannot ask the agent.")
    with pytest.raises(KvmError, match=r"does not answer within 4 s.*Cannot ask the agent\."):
        compare(spec(quiesce=True, agent_timeout=4), seen)


def test_what_nobody_chose_is_left_out() -> None:
    disks = [
        disk("vda", "/x/a.qcow2"), disk("vdb", "/x/b.qcow2", readonly=True), disk("vdc", "/x/c.raw", skip=True),
        disk("fda", "/x/f", device="floppy"), disk("sdb", device="cdrom"),
    ]  # fmt: skip
    create = compare(spec(kind="external"), files(state(disks), folders={"/x"})).plan.create
    assert {target for target, (kept, _path) in _disks(create.document).items() if kept == "external"} == {"vda"}


def test_what_is_there_stays() -> None:
    made = taken("before", "external", {"vda": ("/x/a.qcow2", "/x/a.before")}, memory="external", memory_path="/x/m")
    seen = state([disk("vda", "/x/a.before", "/x/a.qcow2")], made)
    for params in (
        {},
        {"kind": "external"},
        {"disks": [{"target": "vda", "path": "/x/a.before"}]},
        {"memory_path": "/x/m"},
        {"description": " "},
    ):
        assert not compare(spec(**params), seen), params
    changes = compare(spec(description="new\ntext "), seen)
    assert [(change.field, change.before, change.after) for change in changes.changes] == [
        ("description", None, "new\ntext")
    ]
    assert _xml.find_text(_xml.parse(changes.plan.describe), "description") == "new\ntext"


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"kind": "internal"}, "its kind is external, not internal"),
        ({"disk_only": True}, "its memory is external, not none"),
        ({"memory_path": "/x/other"}, "its memory_path is /x/m, not /x/other"),
        ({"disks": [{"target": "vda"}, {"target": "vdb"}]}, "its disks is vda, not vda, vdb"),
        ({"disks": [{"target": "vda", "path": "/x/o"}]}, "its path of disk vda is /x/a.before, not /x/o"),
    ],
)
def test_what_is_there_does_not_become_another(params: dict[str, t.Any], says: str) -> None:
    made = taken("before", "external", {"vda": ("/x/a.qcow2", "/x/a.before")}, memory="external", memory_path="/x/m")
    with pytest.raises(KvmError, match=says):
        compare(spec(**params), state([disk("vda", "/x/a.before", "/x/a.qcow2")], made))


def _with(seen: SnapshotState, **more: t.Any) -> SnapshotState:
    return dataclasses.replace(seen, **more)


def _one(*paths: str, **more: t.Any) -> SnapshotState:
    return files(state([disk("vda", *paths, **more)]), folders={"/x"})


INSIDE = dataclasses.replace(
    disk("vda", "/x/a.qcow2"), chain=(dataclasses.replace(DISKS[0].chain[0], internal=("before",)),)
)
BROKEN = dataclasses.replace(INSIDE, chain=(dataclasses.replace(DISKS[0].chain[0], problem="/x/a.qcow2: broken."),))
WRONG: list[tuple[dict[str, t.Any], SnapshotState, str]] = [
    ({}, _one("/x/b.raw"), "disk vda is in the format raw"),
    ({"disks": [{"target": "vda"}], "kind": "internal"}, SEEN, "so vdb as well"),
    ({"kind": "internal", "disk_only": True}, RUNS, "has its memory in it"),
    ({}, _with(SEEN, machine=dataclasses.replace(MACHINE, pflash=True)), "UEFI firmware"),
    ({}, _with(SEEN, machine=dataclasses.replace(MACHINE, pflash=True), version=NEW), "UEFI firmware"),
    ({}, state([INSIDE]), "which libvirt does not know"),
    ({"kind": "external"}, state([BROKEN]), "cannot be read: /x/a.qcow2: broken"),
    ({"kind": "external"}, state([]), "no disk that can be written"),
    ({"kind": "external"}, _one("/x/b.raw", readonly=True), "no disk that can be written"),
    ({"disks": [{"target": "vdz"}]}, SEEN, r"has no disk vdz \(it has: vda, vdb, sda\)"),
    ({"disks": [{"target": "sda"}]}, SEEN, "sda is a cdrom drive"),
    ({"disks": [{"target": "vda"}]}, _one("/x/b.raw", readonly=True), "vda cannot be written"),
    ({"kind": "external"}, _one("/x/b.raw", shareable=True), "is shared with other domains"),
    ({"kind": "external"}, _one("/x/b.raw", job="copy"), r"a block job \(copy\) is at work"),
    ({"kind": "external"}, _one("/x/b.raw", mirror="/x/c"), r"a block job \(copy\) is at work"),
    ({"kind": "external"}, _one("/dev/vg/b", type="block"), "state the path of its overlay"),
    ({"kind": "external"}, files(SEEN, there={"/x/a.before": "raw"}), r"/x/a.before.*is there already \(raw\)"),
    ({"kind": "external"}, files(SEEN, there={"/x/a.before": None}), "is there already .unreadable."),
    ({"memory_path": "/x/m"}, files(RUNS, there={"/x/m": "raw"}), "another memory_path"),
    ({"kind": "external"}, files(SEEN, free={"/x": 1000}), "up to 2MiB in /x, where 1000B are free"),
    ({"kind": "external"}, files(RUNS, free={"/x": 20 << 20}), "up to 66MiB in /x"),
    ({}, files(RUNS, free={"/x": 20 << 20}), "up to 66MiB in /x"),
    ({"kind": "external", "disks": [{"target": "vda"}]}, RUNS, "so vdb as well; or state disk_only"),
    ({"quiesce": True}, SEEN, "does not run, so there is nothing to quiesce"),
    ({"quiesce": True}, RUNS, "needs a channel to the guest's agent"),
    ({"quiesce": True}, _with(RUNS, machine=dataclasses.replace(AGENT, agent_connected=False)), "is not connected"),
    ({"quiesce": True}, _with(RUNS, machine=AGENT, state="paused"), "is not connected"),
    ({}, _with(RUNS, machine=dataclasses.replace(MACHINE, hostdevs=True)), "has a device of the host"),
    ({}, _with(SEEN, managed_save=True), "has a saved state"),
    ({}, _with(SEEN, state="crashed"), "the domain is crashed"),
    ({}, _with(SEEN, removal=Removal(("old",))), "removal of snapshot old of this domain was interrupted"),
    ({"kind": "external", "name": "x" * 199 + ".y"}, _one("/x/" + "d" * 100), "a name that no file can have"),
]


@pytest.mark.parametrize(("params", "seen", "says"), WRONG)
def test_what_is_refused(params: dict[str, t.Any], seen: SnapshotState, says: str) -> None:
    name = params.pop("name", "before")[:200]
    with pytest.raises(KvmError, match=says):
        compare(spec(name, **params), seen)


def test_what_a_guest_has_never_touched_needs_no_room() -> None:
    seen = _with(files(RUNS, free={"/x": 20 << 20}), resident=10 << 20)
    assert compare(spec(), seen).plan.create


def test_uefi_with_variables_in_qcow2_and_a_new_libvirt() -> None:
    machine = dataclasses.replace(MACHINE, pflash=True, nvram_format="qcow2")
    assert compare(spec(), _with(SEEN, machine=machine, version=NEW)).plan.create
    with pytest.raises(KvmError, match="UEFI"):
        compare(spec(), _with(SEEN, machine=machine))


def test_what_may_still_be_made_is_missing() -> None:
    assert compare(spec(), SnapshotState()).plan.missing == ["there is no domain web"]
    changes = compare(spec(disks=[{"target": "vda", "path": "/y/o"}]), SEEN)
    assert changes.plan.missing == ["the folder /y for the overlay of disk vda does not exist"]


def test_a_removal_of_another_does_not_hinder_what_is_there() -> None:
    made = taken("before", "internal", {"vda": ("/x/a.qcow2", None)})
    seen = state([disk("vda", "/x/a.qcow2")], made, removal=Removal(("other",)))
    assert not compare(spec(), seen)
    with pytest.raises(KvmError, match="interrupted"):
        compare(spec(), _with(seen, removal=Removal(("before",))))
