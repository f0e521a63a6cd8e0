# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The uplink of a plain host: it leads to the package registries of the machine, and nowhere else.

``uplink.py READY NETFD MNTFD``: gives each allowed host name a loopback address of its own (in the plain host's
``/etc/hosts``) and listens there on the web's ports; then it moves into the namespaces of the two file descriptors (the
machine's network and mounts) and passes every connection on to the real host. No client needs to know of it, and TLS
stays between the two ends. Allowed are the hosts that the machine's apt and pip are configured for, and those in
``$LAB_UPLINK_HOSTS``. Writes READY when it serves.
"""

from __future__ import annotations

import ctypes
import os
import re
import select
import socket
import subprocess
import sys
import threading
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000
_PORTS = {"http": 80, "https": 443}
_IDLE_SECONDS = 120


def allowed_hosts() -> dict[str, set[int]]:
    """Return the host names of the machine's package registries, each with its ports."""
    parts = Path("/etc/apt/sources.list.d")
    files = [Path("/etc/apt/sources.list"), *parts.glob("*.list"), *parts.glob("*.sources")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files if path.is_file())
    # pip's own default is known to pip alone.
    code = "from pip._internal.models.index import PyPI as p; print(p.url, 'https://' + p.file_storage_domain)"
    for argv in ([sys.executable, "-c", code], [sys.executable, "-m", "pip", "config", "list"]):
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60, check=False
        )
        text += "\n" + done.stdout  # no pip here: then there is no registry of its own either
    found: dict[str, set[int]] = {}
    for scheme, host, port in re.findall(r"(https?)://([A-Za-z0-9.-]+)(?::(\d+))?", text):
        found.setdefault(host, set()).add(int(port) if port else _PORTS[scheme])
    for host in os.environ.get("LAB_UPLINK_HOSTS", "").split():
        found.setdefault(host, set()).update(_PORTS.values())
    return found


def pump(client: socket.socket, host: str, port: int) -> None:
    """Connect to the real host and copy bytes both ways until one side closes or nothing moves for two minutes."""
    with client:
        try:
            with socket.create_connection((host, port), timeout=30) as upstream:
                pairs = {client: upstream, upstream: client}
                while True:
                    ready, _writable, _broken = select.select(list(pairs), [], [], _IDLE_SECONDS)
                    for one in ready:
                        data = one.recv(65536)
                        if not data:
                            return
                        pairs[one].sendall(data)
                    if not ready:
                        return
        except OSError as error:
            print(f"uplink to {host}:{port}: {error}", file=sys.stderr, flush=True)


def serve(listener: socket.socket, host: str, port: int) -> None:
    """Accept connections for ever; each gets a thread."""
    while True:
        client, _address = listener.accept()
        threading.Thread(target=pump, args=(client, host, port), daemon=True).start()


def enter(fd: int, kind: int) -> None:
    """Move this process into the namespace behind ``fd``."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, kind) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(fd)


def main() -> int:
    """Serve until killed."""
    ready, net, mnt = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    listeners: list[tuple[socket.socket, str, int]] = []
    with open("/etc/hosts", "a", encoding="utf-8") as file:
        for index, (host, ports) in enumerate(sorted(allowed_hosts().items()), 1):
            address = f"127.99.0.{index}"
            file.write(f"{address} {host}\n")
            listeners += [(socket.create_server((address, port)), host, port) for port in sorted(ports)]
    told = os.open(ready, os.O_WRONLY | os.O_CREAT, 0o644)  # the file is the plain host's: open it before leaving
    enter(net, _CLONE_NEWNET)
    enter(mnt, _CLONE_NEWNS)
    threads = [threading.Thread(target=serve, args=listener) for listener in listeners]
    for thread in threads:
        thread.start()
    os.write(told, b"ready\n")
    os.close(told)
    return 0  # the threads go on until the host ends


if __name__ == "__main__":
    sys.exit(main())
