# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what is declared that older versions of libvirt do not know. Pure.

Such a version drops what it does not know, and says nothing; with its schema it says no more than that the document is wrong.
"""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import Definition

Version = tuple[int, int, int]

#: An option, or a value of one (``option=value``), and the first version that knows it.
_SINCE: dict[str, Version] = {
    "cpu.maxphysaddr.limit": (9, 3, 0),
    "cpu.topology.clusters": (10, 1, 0),
    "cryptos": (9, 1, 0),
    "disks.blockio.discard_granularity": (9, 7, 0),
    "disks.driver.discard_no_unref": (9, 5, 0),
    "disks.throttle_filters": (11, 2, 0),
    "features.async_teardown": (9, 6, 0),
    "features.hyperv.emsr_bitmap": (10, 7, 0),
    "features.hyperv.xmm_input": (10, 7, 0),
    "features.ps2": (10, 7, 0),
    "features.ras": (10, 4, 0),
    "iothread_ids.poll_grow": (9, 4, 0),
    "iothread_ids.poll_max": (9, 4, 0),
    "iothread_ids.poll_shrink": (9, 4, 0),
    "launch_security.type=sev-snp": (10, 5, 0),
    "pstore": (10, 7, 0),
    "sounds.model=virtio": (10, 4, 0),
    "throttle_groups": (11, 2, 0),
    "videos.blob": (9, 2, 0),
    "videos.edid": (11, 6, 0),
    "watchdog.model=itco": (9, 1, 0),
}


def too_new(definition: Definition, version: int) -> str | None:
    """What of a declaration a version (libvirt's number for it) does not know, in words; None when it knows all."""
    has = version // 1_000_000, version // 1_000 % 1_000, version % 1_000
    # Of very many domains most state nothing of what the version does not know.
    places = {name.partition(".")[0] for name, since in _SINCE.items() if since > has}
    scalars = {name: value for name, value in definition.scalars.items() if name.partition(".")[0] in places}
    stated = [*_named("", scalars)]
    for option in places & set(definition.devices):
        devices = definition.devices[option]
        if devices:
            stated.append(option)
        for values in devices:
            stated += _named(f"{option}.", values)
    for name in dict.fromkeys(stated):
        if _SINCE.get(name, has) > has:
            option = name.replace("=", " ")
            return f"{option} needs libvirt {_text(_SINCE[name])} or later, and this host has {_text(has)}"
    return None


def _text(version: Version) -> str:
    return ".".join(map(str, version))


def _named(prefix: str, value: t.Any) -> t.Iterator[str]:
    """The names of all options that have a value, and those names with their values."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield f"{prefix}{name}"
            if isinstance(item, str):
                yield f"{prefix}{name}={item}"
            yield from _named(f"{prefix}{name}.", item)
    elif isinstance(value, list):
        for item in value:
            yield from _named(prefix, item)
