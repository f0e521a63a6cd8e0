# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's cache folder and how its entries are made: locked, keyed by content and week, old ones removed."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Callable

from lab_errors import LabError

_PR_SET_PDEATHSIG = 1


def cache_folder() -> Path:
    """Return the lab's cache folder (made when missing): ``$LAB_CACHE``, or one below the user's cache folder."""
    explicit = os.environ.get("LAB_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(explicit) if explicit else Path(base) / "hypervisor.kvm" / "lab"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Let only one process at a time build the cache entry ``name``."""
    with open(cache_folder() / f".{name}.lock", "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def key_of(words: Sequence[str]) -> str:
    week = time.strftime("%G-W%V", time.gmtime())
    return hashlib.sha256("\n".join([week, *sorted(set(words))]).encode()).hexdigest()[:12]


def die_with_parent() -> Callable[[], None]:
    """Return a ``preexec_fn``: the child gets SIGKILL when this process dies, however it dies."""
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def arm() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died before prctl: nobody would tell us any more
            os._exit(137)

    return arm


def run_tool(argv: Sequence[str], what: str, timeout: int = 1200) -> str:
    """Run a tool and return its stdout; raise LabError with the end of its output when it fails or hangs."""
    env = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            preexec_fn=die_with_parent(),  # or it would go on writing where the next one starts afresh
        )
    except FileNotFoundError as error:
        raise LabError(f"{what}: {argv[0]} is not installed; `lab.py doctor` names the package") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{what}: {argv[0]} did not end within {timeout} s") from error
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise LabError(f"{what}: {argv[0]} failed with exit code {done.returncode}:\n{tail}")
    return done.stdout


def say(text: str) -> None:
    """Tell the person who waits what takes the time."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


def prune(folder: Path, pattern: str, keep: int) -> None:
    """Remove all but the ``keep`` newest finished entries that match, and every unfinished one."""
    found = sorted((p for p in folder.glob(pattern)), key=lambda p: p.stat().st_mtime, reverse=True)
    done = [p for p in found if not p.name.endswith(".part")]
    for old in done[keep:] + [p for p in found if p.name.endswith(".part")]:
        shutil.rmtree(old, ignore_errors=True)
