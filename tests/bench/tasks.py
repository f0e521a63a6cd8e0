# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules of this collection as Ansible runs them: the same payload, started by the host's Python."""

from __future__ import annotations

import json
import os
import subprocess
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from common import BenchError, Sample, run

ROOT = Path(__file__).resolve().parents[2]
#: The Python of the host, as Ansible finds it.
PYTHON = "/usr/bin/python3"


@dataclass
class Task:
    """One task. ``process`` runs what Ansible sends to the host; ``inside`` runs main() of the same code in a fresh process."""

    module: str
    payload: Path
    unpacked: Path
    results: list[dict[str, t.Any]] = field(default_factory=list)
    #: Seconds of importing Ansible's part and the module's, and of main(), of each run of ``inside``.
    parts: list[tuple[float, float, float]] = field(default_factory=list)

    def process(self) -> None:
        """Runs the payload from the start of Python to its end."""
        self._keep(_json(run([PYTHON, self.payload], env=_environment())))

    def inside(self) -> Sample:
        """Runs main() and gives what it took alone."""
        name = f"ansible_collections.hypervisor.kvm.plugins.modules.{self.module}"
        argv: list[str | Path] = [PYTHON, Path(__file__).with_name("inside.py"), self.unpacked, name]
        told = _json(run(argv, env=_environment()))
        self._keep(told["result"])
        self.parts.append((told["import_ansible"], told["import_module"], told["main"]))
        return Sample(told["main"], told["cpu"], None)

    def _keep(self, result: dict[str, t.Any]) -> None:
        if result.get("failed"):
            raise BenchError(f"{self.module} failed: {result.get('msg')}")
        self.results.append(result)


class Controller:
    """An ansible-core that packs tasks. ``programs`` is the folder with its ``ansible``."""

    def __init__(self, programs: Path, scratch: Path) -> None:
        self._ansible, self._scratch = programs / "ansible", scratch / "tasks"
        place = self._scratch / "collections" / "ansible_collections" / "hypervisor"
        place.mkdir(parents=True)
        (place / "kvm").symlink_to(ROOT)
        told = run([self._ansible, "--version"], env=self.env("version"))
        self.version = told.partition("]")[0].rpartition("[")[2]

    def pack(self, name: str, module: str, options: dict[str, t.Any], variables: Path | None = None) -> Task:
        """Has Ansible pack a task, in check mode, and turns check mode off in what it packed. ``variables`` is a file."""
        argv: list[str | Path] = [
            self._ansible,
            "localhost",
            "--check",
            "-m",
            f"hypervisor.kvm.{module}",
            "-a",
            json.dumps(options),
            *([] if variables is None else ["-e", f"@{variables}"]),
        ]
        run(argv, env=self.env(name))
        found = sorted((self._scratch / name / "remote").glob(f"*/AnsiballZ_{module}.py"))
        if len(found) != 1:
            raise BenchError(f"ansible kept {len(found)} payloads of {module}, not one")
        text = found[0].read_text(encoding="utf-8")
        if text.count('"_ansible_check_mode": true') != 1:
            raise BenchError(f"the payload of {module} has check mode in another form; adapt tests/bench/tasks.py")
        found[0].write_text(
            text.replace('"_ansible_check_mode": true', '"_ansible_check_mode": false'), encoding="utf-8"
        )
        run([PYTHON, found[0], "explode"], env=_environment())
        return Task(module, found[0], found[0].parent / "debug_dir")

    def env(self, name: str) -> dict[str, str]:
        place = self._scratch / name
        return _environment(
            ANSIBLE_COLLECTIONS_PATH=str(self._scratch / "collections"),
            ANSIBLE_HOME=str(place),
            ANSIBLE_KEEP_REMOTE_FILES="1",
            ANSIBLE_LOCAL_TEMP=str(place / "local"),
            ANSIBLE_PIPELINING="0",
            ANSIBLE_PYTHON_INTERPRETER=PYTHON,
            ANSIBLE_REMOTE_TMP=str(place / "remote"),
        )


def _environment(**more: str) -> dict[str, str]:
    """No settings of the caller; no byte code beside the unpacked modules, as there is none beside the packed ones."""
    dropped = ("ANSIBLE_", "PYTHON", "VIRTUAL_ENV")
    env = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    return {**env, "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", **more}


def _json(text: str) -> dict[str, t.Any]:
    try:
        found: dict[str, t.Any] = json.loads(text)
    except ValueError as exc:
        raise BenchError(f"a module printed no JSON: {text[-500:]}") from exc
    return found


def controller_programs() -> Path:
    """The folder of the programs of an ansible-core of this checkout's requirements; installs it once."""
    done = subprocess.run([PYTHON, str(ROOT / "requirements" / "make_venv.py"), "demo"], check=False, stdout=2)
    if done.returncode != 0:
        raise BenchError("the environment with ansible-core could not be made (see above)")
    return ROOT / ".venv" / "demo" / "bin"
