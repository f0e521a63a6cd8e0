# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""png.py FILE: reads a PNG as its specification says, each chunk with its sum and all rows; prints width, height, colours seen."""

from __future__ import annotations

import struct
import sys
import zlib


def main() -> None:
    with open(sys.argv[1], "rb") as file:
        picture = file.read()
    if picture[:8] != b"\x89PNG\r\n\x1a\n":
        sys.exit("it does not begin as a PNG does")
    at, kinds, data, head = 8, [], b"", b""
    while at < len(picture):
        length, kind = struct.unpack(">I4s", picture[at : at + 8])
        body = picture[at + 8 : at + 8 + length]
        if struct.unpack(">I", picture[at + 8 + length : at + 12 + length])[0] != zlib.crc32(kind + body):
            sys.exit(f"the sum of {kind!r} is wrong")
        kinds.append(kind)
        head = body if kind == b"IHDR" else head
        data += body if kind == b"IDAT" else b""
        at += 12 + length
    width, height, depth, colour = struct.unpack(">IIBB", head[:10])
    if kinds[0] != b"IHDR" or kinds[-1] != b"IEND" or depth != 8 or colour not in (2, 6):
        sys.exit(f"it is no picture in true colour: {kinds}, {depth}, {colour}")
    rows = zlib.decompress(data)
    step = 1 + width * (3 if colour == 2 else 4)
    if len(rows) != step * height:
        sys.exit(f"{len(rows)} bytes of rows, not {step * height}")
    print(width, height, len(set(rows)))


if __name__ == "__main__":
    main()
