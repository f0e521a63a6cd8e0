# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: from every state to every state, on a stand-in for libvirt that refuses what libvirt refuses."""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.activity import Activity, Now, Wanted, plan
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError

STATES = [
    ("stopped", "shutdown"), ("saved", "saved"), ("running", "booted"), ("paused", "user"), ("paused", "migration"),
    ("paused", "ioerror"), ("paused", "crashed"), ("paused", "watchdog"), ("paused", "postcopy_failed"),
    ("paused", "shutting_down"), ("crashed", "panicked"), ("suspended", "unknown"), ("stopping", "user"),
]  # fmt: skip
TRANSIENT = [state for state in STATES if state[0] not in ("stopped", "saved")]
EVERY = [Now(), *(Now(*state, True) for state in STATES), *(Now(*state, False) for state in TRANSIENT)]
WANTED = ["running", "paused", "saved", "stopped", "defined", "absent"]


@dataclasses.dataclass
class Machine:
    """A domain as libvirt has it; each step is a call that libvirt refuses in the wrong state."""

    now: Now
    booted: bool = False
    lost: bool = False

    def go(self, state: str, *allowed: str) -> None:
        assert self.now.state in allowed, f"{state} from {self.now}"
        self.now = Now(state, "user", self.now.persistent)

    def resume(self) -> None:
        assert self.now.kind in ("held", "faulty"), self.now
        self.go("running", "paused")

    def wake(self) -> None:
        self.go("running", "suspended")

    def suspend(self) -> None:
        self.go("paused", "running")

    def shutdown(self) -> None:
        # Only a guest that hears it ends.
        assert self.now.kind in ("running", "ending"), self.now
        self.end()

    def force(self) -> None:
        assert self.now.kind not in ("off", "saved")
        self.lost = True
        self.end()

    def end(self) -> None:
        self.now = Now("stopped", "user", True) if self.now.persistent else Now()

    def start(self) -> None:
        self.booted = True
        self.go("running", "stopped", "absent")

    def start_paused(self) -> None:
        self.booted = True
        self.go("paused", "stopped", "absent")

    def restore(self) -> None:
        self.go("running", "saved")

    def restore_paused(self) -> None:
        self.go("paused", "saved")

    def discard(self) -> None:
        self.lost = True
        self.go("stopped", "saved")

    def save(self) -> None:
        assert self.now.persistent
        self.go("saved", "running", "paused")

    save_running = save

    def undefine(self) -> None:
        assert self.now.persistent
        assert self.now.kind in ("off", "saved"), "undefined while it runs"
        self.now = Now()

    def forget(self) -> None:
        assert self.now.persistent
        assert self.now.kind not in ("off", "saved", "ending"), self.now
        self.now = dataclasses.replace(self.now, persistent=False)


def carry_out(activity: Activity, now: Now, defines: bool = True) -> Machine:
    machine = Machine(now)
    for step in activity.opening:
        getattr(machine, step)()
    if defines:
        # A definition may be written at any time; it makes a transient domain persistent.
        state = "stopped" if machine.now.state == "absent" else machine.now.state
        machine.now = dataclasses.replace(machine.now, state=state, persistent=True)
    for step in (*activity.ending, *activity.following):
        getattr(machine, step)()
    return machine


def reached(wanted: Wanted, now: Now) -> bool:
    if wanted.state == "defined":
        return now.state != "absent"
    return now.state == wanted.state


def steps(activity: Activity) -> str:
    return " ".join((*activity.opening, *activity.ending, *activity.following))


@pytest.mark.parametrize(("discard", "restart"), list(itertools.product([False, True], repeat=2)))
@pytest.mark.parametrize("state", WANTED)
@pytest.mark.parametrize("now", EVERY, ids=lambda now: f"{now.state}-{now.reason}-{now.persistent}")
def test_from_every_state_to_every_state(now: Now, state: str, discard: bool, restart: bool) -> None:
    wanted = Wanted("web", state, force_stop=True, discard=discard, restart=restart)
    activity = plan(wanted, now)
    machine = carry_out(activity, now, defines=state != "absent")
    assert reached(wanted, machine.now), f"{now} {steps(activity)} {machine.now}"
    assert activity.told == ((now.state, machine.now.state) if machine.now.state != now.state else None) or state in (
        "defined",
        "absent",
    )
    again = plan(dataclasses.replace(wanted, restart=False), machine.now)
    assert not again
    assert again.told is None
    # What lives on was not booted, and the other way round.
    if state != "absent":
        assert activity.goes_on is (not machine.booted and machine.now.kind not in ("off", "ending"))


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("state", WANTED)
@pytest.mark.parametrize("now", EVERY, ids=lambda now: f"{now.state}-{now.reason}-{now.persistent}")
def test_nothing_is_lost_without_being_asked(now: Now, state: str, restart: bool) -> None:
    wanted = Wanted("web", state, restart=restart)
    if now.kind == "dead" and (restart or state not in (now.state, "defined")):
        with pytest.raises(KvmError, match="force_stop"):
            plan(wanted, now)
        return
    activity = plan(wanted, now)
    machine = carry_out(activity, now, defines=state != "absent")
    assert reached(wanted, machine.now)
    assert not machine.lost


@pytest.mark.parametrize("state", ["running", "paused", "absent"])
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("now", EVERY, ids=lambda now: f"{now.state}-{now.reason}-{now.persistent}")
def test_a_transient_domain_is_left_without_a_definition(now: Now, state: str, restart: bool) -> None:
    wanted = Wanted("web", state, transient=True, force_stop=True, restart=restart)
    if now.kind == "dead" and state == "paused" and not restart:
        return
    machine = carry_out(plan(wanted, now), now, defines=False)
    assert (machine.now.state, machine.now.persistent) == (state, False)
    assert not plan(dataclasses.replace(wanted, restart=False), machine.now)


@pytest.mark.parametrize(
    ("now", "wanted", "expected"),
    [
        (Now(), "running", "start"),
        (Now("stopped", "saved", True), "running", "start"),
        (Now("saved", "saved", True), "running", "restore"),
        (Now("saved", "saved", True), "paused", "restore_paused"),
        (Now("saved", "saved", True), "stopped", "restore shutdown"),
        (Now("saved", "saved", True), "absent", "undefine"),
        (Now("paused", "user", True), "running", "resume"),
        (Now("paused", "user", True), "stopped", "resume shutdown"),
        (Now("paused", "ioerror", True), "running", "resume"),
        (Now("paused", "ioerror", True), "paused", ""),
        (Now("suspended", "unknown", True), "saved", "wake save"),
        (Now("stopping", "user", True), "running", "shutdown start"),
        (Now("stopped", "shutdown", True), "saved", "start_paused save_running"),
        (Now("running", "booted", False), "absent", "shutdown"),
    ],
)
def test_ways_that_must_not_change(now: Now, wanted: str, expected: str) -> None:
    assert steps(plan(Wanted("web", wanted), now)) == expected


@pytest.mark.parametrize("state", ["running", "stopped", "absent", "saved"])
@pytest.mark.parametrize(
    "now", [Now("crashed", "panicked", True), Now("paused", "crashed", True), Now("paused", "watchdog", True)]
)
def test_a_crashed_guest_is_left_for_somebody_to_look_at(now: Now, state: str) -> None:
    with pytest.raises(KvmError, match=rf"domain web: it is {now.state} \({now.reason}\)") as error:
        plan(Wanted("web", state), now)
    assert error.value.details == {"domain_state": now.state, "domain_reason": now.reason}
    assert steps(plan(Wanted("web", state, force_stop=True), now)).startswith("force")


def test_a_restart_comes_back_as_it_was() -> None:
    restart = t.cast("t.Callable[[str, Now], Activity]", lambda state, now: plan(Wanted("a", state, restart=True), now))
    assert steps(restart("defined", Now("paused", "user", True))) == "resume shutdown start_paused"
    assert steps(restart("running", Now("saved", "saved", True))) == "restore shutdown start"
    assert steps(restart("defined", Now("saved", "saved", True))) == ""
    assert steps(restart("saved", Now("running", "booted", True))) == "save"
