# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Documents of domains: what was declared and is not in what libvirt has kept. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import identity
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document.carry_over import devices

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


def places(declared: Element, kept: Element) -> list[str]:
    """The places of what is missing."""
    found: list[str] = []
    _walk(found, "", declared, kept)
    there = devices(kept)
    for tag, nodes in devices(declared).items():
        pairs = identity.pair(nodes, there.get(tag, []))
        for index, node in enumerate(nodes):
            place = f"devices.{tag}[{identity.label(node, index)}]"
            if index in pairs:
                _walk(found, place, node, there[tag][pairs[index]])
            else:
                found.append(place)
    return found


def _walk(found: list[str], path: str, declared: Element, kept: Element) -> None:
    head = f"{path}." if path else ""
    found += [f"{head}{name}" for name in declared.attrib if name not in kept.attrib and (path or name == "type")]
    for node in declared:
        tag = str(node.tag)
        same = kept.findall(tag)
        if tag == "devices" and not path:
            continue
        if not same:
            found.append(f"{head}{identity.local(node)}")
        elif len(same) == 1 and len(declared.findall(tag)) == 1:
            _walk(found, f"{head}{identity.local(node)}", node, same[0])
