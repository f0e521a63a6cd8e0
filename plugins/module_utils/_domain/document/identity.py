# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Documents of domains: which element of one document is which of another. Pure.

Devices are known by what they are to the guest or to the host (target, MAC address, alias, address), by their place only
when they have nothing of their own.
"""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import mac_text

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

Key = t.Optional[tuple[t.Optional[str], ...]]
Find = t.Callable[["Element"], Key]

#: Repeated elements outside of the devices, and the attributes that tell them apart.
_KEYS: dict[str, tuple[str, ...]] = {
    "timer": ("name",),
    "feature": ("name",),
    "vcpupin": ("vcpu",),
    "iothreadpin": ("iothread",),
    "vcpusched": ("vcpus",),
    "iothreadsched": ("iothreads",),
    "cell": ("id",),
    "memnode": ("cellid",),
    "page": ("size", "nodeset"),
    "cachetune": ("vcpus",),
    "memorytune": ("vcpus",),
    "monitor": ("level", "vcpus"),
    "cache": ("id", "type", "level"),
    "node": ("id",),
    "sibling": ("id",),
    "vcpu": ("id",),
    "iothread": ("id",),
    "entry": ("name",),
    "seclabel": ("model", "type"),
    "channel": ("name",),
    "parameter": ("name", "value"),
    "cookie": ("name",),
    "property": ("name",),
    "capability": ("name",),
    "hap": (),
}


def local(node: Element) -> str:
    """The name of an element without its namespace."""
    return str(node.tag).rpartition("}")[2]


def element_key(node: Element) -> tuple[str | None, ...] | None:
    """What tells an element apart from its siblings of the same name; None when nothing does."""
    names = _KEYS.get(local(node))
    if names is None:
        return None
    found = tuple(node.get(name) for name in names)
    return found if any(value is not None for value in found) else None


def _attributes(path: str, *names: str) -> Find:
    def find(node: Element) -> Key:
        found = node if path == "." else node.find(path)
        values = tuple(None if found is None else found.get(name) for name in names)
        return values if any(value is not None for value in values) else None

    return find


def _needs_all(*finds: Find) -> Find:
    """Several keys together; None when one of them is missing."""

    def find(node: Element) -> Key:
        values: tuple[str | None, ...] = ()
        for part in finds:
            found = part(node)
            if found is None:
                return None
            values += found
        return values

    return find


def _alias(node: Element) -> Key:
    name = _xml.find_attribute(node, "alias", "name")
    # Others are libvirt's own and say nothing about the device.
    return (name,) if name is not None and name.startswith("ua-") else None


def _mac(node: Element) -> Key:
    address = _xml.find_attribute(node, "mac", "address")
    return None if address is None else (mac_text(address),)


def _number(text: str | None) -> str | None:
    """``0x0a`` and ``10`` are the same number."""
    if text is None:
        return None
    try:
        return str(int(text, 0))
    except ValueError:
        return text.lower()


def _address(node: Element) -> Key:
    found = node.find("address")
    if found is None or found.get("type") is None or len(found.attrib) < 2:
        return None
    # What is not written is zero.
    values = sorted(f"{name}={_number(value)}" for name, value in found.attrib.items() if _number(value) != "0")
    return tuple(values)


def _hostdev(node: Element) -> Key:
    """The device of the host that is handed in."""
    source = node.find("source")
    if source is None:
        return None
    parts = [node.get("type") or ""]
    for item in source.iter():
        parts += [f"{local(item)}.{name}={_number(value)}" for name, value in sorted(item.attrib.items())]
        if item.text and item.text.strip():
            parts.append(f"{local(item)}={item.text.strip()}")
    return tuple(parts)


def interface_place(node: Element) -> Key:
    """What an interface is connected to."""
    source = node.find("source")
    names = ("network", "bridge", "dev", "name", "path", "address", "port")
    return (node.get("type"), *(None if source is None else source.get(name) for name in names))


def _channel(node: Element) -> Key:
    target = node.find("target")
    if target is None:
        return None
    name = target.get("name")
    if name is None and node.get("type") == "spicevmc":
        name = "com.redhat.spice.0"
    place = (target.get("type"), name, target.get("address"), target.get("port"))
    return place if any(place[1:]) else None


def _always(_node: Element) -> Key:
    return ()


_TYPE = _attributes(".", "type")
_MODEL = _attributes(".", "model")

#: How devices of a kind are known, from the surest way to the last. Ways after "|" (None) hold only for what an earlier
#: declaration brought, when there was one: another's device is not taken for one's own because of its place.
_WAYS: dict[str, tuple[Find | None, ...]] = {
    "disk": (_attributes("target", "dev"),),
    "controller": (
        _needs_all(_attributes(".", "type", "index", "model"), _attributes("master", "startport")),
        _attributes(".", "type", "index", "model"),
        _attributes(".", "type", "index"),
        _attributes(".", "type", "model"),
        _attributes(".", "type"),
    ),
    # The two cards of a team have one address, and are of different types.
    "interface": (_needs_all(_mac, _TYPE), _mac, _alias, None, interface_place, _always),
    "channel": (_channel, _attributes("target", "type"), _TYPE),
    "graphics": (_TYPE,),
    "input": (_attributes(".", "type", "bus"), _TYPE),
    "filesystem": (_attributes("target", "dir"),),
    "hostdev": (_hostdev,),
    "serial": (_attributes("target", "port"), None, _TYPE, _always),
    "parallel": (_attributes("target", "port"), None, _TYPE, _always),
    "console": (
        _needs_all(_attributes("target", "type"), _attributes("target", "port")),
        _attributes("target", "port"),
        None,
        _attributes("target", "type"),
        _always,
    ),
    "shmem": (_attributes(".", "name"),),
    "lease": (lambda node: (_xml.find_text(node, "lockspace"), _xml.find_text(node, "key")),),
    "audio": (_attributes(".", "id"), None, _TYPE, _always),
    "memory": (_address, _attributes(".", "model"), None, _always),
    "panic": (_MODEL, None, _always),
    "redirdev": (_alias, _address, None, _attributes(".", "bus", "type"), _always),
    "rng": (_alias, _address, _attributes("backend", "model"), None, _always),
}
_OTHERS: tuple[Find | None, ...] = (_alias, _address, _attributes(".", "model", "type", "bus"), None, _always)

#: Attributes of which two devices that are one have the same, where both say it.
_SAME = {"input": ("bus",)}

#: Positions in one list of devices to positions in another.
Pairs = dict[int, int]


def pair(wanted: t.Sequence[Element], existing: t.Sequence[Element], mine: t.Collection[int] | None = None) -> Pairs:
    """Which of ``existing`` each of ``wanted`` (devices of one kind) is; who is not in the answer is new.

    ``mine``: the positions of what an earlier declaration brought (None: not known, so all may be).
    """
    pairs: Pairs = {}
    if not wanted or not existing:
        return pairs
    free = list(range(len(existing)))
    own_only = False
    for way in (_alias, *_WAYS.get(local(wanted[0]), _OTHERS)):
        if way is None:
            own_only = True
            continue
        for index, node in enumerate(wanted):
            if index in pairs or (own_only and local(node) == "interface" and _mac(node) is not None):
                continue
            key = way(node)
            fitting = [position for position in free if not _apart(node, existing[position])]
            found = None if key is None else _first(way, key, existing, fitting, mine, own_only)
            if found is not None:
                pairs[index] = found
                free.remove(found)
    return pairs


def _apart(node: Element, other: Element) -> bool:
    """Whether two devices are not one for sure."""
    pairs = [(node.get(name), other.get(name)) for name in _SAME.get(local(node), ())]
    return any(None not in (one, two) and one != two for one, two in pairs)


def _first(
    way: Find,
    key: Key,
    existing: t.Sequence[Element],
    free: t.Sequence[int],
    mine: t.Collection[int] | None,
    own_only: bool,
) -> int | None:
    fits = [index for index in free if way(existing[index]) == key]
    if mine is not None:
        own = [index for index in fits if index in mine]
        fits = own or ([] if own_only else fits)
    return fits[0] if fits else None


_LABELS: dict[str, Find] = {
    "disk": _attributes("target", "dev"),
    "interface": _mac,
    "filesystem": _attributes("target", "dir"),
    "controller": _attributes(".", "type", "index"),
    "channel": _attributes("target", "name"),
    "graphics": _TYPE,
}


def label(node: Element, position: int) -> str:
    """How a device is called in a path: by what it is known by, else by its position among its kind."""
    find = _LABELS.get(local(node))
    key = None if find is None else find(node)
    return ",".join(part for part in key if part) if key else str(position)
