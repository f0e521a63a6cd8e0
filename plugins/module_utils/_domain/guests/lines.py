# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Connections beside the main one, for threads whose questions may take long: a client has only a few at a time in the
daemon's hands, and the main one must always get through."""

from __future__ import annotations

import contextlib
import threading
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import another, is_alive

#: How many threads share a connection.
_EACH = 4


class Lines:
    """``mine`` is the connection of the calling thread. Where there are no more to be had, it is the main one."""

    def __init__(self, uri: str, main: t.Any) -> None:
        self._uri = uri
        self._main = main
        self._lock = threading.Lock()
        self._lines: list[t.Any] = []
        self._threads: dict[int, int] = {}

    def mine(self) -> t.Any:
        """A connection that works, as far as one can be had."""
        with self._lock:
            place = self._threads.setdefault(threading.get_ident(), len(self._threads)) // _EACH
            if place < len(self._lines) and is_alive(self._lines[place]):
                return self._lines[place]
            try:
                line = another(self._uri)
            except LibvirtError:
                return self._main
            if place < len(self._lines):
                self._lines[place] = line
            else:
                self._lines.append(line)
            return line

    def close(self) -> None:
        """Ends them; questions that are still not answered are forgotten."""
        with self._lock:
            for line in self._lines:
                with contextlib.suppress(Exception):
                    line.close()
            self._lines = []
