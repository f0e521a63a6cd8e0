# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""All kinds of devices, in the order in which they are compared. Pure."""

from __future__ import annotations

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices import (
    character,
    controller,
    disk,
    filesystem,
    graphics,
    hostdev,
    inputs,
    interface,
    media,
    memory_device,
    metadata,
    single,
    small,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind

KINDS: tuple[Kind, ...] = (
    disk.KIND,
    controller.KIND,
    filesystem.KIND,
    interface.KIND,
    graphics.KIND,
    media.VIDEOS,
    media.SOUNDS,
    media.AUDIOS,
    character.SERIALS,
    character.PARALLELS,
    character.CONSOLES,
    character.CHANNELS,
    character.REDIRDEVS,
    character.SMARTCARD,
    inputs.KIND,
    hostdev.KIND,
    single.RNG,
    single.MEMBALLOON,
    single.WATCHDOG,
    single.TPM,
    single.VSOCK,
    single.PANIC,
    single.IOMMU,
    small.HUBS,
    small.LEASES,
    small.CRYPTOS,
    small.PSTORE,
    memory_device.MEMORY_DEVICES,
    memory_device.SHMEMS,
    metadata.KIND,
)

BY_OPTION: dict[str, Kind] = {name: kind for kind in KINDS for name in (kind.option, kind.several) if name is not None}
