# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Images, inside: the partition table of a disk, or that it has none.

The two bytes at the end of the first sector prove little: boot sectors of file systems have them, too. So a table is
taken for one only when what it says can be true, by these rules:

- An entry of the type ee means GPT, and then the GPT alone counts (hybrid tables). A broken GPT is an error: the entry
  that protects it is never shown as a partition.
- A flag other than 00 or 80 means no table, as for Linux; but where nothing else is wrong, it is one with an error.
- A file system on the whole disk means no table where the entries are empty or cannot be true.
- An ISO 9660 file system which begins inside of a partition or beside an impossible table (a hybrid image for CD and
  stick) means no table: users get the file system of the whole disk.
"""

from __future__ import annotations

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import gpt, mbr, probe
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.partition import Partition, Table

__all__ = ["Partition", "Table", "read"]

_NONE = Table("none", None, mbr.SECTOR, ())
_FLAGS = (0, 0x80)
# The first volume descriptor of ISO 9660 (ECMA-119).
_ISO = 32768


def read(reader: Reader) -> Table:
    """The partition table of a disk; raises Damaged for one that contradicts itself or the disk."""
    sector = reader.read(0, mbr.SECTOR)
    if len(sector) != mbr.SECTOR or sector[510:] != mbr.SIGNATURE:
        return _NONE
    protects = _protects(reader, sector)
    try:
        table = _gpt(reader) if protects else _mbr(reader, sector)
    except Damaged:
        if _is_iso(reader) or (not protects and probe.identify(reader) is not None):
            return _NONE
        raise
    if table.partitions:
        begins_in_one = any(item.offset <= _ISO < item.offset + item.size for item in table.partitions)
        return _NONE if begins_in_one and _is_iso(reader) else table
    return _NONE if not protects and probe.identify(reader) is not None else table


def _protects(reader: Reader, sector: bytes) -> bool:
    flags = [entry.flag for entry in mbr.entries(sector) if entry.type == mbr.PROTECTIVE]
    # With other flags it may as well be program code.
    return any(flag in _FLAGS for flag in flags) or (bool(flags) and gpt.is_announced(reader))


def _gpt(reader: Reader) -> Table:
    found = gpt.read(reader)
    return Table("gpt", found.disk_id, found.sector_size, found.partitions)


def _mbr(reader: Reader, sector: bytes) -> Table:
    wrong = next((entry for entry in mbr.entries(sector) if entry.flag not in _FLAGS), None)
    try:
        partitions = mbr.read(reader, sector)
    except Damaged:
        if wrong is not None:
            return _NONE
        raise
    if wrong is None:
        return Table("mbr", f"0x{mbr.disk_id(sector):08x}", mbr.SECTOR, partitions)
    if partitions:
        raise Damaged(f"the entry of partition {wrong.slot + 1} has the flag {wrong.flag:02x}, not 00 or 80")
    return _NONE


def _is_iso(reader: Reader) -> bool:
    return reader.read(_ISO + 1, 5) == b"CD001"
