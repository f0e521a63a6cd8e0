# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images: the record, and (wanted, observed) -> changes."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, InvalidSpec, KvmError, NotFound
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import compare, declaration, manifest, spec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.disk_file import FileState
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.observe import ImageState
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.plan import Others
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.seen import Seen
from ansible_collections.hypervisor.kvm.tests.unit._image.disks import GIB
from ansible_collections.hypervisor.kvm.tests.unit._image.states import (
    BASE,
    COPY,
    PARAMS,
    content,
    nothing,
    parse,
    there,
)

OTHER_BASE = Seen(dataclasses.replace(BASE, mtime_ns=2))


def test_a_missing_image_is_made() -> None:
    changes = compare.compare(parse(size="5GiB"), nothing(parse()))
    assert changes.plan.create
    assert not changes.plan.replace
    fields = [change.field for change in changes.changes]
    assert fields[:2] == ["state", "size"]
    assert "customize.hostname" in fields
    assert any(entry["after_header"].endswith("/etc/network/interfaces") for entry in changes.diff())


def test_no_secret_is_shown_or_recorded() -> None:
    changes = compare.compare(parse(), nothing(parse()))
    for text in (repr(changes.results()), repr(changes.diff()), manifest.dump(there(parse()).manifest)):  # type: ignore[arg-type]
        assert "salt$hash" not in text
        assert "do not tell" not in text


def test_what_was_made_is_not_made_again() -> None:
    wanted = parse(size="5GiB", kernel="/srv/k", initrd="/srv/i", mode="0600")
    assert not compare.compare(wanted, there(wanted))
    assert not compare.compare(wanted, there(wanted, in_use=True, written=True, owner="qemu", virtual_size=9 * GIB))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"source": {"image": {"path": "/srv/other.img"}}}, "source.image.path"),
        ({"source": {"blank": True}, "customize": None, "size": "2GiB"}, "source.blank"),
        ({"source": COPY, "partition": "root", "format": "qcow2"}, "partition"),
    ],
)
def test_another_declaration_is_refused_or_made_anew(options: dict[str, t.Any], field: str) -> None:
    with pytest.raises(KvmError) as caught:
        compare.compare(parse(**options), there(parse(), parse(**options)))
    assert field in caught.value.message
    assert "rebuild: on_change" in caught.value.message
    changes = compare.compare(parse(**options, rebuild="on_change"), there(parse(), parse(**options)))
    assert changes.plan.create
    assert changes.plan.replace
    assert {change.effect for change in changes.changes} == {"recreate"}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"customize": {**PARAMS["customize"], "hostname": "b"}}, "customize.hostname"),
        ({"customize": {**PARAMS["customize"], "root_password": "$6$salt$other"}}, "customize.root_password"),
        ({"source": COPY, "format": "qcow2"}, "source.image.mode"),
        ({"fstab": [{"src": "/dev/vda", "path": "/", "fstype": "ext4"}]}, "fstab"),
    ],
)
def test_what_can_be_is_changed_in_place(options: dict[str, t.Any], field: str) -> None:
    changes = compare.compare(parse(**options), there(parse(), parse(**options)))
    assert [change.field for change in changes.changes] == [field]
    assert not changes.plan.create
    assert changes.plan.changes_content


def test_an_image_in_use_is_not_made_anew() -> None:
    with pytest.raises(Busy, match="running domain"):
        compare.compare(parse(rebuild="on_change", customize={}), there(parse(), in_use=True))
    state = dataclasses.replace(there(parse()), holders=("/dev/loop7 (mounted at /mnt)",))
    with pytest.raises(Busy, match="/dev/loop7") as caught:
        compare.compare(parse(rebuild="on_change", customize={}), state)
    assert caught.value.details["holders"] == ["/dev/loop7 (mounted at /mnt)"]
    with pytest.raises(Busy, match="another task"):
        compare.compare(parse(rebuild="on_change", customize={}), dataclasses.replace(there(parse()), taken=True))


def test_it_grows_and_never_shrinks() -> None:
    assert compare.compare(parse(size="5GiB"), there(parse(size="3GiB"))).plan.size == 5 * GIB
    assert not compare.compare(parse(size="3GiB"), there(parse(size="5GiB")))
    with pytest.raises(Busy, match="cannot be changed"):
        compare.compare(parse(size="5GiB"), there(parse(size="3GiB"), in_use=True))


def test_a_base_with_overlays_stays() -> None:
    base = spec.parse({"path": "/srv/base.img", "source": {"blank": True}, "size": "2GiB"})
    gone = spec.parse({"path": "/srv/base.img", "state": "absent"})
    state = dataclasses.replace(there(base, backing=()), overlays=("/srv/a.qcow2",))
    for wanted in (
        gone,
        dataclasses.replace(base, blank=False, base=spec.BaseImage("/srv/c.img", "copy"), rebuild="on_change"),
        dataclasses.replace(base, format="qcow2"),
        dataclasses.replace(base, size=4 * GIB),
    ):
        with pytest.raises(Busy, match=r"/srv/a\.qcow2"):
            compare.compare(wanted, state)
    changes = compare.compare(gone, state, Others(removed=frozenset(["/srv/a.qcow2"])))
    assert changes.plan.remove


def test_what_another_task_is_changing_is_not_called_broken() -> None:
    made = parse()
    broken = dataclasses.replace(there(made), content=content(made, problem="the inode 59 is not in use"))
    wanted = dataclasses.replace(made, size=9 * GIB)
    with pytest.raises(KvmError, match="inode 59"):
        compare.compare(wanted, broken)
    with pytest.raises(Busy, match="another task works on it"):
        compare.compare(wanted, dataclasses.replace(broken, taken=True))


def test_the_base_is_looked_at() -> None:
    for file, error, message in (
        (FileState(), NotFound, "does not exist"),
        (dataclasses.replace(BASE, regular=False), KvmError, "no regular file"),
        (dataclasses.replace(BASE, format="qcow2"), KvmError, "is qcow2, not raw"),
        (dataclasses.replace(BASE, written=True), Busy, "being written"),
        (dataclasses.replace(BASE, virtual_size=9 * GIB), InvalidSpec, "smaller than its base image"),
        (dataclasses.replace(BASE, foreign_features=True), KvmError, "not supported"),
        (dataclasses.replace(BASE, virtual_size=1 << 62), KvmError, "more than any disk"),
        (dataclasses.replace(BASE, formats=("qcow2",)), KvmError, "is qcow2, not raw"),
        (dataclasses.replace(BASE, formats=("vmdk",)), KvmError, "convert it first"),
    ):
        with pytest.raises(error, match=message):
            compare.compare(parse(size="5GiB"), ImageState(base=Seen(file, None, content(parse()))))


def test_a_base_of_the_same_call_will_be_there() -> None:
    others = Others({"/srv/base.img": 2 * GIB})
    assert compare.compare(parse(size="5GiB"), ImageState(base=Seen(FileState())), others).plan.create
    with pytest.raises(InvalidSpec, match="smaller"):
        compare.compare(parse(size="1GiB"), ImageState(base=Seen(FileState())), others)


def test_an_overlay_on_another_base_is_not_trusted() -> None:
    state = dataclasses.replace(there(parse()), base=dataclasses.replace(OTHER_BASE, content=content(parse())))
    with pytest.raises(KvmError, match="is another one"):
        compare.compare(parse(), state)
    assert compare.compare(parse(rebuild="on_change"), state).plan.create


def test_a_copy_does_not_care_for_its_base_any_more() -> None:
    wanted = parse(source=COPY)
    gone = dataclasses.replace(there(wanted), base=Seen())
    assert not compare.compare(wanted, gone)
    assert not compare.compare(wanted, dataclasses.replace(gone, base=OTHER_BASE))


def test_a_foreign_file_is_never_overwritten_but_may_be_removed() -> None:
    foreign = dataclasses.replace(
        nothing(parse()), file=FileState(exists=True, regular=True, format="raw", virtual_size=GIB)
    )
    with pytest.raises(KvmError, match="not made by this module"):
        compare.compare(parse(), foreign)
    assert compare.compare(parse(state="absent"), foreign).plan.remove
    link = dataclasses.replace(nothing(parse()), file=FileState(exists=True))
    for state in ("present", "absent"):
        with pytest.raises(KvmError, match="no regular file"):
            compare.compare(parse(state=state), link)


def test_what_a_killed_run_left_is_finished() -> None:
    record = manifest.Manifest(id="x", declared={}, complete=False, inodes=(8,))
    left = dataclasses.replace(there(parse()), manifest=record)
    changes = compare.compare(parse(), left)
    assert changes.plan.create
    assert changes.plan.replace
    with pytest.raises(KvmError, match="not made by this module"):
        compare.compare(parse(), dataclasses.replace(left, manifest=dataclasses.replace(record, inodes=(9,))))


def test_a_lost_kernel_is_copied_out_again() -> None:
    wanted = parse(kernel="/srv/k", initrd="/srv/i")
    changes = compare.compare(wanted, dataclasses.replace(there(wanted), existing=frozenset(["/srv/i"])))
    assert changes.plan.extract == ("kernel",)
    with pytest.raises(KvmError, match="was not made with this image"):
        compare.compare(wanted, dataclasses.replace(there(parse()), existing=frozenset(["/srv/k"])))


def test_absent_removes_the_named_kernel_if_it_is_ours() -> None:
    made = there(parse(kernel="/srv/k", initrd="/srv/i"))
    fields = [c.field for c in compare.compare(parse(state="absent", kernel="/srv/k"), made).changes]
    assert fields == ["state", "kernel"]
    other = dataclasses.replace(made, existing=frozenset(["/boot/vmlinuz"]))
    assert [c.field for c in compare.compare(parse(state="absent", kernel="/boot/vmlinuz"), other).changes] == ["state"]
    assert not compare.compare(parse(state="absent"), ImageState())
    with pytest.raises(Busy, match="stop that first"):
        compare.compare(parse(state="absent"), there(parse(), in_use=True))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"kvm_image": 2, "id": "x", "declared": {}}', '{"kvm_image": 1, "id": 3}', "\x00"]
)
def test_what_is_no_record_is_none(text: str) -> None:
    assert manifest.load(text) is None
    with pytest.raises(KvmError, match="no record"):
        compare.compare(parse(), dataclasses.replace(nothing(parse()), manifest_broken=True))


_MADE = parse(source={"image": {"path": "/srv/base.img", "mode": "copy"}}, format="qcow2")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"format": "raw"},
        {"compress": "zstd"},
        {"compress": "no"},
        {"sparsify": True},
        {"size": "1GiB", "shrink": True},
    ],
)
@pytest.mark.parametrize("made", [_MADE, parse()])
def test_what_may_be_written_anew_is_measured(made: spec.ImageSpec, options: dict[str, t.Any]) -> None:
    wanted = parse(**{"source": {"image": {"path": "/srv/base.img", "mode": "copy"}}, "format": "qcow2", **options})
    state = there(made, wanted)
    try:
        rewritten = compare.compare(wanted, state).plan.rewrite
    except KvmError:
        return
    assert declaration.may_be_rewritten(state.manifest, wanted) or not rewritten
    assert not declaration.may_be_rewritten(there(wanted).manifest, wanted) or wanted.shrink
