# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: waiting for many guests at once. libvirt is a few functions here; the threads and the loop are the real ones."""

from __future__ import annotations

import threading
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import wait
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests import (
    addresses,
    evidence,
    greeting,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.wait_for import Wait
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, LibvirtError, WaitTimeout
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import process

DOCUMENT = """<domain id='1'><name>{name}</name><uuid>u</uuid><devices>
<interface><mac address='52:54:00:aa:00:01'/></interface>{serial}{channel}</devices></domain>"""
CHANNEL = "<channel><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel>"
SILENT, REFUSED = LibvirtError("silent", libvirt_code=86), LibvirtError("denied by policy", libvirt_code=88)


class World:
    """What libvirt and the guests do: by name the state, the document, and what the agent does when it is asked."""

    def __init__(self) -> None:
        self.states: dict[str, tuple[str, str]] = {}
        self.documents: dict[str, str] = {}
        self.agents: dict[str, t.Callable[[], None]] = {}
        self.released: list[str] = []
        self.turns = 0
        self.alive = True
        self.each_turn: t.Callable[[int], None] = lambda _turn: None

    def add(
        self, name: str, agent: t.Callable[[], None] = lambda: None, *, channel: str = CHANNEL, serial: str = ""
    ) -> None:
        self.states[name] = ("running", "booted")
        self.documents[name] = DOCUMENT.format(name=name, channel=channel, serial=serial)
        self.agents[name] = agent

    def look(self, _connection: t.Any, names: t.Collection[str]) -> dict[str, tuple[str, str]]:
        self.turns += 1
        self.each_turn(self.turns)
        if not self.alive:
            raise LibvirtError("End of file while reading data")
        return {name: self.states[name] for name in names}

    def wait(self, *specs: DomainSpec, local: bool = True) -> dict[str, t.Any]:
        picture: wait.Picture = lambda _connection, name: f"/pictures/{name}.png"  # noqa: E731
        self.waiting = wait.Waiting("main", "test:///", local, lambda _message: None, picture)
        return self.waiting.run(specs, {})


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()

    def another(_uri: str) -> str:
        made.alive = True
        return "another"

    def is_code(error: LibvirtError, *_names: str) -> bool:
        return error.code == 86

    monkeypatch.setattr(wait, "_POLL", 0.01)
    monkeypatch.setattr(wait, "_ASK", 0.01)
    monkeypatch.setattr(wait, "_READ", 0.01)
    monkeypatch.setattr(wait.many, "states", made.look)
    monkeypatch.setattr(
        wait.many, "documents", lambda _connection, names, **_more: {n: made.documents[n] for n in names}
    )
    monkeypatch.setattr(wait, "another", another)
    monkeypatch.setattr(wait, "is_alive", lambda _connection: made.alive)
    monkeypatch.setattr(wait.Lines, "mine", lambda _self: "line")
    monkeypatch.setattr(wait.agent, "ping", lambda _connection, name, _limit: made.agents[name]())
    monkeypatch.setattr(wait.agent, "is_silent", is_code)
    monkeypatch.setattr(wait.agent, "release", lambda _connection, name, _before: made.released.append(name))
    monkeypatch.setattr(process, "pid", lambda *_arguments: None)
    monkeypatch.setattr(process, "agent_limit", lambda *_arguments: None)
    monkeypatch.setattr(addresses.calls, "read", lambda _connection: {})
    monkeypatch.setattr(
        evidence, "gather", lambda *_arguments: {"domain_state": "seen", "console_tail": ["last words"]}
    )
    return made


def spec(name: str, **wanted: t.Any) -> DomainSpec:
    return DomainSpec(name, wait=Wait(**{"timeout": 60, **wanted}))


def raising(error: Exception) -> t.Callable[[], None]:
    def answer() -> None:
        raise error

    return answer


def test_all_are_up(world: World) -> None:
    names = [f"g{number}" for number in range(100)]
    for name in names:
        world.add(name)
    results = world.wait(*(spec(name, agent=True) for name in names))
    assert all(set(results[name]) == {"agent"} for name in names)
    assert sorted(world.released) == sorted(names)


def test_agents_that_hang_keep_nobody_but_themselves(world: World) -> None:
    never, release = threading.Event(), threading.Event()

    def hang() -> None:
        # As libvirt does it: an error when the limit is over.
        release.wait(60)
        raise SILENT

    for number in range(20):
        world.add(f"hung{number}", hang if number % 2 else lambda: never.wait(60) and None)
    world.add("good")
    answered: list[bool] = []

    def end(_turn: int) -> None:
        # Those that block for ever hold their threads; the others come back and make room.
        release.set()

    world.each_turn = end
    world.agents["good"] = lambda: answered.append(True)
    hung = [spec(f"hung{number}", agent=True, timeout=1) for number in range(1, 20, 2)]
    results = world.wait(*hung, spec("good", agent=True))
    assert answered == [True]
    assert set(results["good"]) == {"agent"}
    for one in hung:
        assert isinstance(results[one.name], WaitTimeout)
        assert "no answer from agent within 1 s" in results[one.name].message
    never.set()


def test_one_that_dies_ends_at_once_and_with_the_evidence(world: World) -> None:
    world.add("a", raising(SILENT))

    def kill(turn: int) -> None:
        if turn == 3:
            world.states["a"] = ("stopped", "failed")

    world.each_turn = kill
    error = world.wait(spec("a", agent=True, timeout=1e6))["a"]
    assert isinstance(error, KvmError)
    assert not isinstance(error, WaitTimeout)
    assert error.message == (
        "domain a: it is stopped (failed) instead of running; see console_tail, screenshot of this result."
        " The last line of its console: last words"
    )
    assert error.details["screenshot"] == "/pictures/a.png"
    assert error.details["domain_state"] == "seen"


@pytest.mark.parametrize(
    ("state", "ends"),
    [
        (("paused", "ioerror"), True), (("crashed", "panicked"), True), (("absent", "gone"), True),
        (("paused", "user"), False), (("stopping", "user"), False), (("suspended", "unknown"), False),
    ],
)  # fmt: skip
def test_states_that_cannot_end_well(world: World, state: tuple[str, str], ends: bool) -> None:
    world.add("a")
    world.states["a"] = state
    result = world.wait(spec("a", agent=True))["a"]
    assert isinstance(result, KvmError) == ends
    if ends:
        assert f"it is {state[0]} ({state[1]}) instead of running" in result.message


@pytest.mark.parametrize(
    ("channel", "serial", "wanted", "words"),
    [
        ("", "", {"agent": True}, "no channel to a guest agent"),
        ("", "", {"cloud_init": True}, "no channel to a guest agent"),
        (CHANNEL, "", {"console": "x"}, "its console can be read neither"),
        (CHANNEL, "<serial type='tcp'/>", {"console": "x"}, "its console can be read neither"),
    ],
)
def test_what_can_never_come_is_not_waited_for(
    world: World, channel: str, serial: str, wanted: dict[str, t.Any], words: str
) -> None:
    world.add("a", channel=channel, serial=serial)
    error = world.wait(spec("a", **wanted, timeout=1e6))["a"]
    assert words in error.message
    assert not isinstance(error, WaitTimeout)


def test_an_error_that_is_no_silence_ends_the_wait(world: World) -> None:
    world.add("a", raising(REFUSED))
    world.add("b")
    results = world.wait(spec("a", agent=True, timeout=1e6), spec("b", agent=True))
    assert "domain a: denied by policy" in results["a"].message
    assert set(results["b"]) == {"agent"}


def test_a_daemon_that_starts_anew_meanwhile(world: World) -> None:
    world.add("a", raising(SILENT))

    def stop(turn: int) -> None:
        if turn == 3:
            world.alive = False
        if turn == 6:
            world.agents["a"] = lambda: None

    world.each_turn = stop
    assert set(world.wait(spec("a", agent=True))["a"]) == {"agent"}


def test_without_any_time_each_question_is_put_once(world: World) -> None:
    world.add("up")
    world.add("down", raising(SILENT))
    results = world.wait(spec("up", agent=True, timeout=0), spec("down", agent=True, timeout=0))
    assert set(results["up"]) == {"agent"}
    assert "within 0 s" in results["down"].message


def test_a_console_in_a_log(world: World, tmp_path: t.Any) -> None:
    log = tmp_path / "log"
    world.add("a", serial=f"<serial type='file'><source path='{log}'/></serial>")

    def write(turn: int) -> None:
        if turn == 3:
            log.write_text("web1 login: ")

    world.each_turn = write
    assert set(world.wait(spec("a", console="login: $"))["a"]) == {"console"}


def test_ssh_of_a_stated_address(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def why(address: str, port: int) -> str | None:
        asked.append((address, port))
        return None if len(asked) > 3 else "connection refused"

    monkeypatch.setattr(greeting, "why_no_ssh", why)
    world.add("a", channel="")
    assert set(world.wait(spec("a", ssh=True, ssh_address="192.0.2.1", ssh_port=2222))["a"]) == {"ssh"}
    assert set(asked) == {("192.0.2.1", 2222)}


def test_evidence_that_does_not_come_keeps_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr(evidence, "gather", lambda *_arguments: never.wait(60))
    monkeypatch.setattr(wait, "_EVIDENCE", 0.1)
    world.add("a", raising(SILENT))
    error = world.wait(spec("a", agent=True, timeout=0))["a"]
    assert isinstance(error, WaitTimeout)
    assert "no answer from agent" in error.message
    never.set()
