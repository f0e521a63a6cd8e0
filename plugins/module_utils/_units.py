# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Sizes: text with a unit to bytes and back, and nothing else."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

_SIZE = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*$")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}
_LIMIT = 1 << 63


def _factor(unit: str) -> int | None:
    """Bytes of one ``unit``, as libvirt reads units: KB is 1000, KiB and a bare K are 1024; None when unknown."""
    word = unit.lower()
    if word in ("b", "byte", "bytes"):
        return 1
    for suffix, base in (("ib", 1024), ("b", 1000), ("", 1024)):
        if word.endswith(suffix):
            power = _POWERS.get(word[: len(word) - len(suffix)])
            if power:
                return int(base**power)
    return None


def parse_size(value: t.Any, what: str, unit: str = "B") -> int:
    """``"2GiB"`` to bytes. A bare number is in ``unit``; ``what`` names the option in the error.

    Raises InvalidSpec for anything that is not a whole number of bytes from 0 below 2**63.
    """
    match = _SIZE.match(str(value))
    factor = _factor(match.group(2) or unit) if match else None
    if match is None or factor is None:
        raise InvalidSpec(f"{what}: '{value}' is no size; write a number with a unit, like 512MiB or 2GiB.")
    whole, _dot, fraction = match.group(1).partition(".")
    size = int(whole) * factor
    if fraction:
        part = int(fraction) * factor
        if part % 10 ** len(fraction):
            raise InvalidSpec(f"{what}: '{value}' is no whole number of bytes; use a smaller unit.")
        size += part // 10 ** len(fraction)
    if size >= _LIMIT:
        raise InvalidSpec(f"{what}: '{value}' is larger than any disk or memory can be (8 EiB).")
    return size


def format_size(size: int) -> str:
    """Bytes as the shortest exact text: ``2147483648`` is ``2GiB``, ``1000`` is ``1000B``."""
    for power, unit in ((6, "EiB"), (5, "PiB"), (4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size and size % 1024**power == 0:
            return f"{size // 1024**power}{unit}"
    return f"{size}B"
