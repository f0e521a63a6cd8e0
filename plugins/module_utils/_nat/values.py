# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""NAT: ports and addresses, as options have them and as iptables writes them. Pure."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


def ports(what: str, value: str) -> str:
    """A port or a range of ports as iptables writes it."""
    match = _PORTS.fullmatch(str(value).strip())
    low, high = (int(match.group(1)), int(match.group(2) or match.group(1))) if match else (0, 0)
    if not 0 < low <= high <= 65535:
        raise InvalidSpec(f"{what} '{value}' is no port and no range of ports; write it like 8080 or 1024-65535.")
    return str(low) if low == high else f"{low}-{high}"


Address = t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


def address(what: str, value: str) -> Address:
    """The address of one host, of either version of IP; not one that is only good on one link."""
    text = str(value).strip()
    try:
        # The name of a device in it means nothing to a rule.
        found = ipaddress.ip_address(text if "%" not in text else "")
    except ValueError as exc:
        raise InvalidSpec(f"{what} '{value}' is no IP address; write it like 203.0.113.1 or 2001:db8::1.") from exc
    if found.is_multicast or found.is_loopback or _is_no_host(found):
        raise InvalidSpec(f"{what} {found} is no address that a host on a network can have; state another one.")
    return found


def _is_no_host(found: Address) -> bool:
    if found.version == 4:
        return int(found) >> 24 in (0, 255)
    # What begins with zeros is kept for other uses, IPv4 in the form of IPv6 among them.
    return found.is_link_local or int(found) >> 112 == 0


def version(network: str) -> int:
    """4 or 6, of an address or a network."""
    return 6 if ":" in network else 4


def host(value: str) -> str:
    """One address as iptables writes it where a network can be."""
    return f"{value}/{32 if version(value) == 4 else 128}"


def bracketed(value: str) -> str:
    """An address before a port."""
    return f"[{value}]" if version(value) == 6 else value


def of_version(networks: t.Iterable[str], number: int) -> list[str]:
    """Those of one version."""
    return [network for network in networks if version(network) == number]


def span(value: str) -> tuple[int, int]:
    """The first and the last port of what ``ports`` gives."""
    low, _dash, high = value.partition("-")
    return int(low), int(high or low)
