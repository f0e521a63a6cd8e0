# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host of a running lab, seen from the machine."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lab_errors import LabError
from lab_plan import address_of

if TYPE_CHECKING:
    from lab_rack import Lab

BOOT_SECONDS = 120


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

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the machine's command line that runs ``argv`` on this host as root, in ``/``."""
        return self.lab.command(
            [
                "nsenter",
                "-t",
                str(self._pid()),
                "-a",
                "--",
                "env",
                "-i",
                "HOME=/root",
                "TERM=dumb",
                "LC_ALL=C.UTF-8",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                *argv,
            ]
        )

    def run(
        self, argv: Sequence[str], timeout: float = 120, check: bool = True, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the host and return its result (text); raise LabError on failure unless ``check`` is off."""
        done = subprocess.run(
            self.command(argv), input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
        if check and done.returncode != 0:
            raise LabError(
                f"host {self.name}: {shlex.join(argv)} failed with exit code {done.returncode}:\n"
                f"{done.stdout}{done.stderr}"
            )
        return done

    def put(self, source: str | Path, target: str) -> None:
        """Copy a file of the machine to ``target`` on the host, with its mode."""
        mode = Path(source).stat().st_mode & 0o777
        with open(source, "rb") as file:
            subprocess.run(
                self.command(["sh", "-c", 'cat > "$0" && chmod "$1" "$0"', target, f"{mode:o}"]),
                stdin=file,
                timeout=300,
                check=True,
            )

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
