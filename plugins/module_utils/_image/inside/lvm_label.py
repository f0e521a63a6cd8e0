# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: physical volumes of LVM2, and the descriptions of volume groups that are written on them.

The format is that of LVM2's lib/format_text/layout.h and lib/label/label.h: a label in one of the first four sectors,
behind it where the metadata areas are; a metadata area is a header of 512 bytes and a ring of texts.
"""

from __future__ import annotations

import re
import struct
import typing as t
import zlib

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import lvm_text
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader, exactly
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.signature import clean

SECTOR = 512
#: LABELONE, own sector, checksum of what follows it, where the header of the volume is, the type.
_LABEL = struct.Struct("<8sQII8s")
_UUID_AND_SIZE = 40
_AREA = struct.Struct("<QQ")
#: Checksum of what follows it, magic, version, own place, size of the area with this header.
_RING = struct.Struct("<I16sIQQ")
_RING_MAGIC = b" LVM2 x[5A%r0N*>"
#: Where in the area the text is, its length and checksum, flags.
_TEXT = struct.Struct("<QQII")
_IGNORED = 1
_UUID = re.compile(r"[A-Za-z0-9!#]{32}")
_CUTS = (0, 6, 10, 14, 18, 22, 26, 32)
_NAME = re.compile(r"(?![-])(?!\.\.?\Z)[A-Za-z0-9+_.-]{1,127}")
# Of all descriptions of a disk together; equal ones, as every volume of a group has one, count once.
_MOST_TEXT = lvm_text.LARGEST


class Group(t.NamedTuple):
    """What one description says of a volume group: the higher ``seqno``, the newer. ``section`` is the group's own."""

    name: str
    uuid: str
    seqno: int
    section: lvm_text.Section


class Physical(t.NamedTuple):
    """A physical volume: the number of its area (None: the whole disk), its bytes, and the newest description on it.

    ``group`` is None where it has none: it is unused, its group is described on other volumes only, or, as ``problem``
    then says, what it has is damaged.
    """

    number: int | None
    reader: Reader
    uuid: str
    group: Group | None
    problem: Damaged | None


def crc(data: bytes) -> int:
    """LVM2's checksum: CRC-32 with a start value of its own, not inverted at the end."""
    return ~zlib.crc32(data, ~0xF597A6CF & 0xFFFFFFFF) & 0xFFFFFFFF


def uuid(text: str, what: str) -> str:
    """The UUID of ``what`` as LVM2 shows it, from 32 characters with or without dashes; raises Damaged when it is none."""
    plain = text.replace("-", "")
    if not _UUID.fullmatch(plain):
        raise Damaged(f"{what} has a UUID that is none ({clean(text[:64])})")
    return "-".join(plain[start:end] for start, end in zip(_CUTS, _CUTS[1:]))


def valid_name(text: str, what: str) -> str:
    """A name that a volume group or a logical volume can have (lvm(8)); raises Damaged, which calls it ``what``."""
    if not _NAME.fullmatch(text):
        raise Damaged(f"{clean(text[:64]) or 'nothing'} cannot be the name of {what}")
    return text


def place(number: int | None) -> str:
    """An area in words."""
    return "the whole disk" if number is None else f"partition {number}"


def find(parts: t.Mapping[int | None, Reader]) -> list[Physical]:
    """The physical volumes among the areas of a disk, in the order of the areas.

    Raises Damaged for one whose header contradicts itself, Unsupported for descriptions of a kind or length that is not
    read here.
    """
    texts = _Texts()
    headers = ((number, reader, _header(reader)) for number, reader in parts.items())
    return [_physical(number, reader, header, texts) for number, reader, header in headers if header is not None]


def _header(reader: Reader) -> bytes | None:
    """The header of the physical volume up to the end of its sector; None when there is no sound label."""
    head = reader.read(0, 4 * SECTOR).ljust(4 * SECTOR, b"\0")
    for number in range(4):
        sector = head[number * SECTOR : (number + 1) * SECTOR]
        magic, own, checksum, start, kind = _LABEL.unpack_from(sector)
        if (magic, own, kind) != (b"LABELONE", number, b"LVM2 001") or checksum != crc(sector[20:]):
            continue
        if not _LABEL.size <= start <= SECTOR - _UUID_AND_SIZE:
            raise Damaged(f"the label of a physical volume says that its header is at byte {start} of its sector")
        return sector[start:]
    return None


def _physical(number: int | None, reader: Reader, header: bytes, texts: _Texts) -> Physical:
    own = uuid(header[:32].decode("ascii", "replace"), f"the physical volume on {place(number)}")
    newest: Group | None = None
    problem: Damaged | None = None
    for offset in _metadata_areas(header, number):
        try:
            found = texts.newest(reader, offset)
        except Damaged as exc:
            problem = Damaged(f"the physical volume on {place(number)}: {exc.message}")
            continue
        if found is not None and (newest is None or found.seqno > newest.seqno):
            newest = found
    return Physical(number, reader, own, newest, problem if newest is None else None)


def _metadata_areas(header: bytes, number: int | None) -> list[int]:
    """Where the metadata areas begin: the second of two lists, each ended by a place of zero."""
    lists: list[list[int]] = [[]]
    for start in range(_UUID_AND_SIZE, len(header) - _AREA.size + 1, _AREA.size):
        offset = _AREA.unpack_from(header, start)[0]
        if offset:
            lists[-1].append(offset)
        elif len(lists) == 2:
            return lists[1]
        else:
            lists.append([])
    raise Damaged(f"the physical volume on {place(number)} has a list of areas without end")


class _Texts:
    """Reads descriptions, each once: by length and checksum LVM2 itself knows them again."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], Group] = {}
        self._left = _MOST_TEXT

    def newest(self, reader: Reader, area: int) -> Group | None:
        """The current description of a metadata area; None where it has none, or one that is not kept up to date."""
        what = f"its metadata area at byte {area}"
        head = exactly(reader, area, SECTOR, what)
        checksum, magic, version, own, size = _RING.unpack_from(head)
        if magic != _RING_MAGIC or own != area or checksum != crc(head[4:]):
            raise Damaged(f"{what} has no sound header")
        if version != 1:
            raise Unsupported(f"{what} is of the version {version}, which is not read here")
        offset, length, checksum, flags = _TEXT.unpack_from(head, _RING.size)
        if flags & _IGNORED or not (offset and length):
            return None
        if not SECTOR <= offset < size or length > size - SECTOR or area + size > reader.size:
            raise Damaged(f"{what} of {size} bytes has no room for {length} bytes at {offset}")
        key = (length, checksum)
        if key not in self._known:
            self._spend(length)
            first = min(length, size - offset)
            raw = exactly(reader, area + offset, first, what)
            raw += exactly(reader, area + SECTOR, length - first, what)
            if crc(raw) != checksum:
                raise Damaged(f"the text in {what} does not match its checksum")
            self._known[key] = _group(raw)
        return self._known[key]

    def _spend(self, length: int) -> None:
        # Before anything is read: bad ones count as well.
        self._left -= length
        if self._left < 0:
            raise Unsupported("the descriptions of its volume groups are too long to be read here")


def _group(raw: bytes) -> Group:
    top = lvm_text.parse(raw.rstrip(b"\0"))
    kind, version = top.text("contents"), top.number("version")
    if (kind, version) != ("Text Format Volume Group", 1):
        raise Unsupported(f"the description of its volume group is of an unknown kind ({clean(kind[:64])}, {version})")
    sections = top.sections()
    if not sections:
        raise Damaged("the description of its volume group has no volume group")
    name, section = next(iter(sections.items()))
    section.what = f"the volume group {valid_name(name, 'a volume group')}"
    return Group(name, uuid(section.text("id"), section.what), section.number("seqno"), section)
