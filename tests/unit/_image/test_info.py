# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images: what kvm_image_info tells of whole files, as qemu-img and others make them."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import struct
import subprocess
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import fstab, info
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import open_disk
from ansible_collections.hypervisor.kvm.tests.unit._image import disks

MIB = 1 << 20
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def run(*words: object) -> None:
    program = shutil.which(str(words[0]), path=PATH)
    if program is None:
        pytest.skip(f"the program {words[0]} is not installed")
    subprocess.run([program, *map(str, words[1:])], check=True, capture_output=True)


def look(path: pathlib.Path, image_format: str | None = None, trust: str | None = None) -> dict[str, t.Any]:
    found = info.look(str(path), image_format, None, trust)
    assert found is not None
    return found


def refused(path: pathlib.Path, trust: str | None = None) -> KvmError:
    with pytest.raises(KvmError) as caught:
        info.look(str(path), None, None, trust)
    assert caught.value.message.isprintable()
    return caught.value


@pytest.fixture(name="disk")
def _disk(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.truncate(8 * MIB)
    run("mke2fs", "-q", "-t", "ext4", "-L", "rootfs", path)
    return path


def test_the_error_says_what_it_is_that_is_no_image(tmp_path: pathlib.Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo")
    assert "a symbolic link; name the file that it points to" in refused(tmp_path / "link").message
    assert "no regular file; name one" in refused(tmp_path / "fifo").message
    assert "a folder; name a file in it" in refused(tmp_path).message
    assert "no regular file; name one" in refused(pathlib.Path("/dev/zero")).message
    assert info.look(str(tmp_path / "none"), None, None, None) is None


@pytest.mark.parametrize("kind", ["vmdk", "vdi", "vhdx", "vpc", "qed", "parallels", "qcow"])
def test_an_image_in_another_format_is_no_raw_disk(disk: pathlib.Path, kind: str) -> None:
    other = disk.with_suffix(f".{kind}")
    run("qemu-img", "convert", "-f", "raw", "-O", kind, disk, other)
    assert f"qemu-img convert -f {kind}" in refused(other).message


@pytest.mark.parametrize("program", ["gzip", "xz", "zstd", "bzip2"])
def test_a_packed_image_is_no_raw_disk(disk: pathlib.Path, program: str) -> None:
    run(program, "-k", disk)
    packed = next(path for path in disk.parent.iterdir() if path != disk)
    assert f"packed with {program}; unpack it first" in refused(packed).message


def test_what_is_stated_to_be_raw_is_raw_whatever_a_guest_has_written_to_it(disk: pathlib.Path) -> None:
    with disk.open("r+b") as file:
        file.write(b"KDMV")
    assert "state format: raw" in refused(disk).message
    assert look(disk, "raw")["root"]["label"] == "rootfs"


def overlay(folder: pathlib.Path, backing: str | bytes, backing_format: str = "raw") -> pathlib.Path:
    path = folder / "over.qcow2"
    run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", "x" * len(backing), "-F", backing_format, path, "8M")
    raw = path.read_bytes()
    at, length = struct.unpack(">QI", raw[8:20])
    name = backing if isinstance(backing, bytes) else backing.encode()
    path.write_bytes(raw[:at] + name + raw[at + length :])
    return path


def test_an_overlay_is_told_of_without_its_backing_file(disk: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = overlay(disk.parent, disk.name)
    seen = look(path, trust="trusted")
    assert (seen["backing_chain"], seen["root"]["label"]) == ([str(disk)], "rootfs")

    def _watched(real: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def call(name: t.Any, *args: t.Any, **more: t.Any) -> t.Any:
            assert name != str(disk), "the file that an image from elsewhere names was touched"
            return real(name, *args, **more)

        return call

    for name in ("open", "stat", "lstat"):
        monkeypatch.setattr(os, name, _watched(getattr(os, name)))
    seen = look(path)
    assert (seen["backing_chain"], seen["virtual_size"], seen["format"]) == ([str(disk)], 8 * MIB, "qcow2")
    assert (seen["partition_table"], seen["partitions"], seen["root"]) == (None, [], None)
    assert "trust: trusted" in seen["no_root"]


def test_a_backing_file_that_is_missing_or_no_file_is_named(tmp_path: pathlib.Path) -> None:
    assert f"'{tmp_path}/gone' is missing" in refused(overlay(tmp_path, "gone"), "trusted").message
    assert "is no plain file of this host" in refused(overlay(tmp_path, "nbd://127.0.0.1/x"), "trusted").message
    name = json.dumps({"driver": "file", "filename": "/etc/passwd"})
    assert "is no plain file of this host" in refused(overlay(tmp_path, f"json:{name}"), "trusted").message
    assert look(overlay(tmp_path, "gone"))["backing_chain"] == [f"{tmp_path}/gone"]


def test_the_name_of_a_backing_file_is_made_visible(tmp_path: pathlib.Path) -> None:
    path = overlay(tmp_path, b"/\x1b[31m\xff")
    assert look(path)["backing_chain"] == ["/\\x1b[31m\\xff"]
    error = refused(path, "trusted")
    assert error.details["image"]["backing_chain"] == ["/\\x1b[31m\\xff"]


@pytest.mark.parametrize(
    ("offset", "value", "said"),
    [
        (72, struct.pack(">Q", 2), "marked as corrupt"),
        (72, struct.pack(">Q", 4), "is in another file"),
        (72, struct.pack(">Q", 1 << 40), "bit 40"),
        (32, struct.pack(">I", 1), "encrypted"),
    ],
)
def test_the_error_says_which_feature_it_is(tmp_path: pathlib.Path, offset: int, value: bytes, said: str) -> None:
    path = tmp_path / "disk.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", path, "8M")
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(value)
    error = refused(path)
    assert said in error.message
    assert error.details["image"]["virtual_size"] == 8 * MIB


@pytest.mark.parametrize(
    "source", ["/dev/disk/by-path/pci-0000:00:04.0-part1", "UUID=99999999-9999-9999-9999-999999999999", "LABEL=boot"]
)
def test_the_kernels_of_a_separate_boot_whatever_fstab_calls_it(tmp_path: pathlib.Path, source: str) -> None:
    path = disks.partitioned(tmp_path / "disk.raw", 64 * MIB, "start=2048,size=32768\nstart=34816\n")
    boot = {"vmlinuz-6.1.0-9-amd64": "x", "initrd.img-6.1.0-9-amd64": "x"}
    disks.make_ext(path, 16 * MIB, boot, offset=MIB, label="boot")
    root = {"etc/os-release": "ID=debian\n", "etc/fstab": f"{source} /boot ext4 defaults 0 2\n", "boot": None}
    disks.make_ext(path, 32 * MIB, root, offset=17 * MIB)
    seen = look(path)
    assert (seen["root"]["number"], seen["operating_system"]["id"]) == (2, "debian")
    assert [kernel["initrd"] for kernel in seen["kernels"]] == ["/boot/initrd.img-6.1.0-9-amd64"]


@pytest.mark.parametrize(
    "kind", ["Linux root (x86-64)", "Linux root (PPC64LE)", "Linux root (S390X)", "Linux root (RISC-V-64)"]
)
def test_the_type_of_a_partition_says_root_on_every_machine(tmp_path: pathlib.Path, kind: str) -> None:
    types = disks.run("sfdisk", "--list-types", "-X", "gpt")
    guid = next((line.split()[0] for line in types.splitlines() if line.endswith(kind)), None)
    if guid is None:
        pytest.skip("sfdisk does not know this type")
    script = f"label: gpt\nstart=2048,size=16384\nstart=18432,size=16384,type={guid}\n"
    path = disks.partitioned(tmp_path / "disk.raw", 32 * MIB, script)
    for offset in (MIB, 9 * MIB):
        disks.make_ext(path, 8 * MIB, offset=offset)
    assert (look(path)["root"]["number"], look(path)["root"]["reason"]) == (2, "its partition type says root")


def test_a_gpt_without_its_protective_mbr_is_told_of(tmp_path: pathlib.Path) -> None:
    path = disks.partitioned(tmp_path / "disk.raw", 32 * MIB, "label: gpt\nstart=2048,size=16384\n")
    with path.open("r+b") as file:
        file.write(bytes(512))
    seen = look(path)
    assert (seen["partition_table"], seen["partitions"]) == ("none", [])
    assert "no protective MBR" in seen["no_root"]


def test_fstab_is_read_once(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = disks.make_ext(tmp_path / "disk.raw", 16 * MIB, {"etc/fstab": "LABEL=x / ext4 defaults 0 1\n"})
    real, read = fstab.parse, []
    monkeypatch.setattr(fstab, "parse", lambda text: read.append(text) or real(text))
    assert look(path)["root"]["reason"] == "the only file system, on the whole disk"
    assert len(read) == 1


def test_the_tables_of_a_large_disk_are_not_all_walked(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "disk.qcow2"
    options = "preallocation=metadata,cluster_size=16k"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path, "64G")
    monkeypatch.setattr(open_disk.Disk, "data_bytes", None)
    assert look(path)["virtual_size"] == 64 << 30
