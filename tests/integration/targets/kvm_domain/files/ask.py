# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ask.py ADDRESS COMMAND: prints what a command in the guest prints, which has a shell on port 23; waits until it has."""

from __future__ import annotations

import socket
import sys
import time


def ask(address: str, command: str) -> str:
    """One command, one connection."""
    deadline = time.monotonic() + 90
    while True:
        try:
            with socket.create_connection((address, 23), timeout=30) as link:
                link.sendall(command.encode() + b"\n")
                answer = b"".join(iter(lambda: link.recv(65536), b""))
                return answer.decode()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


sys.stdout.write(ask(*sys.argv[1:3]))
