# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Loop devices (loop(4)) on exactly one range of a file.

The kernel is never asked to look for partitions, and reads nothing of the content by this alone. A device goes away by
itself with its last user, which is this process until it is mounted: a killed task leaves none.
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

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError

_SET_FD, _CLR_FD, _SET_STATUS64, _CONFIGURE, _CTL_GET_FREE = 0x4C00, 0x4C01, 0x4C04, 0x4C0A, 0x4C82
_READ_ONLY, _AUTOCLEAR = 1, 4
_SECTOR = 512
_TRIES = 64
# Seconds after which a device that should go by itself is told to.
_BY_ITSELF = 0.5
# struct loop_info64 and the beginning of struct loop_config, linux/loop.h
_INFO = struct.Struct("=QQQQQIIII64s64s32s2Q")
_CONFIG = struct.Struct("=II")


@dataclasses.dataclass(frozen=True)
class Loop:
    """A loop device that is in use. ``backing`` is the file's name as the kernel shows it; ``size`` 0 is up to its end."""

    device: str
    backing: str
    offset: int
    size: int
    read_only: bool


def devices() -> list[Loop]:
    """All that are in use."""
    found = [look(f"/dev/{name}") for name in sorted(os.listdir("/sys/block")) if name.startswith("loop")]
    return [loop for loop in found if loop is not None]


def look(device: str) -> Loop | None:
    """A loop device by its path; None when it is none or not in use."""
    name = device[len("/dev/") :]
    if not device.startswith("/dev/loop") or "/" in name:
        return None
    values = {key: _value(name, key) for key in ("loop/backing_file", "loop/offset", "loop/sizelimit", "ro")}
    if any(value is None for value in values.values()):
        return None
    backing, offset, size, read_only = (str(value) for value in values.values())
    return Loop(device, backing, int(offset), int(size), read_only == "1")


def _value(name: str, key: str) -> str | None:
    try:
        with open(f"/sys/block/{name}/{key}", encoding="utf-8", errors="surrogateescape") as file:
            return file.read().rstrip("\n")
    except OSError:
        return None


@contextlib.contextmanager
def attached(path: str, offset: int, size: int, *, read_only: bool) -> t.Iterator[str]:
    """The path of a loop device on ``size`` bytes from ``offset`` of the file ``path``, for the time of the block, and for as
    long as somebody else has it open or mounted then. Raises KvmError for what is no range of whole sectors of the file,
    OSError where the host has no loop device to give."""
    how = (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC
    image = os.open(path, how | os.O_NOFOLLOW)
    try:
        have = os.fstat(image).st_size
        if offset < 0 or offset % _SECTOR or size < _SECTOR or offset + size > have:
            raise KvmError(f"{path}: {size} bytes at {offset} are no range of whole sectors of its {have} bytes.")
        fd, device = _attach(image, path, (offset, size // _SECTOR * _SECTOR), how)
    finally:
        os.close(image)
    try:
        yield device
    finally:
        os.close(fd)


def _attach(image: int, path: str, place: tuple[int, int], how: int) -> tuple[int, str]:
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _try in range(_TRIES):
            device = f"/dev/loop{fcntl.ioctl(control, _CTL_GET_FREE)}"
            fd = os.open(device, how)
            try:
                _configure(fd, image, path, place, _AUTOCLEAR | (0 if how & os.O_RDWR else _READ_ONLY))
                return fd, device
            except OSError as exc:
                os.close(fd)
                # Somebody else was faster: the next free one.
                if exc.errno != errno.EBUSY:
                    raise
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "there is no free one")


def _configure(fd: int, image: int, path: str, place: tuple[int, int], flags: int) -> None:
    info = _INFO.pack(0, 0, 0, *place, 0, 0, 0, flags, os.fsencode(path)[:63], b"", b"", 0, 0)
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


def detach(loop: Loop, timeout: float) -> bool:
    """Waits until a device that is mounted nowhere any more is gone, and says whether it is."""
    start = time.monotonic()
    told = False
    while look(loop.device) == loop:
        waited = time.monotonic() - start
        if waited > timeout:
            return False
        if waited > _BY_ITSELF and not told:
            _tell_to_go(loop)
            told = True
        time.sleep(0.01)
    return True


def _tell_to_go(loop: Loop) -> None:
    """For a device that was attached by hand. The kernel lets it go when the last that has it open is done."""
    # While it is open here, it cannot become another file's.
    with contextlib.suppress(OSError), open(loop.device, "rb", buffering=0) as file:
        if look(loop.device) == loop:
            fcntl.ioctl(file, _CLR_FD, 0)
