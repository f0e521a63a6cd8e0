# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Landlock: a program that works on files from elsewhere can open no other files of this host.

The second line of defence: what a program opens is stated, and this holds when the program is deceived all the same.
Source: the kernel's Documentation/userspace-api/landlock.rst (ABI 1, Linux 5.13).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import typing as t

# The same numbers on all architectures that have them.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_ALL = (1 << 13) - 1
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE
#: What a program needs of the system itself: its libraries, its settings, and what tells it of the machine.
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/proc", "/sys")
_SETTINGS = ("ld.so.cache", "ld.so.preload", "mke2fs.conf", "e2fsck.conf", "localtime", "mtab", "lvm")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")


class Rules:
    """What may be opened; made before a program is started, and put into force in its process."""

    def __init__(self, reads: t.Sequence[str] = (), writes: t.Sequence[str] = ()) -> None:
        """``reads`` and ``writes`` are files and folders (with all below them) beside the system's own."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._call(_CREATE_RULESET, struct.pack("<Q", _ALL), 8, 0) if available() else -1
        if self._fd >= 0:
            for path in (*_SYSTEM, *(f"/etc/{name}" for name in _SETTINGS)):
                self._allow(path, _EXECUTE | _READ_FILE | _READ_DIR)
            for path in _DEVICES:
                self._allow(path, _WRITE_FILE | _READ_FILE)
            for path in reads:
                self._allow(path, _READ_FILE | _READ_DIR)
            for path in writes:
                self._allow(path, _ALL)

    def enforce(self) -> None:
        """Puts them into force, for this process and all that it starts. For the child between fork and exec."""
        if self._fd >= 0:
            self._libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            if self._call(_RESTRICT_SELF, self._fd, 0) != 0:
                os._exit(126)

    def close(self) -> None:
        """To be called when the program has been started."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _allow(self, path: str, rights: int) -> None:
        # What this host does not have needs no rule.
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                folder = os.path.isdir(path)
                rule = struct.pack("<Qi", rights if folder else rights & _ON_FILES, fd)
                if self._call(_ADD_RULE, self._fd, _PATH_BENEATH, rule, 0) != 0:
                    number = ctypes.get_errno()
                    raise RuntimeError(f"landlock refuses the rule for {path}: {os.strerror(number)}")
            finally:
                os.close(fd)

    def _call(self, number: int, *arguments: t.Any) -> int:
        words = [ctypes.c_long(word) if isinstance(word, int) else ctypes.c_char_p(word) for word in arguments]
        return int(self._libc.syscall(ctypes.c_long(number), *words))


def available() -> bool:
    """Whether the kernel has Landlock and has it switched on."""
    libc = ctypes.CDLL(None, use_errno=True)
    words = (ctypes.c_long(_CREATE_RULESET), ctypes.c_void_p(None), ctypes.c_long(0), ctypes.c_long(_VERSION))
    return int(libc.syscall(*words)) >= 1
