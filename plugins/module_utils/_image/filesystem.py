# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: the file system of an image and its fstab, as typed, validated specifications. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t
import uuid as uuidlib

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import format_size

_FSTAB_WORD = re.compile(r"[^\s#][^\s]*")


#: How many bytes a label has in each type of file system.
LABEL_BYTES = {"ext2": 16, "ext3": 16, "ext4": 16, "xfs": 12, "btrfs": 255, "swap": 15}
# The least size that the programs make, in bytes.
_LEAST = {"ext2": 1 << 20, "ext3": 4 << 20, "ext4": 4 << 20, "xfs": 300 << 20, "btrfs": 128 << 20, "swap": 64 << 10}
_LABEL = re.compile(r"[A-Za-z0-9_.:+-]+")


@dataclasses.dataclass(frozen=True)
class Filesystem:
    """The file system of an image; ``type`` None is the one that it has."""

    type: str | None = None
    label: str | None = None
    uuid: str | None = None


@dataclasses.dataclass(frozen=True)
class Mount:
    """A line of fstab."""

    src: str
    path: str
    fstype: str
    opts: str = "defaults"
    dump: int = 0
    passno: int = 0


def parse_filesystem(
    path: str, value: dict[str, t.Any] | None, made: str | None, label: str | None
) -> Filesystem | None:
    """The option ``filesystem`` of the image ``path``; raises InvalidSpec.

    ``made`` is the type that is made when none is stated (None: none is made), ``label`` the label that it gets.
    """
    if value is None:
        return Filesystem("ext4", label) if label is not None else None
    wanted = Filesystem(value.get("type") or made, value.get("label") or label, _uuid(path, value.get("uuid")))
    if wanted.label is not None:
        check_label(path, wanted.type, wanted.label)
    return wanted


def check_label(path: str, kind: str | None, label: str) -> None:
    """Raises InvalidSpec when a file system of that kind (None: any) cannot have the label."""
    most = LABEL_BYTES.get(kind or "", 255)
    if not _LABEL.fullmatch(label) or len(label) > most:
        raise InvalidSpec(
            f"image {path}: file system label '{label}' is not 1 to {most} letters, digits and '_.:+-'"
            f"{f', as {kind} has them' if kind else ''}."
        )


def check_size(path: str, wanted: Filesystem, size: int) -> None:
    """Raises InvalidSpec when no file system of that type can be made in ``size`` bytes."""
    least = _LEAST.get(wanted.type or "", 0)
    if size < least:
        raise InvalidSpec(
            f"image {path}: a file system of type {wanted.type} needs a size of {format_size(least)} or more."
        )


def _uuid(path: str, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        return str(uuidlib.UUID(value))
    except ValueError as exc:
        raise InvalidSpec(f"image {path}: file system uuid '{value}' is no UUID.") from exc


def parse_fstab(path: str, value: t.Any) -> tuple[Mount, ...] | str | None:
    """The option ``fstab`` of the image ``path``: ``rewrite``, None for ``keep`` and for nothing, or its lines."""
    if value in (None, "keep"):
        return None
    if value == "rewrite":
        return "rewrite"
    if not isinstance(value, (list, tuple)) or not all(isinstance(entry, dict) for entry in value):
        raise InvalidSpec(f"image {path}: fstab is rewrite, keep, or a list of entries with src, path and fstype.")
    mounts = tuple(_mount(path, entry) for entry in value)
    if sum(1 for mount in mounts if mount.path == "/") != 1:
        raise InvalidSpec(
            f"image {path}: fstab needs exactly one entry for /, or its root file system stays read-only."
        )
    return mounts


def _mount(path: str, entry: dict[str, t.Any]) -> Mount:
    unknown = sorted(set(entry) - {field.name for field in dataclasses.fields(Mount)})
    if unknown:
        raise InvalidSpec(
            f"image {path}: an fstab entry has no {', '.join(unknown)}; src, path, fstype, opts, dump, passno."
        )
    for what in ("dump", "passno"):
        if not re.fullmatch(r"[0-9]{1,3}", str(entry.get(what) or 0)):
            raise InvalidSpec(f"image {path}: {what} of an fstab entry is to be a number.")
    words = [
        entry.get("src") or "",
        entry.get("path") or "",
        entry.get("fstype") or "",
        entry.get("opts") or "defaults",
    ]
    for what, word in zip(("src", "path", "fstype", "opts"), words):
        if not _FSTAB_WORD.fullmatch(word):
            raise InvalidSpec(f"image {path}: fstab entry needs {what}, without spaces: '{word}'.")
    return Mount(words[0], words[1], words[2], words[3], int(entry.get("dump") or 0), int(entry.get("passno") or 0))
