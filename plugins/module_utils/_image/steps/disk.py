# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: the disk itself: copied as data without its holes and free blocks, and put from one format into another."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import struct
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import RawFile, Reader

_FICLONERANGE = 0x4020940D
_PUNCH_HOLE = 0x02 | 0x01  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
_CHUNK = 1 << 20
#: Zeros of this length and alignment become a hole.
_GRAIN = 64 << 10
_ZEROS = bytes(_GRAIN)

Range = tuple[int, int]


def program(name: str) -> str:
    """The path of one of the programs of this floor."""
    return _command.find(name, "qemu-utils" if name.startswith("qemu-") else "e2fsprogs")


def copy_sparse(source: str, target: str, size: int) -> None:
    """Copies a raw file into a new one of at least ``size`` bytes, without its holes."""
    copy_window(source, 0, os.stat(source).st_size, target)
    if os.path.getsize(target) < size:
        os.truncate(target, size)


def copy_window(
    source: str,
    offset: int,
    size: int,
    target: str,
    used: t.Sequence[Range] | None = None,
    *,
    truncate: int | None = None,
) -> int:
    """Copies ``size`` bytes from ``offset`` of a raw file into a new one; gives how many it wrote.

    Blocks are shared where the file system can do that. Else only data is written: what lies in ``used`` (ranges in the
    window; None: all), is no hole of the source and is not zeros. ``truncate`` is the size of the new file.
    """
    src = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        dst = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Holes are asked for below: what is not written yet must not look like one.
            os.fsync(src)
            if _reflink(src, offset, size, dst):
                for start, end in complement(used, size) if used is not None else ():
                    punch(dst, start, end)
                written = 0
            else:
                written = _copy_data(src, offset, size, dst, used)
            os.ftruncate(dst, size if truncate is None else truncate)
        finally:
            os.close(dst)
    finally:
        os.close(src)
    return written


def _reflink(src: int, offset: int, size: int, dst: int) -> bool:
    """Whether the blocks are shared now; only whole blocks can be, and only in the same file system."""
    try:
        fcntl.ioctl(dst, _FICLONERANGE, struct.pack("qQQQ", src, offset, size, 0))
    except OSError as exc:
        if exc.errno in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS):
            return False
        raise
    return True


def extents(fd: int, start: int = 0, end: int | None = None) -> t.Iterator[Range]:
    """(start, end) of the data of a file between two places, in bytes, without its holes."""
    position, limit = start, os.fstat(fd).st_size if end is None else end
    while position < limit:
        try:
            begin = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno == errno.ENXIO:
                return
            raise
        if begin >= limit:
            return
        position = os.lseek(fd, begin, os.SEEK_HOLE)
        yield begin, min(position, limit)


def complement(ranges: t.Iterable[Range], size: int) -> t.Iterator[Range]:
    """What lies between sorted ranges, up to ``size``."""
    position = 0
    for start, end in ranges:
        if min(start, size) > position:
            yield position, min(start, size)
        position = max(position, end)
    if position < size:
        yield position, size


def overlap(left: t.Iterable[Range], right: t.Iterable[Range]) -> t.Iterator[Range]:
    """What two sorted lists of ranges have in common."""
    ours, theirs = iter(left), iter(right)
    a, b = next(ours, None), next(theirs, None)
    while a is not None and b is not None:
        start, end = max(a[0], b[0]), min(a[1], b[1])
        if start < end:
            yield start, end
        if a[1] <= b[1]:
            a = next(ours, None)
        else:
            b = next(theirs, None)


def _copy_data(src: int, offset: int, size: int, dst: int, used: t.Sequence[Range] | None) -> int:
    found: t.Iterable[Range] = ((a - offset, b - offset) for a, b in extents(src, offset, offset + size))
    written = 0
    for start, end in found if used is None else overlap(found, used):
        position = start
        while position < end:
            # Pieces end at whole grains, so that zeros are found wherever the data begins.
            length = min(end, (position // _CHUNK + 1) * _CHUNK) - position
            data = os.pread(src, length, offset + position)
            if not data:
                raise KvmError("The image got shorter while it was copied; is somebody writing to it?")
            written += _write_data(dst, data, position)
            position += len(data)
    return written


def _write_data(dst: int, data: bytes, position: int) -> int:
    """Writes what of ``data`` is not whole grains of zeros."""
    view, done, begin = memoryview(data), 0, 0
    for start in [*range(0, len(data), _GRAIN), len(data)]:
        if start < len(data) and not _is_zero(data, start):
            continue
        if start > begin:
            write_all(dst, view[begin:start], position + begin)
            done += start - begin
        begin = start + _GRAIN
    return done


def _is_zero(data: bytes, start: int) -> bool:
    return (
        data[start : start + 32] == _ZEROS[: len(data[start : start + 32])]
        and data[start : start + _GRAIN] == _ZEROS[: len(data) - start]
    )


def write_all(fd: int, data: bytes | memoryview, position: int) -> None:
    """Writes all of it."""
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, position)
        view, position = view[done:], position + done


def copy_back(source: str, target: str, offset: int) -> None:
    """Puts the raw file ``source`` into ``target`` at ``offset``; its holes become holes there."""
    src = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        dst = os.open(target, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fsync(src)
            size = os.fstat(src).st_size
            known = list(extents(src))
            for start, end in complement(known, size):
                zero(dst, offset + start, offset + end)
            for start, end in known:
                for position in range(start, end, _CHUNK):
                    data = os.pread(src, min(_CHUNK, end - position), position)
                    write_all(dst, data, offset + position)
            os.fsync(dst)
        finally:
            os.close(dst)
    finally:
        os.close(src)


def copy_reader(source: Reader, size: int, target: str, used: t.Sequence[Range] | None) -> None:
    """Copies the first ``size`` bytes of a reader into a new raw file, without zeros and what is not in ``used``."""
    dst = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        for start, end in used if used is not None else [(0, size)]:
            for position in range(start, min(end, size), _CHUNK):
                _write_data(dst, source.read(position, min(_CHUNK, min(end, size) - position)), position)
        os.ftruncate(dst, size)
    finally:
        os.close(dst)


def raw_reader(file: t.BinaryIO) -> RawFile:
    """An open raw file as a disk."""
    return RawFile(file.fileno())


def copy_bytes(fd: int, source: int, target: int, size: int) -> None:
    """Copies within a file; the ranges do not overlap."""
    done = 0
    while done < size:
        data = os.pread(fd, min(size - done, _CHUNK), source + done)
        if not data:
            return
        write_all(fd, data, target + done)
        done += len(data)


def zero(fd: int, start: int, end: int) -> None:
    """Makes zeros, as a hole where the file system can."""
    if not punch(fd, start, end):
        for position in range(start, end, _CHUNK):
            write_all(fd, bytes(min(_CHUNK, end - position)), position)


def punch(fd: int, start: int, end: int) -> bool:
    """Makes a hole, of which all bytes are zeros; False where the file system cannot, and nothing was done."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if libc.fallocate(fd, _PUNCH_HOLE, start, end - start) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EOPNOTSUPP, errno.ENOSYS):
        return False
    raise OSError(number, os.strerror(number))


def source_graph(path: str, image_format: str, chain: t.Sequence[tuple[str, str]] = ()) -> dict[str, t.Any]:
    """How qemu is to open an image: every file and format stated, nothing left to what a header says.

    ``chain`` are the backing files, nearest first, with their formats; without one none is opened.
    """
    graph: dict[str, t.Any] = {"driver": image_format, "file": {"driver": "file", "filename": path}}
    if image_format == "qcow2":
        graph["backing"] = source_graph(*chain[0], chain[1:]) if chain else None
    return graph


def convert_window(graph: dict[str, t.Any], offset: int, size: int, target: str, timeout: float) -> None:
    """A part of an image that is not raw as a new raw file, in one pass and without its zeros."""
    window = {"driver": "raw", "offset": offset, "size": size, "file": graph}
    with open(target, "xb") as file:
        file.truncate(size)
    argv = [program("qemu-img"), "convert", "-n", "--target-is-zero", "-m", str(_workers()), "-W", "-O", "raw"]
    _command.run(
        [*argv, f"json:{json.dumps(window)}", target],
        timeout=timeout,
        what="Cannot read the image",
        limits=_command.Limits(file_size=size),
        confine=_command.Confine(reads=tuple(_files(graph)), writes=(target,)),
    )


def _files(graph: dict[str, t.Any] | None) -> t.Iterator[str]:
    while graph is not None:
        yield graph["file"]["filename"]
        graph = graph.get("backing")


def empty_qcow2(path: str, size: int, timeout: float) -> None:
    """A new qcow2 without content."""
    _command.run([program("qemu-img"), "create", "-q", "-f", "qcow2", path, str(size)], timeout=timeout)


def to_qcow2(raw: str, target: str, timeout: float, compress: str | None = None) -> None:
    """A raw file as a qcow2 of its own; ``compress`` is zstd or zlib."""
    argv = [program("qemu-img"), "convert", "-f", "raw", "-O", "qcow2", "-m", str(_workers()), "-W"]
    if compress in ("zstd", "zlib"):
        argv += ["-c", "-o", f"compression_type={compress}"]
    _command.run([*argv, raw, target], timeout=timeout, what="Cannot write the qcow2 image")


def _workers() -> int:
    # qemu takes up to 16.
    return min(max(len(os.sched_getaffinity(0)), 2), 16)
