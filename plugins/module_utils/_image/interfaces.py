# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: the interfaces of a guest, as a typed, validated specification. Pure."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOSTNAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_DEVICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
# Every tool understands a name like this as a vlan of that interface with that number.
_VLAN_NAME = re.compile(r"(.+)\.([0-9]{1,4})")

#: The modes of a bond (the kernel's documentation of bonding), and which of them a parameter has a meaning for.
MODES = ("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb")
PRIMARY_MODES = ("active-backup", "balance-tlb", "balance-alb")
HASH_MODES = ("balance-xor", "802.3ad", "balance-tlb")
LACP_RATES = ("slow", "fast")
HASH_POLICIES = ("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4")


@dataclasses.dataclass(frozen=True)
class Route:
    """``to`` is a network in CIDR form or ``default``, ``via`` a gateway."""

    to: str
    via: str
    metric: int | None = None


@dataclasses.dataclass(frozen=True)
class Bond:
    """The parameters of a bond; ``mii_monitor_interval`` in milliseconds.

    It has a value in any case: the kernel's own is 0, with which a bond does not notice that a link is lost.
    """

    mode: str = "balance-rr"
    primary: str | None = None
    mii_monitor_interval: int = 100
    lacp_rate: str | None = None
    transmit_hash_policy: str | None = None


@dataclasses.dataclass(frozen=True)
class Interface:
    """An interface of the guest in netplan's words; addresses are in CIDR form, ``mtu`` in bytes.

    One of ``name`` and ``mac`` is there. With a ``mac`` the interface gets the name (``netN`` when none is stated).
    ``id`` (802.1Q) and ``link`` (the interface below) make it a vlan, ``interfaces`` and ``parameters`` a bond.
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
    id: int | None = None
    link: str | None = None
    interfaces: tuple[str, ...] = ()
    parameters: Bond | None = None

    @property
    def kind(self) -> str:
        """``vlan``, ``bond`` or ``ethernet``."""
        if self.id is not None:
            return "vlan"
        return "bond" if self.parameters is not None else "ethernet"

    @property
    def configured(self) -> bool:
        """Whether it has something of the layers above its link."""
        return any(
            (
                *(self.dhcp4, self.dhcp6, self.addresses, self.gateway4, self.gateway6),
                *(self.nameservers, self.search, self.routes),
            )
        )


def parse(path: str, value: t.Sequence[dict[str, t.Any]] | None) -> tuple[Interface, ...] | None:
    if value is None:
        return None
    interfaces = tuple(_interface(path, index, entry) for index, entry in enumerate(value))
    for what in ("name", "mac"):
        values = [getattr(entry, what) for entry in interfaces if getattr(entry, what)]
        for item in values:
            if values.count(item) > 1:
                raise InvalidSpec(f"image {path}: two interfaces with the {what} {item}.")
    _check_links(path, interfaces)
    return interfaces


def _check_links(path: str, interfaces: t.Sequence[Interface]) -> None:
    """A vlan stands on an ethernet interface or a bond, a bond on ethernet interfaces; so nothing goes in a circle."""
    known = {item.name: item for item in interfaces}
    parts: dict[str, str] = {}
    for item in interfaces:
        for name in item.interfaces:
            member = known.get(name)
            if member is None or member.kind != "ethernet" or name in parts or member.configured:
                raise InvalidSpec(
                    f"image {path}: the bond {item.name} needs {name} as an entry of customize.interfaces that is no vlan"
                    " and no bond, has neither addresses, DHCP, routes nor name servers, and is in no other bond."
                )
            parts[name] = item.name
    for item in interfaces:
        link = known.get(item.link) if item.link is not None else None
        if item.kind == "vlan" and (link is None or link.kind == "vlan" or link.name in parts):
            raise InvalidSpec(
                f"image {path}: the vlan {item.name} needs its link {item.link} as an entry of customize.interfaces that"
                " is no vlan and no part of a bond."
            )


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
    vlan_id, link = _vlan(what, name, entry)
    members = tuple(entry.get("interfaces") or ())
    bond = _bond(what, members, entry)
    if (vlan_id is not None or bond is not None) and mac is not None:
        raise InvalidSpec(f"{what}: mac finds an interface that is there, and a vlan or bond is made; leave it out.")
    if vlan_id is not None and bond is not None:
        raise InvalidSpec(f"{what}: either id and link, which make a vlan, or interfaces, which make a bond.")
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
        id=vlan_id,
        link=link,
        interfaces=members,
        parameters=bond,
    )


def _vlan(what: str, name: str, entry: dict[str, t.Any]) -> tuple[int | None, str | None]:
    number, link = entry.get("id"), entry.get("link")
    if number is None and link is None:
        return None, None
    if number is None or not link:
        raise InvalidSpec(f"{what}: a vlan needs both id and link.")
    if not 1 <= number <= 4094:
        raise InvalidSpec(f"{what}: a vlan id of {number} is impossible; 1 to 4094.")
    meant = _VLAN_NAME.fullmatch(name)
    if meant is not None and (meant.group(1), int(meant.group(2))) != (link, number):
        raise InvalidSpec(
            f"{what}: its name stands for the vlan {int(meant.group(2))} on {meant.group(1)}, but id is {number} and link"
            f" is {link}; call it {link}.{number} or give it a name without a dot."
        )
    return number, link


def _bond(what: str, members: tuple[str, ...], entry: dict[str, t.Any]) -> Bond | None:
    given = {key: value for key, value in (entry.get("parameters") or {}).items() if value is not None}
    if entry.get("interfaces") is None and not given:
        return None
    if not members:
        raise InvalidSpec(f"{what}: a bond needs at least one name in interfaces.")
    bond = Bond(**given)
    for option, value, allowed in (
        ("mode", bond.mode, MODES),
        ("primary", bond.primary, members),
        ("lacp_rate", bond.lacp_rate, LACP_RATES),
        ("transmit_hash_policy", bond.transmit_hash_policy, HASH_POLICIES),
    ):
        if value is not None and value not in allowed:
            raise InvalidSpec(f"{what}: {option} '{value}' is none of {', '.join(allowed)}.")
    if not 1 <= bond.mii_monitor_interval <= 60000:
        raise InvalidSpec(f"{what}: mii_monitor_interval is in milliseconds, 1 to 60000.")
    for option, value, modes in (
        ("primary", bond.primary, PRIMARY_MODES),
        ("lacp_rate", bond.lacp_rate, ("802.3ad",)),
        ("transmit_hash_policy", bond.transmit_hash_policy, HASH_MODES),
    ):
        if value is not None and bond.mode not in modes:
            raise InvalidSpec(f"{what}: {option} has no meaning in the mode {bond.mode}, only in {', '.join(modes)}.")
    return bond


def _search(what: str, text: str) -> str:
    if not HOSTNAME.fullmatch(text):
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
