# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: (wanted, observed) -> ChangeSet. Pure."""

from __future__ import annotations

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, NotFound
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import convergence, creation
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.observe import ImageState
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.paths import MANIFEST_SUFFIX
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.plan import ImagePlan, Others
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import ImageSpec


def compare(spec: ImageSpec, observed: ImageState, others: Others | None = None) -> ChangeSet:
    """The changes that bring the image to its specification; ``plan`` is an ImagePlan.

    Raises Busy when the image is in use, NotFound when its base image is missing, and KvmError when its content was
    declared differently from what it was made of, or when the file is nobody's to overwrite.
    """
    others = others or Others()
    changes = ChangeSet(spec.path, ImagePlan(spec, observed))
    try:
        if spec.state == "absent":
            _absent(changes, spec, observed, others)
        elif _is_missing(spec, observed):
            creation.create(changes, spec, observed, others)
        else:
            convergence.converge(changes, spec, observed, others)
    except KvmError:
        # What is wrong may be no more than that the other task is half done.
        if observed.taken and observed.file.exists:
            raise convergence.taken(spec) from None
        raise
    return changes


def _is_missing(spec: ImageSpec, observed: ImageState) -> bool:
    """Whether there is no finished image; raises KvmError when something else stands in its place."""
    file, record = observed.file, observed.manifest
    if observed.manifest_broken:
        raise KvmError(
            f"image {spec.path}: {spec.path}{MANIFEST_SUFFIX} is no record of this module (or of a later version); move it away."
        )
    if not file.exists:
        if spec.in_place:
            raise NotFound(f"image {spec.path}: there is no such image; state a source of which it is made.")
        return True
    if not file.regular:
        raise KvmError(
            f"image {spec.path}: something that is no regular file stands there; move it away or choose another path."
        )
    if record is not None and not record.complete and file.inode in record.inodes:
        return True
    if spec.in_place and (record is None or record.complete):
        return False
    if record is None or not record.complete or record.adopted:
        raise KvmError(
            f"image {spec.path}: the file there was not made by this module and is not overwritten;"
            " move it away, choose another path, leave out source to change it as it is, or remove it with state: absent."
        )
    return False


def _absent(changes: ChangeSet, spec: ImageSpec, observed: ImageState, others: Others) -> None:
    file, plan = observed.file, changes.plan
    if file.exists and not file.regular:
        raise KvmError(
            f"image {spec.path}: what stands there is no regular file and is not removed; name the file itself."
        )
    convergence.refuse_dependants(spec, observed, others, "removed")
    convergence.refuse_in_use(spec, observed, "removed")
    if file.exists:
        changes.add("state", "present", "absent")
    recorded = (observed.manifest.kernel, observed.manifest.initrd) if observed.manifest is not None else ()
    for field, path in (("kernel", spec.kernel), ("initrd", spec.initrd)):
        if path in observed.existing and path in recorded:
            changes.add(field, path, None)
    if not changes and (observed.manifest is not None or observed.manifest_broken):
        changes.add("record", "present", "absent")
    plan.remove = bool(changes)
