# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: the system calls of mounting without a place, and of opening files that stay below a folder.

Python has no functions for them. Their numbers are the same on every machine that has them since Linux 5.1 (the common
table of system calls), but for alpha. Layouts and values: fsopen(2), fsconfig(2), fsmount(2), openat2(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError

_FSOPEN, _FSCONFIG, _FSMOUNT, _OPENAT2 = 430, 431, 432, 437
_CLOEXEC = 1
_SET_FLAG, _SET_STRING, _CMD_CREATE = 0, 1, 6
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _NOATIME = 1, 2, 4, 8, 0x10
#: No other mount, no link of /proc, no link at all, nothing above the folder.
_RESOLVE = 0x01 | 0x02 | 0x04 | 0x08

#: A mount option: its value is None for a mere word.
Option = tuple[str, t.Optional[str]]


def open_beneath(folder: int, path: str | bytes, flags: int, mode: int = 0) -> int:
    """Opens ``path`` below an open folder; no part of it may be a link. Raises OSError (a link: ELOOP)."""
    words = path if isinstance(path, bytes) else path.encode("utf-8", "surrogateescape")
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, _RESOLVE)
    try:
        return _call(_OPENAT2, folder, words, how, len(how))
    except OSError as exc:
        if exc.errno == errno.ENOSYS:
            raise _too_old("openat2", "5.6") from exc
        raise


def detached_mount(device: str, kind: str, options: t.Sequence[Option], *, read_only: bool) -> int:
    """Mounts a device where nobody sees it and gives the mount as a file descriptor; closing that unmounts it.

    No set-user-id program, device node or program of it has any effect. Raises OSError, with what the kernel says.
    """
    try:
        context = _call(_FSOPEN, kind.encode(), _CLOEXEC)
    except OSError as exc:
        if exc.errno == errno.ENOSYS:
            raise _too_old("fsopen", "5.2") from exc
        raise
    try:
        _configure(context, [("source", device), *((("ro", None),) if read_only else ()), *options])
        attributes = _NOSUID | _NODEV | _NOEXEC | (_RDONLY if read_only else _NOATIME)
        return _call(_FSMOUNT, context, _CLOEXEC, attributes)
    except OSError as exc:
        raise OSError(exc.errno, _said(context) or exc.strerror) from exc
    finally:
        os.close(context)


def sync_file_system(fd: int) -> None:
    """syncfs(2): waits until the whole file system of an open file is on its device; raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _configure(context: int, options: t.Sequence[Option]) -> None:
    for key, value in options:
        if value is None:
            _call(_FSCONFIG, context, _SET_FLAG, key.encode(), None, 0)
        else:
            _call(_FSCONFIG, context, _SET_STRING, key.encode(), value.encode("utf-8", "surrogateescape"), 0)
    _call(_FSCONFIG, context, _CMD_CREATE, None, None, 0)


def _said(context: int) -> str:
    """The messages of the kernel about a mount that it refused, each without its letter for the kind."""
    lines = []
    for _line in range(16):
        try:
            lines.append(os.read(context, 1024).decode("utf-8", "replace").strip()[2:])
        except OSError:
            # No more (ENODATA).
            break
    return "; ".join(line for line in lines if line)


def _call(number: int, *arguments: int | bytes | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _too_old(name: str, version: str) -> KvmError:
    return KvmError(
        f"The kernel of this hypervisor has no {name} (or a container forbids it), so no file system of an image can be"
        f" mounted safely: use Linux {version} or later, or state trust: untrusted to work through libguestfs."
    )
