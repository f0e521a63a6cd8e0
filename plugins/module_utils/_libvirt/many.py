# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Many domains of libvirt in few calls: for 1,000 domains one call for each costs more than all the rest."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import domains
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import (
    is_code,
    is_unknown,
    steady,
    translated,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.words import state_words

try:
    import libvirt
except ImportError:
    # connection.require_libvirt() reports it before anything here is called.
    libvirt = None

#: Up to how many domains one call each is cheaper than one call for all domains of the host.
_FEW = 4
#: A client has no more questions than this in the daemon's hands, unless somebody has configured it.
_THREADS = 4

Stats = dict[str, dict[str, t.Any]]


@dataclasses.dataclass(frozen=True)
class Listed:
    """What lists say of a domain, without a call for it."""

    name: str
    uuid: str
    active: bool
    persistent: bool
    autostart: bool
    managed_save: bool
    snapshots: bool


def states(connection: t.Any, names: t.Collection[str]) -> dict[str, tuple[str, str]]:
    """State and reason of the named domains in words; ``absent`` of those that there are not."""
    if len(names) > _FEW:
        found = stats(connection, "STATE")
        words = {name: state_words(entry["state.state"], entry["state.reason"]) for name, entry in found.items()}
        return {name: words.get(name, ("absent", "gone")) for name in names}
    return {name: domains.state(connection, name) for name in names}


@steady
def stats(connection: t.Any, *kinds: str, wait: bool = True, names: t.Collection[str] | None = None) -> Stats:
    """libvirt's statistics of all (or the named) domains by name, flat (``block.0.name``). Without ``wait`` those that
    somebody is just working on have less, and hypervisors without statistics know only what each is asked for."""
    wanted = sum(getattr(libvirt, f"VIR_DOMAIN_STATS_{kind}", 0) for kind in kinds)
    flags = 0 if wait else libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    what = "Cannot read the statistics of the domains"
    try:
        with translated(what):
            if names is None:
                found = connection.getAllDomainStats(wanted, flags)
            else:
                chosen = _chosen(connection, names)
                # An empty list would be an error.
                found = connection.domainListGetStats(chosen, wanted, flags) if chosen else []
            return {domain.name(): values for domain, values in found}
    except LibvirtError as exc:
        if not is_unknown(exc):
            raise
    with translated(what):
        chosen = _chosen(connection, names)
    return {domain.name(): values for domain in chosen if (values := _known(domain)) is not None}


def _chosen(connection: t.Any, names: t.Collection[str] | None) -> list[t.Any]:
    """The named domains of those that there are; all of them for None."""
    return [domain for domain in connection.listAllDomains(0) if names is None or domain.name() in names]


def _known(domain: t.Any) -> dict[str, t.Any] | None:
    """What every hypervisor says of a domain, in the names of the statistics; None when it is gone."""
    try:
        with translated(f"Cannot read the state of domain {domain.name()}"):
            state, reason = domain.state()
            _state, maximum, current, _vcpus, time = domain.info()
    except LibvirtError as exc:
        if is_code(exc, "VIR_ERR_NO_DOMAIN"):
            return None
        raise
    return {
        "state.state": state,
        "state.reason": reason,
        "cpu.time": time,
        "balloon.current": current,
        "balloon.maximum": maximum,
    }


@steady
def listed(connection: t.Any) -> dict[str, Listed]:
    """All domains by name."""
    every = _list(connection, "")
    lists = ("ACTIVE", "PERSISTENT", "AUTOSTART", "MANAGEDSAVE", "HAS_SNAPSHOT")
    active, persistent, autostart, saved, snapshots = (_list(connection, word).keys() for word in lists)
    return {
        name: Listed(
            name=name,
            uuid=uuid,
            active=name in active,
            persistent=name in persistent,
            autostart=name in autostart,
            managed_save=name in saved,
            snapshots=name in snapshots,
        )
        for name, uuid in every.items()
    }


def _list(connection: t.Any, word: str) -> dict[str, str]:
    """The domains to which a filter applies, none where the hypervisor does not know it: name to UUID."""
    try:
        with translated("Cannot list the domains"):
            flag = getattr(libvirt, f"VIR_CONNECT_LIST_DOMAINS_{word}") if word else 0
            return {domain.name(): domain.UUIDString() for domain in connection.listAllDomains(flag)}
    except LibvirtError as exc:
        if word and is_unknown(exc):
            return {}
        raise


@steady
def documents(
    connection: t.Any, names: t.Collection[str], *, inactive: bool = False, secure: bool = False
) -> dict[str, str]:
    """The documents of the named domains: of what runs (or of the definition, ``inactive``), with passwords only when
    ``secure``. One that is gone meanwhile has none."""
    flags = (libvirt.VIR_DOMAIN_XML_INACTIVE if inactive else 0) | (libvirt.VIR_DOMAIN_XML_SECURE if secure else 0)

    wanted = set(names)
    with translated("Cannot list the domains"):
        handles = [domain for domain in connection.listAllDomains(0) if domain.name() in wanted]

    def document(domain: t.Any) -> str | None:
        try:
            with translated(f"Cannot read domain {domain.name()}"):
                return str(domain.XMLDesc(flags))
        except LibvirtError as exc:
            if is_code(exc, "VIR_ERR_NO_DOMAIN"):
                return None
            raise

    with concurrent.futures.ThreadPoolExecutor(max_workers=_THREADS) as pool:
        found = zip(handles, pool.map(document, handles))
        return {domain.name(): text for domain, text in found if text is not None}
