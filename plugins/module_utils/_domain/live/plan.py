# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Running domains: how one is brought in line with a definition, and what is left for its next start. Pure."""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import memory as memories
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import KIB, drop, ensure
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live import (
    cpus,
    devices,
    fields,
    limits,
    settle,
    settle_rest,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.situation import (
    ACTIONS,
    Everything,
    LivePlan,
    Operation,
    Ours,
    Situation,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.work import Owned, Work, same

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: What a start expands, so that only the definition in force shows what was asked for.
_EXPANDED = ("cpu", "os", "features", "clock")


def plan(
    live: str,
    running: str,
    wanted: str,
    *,
    defined: str | None = None,
    situation: Situation | None = None,
    ours: Ours | None = None,
    owned: Owned | None = None,
) -> LivePlan:
    """The way from what runs to what is wanted.

    ``live`` is what runs as for a migration, ``running`` the same in full, ``wanted`` the definition to be, ``defined``
    the one that there is before (None: the same). ``ours`` says which devices are declared: others stay as they are.
    ``owned`` names what differs between two documents and is the task's to change; without it, all is.
    """
    now = situation or Situation()
    texts = (live, running, wanted, defined if defined is not None else wanted)
    mine_now, full, root, before = (_xml.parse(text, "the domain's document") for text in texts)
    memories.forget(root)
    memories.forget(before)
    raw = copy.deepcopy(mine_now)
    settle.settle(mine_now, full, root, now, ours or Everything())
    if defined is not None:
        _in_force(mine_now, raw, full, before, root)
        _pins_in_force(mine_now, before, root, now.cpus)
    work = Work(mine_now, full, root, now, owned)
    memory = raw if settle_rest.boot_memory(raw) != settle_rest.boot_memory(root) else root
    shown = _text(mine_now, memory)
    fields.balloon(work, before)
    if now.reachable:
        devices.propose(work)
        fields.propose(work)
        limits.propose(work)
        fields.fewer_vcpus(work, before)
    return LivePlan(_in_order(work.operations), shown, _text(work.root, memory), work.reasons, work.refused)


def _text(root: Element, memory: Element) -> str:
    """What runs as text, with all of its memory: what ``memory`` has at its start, and what is in devices now."""
    found = root.find("memory")
    if found is None or settle_rest.plugged(root) == settle_rest.plugged(memory):
        return _xml.to_text(root)
    root = copy.deepcopy(root)
    total = settle_rest.size(memory, "memory") - settle_rest.plugged(memory) + settle_rest.plugged(root)
    settle_rest.replace(root, memory, "memory")
    found = ensure(root, "memory")
    found.set("unit", "KiB")
    found.text = str(total // KIB)
    return _xml.to_text(root)


def _in_force(mine: Element, raw: Element, full: Element, defined: Element, wanted: Element) -> None:
    """Where what runs could be what the definition asks for that is in force, it is."""
    other = copy.deepcopy(raw)
    settle.settle(other, copy.deepcopy(full), defined, Situation(), Everything())
    for tag in _EXPANDED:
        if same(other, defined, tag) and not same(defined, wanted, tag):
            settle_rest.replace(mine, defined, tag)
    if not same(defined, wanted, "genid"):
        settle_rest.replace(mine, raw, "genid")
    _absent_media(mine, raw, defined, wanted)


def _pins_in_force(mine: Element, defined: Element, wanted: Element, host: int) -> None:
    """A list of processors for all threads runs as a pin of each: it is the list as long as that is in force."""
    if cpus.pins(mine, host) == cpus.pins(defined, host) != cpus.pins(wanted, host):
        cpus.copy_pins(mine, defined)


def _absent_media(mine: Element, raw: Element, defined: Element, wanted: Element) -> None:
    """A medium that may be missing is taken for missing, unless another is asked for now."""
    for node in raw.findall("devices/disk"):
        target = _xml.find_attribute(node, "target", "dev")
        path = f"devices/disk/target[@dev='{target}']/../source"
        sources = defined.find(path), wanted.find(path)
        settled = mine.find(path)
        if node.find("source") is not None or settled is None or None in sources:
            continue
        if _xml.canonical(sources[0]) != _xml.canonical(sources[1]):  # type: ignore[arg-type]
            drop(settled)


def _in_order(operations: t.Sequence[Operation]) -> tuple[Operation, ...]:
    return tuple(sorted(operations, key=lambda operation: ACTIONS.index(operation.action)))
