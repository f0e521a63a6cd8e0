# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: the disk itself, as a raw file of holes and data: copied, made a file system of, grown, put into a format."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import typing as t
import uuid as uuidlib

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import Filesystem
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.workspace import write

_FICLONE = 0x40049409
_CHUNK = 64 << 20
_EXT_MAGIC = 0xEF53
#: The features that every e2fsprogs of the supported guests knows, whatever the one of this host makes by default.
_MKE2FS = """[defaults]
base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
default_mntopts = acl,user_xattr
enable_periodic_fsck = 0
blocksize = 4096
inode_size = 256
inode_ratio = 16384

[fs_types]
ext4 = {
features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
}
"""


def program(name: str) -> str:
    """The path of one of the programs of this floor."""
    return _command.find(name, "qemu-utils" if name.startswith("qemu-") else "e2fsprogs")


def copy_sparse(source: str, target: str, size: int) -> None:
    """Copies a raw file into a new one of ``size`` bytes: shared blocks where the file system can, else data without holes."""
    src = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        dst = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Holes are asked for below: what is not written yet must not look like one.
            os.fsync(src)
            if not _reflink(src, dst):
                _copy_data(src, dst)
            os.ftruncate(dst, max(size, os.fstat(src).st_size))
        finally:
            os.close(dst)
    finally:
        os.close(src)


def _reflink(src: int, dst: int) -> bool:
    try:
        fcntl.ioctl(dst, _FICLONE, src)
    except OSError as exc:
        if exc.errno in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS):
            return False
        raise
    return True


def extents(fd: int) -> t.Iterator[tuple[int, int]]:
    """(start, end) of the data of a file, in bytes, without its holes."""
    position, size = 0, os.fstat(fd).st_size
    while position < size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno == errno.ENXIO:
                return
            raise
        position = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, position


def _copy_data(src: int, dst: int) -> None:
    for start, end in extents(src):
        position = start
        while position < end:
            done = _copy_range(src, dst, position, min(end - position, _CHUNK))
            if done == 0:
                raise KvmError("The image got shorter while it was copied; is somebody writing to it?")
            position += done


def _copy_range(src: int, dst: int, start: int, length: int) -> int:
    try:
        return os.copy_file_range(src, dst, length, start, start)
    except OSError as exc:
        if exc.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    return os.pwrite(dst, os.pread(src, min(length, 1 << 20), start), start)


def make_filesystem(
    path: str, size: int, fs: Filesystem, *, scratch: str, timeout: float, tree: str | None = None
) -> None:
    """Makes one file system of the whole file, filled from the folder ``tree``; its holes stay holes."""
    config = write(os.path.join(scratch, "mke2fs.conf"), _MKE2FS)
    fs_uuid = fs.uuid or str(uuidlib.uuid4())
    argv = [program("mke2fs"), "-q", "-F", "-t", fs.type, "-U", fs_uuid, "-m", "1"]
    argv += ["-E", f"root_owner=0:0,hash_seed={fs_uuid},lazy_itable_init=1"]
    argv += (["-L", fs.label] if fs.label else []) + (["-d", tree] if tree else [])
    with open(path, "xb") as file:
        file.truncate(size)
    what = f"Cannot make the file system of {size} bytes (is it too small for its content?)"
    _command.run([*argv, path, f"{size // 1024}k"], timeout=timeout, env={"MKE2FS_CONFIG": config}, what=what)


def superblock(path: str) -> dict[str, t.Any] | None:
    """``filesystem``, ``label`` and ``uuid`` of an ext2/3/4 that starts at byte 0; None when there is none."""
    with open(path, "rb") as file:
        file.seek(1024)
        block = file.read(1024)
    if len(block) < 1024 or struct.unpack_from("<H", block, 56)[0] != _EXT_MAGIC:
        return None
    compat, incompat = struct.unpack_from("<II", block, 92)
    kind = "ext4" if incompat & 0x40 else "ext3" if compat & 0x4 else "ext2"
    label = block[120:136].split(b"\0")[0].decode("utf-8", "replace")
    return {"filesystem": kind, "label": label or None, "uuid": str(uuidlib.UUID(bytes=block[104:120]))}


def repair(path: str, timeout: float) -> None:
    """Replays the journal and puts right what can be put right without a question."""
    what = "The file system of the image is damaged; repair it with e2fsck by hand first"
    _command.run([program("e2fsck"), "-f", "-p", path], timeout=timeout, ok=(0, 1), what=what)


def verify(path: str, timeout: float) -> None:
    """Fails unless the file system is without any fault."""
    _command.run(
        [program("e2fsck"), "-f", "-n", path], timeout=timeout, what="The file system that was made is not sound"
    )


def grow_filesystem(path: str, timeout: float) -> None:
    """Makes the file system as large as its file."""
    _command.run([program("resize2fs"), path], timeout=timeout, what="Cannot make the file system larger")


def to_raw(source: str, source_format: str, target: str, size: int, timeout: float) -> None:
    """The content of an image as a raw file of at least ``size`` bytes."""
    if source_format == "raw":
        copy_sparse(source, target, size)
        return
    argv = [program("qemu-img"), "convert", "-f", source_format, "-O", "raw", source, target]
    _command.run(argv, timeout=timeout, what=f"Cannot read {source}")
    if os.path.getsize(target) < size:
        os.truncate(target, size)


def empty_qcow2(path: str, size: int, timeout: float) -> None:
    """A new qcow2 without content."""
    _command.run([program("qemu-img"), "create", "-q", "-f", "qcow2", path, str(size)], timeout=timeout)


def to_qcow2(raw: str, target: str, timeout: float) -> None:
    """A raw file as a qcow2 of its own."""
    argv = [program("qemu-img"), "convert", "-f", "raw", "-O", "qcow2", raw, target]
    _command.run(argv, timeout=timeout, what="Cannot write the qcow2 image")
