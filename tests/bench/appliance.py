# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""libguestfs for benches: whether it works here, and how."""

from __future__ import annotations

import functools
import glob
import os
import shutil
from pathlib import Path

from common import BenchError, run, say

_TCG = {"LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}


def missing(program: str) -> str:
    """Why a program of libguestfs cannot be compared; empty when it can."""
    if not shutil.which(program):
        return f"{program} is not installed (libguestfs-tools)"
    if not any(os.access(path, os.R_OK) for path in glob.glob("/boot/vmlinuz-*")):
        return "libguestfs needs a kernel in /boot (linux-image-amd64)"
    if _accelerator() is None:
        return "libguestfs cannot start its appliance here, neither with KVM nor without"
    return ""


def environment(scratch: Path) -> dict[str, str]:
    """What its programs are to see: the fastest way that works here, its files in our folder."""
    return {**os.environ, "LIBGUESTFS_BACKEND": "direct", **(_accelerator() or {}), "TMPDIR": str(scratch)}


@functools.lru_cache(maxsize=1)
def _accelerator() -> dict[str, str] | None:
    """The settings that work: with KVM if it does, else without; None if neither."""
    for name, settings in (("KVM", {}), ("emulation (TCG)", _TCG)):
        try:
            run(
                ["guestfish", "--add", "/dev/null", "run"],
                timeout=300,
                env={**os.environ, "LIBGUESTFS_BACKEND": "direct", **settings},
            )
        except BenchError:
            continue
        say(f"libguestfs works with {name}")
        return settings
    return None
