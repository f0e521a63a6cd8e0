# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Mounts of images: making one. Each thing is in the record before it is there."""

from __future__ import annotations

import dataclasses
import errno
import os
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _loop
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount import kernel, mountinfo, record
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.backends import (
    fuse,
    guestmount,
    nbd,
    options,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.image import (
    Image,
    Link,
    twin_error,
    twin_is_mounted,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.record import Record


class Maker:
    """Makes one mount. ``record`` is what stands of it so far; ``timeout`` is for each program, in seconds."""

    def __init__(self, wanted: Record, image: Image, timeout: float) -> None:
        self.record = wanted
        self._image = image
        self._timeout = timeout

    def mount(self) -> None:
        """Makes the folder, whatever the backend needs, and the mount; what fails leaves its rest to the record."""
        self._refuse_twin()
        self._note(made_folders=tuple(_missing(self.record.mountpoint)))
        self._make_folders()
        try:
            self._BACKENDS[self.record.backend](self)
            self._settle()
        except OSError as exc:
            raise _explained(self.record, exc) from exc

    def _note(self, **changes: t.Any) -> None:
        self.record = dataclasses.replace(self.record, **changes)
        record.write(self.record)

    def _refuse_twin(self) -> None:
        # Looked at again: another one may have been unmounted for this mount, or mounted meanwhile.
        if self.record.trust == "trusted" and twin_is_mounted(self._image.target):
            raise twin_error(self._image)

    def _make_folders(self) -> None:
        try:
            for folder in self.record.made_folders:
                os.mkdir(folder, 0o755)
        except OSError as exc:
            raise KvmError(f"mount {self.record.mountpoint}: cannot make {exc.filename}: {exc.strerror}.") from exc

    def _raw(self) -> None:
        self._attach(self.record.path, self.record.offset)

    def _attach(self, path: str, offset: int) -> None:
        with _loop.attached(path, offset, self.record.size, read_only=self.record.read_only) as device:
            self._note(device=device)
            self._kernel_mount(device)

    def _kernel_mount(self, device: str) -> None:
        now = self.record
        data = options.data(now.filesystem, now.read_only)
        kernel.mount(device, now.mountpoint, now.filesystem, options.flags(now), data)

    def _fuse(self) -> None:
        fuse.start(self.record, self._chain, self._timeout)
        if self.record.trust == "trusted":
            self._attach(self.record.export, 0)
        else:
            fuse.mount_ext(self.record, self._timeout)

    def _nbd(self) -> None:
        self._note(device=nbd.free(self.record.path))
        nbd.connect(self.record, self._chain, self._timeout)
        self._kernel_mount(str(self.record.device))

    def _guestmount(self) -> None:
        guestmount.mount(self.record, self._timeout)

    @property
    def _chain(self) -> tuple[Link, ...]:
        return self._image.chain

    def _settle(self) -> None:
        """What the options of programs cannot say; and no mount below this one shows up anywhere else."""
        point = self.record.mountpoint
        if mountinfo.at(mountinfo.read(), point) is None:
            raise KvmError(f"mount {point}: the {self.record.backend} backend ended without mounting anything.")
        if self.record.device is None:
            kernel.remount(point, options.flags(self.record))
        kernel.make_private(point)

    def finish(self) -> None:
        """The mount stands as a whole."""
        self._note(complete=True)

    _BACKENDS: t.ClassVar[dict[str, t.Callable[[Maker], None]]] = {
        "loop": _raw,
        "fuse": _fuse,
        "nbd": _nbd,
        "guestmount": _guestmount,
    }


def _missing(folder: str) -> list[str]:
    """The folders of the path that are not there, the outermost first."""
    found: list[str] = []
    while not os.path.lexists(folder):
        found.insert(0, folder)
        folder = os.path.dirname(folder)
    return found


def _explained(now: Record, error: OSError) -> KvmError:
    name = f"image {now.path}"
    if error.errno == errno.ENODEV:
        return KvmError(f"{name}: the kernel of this host has no driver for {now.filesystem}.")
    if error.errno in (errno.EINVAL, errno.EUCLEAN, errno.EIO, errno.EBADMSG, errno.ENOMEM):
        return KvmError(
            f"{name}: the kernel does not mount its {now.filesystem} file system at offset {now.offset} ({error.strerror});"
            " it is damaged or has a feature that this kernel does not know, the kernel's log says more."
        )
    if error.errno in (errno.EROFS, errno.EACCES) and not now.read_only:
        return KvmError(f"{name}: it can only be mounted with read_only: true ({error.strerror}).")
    return KvmError(f"{name}: cannot mount it at {now.mountpoint}: {error.strerror} ({error.filename or now.backend}).")
