# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: what kvm_image_info tells. Reads only."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import observe, spec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.content import Question
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.paths import check_path


def look(path: str, image_format: str | None, partition: str | None, trust: str | None) -> dict[str, t.Any] | None:
    """The return value ``image`` of kvm_image_info; None when there is no file.

    Raises KvmError for what cannot be read; its details have what could be (``image``).
    """
    check_path(path, path, "path")
    seen = observe.see(path, image_format, Question(None, spec.partition(path, partition)), trust)
    if not seen.file.exists:
        return None
    if not seen.file.regular:
        raise InvalidSpec(f"image {path}: this is no regular file; name the file itself.")
    if seen.file.format != (image_format or seen.file.format):
        raise KvmError(f"image {path}: it is {seen.file.format}, not {image_format}.")
    found = observe.facts(seen, path) or {}
    content = seen.content
    found["trusted"] = seen.trusted(None)
    found["no_root"] = content.no_root if content is not None else None
    if seen.file.foreign_features:
        raise KvmError(
            f"image {path}: it is encrypted or keeps its data in another file; it is not opened.", image=found
        )
    if not seen.file.backing_found:
        missing = ", ".join(seen.file.backing)
        raise KvmError(f"image {path}: a backing file is missing: {missing}; put it back.", image=found)
    if content is not None and content.problem is not None:
        raise KvmError(f"image {path}: {content.problem.rstrip('.')}.", image=found)
    return found
