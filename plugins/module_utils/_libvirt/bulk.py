# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""All domains of a host at once, with as few calls as can be: a call takes longer than what it asks for."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import domains
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import is_unknown, translated
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.domains import RawDomain
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.words import state_words

try:
    import libvirt
except ImportError:
    # connection.require_libvirt() reports it before anything here is called.
    libvirt = None

#: The daemon answers several calls of one connection at a time.
_AT_ONCE = 4

ItemT = t.TypeVar("ItemT")
AnswerT = t.TypeVar("AnswerT")


@dataclasses.dataclass(frozen=True)
class Resting:
    """A domain that does not run: its definition (with secrets), its state and the reason."""

    name: str
    uuid: str
    document: str
    state: str
    reason: str
    autostart: bool
    managed_save: bool


def resting(connection: t.Any, wanted: t.Callable[[str, str], bool]) -> list[Resting]:
    """The persistent, inactive domains that are ``wanted``, by name and UUID."""
    with translated("Cannot read the domains"):
        asleep = libvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE | libvirt.VIR_CONNECT_LIST_DOMAINS_PERSISTENT
        all_asleep = connection.listAllDomains(asleep)
        found = [domain for domain in all_asleep if wanted(domain.name(), domain.UUIDString())]
        own = {
            flag: _with(connection, flag)
            for flag in (libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART, libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE)
        }
        states = _states(connection)
        documents = _all_at_once(_document, found)
    read = []
    for domain, document in zip(found, documents):
        uuid = domain.UUIDString()
        flags = (uuid in group for group in own.values())
        read.append(Resting(domain.name(), uuid, document, *state_words(*states.get(uuid, (0, 0))), *flags))
    return read


def _document(domain: t.Any) -> str:
    return str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE))


def read(connection: t.Any, names: t.Collection[str], documents: t.Mapping[str, str]) -> dict[str, RawDomain | None]:
    """The same as ``domains.read`` of each; None for those that do not exist. Those that do not run are not asked for their
    definitions where ``documents`` has them."""
    with translated("Cannot read the domains"):
        there = {domain.name(): domain for domain in connection.listAllDomains(0)}
        found = {name: there[name] for name in names if name in there}
        flags = (
            libvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE, libvirt.VIR_CONNECT_LIST_DOMAINS_PERSISTENT,
            libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART, libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE,
        )  # fmt: skip
        inactive, persistent, autostart, saved = (_with(connection, flag) if found else set() for flag in flags)
        states = _states(connection) if found else {}
    # What runs or is saved has more than one document, and may change while it is read.
    still = (inactive & persistent) - saved
    asleep = [name for name, domain in found.items() if domain.UUIDString() in still]
    with translated("Cannot read the domains"):
        asked = [name for name in asleep if name not in documents]
        told = dict(zip(asked, _all_at_once(lambda name: _document_or_none(found[name]), asked)))
    told.update({name: documents[name] for name in asleep if name in documents})
    result: dict[str, RawDomain | None] = dict.fromkeys(names)
    for name, domain in found.items():
        document, uuid = told.get(name), domain.UUIDString()
        if document is None:
            result[name] = domains.read_one(name, domain)
        else:
            state = state_words(*states.get(uuid, (0, 0)))
            result[name] = RawDomain(uuid, *state, False, True, uuid in autostart, document, None, None, None)
    return result


def _all_at_once(ask: t.Callable[[ItemT], AnswerT], items: t.Sequence[ItemT]) -> list[AnswerT]:
    """The answers in the order of the items; each thread has its share, for a task of its own costs as much as a question."""
    answers: list[t.Any] = [None] * len(items)

    def share(first: int) -> None:
        for index in range(first, len(items), _AT_ONCE):
            answers[index] = ask(items[index])

    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(share, range(min(_AT_ONCE, len(items)))))
    return answers


def _with(connection: t.Any, flag: int) -> set[str]:
    """Those to which a filter applies; none where the hypervisor does not know it."""
    try:
        with translated("Cannot read the domains"):
            return {domain.UUIDString() for domain in connection.listAllDomains(flag)}
    except LibvirtError as exc:
        if is_unknown(exc):
            return set()
        raise


def _states(connection: t.Any) -> dict[str, tuple[int, int]]:
    try:
        with translated("Cannot read the states of the domains"):
            found = connection.getAllDomainStats(
                libvirt.VIR_DOMAIN_STATS_STATE, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_INACTIVE
            )
    except LibvirtError as exc:
        # As that of containers.
        if is_unknown(exc):
            return {domain.UUIDString(): tuple(domain.state()) for domain in connection.listAllDomains(0)}
        raise
    return {
        domain.UUIDString(): (values.get("state.state", 0), values.get("state.reason", 0)) for domain, values in found
    }


def _document_or_none(domain: t.Any) -> str | None:
    """None when it is gone by now."""
    try:
        return _document(domain)
    except libvirt.libvirtError as exc:
        if exc.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def uuids(connection: t.Any) -> set[str]:
    """The UUIDs of all domains."""
    with translated("Cannot list the domains"):
        return {str(domain.UUIDString()) for domain in connection.listAllDomains(0)}
