# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: what a range of a disk holds, without mounting it or asking a program."""

from __future__ import annotations

from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import (
    probe_foreign,
    probe_layers,
    probe_linux,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.signature import Probe, Signature, clean

__all__ = ["Signature", "clean", "identify"]

# blkid's order. Layers first: what they hold begins somewhere else, so a file system that is recognised beside a valid
# header of one is either older than it or inside of it. Then file systems, those first that are written over the whole
# beginning of a range, and last those of which something survives at the end or deep inside of newer ones.
_PROBES: tuple[Probe, ...] = (
    probe_layers.md_raid,
    probe_layers.bcache,
    probe_layers.lvm,
    probe_layers.luks,
    probe_layers.bitlocker,
    probe_foreign.vfat,
    probe_linux.swap,
    probe_linux.xfs,
    probe_linux.ext,
    probe_linux.reiserfs,
    probe_linux.jfs,
    probe_foreign.udf,
    probe_foreign.iso9660,
    probe_layers.zfs,
    probe_foreign.ntfs,
    probe_linux.squashfs,
    probe_linux.btrfs,
    probe_foreign.exfat,
    probe_linux.f2fs,
    probe_linux.erofs,
)


def identify(reader: Reader) -> Signature | None:
    """What the range holds; None when nothing is recognised. Raises Damaged only where the reader does."""
    for probe in _PROBES:
        found = probe(reader)
        if found is not None:
            return found
    return None
