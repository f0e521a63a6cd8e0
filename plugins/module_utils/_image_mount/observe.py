# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Mounts of images: what is there now. Reads only."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _loop
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount import (
    capabilities,
    holders,
    image,
    mountinfo,
    record,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.backends import daemon
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.holders import User
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.image import Image
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.mountinfo import Entry
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.record import Record
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.spec import ROOT, MountSpec, in_order

_HOST_TREES = ("dev", "proc", "sys")
# The daemons that end by themselves when nobody uses what they have mounted.
_FILE_SYSTEMS = ("guestmount", "fuse2fs")


@dataclasses.dataclass(frozen=True)
class Mounted:
    """An image that is mounted. ``number`` None is the whole disk, or not known; ``partition`` is as it was declared."""

    path: str
    backend: str
    partition: int | str | None
    number: int | None
    offset: int
    filesystem: str
    read_only: bool
    device: str | None
    #: Of a mount that was made by hand nothing more is known.
    recorded: bool = False
    format: str | None = None
    trust: str = "trusted"
    #: Whether another file has taken the place of the image since.
    replaced: bool = False


@dataclasses.dataclass(frozen=True)
class MountState:
    """A folder and what is mounted there. ``point`` is the folder without links in its path.

    ``other`` says what is mounted there when it is nothing of ours. ``binds`` are folders of the host that are bound into
    the mount, as paths in it, and ``beneath`` other mounts in it; both in the order in which they can be undone.
    """

    point: str
    exists: bool = False
    empty: bool = True
    record: Record | None = None
    mounted: Mounted | None = None
    other: str | None = None
    binds: tuple[str, ...] = ()
    beneath: tuple[str, ...] = ()
    users: tuple[User, ...] = ()
    servers: tuple[User, ...] = ()
    #: Whether what the daemons show is in use.
    in_use: bool = False
    #: The processes that must not be ended: this one and those that have started it.
    ancestors: frozenset[int] = frozenset()
    image: Image | None = None
    #: The own path of the image that is meant, None when it is missing.
    path: str | None = None
    #: Backend -> why it cannot be used here; empty when it can.
    lacking: t.Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def lingers(self) -> bool:
        """Whether somebody still uses what was unmounted lazily, and with it a daemon that must stay for that."""
        return self.mounted is None and self.record is not None and self.record.detached and self.in_use

    @property
    def complete(self) -> bool:
        """Whether the mount stands as a whole, and can be read: without its daemon there is only an error behind it."""
        known = self.record
        if self.mounted is None or known is None:
            return self.mounted is not None
        served = known.backend != "fuse" or any(user.command not in _FILE_SYSTEMS for user in self.servers)
        return known.complete and served


def observe(spec: MountSpec) -> MountState:
    """Reads what is at the mountpoint and, if it is to be mounted, the image."""
    point = os.path.realpath(spec.mountpoint)
    entries = mountinfo.read()
    entry = mountinfo.at(entries, point)
    known = record.read(point)
    real = image.regular(spec.path) if spec.path is not None else None
    servers = tuple(daemon.servers(record.work_folder(point)))
    mounted = _mounted(entry, known, real, servers) if entry is not None else None
    below = mountinfo.beneath(entries, point) if mounted is not None else []
    binds = tuple(os.path.relpath(item.point, point) for item in below if _is_bind(item, point, entries))
    state = MountState(
        point=point,
        exists=os.path.isdir(point) if entry is None else True,
        empty=entry is not None or _empty(point),
        record=known,
        mounted=mounted,
        other=str(entry) if entry is not None and mounted is None else None,
        binds=binds,
        beneath=tuple(item.point for item in below if not _is_bind(item, point, entries)),
        users=tuple(holders.users(point)) if mounted is not None else (),
        servers=servers,
        in_use=any(user.command in _FILE_SYSTEMS for user in servers)
        or any(device.backing == os.path.join(record.work_folder(point), "disk") for device in _loop.devices()),
        ancestors=frozenset(holders.ancestors()) if mounted is not None else frozenset(),
        path=real,
    )
    return _with_image(spec, state)


def _with_image(spec: MountSpec, state: MountState) -> MountState:
    """The image is looked into only where that decides something: its file system changes while it is mounted."""
    if spec.state != "mounted" or state.path is None or state.other is not None:
        return state
    if state.complete and state.mounted is not None and satisfied(spec, state.mounted, state.path):
        return state
    lacking = {name: why() for name, why in capabilities.ALL.items()}
    return dataclasses.replace(state, image=image.look(spec, state.path), lacking=lacking)


def satisfied(spec: MountSpec, now: Mounted, path: str) -> bool:
    """Whether what is mounted is what is meant, if that can be said without looking into the image."""
    any_root = (None, ROOT)
    same = now.partition in any_root if spec.partition in any_root else spec.partition == now.number
    return (
        now.recorded
        and not now.replaced
        and now.path == path
        and same
        and now.read_only == spec.read_only
        and spec.backend in ("auto", now.backend)
        and spec.format in (None, now.format)
        and spec.trust in (None, now.trust)
    )


def _mounted(entry: Entry, known: Record | None, real: str | None, servers: t.Sequence[User]) -> Mounted | None:
    """What is mounted there, if it is the image that is meant or one of ours."""
    device = _loop.look(entry.source)
    if known is not None and _is_recorded(entry, known, device, servers):
        return Mounted(
            path=known.path,
            backend=known.backend,
            partition=known.partition,
            number=known.number,
            offset=known.offset,
            filesystem=known.filesystem,
            read_only=known.read_only,
            device=known.device,
            recorded=True,
            format=known.format,
            trust=known.trust,
            replaced=_inode(known.path) not in (known.inode, None),
        )
    if device is None or real is None or not _same_file(device.backing, real):
        return None
    return Mounted(
        path=real,
        backend="loop",
        partition=None,
        number=None,
        offset=device.offset,
        filesystem=entry.kind,
        read_only=entry.read_only or device.read_only,
        device=device.device,
    )


def _is_recorded(entry: Entry, known: Record, device: _loop.Loop | None, servers: t.Sequence[User]) -> bool:
    if device is not None:
        backing = known.export if known.backend == "fuse" else known.path
        named = device.backing in (backing, f"{backing} (deleted)") or _same_file(device.backing, known.path)
        return device.device == known.device and named
    if entry.kind.startswith("fuse"):
        programs = {user.command for user in servers}
        return known.device is None and bool(programs & {"guestmount", "fuse2fs"})
    return entry.source == known.device and entry.source.startswith("/dev/nbd")


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def _same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _is_bind(entry: Entry, point: str, entries: t.Sequence[Entry]) -> bool:
    """Whether it shows what the host has at the same place of its own tree."""
    inner = os.path.relpath(entry.point, point)
    host = mountinfo.at(entries, f"/{inner}")
    if inner.split("/", maxsplit=1)[0] not in _HOST_TREES or host is None:
        return False
    return (host.device, host.root) == (entry.device, entry.root)


def _empty(path: str) -> bool:
    try:
        with os.scandir(path) as names:
            return next(names, None) is None
    except FileNotFoundError:
        return True
    except OSError as exc:
        raise KvmError(f"mount {path}: cannot look into the folder: {exc.strerror}.") from exc


def facts(state: MountState, spec: MountSpec) -> dict[str, t.Any]:
    """The return value ``mount``."""
    now = state.mounted
    return {
        "path": now.path if now is not None else spec.path,
        "mountpoint": spec.mountpoint,
        "state": "mounted" if state.complete else "incomplete" if _rest(state) else "unmounted",
        "backend": now.backend if now is not None else None,
        "partition": now.number if now is not None else None,
        "offset": now.offset if now is not None else None,
        "filesystem": now.filesystem if now is not None else None,
        "read_only": now.read_only if now is not None else None,
        "device": now.device if now is not None else None,
        "holders": [user.result() for user in state.users],
        "binds": in_order(state.binds),
    }


def _rest(state: MountState) -> bool:
    return state.mounted is not None or (bool(state.record or state.servers) and not state.lingers)
