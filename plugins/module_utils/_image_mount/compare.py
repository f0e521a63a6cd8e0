# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Mounts of images: (wanted, observed) -> ChangeSet. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError, NotFound
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.holders import Holder
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.choose import choose
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.image import Image, twin_error
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.observe import Mounted, MountState
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.record import Record
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.spec import BINDS, MountSpec, in_order


@dataclasses.dataclass(frozen=True)
class Leaving:
    """What the same call unmounts before: folders, and the images that are named with them."""

    points: frozenset[str] = frozenset()
    images: frozenset[str] = frozenset()


@dataclasses.dataclass
class MountPlan:
    """What the apply room does, in this order; empty and None = nothing of the kind."""

    spec: MountSpec
    observed: MountState
    #: Everything of the mount that is there goes: binds, mount, devices, daemons, folders.
    unmount: bool = False
    #: Binds that go while the mount stays, as paths in it.
    unbind: tuple[str, ...] = ()
    mount: Record | None = None
    bind: tuple[str, ...] = ()


def compare(spec: MountSpec, observed: MountState, leaving: Leaving | None = None) -> ChangeSet:
    """The changes that bring the mount to its specification; ``plan`` is a MountPlan.

    Raises Busy when somebody uses the mount or the image, NotFound when the image is missing, and KvmError when the
    folder is not free or the image cannot be mounted so.
    """
    leaving = leaving or Leaving()
    changes = ChangeSet(spec.mountpoint, MountPlan(spec, observed))
    _check_place(spec, observed)
    if spec.state == "unmounted":
        _unmounted(changes, spec, observed, leaving)
    else:
        _mounted(changes, spec, observed, leaving)
    return changes


def _check_place(spec: MountSpec, observed: MountState) -> None:
    name = f"mount {spec.mountpoint}"
    if observed.other is not None:
        image = f" of {spec.path}" if spec.path is not None else ""
        raise KvmError(
            f"{name}: {observed.other} is mounted there, which is no mount{image} by this module;"
            + (" unmount it yourself." if spec.path is not None else " name the image by path, or unmount it yourself.")
        )
    there = observed.mounted.path if observed.mounted is not None else None
    if there is not None and spec.path is not None and there not in (spec.path, observed.path):
        raise KvmError(f"{name}: the image {there} is mounted there, not {spec.path}; unmount that first.")


def _unmounted(changes: ChangeSet, spec: MountSpec, observed: MountState, leaving: Leaving) -> None:
    plan = changes.plan
    if observed.mounted is not None:
        changes.add("state", "mounted" if observed.complete else "incomplete", "unmounted")
        if observed.binds:
            changes.add("binds", in_order(observed.binds), [])
        _refuse_users(spec, observed, leaving)
    elif (observed.record is not None or observed.servers) and not observed.lingers:
        changes.add("state", "incomplete", "unmounted")
    plan.unmount = bool(changes)


def _refuse_users(spec: MountSpec, observed: MountState, leaving: Leaving) -> None:
    """Whoever is in the way of an unmount, unless the specification says how to go on."""
    beneath = [point for point in observed.beneath if point not in leaving.points]
    if spec.lazy:
        return
    name = f"mount {spec.mountpoint}"
    if beneath:
        raise Busy(
            f"{name}: {', '.join(beneath)} {'is' if len(beneath) == 1 else 'are'} mounted in it and no part of this mount;"
            " unmount that first, or use lazy: true.",
            mounts=beneath,
        )
    stay = [user for user in observed.users if spec.holders == "fail" or not user.pid or user.pid in observed.ancestors]
    if stay:
        raise Busy(
            f"{name}: it is used by {'; '.join(map(str, stay))}. {_advice(spec)}",
            holders=[user.result() for user in observed.users],
        )


def _advice(spec: MountSpec) -> str:
    if spec.holders == "fail":
        return "End them, or use holders: terminate or kill, or lazy: true."
    return "That is the kernel itself or what runs this task, which cannot be ended; use lazy: true if it must be."


def _mounted(changes: ChangeSet, spec: MountSpec, observed: MountState, leaving: Leaving) -> None:
    now = observed.mounted
    if observed.path is None:
        raise NotFound(f"mount {spec.mountpoint}: there is no image {spec.path}; make it first (kvm_image does).")
    if now is not None and observed.complete and observed.image is None:
        _compare_binds(changes, spec, observed)
        return
    if observed.lingers:
        raise Busy(
            f"mount {spec.mountpoint}: what was unmounted there lazily is still in use; end that first, or use another mountpoint."
        )
    image = t.cast("Image", observed.image)
    name = f"image {image.path}"
    asked = _asked_backend(spec, image)
    backend = choose(name, asked, image.format, image.trust, image.target.filesystem, spec.chroot, observed.lacking)
    if now is not None and observed.complete and _is_meant(spec, now, image):
        _compare_binds(changes, spec, observed)
        return
    if spec.path not in leaving.images:
        _refuse_image_users(spec, observed, image)
    if now is None:
        _check_folder(spec, observed)
        if image.twin and spec.path not in leaving.images:
            raise twin_error(image)
    else:
        _refuse_users(spec, observed, leaving)
    _plan_mount(changes, spec, observed, image, backend)


def _asked_backend(spec: MountSpec, image: Image) -> str:
    """As declared; a logical volume in pieces is no range of the disk, so that only LVM (of libguestfs) can show it."""
    if not image.target.pieces:
        return spec.backend
    if spec.backend not in ("auto", "guestmount") or spec.chroot:
        option = "chroot: true" if spec.chroot else f"backend {spec.backend}"
        raise KvmError(
            f"image {image.path}: its logical volume {image.target.volume} lies in pieces, which {option} cannot do; leave that"
            " out, and it is mounted by guestmount."
        )
    return "guestmount"


def _is_meant(spec: MountSpec, now: Mounted, image: Image) -> bool:
    """Whether what is mounted is what was found to be meant."""
    return (
        now.offset == image.target.offset
        and not now.replaced
        and now.read_only == spec.read_only
        and spec.backend in ("auto", now.backend)
        and spec.format in (None, now.format, image.format)
        and spec.trust in (None, now.trust)
    )


def _plan_mount(changes: ChangeSet, spec: MountSpec, observed: MountState, image: Image, backend: str) -> None:
    now, target, plan = observed.mounted, image.target, changes.plan
    left = now is not None or observed.record is not None or bool(observed.servers)
    if now is None or not observed.complete:
        changes.add("state", "incomplete" if left else "unmounted", "mounted")
    known = now if now is not None and observed.complete else None
    if known is not None and known.replaced:
        changes.add("path", f"{known.path} (replaced)", image.path, "recreate")
    for field, before, after in (
        ("partition", known and known.number, target.number),
        ("offset", known and known.offset, target.offset),
        ("filesystem", known and known.filesystem, target.filesystem),
        ("read_only", known and known.read_only, spec.read_only),
        ("backend", known and known.backend, backend),
        ("trust", known and known.trust, image.trust),
    ):
        if before != after:
            changes.add(field, before, after, "live" if known is None else "recreate")
    if spec.binds or observed.binds:
        changes.compare("binds", in_order(observed.binds) if known is not None else [], list(spec.binds))
    plan.unmount = left
    plan.bind = spec.binds
    plan.mount = Record(
        path=image.path,
        mountpoint=observed.point,
        backend=backend,
        format=image.format,
        partition=spec.partition,
        number=target.number,
        offset=target.offset,
        size=target.size,
        filesystem=target.filesystem,
        read_only=spec.read_only,
        trust=image.trust,
        inode=image.inode,
        chroot=spec.chroot,
        volume=target.volume,
    )


def _compare_binds(changes: ChangeSet, spec: MountSpec, observed: MountState) -> None:
    """The mount itself stays; of the binds those go that nobody wants any more."""
    before = [item for item in in_order(observed.binds) if item in BINDS]
    if before == list(spec.binds):
        return
    changes.add("binds", before, list(spec.binds))
    changes.plan.bind = tuple(item for item in spec.binds if item not in before)
    changes.plan.unbind = tuple(item for item in observed.binds if item in before and item not in spec.binds)
    if spec.binds and observed.mounted is not None and observed.mounted.trust == "untrusted":
        raise KvmError(
            f"mount {spec.mountpoint}: its image is not trusted, and chroot: true is for running the image's programs as root of"
            " this host; state trust: trusted if you trust it that far."
        )


def _check_folder(spec: MountSpec, observed: MountState) -> None:
    if not observed.empty:
        raise KvmError(f"mount {spec.mountpoint}: the folder is not empty; nothing is mounted over what is in it.")


def _refuse_image_users(spec: MountSpec, observed: MountState, image: Image) -> None:
    """Nobody may write to the image while it is mounted, and nobody else may use it while this mount writes."""
    name = f"image {image.path}"
    own = {user.pid for user in observed.servers}
    device = observed.mounted.device if observed.mounted is not None else None
    others = [item for item in image.holders if not _is_own(item, own, device)]
    ours = len(others) < len(image.holders)
    writers = [item for item in others if item.writing]
    if not spec.read_only:
        writers += [item for item in others if item.device is not None and not item.writing]
    locked = not ours and (image.written or (image.in_use and not spec.read_only))
    if writers or locked:
        users = writers or others
        who = " and ".join(map(str, users)) or "a program of qemu that is not seen here, maybe on another host"
        doing = "has it open for writing" if image.written or any(item.writing for item in users) else "uses it"
        raise Busy(
            f"{name}: {who} {doing}; stop that first{'' if spec.read_only or image.written or writers else ', or use read_only: true'}.",
            holders=[_result(item) for item in users],
        )
    if not spec.read_only and image.overlays:
        raise Busy(
            f"{name}: {', '.join(image.overlays)} would be destroyed by writing to what it stands on; use read_only: true.",
            overlays=list(image.overlays),
        )


def _is_own(holder: Holder, servers: t.Collection[int], device: str | None) -> bool:
    return (holder.pid != 0 and holder.pid in servers) or (holder.device is not None and holder.device == device)


def _result(holder: Holder) -> dict[str, t.Any]:
    """As a return value, in the form of those who use a mount."""
    what = "image, for writing" if holder.writing else "image"
    return {"pid": holder.pid, "command": holder.command, "domain": holder.domain, "what": [what]}
