# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: how a guest is asked to shut down, with libvirt as a few functions."""

from __future__ import annotations

import threading
import time
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import asking
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.crew import Crew, Job
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError


class World:
    """What was asked; ``hangs`` names what is not answered before ``over``, ``error`` is what libvirt says. Its time passes only
    when everything that was begun has ended, or hangs."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[str] = []
        self.hangs: set[str] = set()
        self.hanging = 0
        self.jobs: list[Job[t.Any]] = []
        self.over = threading.Event()
        self.error: LibvirtError | None = None
        self.alive = True

    def call(self, what: str) -> t.Callable[..., None]:
        def asks(*_arguments: object) -> None:
            self.asked.append(what)
            if what in self.hangs:
                self.hanging += 1
                self.over.wait(60)
            if self.error is not None:
                raise self.error

        return asks

    def monotonic(self) -> float:
        return self.now

    def settle(self) -> None:
        while sum(not job.done.is_set() for job in self.jobs) > self.hanging:
            time.sleep(0.001)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[World]:
    made = World()
    monkeypatch.setattr(asking.host, "uri", lambda _connection: "test:///")
    monkeypatch.setattr(asking.Lines, "mine", lambda _self: "line")
    monkeypatch.setattr(asking.lifecycle, "shutdown", made.call("shutdown"))
    monkeypatch.setattr(asking.lifecycle, "press_power_button", made.call("press"))
    monkeypatch.setattr(asking, "is_alive", lambda _line: made.alive)
    monkeypatch.setattr(asking, "is_code", lambda error, *_names: error.code == 1)
    monkeypatch.setattr(asking, "time", made)
    # Also how long is waited for what undoes it, in the real time.
    monkeypatch.setattr(asking, "_HEARD", 1)

    class Watched(Crew):
        def submit(self, *arguments: t.Any) -> t.Any:
            made.jobs.append(super().submit(*arguments))
            return made.jobs[-1]

    monkeypatch.setattr(asking, "Crew", Watched)
    yield made
    # What still hangs must not go on in another test.
    made.over.set()
    for job in made.jobs:
        job.done.wait()


def ask(world: World, requests: asking.Requests, seconds: float) -> None:
    end = world.now + seconds
    while world.now < end:
        requests.again()
        world.settle()
        world.now += 0.25


def test_a_guest_that_does_not_listen_is_asked_again(world: World) -> None:
    ask(world, asking.Requests(None, "a"), 20)
    assert world.asked == ["shutdown", "shutdown"]


def test_beside_an_agent_that_hangs_the_power_button_is_pressed_once(world: World) -> None:
    world.hangs = {"shutdown"}
    ask(world, asking.Requests(None, "a", world.call("before")), 60)
    assert world.asked == ["before", "shutdown", "press"]


def test_a_qemu_that_hangs_keeps_nobody(world: World) -> None:
    world.hangs = {"before"}
    requests = asking.Requests(None, "a", world.call("before"))
    ask(world, requests, 60)
    requests.close()
    requests.take_back(world.call("undo"))
    assert world.asked == ["before"]


@pytest.mark.parametrize("hangs", [False, True])
def test_what_was_done_for_it_is_taken_back(world: World, hangs: bool) -> None:
    requests = asking.Requests(None, "a", world.call("before"))
    ask(world, requests, 10)
    world.hangs = {"undo"} if hangs else set()
    requests.take_back(world.call("undo"))
    assert not world.over.is_set()
    assert world.asked == ["before", "shutdown", "undo"]


@pytest.mark.parametrize(("code", "alive", "told"), [(1, True, False), (9, True, True), (9, False, False)])
def test_only_what_does_not_pass_is_an_error(world: World, code: int, alive: bool, told: bool) -> None:
    world.error, world.alive = LibvirtError("no", libvirt_code=code), alive
    requests = asking.Requests(None, "a")
    if not told:
        ask(world, requests, 20)
        assert world.asked == ["shutdown", "shutdown"]
        return
    with pytest.raises(LibvirtError):
        ask(world, requests, 5)
