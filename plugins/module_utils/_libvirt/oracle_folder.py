# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The folder of the oracle: short, private, gone afterwards; what was found out about the qemu programs stays."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile

#: Of the collection: what can be found out again. The paths of sockets, which the driver makes below, have to be short.
CACHE = "/var/cache/hypervisor.kvm"
_HOST_SETTINGS = "/etc/libvirt/qemu.conf"


class Folder:
    """A root of the driver; whoever holds its lock owns it."""

    def __init__(self, root: str, lock: int) -> None:
        self.root = root
        self._lock = lock

    def remove(self) -> None:
        """Removes it; not what it shares with others."""
        shutil.rmtree(self.root, ignore_errors=True)
        os.close(self._lock)


def make() -> Folder:
    """A new root, after those that killed tasks left behind are removed; raises OSError."""
    parent = os.path.join(CACHE, "o")
    shared = os.path.join(CACHE, "capabilities")
    for folder in (CACHE, parent, shared):
        os.makedirs(folder, mode=0o700, exist_ok=True)
    _sweep(parent)
    root, lock = _new(parent)
    os.symlink(shared, os.path.join(root, "cache"))
    os.mkdir(os.path.join(root, "etc"))
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(_HOST_SETTINGS, os.path.join(root, "etc", "qemu.conf"))
    return Folder(root, lock)


def _new(parent: str) -> tuple[str, int]:
    while True:
        root = tempfile.mkdtemp(prefix="", dir=parent)
        with contextlib.suppress(FileNotFoundError):
            lock = _locked(root)
            if lock is not None:
                if os.path.isdir(root):
                    return root, lock
                os.close(lock)
        # Another task took it for one that was left behind, between its making and its lock: once more.


def _locked(root: str) -> int | None:
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _sweep(parent: str) -> None:
    for name in os.listdir(parent):
        root = os.path.join(parent, name)
        with contextlib.suppress(OSError):
            lock = _locked(root)
            if lock is not None:
                Folder(root, lock).remove()
