# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images: the overlays that a base image has, whoever made them and by whichever name."""

from __future__ import annotations

import os
import pathlib

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import apply, compare, observe, overlays, spec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.disk_file import read_file
from ansible_collections.hypervisor.kvm.tests.unit._image import disks
from ansible_collections.hypervisor.kvm.tests.unit._image.disks import MIB


def raw(path: pathlib.Path) -> pathlib.Path:
    path.touch()
    os.truncate(path, MIB)
    return path


def found(base: pathlib.Path) -> list[str]:
    return overlays.living(str(base), lambda path: read_file(path).backing)


def remove(path: pathlib.Path) -> None:
    wanted = spec.parse({"path": str(path), "state": "absent"})
    apply.apply(compare.compare(wanted, observe.observe(wanted)), lambda _line: None, apply.Outcome())


def test_a_base_has_its_overlays_by_another_name_too(tmp_path: pathlib.Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    raw(tmp_path / "real/base.img")
    (tmp_path / "disks").mkdir()
    path = tmp_path / "disks/a.qcow2"
    wanted = spec.parse({"path": str(path), "source": {"image": {"path": str(tmp_path / "link/base.img")}}})
    apply.apply(compare.compare(wanted, observe.observe(wanted)), lambda _line: None, apply.Outcome())
    for folder in ("real", "link"):
        with pytest.raises(Busy, match=r"a\.qcow2 stands on it"):
            remove(tmp_path / folder / "base.img")
    remove(path)
    remove(tmp_path / "real/base.img")
    assert not (tmp_path / "real/base.img").exists()


@pytest.mark.parametrize("name", ["base.img", "{0}/base.img", "{0}/other/../base.img"])
def test_overlays_that_somebody_else_made_beside_it(tmp_path: pathlib.Path, name: str) -> None:
    base, other = raw(tmp_path / "base.img"), tmp_path / "o.qcow2"
    (tmp_path / "other").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nothing")
    disks.run("qemu-img", "create", "-q", "-f", "qcow2", "-b", name.format(tmp_path), "-F", "raw", other)
    disks.run("qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "alone.qcow2", "1M")
    assert found(base) == [str(other)]
    assert found(other) == []
    with pytest.raises(Busy, match=r"o\.qcow2 stands on it"):
        remove(base)
    remove(other)
    remove(base)


def test_neighbours_that_are_broken_or_only_look_like_overlays(tmp_path: pathlib.Path) -> None:
    base, ours = tmp_path / "base.img", tmp_path / "ours.img"
    for path in (base, ours):
        wanted = spec.parse({"path": str(path), "source": {"blank": True}, "size": "1MiB"})
        apply.apply(compare.compare(wanted, observe.observe(wanted)), lambda _line: None, apply.Outcome())
    # What its guest has written to a raw disk says nothing about the host.
    disks.run("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", tmp_path / "header")
    with ours.open("r+b") as file:
        file.write((tmp_path / "header").read_bytes()[:4096])
    (tmp_path / "header").unlink()
    (tmp_path / "broken.qcow2").write_bytes(b"QFI\xfb" + b"\xff" * 600)
    remove(base)
    assert not base.exists()
