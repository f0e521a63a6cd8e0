# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Mounts of images: undoing one, in the order opposite to that of making it. What is gone already is no error."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import signal
import struct
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _loop
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount import holders, kernel, mountinfo, record
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.backends import daemon, nbd
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.holders import User
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.observe import Mounted, MountState
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.record import Record
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.spec import MountSpec

_KILL_PATIENCE = 5
# Whoever looks at every new device (udev) or file has it open for a moment.
_BUSY_PATIENCE = 2
_DEVICE_PATIENCE = 10
_BTRFS_FORGET = 0x50009405


class Undoer:
    """Undoes the mount at ``observed.point``. ``warnings`` are sentences for the user."""

    def __init__(self, spec: MountSpec, observed: MountState) -> None:
        self.warnings: list[str] = []
        self._spec = spec
        self._point = observed.point
        self._record = observed.record
        self._mounted = observed.mounted
        self._detached = False

    def undo(self) -> None:
        """Unmounts, lets the devices go, ends the daemons, removes folders and record. Raises Busy when it is in use."""
        device = self._device()
        if self._mounted is not None:
            self._release(holders.users(self._point))
            self._note(complete=False)
            self._unmount()
        gone = self._let_go(device)
        if self._detached and not gone:
            self._leave_detached()
            return
        self._end_daemons()
        self._sync()
        if self._record is not None:
            _remove_folders(self._record.made_folders)
            record.remove(self._record)

    # --- the mounts

    def unbind(self, inner: t.Sequence[str]) -> None:
        """Takes folders of the host out of the mount again."""
        for item in inner:
            point = os.path.join(self._point, item)
            with contextlib.suppress(FileNotFoundError):
                # Unmounting something below a bind that is shared with the host would unmount the host's own.
                kernel.make_private(point)
                self._patiently(point)

    def _unmount(self) -> None:
        below = mountinfo.beneath(mountinfo.read(), self._point)
        for entry in below:
            kernel.make_private(entry.point)
        try:
            for entry in below if not self._spec.lazy else ():
                self._patiently(entry.point)
            self._patiently(self._point)
        except Busy:
            if self._spec.lazy:
                self._detach()
                return
            if len(mountinfo.beneath(mountinfo.read(), self._point)) == len(below):
                # Somebody was faster: nothing is undone yet.
                self._note()
            raise

    def _note(self, **changes: t.Any) -> None:
        if self._record is not None:
            record.write(dataclasses.replace(self._record, **changes))

    def _patiently(self, point: str) -> None:
        end = time.monotonic() + _BUSY_PATIENCE
        while True:
            try:
                kernel.unmount(point)
                return
            except OSError as exc:
                if exc.errno in (errno.EINVAL, errno.ENOENT):
                    return  # it is mounted no more
                if exc.errno != errno.EBUSY:
                    raise KvmError(f"mount {self._point}: cannot unmount {point}: {exc.strerror}.") from exc
            if self._spec.lazy or time.monotonic() > end:
                raise self._busy(holders.users(self._point), point)
            time.sleep(0.05)

    def _detach(self) -> None:
        users = holders.users(self._point)
        try:
            kernel.unmount(self._point, lazy=True)
        except OSError as exc:
            raise KvmError(f"mount {self._point}: cannot unmount it: {exc.strerror}.") from exc
        self._detached = True
        who = "; ".join(map(str, users)) or "somebody who is not seen here"
        self.warnings.append(
            f"mount {self._point}: it was unmounted lazily, the image stays in use until these end: {who}."
        )

    # --- the holders

    def _release(self, users: list[User]) -> None:
        """Has the processes that use the mount end, as the specification says."""
        spared = holders.ancestors()
        targets = [user for user in users if user.pid and user.pid not in spared]
        if targets and self._spec.holders != "fail":
            self._end(targets)
        left = holders.users(self._point) if users else []
        if left and not self._spec.lazy:
            raise self._busy(left, self._point)

    def _end(self, targets: list[User]) -> None:
        rounds: list[tuple[int, float]] = [(signal.SIGTERM, self._spec.holders_timeout)]
        if self._spec.holders == "kill":
            rounds.append((signal.SIGKILL, _KILL_PATIENCE))
        known = {(user.pid, user.start) for user in targets}
        spared = holders.ancestors()

        def left() -> list[User]:
            return [user for user in holders.users(self._point) if user.pid and user.pid not in spared]

        for number, patience in rounds:
            # Who has come since is told as well: a shell's children, for one.
            targets = [user for user in left() if number == signal.SIGKILL or (user.pid, user.start) in known]
            holders.tell(targets, number)
            if not holders.wait_until_gone(left, patience):
                return

    def _busy(self, users: t.Sequence[User], point: str) -> Busy:
        after = {"fail": "", "terminate": " after SIGTERM", "kill": " even after SIGKILL"}[self._spec.holders]
        who = "; ".join(map(str, users)) or "somebody who is not seen here"
        return Busy(
            f"mount {self._point}: {point} is still used{after} by {who}.", holders=[user.result() for user in users]
        )

    # --- the devices and daemons

    def _device(self) -> _loop.Loop | None:
        """The loop device of the mount, also of one that is half made."""
        mounted, known = self._mounted, self._record
        name = mounted.device if mounted is not None else known.device if known is not None else None
        found = _loop.look(name) if name is not None else None
        if found is None or mounted is not None or known is None:
            return found
        backing = known.export if known.backend == "fuse" else known.path
        return found if found.backing == backing else None

    def _let_go(self, device: _loop.Loop | None) -> bool:
        """Whether the devices of the mount are gone."""
        name = self._mounted.device if self._mounted is not None else None
        if self._backend == "nbd" and name is not None and not self._detached:
            if nbd.in_use(name):
                nbd.disconnect(name, self._spec.timeout)
            return True
        if device is None:
            return not self._detached
        others = [entry.point for entry in mountinfo.read() if entry.source == device.device]
        if others:
            self.warnings.append(
                f"mount {self._point}: {device.device} stays, because it is mounted at {', '.join(others)} too."
            )
            return True
        return self._wait_for(device)

    def _wait_for(self, device: _loop.Loop) -> bool:
        if not _loop.detach(device, 1 if self._detached else _DEVICE_PATIENCE):
            if self._detached:
                return False
            number = os.stat(device.device).st_rdev
            seen = holders.still_seen(f"{os.major(number)}:{os.minor(number)}")
            who = "; ".join(map(str, seen)) or "somebody who has it open"
            raise Busy(f"mount {self._point}: it is unmounted, but {device.device} is still in use: {who}.")
        _forget(device.device)
        return True

    @property
    def _backend(self) -> str | None:
        return self._mounted.backend if self._mounted is not None else self._record.backend if self._record else None

    def _end_daemons(self) -> None:
        if self._record is None:
            return
        known = self._record
        patience = self._spec.timeout if self._mounted is not None else 0
        # What reads a file system itself ends by itself, with all that it has started, when everything is written.
        daemon.wait(known, patience, None if known.backend == "guestmount" else ("fuse2fs",))
        if not known.read_only and os.path.isfile(known.export):
            # What the daemon has not written yet; its file is gone if the daemon is.
            with contextlib.suppress(OSError):
                _fsync(known.export)
        daemon.stop(known, self._spec.timeout)
        with contextlib.suppress(OSError):
            kernel.unmount(known.export, lazy=True)

    def _sync(self) -> None:
        """What was written is on the disk when the task ends."""
        mounted: Mounted | Record | None = self._mounted or self._record
        if mounted is not None and not mounted.read_only:
            try:
                _fsync(mounted.path)
            except FileNotFoundError:
                pass
            except OSError as exc:
                raise KvmError(f"image {mounted.path}: cannot write it to its disk: {exc.strerror}.") from exc

    def _leave_detached(self) -> None:
        """Whoever still uses the mount needs its daemon, so a later run ends that; a loop device goes by itself."""
        if self._record is None:
            return
        _remove_folders(self._record.made_folders)
        if daemon.servers(self._record.work):
            self._note(complete=False, detached=True, made_folders=())
        else:
            record.remove(self._record)


def _fsync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _forget(device: str) -> None:
    """btrfs remembers devices that are gone, and would mix up what comes to them next."""
    with contextlib.suppress(OSError), open("/dev/btrfs-control", "rb", buffering=0) as control:
        fcntl.ioctl(control, _BTRFS_FORGET, bytearray(struct.pack("<q4088s", 0, os.fsencode(device))))


def _remove_folders(folders: t.Sequence[str]) -> None:
    """Only what was made for the mount, and only if nobody has put anything into it."""
    for folder in reversed(folders):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
