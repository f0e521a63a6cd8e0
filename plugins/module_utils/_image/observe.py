# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: what is there now. Reads only."""

from __future__ import annotations

import dataclasses
import os

from ansible_collections.hypervisor.kvm.plugins.module_utils._image import holders, overlays
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.disk_file import identity
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.asked import Question
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.manifest import Manifest
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.paths import half_done, work_folder
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.seen import Seen, backing_of, record_text, see
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import ImageSpec


@dataclasses.dataclass(frozen=True)
class ImageState(Seen):
    """An image, and its base image. ``overlays`` are the disks that need this image."""

    #: A file stands where the record belongs, but it is none.
    manifest_broken: bool = False
    overlays: tuple[str, ...] = ()
    existing: frozenset[str] = frozenset()
    base: Seen = dataclasses.field(default_factory=Seen)
    #: Of the kernel and the initrd those whose place is on another file system, where no rename reaches.
    elsewhere: tuple[str, ...] = ()
    #: How many bytes are free in the folder of the image; None when that is not known.
    free: int | None = None
    #: Who has the file open, in words.
    holders: tuple[str, ...] = ()
    #: Another task works on it at this moment.
    taken: bool = False
    #: A killed run has left a change half in the image; the next one finishes it.
    interrupted: bool = False

    @property
    def known(self) -> Manifest | None:
        """The record, unless another image was put into the place of an adopted one: then it says nothing of this one."""
        record = self.manifest
        if record is None or not record.adopted or record.root is None or self.root_uuid in (None, record.root):
            return record
        return None

    @property
    def root_uuid(self) -> str | None:
        """The UUID of its root file system."""
        area = self.content.area if self.content is not None else None
        return area.signature.uuid if area is not None and area.signature is not None else None

    @property
    def in_use(self) -> bool:
        """Whether anybody has the image who may write to it or would be confused by a change."""
        return self.file.in_use or bool(self.holders)

    @property
    def base_identity(self) -> str | None:
        """What tells the base image from one that is put in its place later."""
        return identity(self.base.file, self.base.manifest) if self.base.file.exists else None


def observe(spec: ImageSpec, *, locked: bool = False) -> ImageState:
    """Reads an image, its record, the presence of its kernel and initrd, and its base image.

    ``locked``: this task itself has the lock of the image's work folder.
    """
    # Asked before and after: a task that ends meanwhile must not be taken for a domain.
    taken = not locked and _is_locked(work_folder(spec.path))
    text = record_text(spec.path)
    # What a base is asked for concerns the base alone; of the image that was made of it, the whole is meant.
    own = Question(spec, spec.partition if spec.in_place else None)
    seen = see(spec.path, None, spec.trust, question=own)
    made = seen.file.exists and seen.manifest is not None and seen.manifest.complete and spec.rebuild != "on_change"
    of_base = Question(spec, spec.partition, of_base=True, alone=spec.partition is not None, measured=not made)
    return ImageState(
        file=seen.file,
        manifest=seen.manifest,
        content=seen.content,
        manifest_broken=text is not None and seen.manifest is None,
        overlays=tuple(overlays.living(spec.path, backing_of)),
        existing=frozenset(path for path in (spec.kernel, spec.initrd) if path is not None and os.path.lexists(path)),
        elsewhere=tuple(p for p in (spec.kernel, spec.initrd) if p is not None and _device(p) != _device(spec.path)),
        base=see(spec.base.path, spec.base.format, spec.trust, question=of_base) if spec.base is not None else Seen(),
        free=_free(spec.path),
        holders=tuple(str(holder) for holder in holders.holders(spec.path) if holder.minds),
        taken=taken or (not locked and _is_locked(work_folder(spec.path))),
        interrupted=os.path.lexists(half_done(spec.path)),
    )


def _device(path: str) -> int:
    """The file system on which a file at ``path`` would be."""
    return os.stat(_folder(path)).st_dev


def _folder(path: str) -> str:
    """The deepest folder of ``path`` that is there."""
    folder = os.path.dirname(path)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def _is_locked(folder: str) -> bool:
    """Whether a process has the lock of a work folder. Looked up, not tried: a lock for an instant would be in others' way."""
    try:
        status = os.stat(folder)
    except FileNotFoundError:
        return False
    wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with open("/proc/locks", encoding="ascii", errors="replace") as file:
        return any(wanted in line.split() for line in file)


def _free(path: str) -> int:
    found = os.statvfs(_folder(path))
    return found.f_bavail * found.f_frsize
