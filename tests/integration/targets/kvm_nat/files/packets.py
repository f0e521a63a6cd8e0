# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packets through the rules: a world outside, this host, two guests on br0 and one on br1, all network namespaces.

``packets.py up`` makes them around the network namespace that it runs in, ``down`` removes them. ``packets.py open``
fails unless the thirteen rules let through and refuse what they have to; ``bare`` fails unless it all looks different
without them, which shows that the probes can tell. ``between`` is about two bridges.
"""

from __future__ import annotations

import concurrent.futures
import ctypes
import os
import socket
import struct
import subprocess
import sys
from typing import Any, Callable

OUT, HOST_UP = "198.51.100.2", "198.51.100.1"
GUESTS = {"g1": ("br0", "192.168.0.11"), "g2": ("br0", "192.168.0.12"), "g3": ("br1", "192.168.1.11")}
BRIDGES = {"br0": "192.168.0.1", "br1": "192.168.1.1"}
WAIT = 1.5
LIBC = ctypes.CDLL(None, use_errno=True)


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, timeout=20)


def up() -> None:
    for name in ("out", *GUESTS):
        ip(f"netns add kn_{name}")
        ip(f"-n kn_{name} link set lo up")
    ip("link add kn_up type veth peer name eth0 netns kn_out")
    ip(f"addr add {HOST_UP}/24 dev kn_up")
    ip("link set kn_up up")
    ip(f"-n kn_out addr add {OUT}/24 dev eth0")
    ip("-n kn_out link set eth0 up")
    # The world knows the way to the guests: only the rules can keep it out, and only they hide the guests' addresses.
    ip(f"-n kn_out route add 192.168.0.0/16 via {HOST_UP}")
    for bridge, address in BRIDGES.items():
        ip(f"link add {bridge} type bridge forward_delay 0")
        ip(f"addr add {address}/24 dev {bridge}")
        ip(f"link set {bridge} up")
    for name, (bridge, address) in GUESTS.items():
        ip(f"link add v{name} type veth peer name eth0 netns kn_{name}")
        ip(f"link set v{name} master {bridge} up")
        ip(f"-n kn_{name} addr add {address}/24 dev eth0")
        ip(f"-n kn_{name} link set eth0 up")
        ip(f"-n kn_{name} route add default via {BRIDGES[bridge]}")


def down() -> None:
    for name in ("out", *GUESTS):
        subprocess.run(["ip", "netns", "del", f"kn_{name}"], check=False, timeout=20)
    for bridge in BRIDGES:
        subprocess.run(["ip", "link", "del", bridge], check=False, timeout=20)


def within(where: str, make: Callable[[], Any]) -> Any:
    """Calls make() in a network namespace ("" = this host's); a socket stays in the one that it was made in."""

    def run() -> Any:
        if where:
            descriptor = os.open(f"/run/netns/kn_{where}", os.O_RDONLY)
            if LIBC.setns(descriptor, 0x40000000) != 0:
                raise OSError(ctypes.get_errno(), f"setns kn_{where}")
            os.close(descriptor)
        return make()

    # A thread of its own: it alone changes its network namespace.
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(run).result()


def open_socket(where: str, kind: int, bind: tuple[str, int] | None = None, proto: int = 0) -> socket.socket:
    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET, kind, proto)
        made.settimeout(WAIT)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if bind is not None:
            made.bind(bind)
        return made

    return within(where, make)  # type: ignore[no-any-return]


def tcp(source: str, target: str, address: str, port: int, source_port: int = 0) -> tuple[str, Any]:
    """("ok", the peer as the target sees it), or ("refused" or "timeout", None)."""
    with open_socket(target, socket.SOCK_STREAM, ("", port)) as server:
        server.listen(1)
        with open_socket(source, socket.SOCK_STREAM, ("", source_port)) as client:
            try:
                client.connect((address, port))
                peer = server.accept()
            except ConnectionRefusedError:
                return "refused", None
            except OSError as exc:
                return _word(exc), None
            peer[0].close()
            return "ok", peer[1]


def udp(source: str, target: str, address: str, port: int, source_port: int = 0) -> tuple[str, Any]:
    """As tcp(); a datagram there and one back."""
    kind = socket.SOCK_DGRAM
    with open_socket(target, kind, ("", port)) as server, open_socket(source, kind, ("", source_port)) as client:
        client.connect((address, port))
        try:
            client.send(b"there")
            peer = _receive(server)
            if peer is None:
                client.recv(10)  # tells what came back instead: a refusal, or nothing
                return "strange", None
            server.sendto(b"back", peer)
            client.recv(10)
        except ConnectionRefusedError:
            return "refused", None
        except OSError as exc:
            return _word(exc), None
        return "ok", peer


def _receive(server: socket.socket) -> Any:
    try:
        return server.recvfrom(10)[1]
    except socket.timeout:
        return None


def _word(exc: OSError) -> str:
    return "timeout" if isinstance(exc, socket.timeout) else f"errno {exc.errno}"


def icmp(source: str, target: str, address: str) -> tuple[str, Any]:
    """An echo request; its sender as the target sees it."""
    body = struct.pack("!BBHHH", 8, 0, 0, 0x4B56, 1) + b"kvm_nat!"
    total = sum(struct.unpack(f"!{len(body) // 2}H", body))
    total = (total >> 16) + (total & 0xFFFF)
    body = body[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + body[4:]
    kind, proto = socket.SOCK_RAW, socket.IPPROTO_ICMP
    with open_socket(target, kind, proto=proto) as watcher, open_socket(source, kind, proto=proto) as client:
        client.sendto(body, (address, 0))
        seen = None
        try:
            while seen is None:
                packet, sender = watcher.recvfrom(200)
                seen = sender[0] if packet[20] == 8 else None
            while client.recvfrom(200)[0][20] != 0:
                pass
        except socket.timeout:
            return "timeout", seen
        return "ok", (seen, None)


def flows() -> dict[str, tuple[str, Any]]:
    """Each flow with what came of it."""
    g1, g2 = GUESTS["g1"][1], GUESTS["g2"][1]
    return {
        "g1 to out, tcp": tcp("g1", "out", OUT, 8000),
        "g1 to out, udp": udp("g1", "out", OUT, 8000),
        "g1 to out, icmp": icmp("g1", "out", OUT),
        "g1 to out, tcp from port 700": tcp("g1", "out", OUT, 8001, 700),
        "g1 to out, udp from port 701": udp("g1", "out", OUT, 8001, 701),
        "out to g1, tcp": tcp("out", "g1", g1, 9000),
        "out to g1, udp": udp("out", "g1", g1, 9000),
        "g1 to g2, tcp": tcp("g1", "g2", g2, 9001),
        "g2 to g1, udp": udp("g2", "g1", g1, 9001),
        "host to g1, tcp": tcp("", "g1", g1, 9002),
    }


def check(wanted: dict[str, tuple[str, Any]], found: dict[str, tuple[str, Any]]) -> None:
    wrong = [
        f"{name}: wanted {wanted[name]}, got {found[name]}" for name in wanted if not _like(wanted[name], found[name])
    ]
    for name in wanted:
        print(f"{name}: {found[name]}")
    if wrong:
        sys.exit("\n".join(wrong))


def _like(wanted: tuple[str, Any], found: tuple[str, Any]) -> bool:
    """(word, None) wants the word; (word, address) the sender as well; (word, (address, 1024)) a port from there on."""
    if wanted[0] != found[0]:
        return False
    if wanted[1] is None:
        return True
    address, lowest = wanted[1]
    return found[1][0] == address and (lowest is None or found[1][1] >= lowest)


def open_() -> None:
    """With the thirteen rules."""
    check(
        {
            "g1 to out, tcp": ("ok", (HOST_UP, 1024)),
            "g1 to out, udp": ("ok", (HOST_UP, 1024)),
            "g1 to out, icmp": ("ok", (HOST_UP, None)),
            "g1 to out, tcp from port 700": ("ok", (HOST_UP, 1024)),
            "g1 to out, udp from port 701": ("ok", (HOST_UP, 1024)),
            "out to g1, tcp": ("refused", None),
            "out to g1, udp": ("refused", None),
            "g1 to g2, tcp": ("ok", (GUESTS["g1"][1], None)),
            "g2 to g1, udp": ("ok", (GUESTS["g2"][1], None)),
            "host to g1, tcp": ("ok", (BRIDGES["br0"], None)),
        },
        flows(),
    )
    served()


def bare() -> None:
    """Without rules, forwarding on: nothing is hidden, nothing is refused."""
    g1 = GUESTS["g1"][1]
    check(
        {
            "g1 to out, tcp": ("ok", (g1, None)),
            "g1 to out, udp": ("ok", (g1, None)),
            "g1 to out, icmp": ("ok", (g1, None)),
            "out to g1, tcp": ("ok", (OUT, None)),
            "out to g1, udp": ("ok", (OUT, None)),
        },
        flows(),
    )


def served() -> None:
    """DNS and DHCP ports of the host are reached, another is not (the host refuses everything else)."""
    address = BRIDGES["br0"]
    found = {
        f"g1 to host, {kind.__name__} {port}": kind("g1", "", address, port) for kind in (tcp, udp) for port in (53, 67)
    }
    found["g1 to host, tcp 8080"] = tcp("g1", "", address, 8080)
    wanted: dict[str, tuple[str, Any]] = dict.fromkeys(found, ("ok", (GUESTS["g1"][1], None)))
    wanted["g1 to host, tcp 8080"] = ("refused", None)
    check(wanted, found)


def between() -> None:
    """Between two bridges: from the one whose rules come first (br0), masqueraded, not the other way."""
    check(
        {
            "g1 to g3": ("ok", (BRIDGES["br1"], 1024)),
            "g3 to g1": ("refused", None),
            "g3 to out": ("ok", (HOST_UP, 1024)),
        },
        {
            "g1 to g3": tcp("g1", "g3", GUESTS["g3"][1], 9003),
            "g3 to g1": tcp("g3", "g1", GUESTS["g1"][1], 9003),
            "g3 to out": tcp("g3", "out", OUT, 8003),
        },
    )


if __name__ == "__main__":
    {"up": up, "down": down, "open": open_, "bare": bare, "between": between}[sys.argv[1]]()
