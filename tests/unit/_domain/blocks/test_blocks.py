# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks that grow, are copied, and go on with their copies: what is wanted, what is refused, what is planned."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import activity, compare, memory, spec, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks import adopt
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks.place import reused
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks.plan import Blocks
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks.seen import Disk, Place
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks.wish import Mirror, Wish
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.observe import DomainState
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import blockjobs
from hypothesis import given
from hypothesis import strategies as st

MIB = 1024 * 1024
A, B = "/x/a.raw", "/x/b.qcow2"
MIRROR = {"path": B, "format": "qcow2"}
PIVOT = {**MIRROR, "pivot": True}
DISK = {"target": "vda", "source": A}
RUNS = Disk(running=A, chain=(A,), size=64 * MIB, place=Place())


def declared(*disks: dict[str, t.Any], **options: t.Any) -> spec.DomainSpec:
    return spec.parse({"name": "web", "memory": 512, "disks": list(disks), **options})


def state(
    wanted: spec.DomainSpec, disk: Disk | None = None, record: memory.Memory | None = None, word: str = "running"
) -> DomainState:
    """The domain as an earlier run of a declaration has left it, with its disk as it is."""
    merged = xml.merge("web", wanted.definition, None, memory.Memory())
    document = merged.document
    runs = word == "running"
    return DomainState(
        exists=True,
        persistent=True,
        state=word,
        active=runs,
        document=document,
        live=document if runs else None,
        running=document if runs else None,
        memory=merged.memory if record is None else record,
        live_memory=merged.memory if record is None and runs else memory.Memory(),
        disks={} if disk is None else {"vda": disk},
    )


def changed(wanted: spec.DomainSpec, observed: DomainState) -> tuple[dict[str, t.Any], Blocks]:
    found = compare.compare(wanted, observed)
    assert all(change.effect == "live" for change in found.changes)
    return {change.field: (change.before, change.after) for change in found.changes}, found.plan.blocks


PLAIN = declared(DISK)


@pytest.mark.parametrize(
    ("disk", "words"),
    [
        ({"size": "0"}, "is no size"),
        ({"size": "much"}, "is no size"),
        ({"size": "1GiB", "format": "vmdk"}, "raw and qcow2"),
        ({"size": "1GiB", "pool": "p"}, "type volume"),
        ({"size": "1GiB", "network": {"protocol": "rbd"}}, "type network"),
        ({"size": "1GiB", "readonly": True}, "readonly"),
        ({"size": "1GiB", "transient": True}, "transient"),
        ({"size": "1GiB", "device": "cdrom", "bus": "sata"}, "is a cdrom"),
        ({"size": "1GiB", "device": "lun", "source": "/dev/sdb"}, "is a lun"),
        ({"mirror": {"format": "raw"}}, "needs a path"),
        ({"mirror": {"path": "b"}}, "absolute path"),
        ({"mirror": {"path": A}}, "place of its own"),
        ({"mirror": MIRROR, "shareable": True}, "shareable"),
        ({"mirror": MIRROR, "readonly": True}, "readonly"),
        ({"mirror": MIRROR, "encryption": {"format": "luks"}}, "encrypted"),
        ({"mirror": MIRROR, "device": "cdrom", "bus": "sata"}, "is a cdrom"),
        ({"mirror": {"path": B}, "format": "vmdk"}, "mirror.format"),
        ({"mirror": MIRROR, "type": "dir"}, "cannot be mirrored"),
    ],
)
def test_what_cannot_be_is_refused_by_name(disk: dict[str, t.Any], words: str) -> None:
    with pytest.raises(InvalidSpec, match=words) as caught:
        declared({**DISK, **disk})
    assert "web" in caught.value.message


def test_no_two_copies_are_at_one_place() -> None:
    other = {"target": "vdb", "source": "/x/c"}
    with pytest.raises(InvalidSpec, match="its own"):
        declared({**DISK, "mirror": {"path": "/x/c"}}, other)
    with pytest.raises(InvalidSpec, match="its own"):
        declared({**DISK, "mirror": MIRROR}, {**other, "mirror": MIRROR})
    with pytest.raises(InvalidSpec, match="disk"):
        spec.check_together(
            [
                declared({**DISK, "mirror": MIRROR}),
                dataclasses.replace(declared({"target": "vda", "source": B}), name="c"),
            ]
        )
    spec.check_together([declared({**DISK, "mirror": PIVOT})])


def test_wishes_are_not_in_the_document() -> None:
    wanted = declared({**DISK, "size": "1GiB", "mirror": MIRROR})
    assert wanted.definition.devices == PLAIN.definition.devices
    assert wanted.definition.wishes == {"vda": Wish(A, 1024 * MIB, Mirror(B, "qcow2"))}
    one, other = (xml.merge("web", item.definition, None, memory.Memory()) for item in (wanted, PLAIN))
    assert xml.shown(one.document) == xml.shown(other.document)
    assert xml.remembered(one.document).mirrors == {"vda": (B, A)}
    assert xml.remembered(other.document).mirrors == {}


@given(st.integers(1, 2**50))
def test_sizes_are_whole_sectors(size: int) -> None:
    found = declared({**DISK, "size": str(size)}).definition.wishes["vda"].size
    assert found is not None
    assert found % 512 == 0
    assert 0 <= found - size < 512


@given(
    st.dictionaries(st.sampled_from(["vda", "vdb"]), st.tuples(st.text(max_size=5), st.none() | st.text(max_size=5)))
)
def test_the_record_of_copies_is_read_as_it_was_written(mirrors: dict[str, tuple[str, str | None]]) -> None:
    clean = {
        target: (path, source) for target, (path, source) in mirrors.items() if (path + (source or "")).isprintable()
    }
    root = _xml.element("domain")
    memory.write(root, memory.Memory(["title"], mirrors=clean))
    assert memory.read(root) == memory.Memory(["title"], mirrors=clean)


@given(st.integers(1, 100), st.integers(1, 100))
def test_a_disk_grows_and_never_shrinks(now: int, wanted: int) -> None:
    after = declared({**DISK, "size": f"{wanted}MiB"})
    observed = state(PLAIN, dataclasses.replace(RUNS, size=now * MIB))
    if wanted < now:
        with pytest.raises(InvalidSpec, match="never made smaller"):
            compare.compare(after, observed)
        return
    fields, blocks = changed(after, observed)
    assert fields == ({"disks.vda.size": (now * MIB, wanted * MIB)} if wanted > now else {})
    assert [(item.target, item.path, item.format, item.size) for item in blocks.growths] == [
        ("vda", A, "raw", wanted * MIB)
    ] * len(fields)


@pytest.mark.parametrize(
    ("disk", "words"),
    [
        ({"fixed": "it has snapshots"}, "it has snapshots"),
        ({"user": "other"}, "domain other uses it"),
        ({"job": "copy", "copy": "/x/z"}, "copy job"),
        ({"job": "pull"}, "pull job"),
        ({"device": 64 * MIB}, "on a device of 64MiB"),
        ({"device": 256 * MIB}, "on a device of 256MiB"),
    ],
)
def test_what_does_not_let_a_disk_grow(disk: dict[str, t.Any], words: str) -> None:
    wanted = declared({**DISK, "size": "128MiB"})
    with pytest.raises((Busy, InvalidSpec), match=words):
        compare.compare(wanted, state(PLAIN, dataclasses.replace(RUNS, **disk)))


def test_a_device_that_has_grown_is_told_to_the_guest() -> None:
    seen = dataclasses.replace(RUNS, device=128 * MIB)
    assert changed(declared({**DISK, "size": "128MiB"}), state(PLAIN, seen))[0] == {
        "disks.vda.size": (64 * MIB, 128 * MIB)
    }
    # Unless it was asked for nobody tells.
    assert (
        changed(declared({**DISK, "size": "64MiB"}), state(PLAIN, dataclasses.replace(seen, device=64 * MIB)))[0] == {}
    )


def test_a_disk_is_not_changed_under_a_saved_guest() -> None:
    observed = state(PLAIN, RUNS, word="saved")
    observed = dataclasses.replace(observed, live=observed.document)
    with pytest.raises(Busy, match="saved"):
        compare.compare(declared({**DISK, "size": "128MiB"}, state="saved"), observed)


def test_a_disk_that_is_not_there_has_no_size_yet() -> None:
    assert changed(declared({**DISK, "size": "1GiB"}), state(PLAIN, Disk()))[0] == {}


def test_a_copy_begins_goes_on_and_ends() -> None:
    wanted = declared({**DISK, "mirror": MIRROR})
    fields, blocks = changed(wanted, state(PLAIN, RUNS))
    assert fields == {"disks.vda.mirror": (None, B)}
    assert [item.mirror.path for item in blocks.copies] == [B]
    assert not blocks.ended
    copying = dataclasses.replace(RUNS, job="copy", copy=B, place=None)
    fields, blocks = changed(wanted, state(wanted, copying))
    # Waited for, and no change.
    assert fields == {}
    assert len(blocks.copies) == 1
    fields, blocks = changed(PLAIN, state(wanted, copying))
    assert fields == {"disks.vda.mirror": (B, None)}
    assert blocks.ended == {"vda": B}
    assert not blocks.copies
    # Of a disk that is taken out as well.
    assert compare.compare(declared(), state(wanted, copying)).plan.blocks.ended == {"vda": B}
    # Elsewhere.
    other = declared({**DISK, "mirror": {"path": "/x/c"}})
    fields, blocks = changed(other, state(wanted, dataclasses.replace(copying, place=Place())))
    assert fields == {"disks.vda.mirror": (B, "/x/c")}
    assert blocks.ended == {"vda": B}
    assert len(blocks.copies) == 1


def test_a_copy_of_somebody_else_is_no_difference_and_not_ended() -> None:
    copying = dataclasses.replace(RUNS, job="copy", copy="/x/theirs")
    fields, blocks = changed(PLAIN, state(PLAIN, copying))
    assert fields == {}
    assert blocks == Blocks()
    with pytest.raises(Busy, match="knows nothing of"):
        compare.compare(declared({**DISK, "mirror": MIRROR}), state(PLAIN, copying))


@pytest.mark.parametrize("job", ["copy", "pull", "commit", "active-commit"])
def test_what_a_job_holds_does_not_change(job: str) -> None:
    observed = state(PLAIN, dataclasses.replace(RUNS, job=job))
    with pytest.raises(Busy, match=f"{job} job"):
        compare.compare(declared(), observed)
    with pytest.raises(Busy, match=f"{job} job"):
        compare.compare(declared({**DISK, "source": "/x/c"}), observed)
    found = compare.compare(declared({**DISK, "iotune": {"total_iops_sec": 5}}), observed)
    assert [change.field for change in found.changes] == ["disks.vda.iotune.total_iops_sec"]


def test_a_domain_goes_on_with_its_copy() -> None:
    wanted = declared({**DISK, "mirror": PIVOT})
    fields, blocks = changed(wanted, state(PLAIN, RUNS))
    moves = {"disks.vda.source": (A, B), "disks.vda.format": ("raw", "qcow2")}
    assert fields == moves
    assert blocks.copies[0].mirror.pivot
    # From where a copy is that was begun.
    copying = dataclasses.replace(RUNS, job="copy", copy=B, place=None)
    assert changed(wanted, state(declared({**DISK, "mirror": MIRROR}), copying))[0] == moves
    # There.
    moved = declared({"target": "vda", "source": B, "format": "qcow2"})
    record = xml.merge("web", wanted.definition, None, memory.Memory()).memory
    there = state(moved, dataclasses.replace(RUNS, running=B, chain=(B,)), record)
    again = adopt.adopted(wanted, (there.document, there.live), lambda path: [path])
    assert changed(again, there) == ({}, Blocks())
    # The record of the copy is kept, so that nobody goes back by mistake.
    assert xml.merge("web", again.definition, there.document, record).memory.mirrors == {"vda": (B, A)}
    with pytest.raises(Busy, match=r"state .* as its source"):
        compare.compare(PLAIN, there)
    with pytest.raises(Busy, match=r"state .* as its source"):
        compare.compare(declared({**DISK, "mirror": MIRROR}), there)
    assert changed(moved, there)[0] == {}
    # Once that was stated, another source is as any other change.
    found = compare.compare(PLAIN, state(moved, dataclasses.replace(RUNS, running=B, chain=(B,))))
    assert {change.field for change in found.changes} == {"disks.vda.source", "disks.vda.format"}


def test_an_overlay_on_the_copy_is_the_copy() -> None:
    wanted = declared({**DISK, "mirror": PIVOT})
    top = declared({"target": "vda", "source": "/x/b.snap", "format": "qcow2"})
    record = xml.merge("web", wanted.definition, None, memory.Memory()).memory
    there = state(top, dataclasses.replace(RUNS, running="/x/b.snap", chain=("/x/b.snap", B)), record)
    again = adopt.adopted(wanted, (there.document,), lambda path: [path, B])
    assert again.definition.devices["disks"][0]["source"] == B
    assert again.definition.wishes["vda"].reached
    with pytest.raises(Busy, match=r"state /x/b\.snap as its source"):
        compare.compare(PLAIN, there)


def test_a_definition_that_was_left_behind_is_brought_along() -> None:
    wanted = declared({**DISK, "mirror": PIVOT})
    was, now = state(PLAIN), state(declared({"target": "vda", "source": B, "format": "qcow2"}))
    again = adopt.adopted(wanted, (was.document, now.live), lambda path: [path])
    assert again.definition.wishes["vda"].reached
    assert adopt.source(adopt.moved(was.document or "", "vda", Mirror(B, "qcow2")), "vda") == B
    seen = xml.read(adopt.moved(was.document or "", "vda", Mirror("/dev/vg/b", "raw"))).devices["disks"]["vda"]
    assert (seen["type"], seen["source"], seen["format"]) == ("block", "/dev/vg/b", "raw")
    assert adopt.adopted(PLAIN, (now.document,), lambda path: [path]) is PLAIN


@pytest.mark.parametrize(("word", "wanted"), [("running", "stopped"), ("running", "saved"), ("stopped", "defined")])
def test_what_does_not_run_has_no_mirror(word: str, wanted: str) -> None:
    with pytest.raises(InvalidSpec, match="does not run"):
        compare.compare(declared({**DISK, "mirror": PIVOT}, state=wanted), state(PLAIN, RUNS, word=word))


def test_it_begins_after_the_start() -> None:
    off = dataclasses.replace(RUNS, running=None)
    fields, blocks = changed(declared({**DISK, "mirror": MIRROR}), state(PLAIN, off, word="stopped"))
    assert fields == {"disks.vda.mirror": (None, B), "state": ("stopped", "running")}
    assert len(blocks.copies) == 1


def test_what_runs_is_copied_and_not_what_will_run() -> None:
    wanted = declared({"target": "vda", "source": "/x/c", "mirror": MIRROR})
    with pytest.raises(Busy, match="until the next start"):
        compare.compare(wanted, state(PLAIN, RUNS))


@pytest.mark.parametrize(
    ("place", "ours", "reuse", "words"),
    [
        (None, False, False, None),
        (Place(), False, False, None),
        (Place(), True, True, None),
        (Place("file", empty=True), False, False, None),
        (Place("file", format="qcow2", size=MIB), False, False, "exists already"),
        (Place("file", format="qcow2", size=MIB), True, False, None),
        (Place("file", format="qcow2", size=MIB), False, True, None),
        (Place("file", format="raw", size=MIB), False, True, "is raw, not qcow2"),
        (Place("file", format="qcow2", size=2 * MIB), True, False, "has 2MiB, but the disk has 1MiB"),
        (Place("file", format="qcow2", size=MIB, backing=True), True, True, "stands on another file"),
        (Place("file", format="qcow2", size=MIB, beneath=True), True, True, "itself stands on"),
        (Place("file", format="qcow2", size=MIB, user="other"), True, True, "used by domain other"),
        (Place("other"), False, True, "is no file"),
        (Place("block", size=MIB), False, True, "is no file"),
    ],
)
def test_what_is_there_is_written_over_only_when_it_may_be(
    place: Place | None, ours: bool, reuse: bool, words: str | None
) -> None:
    mirror = Mirror(B, "qcow2", reuse=reuse)
    if words is not None:
        with pytest.raises((Busy, InvalidSpec), match=words):
            reused("disk vda", mirror, place, MIB, ours)
        return
    again = reused("disk vda", mirror, place, MIB, ours)
    assert again == (reuse if place is None else place.kind == "file" and not place.empty)


def test_a_device_is_written_over_only_when_that_is_said() -> None:
    mirror = Mirror("/dev/vg/b", "raw")
    assert mirror.type == "block"
    with pytest.raises(Busy, match="reuse"):
        reused("disk vda", mirror, Place("block", size=MIB), MIB, ours=False)
    mirror = dataclasses.replace(mirror, reuse=True)
    assert reused("disk vda", mirror, Place("block", size=MIB), MIB, ours=False)
    with pytest.raises(InvalidSpec, match="make it as large"):
        reused("disk vda", mirror, Place("block", size=2 * MIB), MIB, ours=False)
    with pytest.raises(InvalidSpec, match="no device"):
        reused("disk vda", mirror, Place(), MIB, ours=False)


def test_a_missing_folder_is_named() -> None:
    found = compare.compare(
        declared({**DISK, "mirror": MIRROR}), state(PLAIN, dataclasses.replace(RUNS, place=Place(folder=False)))
    )
    assert any(B in what for what in found.plan.missing)


def test_copies_are_read_from_the_document() -> None:
    document = """<domain><devices>
    <disk><source file='/a'/><mirror type='file' job='copy' ready='yes'><source file='/b'/></mirror><target dev='vda'/></disk>
    <disk><source file='/c'/><mirror type='block' job='active-commit'><source dev='/dev/d'/></mirror><target dev='vdb'/></disk>
    <disk><target dev='vdc'/></disk></devices></domain>"""
    assert blockjobs.mirrors(document) == {
        "vda": blockjobs.Mirror("copy", "/b", True),
        "vdb": blockjobs.Mirror("active-commit", "/dev/d", False),
    }
    assert blockjobs.mirror(document, "vdc") is None


def test_a_plan_without_wishes_has_nothing_to_do() -> None:
    changes = ChangeSet("web", compare.DomainPlan(activity=activity.Activity()))
    assert changes.plan.blocks == Blocks()
