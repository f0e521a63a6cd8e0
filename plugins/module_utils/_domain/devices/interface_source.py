# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What a network interface is connected to. Pure."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.common import (
    RECONNECT,
    check_reconnect,
    only,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    attributes,
    clearing,
    drop_children,
    ensure,
    prune,
    switch,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import (
    TEXT,
    UUID,
    YES_NO,
    number,
    pci_parts,
    pci_text,
    words,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: By type: the attribute of the source that has the name, and what that is in words.
_NAMED = {
    "network": ("network", "the name of a network"),
    "bridge": ("bridge", "the name of a bridge"),
    "direct": ("dev", "the name of a network device of the host"),
    "vdpa": ("dev", "the path of a device like /dev/vhost-vdpa-0"),
    "internal": ("name", "a name"),
    "vhostuser": ("path", "the path of a socket"),
}
_SOCKETS = ("server", "client", "mcast", "udp")
_WITHOUT = ("user", "ethernet", "null")
_PCI_PARTS = ("domain", "bus", "slot", "function")
_SOCKET = re.compile(r"(.*):([0-9]{1,5})")


def _read(node: Element) -> t.Any:
    kind, source = node.get("type") or "", node.find("source")
    if source is None:
        return None
    if kind in _NAMED:
        return source.get(_NAMED[kind][0])
    if kind in _SOCKETS:
        return f"{source.get('address') or ''}:{source.get('port') or ''}"
    address = source.find("address[@type='pci']")
    if kind == "hostdev" and address is not None:
        return pci_text(*(int(address.get(key) or "0", 0) for key in _PCI_PARTS))
    return None


def _write(node: Element, value: t.Any) -> None:
    drop_children(node, "source")
    kind = node.get("type") or "network"
    if value is None:
        return
    source = ensure(node, "source")
    if kind in _NAMED:
        source.set(_NAMED[kind][0], value)
        if kind == "vhostuser":
            source.set("type", "unix")
    elif kind == "hostdev":
        parts = zip(_PCI_PARTS, pci_parts("source", value))
        _xml.child(source, "address", {"type": "pci", **{key: f"{part:#x}" for key, part in parts}})
    else:
        address, _colon, port = value.rpartition(":")
        _xml.set_attributes(source, {"address": address or None, "port": port})


def _read_local(node: Element) -> t.Any:
    found = node.find("source/local")
    return None if found is None else f"{found.get('address') or ''}:{found.get('port') or ''}"


def _write_local(node: Element, value: t.Any) -> None:
    source = ensure(node, "source")
    drop_children(source, "local")
    if value is not None:
        address, _colon, port = value.rpartition(":")
        _xml.child(source, "local", {"address": address, "port": port})
    prune(node, "source")


def check(what: str, values: Values) -> None:
    """What must hold of a connection; ``what`` names the interface."""
    kind, source = values["type"], values.get("source")
    if kind in _WITHOUT:
        if source is not None:
            raise InvalidSpec(f"{what}: an interface of type {kind} has no source.")
    elif source is None:
        wanted = _NAMED[kind][1] if kind in _NAMED else "its PCI address" if kind == "hostdev" else "ADDRESS:PORT"
        raise InvalidSpec(f"{what} needs a source, {wanted}.")
    elif kind == "hostdev":
        values["source"] = pci_text(*pci_parts(f"{what}: source", source))
    elif kind in _SOCKETS:
        for option in ("source", "local"):
            _check_socket(f"{what}: {option}", values.get(option))
    modes = {"direct": ("vepa", "bridge", "private", "passthrough"), "vhostuser": ("server", "client")}
    if values.get("mode", "") not in ("", *modes.get(kind, ())):
        allowed = ", ".join(modes.get(kind, ())) or "none"
        raise InvalidSpec(f"{what}: type {kind} has no mode {values['mode']} (it has: {allowed}).")
    if kind == "vhostuser" and "mode" not in values:
        raise InvalidSpec(f"{what}: type vhostuser needs a mode, server or client.")
    client = kind == "vhostuser" and values.get("mode") == "client"
    only(what, values, ("reconnect",), client, "type vhostuser and mode client")
    check_reconnect(what, values)
    only(what, values, ("portgroup",), kind == "network", "type network")
    only(what, values, ("managed",), kind == "hostdev", "type hostdev")
    only(what, values, ("local",), kind == "udp", "type udp")
    only(
        what,
        values,
        ("virtualport",),
        kind in ("network", "bridge", "direct", "hostdev"),
        "types network, bridge, direct and hostdev",
    )


def _check_socket(what: str, value: str | None) -> None:
    match = _SOCKET.fullmatch(value or "")
    if value is not None and (match is None or not 0 < int(match.group(2)) < 65536):
        raise InvalidSpec(f"{what}: '{value}' is no address with a port; write it like 230.0.0.1:5558.")


LEAVES = (
    # Name of the tap device and parameters of a port belong to the old kind of connection.
    switch(
        "type",
        "type",
        words(*_NAMED, "user", "ethernet", "hostdev", *_SOCKETS, "null"),
        clearing("source", "virtualport", "target"),
    ),
    Leaf("source", _read, _write, TEXT, keep=True, place="source"),
    attribute("portgroup", "source", "portgroup"),
    attribute("mode", "source", "mode", words("vepa", "bridge", "private", "passthrough", "server", "client")),
    attribute("managed", ".", "managed", YES_NO),
    *RECONNECT,
    Leaf("local", _read_local, _write_local, place="source/local"),
    attribute("virtualport.type", "virtualport", "type", words("802.1Qbg", "802.1Qbh", "openvswitch", "midonet")),
    *attributes("virtualport.", "virtualport/parameters", number(0), "managerid", "typeid", "typeidversion"),
    *attributes("virtualport.", "virtualport/parameters", UUID, "instanceid", "interfaceid"),
    attribute("virtualport.profileid", "virtualport/parameters", "profileid"),
)
