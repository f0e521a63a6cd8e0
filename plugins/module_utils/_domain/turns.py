# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: tasks on one domain take turns, so that each decides on what the one before has left.

One file for all domains; a domain is a byte of it, and the kernel gives the lock back when a task ends, however it ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy

#: Seconds for which another task is waited for, and between two looks.
_PATIENCE = 1800
_PAUSE = 0.1

Say = t.Callable[[str], None]


class Turns:
    """The turns that this process has taken; none in a prediction, which writes nothing."""

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder or _folder()
        self._descriptor: int | None = None

    def take(self, name: str, say: Say) -> None:
        """Waits for the turn on a domain; raises Busy when it does not come. Those of several are taken by ``place``."""
        self._descriptor = self._open() if self._descriptor is None else self._descriptor
        if self._descriptor is None:
            return
        deadline, said = time.monotonic() + _PATIENCE, False
        while not _locked(self._descriptor, place(name)):
            if time.monotonic() >= deadline:
                raise Busy(
                    f"domain {name}: another task has been at it for {_PATIENCE} s; run this again when it has ended."
                )
            if not said:
                say(f"domain {name}: waiting for another task that is at it")
                said = True
            time.sleep(_PAUSE)

    def give_back(self) -> None:
        """Ends all turns."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int | None:
        try:
            os.makedirs(self._folder, mode=0o755, exist_ok=True)
            return os.open(
                os.path.join(self._folder, "domains.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
        except OSError:
            # A user without a place of its own: libvirt keeps its own order, only less of it.
            return None


def _locked(descriptor: int, place: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _folder() -> str:
    return "/run/hypervisor.kvm" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR", "/nonexistent")


def place(name: str) -> int:
    """The byte of the file that is the domain's; all tasks take turns in this order, so that no two wait for each other."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:7], "big")
