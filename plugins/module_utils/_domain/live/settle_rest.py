# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Running domains: what a start makes of a definition, outside of the devices. Pure.

Each rule writes into ``live`` what ``wanted`` says where the difference is only that.
"""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import drop, drop_children
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live import cpus, settle_cpu
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import parse_size

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

_MIB = 1 << 20
#: What libvirt shows for "no limit" (in either version of control groups).
_NO_QUOTA = ("-1", "17592186044415", "18446744073709551615")
_QUOTAS = ("", "global_", "emulator_", "iothread_")


def replace(live: Element, wanted: Element, tag: str) -> None:
    """Makes one child of the root what it is in the other document."""
    drop_children(live, tag)
    for node in wanted.findall(tag):
        live.append(copy.deepcopy(node))


def size(node: Element, path: str) -> int:
    """A size of memory in bytes, 0 when it is not there."""
    text = _xml.find_text(node, path)
    return parse_size(text, path, _xml.find_attribute(node, path, "unit") or "KiB") if text else 0


def plugged(root: Element) -> int:
    """The memory that is in devices of its own, in bytes."""
    return sum(size(node, "target/size") for node in root.findall("devices/memory"))


def boot_memory(root: Element) -> int:
    """The other memory, in MiB; a start rounds it up to whole ones."""
    return -(-(size(root, "memory") - plugged(root)) // _MIB)


def _memory(live: Element, wanted: Element) -> None:
    if boot_memory(live) == boot_memory(wanted):
        replace(live, wanted, "memory")
    if size(live, "maxMemory") == size(wanted, "maxMemory"):
        _same_text(live, wanted, "maxMemory")
    # The balloon is the guest's and moves by itself.
    replace(live, wanted, "currentMemory")


def _same_text(live: Element, wanted: Element, path: str) -> None:
    mine, other = live.find(path), wanted.find(path)
    if mine is not None and other is not None:
        mine.text = other.text
        mine.set("unit", other.get("unit") or "KiB")


def vcpus(live: Element, wanted: Element) -> None:
    """Plugging one in makes libvirt list them all; their order says only when that was."""
    if wanted.find("vcpus") is None:
        drop_children(live, "vcpus")
        return
    mine = {node.get("id"): node for node in live.findall("vcpus/vcpu")}
    all_of_them = [count(root) for count in (cpus.current_vcpus, cpus.vcpus) for root in (live, wanted)]
    if not mine and all_of_them[0] == all_of_them[1] and all_of_them[2] == all_of_them[3]:
        replace(live, wanted, "vcpus")
    for node in wanted.findall("vcpus/vcpu"):
        other = mine.get(node.get("id"))
        if other is not None:
            _same_attribute(other, node, "order")


def _same_attribute(mine: Element, other: Element, name: str) -> None:
    mine.attrib.pop(name, None)
    if other.get(name) is not None:
        mine.set(name, str(other.get(name)))


def _clock(live: Element, wanted: Element) -> None:
    mine, other = live.find("clock"), wanted.find("clock")
    if mine is None or other is None or mine.get("offset") != other.get("offset"):
        return
    if other.get("offset") == "variable":
        # The guest sets its clock, and a start that resets it counts from UTC.
        _same_attribute(mine, other, "adjustment")
        if other.get("basis") == "localtime":
            _same_attribute(mine, other, "basis")


def _genid(live: Element, wanted: Element) -> None:
    """A restored guest gets another one, which tells it that it goes on from a point in its past."""
    mine, other = live.find("genid"), wanted.find("genid")
    if mine is not None and other is not None:
        mine.text = other.text


def _os(live: Element, wanted: Element) -> None:
    mine, other = live.find("os"), wanted.find("os")
    if mine is None or other is None or other.get("firmware") is None:
        return
    told = mine.get("firmware") is not None
    if not told and (_xml.find_attribute(mine, "loader", "type") == "pflash") == (other.get("firmware") == "efi"):
        # Once it is chosen, libvirt does not say any more that it was.
        mine.set("firmware", other.get("firmware") or "")
    if mine.get("firmware") != other.get("firmware"):
        return
    # libvirt looks for a firmware that fits when the domain starts. What was asked of it stays, unless it is told anew then.
    for tag in ("loader", "nvram", *(("firmware",) if told else ())):
        if other.find(tag) is None:
            drop_children(mine, tag)
    loaders = mine.find("loader"), other.find("loader")
    if None not in loaders:
        _fill(*t.cast("tuple[Element, Element]", loaders))


def _fill(mine: Element, other: Element) -> None:
    """What the definition does not say, the start has chosen."""
    for name in list(mine.attrib):
        if other.get(str(name)) is None:
            del mine.attrib[name]
    if not other.text:
        mine.text = None


def _features(live: Element, wanted: Element) -> None:
    mine, other = live.find("features/hyperv"), wanted.find("features/hyperv")
    if other is not None and other.get("mode") in ("passthrough", "host-model") and mine is not None:
        parent = mine.getparent()
        if parent is not None:
            parent.replace(mine, copy.deepcopy(other))


def _labels(live: Element, wanted: Element) -> None:
    """Security labels that a start makes up."""
    asked = {node.get("model") for node in wanted.findall("seclabel")}
    for node in live.findall("seclabel"):
        if node.get("model") not in asked:
            drop(node)
        elif node.get("type") == "dynamic":
            drop_children(node, "label", "imagelabel")


def _only_when_asked(live: Element, wanted: Element) -> None:
    """Where the domain is put when nobody says."""
    for tag in ("resource", "launchSecurity"):
        mine, other = live.find(tag), wanted.find(tag)
        if mine is None:
            continue
        if other is None:
            if tag == "resource":
                drop(mine)
            continue
        for node in list(mine):
            if other.find(str(node.tag)) is None:
                mine.remove(node)


def _limits(live: Element, wanted: Element) -> None:
    """A limit that was lifted is none, and a period without one means nothing."""
    tune = live.find("cputune")
    if tune is None:
        return
    for kind in _QUOTAS:
        quota = _xml.find_text(tune, f"{kind}quota")
        if quota in (None, *_NO_QUOTA) and _xml.find_text(wanted, f"cputune/{kind}quota") in (None, *_NO_QUOTA):
            for name in (f"{kind}quota", f"{kind}period"):
                drop_children(tune, name)
                for node in wanted.findall(f"cputune/{name}"):
                    tune.append(copy.deepcopy(node))
    if not len(tune) and wanted.find("cputune") is None:
        drop(tune)


def _metadata(live: Element, wanted: Element) -> None:
    """libvirt gives a prefix to what a running domain is told without one."""
    others = {str(node.tag): node for node in wanted.findall("metadata/*")}
    for node in live.findall("metadata/*"):
        other, parent = others.get(str(node.tag)), node.getparent()
        if other is not None and parent is not None and _xml.meaning(node) == _xml.meaning(other):
            parent.replace(node, copy.deepcopy(other))


def _perf(live: Element, wanted: Element) -> None:
    """An event that is not counted is none."""
    counted = [{node.get("name") for node in root.findall("perf/event[@enabled='yes']")} for root in (live, wanted)]
    if counted[0] == counted[1]:
        replace(live, wanted, "perf")


def _empty(live: Element, wanted: Element) -> None:
    for tag in ("metadata", "cputune", "iothreadids", "perf"):
        node = live.find(tag)
        if node is not None and not len(node) and wanted.find(tag) is None:
            live.remove(node)


RULES: tuple[t.Callable[[Element, Element], None], ...] = (
    _memory,
    vcpus,
    settle_cpu.settle,
    _clock,
    _genid,
    _os,
    _features,
    _labels,
    _only_when_asked,
    _limits,
    _metadata,
    _perf,
    _empty,
)
