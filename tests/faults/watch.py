# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A folder of the host that no image may lead to: the kernel says whoever opens or changes something in it (inotify)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
import typing as t

#: Stands in every file of the host, and must stand nowhere else.
SECRET = "hEldBaCkByThEhOsT"  # noqa: S105  # no password
_NAMES = ("etc/hostname", "etc/hosts", "etc/fstab", "etc/shadow", "etc/machine-id", "etc/motd", "ssh/authorized_keys")
_OPEN, _CHANGE = 0x20, 0x2 | 0x4 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400
_NONBLOCK = 0o4000


class Host:
    """The folder: ``secret`` (with what the files of guests have in them), ``device`` and ``pipe`` that nobody may even
    open, and ``etc`` and ``ssh`` with names that guests have."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        lines = f'ID={SECRET}\nPRETTY_NAME="{SECRET}"\nLABEL={SECRET} / ext4 defaults 0 1\nroot:{SECRET}:1::::::\n'
        for name in ("secret", *_NAMES):
            os.makedirs(os.path.dirname(f"{folder}/{name}"), exist_ok=True)
            with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
                file.write(lines * 64)
        os.mknod(f"{folder}/device", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        os.mkfifo(f"{folder}/pipe")
        self._libc = ctypes.CDLL(None, use_errno=True)

    @property
    def secret(self) -> str:
        return f"{self.folder}/secret"

    def _paths(self) -> list[str]:
        found = [self.folder]
        for place, folders, files in os.walk(self.folder):
            found += [f"{place}/{name}" for name in (*folders, *files)]
        return found

    @contextlib.contextmanager
    def untouched(self, may_open: t.Collection[str] = ()) -> t.Iterator[None]:
        """Fails when anything of it was changed, or opened that is not in ``may_open``."""
        fd = self._libc.inotify_init1(_NONBLOCK)
        assert fd >= 0, os.strerror(ctypes.get_errno())
        try:
            watched = {}
            for path in self._paths():
                # Folders are opened by whoever looks for a name in one; what counts is what is in them.
                mask = _CHANGE if os.path.isdir(path) or path in may_open else _CHANGE | _OPEN
                watched[self._libc.inotify_add_watch(fd, os.fsencode(path), mask)] = path
            yield
            seen = {f"{watched[number]}{'/' if name else ''}{name} ({mask:#x})" for number, mask, name in _events(fd)}
        finally:
            os.close(fd)
        assert not seen, f"files of the host were opened or changed: {', '.join(sorted(seen))}"


def _events(fd: int) -> t.Iterator[tuple[int, int, str]]:
    with contextlib.suppress(BlockingIOError):
        while True:
            data = os.read(fd, 65536)
            while data:
                number, mask, _cookie, length = struct.unpack_from("iIII", data)
                yield number, mask, os.fsdecode(data[16 : 16 + length].rstrip(b"\0"))
                data = data[16 + length :]
