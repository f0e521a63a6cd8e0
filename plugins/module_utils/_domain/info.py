# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what there is of many domains, in few calls. Reads only."""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import disk_files, facts, stats
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.facts import Known
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.finder import Asking, Finder, Told
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.crew import Crew
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.lines import Lines
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.view import View, view
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import host, many, process, snapshots
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.many import Listed
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.words import state_words

_ALL = ("STATE", "CPU_TOTAL", "BALLOON", "VCPU", "INTERFACE", "BLOCK")
#: Those for which nobody has to ask a qemu, which may hang.
_QUIET = ("STATE", "CPU_TOTAL", "INTERFACE")
#: The sizes of a file that the file itself knows best.
_MEASURED = ("allocated_size", "physical_size")
#: Seconds that the statistics of all domains may take; the same when one hangs and the others are asked. Each time one
#: more that hangs may be met, of which then is known that it is busy.
_PATIENCE, _LESS_PATIENCE = 20, 5
_HANGING = 3
#: What only qemu's answer has.
_FROM_QEMU = "balloon.rss"


@dataclasses.dataclass(frozen=True)
class Wish:
    """What of the domains is asked for; ``names`` None is all of them, ``agent_timeout`` in seconds."""

    names: tuple[str, ...] | None = None
    stats: bool = True
    guest: bool = False
    xml: bool = False
    passwords: bool = False
    agent_timeout: int = 5


@dataclasses.dataclass
class _Read:
    """What was read of the chosen domains, each part by name."""

    listed: dict[str, Listed]
    documents: dict[str, str]
    flat: many.Stats
    partial: set[str]
    views: dict[str, View]
    told: dict[str, Told] = dataclasses.field(default_factory=dict)
    by_mac: dict[str, dict[str, list[str]]] = dataclasses.field(default_factory=dict)
    xml: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)


def look(connection: t.Any, local: bool, wish: Wish) -> dict[str, t.Any]:
    """The return values: ``domains``, and the names of those that there are not."""
    listed = many.listed(connection)
    names = sorted(listed) if wish.names is None else [name for name in dict.fromkeys(wish.names) if name in listed]
    uri = host.uri(connection)
    read = _read(connection, uri, local, {name: listed[name] for name in names}, wish)
    return {
        # One that has gone meanwhile has no document.
        "domains": [_entry(connection, uri, local, name, read, wish) for name in names if name in read.documents],
        "missing": [name for name in dict.fromkeys(wish.names or ()) if name not in read.documents],
    }


def _read(connection: t.Any, uri: str, local: bool, listed: dict[str, Listed], wish: Wish) -> _Read:
    partial, flat = _stats(connection, uri, listed, wish)
    documents = many.documents(connection, listed)
    views = {name: view(document) for name, document in documents.items()}
    running = {name: seen for name, seen in views.items() if seen.id is not None}
    read = _Read(listed, documents, flat, partial, views)
    finder = Finder(connection, uri, local)
    try:
        # Each of them for the longest time if need be, eight at once.
        seconds = 2.0 * wish.agent_timeout * (1 + len(running) / 8)
        read.told = finder.ask(running, Asking(wish.agent_timeout, seconds, wish.guest))
        read.by_mac = finder.addresses(running, read.told)
    finally:
        finder.close()
    if wish.xml:
        read.xml = _texts(connection, read, wish)
    return read


def _stats(connection: t.Any, uri: str, listed: dict[str, Listed], wish: Wish) -> tuple[set[str], many.Stats]:
    """The names of those of which there is less, and libvirt's statistics. A qemu that hangs keeps its domain, and whoever
    asks, for ever: then those are asked with which nobody else is busy."""
    # Naming the domains of a list of some: one call for all is as cheap as one for many.
    names = listed if len(listed) < 50 else None
    if not wish.stats or not listed:
        return set(), many.stats(connection, "STATE", wait=False, names=names)
    lines, crew = Lines(uri, connection), Crew(1 + _HANGING)

    def ask(*, wait: bool) -> many.Stats:
        return many.stats(lines.mine(), *_ALL, wait=wait, names=names)

    try:
        for wait, seconds in ((True, _PATIENCE), *[(False, _LESS_PATIENCE)] * _HANGING):
            found = crew.all({"": functools.partial(ask, wait=wait)}, seconds).get("")
            if isinstance(found, Exception):
                raise found
            if found is not None:
                return set() if wait else _partial(listed, found), found
    finally:
        lines.close()
    return set(listed), many.stats(connection, *_QUIET, wait=False, names=names)


def _partial(listed: dict[str, Listed], found: many.Stats) -> set[str]:
    """Those that run, and whose qemu was not asked."""
    return {name for name, item in listed.items() if item.active and _FROM_QEMU not in found.get(name, {})}


def _texts(connection: t.Any, read: _Read, wish: Wish) -> dict[str, dict[str, str]]:
    """The documents as they are asked for: of what runs, and of the definition where that is another one."""
    now = read.documents
    if wish.passwords:
        now = many.documents(connection, read.documents, secure=True)
    defined = [name for name, listed in read.listed.items() if listed.active and listed.persistent]
    then = many.documents(connection, defined, inactive=True, secure=wish.passwords) if defined else {}
    found = {name: {"xml": document} for name, document in now.items()}
    for name, document in then.items():
        found.setdefault(name, {})["inactive_xml"] = document
    return found


def _entry(connection: t.Any, uri: str, local: bool, name: str, read: _Read, wish: Wish) -> dict[str, t.Any]:
    listed, document, flat = read.listed[name], read.documents[name], read.flat.get(name, {})
    seen, told = read.views[name], read.told.get(name)
    active = seen.id is not None
    state, reason = state_words(flat.get("state.state", 0), flat.get("state.reason", 0))
    if state == "stopped" and listed.managed_save:
        state = "saved"
    known = Known(name, listed.uuid, state, reason, listed.autostart, listed.persistent, read.by_mac.get(name, {}))
    entry = facts.facts(known, document)
    entry.update(
        id=int(seen.id) if seen.id is not None else None,
        managed_save=listed.managed_save,
        agent=_agent(seen, told),
        agent_problem=told.problem if told is not None else None,
        uptime=process.uptime(process.pid(uri, name, listed.uuid)) if active and local else None,
        stats=stats.usage(flat) if active and wish.stats else None,
        stats_complete=name not in read.partial,
        snapshots=[item.facts() for item in snapshots.tree(connection, name)] if listed.snapshots else [],
        guest=stats.guest(told.guest) if told is not None and told.guest is not None else None,
        **read.xml.get(name, {}),
    )
    _measure(entry, document, flat, local, active)
    return entry


def _agent(seen: View, told: Told | None) -> str:
    if seen.agent is None:
        return "none"
    if told is not None and told.silent:
        return "silent"
    if seen.agent == "unknown":
        return "connected" if told is not None and told.problem is None else "disconnected"
    return seen.agent


def _measure(entry: dict[str, t.Any], document: str, flat: stats.Flat, local: bool, active: bool) -> None:
    """Sizes and counters into the entries of the devices."""
    sizes, traffic = stats.disks(flat), stats.interfaces(flat)
    chains = facts.backing_chains(_xml.parse(document)) if active else {}
    for disk in entry["disks"]:
        found: dict[str, t.Any] = {
            "virtual_size": None,
            "allocated_size": None,
            "physical_size": None,
            "backing_chain": None,
            "stats": None,
        }
        found.update(sizes.get(disk.get("target", ""), {}))
        # A running guest's file may grow while it is read: there libvirt's word for its virtual size counts. For the other
        # sizes its statistics of a running guest have how far it has written, and how many blocks the file takes.
        own = disk_files.look(disk) if local else {}
        found.update({key: value for key, value in own.items() if found[key] is None or key in _MEASURED})
        found["backing_chain"] = chains.get(disk.get("target", ""), found["backing_chain"])
        disk.update(found)
    for interface in entry["interfaces"]:
        device = (interface.get("target") or {}).get("dev")
        interface["stats"] = traffic.get(device) if device is not None else None
