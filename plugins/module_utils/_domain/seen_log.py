# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: the ends of the logs that say why a guest is not up. Reads only."""

from __future__ import annotations

import os
import stat

_QEMU_LOGS = "/var/log/libvirt/qemu"
_BYTES = 64 * 1024
LINES = 40


def tail(path: str | None, lines: int = LINES) -> list[str]:
    """The last lines of a log file, without control characters; empty when it cannot be read."""
    if path is None:
        return []
    try:
        # A guest's log may have been declared as anything: a pipe must not block.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return []
    with os.fdopen(descriptor, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _BYTES))
        text = file.read(_BYTES).decode("utf-8", "replace")
    return [clean for clean in (_clean(line) for line in text.splitlines()) if clean][-lines:]


def _clean(line: str) -> str:
    return "".join(char for char in line if char.isprintable() or char == "\t").rstrip()


def qemu_log(name: str) -> list[str]:
    """The end of qemu's own log of a domain."""
    return tail(os.path.join(_QEMU_LOGS, f"{name}.log"))
