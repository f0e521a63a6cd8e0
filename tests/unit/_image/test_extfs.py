# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images: ext file systems are made, grown and shrunk; read back by dumpe2fs, blkid, debugfs and e2fsck."""

from __future__ import annotations

import os
import pathlib
import random
import re
import shutil

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _landlock
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, ToolError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.filesystem import Filesystem
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import extfs
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.extfs import Part
from ansible_collections.hypervisor.kvm.tests.unit._image import disks
from ansible_collections.hypervisor.kvm.tests.unit._image.disks import KIB, MIB

UUID = "0b5c1d2e-3f40-4a5b-8c6d-7e8f90a1b2c3"


def part(path: pathlib.Path) -> Part:
    return Part(str(path), path.stat().st_size, "ext4")


def size(path: pathlib.Path) -> int:
    """The size of the file system in bytes, by dumpe2fs."""
    facts = dict(re.findall(r"^(Block count|Block size): +(\d+)$", disks.run("dumpe2fs", "-h", path), re.M))
    return int(facts["Block count"]) * int(facts["Block size"])


def made(folder: pathlib.Path, mib: int = 16, content: int = 0) -> pathlib.Path:
    """A file system with ``content`` bytes of random data, with holes, hard links and attributes."""
    tree = folder / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/data").write_bytes(random.Random(5).randbytes(content))
    os.link(tree / "etc/data", tree / "etc/again")
    with (tree / "etc/holes").open("wb") as file:
        file.truncate(3 * MIB)
        os.pwrite(file.fileno(), b"end", 3 * MIB - 3)
    path = folder / "a.img"
    extfs.make_filesystem(
        str(path), mib * MIB, Filesystem("ext4", "root", UUID), scratch=str(folder), timeout=30, tree=str(tree)
    )
    shutil.rmtree(tree)
    disks.run("debugfs", "-w", "-R", "ea_set /etc/data security.selinux label", path)
    return path


def listing(path: pathlib.Path) -> str:
    folder = disks.debugfs(path, "ls -p /etc")
    attributes = disks.debugfs(path, "ea_list /etc/data")
    dumped = path.with_name("dumped")
    disks.debugfs(path, f"dump /etc/data {dumped}")
    return folder + attributes + str(hash(dumped.read_bytes()))


def test_the_file_system_is_as_asked_for(tmp_path: pathlib.Path) -> None:
    path = made(tmp_path)
    found = disks.run("blkid", "-p", "-o", "export", path).splitlines()
    assert {"TYPE=ext4", "LABEL=root", f"UUID={UUID}"} <= set(found)
    assert path.stat().st_size == 16 * MIB == size(path) == extfs.file_system_size(part(path))
    extfs.verify(part(path), 30)
    disks.check_ext(path)
    with pytest.raises(KvmError, match="too small for its content"):
        extfs.make_filesystem(
            str(tmp_path / "small"), 64 * KIB, Filesystem("ext4"), scratch=str(tmp_path), timeout=30, tree=str(tmp_path)
        )


@pytest.mark.parametrize("kind", ["ext2", "ext4"])
def test_kinds(tmp_path: pathlib.Path, kind: str) -> None:
    path = tmp_path / "a"
    extfs.make_filesystem(str(path), 8 * MIB, Filesystem(kind), scratch=str(tmp_path), timeout=30)
    assert f"TYPE={kind}" in disks.run("blkid", "-p", "-o", "export", path)


def test_a_file_system_grows(tmp_path: pathlib.Path) -> None:
    path = made(tmp_path, content=MIB)
    before = listing(path)
    os.truncate(path, 64 * MIB)
    extfs.repair(part(path), 30)
    extfs.grow(part(path), 30)
    extfs.verify(part(path), 30)
    assert size(path) == 64 * MIB
    assert listing(path) == before


def test_only_the_part_grows(tmp_path: pathlib.Path) -> None:
    """The last bytes that are no whole block stay free."""
    path = made(tmp_path)
    os.truncate(path, 20 * MIB + 512)
    extfs.repair(part(path), 30)
    extfs.grow(Part(str(path), 18 * MIB, "ext4"), 30)
    assert size(path) == 18 * MIB
    disks.check_ext(path)


def test_a_damaged_file_system_is_not_taken_for_a_sound_one(tmp_path: pathlib.Path) -> None:
    path = made(tmp_path)
    disks.run("debugfs", "-w", "-R", "clri /etc/data", path)
    with pytest.raises(ToolError, match="not sound"):
        extfs.verify(part(path), 30)
    with path.open("r+b") as file:
        file.seek(1024)
        file.write(bytes(1024))
    with pytest.raises(ToolError, match="by hand first"):
        extfs.repair(part(path), 30)
    with pytest.raises(KvmError, match="a moment ago"):
        extfs.file_system_size(part(path))


def test_a_program_opens_nothing_but_its_part(tmp_path: pathlib.Path) -> None:
    """Whatever a program is deceived to do: other files of this host are out of its reach."""
    if not _landlock.available():
        pytest.skip("this kernel has no Landlock")
    mine, others = tmp_path / "mine", tmp_path / "others"
    for folder in (mine, others):
        folder.mkdir()
        (folder / "a").write_text("x")
    there = part(mine / "a")
    assert there.run(lambda name: ["cat", name], 10).stdout == "x"
    assert there.run(lambda _name: ["cat", str(others / "a")], 10, reads=[str(others)]).stdout == "x"
    with pytest.raises(ToolError, match="Permission denied"):
        there.run(lambda _name: ["cat", str(others / "a")], 10)
    with pytest.raises(ToolError, match="Permission denied"):
        there.run(lambda _name: ["sh", "-c", f"echo y > {others}/a"], 10, reads=[str(others)])
    assert (others / "a").read_text() == "x"
