# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Networks: the parameters as a typed, validated specification. Pure."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

Interface = t.Union[ipaddress.IPv4Interface, ipaddress.IPv6Interface]

_NAME = re.compile(r"[^\x00-\x1f/]+")
_BRIDGE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
#: The forward modes in which libvirt makes the bridge itself ("none" is an isolated network).
OWN_BRIDGE_MODES = ("none", "nat", "route", "open")


@dataclasses.dataclass(frozen=True)
class Forward:
    """``mode`` is libvirt's word, ``none`` for an isolated network; ``dev`` the host device to forward through."""

    mode: str
    dev: str | None = None


@dataclasses.dataclass(frozen=True)
class Bridge:
    """The bridge device; ``delay`` is the forward delay in seconds. None = as libvirt chooses."""

    name: str | None = None
    stp: bool | None = None
    delay: int | None = None


@dataclasses.dataclass(frozen=True)
class DnsDomain:
    """The DNS domain of the network; ``local_only``: queries for it are never forwarded."""

    name: str
    local_only: bool | None = None


@dataclasses.dataclass(frozen=True)
class DhcpHost:
    """A reservation; the same ``ip`` identifies it."""

    ip: str
    mac: str | None = None
    name: str | None = None


@dataclasses.dataclass(frozen=True)
class Ip:
    """An address of the host on the bridge in CIDR form, with the DHCP service on it."""

    interface: str
    ranges: tuple[tuple[str, str], ...] = ()
    hosts: tuple[DhcpHost, ...] = ()


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """A network. None in a field is "not stated": such a field is left as it is."""

    name: str
    state: str = "active"
    restart: str = "never"
    autostart: bool | None = None
    forward: Forward | None = None
    bridge: Bridge | None = None
    mac: str | None = None
    mtu: int | None = None
    domain: DnsDomain | None = None
    dns_enable: bool | None = None
    ips: tuple[Ip, ...] | None = None


def parse(params: dict[str, t.Any]) -> NetworkSpec:
    """The options of one network to its specification; raises InvalidSpec with a sentence that names the network."""
    name = params["name"]
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise InvalidSpec(f"network name '{name}': no slashes and no control characters, please.")
    spec = NetworkSpec(
        name=name,
        state=params.get("state") or "active",
        restart=params.get("restart") or "never",
        autostart=params.get("autostart"),
        forward=_forward(params.get("forward")),
        bridge=_bridge(name, params.get("bridge")),
        mac=_mac(name, params.get("mac")),
        mtu=_mtu(name, params.get("mtu")),
        domain=_domain(name, params.get("domain")),
        dns_enable=(params.get("dns") or {}).get("enable"),
        ips=_ips(name, params.get("ips")),
    )
    _check_mode(spec)
    return spec


def check_together(specs: t.Sequence[NetworkSpec]) -> None:
    """Two networks of one call must not share a bridge or overlap in their addresses."""
    bridges: dict[str, str] = {}
    nets: list[tuple[str, t.Any]] = []
    for spec in specs:
        if spec.state == "absent":
            continue
        if spec.bridge is not None and spec.bridge.name is not None:
            other = bridges.setdefault(spec.bridge.name, spec.name)
            if other != spec.name:
                raise InvalidSpec(
                    f"networks {other} and {spec.name}: both name the bridge {spec.bridge.name}; give each its own."
                )
        for ip in spec.ips or ():
            net = ipaddress.ip_interface(ip.interface).network
            for other, taken in nets:
                if taken.version == net.version and taken.overlaps(net):
                    raise InvalidSpec(
                        f"networks {other} and {spec.name}: {taken} and {net} overlap; give each its own subnet."
                    )
            nets.append((spec.name, net))


def _forward(value: dict[str, t.Any] | None) -> Forward | None:
    if value is None:
        return None
    return Forward(value.get("mode") or "nat", value.get("dev"))


def _bridge(name: str, value: dict[str, t.Any] | None) -> Bridge | None:
    if value is None:
        return None
    bridge = value.get("name")
    if bridge is not None and not _BRIDGE.fullmatch(bridge):
        raise InvalidSpec(
            f"network {name}: bridge '{bridge}' is no name for a device; up to 15 letters, digits, '_', '.' and '-'."
        )
    delay = value.get("delay")
    if delay is not None and not 0 <= delay <= 32:
        raise InvalidSpec(f"network {name}: a bridge delay of {delay} s is impossible; 0 to 32.")
    return Bridge(bridge, value.get("stp"), delay)


def _mac(name: str, value: str | None) -> str | None:
    if value is None:
        return None
    mac = value.lower()
    if not _MAC.fullmatch(mac):
        raise InvalidSpec(f"network {name}: '{value}' is no MAC address; six pairs of hexadecimal digits with colons.")
    if int(mac[:2], 16) & 1:
        raise InvalidSpec(f"network {name}: {value} is a multicast MAC address; a device needs a unicast one.")
    return mac


def _mtu(name: str, value: int | None) -> int | None:
    if value is not None and not 68 <= value <= 65535:
        raise InvalidSpec(f"network {name}: an MTU of {value} is impossible; 68 to 65535.")
    return value


def _domain(name: str, value: dict[str, t.Any] | None) -> DnsDomain | None:
    if value is None:
        return None
    if not value.get("name"):
        raise InvalidSpec(f"network {name}: domain needs a name.")
    return DnsDomain(value["name"], value.get("local_only"))


def _ips(name: str, value: t.Sequence[dict[str, t.Any]] | None) -> tuple[Ip, ...] | None:
    if value is None:
        return None
    ips = tuple(_ip(name, entry) for entry in value)
    nets = [ipaddress.ip_interface(ip.interface).network for ip in ips]
    for index, net in enumerate(nets):
        for other in nets[:index]:
            if other.version == net.version and other.overlaps(net):
                raise InvalidSpec(f"network {name}: its own addresses overlap ({other} and {net}).")
    if sum(1 for ip in ips if (ip.ranges or ip.hosts) and ":" not in ip.interface) > 1:
        raise InvalidSpec(f"network {name}: libvirt serves DHCP on one IPv4 subnet of a network only.")
    return ips


def _ip(name: str, entry: dict[str, t.Any]) -> Ip:
    text, prefix = entry.get("address") or "", entry.get("prefix")
    if prefix is not None and "/" in text:
        raise InvalidSpec(f"network {name}: address {text} has a prefix already; leave out prefix: {prefix}.")
    if prefix is None and "/" not in text:
        raise InvalidSpec(f"network {name}: address '{text}' needs a prefix (like 24).")
    try:
        interface = ipaddress.ip_interface(text if prefix is None else f"{text}/{prefix}")
    except ValueError as exc:
        raise InvalidSpec(f"network {name}: '{text}{'' if prefix is None else f'/{prefix}'}' is no address.") from exc
    dhcp = entry.get("dhcp") or {}
    ranges = tuple(_range(name, interface, item) for item in dhcp.get("ranges") or ())
    hosts = tuple(_host(name, interface, item) for item in dhcp.get("hosts") or ())
    for kind in ("ip", "mac"):
        values = [getattr(host, kind) for host in hosts if getattr(host, kind)]
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise InvalidSpec(f"network {name}: two DHCP reservations for {twice[0]}.")
    return Ip(interface.with_prefixlen, ranges, hosts)


def _inside(name: str, interface: Interface, value: str | None, what: str) -> str:
    try:
        address = ipaddress.ip_address(value or "")
    except ValueError as exc:
        raise InvalidSpec(f"network {name}: {what} '{value}' is no address.") from exc
    if address not in interface.network:
        raise InvalidSpec(f"network {name}: {what} {address} is outside of {interface.network}.")
    return str(address)


def _range(name: str, interface: Interface, item: dict[str, t.Any]) -> tuple[str, str]:
    start = _inside(name, interface, item.get("start"), "DHCP range start")
    end = _inside(name, interface, item.get("end"), "DHCP range end")
    if ipaddress.ip_address(end) < ipaddress.ip_address(start):  # type: ignore[operator]
        raise InvalidSpec(f"network {name}: DHCP range {start} to {end} ends before it starts.")
    return start, end


def _host(name: str, interface: Interface, item: dict[str, t.Any]) -> DhcpHost:
    ip = _inside(name, interface, item.get("ip"), "DHCP reservation")
    mac = _mac(name, item.get("mac"))
    if mac is None and not item.get("name"):
        raise InvalidSpec(f"network {name}: the DHCP reservation of {ip} names neither a mac nor a name.")
    return DhcpHost(ip, mac, item.get("name"))


def _check_mode(spec: NetworkSpec) -> None:
    mode = spec.forward.mode if spec.forward is not None else None
    if mode == "bridge":
        if spec.ips or spec.mac or spec.domain or spec.dns_enable is not None:
            raise InvalidSpec(
                f"network {spec.name}: forward mode bridge uses a bridge of the host; it has no ips, mac, domain or dns."
            )
        if spec.bridge is None or spec.bridge.name is None:
            raise InvalidSpec(
                f"network {spec.name}: forward mode bridge needs bridge.name, an existing bridge of the host."
            )
    if spec.forward is not None and spec.forward.dev and mode not in ("nat", "route"):
        raise InvalidSpec(f"network {spec.name}: forward.dev goes with mode nat or route, not with {mode}.")
