# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: one guest that is waited for: what is asked of it, and what it has answered. Reads only."""

from __future__ import annotations

import functools
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests import (
    addresses,
    greeting,
    neighbours,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.addresses import Directory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.cloud_init import CloudInit
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.console import Console
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.view import View
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.wait_for import is_useful
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import agent, process

#: Seconds that an agent has for its first answer, its second one after silence, and so on.
_PATIENCE = (1, 2, 3, 5)


class Guest:
    """``done`` has the seconds until each thing was there, ``notes`` why the others are not. The questions may come from
    several threads, each kind from one at a time."""

    def __init__(self, spec: DomainSpec) -> None:
        self.spec = spec
        self.wait = spec.wait
        self.name = spec.name
        self.started = time.monotonic()
        self.done: dict[str, float] = {}
        self.notes: dict[str, str] = {}
        self.warnings: list[str] = []
        self.view = View()
        self.pid: int | None = None
        #: What the agent has told of its addresses, and how often in a row it was silent.
        self.told: list[str] = []
        self.silences = 0
        self.asked = False
        self.console = Console(spec.wait.console)
        self._cloud = CloudInit()

    @property
    def open(self) -> list[str]:
        """What is still waited for."""
        return [thing for thing in self.wait.things if thing not in self.done]

    @property
    def overdue(self) -> bool:
        """Whether its time is over."""
        return time.monotonic() - self.started >= self.wait.timeout

    def there(self, thing: str) -> None:
        """Notes that something has come."""
        self.done[thing] = round(time.monotonic() - self.started, 1)
        self.notes.pop(thing, None)

    # What the agent is asked.

    @property
    def wants_agent(self) -> bool:
        """Whether there is something to be asked of the agent now."""
        things = set(self.open)
        if not things & {"agent", "cloud_init"} and not (things & {"ip", "ssh"} and self.wait.wants_addresses):
            return False
        if self.view.agent in ("connected", "unknown"):
            return True
        for thing in things & {"agent", "cloud_init"}:
            self.notes[thing] = "its agent is not connected"
        return False

    @property
    def patience(self) -> int:
        """Seconds that the agent has for its next answer."""
        return _PATIENCE[min(self.silences, len(_PATIENCE) - 1)]

    def ask_agent(self, connection: t.Any) -> None:
        """Asks the agent for all that is wanted of it; raises KvmError when that can never come."""
        limit, began = self.patience, time.monotonic()
        self.asked = True
        try:
            self._ask_agent(connection, limit)
            self.silences = 0
        except KvmError as exc:
            if not (isinstance(exc, LibvirtError) and agent.is_silent(exc)):
                self.notes["cloud_init"] = exc.message
                raise
            # An error that comes at once says that the agent is not there; only one that is there can be silent.
            silent = time.monotonic() - began > limit / 2
            self.silences = self.silences + 1 if silent else 0
            for thing in ("agent", "cloud_init"):
                if thing in self.open:
                    self.notes[thing] = f"its agent is {'connected, but silent' if silent else 'not connected'}"

    def _ask_agent(self, connection: t.Any, limit: int) -> None:
        if "agent" in self.open:
            agent.ping(connection, self.name, limit)
            self.there("agent")
        if self.wait.wants_addresses and {"ip", "ssh"} & set(self.open):
            try:
                found = agent.interfaces(connection, self.name, limit)
                self.told = addresses.from_agent(found, self.view)
            except LibvirtError as exc:
                # Where the agent may not tell its addresses, there are other sources.
                if agent.is_silent(exc):
                    raise
        if "cloud_init" in self.open and self._cloud.look(
            functools.partial(agent.command, connection, self.name, limit)
        ):
            self.there("cloud_init")
            self.warnings += [f"domain {self.name}: {self._cloud.warning}"] if self._cloud.warning else []
        elif "cloud_init" in self.open:
            self.notes["cloud_init"] = self._cloud.note

    # What the network is asked.

    @property
    def wants_network(self) -> bool:
        """Whether there is something to be asked over the network."""
        return bool({"ip", "ssh"} & set(self.open))

    def addresses(self, directory: Directory, version: int = 0) -> list[str]:
        """Where the guest may be found."""
        found = [*self.told, *directory.known(self.name, self.view.macs)]
        return [address for address in dict.fromkeys(found) if is_useful(address, version)]

    def ask_network(self, directory: Directory) -> None:
        """Looks whether the guest is at one of its addresses, and whether its SSH server greets."""
        if "ip" in self.open and self._find(directory):
            self.there("ip")
        if "ssh" in self.open:
            declared = self.wait.ssh_address
            places = [declared] if declared is not None else self.addresses(directory)
            notes: list[str] = []
            for place in places:
                why = greeting.why_no_ssh(place, self.wait.ssh_port)
                if why is None:
                    self.there("ssh")
                    return
                notes.append(why)
            self.notes["ssh"] = ", ".join(notes) or "no address of it is known"

    def _find(self, directory: Directory) -> bool:
        declared = self.wait.ip_address
        if declared is None and [place for place in self.told if is_useful(place, self.wait.ip_version)]:
            return True
        places = [declared] if declared is not None else self.addresses(directory, self.wait.ip_version)
        notes = [self._why_not_at(directory, place) for place in places]
        self.notes["ip"] = ", ".join(note for note in notes if note is not None) or "no address of it is known"
        return None in notes

    def _why_not_at(self, directory: Directory, address: str) -> str | None:
        """None when the guest itself is at an address: a lease, or an entry in the neighbour table, may be of its last life."""
        macs = self.view.macs
        if not directory.can_be_asked(address) and address != self.wait.ip_address:
            return None
        if directory.is_current(address, macs, process.uptime(self.pid)):
            return None
        answers = neighbours.knock(address)
        other = directory.somebody_else(address, macs)
        if other is not None:
            return f"{address} is the address of {other}, which is not its MAC address"
        return None if answers else f"{address} does not answer"
