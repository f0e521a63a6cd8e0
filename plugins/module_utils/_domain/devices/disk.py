# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Disks and CD-ROM drives of a domain: options, place in the document, identity (the target). Pure."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    drop_children,
    ensure,
    flag,
    text,
    unset,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

_TARGET = re.compile(r"(fd|hd|sd|vd|xvd|ubd)[a-z]{1,3}")
#: The bus that libvirt takes for a target whose bus is not stated.
_GUESSED = {"fd": "fdc", "hd": "ide", "sd": "scsi", "vd": "virtio", "xvd": "xen", "ubd": "uml"}
_SOURCE = {"file": "file", "block": "dev", "dir": "dir", "network": "name", "volume": "volume"}
_NAMES = ("target", "device", "type", "source", "format", "bus", "readonly", "cache", "discard", "serial")


def guessed_bus(target: str) -> str | None:
    """libvirt's guess from the name of the target."""
    match = _TARGET.fullmatch(target)
    return _GUESSED[match.group(1)] if match else None


def parse(what: str, _index: int, params: dict[str, t.Any]) -> Values:
    """One entry of ``disks``; ``what`` names the domain in errors."""
    values: Values = {name: params[name] for name in _NAMES if params.get(name) is not None}
    target = values.get("target")
    if not target or not _TARGET.fullmatch(target):
        raise InvalidSpec(f"{what}: a disk needs a target like vda, sda or hda (got '{target or ''}').")
    source = values.get("source")
    if source is not None:
        if not source.startswith("/") or "\n" in source:
            raise InvalidSpec(f"{what}: the source of disk {target} has to be an absolute path, not '{source}'.")
        values.setdefault("type", "block" if source.startswith("/dev/") else "file")
    elif values.get("device", "disk") == "disk":
        raise InvalidSpec(f"{what}: disk {target} has no source; only a cdrom drive may be empty.")
    if values.get("device") == "cdrom" and values.get("readonly") is False:
        raise InvalidSpec(f"{what}: {target} is a cdrom drive, which cannot be written; leave out readonly.")
    return values


def _read_source(node: Element) -> t.Any:
    source = node.find("source")
    if source is None:
        return None
    return source.get(_SOURCE.get(node.get("type") or "file", "file"))


def _write_source(node: Element, value: t.Any) -> None:
    # The chain and the mirror of the old source say nothing about the new one.
    drop_children(node, "source", "backingStore", "mirror")
    if value is not None:
        ensure(node, "source").set(_SOURCE[node.get("type") or "file"], value)


def _write_type(node: Element, value: t.Any) -> None:
    source = _read_source(node)
    node.set("type", value or "file")
    _write_source(node, source)


def _write_bus(node: Element, value: t.Any) -> None:
    unset(ensure(node, "target"), "bus")
    _xml.set_attributes(ensure(node, "target"), {"bus": value})
    # An address belongs to its bus; libvirt gives the disk a new one.
    drop_children(node, "address", "alias")


def _write_device(node: Element, value: t.Any) -> None:
    node.set("device", value or "disk")
    drop_children(node, "address", "alias")


LEAVES = (
    attribute("target", "target", "dev", keep=True),
    Leaf("device", lambda node: node.get("device") or "disk", _write_device, default="disk", keep=True),
    Leaf("type", lambda node: node.get("type") or "file", _write_type, default="file", keep=True),
    Leaf("source", _read_source, _write_source),
    attribute("format", "driver", "type", default="raw"),
    Leaf("bus", lambda node: _xml.find_attribute(node, "target", "bus"), _write_bus, keep=True),
    flag("readonly", "readonly"),
    attribute("cache", "driver", "cache"),
    attribute("discard", "driver", "discard"),
    text("serial", "serial"),
)

KIND = Kind("disks", "disk", LEAVES, parse, identity="target")
