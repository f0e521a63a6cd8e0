# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mounts of images: parameters."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.spec import (
    BINDS,
    MountSpec,
    check_together,
    in_order,
    parse,
)
from hypothesis import given
from hypothesis import strategies as st

LEAST: dict[str, t.Any] = {"mountpoint": "/mnt/a", "path": "/i/a.img"}


def test_the_defaults_are_known_here() -> None:
    assert parse(LEAST) == MountSpec(mountpoint="/mnt/a", path="/i/a.img")
    assert parse({"mountpoint": "/mnt/a", "state": "unmounted"}) == MountSpec("/mnt/a", state="unmounted")
    assert parse({**LEAST, "chroot": True}).binds == BINDS


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"mountpoint": "mnt"}, "absolute"),
        ({"mountpoint": "/mnt/../etc"}, "absolute"),
        ({"mountpoint": "/mnt/a/"}, "slash at its end"),
        ({"mountpoint": "//mnt"}, "double slashes"),
        ({"mountpoint": "/mnt/\n"}, "control"),
        ({"mountpoint": "/"}, "the system needs this folder"),
        ({"mountpoint": "/usr"}, "the system needs this folder"),
        ({"path": None}, "path is needed"),
        ({"path": "a.img"}, "path must be an absolute"),
        ({"partition": "0"}, "partition must be"),
        ({"partition": "swap"}, "partition must be"),
        ({"partition": "1 "}, "partition must be"),
        ({"partition": "1e1"}, "partition must be"),
        ({"partition": "99999"}, "partition must be"),
        ({"timeout": 0}, "between 1 and"),
        ({"holders_timeout": 90000}, "between 1 and"),
        ({"chroot": True, "trust": "untrusted"}, "rules out"),
        ({"chroot": True, "backend": "guestmount"}, "does not go with"),
        ({"trust": "untrusted", "backend": "loop"}, "rules out"),
        ({"trust": "untrusted", "backend": "nbd"}, "rules out"),
        ({"format": "qcow2", "backend": "loop"}, "raw images only"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, t.Any], says: str) -> None:
    with pytest.raises(InvalidSpec, match=says) as caught:
        parse({**LEAST, **wrong})
    assert "mount " in caught.value.message


def test_what_is_unmounted_needs_no_sense_otherwise() -> None:
    assert parse({**LEAST, "state": "unmounted", "chroot": True, "backend": "guestmount"}).chroot


@given(st.text() | st.integers())
def test_a_partition_is_a_number_or_root_or_refused(value: str | int) -> None:
    try:
        partition = parse({**LEAST, "partition": value}).partition
    except InvalidSpec:
        return
    assert partition == "root" or (isinstance(partition, int) and 1 <= partition <= 999)


def test_two_may_read_one_image_but_not_write() -> None:
    one, two = MountSpec("/mnt/a", "/i"), MountSpec("/mnt/b", "/i")
    reading = [MountSpec("/mnt/a", "/i", read_only=True), MountSpec("/mnt/b", "/i", read_only=True)]
    check_together(reading)
    check_together([one, MountSpec("/mnt/b", "/other"), MountSpec("/mnt/c", "/i", state="unmounted")])
    for wrong in ([one, two], [one, reading[1]], [reading[0], two]):
        with pytest.raises(InvalidSpec, match="read_only: true for both"):
            check_together(wrong)


def test_binds_have_an_order() -> None:
    assert in_order(["sys", "dev/pts", "proc", "dev/shm", "dev"]) == [*BINDS, "dev/shm"]
