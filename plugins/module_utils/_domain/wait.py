# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: waits until guests are up, all at once, and says why one is not. Reads only.

One thread looks at all guests together; what may take long (agents, the network, the evidence at the end) is asked by
crews of threads, so that a guest that does not answer delays nobody but itself.
"""

from __future__ import annotations

import functools
import queue
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests import evidence
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.addresses import Directory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.console import Follower, size
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.crew import Crew, Job
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.guest import Guest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.lines import Lines
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.view import view
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, LibvirtError, WaitTimeout
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import agent, many, process
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import another, is_alive
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.consoles import Ears, is_for_now

#: Seconds between two looks at the guests, and between two questions to one agent or over the network.
_POLL = 0.25
_ASK = 0.5
#: The same for documents, and for consoles that could not be opened.
_READ = 1.0
_LISTEN = 2.0
#: Threads that ask agents, apart for those that were silent when they were asked last; a daemon has 20 of its own.
_AGENTS = 6
_SILENT = 8
_NETWORK = 64
_WITNESSES = 4
#: Seconds that the evidence may take.
_EVIDENCE = 15
#: Seconds that a guest has at least for its first answers, whatever the time-out says.
_LEAST = 3.0
#: Reasons of a pause that does not end by itself.
_STUCK = ("ioerror", "watchdog", "crashed", "postcopy_failed", "api_error")

Say = t.Callable[[str], None]
#: Takes a picture of a domain's screen, by a connection and its name; the path, or None.
Picture = t.Callable[[t.Any, str], t.Optional[str]]
Result = t.Union[dict[str, float], KvmError]

_DONE = {
    "ip": "has an address", "ssh": "answers by SSH", "agent": "answers by its agent",
    "cloud_init": "has been set up by cloud-init", "console": "shows what was waited for",
}  # fmt: skip


class Waiting:
    """Waits for guests; ``warnings`` has by name what was complained of although they are up."""

    def __init__(self, connection: t.Any, uri: str, local: bool, say: Say, picture: Picture) -> None:
        self._connection = connection
        self._uri = uri
        self._say = say
        self._picture = picture
        self._directory = Directory(connection, local)
        self._lines = Lines(uri, connection)
        self._crews = {
            "agents": Crew(_AGENTS),
            "silent": Crew(_SILENT),
            "network": Crew(_NETWORK),
            "end": Crew(_WITNESSES),
        }
        self._guests: dict[str, Guest] = {}
        self._jobs: dict[tuple[str, str], Job[t.Any]] = {}
        self._next: dict[tuple[str, str], float] = {}
        self._limits: dict[str, int | None] = {}
        self._followers: dict[str, Follower] = {}
        self._marks: dict[str, int] = {}
        self._ears: Ears | None = None
        self._heard: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self._ends: dict[str, tuple[float, type[KvmError], str]] = {}
        self._results: dict[str, Result] = {}
        self.warnings: dict[str, list[str]] = {}

    def run(self, specs: t.Sequence[DomainSpec], marks: t.Mapping[str, int]) -> dict[str, Result]:
        """For each name the seconds until each thing was there, or the error. ``marks``: see the function of that name."""
        self._guests = {spec.name: Guest(spec) for spec in specs}
        self._marks = dict(marks)
        try:
            while True:
                self._turn()
                if len(self._results) == len(self._guests):
                    return self._results
                time.sleep(_POLL)
        finally:
            self._close()

    def _turn(self) -> None:
        waiting = [guest for guest in self._guests.values() if guest.name not in self._results]
        looking = [guest for guest in waiting if guest.name not in self._ends]
        states = self._states([guest.name for guest in looking])
        self._read(looking)
        while not self._heard.empty():
            name, data = self._heard.get()
            self._guests[name].console.feed(data)
        for guest in looking:
            try:
                self._step(guest, states)
            except KvmError as exc:
                self._end(guest, type(exc) if not isinstance(exc, LibvirtError) else KvmError, exc.message)
        for guest in waiting:
            if guest.name in self._ends:
                self._conclude(guest)

    def _states(self, names: t.Sequence[str]) -> dict[str, tuple[str, str]] | None:
        """The states; None as long as the daemon does not answer (it may be starting anew, and the guests live on)."""
        try:
            return many.states(self._connection, names)
        except LibvirtError:
            if is_alive(self._connection):
                raise
        try:
            self._connection = another(self._uri)
            self._directory.connection = self._connection
        except LibvirtError:
            return None
        return None

    def _due(self, name: str, what: str, pause: float) -> bool:
        now = time.monotonic()
        if now < self._next.get((name, what), 0.0):
            return False
        self._next[name, what] = now + pause
        return True

    def _read(self, guests: t.Sequence[Guest]) -> None:
        """The documents of the guests: who they are, and whether somebody has opened the channel of the agent."""
        if not guests or not self._due("", "documents", _READ):
            return
        began = time.monotonic()
        try:
            found = many.documents(self._connection, [guest.name for guest in guests])
            self._directory.refresh()
        except LibvirtError:
            if is_alive(self._connection):
                raise
            return
        for guest in guests:
            seen = view(found.get(guest.name))
            if seen.id is not None and seen.id != guest.view.id and self._directory.local:
                guest.pid = process.pid(self._uri, guest.name, seen.uuid)
            guest.view = seen if seen.id is not None else guest.view
        # With very many domains it takes its time, which is not to become all of the time.
        self._next["", "documents"] += 2 * (time.monotonic() - began)

    def _step(self, guest: Guest, states: dict[str, tuple[str, str]] | None) -> None:
        state, reason = (states or {}).get(guest.name, ("running", ""))
        if state not in ("running", "paused", "stopping", "suspended") or (state == "paused" and reason in _STUCK):
            self._end(guest, KvmError, f"it is {state} ({reason}) instead of running")
            return
        for kind in ("agents", "network"):
            job = self._jobs.get((guest.name, kind))
            if job is not None and job.done.is_set():
                del self._jobs[guest.name, kind]
                job.result()
        if guest.view.id is not None:
            self._check(guest)
            self._hear(guest)
            self._ask(guest)
        self._tell(guest)
        if not guest.open:
            self._results[guest.name] = dict(guest.done)
            self.warnings[guest.name] = guest.warnings
        elif guest.overdue and not self._asking(guest):
            self._end(guest, WaitTimeout, f"{_lacking(guest)} within {guest.wait.timeout:g} s")

    def _tell(self, guest: Guest) -> None:
        for thing in list(guest.done):
            if self._due(guest.name, f"told {thing}", float("inf")):
                self._say(f"domain {guest.name}: it {_DONE[thing]}")

    def _check(self, guest: Guest) -> None:
        """What can never come is not waited for."""
        if guest.wait.needs_agent and guest.view.agent is None:
            raise KvmError(
                "as it runs it has no channel to a guest agent; declare one in channels (an existing guest gets it at its"
                " next start), or wait for something else"
            )
        local = self._directory.local
        if "console" in guest.open and not guest.view.pty and not (local and guest.view.console):
            raise KvmError(
                "its console can be read neither in a log nor by listening; state log for one of its serials, or wait for"
                " something else"
            )

    def _asking(self, guest: Guest) -> bool:
        """Whether a question that was put in time still may be answered; a time-out of 0 puts each question once."""
        early = time.monotonic() - guest.started < _LEAST
        return early and any((guest.name, kind) in self._jobs for kind in ("agents", "network"))

    def _ask(self, guest: Guest) -> None:
        name = guest.name
        if guest.overdue and (name, "asked") in self._next:
            return
        self._next[name, "asked"] = 0.0
        if guest.wants_agent and (name, "agents") not in self._jobs and self._due(name, "agents", _ASK):
            self._limits.setdefault(name, process.agent_limit(self._uri, name) if self._directory.local else None)
            crew = self._crews["silent" if guest.silences else "agents"]
            self._jobs[name, "agents"] = crew.submit(lambda: guest.ask_agent(self._lines.mine()))
        if guest.wants_network and (name, "network") not in self._jobs and self._due(name, "network", _ASK):
            self._jobs[name, "network"] = self._crews["network"].submit(lambda: guest.ask_network(self._directory))

    def _hear(self, guest: Guest) -> None:
        """What the console shows: of the log, else by listening as long as nobody else does."""
        if guest.view.console is not None and self._directory.local:
            if guest.wait.console is None:
                # For the evidence its end is read when it is wanted.
                return
            mark = self._marks.get(guest.name, 0)
            follower = self._followers.setdefault(guest.name, Follower(guest.view.console, mark))
            try:
                guest.console.feed(follower.read())
                guest.notes["console"] = "nothing of it matches"
            except OSError as exc:
                guest.notes["console"] = f"its log cannot be read: {exc.strerror or exc}"
        elif guest.view.pty and self._due(guest.name, "console", _LISTEN):
            self._listen(guest)
        if guest.console.matched is not None and "console" in guest.open:
            guest.there("console")

    def _listen(self, guest: Guest) -> None:
        try:
            if self._ears is None:
                self._ears = Ears(self._uri, lambda name, data: self._heard.put((name, data)))
            if not self._ears.listens(guest.name):
                self._ears.open(guest.name)
            guest.notes["console"] = "nothing of what it has shown since the wait began matches"
        except LibvirtError as exc:
            if "console" in guest.open and not is_for_now(exc):
                raise
            guest.notes["console"] = str(exc.details.get("libvirt_message"))

    def _end(self, guest: Guest, kind: type[KvmError], text: str) -> None:
        """Begins to gather the evidence against a guest that is not up."""
        self._ends[guest.name] = (time.monotonic() + _EVIDENCE, kind, text)
        for what, look in (
            ("evidence", lambda: evidence.gather(self._lines.mine(), self._uri, guest, self._directory)),
            ("picture", lambda: self._picture(self._lines.mine(), guest.name) if self._directory.local else None),
        ):
            self._jobs[guest.name, what] = self._crews["end"].submit(t.cast("t.Callable[[], t.Any]", look))

    def _conclude(self, guest: Guest) -> None:
        deadline, kind, text = self._ends[guest.name]
        jobs = [self._jobs[guest.name, what] for what in ("evidence", "picture")]
        if not all(job.done.is_set() for job in jobs) and time.monotonic() < deadline:
            return
        # What could not be gathered (a daemon that hangs, too) is missing; the error to tell is the wait's.
        found, picture = (job.value for job in jobs)
        details = {"waited": guest.done, "console_tail": guest.console.tail(), **(found or {}), "screenshot": picture}
        self._results[guest.name] = kind(f"domain {guest.name}: {text}{evidence.sentence(details)}", **details)

    def _close(self) -> None:
        if self._ears is not None:
            self._ears.close()
        asked = [guest.name for guest in self._guests.values() if guest.asked]
        works = {name: functools.partial(self._release, name) for name in asked}
        Crew(_AGENTS).all(works, seconds=5)
        self._lines.close()

    def _release(self, name: str) -> None:
        agent.release(self._lines.mine(), name, self._limits.get(name))


def _lacking(guest: Guest) -> str:
    words = {
        "ip": "no address",
        "cloud_init": "cloud-init is not done",
        "console": f"no '{guest.wait.console}' on its console",
    }
    silent = [thing for thing in guest.open if thing not in words]
    parts = [f"no answer from {' and '.join(silent)}"] if silent else []
    return ", ".join([*parts, *(words[thing] for thing in guest.open if thing in words)])


def marks(documents: t.Mapping[str, str]) -> dict[str, int]:
    """How long the logs are that starts of domains with these documents append to: what earlier runs wrote is not of the
    next one."""
    views = {name: view(text) for name, text in documents.items()}
    return {name: size(seen.console) for name, seen in views.items() if seen.appends}
