# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Servers of guests: whether one greets as an SSH server does. Reads only."""

from __future__ import annotations

import os
import socket
import time

#: Seconds for a connection, and for the greeting.
_CONNECT = 3
_GREETING = 5
#: An SSH server may say other lines before its greeting, but not a book.
_MOST = 8192


def why_no_ssh(address: str, port: int) -> str | None:
    """None when a server greets with SSH's banner (an open port alone may be a server that is not ready), else why not."""
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    try:
        with socket.create_connection((address, port), timeout=_CONNECT) as connection:
            said = _said(connection)
        if said is None:
            return None
        return f"{where} answers, but not as an SSH server" if said else f"{where} takes connections, but says nothing"
    except socket.timeout:
        return f"{where} does not answer"
    except OSError as exc:
        return f"{where}: {(os.strerror(exc.errno) if exc.errno and exc.errno > 0 else str(exc)).lower()}"


def _said(connection: socket.socket) -> bytes | None:
    """None for the greeting of an SSH server; else what was said instead of it, in the time that it has."""
    deadline = time.monotonic() + _GREETING
    said = b""
    while len(said) < _MOST:
        if said.startswith(b"SSH-") or b"\nSSH-" in said:
            return None
        left = deadline - time.monotonic()
        if left <= 0:
            break
        connection.settimeout(left)
        try:
            received = connection.recv(1024)
        except socket.timeout:
            break
        if not received:
            break
        said += received
    return said
