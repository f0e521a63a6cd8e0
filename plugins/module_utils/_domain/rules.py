# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what must hold between the options of a declaration, whatever the host is. Pure."""

from __future__ import annotations

import math
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices import disk
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Values
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.options import clock
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.options.boot import machine_family
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import numbers
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import format_size

Devices = t.Mapping[str, t.Sequence[Values]]


def check(what: str, scalars: Values, devices: Devices) -> None:
    """Raises InvalidSpec for what cannot be; ``what`` names the domain."""
    _check_numbers(what, scalars, devices)
    _check_cpu(what, scalars)
    _check_numa(what, scalars)
    _check_pins(what, scalars)
    _check_boot(what, scalars)
    _check_firmware(what, scalars)
    clock.check(what, scalars)
    _check_places(what, devices)
    _check_sources(what, devices)
    _check_boot_order(what, scalars, devices)
    _check_machine(what, scalars, devices)
    _check_shared_memory(what, scalars, devices)
    _check_iothreads(what, scalars, devices)
    _check_video(what, devices)
    _check_ports(what, devices)
    _check_teams(what, devices)
    _check_labels(what, scalars, devices)
    _check_interconnects(what, scalars)
    _check_cachetune(what, scalars)
    _check_throttling(what, scalars, devices)
    _check_panics(what, devices)


def _check_panics(what: str, devices: Devices) -> None:
    models = [item["model"] for item in devices.get("panic", ())]
    twice = next((model for model in models if models.count(model) > 1), None)
    if twice is not None:
        raise InvalidSpec(f"{what}: two of panics have the model {twice}; there is one of each.")


def _check_labels(what: str, scalars: Values, devices: Devices) -> None:
    """A source can be labelled otherwise only where sources are labelled at all."""
    off = {item["model"] for item in scalars.get("seclabels") or () if not item.get("relabel")}
    for option, entries in devices.items():
        for index, item in enumerate(entries):
            images = (item, *(item.get("backing_store") or ()))
            models = [label["model"] for image in images for label in image.get("seclabels") or ()]
            found = next((model for model in models if model in off), None)
            if found is not None:
                raise InvalidSpec(
                    f"{what}: {option}[{index}] has a label of {found}, but seclabels has relabel off for that model, so that"
                    " nothing is labelled; state relabel: true there."
                )


def _check_interconnects(what: str, scalars: Values) -> None:
    cells = scalars.get("cpu.numa") or ()
    for option in ("cpu.interconnects.latencies", "cpu.interconnects.bandwidths"):
        for item in scalars.get(option) or ():
            highest = max(item["initiator"], item["target"])
            if highest >= len(cells):
                raise InvalidSpec(f"{what}: {option} names cell {highest}, which cpu.numa does not have.")
            levels = [cache["level"] for cache in cells[item["target"]].get("caches") or ()]
            if "cache" in item and item["cache"] not in levels:
                raise InvalidSpec(
                    f"{what}: {option} names the cache {item['cache']} of cell {item['target']}, which it does not have."
                )


def _check_cachetune(what: str, scalars: Values) -> None:
    """The processors of a group have the same share of the caches, and of the bandwidth."""
    groups: set[str] = set()
    for option in ("cputune.cachetune", "cputune.memorytune"):
        for item in scalars.get(option) or ():
            vcpus = set(numbers(item["vcpus"]))
            _check_inside(what, option, vcpus, scalars)
            other = next((one for one in groups if one != item["vcpus"] and vcpus & set(numbers(one))), None)
            if other is not None:
                raise InvalidSpec(
                    f"{what}: {option} has a group of the vCPUs {item['vcpus']}, some of which are in that of {other} too."
                )
            groups.add(item["vcpus"])


def _check_throttling(what: str, scalars: Values, devices: Devices) -> None:
    known = [item["name"] for item in scalars.get("throttle_groups") or ()]
    for item in devices.get("disks", ()):
        unknown = [name for name in item.get("throttle_filters") or () if name not in known]
        if unknown and "memory" in scalars:
            raise InvalidSpec(
                f"{what}: disk {item['target']} has the throttle_filters {unknown[0]}, which throttle_groups does not have."
            )


def _check_teams(what: str, devices: Devices) -> None:
    """The guest knows by the address which cards belong together."""
    interfaces = devices.get("interfaces", ())
    known = {item["alias"]: item for item in interfaces if "alias" in item}
    for item in interfaces:
        alias = item.get("teaming.persistent")
        if alias in known and known[alias].get("mac") != item["mac"]:
            other = known[alias].get("mac") or "not stated"
            raise InvalidSpec(
                f"{what}: the cards of a team have one mac, but that of {alias} is {other}, and that of its transient one"
                f" {item['mac']}; state the same for both."
            )


def _check_ports(what: str, devices: Devices) -> None:
    seen: dict[tuple[int, str], str] = {}
    for item in devices.get("graphics", ()):
        where = str(item.get("listen") or item.get("listens") or "")
        for option in ("port", "tls_port", "websocket"):
            name, port = f"{option} of {item['type']}", item.get(option)
            if port is None or port < 1:
                continue
            if (port, where) in seen:
                raise InvalidSpec(
                    f"{what}: graphics: {seen[port, where]} and {name} are both {port}; each needs its own."
                )
            seen[port, where] = name


def _check_numbers(what: str, scalars: Values, devices: Devices) -> None:
    # What memory devices have comes to the memory, and to no other number.
    more = {"memory": sum(int(item["size"]) for item in devices.get("memory_devices", ()))}
    for part, whole in (("current_memory", "memory"), ("memory", "max_memory.size"), ("current_vcpus", "vcpus")):
        if part in scalars and whole in scalars and scalars[part] > scalars[whole] + more.get(whole, 0):
            found = [format_size(scalars[name]) if "memory" in name else str(scalars[name]) for name in (part, whole)]
            raise InvalidSpec(f"{what}: {part} ({found[0]}) is more than {whole} ({found[1]}), which is the maximum.")
    if ("max_memory.size" in scalars) != ("max_memory.slots" in scalars):
        raise InvalidSpec(f"{what}: max_memory needs both its size and its slots.")
    if scalars.get("memory_backing.pages") and scalars.get("memory_backing.hugepages") is False:
        raise InvalidSpec(f"{what}: memory_backing.pages needs memory_backing.hugepages, which is off.")


def _check_cpu(what: str, scalars: Values) -> None:
    if "cpu.model" in scalars and scalars.get("cpu.mode", "custom") != "custom":
        raise InvalidSpec(f"{what}: cpu.model goes with cpu.mode custom, not with {scalars['cpu.mode']}.")
    if ("cpu.model" in scalars) != (scalars.get("cpu.mode") == "custom"):
        raise InvalidSpec(f"{what}: cpu.mode custom needs a cpu.model.")
    if scalars.get("cpu.features") and "cpu.mode" not in scalars:
        raise InvalidSpec(f"{what}: cpu.features needs a cpu.mode or a cpu.model, which they add to or take from.")
    if "cpu.migratable" in scalars and scalars.get("cpu.mode") not in ("host-passthrough", "maximum"):
        raise InvalidSpec(f"{what}: cpu.migratable goes with cpu.mode host-passthrough or maximum.")
    topology = scalars.get("cpu.topology")
    if topology is not None:
        total = math.prod(topology.values())
        if scalars.get("vcpus", total) != total:
            shape = ", ".join(f"{key} {value}" for key, value in topology.items())
            raise InvalidSpec(
                f"{what}: cpu.topology ({shape}) is of {total} CPUs, but vcpus is {scalars['vcpus']}; they have to agree."
            )
    if scalars.get("vcpu_placement") == "auto" and "cpuset" in scalars:
        raise InvalidSpec(f"{what}: with vcpu_placement auto numad chooses the CPUs, so cpuset must not be stated.")


def _check_numa(what: str, scalars: Values) -> None:
    cells = scalars.get("cpu.numa") or []
    seen: set[int] = set()
    for cell in cells:
        cpus = set(numbers(cell["cpus"])) if "cpus" in cell else set()
        if cpus & seen:
            raise InvalidSpec(f"{what}: cpu.numa has vCPU {min(cpus & seen)} in two cells; each belongs to one.")
        seen |= cpus
    _check_inside(what, "cpu.numa", seen, scalars)
    if [cell["id"] for cell in cells] != list(range(len(cells))):
        raise InvalidSpec(f"{what}: the ids of cpu.numa have to be 0 to {len(cells) - 1}, each once.")
    total = sum(cell["memory"] for cell in cells)
    if cells and scalars.get("memory", total) != total:
        raise InvalidSpec(
            f"{what}: the cells of cpu.numa have {format_size(total)} together, but memory is"
            f" {format_size(scalars['memory'])}; they have to agree."
        )
    for node in scalars.get("numatune.memnodes") or []:
        if cells and node["cellid"] >= len(cells):
            raise InvalidSpec(f"{what}: numatune.memnodes names cell {node['cellid']}, which cpu.numa does not have.")
    if scalars.get("numatune.placement") == "auto" and "numatune.nodeset" in scalars:
        raise InvalidSpec(
            f"{what}: with numatune.placement auto numad chooses the nodes, so nodeset must not be stated."
        )


def _check_inside(what: str, option: str, named: t.Collection[int], scalars: Values) -> None:
    total = scalars.get("vcpus")
    if total is not None and named and max(named) >= total:
        raise InvalidSpec(f"{what}: {option} names vCPU {max(named)}, but there are {total} (0 to {total - 1}).")


def _check_pins(what: str, scalars: Values) -> None:
    for option, key in (("cputune.vcpupin", "vcpu"), ("cputune.vcpusched", "vcpus")):
        _check_inside(what, option, [int(item[key]) for item in scalars.get(option) or ()], scalars)
    ids = {item["id"] for item in scalars.get("iothread_ids") or ()}
    count = scalars.get("iothreads")
    if count is None:
        return
    if len(ids) > count:
        raise InvalidSpec(f"{what}: iothread_ids has {len(ids)} entries, but iothreads is {count}.")
    known = ids | set(range(1, count + 1))
    for option, key in (("cputune.iothreadpin", "iothread"), ("cputune.iothreadsched", "iothreads")):
        for item in scalars.get(option) or ():
            if int(item[key]) not in known:
                raise InvalidSpec(f"{what}: {option} names I/O thread {item[key]}, but iothreads is {count}.")


def _check_boot(what: str, scalars: Values) -> None:
    if "os.kernel" not in scalars and ("os.initrd" in scalars or "os.cmdline" in scalars):
        raise InvalidSpec(f"{what}: os.initrd and os.cmdline go with os.kernel, which is not stated.")
    boot = scalars.get("os.boot") or []
    twice = [device for device in dict.fromkeys(boot) if boot.count(device) > 1]
    if twice:
        raise InvalidSpec(f"{what}: os.boot has {twice[0]} twice; name each kind of device once, in the order to try.")
    if scalars.get("os.smbios") == "sysinfo" and not any(
        name.startswith("sysinfo.") and name != "sysinfo.fwcfg" for name in scalars
    ):
        raise InvalidSpec(f"{what}: os.smbios sysinfo needs texts in sysinfo, which is not stated.")
    if "os.boot_menu_timeout" in scalars and not scalars.get("os.boot_menu"):
        raise InvalidSpec(f"{what}: os.boot_menu_timeout goes with os.boot_menu, which is not on.")


def _check_firmware(what: str, scalars: Values) -> None:
    efi = scalars.get("os.firmware") == "efi"
    for option in ("os.secure_boot", "os.enrolled_keys"):
        if option in scalars and not efi:
            raise InvalidSpec(f"{what}: {option} goes with os.firmware efi.")
    if scalars.get("os.enrolled_keys") and scalars.get("os.secure_boot") is False:
        raise InvalidSpec(f"{what}: os.enrolled_keys needs os.secure_boot, which is off.")
    if scalars.get("features.smm") is False and scalars.get("os.secure_boot"):
        raise InvalidSpec(f"{what}: os.secure_boot needs features.smm, which is off.")
    loader = "os.loader.path" in scalars
    if ("os.nvram.path" in scalars or "os.nvram.template" in scalars) and not (loader or "os.firmware" in scalars):
        raise InvalidSpec(f"{what}: os.nvram goes with os.firmware or with os.loader.path.")
    if "os.loader.secure" in scalars and not loader and not efi:
        raise InvalidSpec(f"{what}: os.loader.secure goes with os.loader.path.")


def _check_places(what: str, devices: Devices) -> None:
    """Two disks in one place: libvirt derives it from the letters of the target."""
    seen: dict[tuple[str, str], str] = {}
    for item in devices.get("disks", ()):
        place = disk.place(item)
        other = seen.setdefault(place, item["target"]) if place is not None else None
        if place is not None and other != item["target"]:
            raise InvalidSpec(
                f"{what}: disks {other} and {item['target']} are both the {place[1]} on the bus {place[0]}; give one another"
                " letter."
            )


def _check_sources(what: str, devices: Devices) -> None:
    """Two disks that write to one file: qemu refuses that when it starts, and libvirt not before."""
    seen: dict[tuple[t.Any, ...], str] = {}
    for item in devices.get("disks", ()):
        shared = any(item.get(option) for option in ("readonly", "shareable", "transient"))
        if item.get("type") not in ("file", "block", "volume") or "source" not in item or shared:
            continue
        if item.get("device", "disk") not in ("disk", "lun"):
            continue
        # A volume is known by its pool too.
        other = seen.setdefault((item["type"], item.get("pool"), item["source"]), item["target"])
        if other != item["target"]:
            raise InvalidSpec(
                f"{what}: disks {other} and {item['target']} both write to {item['source']}; give each its own, or say that"
                " both are shareable, or readonly."
            )


def _check_boot_order(what: str, scalars: Values, devices: Devices) -> None:
    seen: dict[int, str] = {}
    for option, entries in devices.items():
        for index, item in enumerate(entries):
            order = item.get("boot_order")
            if order is None:
                continue
            name = f"{option}[{index}]"
            if scalars.get("os.boot"):
                raise InvalidSpec(f"{what}: {name} has a boot_order and the domain has os.boot; use one of the two.")
            if order in seen:
                raise InvalidSpec(
                    f"{what}: {seen[order]} and {name} both have the boot_order {order}; each needs its own."
                )
            seen[order] = name


def _check_machine(what: str, scalars: Values, devices: Devices) -> None:
    machine = machine_family(scalars.get("os.machine") or "")
    if machine not in ("q35", "pc-q35"):
        return
    for item in devices.get("disks", ()):
        if (item.get("bus") or disk.guessed_bus(item["target"])) == "ide":
            raise InvalidSpec(
                f"{what}: disk {item['target']} is on the bus ide, which the machine {scalars['os.machine']} does not have;"
                " use sata, or the machine pc."
            )
    for item in devices.get("controllers", ()):
        if item["type"] == "ide":
            raise InvalidSpec(f"{what}: the machine {scalars['os.machine']} has no controller of type ide; use sata.")


def _check_shared_memory(what: str, scalars: Values, devices: Devices) -> None:
    """What works on the guest's memory from another process needs memory that can be shared."""
    shared = scalars.get("memory_backing.access") == "shared" or any(
        cell.get("mem_access") == "shared" for cell in scalars.get("cpu.numa") or ()
    )
    if shared or "memory" not in scalars:
        return
    users = [
        f"file system {item['target']}" for item in devices.get("filesystems", ()) if item.get("driver") == "virtiofs"
    ]
    users += ["an interface of type vhostuser" for item in devices.get("interfaces", ()) if item["type"] == "vhostuser"]
    users += [f"disk {item['target']}" for item in devices.get("disks", ()) if item.get("type") == "vhostuser"]
    if users:
        raise InvalidSpec(
            f"{what}: {users[0]} needs memory that the host can share; state memory_backing with access: shared"
            " (and source: memfd, for instance)."
        )


def _check_iothreads(what: str, scalars: Values, devices: Devices) -> None:
    count = scalars.get("iothreads")
    known = {item["id"] for item in scalars.get("iothread_ids") or ()} | set(range(1, (count or 0) + 1))
    for option in ("disks", "controllers"):
        for item in devices.get(option, ()):
            thread = item.get("driver.iothread")
            if thread is not None and "memory" in scalars and thread not in known:
                raise InvalidSpec(f"{what}: {option} use I/O thread {thread}, but iothreads is {count or 0}.")


def _check_video(what: str, devices: Devices) -> None:
    videos = devices.get("videos", ())
    if len(videos) > 1 and any(item["model"] == "none" for item in videos):
        raise InvalidSpec(f"{what}: a video of model none stands alone.")
    if sum(bool(item.get("primary")) for item in videos) > 1:
        raise InvalidSpec(f"{what}: only one of the videos can be primary.")
