# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: the qemu process of a domain of this machine, and what the daemon has written down of it. Reads only."""

from __future__ import annotations

import os
import re
import urllib.parse

_RUN = "/run/libvirt/qemu"
_LIMIT = re.compile(rb"<agentTimeout>(-?[0-9]+)</agentTimeout>")
_HEAD = 1 << 20


def _folder(uri: str) -> str:
    """Where the daemon of a connection keeps it: a user's own has a folder of the user."""
    if urllib.parse.urlsplit(uri).path.rstrip("/") == "/session":
        run = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
        return os.path.join(run, "libvirt", "qemu", "run")
    return _RUN


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


def pid(uri: str, name: str, uuid: str) -> int | None:
    """The process id; None when the domain does not run, or not as a qemu of this machine."""
    written = _read(os.path.join(_folder(uri), f"{name}.pid")).strip()
    # A file may be left over, and its number somebody else's by now.
    if not written.isdigit() or uuid.encode() not in _read(f"/proc/{int(written)}/cmdline"):
        return None
    return int(written)


def uptime(number: int | None) -> float | None:
    """Seconds since a process was started; None when it is not there."""
    if number is None:
        return None
    # The name of the program, in brackets, may have anything in it.
    fields = _read(f"/proc/{number}/stat").rpartition(b")")[2].split()
    now = _read("/proc/uptime").split()
    if len(fields) < 20 or not now:
        return None
    return max(0.0, round(float(now[0]) - int(fields[19]) / os.sysconf("SC_CLK_TCK"), 2))


def agent_limit(uri: str, name: str) -> int | None:
    """The time-out that somebody has given the agent of a running domain; None when nobody has, or it is not to be seen."""
    found = _LIMIT.search(_read(os.path.join(_folder(uri), f"{name}.xml")))
    return int(found.group(1)) if found else None
