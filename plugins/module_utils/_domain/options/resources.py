# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: parts of the host's caches and memory bandwidth, events that are counted, limits that disks share. Pure."""

from __future__ import annotations

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.common import rates
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    sized_attribute,
    text,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.lists import items, ordered
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import (
    LINE,
    PATH,
    RANGES,
    YES_NO,
    matching,
    number,
    words,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

_EVENTS = (
    "cmt", "mbmt", "mbml", "cpu_cycles", "instructions", "cache_references", "cache_misses", "branch_instructions",
    "branch_misses", "bus_cycles", "stalled_cycles_frontend", "stalled_cycles_backend", "ref_cpu_cycles",
    "cpu_clock", "task_clock", "page_faults", "context_switches", "cpu_migrations", "page_faults_min",
    "page_faults_maj", "alignment_faults", "emulation_faults",
)  # fmt: skip


def _event(name: str) -> Leaf:
    return attribute(f"perf.{name}", f"perf/event[@name='{name}']", "enabled", YES_NO)


_VCPUS = attribute("vcpus", ".", "vcpus", RANGES)
_LEVEL = attribute("level", ".", "level", number(1, 3))
_CACHE = (
    attribute("id", ".", "id", number(0)),
    _LEVEL,
    attribute("type", ".", "type", words("both", "code", "data")),
    sized_attribute("size", "size", unit="KiB"),
)


def _check_cachetune(what: str, values: Values) -> None:
    if not values.get("caches") and not values.get("monitors"):
        raise InvalidSpec(f"{what} needs caches, or monitors.")


_CACHETUNE = (
    _VCPUS,
    ordered(items("caches", ".", "cache", _CACHE, required=("id", "level", "type", "size")), "level", "type", "id"),
    ordered(items("monitors", ".", "monitor", (_LEVEL, _VCPUS), required=("level", "vcpus")), "vcpus"),
)
_NODE = (attribute("id", ".", "id", number(0)), attribute("bandwidth", ".", "bandwidth", number(1)))
_MEMORYTUNE = (
    _VCPUS,
    ordered(items("nodes", ".", "node", _NODE, required=("id", "bandwidth"), unique="id"), "id"),
)


def _check_group(what: str, values: Values) -> None:
    if len(values) == 1:
        raise InvalidSpec(f"{what}: the group {values['name']} needs a limit.")


LEAVES = (
    text("resource_partition", "resource/partition", PATH),
    attribute(
        "fibrechannel_appid",
        "resource/fibrechannel",
        "appid",
        matching("[ -~]{1,128}", "identifier of an application (up to 128 printable characters)"),
    ),
    *(_event(name) for name in _EVENTS),
    ordered(
        items("cputune.cachetune", "cputune", "cachetune", _CACHETUNE, required=("vcpus",), check=_check_cachetune),
        "vcpus",
    ),
    ordered(items("cputune.memorytune", "cputune", "memorytune", _MEMORYTUNE, required=("vcpus", "nodes")), "vcpus"),
    items(
        "throttle_groups",
        "throttlegroups",
        "throttlegroup",
        (text("name", "group_name", LINE), *rates("", ".")),
        required=("name",),
        unique="name",
        check=_check_group,
    ),
)
