# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: an operating system from its distribution's archive, as a folder."""

from __future__ import annotations

import glob
import io
import os
import shlex
import tarfile
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, ToolError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import apt, edits, render
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.customize import GuestFile
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.network import common
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.sources import Bootstrap
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import ImageSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.workspace import Workspace, write

#: What every guest needs to start, to be reached, and to be looked after.
PACKAGES = (
    "systemd-sysv",
    "dbus",
    "udev",
    "kmod",
    "procps",
    "iproute2",
    "ifupdown",
    "isc-dhcp-client",
    "iputils-ping",
    "netbase",
    "e2fsprogs",
    "openssh-server",
    "qemu-guest-agent",
)
_COMPONENTS = ("main",)
_FILE_MIRRORS = "/usr/share/mmdebstrap/hooks/file-mirror-automount"
# What the build has left of this host or of itself. In the guest's own root, so that its links lead nowhere else.
# e2scrub's reaper looks for its leftovers on LVM at every start, for a minute without hardware acceleration.
_CLEAN = """#!/bin/sh
set -eu
exec chroot "$1" /bin/sh -euc '
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
rm -f /etc/apt/apt.conf.d/99mmdebstrap /etc/resolv.conf /etc/hostname /var/lib/systemd/random-seed
rm -f /var/log/apt/* /var/log/dpkg.log /var/log/alternatives.log /var/log/bootstrap.log /var/cache/apt/archives/*.deb
rm -f /etc/systemd/system/multi-user.target.wants/e2scrub_reap.service
: > /etc/machine-id
'
"""


def build(spec: ImageSpec, space: Workspace, say: t.Callable[[str], None], timeout: float) -> str:
    """Makes the tree in the work folder and gives its path; raises ToolError with what the package tools said."""
    wanted = spec.bootstrap
    if wanted is None:
        raise RuntimeError(f"{spec.path} has no bootstrap")
    if os.geteuid() != 0:
        raise KvmError(f"image {spec.path}: only root can make the tree of an operating system; use become.")
    host = _os_release("/etc/os-release")
    sources = _sources(spec, wanted, host)
    tree = space.file("tree")
    suite = wanted.suite or host["VERSION_CODENAME"]
    mirror = write(space.file("mirror.sources"), apt.write(sources, wanted.components), 0o644)
    os.mkdir(space.file("tmp"), 0o700)
    argv = _isolated() + [
        _command.find("mmdebstrap", "mmdebstrap"),
        "--mode=root",
        "--format=directory",
        f"--variant={wanted.variant}",
    ]
    argv += ["--include=" + ",".join(_packages(spec, wanted, host))]
    argv += [f"--aptopt={option}" for option in [*_host_options(), *wanted.apt_options]]
    if os.path.isdir(_FILE_MIRRORS) and any(uri.startswith(("file:", "copy:")) for uri in apt.uris(sources)):
        argv.append(f"--hook-dir={_FILE_MIRRORS}")
    argv += [*_hooks(spec, space), suite, tree, mirror]
    try:
        _command.run(argv, timeout=timeout, env={"TMPDIR": space.file("tmp")}, on_line=_teller(say))
    except ToolError as exc:
        raise _explained(spec, exc) from exc
    return tree


def _isolated() -> list[str]:
    """Mounts, processes: gone with the process, however it ends."""
    return [_command.find("unshare", "util-linux"), "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]


def _teller(say: t.Callable[[str], None]) -> t.Callable[[str], None]:
    def tell(line: str) -> None:
        if line.startswith("I: "):
            say(line[3:])

    return tell


def _explained(spec: ImageSpec, error: ToolError) -> ToolError:
    """The first error of the package tools; the last line is but mmdebstrap's farewell."""
    lines = str(error.details.get("stderr", "")).splitlines()
    said = [line.strip() for line in lines if line.lstrip().startswith(("E: ", "dpkg: error", "Err:"))]
    reason = said[0] if said else error.message
    return ToolError(
        f"image {spec.path}: cannot make the operating system from its archive: {reason}"
        " (see stderr; source.bootstrap.mirrors says where to fetch from).",
        **error.details,
    )


def _os_release(path: str) -> dict[str, str]:
    with open(path, encoding="utf-8") as file:
        pairs = (line.strip().partition("=") for line in file if "=" in line)
        return {"ID": "", "VERSION_CODENAME": "", **{key: value.strip("\"'") for key, _sign, value in pairs}}


def _sources(spec: ImageSpec, wanted: Bootstrap, host: t.Mapping[str, str]) -> list[apt.Source]:
    suite = wanted.suite or host["VERSION_CODENAME"]
    if not suite:
        raise KvmError(f"image {spec.path}: this host names no release of its own; state source.bootstrap.suite.")
    if wanted.mirrors is not None:
        sources = apt.from_mirrors(wanted.mirrors, suite, wanted.components or _COMPONENTS)
    else:
        sources = apt.select(_host_sources(), host["VERSION_CODENAME"], suite)
    if not sources:
        raise KvmError(
            f"image {spec.path}: /etc/apt of this host has no source of its release that could serve {suite};"
            " state source.bootstrap.mirrors."
        )
    return sources


def _host_sources() -> list[apt.Source]:
    found: list[apt.Source] = []
    for path in ["/etc/apt/sources.list", *sorted(glob.glob("/etc/apt/sources.list.d/*"))]:
        parse = {".list": apt.parse_list, ".sources": apt.parse_deb822}.get(os.path.splitext(path)[1])
        if parse is not None and os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                found += parse(file.read())
    return found


def _host_options() -> list[str]:
    program = _command.find("apt-config", "apt")
    return apt.passed_options(_command.run([program, "dump"], timeout=30).stdout)


def _packages(spec: ImageSpec, wanted: Bootstrap, host: t.Mapping[str, str]) -> list[str]:
    kernel = wanted.kernel_package
    if kernel is None:
        ubuntu = host["ID"] == "ubuntu" or any("ubuntu" in mirror for mirror in wanted.mirrors or ())
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
        kernel = "linux-image-virtual" if ubuntu else f"linux-image-cloud-{machine}"
    return list(dict.fromkeys([*PACKAGES, kernel, *wanted.packages, *spec.customize.packages]))


def _hooks(spec: ImageSpec, space: Workspace) -> list[str]:
    """What goes in before the packages (the initramfs is made of it), after them, and the commands, in mmdebstrap's sandbox."""
    early = [
        GuestFile(common.KERNEL_NAMES, common.KERNEL_NAMES_LINK),
        GuestFile("/etc/initramfs-tools/conf.d/resume", "RESUME=none\n"),
        GuestFile(render.FSTAB, render.texts(spec)[render.FSTAB]),
    ]
    late = [GuestFile(edits.HOST_KEYS_UNIT, render.HOST_KEYS_UNIT), *spec.customize.files]
    hooks = [f"--essential-hook=tar-in {shlex.quote(_archive(space.file('early.tar'), early))} /"]
    archive = _archive(space.file("late.tar"), late, [edits.HOST_KEYS_WANTED])
    hooks.append(f"--customize-hook=tar-in {shlex.quote(archive)} /")
    for number, command in enumerate(spec.customize.commands):
        text = f'#!/bin/sh\nexec chroot "$1" /bin/sh -ec {shlex.quote(command)}\n'
        hooks.append(f"--customize-hook={shlex.quote(write(space.file(f'command{number}'), text, 0o700))}")
    hooks.append(f"--customize-hook={shlex.quote(write(space.file('clean'), _CLEAN, 0o700))}")
    return hooks


def _archive(path: str, files: t.Sequence[GuestFile], links: t.Sequence[tuple[str, str]] = ()) -> str:
    with tarfile.open(path, "x") as archive:
        for file in files:
            data = file.content.encode()
            info = tarfile.TarInfo("." + file.path)
            info.size, info.mode, info.uid, info.gid = len(data), int(file.mode, 8), file.owner, file.group
            info.mtime = int(time.time())
            archive.addfile(info, io.BytesIO(data))
        for name, target in links:
            info = tarfile.TarInfo("." + name)
            info.type, info.linkname, info.mtime = tarfile.SYMTYPE, target, int(time.time())
            archive.addfile(info)
    os.chmod(path, 0o600)
    return path
