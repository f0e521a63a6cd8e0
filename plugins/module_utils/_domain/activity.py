# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: the steps from the state that a domain is in to the one that is wanted. Pure.

It knows words only, no documents: what runs, what is saved, what may be forced. So every way is tested.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError

Step = t.Literal[
    "restore", "restore_paused", "resume", "wake", "suspend", "shutdown", "force", "discard", "start", "start_paused",
    "save", "save_running", "forget", "undefine",
]  # fmt: skip

#: Why a paused guest is paused when it can just go on: a person wants it to, or a job of libvirt is at it.
_HELD = ("user", "snapshot", "from_snapshot", "unknown", "save", "dump", "migration", "starting_up")
#: It is paused because a disk gave an error: it may go on when the cause is gone, and is paused again when not.
_FAULTY = ("ioerror",)


@dataclasses.dataclass(frozen=True)
class Now:
    """What a domain is at the moment, in the words of DomainState."""

    state: str = "absent"
    reason: str = "unknown"
    persistent: bool = False

    @property
    def kind(self) -> str:
        """What can be done with it: off, saved, running, held, faulty, asleep, ending, dead."""
        if self.state in ("absent", "stopped"):
            return "off"
        if self.state == "paused":
            if self.reason == "shutting_down":
                return "ending"
            return "held" if self.reason in _HELD else "faulty" if self.reason in _FAULTY else "dead"
        return {"saved": "saved", "suspended": "asleep", "stopping": "ending", "crashed": "dead"}.get(
            self.state, "running"
        )


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What it is to be, and what may be done for it."""

    name: str
    state: str
    transient: bool = False
    force_stop: bool = False
    #: Whether a saved state is thrown away instead of being restored.
    discard: bool = False
    #: Whether what runs has to be started afresh.
    restart: bool = False
    #: Whether it is another domain, so that it has to be off in between.
    anew: bool = False


@dataclasses.dataclass(frozen=True)
class Activity:
    """The steps, in three parts: ``opening`` comes before the definition is changed, then ``ending``, which may take
    long, and ``following``. With ``goes_on`` the guest lives on, so that a change may have to wait for its next start;
    with ``reachable`` there is something running that takes changes at once."""

    opening: tuple[Step, ...] = ()
    ending: tuple[Step, ...] = ()
    following: tuple[Step, ...] = ()
    goes_on: bool = False
    reachable: bool = False
    #: The change of state to tell; None when there is none.
    told: tuple[str, str] | None = None

    @property
    def starts(self) -> bool:
        """Whether it is booted."""
        return any(step in ("start", "start_paused") for step in self.following)

    def __bool__(self) -> bool:
        return bool(self.opening or self.ending or self.following)


def plan(wanted: Wanted, now: Now) -> Activity:
    """The steps to the wanted state; raises KvmError when they need a force that is not allowed."""
    if wanted.state == "absent":
        return _absent(wanted, now)
    if wanted.anew:
        return _anew(wanted, now)
    if wanted.state == "stopped":
        return _stopped(wanted, now)
    if wanted.state == "defined":
        return _defined(wanted, now)
    return _alive(wanted, now)


def _absent(wanted: Wanted, now: Now) -> Activity:
    if now.state == "absent":
        return Activity()
    # A saved state goes with the definition.
    ending = () if now.kind == "saved" else _off(wanted, now)
    return Activity(ending=ending, following=("undefine",) if now.persistent else (), told=(now.state, "absent"))


def _anew(wanted: Wanted, now: Now) -> Activity:
    """It ends, whatever it is, and then is what it is to be; what nobody says it is again what it was."""
    was = {"held": "paused", "running": "running", "asleep": "running", "faulty": "paused"}.get(now.kind, "stopped")
    state = was if wanted.state == "defined" else wanted.state
    told = (now.state, state) if now.state != state else None
    if state == "stopped":
        return Activity(ending=_off(wanted, now), told=told)
    return dataclasses.replace(_afresh(dataclasses.replace(wanted, state=state), now), told=told)


def _stopped(wanted: Wanted, now: Now) -> Activity:
    if now.kind == "off":
        return Activity(told=(now.state, "stopped") if now.state == "absent" else None)
    return Activity(ending=_off(wanted, now), told=(now.state, "stopped"))


def _defined(wanted: Wanted, now: Now) -> Activity:
    if now.state == "absent":
        return Activity(told=("absent", "stopped"))
    if now.kind in ("off", "ending"):
        return Activity()
    if wanted.restart and now.kind != "saved":
        state = "paused" if now.state == "paused" else "running"
        return dataclasses.replace(_afresh(dataclasses.replace(wanted, state=state), now), told=None)
    return Activity(goes_on=True, reachable=now.kind != "saved")


def _alive(wanted: Wanted, now: Now) -> Activity:
    """To running, paused or saved."""
    if now.state == wanted.state and now.kind != "ending" and not _to_forget(wanted, now):
        if wanted.restart and now.kind != "saved":
            return dataclasses.replace(_afresh(wanted, now), told=None)
        return Activity(goes_on=True, reachable=now.kind != "saved")
    told = (now.state, wanted.state) if now.state != wanted.state else None
    if _needs_start(wanted, now) or (wanted.restart and wanted.state != "saved"):
        return dataclasses.replace(_afresh(wanted, now), told=told)
    opening, following = _onward(wanted, now)
    return Activity(
        opening=opening, following=(*following, *_forget(wanted, now)), goes_on=True, reachable=True, told=told
    )


def _needs_start(wanted: Wanted, now: Now) -> bool:
    if now.kind == "saved":
        return wanted.discard
    if now.kind == "dead":
        # Somebody wants to look at it, perhaps: one that is paused is as paused as one can be.
        return wanted.state != now.state
    return now.kind in ("off", "ending")


def _afresh(wanted: Wanted, now: Now) -> Activity:
    following: dict[str, tuple[Step, ...]] = {
        "running": ("start",),
        "paused": ("start_paused",),
        # Before its first instruction there is little to save; but when it is restored, it runs.
        "saved": ("start_paused", "save_running"),
    }
    return Activity(ending=_off(wanted, now), following=(*following[wanted.state], *_forget(wanted, now)))


def _onward(wanted: Wanted, now: Now) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """The steps of a guest that lives on: those before its definition is changed, and those after."""
    if now.kind == "saved":
        return ("restore" if wanted.state == "running" else "restore_paused",), ()
    woken: tuple[Step, ...] = ("wake",) if now.kind == "asleep" else ()
    if wanted.state == "running":
        return woken or (("resume",) if now.kind in ("held", "faulty") else ()), ()
    if wanted.state == "paused":
        return woken, ("suspend",) if now.state != "paused" else ()
    return woken, ("save",)


def _off(wanted: Wanted, now: Now) -> tuple[Step, ...]:
    """The steps until it is off. A guest that cannot hear is made to hear first."""
    if now.kind == "dead":
        if not wanted.force_stop:
            raise KvmError(
                f"domain {wanted.name}: it is {now.state} ({now.reason}), so it can neither go on nor shut down; find out"
                " why, then allow force_stop to have it forced off.",
                domain_state=now.state,
                domain_reason=now.reason,
            )
        return ("force",)
    if now.kind == "saved":
        return ("discard",) if wanted.discard else ("restore", "shutdown")
    before: dict[str, tuple[Step, ...]] = {"held": ("resume",), "faulty": ("resume",), "asleep": ("wake",)}
    return () if now.kind == "off" else (*before.get(now.kind, ()), "shutdown")


def _to_forget(wanted: Wanted, now: Now) -> bool:
    return wanted.transient and now.persistent


def _forget(wanted: Wanted, now: Now) -> tuple[Step, ...]:
    """A persistent domain becomes a transient one while it runs: there is no moment in which nothing is left of it."""
    return ("forget",) if _to_forget(wanted, now) else ()
