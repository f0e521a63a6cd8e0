# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of a bench on a plain host of the lab: its parts, a scratch folder, the machine's words, the targets."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import typing as t
from dataclasses import dataclass
from pathlib import Path

from common import BenchError, Targets, end_by_exception
from tasks import Controller


@dataclass(frozen=True)
class Start:
    """What a bench begins with."""

    scratch: Path
    controller: Controller
    targets: Targets
    #: Whether it is only tried.
    quick: bool
    #: The names of the parts to run.
    parts: t.Sequence[str]

    def tell(self, what: str) -> None:
        """Says on which machine this is; ``what`` is what the bench is about, with its version."""
        print(f"{len(os.sched_getaffinity(0))} processors; {what}; {self.controller.version};")
        print(f"Python {sys.version.split()[0]}; load {os.getloadavg()[0]:.1f} at the start.", flush=True)


def command_line(
    name: str, about: str | None, harm: str, programs: Path, parts: t.Iterable[str], bench: t.Callable[[Start], None]
) -> int:
    """Runs a bench; 0 when every result was right, however long it took.

    ``harm`` is what it would do to a machine of somebody, ``programs`` the folder of its ``ansible``.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="few objects and runs, to try the bench itself")
    parser.add_argument("--only", action="append", choices=list(parts), help="one part (may be repeated)")
    args = parser.parse_args()
    end_by_exception()
    if "LAB_PLAIN_HOST" not in os.environ:
        print(f"{name}: it would {harm} of this machine; start tests/bench/{name}.bench", file=sys.stderr)
        return 1
    scratch = Path(tempfile.mkdtemp(prefix="kvm-bench-", dir="/var/tmp"))
    try:
        start = Start(scratch, Controller(programs, scratch), Targets(), args.quick, args.only or list(parts))
        bench(start)
        start.targets.sum_up()
    except BenchError as exc:
        print(f"{name}: {exc}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(scratch)
    return 0
