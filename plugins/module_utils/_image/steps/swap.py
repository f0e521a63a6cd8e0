# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: the first page of a swap area, by hand: there are no programs for one in the middle of a file.

Format: union swap_header in linux/include/linux/swap.h; the words of this page are in the byte order of the machine.
"""

from __future__ import annotations

import mmap
import os
import struct
import uuid as uuidlib

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.disk import write_all

_MAGIC = b"SWAPSPACE2"
# What stands there instead while the memory of a sleeping guest is in it.
_SLEEPING = (b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001", b"\xed\xc3\x02\xe9\x98\x56\xe5\x0c")
_PAGES = tuple(4096 << power for power in range(5))
_VERSION, _UUID, _LABEL = 1024, 1036, 1052
_LABEL_BYTES = 16
_LEAST_PAGES = 10


def make(fd: int, offset: int, size: int, label: str | None, uuid: str | None) -> None:
    """Makes a swap area, for pages as large as those of this machine; the range must be zeros."""
    pages = min(size // mmap.PAGESIZE, 0xFFFFFFFF)
    if pages < _LEAST_PAGES:
        raise KvmError(f"a swap area needs at least {_LEAST_PAGES * mmap.PAGESIZE} bytes, not {size}.")
    head = struct.pack("=III", 1, pages - 1, 0) + (uuidlib.UUID(uuid) if uuid else uuidlib.uuid4()).bytes
    write_all(fd, head + _name(label or ""), offset + _VERSION)
    write_all(fd, _MAGIC, offset + mmap.PAGESIZE - len(_MAGIC))


def set_labels(fd: int, offset: int, size: int, label: str | None, uuid: str | None) -> None:
    """Changes label and UUID (None: as it is) of a swap area; raises KvmError when none is there that has them."""
    _check(fd, offset, size)
    if uuid is not None:
        write_all(fd, uuidlib.UUID(uuid).bytes, offset + _UUID)
    if label is not None:
        write_all(fd, _name(label), offset + _LABEL)


def _check(fd: int, offset: int, size: int) -> None:
    for page in _PAGES:
        magic = os.pread(fd, len(_MAGIC), offset + page - len(_MAGIC)) if page <= size else b""
        if magic == _MAGIC:
            break
        if magic.startswith(_SLEEPING):
            raise KvmError(f"the swap area at {offset} has the memory of a guest that sleeps; shut it down first.")
    else:
        raise KvmError(f"there is no swap area at {offset} that could have a label or UUID; make it anew with mkswap.")
    # Either byte order: only an area that was made on a machine of another kind has the other.
    if os.pread(fd, 4, offset + _VERSION) not in (b"\1\0\0\0", b"\0\0\0\1"):
        raise KvmError(f"the swap area at {offset} has a version that is not known here; make it anew with mkswap.")


def _name(label: str) -> bytes:
    name = label.encode()
    if len(name) >= _LABEL_BYTES:
        raise KvmError(f"the label '{label}' is longer than the {_LABEL_BYTES - 1} bytes that swap has for it.")
    return name.ljust(_LABEL_BYTES, b"\0")
