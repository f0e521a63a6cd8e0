# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""All kinds of devices, in the order in which they are compared. Pure."""

from __future__ import annotations

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices import (
    character,
    disk,
    graphics,
    interface,
    other,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind

KINDS: tuple[Kind, ...] = (
    disk.KIND,
    interface.KIND,
    graphics.GRAPHICS,
    graphics.VIDEOS,
    character.SERIALS,
    character.CHANNELS,
    other.RNG,
    other.MEMBALLOON,
)

BY_OPTION: dict[str, Kind] = {kind.option: kind for kind in KINDS}
