# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: what a guest gets of its own, put into its file system without starting it."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import render
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import ImageSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.guest_files import GuestFiles

HOST_KEYS_UNIT = "/etc/systemd/system/kvm-ssh-host-keys.service"
HOST_KEYS_WANTED = ("/etc/systemd/system/ssh.service.wants/kvm-ssh-host-keys.service", "../kvm-ssh-host-keys.service")
KERNEL_NAMES_LINK = "/etc/systemd/network/99-default.link"
_LINKS = "/etc/systemd/network"


def customize(files: GuestFiles, spec: ImageSpec) -> None:
    """Puts into the image what ``spec`` says of its guest."""
    wanted = spec.customize
    if wanted.interfaces is not None:
        _check_ifupdown(files, spec)
    for path, text in render.texts(spec).items():
        files.write(path, text, 0o644, 0, 0)
    if wanted.hostname is not None:
        files.write("/etc/hostname", f"{wanted.hostname}\n", 0o644, 0, 0)
        files.write("/etc/hosts", render.hosts(files.read("/etc/hosts"), wanted.hostname), 0o644, 0, 0)
    if wanted.ssh_authorized_keys is not None:
        files.mkdir("/root", 0o700)
        files.mkdir("/root/.ssh", 0o700)
        text = "".join(f"{key}\n" for key in wanted.ssh_authorized_keys)
        files.write("/root/.ssh/authorized_keys", text, 0o600, 0, 0)
    if wanted.root_password is not None:
        _password(files, spec, wanted.root_password)
    if spec.bootstrap is None:
        for file in wanted.files:
            files.write(file.path, file.content, int(file.mode, 8), file.owner, file.group)
    if spec.bootstrap is not None or spec.individual:
        _make_individual(files, wanted.machine_id)


def _check_ifupdown(files: GuestFiles, spec: ImageSpec) -> None:
    if not files.listdir("/etc/network") and files.resolve("/etc/network") is None:
        raise KvmError(
            f"image {spec.path}: there is no /etc/network in it, so its interfaces are not set up by ifupdown;"
            " install ifupdown in the base image, or leave out customize.interfaces."
        )
    stale = set(files.listdir(_LINKS)) - {path.rpartition("/")[2] for path in render.texts(spec)}
    for name in sorted(stale):
        if name.startswith("10-kvm-") and name.endswith(".link"):
            files.remove(f"{_LINKS}/{name}")
    # Without it an interface would be called by its place on the bus (ens3, enp1s0).
    files.write(KERNEL_NAMES_LINK, render.KERNEL_NAMES_LINK, 0o644, 0, 0)


def _password(files: GuestFiles, spec: ImageSpec, crypt: str) -> None:
    before = files.read("/etc/shadow")
    after = render.shadow(before, "root", crypt) if before is not None else None
    if after is None:
        raise KvmError(f"image {spec.path}: it has no /etc/shadow with the user root, so there is no password to set.")
    files.write("/etc/shadow", after)


def _make_individual(files: GuestFiles, machine_id: str | None) -> None:
    """Takes out what two guests must not share. An empty machine-id is filled at the first start, without asking."""
    if files.resolve("/etc") is None:
        return
    files.write("/etc/machine-id", f"{machine_id}\n" if machine_id else "", 0o444, 0, 0)
    files.remove("/var/lib/dbus/machine-id")
    files.remove("/var/lib/systemd/random-seed")
    names = files.listdir("/etc/ssh")
    for name in names:
        if re.fullmatch(r"ssh_host_\w+_key(\.pub)?", name):
            files.remove(f"/etc/ssh/{name}")
    if names and files.stat(HOST_KEYS_UNIT) is None:
        files.write(HOST_KEYS_UNIT, render.HOST_KEYS_UNIT, 0o644, 0, 0)
        files.symlink(*HOST_KEYS_WANTED)


def operating_system(files: GuestFiles) -> dict[str, t.Any] | None:
    """``id``, ``version`` and ``pretty_name`` from os-release; None when there is none."""
    text = files.read("/etc/os-release") or files.read("/usr/lib/os-release")
    if text is None:
        return None
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    values = {key.strip(): value.strip().strip("\"'") for key, _sign, value in pairs}
    return {"id": values.get("ID"), "version": values.get("VERSION_ID"), "pretty_name": values.get("PRETTY_NAME")}


def kernels(files: GuestFiles) -> list[dict[str, t.Any]]:
    """The kernels in ``/boot``, newest first: ``version``, ``kernel`` and ``initrd`` (paths in the image, or None)."""
    names = files.listdir("/boot")
    versions = [name[len("vmlinuz-") :] for name in names if name.startswith("vmlinuz-") and "rescue" not in name]
    found = []
    for version in sorted(versions, key=version_key, reverse=True):
        initrds = [n for n in (f"initrd.img-{version}", f"initramfs-{version}.img", f"initrd-{version}") if n in names]
        found.append(
            {
                "version": version,
                "kernel": f"/boot/vmlinuz-{version}",
                "initrd": f"/boot/{initrds[0]}" if initrds else None,
            }
        )
    return found


def version_key(version: str) -> list[tuple[int, int, str]]:
    """Orders kernel versions as people count (6.9 before 6.10, 6.1~rc1 before 6.1)."""
    parts = re.findall(r"\d+|[^\d]+", version.replace("~", "\x01"))
    return [
        (1, int(part), "") if part.isdigit() else (0 if part.startswith("\x01") else 2, 0, part) for part in parts
    ] + [(1, -1, "")]
