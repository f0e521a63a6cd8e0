# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Mounts of images: folders of the host that are shown in a mount, for programs that are started in it by chroot."""

from __future__ import annotations

import os
import stat
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount import kernel


def bind(point: str, inner: t.Sequence[str]) -> None:
    """Shows the host's folders ``inner`` in the mount; raises KvmError when the image has no such folder."""
    for item in inner:
        target = os.path.join(point, item)
        try:
            kernel.bind(f"/{item}", target)
        except OSError as exc:
            why = _why_not(target, exc)
            raise KvmError(f"mount {point}: cannot bind /{item} for chroot: {why}.") from exc


def _why_not(target: str, error: OSError) -> str:
    name = os.path.basename(target)
    try:
        mode = os.lstat(target).st_mode
    except OSError:
        return f"the image has no folder {name}"
    return str(error.strerror) if stat.S_ISDIR(mode) else f"what the image has as {name} is no folder"
