# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Running domains: what a plan is made of. Pure; plain data."""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t
import zlib

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


class Ours(t.Protocol):
    """What a declaration, this one or the last, has to say of devices."""

    def brought(self, device: Element) -> bool:
        """Whether it has brought a device."""

    def placed(self, device: Element) -> bool:
        """Whether it says where a device is to be."""


class Everything:
    """All is declared."""

    def brought(self, device: Element) -> bool:
        """Yes."""
        return True

    def placed(self, device: Element) -> bool:
        """Yes."""
        return True


#: Operations that a running domain has not taken, by their key, and why.
Refused = t.Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Situation:
    """What the documents do not say. ``cpus``: how many the host has (0: not known); ``reachable``: whether it runs, and
    is not just saved; ``refused``: what it has not taken since it was started."""

    paused: bool = False
    cpus: int = 0
    reachable: bool = True
    refused: Refused = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Operation:
    """One change of a running domain. ``action`` is one of ACTIONS, ``arguments`` plain data for it, ``what`` names the
    thing in a sentence."""

    action: str
    what: str
    arguments: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    #: Whether it comes before the definition: once that is made, nothing shows any more that it is due.
    first: bool = False

    @property
    def key(self) -> str:
        """Tells it from others: the same is asked for once more, when this is the same."""
        # Whoever may read the record must not be able to guess a password by it; and indentation means nothing.
        text = re.sub(r"passwd=(\\?['\"]).*?\1|\\n|\s", "", json.dumps(self.arguments, sort_keys=True))
        return f"{self.action} {self.what} {zlib.crc32(text.encode()):08x}"


#: What can be done, in the order in which it is done: room is made before it is taken.
ACTIONS = (
    "balloon",
    "guest_vcpus",
    "detach",
    "update",
    "add_iothreads",
    "attach",
    "delete_iothreads",
    "iothread_parameters",
    "set_vcpus",
    "enable_vcpus",
    "pin",
    "scheduler",
    "memory_limits",
    "block_limits",
    "numa",
    "block_io",
    "perf",
    "lifecycle",
    "balloon_period",
    "title",
    "description",
    "metadata",
)


@dataclasses.dataclass(frozen=True)
class LivePlan:
    """How a running domain is brought in line with a definition.

    ``before`` is what runs, as a definition, as far as it counts: what only a start brings and what nobody asked for is
    as in the definition. ``after`` is the same when the operations are done; where it still differs from the
    definition, the next start brings it. ``reasons``: why, by place of a device or of another element. ``refused``: what
    would be among the operations, had the domain not refused it.
    """

    operations: tuple[Operation, ...]
    before: str
    after: str
    reasons: dict[str, str] = dataclasses.field(default_factory=dict)
    refused: dict[str, str] = dataclasses.field(default_factory=dict)
