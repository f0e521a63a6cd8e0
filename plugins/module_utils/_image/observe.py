# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: what is there now. Reads only."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import grp
import os
import pwd
import stat
import struct
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import manifest, overlays, qcow2
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.manifest import Manifest
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import MANIFEST_SUFFIX, ImageSpec

_MAX_CHAIN = 16
_MAX_MANIFEST = 4 << 20
# qemu's own lock bytes (file-posix.c): one per permission from 100, one per shared permission from 200.
_PERMISSIONS, _SHARED, _COUNT = 100, 200, 64
_WRITE_BITS = (1, 3)


@dataclasses.dataclass(frozen=True)
class FileState:
    """A file that is or might be an image. Sizes in bytes; ``format`` by its first bytes, None when it is no file."""

    exists: bool = False
    regular: bool = False
    format: str | None = None
    virtual_size: int = 0
    allocated_size: int = 0
    owner: str = ""
    group: str = ""
    mode: str = ""
    inode: int = 0
    mtime_ns: int = 0
    backing: tuple[str, ...] = ()
    #: Whether all files of the chain are there.
    backing_found: bool = True
    #: Files outside of itself (other than its backing file) or encryption: nothing that this module makes or reads.
    foreign_features: bool = False
    in_use: bool = False
    written: bool = False


@dataclasses.dataclass(frozen=True)
class ImageState:
    """An image with its record, and its base image. ``overlays`` are the disks that need this image."""

    file: FileState = FileState()
    manifest: Manifest | None = None
    #: A file stands where the record belongs, but it is none.
    manifest_broken: bool = False
    overlays: tuple[str, ...] = ()
    existing: frozenset[str] = frozenset()
    base: FileState | None = None
    base_identity: str | None = None
    #: Of the kernel and the initrd those whose place is on another file system, where no rename reaches.
    elsewhere: tuple[str, ...] = ()


def observe(spec: ImageSpec) -> ImageState:
    """Reads an image, its record, the presence of its kernel and initrd, and its base image."""
    text = _text(spec.path + MANIFEST_SUFFIX)
    record = manifest.load(text) if text is not None else None
    file = read_file(spec.path, _known_format(record))
    record_of_base = read_manifest(spec.base.path) if spec.base is not None else None
    base = read_file(spec.base.path, _known_format(record_of_base)) if spec.base is not None else None
    return ImageState(
        file=file,
        manifest=record,
        manifest_broken=text is not None and record is None,
        overlays=tuple(overlays.living(spec.path, lambda path: read_file(path).backing)),
        existing=frozenset(path for path in (spec.kernel, spec.initrd) if path is not None and os.path.lexists(path)),
        elsewhere=tuple(p for p in (spec.kernel, spec.initrd) if p is not None and _device(p) != _device(spec.path)),
        base=base,
        base_identity=identity(base, record_of_base) if base is not None and base.exists else None,
    )


def read_manifest(path: str) -> Manifest | None:
    """The record beside the image ``path``; None when there is none."""
    text = _text(path + MANIFEST_SUFFIX)
    return manifest.load(text) if text is not None else None


def identity(file: FileState, record: Manifest | None) -> str:
    """What tells an image from one that was put in its place later."""
    return record.id if record is not None else f"{file.virtual_size}:{file.mtime_ns}"


def _known_format(record: Manifest | None) -> str | None:
    # What a guest writes to the start of its raw disk must not make another format of it.
    return record.declared.get("format") if record is not None else None


def read_file(path: str, known_format: str | None = None) -> FileState:
    """The facts of one file; its format is told from its first bytes only when it is not known."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return FileState()
    common: dict[str, t.Any] = {
        "exists": True,
        "owner": _name(pwd.getpwuid, status.st_uid),
        "group": _name(grp.getgrgid, status.st_gid),
        "mode": f"{stat.S_IMODE(status.st_mode):04o}",
        "inode": status.st_ino,
        "mtime_ns": status.st_mtime_ns,
        "allocated_size": status.st_blocks * 512,
    }
    if not stat.S_ISREG(status.st_mode):
        return FileState(**common)
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        head = os.pread(fd, qcow2.HEAD_BYTES, 0)
        used, written = _locks(fd)
    finally:
        os.close(fd)
    common.update(regular=True, in_use=used, written=written)
    if known_format == "raw" or not qcow2.is_qcow2(head):
        return FileState(**common, format="raw", virtual_size=status.st_size)
    header = qcow2.parse(head, path)
    chain = _chain(path, header)
    return FileState(
        **common,
        format="qcow2",
        virtual_size=header.virtual_size,
        backing=chain,
        backing_found=all(os.path.exists(link) for link in chain),
        foreign_features=header.data_file or header.encrypted,
    )


def facts(state: ImageState, path: str) -> dict[str, t.Any] | None:
    """The return value ``image``; None when there is none."""
    file, record = state.file, state.manifest
    if not file.regular:
        return None
    return {
        "path": path,
        "format": file.format,
        "virtual_size": file.virtual_size,
        "allocated_size": file.allocated_size,
        "backing_chain": list(file.backing),
        "partition_table": "none" if record is not None else None,
        "partitions": [],
        "root": record.root if record is not None else None,
        "operating_system": record.operating_system if record is not None else None,
        "kernels": list(record.kernels) if record is not None else [],
        "kernel": record.kernel if record is not None else None,
        "initrd": record.initrd if record is not None else None,
    }


def _device(path: str) -> int:
    """The file system on which a file at ``path`` would be, its folders may be missing."""
    folder = os.path.dirname(path)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return os.stat(folder).st_dev


def _chain(path: str, header: qcow2.Header) -> tuple[str, ...]:
    """The backing files, nearest first, by the headers alone; a chain that does not end is an error."""
    chain: list[str] = []
    folder, name = os.path.dirname(path), header.backing_file
    while name is not None:
        chain.append(os.path.normpath(os.path.join(folder, name)))
        if len(chain) > _MAX_CHAIN:
            raise KvmError(f"{path}: its chain of backing files has no end; the file is broken.")
        folder = os.path.dirname(chain[-1])
        head = _head(chain[-1])
        name = qcow2.parse(head, chain[-1]).backing_file if qcow2.is_qcow2(head) else None
    return tuple(chain)


def _head(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        # A missing link of the chain is a fact about the image, not an error of reading it.
        if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENXIO, errno.ELOOP):
            return b""
        raise KvmError(f"{path}: cannot read it: {exc.strerror}.") from exc
    try:
        return os.pread(fd, qcow2.HEAD_BYTES, 0) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)


def _text(path: str) -> str | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise KvmError(f"{path}: cannot read this record of an image: {exc.strerror}; move it away.") from exc
    with os.fdopen(fd, "rb") as file:
        return file.read(_MAX_MANIFEST).decode("utf-8", "replace")


def _locks(fd: int) -> tuple[bool, bool]:
    """Whether another process has qemu's locks on the file, and whether it may write or resize it."""
    used = _locked(fd, _PERMISSIONS, _COUNT) or _locked(fd, _SHARED, _COUNT)
    return used, used and any(_locked(fd, _PERMISSIONS + bit, 1) for bit in _WRITE_BITS)


def _locked(fd: int, start: int, length: int) -> bool:
    query = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    try:
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, query)
    except OSError as exc:
        # Some network file systems know no such locks; then qemu has none there either.
        if exc.errno in (errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP):
            return False
        raise
    return bool(struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK)


def _name(lookup: t.Callable[[int], t.Any], number: int) -> str:
    with contextlib.suppress(KeyError):
        return str(lookup(number)[0])
    return str(number)
