# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: a loop device (loop(4)) on exactly one range of a file, which goes away with this process.

The kernel is never asked to look for partitions, and reads nothing of the content by this alone. For programs that work
on devices only, and for mounts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import struct
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError

_SET_FD, _CLR_FD, _SET_STATUS64, _CONFIGURE, _CTL_GET_FREE = 0x4C00, 0x4C01, 0x4C04, 0x4C0A, 0x4C82
_READ_ONLY, _AUTOCLEAR = 1, 4
_SECTOR = 512
_ATTEMPTS = 64
_GONE_WITHIN = 10.0
# struct loop_info64 and the beginning of struct loop_config, linux/loop.h
_INFO = struct.Struct("=QQQQQIIII64s64s32s2Q")
_CONFIG = struct.Struct("=II")


@dataclasses.dataclass(frozen=True)
class _Use:
    """What sysfs shows of a loop device in use."""

    backing: str
    offset: str
    size: str


@contextlib.contextmanager
def attached(path: str, offset: int, size: int, *, read_only: bool) -> t.Iterator[str]:
    """The path of a loop device on ``size`` bytes from ``offset`` of the file ``path``, for the time of the block.

    Whoever opens the device must have closed it at the end of the block; raises Busy when somebody still has it then.
    """
    try:
        fd, device = _attach(path, offset, size, read_only)
    except OSError as exc:
        raise KvmError(
            f"{path}: no loop device can be made of it: {exc.strerror} ({exc.filename or path}); this needs root, and a"
            " container needs the loop devices of its host."
        ) from exc
    use = _use(device)
    try:
        yield device
    finally:
        os.close(fd)
    _wait(path, device, use)


def _attach(path: str, offset: int, size: int, read_only: bool) -> tuple[int, str]:
    how = (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC
    image = os.open(path, how | os.O_NOFOLLOW)
    try:
        have = os.fstat(image).st_size
        if offset < 0 or offset % _SECTOR or size < _SECTOR or offset + size > have:
            raise KvmError(f"{path}: {size} bytes at {offset} are no range of whole sectors of its {have} bytes.")
        return _attach_next(image, offset, size // _SECTOR * _SECTOR, how)
    finally:
        os.close(image)


def _attach_next(image: int, offset: int, size: int, how: int) -> tuple[int, str]:
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _attempt in range(_ATTEMPTS):
            device = f"/dev/loop{fcntl.ioctl(control, _CTL_GET_FREE)}"
            fd = os.open(device, how)
            try:
                _configure(fd, image, offset, size, _AUTOCLEAR | (0 if how & os.O_RDWR else _READ_ONLY))
                return fd, device
            except OSError as exc:
                os.close(fd)
                # Somebody else was faster: the next free one.
                if exc.errno != errno.EBUSY:
                    raise
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "there is no free one")


def _configure(fd: int, image: int, offset: int, size: int, flags: int) -> None:
    info = _INFO.pack(0, 0, 0, offset, size, 0, 0, 0, flags, b"kvm_image", b"", b"", 0, 0)
    try:
        fcntl.ioctl(fd, _CONFIGURE, bytearray(_CONFIG.pack(image, _SECTOR) + info + bytes(64)))
    except OSError as exc:
        if exc.errno not in (errno.EINVAL, errno.ENOTTY, errno.ENOSYS):
            raise
        # Before Linux 5.8 it takes two calls; a kill just between them leaves the device.
        fcntl.ioctl(fd, _SET_FD, image)
        try:
            fcntl.ioctl(fd, _SET_STATUS64, bytearray(info))
        except OSError:
            fcntl.ioctl(fd, _CLR_FD, 0)
            raise


def _use(device: str) -> _Use | None:
    folder = f"/sys/block/{os.path.basename(device)}/loop"
    try:
        return _Use(*(_value(f"{folder}/{key}") for key in ("backing_file", "offset", "sizelimit")))
    except OSError:
        return None


def _value(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _wait(path: str, device: str, use: _Use | None) -> None:
    """Waits until the device is gone, or has become somebody else's."""
    deadline = time.monotonic() + _GONE_WITHIN
    while use is not None and _use(device) == use:
        if time.monotonic() > deadline:
            raise Busy(
                f"{path}: its loop device {device} is still in use, so it cannot be said that all is written: another"
                f" program has opened it; find it with 'fuser -v {device}' and run again."
            )
        time.sleep(0.005)
