# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: how many virtual processors there are, and of what kind. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    attributes,
    drop_children,
    ensure,
    prune,
    sized_attribute,
    text,
    unset,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.lists import items, whole
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import (
    ON_OFF,
    RANGES,
    TEXT,
    YES_NO,
    Shape,
    number,
    words,
)

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


def _write_vcpus(node: Element, value: t.Any) -> None:
    element = ensure(node, "vcpu")
    element.text = str(value or 1)
    if int(element.get("current") or 0) >= int(value or 1):
        unset(element, "current")
    # A list of single vcpus is of the old number.
    drop_children(node, "vcpus")


def _read_current(node: Element) -> t.Any:
    found = _xml.find_attribute(node, "vcpu", "current") or _xml.find_text(node, "vcpu")
    return None if found is None else int(found)


def _write_current(node: Element, value: t.Any) -> None:
    drop_children(node, "vcpus")
    if value is not None and str(value) != _xml.find_text(node, "vcpu"):
        element = ensure(node, "vcpu")
        element.set("current", str(value))
        # A new domain has one, and libvirt wants to read that.
        element.text = element.text or "1"
        return
    found = node.find("vcpu")
    if found is not None:
        unset(found, "current")


def _write_mode(node: Element, value: t.Any) -> None:
    cpu = ensure(node, "cpu")
    # Topology and NUMA cells are of the guest; the rest described the old model.
    drop_children(cpu, "model", "vendor", "feature", "cache", "maxphysaddr")
    unset(cpu, "mode", "match", "check", "migratable")
    if value is None:
        prune(node, "cpu")
    else:
        cpu.set("mode", value)


def _write_model(node: Element, value: t.Any) -> None:
    cpu = ensure(node, "cpu")
    drop_children(cpu, "model", "vendor", "feature")
    unset(cpu, "check")
    if value is None:
        prune(node, "cpu")
        return
    if cpu.get("mode") == "custom":
        cpu.set("match", "exact")
    _xml.child(cpu, "model", text=value)


def _fill_topology(_what: str, values: Values) -> None:
    # libvirt wants these three; what nobody states is one. The others are not written when they are one.
    for key in ("sockets", "cores", "threads"):
        values.setdefault(key, 1)
    for key in ("dies", "clusters"):
        if values.get(key) == 1:
            del values[key]


_FEATURES = items(
    "cpu.features",
    "cpu",
    "feature",
    (
        attribute("name", ".", "name"),
        attribute(
            "policy", ".", "policy", words("force", "require", "optional", "disable", "forbid"), default="require"
        ),
    ),
    required=("name",),
    unique="name",
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
)


def _cells() -> Leaf:
    leaf = items("cpu.numa", "cpu/numa", "cell", _CELL, required=("memory",), unique="id")
    shape = leaf.shape or TEXT

    def parse(what: str, value: t.Any) -> t.Any:
        # A cell's number is its place in the list, as libvirt has it too.
        numbered = [{**cell, "id": index if cell.get("id") is None else cell["id"]} for index, cell in enumerate(value)]
        return sorted(shape.parse(what, numbered), key=lambda cell: int(cell["id"]))

    return dataclasses.replace(leaf, shape=Shape(shape.option, parse))


LEAVES = (
    Leaf("vcpus", lambda node: int(_xml.find_text(node, "vcpu") or 1), _write_vcpus, number(1), keep=True),
    Leaf("current_vcpus", _read_current, _write_current, number(1), effect="live", runtime=True),
    attribute("vcpu_placement", "vcpu", "placement", words("static", "auto")),
    attribute("cpuset", "vcpu", "cpuset", RANGES),
    Leaf(
        "cpu.mode",
        lambda node: _xml.find_attribute(node, "cpu", "mode"),
        _write_mode,
        words("custom", "host-model", "host-passthrough", "maximum"),
    ),
    Leaf("cpu.model", lambda node: _xml.find_text(node, "cpu/model"), _write_model),
    attribute("cpu.fallback", "cpu/model", "fallback", words("allow", "forbid")),
    attribute("cpu.vendor_id", "cpu/model", "vendor_id"),
    text("cpu.vendor", "cpu/vendor"),
    attribute("cpu.match", "cpu", "match", words("exact", "minimum", "strict")),
    attribute("cpu.check", "cpu", "check", words("none", "partial", "full")),
    attribute("cpu.migratable", "cpu", "migratable", ON_OFF),
    whole(
        "cpu.topology",
        "cpu/topology",
        attributes("", ".", number(1), "sockets", "dies", "clusters", "cores", "threads"),
        normalise=_fill_topology,
    ),
    _FEATURES,
    *attributes("cpu.cache.", "cpu/cache", words("emulate", "passthrough", "disable"), "mode"),
    attribute("cpu.cache.level", "cpu/cache", "level", number(1, 3)),
    attribute("cpu.maxphysaddr.mode", "cpu/maxphysaddr", "mode", words("emulate", "passthrough")),
    attribute("cpu.maxphysaddr.bits", "cpu/maxphysaddr", "bits", number(1, 64)),
    attribute("cpu.maxphysaddr.limit", "cpu/maxphysaddr", "limit", number(1, 64)),
    _cells(),
)
