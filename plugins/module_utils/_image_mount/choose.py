# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Mounts of images: which backend does it. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError

EXT = ("ext2", "ext3", "ext4")
# What a kernel may be asked to mount. Anything else in a partition is a layer below file systems, or swap.
KERNEL = (*EXT, "xfs", "btrfs", "vfat", "exfat", "f2fs", "jfs", "reiserfs", "iso9660", "udf", "squashfs", "erofs")
_NO_FILE_SYSTEM = ("swap", "LVM2_member", "crypto_LUKS", "linux_raid_member", "BitLocker", "bcache", "zfs_member")
# In the order of preference. The kernel is not let near what somebody else has made.
_TRUSTED = {"raw": ("loop", "fuse", "nbd", "guestmount"), "qcow2": ("fuse", "nbd", "guestmount")}
_UNTRUSTED = ("guestmount", "fuse")


def choose(
    name: str, backend: str, form: str, trust: str, filesystem: str, chroot: bool, lacking: t.Mapping[str, str]
) -> str:
    """The backend for a file system in an image of the format ``form``.

    ``backend`` is what was asked for. ``lacking`` has for each what this host lacks for it. Raises KvmError with all
    reasons when there is none; ``name`` is what the sentence is about.
    """
    if filesystem in _NO_FILE_SYSTEM:
        raise KvmError(f"{name}: what is there is {filesystem} and no file system; choose another partition.")
    possible = _UNTRUSTED if trust == "untrusted" else _TRUSTED[form]
    if chroot:
        possible = tuple(item for item in possible if item != "guestmount")
        if trust == "untrusted":
            raise KvmError(
                f"{name}: it was not built by this collection, and chroot: true is for running its programs as root of this"
                " host; state trust: trusted if you trust it that far."
            )
    if backend != "auto" and backend not in possible:
        raise KvmError(
            f"{name}: backend {backend} cannot do it for {'an' if trust == 'untrusted' else 'a'} {trust} {form} image;"
            f" use {' or '.join(possible)}{_hint(trust, backend)}."
        )
    reasons = []
    for item in possible if backend == "auto" else (backend,):
        reason = _reason(item, trust, filesystem, lacking)
        if not reason:
            return item
        reasons.append(f"{item}: {reason}")
    raise KvmError(f"{name}: it cannot be mounted here, {'; '.join(reasons)}.")


def _hint(trust: str, backend: str) -> str:
    return ", or state trust: trusted if you trust it" if trust == "untrusted" and backend in ("loop", "nbd") else ""


def _reason(backend: str, trust: str, filesystem: str, lacking: t.Mapping[str, str]) -> str:
    """Why a backend cannot do it; empty when it can."""
    if backend == "guestmount":
        return lacking.get("guestmount", "")
    if trust == "untrusted":
        if filesystem not in EXT:
            return f"without the kernel it reads {', '.join(EXT)} only, not {filesystem}"
        return lacking.get("fuse2fs", "")
    if filesystem not in KERNEL:
        return f"no kernel mounts {filesystem}"
    # What a daemon shows is mounted through a loop device too.
    return lacking.get(backend, "") or (lacking.get("loop", "") if backend == "fuse" else "")
