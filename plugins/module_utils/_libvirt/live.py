# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Running domains: changes of what runs, never of its definition. Thin typed calls that take and give plain data."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import is_code, steady, translated

try:
    import libvirt
except ImportError:
    # connection.require_libvirt() reports it before anything here is called.
    libvirt = None

#: Seconds that a guest agent has for an answer: without a limit a dead one blocks the domain for everybody.
_AGENT_TIMEOUT = 5
_EVENTS = {"poweroff": "POWEROFF", "reboot": "REBOOT", "crash": "CRASH"}
_ACTIONS = {
    "destroy": "DESTROY",
    "restart": "RESTART",
    "rename-restart": "RESTART_RENAME",
    "preserve": "PRESERVE",
    "coredump-destroy": "COREDUMP_DESTROY",
    "coredump-restart": "COREDUMP_RESTART",
}


@dataclasses.dataclass(frozen=True)
class Running:
    """What runs: ``live_xml`` as for a migration, ``running_xml`` in full, ``inactive_xml`` its definition."""

    live_xml: str
    running_xml: str
    inactive_xml: str
    paused: bool


@contextlib.contextmanager
def _changed(what: str) -> t.Iterator[None]:
    """The same as ``translated`` of calls for which the binding asks first what there is to be set."""
    with translated(what):
        try:
            yield
        except LookupError as exc:
            raise LibvirtError(
                f"{what}: {exc}", libvirt_code=libvirt.VIR_ERR_OPERATION_UNSUPPORTED, libvirt_message=str(exc)
            ) from exc


def _domain(connection: t.Any, name: str) -> t.Any:
    with translated(f"Cannot look up domain {name}"):
        return connection.lookupByName(name)


@steady
def read(connection: t.Any, name: str) -> Running | None:
    """What runs, None when it does not run (any more)."""
    domain = _domain(connection, name)
    secure = libvirt.VIR_DOMAIN_XML_SECURE
    with translated(f"Cannot read domain {name}"):
        if not domain.isActive():
            return None
        return Running(
            live_xml=domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE | secure),
            running_xml=domain.XMLDesc(secure),
            inactive_xml=domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | secure),
            paused=domain.state()[0] in (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PMSUSPENDED),
        )


def balloon(connection: t.Any, name: str, size: int) -> None:
    """Moves the balloon; ``size`` in bytes."""
    domain = _domain(connection, name)
    with translated(f"Cannot change the memory of the running domain {name}"):
        domain.setMemoryFlags(size // 1024, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def set_vcpus(connection: t.Any, name: str, number: int) -> None:
    """Plugs virtual CPUs in."""
    domain = _domain(connection, name)
    with translated(f"Cannot change the vcpus of the running domain {name}"):
        domain.setVcpusFlags(number, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def enable_vcpus(connection: t.Any, name: str, numbers: t.Sequence[int]) -> None:
    """Plugs single virtual CPUs in."""
    domain = _domain(connection, name)
    with translated(f"Cannot change the vcpus of the running domain {name}"):
        domain.setVcpu(",".join(str(number) for number in numbers), 1, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def guest_vcpus(connection: t.Any, name: str, number: int) -> None:
    """Has the agent in the guest use so many of its virtual CPUs only."""
    domain = _domain(connection, name)
    with translated(f"Cannot have the guest of domain {name} use fewer vcpus"):
        domain.agentSetResponseTimeout(_AGENT_TIMEOUT)
        domain.setVcpusFlags(number, libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_VCPU_GUEST)


def pin(connection: t.Any, name: str, pins: t.Sequence[dict[str, t.Any]]) -> None:
    """Pins threads; ``cpus`` of a pin is None for all processors of the host."""
    domain = _domain(connection, name)
    with translated(f"Cannot pin the running domain {name}"):
        count = connection.getCPUMap()[0]
        for item in pins:
            chosen = tuple(item["cpus"] is None or number in item["cpus"] for number in range(count))
            if item["kind"] == "vcpu":
                domain.pinVcpuFlags(item["number"], chosen, libvirt.VIR_DOMAIN_AFFECT_LIVE)
            elif item["kind"] == "emulator":
                domain.pinEmulator(chosen, libvirt.VIR_DOMAIN_AFFECT_LIVE)
            else:
                domain.pinIOThread(item["number"], chosen, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def add_iothreads(connection: t.Any, name: str, numbers: t.Sequence[int]) -> None:
    """Adds I/O threads."""
    domain = _domain(connection, name)
    with translated(f"Cannot add I/O threads to the running domain {name}"):
        for number in numbers:
            domain.addIOThread(number, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def delete_iothreads(connection: t.Any, name: str, numbers: t.Sequence[int]) -> None:
    """Ends I/O threads."""
    domain = _domain(connection, name)
    with translated(f"Cannot end I/O threads of the running domain {name}"):
        for number in numbers:
            domain.delIOThread(number, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def iothread_parameters(connection: t.Any, name: str, number: int, values: dict[str, int]) -> None:
    """Sets how an I/O thread works."""
    domain = _domain(connection, name)
    with translated(f"Cannot change I/O thread {number} of the running domain {name}"):
        domain.setIOThreadParams(number, values, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def scheduler(connection: t.Any, name: str, values: dict[str, int]) -> None:
    """Sets shares and quotas of processor time."""
    domain = _domain(connection, name)
    with _changed(f"Cannot change the share of the processors of the running domain {name}"):
        domain.setSchedulerParametersFlags(values, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def memory_limits(connection: t.Any, name: str, values: dict[str, int | None]) -> None:
    """Sets limits of memory, in KiB; None lifts one."""
    domain = _domain(connection, name)
    unlimited = libvirt.VIR_DOMAIN_MEMORY_PARAM_UNLIMITED
    with _changed(f"Cannot change the limits of the memory of the running domain {name}"):
        told = {key: unlimited if value is None else value for key, value in values.items()}
        domain.setMemoryParameters(told, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def block_limits(connection: t.Any, name: str, values: dict[str, t.Any]) -> None:
    """Sets weights and limits of the disks of the host."""
    domain = _domain(connection, name)
    with _changed(f"Cannot change the limits of the disks of the running domain {name}"):
        domain.setBlkioParameters(values, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def numa(connection: t.Any, name: str, nodeset: str) -> None:
    """Moves the memory to other NUMA nodes."""
    domain = _domain(connection, name)
    with _changed(f"Cannot change the NUMA nodes of the running domain {name}"):
        domain.setNumaParameters({"numa_nodeset": nodeset}, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def block_io(connection: t.Any, name: str, target: str, values: dict[str, t.Any]) -> None:
    """Sets the limits of one disk of the guest."""
    domain = _domain(connection, name)
    with translated(f"Cannot change the limits of disk {target} of the running domain {name}"):
        domain.setBlockIoTune(target, values, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def perf(connection: t.Any, name: str, values: dict[str, bool]) -> None:
    """Sets which events are counted."""
    domain = _domain(connection, name)
    with translated(f"Cannot change the events that are counted of the running domain {name}"):
        domain.setPerfEvents(values, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def lifecycle(connection: t.Any, name: str, event: str, action: str) -> None:
    """Sets what happens when the guest powers off, reboots or crashes."""
    domain = _domain(connection, name)
    kind = getattr(libvirt, f"VIR_DOMAIN_LIFECYCLE_{_EVENTS[event]}")
    chosen = getattr(libvirt, f"VIR_DOMAIN_LIFECYCLE_ACTION_{_ACTIONS[action]}")
    with translated(f"Cannot change what the running domain {name} does on {event}"):
        domain.setLifecycleAction(kind, chosen, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def balloon_period(connection: t.Any, name: str, seconds: int) -> None:
    """Sets how often the guest tells how it uses its memory; 0 is never."""
    domain = _domain(connection, name)
    with translated(f"Cannot change the period of the memory statistics of the running domain {name}"):
        domain.setMemoryStatsPeriod(seconds, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def title(connection: t.Any, name: str, text: str | None) -> None:
    """Sets the title, or removes it."""
    domain = _domain(connection, name)
    with translated(f"Cannot change the title of the running domain {name}"):
        kind = libvirt.VIR_DOMAIN_METADATA_TITLE
        domain.setMetadata(kind, text, None, None, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def description(connection: t.Any, name: str, text: str | None) -> None:
    """Sets the description, or removes it."""
    domain = _domain(connection, name)
    with translated(f"Cannot change the description of the running domain {name}"):
        kind = libvirt.VIR_DOMAIN_METADATA_DESCRIPTION
        domain.setMetadata(kind, text, None, None, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def metadata(connection: t.Any, name: str, uri: str, key: str, text: str | None) -> None:
    """Sets the element of a namespace (``text``: without one, which libvirt gives it), or removes it."""
    domain = _domain(connection, name)
    with translated(f"Cannot change the metadata of the running domain {name}"):
        kind = libvirt.VIR_DOMAIN_METADATA_ELEMENT
        domain.setMetadata(kind, text, key, uri, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def attach(connection: t.Any, name: str, documents: t.Sequence[str]) -> None:
    """Plugs devices in, in order."""
    domain = _domain(connection, name)
    for document in documents:
        with translated(f"Cannot plug a device into the running domain {name}"):
            domain.attachDeviceFlags(document, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def update(connection: t.Any, name: str, document: str) -> None:
    """Changes a device in its place; ``document`` is the device as it runs, with the change in it."""
    domain = _domain(connection, name)
    with translated(f"Cannot change a device of the running domain {name}"):
        domain.updateDeviceFlags(document, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def detach(connection: t.Any, name: str, alias: str, document: str) -> None:
    """Asks for a device to be let go of. It is gone when the guest has let go, which it may never do."""
    domain = _domain(connection, name)
    try:
        with translated(f"Cannot pull a device out of the running domain {name}"):
            domain.detachDeviceAlias(alias, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except LibvirtError as exc:
        if is_code(exc, "VIR_ERR_DEVICE_MISSING"):
            return
        if not is_code(exc, "VIR_ERR_NO_SUPPORT"):
            raise
        with translated(f"Cannot pull a device out of the running domain {name}"):
            domain.detachDeviceFlags(document, libvirt.VIR_DOMAIN_AFFECT_LIVE)


@steady
def aliases(connection: t.Any, name: str) -> frozenset[str]:
    """The names that libvirt has for the devices of a running domain; none when it does not run (any more)."""
    try:
        domain = _domain(connection, name)
        with translated(f"Cannot read domain {name}"):
            text = domain.XMLDesc(0) if domain.isActive() else ""
    except LibvirtError as exc:
        if is_code(exc, "VIR_ERR_NO_DOMAIN"):
            return frozenset()
        raise
    return frozenset(re.findall(r"<alias name=['\"]([^'\"]+)['\"]", text))


def host_cpus(connection: t.Any) -> int:
    """How many processors the host has, also those that are off."""
    with translated("Cannot count the processors of the host"):
        return int(connection.getCPUMap()[0])
