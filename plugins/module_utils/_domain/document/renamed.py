# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Documents of domains: devices that somebody has given another name behind our back. Pure.

Disks are known by their target, filesystems by their tag. One that has the source of a declared one, which is not there under its
own name any more, is that one: two of them would be in each other's way (qemu locks what a disk is on).
"""

from __future__ import annotations

import copy
import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.common import forget_place
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.disk import guessed_bus
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import drop, unset
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: What a name of a disk or a filesystem is an attribute of.
_NAME = {"disk": "dev", "filesystem": "dir"}
#: The options that declare such devices.
OPTIONS = ("disks", "filesystems")
#: What says that there may be two disks on one source.
_SHARED = ("readonly", "shareable")

Source = tuple[t.Optional[str], ...]


@dataclasses.dataclass(frozen=True)
class _Kind:
    """The devices of a kind by name, of what exists and of the declaration, and the names in the one before."""

    tag: str
    there: dict[str, Element]
    now: dict[str, Element]
    last: set[str]


def known(existing: Element, declared: Element, last: Memory) -> Element:
    """A document with the names by which devices are declared; itself where it has them."""
    if not any(_gone(existing, tag, declared) for tag in _NAME):
        return existing
    found = copy.deepcopy(existing)
    for tag in _NAME:
        kind = _Kind(tag, _named(found, tag), _named(declared, tag), _names(last, tag))
        _put_back(kind)
    return found


def _named(root: Element, tag: str) -> dict[str, Element]:
    return {_xml.find_attribute(node, "target", _NAME[tag]) or "": node for node in root.findall(f"devices/{tag}")}


def _names(last: Memory, tag: str) -> set[str]:
    """The names that the last declaration has given."""
    found = set(last.devices.get(f"{tag}s", {}))
    for text in (last.document, last.fragments):
        found |= set(_named(_xml.parse(text), tag)) if text is not None else set()
    return found


def _gone(existing: Element, tag: str, declared: Element) -> bool:
    """Whether a declared device is not there under its name, or is on something else."""
    there = _named(existing, tag)
    return any(
        name not in there or source_of(there[name]) != source_of(node) for name, node in _named(declared, tag).items()
    )


def _put_back(kind: _Kind) -> None:
    for name, node in kind.now.items():
        source = source_of(node)
        if source is None or (name in kind.there and source_of(kind.there[name]) == source):
            continue
        other = _other(kind, name, node, source)
        if other is not None:
            _rename(kind, name, node, other)


def source_of(node: Element) -> Source | None:
    """What a disk or a filesystem is on; None when nothing is known by which it could be told."""
    source, kind = node.find("source"), node.get("type") or ("mount" if node.tag == "filesystem" else "file")
    if source is None:
        return None
    hosts = [host.get(key) for host in source.findall("host") for key in ("name", "socket")]
    # A device of the host may be declared as a file.
    path = source.get("file") or source.get("dev") or source.get("dir")
    if path is not None and not hosts:
        return (path,)
    found = tuple(source.get(key) for key in ("protocol", "pool", "volume", "name", "socket"))
    return (kind, *found, *hosts) if any(found) else None


def _alone(node: Element) -> bool:
    """Whether there is no second one on its source."""
    if node.tag != "disk":
        return False
    return (node.get("device") or "disk") in ("disk", "lun") and all(node.find(tag) is None for tag in _SHARED)


def _other(kind: _Kind, name: str, node: Element, source: Source) -> str | None:
    """The name under which a declared device is there instead; None when it is not, or not for sure."""
    if not _alone(node) and (name not in kind.last or name in kind.there or kind.tag == "disk"):
        return None
    found = [
        other
        for other, device in kind.there.items()
        if _is_free(kind, other, source) and _alone(device) == _alone(node) and source_of(device) == source
    ]
    return found[0] if len(found) == 1 else None


def _is_free(kind: _Kind, other: str, source: Source) -> bool:
    """Whether a device is no declared one under its own name. Two declared ones that have changed places may have been told to."""
    return other not in kind.last and (other not in kind.now or source_of(kind.now[other]) != source)


def _rename(kind: _Kind, name: str, node: Element, other: str) -> None:
    mine, theirs = kind.there.pop(other), kind.there.get(name)
    if theirs is not None and source_of(theirs) in map(source_of, kind.now.values()):
        # That one is to be somewhere else as well: each is written anew where it belongs.
        drop(mine)
        return
    bus = [_xml.find_attribute(item, "target", "bus") for item in (mine, theirs, node) if item is not None]
    if theirs is not None:
        # What has its name by now takes the other one.
        _become(theirs, kind.tag, other, bus[0])
        kind.there[other] = theirs
    _become(mine, kind.tag, name, (bus[1] if theirs is not None else bus[-1]) or guessed_bus(name))
    kind.there[name] = mine


def _become(node: Element, tag: str, name: str, bus: str | None) -> None:
    target = node.find("target")
    if target is None:
        return
    target.set(_NAME[tag], name)
    if tag == "disk" and target.get("bus") != bus:
        unset(target, "bus")
        _xml.set_attributes(target, {"bus": bus})
        forget_place(node)
