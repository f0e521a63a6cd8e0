# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: what a range of a disk can be recognised by, and how text of unknown origin is shown."""

from __future__ import annotations

import dataclasses
import typing as t
import uuid

from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a range of a disk holds, in blkid's words.

    ``kind`` is its TYPE (ext4, swap, LVM2_member), ``label`` and ``uuid`` are as it writes them, the label made safe
    to show by ``clean``; ``size`` is what the structure itself says in bytes, which may be more than the range;
    ``version`` that of the format. None is what the format does not have or has left empty.
    """

    kind: str
    label: str | None = None
    uuid: str | None = None
    size: int | None = None
    version: str | None = None


Probe = t.Callable[[Reader], t.Optional[Signature]]


def clean(text: str) -> str:
    """Text that a terminal, a log and JSON can take: what cannot be printed, or was no UTF-8, as ``\\x1b`` or ``\\u202e``."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(ord(char)) for char in text)


def _escaped(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8, as surrogateescape keeps it
        code -= 0xDC00
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def piece(reader: Reader, offset: int, length: int) -> bytes:
    """``length`` bytes, zeros where the disk has none: no magic is all zeros, so nobody has to ask for the end first."""
    data = reader.read(offset, length) if 0 <= offset < reader.size else b""
    return data.ljust(length, b"\0")


def label(raw: bytes) -> str | None:
    """A name up to its first zero byte, without the blanks behind it; None for an empty one."""
    text = raw.split(b"\0", 1)[0].rstrip(b" \t\n\v\f\r").decode("utf-8", "surrogateescape")
    return clean(text) or None


def wide_label(raw: bytes, order: str = "le") -> str | None:
    """The same in UTF-16, little-endian or (``be``) big-endian."""
    text = raw[: len(raw) & ~1].decode(f"utf-16-{order}", "replace")
    return clean(text.split("\0", 1)[0].rstrip(" \t\n\v\f\r")) or None


def dashed(raw: bytes) -> str | None:
    """16 bytes as a UUID; None when all of them are zero."""
    return str(uuid.UUID(bytes=raw)) if any(raw) else None


def power_of_two(value: int, least: int, most: int) -> bool:
    """Whether a block size can be one."""
    return least <= value <= most and value & (value - 1) == 0
