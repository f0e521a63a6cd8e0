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
import random
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
        guest(name, bridge, address)


def guest(name: str, bridge: str, address: str) -> None:
    ip(f"link add v{name} type veth peer name eth0 netns kn_{name}")
    ip(f"link set v{name} master {bridge} up")
    ip(f"-n kn_{name} addr add {address}/24 dev eth0")
    ip(f"-n kn_{name} link set eth0 up")
    ip(f"-n kn_{name} route add default via {address.rpartition('.')[0]}.1")


def down() -> None:
    for name in ("out", *GUESTS, "g4"):
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


def open_socket(
    where: str, kind: int, bind: tuple[str, int] | None = None, proto: int = 0, address: str = ""
) -> socket.socket:
    """A socket of the version of IP that the address has."""

    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind, proto)
        made.settimeout(WAIT)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if bind is not None:
            made.bind(place(*bind))
        return made

    return within(where, make)  # type: ignore[no-any-return]


def place(address: str, port: int) -> tuple[Any, ...]:
    """Where that is; an address of a link is written with the number of its device (``fe80::1%2``)."""
    plain, percent, device = address.partition("%")
    return (plain, port, 0, int(device)) if percent else (address, port)


def listening(target: str, address: str) -> str:
    """Where a server listens: on the host at the one address, as a DNS server of libvirt's may have the port at others."""
    return "" if target else address


def tcp(
    source: str, target: str, address: str, port: int, source_port: int = 0, listen: int | None = None, own: str = ""
) -> tuple[str, Any]:
    """("ok", the peer as the target sees it), or ("refused" or "timeout", None).

    The target may listen on another port; ``own`` is the address of the source, where it has several.
    """
    with open_socket(
        target, socket.SOCK_STREAM, (listening(target, address), listen or port), address=address
    ) as server:
        server.listen(1)
        with open_socket(source, socket.SOCK_STREAM, (own, source_port), address=address) as client:
            try:
                client.connect(place(address, port))
                peer = server.accept()
            except ConnectionRefusedError:
                return "refused", None
            except OSError as exc:
                return _word(exc), None
            peer[0].close()
            return "ok", peer[1]


def udp(
    source: str, target: str, address: str, port: int, source_port: int = 0, listen: int | None = None, own: str = ""
) -> tuple[str, Any]:
    """As tcp(); a datagram there and one back."""
    kind = socket.SOCK_DGRAM
    with (
        open_socket(target, kind, (listening(target, address), listen or port), address=address) as server,
        open_socket(source, kind, (own, source_port), address=address) as client,
    ):
        client.connect(place(address, port))
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
    body = struct.pack("!BBHHH", 8, 0, 0, random.randrange(1, 65536), 1) + b"kvm_nat!"
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


#: What the thirteen rules let through, and how they hide it.
OPEN: dict[str, tuple[str, Any]] = {
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
}


def open_() -> None:
    """With the thirteen rules."""
    check(OPEN, flows())
    served()


def beside() -> None:
    """With the thirteen rules beside those of somebody who has closed this host: guests get out and are served."""
    check(OPEN, flows())
    address = BRIDGES["br0"]
    found = {f"g1 to host, {kind.__name__} 53": kind("g1", "", address, 53) for kind in (tcp, udp)}
    found["g1 to host, udp 67"] = udp("g1", "", address, 67)
    found["g1 to all, udp 67"] = ("ok" if asked_by_broadcast() else "timeout", None)
    found["g2 to g1, tcp"] = tcp("g2", "g1", GUESTS["g1"][1], 9004)
    check(dict.fromkeys(found, ("ok", None)), found)
    other = tcp("g1", "", address, 8080)
    if other[0] == "ok":
        sys.exit("g1 reaches a port of the host that is closed")


def unserved() -> None:
    """Guests get out, and the host gives them nothing."""
    check(OPEN, flows())
    address = BRIDGES["br0"]
    found = {f"g1 to host, {kind.__name__} 53": kind("g1", "", address, 53) for kind in (tcp, udp)}
    check(dict.fromkeys(found, ("refused", None)), found)


def libvirt() -> None:
    """A guest of a network of libvirt's: its own rules hold for it, also against our guests."""
    if not os.path.exists("/run/netns/kn_g4"):
        ip("netns add kn_g4")
        ip("-n kn_g4 link set lo up")
        guest("g4", "virbr0", "192.168.122.50")
    check(
        {"g4 to out": ("ok", (HOST_UP, 1024)), "g1 to g4": ("refused", None)},
        {"g4 to out": tcp("g4", "out", OUT, 8005), "g1 to g4": tcp("g1", "g4", "192.168.122.50", 9005)},
    )


def stuck() -> None:
    """Somebody else refuses all: no guest gets out, which shows that the probes can tell."""
    if tcp("g1", "out", OUT, 8000)[0] == "ok":
        sys.exit("g1 gets out")


def asked_by_broadcast() -> bool:
    """Whether a DHCP server on the host hears a guest that has no address yet and asks all."""
    with (
        open_socket("g1", socket.SOCK_DGRAM, ("", 68)) as client,
        open_socket("", socket.SOCK_DGRAM, ("", 67)) as server,
    ):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        client.sendto(b"discover", ("255.255.255.255", 67))
        return _receive(server) is not None


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


def between_two(there: tuple[str, Any], back: tuple[str, Any]) -> None:
    """g1 is on br0, g3 on br1; both get out either way."""
    check(
        {
            "g1 to g3": there,
            "g3 to g1": back,
            "g1 to g3, udp": there,
            "g3 to g1, udp": back,
            "g3 to out": ("ok", (HOST_UP, 1024)),
        },
        {
            "g1 to g3": tcp("g1", "g3", GUESTS["g3"][1], 9003),
            "g3 to g1": tcp("g3", "g1", GUESTS["g1"][1], 9003),
            "g1 to g3, udp": udp("g1", "g3", GUESTS["g3"][1], 9003),
            "g3 to g1, udp": udp("g3", "g1", GUESTS["g1"][1], 9003),
            "g3 to out": tcp("g3", "out", OUT, 8003),
        },
    )


def isolated() -> None:
    """Neither way, whichever rules come first."""
    between_two(("refused", None), ("refused", None))


def allowed() -> None:
    """Both ways, masqueraded."""
    between_two(("ok", (BRIDGES["br1"], 1024)), ("ok", (BRIDGES["br0"], 1024)))


def broadcast_port() -> int:
    """The port that a DHCP answer to all comes from, as a guest sees it."""
    # Another port than 68 each time: the kernel remembers for a while what it did to the last answer.
    port = random.randrange(20000, 60000)
    client = open_socket("g1", socket.SOCK_DGRAM, ("", port))
    with client, open_socket("", socket.SOCK_DGRAM, (BRIDGES["br0"], 67)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"br0")
        server.sendto(b"offer", ("255.255.255.255", port))
        seen: int = client.recvfrom(10)[1][1]
        return seen


def broadcast() -> None:
    """With exempt_local the answer of a DHCP server comes from its port."""
    if broadcast_port() != 67:
        sys.exit("the answer to all was masqueraded")


def broadcast_masqueraded() -> None:
    """Without it, it does not, which shows that the probe can tell."""
    if broadcast_port() == 67:
        sys.exit("the answer to all was not masqueraded")


def narrow() -> None:
    """By kn_up alone, as 198.51.100.7 with ports from 20000 to 29999; of the host's services DNS alone."""
    g1, own, address = GUESTS["g1"][1], ("198.51.100.7", 20000), BRIDGES["br0"]
    found = {
        "g1 to out, tcp": tcp("g1", "out", OUT, 8000),
        "g1 to out, udp": udp("g1", "out", OUT, 8000),
        "g1 to out, icmp": icmp("g1", "out", OUT),
        "g1 to g3": tcp("g1", "g3", GUESTS["g3"][1], 9003),
        "out to g1": tcp("out", "g1", g1, 9000),
        "g1 to g2": tcp("g1", "g2", GUESTS["g2"][1], 9001),
        "g1 to host, udp 53": udp("g1", "", address, 53),
        "g1 to host, tcp 53": tcp("g1", "", address, 53),
        "g1 to host, udp 67": udp("g1", "", address, 67),
    }
    wanted: dict[str, tuple[str, Any]] = dict.fromkeys(list(found)[:2], ("ok", own))
    wanted["g1 to out, icmp"] = ("ok", (own[0], None))
    wanted.update({"g1 to g3": ("refused", None), "out to g1": ("refused", None), "g1 to g2": ("ok", (g1, None))})
    wanted.update({f"g1 to host, {one} 53": ("ok", (g1, None)) for one in ("udp", "tcp")})
    wanted["g1 to host, udp 67"] = ("refused", None)
    check(wanted, found)
    if any(found[name][1][1] > 29999 for name in ("g1 to out, tcp", "g1 to out, udp")):
        sys.exit(f"a port beyond the range: {found}")


def shut() -> None:
    """Out by a device that is not there: not at all; and DHCP of the host without DNS."""
    address = BRIDGES["br0"]
    check(
        {"g1 to out": ("refused", None), "g1 to host, udp 53": ("refused", None), "g1 to host, udp 67": ("ok", None)},
        {
            "g1 to out": tcp("g1", "out", OUT, 8000),
            "g1 to host, udp 53": udp("g1", "", address, 53),
            "g1 to host, udp 67": udp("g1", "", address, 67),
        },
    )


FLOWS = {
    "up": up,
    "down": down,
    "open": open_,
    "bare": bare,
    "between": between,
    "isolated": isolated,
    "allowed": allowed,
}
FLOWS.update({"broadcast": broadcast, "broadcast_masqueraded": broadcast_masqueraded, "narrow": narrow, "shut": shut})
FLOWS.update({"beside": beside, "unserved": unserved, "stuck": stuck, "libvirt": libvirt})

if __name__ == "__main__":
    FLOWS[sys.argv[1]]()
