# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""picture.py FILE: says `WIDTHxHEIGHT` of a PNG after all of it was read, and fails for anything else."""

from __future__ import annotations

import pathlib
import struct
import sys
import zlib

data = pathlib.Path(sys.argv[1]).read_bytes()
if data[:8] != b"\x89PNG\r\n\x1a\n":
    sys.exit("the signature is not that of a PNG")
place, chunks, pixels = 8, [], b""
while place < len(data):
    (length,) = struct.unpack_from(">I", data, place)
    name, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
    if struct.unpack_from(">I", data, place + 8 + length) != (zlib.crc32(name + body),):
        sys.exit(f"the checksum of {name!r} is wrong")
    chunks.append(name)
    if name == b"IHDR":
        width, height, depth, colour = struct.unpack_from(">IIBB", body)
    if name == b"IDAT":
        pixels += body
    place += 12 + length
if chunks[0] != b"IHDR" or chunks[-1] != b"IEND":
    sys.exit(f"the chunks are {chunks}")
line = 1 + width * {0: 1, 2: 3, 3: 1, 6: 4}[colour] * depth // 8
if len(zlib.decompress(pixels)) != line * height:
    sys.exit("there are not as many pixels as it says")
print(f"{width}x{height}")
