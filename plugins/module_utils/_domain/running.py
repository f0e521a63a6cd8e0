# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what a running one gets at once of its definition, and what waits for its next start. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import HIDDEN, Effect
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kinds import BY_OPTION
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import identity
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document.naming import Named
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live import plan
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.claims import Claims, prefix
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.situation import LivePlan, Situation
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.scalars import BY_NAME


class Documents(t.Protocol):
    """What runs, as for a migration and in full."""

    @property
    def live(self) -> str | None:
        """As for a migration."""

    @property
    def running(self) -> str | None:
        """In full."""

    @property
    def document(self) -> str | None:
        """Its definition."""


#: Devices that libvirt adds by itself.
_ALONG = re.compile(r"(videos|audios)\.\d+|inputs\.\w+\.ps2|controllers\.[\w-]+\.\d+")


@dataclasses.dataclass(frozen=True)
class Running:
    """``at_once`` is what the operations bring, ``pending`` what only the next start does; both from what runs now to
    the definition. ``hidden`` names what of the latter does not show in any document: it has to be kept in mind."""

    plan: LivePlan
    claims: Claims
    at_once: tuple[Named, ...] = ()
    pending: tuple[Named, ...] = ()
    hidden: tuple[str, ...] = ()

    def effect(self, field: str) -> Effect:
        """When a change of the definition reaches the running domain."""
        waits = [item.field for item in self.pending]
        if field.startswith("cpu."):
            # Its parts make one model together.
            return "next_boot" if any(name.startswith("cpu") for name in waits) else "live"
        if self._comes_along(field) and not any(related(field, item.field) for item in self.at_once):
            # It comes along with something else, and so does not wait by itself.
            return "next_boot" if waits else "live"
        return "next_boot" if any(related(field, name) for name in waits) else "live"

    def _comes_along(self, field: str) -> bool:
        """Whether it is a device that no declaration names."""
        option, _dot, label = field.partition(".")
        return _ALONG.fullmatch(field) is not None and label not in self.claims.devices.get(option, {})

    def record(self, now: Memory, last: Memory, passing: t.Collection[str] = ()) -> Memory:
        """The record that what runs is to keep: of this declaration, with what it still has of an earlier one.

        ``passing``: what was refused, but may be taken the next time."""
        refused = {key: reason for key, reason in self.plan.refused.items() if key not in passing}
        kept = last if self.stuck else now
        waits = {item.field for item in self.pending}
        scalars = _with(kept.scalars, self.claims.scalars, waits)
        devices = {
            option: {
                label: _with(names, self.claims.devices[option].get(label, ()), waits, prefix(option, label))
                for label, names in group.items()
            }
            for option, group in kept.devices.items()
        }
        return dataclasses.replace(kept, scalars=scalars, devices=devices, waiting=self.hidden, refused=refused)

    @property
    def stuck(self) -> bool:
        """Whether something still runs afterwards that a declaration has brought and none wants any more."""
        return any(item.after is None and isinstance(item.before, dict) for item in self.pending)

    def told(self) -> list[dict[str, t.Any]]:
        """What waits for the next start, with what runs until then, and why as far as more is known than that."""
        return [
            {
                "field": item.field,
                "running": _shown(item.before, item.secret),
                "defined": _shown(item.after, item.secret),
                "reason": self._reason(item),
            }
            for item in self.pending
        ]

    def _reason(self, item: Named) -> str | None:
        whole = None in (item.before, item.after)
        for where, reason in self.plan.reasons.items():
            if item.field == where or (whole and _is_device(item.field, where)):
                return reason
        return None


def _with(names: list[str], earlier: t.Iterable[str], waits: t.Collection[str], within: str = "") -> list[str]:
    """What is stated, and of what was stated earlier that of which the running domain still has another value."""
    found = [name for name in earlier if name not in names and f"{within}{name}" in waits]
    return sorted([*names, *found]) if found else names


def _is_device(field: str, where: str) -> bool:
    """Whether a field (inputs.tablet.usb) is the device at a place in the document (devices.input[tablet,usb])."""
    option, _dot, label = field.partition(".")
    tag, _bracket, name = where.partition("[")
    known = name.rstrip("]").replace(",", ".")
    kind = BY_OPTION.get(option)
    return kind is not None and tag == f"devices.{kind.tag}" and f".{known}".endswith(f".{label or 0}")


def _shown(value: t.Any, secret: bool) -> t.Any:
    return HIDDEN if secret and value is not None else value


def look(
    documents: Documents, wanted: str, claims: Claims, *, situation: Situation, waiting: t.Sequence[str] = ()
) -> Running | None:
    """Compares what runs with what the definition is to be; None when nothing runs.

    ``waiting``: what is known to wait for the next start, from earlier tasks.
    """
    if documents.live is None:
        return None
    found = plan.plan(
        documents.live,
        documents.running or documents.live,
        wanted,
        defined=documents.document,
        situation=situation,
        ours=claims,
        owned=claims.names,
    )
    pending = claims.waiting(found.after, wanted, documents.document)
    along = [item.field for item in pending if item.after is None and not claims.has(item.field)]
    if along:
        claims.add(along)
        pending = claims.waiting(found.after, wanted, documents.document)
    left = {item.field for item in pending}
    stays = {item.field for item in claims.named(found.after, wanted)} if found.operations else set()
    at_once = (
        [item for item in claims.named(found.before, wanted) if item.field not in stays] if found.operations else []
    )
    changed = claims.named(documents.document, wanted) if documents.document is not None and waiting else []
    hidden = [
        field
        for field in waiting
        if field not in {item.field for item in changed} and not any(related(field, name) for name in left)
    ]
    pending += [_of(field, wanted) for field in hidden]
    return Running(found, claims, tuple(at_once), tuple(pending), tuple(hidden))


def afterwards(
    documents: Documents, wanted: str, before: Running, situation: Situation, hidden: t.Sequence[str] = ()
) -> Running | None:
    """The same when the definition is as wanted; what waited before and does not show any more still waits."""
    seen = look(documents, wanted, before.claims, situation=situation)
    if seen is None:
        return None
    shown = [item.field for item in seen.pending]
    kept = [item for item in before.pending if not any(related(item.field, field) for field in shown)]
    # What no declaration names any more would be taken for somebody else's, if the record does not keep it.
    taken_out = [item for item in seen.pending if item.after is None and not isinstance(item.before, dict)]
    taken_out = [item for item in taken_out if not before.claims.has(item.field)]
    names = dict.fromkeys([*hidden, *(item.field for item in (*kept, *taken_out))])
    return dataclasses.replace(seen, pending=(*seen.pending, *kept), hidden=tuple(names))


def _of(field: str, wanted: str) -> Named:
    leaf = BY_NAME.get(field)
    return Named(field, None, None if leaf is None else leaf.value(_xml.parse(wanted)))


def related(one: str, other: str) -> bool:
    """Whether two fields are the same, or one is in the other."""
    return one == other or one.startswith((f"{other}.", f"{other}[")) or other.startswith((f"{one}.", f"{one}["))


def with_macs(document: str, source: str) -> str:
    """A document with the MAC addresses that another one has for its interfaces."""
    root, other = _xml.parse(document), _xml.parse(source)
    interfaces, there = root.findall("devices/interface"), other.findall("devices/interface")
    used = {_xml.find_attribute(node, "mac", "address") for node in interfaces}
    free = [node for node in there if _xml.find_attribute(node, "mac", "address") not in used]
    nameless = [node for node in interfaces if node.find("mac") is None]
    for index, position in identity.pair(nameless, free).items():
        address = _xml.find_attribute(free[position], "mac", "address")
        if address is not None:
            _xml.child(nameless[index], "mac", {"address": address})
    return _xml.to_text(root)
