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
import os
import random
import sys
import time
import typing as t

import ground
from chosen import possible
from ring import Known, Ring
from scenes import Scenario, Seeds
from tally import Tally
from tasks import Result, Task

_NEEDS = ("qemu-img", "qemu-storage-daemon", "e2fsck", "mke2fs", "debugfs", "sfdisk", "mkswap", "unshare")
_COMMIT = "'commit'"
#: What the one of two tasks that fails may say.
_BUSY = ("another task", "has changed since")


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
    pairs: int = 0
    both: int = 0


def strike(ring: Ring, blow: Blow) -> Result:
    """Starts the task, and kills it."""
    if blow.step is not None and blow.delay is None:
        return Task("kvm_image", ring.args, kill_at=blow.step).wait()
    running = Task("kvm_image", ring.args)
    if blow.step is not None:
        running.steps(blow.step + 1)
    time.sleep(blow.delay or 0)
    running.kill()
    return running.wait()


def one(ring: Ring, known: Known, blow: Blow, count: Count) -> None:
    """One kill, and what must be true after it."""
    ring.fresh()
    killed = strike(ring, blow)
    count.rounds += 1
    if killed.killed:
        count.middle += 1
    else:
        count.after += 1
        assert killed.ok, f"the task failed before it was killed: {killed}"
    ring.nothing_left("the killed task")
    count.commits += ring.half_way(known)
    ring.recovers(known)


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
            assert any(word in result.msg for word in _BUSY), f"it does not say that it is busy: {result.msg}"
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
    tally, count = Tally("image_kill"), Count()
    chosen = possible(Seeds(f"{scratch}/seeds"), options.only, tally)
    share = -(-options.rounds // max(len(chosen), 1))
    for scene in chosen:
        with tally.check(scene.name):
            play(scratch, scene, options, share, count, tally)
    return tally.close(
        f"seed {options.seed}; {count.rounds} kills, {count.middle} of them in the middle, {count.commits} left a change half in"
        f" the image; {count.pairs} pairs at once, both succeeded in {count.both}"
    )


def play(scratch: str, scene: Scenario, options: argparse.Namespace, share: int, count: Count, tally: Tally) -> None:
    """The rounds of one scenario."""
    chance = random.Random(f"{options.seed} {scene.name}")
    started, before = time.monotonic(), len(tally.wrong)
    ring = Ring(scratch, scene)
    known = ring.undisturbed()
    for blow in blows(known, chance, share, options.every):
        step = f" ({known.steps[blow.step]})" if blow.step is not None and blow.step < len(known.steps) else ""
        with tally.check(f"{scene.name}, killed {blow}{step}"):
            one(ring, known, blow, count)
    for _pair in range(max(1, share // 4)):
        with tally.check(f"{scene.name}, two at once"):
            count.both += together(ring, chance, known) == "both"
            count.pairs += 1
    shown = f"{known.seconds * 1000:.0f} ms, {len(known.steps)} steps; {time.monotonic() - started:.1f} s"
    print(f"  {scene.name}: {shown}{', WRONG' if len(tally.wrong) > before else ''}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
