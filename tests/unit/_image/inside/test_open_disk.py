# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images, inside: an image and those that it stands on, opened as one disk. qemu-img makes them and reads them again."""

from __future__ import annotations

import os
import pathlib
import random
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, KvmError, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.open_disk import open_disk

KIB, MIB = 1 << 10, 1 << 20


def run(*words: object) -> None:
    if shutil.which(str(words[0])) is None:
        pytest.skip(f"the program {words[0]} is not installed")
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def create(
    path: pathlib.Path, size: object, backing: object = None, backing_format: str = "qcow2", **options: str
) -> None:
    words = [f"{key}={value}" for key, value in options.items()]
    words += [f"backing_file={backing}"] if backing is not None else []
    words += [f"backing_fmt={backing_format}"] if backing is not None else []
    run("qemu-img", "create", "-q", "-u", "-f", "qcow2", *(("-o", ",".join(words)) if words else ()), path, size)


def write(path: pathlib.Path, *commands: str) -> None:
    words = [word for command in commands for word in ("-c", command)]
    run("qemu-io", "-f", "qcow2", *words, path)


def told(path: pathlib.Path) -> bytes:
    raw = path.with_suffix(".told")
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw)
    return raw.read_bytes()


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def _all_is_closed() -> t.Iterator[None]:
    """Whatever happens in a test, it leaves no file open."""
    before = descriptors()
    yield
    assert descriptors() == before


def content(path: pathlib.Path, image_format: str = "qcow2", through_backing: bool = True) -> bytes:
    with open_disk(str(path), image_format, through_backing=through_backing) as disk:
        return disk.reader.read(0, disk.reader.size)


@pytest.fixture(name="chain")
def _chain(tmp_path: pathlib.Path) -> pathlib.Path:
    """A raw image, a shorter and a longer one above it, in another folder, named by relative names."""
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "raw.img").write_bytes(random.Random(1).randbytes(MIB + 512))
    create(folder / "mid.qcow2", 900 * KIB, "raw.img", "raw", cluster_size="4k")
    write(folder / "mid.qcow2", "write -P 5 100k 60k", "write -z 300k 80k", "write -c -P 6 400k 4k")
    (tmp_path / "link").symlink_to("base/mid.qcow2")
    create(tmp_path / "top.qcow2", 2 * MIB, "base/mid.qcow2", extended_l2="on")
    write(tmp_path / "top.qcow2", "write -P 7 120k 3k", "write -P 8 890k 40k", "write -z 10k 10k")
    return tmp_path / "top.qcow2"


def test_a_chain_is_one_disk(chain: pathlib.Path) -> None:
    with open_disk(str(chain), "qcow2", through_backing=True) as disk:
        assert disk.reader.read(0, disk.reader.size) == told(chain)
        assert [os.path.relpath(link, chain.parent) for link in disk.chain] == ["base/mid.qcow2", "base/raw.img"]
        assert [image_format for _link, image_format in disk.chain_formats] == ["qcow2", "raw"]
        assert disk.header is not None
        assert disk.header.backing_file == "base/mid.qcow2"
        assert 950 * KIB < disk.data_bytes() <= 2 * MIB


def test_one_image_of_a_chain_alone(chain: pathlib.Path) -> None:
    with open_disk(str(chain), "qcow2", through_backing=False) as disk:
        assert (disk.chain, disk.reader.size) == ((), 2 * MIB)
        assert disk.reader.read(120 * KIB, 2) == b"\7\7"
        with pytest.raises(Unsupported, match=r"stands on the backing file 'base/mid\.qcow2'"):
            disk.reader.read(0, 1)


def test_a_raw_image_is_its_bytes(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "d"
    create(path, MIB)  # a guest may write to its raw disk what looks like another format
    with open_disk(str(path), "raw", through_backing=True) as disk:
        assert disk.reader.read(0, MIB) == path.read_bytes()
        assert (disk.header, disk.chain) == (None, ())
    hollow = tmp_path / "hollow"
    hollow.write_bytes(b"x")
    os.truncate(hollow, 64 * MIB)
    with open_disk(str(hollow), "raw", through_backing=True) as disk:
        assert 1 <= disk.data_bytes() <= MIB


def test_the_link_to_a_backing_file_is_followed_as_by_qemu(chain: pathlib.Path) -> None:
    """A backing file that is named relative to a link is looked for beside the link."""
    top = chain.parent / "other.qcow2"
    create(top, MIB, "link")
    with pytest.raises(KvmError, match=r"its backing file '.*/raw\.img': cannot open it: No such file"):
        content(top)
    (chain.parent / "raw.img").symlink_to("base/raw.img")
    assert content(top) == told(top)


@pytest.mark.parametrize("through_backing", [True, False])
def test_only_regular_files_are_opened(tmp_path: pathlib.Path, through_backing: bool) -> None:
    file, link, pipe = tmp_path / "file", tmp_path / "link", tmp_path / "pipe"
    create(file, MIB)
    link.symlink_to("file")
    os.mkfifo(pipe)
    for path, message in (
        (link, "symbolic link"),
        (pipe, "no regular file"),
        (tmp_path, "no regular file"),
        (pathlib.Path("/dev/null"), "no regular file"),
        (tmp_path / "none", "cannot open it: No such file"),
    ):
        for image_format in ("raw", "qcow2"):
            with pytest.raises(KvmError, match=f"^{path}: .*{message}"):
                content(path, image_format, through_backing)


@pytest.mark.parametrize("backing", ["/dev/null", "pipe", "."])
def test_only_regular_files_are_stood_on(tmp_path: pathlib.Path, backing: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    create(tmp_path / "d", MIB, backing, "raw")
    with pytest.raises(KvmError, match=f"^{tmp_path}/d: its backing file '.*{backing}': this is no regular file"):
        content(tmp_path / "d")


@pytest.mark.parametrize("name", ["nbd://127.0.0.1:1/x", "json:{}", "file:/etc/shadow", "host_device:/dev/sda"])
def test_protocols_are_not_followed(tmp_path: pathlib.Path, name: str) -> None:
    create(tmp_path / "d", MIB, name, "raw")
    with pytest.raises(Unsupported, match="is no plain file name"):
        content(tmp_path / "d")


def test_a_format_is_never_guessed(tmp_path: pathlib.Path) -> None:
    base, top = tmp_path / "base", tmp_path / "top"
    base.write_bytes(b"boot" * 1024)
    create(top, 8 * KIB, "base", "raw")
    # Older versions of qemu-img state no format; here the extension for it becomes one that nobody knows.
    top.write_bytes(top.read_bytes().replace(b"\xe2\x79\x2a\xca", b"\x12\x34\x56\x78"))
    assert content(top) == (b"boot" * 1024).ljust(8 * KIB, b"\0")
    create(base, MIB)
    with pytest.raises(KvmError, match=r"its backing file '.*': its format is not stated"):
        content(top)
    create(top, len(base.read_bytes()), "base", "raw")
    assert content(top)[: base.stat().st_size] == base.read_bytes()
    create(top, MIB, "base", "vmdk")
    with pytest.raises(Unsupported, match=r"format 'vmdk' of the file '.*base' is neither raw nor qcow2"):
        content(top)
    base.write_bytes(b"boot" * 1024)
    create(top, MIB, "base", "qcow2")
    with pytest.raises(KvmError, match=r"its backing file '.*base': the qcow2 header is not valid"):
        content(top)
    with pytest.raises(KvmError, match=r"^.*base: the qcow2 header is not valid"):
        content(base)


def test_a_circle_and_an_endless_chain_end(tmp_path: pathlib.Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    create(first, MIB, second)
    create(second, MIB, first)
    create(tmp_path / "self", MIB, "./../" + tmp_path.name + "/self")
    for path in (first, tmp_path / "self"):
        with pytest.raises(Damaged, match="chain of backing files leads back to itself"):
            content(path)
    create(tmp_path / "n0", MIB)
    for number in range(1, 18):
        create(tmp_path / f"n{number}", MIB, f"n{number - 1}")
    assert content(tmp_path / "n16") == bytes(MIB)
    with pytest.raises(Unsupported, match="more than 16"):
        content(tmp_path / "n17")


def test_what_is_wrong_below_is_said_with_its_name(tmp_path: pathlib.Path) -> None:
    base, top = tmp_path / "base", tmp_path / "top"
    create(base, MIB)
    create(top, MIB, "base")
    data = bytearray(base.read_bytes())
    data[79] |= 2
    base.write_bytes(data)
    with pytest.raises(Damaged, match=r"^in its backing file '.*base' the qcow2 image is marked as corrupt$"):
        content(top)
    with pytest.raises(Damaged, match=r"^the qcow2 image is marked as corrupt$"):
        content(base)


def test_a_name_that_no_file_can_have(tmp_path: pathlib.Path) -> None:
    with pytest.raises(KvmError, match="no file here can have this name"):
        content(pathlib.Path(f"{tmp_path}/a\0b"))
    with pytest.raises(KvmError, match="cannot open it"):
        content(tmp_path / ("a" * 2000))


def test_an_error_of_the_reader_closes_all(chain: pathlib.Path) -> None:
    with pytest.raises(ZeroDivisionError), open_disk(str(chain), "qcow2", through_backing=True):
        raise ZeroDivisionError
