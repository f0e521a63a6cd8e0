# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Snapshots: the files of disks, by their headers and tables. Reads only, without any program; images of guests are not
trusted, and no file is opened because an image without a stated format of its backing file could be taken for one."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
import struct
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import qcow2
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import RawFile
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.qcow2_file import Qcow2File
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.chain import Layer

#: A chain that is longer than this has been made by nobody.
_MAX_CHAIN = 200
#: A folder with more files than this is no folder of images; what is behind them is not looked at.
_MAX_FILES = 5000
#: qemu's own limits of an image.
_MAX_TABLE, _MAX_SNAPSHOTS, _MAX_SNAPSHOT_TABLE = 32 << 20, 65536, 64 << 20
#: The parts of an entry of the first table that say where its data is.
_OFFSET = 0x00FFFFFFFFFFFE00


@dataclasses.dataclass(frozen=True)
class _Opened:
    fd: int
    size: int
    header: qcow2.Header | None


@contextlib.contextmanager
def _open(path: str, image_format: str) -> t.Iterator[_Opened]:
    """Raises OSError, or KvmError for a broken header."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not (stat.S_ISREG(os.fstat(fd).st_mode) or stat.S_ISBLK(os.fstat(fd).st_mode)):
            raise KvmError(f"{path}: this is neither a file nor a block device.")
        header = None
        if image_format == "qcow2":
            header = qcow2.parse(os.pread(fd, qcow2.HEAD_BYTES, 0), path)
        yield _Opened(fd, os.lseek(fd, 0, os.SEEK_END), header)
    finally:
        os.close(fd)


def read(layer: Layer) -> Layer:
    """The same with all that the file itself says; never raises for what is wrong with it, but says so in ``problem``."""
    try:
        with _open(layer.path, layer.format) as opened:
            if opened.header is None:
                return dataclasses.replace(layer, size=opened.size)
            header = opened.header
            return dataclasses.replace(
                layer,
                size=header.virtual_size,
                backing=_backing(layer.path, header),
                typed=header.backing_file is None or header.backing_format is not None,
                internal=tuple(name for name, _offset, _size in _snapshots(opened)),
                empty=not any(_table(opened.fd, header.l1_offset, header.l1_size)),
            )
    except KvmError as exc:
        return dataclasses.replace(layer, problem=exc.message)
    except OSError as exc:
        return dataclasses.replace(layer, problem=f"{layer.path}: {exc.strerror}.")


def _backing(path: str, header: qcow2.Header) -> str | None:
    name = header.backing_file
    if name is None or not qcow2.is_plain_name(name):
        return None
    return os.path.normpath(os.path.join(os.path.dirname(path), name))


def chain(top: Layer) -> tuple[Layer, ...]:
    """A file and those that it stands on, as far as headers say; one without a stated format ends it."""
    found = [read(top)]
    while len(found) < _MAX_CHAIN and found[-1].backing is not None and found[-1].typed:
        path = found[-1].backing
        if path in [layer.path for layer in found]:
            break
        kind = "block" if path.startswith("/dev/") else "file"
        found.append(read(Layer(path, _backing_format(found[-1].path), kind)))
    return tuple(found)


def _backing_format(path: str) -> str:
    with contextlib.suppress(OSError, KvmError), _open(path, "qcow2") as opened:
        if opened.header is not None and opened.header.backing_format is not None:
            return opened.header.backing_format
    return "raw"


def _table(fd: int, offset: int, entries: int) -> tuple[int, ...]:
    """Where the entries of a first table lead to."""
    length = entries * 8
    if length > _MAX_TABLE:
        raise KvmError("its first table is larger than one can be.")
    raw = os.pread(fd, length, offset)
    return tuple(entry & _OFFSET for entry in struct.unpack(f">{len(raw) // 8}Q", raw[: len(raw) // 8 * 8]))


def _snapshots(opened: _Opened) -> list[tuple[str, int, int]]:
    """Name, place and length of the first table of each snapshot in an image."""
    head = os.pread(opened.fd, 72, 0)
    count, offset = struct.unpack(">IQ", head[60:72])
    if count > _MAX_SNAPSHOTS:
        raise KvmError("it claims to have more snapshots than an image can have.")
    found: list[tuple[str, int, int]] = []
    end = offset + _MAX_SNAPSHOT_TABLE
    for _number in range(count):
        fixed = os.pread(opened.fd, 40, offset)
        if len(fixed) < 40 or offset > end:
            raise KvmError("its table of snapshots is broken.")
        table, size, id_size, name_size = struct.unpack(">QIHH", fixed[:16])
        extra = struct.unpack(">I", fixed[36:40])[0]
        name = os.pread(opened.fd, name_size, offset + 40 + extra + id_size)
        found.append((name.decode("utf-8", "surrogateescape"), table, size))
        offset += (40 + extra + id_size + name_size + 7) // 8 * 8
    return found


def is_at(path: str, snapshot: str) -> bool:
    """Whether the disk in a qcow2 image is what its snapshot of that name has: nothing was written since.

    A write gives the table that it concerns a new place, because the snapshot keeps the old one; so equal places in the
    first tables are equal data. False when that cannot be told.
    """
    try:
        with _open(path, "qcow2") as opened:
            header = opened.header
            named = [(table, size) for name, table, size in _snapshots(opened) if name == snapshot]
            if header is None or len(named) != 1:
                return False
            span = header.cluster_size * (header.cluster_size // (16 if header.extended_l2 else 8))
            used = -(-header.virtual_size // span)
            now = _table(opened.fd, header.l1_offset, min(used, header.l1_size))
            return now == _table(opened.fd, named[0][0], min(used, named[0][1]))
    except (OSError, KvmError):
        return False


def looks_like(path: str) -> str | None:
    """``qcow2`` or ``raw`` by the first bytes of a file; None for what cannot be read."""
    try:
        with _open(path, "raw") as opened:
            return "qcow2" if os.pread(opened.fd, 4, 0) == qcow2.MAGIC else "raw"
    except (OSError, KvmError):
        return None


def images_in(folders: t.Iterable[str]) -> dict[str, str]:
    """The qcow2 images in these folders that stand on something, each with what."""
    found: dict[str, str] = {}
    for folder in sorted(set(folders)):
        try:
            names = sorted(os.listdir(folder))[:_MAX_FILES]
        except OSError:
            continue
        for path in (os.path.join(folder, name) for name in names):
            if looks_like(path) == "qcow2":
                below = read(Layer(path, "qcow2")).backing
                if below is not None:
                    found[path] = below
    return found


def growth(base: Layer, drop: t.Sequence[Layer]) -> int | None:
    """How many bytes ``base`` grows when the files in ``drop`` are merged into it; None when that cannot be told."""
    try:
        there = _extents(base)
        wanted: list[tuple[int, int]] = []
        for layer in drop:
            wanted += _extents(layer)
    except (OSError, KvmError):
        return None
    return _length(sorted(wanted + there)) - _length(there)


def _extents(layer: Layer) -> list[tuple[int, int]]:
    """The ranges of the disk that a file has data for."""
    with _open(layer.path, layer.format) as opened:
        if opened.header is not None:
            file = Qcow2File(RawFile(opened.fd), opened.header)
            return [(start, end) for start, end, kind in file.allocated_extents() if kind != "zero"]
        found: list[tuple[int, int]] = []
        at = 0
        with contextlib.suppress(OSError):  # ENXIO: no data from here to the end
            while True:
                start = os.lseek(opened.fd, at, os.SEEK_DATA)
                at = os.lseek(opened.fd, start, os.SEEK_HOLE)
                found.append((start, at))
        return found


def _length(extents: t.Iterable[tuple[int, int]]) -> int:
    """The length of the union of ranges that are in order of their begin."""
    total = reached = 0
    for start, end in extents:
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def free(folder: str) -> int | None:
    """How much room there is in a folder for root; None when it cannot be told."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bfree * found.f_frsize
