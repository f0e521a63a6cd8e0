# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: FAT12, FAT16 and FAT32 with long names, read only (Microsoft's FAT specification)."""

from __future__ import annotations

import array
import dataclasses
import struct
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Cached, Reader, exactly
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.probe_foreign import fat_boot, vfat
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.volume import Node

_READ_ONLY, _LABEL, _FOLDER, _LONG = 0x01, 0x08, 0x10, 0x0F
# The specification's own limit of a folder: 65536 entries.
_LONGEST_FOLDER = 65536 * 32
_MOST_AT_ONCE = 1 << 30
_CHARACTERS = (slice(1, 11), slice(14, 26), slice(28, 32))
# The folder of the top has no entry and with FAT12 and FAT16 no cluster.
_TOP = 0


@dataclasses.dataclass(frozen=True)
class _Entry:
    """An entry of a folder: its name, the short one that it has as well, and what it leads to."""

    name: str
    short: str
    node: Node


class Vfat:
    """A file system of the kind vfat. Implements Volume: the number of a node is its first cluster, rights and owners are
    those that Linux invents (755, root). Names are found in any case, also by their short form. A walk over the tree needs
    limits of its own.

    Raises Damaged when there is no such file system.
    """

    kind = "vfat"

    def __init__(self, reader: Reader) -> None:
        told = vfat(reader)
        fat = fat_boot(exactly(reader, 0, 512, "the boot sector of the FAT"))
        if told is None or fat is None:
            raise Damaged("there is no FAT: its boot sector is not valid")
        self._reader = reader
        self._table = Cached(reader)
        self._fat = fat
        self._chain: tuple[int, array.array[int]] = (0, array.array("I"))
        self.label: str | None = told.label
        self.uuid: str | None = told.uuid
        self.size: int = fat.total * fat.sector
        self.block_size: int = fat.cluster * fat.sector

    def root(self) -> Node:
        """See Volume."""
        cluster = struct.unpack_from("<I", self._fat.boot, 44)[0] if self._fat.wide else _TOP
        return Node(cluster, "directory", 0o755, 0, 0, 0)

    def lookup(self, folder: Node, name: str) -> Node | None:
        """See Volume."""
        wanted = name.lower()
        for entry in self._entries(folder):
            if wanted in (entry.name.lower(), entry.short.lower()):
                return entry.node
        return None

    def names(self, folder: Node) -> list[str]:
        """See Volume."""
        return [entry.name for entry in self._entries(folder)]

    def read(self, node: Node, offset: int, length: int) -> bytes:
        """See Volume. At most 1 GiB at once: sizes are told by the image."""
        if node.kind != "file":
            raise Damaged(f"what begins at cluster {node.number} of the FAT is no file")
        length = min(length, node.size - offset)
        if offset < 0 or length <= 0:
            return b""
        if length > _MOST_AT_ONCE:
            raise Unsupported(f"{length} bytes of a file of the FAT are too many to be read at once")
        return self._content(node.number, offset, length)

    def target(self, node: Node) -> str:
        """See Volume. FAT has no links."""
        raise Damaged("FAT has no symbolic links")

    def xattrs(self, node: Node) -> dict[str, bytes]:
        """See Volume. FAT has none."""
        return {}

    def _entries(self, folder: Node) -> t.Iterator[_Entry]:
        if folder.kind != "directory":
            raise Damaged(f"what begins at cluster {folder.number} of the FAT is no folder")
        long = _LongName()
        for raw in self._raw_entries(folder.number):
            kind = raw[11]
            if raw[0] == 0xE5:
                long.forget()
            elif kind & 0x3F == _LONG:
                long.take(raw)
            else:
                name, short = long.of(raw), _short(raw)
                long.forget()
                if not kind & _LABEL and short not in (".", ".."):
                    yield _Entry(_safe(name or short), short, self._node(raw))

    def _raw_entries(self, cluster: int) -> t.Iterator[bytes]:
        for piece in self._pieces(cluster):
            for start in range(0, len(piece), 32):
                if piece[start] == 0:
                    return
                yield piece[start : start + 32]

    def _pieces(self, cluster: int) -> t.Iterator[bytes]:
        fat = self._fat
        if cluster == _TOP and not fat.wide:
            start = (fat.reserved + fat.table * fat.tables) * fat.sector
            yield exactly(self._reader, start, fat.entries * 32, "the top folder of the FAT")
            return
        left = _LONGEST_FOLDER
        for number in self._clusters(cluster):
            if left <= 0:
                raise Damaged(f"the folder at cluster {cluster} of the FAT has no end")
            left -= self.block_size
            yield self._cluster(number, 1)

    def _node(self, raw: bytes) -> Node:
        high, low, size = struct.unpack_from("<H4xHI", raw, 20)
        cluster = (high << 16 | low) if self._fat.wide else low
        mode = 0o555 if raw[11] & _READ_ONLY else 0o755
        if raw[11] & _FOLDER:
            if cluster < 2:
                raise Damaged("a folder of the FAT has no cluster")
            return Node(cluster, "directory", mode, 0, 0, 0)
        return Node(cluster, "file", mode, 0, 0, size)

    def _content(self, first: int, offset: int, length: int) -> bytes:
        size = self.block_size
        low, high = offset // size, (offset + length - 1) // size
        chain = self._reached(first, high)
        pieces = []
        while low <= high:
            count = 1
            while low + count <= high and chain[low + count] == chain[low] + count:
                count += 1
            pieces.append(self._cluster(chain[low], count))
            low += count
        start = offset % size
        return b"".join(pieces)[start : start + length]

    def _reached(self, first: int, index: int) -> array.array[int]:
        """The chain that begins at a cluster, at least up to ``index``; the last one is kept, as a reader goes on in it."""
        if self._chain[0] != first:
            self._chain = first, array.array("I")
        chain = self._chain[1]
        if index >= len(chain):
            if index >= self._fat.clusters:
                raise Damaged(f"the file at cluster {first} of the FAT is larger than the FAT")
            rest = self._clusters(chain[-1] if chain else first)
            if chain:
                next(rest)
            chain.extend(number for number, _index in zip(rest, range(len(chain), index + 1)))
        if index >= len(chain):
            raise Damaged(f"the file at cluster {first} of the FAT ends before its size")
        return chain

    def _clusters(self, number: int) -> t.Iterator[int]:
        """A chain from a cluster on. One that leads back to itself is noticed after at most three times round."""
        end = {12: 0xFF8, 16: 0xFFF8, 32: 0x0FFFFFF8}[self._fat.bits]
        mark, steps, limit = -1, 0, 1
        while number < end:
            if not 2 <= number < self._fat.clusters + 2:
                raise Damaged(f"a chain of the FAT leads to cluster {number}, which it has not")
            if number == mark:
                raise Damaged(f"a chain of the FAT leads back to its cluster {number}")
            if steps == limit:
                mark, steps, limit = number, 0, limit * 2
            steps += 1
            yield number
            number = self._next(number)

    def _next(self, number: int) -> int:
        bits = self._fat.bits
        place, width = number * bits // 8, max(2, bits // 8)
        if place + width > self._fat.table * self._fat.sector:
            raise Damaged(f"the table of the FAT has no room for cluster {number}")
        raw = exactly(self._table, self._fat.reserved * self._fat.sector + place, width, "the table of the FAT")
        value = int.from_bytes(raw, "little")
        if bits == 12:
            return value >> 4 if number & 1 else value & 0xFFF
        return value & 0x0FFFFFFF

    def _cluster(self, number: int, count: int) -> bytes:
        start = (self._fat.data + (number - 2) * self._fat.cluster) * self._fat.sector
        return exactly(self._reader, start, count * self.block_size, f"the cluster {number} of the FAT")


class _LongName:
    """Collects a long name: its parts stand in reverse order before the entry whose short name they belong to."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._parts: list[bytes] = []
        self._next = 0
        self._sum = -1

    def take(self, raw: bytes) -> None:
        number = raw[0] & 0x3F
        if raw[0] & 0x40:
            self._parts, self._next, self._sum = [], number, raw[13]
        if number == 0 or number > 20 or number != self._next or raw[13] != self._sum:
            self.forget()
            return
        self._parts.insert(0, b"".join(raw[part] for part in _CHARACTERS))
        self._next = number - 1

    def of(self, raw: bytes) -> str | None:
        total = 0
        for byte in raw[:11]:
            total = (total >> 1 | total << 7 & 0x80) + byte & 0xFF
        if not self._parts or self._next or total != self._sum:
            return None
        return b"".join(self._parts).decode("utf-16-le", "replace").split("\0", 1)[0]


def _short(raw: bytes) -> str:
    """The name of at most 8 and 3 characters; two bits say which half was in small letters."""
    base, extension = raw[:8].decode("cp437").rstrip(" "), raw[8:11].decode("cp437").rstrip(" ")
    if raw[0] == 0x05:
        base = bytes([0xE5]).decode("cp437") + base[1:]
    base = base.lower() if raw[12] & 0x08 else base
    extension = extension.lower() if raw[12] & 0x10 else extension
    return f"{base}.{extension}" if extension else base


def _safe(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise Damaged("an entry of a folder of the FAT has an impossible name")
    return name
