# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Mounts of images: who uses a mount, and how they are asked to let it go.

The file systems themselves are not touched in looking: one whose server is dead would never answer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _loop
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.holders import command_name, domain_name, processes
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount import mountinfo

_LINKS = (("working directory", "cwd"), ("root directory", "root"), ("program", "exe"))
_MAX_SHOWN = 3
AnyT = t.TypeVar("AnyT")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\udc80-\udcff]")


@dataclasses.dataclass(frozen=True)
class User:
    """A process that uses something below a folder; ``what`` says what, ``start`` tells it from a later one of that id.

    ``pid`` 0 is the kernel: a loop device on a file there.
    """

    pid: int
    start: str
    command: str
    what: tuple[str, ...]
    domain: str | None = None

    def __str__(self) -> str:
        name = f"domain {self.domain}, " if self.domain else ""
        who = f"process {self.pid} ({name}{self.command})" if self.pid else self.command
        return f"{who}: {', '.join(self.what)}"

    def result(self) -> dict[str, t.Any]:
        """As a return value."""
        return {"pid": self.pid, "command": self.command, "domain": self.domain, "what": list(self.what)}


def users(point: str) -> list[User]:
    """The processes with something open below the folder, in their own view of the mounts too, and loop devices."""
    here = mountinfo.at(mountinfo.read(), point)
    namespace = _link("/proc/self/ns/mnt")
    views: dict[str | None, str | None] = {namespace: point}
    found = []
    for pid in processes():
        view = _link(f"/proc/{pid}/ns/mnt")
        if view not in views:
            views[view] = _elsewhere(pid, here)
        place = views[view]
        what = _uses(pid, place) if place is not None else ()
        if what:
            found.append(User(pid, started(pid), command_name(pid), what, domain_name(pid)))
    devices = [device for device in _loop.devices() if _below(device.backing, point)]
    return found + [User(0, "", item.device, (f"file {_shown(item.backing)}",)) for item in devices]


def _elsewhere(pid: int, here: mountinfo.Entry | None) -> str | None:
    """Where a process in another mount namespace sees the file system that is mounted here; None when it does not."""
    if here is None:
        return None
    same = [entry for entry in mountinfo.read(pid) if entry.device == here.device and entry.root == here.root]
    return same[-1].point if same else None


def still_seen(device: str) -> list[User]:
    """The processes in other mount namespaces in which a file system (``major:minor``) is still mounted."""
    own = _link("/proc/self/ns/mnt")
    seen: dict[str | None, bool] = {own: False}
    found = []
    for pid in processes():
        view = _link(f"/proc/{pid}/ns/mnt")
        if view not in seen:
            seen[view] = any(entry.device == device for entry in mountinfo.read(pid))
            if seen[view]:
                found.append(User(pid, started(pid), command_name(pid), ("its mount namespace",)))
    return found


def _uses(pid: int, point: str) -> tuple[str, ...]:
    found = [what for what, link in _LINKS if _below(_link(f"/proc/{pid}/{link}"), point)]
    paths: list[str] = []
    with contextlib.suppress(OSError):
        paths += filter(None, (_link(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")))
    paths += _mapped(pid)
    shown = list(dict.fromkeys(f"file {_shown(path)}" for path in paths if _below(path, point)))
    more = [f"{len(shown) - _MAX_SHOWN} more files"] if len(shown) > _MAX_SHOWN else []
    return tuple(found + shown[:_MAX_SHOWN] + more)


def _mapped(pid: int) -> t.Iterator[str]:
    """The files that a process has mapped into its memory."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            words = line.rstrip("\n").split(None, 5)
            if len(words) == 6 and words[5].startswith("/"):
                yield words[5]


def _below(path: str | None, point: str) -> bool:
    return path is not None and (path + "/").startswith(point.rstrip("/") + "/")


def _shown(path: str) -> str:
    # Names in an image are chosen by others.
    return _CONTROL.sub("?", path)[:200]


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def started(pid: int) -> str:
    """When a process was started, in the kernel's own count; empty for one that has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return ""
    # A process that has ended and that nobody has asked about yet (Z, X) holds nothing any more.
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()


def alive(user: User) -> bool:
    """Whether that very process still runs."""
    return bool(user.start) and started(user.pid) == user.start


def ancestors() -> set[int]:
    """This process and those that started it, up to the first: none of them may be ended by it."""
    found: set[int] = set()
    pid = os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/stat", "rb") as file:
            pid = int(file.read().rpartition(b")")[2].split()[1])
    return found


def tell(targets: t.Sequence[User], number: int) -> None:
    """Sends a signal to those of the processes that still run."""
    for user in targets:
        with contextlib.suppress(ProcessLookupError):
            _send(user, number)


def _send(user: User, number: int) -> None:
    try:
        fd = os.pidfd_open(user.pid)
    except (AttributeError, OSError) as exc:
        if isinstance(exc, ProcessLookupError):
            return
        # Before Linux 5.3 only the id names a process.
        if alive(user):
            os.kill(user.pid, number)
        return
    try:
        # The descriptor is that of this process and no later one's, once its start was compared.
        if alive(user):
            signal.pidfd_send_signal(fd, number)
    finally:
        os.close(fd)


def wait_until_gone(who: t.Callable[[], list[AnyT]], timeout: float) -> list[AnyT]:
    """Asks again and again who is there; those that are left after ``timeout`` seconds."""
    end = time.monotonic() + timeout
    pause = 0.01
    while True:
        left = who()
        if not left or time.monotonic() > end:
            return left
        time.sleep(pause)
        pause = min(pause * 2, 0.2)
