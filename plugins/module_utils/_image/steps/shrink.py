# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: ext2, ext3 and ext4 in a file made smaller, as far as the content goes.

resize2fs neither moves nor cuts the journal, which was made for a larger disk, and its own estimate of the least size is
half as much again as what it can do. So the journal goes first, the size is asked for as it is wanted, and a journal
that fits comes back. What is least is found by trying, on a copy that has the metadata only.
"""

from __future__ import annotations

import contextlib
import os
import struct
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, ToolError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import ext
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import RawFile
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.ext import Superblock
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import disk, extfs
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.disk import program
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.extfs import Part
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import format_size

_MIB = 1 << 20
_HAS_JOURNAL, _64BIT, _FLEX_BG = 0x4, 0x80, 0x200
_LEAST_JOURNAL = 1024  # blocks; no kernel takes less
#: How large mke2fs makes the journal of a file system of fewer blocks than that, in blocks.
_JOURNALS = ((32768, 1024), (256 << 10, 4096), (512 << 10, 8192), (4096 << 10, 16384), (8192 << 10, 32768))


class _Counts(t.NamedTuple):
    """What the superblock says: numbers of blocks, and whether the file system has a journal in itself. ``flex`` is how
    many block groups have their inode tables in one place."""

    sb: Superblock
    free: int
    journal: bool
    flex: int

    @property
    def used_bytes(self) -> int:
        return (self.sb.blocks - self.free) * self.sb.block_size

    def tables_of_others(self, size: int) -> int:
        """How many bytes below ``size`` the inode tables of block groups above it take at most."""
        table = -(-self.sb.inodes_per_group * self.sb.inode_size // self.sb.block_size) * self.sb.block_size
        kept = -(-size // (self.sb.blocks_per_group * self.sb.block_size))
        above = -(-kept // self.flex) * self.flex - kept
        return max(0, min(above, self.sb.groups - kept)) * table


def shrink(part: Part, size: int, timeout: float) -> None:
    """Makes a repaired file system ``size`` bytes large; raises KvmError that names the least that is possible.

    The file must be a work copy: after a failure what is on it is of no use.
    """
    folder = os.path.dirname(part.path)
    with _scratch(os.path.join(folder, "shrink.metadata")) as saved:
        part.run(lambda name: [program("e2image"), "-r", name, saved], timeout, what="Cannot read the file system")
        journal = _without_journal(part, timeout)
        try:
            _reduce(part, size, journal, timeout)
        except ToolError as exc:
            _check_ended(exc)
            needed = _least(Part(saved, part.size, part.kind), size, timeout)
            raise KvmError(
                f"its content does not fit into {format_size(size)}; it needs {format_size(needed)} ({needed} bytes).",
                needed_size=needed,
                **exc.details,
            ) from exc


def _without_journal(part: Part, timeout: float) -> bool:
    """Takes the journal away; whether there was one."""
    journal = _counts(part).journal
    if journal:
        what = "Cannot take the journal away"
        part.run(lambda name: [program("tune2fs"), "-O", "^has_journal", name], timeout, what=what)
        # What its blocks were is counted wrongly with some features.
        extfs.repair(part, timeout)
    return journal


def _reduce(part: Part, size: int, journal: bool, timeout: float) -> None:
    """``journal``: it is to have one again."""
    counts = _counts(part)
    # What a pass frees of inode tables can be used by the next one only.
    freed = counts.tables_of_others(size)
    between = size + freed + _MIB
    if freed and counts.used_bytes > size - freed and between < counts.sb.size:
        _resize(part, between, timeout)
    _resize(part, size, timeout)
    if journal:
        megabytes = str(_journal_size(_counts(part)))
        part.run(lambda name: [program("tune2fs"), "-J", f"size={megabytes}", name], timeout)
        extfs.repair(part, timeout)


def _resize(part: Part, size: int, timeout: float) -> None:
    # With -f it goes as low as the blocks fit.
    part.run(lambda name: [program("resize2fs"), "-f", name, f"{size // 1024}K"], timeout)
    extfs.repair(part, timeout)


def _journal_size(counts: _Counts) -> int:
    """The size of a new journal in MiB: as mke2fs has it, but not more than half of what is free."""
    usual = next((journal for blocks, journal in _JOURNALS if counts.sb.blocks < blocks), _JOURNALS[-1][1])
    while usual > _LEAST_JOURNAL and usual > counts.free // 2:
        usual //= 2
    return -(-usual * counts.sb.block_size // _MIB)


def _least(saved: Part, low: int, timeout: float) -> int:
    """The least size that works, to a whole MiB or one part in a hundred; ``low`` does not work."""
    low, high = low // _MIB, -(-extfs.file_system_size(saved) // _MIB)
    guess = _counts(saved).used_bytes * 17 // 16 // _MIB
    while high - low > max(1, low // 100):
        middle = guess if low < guess < high else (low + high) // 2
        guess = 0
        if _fits(saved, middle * _MIB, timeout):
            high = middle
        else:
            low = middle
    return high * _MIB


def _fits(saved: Part, size: int, timeout: float) -> bool:
    with _scratch(f"{saved.path}.try") as path:
        disk.copy_sparse(saved.path, path, saved.size)
        attempt = Part(path, saved.size, saved.kind)
        try:
            _reduce(attempt, size, _without_journal(attempt, timeout), timeout)
            extfs.verify(attempt, timeout)
        except ToolError as exc:
            _check_ended(exc)
            return False
    return True


def _check_ended(exc: ToolError) -> None:
    """Raises the error of a program that was killed, or ran out of time: it says nothing about the content."""
    if exc.details.get("rc") is None or exc.details["rc"] < 0:
        raise exc


def _counts(part: Part) -> _Counts:
    with open(part.path, "rb") as file:
        raw = os.pread(file.fileno(), 1024, 1024)
        sb = ext.superblock(RawFile(file.fileno()))
    if sb is None:
        raise KvmError("There is no ext2, ext3 or ext4 file system where one was a moment ago.")
    (free,), (journal,) = struct.unpack_from("<I", raw, 0x0C), struct.unpack_from("<I", raw, 0xE0)
    if sb.incompat & _64BIT:
        free |= struct.unpack_from("<I", raw, 0x158)[0] << 32
    flex = 1 << min(raw[0x174], 31) if sb.incompat & _FLEX_BG else 1
    return _Counts(sb, free, bool(sb.compat & _HAS_JOURNAL) and journal != 0, flex)


@contextlib.contextmanager
def _scratch(path: str) -> t.Iterator[str]:
    """A file that is gone afterwards."""
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
