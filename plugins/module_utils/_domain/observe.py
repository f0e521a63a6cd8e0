# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what is there now, of the domain and of what its declaration names. Reads only."""

from __future__ import annotations

import dataclasses
import functools
import os
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import files, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.character import AGENT
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import domains


class HostView(t.Protocol):
    """What the rooms of domains ask about the host; the module wires it."""

    @property
    def local(self) -> bool:
        """Whether its files are those that this process sees."""

    @property
    def arch(self) -> str:
        """Its architecture."""

    @property
    def guests(self) -> dict[str, t.Any]:
        """What it offers for guests, by architecture."""

    @property
    def info(self) -> dict[str, t.Any]:
        """Its processors, and its memory in bytes."""

    def virt_type(self, arch: str | None) -> str:
        """What the type ``auto`` is."""

    def abilities(self, virt_type: str, arch: str | None, machine: str | None) -> t.Any:
        """What such domains can have."""


class Session:
    """What the steps of one call have in common."""

    def __init__(self, connection: t.Any, host: HostView) -> None:
        self.connection = connection
        self.host = host

    @functools.cached_property
    def networks(self) -> dict[str, bool]:
        """The networks of the host: name to whether it is active."""
        return domains.active_networks(self.connection)


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What the declaration depends on. ``formats`` has every named file that exists, with what it looks like;
    ``unknown``: libvirt is not there yet (a prediction), so nobody can say what the host offers."""

    local: bool = True
    unknown: bool = False
    virt_type: str = "qemu"
    offered_types: tuple[str, ...] = ()
    machines: dict[str, str] = dataclasses.field(default_factory=dict)
    known_arch: bool = True
    buses: tuple[str, ...] = ()
    memory_total: int | None = None
    networks: dict[str, bool] = dataclasses.field(default_factory=dict)
    formats: dict[str, str | None] = dataclasses.field(default_factory=dict)
    bridges: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    #: Files to remove by target: why not (None: may be removed). Only for state absent.
    removable: dict[str, str | None] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class DomainState:
    """A domain as libvirt has it. ``document`` is the definition, ``live`` what runs as a definition, ``running``
    what runs with all that only the moment gave it; ``memory`` the options of the last declaration."""

    exists: bool = False
    uuid: str | None = None
    state: str = "absent"
    reason: str = "unknown"
    active: bool = False
    persistent: bool = False
    autostart: bool = False
    managed_save: bool = False
    document: str | None = None
    live: str | None = None
    running: str | None = None
    memory: Memory = dataclasses.field(default_factory=Memory)
    around: Surroundings = dataclasses.field(default_factory=Surroundings)


def observe(session: Session, spec: DomainSpec) -> DomainState:
    """Reads one domain by name; without a connection (a machine before its first run) there is none."""
    if session.connection is None:
        return DomainState(around=_future(session, spec))
    raw = domains.read(session.connection, spec.name)
    around = _surroundings(session, spec, None if raw is None else raw.inactive_xml)
    if raw is None:
        return DomainState(around=around)
    return DomainState(
        exists=True,
        uuid=raw.uuid,
        state=raw.state,
        reason=raw.reason,
        active=raw.active,
        persistent=raw.persistent,
        autostart=raw.autostart,
        managed_save=raw.managed_save,
        document=raw.inactive_xml,
        live=raw.live_xml,
        running=raw.running_xml,
        memory=xml.remembered(raw.inactive_xml, raw.live_xml),
        around=around,
    )


def _future(session: Session, spec: DomainSpec) -> Surroundings:
    if spec.state == "absent" or not spec.definition:
        return Surroundings(unknown=True)
    virt_type = spec.definition.scalars.get("type") or session.host.virt_type(spec.definition.scalars.get("os.arch"))
    return Surroundings(unknown=True, virt_type=virt_type, **_files(spec))


def _surroundings(session: Session, spec: DomainSpec, existing: str | None) -> Surroundings:
    host = session.host
    if spec.state == "absent":
        return Surroundings(local=host.local, removable=_removable(session, spec, existing))
    if not spec.definition:
        return Surroundings(local=host.local)
    scalars = spec.definition.scalars
    arch = scalars.get("os.arch")
    guest = host.guests.get(arch or host.arch)
    virt_type = scalars.get("type") or (xml.read(existing).scalars["type"] if existing else host.virt_type(arch))
    asks_bus = any("bus" in disk for disk in spec.definition.devices.get("disks", ()))
    able = host.abilities(virt_type, arch, scalars.get("os.machine")) if asks_bus else None
    asks_network = any(item["type"] == "network" for item in spec.definition.devices.get("interfaces", ()))
    return Surroundings(
        local=host.local,
        virt_type=virt_type,
        offered_types=guest.types if guest is not None else (),
        machines=guest.machines if guest is not None else {},
        known_arch=guest is not None,
        buses=able.values.get("disk.bus", ()) if able is not None else (),
        memory_total=host.info["memory_total"],
        networks=session.networks if asks_network else {},
        **(_files(spec) if host.local else {}),
    )


def named_files(spec: DomainSpec) -> list[str]:
    """The files that must be there before the domain can start."""
    named = [spec.definition.scalars.get(option) for option in ("emulator", "os.kernel", "os.initrd")]
    named += [disk.get("source") for disk in spec.definition.devices.get("disks", ())]
    return [path for path in named if path is not None]


def named_folders(spec: DomainSpec) -> list[str]:
    """The folders in which qemu or libvirt make log files."""
    serials = spec.definition.devices.get("serials", ())
    return [os.path.dirname(item[option]) for item in serials for option in ("path", "log") if option in item]


def _files(spec: DomainSpec) -> dict[str, t.Any]:
    interfaces = spec.definition.devices.get("interfaces", ())
    named = [item["source"] for item in interfaces if item["type"] == "bridge"]
    return {
        "formats": {path: files.image_format(path) for path in named_files(spec) if os.path.exists(path)},
        "folders": frozenset(folder for folder in named_folders(spec) if os.path.isdir(folder)),
        "bridges": frozenset(name for name in named if os.path.isdir(f"/sys/class/net/{name}/bridge")),
    }


def _removable(session: Session, spec: DomainSpec, existing: str | None) -> dict[str, str | None]:
    if not spec.remove_disks or existing is None:
        return {}
    others = {name: texts for name, texts in domains.documents(session.connection).items() if name != spec.name}
    disks = xml.read(existing).devices["disks"]
    chosen = {target: disks[target] for target in spec.remove_disks if target in disks}
    return {target: why_not_removable(disk, others, session.host.local) for target, disk in chosen.items()}


def why_not_removable(disk: dict[str, t.Any], others: dict[str, list[str]], local: bool) -> str | None:
    """The reason why the file of a disk has to stay; None when it may go."""
    path = disk.get("source")
    if disk["device"] != "disk":
        return f"is a {disk['device']} drive, whose medium is never removed"
    if disk["type"] != "file" or path is None:
        return f"is of type {disk['type']}; only files are removed"
    if not local:
        return "is on another machine, whose files cannot be looked at from here"
    sources: dict[str, list[str]] = {}
    for name, texts in others.items():
        sources[name] = [
            seen["source"] for text in texts for seen in xml.read(text).devices["disks"].values() if "source" in seen
        ]
        for source in sources[name]:
            if any(files.same(step, path) for step in files.chain(source)):
                return f"({path}) is used by domain {name}, itself or through its overlay {source}"
    folders = {os.path.dirname(os.path.realpath(path))}
    folders |= {os.path.dirname(source) for group in sources.values() for source in group if source.startswith("/")}
    overlays = files.overlays_in(folders, path)
    return f"({path}) is the backing file of {overlays[0]}" if overlays else None


def console_log(running: str | None) -> str | None:
    """The file that the first logged serial port writes to; None when none is logged."""
    for serial in xml.read(running).devices["serials"].values() if running is not None else ():
        path = serial.get("log") or (serial.get("path") if serial["type"] == "file" else None)
        if path is not None:
            return str(path)
    return None


def facts(session: Session, state: DomainState, name: str) -> dict[str, t.Any] | None:
    """The return value ``domain``; None when there is none."""
    document = state.running or state.document
    if document is None:
        return None
    seen = xml.read(document)
    agent = AGENT in xml.connected_channels(document)
    return {
        "name": name,
        "uuid": state.uuid,
        "state": state.state,
        "reason": state.reason,
        "autostart": state.autostart,
        "persistent": state.persistent,
        "type": seen.scalars.get("type"),
        "machine": seen.scalars.get("os.machine"),
        "memory": seen.scalars.get("memory"),
        "current_memory": seen.scalars.get("current_memory"),
        "vcpus": seen.scalars.get("vcpus"),
        "addresses": domains.addresses(session.connection, name, agent) if state.state == "running" else [],
        "agent_connected": agent,
        "graphics": xml.displays(document),
        "console_log": console_log(document),
        "disks": list(seen.devices["disks"].values()),
        "interfaces": list(seen.devices["interfaces"].values()),
    }
