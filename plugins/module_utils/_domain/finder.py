# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: where many running guests are, and what their agents say, asked of all at once. Reads only."""

from __future__ import annotations

import dataclasses
import functools
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.addresses import Directory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.crew import Crew
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.lines import Lines
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.view import View
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.wait_for import is_useful
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import agent, process

#: Threads that ask agents; a daemon has 20 of its own, and others need some too.
_AGENTS = 8


@dataclasses.dataclass(frozen=True)
class Told:
    """What an agent has told: its interfaces, and what it knows of the guest when it was asked. ``silent``: it is connected
    and did not answer; ``problem``: why it told nothing (or not all)."""

    interfaces: t.Sequence[dict[str, t.Any]] = ()
    guest: dict[str, t.Any] | None = None
    silent: bool = False
    problem: str | None = None


@dataclasses.dataclass(frozen=True)
class Asking:
    """How agents are asked: seconds for an answer, seconds for all of them together, and whether for the guest's system
    too."""

    limit: int
    seconds: float
    guest: bool = False


class Finder:
    """Asks on behalf of one call. ``uri`` is that of the connection, ``local`` whether it is of this machine."""

    def __init__(self, connection: t.Any, uri: str, local: bool) -> None:
        self._uri = uri
        self._local = local
        self._lines = Lines(uri, connection)
        self._directory = Directory(connection, local)

    def close(self) -> None:
        """Ends the connections for the questions."""
        self._lines.close()

    def ask(self, views: t.Mapping[str, View], asking: Asking) -> dict[str, Told]:
        """What the agents that are connected tell, by domain. One that does not answer keeps nobody but itself."""
        connected = [name for name, view in views.items() if view.agent in ("connected", "unknown")]
        works = {name: functools.partial(self._ask, name, asking) for name in connected}
        answers = Crew(_AGENTS).all(works, asking.seconds)
        found: dict[str, Told] = {}
        for name in connected:
            answer = answers.get(name)
            if isinstance(answer, Exception):
                if not isinstance(answer, LibvirtError):
                    raise answer
                answer = Told(problem=answer.message)
            found[name] = answer if answer is not None else Told(silent=True, problem="the time for agents was over")
        return found

    def _ask(self, name: str, asking: Asking) -> Told:
        connection, began = self._lines.mine(), time.monotonic()
        before = process.agent_limit(self._uri, name) if self._local else None
        interfaces: t.Sequence[dict[str, t.Any]] = ()
        guest, problems = None, []
        try:
            try:
                interfaces = agent.interfaces(connection, name, asking.limit)
            except LibvirtError as exc:
                if agent.is_silent(exc):
                    # At once: it is not there. After a while: it is there, and silent.
                    silent = time.monotonic() - began > asking.limit / 2
                    return Told(silent=silent, problem=exc.message)
                problems.append(exc.message)
            if asking.guest:
                try:
                    guest = agent.guest_info(connection, name, asking.limit)
                except LibvirtError as exc:
                    problems.append(exc.message)
        finally:
            agent.release(connection, name, before)
        return Told(interfaces, guest, problem=" ".join(problems) or None)

    def addresses(self, views: t.Mapping[str, View], told: t.Mapping[str, Told]) -> dict[str, dict[str, list[str]]]:
        """The useful addresses of each domain by MAC address: what the agent tells; where there is none, or it tells of no
        address, what leases and the neighbour table know."""
        if views:
            self._directory.refresh()
        return {name: self._of(name, view, told.get(name, Told())) for name, view in views.items()}

    def _of(self, name: str, view: View, told: Told) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for entry in told.interfaces:
            useful = [address for address in entry["addresses"] if is_useful(address)]
            if entry["mac"] in view.macs and useful:
                # A bridge or a VLAN in the guest has the MAC address of its card.
                found[entry["mac"]] = list(dict.fromkeys([*found.get(entry["mac"], ()), *useful]))
        return found or {mac: self._directory.known(name, {mac}) for mac in sorted(view.macs)}
