# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Mounts of images: what the kernel says is mounted (proc_pid_mountinfo(5)). Pure but for ``read``."""

from __future__ import annotations

import dataclasses
import re
import typing as t


@dataclasses.dataclass(frozen=True)
class Entry:
    """One mount. ``options`` are those of the mount and ``super_options`` those of its file system."""

    id: int
    parent: int
    device: str
    root: str
    point: str
    options: tuple[str, ...]
    kind: str
    source: str
    super_options: tuple[str, ...]

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written through this mount."""
        return "ro" in self.options or "ro" in self.super_options

    def __str__(self) -> str:
        return f"{self.source} ({self.kind})"


def read(pid: int | str = "self") -> list[Entry]:
    """The mounts that a process sees; none for one that has ended or may not be looked into."""
    try:
        # In one piece: the kernel gives a whole picture only to large reads.
        with open(f"/proc/{pid}/mountinfo", "rb", buffering=1 << 20) as file:
            return parse(file.read().decode("utf-8", "surrogateescape"))
    except OSError:
        return []


def parse(text: str) -> list[Entry]:
    """The entries, in the kernel's order: of several at one folder the last one is on top."""
    return [entry for entry in map(_entry, text.splitlines()) if entry is not None]


def _entry(line: str) -> Entry | None:
    words = line.split(" ")
    if "-" not in words[6:] or len(words) < 10:
        return None
    rest = words[words.index("-", 6) + 1 :]
    if len(rest) < 3:
        return None
    return Entry(
        id=int(words[0]),
        parent=int(words[1]),
        device=words[2],
        root=_plain(words[3]),
        point=_plain(words[4]),
        options=tuple(words[5].split(",")),
        kind=rest[0],
        source=_plain(rest[1]),
        super_options=tuple(rest[2].split(",")),
    )


def _plain(word: str) -> str:
    """The kernel writes blanks and the like in octal, byte by byte."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)


def at(entries: t.Sequence[Entry], point: str) -> Entry | None:
    """What is mounted at a folder, the topmost."""
    found = [entry for entry in entries if entry.point == point]
    return found[-1] if found else None


def beneath(entries: t.Sequence[Entry], point: str) -> list[Entry]:
    """What is mounted somewhere below a folder, in an order in which it can be unmounted: the deepest and topmost first."""
    found = [entry for entry in reversed(entries) if entry.point.startswith(point.rstrip("/") + "/")]
    return sorted(found, key=lambda entry: -entry.point.count("/"))
