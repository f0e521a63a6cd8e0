# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Documents of domains: the differences between two definitions, in the words of the options as far as they go. Pure.

Each difference has one name: that of the option, else its place in the document (``devices.disk[vda].driver.io``).
"""

from __future__ import annotations

import copy
import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import HIDDEN
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import leaf as leaves
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import memory as memories
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import table as tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kinds import KINDS
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import difference
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Leaf, Values
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.scalars import BY_NAME
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.xml import labelled

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: Kind of device -> label -> the options that a declaration states.
Owned = dict[str, dict[str, list[str]]]


#: Elements that an option says in full.
_SAID = ("memory", "currentMemory", "vcpu.current")


@dataclasses.dataclass(frozen=True)
class Named:
    """One difference; ``option`` is that of a scalar (None: a device, or a place in the document)."""

    field: str
    before: t.Any
    after: t.Any
    secret: bool = False
    option: str | None = None


def differences(before: str, after: str, scalars: t.Sequence[str], devices: Owned) -> list[Named]:
    """What differs between two definitions: first what is owned (``scalars``, ``devices``), in that order, then the rest."""
    old, new = _xml.parse(before), _xml.parse(after)
    memories.forget(old)
    memories.forget(new)
    return between(old, new, scalars, devices)


def between(
    old: Element, new: Element, scalars: t.Sequence[str], devices: Owned, *, rest_too: bool = True
) -> list[Named]:
    """The same of documents that are read already, and have no record."""
    raw = difference.between(old, new)
    if not raw:
        return []
    # What is named is written into a copy of the old one; what still differs then has no name yet.
    rest = copy.deepcopy(old)
    named = [found for option in scalars for found in _scalar(option, old, new, rest)]
    following: list[Named] = []
    for kind in KINDS:
        named += _devices(kind, devices.get(kind.option, {}), old, new, rest)
    if not rest_too:
        return named
    if any(place in raw for place in difference.between(rest, new)):
        others = [option for option in BY_NAME if option not in scalars]
        found_in = [found for option in others for found in _scalar(option, rest, new, rest)]
        # What only writing something else has changed is no difference.
        named += [item for item in found_in if BY_NAME[item.field].value(old) != item.after]
        for kind in KINDS:
            found_of = _devices(kind, _all_of(kind, rest, new), rest, new, rest, origin=old)
            named += [item for item in found_of if not _follows(kind, item)]
            following += [item for item in found_of if _follows(kind, item)]
    left = {place: pair for place, pair in difference.between(rest, new).items() if place in raw}
    left = {place: pair for place, pair in left.items() if place not in _SAID and not _said_otherwise(pair, raw[place])}
    if _first_console_is_serial(old) or _first_console_is_serial(new):
        left = {place: pair for place, pair in left.items() if not f"{place}.".startswith("devices.console[0].")}
    plain = [Named(place, *pair) for place, pair in left.items() if not _consequence(place, pair)]
    # Controllers and addresses follow from what the domain has; alone they are the change.
    return named + plain or following or [Named(place, *pair) for place, pair in (left or raw).items()]


def _said_otherwise(left: tuple[t.Any, t.Any], raw: tuple[t.Any, t.Any]) -> bool:
    """Whether a named change is what makes this text another one: an option writes a size in another unit than libvirt."""
    return left[0] != raw[0] and all(isinstance(text, str) for text in left)


def _first_console_is_serial(root: Element) -> bool:
    """Whether the first console is the first serial port once more, as libvirt writes it."""
    console = root.find("devices/console")
    if console is None or root.find("devices/serial") is None:
        return False
    return _xml.find_attribute(console, "target", "type") == "serial"


def _follows(kind: Kind, item: Named) -> bool:
    if kind.option == "controllers" and None in (item.before, item.after):
        return True
    return item.field.endswith(".address")


def stated(root: Element, scalars: t.Sequence[str], devices: Owned) -> list[Named]:
    """What a new definition has of what is owned."""
    values = ((option, BY_NAME[option]) for option in scalars)
    found = ((option, leaf.value(root), leaf.secret) for option, leaf in values)
    named = [Named(option, None, value, secret, option) for option, value, secret in found if value is not None]
    for kind in KINDS:
        owned = devices.get(kind.option)
        for label, node in labelled(root, kind) if owned else ():
            if owned is not None and label in owned:
                named.append(Named(kind.name(label), None, _shown(kind, node)))
    return named


def _consequence(place: str, pair: tuple[t.Any, t.Any]) -> bool:
    if place.startswith("devices.controller["):
        return None in pair
    return ".address" in place and place.startswith("devices.")


def _scalar(option: str, old: Element, new: Element, rest: Element) -> list[Named]:
    leaf = BY_NAME[option]
    pair = leaf.value(old), leaf.value(new)
    if pair[0] == pair[1]:
        return []
    leaf.write(rest, pair[1])
    return [Named(option, *pair, leaf.secret, option)]


def _all_of(kind: Kind, old: Element, new: Element) -> dict[str, list[str]]:
    names = [leaf.name for leaf in kind.leaves]
    return {label: names for root in (old, new) for label, _node in labelled(root, kind)}


def _devices(
    kind: Kind, owned: dict[str, list[str]], old: Element, new: Element, rest: Element, origin: Element | None = None
) -> list[Named]:
    """What differs of devices of a kind; not what was so in ``origin``."""
    named: list[Named] = []
    before, after = dict(labelled(old, kind)), dict(labelled(new, kind))
    origins = {} if origin is None else dict(labelled(origin, kind))
    copies = dict(labelled(rest, kind))
    for label, options in owned.items():
        name = kind.name(label)
        one, other = before.get(label), after.get(label)
        if one is not None and other is not None:
            table = [leaf for leaf in kind.leaves if leaf.name in options]
            named += _options(table, name, one, other, copies[label], origins.get(label))
        elif one is not other:
            named.append(Named(name, _shown(kind, one), _shown(kind, other)))
            if label in copies:
                leaves.drop(copies[label])
                if kind.parent != "devices":
                    leaves.prune(rest, kind.parent)
            if other is not None:
                leaves.ensure(rest, kind.parent).append(copy.deepcopy(other))
    return named


def _options(
    table: t.Sequence[Leaf], name: str, one: Element, other: Element, rest: Element, origin: Element | None = None
) -> list[Named]:
    named: list[Named] = []
    # Read before anything is written: ``one`` may be ``rest``.
    pairs = [(leaf, leaf.value(one), leaf.value(other)) for leaf in table]
    for leaf, old, new in pairs:
        if old != new:
            leaf.write(rest, new)
            if origin is None or leaf.value(origin) != new:
                named.append(Named(f"{name}.{leaf.name}", old, new, leaf.secret))
    return named


def _shown(kind: Kind, node: Element | None) -> Values | None:
    """A device as its options, without its secrets."""
    if node is None:
        return None
    values = tables.read(kind.table, node)
    return {name: HIDDEN if name in kind.secrets else value for name, value in values.items()}
