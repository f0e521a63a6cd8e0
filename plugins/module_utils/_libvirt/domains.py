# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains of libvirt: thin typed calls that take and give plain data. Safe to call from several threads."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import is_code, steady, translated
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.words import state_words

try:
    import libvirt
except ImportError:
    # connection.require_libvirt() reports it before anything here is called.
    libvirt = None


@dataclasses.dataclass(frozen=True)
class RawDomain:
    """What libvirt says of a domain, with its secrets. ``live_xml`` (as for a migration: without what only the moment gave it) and
    ``running_xml`` (everything) only of an active one, ``saved_xml`` only of one that is off with its memory saved."""

    uuid: str
    state: str
    reason: str
    active: bool
    persistent: bool
    autostart: bool
    inactive_xml: str
    live_xml: str | None
    running_xml: str | None
    saved_xml: str | None


def lookup(connection: t.Any, name: str) -> t.Any:
    """The domain of that name, as libvirt hands it out."""
    with translated(f"Cannot look up domain {name}"):
        return connection.lookupByName(name)


def gone(error: LibvirtError) -> bool:
    """Whether a call failed because there is no such domain (any more)."""
    return is_code(error, "VIR_ERR_NO_DOMAIN")


def state_of(domain: t.Any) -> tuple[str, str]:
    """State and reason in words."""
    state, reason = domain.state()
    return state_words(state, reason)


@steady
def read(connection: t.Any, name: str) -> RawDomain | None:
    """The domain of that name, None when there is none."""
    try:
        return read_one(name, lookup(connection, name))
    except LibvirtError as exc:
        if gone(exc):
            return None
        raise


def read_one(name: str, domain: t.Any) -> RawDomain | None:
    """What libvirt says of a domain that was looked up; None when it is gone by now."""
    try:
        with translated(f"Cannot read domain {name}"):
            return _read(domain)
    except LibvirtError as exc:
        if gone(exc):
            return None
        raise


def _read(domain: t.Any) -> RawDomain:
    active, persistent = bool(domain.isActive()), bool(domain.isPersistent())
    state, reason = state_of(domain)
    secure = libvirt.VIR_DOMAIN_XML_SECURE
    return RawDomain(
        uuid=domain.UUIDString(),
        state=state,
        reason=reason,
        active=active,
        persistent=persistent,
        autostart=bool(domain.autostart()) if persistent else False,
        # With the passwords: a document without them, written back, would drop them.
        inactive_xml=domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | secure),
        live_xml=domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE | secure) if active else None,
        running_xml=domain.XMLDesc(secure) if active else None,
        saved_xml=None if active else _saved(domain),
    )


def _saved(domain: t.Any) -> str | None:
    """The document in a saved state: what goes on when the domain is started, whatever the definition says by then.

    Empty when the file of the state is broken: that is for the start to say, or for somebody to throw it away.
    """
    if not domain.hasManagedSaveImage(0):
        return None
    try:
        return str(domain.managedSaveGetXMLDesc(libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE))
    except libvirt.libvirtError:
        return ""


@steady
def state(connection: t.Any, name: str) -> tuple[str, str]:
    """State and reason in words; ``absent`` when there is no such domain (a transient one is gone when it stops)."""
    try:
        domain = lookup(connection, name)
        with translated(f"Cannot read the state of domain {name}"):
            return state_of(domain)
    except LibvirtError as exc:
        if gone(exc):
            return "absent", "gone"
        raise


@steady
def name_of(connection: t.Any, uuid: str) -> str | None:
    """The name of the domain with that UUID, None when there is none."""
    try:
        with translated(f"Cannot look for a domain with the UUID {uuid}"):
            return str(connection.lookupByUUIDString(uuid).name())
    except LibvirtError as exc:
        if gone(exc):
            return None
        raise


@steady
def brief(connection: t.Any, name: str) -> tuple[str, str, str, int] | None:
    """UUID, state, reason, and the bytes of memory that the domain has at the moment; None when there is none."""
    try:
        domain = lookup(connection, name)
        with translated(f"Cannot read domain {name}"):
            return (domain.UUIDString(), *state_of(domain), int(domain.info()[2]) * 1024)
    except LibvirtError as exc:
        if gone(exc):
            return None
        raise


@steady
def has_screen(connection: t.Any, name: str) -> bool:
    """Whether a domain has a video device; one that is gone meanwhile is said to."""
    try:
        domain = lookup(connection, name)
        with translated(f"Cannot read domain {name}"):
            videos = _xml.parse(domain.XMLDesc(0)).findall("devices/video/model")
    except LibvirtError as exc:
        if gone(exc):
            return True
        raise
    return any(model.get("type") != "none" for model in videos)


@steady
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


@steady
def volume_path(connection: t.Any, pool: str, volume: str) -> str | None:
    """Where a volume is; of a pool that is not active, where it would be. None when there is no such thing."""
    try:
        with translated(f"Cannot look up volume {volume} of pool {pool}"):
            found = connection.storagePoolLookupByName(pool)
            if found.isActive():
                return str(found.storageVolLookupByName(volume).path())
            folder = _xml.find_text(_xml.parse(found.XMLDesc(0)), "target/path")
    except LibvirtError as exc:
        if is_code(exc, "VIR_ERR_NO_STORAGE_POOL", "VIR_ERR_NO_STORAGE_VOL", "VIR_ERR_NO_SUPPORT"):
            return None
        raise
    return None if folder is None else f"{folder}/{volume}"


@steady
def count(connection: t.Any) -> tuple[int, int]:
    """How many domains there are, and how many of them run."""
    with translated("Cannot count the domains"):
        return len(connection.listAllDomains(0)), int(connection.numOfDomains())


@steady
def define(connection: t.Any, name: str, document: str) -> str:
    """Makes the persistent definition, and returns what libvirt has kept; a running domain keeps running as it is."""
    with translated(f"Cannot define domain {name}"):
        domain = connection.defineXML(document)
        return str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE))


@steady
def set_autostart(connection: t.Any, name: str, autostart: bool) -> None:
    """Whether the domain starts with the host."""
    domain = lookup(connection, name)
    with translated(f"Cannot set the autostart of domain {name}"):
        domain.setAutostart(autostart)


@steady
def set_record(
    connection: t.Any, name: str, element: str | None, namespace: tuple[str, str], *, live: bool = False
) -> None:
    """Sets one element of metadata (None: removes it) in the definition, or (``live``) in what runs, where there is such a
    thing; ``namespace`` is its prefix and URI."""
    domain = lookup(connection, name)
    with translated(f"Cannot write the metadata of domain {name}"):
        if domain.isActive() if live else domain.isPersistent():
            flags = libvirt.VIR_DOMAIN_AFFECT_LIVE if live else libvirt.VIR_DOMAIN_AFFECT_CONFIG
            domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, element, *namespace, flags)


def screenshot(connection: t.Any, name: str, write: t.Callable[[bytes], t.Any], screen: int = 0) -> str:
    """Writes a picture of a screen; returns its MIME type (``image/png``, older: ``image/x-portable-pixmap``)."""
    domain = lookup(connection, name)
    with translated(f"Cannot take a screenshot of domain {name}"):
        stream = connection.newStream(0)
        mime = domain.screenshot(stream, screen, 0)
        stream.recvAll(lambda _stream, data, _opaque: write(data), None)
        stream.finish()
    return str(mime)


@steady
def active_networks(connection: t.Any) -> dict[str, bool]:
    """The networks of the host: name to whether it is active."""
    with translated("Cannot list the networks"):
        return {network.name(): bool(network.isActive()) for network in connection.listAllNetworks(0)}
