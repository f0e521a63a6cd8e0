# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Running domains: devices that are changed in their place. Pure.

Whatever libvirt would silently leave as it is must not be here: a change that is not named waits for the next start.
"""

from __future__ import annotations

import copy
import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import difference
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import drop_children
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.situation import Operation
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.work import Work

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

Test = t.Callable[["Element", "Element"], bool]


def _always(_running: Element, _wanted: Element) -> bool:
    return True


@dataclasses.dataclass(frozen=True)
class Part:
    """What of a device changes together: children and attributes; ``only``: when such a device takes it."""

    children: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    only: Test = _always
    action: str = "update"
    #: Attributes of one child, when not all of it is taken.
    inner: tuple[str, tuple[str, ...]] | None = None


def _removable(running: Element, wanted: Element) -> bool:
    return running.get("device") in ("cdrom", "floppy") and running.get("device") == wanted.get("device")


def _same_medium(running: Element, wanted: Element) -> bool:
    one, other = running.find("source"), wanted.find("source")
    return one is not None and other is not None


def _bridged(running: Element, wanted: Element) -> bool:
    # What is not on a bridge would be another device of the host.
    kinds = ("network", "bridge")
    return running.get("type") in kinds and wanted.get("type") in kinds


def _connected(running: Element, wanted: Element) -> bool:
    kinds = ("network", "bridge", "direct")
    return running.get("type") in kinds and wanted.get("type") in kinds


def _has_password(running: Element, wanted: Element) -> bool:
    # qemu was told at its start whether to ask for one.
    return running.get("passwd") is not None and wanted.get("passwd") is not None


def _virtio_mem(running: Element, _wanted: Element) -> bool:
    return running.get("model") == "virtio-mem"


def _balloon(running: Element, wanted: Element) -> bool:
    return running.get("model") == wanted.get("model") != "none"


_TUNE = Part(("iotune",), action="block_io")

_PARTS: dict[str, tuple[Part, ...]] = {
    "disk": (
        Part(("source", "backingStore"), ("type",), _removable, inner=("driver", ("type",))),
        Part(inner=("source", ("startupPolicy",)), only=_same_medium),
        Part(attributes=("snapshot",)),
        _TUNE,
    ),
    "interface": (
        Part(("link",)),
        Part(("source", "virtualport", "vlan"), ("type",), _bridged),
        Part(("filterref",), only=_connected),
        Part(("bandwidth",), only=_connected),
        Part(("coalesce",), only=_connected),
        Part(("port",), only=_connected),
    ),
    "graphics": (Part(attributes=("passwd", "passwdValidTo", "connected"), only=_has_password),),
    "memory": (Part(inner=("target/requested", ()), only=_virtio_mem),),
    "memballoon": (Part(("stats",), only=_balloon, action="balloon_period"),),
}


def propose(work: Work, running: Element, full: Element, wanted: Element, name: str) -> None:
    """The operations that bring a running device in line with the definition, as far as it takes them."""
    for part in _PARTS.get(str(running.tag), ()):
        new = copy.deepcopy(running)
        if not part.only(running, wanted):
            continue
        _carry(part, new, wanted)
        if difference.between(running, new):
            operation = _operation(part, running, full, wanted, name)
            if work.device(operation, running, new):
                running, full = new, _carried(part, full, wanted)


def _carry(part: Part, node: Element, wanted: Element) -> None:
    """Writes what belongs to the part into ``node`` as ``wanted`` has it."""
    for tag in part.children:
        drop_children(node, tag)
        node.extend(copy.deepcopy(item) for item in wanted.findall(tag))
    _attributes(node, wanted, part.attributes)
    if part.inner is not None:
        mine, other = node.find(part.inner[0]), wanted.find(part.inner[0])
        if mine is not None and other is not None:
            _attributes(mine, other, part.inner[1])
            if not part.inner[1]:
                mine.text = other.text
                mine.attrib.update(other.attrib)


def _carried(part: Part, node: Element, wanted: Element) -> Element:
    new = copy.deepcopy(node)
    _carry(part, new, wanted)
    return new


def _attributes(node: Element, wanted: Element, names: t.Iterable[str]) -> None:
    for name in names:
        node.attrib.pop(name, None)
        if wanted.get(name) is not None:
            node.set(name, str(wanted.get(name)))


def _operation(part: Part, running: Element, full: Element, wanted: Element, name: str) -> Operation:
    if part.action == "block_io":
        return Operation("block_io", name, {"target": name.partition(" ")[2], "values": _tuning(running, wanted)})
    if part.action == "balloon_period":
        return Operation("balloon_period", name, {"seconds": int(_xml.find_attribute(wanted, "stats", "period") or 0)})
    return Operation("update", name, {"document": _xml.to_text(_carried(part, full, wanted))})


def _tuning(running: Element, wanted: Element) -> dict[str, t.Any]:
    """All limits: libvirt leaves those as they are that are not named."""
    found: dict[str, t.Any] = {}
    for node in running.findall("iotune/*"):
        if node.tag != "group_name":
            found[str(node.tag)] = 0
    for node in wanted.findall("iotune/*"):
        text = (node.text or "").strip()
        found[str(node.tag)] = text if node.tag == "group_name" else int(text or 0)
    return found
