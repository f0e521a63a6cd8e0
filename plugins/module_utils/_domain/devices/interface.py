# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Network interfaces of a domain: options, place in the document, identity (the MAC address, else the order). Pure."""

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
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_SOURCE = {"network": "network", "bridge": "bridge", "direct": "dev", "internal": "name"}


def parse(what: str, index: int, params: dict[str, t.Any]) -> Values:
    """One entry of ``interfaces``; ``what`` names the domain in errors."""
    values: Values = {name: params[name] for name in ("type", "source", "mac", "model") if params.get(name) is not None}
    values.setdefault("type", "network")
    if not values.get("source"):
        wanted = "the name of a network" if values["type"] == "network" else "the name of a bridge"
        raise InvalidSpec(f"{what}: interface {index + 1} needs a source, {wanted}.")
    if "mac" in values:
        values["mac"] = values["mac"].lower()
        if not _MAC.fullmatch(values["mac"]):
            raise InvalidSpec(
                f"{what}: '{params['mac']}' is no MAC address; six pairs of hexadecimal digits with colons."
            )
        if int(values["mac"][:2], 16) & 1:
            raise InvalidSpec(f"{what}: {values['mac']} is a multicast MAC address; an interface needs a unicast one.")
    return values


def _read_source(node: Element) -> t.Any:
    return _xml.find_attribute(node, "source", _SOURCE.get(node.get("type") or "", "-"))


def _write_source(node: Element, value: t.Any) -> None:
    drop_children(node, "source")
    if value is not None:
        ensure(node, "source").set(_SOURCE[node.get("type") or "network"], value)


def _write_type(node: Element, value: t.Any) -> None:
    # Name of the tap device and parameters of a port belong to the old kind of connection.
    drop_children(node, "source", "virtualport", "target")
    node.set("type", value)


def _read_mac(node: Element) -> t.Any:
    mac = _xml.find_attribute(node, "mac", "address")
    return None if mac is None else mac.lower()


LEAVES = (
    Leaf("type", lambda node: node.get("type"), _write_type, keep=True),
    Leaf("source", _read_source, _write_source, keep=True),
    Leaf("mac", _read_mac, lambda node, value: ensure(node, "mac").set("address", value), keep=True),
    attribute("model", "model", "type", default="virtio"),
)

KIND = Kind("interfaces", "interface", LEAVES, parse, identity="mac")
