# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: the private folder in which an image is made, which is the lock on its target as well."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
import types
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.paths import half_done, work_folder

_ATTEMPTS = 20
#: Marks a folder that was made for an image, so that it goes with the last one in it.
MADE = ".made_by_kvm_image"


class Workspace:
    """``.kvm_image.NAME`` beside the target (the same file system: publishing is a rename), 0700, locked while in use.

    ``recover`` finishes what a killed run has left half done. The lock dies with the process, so what a killed one has left
    is found by its free lock and removed by the next.
    """

    def __init__(
        self, target: str, keep_failed: bool = False, recover: t.Callable[[Workspace], None] | None = None
    ) -> None:
        self.target = target
        self._recover = recover
        self.path = work_folder(target)
        self._keep_failed = keep_failed
        self._fd = -1

    def file(self, name: str) -> str:
        """The path of a file in the folder."""
        return os.path.join(self.path, name)

    def __enter__(self) -> Workspace:
        try:
            self._make_folders()
            self._lock()
            self._finish()
            self._clear()
        except OSError as exc:
            raise KvmError(f"image {self.target}: cannot work in its folder: {exc.strerror} ({exc.filename}).") from exc
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        try:
            if os.path.lexists(half_done(self.target)):
                # A change is in the image in part only: with what is in the folder, the next run finishes it.
                return
            if self._keep_failed and isinstance(error, KvmError):
                kept = f"{self.path}.failed-{time.strftime('%Y%m%d-%H%M%S')}"
                os.rename(self.path, kept)
                error.details["kept"] = kept
                error.message += f" What was made so far is kept in {kept}; remove it when you have looked at it."
            else:
                self._clear()
                os.rmdir(self.path)
        finally:
            os.close(self._fd)
        if error is not None:
            remove_empty(os.path.dirname(self.target))

    def _finish(self) -> None:
        """What a killed run had begun to put into its place must not be cleared away."""
        if self._recover is not None:
            try:
                self._recover(self)
            except BaseException:
                os.close(self._fd)
                raise

    def _make_folders(self) -> None:
        missing = []
        folder = os.path.dirname(self.target)
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o755)
                write(os.path.join(folder, MADE), "", 0o644)

    def _lock(self) -> None:
        for _attempt in range(_ATTEMPTS):
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.path, 0o700)
            try:
                self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            if self._is_mine():
                return
            os.close(self._fd)
        raise Busy(f"image {self.target}: another task works on it ({self.path} is locked); wait until it is done.")

    def _is_mine(self) -> bool:
        """Whether this process now holds the lock of the folder that the path names (and not of one just removed)."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(self._fd)
            raise Busy(
                f"image {self.target}: another task works on it ({self.path} is locked); wait until it is done."
            ) from exc
        held = os.fstat(self._fd)
        if held.st_uid != os.geteuid():
            os.close(self._fd)
            raise KvmError(f"image {self.target}: {self.path} belongs to somebody else; remove it.")
        os.fchmod(self._fd, 0o700)
        try:
            named = os.lstat(self.path)
        except FileNotFoundError:
            return False
        return (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino)

    def _clear(self) -> None:
        mounted = [point for point in _mount_points() if point.startswith(self.path + "/")]
        if mounted:
            raise KvmError(
                f"image {self.target}: {mounted[0]} is mounted in its work folder; unmount it, nothing was removed."
            )
        # Programs of a run that was killed just now may write for an instant more.
        for _attempt in range(_ATTEMPTS):
            if self._emptied():
                return
            time.sleep(0.1)
        raise Busy(f"image {self.target}: {self.path} cannot be emptied, something still writes to it; remove it.")

    def _emptied(self) -> bool:
        with contextlib.suppress(OSError):
            for entry in list(os.scandir(self.path)):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    os.unlink(entry.path)
        return not os.listdir(self.path)


def _mount_points() -> t.Iterator[str]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            yield line.split(" ")[4].encode("latin-1", "surrogateescape").decode("unicode_escape", "replace")


def remove_empty(folder: str) -> None:
    """Removes a folder, and those above it, that was made for images and has nothing in it any more."""
    mark = os.path.join(folder, MADE)
    try:
        if os.listdir(folder) != [MADE]:
            return
        os.unlink(mark)
    except OSError:
        # Gone, or not ours to look into.
        return
    try:
        os.rmdir(folder)
    except OSError:
        # Something came into it just now.
        write(mark, "", 0o644)
        return
    remove_empty(os.path.dirname(folder))


def sync(path: str) -> None:
    """Waits until a file or folder is on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write(path: str, text: str, mode: int = 0o600) -> str:
    """Writes a file of the folder anew and syncs it; gives its path."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return path
