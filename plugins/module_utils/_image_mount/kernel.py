# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Mounts of images: the system calls around mounting. No program is between the decision and the kernel, so no file
system type is guessed, no helper is looked for and no link is followed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import typing as t

RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, PRIVATE = 1, 2, 4, 8, 32, 4096, 1 << 18
_DETACH, _NOFOLLOW = 2, 8


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """mount(2) at the folder ``target``, whose last part must be no link; raises OSError."""
    with folder(target) as place:
        _call(source, place, kind, flags, data or None)


def remount(target: str, flags: int) -> None:
    """Changes the options of the mount at ``target`` (not of its file system); raises OSError."""
    with folder(target) as place:
        _call(None, place, None, REMOUNT | BIND | flags, None)


def bind(source: str, target: str) -> None:
    """Shows the folder ``source`` at ``target`` too, alone and without its mounts; raises OSError."""
    mount(source, target, None, BIND)
    make_private(target)


def make_private(target: str) -> None:
    """Keeps what is mounted below ``target`` from appearing elsewhere, and its unmounting from having an effect there."""
    with folder(target) as place:
        _call(None, place, None, PRIVATE, None)


def unmount(target: str, lazy: bool = False) -> None:
    """umount2(2) of the topmost mount at ``target``; raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(target), _NOFOLLOW | (_DETACH if lazy else 0)) != 0:
        raise _error(target)


@contextlib.contextmanager
def folder(path: str) -> t.Iterator[str]:
    """A name for the folder that ``path`` is now, whatever takes its place; raises OSError when it is a link or a file."""
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _call(source: str | None, place: str, kind: str | None, flags: int, data: str | None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [None if word is None else os.fsencode(word) for word in (source, place, kind, data)]
    if libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]) != 0:
        raise _error(place)


def _error(path: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), path)
