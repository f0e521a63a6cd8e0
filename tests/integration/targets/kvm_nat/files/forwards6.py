# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packets of IPv6 to ports of this host that are forwarded to guests, in the world that packets.py and six.py make.

``forwards6.py whole`` fails unless what tasks/forwards6.yml declares first lets everybody in who is meant and nobody else.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import Any

import packets
from packets import check, ip, open_socket, tcp, udp, within
from six import BR0, BR1, G1, G3, HOST_UP, OUT, REFUSED, Flows, seen

#: An address of g2 in the routed subnet.
R2 = "2001:db8:1::12"
#: Further addresses of the host outside.
HIDDEN, HIDDEN4 = "2001:db8:ff::7", "198.51.100.7"


def up() -> None:
    # It answers by it and speaks with the other one.
    ip(f"-n kn_g2 addr add {R2}/64 dev eth0 nodad preferred_lft 0")
    ip(f"addr add {HIDDEN}/64 dev kn_up nodad preferred_lft 0")
    ip(f"addr add {HIDDEN4}/24 dev kn_up")


def web(target: str, itself: bool) -> tuple[Flows, Flows]:
    """Port 8080 of every address of the host, by TCP to port 80 and by UDP to port 8080 of the target."""
    wanted: Flows = {}
    found: Flows = {}
    for kind, listen in ((tcp, 80), (udp, 8080)):
        for source, address, peer in (
            ("out", HOST_UP, OUT),
            ("out", HIDDEN, OUT),
            ("g1", HOST_UP, BR0),
            ("g1", BR0, BR0),
            ("g2", HOST_UP, BR0),
            ("g2", BR0, BR0),
            ("g3", HOST_UP, G3),
            ("g3", BR1, G3),
            ("", HOST_UP, HOST_UP),
            ("", BR0, BR0),
        ):
            if source == target and not itself:
                continue
            name = f"{source or 'host'} to {address}, {kind.__name__} 8080"
            wanted[name] = seen(peer)
            found[name] = kind(source, target, address, 8080, listen=listen)
    return wanted, found


def linked(source: str) -> str:
    """What a guest gets at port 7003 of the address that the bridge has on its link."""
    words = ["ip", "-6", "-o", "addr", "show", "dev", "br0", "scope", "link"]
    shown = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True).stdout.split()
    address = shown[shown.index("inet6") + 1].partition("/")[0]

    def connect() -> str:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
            client.settimeout(packets.WAIT)
            try:
                client.connect((address, 7003, 0, socket.if_nametoindex("eth0")))
            except ConnectionRefusedError:
                return "refused"
            except OSError as exc:
                return str(exc)
            return "ok"

    with open_socket("g1", socket.SOCK_STREAM, ("", 7003), address=G1) as server:
        server.listen(1)
        word: str = within(source, connect)
    return word


def closed() -> tuple[Flows, Flows]:
    """What is not forwarded stays refused: ports that a forward leads to, and addresses of a link or of the host alone."""
    found = {
        "out to g1, tcp 80": tcp("out", "g1", G1, 80),
        "out to g1, udp 8080": udp("out", "g1", G1, 8080),
        "out to g1, tcp 443": tcp("out", "g1", G1, 443),
        "out to host, tcp 8081": tcp("out", "g1", HOST_UP, 8081, listen=80),
        "host to itself, tcp 8080": tcp("", "g1", "::1", 8080, listen=80),
        "host to itself, udp 8080": udp("", "g1", "::1", 8080),
        "g2 to the link, tcp 7003": (linked("g2"), None),
    }
    return dict.fromkeys(found, REFUSED), found


def filtered() -> tuple[Flows, Flows]:
    """Ports 8100 to 8110 (UDP) lead to 9100 to 9110 of g2 for the one outside alone; 8022 (TCP) to all of fd00::/16."""
    found = {
        "out, udp 8105": udp("out", "g2", HOST_UP, 8105, listen=9105),
        "out, udp 8110": udp("out", "g2", HOST_UP, 8110, listen=9110),
        "out, udp 8111": udp("out", "g2", HOST_UP, 8111, listen=9111),
        "g1, udp 8105": udp("g1", "g2", HOST_UP, 8105, listen=9105),
        "g3, udp 8105": udp("g3", "g2", HOST_UP, 8105, listen=9105),
        "host, udp 8105": udp("", "g2", HOST_UP, 8105, listen=9105),
        "out, tcp 8022": tcp("out", "g2", HOST_UP, 8022, listen=22),
        "g1, tcp 8022": tcp("g1", "g2", HOST_UP, 8022, listen=22),
        "g3, tcp 8022": tcp("g3", "g2", HOST_UP, 8022, listen=22),
        "host by br0, tcp 8022": tcp("", "g2", BR0, 8022, listen=22),
        "host by outer, tcp 8022": tcp("", "g2", HOST_UP, 8022, listen=22),
    }
    wanted: Flows = dict.fromkeys(found, REFUSED)
    wanted.update({"out, udp 8105": seen(OUT), "out, udp 8110": seen(OUT)})
    wanted.update({"g1, tcp 8022": seen(BR0), "g3, tcp 8022": seen(G3), "host by br0, tcp 8022": seen(BR0)})
    return wanted, found


def listening() -> tuple[Flows, Flows]:
    """Port 8443 of the outer address alone; a range whose ports stay as they are; a guest of the routed subnet."""
    found = {
        "out to outer, tcp 8443": tcp("out", "g1", HOST_UP, 8443, listen=443),
        "g2 to outer, tcp 8443": tcp("g2", "g1", HOST_UP, 8443, listen=443),
        "host to outer, tcp 8443": tcp("", "g1", HOST_UP, 8443, listen=443),
        "g2 to bridge, tcp 8443": tcp("g2", "g1", BR0, 8443, listen=443),
        "host to bridge, tcp 8443": tcp("", "g1", BR0, 8443, listen=443),
        "out to other, tcp 8443": tcp("out", "g1", HIDDEN, 8443, listen=443),
        "out to outer, tcp 7003": tcp("out", "g1", HOST_UP, 7003),
        "out to routed, tcp 8444": tcp("out", "g2", HOST_UP, 8444, listen=443),
        "g3 to routed, tcp 8444": tcp("g3", "g2", BR1, 8444, listen=443),
        "g1 to routed, tcp 8444": tcp("g1", "g2", BR0, 8444, listen=443),
    }
    wanted: Flows = dict.fromkeys(list(found)[3:6], REFUSED)
    wanted.update(dict(zip(list(found)[:3], (seen(OUT), seen(BR0), seen(HOST_UP)))))
    wanted.update(dict(zip(list(found)[6:], (seen(OUT), seen(OUT), seen(G3), ("ok", None)))))
    return wanted, found


def all_of(*parts: tuple[Flows, Flows]) -> None:
    check(
        {name: value for wanted, _found in parts for name, value in wanted.items()},
        {name: value for _wanted, found in parts for name, value in found.items()},
    )


def whole() -> None:
    """All of it; a guest reaches itself."""
    all_of(web("g1", True), closed(), filtered(), listening())


def but_itself() -> None:
    """The same where bridged packets are filtered: a guest does not reach itself."""
    all_of(web("g1", False), ({"g1": ("timeout", None)}, {"g1": tcp("g1", "g1", HOST_UP, 8080, listen=80)}))


def moved() -> None:
    """The target of port 8080 is g2 now; g1 gets nothing of it."""
    all_of(web("g2", True), ({"out to g1": REFUSED}, {"out to g1": tcp("out", "g1", HOST_UP, 8080, listen=80)}))


def gone() -> None:
    """No port is forwarded."""
    found = {f"{source or 'host'}, udp": udp(source, "g1", HOST_UP, 8080) for source in ("out", "g2", "g3", "")}
    found.update(
        {f"{source}, tcp 8443": tcp(source, "g1", HOST_UP, 8443, listen=443) for source in ("out", "g2", "g3")}
    )
    check(dict.fromkeys(found, REFUSED), found)


def aside() -> None:
    """br1 is for kn_up alone, br0 for a device that is not there, and they are isolated: the port is reached all the same."""
    found = {
        "out": tcp("out", "g1", HOST_UP, 8080, listen=80),
        "g3": tcp("g3", "g1", HOST_UP, 8080, listen=80),
        "g3, udp": udp("g3", "g1", HOST_UP, 8080),
        "host": tcp("", "g1", HOST_UP, 8080, listen=80),
        "g1 to out": tcp("g1", "out", OUT, 8000),
        "g3 to g1": tcp("g3", "g1", G1, 80),
        "g1 to g3": tcp("g1", "g3", G3, 80),
        "g3 to out": tcp("g3", "out", OUT, 8000),
    }
    wanted: Flows = {"out": seen(OUT), "g3": ("ok", None), "g3, udp": ("ok", None), "host": seen(HOST_UP)}
    wanted.update(dict.fromkeys(("g1 to out", "g3 to g1", "g1 to g3"), REFUSED))
    wanted["g3 to out"] = seen(HOST_UP)
    check(wanted, found)


def hides(four: str) -> None:
    found: dict[str, tuple[str, Any]] = {}
    for kind in (tcp, udp):
        found[f"{kind.__name__}, IPv6"] = kind("g1", "out", OUT, 8000)
        found[f"{kind.__name__}, IPv4"] = kind("g1", "out", packets.OUT, 8000)
    found["icmp, IPv4"] = packets.icmp("g1", "out", packets.OUT)
    wanted = {name: seen(four, None if "icmp" in name else 1024) for name in found}
    wanted.update({name: seen(HIDDEN, 1024) for name in found if "IPv6" in name})
    check(wanted, found)


def hidden() -> None:
    """The guests have an address of each version outside."""
    hides(HIDDEN4)


def hidden6() -> None:
    """One of IPv6 alone."""
    hides(packets.HOST_UP)


if __name__ == "__main__":
    {
        "up": up,
        "whole": whole,
        "but_itself": but_itself,
        "moved": moved,
        "gone": gone,
        "aside": aside,
        "hidden": hidden,
        "hidden6": hidden6,
    }[sys.argv[1]]()
