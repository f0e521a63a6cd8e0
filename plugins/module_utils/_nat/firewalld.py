# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""firewalld: in which zone an interface is, and putting it into one, by firewalld's own programs."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import ToolMissing

_PACKAGE = "firewalld"
_SECONDS = 60
#: The exit codes of firewall-cmd when no firewalld runs, or nothing that it could be reached by.
_OFF = (252, 36)


@dataclasses.dataclass(frozen=True)
class Zone:
    """A zone: who is in it, and what it says about the packets that come in by those."""

    name: str
    interfaces: tuple[str, ...] = ()
    target: str = "default"
    forward: bool = False
    services: tuple[str, ...] = ()
    closed: bool = False

    def serves(self, service: str) -> bool:
        """Whether what comes in by one of its interfaces may ask a service of the host."""
        return service in self.services or (self.target == "ACCEPT" and not self.closed)

    @property
    def lets_out(self) -> bool:
        """Whether what comes in by one of its interfaces may leave by some other."""
        return self.target == "ACCEPT" or self.forward


@dataclasses.dataclass(frozen=True)
class Zones:
    """``permanent``: as firewalld starts with; ``runtime``: as it has them now, None when it does not run."""

    permanent: tuple[Zone, ...]
    runtime: tuple[Zone, ...] | None

    def of(self, device: str, permanent: bool) -> str | None:
        """The zone that an interface was put into; None = it is in the default zone, as all others are."""
        zones = self.permanent if permanent else self.runtime or ()
        return next((zone.name for zone in zones if device in zone.interfaces), None)

    def moved(self, device: str, name: str | None, permanent: bool) -> Zones:
        """As they are when the interface was put into another zone, or (None) taken out of its own."""

        def after(zone: Zone) -> Zone:
            others = tuple(one for one in zone.interfaces if one != device)
            return dataclasses.replace(zone, interfaces=(*others, device) if zone.name == name else others)

        if permanent:
            return dataclasses.replace(self, permanent=tuple(after(zone) for zone in self.permanent))
        return dataclasses.replace(self, runtime=tuple(after(zone) for zone in self.runtime or ()))


class Move(t.NamedTuple):
    """An interface that is put into a zone, or (``into`` is false) taken out of it; for good or for now."""

    zone: str
    device: str
    into: bool
    permanent: bool


def parse(text: str) -> tuple[Zone, ...]:
    """The zones of ``--list-all-zones``."""
    found: list[Zone] = []
    for line in text.splitlines():
        if line.strip() and not line[0].isspace():
            found.append(Zone(line.split()[0]))
            continue
        if found and line.startswith("\t") and re.search(r" (?:reject|drop)\b", line):
            # A rich rule: libvirt's zone accepts what is forwarded, and refuses what is for the host.
            found[-1] = dataclasses.replace(found[-1], closed=True)
        key, _colon, value = line.strip().partition(":")
        if not found or not line.startswith("  ") or line.startswith("   ") or not _colon:
            continue
        if key == "interfaces":
            found[-1] = dataclasses.replace(found[-1], interfaces=tuple(value.split()))
        elif key == "target":
            found[-1] = dataclasses.replace(found[-1], target=value.strip())
        elif key == "services":
            found[-1] = dataclasses.replace(found[-1], services=tuple(value.split()))
        elif key == "forward":
            found[-1] = dataclasses.replace(found[-1], forward=value.strip() == "yes")
    return tuple(found)


def read() -> Zones | None:
    """All zones; None when firewalld is not installed."""
    try:
        online = _command.find("firewall-cmd", _PACKAGE)
        offline = _command.find("firewall-offline-cmd", _PACKAGE)
    except ToolMissing:
        return None
    what = "Cannot read the zones of firewalld"
    now = _command.run([online, "--list-all-zones"], timeout=_SECONDS, ok=(0, *_OFF), what=what)
    if now.rc in _OFF:
        # Its settings can be read and written without it.
        saved = _command.run([offline, "--list-all-zones"], timeout=_SECONDS, what=what)
        return Zones(parse(saved.stdout), None)
    saved = _command.run([online, "--permanent", "--list-all-zones"], timeout=_SECONDS, what=what)
    return Zones(parse(saved.stdout), parse(now.stdout))


def carry_out(move: Move, running: bool) -> None:
    """Puts an interface into a zone, or takes it out."""
    if running:
        program, flag = _command.find("firewall-cmd", _PACKAGE), ["--permanent"] if move.permanent else []
    else:
        program, flag = _command.find("firewall-offline-cmd", _PACKAGE), []
    verb = "change" if move.into else "remove"
    _command.run(
        [program, *flag, f"--zone={move.zone}", f"--{verb}-interface={move.device}"],
        timeout=_SECONDS,
        what=f"Cannot change the zone of bridge {move.device}",
    )
