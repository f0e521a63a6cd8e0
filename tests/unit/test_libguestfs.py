# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images: the appliance of libguestfs starts on hosts with and without acceleration."""

from __future__ import annotations

import os
import pathlib
import platform

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _libguestfs

SETTINGS = "LIBGUESTFS_BACKEND_SETTINGS"


@pytest.mark.parametrize(
    ("machine", "cpu", "device", "forced"),
    [
        ("x86_64", "model name\t: x\nflags\t\t: sse vmx\n", True, False),
        ("x86_64", "flags\t\t: sse svm\n", True, False),
        ("x86_64", "flags\t\t: sse\n", True, True),
        ("x86_64", "flags\t\t: sse\n", False, False),
        ("x86_64", "", True, False),
        ("aarch64", "Features\t: fp asimd\n", True, False),
    ],
)
def test_it_emulates_where_kvm_would_hang(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, machine: str, cpu: str, device: bool, forced: bool
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(cpu)
    monkeypatch.setattr(_libguestfs, "_CPU", str(file))
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(os.path, "exists", lambda _path: device)
    monkeypatch.delenv(SETTINGS, raising=False)
    assert _libguestfs.environment() == {
        "LIBGUESTFS_BACKEND": "direct",
        **({SETTINGS: "force_tcg"} if forced else {}),
    }
    monkeypatch.setenv(SETTINGS, "network_bridge=virbr0")
    assert SETTINGS not in _libguestfs.environment()
