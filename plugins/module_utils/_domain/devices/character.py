# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Serial and parallel ports, consoles, channels and redirected USB devices of a domain. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices import character_source
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.common import (
    BOOT_ORDER,
    PLACE,
    forget_place,
    only,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    drop_children,
    ensure,
    switch,
    text,
    unset,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.lists import texts
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import LINE, PATH, TEXT, number, words
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: The name by which a guest finds the channel to its agent, and that to the agent of a display.
AGENT = "org.qemu.guest_agent.0"
_DISPLAY_AGENT = "com.redhat.spice.0"

_SERIAL_TARGETS = words(
    "isa-serial", "usb-serial", "pci-serial", "spapr-vio-serial", "system-serial", "sclp-serial", "isa-debug"
)
_SERIAL_MODELS = words(
    "isa-serial",
    "usb-serial",
    "pci-serial",
    "spapr-vty",
    "pl011",
    "16550a",
    "sclpconsole",
    "sclplmconsole",
    "isa-debugcon",
)
_SERIAL_TYPE = attribute("target_type", "target", "type", _SERIAL_TARGETS)


def _write_serial_type(node: Element, value: t.Any) -> None:
    # Model and place are those of the old type.
    drop_children(ensure(node, "target"), "model")
    forget_place(node)
    _SERIAL_TYPE.write(node, value)


#: What a domain of qemu can have at the host's end; the rest are for other drivers.
_ENDS = tuple(kind for kind in character_source.TYPES if kind not in ("spicevmc", "qemu-vdagent"))


#: As many as a PC has.
_LAST_SERIAL = 3


def _complete_port(option: str) -> t.Callable[[str, int, Values], None]:
    def complete(what: str, index: int, values: Values) -> None:
        values.setdefault("type", "file" if "path" in values else "pty")
        values.setdefault("port", index)
        on_isa = option == "serial" and values.get("target_type", "isa-serial") == "isa-serial"
        if on_isa and values["port"] > _LAST_SERIAL:
            raise InvalidSpec(
                f"{what}: serial port {values['port']}: a machine has the ports 0 to {_LAST_SERIAL}; another target_type,"
                " like pci-serial, has more."
            )
        character_source.check(f"{what}: {option} port {values['port']}", values)

    return complete


def _drop_mirror(devices: Element) -> None:
    # The first console is an image of the first serial port; libvirt makes it again from that, or a port from it.
    for node in devices.findall("console"):
        if not _is_console(node):
            devices.remove(node)


def _is_console(node: Element) -> bool:
    """Whether a console is a device of its own, no image of a serial port."""
    target = node.find("target")
    return target is not None and target.get("type", "serial") != "serial"


#: The first serial ports of which libvirt adds an image.
_WITH_IMAGE = (None, "isa-serial", "spapr-vio-serial", "system-serial", "sclp-serial")


def add_mirror(root: Element) -> None:
    """Writes the image of the first serial port before other consoles, as libvirt would. It numbers consoles when it reads them,
    and adds the image when it has: read again, they would have other numbers."""
    devices, consoles = root.find("devices"), root.findall("devices/console")
    serial = root.find("devices/serial") if consoles else None
    if devices is None or serial is None or not all(map(_is_console, consoles)):
        return
    if _xml.find_attribute(serial, "target", "type") in _WITH_IMAGE:
        # Whatever it says, libvirt makes it what the port is.
        mirror = _xml.element("console", {"type": "pty"})
        _xml.child(mirror, "target", {"type": "serial", "port": "0"})
        devices.insert(list(devices).index(consoles[0]), mirror)


SERIALS = Kind(
    "serials",
    "serial",
    (
        attribute("port", "target", "port", number(0), keep=True),
        character_source.type_leaf(*_ENDS),
        *character_source.LEAVES,
        dataclasses.replace(_SERIAL_TYPE, write=_write_serial_type),
        attribute("target_model", "target/model", "name", _SERIAL_MODELS),
        *PLACE,
    ),
    _complete_port("serial"),
    identity="port",
    after_change=_drop_mirror,
)

PARALLELS = Kind(
    "parallels",
    "parallel",
    (
        attribute("port", "target", "port", number(0, 2), keep=True),
        character_source.type_leaf(*_ENDS),
        *character_source.LEAVES,
        *PLACE,
    ),
    _complete_port("parallel"),
    identity="port",
)


def _complete_console(what: str, index: int, values: Values) -> None:
    values.setdefault("type", "file" if "path" in values else "pty")
    character_source.check(f"{what}: consoles[{index}]", values)


CONSOLES = Kind(
    "consoles",
    "console",
    (
        character_source.type_leaf(*_ENDS),
        *character_source.LEAVES,
        attribute(
            "target_type",
            "target",
            "type",
            words("serial", "virtio", "xen", "lxc", "openvz", "uml", "sclp", "sclplm"),
            keep=True,
        ),
        attribute("port", "target", "port", number(0), keep=True),
        *PLACE,
    ),
    _complete_console,
    matches=_is_console,
)


#: What a console is in guests without serial ports, as libvirt's drivers have it: by type of domain, and by what is booted.
_CONSOLE_OF_TYPE = {"lxc": "lxc", "openvz": "openvz"}
_CONSOLE_OF_SYSTEM = {"exe": "lxc", "linux": "xen", "xen": "xen", "xenpvh": "xen", "uml": "uml"}


def settle_consoles(what: str, devices: dict[str, tuple[Values, ...]], kind: str | None, system: str | None) -> None:
    """Gives consoles the type that they have in such a domain: ``kind`` and ``system`` are the values of ``type`` and
    ``os.type``, None where they are not stated.

    A console on a serial port is that port: libvirt makes the one from the other, so here there is only the port.
    """
    usual = _CONSOLE_OF_TYPE.get(kind or "") or _CONSOLE_OF_SYSTEM.get(system or "", "serial")
    consoles = [{"target_type": usual, **console} for console in devices.get("consoles", ())]
    ports = [console for console in consoles if console["target_type"] == "serial"]
    if consoles:
        devices["consoles"] = tuple(console for console in consoles if console["target_type"] != "serial")
    if not ports:
        return
    serials = list(devices.get("serials", ()))
    for index, port in enumerate(ports):
        del port["target_type"]
        port.setdefault("port", index)
        same = next((serial for serial in serials if serial["port"] == port["port"]), None)
        if same is not None and any(same.get(name) != value for name, value in port.items()):
            raise InvalidSpec(
                f"{what}: a console on serial port {port['port']} is that port, which serials says otherwise; leave the"
                " console out, or give it the target_type virtio for a device of its own."
            )
        if same is None:
            serials.append(port)
    devices["serials"] = tuple(serials)


def _complete_channel(what: str, index: int, values: Values) -> None:
    kind = values.setdefault("type", "unix")
    place = values.setdefault("target_type", "virtio")
    if place == "guestfwd":
        address, _colon, port = values.get("name", "").rpartition(":")
        if not address or not port.isdigit():
            raise InvalidSpec(f"{what}: channels[{index}] of target_type guestfwd needs a name like 10.0.2.1:4600.")
    elif place == "virtio":
        values.setdefault("name", _DISPLAY_AGENT if kind in ("spicevmc", "qemu-vdagent") else AGENT)
    elif "name" not in values:
        raise InvalidSpec(f"{what}: channels[{index}] of target_type {place} needs a name.")
    character_source.check(f"{what}: channel {values['name']}", values)


def _read_channel_name(node: Element) -> t.Any:
    target = node.find("target")
    if target is None:
        return None
    if target.get("type") == "guestfwd":
        return f"{target.get('address')}:{target.get('port')}"
    return target.get("name")


def _write_channel_name(node: Element, value: t.Any) -> None:
    target = ensure(node, "target")
    if value is not None and target.get("type") == "guestfwd":
        address, _colon, port = value.rpartition(":")
        _xml.set_attributes(target, {"address": address, "port": port})
    elif value is not None:
        target.set("name", value)


def _write_target_type(node: Element, value: t.Any) -> None:
    drop_children(node, "target", "address")
    if value is not None:
        ensure(node, "target").set("type", value)


CHANNELS = Kind(
    "channels",
    "channel",
    (
        Leaf(
            "target_type",
            lambda node: _xml.find_attribute(node, "target", "type"),
            _write_target_type,
            words("virtio", "guestfwd", "xen"),
            keep=True,
        ),
        Leaf("name", _read_channel_name, _write_channel_name, TEXT, keep=True),
        character_source.type_leaf(*character_source.TYPES),
        *character_source.LEAVES,
        *PLACE,
    ),
    _complete_channel,
    identity="name",
)


def _complete_redirdev(what: str, index: int, values: Values) -> None:
    values.setdefault("type", "spicevmc")
    values["bus"] = "usb"
    character_source.check(f"{what}: redirdevs[{index}]", values)


REDIRDEVS = Kind(
    "redirdevs",
    "redirdev",
    (
        attribute("bus", ".", "bus", None, keep=True),
        character_source.type_leaf(*character_source.TYPES),
        *character_source.LEAVES,
        BOOT_ORDER,
        *PLACE,
    ),
    _complete_redirdev,
)


_CERTIFICATES = 3


def _complete_smartcard(what: str, _index: int, values: Values) -> None:
    what, mode = f"{what}: smartcard", values.setdefault("mode", "passthrough")
    own = {"mode", "certificates", "database", *(leaf.name for leaf in PLACE)}
    only(what, values, ("certificates", "database"), mode == "host-certificates", "mode host-certificates")
    if mode != "passthrough":
        if set(values) - own:
            raise InvalidSpec(f"{what} with the mode {mode} has no {min(set(values) - own)}.")
        if mode == "host-certificates" and len(values.get("certificates", ())) != _CERTIFICATES:
            raise InvalidSpec(
                f"{what} with the mode host-certificates needs the names of {_CERTIFICATES} certificates."
            )
        return
    values.setdefault("type", "spicevmc")
    # The end of the socket has another name here than elsewhere.
    end = {name: value for name, value in values.items() if name not in ("mode", "socket_mode")}
    if "socket_mode" in values:
        only(what, values, ("socket_mode",), values["type"] in ("tcp", "unix"), "types tcp and unix")
        end["mode"] = values["socket_mode"]
    character_source.check(what, end)
    if "mode" in end:
        values["socket_mode"] = end["mode"]


def _clear_smartcard(node: Element) -> None:
    drop_children(node, "certificate", "database", "source", "protocol")
    unset(node, "type")


SMARTCARD = Kind(
    "smartcard",
    "smartcard",
    (
        switch("mode", "mode", words("passthrough", "host", "host-certificates"), _clear_smartcard),
        texts("certificates", ".", "certificate", shape=LINE),
        text("database", "database", PATH),
        character_source.type_leaf(*character_source.TYPES),
        *(dataclasses.replace(leaf, name="socket_mode") for leaf in character_source.LEAVES if leaf.name == "mode"),
        *(leaf for leaf in character_source.LEAVES if leaf.name not in ("mode", "log", "log_append")),
        *PLACE,
    ),
    _complete_smartcard,
    single=True,
)
