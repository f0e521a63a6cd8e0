# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Keyboards, mice and tablets of a domain, known by type, bus and source. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.common import (
    PLACE,
    VIRTIO_MODELS,
    only,
    virtio_driver,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Leaf, Values, attribute
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import ON_OFF, PATH, words
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


def _key(source: str) -> str:
    return "dev" if source == "evdev" else "evdev"


def _read_source(node: Element) -> t.Any:
    found = node.find("source")
    return None if found is None else found.get(_key(node.get("type") or ""))


def _write_source(node: Element, value: t.Any) -> None:
    attribute("source", "source", _key(node.get("type") or "")).write(node, value)


def _identity(node: Element) -> str:
    return _name(node.get("type"), node.get("bus"), _read_source(node))


def _name(kind: str | None, bus: str | None, source: str | None) -> str:
    return ".".join(part for part in (kind, bus, source) if part)


def complete(what: str, index: int, values: Values) -> None:
    """Looks at one entry of ``inputs``; ``what`` names the domain in errors."""
    kind, what = values.get("type"), f"{what}: inputs[{index}]"
    if kind is None:
        raise InvalidSpec(f"{what} needs a type.")
    if kind == "passthrough":
        values.setdefault("bus", "virtio")
    elif kind != "evdev":
        values.setdefault("bus", "usb" if kind == "tablet" else "ps2")
    if kind == "tablet" and values["bus"] == "ps2":
        raise InvalidSpec(f"{what}: there is no tablet on the bus ps2; use usb or virtio.")
    if kind in ("passthrough", "evdev") and "source" not in values:
        raise InvalidSpec(f"{what} of type {kind} needs a source, a device like /dev/input/event1.")
    only(what, values, ("source",), kind in ("passthrough", "evdev"), "types passthrough and evdev")
    only(what, values, ("bus",), kind != "evdev", "types other than evdev")
    only(what, values, ("grab", "grab_toggle", "repeat"), kind == "evdev", "type evdev")
    only(what, values, ("model", "driver"), values.get("bus") == "virtio", "the bus virtio")
    values["identity"] = _name(kind, values.get("bus"), values.get("source"))


KIND = Kind(
    "inputs",
    "input",
    (
        Leaf("identity", _identity, lambda _node, _value: None, None, keep=True),
        attribute("type", ".", "type", words("tablet", "mouse", "keyboard", "passthrough", "evdev"), keep=True),
        attribute("bus", ".", "bus", words("usb", "ps2", "virtio", "xen"), keep=True),
        attribute("model", ".", "model", words(*VIRTIO_MODELS)),
        Leaf("source", _read_source, _write_source, PATH, keep=True),
        attribute("grab", "source", "grab", words("all")),
        attribute(
            "grab_toggle",
            "source",
            "grabToggle",
            words("ctrl-ctrl", "alt-alt", "shift-shift", "meta-meta", "scrolllock", "ctrl-scrolllock"),
        ),
        attribute("repeat", "source", "repeat", ON_OFF),
        *virtio_driver(),
        *PLACE,
    ),
    complete,
    identity="identity",
)
