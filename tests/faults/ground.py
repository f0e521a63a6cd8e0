# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A place of its own for tests that kill and starve: mounts, processes and a scratch folder that end with this program.

Whatever a task leaves behind is seen here (``leftovers``), and nothing of it reaches the machine.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing as t

_INSIDE = "FAULTS_SCRATCH"
_GRACE = 2.0
_DEV_LOOP = "/sys/block/loop*/loop/backing_file"


def enter(needs: t.Sequence[str], size: str = "3g") -> str:
    """Starts this program again in namespaces of its own; there it gives the scratch folder, a tmpfs of ``size``.

    Ends with 77 and the reason where the tests cannot work: no root, a program of ``needs`` missing, no FUSE.
    """
    scratch = os.environ.get(_INSIDE)
    if scratch is not None:
        run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "faults", scratch)
        return scratch
    reason = _cannot(needs)
    if reason is not None:
        print(f"{os.path.basename(sys.argv[0])}: not possible here: {reason}", file=sys.stderr)
        raise SystemExit(77)
    folder = tempfile.mkdtemp(prefix="hypervisor.kvm-faults.")
    argv = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
    argv += [sys.executable, "-u", *sys.argv]
    try:
        environment = {**os.environ, _INSIDE: folder}
        code = subprocess.run(argv, env=environment, check=False, preexec_fn=_end_with_parent).returncode
    finally:
        os.rmdir(folder)
    raise SystemExit(code)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


def _cannot(needs: t.Sequence[str]) -> str | None:
    if os.geteuid() != 0:
        return "it needs root"
    missing = [name for name in needs if shutil.which(name) is None]
    if missing:
        return f"these programs are missing: {', '.join(missing)}"
    if not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse, so nothing is changed in place"
    return None


def run(*argv: str, text: str | None = None, ok: t.Collection[int] = (0,)) -> str:
    """Runs a program of the test itself; gives what it printed."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False, errors="replace")
    assert done.returncode in ok, f"{' '.join(argv)}: exit code {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


# --- what is left ----------------------------------------------------------------------------------------------------


def reap(but: t.Collection[int] = ()) -> None:
    """Takes the exit codes of orphans: this program is the first process of its namespace."""
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in but:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(int(name), os.WNOHANG)


def processes() -> list[int]:
    """All processes beside this one that still run."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid() and _runs(name)]


def _runs(pid: str) -> bool:
    # It may end while one looks at it.
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    return False


def mounts(below: str) -> list[str]:
    """What is mounted below a folder in the mount namespace of any process."""
    found = set()
    for path in glob.glob("/proc/[0-9]*/mountinfo"):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            found |= {words[4] for words in map(str.split, file) if words[4].startswith(below + "/")}
    return sorted(found)


def loops(below: str) -> list[str]:
    """The loop devices on files below a folder."""
    found = []
    for path in glob.glob(_DEV_LOOP):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            if below in file.read():
                found.append(path.split("/")[3])
    return sorted(found)


def leftovers(scratch: str, known: t.Collection[int] = (), mounted: t.Collection[str] = ()) -> list[str]:
    """What tasks have left running or mounted, after a short grace; empty is how it has to be.

    ``known`` are processes and ``mounted`` mounts of the test itself.
    """
    deadline = time.monotonic() + _GRACE
    while True:
        reap(known)
        left = [f"process {pid}: {command(pid)}" for pid in processes() if pid not in known]
        left += [f"mount {point}" for point in mounts(scratch) if point not in mounted]
        left += [f"loop device {name}" for name in loops(scratch)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.01)


def command(pid: int) -> str:
    """The words with which a process was started."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return "?"
