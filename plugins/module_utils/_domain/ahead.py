# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what libvirt does with some of a list while others are still compared; either takes about as long."""

from __future__ import annotations

import concurrent.futures
import sys
import typing as t

#: The daemon has one in hand for each processor, and the next ones already with it: more are not faster by much.
_AT_ONCE = 4
#: Seconds after which a thread that computes lets another one go on, which only has to hand the next question over.
_SWITCH = 0.0005


class Ahead:
    """Work that is begun ahead of its time, by name."""

    def __init__(self) -> None:
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._begun: dict[str, concurrent.futures.Future[None]] = {}
        self._switch = 0.0

    def begin(self, name: str, work: t.Callable[[], None]) -> None:
        """Begins it as soon as there is a free thread."""
        if self._pool is None:
            self._pool = concurrent.futures.ThreadPoolExecutor(_AT_ONCE)
            self._switch = sys.getswitchinterval()
            sys.setswitchinterval(_SWITCH)
        self._begun[name] = self._pool.submit(work)

    def done(self, name: str) -> bool:
        """Waits for its end; False when it was never begun."""
        found = self._begun.get(name)
        if found is None:
            return False
        found.result()
        return True

    def close(self) -> None:
        """Waits for what is at work; what has not begun by now never does."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
            sys.setswitchinterval(self._switch)
