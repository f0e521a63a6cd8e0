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


def address(what: str, value: str) -> ipaddress.IPv4Address:
    """The IPv4 address of one host."""
    try:
        found = ipaddress.IPv4Address(str(value).strip())
    except ValueError as exc:
        raise InvalidSpec(f"{what} '{value}' is no IPv4 address; write it like 203.0.113.1.") from exc
    if found.is_multicast or found.is_loopback or int(found) >> 24 in (0, 255):
        raise InvalidSpec(f"{what} {found} is no address that a host on a network can have; state another one.")
    return found


def version(network: str) -> int:
    """4 or 6, of an address or a network."""
    return 6 if ":" in network else 4


def of_version(networks: t.Iterable[str], number: int) -> list[str]:
    """Those of one version."""
    return [network for network in networks if version(network) == number]


def span(value: str) -> tuple[int, int]:
    """The first and the last port of what ``ports`` gives."""
    low, _dash, high = value.partition("-")
    return int(low), int(high or low)
