# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images: partitions become disks of their own, from declarations to files, read back by e2fsck, dumpe2fs and debugfs."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import apply, compare, observe, spec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import disk as steps_disk
from ansible_collections.hypervisor.kvm.tests.unit._image import disks
from ansible_collections.hypervisor.kvm.tests.unit._image.disks import KIB, MIB

SCRIPT = (
    "label: dos\nstart=2048, size=49152, type=83\nstart=51200, size=8192, type=5\nstart=53248, size=4096, type=82\n"
)
FILES = {"etc/fstab": "/dev/sda1 / ext4 defaults 0 1\n", "etc/passwd": "root:x:0:0::/root:/bin/sh\n"}


def disk(folder: pathlib.Path) -> pathlib.Path:
    """A disk with a system on its first partition, and nothing on the extended one and the one in it."""
    path = disks.partitioned(folder / "disk.img", 32 * MIB, SCRIPT)
    disks.make_ext(path, 24 * MIB, FILES, offset=MIB)
    return path


def make(folder: pathlib.Path, base: pathlib.Path, **options: t.Any) -> pathlib.Path:
    path = folder / "made.raw"
    wanted = spec.parse({"path": str(path), "source": {"image": {"path": str(base)}}, **options})
    apply.apply(compare.compare(wanted, observe.observe(wanted)), lambda _line: None, apply.Outcome())
    again = compare.compare(wanted, observe.observe(wanted))
    assert not again
    return path


@pytest.mark.parametrize("number", ["2", "5"])
def test_a_partition_without_a_file_system_is_no_disk(tmp_path: pathlib.Path, number: str) -> None:
    base = disk(tmp_path)
    with pytest.raises(KvmError, match=f"partition {number} has no file system"):
        make(tmp_path, base, partition=number)
    assert os.listdir(tmp_path) == ["disk.img"]


def test_a_journal_is_replayed_and_what_is_free_then_is_left_out(tmp_path: pathlib.Path) -> None:
    base = disk(tmp_path)
    block = tmp_path / "block"
    block.write_bytes(b"n" * 4096)
    alone = tmp_path / "alone"
    alone.write_bytes(base.read_bytes()[MIB : 25 * MIB])
    (place,) = disks.debugfs(alone, "bmap /etc/fstab 0").split()
    free = int(disks.debugfs(alone, "ffb 1 3000").split()[-1])
    disks.run("debugfs", "-w", "-f", "-", alone, stdin=f"jo\njw -b {place} {block}\njc\n")
    with base.open("r+b") as file:
        os.pwrite(file.fileno(), alone.read_bytes(), MIB)
        os.pwrite(file.fileno(), b"old" * (512 * KIB), MIB + free * 4096)
    before = base.read_bytes()
    path = make(tmp_path, base, partition="1")
    assert base.read_bytes() == before
    assert "needs_recovery" not in disks.run("dumpe2fs", "-h", path)
    disks.check_ext(path)
    assert disks.debugfs(path, "cat /etc/fstab").startswith("nnnn")
    assert b"oldold" not in path.read_bytes()


def test_a_whole_disk_comes_without_what_its_file_systems_do_not_use(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = disk(tmp_path)
    (tmp_path / "alone").write_bytes(base.read_bytes()[MIB : 25 * MIB])
    free = int(disks.debugfs(tmp_path / "alone", "ffb 1 3000").split()[-1])
    with base.open("r+b") as file:
        os.pwrite(file.fileno(), b"old" * (512 * KIB), MIB + free * 4096)
        os.pwrite(file.fileno(), b"boot code", 600)
        os.pwrite(file.fileno(), b"behind", 31 * MIB)
    copied: list[bytes] = []
    write = steps_disk.write_all
    monkeypatch.setattr(
        steps_disk, "write_all", lambda fd, data, at: (copied.append(bytes(data)), write(fd, data, at))[1]
    )
    path = make(tmp_path, base, sparsify=True, format="raw")
    # Neither taken away afterwards nor copied at all.
    assert not any(b"oldold" in data for data in copied)
    made, before = path.read_bytes(), base.read_bytes()
    assert made[:MIB] == before[:MIB]
    assert made[25 * MIB :] == before[25 * MIB :]
    assert b"oldold" not in made
    disks.check_ext(path, MIB)
    (tmp_path / "alone").write_bytes(made[MIB : 25 * MIB])
    assert disks.debugfs(tmp_path / "alone", "cat /etc/fstab") == FILES["etc/fstab"]


def test_what_a_separate_boot_has_comes_over_what_it_hid(tmp_path: pathlib.Path) -> None:
    script = "label: dos\nstart=2048, size=49152, type=83\nstart=51200, size=196608, type=83\n"
    base = disks.partitioned(tmp_path / "disk.img", 128 * MIB, script)
    boot = {"vmlinuz-6": "kernel", "grub/grub.cfg": "new", "map": "new", "efi": "file"}
    root = {
        "etc/passwd": "root:x:0:0::/root:/bin/sh\n",
        "etc/fstab": "/dev/sda2 / ext4 defaults 0 1\n/dev/sda1 /boot ext4 defaults 0 2\n",
        "boot/grub": disks.Link("../etc"),
        "boot/map": disks.Link("/etc/passwd"),
        "boot/efi": None,
    }
    disks.make_ext(base, 24 * MIB, boot, offset=MIB)
    disks.make_ext(base, 96 * MIB, root, offset=25 * MIB)
    path = make(tmp_path, base, partition="2", fstab="rewrite")
    disks.check_ext(path)
    assert disks.debugfs(path, "cat /boot/grub/grub.cfg") == "new"
    assert disks.debugfs(path, "cat /boot/map") == "new"
    assert disks.debugfs(path, "cat /boot/vmlinuz-6") == "kernel"
    assert "Type: directory" in disks.debugfs(path, "stat /boot/efi")
    assert disks.debugfs(path, "cat /etc/passwd") == root["etc/passwd"]
    assert "#/dev/sda1 /boot" in disks.debugfs(path, "cat /etc/fstab")
