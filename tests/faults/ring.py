# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a scenario is played again and again, each time with the same files, and what must be true after each fault."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import typing as t

import disks
import ground
from scenes import Scenario
from tasks import Result, task


@dataclasses.dataclass
class Known:
    """How a scenario goes when nobody disturbs it."""

    steps: tuple[str, ...]
    seconds: float
    names: tuple[str, ...]
    records: dict[str, t.Any]
    before: dict[str, str | None]


class Ring:
    """The folder in which the rounds are."""

    def __init__(self, scratch: str, scene: Scenario) -> None:
        self.scratch, self.scene = scratch, scene
        self.folder, self.seed = f"{scratch}/work", f"{scratch}/seed"
        # Paths stand in records and headers: the files are prepared where they are used.
        self._empty()
        scene.prepare(self.folder)
        shutil.rmtree(self.seed, ignore_errors=True)
        self._copy(self.folder, self.seed)
        self.args = scene.args(self.folder)

    def _empty(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.mkdir(self.folder)

    def _copy(self, source: str, target: str) -> None:
        ground.run("cp", "-a", "--sparse=always", source, target)

    def fresh(self) -> None:
        """The files as they were at first."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._copy(self.seed, self.folder)

    def undisturbed(self) -> Known:
        """The scenario as it is meant."""
        self.fresh()
        before = {name: disks.digest(f"{self.folder}/{name}") for name in self.watched}
        result = self.run("the undisturbed run")
        assert result.data["changed"], result
        self.scene.verify(self.folder)
        self.again()
        names = tuple(sorted(os.listdir(self.folder)))
        # Measured without what the first run had to load.
        self.fresh()
        seconds = self.run("the undisturbed run").seconds
        return Known(result.steps, seconds, names, self.records(), before)

    @property
    def watched(self) -> tuple[str, ...]:
        return (*self.scene.kept, *((self.scene.changes,) if self.scene.changes else ()))

    def run(self, what: str) -> Result:
        """A run that must succeed and leave nothing."""
        result = task("kvm_image", self.args)
        assert result.ok, f"{what} failed: {result}"
        self.nothing_left(what)
        return result

    def again(self) -> None:
        assert not self.run("a run on what is as declared").data["changed"], "a run on what is as declared changed it"

    def nothing_left(self, what: str, mounted: t.Collection[str] = ()) -> None:
        left = ground.leftovers(self.scratch, mounted=mounted)
        assert not left, f"{what} left {'; '.join(left)}"

    def records(self) -> dict[str, t.Any]:
        """The records beside images, without what is another each time."""
        found = {}
        for name in sorted(os.listdir(self.folder)):
            if name.endswith(".json"):
                with open(f"{self.folder}/{name}", encoding="utf-8") as file:
                    body = json.load(file)
                found[name] = {
                    key: value for key, value in body.items() if key not in ("id", "created", "tools", "base")
                }
        return found

    def recovers(self, known: Known) -> None:
        """After the fault is over: the next run ends as the undisturbed one, and what it was made of is as it was."""
        self.run("the run after it")
        self.scene.verify(self.folder)
        self.kept(known)
        self.again()
        assert tuple(sorted(os.listdir(self.folder))) == known.names, f"other files: {sorted(os.listdir(self.folder))}"
        assert self.records() == known.records, f"other records: {self.records()} instead of {known.records}"

    def half_way(self, known: Known) -> bool:
        """What stands there just after the fault; whether a change is half in an image."""
        self.kept(known)
        for name in self.scene.makes:
            if os.path.lexists(f"{self.folder}/{name}"):
                assert name != self.scene.makes[0] or self._complete(), f"{name} is there, but not complete"
        changed = self.scene.changes
        if changed is None:
            return False
        log = os.path.exists(f"{self.folder}/.kvm_image.{changed}/commit.qcow2")
        now = disks.digest(f"{self.folder}/{changed}")
        assert now is not None, "the image is gone"
        if now != known.before[changed] and not log:
            # What is not as before and has no log must be wholly what is declared.
            self.scene.verify(self.folder)
        return log

    def _complete(self) -> bool:
        # The kernel beside it may be missing yet: the image itself is what counts.
        path = f"{self.folder}/{self.scene.makes[0]}"
        form = "qcow2" if path.endswith(".qcow2") else "raw"
        with disks.Looked(path, form) as looked:
            kind = disks.tag(looked.raw, "TYPE")
            if kind == "ext4":
                disks.sound(looked.raw)
            elif kind == "":
                disks.sound(looked.part(1))
        return True

    def kept(self, known: Known) -> None:
        """What the task must never change."""
        for name in self.scene.kept:
            assert disks.digest(f"{self.folder}/{name}") == known.before[name], f"{name} has changed"
