# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains of libvirt: thin typed calls that take and give plain data. Safe to call from several threads."""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import is_code, translated

try:
    import libvirt
except ImportError:
    # connection.require_libvirt() reports it before anything here is called.
    libvirt = None

#: libvirt's states in the words of the module.
_STATES = {
    0: "unknown", 1: "running", 2: "running", 3: "paused", 4: "stopping", 5: "stopped", 6: "crashed", 7: "suspended",
}  # fmt: skip
_REASONS = {1: "RUNNING", 2: "BLOCKED", 3: "PAUSED", 4: "SHUTDOWN", 5: "SHUTOFF", 6: "CRASHED", 7: "PMSUSPENDED"}
#: Seconds that a guest agent has for an answer: without a limit a dead one blocks the domain for everybody.
_AGENT_TIMEOUT = 5


@dataclasses.dataclass(frozen=True)
class RawDomain:
    """What libvirt says of a domain. ``live_xml`` (as for a migration: without what only the moment gave it) and
    ``running_xml`` (everything) only of an active one."""

    uuid: str
    state: str
    reason: str
    active: bool
    persistent: bool
    autostart: bool
    managed_save: bool
    inactive_xml: str
    live_xml: str | None
    running_xml: str | None


def _lookup(connection: t.Any, name: str) -> t.Any:
    with translated(f"Cannot look up domain {name}"):
        return connection.lookupByName(name)


def _gone(error: LibvirtError) -> bool:
    return is_code(error, "VIR_ERR_NO_DOMAIN")


def _state(domain: t.Any) -> tuple[str, str]:
    state, reason = domain.state()
    prefix = f"VIR_DOMAIN_{_REASONS.get(state, 'NOSTATE')}_"
    names = [name for name in dir(libvirt) if name.startswith(prefix) and getattr(libvirt, name) == reason]
    return _STATES.get(state, "unknown"), names[0][len(prefix) :].lower() if names else "unknown"


def read(connection: t.Any, name: str) -> RawDomain | None:
    """The domain of that name, None when there is none."""
    try:
        domain = _lookup(connection, name)
        with translated(f"Cannot read domain {name}"):
            return _read(domain)
    except LibvirtError as exc:
        if _gone(exc):
            return None
        raise


def _read(domain: t.Any) -> RawDomain:
    active, persistent = bool(domain.isActive()), bool(domain.isPersistent())
    state, reason = _state(domain)
    secure = libvirt.VIR_DOMAIN_XML_SECURE
    return RawDomain(
        uuid=domain.UUIDString(),
        state=state,
        reason=reason,
        active=active,
        persistent=persistent,
        autostart=bool(domain.autostart()) if persistent else False,
        managed_save=bool(domain.hasManagedSaveImage(0)) if persistent else False,
        # With the passwords: a document without them, written back, would drop them.
        inactive_xml=domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | secure),
        live_xml=domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE | secure) if active else None,
        running_xml=domain.XMLDesc(0) if active else None,
    )


def state(connection: t.Any, name: str) -> tuple[str, str]:
    """State and reason in words; ``absent`` when there is no such domain (a transient one is gone when it stops)."""
    try:
        domain = _lookup(connection, name)
        with translated(f"Cannot read the state of domain {name}"):
            return _state(domain)
    except LibvirtError as exc:
        if _gone(exc):
            return "absent", "gone"
        raise


def documents(connection: t.Any) -> dict[str, list[str]]:
    """The documents of all domains by name: the definition, and what runs."""
    with translated("Cannot list the domains"):
        found: dict[str, list[str]] = {}
        for domain in connection.listAllDomains(0):
            texts = [domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)]
            if domain.isActive():
                texts.append(domain.XMLDesc(0))
            found[domain.name()] = texts
        return found


def count(connection: t.Any) -> tuple[int, int]:
    """How many domains there are, and how many of them run."""
    with translated("Cannot count the domains"):
        return len(connection.listAllDomains(0)), int(connection.numOfDomains())


def define(connection: t.Any, name: str, document: str) -> None:
    """Makes the persistent definition; a running domain keeps running as it is."""
    with translated(f"Cannot define domain {name}"):
        connection.defineXML(document)


def start(connection: t.Any, name: str) -> None:
    """Starts a defined domain; one that somebody else has just started is started."""
    domain = _lookup(connection, name)
    try:
        with translated(f"Cannot start domain {name}"):
            domain.create()
    except LibvirtError as exc:
        if not (is_code(exc, "VIR_ERR_OPERATION_INVALID") and domain.isActive()):
            raise


def resume(connection: t.Any, name: str) -> None:
    """Lets a paused domain go on."""
    domain = _lookup(connection, name)
    with translated(f"Cannot resume domain {name}"):
        domain.resume()


def shutdown(connection: t.Any, name: str) -> None:
    """Asks the guest to shut down (agent, else ACPI); that it was asked says nothing about whether it does."""
    try:
        domain = _lookup(connection, name)
        with translated(f"Cannot shut down domain {name}"):
            domain.shutdown()
    except LibvirtError as exc:
        if not _gone(exc) and not is_code(exc, "VIR_ERR_OPERATION_INVALID"):
            raise


def destroy(connection: t.Any, name: str) -> None:
    """Forces a domain off; one that is off already is off."""
    try:
        domain = _lookup(connection, name)
        with translated(f"Cannot force domain {name} off"):
            domain.destroy()
    except LibvirtError as exc:
        if not _gone(exc) and not (
            is_code(exc, "VIR_ERR_OPERATION_INVALID") and state(connection, name)[0] == "stopped"
        ):
            raise


def undefine(connection: t.Any, name: str) -> None:
    """Removes the definition of a stopped domain with what belongs to it alone: NVRAM, TPM state, a saved state, and
    the records of snapshots and checkpoints (never a disk). A domain that is gone is gone."""
    flags = 0
    for word in ("MANAGED_SAVE", "SNAPSHOTS_METADATA", "NVRAM", "CHECKPOINTS_METADATA", "TPM"):
        flags |= getattr(libvirt, f"VIR_DOMAIN_UNDEFINE_{word}", 0)
    try:
        domain = _lookup(connection, name)
        with translated(f"Cannot undefine domain {name}"):
            domain.undefineFlags(flags)
    except LibvirtError as exc:
        if not _gone(exc):
            raise


def set_autostart(connection: t.Any, name: str, autostart: bool) -> None:
    """Whether the domain starts with the host."""
    domain = _lookup(connection, name)
    with translated(f"Cannot set the autostart of domain {name}"):
        domain.setAutostart(autostart)


def set_live_memory(connection: t.Any, name: str, size: int) -> None:
    """Moves the balloon of a running domain; ``size`` in bytes."""
    domain = _lookup(connection, name)
    with translated(f"Cannot change the memory of the running domain {name}"):
        domain.setMemoryFlags(size // 1024, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def set_live_vcpus(connection: t.Any, name: str, number: int) -> None:
    """Changes how many virtual CPUs a running domain has, up to its maximum."""
    domain = _lookup(connection, name)
    with translated(f"Cannot change the vcpus of the running domain {name}"):
        domain.setVcpusFlags(number, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def set_live_text(connection: t.Any, name: str, field: str, value: str | None) -> None:
    """Sets or removes (None) ``title`` or ``description`` of a running domain."""
    domain = _lookup(connection, name)
    kinds = {"title": libvirt.VIR_DOMAIN_METADATA_TITLE, "description": libvirt.VIR_DOMAIN_METADATA_DESCRIPTION}
    with translated(f"Cannot change the {field} of the running domain {name}"):
        domain.setMetadata(kinds[field], value, None, None, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def set_record(connection: t.Any, name: str, element: str, namespace: tuple[str, str]) -> None:
    """Sets one element of metadata in the definition, and in what runs; ``namespace`` is its prefix and URI."""
    domain = _lookup(connection, name)
    with translated(f"Cannot write the metadata of domain {name}"):
        flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG | (libvirt.VIR_DOMAIN_AFFECT_LIVE if domain.isActive() else 0)
        domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, element, *namespace, flags)


def agent_answers(connection: t.Any, name: str) -> bool:
    """Whether the guest agent answers; any error of libvirt is a no, for the next try may be a yes."""
    try:
        domain = _lookup(connection, name)
        with translated(f"Cannot ask the agent of domain {name}"):
            domain.agentSetResponseTimeout(_AGENT_TIMEOUT)
            # As cheap as a ping, and unlike one it does not mark the domain as tainted.
            domain.getTime()
    except LibvirtError:
        return False
    return True


def addresses(connection: t.Any, name: str, agent: bool) -> list[str]:
    """The guest's addresses as far as its agent (when ``agent``), the leases and the neighbour table know them.

    A source that does not answer knows none: static guests have no lease, some hosts no readable neighbour table.
    """
    found: list[str] = []
    sources = ["VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE", "VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP"]
    if agent:
        sources.insert(0, "VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT")
    for source in sources:
        try:
            domain = _lookup(connection, name)
            with translated(f"Cannot read the addresses of domain {name}"):
                if source.endswith("AGENT"):
                    domain.agentSetResponseTimeout(_AGENT_TIMEOUT)
                interfaces = domain.interfaceAddresses(getattr(libvirt, source), 0)
        except LibvirtError:
            continue
        for interface in interfaces.values():
            found += [entry["addr"] for entry in interface.get("addrs") or ()]
    return [address for address in dict.fromkeys(found) if _useful(address)]


def _useful(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    return not (parsed.is_loopback or parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified)


def screenshot(connection: t.Any, name: str, write: t.Callable[[bytes], t.Any]) -> str:
    """Writes a picture of the first screen; returns its MIME type (``image/png``, older: ``image/x-portable-pixmap``)."""
    domain = _lookup(connection, name)
    with translated(f"Cannot take a screenshot of domain {name}"):
        stream = connection.newStream(0)
        mime = domain.screenshot(stream, 0, 0)
        stream.recvAll(lambda _stream, data, _opaque: write(data), None)
        stream.finish()
    return str(mime)


def active_networks(connection: t.Any) -> dict[str, bool]:
    """The networks of the host: name to whether it is active."""
    with translated("Cannot list the networks"):
        return {network.name(): bool(network.isActive()) for network in connection.listAllNetworks(0)}
