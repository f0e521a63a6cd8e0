# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: the memory of the guest, and what of the host is behind it. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    attribute,
    flag,
    in_kib,
    sized,
    sized_attribute,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.lists import items
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import ON_OFF, RANGES, number, words

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

_MIB = 1024 * 1024
_BACKING = "memoryBacking"

_ALL = sized("memory", "memory", least=_MIB, keep=True)
_OWN_CURRENT = sized("current_memory", "currentMemory", least=_MIB, effect="live", runtime=True)
#: A domain that says nothing has all of its memory.
CURRENT_MEMORY = dataclasses.replace(
    _OWN_CURRENT, place=None, read=lambda node: _OWN_CURRENT.read(node) or _ALL.read(node)
)


def _plugged(node: Element) -> int:
    """What memory devices have: libvirt counts them to the whole."""
    sizes = [in_kib(item.text or "0", "size", item.get("unit")) for item in node.findall("devices/memory/target/size")]
    return sum(sizes)


def _read_memory(node: Element) -> t.Any:
    total = _ALL.read(node)
    return None if total is None else max(total - _plugged(node), 0)


def _write_memory(node: Element, value: t.Any) -> None:
    if value is None:
        return
    # Who never asked for less than all gets all of the new size too.
    if CURRENT_MEMORY.read(node) == _ALL.read(node):
        CURRENT_MEMORY.write(node, None)
    total = value + _plugged(node)
    _ALL.write(node, total)
    now = CURRENT_MEMORY.read(node)
    if now is not None and now > total:
        CURRENT_MEMORY.write(node, None)


MEMORY: Leaf = dataclasses.replace(_ALL, read=_read_memory, write=_write_memory)

_HUGEPAGES = flag("memory_backing.hugepages", f"{_BACKING}/hugepages")


def _write_hugepages(node: Element, value: t.Any) -> None:
    found = node.find(f"{_BACKING}/hugepages")
    # Sizes of pages that are declared need the element that is not declared any more.
    if value is None and found is not None and len(found):
        return
    _HUGEPAGES.write(node, value)


_PAGE = (sized_attribute("size", "size"), attribute("nodeset", ".", "nodeset", RANGES))

LEAVES = (
    MEMORY,
    CURRENT_MEMORY,
    sized("max_memory.size", "maxMemory", least=_MIB),
    attribute("max_memory.slots", "maxMemory", "slots", number(1)),
    # In this order: without the list of pages the element is empty, and is made again when it is wanted.
    items("memory_backing.pages", f"{_BACKING}/hugepages", "page", _PAGE, required=("size",)),
    dataclasses.replace(_HUGEPAGES, write=_write_hugepages),
    flag("memory_backing.nosharepages", f"{_BACKING}/nosharepages"),
    flag("memory_backing.locked", f"{_BACKING}/locked"),
    attribute("memory_backing.source", f"{_BACKING}/source", "type", words("file", "anonymous", "memfd")),
    attribute("memory_backing.access", f"{_BACKING}/access", "mode", words("shared", "private")),
    attribute("memory_backing.allocation", f"{_BACKING}/allocation", "mode", words("immediate", "ondemand")),
    attribute("memory_backing.allocation_threads", f"{_BACKING}/allocation", "threads", number(1)),
    flag("memory_backing.discard", f"{_BACKING}/discard"),
    attribute("dump_core", "memory", "dumpCore", ON_OFF),
)
