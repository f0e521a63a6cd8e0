# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: a list that is known to be as declared is left after one look at all of its domains."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import seal
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import bulk, host

#: What such an entry may ask for beside its definition; a wait, for one, is to be done in every run.
_STATES = ("defined", "stopped")

Known = list[tuple[str, dict[str, t.Any]]]


@dataclasses.dataclass(frozen=True)
class Still:
    """A domain that was compared and found as declared: what was compared, and its facts."""

    name: str
    document: str | None
    autostart: bool
    facts: dict[str, t.Any]


class Recognition:
    """What one call knows of its entries."""

    def __init__(self, connection: t.Any) -> None:
        self._connection = connection
        self._ground: list[t.Any] = []
        self._entries: dict[str, dict[str, t.Any]] = {}

    def known(self, entries: t.Sequence[dict[str, t.Any]]) -> Known | None:
        """Name and facts of each, when all of them are known to be as declared."""
        self._entries = {entry["name"]: entry for entry in entries}
        if self._connection is None or not all(map(_may_rest, entries)):
            return None
        seals = seal.load()
        resting = bulk.resting(self._connection, self._entries) if len(seals) >= len(entries) else None
        if resting is None:
            return None
        facts = {}
        for domain in resting:
            key, digest = self._seal(domain)
            if seals.get(key, ("", None))[0] != digest:
                return None
            facts[domain.name] = seals[key][1]
        return [(entry["name"], facts[entry["name"]]) for entry in entries]

    def remember(self, still: t.Sequence[Still]) -> None:
        """Remembers domains that were compared and found as declared."""
        found = {
            item.name: item for item in still if item.name in self._entries and _may_rest(self._entries[item.name])
        }
        resting = bulk.resting(self._connection, found) if found else None
        if resting is None:
            return
        fresh = {}
        for domain in resting:
            item = found[domain.name]
            # Somebody may have changed it since it was compared.
            if not domain.managed_save and (item.document, item.autostart) == (domain.document, domain.autostart):
                key, digest = self._seal(domain)
                fresh[key] = (digest, item.facts)
        uri, there = self._base()[0], bulk.uuids(self._connection)
        seal.save(fresh, lambda key: not key.startswith(f"{uri} ") or key[len(uri) + 1 :] in there)

    def _base(self) -> list[t.Any]:
        if not self._ground:
            self._ground = [host.uri(self._connection), *host.versions(self._connection)]
        return self._ground

    def _seal(self, domain: bulk.Resting) -> tuple[str, str]:
        base = self._base()
        return f"{base[0]} {domain.uuid}", seal.digest(self._entries[domain.name], domain, base)


def _may_rest(entry: dict[str, t.Any]) -> bool:
    return entry.get("state") in _STATES and not any(map(_has_wishes, entry.get("disks") or ()))


def _has_wishes(disk: t.Any) -> bool:
    """Whether a disk depends on more than documents."""
    return isinstance(disk, dict) and any(disk.get(option) is not None for option in ("size", "mirror"))
