# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rack of lab hosts, seen from the machine: start it, run commands in it, break it, end it."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, List, Optional, Sequence, Type, Union

from lab_errors import LabError
from lab_plan import HostPlan, address_of, inventory, parse_host, prepare, write_plan

HERE = Path(__file__).resolve().parent
BASE = Path("/run/hypervisor.kvm-lab")
BOOT_SECONDS = 120
_COUNT = itertools.count(1)


def start_time(pid: int) -> Optional[str]:
    """Return when process ``pid`` started (clock ticks since boot), None when there is none: pid + this is unique."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return stat.rpartition(")")[2].split()[19]


class Host:
    """One host of a running lab."""

    def __init__(self, lab: Lab, name: str, index: int, plain: bool) -> None:
        """Belongs to ``lab``; use ``lab.host(name)``."""
        self.lab = lab
        self.name = name
        self.address = address_of(index)
        self.plain = plain

    def _pid(self) -> int:
        status = self.lab.status()["hosts"][self.name]
        if status["pid"] is None:
            raise LabError(f"host {self.name} is off{': ' + status['problem'] if status['problem'] else ''}")
        return int(status["pid"])

    def command(self, argv: Sequence[str]) -> List[str]:
        """Return the machine's command line that runs ``argv`` on this host as root, in ``/``."""
        return self.lab.command(["nsenter", "-t", str(self._pid()), "-a", "--", "env", "-i", "HOME=/root", "TERM=dumb", "LC_ALL=C.UTF-8",
                                 "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *argv])

    def run(self, argv: Sequence[str], timeout: float = 120, check: bool = True,
            stdin: str = "") -> subprocess.CompletedProcess:
        """Run a command on the host and return its result (text); raise LabError on failure unless ``check`` is off."""
        done = subprocess.run(self.command(argv), input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=timeout, check=False)
        if check and done.returncode != 0:
            raise LabError(f"host {self.name}: {shlex.join(argv)} failed with exit code {done.returncode}:\n"
                           f"{done.stdout}{done.stderr}")
        return done

    def put(self, source: Union[str, Path], target: str) -> None:
        """Copy a file of the machine to ``target`` on the host, with its mode."""
        mode = Path(source).stat().st_mode & 0o777
        with open(source, "rb") as file:
            subprocess.run(self.command(["sh", "-c", 'cat > "$0" && chmod "$1" "$0"', target, f"{mode:o}"]),
                           stdin=file, timeout=300, check=True)

    def boot_id(self) -> str:
        """Return the host's boot id; each boot has its own."""
        return str(self.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout.strip())

    def wait_up(self, boots: int = 1, timeout: float = BOOT_SECONDS) -> None:
        """Wait until the host has booted (``boots`` times at least) and everything on it has started."""
        deadline = time.monotonic() + timeout
        state = "off"
        while time.monotonic() < deadline:
            status = self.lab.status()["hosts"][self.name]
            if status["problem"]:
                raise LabError(f"host {self.name}: {status['problem']}\n{self.lab.host_log(self.name)}")
            if status["pid"] is not None and status["boots"] >= boots:
                state = self._state()
                if state == "running":
                    return
                if state == "degraded":
                    failed = self.run(["systemctl", "--failed", "--no-legend", "--plain"], check=False).stdout
                    raise LabError(f"host {self.name} has failed units:\n{failed}")
            time.sleep(0.1)
        raise LabError(f"host {self.name} is not up after {timeout:.0f} s (state: {state})")

    def _state(self) -> str:
        try:
            if self.plain:
                return "running" if self.run(["test", "-e", "/run/lab-up"], check=False).returncode == 0 else "starting"
            return str(self.run(["systemctl", "is-system-running"], check=False, timeout=20).stdout.strip())
        except LabError:
            return "off"  # it went down between the two questions; the caller has the deadline

    def reboot(self, timeout: float = BOOT_SECONDS) -> None:
        """Reboot the host in good order (a plain host: cut and start) and wait until it is up again."""
        boots = int(self.lab.status()["hosts"][self.name]["boots"])
        if self.plain:
            self.power_loss()
            self.start()
            return
        self.run(["systemctl", "reboot"], check=False)
        self.wait_up(boots + 1, timeout)

    def power_loss(self, silent: bool = False) -> None:
        """Cut the host's power. ``silent``: its links go first, so nobody gets a word."""
        self.lab.ask(op="kill", host=self.name, silent=silent)

    def start(self, timeout: float = BOOT_SECONDS) -> None:
        """Switch a host on that is off, with the disk that it had, and wait until it is up."""
        boots = int(self.lab.status()["hosts"][self.name]["boots"])
        self.lab.ask(op="start", host=self.name)
        self.wait_up(boots + 1, timeout)


class Lab:
    """A lab: ``with Lab({"a": "trixie", "b": "bookworm:bare"}) as lab: lab.host("a").run([...])``.

    Everything ends with the ``with`` block and also when this process dies in any way.
    """

    def __init__(self, hosts: Union[Dict[str, str], Sequence[HostPlan]], name: str = "", keep: bool = False) -> None:
        """Describe the lab; nothing runs yet. ``keep``: it stays when this process ends (then give it a name)."""
        self.plan = [parse_host(f"{k}={v}") for k, v in hosts.items()] if isinstance(hosts, dict) else list(hosts)
        self.name = name or f"t{os.getpid()}-{next(_COUNT)}"
        self.keep = keep
        self.state = BASE / self.name
        self._keeper: Optional[subprocess.Popen] = None
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

    def _plan_file(self) -> Dict[str, Any]:
        return dict(json.loads((self.state / "plan.json").read_text(encoding="utf-8")))

    def __enter__(self) -> Lab:
        """Start the lab."""
        self.up()
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
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
        env = {**os.environ, "LAB_STATE": str(self.state), "LAB_DIR": str(HERE), "LAB_PYTHON": sys.executable,
               "LAB_CGROUP": f"hvlab-{self.name}"}
        with open(self.state / "rack.log", "ab") as log:
            self._keeper = subprocess.Popen(
                ["/bin/sh", str(HERE / "keeper.sh")], env=env, stdout=log, stderr=log, start_new_session=True, cwd="/",
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
        for _ in range(2):  # keeper.sh -> unshare -> rack.sh
            pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()[0])
        return pid

    def ask(self, **request: Any) -> Dict[str, Any]:
        """Send one request to rack.py and return its answer; raise LabError when it refuses."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(60)
            try:
                link.connect(str(self.state / "rack.sock"))
                link.sendall(json.dumps(request).encode() + b"\n")
                with link.makefile("rb") as file:
                    answer: Dict[str, Any] = json.loads(file.readline())
            except (OSError, ValueError) as error:
                raise LabError(f"the lab {self.name!r} does not answer: {error}; {self._log_tail()}") from error
        if "error" in answer:
            raise LabError(str(answer["error"]))
        return answer

    def status(self) -> Dict[str, Any]:
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

    def command(self, argv: Sequence[str]) -> List[str]:
        """Return the machine's command line that runs ``argv`` as the controller: the machine's files, the lab's network."""
        return ["nsenter", "-t", str(self._pid), "-m", "-n", "-p", "--",
                "/bin/sh", "-c", 'cd "$0" && exec "$@"', os.getcwd(), *argv]

    def world(self, argv: Sequence[str]) -> List[str]:
        """Return the machine's command line that runs ``argv`` in the outside world's network."""
        return self.command(["nsenter", "-t", str(self.status()["world"]), "-n", "--", *argv])

    def inventory(self, path: Union[str, Path, None] = None, user: str = "root") -> Path:
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
