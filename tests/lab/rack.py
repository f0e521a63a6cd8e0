# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside the rack: starts the hosts, starts them again when they reboot, serves packages, obeys lab_rack.py.

Requests come over the socket ``$LAB_STATE/rack.sock``, one JSON object a line: ``{"op": "status"}``,
``{"op": "start", "host": "a"}``, ``{"op": "kill", "host": "a", "silent": true}``. The answer is one JSON object;
it has ``error`` when the request failed. Pids are those of the rack's pid namespace.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import signal
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
STATE = Path(os.environ["LAB_STATE"])
MNT = STATE / "mnt"
GATEWAY = "192.168.77.1"
_NAMESPACES = ["unshare", "-m", "-n", "-u", "-i", "-p", "-C", "-f", "--kill-child", "--propagation", "private"]


def run(*argv: str, check: bool = True) -> None:
    """Run a short command; its stderr goes to the rack's log."""
    subprocess.run(argv, check=check, timeout=20, stdin=subprocess.DEVNULL)


def child_of(pid: int) -> int | None:
    """Return the pid of the first child of process ``pid``, or None."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            children = file.read().split()
    except FileNotFoundError:
        return None
    return int(children[0]) if children else None


class Host:
    """One host: its folder on the rack's tmpfs, its process, and how often it has booted."""

    def __init__(self, entry: dict[str, Any]) -> None:
        """Prepare the host that ``entry`` of the plan describes; nothing runs yet."""
        self.name: str = entry["name"]
        self.index: int = entry["index"]
        self.tree: str = entry["tree_folder"]
        self.plain: bool = entry["plain"]
        self.base = MNT / "hosts" / self.name
        self.cgroup = MNT / "cgroup" / os.environ["LAB_CGROUP"] / self.name
        self.pid: int | None = None
        self.boots = 0
        self.ended: int | None = None
        self.problem = ""
        self._thread: threading.Thread | None = None
        shutil.copytree(STATE / "seed" / self.name, self.base / "seed")

    def start(self) -> None:
        """Boot the host in the background; it boots again by itself after each reboot."""
        if self._thread is not None and self._thread.is_alive():
            raise RuntimeError(f"host {self.name} is already running")
        self.ended = None
        self.problem = ""
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        self._thread.start()

    def _supervise(self) -> None:
        try:
            while self._boot_once() == -signal.SIGHUP:  # what reboot(2) looks like from outside a pid namespace
                continue
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            self.problem = str(error)
            self.ended = self.ended if self.ended is not None else 1

    def _boot_once(self) -> int:
        self.cgroup.mkdir(exist_ok=True)
        script = [str(HERE / "host.sh"), self.name, str(self.index), self.tree, str(self.base)]
        command = [*_NAMESPACES, "--", "/bin/sh", *script, "1" if self.plain else "0", str(MNT / "shared")]
        # Into the own control group before the cgroup namespace is made, or systemd would take the machine's.
        enter = 'echo 0 > "$0/cgroup.procs" && exec "$@"'
        with open(STATE / f"host-{self.name}.log", "ab") as log:
            process = subprocess.Popen(
                ["/bin/sh", "-c", enter, str(self.cgroup), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._connect(process)
            self.boots += 1
            code = process.wait()
        finally:
            process.kill()
            process.wait()
            self.pid = None
        self.ended = None if code == -signal.SIGHUP else code
        return code

    def _connect(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the host has its namespaces, then put its two interfaces in."""
        deadline = time.monotonic() + 30
        pid = child_of(process.pid)
        while pid is None or not os.path.exists(f"/proc/{pid}/root/run/lab-ready"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"host {self.name} did not start; see {STATE}/host-{self.name}.log")
            time.sleep(0.02)
            pid = child_of(process.pid)
        for near, far, bridge in ((f"lab{self.index}", "eth0", "labmgmt"), (f"labvm{self.index}", "eth1", "labvm")):
            # The link of the boot before may linger: its namespace is taken down in the background.
            if os.path.exists(f"/sys/class/net/{near}") or self.boots:
                subprocess.run(["ip", "link", "del", near], stderr=subprocess.DEVNULL, timeout=20, check=False)
            run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", str(pid))
            run("ip", "link", "set", near, "master", bridge, "up")
        self.pid = pid

    def kill(self, silent: bool) -> None:
        """End the host like a power cut; ``silent``: its peers get no word, as when the cable is out."""
        if self.pid is None:
            raise RuntimeError(f"host {self.name} is not running")
        if silent:
            for link in (f"lab{self.index}", f"labvm{self.index}"):
                run("ip", "link", "set", link, "down")
        os.kill(self.pid, signal.SIGKILL)
        if self._thread is not None:
            self._thread.join(20)

    def status(self) -> dict[str, Any]:
        """Return pid (None: off), number of boots, last exit code and problem."""
        return {"pid": self.pid, "boots": self.boots, "ended": self.ended, "problem": self.problem, "plain": self.plain}


class Rack:
    """All hosts of the lab."""

    def __init__(self, plan: dict[str, Any]) -> None:
        """Prepare the hosts of ``plan`` and start them all."""
        self.hosts: dict[str, Host] = {entry["name"]: Host(entry) for entry in plan["hosts"]}
        for host in self.hosts.values():
            host.start()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one request."""
        if request["op"] == "status":
            world = int((MNT / "world.pid").read_text(encoding="ascii"))
            return {"world": world, "hosts": {name: host.status() for name, host in self.hosts.items()}}
        host = self.hosts.get(request["host"])
        if host is None:
            raise RuntimeError(f"there is no host {request['host']} in this lab, only {', '.join(self.hosts)}")
        if request["op"] == "start":
            host.start()
        elif request["op"] == "kill":
            host.kill(bool(request.get("silent")))
        else:
            raise RuntimeError(f"unknown request {request['op']}")
        return host.status()


class Control(socketserver.StreamRequestHandler):
    """One request of lab_rack.py."""

    rack: Rack

    def handle(self) -> None:
        """Read one line, answer one line."""
        try:
            reply = self.rack.answer(json.loads(self.rfile.readline()))
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            reply = {"error": str(error)}
        self.wfile.write(json.dumps(reply).encode() + b"\n")


class ControlServer(socketserver.ThreadingUnixStreamServer):
    """The control socket; a request that waits does not hold up the others."""

    daemon_threads = True


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A file server without a log line a file."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def serve_packages(served: dict[str, str]) -> None:
    """Serve the archives as /debian and the wheels as /wheels to the hosts. ``served``: path below / to folder."""
    www = MNT / "www"
    for name, folder in served.items():
        (www / name).parent.mkdir(parents=True, exist_ok=True)
        (www / name).symlink_to(folder)
    handler = functools.partial(Quiet, directory=str(www))
    server = http.server.ThreadingHTTPServer((GATEWAY, 8080), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def end_with_owner() -> None:
    """End the rack when the owner's pipe closes, which the kernel does however the owner dies."""
    while sys.stdin.buffer.read(1):
        continue
    os._exit(0)


def main() -> int:
    """Run the rack until its owner is gone."""
    plan: dict[str, Any] = json.loads((STATE / "plan.json").read_text(encoding="utf-8"))
    if not plan["keep"]:
        threading.Thread(target=end_with_owner, daemon=True).start()
    deadline = time.monotonic() + 10
    while not (MNT / "world.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    serve_packages(plan["served"])
    Control.rack = Rack(plan)
    server = ControlServer(str(STATE / "rack.sock.new"), Control)
    (STATE / "rack.sock.new").rename(STATE / "rack.sock")  # whoever sees the name finds it listening
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
