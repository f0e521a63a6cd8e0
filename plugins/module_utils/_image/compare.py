# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: (wanted, observed) -> ChangeSet. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, InvalidSpec, KvmError, NotFound
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import manifest, render
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.observe import ImageState
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import DEFAULT_SIZE, MANIFEST_SUFFIX, ImageSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import format_size

_SECRET = ("customize.root_password",)


@dataclasses.dataclass(frozen=True)
class Others:
    """What else the call declares: sizes of images that it makes (None = as its base), and what it removes."""

    planned: t.Mapping[str, int | None] = dataclasses.field(default_factory=dict)
    removed: frozenset[str] = frozenset()


@dataclasses.dataclass
class ImagePlan:
    """What the apply room does; all False or None = nothing of the kind."""

    spec: ImageSpec
    observed: ImageState
    create: bool = False
    #: The file that stands there may be replaced: it is an own, unfinished one, or is to be rebuilt.
    replace: bool = False
    remove: bool = False
    grow: int | None = None
    extract: tuple[str, ...] = ()
    permissions: bool = False


def compare(spec: ImageSpec, observed: ImageState, others: Others | None = None) -> ChangeSet:
    """The changes that bring the image to its specification; ``plan`` is an ImagePlan.

    Raises Busy when the image is in use, NotFound when its base image is missing, and KvmError when its content was
    declared differently from what it was made of, or when the file is nobody's to overwrite.
    """
    others = others or Others()
    changes = ChangeSet(spec.path, ImagePlan(spec, observed))
    if spec.state == "absent":
        _absent(changes, spec, observed, others)
    elif _is_missing(spec, observed):
        _create(changes, spec, observed, others)
    else:
        _existing(changes, spec, observed, others)
    return changes


def _is_missing(spec: ImageSpec, observed: ImageState) -> bool:
    """Whether there is no finished image; raises KvmError when something else stands in its place."""
    file, record = observed.file, observed.manifest
    if observed.manifest_broken:
        raise KvmError(
            f"image {spec.path}: {spec.path}{MANIFEST_SUFFIX} is no record of this module (or of a later version); move it away."
        )
    if not file.exists:
        return True
    if not file.regular:
        raise KvmError(
            f"image {spec.path}: something that is no regular file stands there; move it away or choose another path."
        )
    if record is not None and not record.complete and file.inode in record.inodes:
        return True
    if record is None or not record.complete:
        raise KvmError(
            f"image {spec.path}: the file there was not made by this module and is not overwritten;"
            " move it away, choose another path, or remove it with state: absent."
        )
    return False


def _absent(changes: ChangeSet, spec: ImageSpec, observed: ImageState, others: Others) -> None:
    file, plan = observed.file, changes.plan
    if file.exists and not file.regular:
        raise KvmError(
            f"image {spec.path}: what stands there is no regular file and is not removed; name the file itself."
        )
    _refuse_dependants(spec, observed, others, "removed")
    if file.in_use:
        raise Busy(f"image {spec.path}: a running domain (or another program of qemu) uses it; stop that first.")
    if file.exists:
        changes.add("state", "present", "absent")
    recorded = (observed.manifest.kernel, observed.manifest.initrd) if observed.manifest is not None else ()
    for field, path in (("kernel", spec.kernel), ("initrd", spec.initrd)):
        if path in observed.existing and path in recorded:
            changes.add(field, path, None)
    if not changes and (observed.manifest is not None or observed.manifest_broken):
        changes.add("record", "present", "absent")
    plan.remove = bool(changes)


def _refuse_dependants(spec: ImageSpec, observed: ImageState, others: Others, what: str) -> None:
    needed = [path for path in observed.overlays if path not in others.removed]
    if needed:
        raise Busy(
            f"image {spec.path}: {', '.join(needed)} {'stands' if len(needed) == 1 else 'stand'} on it,"
            f" so it cannot be {what}; remove {'that overlay' if len(needed) == 1 else 'those overlays'} first.",
            overlays=needed,
        )


def _create(changes: ChangeSet, spec: ImageSpec, observed: ImageState, others: Others) -> None:
    size = _wanted_size(spec, observed, others)
    changes.add("state", "absent", "present")
    changes.add("size", None, format_size(size) if size is not None else "as the base image")
    for field, value in manifest.declared(spec).items():
        changes.add(field, None, value, secret=field in _SECRET)
    for field in ("kernel", "initrd", "owner", "group", "mode"):
        if getattr(spec, field) is not None:
            changes.add(field, None, getattr(spec, field))
    for field in ("kernel", "initrd"):
        _refuse_foreign(spec, observed, getattr(spec, field))
    _documents(changes, spec, {})
    changes.plan.create = True
    changes.plan.replace = observed.file.exists


def _refuse_foreign(spec: ImageSpec, observed: ImageState, path: str | None) -> None:
    record = observed.manifest
    if path in observed.elsewhere:
        raise InvalidSpec(
            f"image {spec.path}: {path} is on another file system than the image;"
            " keep the kernel and the initrd beside the image."
        )
    if path in observed.existing and (record is None or path not in (record.kernel, record.initrd)):
        raise KvmError(
            f"image {spec.path}: {path} exists and was not made with this image; move it away or choose another path."
        )


def _documents(changes: ChangeSet, spec: ImageSpec, before: t.Mapping[str, str]) -> None:
    after = render.texts(spec)
    for path in sorted({*before, *after}):
        changes.document(f"{spec.path}: {path}", before.get(path, ""), after.get(path, ""))


def _wanted_size(spec: ImageSpec, observed: ImageState, others: Others) -> int | None:
    """The size of a new image in bytes, None when its base does not exist yet; checks the base."""
    if spec.base is None:
        return spec.size or DEFAULT_SIZE
    base = observed.base
    if base is None or not base.exists:
        if spec.base.path not in others.planned:
            raise NotFound(
                f"image {spec.path}: its base image {spec.base.path} does not exist; declare it first, in the same list."
            )
        return _larger(spec, others.planned[spec.base.path])
    if not base.regular:
        raise KvmError(f"image {spec.path}: its base image {spec.base.path} is no regular file; name the file itself.")
    if base.format != spec.base.format:
        raise KvmError(
            f"image {spec.path}: its base image {spec.base.path} is {base.format}, not {spec.base.format};"
            f" if you trust it, say source.image.format: {base.format}."
        )
    if not base.backing_found:
        raise NotFound(f"image {spec.path}: a backing file of its base image is missing: {', '.join(base.backing)}.")
    if base.foreign_features:
        raise KvmError(
            f"image {spec.path}: its base image {spec.base.path} is encrypted or keeps its data in another file; not supported."
        )
    if base.written:
        raise Busy(
            f"image {spec.path}: its base image {spec.base.path} is being written by a running domain; stop that first."
        )
    return _larger(spec, base.virtual_size)


def _larger(spec: ImageSpec, base: int | None) -> int | None:
    if spec.size is not None and base is not None and spec.size < base:
        raise InvalidSpec(
            f"image {spec.path}: its size {format_size(spec.size)} is smaller than its base image ({format_size(base)}); it can only grow."
        )
    return spec.size if spec.size is not None else base


def _existing(changes: ChangeSet, spec: ImageSpec, observed: ImageState, others: Others) -> None:
    record, plan = observed.manifest, changes.plan
    if record is None:
        raise RuntimeError(f"{spec.path} has no record")
    _content(changes, spec, observed)
    if changes:
        _rebuild(changes, spec, observed, others)
        return
    _overlay_sound(spec, observed)
    _grow(changes, spec, observed)
    for field in ("kernel", "initrd"):
        path = getattr(spec, field)
        if path is not None and (path != getattr(record, field) or path not in observed.existing):
            _refuse_foreign(spec, observed, path)
            changes.add(field, getattr(record, field) if path != getattr(record, field) else None, path)
            plan.extract = (*plan.extract, field)
    if plan.extract and observed.file.written:
        raise Busy(f"image {spec.path}: its kernel cannot be read while a domain writes to it; stop that first.")
    # While a domain runs, libvirt owns its files; afterwards they have their owner back.
    for field in ("owner", "group", "mode"):
        if not observed.file.in_use and changes.compare(field, getattr(observed.file, field), getattr(spec, field)):
            plan.permissions = True


def _content(changes: ChangeSet, spec: ImageSpec, observed: ImageState) -> None:
    """What was declared then against what is declared now."""
    record = t.cast("manifest.Manifest", observed.manifest)
    wanted = manifest.declared(spec)
    for field in sorted({*record.declared, *wanted}):
        before, after = record.declared.get(field), wanted.get(field)
        if before != after:
            changes.add(field, before, after, "recreate", secret=field in _SECRET)
    if (
        spec.rebuild == "on_change"
        and record.base is not None
        and observed.base_identity not in (None, record.base.get("identity"))
    ):
        changes.add("base", record.base.get("identity"), observed.base_identity, "recreate")


def _rebuild(changes: ChangeSet, spec: ImageSpec, observed: ImageState, others: Others) -> None:
    record = t.cast("manifest.Manifest", observed.manifest)
    fields = [change.field for change in changes.changes]
    if spec.rebuild != "on_change":
        raise KvmError(
            f"image {spec.path}: it was made with another {', '.join(fields)}, and remaking it would lose what is on it;"
            " set rebuild: on_change to have that done, or declare it as it was.",
            differing=fields,
            differences=changes.results(),
        )
    _refuse_dependants(spec, observed, others, "rebuilt")
    if observed.file.in_use:
        raise Busy(f"image {spec.path}: a running domain uses it, so it cannot be rebuilt; stop that first.")
    _wanted_size(spec, observed, others)
    _documents(changes, spec, record.texts)
    changes.plan.create = changes.plan.replace = True


def _overlay_sound(spec: ImageSpec, observed: ImageState) -> None:
    record, base = observed.manifest, observed.base
    if spec.base is None or spec.base.mode != "overlay" or record is None or record.base is None:
        return
    if base is None or not base.exists:
        raise NotFound(
            f"image {spec.path}: its backing file {spec.base.path} is gone; put it back, the disk cannot be read without."
        )
    if observed.base_identity != record.base.get("identity"):
        raise KvmError(
            f"image {spec.path}: its backing file {spec.base.path} is another one than the disk was made on, so its content"
            " no longer fits; put the old one back, or make the disk anew with rebuild: on_change."
        )


def _grow(changes: ChangeSet, spec: ImageSpec, observed: ImageState) -> None:
    now = observed.file.virtual_size
    # A size is the least that is wanted: what has grown since is never cut off.
    if spec.size is None or spec.size <= now:
        return
    if observed.file.in_use:
        raise Busy(
            f"image {spec.path}: a running domain uses it, so it cannot grow to {format_size(spec.size)}; stop that first."
        )
    if observed.overlays:
        raise Busy(
            f"image {spec.path}: {', '.join(observed.overlays)} stand on it, so it cannot grow; grow the overlays instead."
        )
    changes.add("size", format_size(now), format_size(spec.size))
    changes.plan.grow = spec.size
