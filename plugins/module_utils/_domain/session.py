# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Domains: what the steps of one call have in common. Reads only."""

from __future__ import annotations

import functools
import random
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.ahead import Ahead
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.recognition import Recognition
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.turns import Turns
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import domains, live, supplies
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.oracle import Oracle


class HostView(t.Protocol):
    """What the rooms of domains ask about the host; the module wires it."""

    @property
    def local(self) -> bool:
        """Whether its files are those that this process sees."""

    @property
    def arch(self) -> str:
        """Its architecture."""

    @property
    def version(self) -> int | None:
        """libvirt's number for its version."""

    @property
    def guests(self) -> dict[str, t.Any]:
        """What it offers for guests, by architecture."""

    @property
    def info(self) -> dict[str, t.Any]:
        """Its processors, and its memory in bytes."""

    def virt_type(self, arch: str | None) -> str:
        """What the type ``auto`` is."""

    def cpu_models(self, arch: str | None) -> tuple[str, ...]:
        """The models of processors that libvirt knows; none when it does not say."""

    def unknown_features(self, names: t.Iterable[str]) -> tuple[str, ...]:
        """Those of the names that libvirt does not know as features of the host's kind of processor; none when it does not say."""

    def abilities(self, virt_type: str, arch: str | None, machine: str | None) -> t.Any:
        """What such domains can have."""


class Session:
    """What the steps of one call have in common."""

    def __init__(self, connection: t.Any, host: HostView, foresee: bool = True) -> None:
        self.connection = connection
        self.host = host
        #: Whether this is a prediction.
        self.foresee = foresee
        self.oracle = Oracle(connection)
        self.recognition = Recognition(connection)
        self.turns = Turns()
        self.ahead = Ahead()
        self._macs: set[str] | None = None
        #: Where in the logs of consoles that are appended to the output of the guests begins that this call starts.
        self.console_marks: dict[str, int] = {}
        #: The addresses of the running guests, by domain and MAC address.
        self.by_mac: dict[str, dict[str, list[str]]] = {}

    def close(self) -> None:
        """Ends what the session has started."""
        self.ahead.close()
        self.oracle.close()
        self.turns.give_back()

    def new_mac(self) -> str:
        """A MAC address in qemu's range that no domain of the host has."""
        if self._macs is None:
            texts = domains.documents(self.connection).values() if self.connection is not None else ()
            self._macs = {mac for group in texts for text in group for mac in xml.macs(text)}
        while True:
            number = random.SystemRandom().randrange(1 << 24)
            mac = f"52:54:00:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
            if mac not in self._macs:
                self._macs.add(mac)
                return mac

    @functools.cached_property
    def cpus(self) -> int:
        """How many processors the host has, also those that are off."""
        return live.host_cpus(self.connection)

    @functools.cached_property
    def networks(self) -> dict[str, bool]:
        """The networks of the host: name to whether it is active."""
        return domains.active_networks(self.connection)

    @functools.cached_property
    def filters(self) -> frozenset[str] | None:
        """The network filters of the host; None when it has none at all."""
        return supplies.filters(self.connection)

    @functools.cached_property
    def secrets(self) -> frozenset[tuple[str, str]] | None:
        """How the secrets of the host are named; None when it has none at all."""
        return supplies.secrets(self.connection)
