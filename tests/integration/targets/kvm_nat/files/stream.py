# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""New flows while rules change: ``stream.py applied|blinking BACKEND COLLECTIONS``, in the world that packets.py has made.

``applied``: the module brings other rules 50 times; no flow of the guest's may be lost or keep its address, none from outside may reach the
guest. ``blinking``: single commands take rules away and put them back, and all three have to be seen, which shows that the stream can tell.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Callable

import packets

WHAT, BACKEND, COLLECTIONS = sys.argv[1:4]
MODULE = f"{COLLECTIONS}/ansible_collections/hypervisor/kvm/plugins/modules/kvm_nat.py"
TIMES = 50
GUEST = packets.GUESTS["g1"][1]
BASE: dict[str, Any] = {"bridge": "br0", "subnets": ["192.168.0.0/24"], "backend": BACKEND, "persist": "none"}
#: Declarations that all let the same flows through; each step between two of them writes other tables and places.
DECLARED: tuple[dict[str, Any], ...] = (
    {},
    {"exempt_local": True},
    {"masquerade_ports": "20000-60000"},
    {"subnets": ["10.77.0.0/16", "192.168.0.0/24"], "dns": False},
    {"out_interface": "kn_up", "checksum_fill": False},
    {"snat_address": packets.HOST_UP, "dhcp": False},
    {"subnets": ["192.168.0.0/16"], "inter_bridge": "isolate"},
)


@dataclasses.dataclass
class Seen:
    """What came of the flows: how many were sent, those that arrived outside with their senders, those that reached the guest."""

    sent: int = 0
    arrived: dict[int, str] = dataclasses.field(default_factory=dict)
    tried: int = 0
    leaked: int = 0

    @property
    def plain(self) -> int:
        """Those that kept the address of the guest."""
        return sum(1 for sender in self.arrived.values() if sender == GUEST)

    @property
    def lost(self) -> int:
        return self.sent - len(self.arrived)


def module(**args: Any) -> None:
    words = json.dumps({"ANSIBLE_MODULE_ARGS": {**BASE, **args}})
    environment = {**os.environ, "PYTHONPATH": COLLECTIONS}
    call = [sys.executable, MODULE, words]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=60, check=False)
    answer = json.loads(done.stdout)
    if answer.get("failed") or not answer["changed"]:
        sys.exit(f"{args}: {answer}")


def datagrams(where: str, address: str, port: int, stop: threading.Event, sent: Callable[[], int]) -> None:
    """A new flow with each datagram, from a port of its own; numbered."""

    def run() -> None:
        while not stop.is_set():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, contextlib.suppress(ConnectionError):
                one.sendto(str(sent()).encode(), (address, port))
            time.sleep(0.002)

    packets.within(where, run)


def listen(where: str, port: int, stop: threading.Event, arrived: Callable[[int, str], None]) -> None:
    with packets.open_socket(where, socket.SOCK_DGRAM, ("", port)) as server:
        server.settimeout(0.2)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        while not stop.is_set():
            with contextlib.suppress(socket.timeout):
                data, sender = server.recvfrom(20)
                arrived(int(data), sender[0])


@contextlib.contextmanager
def stream() -> Iterator[Seen]:
    seen, end, deaf = Seen(), threading.Event(), threading.Event()
    # A port that comes again would be treated as it was before.
    subprocess.run(["conntrack", "-F"], check=True, capture_output=True)

    def sent() -> int:
        seen.sent += 1
        return seen.sent

    def tried() -> int:
        seen.tried += 1
        return seen.tried

    def leaked(_number: int, _sender: str) -> None:
        seen.leaked += 1

    listeners = [
        threading.Thread(target=listen, args=("out", 9100, deaf, seen.arrived.__setitem__)),
        threading.Thread(target=listen, args=("g1", 9200, deaf, leaked)),
    ]
    senders = [
        threading.Thread(target=datagrams, args=("g1", packets.OUT, 9100, end, sent)),
        threading.Thread(target=datagrams, args=("out", GUEST, 9200, end, tried)),
    ]
    for one in listeners:
        one.start()
    time.sleep(0.3)
    for one in senders:
        one.start()
    try:
        time.sleep(0.3)
        yield seen
    finally:
        end.set()
        for one in senders:
            one.join()
        time.sleep(1)
        deaf.set()
        for one in listeners:
            one.join()


def applied() -> None:
    module()
    with stream() as seen:
        for declared in itertools.islice(itertools.cycle([*DECLARED[1:], DECLARED[0]]), TIMES):
            module(**declared)
    print(
        f"{TIMES} times: {seen.sent} sent, {seen.lost} lost, {seen.plain} not masqueraded, {seen.leaked} of {seen.tried} leaked"
    )
    if seen.lost or seen.plain or seen.leaked or min(seen.sent, seen.tried) < 20 * TIMES:
        sys.exit("flows were lost, not masqueraded or let in, or there were too few of them")
    module(state="absent")


def moving() -> None:
    """The rules move to iptables and back, also while the other declarations come."""
    module()
    with stream() as seen:
        for number in range(20):
            module(backend=("iptables-nft", BACKEND)[number % 2], **DECLARED[number // 2 % len(DECLARED)])
    print(
        f"moved 20 times: {seen.sent} sent, {seen.lost} lost, {seen.plain} not masqueraded, {seen.leaked} of {seen.tried} leaked"
    )
    if seen.lost or seen.plain or seen.leaked or min(seen.sent, seen.tried) < 400:
        sys.exit("flows were lost, not masqueraded or let in, or there were too few of them")
    module(state="absent")


def blinking() -> None:
    module()
    chains = {"nat": "POSTROUTING", "filter": "FORWARD"}
    with stream() as seen:
        for table, chain in chains.items():
            rules = subprocess.run(
                [BACKEND, "-t", table, "-S", chain], capture_output=True, text=True, check=True
            ).stdout
            ours = [line for line in rules.splitlines() if "192.168.0.0/24" in line or "br0" in line]
            for verb in ("-D", "-A"):
                for line in ours:
                    subprocess.run([BACKEND, "-w", "-t", table, *line.replace("-A", verb, 1).split()], check=True)
                time.sleep(0.3)
            subprocess.run([BACKEND, "-w", "-I", "FORWARD", "-i", "br0", "-j", "DROP"], check=True)
            time.sleep(0.2)
            subprocess.run([BACKEND, "-w", "-D", "FORWARD", "-i", "br0", "-j", "DROP"], check=True)
    print(f"{seen.sent} sent, {seen.lost} lost, {seen.plain} not masqueraded, {seen.leaked} of {seen.tried} leaked")
    if not (seen.lost and seen.plain and seen.leaked):
        sys.exit("the stream does not see what it has to")
    module(state="absent")


if __name__ == "__main__":
    if pathlib.Path("/etc/kvm_nat").exists():
        sys.exit("there are records already")
    {"applied": applied, "blinking": blinking, "moving": moving}[WHAT]()
