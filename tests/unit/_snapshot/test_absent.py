# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is done so that there is no snapshot any more, and what is refused."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.chain import Merge
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.compare import compare
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.observe import SnapshotState
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.removal import Removal
from ansible_collections.hypervisor.kvm.tests.unit._snapshot.states import disk, files, spec, state, taken

ONE = taken("one", "external", {"vda": ("/x/b.raw", "/x/b.one")})
TWO = taken("two", "external", {"vda": ("/x/b.one", "/x/b.two")}, parent="one", created=2, current=True)
CHAIN = disk("vda", "/x/b.two", "/x/b.one", "/x/b.raw")
SEEN = state([CHAIN], ONE, TWO)
FIRST = Merge("vda", "/x/b.raw", "raw", ("/x/b.one",), "/x/b.two")
LAST = Merge("vda", "/x/b.one", "qcow2", ("/x/b.two",))
ALL = Merge("vda", "/x/b.raw", "raw", ("/x/b.two", "/x/b.one"))


def _absent(name: str, seen: SnapshotState, **params: t.Any) -> t.Any:
    return compare(spec(name, state="absent", **params), seen)


def test_nothing_is_nothing() -> None:
    assert not _absent("none", SEEN)
    assert not _absent("none", SnapshotState())
    assert not _absent("none", SnapshotState(unknown=True))


def test_the_last() -> None:
    changes = _absent("two", SEEN)
    assert [(change.field, change.before, change.after) for change in changes.changes] == [
        ("state", "present", "absent"),
        ("disks.vda", "/x/b.two", None),
    ]
    assert changes.plan.removal == Removal(("two",), (LAST,))
    assert (changes.plan.forget, changes.plan.delete) == (["two"], [])


def test_the_first() -> None:
    plan = _absent("one", SEEN).plan
    assert plan.removal == Removal(("one",), (FIRST,))
    assert plan.forget == ["one"]


def test_with_its_children() -> None:
    memory = dataclasses.replace(ONE, memory="external", memory_path="/x/m")
    seen = files(state([CHAIN], memory, TWO), there={"/x/m": "raw"})
    changes = _absent("one", seen, children=True)
    assert changes.plan.removal == Removal(("two", "one"), (ALL,), ("/x/m",))
    assert changes.plan.forget == ["two", "one"]
    fields = [change.field for change in changes.changes]
    assert fields == ["state", "children.two", "disks.vda", "disks.vda", "memory"]


def test_only_the_record() -> None:
    changes = _absent("one", SEEN, metadata_only=True, children=True)
    assert (changes.plan.removal, changes.plan.forget) == (None, ["two", "one"])


def test_internal_ones_are_left_to_libvirt() -> None:
    inside = taken("inside", "internal", {"vda": ("/x/a.qcow2", None)})
    plan = _absent("inside", state([disk("vda", "/x/a.qcow2")], inside)).plan
    assert (plan.removal, plan.delete, plan.forget) == (None, ["inside"], [])


def test_an_internal_one_goes_with_the_overlay_that_it_is_in() -> None:
    inside = taken("inside", "internal", {"vda": ("/x/b.one", None)}, parent="one", created=2)
    seen = state([disk("vda", "/x/b.one", "/x/b.raw")], ONE, inside)
    plan = _absent("one", seen, children=True).plan
    assert (plan.forget, plan.delete) == (["inside", "one"], [])
    with pytest.raises(KvmError, match="snapshot inside is inside of"):
        _absent("one", seen)


def test_an_internal_one_below_an_overlay() -> None:
    inside = taken("inside", "internal", {"vda": ("/x/a.qcow2", None)})
    above = taken("above", "external", {"vda": ("/x/a.qcow2", "/x/a.above")}, parent="inside", created=2)
    seen = state([disk("vda", "/x/a.above", "/x/a.qcow2")], inside, above)
    assert _absent("inside", seen).plan.delete == ["inside"]
    running = dataclasses.replace(seen, state="running", active=True)
    with pytest.raises(KvmError, match="stands on the image with the snapshot; remove above, made later, first"):
        _absent("inside", running)
    foreign = state([disk("vda", "/x/mine", "/x/a.qcow2")], inside, state="running")
    with pytest.raises(KvmError, match=r"the domain runs on /x/mine, .*; merge it first, or stop the domain"):
        _absent("inside", foreign)
    plan = _absent("inside", running, children=True).plan
    assert (plan.forget, plan.delete) == (["above"], ["inside"])


def test_what_was_merged_by_hand() -> None:
    seen = files(state([disk("vda", "/x/b.raw")], ONE), there={"/x/b.one": "qcow2"})
    plan = _absent("one", seen).plan
    assert (plan.removal, plan.forget) == (None, ["one"])
    assert "/x/b.one of disk vda is not used by the domain any more and stays" in plan.warnings[0]


def test_an_overlay_that_no_snapshot_made_stays_in_use() -> None:
    odd = taken("one", "external", {"vda": ("/x/b.raw", "/x/gone")})
    plan = _absent("one", state([disk("vda", "/x/mine", "/x/b.raw")], odd)).plan
    assert (plan.removal, plan.forget) == (None, ["one"])


def test_where_the_domain_does_not_stand_only_libvirt_knows() -> None:
    elsewhere = state([disk("vda", "/y/other")], ONE)
    assert _absent("one", elsewhere).plan.delete == ["one"]
    assert _absent("one", dataclasses.replace(SEEN, local=False)).plan.delete == ["one"]
    inside = taken("inside", "internal", {"vda": ("/x/b.one", None)}, parent="one", created=2)
    with pytest.raises(KvmError, match="snapshot inside is inside of"):
        _absent("one", state([disk("vda", "/y/other")], ONE, inside))


def test_a_later_snapshot_in_the_way_is_named() -> None:
    two = taken("two", "external", {"vda": ("/x/b.one", "/x/b.two")}, parent="one", created=2)
    three = taken("three", "external", {"vda": ("/x/b.two", "/x/b.three")}, parent="two", created=3)
    other = taken("other", "external", {"vda": ("/y/other", "/y/above")}, created=4, current=True)
    seen = state([disk("vda", "/y/above", "/y/other")], ONE, two, three, other)
    with pytest.raises(KvmError, match=r"three and two were made after this one; remove them, in this order, first"):
        _absent("one", seen)
    with pytest.raises(KvmError, match=r"and three was made after this one; remove it first"):
        _absent("two", seen)
    assert _absent("three", seen).plan.delete == ["three"]
    assert _absent("one", seen, children=True).plan.delete == ["three", "two", "one"]
    # Those on the way to the current one libvirt merges.
    far = state([disk("vda")], ONE, dataclasses.replace(two, current=True), local=False)
    assert _absent("one", far).plan.delete == ["one"]


def test_a_disk_that_the_domain_has_no_more() -> None:
    plan = _absent("one", state([disk("vdb", "/x/c")], ONE)).plan
    assert (plan.removal, plan.forget, plan.delete) == (None, ["one"], [])


# --- interrupted ------------------------------------------------------------------------------------------------------


def test_nothing_else_is_done_before_it_is_finished() -> None:
    seen = dataclasses.replace(SEEN, removal=Removal(("two",), (LAST,)))
    with pytest.raises(KvmError, match="removal of snapshot two of this domain was interrupted"):
        _absent("one", seen)
    with pytest.raises(KvmError, match="interrupted"):
        _absent("two", seen, metadata_only=True)
    assert not _absent("none", seen)


def test_what_is_merged_already_is_not_merged_again() -> None:
    left = Removal(("two",), (LAST,), ("/x/m",))
    seen = state([disk("vda", "/x/b.one", "/x/b.raw")], ONE, TWO, removal=left)
    plan = _absent("two", seen).plan
    assert plan.removal == left
    assert plan.forget == ["two"]


def test_the_record_is_gone_and_the_files_are_not() -> None:
    left = Removal(("two",), (LAST,))
    changes = _absent("two", state([disk("vda", "/x/b.one", "/x/b.raw")], ONE, removal=left))
    assert changes.plan.removal == left
    assert (changes.plan.forget, changes.plan.delete) == ([], [])
    assert [(change.field, change.before) for change in changes.changes] == [("state", "interrupted removal")]


def test_all_that_was_begun_is_finished() -> None:
    left = Removal(("two", "one"), (ALL,))
    plan = _absent("two", dataclasses.replace(SEEN, removal=left)).plan
    assert plan.removal == left
    assert plan.forget == ["two", "one"]
    # Merged, but their records are still there: what they name is in no chain any more.
    plan = _absent("one", state([disk("vda", "/x/b.raw")], ONE, TWO, removal=left)).plan
    assert plan.removal == left
    assert (plan.forget, plan.delete) == (["two", "one"], [])


def test_an_older_merge_is_never_repeated_after_a_later_one() -> None:
    """The first was to be merged alone, and now all is: merging the first again would bring back old data."""
    seen = dataclasses.replace(SEEN, removal=Removal(("one",), (FIRST,)))
    plan = _absent("one", seen, children=True).plan
    assert plan.removal.merges == (ALL,)


def test_a_merge_whose_snapshot_somebody_has_forgotten() -> None:
    seen = state([CHAIN], TWO, removal=Removal(("one",), (FIRST,)))
    plan = _absent("one", seen).plan
    assert plan.removal.merges == (FIRST,)
    assert plan.forget == []


# --- refused ----------------------------------------------------------------------------------------------------------


def _layer(number: int, **more: t.Any) -> SnapshotState:
    chain = list(CHAIN.chain)
    chain[number] = dataclasses.replace(chain[number], **more)
    return state([dataclasses.replace(CHAIN, chain=tuple(chain))], ONE, TWO)


WRONG: list[tuple[SnapshotState, str]] = [
    (state([dataclasses.replace(CHAIN, job="copy")], ONE, TWO, state="running"), r"block job \(copy\)"),
    (state([dataclasses.replace(CHAIN, job="pull")], ONE, TWO, state="running"), r"block job \(pull\)"),
    (
        state([dataclasses.replace(CHAIN, job="active_commit", mirror="/x/b.raw")], ONE, TWO, state="running"),
        r"block job \(active_commit\)",
    ),
    (dataclasses.replace(SEEN, managed_save=True), "has a saved state"),
    (dataclasses.replace(SEEN, state="crashed"), "the domain is crashed"),
    (files(SEEN, users={"/x/b.two": "domain db"}), "/x/b.two is also what domain db stands on"),
    (files(SEEN, users={"/x/b.one": "/x/other"}), "/x/b.one is also what /x/other stands on"),
    (files(SEEN, real={"/x/b.one": "/y/b"}, users={"/y/b": "/x/other"}), "/x/b.one is also what /x/other stands on"),
    (_layer(0, internal=("foreign",)), "has a snapshot foreign that libvirt does not know"),
    (_layer(0, typed=False), "does not state the format"),
    (_layer(1, problem="/x/b.one: broken."), "cannot be merged: /x/b.one: broken"),
    (files(SEEN, growth={("/x/b.two", "/x/b.one"): 5 << 20}, free={"/x": 1 << 20}), "needs 5MiB in /x, where 1MiB"),
]


@pytest.mark.parametrize(("seen", "says"), WRONG)
def test_what_is_refused(seen: SnapshotState, says: str) -> None:
    with pytest.raises(KvmError, match=says):
        _absent("two", seen)
    # Only the record concerns no file.
    assert _absent("two", seen, metadata_only=True)


def test_a_job_that_merges_the_same_is_as_good_as_ours() -> None:
    busy = dataclasses.replace(CHAIN, job="active_commit", mirror="/x/b.one")
    assert _absent("two", state([busy], ONE, TWO, state="running")).plan.removal.merges == (LAST,)
    busy = dataclasses.replace(CHAIN, job="commit")
    assert _absent("one", state([busy], ONE, TWO, state="running")).plan.removal.merges == (FIRST,)


def test_room_that_is_enough_and_room_that_nobody_knows() -> None:
    for growth, free in ((5, 5), (None, 0), (5, None)):
        seen = files(SEEN, growth={("/x/b.two", "/x/b.one"): growth}, free={"/x": free})
        assert _absent("two", seen)
