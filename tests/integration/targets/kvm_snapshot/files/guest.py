# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""guest.py ADDRESS LINE...: asks the tiny guest to read or write its disks (port 9); prints its answers."""

from __future__ import annotations

import socket
import sys
import time


def ask(address: str, line: str) -> str:
    with socket.create_connection((address, 9), timeout=20) as guest:
        guest.sendall(line.encode() + b"\n")
        return guest.makefile(encoding="utf-8", errors="replace").readline().rstrip("\n")


def main() -> None:
    deadline = time.monotonic() + 60
    for line in sys.argv[2:]:
        while True:
            try:
                print(ask(sys.argv[1], line))
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)


if __name__ == "__main__":
    main()
