# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""As explained.py, of IPv6: ``explained6.py up`` gives everybody addresses, ``load`` and ``compare`` are for a scene and its backend.

g1 has a unique local address, which is masqueraded, and a routed one, by which the world reaches it. The world outside has a unique
local network as well, behind an address of its link.
"""

from __future__ import annotations

import importlib.util
import random
import re
import socket
import struct
import subprocess
import sys
from typing import Any

import explained
import packets
from explained import Flow


def _load(name: str) -> Any:
    """A module by its file, as others are called six too."""
    spec = importlib.util.spec_from_file_location(f"kvm_nat_{name}", explained.PACKETS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


six = _load("six")
OUT, HOST_UP, BR0, BR1, G1, G2, G3, R1 = six.OUT, six.HOST_UP, six.BR0, six.BR1, six.G1, six.G2, six.G3, six.R1
#: The second address of the uplink, and of the world outside one that is reached by an address of the link only.
UP_LOCAL, OUT_LOCAL, FAR = "fd09::1", "fd09::2", "fd09:1::2"
#: As in explained.py.
FLOWS: list[Flow] = [
    ("tcp", "g1", G1, "out", OUT, 8000, 0),
    ("udp", "g1", G1, "out", OUT, 8000, 0),
    ("icmp", "g1", G1, "out", OUT, 0, 0),
    ("tcp", "g1", G1, "out", OUT, 443, 700),
    ("udp", "g2", G2, "out", OUT, 8100, 701),
    ("tcp", "g2", G2, "out", OUT, 443, 40000),
    ("tcp", "g1", G1, "out", FAR, 8000, 0),
    ("icmp", "g3", G3, "out", FAR, 0, 0),
    ("tcp", "out", OUT, "g1", G1, 9000, 0),
    ("udp", "out", OUT, "g1", G1, 9000, 0),
    ("icmp", "out", OUT, "g1", G1, 0, 0),
    ("tcp", "g1", R1, "out", OUT, 8000, 0),
    ("icmp", "g1", R1, "out", OUT, 0, 0),
    ("udp", "g1", R1, "out", FAR, 8000, 0),
    ("tcp", "out", OUT, "g1", R1, 9000, 0),
    ("udp", "out", OUT, "g1", R1, 9000, 0),
    ("icmp", "out", OUT, "g1", R1, 0, 0),
    ("tcp", "out", OUT, "", HOST_UP, 22, 0),
    ("udp", "out", OUT, "", HOST_UP, 547, 0),
    ("icmp", "out", OUT, "", HOST_UP, 0, 0),
    ("tcp", "g1", G1, "g2", G2, 9001, 0),
    ("udp", "g2", G2, "g1", G1, 9001, 0),
    ("icmp", "g1", G1, "g2", G2, 0, 0),
    ("tcp", "g1", G1, "g3", G3, 9003, 0),
    ("udp", "g3", G3, "g1", G1, 9003, 0),
    ("icmp", "g3", G3, "g1", G1, 0, 0),
    ("udp", "g3", G3, "g1", R1, 9003, 0),
    ("tcp", "g2", G2, "g1", R1, 9003, 0),
    ("udp", "g1", G1, "", BR0, 53, 0),
    ("tcp", "g1", G1, "", BR0, 53, 0),
    ("udp", "g1", G1, "", BR0, 547, 0),
    ("tcp", "g1", G1, "", BR0, 22, 0),
    ("icmp", "g1", G1, "", BR0, 0, 0),
    ("tcp", "g3", G3, "", BR1, 1005, 0),
    ("tcp", "g3", G3, "", BR0, 53, 0),
    ("tcp", "", None, "g1", G1, 9002, 0),
    ("icmp", "", None, "g1", R1, 0, 0),
    ("udp", "", None, "out", OUT, 8002, 0),
    ("tcp", "", HOST_UP, "", HOST_UP, 8003, 0),
    ("tcp", "", None, "", "::1", 8003, 0),
    ("tcp", "g3", G3, "out", OUT, 443, 0),
    ("udp", "g3", G3, "out", OUT, 443, 0),
]
#: Where a scene forwards port 8080 of the host to port 80 of g1, and a range to another one, or more ports than it has.
FORWARDED: list[Flow] = [
    ("tcp", "out", OUT, "g1", HOST_UP, 8080, 0),
    ("tcp", "g2", G2, "g1", HOST_UP, 8080, 0),
    ("tcp", "g3", G3, "g1", HOST_UP, 8080, 0),
    ("tcp", "", HOST_UP, "g1", HOST_UP, 8080, 0),
    ("tcp", "g1", G1, "g1", HOST_UP, 8080, 0),
]
SHIFTED: list[Flow] = [
    ("tcp", "out", OUT, "g1", HOST_UP, 7503, 0),
    ("tcp", "g2", G2, "g1", HOST_UP, 7510, 0),
    ("tcp", "out", OUT, "", HOST_UP, 7511, 0),
]
OTHERS: list[Flow] = [
    *(("tcp", "out", OUT, "g1", HOST_UP, port, 0) for port in (7600, 7603, 7619)),
    ("tcp", "g1", G1, "", OUT, 25, 0),
]
MORE = {"forward": FORWARDED + OTHERS, "bare_forward": FORWARDED + OTHERS, "ports": FORWARDED + SHIFTED}


def up() -> None:
    six.up()
    for words in (
        f"addr add {UP_LOCAL}/64 dev kn_up nodad",
        f"-n kn_out addr add {OUT_LOCAL}/64 dev eth0 nodad",
        f"-n kn_out addr add {FAR}/64 dev lo nodad",
        f"-n kn_g1 addr add {R1}/64 dev eth0 nodad",
        f"route add fd09:1::/64 via {link('out')} dev kn_up",
    ):
        packets.ip(words)
    for where in ("", *(f"ip netns exec kn_{name}" for name in ("out", *packets.GUESTS))):
        # A host says no more than so often that it refuses something: here each refusal counts.
        subprocess.run([*where.split(), "sysctl", "-q", "-w", "net.ipv6.icmp.ratelimit=0"], check=True, timeout=20)


def link(name: str, device: str = "eth0") -> str:
    """The address of a namespace on its link."""
    where = ["-n", f"kn_{name}"] if name else []
    words = ["ip", *where, "-6", "-o", "addr", "show", "dev", device, "scope", "link"]
    said = subprocess.run(words, check=True, timeout=20, capture_output=True, text=True).stdout
    found = re.search(r"fe80:[0-9a-f:]+", said)
    assert found is not None
    return found.group()


def icmp(source: str, target: str, address: str, own: str) -> tuple[str, Any]:
    """An echo request; its sender as the target sees it, or what the source was told instead."""
    body = struct.pack("!BBHHH", 128, 0, 0, random.randrange(1, 65536), 1) + b"kvm_nat!"
    kind, proto = socket.SOCK_RAW, socket.IPPROTO_ICMPV6
    with (
        packets.open_socket(target, kind, proto=proto, address=address) as watcher,
        packets.open_socket(source, kind, (own, 0), proto=proto, address=address) as client,
    ):
        client.sendto(body, packets.place(address, 0))
        seen = None
        try:
            while (answer := client.recvfrom(200)[0])[0] not in (1, 129):
                pass
            if answer[0] == 1:
                return "refused", None
            while seen is None:
                packet, sender = watcher.recvfrom(200)
                seen = sender[0] if packet[0] == 128 else None
        except socket.timeout:
            return "timeout", seen
        return "ok", (seen, None)


def sent(flow: Flow, refused: bool) -> tuple[str, Any]:
    """What becomes of it, as if nobody had spoken before. ``refused``: that is what is said of it."""
    for where in ("", *(f"-n kn_{name}" for name in ("out", *packets.GUESTS))):
        packets.ip(f"{where} neigh flush all")
    found = _sent(flow)
    if refused and found[0] == "timeout" and flow[0] == "tcp":
        # A refusal that is there before the call has ended is not heard (LockDroppedIcmps), that of the second packet is.
        usual, packets.WAIT = packets.WAIT, 1.3
        found = _sent(flow)
        packets.WAIT = usual
    return found


def _sent(flow: Flow) -> tuple[str, Any]:
    protocol, who, source, to, address, port, source_port = flow
    source, address = there(who, source or ""), there(who, address)
    if protocol == "icmp":
        return icmp(who, to, address, source)
    return explained.sent((protocol, who, source, to, address, port, source_port))


def there(where: str, address: str) -> str:
    """An address of a link as it is written in a namespace, by the number of the device."""
    plain, percent, device = address.partition("%")
    if not percent:
        return address
    name = "eth0" if where else device
    return f"{plain}%{packets.within(where, lambda: socket.if_nametoindex(name))}"


def of_links() -> list[Flow]:
    """What speaks with addresses of a link: to the host, from it, and what nobody forwards."""
    g1, host = f"{link('g1')}%br0", f"{link('', 'br0')}%br0"
    return [
        ("udp", "g1", g1, "", host, 53, 0),
        ("tcp", "g1", g1, "", host, 22, 0),
        ("icmp", "g1", g1, "", host, 0, 0),
        ("tcp", "", None, "g1", g1, 9000, 0),
        ("icmp", "", host, "g1", g1, 0, 0),
        ("udp", "g1", g1, "out", OUT, 8000, 0),
        ("tcp", "g1", g1, "", BR0, 53, 0),
    ]


def listening(target: str, address: str) -> str:
    """Who has several addresses answers from the one that was asked, which is another one where it was translated."""
    mine = {"": (HOST_UP, BR0, BR1, "::1"), "g1": (G1, R1), "g2": (G2,), "g3": (G3,), "out": (OUT, FAR)}[target]
    if "%" in address:
        return there(target, f"{address.partition('%')[0]}%br0")
    return address if address in mine else {"": "", "g1": G1}[target]


def compare(scene: str, backend: str) -> None:
    """The flows of IPv6 in a scene."""
    failed = explained.compare(scene, backend, [*FLOWS, *of_links(), *MORE.get(scene, [])], sent)
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    explained.prepare()
    packets.listening = listening
    {"up": up, "load": explained.load, "compare": compare}[sys.argv[1]](*sys.argv[2:4])
