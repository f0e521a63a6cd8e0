# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Documents of domains: values that are written differently and mean the same to libvirt. Pure.

For where libvirt itself cannot be asked what it makes of a document.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import identity
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import parse_size

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

_KIB = 1024
#: Elements whose text is a size, in KiB when no unit is said.
_SIZES = (
    "memory", "currentMemory", "maxMemory", "hard_limit", "soft_limit", "swap_hard_limit", "min_guarantee",
    "size", "requested", "block", "label",
)  # fmt: skip
_SET = re.compile(r"\^?\d+(-\d+)?(,\^?\d+(-\d+)?)*")


def _number(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None


def _members(text: str) -> frozenset[int] | None:
    """A set of processors or nodes, written as ranges and exceptions."""
    if not _SET.fullmatch(text):
        return None
    found: set[int] = set()
    for part in text.split(","):
        first, _dash, last = part.lstrip("^").partition("-")
        if int(last or first) > 1 << 16:
            return None
        numbers = range(int(first), int(last or first) + 1)
        found = found - set(numbers) if part.startswith("^") else found | set(numbers)
    return frozenset(found)


def values(one: str, other: str) -> bool:
    """Whether two attributes or texts mean the same."""
    if one == other or one.lower() == other.lower():
        return True
    for read in (_number, _members):
        pair = read(one), read(other)
        if pair[0] is not None and pair[0] == pair[1]:
            return True
    return False


def sizes(one: Element, other: Element) -> bool | None:
    """Whether two elements are the same size; None when they are no sizes."""
    if identity.local(one) not in _SIZES or len(one) or len(other):
        return None
    try:
        pair = [
            -(-parse_size((node.text or "").strip(), "size", node.get("unit") or "KiB") // _KIB)
            for node in (one, other)
        ]
    except InvalidSpec:
        return None
    return pair[0] == pair[1]
