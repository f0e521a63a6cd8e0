# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Whether a copy may be made where it is declared to be. Pure."""

from __future__ import annotations

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks.seen import Place
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks.wish import Mirror
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import format_size


def reused(what: str, mirror: Mirror, place: Place | None, size: int | None, ours: bool) -> bool:
    """Whether what is there is written over; raises for what must not be. ``what`` names the disk.

    ``place`` None: nobody can look, so libvirt does. ``size``: that of the disk. ``ours``: whether an earlier run began
    this copy, so that what is there is what has become of it.
    """
    if place is None:
        return mirror.reuse
    if place.beneath:
        raise InvalidSpec(f"{what}: its mirror ({mirror.path}) is what the disk itself stands on; choose another path.")
    if place.user is not None:
        raise Busy(
            f"{what}: {mirror.path}, where its mirror is to be, is used by domain {place.user}; choose another path."
        )
    if place.kind == "none" or (place.kind == "file" and place.empty):
        if mirror.type == "block":
            raise InvalidSpec(f"{what}: its mirror is to be on {mirror.path}, which is no device of this host.")
        return False
    if place.kind == "other" or (place.kind == "block") != (mirror.type == "block"):
        raise InvalidSpec(
            f"{what}: {mirror.path}, where its mirror is to be, is no {mirror.type}; choose another path."
        )
    if not (ours or mirror.reuse):
        raise Busy(
            f"{what}: {mirror.path}, where its mirror is to be, exists already; remove it, choose another path, or state"
            " mirror.reuse to have it written over."
        )
    _check_same(what, mirror, place, size)
    return True


def _check_same(what: str, mirror: Mirror, place: Place, size: int | None) -> None:
    """qemu copies into an image that fits only."""
    way_out = (
        "remove it, or choose another path" if place.kind == "file" else "make it as large, or choose another device"
    )
    if place.backing:
        raise InvalidSpec(f"{what}: {mirror.path}, where its mirror is to be, stands on another file; {way_out}.")
    if place.format not in (None, mirror.format):
        raise InvalidSpec(
            f"{what}: {mirror.path}, where its mirror is to be, is {place.format}, not {mirror.format}; state that"
            " mirror.format, or choose another path."
        )
    if None not in (place.size, size) and place.size != size:
        raise InvalidSpec(
            f"{what}: {mirror.path}, where its mirror is to be, has {format_size(place.size or 0)}, but the disk has"
            f" {format_size(size or 0)}; {way_out}."
        )
