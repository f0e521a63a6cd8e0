# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The host: what it can do and what it has free. Reads only."""

from __future__ import annotations

import dataclasses
import functools
import os
import typing as t
import urllib.parse

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import domains
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import host as calls

_X86 = ("x86_64", "i686")


@dataclasses.dataclass(frozen=True)
class Acceleration:
    """Whether guests can run on the processor itself; ``type`` is the domain type to use, ``reason`` one sentence."""

    usable: bool
    type: str
    reason: str


@dataclasses.dataclass(frozen=True)
class GuestArch:
    """What the host offers for guests of an architecture: domain types, and machine types (short name to full name;
    a machine type that has no short name stands for itself)."""

    arch: str
    types: tuple[str, ...]
    machines: dict[str, str]


@dataclasses.dataclass(frozen=True)
class DomainAbilities:
    """What domains of one type, architecture and machine can have: attribute values by place (``disk.bus``)."""

    machine: str
    values: dict[str, tuple[str, ...]]
    max_vcpus: int | None = None


def is_local(uri: str) -> bool:
    """Whether a connection URI is of the machine that this runs on, so that its files can be looked at."""
    return not urllib.parse.urlsplit(uri).netloc


def decide_acceleration(
    arch: str, offered: bool, device: str | None, cpu_flags: t.Collection[str] | None
) -> Acceleration:
    """Pure. ``offered``: libvirt has domains of type kvm for ``arch``; ``device``: why /dev/kvm cannot be used (None:
    it can); ``cpu_flags``: of the host's processor (None: not looked at, as on another machine)."""
    if not offered:
        why = device or "libvirt offers no domains of type kvm (is qemu built with it, and the module kvm loaded?)"
        return Acceleration(False, "qemu", f"No acceleration: {why}.")
    if device is not None:
        return Acceleration(False, "qemu", f"No acceleration: {device}.")
    if arch in _X86 and cpu_flags is not None and not {"vmx", "svm"} & set(cpu_flags):
        return Acceleration(
            False,
            "qemu",
            "No acceleration: /dev/kvm is there, but the processor has neither vmx nor svm (virtualization is off in the"
            " firmware, or this is a virtual machine without nested virtualization), so guests would hang on it.",
        )
    return Acceleration(True, "kvm", f"Hardware acceleration works for {arch} guests.")


def parse_capabilities(text: str) -> tuple[str, dict[str, GuestArch]]:
    """Pure: the host's architecture and what it offers for guests, by architecture."""
    root = _xml.parse(text, "the host's capabilities")
    guests: dict[str, GuestArch] = {}
    for node in root.findall("guest/arch"):
        machines = {item.text or "": item.get("canonical") or item.text or "" for item in node.findall("machine")}
        types = tuple(item.get("type") or "" for item in node.findall("domain"))
        arch = node.get("name") or ""
        guests.setdefault(arch, GuestArch(arch, types, machines))
    return _xml.find_text(root, "host/cpu/arch") or "", guests


def parse_domain_capabilities(text: str) -> DomainAbilities:
    """Pure: the values that the attributes of devices can have."""
    root = _xml.parse(text, "the domain capabilities")
    values: dict[str, tuple[str, ...]] = {}
    for device in root.findall("devices/*"):
        for enum in device.findall("enum"):
            found = tuple(item.text or "" for item in enum.findall("value"))
            tag = str(device.tag)
            values[f"{tag}.{enum.get('name')}"] = found if device.get("supported") == "yes" else ()
    vcpus = _xml.find_attribute(root, "vcpu", "max")
    return DomainAbilities(_xml.find_text(root, "machine") or "", values, int(vcpus) if vcpus else None)


def _kvm_device() -> str | None:
    """Why /dev/kvm cannot be used; None when it can."""
    if not os.path.exists("/dev/kvm"):
        return "there is no /dev/kvm (is the kernel module kvm_intel or kvm_amd loaded?)"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "/dev/kvm may not be opened by this user"
    return None


def _cpu_flags() -> frozenset[str]:
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _colon, value = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return frozenset(value.split())
    return frozenset()


class Host:
    """The host behind a connection; each answer is asked for once."""

    def __init__(self, connection: t.Any) -> None:
        self._connection = connection
        self.local = is_local(calls.uri(connection))
        self._abilities: dict[tuple[str, str, str | None], DomainAbilities | None] = {}
        self._models: dict[str, tuple[str, ...]] = {}
        self._features: dict[tuple[str, ...], tuple[str, ...]] = {}

    @functools.cached_property
    def _capabilities(self) -> tuple[str, dict[str, GuestArch]]:
        return parse_capabilities(calls.capabilities(self._connection))

    @functools.cached_property
    def version(self) -> int:
        """libvirt's number for its version."""
        return calls.versions(self._connection)[0]

    @property
    def arch(self) -> str:
        """The architecture of the host."""
        return self._capabilities[0]

    @property
    def guests(self) -> dict[str, GuestArch]:
        """What the host offers for guests, by architecture."""
        return self._capabilities[1]

    @functools.cached_property
    def acceleration(self) -> Acceleration:
        """Whether guests of the host's own architecture can be accelerated: the one place that decides it."""
        guest = self.guests.get(self.arch)
        offered = guest is not None and "kvm" in guest.types
        if offered:
            offered = calls.domain_capabilities(self._connection, "kvm", self.arch) is not None
        device = _kvm_device() if self.local else None
        return decide_acceleration(self.arch, offered, device, _cpu_flags() if self.local else None)

    def virt_type(self, arch: str | None) -> str:
        """What the domain type ``auto`` is for guests of an architecture (None: the host's)."""
        return self.acceleration.type if arch in (None, self.arch) else "qemu"

    def abilities(self, virt_type: str, arch: str | None, machine: str | None) -> DomainAbilities | None:
        """What such domains can have; None when the host offers none."""
        key = (virt_type, arch or self.arch, machine)
        if key not in self._abilities:
            text = calls.domain_capabilities(self._connection, *key)
            self._abilities[key] = None if text is None else parse_domain_capabilities(text)
        return self._abilities[key]

    def cpu_models(self, arch: str | None) -> tuple[str, ...]:
        """The models of processors that libvirt knows for an architecture (None: the host's); none when it does not say."""
        key = arch or self.arch
        if key not in self._models:
            self._models[key] = calls.cpu_models(self._connection, key)
        return self._models[key]

    def unknown_features(self, names: t.Iterable[str]) -> tuple[str, ...]:
        """Those of the names that libvirt does not know as features of the host's kind of processor; none when it does not say."""
        key = tuple(names)
        if self.arch not in _X86 or not key:
            return ()
        if key not in self._features:
            self._features[key] = calls.unknown_features(self._connection, key)
        return self._features[key]

    @functools.cached_property
    def info(self) -> dict[str, t.Any]:
        """Processors, and memory in bytes."""
        return calls.info(self._connection)


class FutureHost:
    """A host before libvirt is there, for predictions: what can be known of it without."""

    local = True
    version = None
    arch = os.uname().machine
    guests: t.ClassVar[dict[str, GuestArch]] = {}
    info: t.ClassVar[dict[str, t.Any]] = {}

    @functools.cached_property
    def acceleration(self) -> Acceleration:
        """Whether guests will be accelerated, if the qemu to come offers it."""
        return decide_acceleration(self.arch, True, _kvm_device(), _cpu_flags())

    def virt_type(self, arch: str | None) -> str:
        """What the domain type ``auto`` will be."""
        return self.acceleration.type if arch in (None, self.arch) else "qemu"

    def cpu_models(self, arch: str | None) -> tuple[str, ...]:
        """Not known yet."""
        return ()

    def unknown_features(self, names: t.Iterable[str]) -> tuple[str, ...]:
        """Not known yet."""
        return ()

    def abilities(self, virt_type: str, arch: str | None, machine: str | None) -> None:
        """Not known yet."""


def space(path: str) -> dict[str, t.Any]:
    """Size and free space in bytes of the file system that a folder is on, or will be on when it does not exist."""
    existing = os.path.abspath(path)
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    stats = os.statvfs(existing)
    return {
        "path": path,
        "exists": os.path.exists(path),
        "size": stats.f_blocks * stats.f_frsize,
        "free": stats.f_bavail * stats.f_frsize,
    }


def version_text(number: int) -> str:
    """libvirt's way of writing a version: 9000000 is 9.0.0."""
    return f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}"


def describe(connection: t.Any, host: Host | FutureHost) -> dict[str, t.Any]:
    """Versions, processors, memory, what guests can be, and how many domains there are, as plain data.

    Without a connection (a prediction before libvirt is there) most of it is None or empty.
    """
    if connection is None:
        unknown = dict.fromkeys(("uri", "libvirt_version", "qemu_version", "cpus"))
        nothing = {"memory": {"total": None, "free": None}, "guests": {}, "domains": {"total": 0, "running": 0}}
        return {**unknown, "arch": host.arch, **nothing}
    libvirt_version, qemu_version = calls.versions(connection)
    total, running = domains.count(connection)
    return {
        "uri": calls.uri(connection),
        "libvirt_version": version_text(libvirt_version),
        "qemu_version": version_text(qemu_version),
        "arch": host.arch,
        "cpus": host.info["cpus"],
        "memory": {"total": host.info["memory_total"], "free": host.info["memory_free"]},
        "guests": {
            name: {"types": list(guest.types), "machines": guest.machines} for name, guest in host.guests.items()
        },
        "domains": {"total": total, "running": running},
    }
