# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what would go wrong, found before anything is touched. Pure."""

from __future__ import annotations

import difflib
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import newer, surroundings
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.disk import guessed_bus
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.observe import DomainState
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.options.boot import machine_family
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import numbers
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import format_size


def check(spec: DomainSpec, observed: DomainState) -> None:
    """What this host can never do: raises InvalidSpec, in check mode too."""
    what, around, scalars = f"domain {spec.name}", observed.around, spec.definition.scalars
    if around.unknown:
        return
    _check_version(what, spec, around.version)
    if around.holder is not None:
        raise InvalidSpec(
            f"{what}: domain {around.holder} has the uuid that it is to have; leave it out or state another."
        )
    if not around.known_arch:
        raise InvalidSpec(
            f"{what}: this host has no qemu for {scalars.get('os.arch')}; install it or choose another os.arch."
        )
    if around.virt_type not in around.offered_types and not observed.exists:
        offered = ", ".join(around.offered_types) or "none"
        raise InvalidSpec(
            f"{what}: this host offers no domains of type {around.virt_type}; state a type that it has ({offered})."
        )
    machine = scalars.get("os.machine")
    if machine is not None and machine not in (*around.machines, *around.machines.values()):
        short = ", ".join(sorted(name for name, full in around.machines.items() if name != full))
        raise InvalidSpec(f"{what}: this host has no machine type {machine}; the short names of what it has: {short}.")
    for disk in spec.definition.devices.get("disks", ()):
        # The disk of an existing domain keeps the bus that it is on.
        bus = disk.get("bus") or (None if observed.exists else guessed_bus(disk["target"]))
        if around.buses and bus not in (None, *around.buses):
            have = ", ".join(around.buses)
            raise InvalidSpec(f"{what}: disk {disk['target']} cannot be on bus {bus} with this machine; it has {have}.")
    # A document may be of a domain for another host, or of one that is not started again for now.
    wanted = scalars if observed.active else surroundings.in_options(spec).definition.scalars
    _check_model(what, wanted, around.cpu_models)
    if wanted.get("cpu.features"):
        _check_features(what, around.unknown_features)
    _check_secure_boot(what, spec, observed)
    if spec.state not in ("defined", "stopped"):
        _check_cpus(what, spec, around.cpus)
        _check_memory(what, scalars.get("memory", 0), around.memory_total)
    _check_formats(spec, observed)


def _check_version(what: str, spec: DomainSpec, version: int | None) -> None:
    """What this libvirt does not know: it would drop it, or call the document wrong."""
    unknown = None if version is None else newer.too_new(spec.definition, version)
    if unknown is not None:
        raise InvalidSpec(f"{what}: {unknown}.")


def _check_model(what: str, scalars: t.Mapping[str, t.Any], known: t.Sequence[str]) -> None:
    """A model that libvirt does not know: it would define the domain, and refuse to start it."""
    model = scalars.get("cpu.model")
    if model is None or not known or model in known or scalars.get("cpu.mode", "custom") != "custom":
        return
    alike = difflib.get_close_matches(model.lower(), [name.lower() for name in known], 3)
    meant = ", ".join(name for name in known if name.lower() in alike)
    hint = f"is it one of {meant}?" if meant else "virsh cpu-models lists what it knows."
    raise InvalidSpec(f"{what}: libvirt knows no cpu.model {model} on this host; {hint}")


def _check_features(what: str, unknown: t.Sequence[str]) -> None:
    """The same of features, whatever is done with them."""
    if unknown:
        raise InvalidSpec(
            f"{what}: libvirt knows no feature {unknown[0]} of processors on this host, and would not start the domain; correct"
            " its name in cpu.features, or leave it out."
        )


def _check_secure_boot(what: str, spec: DomainSpec, observed: DomainState) -> None:
    """A PC without q35 cannot keep its guest out of the firmware, and libvirt finds no firmware for it."""
    machine = spec.definition.scalars.get("os.machine")
    if machine is None and not observed.exists and "q35" in observed.around.machines:
        machine = "pc"
    if spec.definition.scalars.get("os.secure_boot") and machine_family(machine or "") in ("pc", "pc-i440fx", "isapc"):
        raise InvalidSpec(f"{what}: os.secure_boot needs the machine q35, and it has {machine}; state os.machine: q35.")


def _check_memory(what: str, memory: int, total: int | None) -> None:
    if total is not None and memory > total:
        have = format_size(total // 2**20 * 2**20)
        raise InvalidSpec(f"{what}: memory of {format_size(memory)} is more than the host has ({have}).")


def _check_cpus(what: str, spec: DomainSpec, total: int | None) -> None:
    """Processors that the host does not have: libvirt would say so when it starts the domain, after it was defined."""
    scalars = spec.definition.scalars
    named: dict[str, str] = {
        option: scalars[option] for option in ("cpuset", "cputune.emulatorpin") if option in scalars
    }
    for option, key in (("cputune.vcpupin", "vcpu"), ("cputune.iothreadpin", "iothread")):
        named.update({f"{option} of {item[key]}": item["cpuset"] for item in scalars.get(option) or ()})
    for option, cpuset in named.items():
        highest = max(numbers(cpuset))
        if total is not None and highest >= total:
            raise InvalidSpec(
                f"{what}: {option} names CPU {highest} of the host, which has {total} (0 to {total - 1})."
            )


def _check_formats(spec: DomainSpec, observed: DomainState) -> None:
    """A qcow2 image read as raw shows the guest garbage, and lets it write a header that reads files of the host."""
    disks = spec.definition.devices.get("disks", ())
    for target, image in (
        (disk["target"], image) for disk in disks for image in (disk, *disk.get("backing_store", ()))
    ):
        source, wanted = image.get("source"), image.get("format", "raw")
        found = observed.around.formats.get(source) if source is not None else None
        # Other formats are not looked for: what is no qcow2 image may be any of them.
        if found is None or image.get("type") != "file" or found == wanted or (found == "raw" and wanted != "qcow2"):
            continue
        if found == "qcow2":
            raise InvalidSpec(f"domain {spec.name}: {source} of disk {target} is a qcow2 image; state format: qcow2.")
        raise InvalidSpec(f"domain {spec.name}: {source} of disk {target} is no {wanted} image; state format: {found}.")


#: What the variables of a firmware are made by, when they are made.
_MAKES_VARIABLES = ("os.firmware", "os.secure_boot", "os.enrolled_keys", "os.nvram.template")


def kept_variables(spec: DomainSpec, observed: DomainState, changed: t.Sequence[str]) -> list[str]:
    """A warning when the variables of the firmware are there, and would be made otherwise now: libvirt never makes them anew."""
    path, reasons = observed.around.variables, [field for field in changed if field in _MAKES_VARIABLES]
    if path is None or not observed.exists or not reasons:
        return []
    return [
        f"domain {spec.name}: {' and '.join(reasons)} {'changes' if len(reasons) == 1 else 'change'}, but the variables of its"
        f" firmware ({path}) stay as they are, with the keys that are in them. To have them made anew, and lose what the guest has"
        f" put there, shut it down and start it with: virsh start {spec.name} --reset-nvram"
    ]


def missing(spec: DomainSpec, observed: DomainState) -> list[str]:
    """What is not there yet: an error in a real run. In check mode an earlier task may be about to make it."""
    around = observed.around
    found: list[str] = []
    spec = surroundings.in_options(spec)
    if around.local:
        known = {*around.formats, *surroundings.optional_files(spec)}
        found += [f"the file {path} does not exist" for path in surroundings.named_files(spec) if path not in known]
        folders = dict.fromkeys(surroundings.named_folders(spec))
        found += [
            f"the folder {folder} for the console's log does not exist"
            for folder in folders
            if folder not in around.folders
        ]
    if (
        around.local
        and not around.vsock
        and spec.definition.devices.get("vsock")
        and spec.state in surroundings.STARTED
    ):
        found.append("the host has no /dev/vhost-vsock for its vsock (modprobe vhost_vsock)")
    if around.local and spec.state in surroundings.STARTED and not observed.active:
        found += [
            f"the host has no {kind.upper()} device {name}"
            for kind, name in dict.fromkeys(surroundings.named_devices(spec))
            if name not in around.host_devices
        ]
    for name in surroundings.named_networks(spec):
        if name not in around.networks:
            found.append(f"there is no network {name}")
        elif not around.networks[name] and spec.state == "running":
            found.append(f"network {name} is not active")
    for interface in spec.definition.devices.get("interfaces", ()):
        kind, source = interface.get("type"), interface.get("source", "")
        if kind == "bridge" and around.local and source not in around.bridges:
            found.append(f"the host has no bridge {source}")
        elif kind == "direct" and around.local and source not in around.interfaces:
            found.append(f"the host has no network device {source}")
    return [*found, *around.lacking]
