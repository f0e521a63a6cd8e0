# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Displays of a domain: options, place in the document, identity (the type: a domain has one of each). Pure."""

from __future__ import annotations

import datetime
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.common import only
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    drop_children,
    switch,
    unset,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.lists import items
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import (
    IP,
    ON_OFF,
    PATH,
    TEXT,
    YES_NO,
    Shape,
    matching,
    number,
    words,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

_TYPES = ("vnc", "spice", "rdp", "sdl", "egl-headless", "dbus", "desktop")
#: Types that listen on the network, with the lowest port that libvirt allows.
_REMOTE = {"vnc": 5900, "spice": 1, "rdp": 1}
_VNC_PASSWORD = 8
_HOST = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9.\-]*[a-zA-Z0-9])?")


def _parse_host(what: str, value: t.Any) -> t.Any:
    if re.fullmatch(r"[0-9.]+", value) or ":" in value or not _HOST.fullmatch(value):
        return IP.parse(what, value)
    return value


def _load_host(text: str) -> str:
    try:
        return str(IP.load(text))
    except ValueError:
        return text


#: An address or a name, as libvirt takes it.
_ADDRESS = Shape({"type": "str"}, _parse_host, _load_host)


def complete(what: str, _index: int, values: Values) -> None:
    """Looks at one entry of ``graphics``; ``what`` names the domain in errors."""
    kind = values.setdefault("type", "vnc")
    what = f"{what}: graphics {kind}"
    if values.get("port") == -1:
        # libvirt's own way to say that it shall choose.
        del values["port"]
        values.setdefault("autoport", True)
    remote = ("listen", "listens", "port", "autoport", "password", "password_valid_to", "connected")
    only(what, values, remote, kind in _REMOTE, "types vnc, spice and rdp")
    _check_ports(what, kind, values)
    if kind == "vnc" and len(values.get("password", "")) > _VNC_PASSWORD:
        raise InvalidSpec(f"{what}: a VNC password has at most {_VNC_PASSWORD} characters; the rest would be ignored.")
    _settle_listens(what, values)
    if "password" not in values and ("password_valid_to" in values or "connected" in values):
        raise InvalidSpec(f"{what}: password_valid_to and connected go with a password.")
    only(what, values, ("websocket", "share_policy", "power_control"), kind == "vnc", "type vnc")
    only(what, values, _SPICE_ONLY, kind == "spice", "type spice")
    only(what, values, ("keymap",), kind in ("vnc", "spice"), "types vnc and spice")
    only(what, values, ("replace_user", "multi_user"), kind == "rdp", "type rdp")
    only(what, values, ("display", "full_screen"), kind in ("sdl", "desktop"), "types sdl and desktop")
    only(what, values, ("xauth",), kind == "sdl", "type sdl")
    only(what, values, ("p2p", "dbus_address"), kind == "dbus", "type dbus")
    only(what, values, ("audio",), kind in ("vnc", "dbus"), "types vnc and dbus")


def _settle_listens(what: str, values: Values) -> None:
    if "listen" in values and "listens" in values:
        raise InvalidSpec(f"{what}: listen is the short form of listens; state one of them.")
    if "listens" in values and _one_address(values["listens"]):
        address = values.pop("listens")[0].get("address")
        if address is not None:
            values["listen"] = address


def _check_ports(what: str, kind: str, values: Values) -> None:
    port = values.get("port")
    sockets = [item for item in values.get("listens") or () if item["type"] in ("socket", "none")]
    lowest = _REMOTE.get(kind, 1)
    if port is not None and not lowest <= port <= 65535:
        raise InvalidSpec(f"{what}: a port of {port} is impossible; {lowest} to 65535, or autoport.")
    if port is not None and port == values.get("websocket"):
        raise InvalidSpec(f"{what}: port and websocket are both {port}; each needs its own.")
    if port is not None and values.get("autoport"):
        raise InvalidSpec(f"{what} has a port ({port}) and autoport; state one of them.")
    if port is None and values.get("autoport") is False and "tls_port" not in values and not sockets:
        raise InvalidSpec(f"{what} without autoport needs a port.")
    if sockets and (port is not None or values.get("autoport")):
        raise InvalidSpec(f"{what}: a socket (or none) to listen on has no port.")


def _check_listen(what: str, values: Values) -> None:
    wanted = {"address": "address", "network": "network", "socket": None, "none": None}[values["type"]]
    if wanted == "network" and "network" not in values:
        raise InvalidSpec(f"{what}: type network needs the name of a network.")
    for option in ("address", "network", "socket"):
        if option in values and values["type"] != option:
            raise InvalidSpec(f"{what}: {option} goes with type {option}, not with {values['type']}.")


def _read_listen(node: Element) -> t.Any:
    if _read_listens(node) is not None:
        return None
    found = _xml.find_attribute(node, "listen[@type='address']", "address") or node.get("listen")
    return None if found is None else _load_host(found)


def _write_listen(node: Element, value: t.Any) -> None:
    # libvirt says an address twice, and always writes an element.
    said = node.find("listen")
    is_libvirts = node.get("listen") is not None or (said is not None and said.get("address") is None)
    unset(node, "listen")
    drop_children(node, "listen")
    if is_libvirts and value is not None:
        node.set("listen", value)
    if is_libvirts or value is not None:
        _xml.child(node, "listen", {"type": "address", **({} if value is None else {"address": value})})


_LISTEN = (
    attribute("type", ".", "type", words("address", "network", "socket", "none"), default="address"),
    attribute("address", ".", "address", _ADDRESS),
    attribute("network", ".", "network"),
    attribute("socket", ".", "socket", PATH),
)
_LISTENS = items("listens", ".", "listen", _LISTEN, check=_check_listen)


def _write_listens(node: Element, value: t.Any) -> None:
    # The attributes are an older way to say the same.
    unset(node, "listen", "socket")
    _LISTENS.write(node, value)


def _read_listens(node: Element) -> t.Any:
    found = _LISTENS.read(node)
    if found is None or _one_address(found):
        # Which is what the short form says.
        return None
    for item in found:
        # An address that libvirt has looked up for a network is of the moment.
        if item.get("type") == "network":
            item.pop("address", None)
    return found


def _one_address(listens: list[Values]) -> bool:
    return len(listens) == 1 and listens[0].get("type") == "address"


def _read_port(node: Element) -> t.Any:
    port = int(node.get("port") or -1)
    # With autoport the number is that of the moment, of the running domain only.
    return port if port > 0 and node.get("autoport") != "yes" else None


def _write_port(node: Element, value: t.Any) -> None:
    node.set("port", str(value or -1))
    node.set("autoport", "no" if value else "yes")


def _read_autoport(node: Element) -> t.Any:
    if _read_port(node) is not None:
        return False
    # What stands nowhere yet is for the writer to say: without a word libvirt gives a display of SPICE no port at all.
    return None if node.get("autoport") is None else node.get("autoport") == "yes"


def _write_autoport(node: Element, value: t.Any) -> None:
    listens = [item.get("type") for item in node.findall("listen")]
    portless = bool(listens) and all(kind in ("socket", "none") for kind in listens)
    if value is not False and node.get("type") in _REMOTE and not portless:
        _write_port(node, None)


def _read_tls_port(node: Element) -> t.Any:
    port = int(node.get("tlsPort") or -1)
    return port if port > 0 and node.get("autoport") != "yes" else None


_CHANNEL = (
    attribute(
        "name",
        ".",
        "name",
        words("main", "display", "inputs", "cursor", "playback", "record", "smartcard", "usbredir"),
    ),
    attribute("mode", ".", "mode", words("any", "secure", "insecure")),
)
_WHEN = words("auto", "never", "always")
_SPICE = (
    Leaf("tls_port", _read_tls_port, attribute("tls_port", ".", "tlsPort").write, number(1, 65535)),
    attribute("default_mode", ".", "defaultMode", words("any", "secure", "insecure")),
    items("channels", ".", "channel", _CHANNEL, required=("name", "mode"), unique="name"),
    attribute("image_compression", "image", "compression", words("auto_glz", "auto_lz", "quic", "glz", "lz", "off")),
    attribute("jpeg_compression", "jpeg", "compression", _WHEN),
    attribute("zlib_compression", "zlib", "compression", _WHEN),
    attribute("playback_compression", "playback", "compression", ON_OFF),
    attribute("streaming_mode", "streaming", "mode", words("filter", "all", "off")),
    attribute("clipboard_copypaste", "clipboard", "copypaste", YES_NO),
    attribute("mouse_mode", "mouse", "mode", words("server", "client")),
    attribute("filetransfer", "filetransfer", "enable", YES_NO),
)
_SPICE_ONLY = tuple(leaf.name for leaf in _SPICE)
_KEYMAP = matching(r"[a-zA-Z0-9_\-]+", "keymap")


def _parse_time(what: str, value: t.Any) -> t.Any:
    try:
        found = datetime.datetime.strptime(value, _WRITTEN)
    except ValueError as exc:
        raise InvalidSpec(f"{what}: '{value}' is no time; write it like 2027-01-31T15:00:00 (UTC).") from exc
    return found.strftime(_WRITTEN)


_WRITTEN = "%Y-%m-%dT%H:%M:%S"
_TIME = Shape({"type": "str"}, _parse_time)

LEAVES = (
    switch("type", "type", words(*_TYPES)),
    Leaf("listens", _read_listens, _write_listens, _LISTENS.shape),
    Leaf("listen", _read_listen, _write_listen, _ADDRESS),
    Leaf("autoport", _read_autoport, _write_autoport, YES_NO, default=True),
    Leaf("port", _read_port, _write_port, number(-1, 65535)),
    attribute("websocket", ".", "websocket", number(-1, 65535)),
    attribute("keymap", ".", "keymap", Shape({**_KEYMAP.option, "no_log": False}, _KEYMAP.parse)),
    attribute("share_policy", ".", "sharePolicy", words("allow-exclusive", "force-shared", "ignore")),
    attribute("power_control", ".", "powerControl", YES_NO),
    attribute("password", ".", "passwd", TEXT, secret=True),
    attribute("password_valid_to", ".", "passwdValidTo", Shape({**_TIME.option, "no_log": False}, _TIME.parse)),
    attribute("connected", ".", "connected", words("keep", "disconnect", "fail")),
    attribute("gl.enable", "gl", "enable", YES_NO),
    attribute("gl.rendernode", "gl", "rendernode", PATH),
    *_SPICE,
    attribute("display", ".", "display"),
    attribute("xauth", ".", "xauth"),
    attribute("full_screen", ".", "fullscreen", YES_NO),
    attribute("replace_user", ".", "replaceUser", YES_NO),
    attribute("multi_user", ".", "multiUser", YES_NO),
    attribute("p2p", ".", "p2p", YES_NO),
    attribute("dbus_address", ".", "address"),
    attribute("audio", "audio", "id", number(1)),
)

KIND = Kind("graphics", "graphics", LEAVES, complete, identity="type")
