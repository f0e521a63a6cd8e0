# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The host's end of a character device: a terminal, a file, a socket and more. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.common import (
    RECONNECT,
    SOURCE_LABELS,
    check_reconnect,
    only,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    clearing,
    ensure,
    prune,
    switch,
    unset,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import (
    ON_OFF,
    PATH,
    TEXT,
    YES_NO,
    Shape,
    words,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

TYPES = (
    "pty", "file", "unix", "tcp", "udp", "dev", "pipe", "stdio", "null", "vc", "spicevmc", "spiceport", "nmdm",
    "qemu-vdagent", "dbus",
)  # fmt: skip
_WITH_PATH = ("file", "unix", "dev", "pipe", "pty")
_MODES = words("connect", "bind")
_LAST_PORT = 65535


def _read_path(node: Element) -> t.Any:
    source = node.find("source")
    return source.get("path") if source is not None and node.get("type") != "pty" else None


def _of_udp(option: str, key: str, mode: str, shape: Shape) -> Leaf:
    """UDP has a source for each direction; ``mode`` is that of this one."""

    def path(node: Element) -> str:
        if node.get("type") == "udp":
            return f"source[@mode='{mode}']"
        return "source" if mode == "connect" else "nothing"

    def get(node: Element) -> t.Any:
        found = node.find(path(node))
        text = None if found is None else found.get(key)
        return None if text is None else shape.loaded(text)

    def put(node: Element, value: t.Any) -> None:
        if value is not None:
            ensure(node, path(node)).set(key, shape.dump(value))
            return
        found = node.find(path(node))
        if found is not None:
            unset(found, key)
            prune(node, path(node))

    return Leaf(option, get, put, shape, place=f"source@{key}")


def _read_mode(node: Element) -> t.Any:
    source = node.find("source")
    return source.get("mode") if source is not None and node.get("type") in ("tcp", "unix") else None


#: A port, or the name of a service.
_SERVICE = Shape({"type": "str"})


def type_leaf(*types: str) -> Leaf:
    """The type, of those that a kind of device can have."""
    return switch("type", "type", words(*types), clearing("source", "protocol"))


LEAVES = (
    Leaf("path", _read_path, attribute("path", "source", "path").write, PATH, place="source@path"),
    Leaf("mode", _read_mode, attribute("mode", "source", "mode").write, _MODES, place="source@mode"),
    _of_udp("host", "host", "connect", TEXT),
    _of_udp("service", "service", "connect", _SERVICE),
    _of_udp("bind_host", "host", "bind", TEXT),
    _of_udp("bind_service", "service", "bind", _SERVICE),
    attribute("protocol", "protocol", "type", words("raw", "telnet", "telnets", "tls")),
    attribute("tls", "source", "tls", YES_NO),
    attribute("append", "source", "append", ON_OFF),
    *RECONNECT,
    attribute("port_name", "source", "channel"),
    attribute("master", "source", "master", PATH),
    attribute("slave", "source", "slave", PATH),
    attribute("clipboard_copypaste", "source/clipboard", "copypaste", YES_NO),
    attribute("mouse_mode", "source/mouse", "mode", words("server", "client")),
    SOURCE_LABELS,
    attribute("log", "log", "file", PATH),
    attribute("log_append", "log", "append", ON_OFF),
)


def _check_ports(what: str, values: Values) -> None:
    for option in ("service", "bind_service"):
        if str(values.get(option, "")).isdigit() and int(values[option]) > _LAST_PORT:
            raise InvalidSpec(f"{what}: {option} {values[option]} is no port; those go up to {_LAST_PORT}.")


def check(what: str, values: Values) -> None:
    """What must hold of a host's end; the type is known, ``what`` names the device."""
    kind = values["type"]
    if kind == "pty" and "path" in values:
        raise InvalidSpec(f"{what}: libvirt chooses the path of a pty; for a log file state log: {values['path']}.")
    if kind in ("file", "dev", "pipe") and "path" not in values:
        raise InvalidSpec(f"{what} of type {kind} needs a path.")
    only(what, values, ("path",), kind in _WITH_PATH, f"types {', '.join(_WITH_PATH)}")
    only(what, values, ("mode", "reconnect"), kind in ("tcp", "unix"), "types tcp and unix")
    only(what, values, ("host", "service"), kind in ("tcp", "udp"), "types tcp and udp")
    only(what, values, ("protocol", "tls"), kind == "tcp", "type tcp")
    only(what, values, ("bind_host", "bind_service"), kind == "udp", "type udp")
    only(what, values, ("append",), kind == "file", "type file")
    only(what, values, ("seclabels",), kind in ("file", "dev", "pipe", "unix"), "types file, dev, pipe and unix")
    only(what, values, ("port_name",), kind in ("spiceport", "dbus"), "types spiceport and dbus")
    only(what, values, ("master", "slave"), kind == "nmdm", "type nmdm")
    only(what, values, ("clipboard_copypaste", "mouse_mode"), kind == "qemu-vdagent", "type qemu-vdagent")
    if kind in ("tcp", "udp") and "service" not in values:
        raise InvalidSpec(f"{what} of type {kind} needs a service, which is a port.")
    _check_ports(what, values)
    if kind == "tcp":
        values.setdefault("mode", "connect")
        if "host" not in values:
            raise InvalidSpec(f"{what} of type tcp needs a host, with mode bind the address to listen on.")
    if kind == "spiceport" and "port_name" not in values:
        raise InvalidSpec(f"{what} of type spiceport needs its port_name.")
    if "log_append" in values and "log" not in values:
        raise InvalidSpec(f"{what}: log_append goes with log.")
    check_reconnect(what, values)
