# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: the ends of the logs that say why a guest is not up. Reads only."""

from __future__ import annotations

import os
import stat
import urllib.parse

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests import text

_QEMU_LOGS = "/var/log/libvirt/qemu"
_BYTES = 64 * 1024
LINES = 40
#: How libvirt begins what it writes of a start of qemu.
_START = ": starting up libvirt version"


def open_log(path: str) -> int:
    """A descriptor of a regular file; raises OSError. A guest's log may have been declared as anything: a pipe must not
    block."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no file")
    return descriptor


def read_end(path: str | None, most: int = _BYTES) -> bytes:
    """The last bytes of a log file; none when it cannot be read."""
    try:
        descriptor = open_log(path or "")
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - most))
        return file.read(most)


def tail(path: str | None, lines: int = LINES) -> list[str]:
    """The last lines of a log file, without control characters; empty when it cannot be read."""
    return text.lines(read_end(path))[-lines:]


def qemu_log(name: str, uri: str | None = None) -> list[str]:
    """The end of qemu's own log of a domain: of its last start alone, and without the command line."""
    return last_start(text.lines(read_end(os.path.join(_folder(uri), f"{name}.log"))))


def last_start(lines: list[str]) -> list[str]:
    """Pure: the same of the lines of a log."""
    starts = [index for index, line in enumerate(lines) if _START in line]
    lines = lines[starts[-1] if starts else 0 :]
    # A line of a command ends in a backslash when another one follows.
    command = [
        line.endswith(" \\") or (index > 0 and lines[index - 1].endswith(" \\")) for index, line in enumerate(lines)
    ]
    return [line for line, part in zip(lines, command) if not part][-LINES:]


def _folder(uri: str | None) -> str:
    """Where the daemon of a connection keeps them: a user's own has a folder of the user."""
    if uri is not None and urllib.parse.urlsplit(uri).path.rstrip("/") == "/session":
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        return os.path.join(cache, "libvirt", "qemu", "log")
    return _QEMU_LOGS
