# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: the file of an image, with those that it stands on, opened as one disk. Reads only."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import stat
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, KvmError, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import qcow2
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import formats
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import RawFile, Reader
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.qcow2_file import Qcow2File

_MAX_CHAIN = 16
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


@dataclasses.dataclass(frozen=True)
class Disk:
    """An opened image. ``header`` is that of a qcow2 image; ``chain`` are the paths of the opened backing files, the
    nearest first."""

    reader: Reader
    header: qcow2.Header | None
    chain: tuple[str, ...]
    _layers: tuple[_Layer, ...]

    @property
    def chain_formats(self) -> tuple[tuple[str, str], ...]:
        """The backing files with their formats, the nearest first."""
        return tuple((layer.path, "raw" if layer.header is None else "qcow2") for layer in self._layers[1:])

    def data_bytes(self) -> int:
        """At most how many bytes a raw and sparse copy of the disk needs; raises as Qcow2File.allocated_extents."""
        return min(self.reader.size, sum(_data_bytes(layer) for layer in self._layers))


@dataclasses.dataclass(frozen=True)
class _Layer:
    """An opened file of the chain, how errors call it, and its format."""

    fd: int
    path: str
    what: str
    header: qcow2.Header | None
    reader: Reader


@contextlib.contextmanager
def open_disk(path: str, image_format: str, *, through_backing: bool) -> t.Iterator[Disk]:
    """Opens the regular file ``path``, whose format (raw or qcow2) is never guessed, and closes all that was opened.

    With ``through_backing`` the image chooses which other files are read: only for an image whose author may read what
    we may. Without it, reading what a backing file holds raises Unsupported.

    Raises KvmError that names the file for one that cannot be opened or is none of the format, and Damaged or
    Unsupported, whose sentence has no name of the image yet, for what the format says.
    """
    with contextlib.ExitStack() as opened:
        files = _open_all(opened, path, image_format, through_backing)
        layers: list[_Layer] = []
        below: Reader | None = None
        for file in reversed(files):
            below = _reader(file, below)
            layers.insert(0, dataclasses.replace(file, reader=below))
        top = layers[0]
        yield Disk(top.reader, top.header, tuple(layer.path for layer in layers[1:]), tuple(layers))


def _open_all(opened: contextlib.ExitStack, path: str, image_format: str, through_backing: bool) -> list[_Layer]:
    """The file and those below it; the readers are still those of the files themselves."""
    layers = [_open(opened, path, path, image_format, os.O_NOFOLLOW)]
    seen = {_identity(layers[0].fd)}
    while through_backing:
        top = layers[-1]
        if top.header is None or top.header.backing_file is None:
            break
        link = _link(top.path, top.header.backing_file)
        what = f"{path}: its backing file {link!r}"
        layer = _open(opened, link, what, top.header.backing_format, 0)
        if _identity(layer.fd) in seen:
            raise Damaged("its chain of backing files leads back to itself")
        if len(layers) > _MAX_CHAIN:
            raise Unsupported(f"its chain of backing files has more than {_MAX_CHAIN} of them")
        seen.add(_identity(layer.fd))
        layers.append(layer)
    return layers


def _link(path: str, name: str) -> str:
    """As qemu finds it; nothing is normalised, for the kernel goes through links before it goes up."""
    if not qcow2.is_plain_name(name):
        raise Unsupported(f"its backing file {name!r} is no plain file name")
    return os.path.join(os.path.dirname(path), name)


def _open(opened: contextlib.ExitStack, path: str, what: str, image_format: str | None, flags: int) -> _Layer:
    fd = _open_regular(path, what, flags)
    opened.callback(os.close, fd)
    file = RawFile(fd)
    head = file.read(0, max(qcow2.HEAD_BYTES, formats.HEAD_BYTES))
    if image_format is None:
        image_format = _unstated(head, file, what)
    if image_format == "raw":
        return _Layer(fd, path, what, None, file)
    if image_format != "qcow2":
        raise Unsupported(f"the format {image_format!r} of the file {path!r} is neither raw nor qcow2")
    return _Layer(fd, path, what, qcow2.parse(head, what), file)


def _unstated(head: bytes, file: RawFile, what: str) -> str:
    # qemu would guess it, and the guest could have written what it is taken for.
    tail = file.read(max(0, file.size - formats.TAIL_BYTES), formats.TAIL_BYTES)
    try:
        formats.check_declared("raw", head, file.size, tail)
    except Unsupported as exc:
        raise KvmError(
            f"{what}: its format is not stated and it is not clearly raw; state it (qemu-img rebase -u -F FORMAT)."
        ) from exc
    return "raw"


def _open_regular(path: str, what: str, flags: int) -> int:
    try:
        # Looked at before it is opened, as opening a device can already do something, and after, as it may have changed.
        status = os.lstat(path) if flags & os.O_NOFOLLOW else os.stat(path)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
            raise KvmError(f"{what}: this is no regular file; name one.")
        fd = os.open(path, _FLAGS | flags)
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise KvmError(f"{what}: this is a symbolic link; name the file that it points to.") from exc
        raise KvmError(f"{what}: cannot open it: {exc.strerror}.") from exc
    except ValueError as exc:  # a name that the machine's encoding does not have
        raise KvmError(f"{what}: no file here can have this name.") from exc
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise KvmError(f"{what}: this is no regular file; name one.")
    return fd


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _reader(layer: _Layer, below: Reader | None) -> Reader:
    if layer.header is None:
        return layer.reader
    try:
        return Qcow2File(layer.reader, layer.header, below)
    except (Damaged, Unsupported) as exc:
        if layer.what == layer.path:
            raise
        raise type(exc)(f"in its backing file {layer.path!r} {exc.message}") from exc


def _data_bytes(layer: _Layer) -> int:
    if isinstance(layer.reader, Qcow2File):
        return layer.reader.data_bytes()
    # Not by the blocks that it occupies: a file system that compresses counts fewer than a copy elsewhere needs.
    total = at = 0
    with contextlib.suppress(OSError):  # ENXIO: no data from here to the end
        while True:
            start = os.lseek(layer.fd, at, os.SEEK_DATA)
            at = os.lseek(layer.fd, start, os.SEEK_HOLE)
            total += at - start
    return total
