# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Growing a partition after its disk: the bytes to write, and what has to be copied before. Nothing is written here."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import layout_gpt, layout_mbr
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.partition import Table
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.layout_room import Move, Patch, Plan

__all__ = ["Move", "Patch", "Plan", "grow"]


def grow(reader: Reader, table: Table, number: int, disk_size: int, contents: t.Mapping[int, str | None]) -> Plan:
    """How a partition takes all the room that a disk of ``disk_size`` bytes has for it.

    ``table`` is what was read from ``reader``, which may be as long as before or as ``disk_size``. ``contents`` says
    what each partition holds, in blkid's words. What stands behind the partition moves towards the end by whole MiB and
    keeps its number, type, size and PARTUUID, with a chain of logical partitions and the gaps before them; what is in
    front stays. With nothing behind, the end is the last usable sector (GPT), or that of the disk (MBR, at most the
    last one that 32 bits can name).

    Raises InvalidSpec for a partition that cannot grow, or a disk that is too small; Unsupported when one stands in the
    way that must not move, or for which the disk has not grown by enough; Damaged for a table that is.
    """
    grown = next((item for item in table.partitions if item.number == number), None)
    if grown is None:
        known = ", ".join(str(item.number) for item in table.partitions)
        raise InvalidSpec(f"it has no partition {number} (but {known or 'none'})")
    if grown.role == "extended":
        raise InvalidSpec(f"partition {number} is an extended partition: grow a logical one in it")
    if table.kind == "gpt":
        return layout_gpt.plan(reader, grown, disk_size, contents)
    return layout_mbr.plan(reader, table, grown, disk_size, contents)
