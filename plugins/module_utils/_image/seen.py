# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: one image file with its record and what is on it. Reads only."""

from __future__ import annotations

import dataclasses
import errno
import os
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import manifest
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.content import Content
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.disk_file import NO_FILE, FileState, read_file
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import reading
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.signature import clean
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.manifest import Manifest
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.paths import MANIFEST_SUFFIX

_MAX_MANIFEST = 4 << 20


class Declared(t.Protocol):
    """What a declaration asks of an image, whatever was declared of it before (``inside.asked.Question``)."""

    def knowing(self, record: Manifest | None) -> reading.Asking:
        """The same with what the record says."""


@dataclasses.dataclass(frozen=True)
class Seen:
    """An image file with its record and what is on it. ``content`` is None when there is no file to look into."""

    file: FileState = NO_FILE
    manifest: Manifest | None = None
    content: Content | None = None

    def trusted(self, trust: str | None) -> bool:
        """Whether this host's kernel may read what is on it: as stated, else whether this module made it of what it trusts."""
        return self.manifest is not None and self.manifest.trusted if trust is None else trust == "trusted"

    def chained(self, trust: str | None) -> bool:
        """Whether its backing files may be opened: this module made it or looked at it before, or it is stated."""
        return self.manifest is not None or trust == "trusted"


def see(
    path: str,
    image_format: str | None,
    trust: str | None,
    partition: int | str | None = None,
    question: Declared | None = None,
) -> Seen:
    """Reads one image file with its record; ``image_format`` None: as recorded, else by its first bytes."""
    record = read_manifest(path)
    if record is not None and record.switch is not None and os.path.lexists(path):
        record = manifest.settled(record, os.lstat(path).st_ino)
    known = image_format or (str(record.declared.get("format")) if record and record.declared.get("format") else None)
    through = Seen(manifest=record).chained(trust)
    file = read_file(path, known, through)
    if not file.regular or file.foreign_features or file.format is None or not file.backing_found:
        return Seen(file, record)
    asked = question.knowing(record) if question is not None else None
    content = reading.read(path, file.format, through_backing=through, partition=partition, question=asked)
    return Seen(file, record, content)


def backing_of(path: str) -> tuple[str, ...]:
    """The backing files of an image as its record has it: the header of a qcow2 in a raw disk is its guest's. None for one
    that is broken, which stands on nothing."""
    try:
        record = read_manifest(path)
        known = record.declared.get("format") if record is not None else None
        return read_file(path, str(known) if known else None).backing
    except KvmError:
        return ()


def read_manifest(path: str) -> Manifest | None:
    """The record beside the image ``path``; None when there is none."""
    text = record_text(path)
    return manifest.load(text) if text is not None else None


def facts(state: Seen, path: str) -> dict[str, t.Any] | None:
    """The return value ``image``; None when there is none."""
    file, record = state.file, state.manifest
    if not file.regular:
        return None
    return {
        "path": path,
        "format": file.format,
        "virtual_size": file.virtual_size,
        "allocated_size": file.allocated_size,
        "backing_chain": [clean(name) for name in file.backing],
        **(state.content or Content()).facts(),
        "kernel": record.kernel if record is not None else None,
        "initrd": record.initrd if record is not None else None,
    }


def record_text(image: str) -> str | None:
    """The text of the record beside an image; None when there is none."""
    path = image + MANIFEST_SUFFIX
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise KvmError(f"{path}: cannot read this record of an image: {exc.strerror}; move it away.") from exc
    with os.fdopen(fd, "rb") as file:
        try:
            return file.read(_MAX_MANIFEST).decode("utf-8", "replace")
        except OSError as exc:
            raise KvmError(f"{path}: cannot read this record of an image: {exc.strerror}; move it away.") from exc
