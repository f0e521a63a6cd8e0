# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mounts of images: which backend, by trust and by what the host has."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.backends import options
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.choose import choose

NOTHING = dict.fromkeys(("loop", "fuse", "fuse2fs", "nbd", "guestmount"), "it is not there")


def chosen(
    *has: str,
    trust: str = "trusted",
    form: str = "raw",
    kind: str = "ext4",
    backend: str = "auto",
    chroot: bool = False,
) -> str:
    lacking = {name: "" if name in has else why for name, why in NOTHING.items()}
    return choose("image x", backend, form, trust, kind, chroot, lacking)


def test_the_first_that_the_host_has() -> None:
    everything = tuple(NOTHING)
    assert chosen(*everything) == "loop"
    assert chosen(*everything, form="qcow2") == "fuse"
    assert chosen("loop", "nbd", form="qcow2") == "nbd"
    assert chosen("guestmount", form="qcow2") == "guestmount"
    assert chosen(*everything, trust="untrusted") == "guestmount"
    assert chosen("fuse2fs", "loop", "nbd", "fuse", trust="untrusted") == "fuse"
    assert chosen(*everything, backend="nbd") == "nbd"


def test_untrusted_is_never_for_the_kernel() -> None:
    names = tuple(NOTHING)
    for count in range(len(names) + 1):
        for has in itertools.combinations(names, count):
            for form, kind, backend in itertools.product(("raw", "qcow2"), ("ext4", "xfs", "what"), ("auto", *names)):
                try:
                    found = chosen(*has, trust="untrusted", form=form, kind=kind, backend=backend)
                except KvmError:
                    continue
                assert found == "guestmount" or (found == "fuse" and kind == "ext4" and "fuse2fs" in has)


@pytest.mark.parametrize(
    ("has", "given", "says"),
    [
        ((), {}, "loop: it is not there; fuse: it is not there; nbd: it is not there; guestmount: it is not there"),
        (("fuse",), {"form": "qcow2"}, "fuse: it is not there"),
        (("loop",), {"kind": "swap"}, "no file system"),
        (("loop",), {"kind": "LVM2_member"}, "no file system"),
        (("loop",), {"kind": "what"}, "no kernel mounts what"),
        (("loop",), {"backend": "loop", "form": "qcow2"}, "use fuse or nbd or guestmount"),
        (("loop",), {"backend": "loop", "trust": "untrusted"}, "state trust: trusted"),
        (("guestmount",), {"trust": "untrusted", "chroot": True}, "programs as root"),
        (("guestmount",), {"chroot": True}, "loop: it is not there"),
        (("fuse2fs",), {"trust": "untrusted", "kind": "xfs"}, "not xfs"),
    ],
)
def test_a_refusal_has_its_reasons(has: tuple[str, ...], given: dict[str, str], says: str) -> None:
    with pytest.raises(KvmError, match=says):
        chosen(*has, **given)  # type: ignore[arg-type]


def test_reading_repairs_nothing() -> None:
    assert options.data("ext4", True) == "errors=remount-ro,noload"
    assert options.data("ext2", True) == "errors=remount-ro"
    assert options.data("ext4", False) == "errors=remount-ro"
    assert options.data("xfs", True) == "norecovery,nouuid"
    assert options.data("btrfs", True) == "rescue=nologreplay"
    assert options.data("vfat", False) == ""
