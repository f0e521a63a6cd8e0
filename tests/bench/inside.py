# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module out of its unpacked payload in this fresh process and prints what its parts took.

``inside.py FOLDER NAME``: FOLDER is what ``AnsiballZ_X.py explode`` made, NAME the module's full Python name. Prints one
line of JSON: the module's own result, seconds of imports and of main(), processor seconds of main() and its programs.
Only the standard library: it runs with the Python of the host.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import resource
import sys
import time
import typing as t
from pathlib import Path


def _cpu() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def main() -> None:
    """The command line."""
    folder, name = sys.argv[1:]
    sys.path[0] = folder
    started = time.perf_counter()
    basic: t.Any = importlib.import_module("ansible.module_utils.basic")
    core = time.perf_counter()
    module = importlib.import_module(name)
    imported = time.perf_counter()
    basic._ANSIBLE_ARGS = (Path(folder) / "args").read_bytes()
    basic._ANSIBLE_PROFILE = "legacy"
    said = io.StringIO()
    cpu, begun = _cpu(), time.perf_counter()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        module.main()
    seconds = time.perf_counter() - begun
    print(
        json.dumps(
            {
                "result": json.loads(said.getvalue()),
                "import_ansible": core - started,
                "import_module": imported - core,
                "main": seconds,
                "cpu": _cpu() - cpu,
            }
        )
    )


if __name__ == "__main__":
    main()
