# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: the header of qcow2 files, read without any program: which files it makes qemu open is known beforehand. Pure."""

from __future__ import annotations

import dataclasses
import struct

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError

MAGIC = b"QFI\xfb"
#: Enough for the header, its extensions and the name of a backing file.
HEAD_BYTES = 64 * 1024
_EXTERNAL_DATA = 1 << 2
_MAX_NAME = 1023


@dataclasses.dataclass(frozen=True)
class Header:
    """What of a qcow2 header matters here; ``virtual_size`` is in bytes."""

    version: int
    virtual_size: int
    cluster_size: int
    backing_file: str | None
    data_file: bool
    encrypted: bool


def is_qcow2(head: bytes) -> bool:
    """Whether a file that starts with ``head`` is in the qcow2 format."""
    return head[:4] == MAGIC


def parse(head: bytes, path: str) -> Header:
    """The header from the first bytes of ``path``; raises KvmError when it is broken."""
    if len(head) < 72:
        raise KvmError(f"{path}: the qcow2 header is cut off; the file is broken.")
    version, offset, length, bits, size, crypt = struct.unpack(">IQIIQI", head[4:36])
    if version not in (2, 3) or not 9 <= bits <= 21 or length > _MAX_NAME or offset + length > len(head):
        raise KvmError(f"{path}: the qcow2 header is not valid; the file is broken or of an unknown version.")
    features = struct.unpack(">Q", head[72:80])[0] if version == 3 and len(head) >= 104 else 0
    name = head[offset : offset + length].decode("utf-8", "replace") if offset else None
    return Header(version, size, 1 << bits, name, bool(features & _EXTERNAL_DATA), crypt != 0)
