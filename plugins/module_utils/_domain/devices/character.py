# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Serial ports and channels of a domain: options, place in the document, identity (port, name). Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Leaf, Values, attribute, drop_children
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: The name by which a guest finds the channel to its agent.
AGENT = "org.qemu.guest_agent.0"


def parse_serial(what: str, index: int, params: dict[str, t.Any]) -> Values:
    """One entry of ``serials``; ``what`` names the domain in errors."""
    values: Values = {name: params[name] for name in ("type", "path", "log", "port") if params.get(name) is not None}
    values.setdefault("type", "file" if "path" in values else "pty")
    values.setdefault("port", index)
    if not 0 <= values["port"] <= 3:
        raise InvalidSpec(f"{what}: serial port {values['port']} is impossible; 0 to 3.")
    if values["type"] == "file" and "path" not in values:
        raise InvalidSpec(f"{what}: serial port {values['port']} of type file needs a path.")
    if values["type"] == "pty" and "path" in values:
        raise InvalidSpec(f"{what}: libvirt chooses the path of a pty; for a log file state log: {values['path']}.")
    for name in ("path", "log"):
        if not values.get(name, "/").startswith("/"):
            raise InvalidSpec(
                f"{what}: the {name} of serial port {values['port']} has to be absolute, not '{values[name]}'."
            )
    return values


def _write_type(node: Element, value: t.Any) -> None:
    drop_children(node, "source", "protocol")
    node.set("type", value)


def _read_path(node: Element) -> t.Any:
    source = node.find("source")
    return source.get("path") if source is not None and node.get("type") != "pty" else None


def _drop_mirror(devices: Element) -> None:
    # The first console is an image of the first serial port; libvirt makes it again from that, or a port from it.
    for node in devices.findall("console"):
        target = node.find("target")
        if target is None or target.get("type", "serial") == "serial":
            devices.remove(node)


SERIALS = Kind(
    "serials",
    "serial",
    (
        attribute("port", "target", "port", int, keep=True),
        Leaf("type", lambda node: node.get("type"), _write_type, keep=True),
        Leaf("path", _read_path, attribute("path", "source", "path").write),
        attribute("log", "log", "file"),
    ),
    parse_serial,
    identity="port",
    after_change=_drop_mirror,
)


def parse_channel(_what: str, _index: int, params: dict[str, t.Any]) -> Values:
    """One entry of ``channels``."""
    return {"name": params.get("name") or AGENT, "type": params.get("type") or "unix", "bus": "virtio"}


CHANNELS = Kind(
    "channels",
    "channel",
    (
        attribute("name", "target", "name", keep=True),
        Leaf("type", lambda node: node.get("type"), _write_type, keep=True),
        attribute("bus", "target", "type", keep=True),
    ),
    parse_channel,
    identity="name",
)
