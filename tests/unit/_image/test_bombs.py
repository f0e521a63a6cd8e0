# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images that unpack to far more than they are: they are refused before anything is written."""

from __future__ import annotations

import pathlib
import struct
import subprocess
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import compare, observe, spec

CLUSTER = 65536
GIB = 1 << 30


@pytest.fixture
def bomb(tmp_path: pathlib.Path) -> pathlib.Path:
    """64 GiB, all of which are the same table of 512 MiB with one cluster in it."""
    content, path = tmp_path / "content", tmp_path / "bomb.qcow2"
    content.write_bytes(b"not zeros" * 30000)
    argv = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", content, path]
    subprocess.run([*map(str, argv)], check=True, capture_output=True, timeout=60)
    raw = bytearray(path.read_bytes())
    raw += bytes(-len(raw) % CLUSTER)
    (l1,) = struct.unpack_from(">Q", raw, 40)
    (table,) = struct.unpack_from(">Q", raw, l1)
    struct.pack_into(">Q", raw, 24, 64 * GIB)
    struct.pack_into(">IQ", raw, 36, 128, len(raw))
    path.write_bytes(raw + struct.pack(">Q", table) * 128)
    return path


@pytest.mark.parametrize("more", [{}, {"partition": "root"}, {"format": "qcow2", "compress": "zstd"}])
def test_it_is_not_copied(bomb: pathlib.Path, more: dict[str, t.Any]) -> None:
    source = {"image": {"path": str(bomb), "format": "qcow2", "mode": "copy"}}
    wanted = spec.parse({"path": str(bomb.parent / "out.img"), "source": source, **more})
    with pytest.raises(KvmError, match="stands for two parts of the disk"):
        compare.compare(wanted, observe.observe(wanted))


def test_it_is_not_written_anew(bomb: pathlib.Path) -> None:
    wanted = spec.parse({"path": str(bomb), "format": "raw"})
    with pytest.raises(KvmError, match="stands for two parts of the disk"):
        compare.compare(wanted, observe.observe(wanted))
