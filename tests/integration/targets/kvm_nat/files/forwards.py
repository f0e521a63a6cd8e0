# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packets to ports of this host that are forwarded to guests, in the world that packets.py makes.

``forwards.py whole`` fails unless what tasks/forwards.yml declares first lets everybody in who is meant and nobody else.
"""

from __future__ import annotations

import sys
from typing import Any

from packets import BRIDGES, GUESTS, HOST_UP, OUT, check, tcp, udp

G1, G3 = GUESTS["g1"][1], GUESTS["g3"][1]
BR0, BR1 = BRIDGES["br0"], BRIDGES["br1"]
REFUSED: tuple[str, Any] = ("refused", None)
Flows = dict[str, tuple[str, Any]]


def seen(address: str) -> tuple[str, Any]:
    return ("ok", (address, None))


def web(target: str, itself: bool) -> tuple[Flows, Flows]:
    """Port 8080 of every address of the host, by TCP to port 80 and by UDP to port 8080 of the target."""
    wanted: Flows = {}
    found: Flows = {}
    for kind, listen in ((tcp, 80), (udp, 8080)):
        for source, address, peer in (
            ("out", HOST_UP, OUT),
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


def closed() -> tuple[Flows, Flows]:
    """What is not forwarded stays refused, the port that a forward leads to included."""
    found = {
        "out to g1, tcp 80": tcp("out", "g1", G1, 80),
        "out to g1, udp 8080": udp("out", "g1", G1, 8080),
        "out to g1, tcp 443": tcp("out", "g1", G1, 443),
        "out to host, tcp 8081": tcp("out", "g1", HOST_UP, 8081, listen=80),
        "out to host, udp 8080 by tcp's port": udp("out", "g1", HOST_UP, 8080, listen=80),
    }
    # The last arrives at port 8080 of the guest, where nobody listens.
    return dict.fromkeys(found, REFUSED), found


def filtered() -> tuple[Flows, Flows]:
    """Ports 8100 to 8110 (UDP) lead to 9100 to 9110 of g2 for 198.51.100.2 alone; 8022 (TCP) to all but outside."""
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
    }
    wanted: Flows = dict.fromkeys(found, REFUSED)
    wanted.update({"out, udp 8105": seen(OUT), "out, udp 8110": seen(OUT)})
    wanted.update({"g1, tcp 8022": seen(BR0), "g3, tcp 8022": seen(G3)})
    return wanted, found


def listening() -> tuple[Flows, Flows]:
    """Port 8443 of the outer address alone; a range whose ports stay as they are."""
    found = {
        "out to outer, tcp 8443": tcp("out", "g1", HOST_UP, 8443, listen=443),
        "g2 to outer, tcp 8443": tcp("g2", "g1", HOST_UP, 8443, listen=443),
        "host to outer, tcp 8443": tcp("", "g1", HOST_UP, 8443, listen=443),
        "g2 to bridge, tcp 8443": tcp("g2", "g1", BR0, 8443, listen=443),
        "host to bridge, tcp 8443": tcp("", "g1", BR0, 8443, listen=443),
        "out to outer, tcp 7003": tcp("out", "g1", HOST_UP, 7003),
    }
    wanted: Flows = dict.fromkeys(list(found)[3:5], REFUSED)
    wanted.update(dict(zip(list(found)[:3], (seen(OUT), seen(BR0), seen(HOST_UP)))))
    wanted["out to outer, tcp 7003"] = seen(OUT)
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
    """No port is forwarded (TCP port 8080 by Docker's rules alone, to nowhere)."""
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


if __name__ == "__main__":
    {"whole": whole, "but_itself": but_itself, "moved": moved, "gone": gone, "aside": aside}[sys.argv[1]]()
