# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: which part of the host's processors, memory and disks the domain gets. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    drop_children,
    ensure,
    prune,
    sized,
    text,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.lists import items, ordered, whole
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import (
    PATH,
    RANGES,
    TEXT,
    Shape,
    number,
    numbers,
    words,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

_QUOTA = number(-1)
_PERIOD = number(1000, 1_000_000)
_MODE = words("strict", "preferred", "interleave", "restrictive")


def _pin(name: str, tag: str, key: str) -> Leaf:
    table = (attribute(key, ".", key, number(0)), attribute("cpuset", ".", "cpuset", RANGES))
    return ordered(items(name, "cputune", tag, table, required=(key, "cpuset"), unique=key), key)


def _check_scheduler(what: str, values: Values) -> None:
    real_time = values.get("scheduler") in ("fifo", "rr")
    if real_time != ("priority" in values):
        raise InvalidSpec(f"{what}: the schedulers fifo and rr need a priority, and the others have none.")


_SCHEDULER = (
    attribute("scheduler", ".", "scheduler", words("batch", "idle", "fifo", "rr")),
    attribute("priority", ".", "priority", number(1, 99)),
)


def _schedulers(name: str, tag: str, key: str) -> Leaf:
    """libvirt may keep one entry for several threads or one for each; here each has its own."""
    table = (attribute(key, ".", key, RANGES), *_SCHEDULER)
    leaf = items(name, "cputune", tag, table, required=(key, "scheduler"), check=_check_scheduler)
    shape = leaf.shape or TEXT

    def single(value: t.Any) -> t.Any:
        if value is None:
            return None
        found = {number: {**item, key: str(number)} for item in value for number in numbers(item.get(key, "0"))}
        return [found[number] for number in sorted(found)]

    def parse(what: str, value: t.Any) -> t.Any:
        wanted = shape.parse(what, value)
        members = [number for item in wanted for number in numbers(item[key])]
        twice = sorted({number for number in members if members.count(number) > 1})
        if twice:
            raise InvalidSpec(f"{what}: {twice[0]} is in two entries; each has one scheduler.")
        return single(wanted)

    return dataclasses.replace(leaf, read=lambda node: single(leaf.read(node)), shape=Shape(shape.option, parse))


def complete(scalars: Values) -> None:
    """Gives the threads without an entry the numbers that libvirt would give them, the lowest free ones."""
    entries, count = scalars.get("iothread_ids"), scalars.get("iothreads") or 0
    if not entries:
        return
    used = {item["id"] for item in entries}
    free = [thread for thread in range(1, count + len(entries) + 1) if thread not in used]
    filled = [{"id": thread} for thread in free[: max(0, count - len(entries))]]
    scalars["iothread_ids"] = sorted([*entries, *filled], key=lambda item: int(item["id"]))


def _counted(leaf: Leaf) -> Leaf:
    """The numbers of the threads; as many of them as have one. libvirt gives numbers to what would be left of a higher count."""

    def write(node: Element, value: t.Any) -> None:
        leaf.write(node, value)
        if value:
            ensure(node, "iothreads").text = str(len(value))
        else:
            drop_children(node, "iothreads")

    return dataclasses.replace(leaf, write=write)


def _at_most(leaf: Leaf) -> Leaf:
    """As many threads as that: libvirt keeps all that have a number, so those with the highest lose it."""

    def write(node: Element, value: t.Any) -> None:
        leaf.write(node, value)
        numbered = node.find("iothreadids")
        if numbered is not None and value is not None:
            entries = sorted(numbered, key=lambda item: int(item.get("id") or 0))
            for item in entries[value:]:
                numbered.remove(item)
            prune(node, "iothreadids")

    return dataclasses.replace(leaf, write=write)


_BLOCK_DEVICE = (
    text("path", "path", PATH),
    text("weight", "weight", number(10, 1000)),
    *(text(key, key, number(0)) for key in ("read_iops_sec", "write_iops_sec", "read_bytes_sec", "write_bytes_sec")),
)
_THREAD = (
    attribute("id", ".", "id", number(1)),
    attribute("thread_pool_min", ".", "thread_pool_min", number(0)),
    attribute("thread_pool_max", ".", "thread_pool_max", number(1)),
    *(attribute(f"poll_{key}", "poll", key, number(0)) for key in ("max", "grow", "shrink")),
)
_CELL = (attribute("cellid", ".", "cellid", number(0)), attribute("mode", ".", "mode", _MODE, default="strict"))

LEAVES = (
    # The numbers first: where a count is stated beside them, or instead of them, it is written after them.
    _counted(ordered(items("iothread_ids", "iothreadids", "iothread", _THREAD, required=("id",), unique="id"), "id")),
    _at_most(text("iothreads", "iothreads", number(0))),
    attribute("default_iothread.thread_pool_min", "defaultiothread", "thread_pool_min", number(0)),
    attribute("default_iothread.thread_pool_max", "defaultiothread", "thread_pool_max", number(1)),
    text("cputune.shares", "cputune/shares", number(1)),
    text("cputune.period", "cputune/period", _PERIOD),
    text("cputune.quota", "cputune/quota", _QUOTA),
    text("cputune.global_period", "cputune/global_period", _PERIOD),
    text("cputune.global_quota", "cputune/global_quota", _QUOTA),
    text("cputune.emulator_period", "cputune/emulator_period", _PERIOD),
    text("cputune.emulator_quota", "cputune/emulator_quota", _QUOTA),
    text("cputune.iothread_period", "cputune/iothread_period", _PERIOD),
    text("cputune.iothread_quota", "cputune/iothread_quota", _QUOTA),
    _pin("cputune.vcpupin", "vcpupin", "vcpu"),
    attribute("cputune.emulatorpin", "cputune/emulatorpin", "cpuset", RANGES),
    _pin("cputune.iothreadpin", "iothreadpin", "iothread"),
    _schedulers("cputune.vcpusched", "vcpusched", "vcpus"),
    _schedulers("cputune.iothreadsched", "iothreadsched", "iothreads"),
    whole("cputune.emulatorsched", "cputune/emulatorsched", _SCHEDULER, check=_check_scheduler),
    attribute("numatune.mode", "numatune/memory", "mode", _MODE),
    attribute("numatune.nodeset", "numatune/memory", "nodeset", RANGES),
    attribute("numatune.placement", "numatune/memory", "placement", words("static", "auto")),
    ordered(
        items(
            "numatune.memnodes",
            "numatune",
            "memnode",
            (*_CELL, attribute("nodeset", ".", "nodeset", RANGES)),
            required=("cellid", "nodeset"),
            unique="cellid",
        ),
        "cellid",
    ),
    *(
        sized(f"memtune.{key}", f"memtune/{key}")
        for key in ("hard_limit", "soft_limit", "swap_hard_limit", "min_guarantee")
    ),
    text("blkiotune.weight", "blkiotune/weight", number(10, 1000)),
    items("blkiotune.devices", "blkiotune", "device", _BLOCK_DEVICE, required=("path",), unique="path"),
)
