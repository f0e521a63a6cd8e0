# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Running domains: the model of the processor, which a start expands. Pure."""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import drop_children

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: What is of the guest's own shape and never expanded.
_SHAPE = ("topology", "numa")


def settle(live: Element, wanted: Element) -> None:
    """Makes the processor of ``live`` that of ``wanted`` as far as a start could have made the one of the other."""
    mine, other = live.find("cpu"), wanted.find("cpu")
    if mine is None:
        return
    if other is None:
        _only_shape(live, mine)
        return
    mode, was = other.get("mode") or "custom", mine.get("mode") or "custom"
    if mode == was == "custom":
        if _exact(other):
            _model(mine, other)
        else:
            _take(mine, other)
    elif mode == was or (mode == "host-model" and was == "custom"):
        _take(mine, other)
    else:
        # Another way of choosing it: that alone is to be said, not all that follows from it.
        _take(mine, other)
        mine.set("mode", was)


def _exact(cpu: Element) -> bool:
    """Whether the guest has to have this model and no other."""
    return cpu.get("match") not in ("minimum", "strict") and cpu.find("model") is not None


def _take(mine: Element, other: Element) -> None:
    """All but the shape as in the other."""
    shape = [node for node in mine if str(node.tag) in _SHAPE]
    mine.attrib.clear()
    for name, value in other.attrib.items():
        mine.set(str(name), str(value))
    mine[:] = [*shape, *(copy.deepcopy(node) for node in other if str(node.tag) not in _SHAPE)]


def _model(mine: Element, other: Element) -> None:
    """A named model stays what it is, but what it consists of is found out when the domain starts."""
    was = _xml.find_text(mine, "model")
    policies = {node.get("name"): node.get("policy") or "require" for node in mine.findall("feature")}
    _take(mine, other)
    model = mine.find("model")
    if model is not None:
        model.text = was
    for node in mine.findall("feature"):
        policy, asked = policies.get(node.get("name")), node.get("policy") or "require"
        if policy is not None and asked in ("require", "disable") and _opposite(policy, asked):
            node.set("policy", policy)


def _opposite(policy: str, asked: str) -> bool:
    on = ("require", "force")
    return (policy in on) != (asked in on)


def _only_shape(live: Element, cpu: Element) -> None:
    """Nobody asked for a model, so one that is there is libvirt's."""
    if cpu.get("mode") not in (None, "custom"):
        return
    drop_children(cpu, *{str(node.tag) for node in cpu} - set(_SHAPE))
    cpu.attrib.clear()
    if not len(cpu):
        live.remove(cpu)
