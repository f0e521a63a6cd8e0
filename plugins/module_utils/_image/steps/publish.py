# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: finished files into their places, complete and synced, or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import grp
import os
import pwd
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import manifest, overlays
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.manifest import Manifest
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.paths import MANIFEST_SUFFIX, work_folder
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.workspace import (
    Workspace,
    sync,
    write,
)

_LOCK_WAIT = 30.0


@dataclasses.dataclass(frozen=True)
class Piece:
    """A finished file of the work folder and its place; ``replace``: what stands there is ours and goes."""

    work: str
    place: str
    replace: bool


def publish(space: Workspace, pieces: t.Sequence[Piece], record: Manifest) -> None:
    """Puts the pieces into place, the image first. ``record`` stands beside it as unfinished from before the first piece
    until after the last, so that a run after a kill in between knows what it sees."""
    for piece in pieces:
        sync(piece.work)
    inodes = {os.lstat(path).st_ino for path in (pieces[0].work, pieces[0].place) if os.path.lexists(path)}
    write_record(space, dataclasses.replace(record, complete=False, inodes=tuple(sorted(inodes))))
    for piece in pieces:
        place(piece)
    write_record(space, dataclasses.replace(record, complete=True, inodes=()))


def write_record(space: Workspace, record: Manifest) -> None:
    """The record of the image, by rename."""
    temporary = write(space.file("record"), manifest.dump(record), 0o644)
    os.replace(temporary, space.target + MANIFEST_SUFFIX)
    sync(os.path.dirname(space.target))


def restore_record(space: Workspace, before: Manifest | None) -> None:
    """The record as it was before something failed."""
    if before is not None:
        write_record(space, before)
    else:
        remove(space.target + MANIFEST_SUFFIX)


def place(piece: Piece) -> None:
    """One file by rename; where nothing is to be replaced, it fails rather than overwrite what came in between."""
    if piece.replace:
        os.replace(piece.work, piece.place)
    else:
        try:
            os.link(piece.work, piece.place, follow_symlinks=False)
        except FileExistsError as exc:
            raise KvmError(
                f"{piece.place} has appeared while this task worked; it is not overwritten: move it away."
            ) from exc
        except OSError as exc:
            if exc.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            # A file system without hard links.
            if os.path.lexists(piece.place):
                raise KvmError(
                    f"{piece.place} has appeared while this task worked; it is not overwritten: move it away."
                ) from exc
            os.rename(piece.work, piece.place)
        else:
            os.unlink(piece.work)
    sync(os.path.dirname(piece.place))


def set_permissions(path: str, owner: str | None, group: str | None, mode: str | None) -> None:
    """Owner, group (names or numbers) and mode of a file; None = as it is."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(fd, *numbers(owner, group))
        if mode is not None:
            os.fchmod(fd, int(mode, 8))
    finally:
        os.close(fd)


def numbers(owner: str | None, group: str | None) -> tuple[int, int]:
    """The ids of a user and a group (names or numbers), -1 for None; raises KvmError when there is none of the name."""
    uid = -1 if owner is None else _number(owner, "user", lambda name: pwd.getpwnam(name).pw_uid)
    gid = -1 if group is None else _number(group, "group", lambda name: grp.getgrnam(name).gr_gid)
    return uid, gid


def _number(name: str, kind: str, lookup: t.Callable[[str], int]) -> int:
    if name.isdigit():
        return int(name)
    try:
        return lookup(name)
    except KeyError as exc:
        raise KvmError(f"There is no {kind} {name} on this host; create it first or state another.") from exc


@contextlib.contextmanager
def base_held(base: str) -> t.Iterator[None]:
    """Keeps ``base`` from being removed or rebuilt while an image is made of it."""
    fd = os.open(base, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _flock(
            fd,
            fcntl.LOCK_SH,
            f"image {base}: another task removes or rebuilds it; run again when that is done.",
            _LOCK_WAIT,
        )
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def base_alone(base: str) -> t.Iterator[None]:
    """Makes sure that no image is being made of ``base`` at this moment, and that none begins to be."""
    if not os.path.isfile(base):
        yield
        return
    fd = os.open(base, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _flock(fd, fcntl.LOCK_EX, f"image {base}: another task makes a disk of it; run again when that is done.", 0)
        yield
    finally:
        os.close(fd)


def note_overlay(base: str, path: str, present: bool) -> None:
    """Puts ``path`` on the list of overlays of ``base`` or takes it off; an empty list has no file."""
    folder = os.path.dirname(base)
    if not os.path.isdir(folder):
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _flock(
            fd,
            fcntl.LOCK_EX,
            f"image {base}: the folder {folder} is locked by another program; run again later.",
            _LOCK_WAIT,
        )
        entries = {entry for entry in overlays.recorded(base) if entry != path and _is_there(entry)} | (
            {path} if present else set()
        )
        target = base + overlays.SUFFIX
        if entries:
            os.replace(write(f"{target}.new", overlays.text(sorted(entries)), 0o644), target)
        else:
            remove(target)
            remove(f"{target}.new")
        os.fsync(fd)
    finally:
        os.close(fd)


def _is_there(path: str) -> bool:
    """Whether a disk exists or is just being made."""
    return os.path.lexists(path) or os.path.lexists(work_folder(path))


def remove(path: str) -> None:
    """Removes a file if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _flock(fd: int, kind: int, busy: str, wait: float) -> None:
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError as exc:
            if time.monotonic() >= deadline:
                raise Busy(busy) from exc
        time.sleep(0.1)
