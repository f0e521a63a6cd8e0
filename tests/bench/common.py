# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What benches share: programs, measuring, the table, the targets."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

Words = t.Sequence[t.Union[str, Path]]


class BenchError(Exception):
    """The bench cannot go on, or a method did not do its work; the message says which and why."""


def run(argv: Words, timeout: float = 1800, **more: t.Any) -> str:
    """Runs a program to its end and gives what it wrote; raises BenchError when it fails."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False, **more)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise BenchError(f"{' '.join(words)}: {exc}") from exc
    if done.returncode != 0:
        raise BenchError(
            f"{' '.join(words)}: exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}"
        )
    return str(done.stdout)


@contextlib.contextmanager
def loop_device(image: Path, offset: int, limit: int | None = None) -> t.Iterator[str]:
    """A loop device of our own on a part of an image, detached by its name."""
    size = [] if limit is None else ["--sizelimit", str(limit)]
    device = run(["losetup", "--find", "--show", "--offset", str(offset), *size, image]).strip()
    try:
        yield device
    finally:
        run(["losetup", "--detach", device])


# --- measuring -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """One run: wall clock and processor time in seconds, what the result occupies in bytes (None: there is no result)."""

    seconds: float
    cpu: float
    allocated: int | None


@dataclass
class Method:
    """One way to do a work.

    ``prepare`` is not timed; ``work`` is, with the fsync of ``result``; ``verify`` raises BenchError when the result of
    the last run is wrong. ``work`` may return the Sample itself (times that a process took inside).
    """

    name: str
    work: t.Callable[[], Sample | None]
    result: Path | None = None
    prepare: t.Callable[[], None] | None = None
    verify: t.Callable[[], None] | None = None
    repeats: int = 5
    samples: list[Sample] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The median."""
        return statistics.median(sample.seconds for sample in self.samples)

    @property
    def allocated(self) -> int | None:
        """What the result of the last run occupies."""
        return self.samples[-1].allocated


def adopt_orphans() -> None:
    """From now on the processor time of daemons that our programs start is counted as well."""
    if ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0) != 0:  # PR_SET_CHILD_SUBREAPER
        raise BenchError(f"prctl: {os.strerror(ctypes.get_errno())}")


def _reap() -> None:
    """Waits for what was started and left behind; at most some seconds, it may be a daemon that is to stay."""
    until = time.monotonic() + 5
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < until:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.005)


def cpu_seconds() -> float:
    """The processor time of this process and of all its children that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def sync_file(path: Path) -> None:
    """Waits until the content of a file is on the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def cool(paths: t.Iterable[Path]) -> None:
    """Takes files of ours out of the page cache, after they are on the disk."""
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


def measure(method: Method, sources: t.Sequence[Path]) -> Sample:
    """Runs a method once. Nothing of its sources is in the page cache, nothing waits to be written."""
    if method.prepare is not None:
        method.prepare()
    os.sync()
    cool([*sources, *([method.result] if method.result is not None and method.result.exists() else [])])
    cpu, started = cpu_seconds(), time.perf_counter()
    own = method.work()
    if method.result is not None:
        sync_file(method.result)
    seconds = time.perf_counter() - started
    _reap()
    allocated = None if method.result is None else method.result.stat().st_blocks * 512
    if own is not None:
        return Sample(own.seconds, own.cpu, allocated)
    return Sample(seconds, cpu_seconds() - cpu, allocated)


def compete(methods: t.Sequence[Method], sources: t.Sequence[Path]) -> None:
    """Measures all methods, one run of each after the other, so that a noisy minute meets all of them."""
    for turn in range(max(method.repeats for method in methods)):
        for method in methods:
            if turn >= method.repeats:
                continue
            method.samples.append(measure(method, sources))
            if turn == method.repeats - 1:
                if method.verify is not None:
                    method.verify()
                say(f"{method.name}: {method.seconds:.2f} s, its result is right")
            if method.result is not None:
                method.result.unlink()


# --- telling ---------------------------------------------------------------------------------------------------------


def say(text: str) -> None:
    """A line for the person who waits; the tables stand alone on the standard output."""
    print(f"    {text}", file=sys.stderr, flush=True)


def _row(method: Method, base: float) -> list[str]:
    seconds = [sample.seconds for sample in method.samples]
    spread = f" ({min(seconds):.3g}-{max(seconds):.3g})" if len(seconds) > 1 else " (once)"
    cpu = statistics.median(sample.cpu for sample in method.samples)
    allocated = "" if method.allocated is None else f"{method.allocated:,}".replace(",", " ")
    return [method.name, f"{method.seconds:.3g}{spread}", f"{cpu:.3f}", allocated, f"{method.seconds / base:.2f}"]


def table(title: str, methods: t.Sequence[Method], base: Method) -> None:
    """Prints the measurements; the ratio is to the median of ``base``."""
    head = ["method", "seconds: median (min-max)", "CPU seconds", "bytes allocated", "ratio"]
    rows = [head, *(_row(method, base.seconds) for method in methods)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    print(f"\n{title}\n")
    for index, row in enumerate(rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        print(f"| {' | '.join(cells)} |")
        if index == 0:
            print(f"|{'-' * (widths[0] + 2)}|" + "".join(f"{'-' * (width + 1)}:|" for width in widths[1:]))
    print(flush=True)


@dataclass
class Targets:
    """What the issue asks for, and what of it this run has met."""

    met: int = 0
    all: int = 0
    skipped: list[str] = field(default_factory=list)

    def at_most(self, what: str, value: float, limit: float, unit: str = "") -> None:
        """A target: ``value`` is not above ``limit``."""
        self._tell(value <= limit, f"{what}: {value:.3g}{unit}, target at most {limit:g}{unit}")

    def at_least(self, what: str, value: float, limit: float, unit: str = "") -> None:
        """A target: ``value`` is not below ``limit``."""
        self._tell(value >= limit, f"{what}: {value:.3g}{unit}, target at least {limit:g}{unit}")

    def _tell(self, good: bool, text: str) -> None:
        self.all += 1
        self.met += good
        print(f"- {text}: {'met' if good else 'NOT met'}", flush=True)

    def skip(self, what: str, why: str) -> None:
        """A comparison that this machine cannot make."""
        self.skipped.append(what)
        print(f"- !!! NOT COMPARED with {what}: {why}", flush=True)

    def sum_up(self) -> None:
        """The last line."""
        more = f"; not compared: {', '.join(self.skipped)}" if self.skipped else ""
        print(f"\n{self.met} of {self.all} targets met{more}", flush=True)


def end_by_exception() -> None:
    """A signal must clean up like an error does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
