# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rack of lab hosts, seen from the machine: start it, run commands in it, break it, end it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from lab_errors import LabError
from lab_host import Host
from lab_plan import HostPlan, inventory, parse_host, prepare, write_plan

HERE = Path(__file__).resolve().parent
BASE = Path("/run/hypervisor.kvm-lab")
_COUNT = itertools.count(1)


def start_time(pid: int) -> str | None:
    """Return when process ``pid`` started (clock ticks since boot), None when there is none: pid + this is unique."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return stat.rpartition(")")[2].split()[19]


class Lab:
    """A lab: ``with Lab({"a": "trixie", "b": "bookworm:bare"}) as lab: lab.host("a").run([...])``.

    Everything ends with the ``with`` block and also when this process dies in any way.
    """

    def __init__(self, hosts: dict[str, str] | Sequence[HostPlan], name: str = "", keep: bool = False) -> None:
        """Describe the lab; nothing runs yet. ``keep``: it stays when this process ends (then give it a name)."""
        self.plan = [parse_host(f"{k}={v}") for k, v in hosts.items()] if isinstance(hosts, dict) else list(hosts)
        self.name = name or f"t{os.getpid()}-{next(_COUNT)}"
        self.keep = keep
        self.state = BASE / self.name
        self._keeper: subprocess.Popen[bytes] | None = None
        self._pid = 0

    @classmethod
    def attach(cls, name: str) -> Lab:
        """Return the running lab of that name; raise LabError when there is none."""
        lab = cls([], name)
        try:
            known = json.loads((lab.state / "state.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise LabError(f"there is no lab {name!r}: start one with `lab.py up --keep`") from error
        if start_time(known["pid"]) != known["start"]:
            raise LabError(f"the lab {name!r} is gone; `lab.py down` clears away what it left")
        lab._pid = known["pid"]
        lab.plan = [HostPlan(e["name"], e["tree"], plain=e["plain"]) for e in lab._plan_file()["hosts"]]
        return lab

    def _plan_file(self) -> dict[str, Any]:
        return dict(json.loads((self.state / "plan.json").read_text(encoding="utf-8")))

    def __enter__(self) -> Lab:
        """Start the lab."""
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the lab."""
        self.down()

    def up(self) -> None:
        """Start the rack and its hosts and wait until every host is up."""
        prepare(self.plan)
        BASE.mkdir(mode=0o711, exist_ok=True)
        try:
            self.state.mkdir(mode=0o700)
        except FileExistsError as error:
            raise LabError(f"there is already a lab {self.name!r}: `lab.py down --lab {self.name}` ends it") from error
        Path(f"{self.state}.failed.log").unlink(missing_ok=True)
        try:
            (self.state / "mnt").mkdir()
            (self.state / "cp").mkdir()
            write_plan(self.state, self.plan, self.keep)
            self._start_rack()
            for host in self.plan:
                self.host(host.name).wait_up()
        except BaseException:
            self.down()
            raise

    def _start_rack(self) -> None:
        env = {
            **os.environ,
            "LAB_STATE": str(self.state),
            "LAB_DIR": str(HERE),
            "LAB_PYTHON": sys.executable,
            "LAB_CGROUP": f"hvlab-{self.name}",
        }
        with open(self.state / "rack.log", "ab") as log:
            self._keeper = subprocess.Popen(
                ["/bin/sh", str(HERE / "keeper.sh")],
                env=env,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                stdin=subprocess.DEVNULL if self.keep else subprocess.PIPE,
            )
        deadline = time.monotonic() + 20
        while not (self.state / "rack.sock").exists():
            if self._keeper.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"the rack did not start: {self._log_tail()}")
            time.sleep(0.02)
        self._pid = self._rack_pid()
        state = {"pid": self._pid, "start": start_time(self._pid)}
        (self.state / "state.json").write_text(json.dumps(state) + "\n", encoding="utf-8")

    def _log_tail(self) -> str:
        for path in (self.state / "rack.log", Path(f"{self.state}.failed.log")):
            if path.exists():
                return path.read_text(encoding="utf-8", errors="replace")[-2000:]
        return "it left no log"

    def _rack_pid(self) -> int:
        """Return the machine's pid of the rack's PID 1, which the socket's other end cannot know."""
        if self._keeper is None:
            raise LabError(f"the lab {self.name!r} was never started")
        pid = self._keeper.pid
        for _level in range(2):  # keeper.sh -> unshare -> rack.sh
            pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()[0])
        return pid

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send one request to rack.py and return its answer; raise LabError when it refuses."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(60)
            try:
                link.connect(str(self.state / "rack.sock"))
                link.sendall(json.dumps(request).encode() + b"\n")
                with link.makefile("rb") as file:
                    answer: dict[str, Any] = json.loads(file.readline())
            except (OSError, ValueError) as error:
                raise LabError(f"the lab {self.name!r} does not answer: {error}; {self._log_tail()}") from error
        if "error" in answer:
            raise LabError(str(answer["error"]))
        return answer

    def status(self) -> dict[str, Any]:
        """Return ``{"world": pid, "hosts": {name: {"pid", "boots", "ended", "problem", "plain"}}}`` (rack's pids)."""
        return self.ask(op="status")

    def host(self, name: str) -> Host:
        """Return the host of that name."""
        for index, host in enumerate(self.plan, 1):
            if host.name == name:
                return Host(self, name, index, host.plain)
        raise LabError(f"there is no host {name!r} in the lab, only {', '.join(h.name for h in self.plan)}")

    def host_log(self, name: str) -> str:
        """Return what the start of the host printed."""
        path = self.state / f"host-{name}.log"
        return path.read_text(encoding="utf-8", errors="replace")[-2000:] if path.exists() else ""

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the machine's command line that runs ``argv`` as the controller: the machine's files, the lab's network."""
        return [
            "nsenter",
            "-t",
            str(self._pid),
            "-m",
            "-n",
            "-p",
            "--",
            "/bin/sh",
            "-c",
            'cd "$0" && exec "$@"',
            os.getcwd(),
            *argv,
        ]

    def world(self, argv: Sequence[str]) -> list[str]:
        """Return the machine's command line that runs ``argv`` in the outside world's network."""
        return self.command(["nsenter", "-t", str(self.status()["world"]), "-n", "--", *argv])

    def inventory(self, path: str | Path | None = None, user: str = "root") -> Path:
        """Write an Ansible inventory of the hosts (over SSH, valid for a controller started with ``command``)."""
        target = Path(path) if path else self.state / "inventory.json"
        target.write_text(json.dumps(inventory(self.state, self.plan, user), indent=2) + "\n", encoding="utf-8")
        return target

    def down(self) -> None:
        """End the lab and wait until nothing of it is left."""
        if self._pid and start_time(self._pid) is not None:
            (self.state / "ended").touch()
            os.kill(self._pid, signal.SIGKILL)
        if self._keeper is not None:
            if self._keeper.stdin is not None:
                self._keeper.stdin.close()
            try:
                self._keeper.wait(30)
            except subprocess.TimeoutExpired as error:
                raise LabError(f"the lab {self.name!r} did not end within 30 s") from error
            self._keeper = None
        deadline = time.monotonic() + 30
        while self._pid and self.state.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        shutil.rmtree(self.state, ignore_errors=True)
        self._pid = 0
