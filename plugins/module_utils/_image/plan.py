# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: what a comparison hands to the apply room. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._image.customize import Former
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.observe import ImageState
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import ImageSpec


@dataclasses.dataclass(frozen=True)
class Others:
    """What else the call declares: sizes of images that it makes (None = as its base), and what it removes."""

    planned: t.Mapping[str, int | None] = dataclasses.field(default_factory=dict)
    removed: frozenset[str] = frozenset()


@dataclasses.dataclass
class ImagePlan:
    """What the apply room does; all False, empty or None = nothing of the kind."""

    spec: ImageSpec
    observed: ImageState
    create: bool = False
    #: The file that stands there may be replaced: it is an own, unfinished one, or is to be rebuilt.
    replace: bool = False
    remove: bool = False
    #: A killed run's change is to be put into the image wholly.
    finish: bool = False
    #: The new virtual size in bytes, larger or smaller.
    size: int | None = None
    #: Label or UUID of the file system.
    relabel: bool = False
    #: What of the declaration is to be put into the files of the guest, in the words of ``edits.PARTS``.
    parts: tuple[str, ...] = ()
    former: Former = dataclasses.field(default_factory=Former)
    #: The image is to be written anew: another format, compressed, without its backing file, smaller.
    rewrite: bool = False
    #: Free blocks are to become holes, in the raw file as it is.
    punch: bool = False
    extract: tuple[str, ...] = ()
    permissions: bool = False
    #: What the apply room would refuse, for a prediction: it can try, and say what is needed.
    unfit: str | None = None

    @property
    def changes_content(self) -> bool:
        """Whether the image itself is changed."""
        return self.rewrite or self.punch or self.relabel or self.size is not None or bool(self.parts)
