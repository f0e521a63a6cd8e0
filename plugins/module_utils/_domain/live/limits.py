# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Running domains: limits and shares of processors, memory and disks. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import drop_children, ensure, prune
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.settle_rest import replace, size
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.situation import Operation
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.work import Work

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: Place in ``cputune`` to the name in libvirt's calls.
_SCHEDULER = {
    "shares": "cpu_shares",
    "period": "vcpu_period",
    "quota": "vcpu_quota",
    **{
        f"{kind}_{what}": f"{kind}_{what}"
        for kind in ("global", "emulator", "iothread")
        for what in ("period", "quota")
    },
}
_MEMORY = ("hard_limit", "soft_limit", "swap_hard_limit")
#: What is said of the disks of the host in ``blkiotune``, with its name in libvirt's calls.
_DEVICE = {
    "weight": "device_weight",
    "read_iops_sec": "device_read_iops_sec",
    "write_iops_sec": "device_write_iops_sec",
    "read_bytes_sec": "device_read_bytes_sec",
    "write_bytes_sec": "device_write_bytes_sec",
}


#: What libvirt does by control groups, and by which element of the document.
_BY_GROUPS = {
    "cputune": tuple(_SCHEDULER),
    "memtune": _MEMORY,
    "blkiotune": ("weight", "devices"),
    "numatune": ("nodeset",),
}


def propose(work: Work) -> None:
    """The operations on limits."""
    if work.full.find("resource") is not None:
        _scheduler(work)
        _memory(work)
        _block(work)
        _numa(work)
    else:
        for tag, names in _BY_GROUPS.items():
            for name in names:
                work.reason(f"{tag}.{name}", "libvirt runs domains without control groups here")
    _perf(work)


def _scheduler(work: Work) -> None:
    values: dict[str, int] = {}
    for tag, name in _SCHEDULER.items():
        now, wanted = (_xml.find_text(root, f"cputune/{tag}") for root in (work.root, work.wanted))
        if wanted is not None and wanted != now:
            values[name] = int(wanted)
        elif wanted is None and now is not None:
            if not tag.endswith("quota"):
                # There is no way back to what the host would have chosen.
                continue
            values[name] = -1
    if not values:
        return
    tags = [tag for tag, name in _SCHEDULER.items() if name in values]

    def change(root: Element) -> None:
        tune = ensure(root, "cputune")
        for tag in tags:
            drop_children(tune, tag)
            text = _xml.find_text(work.wanted, f"cputune/{tag}")
            if text is not None:
                _xml.child(tune, tag, text=text)
        prune(root, "cputune")

    work.fields(["cputune"], change, Operation("scheduler", "the share of the processors", {"values": values}))


def _memory(work: Work) -> None:
    values: dict[str, int | None] = {}
    for tag in _MEMORY:
        now, wanted = (size(root, f"memtune/{tag}") for root in (work.root, work.wanted))
        if now != wanted:
            values[tag] = wanted // 1024 if wanted else None
    guaranteed = {size(root, "memtune/min_guarantee") for root in (work.root, work.wanted)}
    if values and len(guaranteed) == 1:
        operation = Operation("memory_limits", "the limits of its memory", {"values": values})
        work.fields(["memtune"], lambda root: replace(root, work.wanted, "memtune"), operation)


def _devices(root: Element) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for node in root.findall("blkiotune/device"):
        path = _xml.find_text(node, "path") or ""
        found[path] = {str(item.tag): (item.text or "0").strip() for item in node if item.tag in _DEVICE}
    return found


def _block(work: Work) -> None:
    values: dict[str, t.Any] = {}
    weights = [_xml.find_text(root, "blkiotune/weight") for root in (work.root, work.wanted)]
    if weights[0] != weights[1]:
        if weights[1] is None:
            return
        values["weight"] = int(weights[1])
    now, wanted = _devices(work.root), _devices(work.wanted)
    for tag, name in _DEVICE.items():
        pairs = {
            path: wanted.get(path, {}).get(tag, "0")
            for path in dict.fromkeys([*now, *wanted])
            if now.get(path, {}).get(tag, "0") != wanted.get(path, {}).get(tag, "0")
        }
        if pairs:
            # All of them: what is not named is lifted.
            values[name] = ",".join(
                f"{path},{about[tag]}" for path, about in wanted.items() if tag in about
            ) or ",".join(f"{path},0" for path in pairs)
    if values:
        operation = Operation("block_limits", "the limits of its disks", {"values": values})
        work.fields(["blkiotune"], lambda root: replace(root, work.wanted, "blkiotune"), operation)


def _numa(work: Work) -> None:
    now, wanted = work.root.find("numatune/memory"), work.wanted.find("numatune/memory")
    if now is None or wanted is None or now.get("mode") != wanted.get("mode"):
        return
    nodes = wanted.get("nodeset")
    movable = wanted.get("mode") in ("strict", "restrictive")
    if not movable or nodes is None or now.get("nodeset") == nodes or work.wanted.find("numatune/memnode") is not None:
        return
    operation = Operation("numa", "the NUMA nodes of its memory", {"nodeset": nodes})
    work.fields(["numatune"], lambda root: replace(root, work.wanted, "numatune"), operation)


def _perf(work: Work) -> None:
    now, wanted = (
        {node.get("name") or "": node.get("enabled") == "yes" for node in root.findall("perf/event")}
        for root in (work.root, work.wanted)
    )
    values = {
        name: wanted.get(name, False) for name in [*now, *wanted] if now.get(name, False) != wanted.get(name, False)
    }
    if values:
        operation = Operation("perf", "the events that are counted", {"values": values})
        work.fields(["perf"], lambda root: replace(root, work.wanted, "perf"), operation)
