# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""NAT: what on this host is in the way of forwarded ports: programs that listen there, and bridges that filter. Reads only."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import sys
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.values import bracketed

_SOCKETS = {"tcp": ("0A", ("/proc/net/tcp", "/proc/net/tcp6")), "udp": ("07", ("/proc/net/udp", "/proc/net/udp6"))}
#: What sends bridged packets through the rules, by version of IP: for all bridges, and for one.
_BRIDGED = {
    4: ("/proc/sys/net/bridge/bridge-nf-call-iptables", "nf_call_iptables"),
    6: ("/proc/sys/net/bridge/bridge-nf-call-ip6tables", "nf_call_ip6tables"),
}


class Socket(t.NamedTuple):
    """A program of the host listens there; ``address`` None is every address, of IPv4 alone or (``version`` None) of both.

    Whether one that listens on all addresses of IPv6 takes IPv4 as well, the kernel's files do not say; most do.
    """

    protocol: str
    address: str | None
    port: int
    version: int | None = None

    def __str__(self) -> str:
        return f"{self.protocol} {bracketed(self.address or '*')}:{self.port}"


def sockets() -> tuple[Socket, ...]:
    """Where programs of this host can be reached from elsewhere."""
    found: dict[Socket, None] = {}
    for protocol, (state, paths) in _SOCKETS.items():
        for path in paths:
            with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
                found.update(dict.fromkeys(parse(protocol, state, file.read())))
    return tuple(found)


def parse(protocol: str, state: str, text: str, order: str = sys.byteorder) -> list[Socket]:
    """Those of one file of the kernel that are in a state and not for the host itself only.

    It writes each 32 bits of an address in the order of bytes that the machine has.
    """
    found: list[Socket] = []
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) < 4 or words[3] != state:
            continue
        number, _colon, port = words[1].partition(":")
        address = _address(number, order)
        if not address.is_loopback:
            everywhere = address.is_unspecified
            version = None if everywhere and address.version == 6 else address.version
            found.append(Socket(protocol, None if everywhere else str(address), int(port, 16), version))
    return found


def _address(number: str, order: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    step = -1 if order == "little" else 1
    data = b"".join(bytes.fromhex(number[at : at + 8])[::step] for at in range(0, len(number), 8))
    if len(data) == 4:
        return ipaddress.IPv4Address(data)
    address = ipaddress.IPv6Address(data)
    return address.ipv4_mapped or address


def loopless(bridge: str, version: int) -> bool:
    """Whether a guest's packet that is sent back to that guest is lost.

    With bridge netfilter it is turned around inside of the bridge, which sends nothing back to where it came from, unless
    that port is in hairpin mode.
    """
    folder = f"/sys/class/net/{bridge}"
    everywhere, here = _BRIDGED[version]
    if "1" not in (_read(everywhere), _read(f"{folder}/bridge/{here}")):
        return False
    try:
        ports = os.listdir(f"{folder}/brif")
    except OSError:
        ports = []
    return not ports or any(_read(f"{folder}/brif/{port}/hairpin_mode") == "0" for port in ports)


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None
