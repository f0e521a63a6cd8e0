# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""NAT: what was found in place once need not be read again, as long as the kernel says that no rule has changed since.

The kernel counts the changes of all rules of nf_tables, in which iptables has its own as well; nft itself relies on that. Those of
iptables-legacy are not counted: they are read, and their digest stands for them. A seal
is the digest of everything else that the answer depends on, which is observed each time. It lies where a restart of
the host leaves nothing, and may be lost at any time: the next run reads all rules then.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _seals
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import kernel
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.observe import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.spec import NatSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._seals import VERSION

PLACE = "/run/kvm_nat.seals"
_BOOT = "/proc/sys/kernel/random/boot_id"
#: Another one of this name is there when the kernel has unloaded its part, and counts from the start.
_MODULE = "/sys/module/nf_tables"
#: Of so many calls with other options what they found is kept.
_MOST = 64
#: What the ground stands for, or what is only another form of the files.
_NOT_ASKED = frozenset({"tables", "native", "policies", "closed", "records", "generation", "preferred"})


class Found(t.NamedTuple):
    """What was found when nothing had to be changed: the preferred backend, and what the user was told, by bridge."""

    preferred: str
    told: dict[str, list[str]]


def ground(uncounted: t.Sequence[str] | None) -> list[t.Any] | None:
    """What stands for all rules of this host; None where nothing does. ``uncounted`` stands for those of iptables-legacy."""
    known = kernel.generation() if uncounted is not None else None
    if known is None or uncounted is None:
        return None
    module = os.stat(_MODULE).st_ino if os.path.isdir(_MODULE) else 0
    try:
        with open(_BOOT, encoding="utf-8") as file:
            return [file.read().strip(), module, *uncounted, *known]
    except OSError:
        return None


def digest(specs: t.Sequence[NatSpec], around: Snapshot) -> str:
    """Pure: what stands for a call and for the host without its rules."""
    fields = (field.name for field in dataclasses.fields(around))
    known = [VERSION, list(specs), {name: getattr(around, name) for name in fields if name not in _NOT_ASKED}]
    return hashlib.sha256(json.dumps(known, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: t.Any) -> t.Any:
    if isinstance(value, frozenset):
        return sorted(value)
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    return str(value)


def can_seal(seen: Snapshot) -> bool:
    """Pure: whether there is NAT of ours, and all that was read is counted: what others made with nft itself may go when a time or
    a program ends."""
    return bool(seen.records) and not seen.native.chains


def find(now: list[t.Any] | None, code: str) -> Found | None:
    """What was found when nothing had to be changed; None when that is not known of these rules."""
    try:
        preferred, told = _load(now)[code] if now is not None else ("", None)
        return Found(str(preferred), dict(told)) if told is not None else None
    except (KeyError, TypeError, ValueError):
        return None


def save(before: list[t.Any] | None, uncounted: t.Sequence[str] | None, code: str, found: Found) -> None:
    """Remembers that nothing had to be changed, if no rule has since it was read; ``before`` is the ground of then."""
    if before is None or ground(uncounted) != before:
        return
    seals = _load(before)
    seals.pop(code, None)
    kept = dict([*seals.items(), (code, found)][-_MOST:])
    # A host without room for it does without.
    with contextlib.suppress(OSError):
        _seals.write(PLACE, {"ground": before, "seals": kept})


def forget() -> None:
    """Removes all of it, when there is no NAT of ours on the host any more."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(PLACE)


def _load(now: list[t.Any] | None) -> dict[str, t.Any]:
    """The seals of these rules."""
    try:
        found = _seals.read(PLACE)
        return dict(found["seals"]) if found["ground"] == now else {}
    except (ValueError, KeyError, TypeError):
        return {}
