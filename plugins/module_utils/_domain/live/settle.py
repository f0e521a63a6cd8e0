# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Running domains: what runs, as far as it counts in a comparison with a definition. Pure.

libvirt writes what runs in two ways: as for a migration (without what only the moment gave it, but also without some of
what it would add again), and in full. What neither shows as a difference is none, and of the rest some is only what a
start makes of a definition. What is left is what the next start changes.
"""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import memory as memories
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import identity
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import drop, drop_children, ensure
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live import cpus, settle_device, settle_rest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.situation import Ours, Situation

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


def settle(live: Element, full: Element, wanted: Element, situation: Situation, ours: Ours) -> None:
    """Writes the differences that do not count out of ``live``, with the words of ``wanted``; ``full`` is the same domain
    with all that the moment gave it."""
    for root in (live, full):
        memories.forget(root)
        root.attrib.pop("id", None)
    _asked_of_firmware(live, full)
    for rule in settle_rest.RULES:
        rule(live, wanted)
    _threads(live, wanted, situation)
    _plain_parts(live, full, wanted)
    devices = ensure(live, "devices")
    for tag in dict.fromkeys(str(node.tag) for root in (live, wanted) for node in root.findall("devices/*")):
        there = full.findall(f"devices/{tag}")
        _devices(devices, tag, there, wanted.findall(f"devices/{tag}"), ours, complete=situation.reachable)
    if not len(devices) and wanted.find("devices") is None:
        live.remove(devices)


def _asked_of_firmware(live: Element, full: Element) -> None:
    """A document for a migration does not say what was asked of the firmware when it was chosen."""
    mine, asked = live.find("os"), full.find("os/firmware")
    if mine is not None and asked is not None and mine.find("firmware") is None:
        mine.append(copy.deepcopy(asked))


def _threads(live: Element, wanted: Element, situation: Situation) -> None:
    if cpus.iothreads(live) == cpus.iothreads(wanted):
        cpus.copy_iothreads(live, wanted)
    elif wanted.find("iothreadids") is None and cpus.numbered(live):
        drop_children(live, "iothreadids")
    if cpus.pins(live, situation.cpus) == cpus.pins(wanted, situation.cpus):
        cpus.copy_pins(live, wanted)


def _plain_parts(live: Element, full: Element, wanted: Element) -> None:
    """What is right in the full document, but left out of the other."""
    for node in wanted:
        tag = str(node.tag)
        if tag in ("devices", "metadata") or len(wanted.findall(tag)) > 1:
            continue
        mine, other = live.find(tag), full.find(tag)
        if other is not None and _xml.canonical(other) == _xml.canonical(node):
            if mine is not None:
                live.replace(mine, copy.deepcopy(node))
            else:
                live.append(copy.deepcopy(node))


def _devices(
    devices: Element, tag: str, full: list[Element], wanted: list[Element], ours: Ours, *, complete: bool
) -> None:
    """Settles the devices of one kind; ``complete``: whether ``full`` is all that there is."""
    live = devices.findall(tag)
    in_full = identity.pair(live, full)
    in_wanted = identity.pair(wanted, live)
    hidden = _hidden(wanted, [node for index, node in enumerate(full) if index not in in_full.values()], in_wanted)
    for index, node in enumerate(wanted):
        if index in in_wanted:
            position = in_wanted[index]
            whole = full[in_full[position]] if position in in_full else live[position]
            settle_device.settle(live[position], whole, node, ours)
        elif index in hidden:
            shown = settle_device.stripped(hidden[index])
            settle_device.settle(shown, hidden[index], node, ours)
            devices.append(shown)
        elif not settle_device.counts(node, ours) or (settle_device.implicit(node) and not complete):
            devices.append(copy.deepcopy(node))
    for position, node in enumerate(live):
        if position not in in_wanted.values() and not settle_device.counts_live(node, ours):
            drop(node)


def _hidden(wanted: list[Element], rest: list[Element], paired: identity.Pairs) -> dict[int, Element]:
    """What runs and is not shown without all the rest, by the position of what it is in the definition."""
    missing = [index for index in range(len(wanted)) if index not in paired]
    pairs = identity.pair([wanted[index] for index in missing], rest)
    return {missing[index]: rest[position] for index, position in pairs.items()}
