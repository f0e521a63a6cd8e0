# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: which overlays stand on a base image: those on a small list beside it, true only as far as the disks confirm it,
and those in its own folder that somebody else has made."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import typing as t

SUFFIX = ".kvm_image.overlays"

Backing = t.Callable[[str], t.Sequence[str]]

_QCOW2 = b"QFI\xfb"
_MAX_FILES = 10000


def recorded(base: str) -> list[str]:
    """The paths that are on the list of ``base``."""
    try:
        with open(base + SUFFIX, encoding="utf-8") as file:
            entries = json.load(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        # A broken list is no reason to stop: it is written anew with the next overlay.
        return []
    return [entry for entry in entries if isinstance(entry, str)] if isinstance(entries, list) else []


def living(base: str, backing: Backing) -> list[str]:
    """The disks that are there and really stand on ``base``, by whichever of its names."""
    place = os.path.realpath(base)
    found = dict.fromkeys([*recorded(base), *_neighbours(base)])
    return [
        path
        for path in found
        if os.path.lexists(path)
        and os.path.realpath(path) != place
        and place in [os.path.realpath(below) for below in backing(path)]
    ]


def _neighbours(base: str) -> t.Iterator[str]:
    """The qcow2 images in the folder of ``base``."""
    folder = os.path.dirname(base)
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(folder)[:_MAX_FILES]):
            path = os.path.join(folder, name)
            # What this module works on at the moment is in folders of its own.
            if path != base and _is_qcow2(path):
                yield path


def _is_qcow2(path: str) -> bool:
    try:
        # Nothing is waited for: it may be a pipe.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode) and os.pread(fd, len(_QCOW2), 0) == _QCOW2
    except OSError:
        return False
    finally:
        os.close(fd)


def text(entries: t.Sequence[str]) -> str:
    """The list as the text of its file."""
    return json.dumps(sorted(set(entries)), indent=2) + "\n"
