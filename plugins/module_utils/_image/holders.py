# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: who has a file open. Reads only."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import typing as t

_MAX_TEXT = 64 * 1024
_MAX_NAME = 64
_NOT_PLAIN = re.compile(r"[^\x20-\x7e]")


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who has a file open: a process, or the kernel for a loop device (``pid`` 0, ``device`` its path).

    ``command`` is the name of the program, for a loop device its path. ``domain`` is the guest's name when the process
    is one of qemu's for a guest. ``mounts`` are the folders at which a loop device is mounted.
    """

    pid: int
    command: str
    domain: str | None
    writing: bool
    device: str | None = None
    mounts: tuple[str, ...] = ()

    @property
    def minds(self) -> bool:
        """Whether the file must not be changed under its hands: it may write, or what it has read of it must stay true."""
        return self.writing or self.domain is not None or bool(self.mounts) or self.command.startswith("qemu-")

    def __str__(self) -> str:
        if self.device is not None:
            return f"{self.device} (mounted at {', '.join(self.mounts)})" if self.mounts else self.device
        if self.domain is not None:
            return f"the domain {self.domain} (process {self.pid}, {self.command})"
        return f"process {self.pid} ({self.command})"


def holders(path: str) -> list[Holder]:
    """The processes that have the file open, by process id, then the loop devices on it.

    Hard links and other names of the file count too. This process is not among them. A process that ends meanwhile is
    left out, and so is one that this user may not look into.
    """
    try:
        status = os.stat(path)
    except OSError:
        return []
    file = (status.st_dev, status.st_ino)
    own = os.getpid()
    found = []
    for pid in processes():
        writing = _opened(pid, file) if pid != own else None
        if writing is not None:
            found.append(Holder(pid, command_name(pid), domain_name(pid), writing))
    return found + list(_loops(file))


def processes() -> list[int]:
    """The ids of all processes."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def command_name(pid: int) -> str:
    """The name of a process's program; its arguments are nobody's business, they may have secrets."""
    words = command_line(pid)
    name = os.path.basename(words[0]) if words and words[0] else _text(f"/proc/{pid}/comm").strip()
    return _plain(name) or "unknown"


def command_line(pid: int) -> list[str]:
    """The words with which a process was started; empty for a thread of the kernel or a process that has ended."""
    return _text(f"/proc/{pid}/cmdline").rstrip("\0").split("\0")


def domain_name(pid: int) -> str | None:
    """The guest's name, when the process is qemu for a guest: from ``-name``, where libvirt puts it."""
    words = command_line(pid)
    if not words or "qemu" not in os.path.basename(words[0]):
        return None
    for option, value in zip(words, words[1:]):
        if option in ("-name", "--name"):
            # A comma inside a value is doubled.
            first, *more = (part.replace("\0", ",") for part in value.replace(",,", "\0").split(","))
            named = [part[len("guest=") :] for part in (first, *more) if part.startswith("guest=")]
            return _plain((named or [first])[0]) or None
    return None


def _opened(pid: int, file: tuple[int, int]) -> bool | None:
    """Whether one of a process's file descriptors of the file is for writing; None when it has none."""
    found: bool | None = None
    # Processes end while one looks at them, and those of others are closed to a user.
    with contextlib.suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                info = _fields(_text(f"/proc/{pid}/fdinfo/{number}"))
                if _same(f"/proc/{pid}/fd/{number}", info.get("ino"), file):
                    found = bool(found) or int(info.get("flags", "2"), 8) & os.O_ACCMODE != os.O_RDONLY
    return found


def _fields(text: str) -> dict[str, str]:
    lines = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _colon, value in lines}


def _same(link: str, inode: str | None, file: tuple[int, int]) -> bool:
    # The kernel (5.14) knows the inode without asking the file system, which may be a dead one that never answers.
    if inode is not None and inode != str(file[1]):
        return False
    if not os.readlink(link).startswith("/"):
        return False
    status = os.stat(link)
    return (status.st_dev, status.st_ino) == file


def _loops(file: tuple[int, int]) -> t.Iterator[Holder]:
    for name in sorted(os.listdir("/sys/block") if os.path.isdir("/sys/block") else []):
        backing = _text(f"/sys/block/{name}/loop/backing_file").rstrip("\n") if name.startswith("loop") else ""
        with contextlib.suppress(OSError):
            status = os.stat(backing) if backing else None
            if status is not None and (status.st_dev, status.st_ino) == file:
                writing = _text(f"/sys/block/{name}/ro").strip() == "0"
                mounts = tuple(_mounted(_text(f"/sys/block/{name}/dev").strip()))
                yield Holder(0, f"/dev/{name}", None, writing, f"/dev/{name}", mounts)


def _mounted(number: str) -> t.Iterator[str]:
    """The folders at which a device (``major:minor``) is mounted here."""
    for line in _text("/proc/self/mountinfo", None).splitlines():
        words = line.split(" ")
        if len(words) > 4 and words[2] == number:
            yield re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), words[4])


def _text(path: str, limit: int | None = _MAX_TEXT) -> str:
    """A file of the kernel's; empty when it is not there (any more)."""
    try:
        with open(path, "rb") as file:
            return os.fsdecode(file.read(limit) if limit is not None else file.read())
    except OSError:
        return ""


def _plain(text: str) -> str:
    """What others have chosen, as a short text without control characters."""
    return _NOT_PLAIN.sub("?", text)[:_MAX_NAME]
