# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: image headers, chains, and why a disk must stay. With files that qemu-img has made where it is there."""

from __future__ import annotations

import pathlib
import struct

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
