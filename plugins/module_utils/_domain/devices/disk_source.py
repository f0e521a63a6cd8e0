# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Where the data of a disk are: a file, a device of the host, a volume or another machine. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
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
    drop_children,
    ensure,
    prune,
    unset,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.lists import items, mapping, whole
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import (
    LINE,
    PATH,
    PCI,
    PUBLIC,
    TEXT,
    UUID,
    YES_NO,
    Shape,
    number,
    pci_parts,
    pci_text,
    size,
    words,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: The attribute that has the source, by type.
_SOURCE = {
    "file": "file",
    "block": "dev",
    "dir": "dir",
    "network": "name",
    "volume": "volume",
    "nvme": "namespace",
    "vhostuser": "path",
}
TYPES = words(*_SOURCE)
_OF_THE_HOST = ("file", "block", "dir", "vhostuser")
_PROTOCOLS = words(
    "nbd", "rbd", "iscsi", "gluster", "sheepdog", "http", "https", "ftp", "ftps", "tftp", "ssh", "nfs", "vxhs"
)
#: The ports that libvirt writes down when none is stated.
_PORTS = {
    "nbd": 10809, "iscsi": 3260, "gluster": 24007, "sheepdog": 7000, "http": 80, "https": 443, "ftp": 21, "ftps": 990,
    "tftp": 69, "ssh": 22, "vxhs": 9999,
}  # fmt: skip
_OF_THE_WEB = ("http", "https", "ftp", "ftps")
#: Of these a source is only named by its hosts, or need not be named.
_NAMELESS = ("nbd",)


def read_source(node: Element) -> t.Any:
    """The path, or the name, of what is behind a disk. An empty one is none: drives without a medium are written so too."""
    source = node.find("source")
    return None if source is None else source.get(_SOURCE.get(node.get("type") or "file", "file")) or None


def write_source(node: Element, value: t.Any) -> None:
    """Another source; the chain and the mirror of the old one say nothing about it."""
    drop_children(node, "source", "backingStore", "mirror")
    if value is not None:
        source = ensure(node, "source")
        kind = node.get("type") or "file"
        source.set(_SOURCE.get(kind, "file"), value)
        if kind in ("vhostuser", "nvme"):
            source.set("type", "unix" if kind == "vhostuser" else "pci")


def write_type(node: Element, value: t.Any) -> None:
    """Another type, for the source that there is until the next leaf writes the wanted one."""
    source = read_source(node)
    node.set("type", value or "file")
    write_source(node, source)


def _either(leaf: Leaf, other: Leaf) -> Leaf:
    """libvirt takes some elements of a source beside it too, and leaves them there."""

    def get(node: Element) -> t.Any:
        found = leaf.read(node)
        return other.read(node) if found is None else found

    def put(node: Element, value: t.Any) -> None:
        other.write(node, None)
        leaf.write(node, value)

    return dataclasses.replace(leaf, read=get, write=put, other_place=other.place)


def _auth(name: str, path: str, key: str, shape: Shape = TEXT) -> Leaf:
    tail = "auth" if path == "." else f"auth/{path}"
    option = f"network.auth.{name}"
    return _either(attribute(option, f"source/{tail}", key, shape), attribute(option, tail, key, shape))


def _encryption(name: str, path: str, key: str, shape: Shape = TEXT) -> Leaf:
    tail = "encryption" if path == "." else f"encryption/{path}"
    option = f"encryption.{name}"
    return _either(attribute(option, f"source/{tail}", key, shape), attribute(option, tail, key, shape))


def _secret(key: str, shape: Shape) -> Leaf:
    """The secret of an encrypted image has one name: another one takes the place of that which it had."""
    leaf = _encryption(f"secret_{key}", "secret", key, shape)

    def put(node: Element, value: t.Any) -> None:
        for place in ("source", "."):
            if node.find(f"{place}/encryption") is not None:
                drop_children(ensure(node, f"{place}/encryption"), "secret")
                if value is None:
                    prune(node, f"{place}/encryption")
        if value is not None:
            _xml.child(ensure(node, "source/encryption"), "secret", {"type": "passphrase", key: value})

    return dataclasses.replace(leaf, write=put)


_HELPER = "source/reservations/source"


def _write_helper(node: Element, value: t.Any) -> None:
    found = node.find(_HELPER)
    if found is not None and value is None:
        helper = ensure(node, "source/reservations")
        helper.remove(found)
        if helper.get("managed") == "no":
            unset(helper, "managed")
        prune(node, "source/reservations")
    if value is not None:
        # Only one that somebody else has started has a socket that libvirt does not know.
        _xml.set_attributes(ensure(node, "source/reservations"), {"managed": False})
        _xml.set_attributes(ensure(node, _HELPER), {"type": "unix", "path": value, "mode": "client"})


_HOST = (
    attribute("name", ".", "name"),
    attribute("port", ".", "port", number(1, 65535)),
    attribute("transport", ".", "transport", words("tcp", "rdma", "unix")),
    attribute("socket", ".", "socket", PATH),
)


def _check_host(what: str, values: Values) -> None:
    unix = values.get("transport") == "unix"
    if unix != ("socket" in values) or unix == ("name" in values):
        raise InvalidSpec(f"{what}: a host has a name, or with the transport unix a socket.")


_PCI_PARTS = ("domain", "bus", "slot", "function")


def _read_nvme(node: Element) -> t.Any:
    found = node.find("source/address")
    if found is None:
        return None
    return pci_text(*(int(found.get(key) or "0", 0) for key in _PCI_PARTS))


def _write_nvme(node: Element, value: t.Any) -> None:
    source = ensure(node, "source")
    drop_children(source, "address")
    if value is not None:
        parts = zip(_PCI_PARTS, pci_parts("nvme.address", value))
        _xml.child(source, "address", {"type": "pci", **{key: f"{part:#x}" for key, part in parts}})
    prune(node, "source")


def _check_slice(what: str, values: Values) -> None:
    if not {"offset", "size"} <= set(values):
        raise InvalidSpec(f"{what} needs an offset and a size.")


LEAVES = (
    Leaf("source", read_source, write_source, Shape({"type": "path"}), own=True),
    attribute("pool", "source", "pool"),
    attribute("mode", "source", "mode", words("host", "direct")),
    attribute("startup_policy", "source", "startupPolicy", words("mandatory", "requisite", "optional")),
    attribute("network.protocol", "source", "protocol", _PROTOCOLS),
    items("network.hosts", "source", "host", _HOST, check=_check_host),
    attribute("network.query", "source", "query"),
    attribute("network.tls", "source", "tls", YES_NO),
    attribute("network.tls_hostname", "source", "tlsHostname"),
    attribute("network.ssl_verify", "source/ssl", "verify", YES_NO),
    mapping("network.cookies", "source/cookies", "cookie", "name", None, secret=True),
    attribute("network.readahead", "source/readahead", "size", size("KiB")),
    attribute("network.timeout", "source/timeout", "seconds", number(1)),
    attribute("network.user", "source/identity", "user", LINE),
    attribute("network.group", "source/identity", "group", LINE),
    attribute("network.snapshot", "source/snapshot", "name"),
    attribute("network.config", "source/config", "file", PATH),
    attribute("network.initiator", "source/initiator/iqn", "name"),
    _auth("username", ".", "username"),
    _auth("secret_type", "secret", "type", Shape({"type": "str", "choices": ["ceph", "iscsi"], "no_log": False})),
    _auth("secret_uuid", "secret", "uuid", UUID),
    _auth("secret_usage", "secret", "usage", PUBLIC),
    Leaf("nvme.address", _read_nvme, _write_nvme, PCI, place="source/address"),
    attribute("nvme.managed", "source", "managed", YES_NO),
    *RECONNECT,
    _encryption("format", ".", "format", words("luks", "luks2", "luks-any", "qcow")),
    _encryption("engine", ".", "engine", words("qemu", "librbd")),
    _secret("uuid", UUID),
    _secret("usage", PUBLIC),
    attribute("reservations.managed", "source/reservations", "managed", YES_NO),
    Leaf(
        "reservations.socket",
        lambda node: _xml.find_attribute(node, _HELPER, "path"),
        _write_helper,
        PATH,
        place="source/reservations",
    ),
    whole(
        "slice",
        "source/slices/slice[@type='storage']",
        (attribute("offset", ".", "offset", size("B")), attribute("size", ".", "size", size("B", least=1))),
        check=_check_slice,
    ),
    SOURCE_LABELS,
)


def guess_type(values: Values) -> None:
    """Fills in what the source is, where that follows from the rest."""
    source, remote = values.get("source") or "", any(name.startswith("network.") for name in values)
    if "source" in values or remote:
        guessed = "volume" if "pool" in values else "network" if remote else "file"
        values.setdefault("type", "block" if source.startswith("/dev/") else guessed)


def check(what: str, values: Values) -> None:
    """What must hold in the source of a disk; the type is known, ``what`` names the disk."""
    kind, source = values["type"], values.get("source")
    if kind in _OF_THE_HOST and source is not None and (not source.startswith("/") or "\n" in source):
        raise InvalidSpec(f"{what}: its source has to be an absolute path, not '{source}'.")
    only(what, values, ("pool", "mode"), kind == "volume", "type volume")
    only(what, values, ("network",), kind == "network", "type network")
    only(what, values, ("seclabels",), kind != "network", "sources on this host")
    only(what, values, ("nvme",), kind == "nvme", "type nvme")
    only(what, values, ("reconnect",), kind == "vhostuser", "type vhostuser")
    check_reconnect(what, values)
    only(what, values, ("reservations",), values.get("device") == "lun", "device lun")
    if "reservations.socket" in values and values.setdefault("reservations.managed", False):
        raise InvalidSpec(
            f"{what}: reservations.socket is of a helper that libvirt does not manage; leave out managed."
        )
    if "reservations.managed" in values and ("reservations.socket" in values) == values["reservations.managed"]:
        raise InvalidSpec(f"{what}: reservations without managed needs the socket of its helper.")
    if "encryption.secret_uuid" in values and "encryption.secret_usage" in values:
        raise InvalidSpec(f"{what}: encryption has a secret_uuid and a secret_usage; state one of them.")
    if kind == "nvme" and "nvme.address" not in values:
        raise InvalidSpec(f"{what}: a source of type nvme needs nvme.address.")
    if kind == "volume" and "pool" not in values:
        raise InvalidSpec(f"{what}: a source of type volume needs its pool.")
    if kind == "network":
        _check_network(what, values)


def _check_network(what: str, values: Values) -> None:
    protocol = values.get("network.protocol")
    if protocol is None:
        raise InvalidSpec(f"{what}: a source of type network needs network.protocol.")
    if "source" not in values and protocol not in _NAMELESS:
        raise InvalidSpec(f"{what}: a source with the protocol {protocol} needs a name; state it as source.")
    if not values.get("network.hosts") and protocol not in ("rbd", "sheepdog"):
        raise InvalidSpec(f"{what}: a source with the protocol {protocol} needs network.hosts.")
    only(what, values, ("network.cookies",), protocol in ("http", "https"), "the protocols http and https")
    web = protocol in _OF_THE_WEB
    only(what, values, ("network.readahead", "network.timeout"), web, f"the protocols {', '.join(_OF_THE_WEB)}")
    only(what, values, ("network.user", "network.group"), protocol == "nfs", "the protocol nfs")
    for host in values.get("network.hosts") or ():
        if protocol == "nfs" and "port" in host:
            raise InvalidSpec(f"{what}: a server of NFS has no port here; leave it out of network.hosts.")
        if host.get("transport") != "unix" and protocol in _PORTS:
            host.setdefault("port", _PORTS[protocol])
    check_auth(what, values)


def check_auth(what: str, values: Values) -> None:
    """How to log in; the protocol is known, ``what`` names the device."""
    auth = [name for name in values if name.startswith("network.auth.")]
    if auth:
        by = {"network.auth.secret_uuid", "network.auth.secret_usage"} & set(auth)
        if "network.auth.username" not in auth or len(by) != 1:
            raise InvalidSpec(f"{what}: network.auth needs a username and either a secret_uuid or a secret_usage.")
        kind = "iscsi" if values["network.protocol"] == "iscsi" else "ceph"
        values.setdefault("network.auth.secret_type", kind)
