# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guard for tests of input that would keep a reader busy for ever."""

from __future__ import annotations

import contextlib
import signal
import typing as t


@contextlib.contextmanager
def ends(seconds: float = 60) -> t.Iterator[None]:
    """Fails when the block has used that much processor time: far beyond what it takes, on however busy a machine."""

    def stop(_number: int, _frame: object) -> None:
        raise AssertionError(f"it did not end within {seconds:g} s of processor time")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
