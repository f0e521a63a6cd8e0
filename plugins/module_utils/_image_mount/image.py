# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Mounts of images: the image that is to be mounted: its format, whether it is trusted, what is in it, who uses it.

Reads only, and only by this collection's own readers: no program and no file system of the kernel sees anything of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import stat
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _loop
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import (
    Busy,
    Damaged,
    InvalidSpec,
    KvmError,
    Unsupported,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import overlays, qcow2
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.disk_file import read_file
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.holders import Holder, holders
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import formats
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import RawFile, Reader
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.look import Inside
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.qcow2_file import Qcow2File
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.seen import backing_of, read_manifest
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.spec import MountSpec

_MAX_CHAIN = 16
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclasses.dataclass(frozen=True)
class Link:
    """A file of an image, with its format: the image itself, or one of its backing files."""

    path: str
    format: str


@dataclasses.dataclass(frozen=True)
class Target:
    """The file system that is to be mounted; ``number`` None is the whole disk. In bytes.

    ``volume`` is the name of a logical volume (``vg/lv``); one in ``pieces`` is no range, and only LVM itself can show it.
    """

    number: int | None
    offset: int
    size: int
    filesystem: str
    uuid: str | None = None
    volume: str | None = None
    pieces: bool = False


@dataclasses.dataclass(frozen=True)
class Image:
    """An image. ``path`` has no links in it; ``chain`` starts with the image itself. ``in_use`` and ``written`` are by qemu's
    own locks; ``holders`` has those who write to its backing files too; ``overlays`` are the disks that stand on it.
    """

    path: str
    format: str
    trust: str
    chain: tuple[Link, ...]
    target: Target
    inode: int = 0
    holders: tuple[Holder, ...] = ()
    in_use: bool = False
    written: bool = False
    overlays: tuple[str, ...] = ()
    #: Whether a file system that the kernel cannot tell from this one is mounted.
    twin: bool = False


def format_of(spec: MountSpec, path: str) -> str:
    """The stated format, or that of the record beside the image, or raw; raises KvmError when the file looks otherwise."""
    record = read_manifest(path)
    known = record.declared.get("format") if record is not None else None
    if known in ("raw", "qcow2"):
        # What a guest has written since does not count.
        return spec.format or str(known)
    form = spec.format or "raw"
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(formats.HEAD_BYTES)
        file.seek(max(0, size - formats.TAIL_BYTES))
        tail = file.read(formats.TAIL_BYTES)
    try:
        formats.check_declared(form, head, size, tail)
    except Unsupported as exc:
        raise KvmError(f"image {path}: {exc.message.replace('declare format', 'state format')}.") from exc
    return form


def trust_of(spec: MountSpec, path: str) -> str:
    """As stated, else trusted if the record beside the image says that this collection built it of what it trusts."""
    if spec.trust is not None:
        return spec.trust
    record = read_manifest(path)
    return "trusted" if record is not None and record.complete and record.trusted else "untrusted"


def twin_is_mounted(target: Target) -> bool:
    """Whether the kernel would take the file system for one that is mounted: btrfs has nothing but its UUID."""
    uuid = str(target.uuid).lower()
    return target.filesystem == "btrfs" and bool(_UUID.fullmatch(uuid)) and os.path.exists(f"/sys/fs/btrfs/{uuid}")


def twin_error(image: Image) -> Busy:
    """What to say about that."""
    uuid = image.target.uuid
    return Busy(f"image {image.path}: a btrfs with its UUID {uuid} is mounted on this host; unmount that first.")


def regular(path: str) -> str | None:
    """The image's own path, links followed; None when there is no file. Raises KvmError for what is no regular file."""
    real = os.path.realpath(path)
    try:
        mode = os.stat(real).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(mode):
        raise KvmError(f"image {path}: it is no regular file; only image files can be mounted.")
    return real


def look(spec: MountSpec, real: str) -> Image:
    """All about the image at ``real``; raises KvmError with a sentence that names it."""
    form, trust = format_of(spec, real), trust_of(spec, real)
    file = read_file(real, form)
    if file.format != form:
        raise KvmError(f"image {real}: it is no {form} image; state its format.")
    chain = _chain(Link(real, form), trust)
    target = _target(chain, spec.partition)
    users = [item for item in holders(real) if form != "raw" or not _elsewhere(item, target)]
    return Image(
        path=real,
        format=form,
        trust=trust,
        chain=chain,
        target=target,
        inode=file.inode,
        holders=(*users, *(item for link in chain[1:] for item in holders(link.path) if item.writing)),
        in_use=file.in_use,
        written=file.written,
        overlays=tuple(overlays.living(real, backing_of)),
        twin=trust == "trusted" and twin_is_mounted(target),
    )


def _elsewhere(holder: Holder, target: Target) -> bool:
    """Whether it is a loop device on another partition of a raw image, which is as good as another disk."""
    device = _loop.look(holder.device) if holder.device is not None else None
    return device is not None and apart(target, device.offset, device.size)


def apart(target: Target, offset: int, size: int) -> bool:
    """Whether a range has no byte in common with the file system; a size of 0 is up to the end."""
    return target.offset + target.size <= offset or (size > 0 and offset + size <= target.offset)


def _chain(top: Link, trust: str) -> tuple[Link, ...]:
    """The image and its backing files, as its headers name them, with formats that nobody has to guess."""
    chain = [top]
    while chain[-1].format == "qcow2":
        path = chain[-1].path
        header = qcow2.parse(_head(path), path)
        if header.backing_file is None:
            break
        if trust != "trusted":
            raise KvmError(
                f"image {top.path}: it stands on the backing file {header.backing_file!r}, which could be any file of this"
                " host; state trust: trusted if you know that it is right, or flatten the image where it comes from."
            )
        chain.append(_backing(path, header))
        if len(chain) > _MAX_CHAIN:
            raise KvmError(f"image {top.path}: its chain of backing files has no end; the file is broken.")
    return tuple(chain)


def _backing(path: str, header: qcow2.Header) -> Link:
    name = header.backing_file or ""
    if not qcow2.is_plain_name(name):
        raise KvmError(f"image {path}: its backing file {name!r} is no file of this host; flatten the image.")
    backing = os.path.realpath(os.path.join(os.path.dirname(path), name))
    if regular(backing) is None:
        raise KvmError(f"image {path}: its backing file {backing!r} is missing; put it back, or flatten the image.")
    record = read_manifest(backing)
    form = (record.declared.get("format") if record is not None else None) or header.backing_format
    if form not in ("raw", "qcow2"):
        raise KvmError(
            f"image {path}: nothing says in which format its backing file {backing!r} is; write it down with"
            " qemu-img rebase -u."
        )
    return Link(backing, form)


def _head(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(qcow2.HEAD_BYTES)


def _target(chain: tuple[Link, ...], partition: int | str | None) -> Target:
    name = f"image {chain[0].path}"
    try:
        with contextlib.ExitStack() as stack:
            inside = Inside(_reader(chain, stack), partition)
            area = inside.root.area if inside.root is not None else None
            if area is None and partition is None and None in inside.areas:
                area = inside.areas[None]
            if area is None:
                raise KvmError(
                    f"{name}: no root file system was found: {inside.no_root}; state the partition by its number."
                )
            if area.signature is None:
                where = "the disk" if area.number is None else f"partition {area.number}"
                raise KvmError(f"{name}: nothing that is known as a file system is on {where}.")
            sign = area.signature
            return Target(area.number, area.offset, area.size, sign.kind, sign.uuid, area.volume, area.pieces)
    except (Damaged, Unsupported, InvalidSpec) as exc:
        raise KvmError(f"{name}: {exc.message.rstrip('.')}.") from exc


def _reader(chain: tuple[Link, ...], stack: contextlib.ExitStack) -> Reader:
    reader: Reader | None = None
    for link in reversed(chain):
        fd = os.open(link.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        stack.callback(os.close, fd)
        file = RawFile(fd)
        is_raw = link.format == "raw"
        reader = file if is_raw else Qcow2File(file, qcow2.parse(_head(link.path), link.path), reader)
    return t.cast("Reader", reader)
