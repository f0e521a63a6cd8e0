# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""dumped.py FILE TEXT: says what kind of dump a file is, and whether TEXT, which the guest has in its memory, is in it."""

from __future__ import annotations

import struct
import sys


def main() -> None:
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    kind = "unknown"
    if data[:4] == b"\x7fELF" and struct.unpack("<H", data[16:18])[0] == 4:
        kind = "core"
    elif data[:8] == b"KDUMP   " or data[:12] == b"makedumpfile":
        kind = "kdump"
    elif data[:4] == b"QEVM":
        kind = "machine"
    print(kind, sys.argv[2].encode() in data)


if __name__ == "__main__":
    main()
