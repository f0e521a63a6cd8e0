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
import shutil
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError, ToolError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.paths import half_done
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.disk import program
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.workspace import Workspace, sync, write

_FUSE = "/dev/fuse"
_DAEMON = "qemu-storage-daemon"
_START = 10.0
# Beyond this time after the commit began, whoever has written to the image was somebody else.
_COMMIT_WINDOW = 120.0


def possible() -> bool:
    """Whether this host can do it; a container without FUSE cannot."""
    return os.access(_FUSE, os.R_OK | os.W_OK) and shutil.which(_DAEMON) is not None


_Self = t.TypeVar("_Self", bound="Exported")


class Exported:
    """The qcow2 file ``image`` as a raw file at ``flat``, for programs that know no other format.

    The files that it stands on are opened as its header says, so it must be one that this module made just now.
    """

    def __init__(self, space: Workspace, image: str, timeout: float) -> None:
        self._space = space
        self._image = image
        self._timeout = timeout
        self._daemon: _command.Background | None = None
        self.flat = ""

    def __enter__(self: _Self) -> _Self:
        export = write(self._space.file("edit.raw"), "")
        ready = self._space.file("daemon.pid")
        # A private mount namespace: the FUSE mount is gone with the daemon, even when it is killed.
        argv = [_command.find("unshare", "util-linux"), "--mount", "--propagation", "private", "--"]
        argv += [_command.find(_DAEMON, "qemu-system-common"), "--pidfile", ready]
        argv += ["--blockdev", _json(driver="file", filename=self._image, **{"node-name": "file"})]
        argv += ["--blockdev", _json(driver="qcow2", file="file", **{"node-name": "disk"})]
        argv += ["--export", _json(type="fuse", id="disk", mountpoint=export, writable=True, **{"node-name": "disk"})]
        self._daemon = _command.start(argv)
        deadline = time.monotonic() + _START
        while not os.path.exists(ready):
            if not self._daemon.alive or time.monotonic() > deadline:
                raise _refused(self._space.target, self._daemon.said())
            time.sleep(0.002)
        self.flat = f"/proc/{self._daemon.pid}/root{export}"
        return self

    def __exit__(self, *_details: t.Any) -> None:
        if self._daemon is not None:
            self._daemon.stop(0)
        for name in ("daemon.pid", "edit.raw"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._space.file(name))

    def close(self) -> None:
        """Ends the work on the raw file; what was written is in the image then."""
        if self._daemon is None:
            raise RuntimeError("the image was not exported")
        if not self._daemon.stop(self._timeout):
            raise KvmError(f"{_DAEMON} did not write out the changes: {self._daemon.said()}")
        sync(self._image)


class Editing(Exported):
    """The image ``path`` as a raw file at ``flat`` that may be changed; nothing reaches the image before ``commit``.

    ``size`` is the virtual size in bytes that it is to have, ``image_format`` its format (never guessed).
    """

    def __init__(self, space: Workspace, path: str, image_format: str, size: int, timeout: float) -> None:
        super().__init__(space, space.file("edit.qcow2"), timeout)
        argv = [program("qemu-img"), "create", "-q", "-f", "qcow2", "-b", path, "-F", image_format]
        _command.run([*argv, self._image, str(size)], timeout=timeout, what=f"Cannot open {path}")

    def commit(self) -> None:
        """Puts the changes into the image."""
        path = self._space.target
        needed, free = os.stat(self._image).st_blocks * 512, _free(path)
        if needed > free:
            raise KvmError(
                f"the change needs {needed} bytes in the folder of the image, {free} are free; make room there."
            )
        write(self._space.file("commit.json"), json.dumps({"inode": os.stat(path).st_ino}))
        os.rename(self._image, half_done(path))
        sync(self._space.path)
        _commit(path, self._timeout)


def finish(space: Workspace) -> None:
    """Finishes the change that a killed run had begun to put into the image; to be called with the folder locked."""
    if not os.path.lexists(half_done(space.target)):
        return
    with open(space.file("commit.json"), encoding="utf-8") as file:
        began = json.load(file)
    marked = os.stat(space.file("commit.json")).st_mtime
    try:
        status = os.stat(space.target, follow_symlinks=False)
    except FileNotFoundError:
        status = None
    if status is None or status.st_ino != began["inode"]:
        # It is another image now.
        os.unlink(half_done(space.target))
        return
    if status.st_mtime > marked + _COMMIT_WINDOW:
        raise KvmError(
            f"image {space.target}: an earlier task was killed while it changed the image, and somebody has written to it"
            f" since; look at the image, and remove {space.path} when it is as you want it."
        )
    _commit(space.target, 600)


def _commit(path: str, timeout: float) -> None:
    overlay = half_done(path)
    try:
        # Without -d it would be emptied, and a run that is killed while that is done could not be repeated.
        _command.run([program("qemu-img"), "commit", "-q", "-d", "-f", "qcow2", overlay], timeout=timeout)
    except ToolError as exc:
        said = str(exc.details.get("stderr", ""))
        if "lock" in said:
            # Nothing has been written: whoever has it now may change it, and this change no longer fits.
            os.unlink(overlay)
            raise Busy(
                f"image {path}: a domain (or another program of qemu) uses it now; stop that and run again."
            ) from exc
        raise
    sync(path)
    os.unlink(overlay)


def _refused(path: str, said: str) -> KvmError:
    if "lock" in said:
        return Busy(f"image {path}: a domain (or another program of qemu) uses it; stop that first.", stderr=said)
    last = said.splitlines()[-1] if said else "it said nothing"
    return KvmError(f"image {path}: {_DAEMON} cannot open it: {last}", stderr=said)


def _free(path: str) -> int:
    found = os.statvfs(os.path.dirname(path))
    return found.f_bavail * found.f_frsize


def _json(**values: t.Any) -> str:
    return json.dumps(values)
