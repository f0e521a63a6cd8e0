# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: the NUMA nodes of the guest, and how far they are from each other. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    attribute,
    ensure,
    sized_attribute,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.lists import items
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import (
    RANGES,
    TEXT,
    YES_NO,
    Shape,
    number,
    size,
    words,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import parse_size

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


def _measure(tag: str, unit: str) -> Leaf:
    """A size that is an element with a value and its unit, in bytes; libvirt keeps it in ``unit``."""
    factor = parse_size(1, tag, unit)

    def get(node: Element) -> t.Any:
        found = node.find(tag)
        text = None if found is None else found.get("value")
        return None if found is None or text is None else parse_size(text, tag, found.get("unit") or unit)

    def put(node: Element, value: t.Any) -> None:
        if value is None:
            for item in node.findall(tag):
                node.remove(item)
        else:
            _xml.set_attributes(ensure(node, tag), {"value": str(value // factor), "unit": unit})

    return Leaf(tag, get, put, size(unit, unit, least=1), place=tag)


_CACHE = (
    attribute("level", ".", "level", number(1)),
    # libvirt does not write down what is none, and yet refuses a document without it: it is stated anew each time.
    attribute("associativity", ".", "associativity", words("none", "direct", "full")),
    attribute("policy", ".", "policy", words("none", "writeback", "writethrough")),
    _measure("size", "KiB"),
    _measure("line", "B"),
)
_CELL = (
    attribute("id", ".", "id", number(0)),
    attribute("cpus", ".", "cpus", RANGES),
    sized_attribute("memory", "memory"),
    attribute("mem_access", ".", "memAccess", words("shared", "private")),
    attribute("discard", ".", "discard", YES_NO),
    items(
        "distances",
        "distances",
        "sibling",
        (attribute("id", ".", "id", number(0)), attribute("value", ".", "value", number(10, 255))),
        required=("id", "value"),
        unique="id",
    ),
    items(
        "caches",
        ".",
        "cache",
        _CACHE,
        required=("level", "associativity", "policy", "size", "line"),
        unique="level",
    ),
)


def _cells() -> Leaf:
    leaf = items("cpu.numa", "cpu/numa", "cell", _CELL, required=("memory",), unique="id")
    shape = leaf.shape or TEXT

    def parse(what: str, value: t.Any) -> t.Any:
        # A cell's number is its place in the list, as libvirt has it too.
        numbered = [{**cell, "id": index if cell.get("id") is None else cell["id"]} for index, cell in enumerate(value)]
        return sorted(shape.parse(what, numbered), key=lambda cell: int(cell["id"]))

    return dataclasses.replace(leaf, shape=Shape(shape.option, parse))


_WAY = (
    attribute("initiator", ".", "initiator", number(0)),
    attribute("target", ".", "target", number(0)),
    attribute("cache", ".", "cache", number(1)),
    attribute("type", ".", "type", words("access", "read", "write")),
)
_NEEDED = ("initiator", "target", "type", "value")


def _between(name: str, tag: str, value: Leaf) -> Leaf:
    """What is known of the way from the processors of one node to the memory of another."""
    return items(f"cpu.interconnects.{name}", "cpu/numa/interconnects", tag, (*_WAY, value), required=_NEEDED)


LEAVES = (
    _cells(),
    _between("latencies", "latency", attribute("value", ".", "value", number(1))),
    _between("bandwidths", "bandwidth", sized_attribute("value", "value", unit="KiB")),
)
