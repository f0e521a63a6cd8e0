# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: what kvm_image_info tells. Reads only."""

from __future__ import annotations

import os
import stat
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import formats
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.paths import check_partition, check_path
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.seen import Seen, facts, see


def look(path: str, image_format: str | None, partition: str | None, trust: str | None) -> dict[str, t.Any] | None:
    """The return value ``image`` of kvm_image_info; None when there is no file.

    Raises KvmError for what cannot be read; its details have what could be (``image``).
    """
    check_path(path, path, "path")
    seen = see(path, image_format, trust, check_partition(path, partition))
    if not seen.file.exists:
        return None
    if not seen.file.regular:
        raise InvalidSpec(f"image {path}: this is {_what(os.lstat(path).st_mode)}.")
    if seen.file.format != (image_format or seen.file.format):
        raise KvmError(f"image {path}: it is {seen.file.format}, not {image_format}.")
    if image_format is None and seen.manifest is None and seen.file.format == "raw":
        _check_raw(path, seen.file.formats)
    found = facts(seen, path) or {}
    content = seen.content
    found["trusted"] = seen.trusted(None)
    found["no_root"] = content.no_root if content is not None else None
    problem = _problem(path, seen)
    if problem is not None and content is not None and content.withheld:
        # Not an error: all that is to be known of the file itself is known.
        found["no_root"] = f"{problem.rstrip('.')}; if you know that it may be, state trust: trusted"
    elif problem is not None:
        raise KvmError(f"image {path}: {problem.rstrip('.')}.", image=found)
    return found


def _what(mode: int) -> str:
    """What is no image, and what to do, for a person."""
    if stat.S_ISLNK(mode):
        return "a symbolic link; name the file that it points to"
    if stat.S_ISDIR(mode):
        return "a folder; name a file in it"
    if stat.S_ISBLK(mode):
        return "a block device, and only files are looked into; copy it to one (qemu-img convert)"
    return "no regular file; name one"


def _check_raw(path: str, formats_found: tuple[str, ...]) -> None:
    """Of a file in another format nothing but nonsense could be told."""
    other = formats.container(formats_found)
    if other is not None:
        raise KvmError(f"image {path}: {other}.")


def _problem(path: str, seen: Seen) -> str | None:
    """Why the image, or a part of it, could not be read."""
    file = seen.file
    if file.foreign_features:
        return f"{file.foreign_reason or 'it has what is not known here'}; it is not opened"
    if not file.backing_found:
        return _backing_problem(file.backing)
    return seen.content.problem.removeprefix(f"{path}: ") if seen.content is not None and seen.content.problem else None


def _backing_problem(chain: t.Sequence[str]) -> str:
    missing = next((link for link in chain if not os.path.exists(link)), chain[-1])
    if not missing.startswith("/"):
        return f"its backing file {missing!r} is no plain file of this host, and no other is opened"
    return f"its backing file {missing!r} is missing; put it back"
