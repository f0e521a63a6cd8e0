# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packets of IPv6 in the world that packets.py makes: ``six.py up`` gives everybody addresses.

br0 has a unique local subnet and a routed one, br1 a unique local one. The world outside knows the way to all of them.
"""

from __future__ import annotations

import pathlib
import socket
import struct
import subprocess
import sys
import time
from typing import Any

from packets import GUESTS, check, ip, tcp, udp, within

OUT, HOST_UP = "2001:db8:ff::2", "2001:db8:ff::1"
BR0, BR1, ROUTED = "fd00:1::1", "fd00:2::1", "2001:db8:1::1"
G1, G2, G3, R1 = "fd00:1::11", "fd00:1::12", "fd00:2::11", "2001:db8:1::11"
REFUSED: tuple[str, Any] = ("refused", None)
Flows = dict[str, tuple[str, Any]]


def up() -> None:
    for device, address in (("kn_up", HOST_UP), ("br0", BR0), ("br0", ROUTED), ("br1", BR1)):
        ip(f"addr add {address}/64 dev {device} nodad")
    ip(f"-n kn_out addr add {OUT}/64 dev eth0 nodad")
    for subnet in ("fd00::/16", "2001:db8:1::/64"):
        ip(f"-n kn_out route add {subnet} via {HOST_UP}")
    for name, address, router in (("g1", G1, BR0), ("g2", G2, BR0), ("g3", G3, BR1)):
        ip(f"-n kn_{name} addr add {address}/64 dev eth0 nodad")
        ip(f"-n kn_{name} route add default via {router}")
    # Addresses of links are tried for a moment before they are used.
    deadline = time.monotonic() + 20
    while any(tentative(name) for name in ("", "out", *GUESTS)):
        if time.monotonic() > deadline:
            sys.exit("the addresses of the links are not settled after 20 s")
        time.sleep(0.1)


def tentative(where: str) -> bool:
    words = ["ip", *(["-n", f"kn_{where}"] if where else []), "-6", "addr", "show", "tentative"]
    return bool(subprocess.run(words, capture_output=True, text=True, timeout=20, check=True).stdout.strip())


def advertise(seconds: int) -> None:
    """The world outside says that it is a router, for that long; the host may believe it."""

    def send() -> None:
        # One that says in its next answer that it is none is forgotten.
        pathlib.Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1", encoding="ascii")
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as router:
            router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            number = socket.if_nametoindex("eth0")
            router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, number)
            router.sendto(struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, seconds, 0, 0), ("ff02::1", 0, 0, number))

    within("out", send)
    time.sleep(0.3)


def learned() -> bool:
    routes = subprocess.run(
        ["ip", "-6", "route", "show", "default", "dev", "kn_up"], capture_output=True, text=True, timeout=20, check=True
    )
    return "default" in routes.stdout


def uplink() -> None:
    """The host, not yet a router, believes what it is told."""
    advertise(0)
    advertise(1800)
    if not learned():
        sys.exit("no route was learned")


def believes() -> None:
    """A router, it has kept its route, and goes on to believe."""
    if not learned():
        sys.exit("the learned route is gone")
    advertise(0)
    if learned():
        sys.exit("that the route has ended was not believed")
    advertise(1800)
    if not learned():
        sys.exit("no route was learned")


def seen(address: str, lowest: int | None = None) -> tuple[str, Any]:
    return ("ok", (address, lowest))


def unique() -> tuple[Flows, Flows]:
    """What the rules of a unique local subnet let through."""
    found = {
        "g1 to out, tcp": tcp("g1", "out", OUT, 8000),
        "g1 to out, udp": udp("g1", "out", OUT, 8000),
        "g1 to out, tcp from port 700": tcp("g1", "out", OUT, 8001, 700),
        "g1 to out, udp from port 701": udp("g1", "out", OUT, 8001, 701),
        "out to g1, tcp": tcp("out", "g1", G1, 9000),
        "out to g1, udp": udp("out", "g1", G1, 9000),
        "g1 to g2, tcp": tcp("g1", "g2", G2, 9001),
        "g2 to g1, udp": udp("g2", "g1", G1, 9001),
        "host to g1, tcp": tcp("", "g1", G1, 9002),
        "g1 to host, tcp 53": tcp("g1", "", BR0, 53),
        "g1 to host, udp 53": udp("g1", "", BR0, 53),
        "g1 to host, udp 547": udp("g1", "", BR0, 547),
        "g1 to host, tcp 8080": tcp("g1", "", BR0, 8080),
    }
    wanted: Flows = dict.fromkeys(list(found)[:4], seen(HOST_UP, 1024))
    wanted.update(dict.fromkeys(("out to g1, tcp", "out to g1, udp", "g1 to host, tcp 8080"), REFUSED))
    wanted.update(dict.fromkeys(("g1 to g2, tcp", *list(found)[9:12]), seen(G1)))
    wanted.update({"g2 to g1, udp": seen(G2), "host to g1, tcp": seen(BR0)})
    return wanted, found


def open_() -> None:
    """With the rules of one bridge."""
    check(*unique())


def bare() -> None:
    """Without rules, forwarding on: nothing is hidden, nothing is refused."""
    found = {"g1 to out": tcp("g1", "out", OUT, 8000), "out to g1": udp("out", "g1", G1, 9000)}
    check({"g1 to out": seen(G1), "out to g1": seen(OUT)}, found)


def refused() -> None:
    """Without rules for IPv6 the host refuses what it does not know."""
    found = {"out to host, udp 53": udp("out", "", HOST_UP, 53), "out to g1": tcp("out", "g1", G1, 9000)}
    check({"out to host, udp 53": REFUSED, "out to g1": ("errno 13", None)}, found)


def routed() -> None:
    """g1 has an address in the routed subnet as well: it is seen with it, and reached by it."""
    ip(f"-n kn_g1 addr add {R1}/64 dev eth0 nodad")
    # The one that it speaks with.
    ip(f"-n kn_g1 route replace default via {BR0} src {R1}")
    try:
        found = {
            "g1 to out": tcp("g1", "out", OUT, 8000),
            "out to g1, tcp": tcp("out", "g1", R1, 9000),
            "out to g1, udp": udp("out", "g1", R1, 9000),
            "out to g1's other": tcp("out", "g1", G1, 9000),
        }
        check(
            {"g1 to out": seen(R1), **dict.fromkeys(list(found)[1:3], seen(OUT)), "out to g1's other": REFUSED}, found
        )
    finally:
        ip(f"-n kn_g1 route replace default via {BR0}")
        ip(f"-n kn_g1 addr del {R1}/64 dev eth0")


def between(there: tuple[str, Any], back: tuple[str, Any]) -> None:
    found = {
        "g1 to g3": tcp("g1", "g3", G3, 9003),
        "g3 to g1": tcp("g3", "g1", G1, 9003),
        "g1 to g3, udp": udp("g1", "g3", G3, 9003),
        "g3 to g1, udp": udp("g3", "g1", G1, 9003),
        "g3 to out": tcp("g3", "out", OUT, 8003),
    }
    check(dict(zip(found, (there, back, there, back, seen(HOST_UP, 1024)))), found)


def first() -> None:
    """As the rules come: from the bridge whose are first."""
    between(seen(BR1, 1024), REFUSED)


def isolated() -> None:
    between(REFUSED, REFUSED)


def allowed() -> None:
    between(seen(BR1, 1024), seen(BR0, 1024))


if __name__ == "__main__":
    {
        "up": up,
        "uplink": uplink,
        "believes": believes,
        "open": open_,
        "bare": bare,
        "refused": refused,
        "routed": routed,
        "first": first,
        "isolated": isolated,
        "allowed": allowed,
    }[sys.argv[1]]()
