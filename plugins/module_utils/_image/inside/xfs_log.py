# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""XFS: whether the log is clean. It is never replayed here, only its end is looked at.

The log is a ring of blocks of 512 bytes. Each begins with the number of the round ("cycle") in which it was written, a
record's header with a magic number and then the cycle. Where the cycle falls by one is the head; the log is clean where
the record before it is that of an unmount. The kernel looks for the head in halves; here every block is read, so that a
log that is not what it must be is never called clean.
"""

from __future__ import annotations

import dataclasses
import struct

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.xfs_super import Disk, crc_without

_SECTOR = 512
_MAGIC = 0xFEEDBABE
_LONGEST = 2 << 30  # of the format
_PIECE = 1 << 20
_PER_HEADER = 32 << 10  # bytes of a record for which one header has room
_HEADER = struct.Struct(">IIIIQQ4xII256xI16sI")
_HEADER_LENGTHS = (328, 324)  # as 64 and 32 bit machines count it
_MORE_LENGTH = 260
_CRC_AT = 32
_LOG_CLIENT, _UNMOUNT = 0xAA, 0x20


@dataclasses.dataclass
class _Round:
    """A run of blocks of one cycle; ``header`` is the last record's header there."""

    cycle: int
    first: int
    header: int | None = None


class _Log:
    def __init__(self, disk: Disk) -> None:
        geometry = disk.geometry
        self._disk = disk
        self._start = disk.address(geometry.log_start, geometry.log_blocks, "the log")
        self.sectors = geometry.log_blocks * geometry.block // _SECTOR

    def read(self, sector: int, count: int) -> bytes:
        """Sectors of the ring."""
        parts = []
        while count > 0:
            sector %= self.sectors
            some = min(count, self.sectors - sector)
            parts.append(self._disk.read(self._start + sector * _SECTOR, some * _SECTOR, "the log"))
            sector, count = sector + some, count - some
        return b"".join(parts)

    def rounds(self) -> list[_Round]:
        """The runs of the ring in the order of the disk, at most three."""
        found: list[_Round] = []
        step = _PIECE // _SECTOR
        for start in range(0, self.sectors, step):
            data = self.read(start, min(step, self.sectors - start))
            if found and found[-1].cycle == 0 and data.count(0) == len(data):
                continue
            for sector, (word, second) in enumerate(struct.iter_unpack(">II504x", data), start):
                cycle = second if word == _MAGIC else word
                if not found or found[-1].cycle != cycle:
                    if len(found) == 2:
                        return [*found, _Round(cycle, sector)]
                    found.append(_Round(cycle, sector))
                if word == _MAGIC:
                    found[-1].header = sector
        return found


def is_clean(disk: Disk) -> bool:
    """Whether the log ends with an unmount, so that there is nothing to replay; False also in doubt."""
    geometry = disk.geometry
    size = geometry.log_blocks * geometry.block
    if geometry.log_start == 0 or geometry.log_features or not 0 < size <= _LONGEST:
        return False
    try:
        log = _Log(disk)
        rounds = log.rounds()
        if len(rounds) > 2 or rounds[0].cycle == 0 or (len(rounds) == 2 and rounds[1].cycle != rounds[0].cycle - 1):
            return False
        head = rounds[1].first if len(rounds) == 2 else 0
        # A record may go over the end of the ring: then its header stands there.
        last = rounds[0] if rounds[0].header is not None else rounds[-1]
        return last.header is not None and _is_unmount(disk, log, last.header, last.cycle, head)
    except Damaged:
        return False


def _is_unmount(disk: Disk, log: _Log, sector: int, cycle: int, head: int) -> bool:
    """Whether the record whose header is at ``sector`` is that of an unmount, whole, and ends at ``head``."""
    header = log.read(sector, 1)
    magic, found_cycle, version, length, lsn, _tail, _previous, operations, _format, uuid, size = _HEADER.unpack_from(
        header
    )
    if (magic, found_cycle, lsn, operations) != (_MAGIC, cycle, cycle << 32 | sector, 1):
        return False
    if version not in (1, 2) or uuid not in (disk.geometry.uuid, disk.geometry.stamp):
        return False
    if not 0 < length <= 8 * _PER_HEADER or length % _SECTOR or size > 8 * _PER_HEADER:
        return False
    headers = max(1, -(-size // _PER_HEADER)) if version == 2 else 1
    if (sector + headers + length // _SECTOR) % log.sectors != head:
        return False
    more = log.read(sector + 1, headers - 1)
    body = log.read(sector + headers, length // _SECTOR)
    _cycle, _length, client, flags = struct.unpack_from(">IIBB", body)
    return client == _LOG_CLIENT and flags == _UNMOUNT and _crc_is_right(header, more, body)


def _crc_is_right(header: bytes, more: bytes, body: bytes) -> bool:
    """The checksum is that of the header, of the further headers that a long body needs, and of the body. mkfs writes none."""
    found = int.from_bytes(header[_CRC_AT : _CRC_AT + 4], "little")
    needed = -(-len(body) // _PER_HEADER) - 1
    further = b"".join(more[_SECTOR * index :][:_MORE_LENGTH] for index in range(needed))
    return found == 0 or any(
        crc_without(header[:length] + further + body, _CRC_AT) == found for length in _HEADER_LENGTHS
    )
