# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fault programs that need nothing but this machine, two at a time, bounded and with a seed that is told.

    python run_all.py [--seed S]

Ends with the closing lines of all. Exit code 1: something failed; 77: something could not be looked at here, nothing failed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import time

_HERE = os.path.dirname(os.path.abspath(__file__))
#: Each with its rounds. The longest first, so that the two processors are busy to the end.
_PROGRAMS = {"image_kill.py": 54, "image_starve.py": 27, "image_hostile.py": 32}
_IMPOSSIBLE = 77
_BANNER = "!" * 100
_LIMIT = 1800


def one(program: str, rounds: int, seed: int) -> tuple[int, str]:
    """Runs a program; gives its exit code and its closing line."""
    started = time.monotonic()
    argv = [sys.executable, "-u", f"{_HERE}/{program}", "--rounds", str(rounds), "--seed", str(seed)]
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=_LIMIT, errors="replace"
    )
    print(f"{done.stdout}  {program} took {time.monotonic() - started:.0f} s", flush=True)
    name = program.removesuffix(".py")
    closing = re.findall(rf"^{name}: \d+ passed, .*$", done.stdout, re.MULTILINE)
    if done.returncode == _IMPOSSIBLE:
        return _IMPOSSIBLE, f"{name}: NOT TESTED: {done.stdout.strip()}"
    if not closing:
        return 1, f"{name}: 0 passed, 1 failed (it ended with exit code {done.returncode} and no closing line)"
    # What it says itself that it could not look at counts as well.
    untested = " NOT TESTED" in closing[-1] and done.returncode == 0
    return (_IMPOSSIBLE if untested else done.returncode), closing[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the fault programs.")
    parser.add_argument("--seed", type=int, default=1, help="of what happens at random (1)")
    seed = parser.parse_args().seed
    print(f"faults: seed {seed}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda item: one(item[0], item[1], seed), _PROGRAMS.items()))
    codes = [code for code, _line in results]
    if _IMPOSSIBLE in codes:
        print(f"{_BANNER}\nNOT TESTED on this machine, see the lines below.\n{_BANNER}")
    for _code, line in results:
        print(line)
    if any(code not in (0, _IMPOSSIBLE) for code in codes):
        return 1
    return _IMPOSSIBLE if _IMPOSSIBLE in codes else 0


if __name__ == "__main__":
    sys.exit(main())
