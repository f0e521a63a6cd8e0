# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: the options that are no devices, with their places in the document. Pure."""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Leaf
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.options import (
    boot,
    clock,
    cpu,
    features,
    general,
    memory,
    numa,
    qemu,
    resources,
    security,
    sysinfo,
    tuning,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.options.boot import machine_family
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.table import Table

__all__ = ["BY_NAME", "CURRENT_MEMORY", "MEMORY", "NAMES", "SCALARS", "machine", "machine_family", "to_write"]

MEMORY = memory.MEMORY
CURRENT_MEMORY = memory.CURRENT_MEMORY

_SCALARS: tuple[Leaf, ...] = (
    *general.LEAVES,
    *memory.LEAVES,
    *cpu.LEAVES,
    *numa.LEAVES,
    *boot.LEAVES,
    *sysinfo.LEAVES,
    *qemu.LEAVES,
    *features.LEAVES,
    *clock.LEAVES,
    *tuning.LEAVES,
    *resources.LEAVES,
    *security.LEAVES,
)
#: What only a virtual PC has without being asked for.
_OF_A_PC = ("features.acpi", "features.apic")
#: The types whose guests are programs of the host's kernel.
_CONTAINERS = ("lxc", "openvz", "vz", "parallels")


def machine(aliases: t.Mapping[str, str]) -> Leaf:
    """The last of the table; ``aliases`` are the host's short names of machine types with what each stands for now."""
    return dataclasses.replace(boot.MACHINE, write=functools.partial(boot.write_machine, aliases=aliases))


#: The table.
SCALARS = Table((*_SCALARS, machine({})))


@functools.lru_cache(maxsize=64)
def to_write(arch: str | None = None, virt_type: str | None = None) -> Table:
    """The table without its last for a domain of a kind: ``arch`` is the guest's (None: the host's), ``virt_type`` the
    type of a new domain: a container is no PC."""
    table: tuple[Leaf, ...] = _SCALARS
    if arch not in (None, "x86_64", "i686") or virt_type in _CONTAINERS:
        table = tuple(dataclasses.replace(leaf, default=None) if leaf.name in _OF_A_PC else leaf for leaf in table)
    if virt_type in _CONTAINERS:
        table = tuple(dataclasses.replace(leaf, default="exe") if leaf.name == "os.type" else leaf for leaf in table)
    return Table(table)


#: The names of the options that make up a definition, devices aside.
NAMES: tuple[str, ...] = tuple(leaf.name for leaf in SCALARS)
BY_NAME: dict[str, Leaf] = {leaf.name: leaf for leaf in SCALARS}
