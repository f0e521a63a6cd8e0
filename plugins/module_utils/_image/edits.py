# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: from the declaration and what stands in the guest to the changes of its files. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import fstab, render, selinux
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.customize import RESET, Former
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Edit, Planner, Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.filesystem import Filesystem
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.network import files as network
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.network import ifupdown, system
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import ImageSpec

HOST_KEYS_UNIT = "/etc/systemd/system/kvm-ssh-host-keys.service"
HOST_KEYS_WANTED = ("/etc/systemd/system/ssh.service.wants/kvm-ssh-host-keys.service", "../kvm-ssh-host-keys.service")
_AUTORELABEL = "/.autorelabel"
_SSH = "/etc/ssh"
_HOSTS = "/etc/hosts"
NOTHING_FORMER = Former()
_HOST_KEY = re.compile(r"ssh_host_\w+_key(\.pub)?")

#: The parts of a declaration that are files of the guest: what of it is to be put into place.
PARTS = (
    "fstab",
    "customize",
    "customize.hostname",
    "customize.hosts",
    "customize.interfaces",
    "customize.ssh_authorized_keys",
    "customize.root_password",
    "customize.files",
    "customize.machine_id",
)


def paths(spec: ImageSpec) -> list[str]:
    """The paths of the guest that must be looked at before ``plan``; folders whose names matter are looked at first."""
    wanted = [
        *render.texts(spec),
        *("/etc/hostname", _HOSTS, "/root", "/root/.ssh", "/root/.ssh/authorized_keys", "/etc/shadow"),
        *("/etc", "/etc/machine-id", "/var/lib/dbus/machine-id", "/var/lib/systemd/random-seed", _SSH),
        *(HOST_KEYS_UNIT, HOST_KEYS_WANTED[0], selinux.CONFIG),
        *(fstab.FSTAB, fstab.CRYPTTAB, fstab.RESUME, fstab.GRUB),
        *(file.path for file in spec.customize.files),
    ]
    if spec.customize.interfaces is not None:
        wanted += [*network.LOOK, *network.FOLDERS]
    return list(dict.fromkeys(wanted))


def more_paths(spec: ImageSpec, snapshot: Snapshot) -> list[str]:
    """The paths that follow from what is there: host keys, the files of its network system, those of its SELinux policy."""
    found = [f"{_SSH}/{name}" for name in snapshot.names(_SSH) if _HOST_KEY.fullmatch(name)]
    policy = selinux.policy(snapshot.text(selinux.CONFIG) or "")
    if policy is not None:
        found += [*selinux.paths(policy).values(), _AUTORELABEL]
    kind = _network_system(snapshot) if spec.customize.interfaces is not None else None
    if kind is not None and spec.customize.interfaces is not None:
        found += network.paths(kind, spec.customize.interfaces, _network_guest(snapshot))
    return found


def plan(
    spec: ImageSpec,
    snapshot: Snapshot,
    parts: t.Collection[str] = PARTS,
    devices: fstab.Devices | None = None,
    former: Former = NOTHING_FORMER,
) -> list[Edit]:
    """The changes for those ``parts`` of the declaration, in an order in which they can be made.

    ``devices`` are those of the finished disk, for fstab; ``former`` is what an earlier declaration had and this one
    has not. Raises KvmError when something in the guest is in the way.
    """
    planner = Planner(f"image {spec.path}", snapshot)
    for part, step in _STEPS.items():
        if part in parts and not (part == "customize.machine_id" and "customize" in parts):
            step(planner, spec)
    if "customize.hosts" in parts and (spec.customize.hosts is not None or former.hosts):
        wanted = spec.customize.hosts or ()
        planner.rewrite(_HOSTS, render.host_entries(planner.text(_HOSTS), wanted, former.hosts))
    if "fstab" in parts and spec.fstab == "rewrite" and devices is not None:
        _rewrite_fstab(planner, spec, devices)
    for path in former.files if "customize.files" in parts else ():
        if snapshot.at(path).place not in _declared(spec, snapshot):
            planner.remove(path)
    return _labelled(planner.edits, snapshot)


def _declared(spec: ImageSpec, snapshot: Snapshot) -> set[str]:
    """Where the files are that the declaration has, by whatever name and whatever part of it."""
    wanted = spec.customize
    stated = {
        "/etc/hostname": wanted.hostname,
        _HOSTS: wanted.hostname or wanted.hosts,
        "/root/.ssh/authorized_keys": wanted.ssh_authorized_keys,
        "/etc/shadow": wanted.root_password,
        "/etc/machine-id": wanted.machine_id,
    }
    names = [*(file.path for file in wanted.files), *(path for path, value in stated.items() if value is not None)]
    return {snapshot.at(path).place for path in names}


def _labelled(planned: list[Edit], snapshot: Snapshot) -> list[Edit]:
    """New files get the label that the guest's own SELinux policy has for them, or the guest is told to label everything."""
    policy = selinux.policy(snapshot.text(selinux.CONFIG) or "")
    new = [edit for edit in planned if edit.action in ("write", "mkdir") and selinux.XATTR not in dict(edit.xattrs)]
    if policy is None or not new:
        return planned
    texts = {key: snapshot.text(path) or "" for key, path in selinux.paths(policy).items()}
    try:
        labels = selinux.parse(**texts)
        found = {edit.path: labels.label(edit.path, "directory" if edit.action == "mkdir" else "file") for edit in new}
    except KvmError:
        planner = Planner("", snapshot)
        planner.write(_AUTORELABEL, "", 0o600)
        return [*planned, *planner.edits]
    return [_with_label(edit, found.get(edit.path)) for edit in planned]


def _with_label(edit: Edit, label: str | None) -> Edit:
    if label is None:
        return edit
    return dataclasses.replace(edit, xattrs=(*edit.xattrs, (selinux.XATTR, label.encode() + b"\0")))


def _fstab(planner: Planner, spec: ImageSpec) -> None:
    mounts = render.fstab_mounts(spec)
    if mounts is not None:
        planner.write(fstab.FSTAB, render.fstab(mounts), 0o644)


def _rewrite_fstab(planner: Planner, spec: ImageSpec, devices: fstab.Devices) -> None:
    wanted = spec.filesystem or Filesystem()
    label, uuid = wanted.label or devices.root.label, wanted.uuid or devices.root.uuid
    name = f"LABEL={label}" if label else f"UUID={uuid}"
    closed: list[str] = []
    text = planner.text(fstab.CRYPTTAB)
    if text is not None:
        after, closed = fstab.crypttab(text, devices)
        planner.rewrite(fstab.CRYPTTAB, after)
    before = planner.text(fstab.FSTAB) or ""
    planner.rewrite(fstab.FSTAB, fstab.rewrite(before, name, devices, closed))
    for path, change in ((fstab.RESUME, fstab.resume), (fstab.GRUB, fstab.grub)):
        text = planner.text(path)
        if text is not None:
            planner.rewrite(path, change(text, devices))


def _hostname(planner: Planner, spec: ImageSpec) -> None:
    if spec.customize.hostname is not None:
        planner.write("/etc/hostname", f"{spec.customize.hostname}\n", 0o644)
        # What is declared as a whole file is that, also when another host name is declared later.
        if not any(file.path == _HOSTS for file in spec.customize.files):
            planner.rewrite(_HOSTS, render.hosts(planner.text(_HOSTS), spec.customize.hostname))


def _network_guest(snapshot: Snapshot) -> network.Guest:
    return network.Guest(lambda path: snapshot.at(path).kind is not None, snapshot.names, snapshot.text)


def _network_system(snapshot: Snapshot) -> str | None:
    guest = _network_guest(snapshot)
    found = system.detect(guest.exists, guest.names)
    # A guest that has no network system yet, but the folder of the one that needs none to be installed first.
    return found or (system.IFUPDOWN if snapshot.is_folder(ifupdown.FOLDER) else None)


def _interfaces(planner: Planner, spec: ImageSpec) -> None:
    items, snapshot = spec.customize.interfaces, planner.snapshot
    if items is None:
        return
    kind = _network_system(snapshot)
    if kind is None:
        guest = _network_guest(snapshot)
        raise KvmError(
            f"image {spec.path}: its network is set up by {system.unknown(guest.exists)}; install ifupdown, netplan, systemd-networkd"
            " or NetworkManager in the base image, or leave out customize.interfaces."
        )
    files = network.plan(kind, items, _network_guest(snapshot))
    for source, target in files.move.items():
        planner.move(source, target, keep=source in files.write)
    for path in files.remove:
        planner.remove(path)
    if not snapshot.is_folder(files.folder):
        planner.mkdir(files.folder, files.folder_mode)
    for path, (text, mode) in files.write.items():
        planner.write(path, text, mode)


def _keys(planner: Planner, spec: ImageSpec) -> None:
    keys = spec.customize.ssh_authorized_keys
    if keys is not None:
        if planner.snapshot.at("/root").kind is None:
            planner.mkdir("/root", 0o700)
        # sshd takes no keys from a folder of somebody else.
        planner.mkdir("/root/.ssh", 0o700, owner=0)
        planner.write("/root/.ssh/authorized_keys", "".join(f"{key}\n" for key in keys), 0o600)


def _password(planner: Planner, spec: ImageSpec) -> None:
    crypt = spec.customize.root_password
    if crypt is None:
        return
    before = planner.text("/etc/shadow")
    after = render.shadow(before, "root", crypt) if before is not None else None
    if after is None:
        raise KvmError(f"image {spec.path}: it has no /etc/shadow with the user root, so there is no password to set.")
    planner.rewrite("/etc/shadow", after, secret=True)


def _files(planner: Planner, spec: ImageSpec) -> None:
    # Those of a bootstrap are put in while its packages are installed.
    for file in spec.customize.files if spec.bootstrap is None else ():
        planner.write(file.path, file.content, int(file.mode, 8), file.owner, file.group, secret=True)


def _individual(planner: Planner, spec: ImageSpec) -> None:
    """Takes out what two guests must not share."""
    snapshot = planner.snapshot
    if not (spec.bootstrap is not None or spec.individual) or not snapshot.is_folder("/etc"):
        return
    _put_machine_id(planner, spec.customize.machine_id)
    planner.remove("/var/lib/systemd/random-seed")
    keys = [name for name in snapshot.names(_SSH) if _HOST_KEY.fullmatch(name)]
    for name in keys:
        planner.remove(f"{_SSH}/{name}")
    if snapshot.names(_SSH) and snapshot.at(HOST_KEYS_UNIT).kind is None:
        planner.write(HOST_KEYS_UNIT, render.HOST_KEYS_UNIT, 0o644)
        planner.symlink(*HOST_KEYS_WANTED)


def _machine_id(planner: Planner, spec: ImageSpec) -> None:
    if spec.customize.machine_id is not None:
        _put_machine_id(planner, spec.customize.machine_id)


def _put_machine_id(planner: Planner, wanted: str | None) -> None:
    """An empty machine-id is filled at the first start, without asking."""
    planner.write("/etc/machine-id", f"{wanted}\n" if wanted not in (None, RESET) else "", 0o444)
    planner.remove("/var/lib/dbus/machine-id")


_STEPS: dict[str, t.Callable[[Planner, ImageSpec], None]] = {
    "fstab": _fstab,
    "customize.interfaces": _interfaces,
    "customize.hostname": _hostname,
    "customize.ssh_authorized_keys": _keys,
    "customize.root_password": _password,
    "customize.files": _files,
    # The first also does the second.
    "customize": _individual,
    "customize.machine_id": _machine_id,
}
