# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server of the lab's outside world: it says which address it sees its client under.

``world.py ADDRESS`` answers on ADDRESS:8080 (HTTP: the client's address and nothing else) and on ADDRESS:7 (TCP: one
line ``peer ADDRESS PORT``, then every byte back). Writes its pid to the file ``$LAB_WORLD_READY`` once both listen.
"""

from __future__ import annotations

import http.server
import os
import socketserver
import sys
import threading


class WhoAmI(http.server.BaseHTTPRequestHandler):
    """Answers every GET with the client's address as plain text."""

    def do_GET(self) -> None:
        """Send the peer address, as the socket knows it."""
        body = f"{self.client_address[0]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent: the output belongs to the command under test."""


class Echo(socketserver.BaseRequestHandler):
    """Names the peer in one line, then returns what it gets."""

    def handle(self) -> None:
        """Serve one connection until the client closes it."""
        try:
            self.request.sendall(f"peer {self.client_address[0]} {self.client_address[1]}\n".encode())
            while True:
                data = self.request.recv(65536)
                if not data:
                    return
                self.request.sendall(data)
        except ConnectionError:
            return  # the client went away: the connection is over, which is all there is to know


class TcpServer(socketserver.ThreadingTCPServer):
    """A threaded server that may be started again at once."""

    allow_reuse_address = True
    daemon_threads = True


def main() -> int:
    """Serve until killed."""
    address = sys.argv[1]
    web = http.server.ThreadingHTTPServer((address, 8080), WhoAmI)
    echo = TcpServer((address, 7), Echo)
    threading.Thread(target=echo.serve_forever, daemon=True).start()
    ready = os.environ.get("LAB_WORLD_READY")
    if ready:
        with open(ready, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
    web.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
