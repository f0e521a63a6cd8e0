# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: what the files of disks take on this host."""

from __future__ import annotations

import pathlib
import struct

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import disk_files


def qcow2(path: pathlib.Path, size: int, backing: str = "") -> pathlib.Path:
    name = backing.encode()
    head = struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 104 + 8 if name else 0, len(name), 16, size, 0, 1, 0x30000,
                       0x10000, 1, 0, 0, 0, 0, 0, 4, 104)  # fmt: skip
    path.write_bytes((head + bytes(8) + name).ljust(1 << 18, b"\0"))
    return path


def test_a_raw_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.raw"
    with path.open("wb") as file:
        file.truncate(1 << 20)
    found = disk_files.look({"source": str(path)})
    assert found == {"allocated_size": 0, "physical_size": 1 << 20, "virtual_size": 1 << 20, "backing_chain": []}


def test_what_a_guest_wrote_into_a_raw_file_is_no_chain(tmp_path: pathlib.Path) -> None:
    path = qcow2(tmp_path / "a.raw", 5 << 20, "/etc/shadow")
    found = disk_files.look({"source": str(path), "format": "raw", "type": "file"})
    assert found["backing_chain"] == []
    assert found["virtual_size"] == path.stat().st_size


def test_a_chain(tmp_path: pathlib.Path) -> None:
    qcow2(tmp_path / "base.qcow2", 5 << 20)
    top = qcow2(tmp_path / "top.qcow2", 6 << 20, "base.qcow2")
    link = tmp_path / "link"
    link.symlink_to(top)
    found = disk_files.look({"source": str(link), "format": "qcow2"})
    assert found["virtual_size"] == 6 << 20
    assert found["backing_chain"] == [str(tmp_path / "base.qcow2")]
    assert found["allocated_size"] == top.stat().st_blocks * 512


@pytest.mark.parametrize(
    "disk",
    [
        {}, {"source": None}, {"source": "/no/such/file"}, {"source": "/"}, {"source": "/dev/null", "type": "block"},
        {"source": {"protocol": "rbd"}, "type": "network"}, {"pool": "p", "volume": "v", "type": "volume"},
    ],
)  # fmt: skip
def test_what_is_not_known(disk: dict[str, object]) -> None:
    assert disk_files.look(disk) == {}


def test_a_chain_that_does_not_end(tmp_path: pathlib.Path) -> None:
    path = qcow2(tmp_path / "a.qcow2", 1 << 20, "a.qcow2")
    assert "backing_chain" not in disk_files.look({"source": str(path), "format": "qcow2"})
