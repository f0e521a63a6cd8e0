# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: where a qcow2 image keeps the clusters of its disk, by the two levels of its tables.

Source of the format: "Qcow2 Image File Format" (docs/interop/qcow2 of QEMU). What qemu masks away is masked away here,
what it calls corrupt is Damaged here.
"""

from __future__ import annotations

import array
import collections
import sys
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader, exactly
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.qcow2 import Header

DATA, COMPRESSED, ZERO, NONE = "data", "compressed", "zero", "none"

#: qemu opens no image with a larger first table.
_MAX_L1_BYTES = 32 << 20
_CACHED_BYTES = 4 << 20
_L1_PIECE = 8192
_OFFSET = 0x00FFFFFFFFFFFE00
_COPIED, _COMPRESSED, _ZERO = 1 << 63, 1 << 62, 1
_PARTS = 32
_ALL = (1 << _PARTS) - 1

Table = t.Union["array.array[int]", None]


class Run(t.NamedTuple):
    """A range of the disk from ``start`` to ``end`` in bytes, of one ``kind``.

    ``host``: for data the offset in the file, the range is there in one piece; for a compressed cluster (always a whole
    one) its descriptor; otherwise 0. NONE is what this image does not have, and its backing file may.
    """

    start: int
    end: int
    kind: str
    host: int


class Map:
    """The tables of the active state of an image. They are read when they are needed; about 4 MiB of them are kept."""

    def __init__(self, file: Reader, header: Header) -> None:
        self._file = file
        self._header = header
        self._step = header.cluster_size
        self._words = 2 if header.extended_l2 else 1
        #: The bits of a compressed cluster's descriptor that are its offset.
        self._place = (1 << (70 - header.cluster_bits)) - 1
        #: How many clusters one table of the second level stands for.
        self.clusters = header.cluster_size // (8 * self._words)
        self.span = self.clusters * header.cluster_size
        self.tables = -(-header.virtual_size // self.span)
        # A last cluster that was written in part has zeros behind the end of the file.
        self._end = -(-file.size // self._step) * self._step
        self._cache: collections.OrderedDict[int, array.array[int]] = collections.OrderedDict()
        self._kept = max(2, _CACHED_BYTES // header.cluster_size)
        self._l1: tuple[int, array.array[int]] = (-1, array.array("Q"))
        self._check_l1()

    def _check_l1(self) -> None:
        header = self._header
        if header.l1_size < self.tables:
            raise Damaged(
                f"the table of {header.l1_size} entries is too short for a disk of {header.virtual_size} bytes"
            )
        if self.tables * 8 > _MAX_L1_BYTES:
            raise Damaged(f"a disk of {header.virtual_size} bytes is more than its clusters can hold")
        if self.tables and (header.l1_offset % self._step or header.l1_offset + self.tables * 8 > self._file.size):
            raise Damaged("the first table of the qcow2 image is not in the file")

    def runs(self, start: int, end: int) -> t.Iterator[Run]:
        """What covers the bytes ``start`` to ``end`` of the disk (not beyond its end), in order and cut to them."""
        bits = self._header.cluster_bits
        while start < end:
            number = start // self.span
            stop = min(end, (number + 1) * self.span)
            table = self.table(self.l2_offset(number))
            base = number * self.clusters
            for run in self.table_runs(table, base, (start >> bits) - base, ((stop - 1) >> bits) + 1 - base):
                if run.start < stop and run.end > start:
                    yield _cut(run, start, stop)
            start = stop

    def l2_offset(self, number: int) -> int:
        """Where the table of the second level with this number is in the file; 0 when there is none."""
        piece, inside = divmod(number, _L1_PIECE)
        if self._l1[0] != piece:
            first = piece * _L1_PIECE
            length = 8 * min(_L1_PIECE, self.tables - first)
            raw = exactly(self._file, self._header.l1_offset + 8 * first, length, "the first table of the qcow2 image")
            self._l1 = (piece, _numbers(raw))
        offset = self._l1[1][inside] & _OFFSET
        if offset % self._step or offset + self._step > self._file.size:
            raise Damaged(f"the qcow2 table number {number} is not in the file")
        return offset

    def table(self, offset: int) -> Table:
        """The table of the second level at this offset; None for 0."""
        if offset == 0:
            return None
        found = self._cache.get(offset)
        if found is None:
            found = _numbers(exactly(self._file, offset, self._step, "a table of the qcow2 image"))
            if len(self._cache) >= self._kept:
                self._cache.popitem(last=False)
            self._cache[offset] = found
        else:
            self._cache.move_to_end(offset)
        return found

    def table_runs(self, table: Table, base: int, first: int, last: int, merged: bool = False) -> t.Iterator[Run]:
        """The runs of the clusters ``first`` to ``last`` (not included) of a table whose first cluster is ``base``.

        ``merged``: neighbours of one kind are one run wherever they are in the file, and ``host`` says nothing.
        """
        if table is None:
            yield Run((base + first) * self._step, (base + last) * self._step, NONE, 0)
        elif self._words == 2:
            yield from self._parted(table, base, first, last)
        else:
            yield from self._plain(table, base, first, last, merged)

    def _plain(self, table: array.array[int], base: int, first: int, last: int, merged: bool) -> t.Iterator[Run]:
        # Most entries continue the one before them: one comparison is all that they cost.
        begin = piece = first
        kind, host, step, expected, file_size = "", 0, 0, -1, self._file.size
        for index in range(first, last):
            entry = table[index]
            if entry == expected:
                expected += step
                continue
            if merged and kind == COMPRESSED and entry & _COMPRESSED and entry & self._place < file_size:
                continue
            self._check_end(kind, host, index - piece, base + piece)
            found, place = self._kind(entry, base + index)
            if kind and not (merged and found == kind):
                yield self._run(base + begin, base + index, kind, host)
                begin = index
            kind, host, piece = found, place, index
            step = self._step if kind == DATA else 0
            expected = -1 if kind == COMPRESSED else entry + step
        self._check_end(kind, host, last - piece, base + piece)
        if kind:
            yield self._run(base + begin, base + last, kind, host)

    def _check_end(self, kind: str, host: int, count: int, number: int) -> None:
        if kind == DATA and host + count * self._step > self._end:
            raise Damaged(f"clusters {number} to {number + count - 1} lie beyond the end of the file")

    def _run(self, first: int, last: int, kind: str, host: int) -> Run:
        return Run(first * self._step, last * self._step, kind, host)

    def _kind(self, entry: int, number: int) -> tuple[str, int]:
        """What an entry says of a cluster, and its offset or descriptor; its parts are left to ``_parted``."""
        if entry & _COMPRESSED:
            return COMPRESSED, self._descriptor(entry, number)
        host = entry & _OFFSET
        if host % self._step or host >= self._end:
            raise Damaged(f"cluster {number} is not where one can be in the file")
        if entry & _ZERO and self._words == 1:
            if self._header.version < 3:
                raise Damaged(f"cluster {number} has a mark that version 2 does not know")
            return ZERO, 0
        return (DATA, host) if host else (NONE, 0)

    def _descriptor(self, entry: int, number: int) -> int:
        descriptor = entry & (_COMPRESSED - 1)
        if self.compressed_place(descriptor)[0] >= self._file.size:
            raise Damaged(f"the compressed cluster {number} is beyond the end of the file")
        return descriptor

    def compressed_place(self, descriptor: int) -> tuple[int, int]:
        """Offset in the file and longest possible length of a compressed cluster; at most two clusters."""
        offset = descriptor & self._place
        return offset, ((descriptor >> self._place.bit_length()) + 1) * 512 - offset % 512

    def _parted(self, table: array.array[int], base: int, first: int, last: int) -> t.Iterator[Run]:
        """As ``_plain`` for the extended entries: each has a second word, with two bits for each part of the cluster."""
        pending: Run | None = None
        for index in range(first, last):
            for run in self._parts(table[2 * index], table[2 * index + 1], base + index):
                if pending is None:
                    pending = run
                elif pending.kind == run.kind != COMPRESSED and (
                    run.kind != DATA or pending.host + pending.end - pending.start == run.host
                ):
                    pending = Run(pending.start, run.end, run.kind, pending.host)
                else:
                    yield pending
                    pending = run
        if pending is not None:
            yield pending

    def _parts(self, entry: int, bitmap: int, number: int) -> t.Iterator[Run]:
        kind, host = self._kind(entry, number)
        start, end = number * self._step, (number + 1) * self._step
        present, zero = bitmap & _ALL, bitmap >> _PARTS
        if kind == COMPRESSED or present == _ALL or bitmap == 0:
            yield Run(start, end, NONE if bitmap == 0 and kind == DATA else kind, host)
            return
        if present & zero or (present and kind == NONE):
            raise Damaged(f"the parts of cluster {number} contradict each other")
        size = self._step // _PARTS
        for part in range(_PARTS):
            at = part * size
            if present >> part & 1:
                yield Run(start + at, start + at + size, DATA, host + at)
            else:
                yield Run(start + at, start + at + size, ZERO if zero >> part & 1 else NONE, 0)


def _cut(run: Run, start: int, end: int) -> Run:
    if start <= run.start and run.end <= end:
        return run
    skipped = max(0, start - run.start) if run.kind == DATA else 0
    return Run(max(run.start, start), min(run.end, end), run.kind, run.host + skipped)


def _numbers(raw: bytes) -> array.array[int]:
    numbers = array.array("Q", raw)
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers
