# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Mounts of images: which backends this host has, and what those lack that it has not. Reads only."""

from __future__ import annotations

import glob
import os
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import ToolMissing

QSD = ("qemu-storage-daemon", "qemu-utils (qemu-system-common on Debian 12)")
NBD = ("qemu-nbd", "qemu-utils")
GUESTMOUNT = ("guestmount", "guestmount")
FUSE2FS = ("fuse2fs", "fuse2fs")


def loop() -> str:
    """Loop devices."""
    return "" if os.path.exists("/dev/loop-control") else "this host has no loop devices (/dev/loop-control)"


def fuse() -> str:
    """FUSE with qemu's daemon; what it shows is then mounted through a loop device."""
    return _fuse() or _program(*QSD)


def fuse2fs() -> str:
    """The same, with a file system of ext2, ext3 or ext4 read by a program and not by the kernel."""
    return fuse() or _program(*FUSE2FS)


def nbd() -> str:
    """The kernel's network block devices."""
    if not os.path.isdir("/sys/module/nbd") and not os.path.exists("/dev/nbd0") and not _has_module():
        return "the kernel of this host has no module nbd"
    return _program(*NBD)


def guestmount() -> str:
    """libguestfs, which needs a kernel for its own small guest."""
    why = _fuse() or _program(*GUESTMOUNT)
    if why or os.environ.get("SUPERMIN_KERNEL") or glob.glob("/boot/vmlinu*") or glob.glob("/lib/modules/*/vmlinuz"):
        return why
    return "guestmount finds no kernel in /boot for its own small guest; install one"


#: What decides for each backend, in the order in which they are preferred.
ALL: dict[str, t.Callable[[], str]] = {
    "loop": loop,
    "fuse": fuse,
    "fuse2fs": fuse2fs,
    "nbd": nbd,
    "guestmount": guestmount,
}


def _fuse() -> str:
    return "" if os.path.exists("/dev/fuse") else "this host has no FUSE (/dev/fuse)"


def _program(name: str, package: str) -> str:
    try:
        _command.find(name, package)
    except ToolMissing:
        return f"the program {name} is missing, install the package {package}"
    return ""


def _has_module() -> bool:
    try:
        modprobe = _command.find("modprobe", "kmod")
    except ToolMissing:
        return False
    return _command.run([modprobe, "--dry-run", "--quiet", "nbd"], timeout=20, ok=()).rc == 0
