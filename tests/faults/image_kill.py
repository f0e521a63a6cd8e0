# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tasks of kvm_image are killed at every step, and at random times: nothing stays behind, and the next run succeeds.

    python image_kill.py [--rounds N] [--seed S] [--only WORD] [--every]

Each round begins with the same files, kills one task, looks for what it left, and runs it again, twice. A round says
everything that is needed to have it again. Needs root; with ansible and ansible_collections on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import shutil
import sys
import time
import typing as t

import disks
import ground
from scenes import Scenario, Seeds, scenarios
from tasks import Result, Task, task

_NEEDS = ("qemu-img", "qemu-storage-daemon", "e2fsck", "mke2fs", "debugfs", "sfdisk", "mkswap", "unshare")
_COMMIT = "'commit'"
#: What the one of two tasks that fails may say.
_BUSY = ("another task", "has changed since")


@dataclasses.dataclass
class Known:
    """How a scenario goes when nobody disturbs it."""

    steps: tuple[str, ...]
    seconds: float
    names: tuple[str, ...]
    records: dict[str, t.Any]
    before: dict[str, str | None]


@dataclasses.dataclass(frozen=True)
class Blow:
    """When the task is killed: just before step ``step`` (0 is the first), ``delay`` seconds after it, or ``delay``
    seconds after the start when there is no step."""

    step: int | None
    delay: float | None

    def __str__(self) -> str:
        if self.step is None:
            return f"{(self.delay or 0) * 1000:.1f} ms after its start"
        after = f" and {self.delay * 1000:.2f} ms" if self.delay is not None else ""
        return f"at step {self.step}{after}"


@dataclasses.dataclass
class Count:
    """For the last line."""

    rounds: int = 0
    middle: int = 0
    after: int = 0
    commits: int = 0


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

    def nothing_left(self, what: str) -> None:
        left = ground.leftovers(self.scratch)
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

    def round(self, known: Known, blow: Blow, count: Count) -> None:
        """One kill, and what must be true after it."""
        self.fresh()
        killed = self._strike(blow)
        count.rounds += 1
        if killed.killed:
            count.middle += 1
        else:
            count.after += 1
            assert killed.ok, f"the task failed before it was killed: {killed}"
        self.nothing_left("the killed task")
        count.commits += self._half_way(known)
        self.run("the run after it")
        self.scene.verify(self.folder)
        self._kept(known)
        self.again()
        assert tuple(sorted(os.listdir(self.folder))) == known.names, f"other files: {sorted(os.listdir(self.folder))}"
        assert self.records() == known.records, f"other records: {self.records()} instead of {known.records}"

    def _strike(self, blow: Blow) -> Result:
        if blow.step is not None and blow.delay is None:
            return Task("kvm_image", self.args, kill_at=blow.step).wait()
        running = Task("kvm_image", self.args)
        if blow.step is not None:
            running.steps(blow.step + 1)
        time.sleep(blow.delay or 0)
        running.kill()
        return running.wait()

    def _half_way(self, known: Known) -> bool:
        """What stands there just after the kill; whether a change is half in an image."""
        self._kept(known)
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

    def _kept(self, known: Known) -> None:
        for name in self.scene.kept:
            assert disks.digest(f"{self.folder}/{name}") == known.before[name], f"{name} has changed"


def blows(known: Known, chance: random.Random, number: int, every: bool) -> t.Iterator[Blow]:
    """When to kill in ``number`` rounds: at steps, some time after one, at any time; half of what commits at the commit."""
    commit = next((n for n, step in enumerate(known.steps) if _COMMIT in step), None)
    if every:
        yield from (Blow(step, None) for step in range(len(known.steps)))
    for turn in range(number):
        if commit is not None and turn % 2:
            yield Blow(commit, chance.uniform(0, 0.03))
        elif turn % 3 == 0:
            yield Blow(chance.randrange(len(known.steps)), None)
        elif turn % 3 == 1:
            yield Blow(chance.randrange(len(known.steps)), chance.expovariate(200))
        else:
            yield Blow(None, chance.uniform(0, known.seconds * 1.05))


def together(ring: Ring, chance: random.Random, known: Known) -> str:
    """Two tasks on one path at once: one does it, the other says that it is busy or finds it done."""
    ring.fresh()
    first = Task("kvm_image", ring.args)
    time.sleep(chance.choice((0, 0, 0.002, chance.uniform(0, known.seconds))))
    second = Task("kvm_image", ring.args)
    results = [first.wait(), second.wait()]
    good = [result for result in results if result.ok]
    assert good, f"two tasks at once, and none succeeded: {results[0]} {results[1]}"
    for result in results:
        if not result.ok:
            assert "Traceback" not in result.output + result.errors, result
            assert any(word in result.msg for word in _BUSY), result
    ring.nothing_left("two tasks at once")
    ring.run("the run after two at once")
    ring.scene.verify(ring.folder)
    ring.again()
    assert tuple(sorted(os.listdir(ring.folder))) == known.names, sorted(os.listdir(ring.folder))
    return "both" if len(good) == 2 else "one"


def main() -> int:
    parser = argparse.ArgumentParser(description="Kills tasks of kvm_image.")
    parser.add_argument("--rounds", type=int, default=200, help="kills over all scenarios (200)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the same rounds again")
    parser.add_argument("--only", default="", help="scenarios with this in their name")
    parser.add_argument("--every", action="store_true", help="beside the rounds, a kill at every step of each scenario")
    options = parser.parse_args()
    scratch = ground.enter(_NEEDS)
    print(f"image_kill: seed {options.seed}", flush=True)
    seeds = Seeds(f"{scratch}/seeds")
    chosen = [scene for scene in scenarios(seeds) if options.only in scene.name]
    for scene in [scene for scene in chosen if scene.needs]:
        print(f"NOT TESTED: {scene.name}: {', '.join(scene.needs)} is missing")
        chosen.remove(scene)
    count, wrong, pairs = Count(), [], {"both": 0, "one": 0}
    share = -(-options.rounds // max(len(chosen), 1))
    for scene in chosen:
        wrong += play(scratch, scene, options, share, count, pairs)
    for line in wrong:
        print(f"WRONG: {line}")
    print(
        f"image_kill: {count.rounds} rounds, {count.middle} kills in the middle ({count.commits} of them left a change half in the"
        f" image), {count.after} after the end; {sum(pairs.values())} pairs at once ({pairs['both']} where both succeeded);"
        f" {'all right' if not wrong else f'{len(wrong)} WRONG, seed {options.seed}'}"
    )
    return 1 if wrong else 0


def play(
    scratch: str, scene: Scenario, options: argparse.Namespace, share: int, count: Count, pairs: dict[str, int]
) -> list[str]:
    """The rounds of one scenario; gives what went wrong."""
    chance = random.Random(f"{options.seed} {scene.name}")
    started, wrong = time.monotonic(), []
    try:
        ring = Ring(scratch, scene)
        known = ring.undisturbed()
    except AssertionError as exc:
        return [f"{scene.name}: {exc}"]
    for blow in blows(known, chance, share, options.every):
        try:
            ring.round(known, blow, count)
        except AssertionError as exc:
            step = f" ({known.steps[blow.step]})" if blow.step is not None and blow.step < len(known.steps) else ""
            wrong.append(f"{scene.name}, killed {blow}{step}: {exc}")
    for _pair in range(max(2, share // 4)):
        try:
            pairs[together(ring, chance, known)] += 1
        except AssertionError as exc:
            wrong.append(f"{scene.name}, two at once: {exc}")
    shown = f"{known.seconds * 1000:.0f} ms, {len(known.steps)} steps; {time.monotonic() - started:.1f} s"
    print(f"  {scene.name}: {shown}{', WRONG' if wrong else ''}", flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
