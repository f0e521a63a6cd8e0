# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Running domains: what is no device: memory, processors, threads, texts. Pure."""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import ensure, unset
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live import cpus, settle_rest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.settle_rest import replace, size
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.situation import Operation
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.work import Work

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

_AGENT = "org.qemu.guest_agent.0"


def propose(work: Work) -> None:
    """The operations on all that is no device and no limit."""
    _iothreads(work)
    _vcpus(work)
    _pins(work)
    _texts(work)
    _lifecycle(work)
    _metadata(work)


def current_memory(root: Element) -> int:
    """What the guest has of its memory, in bytes."""
    return size(root, "currentMemory") or size(root, "memory")


def balloon(work: Work, defined: Element) -> None:
    """The balloon is moved when the definition changes; what the guest makes of it is the guest's affair."""
    wanted, now = current_memory(work.wanted), current_memory(work.full)
    if wanted in (current_memory(defined), now):
        return
    if all(size(root, "currentMemory") in (0, size(root, "memory")) for root in (work.wanted, work.full)) and (
        settle_rest.boot_memory(work.wanted) == settle_rest.boot_memory(work.full)
    ):
        # All that there is: what is plugged in counts by itself.
        return
    # It was taken for settled; this time it is to change.
    replace(work.root, work.full, "currentMemory")
    device = work.full.find("devices/memballoon")
    if not work.situation.reachable:
        return
    if device is not None and device.get("model") != "none" and wanted <= size(work.full, "memory"):
        operation = Operation("balloon", "the memory", {"size": wanted}, first=True)
        work.fields(["currentMemory"], lambda root: replace(root, work.wanted, "currentMemory"), operation)


def _vcpus(work: Work) -> None:
    wanted, now = cpus.current_vcpus(work.wanted), cpus.current_vcpus(work.root)
    if work.wanted.find("vcpus") is not None and work.root.find("vcpus") is not None:
        _single_vcpus(work)
    elif now < wanted <= cpus.vcpus(work.root):

        def change(root: Element) -> None:
            node = ensure(root, "vcpu")
            unset(node, "current")
            if wanted != cpus.vcpus(root):
                node.set("current", str(wanted))
            settle_rest.vcpus(root, work.wanted)

        operation = Operation("set_vcpus", "the virtual CPUs", {"number": wanted})
        work.fields(["vcpu", "vcpus"], change, operation)


def _single_vcpus(work: Work) -> None:
    """A list of single ones: those are plugged in that it has more."""
    states = {node.get("id"): node.get("enabled") for node in work.root.findall("vcpus/vcpu")}
    wanted = {node.get("id"): node for node in work.wanted.findall("vcpus/vcpu")}
    new = [key for key, node in wanted.items() if node.get("enabled") == "yes" and states.get(key) == "no"]
    less = [key for key, node in wanted.items() if node.get("enabled") == "no" and states.get(key) == "yes"]
    if not new or less or any(wanted[key].get("hotpluggable") == "no" for key in new):
        return

    def change(root: Element) -> None:
        ensure(root, "vcpu").set("current", str(cpus.current_vcpus(work.wanted)))
        replace(root, work.wanted, "vcpus")

    operation = Operation("enable_vcpus", "the virtual CPUs", {"numbers": sorted(int(key or 0) for key in new)})
    work.fields(["vcpu", "vcpus"], change, operation)


def fewer_vcpus(work: Work, defined: Element) -> None:
    """Until its next start, a guest whose agent is there can at least leave some unused."""
    wanted = cpus.current_vcpus(work.wanted)
    if cpus.current_vcpus(defined) == wanted or wanted >= cpus.current_vcpus(work.full):
        return
    for node in work.full.findall("devices/channel/target"):
        if node.get("name") == _AGENT and node.get("state") == "connected":
            work.operations.append(Operation("guest_vcpus", "the virtual CPUs", {"number": wanted}, first=True))


#: What can be set of an I/O thread, by its place in the document.
_THREAD = {
    "thread_pool_min": "thread_pool_min",
    "thread_pool_max": "thread_pool_max",
    "poll.max": "poll_max_ns",
    "poll.grow": "poll_grow",
    "poll.shrink": "poll_shrink",
}


def _iothreads(work: Work) -> None:
    now, wanted = cpus.iothreads(work.root), cpus.iothreads(work.wanted)
    operations: list[Operation] = []
    new = [number for number in wanted if number not in now]
    old = [number for number in now if number not in wanted]
    busy = sorted(cpus.used_iothreads(work.root).intersection(old))
    if busy:
        for place in ("iothreads", "iothreadids"):
            work.reason(place, f"a device of the running domain uses I/O thread {busy[0]}")
        return
    if new:
        operations.append(Operation("add_iothreads", "the I/O threads", {"numbers": new}))
    if old:
        operations.append(Operation("delete_iothreads", "the I/O threads", {"numbers": old}))
    for number, values in wanted.items():
        if values == now.get(number, {}):
            continue
        if set(now.get(number, {})) - set(values) or set(values) - set(_THREAD):
            return
        told = {_THREAD[name]: int(value) for name, value in values.items()}
        operations.append(Operation("iothread_parameters", f"I/O thread {number}", {"number": number, "values": told}))
    if operations:
        work.fields(["iothreads", "iothreadids"], lambda root: cpus.copy_iothreads(root, work.wanted), *operations)


def _pins(work: Work) -> None:
    now, wanted = (cpus.pins(root, work.situation.cpus) for root in (work.root, work.wanted))
    steps = []
    for thread, chosen in wanted.items():
        if now.get(thread) != chosen:
            steps.append({"kind": thread[0], "number": thread[1], "cpus": None if chosen is None else sorted(chosen)})
    if steps and set(now) >= set(wanted):
        operation = Operation("pin", "the processors that it runs on", {"pins": steps})
        work.fields(["vcpu", "cputune"], lambda root: cpus.copy_pins(root, work.wanted), operation)


def _texts(work: Work) -> None:
    for tag in ("title", "description"):
        text = _xml.find_text(work.wanted, tag)
        if _xml.find_text(work.root, tag) != text:
            operation = Operation(tag, f"the {tag}", {"text": text})
            work.fields([tag], _copying(work, tag), operation)


def _copying(work: Work, tag: str) -> t.Callable[[Element], None]:
    return lambda root: replace(root, work.wanted, tag)


def _lifecycle(work: Work) -> None:
    events = ["on_reboot", "on_poweroff", "on_crash"]
    if _xml.find_text(work.wanted, "on_poweroff") != "restart":
        # qemu has no way to end at a reboot and start anew at a power off, so it must never be between the two.
        events = ["on_poweroff", "on_reboot", "on_crash"]
    for tag in events:
        action = _xml.find_text(work.wanted, tag)
        if action is not None and _xml.find_text(work.root, tag) not in (None, action):
            operation = Operation("lifecycle", tag, {"event": tag[3:], "action": action})
            work.fields([tag], _copying(work, tag), operation)


def _metadata(work: Work) -> None:
    """Everything in a namespace of somebody else; one element each."""
    now, wanted = ({str(node.tag): node for node in root.findall("metadata/*")} for root in (work.root, work.wanted))
    for tag in [*now, *(tag for tag in wanted if tag not in now)]:
        old, new = now.get(tag), wanted.get(tag)
        if None not in (old, new) and _xml.canonical(old) == _xml.canonical(new):  # type: ignore[arg-type]
            continue
        uri, _brace, name = tag[1:].partition("}")
        if not name:
            continue
        text = None if new is None else _xml.to_text(_xml.without_namespace(new)).strip()
        arguments = {"uri": uri, "key": _prefix(new if new is not None else old), "text": text}
        work.fields(["metadata"], _swap_metadata(tag, new), Operation("metadata", f"the metadata of {uri}", arguments))


def _prefix(node: Element | None) -> str:
    prefix = getattr(node, "prefix", None)
    return prefix or "ns"


def _swap_metadata(tag: str, new: Element | None) -> t.Callable[[Element], None]:
    def change(root: Element) -> None:
        _xml.drop_metadata(root, tag)
        if new is not None:
            ensure(root, "metadata").append(copy.deepcopy(new))

    return change
