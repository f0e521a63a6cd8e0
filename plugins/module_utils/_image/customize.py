# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: what is put into a guest, as a typed, validated specification. Pure."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOSTNAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_DEVICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_CRYPT = re.compile(r"\$[0-9a-z]+\$[^:\s]+|[!*]+")
_KEY = re.compile(r"(?:[^\s#][^\n]* )?(?:ssh-|ecdsa-|sk-)[A-Za-z0-9@.-]+ AAAA[A-Za-z0-9+/=]+(?: [^\n]*)?")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(?::[a-z0-9]+)?(?:[=/][A-Za-z0-9.+~:-]+)?")
_MODE = re.compile(r"0?[0-7]{3,4}")
_MACHINE_ID = re.compile(r"[0-9a-f]{32}")
# What debugfs takes in a quoted word without any escaping.
_GUEST_PATH = re.compile(r"/[^\x00-\x1f\"\\]*")
_MAX_ID = 65535


@dataclasses.dataclass(frozen=True)
class Route:
    """``to`` is a network in CIDR form or ``default``, ``via`` a gateway."""

    to: str
    via: str
    metric: int | None = None


@dataclasses.dataclass(frozen=True)
class Interface:
    """An interface of the guest in netplan's words; addresses are in CIDR form, ``mtu`` in bytes.

    One of ``name`` and ``mac`` is there. With a ``mac`` the interface gets the name (``netN`` when none is stated).
    """

    name: str
    mac: str | None = None
    dhcp4: bool = False
    dhcp6: bool = False
    addresses: tuple[str, ...] = ()
    gateway4: str | None = None
    gateway6: str | None = None
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    mtu: int | None = None


@dataclasses.dataclass(frozen=True)
class GuestFile:
    """A file of the guest. ``mode`` is octal text; ``owner`` and ``group`` are numeric ids in the guest."""

    path: str
    content: str
    mode: str = "0644"
    owner: int = 0
    group: int = 0


@dataclasses.dataclass(frozen=True)
class Customize:
    """What is put into a guest; None = not stated."""

    hostname: str | None = None
    interfaces: tuple[Interface, ...] | None = None
    ssh_authorized_keys: tuple[str, ...] | None = None
    root_password: str | None = None
    packages: tuple[str, ...] = ()
    files: tuple[GuestFile, ...] = ()
    commands: tuple[str, ...] = ()
    machine_id: str | None = None


def parse(path: str, value: dict[str, t.Any] | None) -> Customize:
    """The option ``customize`` of the image ``path``; raises InvalidSpec."""
    value = value or {}
    return Customize(
        hostname=_hostname(path, value.get("hostname")),
        interfaces=_interfaces(path, value.get("interfaces")),
        ssh_authorized_keys=_keys(path, value.get("ssh_authorized_keys")),
        root_password=_password(path, value.get("root_password")),
        packages=packages(path, value.get("packages")),
        files=_files(path, value.get("files")),
        commands=tuple(value.get("commands") or ()),
        machine_id=_machine_id(path, value.get("machine_id")),
    )


def packages(path: str, value: t.Sequence[str] | None) -> tuple[str, ...]:
    """Package names as apt takes them (``name``, ``name=version``, ``name/suite``)."""
    for name in value or ():
        if not _PACKAGE.fullmatch(name):
            raise InvalidSpec(f"image {path}: '{name}' is no name of a package.")
    return tuple(value or ())


def octal(path: str, value: str | None, what: str) -> str | None:
    """A mode as text of four octal digits; None stays None."""
    if value is None:
        return None
    if not _MODE.fullmatch(value):
        raise InvalidSpec(f"image {path}: {what} '{value}' is no mode; quote it and write it in octal, like \"0644\".")
    return f"{int(value, 8):04o}"


def _hostname(path: str, value: str | None) -> str | None:
    if value is not None and (not _HOSTNAME.fullmatch(value) or len(value) > 253):
        raise InvalidSpec(f"image {path}: '{value}' is no host name; letters, digits, hyphens and dots only.")
    return value


def _keys(path: str, value: t.Sequence[str] | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    # A key read from a file ends with a newline, and such a file may have several.
    keys = [line.strip() for entry in value for line in entry.splitlines() if line.strip() and not line.startswith("#")]
    for number, key in enumerate(keys, 1):
        if not _KEY.fullmatch(key):
            raise InvalidSpec(f"image {path}: entry {number} of customize.ssh_authorized_keys is no public SSH key.")
    return tuple(dict.fromkeys(keys))


def _password(path: str, value: str | None) -> str | None:
    if value is not None and not _CRYPT.fullmatch(value):
        raise InvalidSpec(
            f"image {path}: customize.root_password is no crypt(3) hash; make one with the filter"
            " ansible.builtin.password_hash and a fixed salt."
        )
    return value


def _machine_id(path: str, value: str | None) -> str | None:
    if value is not None and not _MACHINE_ID.fullmatch(value):
        raise InvalidSpec(f"image {path}: customize.machine_id '{value}' is not 32 lower case hexadecimal digits.")
    return value


def _files(path: str, value: t.Sequence[dict[str, t.Any]] | None) -> tuple[GuestFile, ...]:
    files = tuple(_file(path, entry) for entry in value or ())
    names = [entry.path for entry in files]
    for name in names:
        if names.count(name) > 1:
            raise InvalidSpec(f"image {path}: customize.files has {name} twice.")
    return files


def _file(path: str, entry: dict[str, t.Any]) -> GuestFile:
    name = entry.get("path") or ""
    if (
        not _GUEST_PATH.fullmatch(name)
        or name.endswith("/")
        or any(part in ("", ".", "..") for part in name[1:].split("/"))
    ):
        raise InvalidSpec(
            f"image {path}: '{name}' in customize.files is no absolute path of a file (plain, without '..')."
        )
    if entry.get("content") is None:
        raise InvalidSpec(f"image {path}: the file {name} has no content.")
    for what in ("owner", "group"):
        if not 0 <= (entry.get(what) or 0) <= _MAX_ID:
            raise InvalidSpec(f"image {path}: {what} of {name} is to be a numeric id from 0 to {_MAX_ID}.")
    mode = octal(path, entry.get("mode"), f"the mode of {name}") or "0644"
    return GuestFile(name, entry["content"], mode, entry.get("owner") or 0, entry.get("group") or 0)


def _interfaces(path: str, value: t.Sequence[dict[str, t.Any]] | None) -> tuple[Interface, ...] | None:
    if value is None:
        return None
    interfaces = tuple(_interface(path, index, entry) for index, entry in enumerate(value))
    for what in ("name", "mac"):
        values = [getattr(entry, what) for entry in interfaces if getattr(entry, what)]
        for item in values:
            if values.count(item) > 1:
                raise InvalidSpec(f"image {path}: two interfaces with the {what} {item}.")
    return interfaces


def _interface(path: str, index: int, entry: dict[str, t.Any]) -> Interface:
    mac = entry.get("mac")
    if mac is not None and not _MAC.fullmatch(mac.lower()):
        raise InvalidSpec(
            f"image {path}: '{mac}' is no MAC address; six pairs of hexadecimal digits with colons, quoted."
        )
    name = entry.get("name") or (f"net{index}" if mac else "")
    if not _DEVICE.fullmatch(name) or name in ("lo", "all", "default"):
        raise InvalidSpec(
            f"image {path}: interface '{name}' needs a name of up to 15 letters and digits (like eth0), or a mac."
        )
    what = f"image {path}: interface {name}"
    mtu = entry.get("mtu")
    if mtu is not None and not 68 <= mtu <= 65535:
        raise InvalidSpec(f"{what}: an MTU of {mtu} is impossible; 68 to 65535.")
    addresses = tuple(_cidr(what, text) for text in entry.get("addresses") or ())
    if entry.get("dhcp4") and any(":" not in text for text in addresses):
        raise InvalidSpec(f"{what}: either dhcp4 or static IPv4 addresses, not both.")
    if entry.get("dhcp6") and any(":" in text for text in addresses):
        raise InvalidSpec(f"{what}: either dhcp6 or static IPv6 addresses, not both.")
    return Interface(
        name=name,
        mac=mac.lower() if mac else None,
        dhcp4=bool(entry.get("dhcp4")),
        dhcp6=bool(entry.get("dhcp6")),
        addresses=addresses,
        gateway4=_gateway(what, entry.get("gateway4"), 4, addresses),
        gateway6=_gateway(what, entry.get("gateway6"), 6, addresses),
        nameservers=tuple(_address(what, text, "nameserver") for text in entry.get("nameservers") or ()),
        search=tuple(_search(what, text) for text in entry.get("search") or ()),
        routes=tuple(_route(what, route) for route in entry.get("routes") or ()),
        mtu=mtu,
    )


def _search(what: str, text: str) -> str:
    if not _HOSTNAME.fullmatch(text):
        raise InvalidSpec(f"{what}: search domain '{text}' is no domain name.")
    return text


def _cidr(what: str, text: str) -> str:
    try:
        if "/" not in text:
            raise ValueError(text)
        return ipaddress.ip_interface(text).with_prefixlen
    except ValueError as exc:
        raise InvalidSpec(f"{what}: '{text}' is no address with a prefix, like 192.0.2.10/24.") from exc


def _address(what: str, text: str, kind: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as exc:
        raise InvalidSpec(f"{what}: {kind} '{text}' is no IP address.") from exc


def _gateway(what: str, text: str | None, version: int, addresses: t.Sequence[str]) -> str | None:
    if text is None:
        return None
    gateway = ipaddress.ip_address(_address(what, text, f"gateway{version}"))
    if gateway.version != version:
        raise InvalidSpec(f"{what}: gateway{version} '{text}' is no IPv{version} address.")
    own = [ipaddress.ip_interface(item).network for item in addresses]
    if not gateway.is_link_local and not any(net.version == version and gateway in net for net in own):
        raise InvalidSpec(f"{what}: gateway{version} {gateway} is in none of the subnets of its addresses.")
    return str(gateway)


def _route(what: str, entry: dict[str, t.Any]) -> Route:
    to, via = entry.get("to") or "", _address(what, entry.get("via") or "", "route via")
    metric = entry.get("metric")
    if metric is not None and not 0 <= metric < 2**32:
        raise InvalidSpec(f"{what}: a route metric of {metric} is impossible.")
    if to == "default":
        return Route(to, via, metric)
    try:
        network = ipaddress.ip_network(to)
    except ValueError as exc:
        raise InvalidSpec(f"{what}: route to '{to}' is no network, like 198.51.100.0/24, and not default.") from exc
    if network.version != ipaddress.ip_address(via).version:
        raise InvalidSpec(f"{what}: the route to {to} cannot go via {via}, an address of another IP version.")
    return Route(str(network), via, metric)
