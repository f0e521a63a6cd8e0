# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Running domains: what a start, a medium or a plug makes of a device. Pure."""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import drop, drop_children, unset
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.situation import Ours

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: Children that a start fills in where the definition has none, with the attributes that it may give them.
_FILLED = {
    "filesystem": {"binary": ("path",)},
    "hostdev": {"driver": ("name",)},
    "interface": {"driver": ("name",)},
}


def implicit(node: Element) -> bool:
    """Whether libvirt adds such a device by itself, and may leave it out of a document for a migration or a saved state."""
    return node.tag in ("controller", "audio", "video") or (node.tag == "input" and node.get("bus") == "ps2")


def counts(node: Element, ours: Ours) -> bool:
    """Whether it matters that a device of the definition does not run: what comes with others does not matter by itself."""
    if node.tag == "console" and _mirrors(node):
        return False
    return not implicit(node) or ours.brought(node)


def counts_live(node: Element, ours: Ours) -> bool:
    """Whether it matters that a device which runs is not in the definition: what somebody plugged in by hand stays."""
    return counts(node, ours) and ours.brought(node)


def _mirrors(console: Element) -> bool:
    """Whether a console is only another name of a serial port."""
    return _xml.find_attribute(console, "target", "type") in (None, "serial")


def stripped(node: Element) -> Element:
    """A copy without what only the moment gives a device."""
    node = copy.deepcopy(node)
    for item in list(node.iter()):
        if item.tag == "alias" and not (item.get("name") or "").startswith("ua-"):
            drop(item)
        elif item.tag == "source":
            item.attrib.pop("index", None)
            item.attrib.pop("portid", None)
    return node


def settle(live: Element, full: Element, wanted: Element, ours: Ours) -> None:
    """Writes the differences of a device that do not count out of ``live``; ``full`` is the same with everything."""
    rule = _RULES.get(str(live.tag))
    if rule is not None:
        rule(live, wanted)
    for tag, names in _FILLED.get(str(live.tag), {}).items():
        _filled(live, wanted, tag, names)
    _alias(live, wanted)
    _address(live, wanted, ours.placed(wanted))
    _adopt(live, full, wanted)


def _filled(live: Element, wanted: Element, tag: str, names: tuple[str, ...]) -> None:
    mine, other = live.find(tag), wanted.find(tag)
    if mine is None:
        return
    for name in names:
        if other is None or other.get(name) is None:
            mine.attrib.pop(name, None)
    if other is None and not mine.attrib and not len(mine):
        live.remove(mine)


def _alias(live: Element, wanted: Element) -> None:
    """Names that libvirt gives are of the moment."""
    mine, other = live.find("alias"), wanted.find("alias")
    if mine is not None and not (mine.get("name") or "").startswith("ua-"):
        live.remove(mine)
    if other is not None and not (other.get("name") or "").startswith("ua-"):
        live.append(copy.deepcopy(other))


def _address(live: Element, wanted: Element, placed: bool) -> None:
    """Where nobody said where a device is to be, it may be elsewhere than after the next start; of an address that is
    stated, more may be known while the domain runs."""
    mine, other = live.find("address"), wanted.find("address")
    if mine is None or other is None or not placed:
        drop_children(live, "address")
        live.extend([] if other is None else [copy.deepcopy(other)])
    elif mine.get("type") == other.get("type"):
        same = all(_number(mine.get(name)) in (None, _number(other.get(name))) for name in map(str, other.attrib))
        if same:
            live.replace(mine, copy.deepcopy(other))


def _number(text: str | None) -> int | str | None:
    try:
        return None if text is None else int(text, 0)
    except ValueError:
        return text


def _adopt(live: Element, full: Element, wanted: Element) -> None:
    """Takes over what the full document has as the definition says it."""
    for name in [*map(str, wanted.attrib), *map(str, live.attrib)]:
        if live.get(name) != wanted.get(name) == full.get(name):
            live.attrib.pop(name, None)
            if wanted.get(name) is not None:
                live.set(name, str(wanted.get(name)))
    for tag in dict.fromkeys(str(node.tag) for node in wanted):
        mine, other, all_of_it = live.findall(tag), wanted.findall(tag), full.findall(tag)
        if len(mine) == len(other) == len(all_of_it) == 1:
            _adopt(mine[0], all_of_it[0], other[0])
        elif _forms(all_of_it) == _forms(other):
            drop_children(live, tag)
            live.extend(copy.deepcopy(node) for node in other)


def _forms(nodes: t.Iterable[Element]) -> list[bytes]:
    """Elements in a form for comparing, without the numbers that qemu's block nodes have."""
    copies = [copy.deepcopy(node) for node in nodes]
    for node in copies:
        for item in node.iter("backingStore", "source"):
            unset(item, "index")
    return [_xml.canonical(node) for node in copies]


def _disk(live: Element, wanted: Element) -> None:
    target = live.find("target")
    if target is not None:
        target.attrib.pop("tray", None)
    drop_children(live, "mirror")
    _settle_cache(live, wanted)
    _settle_source(live, wanted)
    if wanted.find("transient") is not None and live.find("transient") is not None:
        # It runs on an overlay of the moment.
        for tag in ("source", "driver", "backingStore"):
            drop_children(live, tag)
            live.extend(copy.deepcopy(node) for node in wanted.findall(tag))
    for step in live.iter("backingStore", "source"):
        # The number of the node that qemu has for it.
        unset(step, "index")
    if wanted.find("backingStore") is None:
        # What libvirt has found in the images.
        drop_children(live, "backingStore")


def _settle_cache(live: Element, wanted: Element) -> None:
    """A start gives disks that others write too no cache, unless one is stated."""
    driver = live.find("driver")
    stated = _xml.find_attribute(wanted, "driver", "cache")
    if driver is not None and stated is None and wanted.find("shareable") is not None and driver.get("cache") == "none":
        unset(driver, "cache")


def _settle_source(live: Element, wanted: Element) -> None:
    mine, other = live.find("source"), wanted.find("source")
    if mine is not None:
        mine.attrib.pop("index", None)
        if not mine.attrib and not len(mine):
            live.remove(mine)
            mine = None
    if mine is None and other is not None and other.get("startupPolicy") in ("optional", "requisite"):
        # The medium was not there when the domain started.
        live.append(copy.deepcopy(other))


def _vsock(live: Element, wanted: Element) -> None:
    mine, other = live.find("cid"), wanted.find("cid")
    if mine is not None and other is not None and other.get("auto") == "yes" and mine.get("auto") == "yes":
        mine.attrib.pop("address", None)
        if other.get("address") is not None:
            mine.set("address", str(other.get("address")))


def _tpm(live: Element, wanted: Element) -> None:
    mine, other = live.find("backend"), wanted.find("backend")
    if mine is None or other is None:
        return
    for node in list(mine):
        if other.find(str(node.tag)) is None:
            mine.remove(node)
    for name in list(map(str, mine.attrib)):
        if other.get(name) is None:
            del mine.attrib[name]


def _graphics(live: Element, wanted: Element) -> None:
    if wanted.get("autoport") == "yes" and live.get("autoport") == "yes":
        for name in ("port", "tlsPort", "websocket"):
            if live.get(name) is not None and wanted.get(name) in (None, "-1"):
                live.attrib.pop(name)
                if wanted.get(name) is not None:
                    live.set(name, str(wanted.get(name)))


def _interface(live: Element, wanted: Element) -> None:
    target, other = live.find("target"), wanted.find("target")
    if target is not None and other is None:
        live.remove(target)
    for mac in [*live.findall("mac"), *wanted.findall("mac")]:
        mac.set("address", (mac.get("address") or "").lower())
    if wanted.find("mac") is None:
        drop_children(live, "mac")


def _console(live: Element, wanted: Element) -> None:
    if _mirrors(live) and _mirrors(wanted):
        live.attrib.clear()
        live.attrib.update(wanted.attrib)
        live[:] = [copy.deepcopy(node) for node in wanted]


_RULES: dict[str, t.Callable[[Element, Element], None]] = {
    "console": _console,
    "disk": _disk,
    "vsock": _vsock,
    "tpm": _tpm,
    "graphics": _graphics,
    "interface": _interface,
}
