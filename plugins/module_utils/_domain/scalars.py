# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: the options that are no devices, with their places in the document. Pure."""

from __future__ import annotations

import dataclasses
import functools
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    attribute,
    drop_children,
    ensure,
    flag,
    prune,
    text,
    unset,
    yes_no,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import parse_size

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

_KIB = 1024


def _size(name: str, path: str, **facts: t.Any) -> Leaf:
    """Memory in bytes, which libvirt keeps in whole KiB."""

    def get(node: Element) -> t.Any:
        found = _xml.find_text(node, path)
        if found is None:
            return None
        size = parse_size(found, path, _xml.find_attribute(node, path, "unit") or "KiB")
        return -(-size // _KIB) * _KIB

    def put(node: Element, value: t.Any) -> None:
        if value is None:
            drop_children(node, path)
            return
        element = ensure(node, path)
        element.text = str(value // _KIB)
        element.set("unit", "KiB")

    return Leaf(name, get, put, **facts)


def _write_memory(node: Element, value: t.Any) -> None:
    # Who never asked for less than all gets all of the new size too.
    if CURRENT_MEMORY.read(node) == MEMORY.read(node):
        CURRENT_MEMORY.write(node, None)
    _size("memory", "memory").write(node, value)
    now = CURRENT_MEMORY.read(node)
    if now is not None and now > value:
        CURRENT_MEMORY.write(node, None)


def _write_vcpus(node: Element, value: t.Any) -> None:
    element = ensure(node, "vcpu")
    element.text = str(value)
    if int(element.get("current") or 0) >= value:
        unset(element, "current")
    # A list of single vcpus is of the old number.
    drop_children(node, "vcpus")


def _read_current_vcpus(node: Element) -> t.Any:
    return _xml.find_attribute(node, "vcpu", "current") or _xml.find_text(node, "vcpu")


def _write_current_vcpus(node: Element, value: t.Any) -> None:
    element = ensure(node, "vcpu")
    if value is None or str(value) == _xml.find_text(node, "vcpu"):
        unset(element, "current")
    else:
        element.set("current", str(value))
    drop_children(node, "vcpus")


def _int_or_none(value: t.Any) -> t.Any:
    return None if value is None else int(value)


def _write_cpu_mode(node: Element, value: t.Any) -> None:
    cpu = ensure(node, "cpu")
    # Topology and NUMA cells are of the guest; the rest described the old model.
    drop_children(cpu, "model", "vendor", "feature", "cache", "maxphysaddr")
    unset(cpu, "mode", "match", "check", "migratable")
    if value is None:
        prune(node, "cpu")
    else:
        cpu.set("mode", value)


def _write_cpu_model(node: Element, value: t.Any) -> None:
    cpu = ensure(node, "cpu")
    drop_children(cpu, "model", "vendor", "feature")
    unset(cpu, "check")
    if value is None:
        prune(node, "cpu")
        return
    if cpu.get("mode") == "custom":
        cpu.set("match", "exact")
    _xml.child(cpu, "model", text=value)


def _write_boot(node: Element, value: t.Any) -> None:
    drop_children(ensure(node, "os"), "boot")
    for device in value or ():
        _xml.child(ensure(node, "os"), "boot", {"dev": device})


def _write_clock(node: Element, value: t.Any) -> None:
    clock = ensure(node, "clock")
    # Only timers are independent of how the clock is kept.
    unset(clock, *(str(name) for name in clock.attrib))
    clock.set("offset", value or "utc")


def machine_family(machine: str) -> str:
    """``pc-q35-7.2`` and ``pc-q35-rhel9.2.0`` without the version."""
    return re.sub(r"-(rhel)?[0-9]+(\.[0-9]+)*$", "", machine)


def _write_machine(node: Element, value: t.Any, aliases: t.Mapping[str, str]) -> None:
    existing = _xml.find_attribute(node, "os/type", "machine")
    canonical = aliases.get(value, value)
    if existing is not None and canonical != value and machine_family(existing) == machine_family(canonical):
        # An alias means "the newest": an existing domain keeps the version that its guest knows.
        return
    attribute("machine", "os/type", "machine").write(node, value)


MEMORY = _size("memory", "memory", keep=True)
_OWN_CURRENT_MEMORY = _size("current_memory", "currentMemory", effect="live", runtime=True)
#: A domain that says nothing has all of its memory.
CURRENT_MEMORY = dataclasses.replace(
    _OWN_CURRENT_MEMORY, read=lambda node: _OWN_CURRENT_MEMORY.read(node) or MEMORY.read(node)
)

_SCALARS = (
    attribute("type", ".", "type", effect="recreate", keep=True),
    text("uuid", "uuid", effect="recreate", keep=True),
    text("title", "title", effect="live", runtime=True),
    text("description", "description", effect="live", runtime=True),
    Leaf("memory", MEMORY.read, _write_memory, keep=True),
    CURRENT_MEMORY,
    Leaf("vcpus", lambda node: int(_xml.find_text(node, "vcpu") or 1), _write_vcpus, keep=True),
    Leaf(
        "current_vcpus",
        lambda node: _int_or_none(_read_current_vcpus(node)),
        _write_current_vcpus,
        effect="live",
        runtime=True,
    ),
    Leaf("cpu.mode", lambda node: _xml.find_attribute(node, "cpu", "mode"), _write_cpu_mode),
    Leaf("cpu.model", lambda node: _xml.find_text(node, "cpu/model"), _write_cpu_model),
    text("os.type", "os/type", effect="recreate", keep=True, default="hvm"),
    attribute("os.arch", "os/type", "arch", effect="recreate", keep=True),
    text("os.kernel", "os/kernel"),
    text("os.initrd", "os/initrd"),
    text("os.cmdline", "os/cmdline"),
    Leaf("os.boot", lambda node: [item.get("dev") for item in node.findall("os/boot")] or None, _write_boot),
    attribute("os.boot_menu", "os/bootmenu", "enable", yes_no),
    flag("features.acpi", "features/acpi", default=True),
    flag("features.apic", "features/apic", default=True),
    Leaf(
        "clock.offset", lambda node: _xml.find_attribute(node, "clock", "offset") or "utc", _write_clock, default="utc"
    ),
    text("events.poweroff", "on_poweroff"),
    text("events.reboot", "on_reboot"),
    text("events.crash", "on_crash"),
    text("events.lockfailure", "on_lockfailure"),
    text("emulator", "devices/emulator"),
)


def scalars(aliases: t.Mapping[str, str] | None = None, arch: str | None = None) -> tuple[Leaf, ...]:
    """The table; ``aliases`` are the host's short names of machine types with what each stands for now.

    ``arch`` is the guest's (None: the host's); only a PC has ACPI and APIC without being asked for.
    """
    table: tuple[Leaf, ...] = _SCALARS
    if arch not in (None, "x86_64", "i686"):
        table = tuple(
            dataclasses.replace(leaf, default=None) if leaf.name.startswith("features.") else leaf for leaf in table
        )
    write = functools.partial(_write_machine, aliases=aliases or {})
    machine = Leaf("os.machine", lambda node: _xml.find_attribute(node, "os/type", "machine"), write, keep=True)
    return (*table, machine)


#: The names of the options that make up a definition, devices aside.
NAMES: tuple[str, ...] = tuple(leaf.name for leaf in scalars())
BY_NAME: dict[str, Leaf] = {leaf.name: leaf for leaf in scalars()}
