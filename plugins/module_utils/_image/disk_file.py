# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: the file of an image as this host sees it: its format, its chain, who uses it. Reads only."""

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
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import qcow2
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import formats, qcow2_file
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.manifest import Manifest

_MAX_CHAIN = 16
# qemu's own lock bytes (file-posix.c): one per permission from 100, one per shared permission from 200.
_PERMISSIONS, _SHARED, _COUNT = 100, 200, 64
_WRITE_BITS = (1, 3)
# What a disk of its own may start with.
_ON_RAW = ("iso9660", "luks")


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
    #: The numbers of owner and group.
    numbers: tuple[int, int] = (0, 0)
    inode: int = 0
    mtime_ns: int = 0
    backing: tuple[str, ...] = ()
    #: Whether all files of the chain are there.
    backing_found: bool = True
    #: Files outside of itself (other than its backing file) or encryption: nothing that this module makes or reads.
    foreign_features: bool = False
    #: Which of them, as a sentence.
    foreign_reason: str | None = None
    in_use: bool = False
    written: bool = False
    #: The formats that its bytes could be taken for (``inside.formats``).
    formats: tuple[str, ...] = ()
    #: How many snapshots are in the file itself.
    snapshots: int = 0
    #: Whether qemu can give it no other size: it is a qcow2 of version 2 with snapshots.
    fixed_size: bool = False

    @property
    def container(self) -> str | None:
        """The format that a raw file is really of, by its first and last bytes; None when it can be a disk."""
        found = [name for name in self.formats if name not in _ON_RAW]
        return found[0] if self.format == "raw" and found else None


#: What there is where there is nothing.
NO_FILE = FileState()


def identity(file: FileState, record: Manifest | None) -> str:
    """What tells an image from one that was put in its place later."""
    return record.id if record is not None else f"{file.virtual_size}:{file.mtime_ns}"


def read_file(path: str, known_format: str | None = None, through_backing: bool = True) -> FileState:
    """The facts of one file; its format is told from its first bytes only when it is not known.

    Without ``through_backing`` no other file is looked at, so that only the nearest of its chain is known, by its name.
    """
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return FileState()
    common: dict[str, t.Any] = {
        "exists": True,
        "owner": _name(pwd.getpwuid, status.st_uid),
        "group": _name(grp.getgrgid, status.st_gid),
        "mode": f"{stat.S_IMODE(status.st_mode):04o}",
        "numbers": (status.st_uid, status.st_gid),
        "inode": status.st_ino,
        "mtime_ns": status.st_mtime_ns,
        "allocated_size": status.st_blocks * 512,
    }
    if not stat.S_ISREG(status.st_mode):
        return FileState(**common)
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        head = os.pread(fd, max(qcow2.HEAD_BYTES, formats.HEAD_BYTES), 0)
        tail = os.pread(fd, formats.TAIL_BYTES, max(0, status.st_size - formats.TAIL_BYTES))
        used, written = _locks(fd)
    finally:
        os.close(fd)
    found = formats.detect(head, status.st_size, tail)
    common.update(regular=True, in_use=used, written=written, formats=found)
    if known_format == "raw" or not qcow2.is_qcow2(head):
        return FileState(**common, format="raw", virtual_size=status.st_size)
    header = qcow2.parse(head, path)
    chain = _chain(path, header, through_backing)
    return FileState(
        **common,
        format="qcow2",
        virtual_size=header.virtual_size,
        backing=chain,
        backing_found=not through_backing or all(os.path.exists(link) for link in chain),
        foreign_features=header.data_file or header.encrypted or header.corrupt or bool(header.unknown_features),
        foreign_reason=_foreign(header),
        snapshots=header.snapshots,
        fixed_size=header.version == 2 and header.snapshots > 0,
    )


def _foreign(header: qcow2.Header) -> str | None:
    try:
        qcow2_file.check(header)
    except KvmError as exc:
        return exc.message
    return None


def _chain(path: str, header: qcow2.Header, through: bool) -> tuple[str, ...]:
    """The backing files, nearest first, by the headers alone; a chain that does not end is an error."""
    chain: list[str] = []
    folder, name = os.path.dirname(path), header.backing_file
    while name is not None:
        if not qcow2.is_plain_name(name):
            # Not a file of this host: a device of the network, or what qemu makes of the name.
            return (*chain, name)
        # As qemu finds it: not normalised, for the kernel goes through links before it goes up.
        chain.append(os.path.join(folder, name))
        if not through:
            break
        if len(chain) > _MAX_CHAIN:
            raise KvmError(f"{path}: its chain of backing files has no end; the file is broken.")
        folder = os.path.dirname(chain[-1])
        head = _head(chain[-1])
        further = header.backing_format != "raw" and qcow2.is_qcow2(head)
        header = qcow2.parse(head, chain[-1]) if further else header
        name = header.backing_file if further else None
    return tuple(chain)


def _head(path: str) -> bytes:
    try:
        # Looked at first, as opening a device can already do something.
        if not stat.S_ISREG(os.stat(path).st_mode):
            return b""
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
