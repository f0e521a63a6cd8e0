# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: a file system in a file is mounted by the kernel, for images that are trusted, and changed.

The mount has no place: only this process has it, as an open file, and it is gone with the process whatever happens to
that, its loop device with it. Who decides about trust is the caller; here the kernel reads the file system.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Edit
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import beneath, kernel, loop

# linux/fs.h, linux/btrfs.h, and xfs_fs.h of xfsprogs
_FITRIM, _SETFSLABEL = 0xC0185879, 0x41009432
_XFS_GEOMETRY, _XFS_GROW = 0x80705864, 0x4010586E
_BTRFS_RESIZE, _BTRFS_INFO, _BTRFS_DEVICE = 0x50009403, 0x8400941F, 0xD000941E

#: The kernel resizes no btrfs to less.
_BTRFS_LEAST = 256 << 20

_READ_ONLY: dict[str, tuple[kernel.Option, ...]] = {
    # Nothing is replayed: what is read is what is there, and nothing is written.
    "ext3": (("noload", None),),
    "ext4": (("noload", None),),
    "xfs": (("norecovery", None),),
    "btrfs": (("rescue", "nologreplay"),),
}
KINDS = ("ext2", "ext3", "ext4", "xfs", "btrfs")


class Mounted:
    """A mounted file system. ``root`` is its top folder, opened; ``kind`` one of KINDS."""

    def __init__(self, path: str, kind: str, device: str, root: int) -> None:
        self._path = path
        self._device = device
        self.kind = kind
        self.root = root

    def apply(self, edits: t.Sequence[Edit]) -> None:
        """Makes the changes, in order; raises KvmError. No link in the file system leads out of it."""
        beneath.apply(self.root, edits, self._path)

    def grow(self) -> None:
        """Makes XFS or btrfs as large as its range; of ext2, ext3 and ext4 nothing is changed (resize2fs does that)."""
        try:
            if self.kind == "xfs":
                self._grow_xfs()
            elif self.kind == "btrfs":
                self._grow_btrfs()
        except OSError as exc:
            raise self._refused("cannot be made larger", exc) from exc

    def _grow_xfs(self) -> None:
        geometry = bytearray(112)
        fcntl.ioctl(self.root, _XFS_GEOMETRY, geometry)
        block, least_share = struct.unpack_from("=I", geometry)[0], struct.unpack_from("=I", geometry, 28)[0]
        blocks: int = struct.unpack_from("=Q", geometry, 32)[0]
        wanted = self._device_size() // block
        if wanted > blocks:
            fcntl.ioctl(self.root, _XFS_GROW, struct.pack("=QIxxxx", wanted, least_share))

    def _grow_btrfs(self) -> None:
        info = bytearray(1024)
        fcntl.ioctl(self.root, _BTRFS_INFO, info)
        number, devices = struct.unpack_from("=QQ", info)
        if devices != 1:
            raise KvmError(f"{self._path}: its btrfs is spread over {devices} devices; make it larger by hand.")
        if self._device_size() < _BTRFS_LEAST:
            raise KvmError(f"{self._path}: btrfs cannot be resized below 256 MiB; make the image larger.")
        # The only device need not be the first that there ever was.
        fcntl.ioctl(self.root, _BTRFS_RESIZE, bytearray(struct.pack("=q4088s", 0, f"{number}:max".encode())))

    def trim(self) -> int:
        """Makes holes in the file where nothing is in use; the bytes that the file system gave up (0: it cannot)."""
        wanted = bytearray(struct.pack("=QQQ", 0, (1 << 64) - 1, 0))
        try:
            fcntl.ioctl(self.root, _FITRIM, wanted)
        except OSError as exc:
            if exc.errno in (errno.EOPNOTSUPP, errno.ENOTTY):
                return 0
            raise self._refused("cannot be trimmed", exc) from exc
        given: int = struct.unpack_from("=Q", wanted, 8)[0]
        return given

    def set_label(self, label: str) -> None:
        """Gives the file system another label; the length that its kind allows is the caller's to keep."""
        try:
            fcntl.ioctl(self.root, _SETFSLABEL, bytearray(label.encode()[:255].ljust(256, b"\0")))
        except OSError as exc:
            raise self._refused(f"cannot get the label '{label}'", exc) from exc

    def _device_size(self) -> int:
        fd = os.open(self._device, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.lseek(fd, 0, os.SEEK_END)
        finally:
            os.close(fd)

    def _refused(self, what: str, exc: OSError) -> KvmError:
        return KvmError(f"{self._path}: its {self.kind} {what}: {exc.strerror}.")


@contextlib.contextmanager
def mounted(
    path: str,
    offset: int,
    size: int,
    kind: str,
    *,
    read_only: bool,
    subvol: str | None = None,
    name: str | None = None,
) -> t.Iterator[Mounted]:
    """The file system of ``size`` bytes at ``offset`` of the raw file ``path``, mounted for the time of the block.

    ``subvol`` is the subvolume of btrfs that is its top (None: its default). When the block ends without an error, all
    is written to the file. Raises KvmError where the host cannot mount it, Busy when its loop device does not go away; they
    call it ``name`` (None: by the path).
    """
    named = name or path
    if kind not in KINDS:
        raise KvmError(f"{named}: its file system {kind} is not one that is mounted here ({', '.join(KINDS)}).")
    with loop.attached(path, offset, size, read_only=read_only) as device, contextlib.ExitStack() as stack:
        try:
            mount = kernel.detached_mount(device, kind, _options(kind, read_only, subvol), read_only=read_only)
            stack.callback(os.close, mount)
            root = kernel.open_beneath(mount, ".", os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, root)
        except OSError as exc:
            raise _unmountable(named, kind, exc) from exc
        if kind == "btrfs":
            _check_device(named, device, root)
        yield Mounted(named, kind, device, root)
        if not read_only:
            _written(named, kind, root)


def _options(kind: str, read_only: bool, subvol: str | None) -> list[kernel.Option]:
    options: list[kernel.Option] = list(_READ_ONLY.get(kind, ())) if read_only else []
    if kind == "xfs":
        # A copy of the host's own file system may be mounted beside it.
        options.append(("nouuid", None))
    if kind == "btrfs" and subvol is not None:
        options.append(("subvol", subvol))
    return options


def _check_device(path: str, device: str, root: int) -> None:
    """Makes sure that it is this btrfs: the kernel knows them by UUID, and a copy of it may be mounted elsewhere."""
    try:
        info = bytearray(1024)
        fcntl.ioctl(root, _BTRFS_INFO, info)
        shown = bytearray(struct.pack("=Q4088x", struct.unpack_from("=Q", info)[0]))
        fcntl.ioctl(root, _BTRFS_DEVICE, shown)
        name = bytes(shown[-1024:]).split(b"\0", 1)[0]
        same = os.stat(name).st_rdev == os.stat(device).st_rdev
    except OSError as exc:
        raise KvmError(f"{path}: the device of its btrfs cannot be made out: {exc.strerror}.") from exc
    if not same:
        raise Busy(
            f"{path}: another copy of its btrfs is mounted on this hypervisor from {os.fsdecode(name)}; unmount that first."
        )


def _written(path: str, kind: str, root: int) -> None:
    try:
        kernel.sync_file_system(root)
    except OSError as exc:
        raise KvmError(f"{path}: its {kind} cannot be written: {exc.strerror}; is there room for it?") from exc


def _unmountable(path: str, kind: str, exc: OSError) -> KvmError:
    if exc.errno == errno.ENODEV:
        return KvmError(
            f"{path}: the kernel of this hypervisor has no {kind}; load its module, or state trust: untrusted to work"
            " through libguestfs."
        )
    if exc.errno == errno.EEXIST:
        return Busy(
            f"{path}: a {kind} with the same UUID (another copy of it) is mounted on this hypervisor, and its kernel takes"
            " no second one; unmount that, or run again when the other task is done."
        )
    if exc.errno == errno.EPERM:
        return KvmError(f"{path}: mounting its {kind} is not permitted here; this needs root outside of a container.")
    return KvmError(
        f"{path}: the kernel does not mount its {kind}: {exc.strerror}; look with 'dmesg', and check it with the tools of"
        f" {kind}."
    )
