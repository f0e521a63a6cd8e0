# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what the files of disks take on this host, and what is behind them. Reads only, and only headers."""

from __future__ import annotations

import os
import stat
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import disk_file, qcow2

_BLOCK = 512


def look(disk: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What the host's own files say of one disk (as in the return values), by which libvirt's word is completed: while a
    guest runs, libvirt says how far it has written instead of what the file takes."""
    path = disk.get("source")
    if disk.get("type", "file") != "file" or not isinstance(path, str):
        return {}
    try:
        real = os.path.realpath(path)
        status = os.stat(real)
        if not stat.S_ISREG(status.st_mode):
            return {}
        found: dict[str, t.Any] = {"allocated_size": status.st_blocks * _BLOCK, "physical_size": status.st_size}
        if disk.get("format", "raw") == "raw":
            # Whatever a guest has written into it.
            return {**found, "virtual_size": status.st_size, "backing_chain": []}
        if disk.get("format") == "qcow2":
            header = disk_file.read_file(real, "qcow2")
            found["backing_chain"] = [_shown(name) for name in header.backing]
            if header.format == "qcow2":
                found["virtual_size"] = header.virtual_size
        return found
    except (OSError, KvmError):
        # Missing, not to be read, or damaged: then this host knows nothing of it.
        return {}


def _shown(name: str) -> str:
    return name if qcow2.is_plain_name(name) else repr(name)
