#!/usr/bin/env python3
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The uplink of a plain host: an HTTP proxy that reaches the package registries of the machine, and nothing else.

``uplink.py PORT READY NETFD MNTFD``: listens on 127.0.0.1:PORT of the namespace it is started in, then moves into the
namespaces of the two file descriptors (the machine's network and mounts) and connects out from there. Allowed are the
hosts that the machine's apt and pip are configured for, and those in ``$LAB_UPLINK_HOSTS``. Writes READY when it serves.
"""

from __future__ import annotations

import ctypes
import http.server
import os
import re
import select
import socket
import subprocess
import sys
import urllib.parse
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000


def allowed_hosts() -> set[str]:
    """Return the host names of the machine's package registries."""
    text = ""
    parts = Path("/etc/apt/sources.list.d")
    for path in [Path("/etc/apt/sources.list"), *parts.glob("*.list"), *parts.glob("*.sources")]:
        text += "\n" + (path.read_text(encoding="utf-8") if path.is_file() else "")
    # pip's own default is known to pip alone.
    code = "from pip._internal.models.index import PyPI as p; print(p.url, 'https://' + p.file_storage_domain)"
    for argv in ([sys.executable, "-c", code], [sys.executable, "-m", "pip", "config", "list"]):
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60, check=False
        )
        text += "\n" + done.stdout  # no pip here: then it reaches nothing, and says so
    found = set(re.findall(r"https?://([^/\s'\":]+)", text))
    return found | set(os.environ.get("LAB_UPLINK_HOSTS", "").split())


class Proxy(http.server.BaseHTTPRequestHandler):
    """Forwards absolute GET and HEAD requests, and CONNECT, to allowed hosts."""

    protocol_version = "HTTP/1.1"
    allowed: frozenset[str]

    def _refused(self, host: str) -> bool:
        if host in self.allowed:
            return False
        self.send_error(403, f"the lab's uplink does not lead to {host}")
        self.close_connection = True
        return True

    def _pump(self, upstream: socket.socket) -> None:
        """Copy bytes both ways until one side closes or nothing moves for a minute."""
        pairs = {self.connection: upstream, upstream: self.connection}
        while True:
            ready, _, _ = select.select(list(pairs), [], [], 60)
            for one in ready:
                data = one.recv(65536)
                if not data:
                    return
                pairs[one].sendall(data)
            if not ready:
                return

    def do_CONNECT(self) -> None:
        """Open a tunnel (for https)."""
        host, _, port = self.path.rpartition(":")
        if self._refused(host):
            return
        with socket.create_connection((host, int(port)), timeout=30) as upstream:
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            self._pump(upstream)
        self.close_connection = True

    def do_GET(self) -> None:
        """Forward one request; the connection ends with the answer, which saves parsing it."""
        url = urllib.parse.urlsplit(self.path)
        if self._refused(url.hostname or ""):
            return
        path = urllib.parse.urlunsplit(("", "", url.path or "/", url.query, ""))
        with socket.create_connection((url.hostname, url.port or 80), timeout=30) as upstream:
            headers = "".join(
                f"{k}: {v}\r\n"
                for k, v in self.headers.items()
                if k.lower() not in ("connection", "proxy-connection", "keep-alive")
            )
            upstream.sendall(f"{self.command} {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n".encode())
            while True:
                data = upstream.recv(65536)
                if not data:
                    break
                self.wfile.write(data)
        self.close_connection = True

    def do_HEAD(self) -> None:
        """Forward one request for headers."""
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the output belongs to the command."""


def enter(fd: int, kind: int) -> None:
    """Move this process into the namespace behind ``fd``."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, kind) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(fd)


def main() -> int:
    """Serve until killed."""
    port, ready, net, mnt = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    Proxy.allowed = frozenset(allowed_hosts())
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Proxy)
    told = os.open(ready, os.O_WRONLY | os.O_CREAT, 0o644)  # the file is the host's: open it before leaving
    enter(net, _CLONE_NEWNET)
    enter(mnt, _CLONE_NEWNS)
    os.write(told, b"ready\n")
    os.close(told)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
