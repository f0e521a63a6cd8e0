# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: which files were to be removed with a domain that is gone already.

The files go after the definition, and with that goes what says which they are. So that is written down before; a task that
was killed in between is finished by the next one that names the same disks. A file that was changed since is another's.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import typing as t

#: For root only; a user whose domains are its own has no such place.
_FOLDER = "/var/lib/hypervisor.kvm/removals"

Files = dict[str, tuple[str, ...]]


def _place(name: str, uri: str) -> str:
    return os.path.join(_FOLDER, hashlib.sha256(f"{uri} {name}".encode("utf-8", "surrogateescape")).hexdigest())


def _state(path: str) -> list[int] | None:
    """What tells a file from another one, or from itself after somebody has written to it."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_dev, status.st_ino, status.st_mtime_ns]


def note(name: str, uri: str, files: t.Mapping[str, t.Sequence[str]]) -> None:
    """Writes down which files are about to be removed, by target."""
    if os.geteuid() != 0:
        return
    os.makedirs(_FOLDER, mode=0o700, exist_ok=True)
    content = {target: [[path, _state(path)] for path in paths] for target, paths in files.items()}
    descriptor, part = tempfile.mkstemp(dir=_FOLDER)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, _place(name, uri))


def left(name: str, uri: str, targets: t.Collection[str]) -> Files:
    """The files of those targets that are still there, as they were when they were to be removed."""
    try:
        with open(_place(name, uri), encoding="utf-8", errors="surrogateescape") as file:
            content = json.load(file)
    except (OSError, ValueError):
        return {}
    found = {
        target: tuple(str(path) for path, state in paths if state is not None and state == _state(path))
        for target, paths in content.items()
        if target in targets
    }
    return {target: paths for target, paths in found.items() if paths}


def forget(name: str, uri: t.Callable[[], str]) -> None:
    """They are removed, or there is a domain of that name again; libvirt is asked for its ``uri`` only if there is a record."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        if os.listdir(_FOLDER):
            os.unlink(_place(name, uri()))
