# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: LZO1X, which Python has not, as btrfs stores it (Documentation/staging/lzo.rst of Linux, fs/btrfs/lzo.c)."""

from __future__ import annotations

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged


def segments(data: bytes, size: int, sector: int) -> bytes:
    """At most ``size`` bytes from segments, each with its length before it, each of at most one sector when unpacked.

    A length never crosses the end of a sector: what is too short for one is left out. Raises Damaged.
    """
    total = int.from_bytes(data[:4], "little")
    if not 8 <= total <= len(data):
        raise Damaged("its packed length is wrong")
    offset, out = 4, bytearray()
    while offset < total and len(out) < size:
        left = sector - offset % sector
        if left < 4:
            offset += left
        length = int.from_bytes(data[offset : offset + 4], "little")
        offset += 4
        if not 0 < length <= total - offset:
            raise Damaged("a packed part of it has a wrong length")
        out += decompress(data[offset : offset + length], sector)
        offset += length
    return bytes(out[:size])


def decompress(data: bytes, size: int) -> bytes:
    """What one LZO1X stream holds. Raises Damaged when it is broken or holds more than ``size`` bytes."""
    try:
        return _Stream(data, size).run()
    except IndexError as error:
        raise Damaged("a packed part of it ends too early") from error


class _Stream:
    """A state machine: what a small instruction means depends on the literals that the last one has copied."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data = data
        self._size = size
        self._at = 0
        self._out = bytearray()

    def run(self) -> bytes:
        state = self._first()
        while True:
            code = self._byte()
            if code < 16 and state == 0:
                self._literals(self._long(code, 15) + 3)
                state = 4
                continue
            length, distance, state = self._match(code, state)
            if length == 0:
                return bytes(self._out)
            self._copy(length, distance)
            self._literals(state)

    def _first(self) -> int:
        code = self._data[0]
        if code <= 17:
            return 0
        self._at = 1
        self._literals(code - 17)
        return min(code - 17, 4)

    def _match(self, code: int, state: int) -> tuple[int, int, int]:
        """Length, distance, and how many literals follow; length 0 is the end of the stream."""
        if code >= 64:
            length = (code >> 5) + 1 if code >= 128 else 3 + (code >> 5 & 1)
            return length, (self._byte() << 3) + (code >> 2 & 7) + 1, code & 3
        if code >= 16:
            length = self._long(code & 31, 31) if code >= 32 else self._long(code & 7, 7)
            word = self._byte() | self._byte() << 8
            if code >= 32:
                return length + 2, (word >> 2) + 1, word & 3
            distance = ((code & 8) << 11) + (word >> 2)
            return (length + 2 if distance else 0), distance + 0x4000, word & 3
        near = (self._byte() << 2) + (code >> 2)
        return (3, near + 2049, code & 3) if state == 4 else (2, near + 1, code & 3)

    def _long(self, length: int, base: int) -> int:
        if length:
            return length
        byte = self._byte()
        while byte == 0:
            base += 255
            byte = self._byte()
        return base + byte

    def _byte(self) -> int:
        byte = self._data[self._at]
        self._at += 1
        return byte

    def _literals(self, count: int) -> None:
        if self._at + count > len(self._data):
            raise IndexError
        self._room(count)
        self._out += self._data[self._at : self._at + count]
        self._at += count

    def _copy(self, length: int, distance: int) -> None:
        self._room(length)
        start = len(self._out) - distance
        if start < 0:
            raise Damaged("a packed part of it leads to before its begin")
        piece = self._out[start : start + length]
        self._out += (piece * (length // len(piece) + 1))[:length]

    def _room(self, count: int) -> None:
        if len(self._out) + count > self._size:
            raise Damaged("a packed part of it is too long")
