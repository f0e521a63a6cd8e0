# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pictures of screens become PNG."""

from __future__ import annotations

import struct
import zlib

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _png
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged
from hypothesis import given
from hypothesis import strategies as st


def read(png: bytes) -> tuple[int, int, list[bytes]]:
    """Width, height and rows of a PNG without filters, as its specification has them."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    found, rest = {}, png[8:]
    while rest:
        length, kind = struct.unpack(">I4s", rest[:8])
        data, check = rest[8 : 8 + length], rest[8 + length : 12 + length]
        assert struct.unpack(">I", check)[0] == zlib.crc32(kind + data)
        found[kind], rest = data, rest[12 + length :]
    assert list(found) == [b"IHDR", b"IDAT", b"IEND"]
    width, height, *form = struct.unpack(">IIBBBBB", found[b"IHDR"])
    assert form == [8, 2, 0, 0, 0]
    rows = zlib.decompress(found[b"IDAT"])
    step = width * 3 + 1
    assert len(rows) == step * height
    assert all(rows[start] == 0 for start in range(0, len(rows), step))
    return width, height, [rows[start + 1 : start + step] for start in range(0, len(rows), step)]


@given(
    st.integers(1, 9), st.integers(1, 9), st.sampled_from([b"P6 %d %d 255 ", b"P6\n# qemu\n%d\n%d\n255\n"]), st.data()
)
def test_each_pixel_stays(width: int, height: int, head: bytes, data: st.DataObject) -> None:
    pixels = data.draw(st.binary(min_size=width * height * 3, max_size=width * height * 3))
    png = _png.from_any(head % (width, height) + pixels)
    assert read(png) == (width, height, [pixels[row * width * 3 : (row + 1) * width * 3] for row in range(height)])
    assert _png.size(png) == (width, height)
    assert _png.from_any(png) == png


@pytest.mark.parametrize(
    "wrong", [b"", b"GIF89a", b"P6 2 2 255 1234", b"P6 0 1 255 ", b"P6 1 1 65535 123456", b"P5 1 1 255 1"]
)
def test_what_is_no_picture(wrong: bytes) -> None:
    with pytest.raises(Damaged):
        _png.from_any(wrong)


def test_a_picture_that_ends_early() -> None:
    with pytest.raises(Damaged):
        _png.size(b"\x89PNG\r\n\x1a\n1234")
