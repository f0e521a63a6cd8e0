# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: those of a list that are known to be as declared are left after one look at all of them."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import seal
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.seal import Owns, Seal
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import bulk, host
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.bulk import Resting

#: What such an entry may ask for beside its definition; a wait, for one, is to be done in every run.
_STATES = ("defined", "stopped")


@dataclasses.dataclass(frozen=True)
class Still:
    """A domain that was found or made as declared: as it was then, its facts, and what no other domain may have."""

    resting: Resting
    facts: dict[str, t.Any]
    owns: Owns = ()


class Recognition:
    """What one call knows of its entries."""

    def __init__(self, connection: t.Any) -> None:
        self._connection = connection
        self._ground: list[t.Any] = []
        self._entries: dict[str, dict[str, t.Any]] = {}

    def known(self, entries: t.Sequence[dict[str, t.Any]]) -> dict[str, Seal]:
        """Those that are known to be as declared, by name."""
        self._entries = {entry["name"]: entry for entry in entries if _may_rest(entry)}
        seals = seal.load() if self._entries and self._connection is not None else {}
        if not seals:
            return {}
        uri = self._base()[0]
        resting = bulk.resting(self._connection, lambda name, uuid: name in self._entries and _key(uri, uuid) in seals)
        return {
            domain.name: found
            for domain in resting
            if (found := seals[_key(uri, domain.uuid)]).digest == self._digest(domain)
        }

    def remember(self, still: t.Sequence[Still]) -> None:
        """Remembers domains that were found or made as declared, of the entries that ``known`` was asked for."""
        uri = self._base()[0] if still else ""
        fresh = {
            _key(uri, item.resting.uuid): Seal(self._digest(item.resting), item.facts, item.owns)
            for item in still
            if item.resting.name in self._entries
        }
        if fresh:
            there = {_key(uri, uuid) for uuid in bulk.uuids(self._connection)}
            seal.save(fresh, lambda key: key in there or not key.startswith(_key(uri, "")))

    def _base(self) -> list[t.Any]:
        if not self._ground:
            self._ground = [host.uri(self._connection), *host.versions(self._connection)]
        return self._ground

    def _digest(self, domain: Resting) -> str:
        return seal.digest(self._entries[domain.name], domain, self._base())


def _key(uri: str, uuid: str) -> str:
    return f"{uri} {uuid}"


def _may_rest(entry: dict[str, t.Any]) -> bool:
    return entry.get("state") in _STATES and not any(map(_has_wishes, entry.get("disks") or ()))


def _has_wishes(disk: t.Any) -> bool:
    """Whether a disk depends on more than documents."""
    return isinstance(disk, dict) and any(disk.get(option) is not None for option in ("size", "mirror"))
