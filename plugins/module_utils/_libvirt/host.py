# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The host as libvirt sees it: thin typed calls that give plain data."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import is_code, is_unknown, translated


def capabilities(connection: t.Any) -> str:
    """The document of what the host can do."""
    with translated("Cannot read the capabilities of the host"):
        return str(connection.getCapabilities())


def domain_capabilities(
    connection: t.Any, virt_type: str, arch: str | None = None, machine: str | None = None
) -> str | None:
    """The document of what domains of a type can have; None when the host offers no such type, arch or machine."""
    try:
        with translated(f"Cannot read what domains of type {virt_type} can have"):
            return str(connection.getDomainCapabilities(None, arch, machine, virt_type, 0))
    except LibvirtError as exc:
        if is_code(
            exc,
            "VIR_ERR_INVALID_ARG",
            "VIR_ERR_CONFIG_UNSUPPORTED",
            "VIR_ERR_NO_SUPPORT",
            "VIR_ERR_OPERATION_UNSUPPORTED",
        ):
            return None
        raise


def cpu_models(connection: t.Any, arch: str) -> tuple[str, ...]:
    """The models of processors that libvirt knows for an architecture; none where it takes any, or does not say."""
    try:
        with translated(f"Cannot read the models of processors for {arch}"):
            return tuple(map(str, connection.getCPUModelNames(arch, 0) or ()))
    except LibvirtError as exc:
        if is_code(exc, "VIR_ERR_INVALID_ARG", "VIR_ERR_NO_SUPPORT", "VIR_ERR_OPERATION_UNSUPPORTED"):
            return ()
        raise


def unknown_features(connection: t.Any, names: t.Sequence[str]) -> tuple[str, ...]:
    """Those of the names that are no features of x86 processors to libvirt; none where it does not say."""
    if _are_features(connection, names) or not _are_features(connection, ()):
        return ()
    return tuple(name for name in names if not _are_features(connection, (name,)))


def _are_features(connection: t.Any, names: t.Sequence[str]) -> bool:
    """Whether libvirt compares a processor with such features to that of the host."""
    cpu = _xml.element("cpu")
    for tag, text in (("arch", "x86_64"), ("model", "qemu64")):
        _xml.child(cpu, tag, text=text)
    for name in names:
        _xml.child(cpu, "feature", {"name": name})
    try:
        with translated("Cannot compare the processor of the host"):
            connection.compareCPU(_xml.to_text(cpu), 0)
    except LibvirtError as exc:
        if is_code(exc, "VIR_ERR_INTERNAL_ERROR", "VIR_ERR_NO_SUPPORT", "VIR_ERR_OPERATION_UNSUPPORTED"):
            return False
        raise
    return True


def versions(connection: t.Any) -> tuple[int, int]:
    """libvirt's and the hypervisor's version numbers, as major * 1,000,000 + minor * 1,000 + release."""
    with translated("Cannot read the versions of libvirt and qemu"):
        return int(connection.getLibVersion()), int(connection.getVersion())


def uri(connection: t.Any) -> str:
    """The URI of the connection as the daemon says it."""
    with translated("Cannot read the URI of the connection"):
        return str(connection.getURI())


def info(connection: t.Any) -> dict[str, t.Any]:
    """Architecture and processors of the host, memory in bytes (all, and free now: 0 where nobody says it)."""
    what = "Cannot read the processors and the memory of the host"
    with translated(what):
        model, memory, cpus, mhz, nodes, sockets, cores, threads = connection.getInfo()
    stats: dict[str, t.Any] = {}
    try:
        with translated(what):
            stats = connection.getMemoryStats(-1, 0)
    except LibvirtError as exc:
        if not is_unknown(exc):
            raise
    # getInfo counts in MiB.
    total = int(stats.get("total", int(memory) * 1024)) * 1024
    free = sum(int(stats.get(name, 0)) for name in ("free", "buffers", "cached")) * 1024
    return {
        "arch": model, "cpus": cpus, "mhz": mhz, "numa_nodes": nodes, "sockets": sockets,
        "cores": cores, "threads": threads, "memory_total": total, "memory_free": free,
    }  # fmt: skip
