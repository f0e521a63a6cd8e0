# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The host's neighbour table (ARP and IPv6), read from the kernel, and how an entry in it is made current. Reads only."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import ipaddress
import os
import socket
import struct

# From linux/netlink.h, rtnetlink.h and neighbour.h, which do not change any more.
_ROUTE = 0
_GET, _ERROR, _DONE, _NEW = 30, 2, 3, 28
_DUMP = 0x301
_ADDRESS, _LINK, _TIMES = 1, 2, 3
_INCOMPLETE, _REACHABLE, _STALE, _DELAY, _PROBE, _PERMANENT = 0x01, 0x02, 0x04, 0x08, 0x10, 0x80
_KNOWN = _REACHABLE | _STALE | _DELAY | _PROBE | _PERMANENT
_MOST = 1 << 20
#: Seconds for an answer of a server whose answer does not matter, only that there is one.
_ANSWER = 2.0
_ANYBODY = 22
#: The port of the service that throws away what it gets.
_DISCARD = 9


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """An entry; ``reachable``: the kernel is sure of it at the moment; ``age``: seconds since it was sure last."""

    mac: str
    address: str
    reachable: bool
    age: float


def read() -> list[Neighbour]:
    """The entries that have a MAC address; none where the kernel does not say."""
    found: list[Neighbour] = []
    with contextlib.suppress(OSError), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _ROUTE) as kernel:
        kernel.settimeout(_ANSWER)
        kernel.bind((0, 0))
        kernel.send(struct.pack("=IHHII", 28, _GET, _DUMP, 1, 0) + struct.pack("=BxxxiHBB", 0, 0, 0, 0, 0))
        while True:
            more, entries = parse(kernel.recv(_MOST))
            found += entries
            if not more:
                break
    return found


def parse(data: bytes) -> tuple[bool, list[Neighbour]]:
    """What one message of the kernel says, and whether more of them come."""
    found: list[Neighbour] = []
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        if kind in (_DONE, _ERROR) or length < 16:
            return False, found
        if kind == _NEW:
            entry = _entry(data[16:length])
            if entry is not None:
                found.append(entry)
        data = data[(length + 3) & ~3 :]
    return True, found


def _entry(body: bytes) -> Neighbour | None:
    _family, _index, state, _flags, _type = struct.unpack_from("=BxxxiHBB", body)
    values: dict[int, bytes] = {}
    rest = body[12:]
    while len(rest) >= 4:
        length, kind = struct.unpack_from("=HH", rest)
        if length < 4:
            break
        values[kind] = rest[4:length]
        rest = rest[(length + 3) & ~3 :]
    address, mac = values.get(_ADDRESS, b""), values.get(_LINK, b"")
    if not state & _KNOWN or len(mac) != 6 or len(address) not in (4, 16):
        return None
    return Neighbour(
        ":".join(f"{byte:02x}" for byte in mac),
        str(ipaddress.ip_address(address)),
        bool(state & (_REACHABLE | _PERMANENT)),
        struct.unpack_from("=I", values[_TIMES])[0] / os.sysconf("SC_CLK_TCK") if _TIMES in values else 0.0,
    )


def knock(address: str) -> bool:
    """Lets the kernel look for an address; True when somebody there answers (also with a refusal)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as datagram:
        datagram.setblocking(False)
        datagram.sendto(b"", (address, _DISCARD))
    try:
        with socket.create_connection((address, _ANYBODY), timeout=_ANSWER):
            return True
    except OSError as exc:
        return exc.errno == errno.ECONNREFUSED


def has_link(device: str | None) -> bool:
    """Whether a network device is on this machine, as far as this process sees it."""
    return device is not None and os.path.isdir(os.path.join("/sys/class/net", device))
