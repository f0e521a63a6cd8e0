# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what is booted, by which firmware, on what machine. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Plain,
    attribute,
    drop_children,
    ensure,
    prune,
    text,
    unset,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.lists import mapping, texts
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import (
    LINE,
    PATH,
    TEXT,
    YES_NO,
    Shape,
    number,
    words,
)

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

_SYSTEMS = words("hvm", "linux", "xen", "xenpvh", "exe", "uml")
_FORMATS = words("raw", "qcow2")


def _write_firmware(node: Element, value: t.Any) -> None:
    os = ensure(node, "os")
    # The program and the variables of the old firmware are of no use to the new one; libvirt chooses others.
    drop_children(os, "firmware", "loader", "nvram")
    unset(os, "firmware")
    if value is not None:
        os.set("firmware", value)
    prune(node, "os")


_LOADER = text("os.loader.path", "os/loader", PATH)
_NVRAM = text("os.nvram.path", "os/nvram", PATH)


def _write_loader(node: Element, value: t.Any) -> None:
    _LOADER.write(node, value)
    os = node.find("os")
    if value is None and os is not None and os.get("firmware") is None:
        # libvirt gives it variables, and refuses these without it.
        drop_children(os, "loader", "nvram")
        prune(node, "os")


def _read_nvram(node: Element) -> t.Any:
    # libvirt has two forms for a file, and keeps that in which it was given.
    return _NVRAM.read(node) or _xml.find_attribute(node, "os/nvram/source", "file")


def _write_nvram(node: Element, value: t.Any) -> None:
    found = node.find("os/nvram")
    if found is not None:
        drop_children(found, "source")
        unset(found, "type")
    _NVRAM.write(node, value)


def _firmware_feature(name: str, feature: str) -> Leaf:
    path = f"os/firmware/feature[@name='{feature}']"
    return attribute(name, path, "enabled", YES_NO)


def _boot_devices(node: Element) -> list[str] | None:
    return [item.get("dev") or "" for item in node.findall("os/boot")] or None


def _slic(node: Element) -> t.Any:
    return _xml.find_text(node, "os/acpi/table[@type='slic']")


def _write_slic(node: Element, value: t.Any) -> None:
    path = "os/acpi/table[@type='slic']"
    if value is not None:
        ensure(node, path).text = value
    elif node.find(path) is not None:
        ensure(node, path).text = None
        prune(node, path)


def machine_family(machine: str) -> str:
    """``pc-q35-7.2`` and ``pc-q35-rhel9.2.0`` without the version."""
    return re.sub(r"-(rhel)?[0-9]+(\.[0-9]+)*$", "", machine)


def write_machine(node: Element, value: t.Any, aliases: t.Mapping[str, str]) -> None:
    """The machine type; ``aliases`` are the host's short names with what each stands for now."""
    existing = _xml.find_attribute(node, "os/type", "machine")
    if value is None:
        return
    canonical = aliases.get(value, value)
    if existing is not None and canonical != value and machine_family(existing) == machine_family(canonical):
        # An alias means "the newest": an existing domain keeps the version that its guest knows.
        return
    ensure(node, "os/type").set("machine", value)


_BOOT = Shape({"type": "list", "elements": "str", "choices": ["fd", "hd", "cdrom", "network"]})


def _write_boot(node: Element, value: t.Any) -> None:
    drop_children(ensure(node, "os"), "boot")
    for device in value or ():
        _xml.child(ensure(node, "os"), "boot", {"dev": device})
    prune(node, "os")


LEAVES = (
    text("os.type", "os/type", _SYSTEMS, effect="recreate", keep=True, default="hvm"),
    attribute("os.arch", "os/type", "arch", effect="recreate", keep=True),
    Leaf(
        "os.firmware",
        lambda node: _xml.find_attribute(node, "os", "firmware"),
        _write_firmware,
        words("efi", "bios"),
        place="os@firmware",
    ),
    _firmware_feature("os.secure_boot", "secure-boot"),
    _firmware_feature("os.enrolled_keys", "enrolled-keys"),
    dataclasses.replace(_LOADER, write=_write_loader),
    attribute("os.loader.type", "os/loader", "type", words("rom", "pflash")),
    attribute("os.loader.readonly", "os/loader", "readonly", YES_NO),
    attribute("os.loader.secure", "os/loader", "secure", YES_NO),
    attribute("os.loader.stateless", "os/loader", "stateless", YES_NO),
    attribute("os.loader.format", "os/loader", "format", _FORMATS),
    Leaf("os.nvram.path", _read_nvram, _write_nvram, PATH, place="os/nvram", own=True),
    attribute("os.nvram.template", "os/nvram", "template", PATH),
    attribute("os.nvram.format", "os/nvram", "format", _FORMATS),
    text("os.bootloader", "bootloader", LINE),
    text("os.bootloader_args", "bootloader_args", LINE),
    text("os.kernel", "os/kernel", PATH, own=True),
    text("os.initrd", "os/initrd", PATH, own=True),
    text("os.cmdline", "os/cmdline", LINE, own=True),
    text("os.dtb", "os/dtb", PATH),
    Leaf("os.slic_table", _slic, _write_slic, PATH, place="os"),
    text("os.init", "os/init", PATH),
    texts("os.init_args", "os", "initarg"),
    mapping("os.init_env", "os", "initenv", "name", None),
    text("os.init_dir", "os/initdir", PATH),
    text("os.init_user", "os/inituser"),
    text("os.init_group", "os/initgroup"),
    Leaf("os.boot", _boot_devices, _write_boot, _BOOT, place="os/boot"),
    attribute("os.boot_menu", "os/bootmenu", "enable", YES_NO),
    attribute("os.boot_menu_timeout", "os/bootmenu", "timeout", number(0, 65535)),
    attribute("os.smbios", "os/smbios", "mode", words("emulate", "host", "sysinfo")),
    attribute("os.bios_useserial", "os/bios", "useserial", YES_NO),
    attribute("os.reboot_timeout", "os/bios", "rebootTimeout", number(-1, 65535)),
)

#: Its writer needs to know the host's short names, see ``scalars.machine``.
MACHINE = Leaf(
    "os.machine",
    Plain("os/type", "machine", str),
    lambda node, value: write_machine(node, value, {}),
    TEXT,
    keep=True,
    place="os/type@machine",
)
