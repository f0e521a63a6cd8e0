# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: from the declaration and what stands in the guest to the changes of its files. Pure."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import fstab, render
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.customize import RESET
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Edit, Planner, Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.filesystem import Filesystem
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import ImageSpec

HOST_KEYS_UNIT = "/etc/systemd/system/kvm-ssh-host-keys.service"
HOST_KEYS_WANTED = ("/etc/systemd/system/ssh.service.wants/kvm-ssh-host-keys.service", "../kvm-ssh-host-keys.service")
KERNEL_NAMES_LINK = "/etc/systemd/network/99-default.link"
_LINKS = "/etc/systemd/network"
_SSH = "/etc/ssh"
_HOST_KEY = re.compile(r"ssh_host_\w+_key(\.pub)?")
_OWN_LINK = re.compile(r"10-kvm-.+\.link")

#: The parts of a declaration that are files of the guest: what of it is to be put into place.
PARTS = (
    "fstab",
    "customize",
    "customize.hostname",
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
        *("/etc/hostname", "/etc/hosts", "/root", "/root/.ssh", "/root/.ssh/authorized_keys", "/etc/shadow"),
        *("/etc", "/etc/machine-id", "/var/lib/dbus/machine-id", "/var/lib/systemd/random-seed", _SSH),
        *(HOST_KEYS_UNIT, HOST_KEYS_WANTED[0], KERNEL_NAMES_LINK, _LINKS, "/etc/network"),
        *(fstab.FSTAB, fstab.CRYPTTAB, fstab.RESUME, fstab.GRUB),
        *(file.path for file in spec.customize.files),
    ]
    return list(dict.fromkeys(wanted))


def more_paths(snapshot: Snapshot) -> list[str]:
    """The paths that follow from the names in the folders: host keys and network links of an earlier declaration."""
    keys = [f"{_SSH}/{name}" for name in snapshot.names(_SSH) if _HOST_KEY.fullmatch(name)]
    return keys + [f"{_LINKS}/{name}" for name in snapshot.names(_LINKS) if _OWN_LINK.fullmatch(name)]


def plan(
    spec: ImageSpec,
    snapshot: Snapshot,
    parts: t.Collection[str] = PARTS,
    devices: fstab.Devices | None = None,
    former_files: t.Sequence[str] = (),
) -> list[Edit]:
    """The changes for those ``parts`` of the declaration, in an order in which they can be made.

    ``devices`` are those of the finished disk, for fstab; ``former_files`` are files of an earlier declaration that are
    not in this one. Raises KvmError when something in the guest is in the way.
    """
    planner = Planner(f"image {spec.path}", snapshot)
    for part, step in _STEPS.items():
        if part in parts and not (part == "customize.machine_id" and "customize" in parts):
            step(planner, spec)
    if "fstab" in parts and spec.fstab == "rewrite" and devices is not None:
        _rewrite_fstab(planner, spec, devices)
    for path in former_files if "customize.files" in parts else ():
        planner.remove(path)
    return planner.edits


def _fstab(planner: Planner, spec: ImageSpec) -> None:
    mounts = render.fstab_mounts(spec)
    if mounts is not None:
        planner.write(fstab.FSTAB, render.fstab(mounts), 0o644)


def _rewrite_fstab(planner: Planner, spec: ImageSpec, devices: fstab.Devices) -> None:
    snapshot = planner.snapshot
    wanted = spec.filesystem or Filesystem()
    label, uuid = wanted.label or devices.root.label, wanted.uuid or devices.root.uuid
    name = f"LABEL={label}" if label else f"UUID={uuid}"
    closed: list[str] = []
    text = snapshot.text(fstab.CRYPTTAB)
    if text is not None:
        after, closed = fstab.crypttab(text, devices)
        planner.rewrite(fstab.CRYPTTAB, after)
    before = snapshot.text(fstab.FSTAB) or ""
    planner.rewrite(fstab.FSTAB, fstab.rewrite(before, name, devices, closed))
    for path, change in ((fstab.RESUME, fstab.resume), (fstab.GRUB, fstab.grub)):
        text = snapshot.text(path)
        if text is not None:
            planner.rewrite(path, change(text, devices))


def _hostname(planner: Planner, spec: ImageSpec) -> None:
    if spec.customize.hostname is not None:
        planner.write("/etc/hostname", f"{spec.customize.hostname}\n", 0o644)
        planner.rewrite("/etc/hosts", render.hosts(planner.snapshot.text("/etc/hosts"), spec.customize.hostname))


def _interfaces(planner: Planner, spec: ImageSpec) -> None:
    if spec.customize.interfaces is None:
        return
    if not planner.snapshot.is_folder("/etc/network"):
        raise KvmError(
            f"image {spec.path}: there is no /etc/network in it, so its interfaces are not set up by ifupdown;"
            " install ifupdown in the base image, or leave out customize.interfaces."
        )
    texts = render.network_texts(spec)
    for name in planner.snapshot.names(_LINKS):
        if _OWN_LINK.fullmatch(name) and f"{_LINKS}/{name}" not in texts:
            planner.remove(f"{_LINKS}/{name}")
    # Without it an interface would be called by its place on the bus (ens3, enp1s0).
    planner.write(KERNEL_NAMES_LINK, render.KERNEL_NAMES_LINK, 0o644)
    for path, text in texts.items():
        planner.write(path, text, 0o644)


def _keys(planner: Planner, spec: ImageSpec) -> None:
    keys = spec.customize.ssh_authorized_keys
    if keys is not None:
        planner.mkdir("/root", 0o700)
        planner.mkdir("/root/.ssh", 0o700)
        planner.write("/root/.ssh/authorized_keys", "".join(f"{key}\n" for key in keys), 0o600)


def _password(planner: Planner, spec: ImageSpec) -> None:
    crypt = spec.customize.root_password
    if crypt is None:
        return
    before = planner.snapshot.text("/etc/shadow")
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
