# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mounts of images: what is to be done."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError, NotFound
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.holders import Holder
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.compare import Leaving, compare
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.holders import User
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.image import Image, Link, Target
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.observe import Mounted, MountState
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.record import Record
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.spec import BINDS, MountSpec

SPEC = MountSpec("/mnt/a", "/i/a.img")
GONE = MountSpec("/mnt/a", "/i/a.img", state="unmounted")
IMAGE = Image("/i/a.img", "raw", "trusted", (Link("/i/a.img", "raw"),), Target(1, 1048576, 4096, "ext4"))
HERE = dict.fromkeys(("loop", "fuse", "fuse2fs", "nbd", "guestmount"), "")
NOTHING = MountState("/mnt/a", path="/i/a.img", image=IMAGE, lacking=HERE)
RECORD = Record(
    "/i/a.img",
    "/mnt/a",
    "loop",
    "raw",
    None,
    1,
    1048576,
    4096,
    "ext4",
    False,
    "trusted",
    complete=True,
    device="/dev/loop3",
)
MOUNTED = Mounted(
    "/i/a.img", "loop", None, 1, 1048576, "ext4", False, "/dev/loop3", recorded=True, format="raw", trust="trusted"
)
THERE = MountState("/mnt/a", exists=True, record=RECORD, mounted=MOUNTED, path="/i/a.img")
SLEEP = User(42, "1", "sleep", ("working directory",))
LOOP = Holder(0, "/dev/loop3", None, True, "/dev/loop3", ("/mnt/a",))
WRITER = Holder(7, "qemu-system-x86_64", "web1", True)


def state(base: MountState, **changes: t.Any) -> MountState:
    return dataclasses.replace(base, **changes)


def fields(spec: MountSpec, observed: MountState, leaving: Leaving | None = None) -> list[str]:
    return [change.field for change in compare(spec, observed, leaving).changes]


def test_a_new_mount() -> None:
    changes = compare(dataclasses.replace(SPEC, chroot=True), NOTHING)
    assert changes.results()[0] == {
        "object": "/mnt/a",
        "field": "state",
        "before": "unmounted",
        "after": "mounted",
        "effect": "live",
    }
    plan = changes.plan
    assert (plan.unmount, plan.unbind, plan.bind) == (False, (), BINDS)
    assert plan.mount == dataclasses.replace(RECORD, complete=False, device=None, chroot=True)


def test_what_is_there_is_left() -> None:
    assert fields(SPEC, THERE) == []
    assert fields(SPEC, state(THERE, image=IMAGE, lacking=HERE)) == []
    assert fields(GONE, state(NOTHING, image=None)) == []


@pytest.mark.parametrize(
    ("spec", "target", "changed"),
    [
        ({"read_only": True}, {}, ["read_only"]),
        ({"backend": "fuse"}, {}, ["backend"]),
        ({"partition": 2}, {"number": 2, "offset": 9}, ["partition", "offset"]),
        ({"trust": "untrusted"}, {}, ["backend", "trust"]),
        ({"replaced": True}, {}, ["path"]),
    ],
)
def test_another_declaration_is_another_mount(
    spec: dict[str, t.Any], target: dict[str, t.Any], changed: list[str]
) -> None:
    trust = spec.get("trust", "trusted")
    image = dataclasses.replace(IMAGE, trust=trust, target=dataclasses.replace(IMAGE.target, **target), holders=(LOOP,))
    mounted = dataclasses.replace(MOUNTED, replaced=spec.get("replaced", False))
    seen = state(THERE, image=image, lacking=HERE, mounted=mounted)
    wanted = dataclasses.replace(SPEC, **{name: value for name, value in spec.items() if name != "replaced"})
    changes = compare(wanted, seen)
    assert [change.field for change in changes.changes] == changed
    assert {change.effect for change in changes.changes} == {"recreate"}
    assert changes.plan.unmount
    assert changes.plan.mount is not None
    with pytest.raises(Busy, match="sleep"):
        compare(wanted, state(seen, users=(SLEEP,)))


def test_what_a_killed_run_has_left_is_done_again_or_removed() -> None:
    half = dataclasses.replace(RECORD, complete=False)
    for seen in (
        state(THERE, record=half, image=IMAGE, lacking=HERE),
        state(NOTHING, record=half),
        state(NOTHING, record=RECORD),
        state(NOTHING, servers=(SLEEP,)),
    ):
        changes = compare(SPEC, seen)
        assert (changes.changes[0].before, changes.plan.unmount, changes.plan.mount is None) == (
            "incomplete",
            True,
            False,
        )
        changes = compare(GONE, seen)
        assert (changes.changes[0].before, changes.plan.unmount, changes.plan.mount) == ("incomplete", True, None)


def test_binds_come_and_go_without_the_mount() -> None:
    wanted = dataclasses.replace(SPEC, chroot=True)
    bound = state(THERE, binds=("dev/pts", "sys", "proc", "dev"))
    assert fields(wanted, bound) == []
    changes = compare(wanted, state(THERE, binds=("proc", "dev")))
    assert (changes.plan.bind, changes.plan.unbind, changes.plan.unmount) == (("dev/pts", "sys"), (), False)
    changes = compare(SPEC, bound)
    assert (changes.plan.bind, changes.plan.unbind) == ((), ("dev/pts", "sys", "proc", "dev"))
    assert fields(GONE, bound) == ["state", "binds"]


@pytest.mark.parametrize(
    ("seen", "spec", "says"),
    [
        (state(NOTHING, path=None, image=None), SPEC, "there is no image"),
        (state(NOTHING, empty=False, exists=True), SPEC, "not empty"),
        (state(NOTHING, other="tmpfs (tmpfs)", image=None), SPEC, "tmpfs .tmpfs. is mounted there"),
        (state(NOTHING, other="tmpfs (tmpfs)", image=None), GONE, "unmount it yourself"),
        (state(NOTHING, other="x (ext4)"), MountSpec("/mnt/a", state="unmounted"), "name the image by path"),
        (
            state(THERE, path="/i/b.img"),
            dataclasses.replace(GONE, path="/i/b.img"),
            "the image /i/a.img is mounted there",
        ),
        (state(THERE, beneath=("/mnt/a/x",)), GONE, "/mnt/a/x is mounted in it"),
        (state(THERE, users=(SLEEP,)), GONE, "process 42 .sleep.: working directory. End them"),
        (
            state(THERE, users=(SLEEP,), ancestors=frozenset({42})),
            dataclasses.replace(GONE, holders="kill"),
            "cannot be ended",
        ),
        (
            state(THERE, users=(User(0, "", "/dev/loop9", ("file",)),)),
            dataclasses.replace(GONE, holders="kill"),
            "/dev/loop9",
        ),
    ],
)
def test_what_is_in_the_way(seen: MountState, spec: MountSpec, says: str) -> None:
    with pytest.raises(KvmError, match=says):
        compare(spec, seen)


def test_how_to_go_on_all_the_same() -> None:
    used = state(THERE, users=(SLEEP,), beneath=("/mnt/a/x",))
    assert fields(dataclasses.replace(GONE, lazy=True), used) == ["state"]
    assert fields(dataclasses.replace(GONE, holders="kill"), used, Leaving(frozenset({"/mnt/a/x"}))) == ["state"]


def test_what_was_unmounted_lazily_has_to_end_first() -> None:
    record = dataclasses.replace(RECORD, complete=False, detached=True)
    lingers = state(NOTHING, record=record, servers=(SLEEP,), in_use=True)
    assert fields(GONE, lingers) == []
    with pytest.raises(Busy, match="lazily"):
        compare(SPEC, lingers)
    assert fields(GONE, state(lingers, in_use=False)) == ["state"]


@pytest.mark.parametrize(
    ("image", "for_reading", "says"),
    [
        ({"holders": (WRITER,)}, True, "the domain web1 .process 7, qemu-system-x86_64. has it open for writing"),
        (
            {"holders": (dataclasses.replace(WRITER, writing=False),), "in_use": True},
            False,
            "web1.* uses it.*read_only",
        ),
        ({"holders": (dataclasses.replace(WRITER, writing=False),)}, None, ""),
        ({"in_use": True, "written": True}, True, "maybe on another host"),
        ({"in_use": True}, False, "maybe on another host"),
        ({"holders": (LOOP,)}, True, "/dev/loop3 .mounted at /mnt/a. has it open for writing"),
        ({"holders": (dataclasses.replace(LOOP, writing=False),)}, False, "/dev/loop3"),
        ({"overlays": ("/i/b.qcow2",)}, False, "/i/b.qcow2 would be destroyed"),
    ],
)
def test_who_uses_the_image(image: dict[str, t.Any], for_reading: bool | None, says: str) -> None:
    """``for_reading``: True is refused for reading too, False for writing only, None never."""
    seen = state(NOTHING, image=dataclasses.replace(IMAGE, **image))
    reading = dataclasses.replace(SPEC, read_only=True)
    for spec, refused in ((SPEC, for_reading is not None), (reading, bool(for_reading))):
        if refused:
            with pytest.raises(Busy, match=says):
                compare(spec, seen)
        else:
            assert compare(spec, seen)
    assert compare(SPEC, seen, Leaving(images=frozenset({"/i/a.img"})))


def test_a_btrfs_that_the_kernel_would_mix_up_is_refused() -> None:
    seen = state(NOTHING, image=dataclasses.replace(IMAGE, twin=True))
    with pytest.raises(Busy, match="btrfs"):
        compare(SPEC, seen)
    # Its own mount is none, and one that goes is none any more.
    assert compare(dataclasses.replace(SPEC, read_only=True), state(seen, mounted=MOUNTED, record=RECORD))
    assert compare(SPEC, seen, Leaving(images=frozenset({"/i/a.img"})))


def test_a_missing_image_is_not_found() -> None:
    with pytest.raises(NotFound):
        compare(SPEC, state(NOTHING, path=None))


def test_chroot_is_for_trusted_images() -> None:
    wanted = dataclasses.replace(SPEC, chroot=True)
    with pytest.raises(KvmError, match="as root"):
        compare(wanted, state(NOTHING, image=dataclasses.replace(IMAGE, trust="untrusted")))
    with pytest.raises(KvmError, match="as root"):
        compare(wanted, state(THERE, mounted=dataclasses.replace(MOUNTED, trust="untrusted")))


def test_a_mount_whose_daemon_is_gone_is_made_anew() -> None:
    record = dataclasses.replace(RECORD, backend="fuse")
    mounted = dataclasses.replace(MOUNTED, backend="fuse")
    dead = state(THERE, record=record, mounted=mounted, image=IMAGE, lacking=HERE)
    daemon = dataclasses.replace(SLEEP, command="qemu-storage-da")
    assert not dead.complete
    assert state(dead, servers=(daemon,)).complete
    # With fuse2fs alone there is nothing behind it either.
    assert not state(dead, servers=(dataclasses.replace(SLEEP, command="fuse2fs"),)).complete
