# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: the comparison for an image that is there. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError, NotFound
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import creation, declaration, edits
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.content import Content
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.customize import Former, Host
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.disk_file import FileState
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.manifest import Manifest
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.observe import ImageState
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.plan import ImagePlan, Others
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import ImageSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import format_size

_MODE = "source.image.mode"


def converge(changes: ChangeSet, spec: ImageSpec, observed: ImageState, others: Others) -> None:
    """Adds what brings the image to its declaration; raises KvmError when that cannot be done without losing something."""
    plan: ImagePlan = changes.plan
    if observed.interrupted:
        changes.add("interrupted change", "half done", "done")
        plan.finish = True
        return
    if not spec.in_place:
        _content(changes, spec, observed)
        if changes:
            _rebuild(changes, spec, observed, others)
            return
        _overlay_sound(spec, observed)
    _check_source(spec, observed)
    _format(changes, spec, observed)
    _size(changes, spec, observed)
    _labels(changes, spec, observed)
    _files(changes, spec, observed)
    if plan.rewrite:
        refuse_snapshots(spec, observed.file)
        _check_room(spec, observed)
    if plan.changes_content:
        refuse_in_use(spec, observed, "changed")
        refuse_dependants(spec, observed, others, "changed")
    _extract(changes, spec, observed)
    # While a domain runs, libvirt owns its files; afterwards they have their owner back.
    for field, number in zip(("owner", "group", "mode"), (*observed.file.numbers, None)):
        now, wanted = getattr(observed.file, field), getattr(spec, field)
        by_number = wanted is not None and wanted == str(number)
        if not observed.file.in_use and not by_number and changes.compare(field, now, wanted):
            plan.permissions = True


def refuse_dependants(spec: ImageSpec, observed: ImageState, others: Others, what: str) -> None:
    """Raises Busy when overlays stand on the image."""
    needed = [path for path in observed.overlays if path not in others.removed]
    if needed:
        raise Busy(
            f"image {spec.path}: {', '.join(needed)} {'stands' if len(needed) == 1 else 'stand'} on it,"
            f" so it cannot be {what}; remove {'that overlay' if len(needed) == 1 else 'those overlays'} first.",
            overlays=needed,
        )


def taken(spec: ImageSpec) -> Busy:
    """What to say when another task works on the image."""
    return Busy(f"image {spec.path}: another task works on it; wait until it is done and run again.")


def refuse_in_use(spec: ImageSpec, observed: ImageState, what: str) -> None:
    """Raises Busy when somebody may write to the image."""
    if observed.taken:
        raise taken(spec)
    if observed.in_use:
        who = ", ".join(observed.holders) or "a running domain (or another program of qemu)"
        raise Busy(
            f"image {spec.path}: it is in use by {who}, so it cannot be {what}; stop that first.",
            holders=list(observed.holders),
        )


def refuse_snapshots(spec: ImageSpec, file: FileState) -> None:
    """Raises KvmError when the image has snapshots in itself, which a new file would not have."""
    if file.snapshots:
        raise KvmError(
            f"image {spec.path}: it is to be written anew, and its {file.snapshots} snapshots would be lost; delete them first"
            " (qemu-img snapshot -d), or leave out what needs that (format, compress, sparsify, shrink)."
        )


def _declared(observed: ImageState) -> dict[str, t.Any]:
    return observed.known.declared if observed.known is not None else {}


def _content(changes: ChangeSet, spec: ImageSpec, observed: ImageState) -> None:
    """What was declared then against what is declared now, as far as it cannot be changed in place."""
    record = t.cast(Manifest, observed.manifest)
    wanted = declaration.declared(spec)
    # Asked to make it anew, nothing is left of an earlier declaration; else what can be is changed in place.
    kept = () if spec.rebuild == "on_change" else (*declaration.IN_PLACE, "customize")
    for field in sorted({*record.declared, *wanted} - {*kept}):
        before, after = record.declared.get(field), wanted.get(field)
        if before != after and not (field == _MODE and (before, after) == ("overlay", "copy")):
            changes.add(field, before, after, "recreate", secret=field in creation.SECRET)
    if (
        spec.rebuild == "on_change"
        and record.base is not None
        and observed.base_identity not in (None, record.base.get("identity"))
    ):
        changes.add("base", record.base.get("identity"), observed.base_identity, "recreate")


def _rebuild(changes: ChangeSet, spec: ImageSpec, observed: ImageState, others: Others) -> None:
    fields = [change.field for change in changes.changes]
    if spec.rebuild != "on_change":
        raise KvmError(
            f"image {spec.path}: it was made with another {', '.join(fields)}, and remaking it would lose what is on it;"
            " set rebuild: on_change to have that done, or declare it as it was.",
            differing=fields,
            differences=changes.results(),
        )
    refuse_dependants(spec, observed, others, "rebuilt")
    refuse_in_use(spec, observed, "rebuilt")
    creation.wanted_size(spec, observed, others)
    creation.documents(changes, spec, observed)
    changes.plan.create = changes.plan.replace = True


def _overlay_sound(spec: ImageSpec, observed: ImageState) -> None:
    record = observed.manifest
    if not spec.is_overlay or spec.base is None or record is None or record.base is None:
        return
    if not observed.base.file.exists:
        raise NotFound(
            f"image {spec.path}: its backing file {spec.base.path} is gone; put it back, the disk cannot be read without."
        )
    if observed.base_identity != record.base.get("identity"):
        raise KvmError(
            f"image {spec.path}: its backing file {spec.base.path} is another one than the disk was made on, so its content"
            " no longer fits; put the old one back, or make the disk anew with rebuild: on_change."
        )


def _check_source(spec: ImageSpec, observed: ImageState) -> None:
    """An image from elsewhere must not make this host open other files of its choice."""
    file = observed.file
    if observed.manifest is None and file.container is not None:
        raise KvmError(
            f"image {spec.path}: it is an image in the format {file.container}, and raw and qcow2 can be changed; convert it"
            " (qemu-img convert)."
        )
    if file.foreign_features:
        raise KvmError(f"image {spec.path}: it is encrypted or keeps its data in another file; not supported.")
    if spec.in_place and file.backing and not observed.chained(spec.trust):
        raise KvmError(
            f"image {spec.path}: it stands on {file.backing[0]!r}, which would be opened; if you made it so, state trust: trusted.",
            backing_chain=list(file.backing),
        )
    if not file.backing_found:
        raise NotFound(f"image {spec.path}: a backing file is missing: {', '.join(file.backing)}; put it back.")


def _format(changes: ChangeSet, spec: ImageSpec, observed: ImageState) -> None:
    """Another format, compression, and independence of the base: the image is written anew with the same content."""
    file, before, plan = observed.file, _declared(observed), changes.plan
    if changes.compare("format", file.format, spec.format):
        plan.rewrite = True
    if spec.compress is not None and (before.get("compress") or "none") != spec.compress:
        if (spec.format or file.format) != "qcow2":
            raise KvmError(f"image {spec.path}: a raw image cannot be compressed; state format: qcow2.")
        changes.add("compress", before.get("compress"), spec.compress)
        plan.rewrite = True
    flat = spec.base is not None and spec.base.mode == "copy" and before.get(_MODE) == "overlay"
    if flat and file.backing:
        changes.add(_MODE, "overlay", "copy")
        plan.rewrite = True
    if spec.sparsify and not before.get("sparsify"):
        changes.add("sparsify", False, True)
        if file.format == "raw" and not plan.rewrite:
            plan.punch = True
        else:
            plan.rewrite = True


def _size(changes: ChangeSet, spec: ImageSpec, observed: ImageState) -> None:
    now = observed.file.virtual_size
    # Without shrink a size is the least that is wanted: what has grown since is never cut off.
    if spec.size is None or spec.size == now or (spec.size < now and not spec.shrink):
        return
    content = _readable(spec, observed)
    if spec.size < now:
        creation.check_shrink(spec, content)
        changes.plan.rewrite = True
        changes.plan.unfit = creation.unfit(spec, content)
    elif observed.file.fixed_size:
        raise KvmError(
            f"image {spec.path}: it is a qcow2 image of version 2 with snapshots, which cannot get another size; delete them, or"
            " make it version 3 (qemu-img amend -o compat=1.1)."
        )
    elif content.growth_problem is not None:
        raise KvmError(f"image {spec.path}: {content.growth_problem.rstrip('.')}.")
    changes.add("size", format_size(now), format_size(spec.size))
    changes.plan.size = spec.size


def _readable(spec: ImageSpec, observed: ImageState) -> Content:
    """What is on the image, which must be readable for what is to be done."""
    content = observed.content or Content()
    if content.problem is not None:
        raise KvmError(f"image {spec.path}: {content.problem.rstrip('.')}.", partitions=list(content.partitions))
    return content


def _check_room(spec: ImageSpec, observed: ImageState) -> None:
    content = observed.content or Content()
    if content.copy_problem is not None:
        raise KvmError(f"image {spec.path}: {content.copy_problem.rstrip('.')}.")
    needed = content.needed(observed.file.virtual_size)
    if observed.free is not None and needed > observed.free:
        raise KvmError(
            f"image {spec.path}: it is to be written anew, with up to {needed} bytes of data, and {observed.free} bytes are free"
            " in its folder; make room."
        )


def _labels(changes: ChangeSet, spec: ImageSpec, observed: ImageState) -> None:
    wanted = spec.filesystem
    if wanted is None:
        return
    if wanted.label is None and wanted.uuid is None and not (spec.in_place and wanted.type):
        return
    if not spec.in_place and observed.in_use:
        return
    content = _readable(spec, observed)
    creation.check_filesystem(spec, content, f"image {spec.path}: it")
    sign = content.area.signature if content.area is not None else None
    now = (sign.label, sign.uuid) if sign is not None else (None, None)
    for field, before, after in zip(("label", "uuid"), now, (wanted.label, wanted.uuid)):
        if changes.compare(f"filesystem.{field}", before, after):
            changes.plan.relabel = True


def _files(changes: ChangeSet, spec: ImageSpec, observed: ImageState) -> None:
    """The files of the guest: what is declared as it was then is not looked at, for the guest may have changed it."""
    before, wanted = _declared(observed), declaration.declared(spec)
    parts = [
        part
        for part in edits.PARTS
        if part in wanted and part in declaration.IN_PLACE and before.get(part) != wanted[part]
    ]
    former = _former(spec, before)
    parts += [f"customize.{name}" for name, gone in (("files", former.files), ("hosts", former.hosts)) if gone]
    parts = list(dict.fromkeys(parts))
    if not parts:
        return
    content = _readable(spec, observed)
    if content.area is None:
        raise KvmError(f"image {spec.path}: {content.no_root}.", partitions=list(content.partitions))
    creation.check_filesystem(spec, content, f"image {spec.path}: it")
    if content.snapshot is None:
        raise KvmError(f"image {spec.path}: its file system has no files that can be changed here.")
    plan: ImagePlan = changes.plan
    for part in parts:
        if edits.plan(spec, content.snapshot, (part,), content.devices, former):
            changes.add(part, before.get(part), wanted.get(part), secret=part in creation.SECRET)
            plan.parts = (*plan.parts, part)
    plan.former = former
    # Two parts may concern the same file, so all of them are shown as one.
    creation.show(changes, spec, edits.plan(spec, content.snapshot, plan.parts, content.devices, former))


def _former(spec: ImageSpec, before: t.Mapping[str, t.Any]) -> Former:
    """What was declared of the guest's files then and is not now; nothing where they are not declared at all."""
    if not spec.individual:
        return Former()
    files = {entry["path"] for entry in before.get("customize.files") or ()} - {f.path for f in spec.customize.files}
    hosts = [Host(entry["address"], tuple(entry["names"])) for entry in before.get("customize.hosts") or ()]
    return Former(tuple(sorted(files)), tuple(host for host in hosts if host not in (spec.customize.hosts or ())))


def _extract(changes: ChangeSet, spec: ImageSpec, observed: ImageState) -> None:
    record, plan = observed.manifest, changes.plan
    for field in ("kernel", "initrd"):
        path, recorded = getattr(spec, field), getattr(record, field) if record is not None else None
        if path is not None and (path != recorded or path not in observed.existing):
            creation.refuse_foreign(spec, observed, path)
            changes.add(field, recorded if path != recorded else None, path)
            plan.extract = (*plan.extract, field)
    if plan.extract:
        if observed.file.written:
            raise Busy(f"image {spec.path}: its kernel cannot be read while a domain writes to it; stop that first.")
        creation.check_kernel(spec, _readable(spec, observed), f"image {spec.path}: it")
