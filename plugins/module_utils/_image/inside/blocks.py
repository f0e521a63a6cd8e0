# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: a disk as bytes that can only be read, whatever its format.

Everything in this folder trusts nothing that it reads: a structure that contradicts itself ends in ``Damaged``, every
walk has a limit, and no length is believed before it is compared with what is there.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged


class Reader(t.Protocol):
    """Bytes by their offset. ``size`` is in bytes."""

    @property
    def size(self) -> int:
        """The length of the disk."""

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``; fewer only where the disk ends. Raises Damaged for a broken format."""


class RawFile:
    """An open file whose bytes are those of the disk."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = os.fstat(fd).st_size

    def read(self, offset: int, length: int) -> bytes:
        """See Reader."""
        pieces = []
        while length > 0:
            piece = os.pread(self._fd, min(length, 1 << 30), offset)
            if not piece:
                break
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return b"".join(pieces)


class Window:
    """A part of another reader, as a disk of its own."""

    def __init__(self, whole: Reader, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > whole.size:
            raise Damaged(f"the range of {size} bytes at {offset} is not on the disk of {whole.size} bytes")
        self._whole = whole
        self._offset = offset
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        """See Reader."""
        return self._whole.read(self._offset + offset, max(0, min(length, self.size - offset)))


class Cached:
    """A reader that keeps what it has read, in pieces of 64 KiB, for structures that are looked at again and again."""

    _PIECE = 64 * 1024
    _KEPT = 256

    def __init__(self, whole: Reader) -> None:
        self._whole = whole
        self._pieces: dict[int, bytes] = {}
        self.size = whole.size

    def read(self, offset: int, length: int) -> bytes:
        """See Reader."""
        length = max(0, min(length, self.size - offset))
        if length > self._PIECE * 4:
            return self._whole.read(offset, length)
        first, last = offset // self._PIECE, (offset + max(length, 1) - 1) // self._PIECE
        start = offset - first * self._PIECE
        if first == last:
            return self._piece(first)[start : start + length]
        data = b"".join(self._piece(number) for number in range(first, last + 1))
        return data[start : start + length]

    def _piece(self, number: int) -> bytes:
        piece = self._pieces.get(number)
        if piece is None:
            if len(self._pieces) >= self._KEPT:
                self._pieces.clear()
            piece = self._pieces[number] = self._whole.read(number * self._PIECE, self._PIECE)
        return piece


def exactly(reader: Reader, offset: int, length: int, what: str) -> bytes:
    """``length`` bytes that must be there; raises Damaged, which calls them ``what``."""
    data = reader.read(offset, length) if 0 <= offset <= reader.size else b""
    if len(data) != length:
        raise Damaged(f"{what} lies beyond the end of the disk")
    return data
