# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: image headers, chains, and why a disk must stay. With files that qemu-img has made where it is there."""

from __future__ import annotations

import pathlib
import shutil
import struct
import subprocess

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import files, seen_log


def qcow2(path: pathlib.Path, backing: str | None = None) -> str:
    """The first bytes of a qcow2 image, as its specification has them."""
    name = (backing or "").encode()
    header = b"QFI\xfb" + struct.pack(">IQI", 3, 104 if backing else 0, len(name))
    path.write_bytes(header.ljust(104, b"\0") + name)
    return str(path)


def raw(path: pathlib.Path) -> str:
    path.write_bytes(b"\0" * 512)
    return str(path)


def test_formats(tmp_path: pathlib.Path) -> None:
    assert files.image_format(qcow2(tmp_path / "a")) == "qcow2"
    assert files.image_format(raw(tmp_path / "b")) == "raw"
    assert files.image_format(str(tmp_path / "none")) is None
    assert files.image_format(str(tmp_path)) is None


def with_data_outside(path: pathlib.Path, data: str, backing: str | None = None) -> str:
    """The header of a qcow2 image whose data is in another file; another extension comes before the name of it."""
    name, before = data.encode(), struct.pack(">II", 0x6803F857, 48) + b"\0" * 48
    extension = struct.pack(">II", 0x44415441, len(name)) + name.ljust(-(-len(name) // 8) * 8, b"\0")
    rest = before + extension + b"\0" * 8
    back = (backing or "").encode()
    head = b"QFI\xfb" + struct.pack(">IQI", 3, 104 + len(rest) if backing else 0, len(back))
    path.write_bytes(head.ljust(72, b"\0") + struct.pack(">QQQII", 4, 0, 0, 4, 104) + rest + back)
    return str(path)


def test_data_in_another_file(tmp_path: pathlib.Path) -> None:
    data, base = raw(tmp_path / "data"), raw(tmp_path / "base")
    image = with_data_outside(tmp_path / "image", "data", "base")
    top = qcow2(tmp_path / "top", "image")
    assert files.data_file(image) == data
    assert files.data_file(top) is None
    assert files.data_file(data) is None
    assert files.chain(top) == [top, image, base]
    assert files.needed(top) == [top, image, data, base]


def test_data_in_another_file_as_qemu_writes_it(tmp_path: pathlib.Path) -> None:
    if shutil.which("qemu-img") is None:
        pytest.fail("qemu-img is needed to make the image")
    image, data = tmp_path / "image", tmp_path / "data"
    options = ["-o", f"data_file={data},data_file_raw=on", str(image), "1M"]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options], check=True)
    assert files.data_file(str(image)) == str(data)


def test_chains_are_relative_to_the_image_and_end(tmp_path: pathlib.Path) -> None:
    base, top = raw(tmp_path / "base"), qcow2(tmp_path / "top", "base")
    assert files.chain(top) == [top, base]
    loop = qcow2(tmp_path / "loop", "loop")
    assert files.chain(loop) == [loop]


@pytest.mark.parametrize(
    "content", [b"", b"QFI\xfb", b"QFI\xfb" + struct.pack(">IQI", 3, 99999, 5000), b"QFI\xfb" + b"\xff" * 16]
)
def test_headers_that_lie(tmp_path: pathlib.Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert files.backing_file(str(tmp_path / "a")) is None


def test_the_end_of_a_log_without_what_would_move_a_terminal(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(
        b"x" * 100_000 + b"\n" + b"\n".join(b"line %d" % number for number in range(50)) + b"\n\x1b[2Jlast\r\n\xff\n"
    )
    lines = seen_log.tail(str(log))
    assert len(lines) == seen_log.LINES
    assert lines[-2] == "last"
    assert seen_log.tail(str(tmp_path / "none")) == []
    assert seen_log.tail(str(tmp_path)) == []
    assert seen_log.tail(None) == []
