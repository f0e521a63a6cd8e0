# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Mounts of images: the record of a mount, by which a later run finishes or undoes what an earlier one has begun.

It is written before each thing that it names is made, and removed after the last of them is gone. It lies in ``/run``,
which a restart of the host empties like the mounts themselves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError

FOLDER = "/run/hypervisor.kvm/mounts"
_VERSION = 1
_MAX_RECORD = 1 << 20


@dataclasses.dataclass(frozen=True)
class Record:
    """What a mount is made of. Offsets and sizes in bytes.

    ``inode`` is that of the image's file; ``partition`` is as it was declared, ``number`` what was found for it and
    ``volume`` the logical volume therein (``vg/lv``);
    ``complete`` is False while it is being made or undone; ``detached`` is True for one that was unmounted lazily and whose
    daemon is still needed; ``made_folders`` are the missing folders that were made for it, the outermost first; ``device``
    is the loop or nbd device.
    """

    path: str
    mountpoint: str
    backend: str
    format: str
    partition: int | str | None
    number: int | None
    offset: int
    size: int
    filesystem: str
    read_only: bool
    trust: str
    inode: int = 0
    chroot: bool = False
    complete: bool = False
    detached: bool = False
    made_folders: tuple[str, ...] = ()
    device: str | None = None
    volume: str | None = None

    @property
    def work(self) -> str:
        """The folder for what the mount needs beside it."""
        return work_folder(self.mountpoint)

    @property
    def export(self) -> str:
        """The file as which a daemon shows the file system's bytes."""
        return os.path.join(self.work, "disk")

    @property
    def pid_file(self) -> str:
        """Where a daemon writes its process id."""
        return os.path.join(self.work, "pid")


def work_folder(mountpoint: str) -> str:
    """The folder that belongs to a mount at ``mountpoint``, and to no other."""
    return os.path.join(FOLDER, hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:32])


def dump(record: Record) -> str:
    """As the text of the file."""
    return json.dumps({"kvm_image_mount": _VERSION, **dataclasses.asdict(record)}, indent=2, sort_keys=True) + "\n"


def load(text: str) -> Record | None:
    """From the text of the file; None when it is no such record."""
    try:
        body = json.loads(text)
    except ValueError:
        return None
    if not isinstance(body, dict) or body.pop("kvm_image_mount", None) != _VERSION:
        return None
    body["made_folders"] = tuple(body.get("made_folders") or ())
    try:
        return Record(**body)
    except TypeError:
        return None


def read(mountpoint: str) -> Record | None:
    """The record of the mount at ``mountpoint``; None when there is none, or an unfinished one of another version."""
    try:
        with open(work_folder(mountpoint) + ".json", encoding="utf-8") as file:
            found = load(file.read(_MAX_RECORD))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as exc:
        raise KvmError(f"mount {mountpoint}: cannot read its record: {exc}.") from exc
    return found if found is not None and found.mountpoint == mountpoint else None


def write(record: Record) -> None:
    """Puts the record into place, whole or not at all; of the first one of a mount nothing else is ever to be seen."""
    target = record.work + ".json"
    fd = os.open(FOLDER, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(dump(record))
        file.flush()
        with contextlib.suppress(FileExistsError):
            _name(fd, target)
            return
        # A name can only be given to what is there if nothing has it, and the record beside it names this one too.
        new = f"{target}.new"
        _quiet(os.unlink, new)
        _name(fd, new)
    os.rename(new, target)


def _name(fd: int, path: str) -> None:
    # Only with a folder to start from does this follow the link to the file (linkat(2)); the path needs none.
    os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)


def remove(record: Record) -> None:
    """Removes the record and the folder of the mount, which must have nothing mounted in it any more."""
    for name in (record.pid_file, record.export):
        _quiet(os.unlink, name)
    _quiet(os.rmdir, record.work)
    for name in (record.work + ".json.new", record.work + ".json"):
        _quiet(os.unlink, name)


def _quiet(action: t.Callable[[str], None], path: str) -> None:
    try:
        action(path)
    except FileNotFoundError:
        pass
    except OSError as exc:
        raise KvmError(f"{path}: cannot be removed: {exc.strerror}.") from exc


@contextlib.contextmanager
def locked(name: str, timeout: float) -> t.Iterator[None]:
    """Keeps other runs of this module on the host waiting; raises Busy when one takes longer than ``timeout`` seconds."""
    try:
        os.makedirs(FOLDER, mode=0o700, exist_ok=True)
        # Not through a link that somebody else has put there.
        fd = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as exc:
        raise KvmError(f"mount {name}: cannot make {FOLDER}: {exc.strerror}; this module needs root.") from exc
    try:
        os.fchmod(fd, 0o700)
        _wait_for_lock(fd, name, time.monotonic() + timeout)
        yield
    finally:
        os.close(fd)


def _wait_for_lock(fd: int, name: str, end: float) -> None:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as exc:
            if exc.errno not in (errno.EWOULDBLOCK, errno.EINTR):
                raise
        if time.monotonic() > end:
            raise Busy(
                f"mount {name}: another run of this module is at work on this host for too long; try again later."
            )
        time.sleep(0.05)
