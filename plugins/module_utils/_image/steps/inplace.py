# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: a change in place that is there wholly or not at all.

The change is made in an overlay in the work folder, which qemu-storage-daemon shows as a raw file through FUSE: any
program can work on it, whatever the format of the image. When the result is verified, the overlay is committed into the
image. It is a redo log then: a run that is killed in the middle is finished by the next one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError, ToolError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import qcow2
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.paths import MANIFEST_SUFFIX, half_done
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import disk
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.disk import program
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.workspace import Workspace, sync, write

_FUSE = "/dev/fuse"
_DAEMON = "qemu-storage-daemon"
_START = 10.0
_FINISH = 600.0
#: Which file the change is for, and the record that the image gets with it.
_MARK, _RECORD = "commit.json", "commit.record"
# Beyond this time after the commit began, whoever has written to the image was somebody else.
_COMMIT_WINDOW = 120.0
# ... and the time that the log takes on a slow disk, in bytes a second.
_SLOW = 8 << 20
# What qemu says when another process has the image. The word alone would not do: it is in "Block job failed" as well.
_LOCKED = re.compile(r"Failed to (get .*lock|lock byte)|Is another process using")
_UNFINISHED = (
    "image {path}: a change is in it in part only: {why}. Do not use it before that is mended (is the disk full?) and the task"
    " has run again, which finishes the change first."
)


def possible() -> bool:
    """Whether this host can do it; a container without FUSE cannot, and a user who may not mount."""
    if os.geteuid() != 0 or shutil.which(_DAEMON) is None:
        return False
    try:
        # Opened, not asked for: a container may have a node there and no right to the device.
        fd = os.open(_FUSE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.fstat(fd).st_rdev == os.makedev(10, 229)
    finally:
        os.close(fd)


class Exported:
    """A disk as a raw file at ``flat``, for programs that know no other format: the image ``image`` or ``window`` (offset
    and size in bytes) of it.

    The files that a qcow2 image stands on are opened as its header says, so it must be one that this module made just now.
    """

    def __init__(
        self, space: Workspace, image: str, image_format: str, timeout: float, window: tuple[int, int] | None = None
    ) -> None:
        self._space = space
        self._image = image
        self._format = image_format
        self._timeout = timeout
        self._window = window
        self._daemon: _command.Background | None = None
        self.flat = ""

    def __enter__(self) -> Exported:
        export = write(self._space.file("edit.raw"), "")
        ready = self._space.file("daemon.pid")
        # A private mount namespace: the FUSE mount is gone with the daemon, even when it is killed.
        argv = [_command.find("unshare", "util-linux"), "--mount", "--propagation", "private", "--"]
        argv += [_command.find(_DAEMON, "qemu-system-common"), "--pidfile", ready]
        for node in self._nodes():
            argv += ["--blockdev", json.dumps(node)]
        shown = {"type": "fuse", "id": "export", "mountpoint": export, "writable": True, "node-name": "shown"}
        argv += ["--export", json.dumps(shown)]
        self._daemon = _command.start(argv)
        deadline = time.monotonic() + _START
        while not os.path.exists(ready):
            if not self._daemon.alive or time.monotonic() > deadline:
                raise _refused(self._space.target, self._daemon.said())
            time.sleep(0.002)
        self.flat = f"/proc/{self._daemon.pid}/root{export}"
        return self

    def _nodes(self) -> list[dict[str, t.Any]]:
        file: dict[str, t.Any] = {"driver": "file", "filename": self._image, "node-name": "file"}
        disk: dict[str, t.Any] = {"driver": self._format, "file": "file", "node-name": "shown"}
        if self._window is None:
            return [file, disk]
        offset, size = self._window
        if self._format == "raw":
            return [file, {**disk, "offset": offset, "size": size}]
        window = {"driver": "raw", "file": "disk", "node-name": "shown", "offset": offset, "size": size}
        return [file, {**disk, "node-name": "disk"}, window]

    def __exit__(self, kind: type[BaseException] | None, *_details: t.Any) -> None:
        try:
            if (
                self._daemon is not None
                and not self._daemon.stop(self._timeout if kind is None else 0)
                and kind is None
            ):
                raise KvmError(f"{_DAEMON} did not write out the changes: {self._daemon.said()}")
        finally:
            for name in ("daemon.pid", "edit.raw"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._space.file(name))
        if kind is None:
            sync(self._image)


class Disk:
    """A disk that lies open for changes: an image in the work folder, as a whole and partition by partition.

    A program never sees more than the file system that it works on: resize2fs, for one, cuts off the file behind it.
    """

    def __init__(self, space: Workspace, image: str, image_format: str, timeout: float) -> None:
        self._space = space
        self._image = image
        self._format = image_format
        self._timeout = timeout

    @contextlib.contextmanager
    def whole(self) -> t.Iterator[str]:
        """The whole disk as a raw file."""
        if self._format == "raw":
            yield self._image
            return
        with Exported(self._space, self._image, self._format, self._timeout) as exported:
            yield exported.flat

    @contextlib.contextmanager
    def part(self, offset: int, size: int) -> t.Iterator[str]:
        """``size`` bytes from ``offset`` as a raw file; what is written to it is on the disk afterwards."""
        if self._format == "raw" and offset == 0 and size == os.path.getsize(self._image):
            yield self._image
        elif possible():
            with Exported(self._space, self._image, self._format, self._timeout, (offset, size)) as exported:
                yield exported.flat
        else:
            copy = self._space.file("part.raw")
            disk.copy_window(self._image, offset, size, copy)
            yield copy
            disk.copy_back(copy, self._image, offset)
            os.unlink(copy)


class Editing(Disk):
    """The image of the work folder as a disk whose changes reach the image with ``commit`` only, then as a whole.

    ``size`` is the virtual size in bytes that it is to have, ``image_format`` its format (never guessed).
    """

    def __init__(self, space: Workspace, image_format: str, size: int, timeout: float) -> None:
        super().__init__(space, space.file("edit.qcow2"), "qcow2", timeout)
        argv = [program("qemu-img"), "create", "-q", "-f", "qcow2", "-b", space.target, "-F", image_format]
        _command.run([*argv, self._image, str(size)], timeout=timeout, what=f"Cannot open {space.target}")

    def commit(self, record: str) -> None:
        """Puts the changes into the image, and then ``record`` (text) beside it."""
        path = self._space.target
        needed, free = os.stat(self._image).st_blocks * 512, _free(path)
        if needed > free:
            raise KvmError(
                f"the change needs {needed} bytes in the folder of the image, {free} are free; make room there."
            )
        write(self._space.file(_MARK), json.dumps({"inode": os.stat(path).st_ino}))
        write(self._space.file(_RECORD), record, 0o644)
        os.rename(self._image, half_done(path))
        sync(self._space.path)
        _commit(self._space, self._timeout)


def finish(space: Workspace) -> None:
    """Finishes the change that a killed run had begun to put into the image; to be called with the folder locked."""
    if not os.path.lexists(half_done(space.target)):
        return
    with open(space.file(_MARK), encoding="utf-8") as file:
        began = json.load(file)
    marked = os.stat(space.file(_MARK)).st_mtime
    try:
        status = os.stat(space.target, follow_symlinks=False)
    except FileNotFoundError:
        status = None
    if status is None or status.st_ino != began["inode"]:
        # It is another image now.
        os.unlink(half_done(space.target))
        return
    if status.st_mtime > marked + _COMMIT_WINDOW + os.stat(half_done(space.target)).st_size / _SLOW:
        raise KvmError(
            f"image {space.target}: an earlier task was killed while it changed the image, and somebody has written to it"
            f" since; look at the image, and remove {space.path} when it is as you want it."
        )
    if not os.path.exists(space.file(_RECORD)):
        # Everything is in its place but for the end of the log.
        os.unlink(half_done(space.target))
        return
    # Should this attempt fail as well, what it has written is not somebody else's.
    os.utime(space.file(_MARK))
    _mend(space.target, _format_below(half_done(space.target)))
    _commit(space, _FINISH, begun=True)


def _mend(path: str, image_format: str | None) -> None:
    """The counts of clusters in a qcow2 image: where a commit was cut off (the disk was full), they may be wrong, and going on
    with them would give clusters away that are still in use."""
    if image_format != "qcow2":
        return
    argv = [program("qemu-img"), "check", "-q", "-r", "all", "-f", image_format, path]
    done = _command.run(argv, timeout=_FINISH, ok=())
    if done.rc not in (0, 3):
        if _LOCKED.search(done.stderr):
            raise Busy(f"image {path}: a domain (or another program of qemu) uses it now; stop that and run again.")
        raise KvmError(_UNFINISHED.format(path=path, why="it cannot be checked"), stderr=done.stderr_tail)


def _format_below(overlay: str) -> str | None:
    """The format of the image that the log is for."""
    with open(overlay, "rb") as file:
        return qcow2.parse(file.read(qcow2.HEAD_BYTES), overlay).backing_format


def _commit(space: Workspace, timeout: float, *, begun: bool = False) -> None:
    """``begun``: an earlier run may have written a part of it."""
    path, overlay = space.target, half_done(space.target)
    before = os.stat(path)
    try:
        # Without -d it would be emptied, and a run that is killed while that is done could not be repeated.
        _command.run([program("qemu-img"), "commit", "-q", "-d", "-f", "qcow2", overlay], timeout=timeout)
    except ToolError as exc:
        locked, now = _LOCKED.search(str(exc.details.get("stderr", ""))), os.stat(path)
        if not begun and (locked or (now.st_size, now.st_mtime_ns) == (before.st_size, before.st_mtime_ns)):
            # Nothing has been written: the image is what it was, and the next run starts from there.
            os.unlink(overlay)
        if locked:
            raise Busy(
                f"image {path}: a domain (or another program of qemu) uses it now; stop that and run again."
            ) from exc
        if os.path.lexists(overlay):
            raise KvmError(_UNFINISHED.format(path=path, why=exc.message.rstrip(".")), **exc.details) from exc
        raise
    if begun:
        # On what a commit that was cut off has left, qemu-img sometimes takes a cluster that nothing uses then (seen with 7.2).
        _mend(path, _format_below(overlay))
    sync(path)
    # The record before the end of the log: a run that finds neither the one nor the other would not know what was declared.
    os.replace(space.file(_RECORD), path + MANIFEST_SUFFIX)
    sync(os.path.dirname(path))
    os.unlink(overlay)


def _refused(path: str, said: str) -> KvmError:
    if _LOCKED.search(said):
        return Busy(f"image {path}: a domain (or another program of qemu) uses it; stop that first.", stderr=said)
    last = said.splitlines()[-1] if said else "it said nothing"
    return KvmError(f"image {path}: {_DAEMON} cannot open it: {last}", stderr=said)


def _free(path: str) -> int:
    found = os.statvfs(os.path.dirname(path))
    return found.f_bavail * found.f_frsize
