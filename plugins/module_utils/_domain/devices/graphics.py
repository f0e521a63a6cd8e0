# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Displays of a domain (VNC) and its video devices: options, place in the document, identity. Pure."""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    drop_children,
    unset,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


def parse(what: str, _index: int, params: dict[str, t.Any]) -> Values:
    """One entry of ``graphics``; ``what`` names the domain in errors."""
    names = ("type", "listen", "port", "autoport", "password")
    values: Values = {name: params[name] for name in names if params.get(name) is not None}
    values.setdefault("type", "vnc")
    if "listen" in values:
        try:
            values["listen"] = str(ipaddress.ip_address(values["listen"]))
        except ValueError as exc:
            raise InvalidSpec(f"{what}: graphics listen '{values['listen']}' is no IP address.") from exc
    port = values.get("port")
    if port is not None and not 5900 <= port <= 65535:
        raise InvalidSpec(f"{what}: a graphics port of {port} is impossible; 5900 to 65535, or autoport.")
    if port is not None and values.get("autoport"):
        raise InvalidSpec(f"{what}: graphics has a port ({port}) and autoport; state one of them.")
    if port is None and values.get("autoport") is False:
        raise InvalidSpec(f"{what}: graphics without autoport needs a port.")
    if len(values.get("password", "")) > 8:
        raise InvalidSpec(f"{what}: a VNC password has at most 8 characters; the rest would be ignored.")
    return values


def _read_listen(node: Element) -> t.Any:
    return _xml.find_attribute(node, "listen[@type='address']", "address") or node.get("listen")


def _write_listen(node: Element, value: t.Any) -> None:
    unset(node, "listen")
    drop_children(node, "listen")
    if value is not None:
        _xml.child(node, "listen", {"type": "address", "address": value})


def _read_port(node: Element) -> t.Any:
    port = int(node.get("port") or -1)
    # With autoport the number is that of the moment, of the running domain only.
    return port if port > 0 and node.get("autoport") != "yes" else None


def _write_port(node: Element, value: t.Any) -> None:
    node.set("port", str(value or -1))
    node.set("autoport", "no" if value else "yes")


def _write_autoport(node: Element, value: t.Any) -> None:
    if value or value is None:
        _write_port(node, None)


GRAPHICS = Kind(
    "graphics",
    "graphics",
    (
        attribute("type", ".", "type", keep=True),
        Leaf("listen", _read_listen, _write_listen),
        Leaf("autoport", lambda node: _read_port(node) is None, _write_autoport),
        Leaf("port", _read_port, _write_port),
        attribute("password", ".", "passwd", secret=True),
    ),
    parse,
    identity="type",
)


def parse_video(_what: str, _index: int, params: dict[str, t.Any]) -> Values:
    """One entry of ``videos``."""
    return {"model": params.get("model") or "virtio"}


def _write_video(node: Element, value: t.Any) -> None:
    # Memory sizes and the like belong to the old model.
    drop_children(node, "model", "driver")
    if value in (None, "none"):
        drop_children(node, "address", "alias")
    _xml.child(node, "model", {"type": value or "virtio"})


VIDEOS = Kind(
    "videos",
    "video",
    (Leaf("model", lambda node: _xml.find_attribute(node, "model", "type"), _write_video, keep=True),),
    parse_video,
)
