# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: the disk in a qcow2 file, read without any program.

Source of the format: "Qcow2 Image File Format" (docs/interop/qcow2 of QEMU).
"""

from __future__ import annotations

import collections
import typing as t
import zlib

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import zstd
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.qcow2_map import (
    COMPRESSED,
    DATA,
    NONE,
    ZERO,
    Map,
    Run,
    Table,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.qcow2 import Header

#: No structure of a file system is that long; a length that was read from one may be.
_MAX_READ = 1 << 30
#: How much a whole walk reads at most, in bytes of tables (4 TiB of disk with the usual clusters), tables and runs.
_MAX_WALK, _MAX_TABLES, _MAX_RUNS = 512 << 20, 1 << 18, 1 << 21
_CACHED_BYTES = 8 << 20
#: deflate makes at most 258 bytes of two bits; of zstd no such thing is known but that a frame has a head.
_DEFLATE_RATIO, _LEAST_FRAME = 1032, 6


class Withheld(Unsupported):
    """What is asked for is in a backing file that was not opened along with the image."""


class Qcow2File:
    """The disk in a qcow2 file as a Reader; without ``backing`` reading what a backing file has raises Withheld.

    Raises Damaged for an image that is marked as corrupt or whose tables cannot be, Unsupported for one whose content
    is encrypted, in another file, or needs a feature that is not known here.
    """

    def __init__(self, file: Reader, header: Header, backing: Reader | None = None) -> None:
        check(header)
        self._file = file
        self._header = header
        self._backing = backing
        self._map = Map(file, header)
        self._expanded: collections.OrderedDict[int, bytes] = collections.OrderedDict()
        self._kept = max(2, min(64, _CACHED_BYTES // header.cluster_size))
        # In whole sectors, as qemu counts: what is behind them no guest has ever seen.
        self.size = header.virtual_size // 512 * 512

    def read(self, offset: int, length: int) -> bytes:
        """See Reader; at most 1 GiB at once."""
        length = max(0, min(length, self.size - offset))
        if length > _MAX_READ:
            raise Damaged(f"something on the disk claims to be {length} bytes long")
        if offset < 0:
            raise Damaged("something on the disk claims to lie before its begin")
        pieces = [self._bytes(run) for run in self._map.runs(offset, offset + length)]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _bytes(self, run: Run) -> bytes:
        length = run.end - run.start
        if run.kind == DATA:
            return self._file.read(run.host, length).ljust(length, b"\0")
        if run.kind == COMPRESSED:
            inside = run.start % self._header.cluster_size
            return self._expand(run.host)[inside : inside + length]
        if run.kind == NONE and self._backing is not None:
            return self._below(self._backing, run.start, length)
        if run.kind == NONE and self._header.backing_file is not None:
            raise Withheld(
                f"the image stands on the backing file {self._header.backing_file!r}, which is not read along with it"
            )
        return bytes(length)

    @staticmethod
    def _below(backing: Reader, offset: int, length: int) -> bytes:
        there = max(0, min(length, backing.size - offset))
        return (backing.read(offset, there) if there else b"").ljust(length, b"\0")

    def _expand(self, descriptor: int) -> bytes:
        data = self._expanded.get(descriptor)
        if data is not None:
            self._expanded.move_to_end(descriptor)
            return data
        # The length is in sectors: what stands behind the stream belongs to others, and the file may end before it.
        raw = self._file.read(*self._map.compressed_place(descriptor))
        data = self._decompress(raw, self._header.cluster_size)
        if len(self._expanded) >= self._kept:
            self._expanded.popitem(last=False)
        self._expanded[descriptor] = data
        return data

    def _decompress(self, raw: bytes, size: int) -> bytes:
        if self._header.compression == "zstd":
            return zstd.decompress(raw, size)
        try:
            # qemu's streams have a window of 4 KiB, which a larger one can read as well.
            data = zlib.decompressobj(-15).decompress(raw, size)
        except zlib.error as exc:
            raise Damaged("a compressed cluster is no valid deflate stream") from exc
        if len(data) != size:
            raise Damaged("a compressed cluster has another size than a cluster")
        return data

    def allocated_extents(self) -> t.Iterator[tuple[int, int, str]]:
        """The ranges of the disk that this image has itself: start and end in bytes, and data, compressed or zero.

        They are in order and neighbours of one kind are one. Raises Damaged when they need more than the file can have,
        Unsupported when the tables are too many to be walked.
        """
        start, end, kind = 0, 0, NONE
        for run in self._own_runs():
            if run.kind == kind and run.start == end:
                end = run.end
                continue
            if kind != NONE:
                yield start, min(end, self.size), kind
            start, end, kind = run.start, run.end, run.kind
        if kind != NONE:
            yield start, min(end, self.size), kind

    def data_bytes(self) -> int:
        """How many bytes of the disk this image has data for, compressed ones as they are when expanded."""
        return sum(end - start for start, end, kind in self.allocated_extents() if kind != ZERO)

    def _own_runs(self) -> t.Iterator[Run]:
        """All runs but NONE; clusters that share their place in the file, which no image can have, end it."""
        size, used, count = self._header.cluster_size, 0, 0
        least = _LEAST_FRAME if self._header.compression == "zstd" else size // _DEFLATE_RATIO
        for base, table in self._tables():
            last = min(self._map.clusters, -(-self.size // size) - base)
            for run in self._map.table_runs(table, base, 0, last, merged=True):
                if run.kind == NONE:
                    continue
                length, count = run.end - run.start, count + 1
                if run.kind != ZERO:
                    used += length if run.kind == DATA else length // size * least
                if used > self._file.size + size:
                    raise Damaged("the image has more clusters than its file has room for")
                if count > _MAX_RUNS:
                    raise Unsupported("the qcow2 image is in too many pieces to be walked through")
                yield run

    def _tables(self) -> t.Iterator[tuple[int, Table]]:
        """The number of the first cluster of each table of the second level, and the table."""
        seen: set[int] = set()
        most = min(_MAX_TABLES, _MAX_WALK // self._header.cluster_size)
        for number in range(self._map.tables):
            offset = self._map.l2_offset(number)
            if offset == 0:
                continue
            if offset in seen:
                raise Damaged("a table of the qcow2 image stands for two parts of the disk")
            if len(seen) >= most:
                raise Unsupported("the qcow2 image has too many tables to be walked through")
            seen.add(offset)
            yield number * self._map.clusters, self._map.table(offset)


def check(header: Header) -> None:
    """Raises Damaged or Unsupported for an image whose content cannot be told, whatever its tables say."""
    if header.corrupt:
        raise Damaged("the qcow2 image is marked as corrupt")
    if header.unknown_features:
        raise Unsupported(f"the qcow2 image needs what is not known here: {', '.join(header.unknown_features)}")
    if header.encrypted:
        raise Unsupported("the qcow2 image is encrypted")
    if header.data_file:
        raise Unsupported(f"the data of the qcow2 image is in another file, {header.data_file_name or ''!r}")
