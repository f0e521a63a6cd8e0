# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images, inside: what a file could be taken for. The files are made by the programs, and qemu-img says what they are."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import pathlib
import shutil
import subprocess
import typing as t
import zipfile

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import formats
from hypothesis import given
from hypothesis import strategies as st

MIB = 1 << 20


def run(*words: object, data: bytes | None = None) -> bytes:
    if shutil.which(str(words[0])) is None:
        pytest.skip(f"the program {words[0]} is not installed")
    done = subprocess.run([*map(str, words)], input=data, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def told(path: pathlib.Path) -> str:
    """What qemu guesses, which nobody else here does."""
    return str(json.loads(run("qemu-img", "info", "--output=json", path))["format"])


def ends(data: bytes) -> tuple[bytes, int, bytes]:
    return data[: formats.HEAD_BYTES], len(data), data[-formats.TAIL_BYTES :]


MADE = [
    ("raw", "", ()),
    ("qcow2", "", ("qcow2",)),
    ("qcow2", "compat=0.10,cluster_size=512", ("qcow2",)),
    ("qcow", "", ("qcow",)),
    ("qed", "", ("qed",)),
    ("vmdk", "", ("vmdk",)),
    ("vmdk", "subformat=streamOptimized", ("vmdk",)),
    ("vmdk", "subformat=monolithicFlat", ("vmdk",)),
    ("vmdk", "subformat=twoGbMaxExtentSparse", ("vmdk",)),
    ("vdi", "", ("vdi",)),
    ("vpc", "", ("vhd",)),
    ("vpc", "subformat=fixed", ("vhd",)),
    ("vhdx", "", ("vhdx",)),
    ("parallels", "", ("parallels",)),
]


@pytest.mark.parametrize(("image_format", "options", "expected"), MADE)
def test_images_of_qemu(tmp_path: pathlib.Path, image_format: str, options: str, expected: tuple[str, ...]) -> None:
    path = tmp_path / "d"
    run("qemu-img", "create", "-q", "-f", image_format, *(("-o", options) if options else ()), path, MIB)
    data = path.read_bytes()
    assert formats.detect(*ends(data)) == expected
    if options != "subformat=fixed":  # which qemu itself takes for raw
        assert told(path) == image_format
    for declared in ("raw", "qcow2"):
        if image_format == declared:
            formats.check_declared(declared, *ends(data))
        else:
            with pytest.raises(Unsupported, match=f"declared as {declared} and is") as caught:
                formats.check_declared(declared, *ends(data))
            assert image_format in str(caught.value)


@pytest.mark.parametrize("title", ["", "# words\n#\n \n", "# a\n   \n"])
def test_the_text_of_a_vmware_disk_needs_no_title(tmp_path: pathlib.Path, title: str) -> None:
    path = tmp_path / "d"
    run("qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", path, MIB)
    path.write_bytes(path.read_bytes().replace(b"# Disk DescriptorFile\n", title.encode()))
    assert told(path) == "vmdk"
    assert formats.detect(*ends(path.read_bytes())) == ("vmdk",)


@pytest.mark.parametrize("content", [b"version=4\n", b"# words\n", b"", b"conversion=1\n", b"\xeb\x63\x90"])
def test_what_is_nothing_known_is_raw(tmp_path: pathlib.Path, content: bytes) -> None:
    path = tmp_path / "d"
    path.write_bytes(content.ljust(4096, b"\0"))
    assert told(path) == "raw"
    assert formats.detect(*ends(path.read_bytes())) == ()


def zipped(data: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("disk.img", data)
    return target.getvalue()


PACKERS: list[tuple[str, t.Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("xz", lzma.compress),
    ("bzip2", bz2.compress),
    ("zip", zipped),
    ("zstd", lambda data: run("zstd", "-c", data=data)),
    ("lz4", lambda data: run("lz4", "-c", data=data)),
]


@pytest.mark.parametrize(("name", "pack"), PACKERS)
@pytest.mark.parametrize("content", [b"", b"disk" * 999])
def test_packed_files_have_to_be_unpacked(name: str, pack: t.Callable[[bytes], bytes], content: bytes) -> None:
    packed = pack(content)
    assert formats.detect(*ends(packed)) == (name,)
    for declared in ("raw", "qcow2"):
        with pytest.raises(Unsupported, match=f"packed with {name}; unpack it first"):
            formats.check_declared(declared, *ends(packed))


def disc(data: bytes) -> bytes:
    """The same with the first descriptor of a disc."""
    whole = bytearray(data.ljust(MIB, b"\0"))
    whole[0x8000:0x8800] = b"\1CD001\1\0".ljust(2048, b" ")
    return bytes(whole)


def test_a_disc_is_a_raw_image_and_nothing_else(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "d"
    path.write_bytes(disc(b""))
    assert run("/usr/sbin/blkid", "-p", "-o", "value", "-s", "TYPE", path) == b"iso9660\n"
    assert formats.detect(*ends(disc(b""))) == ("iso9660",)
    formats.check_declared("raw", *ends(disc(b"")))
    with pytest.raises(Unsupported, match="a raw image with iso9660 on it"):
        formats.check_declared("qcow2", *ends(disc(b"")))


def test_a_file_that_is_two_things_is_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "d"
    run("qemu-img", "create", "-q", "-f", "qcow2", path, MIB)
    both = disc(path.read_bytes())
    path.write_bytes(both)
    assert told(path) == "qcow2"
    assert set(formats.detect(*ends(both))) == {"qcow2", "iso9660"}
    for declared in ("raw", "qcow2"):
        with pytest.raises(Unsupported, match="qcow2"):
            formats.check_declared(declared, *ends(both))


def test_a_qcow2_image_may_end_with_anything(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "d"
    run("qemu-img", "create", "-q", "-f", "qcow2", path, MIB)
    formats.check_declared("qcow2", *ends(path.read_bytes() + b"conectix".ljust(512, b"\0")))
    formats.check_declared("qcow2", *ends(path.read_bytes() + b"koly".ljust(512, b"\0")))


def test_an_encrypted_disk_is_a_raw_one() -> None:
    data = b"LUKS\xba\xbe\0\2".ljust(4096, b"\0")
    assert formats.detect(*ends(data)) == ("luks",)
    formats.check_declared("raw", *ends(data))
    with pytest.raises(Unsupported, match="raw image with luks"):
        formats.check_declared("qcow2", *ends(data))


def test_what_stands_at_the_end() -> None:
    for footer, name in ((b"conectix".ljust(511, b"\1"), "vhd"), (b"koly".ljust(512, b"\1"), "dmg")):
        data = bytes(4096) + footer
        assert formats.detect(*ends(data)) == (name,)
        with pytest.raises(Unsupported, match=name):
            formats.check_declared("raw", *ends(data))
        with pytest.raises(Unsupported, match="declared as qcow2 and is"):
            formats.check_declared("qcow2", *ends(data))
    assert formats.detect(b"koly", 4, b"koly") == ()


@given(st.binary(max_size=200), st.integers(0, 1 << 63), st.binary(max_size=600))
def test_any_bytes_are_something(head: bytes, size: int, tail: bytes) -> None:
    found = formats.detect(head, size, tail)
    assert len(set(found)) == len(found)
    for declared in ("raw", "qcow2"):
        with contextlib.suppress(Unsupported):
            formats.check_declared(declared, head, size, tail)
            assert set(found) <= ({"iso9660", "luks"} if declared == "raw" else {"qcow2", "vhd", "dmg"})
