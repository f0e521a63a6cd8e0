# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Threads for questions that may never be answered: nobody waits for such a thread, not even the end of the module."""

from __future__ import annotations

import queue
import threading
import time
import typing as t

T = t.TypeVar("T")


class Job(t.Generic[T]):
    """Something that is being done: ``done`` is set at its end, then it has a ``value`` or an ``error``."""

    def __init__(self, work: t.Callable[[], T]) -> None:
        self._work = work
        self.done = threading.Event()
        self.value: T | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        """Does it."""
        try:
            self.value = self._work()
        except Exception as exc:  # what went wrong is told to the thread that asked  # noqa: BLE001
            self.error = exc
        finally:
            self.done.set()

    def result(self) -> T | None:
        """The value, or raises the error; None as long as it is not done."""
        if self.done.is_set() and self.error is not None:
            raise self.error
        return self.value


class Crew:
    """Up to ``size`` threads that do jobs in the order in which they came."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._jobs: queue.SimpleQueue[Job[t.Any]] = queue.SimpleQueue()
        self._threads = 0
        #: Threads without a job less jobs without a thread.
        self._free = 0
        self._lock = threading.Lock()

    def submit(self, work: t.Callable[[], T]) -> Job[T]:
        """Hands in a job."""
        job = Job(work)
        with self._lock:
            if self._free <= 0 and self._threads < self._size:
                self._threads += 1
                # A daemon: the interpreter does not wait for it at its end.
                threading.Thread(target=self._work, daemon=True).start()
            else:
                self._free -= 1
        self._jobs.put(job)
        return job

    def _work(self) -> None:
        while True:
            self._jobs.get().run()
            with self._lock:
                self._free += 1

    def all(self, works: t.Mapping[str, t.Callable[[], T]], seconds: float) -> dict[str, T | Exception]:
        """What the works gave, or their errors; those that are not done in time are missing."""
        jobs = {name: self.submit(work) for name, work in works.items()}
        deadline = time.monotonic() + seconds
        found: dict[str, T | Exception] = {}
        for name, job in jobs.items():
            if job.done.wait(max(0.0, deadline - time.monotonic())):
                found[name] = job.error if job.error is not None else t.cast("T", job.value)
        return found
