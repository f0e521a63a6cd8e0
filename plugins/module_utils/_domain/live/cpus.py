# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Running domains: which processors of the host and which threads of its own a domain uses, as sets. Pure.

The same can be written in several ways (a list for all, a list for one, nothing), and a live change is written in
another way than the definition that asks for it.
"""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import identity
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import drop_children, ensure, prune, unset

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: The processors of something; None is "all that there are".
Cpus = t.Optional[frozenset[int]]
#: ``("vcpu", 0)``, ``("emulator", 0)``, ``("iothread", 1)``
Thread = tuple[str, int]
_PINS = ("vcpupin", "emulatorpin", "iothreadpin")


def parse(text: str | None, cpus: int) -> Cpus:
    """libvirt's list (``1-4,^3``) to a set; ``cpus`` is how many the host has (0: not known)."""
    if not text:
        return None
    found: set[int] = set()
    for part in text.split(","):
        first, _dash, last = part.strip().lstrip("^").partition("-")
        try:
            numbers = set(range(int(first), int(last or first) + 1))
        except ValueError:
            return None
        found = found - numbers if part.strip().startswith("^") else found | numbers
    return None if cpus and found >= set(range(cpus)) else frozenset(found)


def pins(root: Element, cpus: int) -> dict[Thread, Cpus]:
    """What every thread of the domain may run on."""
    rest = parse(_xml.find_attribute(root, "vcpu", "cpuset"), cpus)
    found: dict[Thread, Cpus] = {("vcpu", number): rest for number in range(vcpus(root))}
    found["emulator", 0] = rest
    found.update({("iothread", number): rest for number in iothreads(root)})
    tune = root.find("cputune")
    for node in tune if tune is not None else ():
        kind = str(node.tag)[:-3]
        if str(node.tag) in _PINS:
            thread = (kind, int(node.get(kind) or 0))
            if thread in found:
                found[thread] = parse(node.get("cpuset"), cpus)
    return found


def copy_pins(root: Element, other: Element) -> None:
    """Writes all of it in the way in which another document does."""
    cpuset = _xml.find_attribute(other, "vcpu", "cpuset")
    vcpu = root.find("vcpu")
    if vcpu is not None:
        unset(vcpu, "cpuset")
    if cpuset is not None:
        ensure(root, "vcpu").set("cpuset", cpuset)
    tune, others = root.find("cputune"), other.find("cputune")
    if tune is not None:
        drop_children(tune, *_PINS)
    for node in others if others is not None else ():
        if str(node.tag) in _PINS:
            ensure(root, "cputune").append(copy.deepcopy(node))
    prune(root, "cputune")


def vcpus(root: Element) -> int:
    """How many virtual processors the domain may have."""
    return int(_xml.find_text(root, "vcpu") or 1)


def current_vcpus(root: Element) -> int:
    """How many it has."""
    return int(_xml.find_attribute(root, "vcpu", "current") or vcpus(root))


def iothreads(root: Element) -> dict[int, dict[str, str]]:
    """Its I/O threads with what is stated of each; those without a number get the lowest that are free."""
    found: dict[int, dict[str, str]] = {}
    for node in root.findall("iothreadids/iothread"):
        if node.get("id"):
            about = {str(name): value for name, value in node.attrib.items() if name != "id"}
            for item in node:
                about.update({f"{identity.local(item)}.{name}": value for name, value in item.attrib.items()})
            found[int(node.get("id") or 0)] = about
    number = 1
    while len(found) < int(_xml.find_text(root, "iothreads") or 0):
        found.setdefault(number, {})
        number += 1
    return dict(sorted(found.items()))


def used_iothreads(root: Element) -> set[int]:
    """The I/O threads that devices work in."""
    found = [node.get("iothread") for node in root.findall("devices/*/driver")]
    found += [node.get("id") for node in root.findall("devices/*/driver/iothreads/iothread")]
    return {int(number) for number in found if number is not None}


def numbered(root: Element) -> bool:
    """Whether the I/O threads are as they are when only their number is stated."""
    found = iothreads(root)
    return not any(found.values()) and set(found) == set(range(1, len(found) + 1))


def copy_iothreads(root: Element, other: Element) -> None:
    """Writes them in the way in which another document does."""
    drop_children(root, "iothreads", "iothreadids")
    for tag in ("iothreads", "iothreadids"):
        node = other.find(tag)
        if node is not None:
            root.append(copy.deepcopy(node))
