# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Pictures of screens as PNG. Pure: bytes to bytes.

qemu gives PNG itself since 7.1; an older one gives PPM (P6), which no browser shows.

Sources: https://www.w3.org/TR/png/ and https://netpbm.sourceforge.net/doc/ppm.html
"""

from __future__ import annotations

import re
import struct
import zlib

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged

_PNG = b"\x89PNG\r\n\x1a\n"
_PPM = re.compile(rb"P6\s+(?:#[^\n]*\n\s*)*(\d+)\s+(\d+)\s+255\s")


def from_any(picture: bytes) -> bytes:
    """A picture of either kind as PNG; raises Damaged for what is neither."""
    if picture.startswith(_PNG):
        return picture
    head = _PPM.match(picture)
    if head is None:
        raise Damaged("libvirt gave a picture that is neither PNG nor PPM.")
    width, height = int(head[1]), int(head[2])
    pixels = picture[head.end() :]
    if width < 1 or height < 1 or len(pixels) < width * height * 3:
        raise Damaged(f"libvirt gave a picture of {width} x {height} that ends early.")
    rows = (pixels[start : start + width * 3] for start in range(0, width * height * 3, width * 3))
    # Each row begins with the number of its filter: none.
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return _PNG + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def size(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG."""
    if len(png) < 24 or not png.startswith(_PNG) or png[12:16] != b"IHDR":
        raise Damaged("libvirt gave a picture that ends early.")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
