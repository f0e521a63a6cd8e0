# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: how many virtual processors there are, and of what kind. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.common import only
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    attributes,
    drop_children,
    ensure,
    prune,
    text,
    unset,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.lists import items, ordered, whole
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import (
    ON_OFF,
    RANGES,
    YES_NO,
    number,
    words,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

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


#: What libvirt makes of a virtual processor that is not in the list.
_REST = {"enabled": False, "hotpluggable": True}


def complete(what: str, scalars: Values) -> None:
    """Fills in the single virtual processors that are not stated, and what libvirt would of those that are."""
    entries, total = scalars.get("vcpu_states"), scalars.get("vcpus")
    if not entries:
        return
    if total is None:
        raise InvalidSpec(f"{what}: vcpu_states needs vcpus, how many there are.")
    known = {item["id"]: item for item in entries}
    scalars["vcpu_states"] = [known.get(number, {"id": number, **_REST}) for number in range(total)]
    outside = [number for number in known if number >= total]
    if outside:
        raise InvalidSpec(f"{what}: vcpu_states names vCPU {outside[0]}, but there are {total} (0 to {total - 1}).")
    enabled = [item for item in scalars["vcpu_states"] if item["enabled"]]
    if not known.get(0, _REST)["enabled"] or known[0]["hotpluggable"]:
        raise InvalidSpec(f"{what}: vCPU 0 of vcpu_states has to be enabled, and cannot be hotpluggable.")
    _check_order(what, scalars["vcpu_states"])
    if scalars.setdefault("current_vcpus", len(enabled)) != len(enabled):
        raise InvalidSpec(
            f"{what}: vcpu_states has {len(enabled)} that are enabled, but current_vcpus is {scalars['current_vcpus']}."
        )


def _check_order(what: str, states: list[dict[str, t.Any]]) -> None:
    enabled = [item for item in states if item["enabled"]]
    if len({"order" in item for item in enabled}) > 1:
        raise InvalidSpec(f"{what}: vcpu_states: either all that are enabled have an order, or none.")
    fixed = [item["id"] for item in states if not item["hotpluggable"]]
    movable = [item["id"] for item in states if item["hotpluggable"]]
    if movable and max(fixed) > min(movable):
        raise InvalidSpec(
            f"{what}: vcpu_states: those that are not hotpluggable come first, but {max(fixed)} is behind {min(movable)}, which"
            " is (as all are that are not in the list)."
        )


def _check_state(what: str, values: Values) -> None:
    enabled = values.setdefault("enabled", True)
    if not values.setdefault("hotpluggable", not enabled) and not enabled:
        raise InvalidSpec(f"{what}: one that is not enabled has to be hotpluggable, or it could never be used.")
    only(what, values, ("order",), enabled, "those that are enabled")


_STATES = ordered(
    items(
        "vcpu_states",
        "vcpus",
        "vcpu",
        (
            attribute("id", ".", "id", number(0)),
            attribute("enabled", ".", "enabled", YES_NO),
            attribute("hotpluggable", ".", "hotpluggable", YES_NO),
            attribute("order", ".", "order", number(1)),
        ),
        required=("id",),
        unique="id",
        check=_check_state,
    ),
    "id",
)

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

LEAVES = (
    Leaf("vcpus", lambda node: int(_xml.find_text(node, "vcpu") or 1), _write_vcpus, number(1), keep=True),
    Leaf("current_vcpus", _read_current, _write_current, number(1), effect="live", runtime=True),
    # After the numbers, which take a list of the old ones away.
    _STATES,
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
)
