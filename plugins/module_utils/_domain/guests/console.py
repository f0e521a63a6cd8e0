# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what a console shows while it is waited for a guest: the last lines, and whether a pattern was among them."""

from __future__ import annotations

import collections
import os
import re

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import seen_log
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests import text

#: How much of a log is read at first (its end), and at once later.
_FIRST = 1024 * 1024
#: How much of a line is looked at, of one without an end (a prompt is such a line) the last part.
_OPEN = 4096


class Console:
    """Takes what a console prints, in pieces. ``matched`` is the line in which the pattern was found."""

    def __init__(self, pattern: str | None) -> None:
        self._pattern = re.compile(pattern) if pattern is not None else None
        self._lines: collections.deque[str] = collections.deque(maxlen=seen_log.LINES)
        self._rest = b""
        self.matched: str | None = None

    def feed(self, data: bytes) -> None:
        """The next piece."""
        self._rest += data
        cut = self._rest.rfind(b"\n") + 1
        whole, self._rest = self._rest[:cut], self._rest[cut:][-_OPEN:]
        self._lines += text.lines(whole)
        for line in [*text.pieces(whole), *text.pieces(self._rest)]:
            self._look(line[:_OPEN])

    def _look(self, line: str) -> None:
        # Both "login:$" and "login: $" are meant to find a prompt.
        if self._pattern is None or self.matched is not None:
            return
        if self._pattern.search(line) or self._pattern.search(line.rstrip()):
            self.matched = line.rstrip()

    def tail(self) -> list[str]:
        """The last lines."""
        return [*self._lines, *text.lines(self._rest)][-seen_log.LINES :]


class Follower:
    """Reads what is new in a log file; ``mark`` is where this run of the guest begins."""

    def __init__(self, path: str, mark: int = 0) -> None:
        self.path = path
        self._position = mark
        self._first = True
        self._inode: int | None = None

    def read(self) -> bytes:
        """What was written since the last time; raises OSError when the file cannot be read."""
        with os.fdopen(seen_log.open_log(self.path), "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_size < self._position or (self._inode is not None and self._inode != status.st_ino):
                # Emptied, or a new one in its place: libvirt's log daemon does both.
                self._position = 0
            self._inode = status.st_ino
            if self._first:
                self._position = max(self._position, status.st_size - _FIRST)
                self._first = False
            file.seek(self._position)
            data = file.read(_FIRST)
            self._position += len(data)
            return data


def size(path: str | None) -> int:
    """How long a log is before a guest is started that appends to it."""
    try:
        return os.stat(path).st_size if path is not None else 0
    except OSError:
        return 0
