# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tasks of kvm_image run out of room, may not write, miss a program, or have one that fails: a clear error, nothing lost.

    python image_starve.py [--rounds N] [--seed S] [--only WORD] [--every]

The scenarios are those of image_kill.py. After each fault nothing is left and what was there is as it was; when it is over,
the next run succeeds. Needs root; with ansible and ansible_collections on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import time
import typing as t

import disks
import ground
import hunger
from chosen import possible
from ring import Known, Ring
from scenes import Seeds
from tally import Tally
from tasks import Result, Task, task

_NEEDS = ("qemu-img", "qemu-storage-daemon", "e2fsck", "mke2fs", "debugfs", "sfdisk", "mkswap", "unshare", "chattr")
#: What an error says that is about room.
_ROOM = ("no space left", "make room", "are free", "is full", "could not allocate", "disk full")
_FAILS = "broken on purpose"
_BROKEN = {"fails": f"echo '{_FAILS}' >&2; exit 9", "is killed": "kill -KILL $$"}


def main() -> int:
    parser = argparse.ArgumentParser(description="Takes from tasks of kvm_image what they need.")
    parser.add_argument("--rounds", type=int, default=100, help="full disks over all scenarios (100)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the same rounds again")
    parser.add_argument("--only", default="", help="scenarios with this in their name")
    parser.add_argument(
        "--every", action="store_true", help="a full disk at every step, every program in every scenario"
    )
    options = parser.parse_args()
    scratch = ground.enter(_NEEDS)
    print(f"image_starve: seed {options.seed}", flush=True)
    tally, hidden = Tally("image_starve"), Hidden(random.Random(options.seed), options.every)
    chosen = possible(Seeds(f"{scratch}/seeds"), options.only, tally)
    if not hunger.can_be_immutable(scratch):
        tally.not_tested("immutable files: the file system of the scratch folder knows none")
    for scene in chosen:
        started = time.monotonic()
        with tally.check(scene.name):
            play(Ring(scratch, scene), options, -(-options.rounds // len(chosen)), hidden, tally)
        print(f"  {scene.name}: {time.monotonic() - started:.1f} s", flush=True)
    said = ", ".join(f"{os.path.basename(path)} {count}" for path, count in sorted(hidden.counts.items()))
    return tally.close(f"seed {options.seed}; times without a program: {said or 'none'}")


def play(ring: Ring, options: argparse.Namespace, share: int, hidden: Hidden, tally: Tally) -> None:
    """All faults of one scenario."""
    scene = ring.scene
    chance = random.Random(f"{options.seed} {scene.name}")
    known = ring.undisturbed()
    for step, leave in fillings(known, chance, share, options.every):
        with tally.check(f"{scene.name}, {leave} bytes free at step {step} ({known.steps[step]})"):
            full(ring, known, step, leave)
    with tally.check(f"{scene.name}, in a folder that is read-only"):
        forbidden(ring, hunger.read_only(ring.folder), ring.folder, [ring.folder])
    if hunger.can_be_immutable(ring.scratch):
        what = f"{ring.folder}/{scene.changes}" if scene.changes else ring.folder
        with tally.check(f"{scene.name}, with {what} immutable"):
            forbidden(ring, hunger.immutable(what), what)
    for program in hidden.of(known):
        with tally.check(f"{scene.name}, without {program}"):
            missing(ring, known, program)
        how = chance.choice(sorted(_BROKEN))
        with tally.check(f"{scene.name}, with a {program} that {how}"):
            broken(ring, known, program, how)


# --- room ------------------------------------------------------------------------------------------------------------


def fillings(known: Known, chance: random.Random, number: int, every: bool) -> t.Iterator[tuple[int, int]]:
    """(step, bytes that are free from then on): from the start, at the commit or the publishing, in between."""
    count = len(known.steps)
    if every:
        yield from ((step, 0) for step in range(count))
    special = [n for n, step in enumerate(known.steps) if "'commit'" in step or "'convert'" in step]
    for turn in range(number):
        leave = chance.choice((0, 0, 4096, chance.randrange(1 << 20), chance.randrange(64 << 20)))
        if turn % 3 == 0 and special:
            yield chance.choice(special), leave
        else:
            yield (0 if turn % 3 == 1 else chance.randrange(count)), leave


def full(ring: Ring, known: Known, step: int, leave: int) -> None:
    """The disk is full from a step on."""
    ring.fresh()
    running = Task("kvm_image", ring.args, stop_at=step)
    try:
        stopped = running.stopped()
        hunger.squeeze(ring.scratch, leave)
        if stopped:
            running.go_on()
        result = running.wait()
    finally:
        hunger.relax(ring.scratch)
    ring.nothing_left("a task on a full disk")
    if not result.ok:
        clear(result)
        assert any(word in result.msg.lower() for word in _ROOM), f"the error says nothing of room: {result.msg}"
    ring.half_way(known)
    ring.recovers(known)


# --- rights ----------------------------------------------------------------------------------------------------------


def forbidden(
    ring: Ring, fault: contextlib.AbstractContextManager[None], named: str, mounted: t.Sequence[str] = ()
) -> None:
    """The task may not write: it says where, and has changed nothing."""
    ring.fresh()
    before = everything(ring.folder)
    with fault:
        result = task("kvm_image", ring.args)
        ring.nothing_left("a task that may not write", mounted)
    clear(result)
    words = ("read-only", "not permitted", "permission denied")
    assert any(word in result.msg.lower() for word in words), f"the error does not say why: {result.msg}"
    assert named in result.msg, f"the error does not name {named}: {result.msg}"
    assert everything(ring.folder) == before, f"{sorted(before)} have become {sorted(everything(ring.folder))}"


def everything(folder: str) -> dict[str, str | None]:
    """All files below a folder and what is in them."""
    found: dict[str, str | None] = {}
    for place, folders, files in os.walk(folder):
        found.update({f"{place}/{name}/": None for name in folders})
        found.update({f"{place}/{name}": disks.digest(f"{place}/{name}") for name in files})
    return found


# --- programs --------------------------------------------------------------------------------------------------------


class Hidden:
    """Each program of the engine is hidden in a few scenarios, not each time in the first ones."""

    def __init__(self, chance: random.Random, every: bool) -> None:
        self._chance, self._every = chance, every
        self.counts: dict[str, int] = {}

    def of(self, known: Known) -> list[str]:
        """Those that are to be hidden in a scenario."""
        found = []
        for path in hunger.programs(known.steps):
            seen = self.counts.get(path, 0)
            if self._every or seen == 0 or (seen < 2 and self._chance.random() < 0.3):
                self.counts[path] = seen + 1
                found.append(path)
        return found


def missing(ring: Ring, known: Known, program: str) -> None:
    """The task does without, or names the program and its package."""
    ring.fresh()
    before = everything(ring.folder)
    with hunger.instead(program, None, ring.scratch):
        result = task("kvm_image", ring.args)
    ring.nothing_left("a task without a program")
    if not result.ok:
        clear(result)
        name, package = os.path.basename(program), hunger.package_of(program)
        assert name in result.msg, f"the error does not name {name}: {result.msg}"
        assert package is None or package in result.msg, f"the error does not name the package {package}: {result.msg}"
    settled(ring, known, before)


def broken(ring: Ring, known: Known, program: str, how: str) -> None:
    """The task names the program that failed, with its last words, if only in the return values beside the sentence."""
    ring.fresh()
    before = everything(ring.folder)
    with hunger.instead(program, _BROKEN[how], ring.scratch):
        result = task("kvm_image", ring.args)
    ring.nothing_left("a task with a broken program")
    if not result.ok:
        clear(result)
        # unshare only starts the daemon: it cannot be told which of the two it was.
        names = [os.path.basename(program), *(["qemu-storage-daemon"] if program.endswith("/unshare") else [])]
        said = f"{result.msg} {result.data.get('cmd')} {result.data.get('stderr')}"
        assert any(name in said for name in names), f"the error does not name {program}: {said}"
        assert how != "fails" or _FAILS in said, f"the error has not the words of {program}: {said}"
    settled(ring, known, before)


def settled(ring: Ring, known: Known, before: dict[str, str | None]) -> None:
    """Everything is as it was, or the next run makes it so."""
    if everything(ring.folder) != before:
        ring.half_way(known)
        ring.recovers(known)


def clear(result: Result) -> None:
    """An error is one sentence or two about the image, never a traceback."""
    assert not result.ok, f"it succeeded: {result}"
    assert result.data.get("failed"), f"it did not end with an error: {result}"
    assert result.msg, f"there is no error in the result: {result}"
    assert "Traceback" not in result.output + result.errors, result
    assert "work/" in result.msg, f"the error names no image: {result.msg}"


if __name__ == "__main__":
    sys.exit(main())
