# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: an empty file system in a range of a raw file, by the programs that make it.

Those can only begin at the start of a file, and write zeros where nothing is needed: they get a file of their own, that
has no name, and only what is not zeros is taken over. No device and no root is needed.
"""

from __future__ import annotations

import os
import tempfile
import typing as t
import uuid as uuidlib

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import disk, swap

_CHUNK = 64 << 10
_EXT = "none,sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr"
#: The features that each kernel of a supported guest knows, whatever the e2fsprogs of this host make by default.
_FEATURES = {
    "ext2": _EXT,
    "ext3": f"{_EXT},has_journal",
    "ext4": f"{_EXT},has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize",
}
#: The same for XFS: what newer xfsprogs turn on, and kernels of some years ago do not mount.
_XFS_NEW = {"-m": ("bigtime", "inobtcount", "metadir"), "-i": ("nrext64", "exchange"), "-n": ("parent",)}
KINDS = (*_FEATURES, "xfs", "btrfs", "swap")


def make_filesystem(
    path: str, offset: int, size: int, kind: str, label: str | None, uuid: str | None, timeout: float
) -> None:
    """Makes an empty file system of ``size`` bytes at ``offset`` of the raw file ``path``, which must be that long.

    What was in the range is lost, what is around it stays; ``kind`` is one of KINDS. Without ``uuid`` it gets a new
    one. ``timeout`` is in seconds. Raises KvmError, ToolMissing naming the package that is needed.
    """
    maker = _MAKERS.get(kind)
    if maker is None and kind != "swap":
        raise KvmError(f"{path}: a file system {kind} cannot be made; {', '.join(KINDS)} can.")
    uuid = uuid or str(uuidlib.uuid4())
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        have = os.fstat(fd).st_size
        if offset < 0 or size <= 0 or offset + size > have:
            raise KvmError(f"{path}: {size} bytes at {offset} are no range of its {have} bytes.")
        _clear(fd, offset, size)
        if maker is None:
            swap.make(fd, offset, size, label, uuid)
        else:
            _make(path, fd, offset, size, maker(label, uuid), timeout)
        os.fsync(fd)
    finally:
        os.close(fd)


def _make(path: str, fd: int, offset: int, size: int, argv: t.Sequence[str], timeout: float) -> None:
    with tempfile.TemporaryFile(dir=os.path.dirname(os.path.abspath(path))) as work:
        work.truncate(size)
        what = f"Cannot make a file system of {size} bytes in {path} (is that too small for it?)"
        _command.run([*argv, f"/proc/self/fd/{work.fileno()}"], timeout=timeout, what=what, pass_fds=[work.fileno()])
        # Holes are asked for below: what is not written yet must not look like one.
        os.fsync(work.fileno())
        _take_over(work.fileno(), fd, offset)


def _ext(kind: str, label: str | None, uuid: str) -> list[str]:
    argv = [_command.find("mke2fs", "e2fsprogs"), "-q", "-F", "-O", _FEATURES[kind], "-U", uuid, "-m", "1"]
    argv += ["-b", "4096", "-I", "256", "-i", "16384", "-E", f"root_owner=0:0,hash_seed={uuid},lazy_itable_init=1"]
    return argv + (["-L", label] if label else [])


def _xfs(label: str | None, uuid: str) -> list[str]:
    program = _command.find("mkfs.xfs", "xfsprogs")
    # Without a device it says which options it has; one that it does not know is an error.
    known = _command.run([program], timeout=60, ok=()).stderr
    argv = [program, "-q", "-f", "-m", f"uuid={uuid}"]
    for option, features in _XFS_NEW.items():
        off = ",".join(f"{feature}=0" for feature in features if f"{feature}=0|1" in known)
        argv += [option, off] if off else []
    return argv + (["-L", label] if label else [])


def _btrfs(label: str | None, uuid: str) -> list[str]:
    argv = [_command.find("mkfs.btrfs", "btrfs-progs"), "-q", "-f", "-U", uuid]
    return argv + (["-L", label] if label else [])


_MAKERS: dict[str, t.Callable[[str | None, str], list[str]]] = {
    "ext2": lambda label, uuid: _ext("ext2", label, uuid),
    "ext3": lambda label, uuid: _ext("ext3", label, uuid),
    "ext4": lambda label, uuid: _ext("ext4", label, uuid),
    "xfs": _xfs,
    "btrfs": _btrfs,
}


def _clear(fd: int, offset: int, size: int) -> None:
    """Makes the range zeros, as a hole where that is possible."""
    disk.punch(fd, offset, offset + size)
    os.fsync(fd)
    for start, end in disk.extents(fd, offset, offset + size):
        for position in range(start, end, _CHUNK):
            disk.write_all(fd, bytes(min(_CHUNK, end - position)), position)


def _take_over(work: int, fd: int, offset: int) -> None:
    for start, end in disk.extents(work):
        for position in range(start, end, _CHUNK):
            data = os.pread(work, min(_CHUNK, end - position), position)
            if data.count(0) != len(data):
                disk.write_all(fd, data, offset + position)
