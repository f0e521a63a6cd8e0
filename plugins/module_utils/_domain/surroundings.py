# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Domains: what a declaration depends on, on the host and beside the domain. Reads only."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import os
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import (
    anew,
    disposal,
    files,
    halfway,
    removals,
    table,
    xml,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices import filesystem
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.scalars import BY_NAME
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.session import Session
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import Definition, DomainSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import domains, host, snapshots, supplies


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
    #: The architecture of the host.
    native: str | None = None
    #: libvirt's number for its version.
    version: int | None = None
    buses: tuple[str, ...] = ()
    #: Empty when any model may be, or it is not known which.
    cpu_models: tuple[str, ...] = ()
    #: Of the declared features of the processor those that libvirt does not know.
    unknown_features: tuple[str, ...] = ()
    memory_total: int | None = None
    #: Processors that are online; a number beyond may be one that is not.
    cpus: int | None = None
    networks: dict[str, bool] = dataclasses.field(default_factory=dict)
    formats: dict[str, str | None] = dataclasses.field(default_factory=dict)
    bridges: frozenset[str] = frozenset()
    interfaces: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    #: The named devices that are handed through and are there: PCI addresses, and what USB devices are called.
    host_devices: frozenset[str] = frozenset()
    #: What a domain that is about to start needs of libvirt's other objects, and does not find.
    lacking: tuple[str, ...] = ()
    #: Whether the kernel has sockets to guests.
    vsock: bool = True
    #: Files to remove by target: why not (None: may be removed). Only for state absent.
    removable: dict[str, str | None] = dataclasses.field(default_factory=dict)
    #: Those files.
    files: removals.Files = dataclasses.field(default_factory=dict)
    #: The file of its firmware's variables, when it is there.
    variables: str | None = None
    #: Another domain that has the declared UUID.
    holder: str | None = None


def future(session: Session, spec: DomainSpec) -> Surroundings:
    """What can be said of a host that has no libvirt yet."""
    if spec.state == "absent" or not spec.definition:
        return Surroundings(unknown=True)
    virt_type = spec.definition.scalars.get("type") or session.host.virt_type(spec.definition.scalars.get("os.arch"))
    return Surroundings(unknown=True, virt_type=virt_type, **_files(spec))


#: The states for which a domain is started.
STARTED = ("running", "paused")
#: Where libvirt keeps the variables of firmwares when nothing else is stated.
_NVRAM = "/var/lib/libvirt/qemu/nvram"
#: What decides about what the host offers.
_ASKED_FOR = table.Table(BY_NAME[name] for name in ("type", "os.arch", "os.machine"))


def look(session: Session, spec: DomainSpec, existing: str | None, *, active: bool = False) -> Surroundings:
    """What is there; ``existing`` is the definition of the domain, if there is one."""
    host = session.host
    if spec.state == "absent":
        reasons, there = _removable(session, spec, existing)
        kept = _variables(spec.name, existing) if host.local and existing is not None and "<nvram" in existing else None
        return Surroundings(local=host.local, removable=reasons, files=there, variables=kept)
    if not spec.definition:
        return Surroundings(local=host.local)
    # What is not stated an existing domain has already.
    there = xml.read_some(existing, _ASKED_FOR) if existing else {}
    scalars = {**there, **spec.definition.scalars}
    arch = scalars.get("os.arch")
    if arch != there.get("os.arch", arch) and "type" not in spec.definition.scalars:
        # Another architecture is made anew, if at all.
        del scalars["type"]
    guest = host.guests.get(arch or host.arch)
    virt_type = scalars.get("type") or host.virt_type(arch)
    asks_bus = bool(spec.definition.devices.get("disks"))
    able = host.abilities(virt_type, arch, scalars.get("os.machine")) if asks_bus else None
    spec = in_options(spec)
    asks_network, wanted = bool(named_networks(spec)), spec.definition.scalars
    emulated = wanted.get("type", virt_type) in ("qemu", "kvm")
    starts = spec.state in STARTED and not active
    return Surroundings(
        local=host.local,
        virt_type=virt_type,
        offered_types=guest.types if guest is not None else (),
        machines=guest.machines if guest is not None else {},
        known_arch=guest is not None,
        native=host.arch,
        version=host.version,
        buses=able.values.get("disk.bus", ()) if able is not None else (),
        cpu_models=host.cpu_models(wanted.get("os.arch", arch)) if "cpu.model" in wanted and emulated else (),
        unknown_features=host.unknown_features(_named_features(wanted)) if emulated else (),
        lacking=tuple(_lacking(session, spec)) if starts else (),
        memory_total=host.info["memory_total"],
        cpus=host.info["cpus"],
        networks=session.networks if asks_network else {},
        variables=_variables(spec.name, existing) if host.local and existing is not None else None,
        **(_files(spec) if host.local else {}),
    )


def _variables(name: str, existing: str) -> str | None:
    stated = anew.variables(existing) if "<nvram" in existing else None
    path = stated or f"{_NVRAM}/{name}_VARS.fd"
    return path if os.path.exists(path) else None


def in_options(spec: DomainSpec) -> DomainSpec:
    """A declared document as options as far as there are any, when what it names has to be there."""
    text = spec.definition.document
    if text is None or spec.state not in STARTED:
        return spec
    seen = xml.read(text)
    kinds = ("disks", "interfaces", "graphics", "filesystems", "hostdevs", "tpm")
    devices = {kind: tuple(seen.devices[kind].values()) for kind in kinds}
    return dataclasses.replace(spec, definition=Definition(seen.scalars, devices))


_FILES = ("emulator", "os.kernel", "os.initrd", "os.dtb", "os.slic_table", "os.loader.path")


def optional_files(spec: DomainSpec) -> set[str]:
    """Media without which the domain starts as well."""
    disks = spec.definition.devices.get("disks", ())
    return {disk["source"] for disk in disks if "source" in disk and disk.get("startup_policy") == "optional"}


def named_files(spec: DomainSpec) -> list[str]:
    """The files that a domain needs when it starts, those that may be missing included."""
    scalars = spec.definition.scalars
    named = [scalars.get(option) for option in _FILES]
    # A file of variables is made by libvirt from its template.
    named += [scalars.get("os.nvram.template")]
    named += [entry.get("file") for entry in scalars.get("sysinfo.fwcfg") or ()]
    disks = spec.definition.devices.get("disks", ())
    images = [*disks, *(image for disk in disks for image in disk.get("backing_store") or ())]
    named += [image.get("source") for image in images if image.get("type") in ("file", "block", "dir")]
    named += [
        item.get("source")
        for item in spec.definition.devices.get("filesystems", ())
        if item.get("type") in filesystem.OF_THE_HOST
    ]
    return [path for path in named if path is not None]


def named_networks(spec: DomainSpec) -> list[str]:
    """The networks of interfaces, then those to listen in."""
    devices = spec.definition.devices
    cards = [item.get("source") for item in devices.get("interfaces", ()) if item.get("type") == "network"]
    listens = [listen for item in devices.get("graphics", ()) for listen in item.get("listens") or ()]
    return list(dict.fromkeys(name for name in (*cards, *(item.get("network") for item in listens)) if name))


def named_devices(spec: DomainSpec) -> list[tuple[str, str]]:
    """The devices of the host that have to be there when a domain starts: what they are, and which."""
    devices = spec.definition.devices
    found = [
        (item["type"], item["source"])
        for item in devices.get("hostdevs", ())
        if item.get("type") in ("pci", "usb") and item.get("startup_policy", "mandatory") == "mandatory"
    ]
    found += [("pci", item["source"]) for item in devices.get("interfaces", ()) if item.get("type") == "hostdev"]
    return found


#: Where the kernel shows the devices that it knows.
_SYSTEM = "/sys/bus"


def _usb_devices() -> set[str]:
    """All by vendor and product, and by bus and number."""
    found: set[str] = set()
    for place in glob.glob(f"{_SYSTEM}/usb/devices/*/idVendor"):
        texts: dict[str, str] = {}
        for name in ("idVendor", "idProduct", "busnum", "devnum"):
            with (
                contextlib.suppress(OSError),
                open(os.path.join(os.path.dirname(place), name), encoding="ascii") as file,
            ):
                texts[name] = file.read().strip()
        found.add(f"{texts.get('idVendor')}:{texts.get('idProduct')}")
        found.add(f"{texts.get('busnum')}.{texts.get('devnum')}")
    return found


def _host_devices(spec: DomainSpec) -> frozenset[str]:
    named = named_devices(spec)
    usb = _usb_devices() if any(kind == "usb" for kind, _name in named) else set()
    there = [
        name
        for kind, name in named
        if (name in usb if kind == "usb" else os.path.exists(f"{_SYSTEM}/pci/devices/{name}"))
    ]
    return frozenset(there)


def _named_features(scalars: t.Mapping[str, t.Any]) -> list[str]:
    return [item["name"] for item in scalars.get("cpu.features") or () if "name" in item]


def named_filters(spec: DomainSpec) -> list[str]:
    """The network filters of interfaces."""
    return [item["filter.name"] for item in spec.definition.devices.get("interfaces", ()) if "filter.name" in item]


def named_volumes(spec: DomainSpec) -> list[tuple[str, str]]:
    """The pools and volumes of disks; not of media without which the domain starts as well."""
    return [
        (disk["pool"], disk["source"])
        for disk in spec.definition.devices.get("disks", ())
        if disk.get("type") == "volume" and {"pool", "source"} <= set(disk) and disk.get("startup_policy") != "optional"
    ]


def named_secrets(spec: DomainSpec) -> list[tuple[str, str]]:
    """The secrets of disks and of a TPM as ``supplies.secrets`` names them."""
    found: list[tuple[str, t.Any]] = []
    for disk in spec.definition.devices.get("disks", ()):
        use = disk.get("network.auth.secret_type", "")
        found += [("uuid", disk.get("network.auth.secret_uuid")), (use, disk.get("network.auth.secret_usage"))]
        found += [("uuid", disk.get("encryption.secret_uuid")), ("volume", disk.get("encryption.secret_usage"))]
    found += [("uuid", item.get("encryption_secret")) for item in spec.definition.devices.get("tpm", ())]
    return [(kind, name) for kind, name in dict.fromkeys(found) if name]


def _lacking(session: Session, spec: DomainSpec) -> t.Iterator[str]:
    """What of libvirt's other objects the domain names and is not there."""
    filters = named_filters(spec)
    for name in dict.fromkeys(filters):
        if session.filters is not None and name not in session.filters:
            yield f"there is no network filter {name}"
    for pool, volume in dict.fromkeys(named_volumes(spec)):
        reason = supplies.volume_lacks(session.connection, pool, volume)
        if reason is not None:
            yield reason
    for kind, name in named_secrets(spec):
        if session.secrets is not None and (kind, name) not in session.secrets:
            yield (
                f"there is no secret {name}"
                if kind == "uuid"
                else f"there is no secret for {kind} with the usage {name}"
            )


def named_folders(spec: DomainSpec) -> list[str]:
    """The folders in which qemu or libvirt make log files."""
    serials = spec.definition.devices.get("serials", ())
    return [os.path.dirname(item[option]) for item in serials for option in ("path", "log") if option in item]


def _files(spec: DomainSpec) -> dict[str, t.Any]:
    interfaces = spec.definition.devices.get("interfaces", ())
    named = [item["source"] for item in interfaces if item.get("type") in ("bridge", "direct") and "source" in item]
    return {
        "formats": {path: files.image_format(path) for path in named_files(spec) if os.path.exists(path)},
        "folders": frozenset(folder for folder in named_folders(spec) if os.path.isdir(folder)),
        "bridges": frozenset(name for name in named if os.path.isdir(f"/sys/class/net/{name}/bridge")),
        "vsock": "vsock" not in spec.definition.devices or os.path.exists("/dev/vhost-vsock"),
        "host_devices": _host_devices(spec),
        "interfaces": frozenset(name for name in named if os.path.exists(f"/sys/class/net/{name}")),
    }


def _removable(session: Session, spec: DomainSpec, existing: str | None) -> tuple[dict[str, t.Any], removals.Files]:
    """Why the files of disks have to stay, by target (None: they may go), and which files these are."""
    connection, local = session.connection, session.host.local
    if not spec.remove_disks or connection is None:
        return {}, {}
    if existing is None:
        # What a task has left that was killed when the domain was gone already.
        there = removals.left(spec.name, host.uri(connection), spec.remove_disks) if local else {}
        disks: dict[str, t.Any] = {target: {"device": "disk", "type": "file", "source": ""} for target in there}
    else:
        seen = xml.read(existing).devices["disks"]
        disks = {target: seen[target] for target in spec.remove_disks if target in seen}
        taken = snapshots.tree(connection, spec.name) if disks and local else []
        there = {target: disposal.files_of(target, disk, taken) for target, disk in disks.items()}
    reasons = {target: disposal.why_not(disk, local) for target, disk in disks.items()}
    return {**reasons, **_kept(session, spec, existing, there, reasons)}, there


def _kept(
    session: Session,
    spec: DomainSpec,
    existing: str | None,
    there: removals.Files,
    reasons: t.Mapping[str, str | None],
) -> dict[str, str | None]:
    possible = [target for target, reason in reasons.items() if reason is None]
    if not possible:
        return {}
    own = (spec.name, halfway.aside(spec.name))
    others = {name: texts for name, texts in domains.documents(session.connection).items() if name not in own}
    used = disposal.used(session.connection, others)
    if existing is not None:
        used.update(disposal.kept_by_itself(spec.name, existing, spec.remove_disks))
    going = [path for target in possible for path in there[target]]
    return {target: disposal.why_kept(there[target], going, used) for target in possible}
