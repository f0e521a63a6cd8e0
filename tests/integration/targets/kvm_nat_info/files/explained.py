# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What kvm_nat_info explains, beside what the kernel does with real packets, flow by flow.

``explained.py load SCENE BACKEND`` adds the foreign rules of a scene. ``explained.py compare SCENE BACKEND`` sends packets of each
flow, asks the module about each, and fails when an answer is not what happened. The namespaces are those of kvm_nat's packets.py.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from typing import Any, Callable, Optional

HERE = pathlib.Path(__file__).resolve().parent
PACKETS = HERE.parents[1] / "kvm_nat" / "files"
sys.path.insert(0, str(PACKETS))
# ansible-test runs a copy of the target, which is deeper in the tree.
sys.path.insert(0, str(next(folder for folder in HERE.parents if (folder / "ansible_collections").is_dir())))
import packets  # noqa: E402
from ansible_collections.hypervisor.kvm.plugins.modules import kvm_nat_info  # noqa: E402
from packets import BRIDGES, GUESTS, HOST_UP, OUT  # noqa: E402

Flow = tuple[str, str, Optional[str], str, str, int, int]
G1, G2, G3 = (GUESTS[name][1] for name in ("g1", "g2", "g3"))
#: A refusal that the sender hears of: what it says depends on the rule (13 is EACCES, communication prohibited).
REFUSED = ("refused", "errno 13")
SEND = {"tcp": packets.tcp, "udp": packets.udp}
#: Protocol, who sends, its address (None = not stated), who gets it, the address that is asked, port there, port to send from.
FLOWS = [
    ("tcp", "g1", G1, "out", OUT, 8000, 0),
    ("udp", "g1", G1, "out", OUT, 8000, 0),
    ("icmp", "g1", G1, "out", OUT, 0, 0),
    ("tcp", "g1", G1, "out", OUT, 443, 700),
    ("udp", "g2", G2, "out", OUT, 8100, 701),
    ("tcp", "g2", G2, "out", OUT, 443, 40000),
    ("tcp", "out", OUT, "g1", G1, 9000, 0),
    ("udp", "out", OUT, "g1", G1, 9000, 0),
    ("icmp", "out", OUT, "g1", G1, 0, 0),
    ("tcp", "out", OUT, "", HOST_UP, 22, 0),
    ("udp", "out", OUT, "", HOST_UP, 67, 0),
    ("icmp", "out", OUT, "", HOST_UP, 0, 0),
    ("tcp", "g1", G1, "g2", G2, 9001, 0),
    ("udp", "g2", G2, "g1", G1, 9001, 0),
    ("tcp", "g1", G1, "g3", G3, 9003, 0),
    ("udp", "g3", G3, "g1", G1, 9003, 0),
    ("udp", "g1", G1, "", BRIDGES["br0"], 53, 0),
    ("tcp", "g1", G1, "", BRIDGES["br0"], 67, 0),
    ("udp", "g1", G1, "", BRIDGES["br0"], 67, 0),
    ("tcp", "g1", G1, "", BRIDGES["br0"], 22, 0),
    ("tcp", "g3", G3, "", BRIDGES["br1"], 1005, 0),
    ("tcp", "", None, "g1", G1, 9002, 0),
    ("icmp", "", None, "g1", G1, 0, 0),
    ("udp", "", None, "out", OUT, 8002, 0),
    ("tcp", "", HOST_UP, "", HOST_UP, 8003, 0),
    ("tcp", "g3", G3, "out", OUT, 443, 0),
    ("udp", "g3", G3, "out", OUT, 443, 0),
]
#: Where a scene forwards port 8080 of the host to port 80 of g1; g1 listens there.
FORWARDED = [
    ("tcp", "out", OUT, "g1", HOST_UP, 8080, 0),
    ("tcp", "g2", G2, "g1", HOST_UP, 8080, 0),
    ("tcp", "g3", G3, "g1", HOST_UP, 8080, 0),
    ("tcp", "g1", G1, "g1", HOST_UP, 8080, 0),
    ("tcp", "", HOST_UP, "g1", HOST_UP, 8080, 0),
]
#: The scene "ports" forwards a range of ports to another one as well: each has its own.
SHIFTED = [
    ("tcp", "out", OUT, "g1", HOST_UP, 7503, 0),
    ("tcp", "g2", G2, "g1", HOST_UP, 7510, 0),
    ("tcp", "out", OUT, "", HOST_UP, 7511, 0),
]
#: More ports than the range that they go to has, and some before its base: they come round.
AROUND = [("tcp", "out", OUT, "g1", HOST_UP, port, 0) for port in (7600, 7603, 7619)]
REDIRECTED = [("udp", "g1", G1, "", OUT, 25, 0)]
MORE = {
    "gateway": FORWARDED + REDIRECTED + AROUND[:2],
    "docker": FORWARDED,
    "ports": FORWARDED + SHIFTED,
    "forward": FORWARDED + REDIRECTED,
    "bare_forward": FORWARDED + REDIRECTED + AROUND,
}
LISTEN = {8080: 80, 25: 53, 7503: 9503, 7510: 9510, 7600: 9606, 7603: 9600, 7619: 9605}


def load(scene: str, backend: str) -> None:
    """Adds the rules of a scene. Those of ``other`` are in the other kind of iptables."""
    if scene == "other":
        program, _dash, kind = backend.partition("-")
        backend = f"{program}-{'nft' if kind == 'legacy' else 'legacy'}"
    # What others have beside a table of nft.
    backend = {"nftables": "iptables-nft", "nftables6": "ip6tables-nft"}.get(backend, backend)
    native = HERE / f"{scene}.nft{'6' if backend.startswith('ip6') else ''}"
    if native.exists():
        subprocess.run(["nft", "-f", native], check=True, timeout=20)
    path = HERE / f"{scene}.rules{'6' if backend.startswith('ip6') else ''}"
    if path.exists():
        subprocess.run([f"{backend}-restore", "--noflush", path], check=True, timeout=20)


def sent(flow: Flow, _refused: bool = False) -> tuple[str, Any]:
    """What becomes of it: "ok" and whom the receiver sees, or how it failed."""
    protocol, who, source, to, address, port, source_port = flow
    if protocol == "icmp":
        return packets.icmp(who, to, address)
    return SEND[protocol](who, to, address, port, source_port, LISTEN.get(port), source or "")


def explained(protocol: str, source: str | None, address: str, port: int, source_port: int) -> dict[str, Any]:
    asked = {
        "source": source,
        "destination": address,
        "protocol": protocol,
        "destination_port": port or None,
        "source_port": source_port or None,
        "in_interface": None,
    }
    found: dict[str, Any] = kvm_nat_info.read({"bridge": None, "explain": asked}, False)["explanation"]
    return found


def wrong(protocol: str, said: dict[str, Any], word: str, peer: Any) -> str | None:
    """Why what was said is not what happened; None when it is."""
    reason = None
    verdicts = (said["verdict"], said["answer"])
    if said["works"] is not (word == "ok"):
        reason = f"works: {said['works']}"
    elif word in REFUSED and "rejected" not in verdicts and "cannot be told" not in said["summary"]:
        reason = f"{said['verdict']}, but it was refused"
    elif word == "timeout" and said["verdict"] == "rejected" and protocol != "icmp":
        # A refusal is an ICMP message, of which a socket for ICMP does not tell.
        reason = "rejected, but nothing came back" if "cannot be told" not in said["summary"] else None
    elif word == "ok":
        reason = seen(said["translated"], peer)
    return reason


def seen(made: dict[str, Any], peer: Any) -> str | None:
    """As wrong(); what the receiver saw of the sender."""
    if made["source"] != peer[0].partition("%")[0]:
        return f"seen as {peer[0]}, not as {made['source']}"
    if peer[1] is None or made["source_port"] in (None, "any"):
        return None
    low, _dash, high = made["source_port"].partition("-")
    inside = int(low) <= peer[1] <= int(high or low)
    return None if inside else f"seen from port {peer[1]}, not from {made['source_port']}"


def elsewhere(said: dict[str, Any], word: str, port: int) -> str | None:
    """As wrong(); the port that the receiver listens on."""
    wanted = LISTEN.get(port, port) or None
    made = said["translated"]["destination_port"]
    return f"to port {made}, not {wanted}" if word == "ok" and made != wanted else None


def broadcast() -> list[str]:
    """A DHCP answer to all: whether it is masqueraded."""
    said = explained("udp", BRIDGES["br0"], "255.255.255.255", 68, 67)
    kept = packets.broadcast_port() == 67
    if said["works"] and (said["translated"]["source_port"] == "67") is kept:
        return []
    return [f"an answer to all keeps its port: {kept}: {said['summary']}"]


def compare(scene: str, backend: str, flows: list[Flow], send: Callable[[Flow, bool], tuple[str, Any]]) -> list[str]:
    """Where what is explained of flows is not what becomes of them."""
    failed, words = [], set()
    for flow in flows:
        protocol, who, source, _to, address, port, source_port = flow
        said = explained(protocol, source, address, port, source_port)
        word, peer = send(flow, "rejected" in (said["verdict"], said["answer"]))
        words.add(word)
        line = f"{scene}, {backend}: {protocol} {who or 'host'} to {address} port {port}: {word} {peer or ''}"
        print(f"{line}; {said['summary']}")
        reason = wrong(protocol, said, word, peer) or elsewhere(said, word, port)
        if reason is not None:
            failed.append(f"{line}: {reason}: " + "\n  ".join(step["text"] for step in said["steps"]))
            failed.append(json.dumps({name: said[name] for name in said if name != "steps"}))
    if "ok" not in words or (scene != "bare" and len(words) < 2):
        failed.append(f"these flows cannot tell one answer from the other: {words}")
    return failed


def prepare() -> None:
    """The probes as they are to be here."""
    # On this host an answer takes no time.
    packets.WAIT = 0.4
    # A packet that is redirected to the host comes to another address than the one that was asked.
    packets.listening = lambda _target, _address: ""


def compare4(scene: str, backend: str) -> None:
    """The flows of IPv4 in a scene."""
    failed = compare(scene, backend, [*FLOWS, *MORE.get(scene, [])], sent) + broadcast()
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    prepare()
    {"load": load, "compare": compare4}[sys.argv[1]](*sys.argv[2:4])
