# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the parts of the image bench share: the disks, and methods whose results are checked and taken away."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from pathlib import Path

import image_verify
from common import BenchError, Method, Targets
from image_data import Disks, Layout
from tasks import Controller, Task

_RECORD = ".kvm_image.json"


@dataclass
class Bench:
    """What all parts need."""

    scratch: Path
    layout: Layout
    disks: Disks
    controller: Controller
    targets: Targets
    #: The digest of the files, and how often quick methods are run.
    wanted: str
    repeats: int

    def result(self, name: str) -> Path:
        """The path of a result."""
        return self.scratch / "results" / name

    def remove(self, path: Path) -> None:
        """Takes a result and its record away."""
        for found in (path, Path(f"{path}{_RECORD}")):
            found.unlink(missing_ok=True)

    def by_commands(
        self, name: str, result: Path, check: t.Callable[[Path], None], work: t.Callable[[], object], repeats: int = 0
    ) -> Method:
        """A method of programs that write ``result``."""
        return Method(
            name,
            lambda: self._nothing(work),
            result,
            prepare=lambda: self.remove(result),
            verify=lambda: check(result),
            repeats=repeats or self.repeats,
        )

    @staticmethod
    def _nothing(work: t.Callable[[], object]) -> None:
        work()

    def by_module(
        self,
        name: str,
        task: Task,
        result: Path | None = None,
        check: t.Callable[[Path], None] | None = None,
        prepare: t.Callable[[], None] | None = None,
    ) -> tuple[Method, Method]:
        """The task as a process, and what main() takes of it."""

        def before() -> None:
            if result is not None:
                self.remove(result)
            if prepare is not None:
                prepare()

        def verify() -> None:
            if result is not None and check is not None:
                check(result)

        process = Method(f"{name}: the whole process", task.process, result, before, verify, self.repeats)
        inside = Method(f"{name}: the module's own time", task.inside, result, before, verify, self.repeats)
        return process, inside

    def is_root(self, path: Path) -> None:
        """Raises BenchError unless the image is the root file system alone, with all its files."""
        image_verify.check_root(path, 0, self.layout.size, self.wanted)

    def is_exact(self, path: Path) -> None:
        """The same, and it is exactly as large as the partition."""
        self.is_root(path)
        if path.stat().st_size != self.layout.size:
            raise BenchError(f"{path.name} has {path.stat().st_size} bytes, the partition {self.layout.size}")
