# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: the comparison for an image that is not there yet. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, InvalidSpec, KvmError, NotFound
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import declaration, edits, render
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.content import Content
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Edit
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.filesystem import LABEL_BYTES, check_label
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import system
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.signature import clean
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.observe import ImageState
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.plan import Others
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.seen import Seen
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.sources import BaseImage
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import DEFAULT_SIZE, ImageSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import format_size

SECRET = ("customize.root_password",)
# No disk is larger; a header that says so is an attack or a mistake.
_MAX_VIRTUAL = 512 << 40
# What an image may be taken for and still is a raw disk.
_RAW_CONTENT = ("iso9660", "luks")


def create(changes: ChangeSet, spec: ImageSpec, observed: ImageState, others: Others) -> None:
    """Adds what making the image brings; raises KvmError when it cannot be made."""
    size = wanted_size(spec, observed, others)
    changes.add("state", "absent", "present")
    changes.add("size", None, format_size(size) if size is not None else "as the base image")
    for field, value in declaration.declared(spec).items():
        changes.add(field, None, value, secret=field in SECRET)
    for field in ("kernel", "initrd", "owner", "group", "mode"):
        if getattr(spec, field) is not None:
            changes.add(field, None, getattr(spec, field))
    for field in ("kernel", "initrd"):
        refuse_foreign(spec, observed, getattr(spec, field))
    documents(changes, spec, observed)
    changes.plan.create = True
    changes.plan.replace = observed.file.exists
    changes.plan.unfit = unfit(spec, observed.base.content)


def refuse_foreign(spec: ImageSpec, observed: ImageState, path: str | None) -> None:
    """Raises KvmError when a kernel or initrd cannot be put at ``path``."""
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


def documents(changes: ChangeSet, spec: ImageSpec, observed: ImageState) -> None:
    """The files of the guest, against those of its base where it has one."""
    content = observed.base.content
    if content is not None and content.snapshot is not None:
        show(changes, spec, edits.plan(spec, content.snapshot, edits.PARTS, content.devices))
        return
    for path, text in sorted(render.texts(spec).items()):
        changes.document(f"{spec.path}: {path}", "", text)


def show(changes: ChangeSet, spec: ImageSpec, planned: t.Sequence[Edit]) -> None:
    """Files of the guest as documents of the diff, but for those that nobody should read there."""
    for edit in planned:
        if edit.action in ("write", "remove") and not edit.secret:
            before, after = (shown(text or b"") for text in (edit.before, edit.content))
            changes.document(f"{spec.path}: {edit.path}", before, after)


def shown(content: bytes) -> str:
    """The content of a file of a guest as it may be shown: line by line, with what a terminal would obey made visible."""
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    return "\n".join("\t".join(clean(word) for word in line.split("\t")) for line in lines)


def wanted_size(spec: ImageSpec, observed: ImageState, others: Others) -> int | None:
    """The size of a new image in bytes, None when its base does not exist yet; raises KvmError for an unusable base."""
    if spec.base is None:
        return spec.size or DEFAULT_SIZE
    seen = observed.base
    if not seen.file.exists:
        if spec.base.path not in others.planned:
            raise NotFound(
                f"image {spec.path}: its base image {spec.base.path} does not exist; declare it first, in the same list."
            )
        return _size(spec, others.planned[spec.base.path] if spec.partition is None else None)
    _check_file(spec, spec.base, seen)
    _check_content(spec, spec.base, seen, observed.free)
    return _size(spec, _own_size(spec, seen))


def _own_size(spec: ImageSpec, seen: Seen) -> int:
    """The size that the image has when none is stated: of the base, or of the file system that is taken out of it."""
    content = seen.content
    if spec.partition is None or content is None or content.area is None:
        return seen.file.virtual_size
    return content.fs_size if content.fs_size is not None else content.area.size


def _check_file(spec: ImageSpec, base: BaseImage, seen: Seen) -> None:
    """The file of the base alone."""
    file = seen.file
    what = f"image {spec.path}: its base image {base.path}"
    if not file.regular:
        raise KvmError(f"{what} is no regular file; name the file itself.")
    _check_format(spec, base, seen)
    if file.backing and not seen.chained(spec.trust):
        raise KvmError(
            f"{what} stands on {file.backing[0]!r}, whose content would become part of it; if you made it so, state trust: trusted.",
            backing_chain=list(file.backing),
        )
    if not file.backing_found:
        raise NotFound(f"image {spec.path}: a backing file of its base image is missing: {', '.join(file.backing)}.")
    if file.foreign_features:
        raise KvmError(f"{what} is encrypted or keeps its data in another file; not supported.")
    if file.virtual_size > _MAX_VIRTUAL:
        raise KvmError(f"{what} says that it has {format_size(file.virtual_size)}, more than any disk; it is not used.")
    if file.written:
        raise Busy(f"{what} is being written by a running domain; stop that first.")


def _check_format(spec: ImageSpec, base: BaseImage, seen: Seen) -> None:
    """The format must be what was stated or recorded: a guest can write any header to a raw disk."""
    file, record = seen.file, seen.manifest
    recorded = record.declared.get("format") if record is not None else None
    wanted = base.format or recorded or "raw"
    what = f"image {spec.path}: its base image {base.path}"
    found = [name for name in file.formats if name not in _RAW_CONTENT]
    if file.format != wanted or (wanted == "raw" and recorded != "raw" and found):
        is_now = found[0] if found else file.format
        hint = (
            f"if you trust it, say source.image.format: {is_now}" if is_now in ("raw", "qcow2") else "convert it first"
        )
        raise KvmError(f"{what} is {is_now}, not {wanted}; {hint}.")
    if wanted == "qcow2" and len(file.formats) > 1:
        raise KvmError(f"{what} can be read as {' and as '.join(file.formats)}; use an image that is one thing.")


def _check_content(spec: ImageSpec, base: BaseImage, seen: Seen, free: int | None) -> None:
    """What is on the base, as far as the declaration needs it."""
    content = seen.content or Content()
    what = f"image {spec.path}: its base image {base.path}"
    concerned = (
        spec.partition is not None or spec.fstab or spec.kernel or spec.initrd or spec.individual or spec.filesystem
    )
    if concerned:
        if content.problem is not None:
            raise KvmError(f"{what}: {content.problem.rstrip('.')}.", partitions=list(content.partitions))
        if content.area is None:
            raise KvmError(f"{what}: {content.no_root}.", partitions=list(content.partitions))
        _check_extracted(spec, content, what)
        check_filesystem(spec, content, what)
        check_kernel(spec, content, what)
    if spec.size is not None and spec.size < _own_size(spec, seen):
        check_shrink(spec, content, alone=spec.partition is not None)
    if content.growth_problem is not None:
        raise KvmError(f"{what}: {content.growth_problem.rstrip('.')}.", partitions=list(content.partitions))
    if base.mode == "copy" and content.copy_problem is not None:
        raise KvmError(f"{what}: {content.copy_problem.rstrip('.')}.")
    needed = content.needed(seen.file.virtual_size)
    if spec.partition and content.area is not None:
        needed = min(needed, content.area.size)
    if base.mode == "copy" and free is not None and needed > free:
        raise KvmError(
            f"{what} has up to {needed} bytes of data, and {free} bytes are free where the copy goes; make room."
        )


def _check_extracted(spec: ImageSpec, content: Content, what: str) -> None:
    """The partition that becomes a disk of its own must have a file system."""
    area = content.area
    if spec.partition is not None and area is not None and area.signature is None:
        raise KvmError(
            f"{what}: partition {area.number} has no file system that is known here; state the one that is meant.",
            partitions=list(content.partitions),
        )


def check_filesystem(spec: ImageSpec, content: Content, what: str) -> None:
    """What is stated of the file system must fit the one that is there."""
    sign = content.area.signature if content.area is not None else None
    kind = sign.kind if sign is not None else None
    files = spec.fstab or spec.individual
    if files and content.snapshot is None:
        raise KvmError(f"{what}: there is no file system with files in it that is known here ({kind}).")
    if spec.filesystem is None:
        return
    if spec.filesystem.type not in (None, kind):
        raise KvmError(f"{what} has a file system of type {kind}, not {spec.filesystem.type}; it is not made anew.")
    if kind not in LABEL_BYTES:
        raise KvmError(f"{what} has {kind or 'no file system that is known'}, to which no label or UUID is given here.")
    if spec.filesystem.label is not None:
        check_label(spec.path, kind, spec.filesystem.label)


def unfit(spec: ImageSpec, content: Content | None) -> str | None:
    """Why a smaller size cannot be for sure."""
    least = content.least if content is not None else None
    if least is None or spec.size is None or spec.size >= least:
        return None
    return (
        f"image {spec.path}: its content does not fit into {format_size(spec.size)}, it has {format_size(least)} in use;"
        " state a larger size (the task says which, when it is not in check mode)."
    )


def check_shrink(spec: ImageSpec, content: Content, *, alone: bool = False) -> None:
    """Raises KvmError when what is there cannot be made smaller. ``alone``: it is taken out of its partition."""
    kind = content.area.signature.kind if content.area is not None and content.area.signature is not None else None
    if kind not in ("ext2", "ext3", "ext4"):
        raise KvmError(
            f"image {spec.path}: of all file systems ext2, ext3 and ext4 are made smaller here, and this one has"
            f" {kind or 'none that is known'}; state a larger size, or put its files on a new disk."
        )
    if content.table != "none" and not alone:
        raise KvmError(
            f"image {spec.path}: only a file system on the whole disk is made smaller here, and this one has a partition table"
            f" ({content.table}); take the partition out with source.image and partition first."
        )


def check_kernel(spec: ImageSpec, content: Content, what: str) -> None:
    """The kernel that is to be taken out must be there."""
    if not spec.kernel and not spec.initrd:
        return
    newest = system.newest(content.kernels, spec.initrd is not None)
    if newest is None:
        found = ", ".join(str(kernel["version"]) for kernel in content.kernels)
        raise KvmError(
            f"{what} has no kernel{' with an initrd' if spec.initrd else ''} in /boot{f' (found: {found})' if found else ''};"
            " leave out kernel and initrd."
        )


def _size(spec: ImageSpec, base: int | None) -> int | None:
    if spec.size is not None and base is not None and spec.size < base and not spec.shrink:
        source = "its base image" if spec.partition is None else "the file system that is taken out"
        raise InvalidSpec(
            f"image {spec.path}: its size {format_size(spec.size)} is smaller than {source} ({format_size(base)});"
            " it can only grow, unless shrink is true."
        )
    return spec.size if spec.size is not None else base
