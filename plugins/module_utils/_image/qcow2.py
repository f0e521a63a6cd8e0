# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: the header of qcow2 files, read without any program: which files it makes qemu open is known beforehand. Pure.

Source of the format: "Qcow2 Image File Format" (docs/interop/qcow2 of QEMU); all numbers are big-endian.
"""

from __future__ import annotations

import dataclasses
import struct
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, KvmError

MAGIC = b"QFI\xfb"
_OLD = MAGIC + b"\0\0\0\1"
#: Enough for the header, its extensions and the name of a backing file.
HEAD_BYTES = 64 * 1024

# Incompatible features, by their bits.
_DIRTY, _CORRUPT, _EXTERNAL_DATA, _COMPRESSION, _EXTENDED_L2 = (1 << bit for bit in range(5))
_KNOWN = _DIRTY | _CORRUPT | _EXTERNAL_DATA | _COMPRESSION | _EXTENDED_L2
_COMPRESSIONS = {0: "zlib", 1: "zstd"}
# Types of header extensions.
_END, _BACKING_FORMAT, _FEATURE_NAMES, _DATA_FILE_NAME = 0, 0xE2792ACA, 0x6803F857, 0x44415441
_MAX_NAME = 1023
_V2_LENGTH, _V3_LENGTH = 72, 104


@dataclasses.dataclass(frozen=True)
class Header:
    """What of a qcow2 header matters here; sizes and offsets are in bytes, ``l1_size`` is a number of entries.

    Names are as the image has them, with bytes that are no UTF-8 as surrogate escapes: show them with ``!r``, and ask
    ``is_plain_name`` before one is used as the name of a file. ``unknown_features`` are those without which the content
    cannot be understood; ``corrupt`` is the flag with which qemu marked a broken image.
    """

    version: int
    virtual_size: int
    cluster_size: int
    backing_file: str | None
    data_file: bool
    encrypted: bool
    backing_format: str | None = None
    data_file_name: str | None = None
    compression: str = "zlib"
    extended_l2: bool = False
    dirty: bool = False
    corrupt: bool = False
    unknown_features: tuple[str, ...] = ()
    l1_offset: int = 0
    l1_size: int = 0
    snapshots: int = 0

    @property
    def cluster_bits(self) -> int:
        """The binary logarithm of the cluster size."""
        return self.cluster_size.bit_length() - 1


class _Fixed(t.NamedTuple):
    """The first 72 bytes after the magic, which version 2 has as well."""

    version: int
    backing_offset: int
    backing_length: int
    cluster_bits: int
    size: int
    crypt_method: int
    l1_size: int
    l1_offset: int
    refcount_offset: int
    refcount_clusters: int
    snapshots: int
    snapshots_offset: int


def is_qcow2(head: bytes) -> bool:
    """Whether a file that starts with ``head`` is in the qcow2 format."""
    return head[:4] == MAGIC


def is_plain_name(name: str) -> bool:
    """Whether qemu would take ``name`` for a file: nothing like nbd:, http:, json: or file: stands before its first slash."""
    return name != "" and "\0" not in name and ":" not in name.split("/", 1)[0]


def parse(head: bytes, path: str) -> Header:
    """The header from the first bytes (HEAD_BYTES, or the whole file) of ``path``; raises KvmError when it is broken.

    Sizes are reported as they stand there; nobody has compared them with the file yet.
    """
    if head[: len(_OLD)] == _OLD:
        raise KvmError(f"{path}: it is in the old format qcow (version 1); convert it (qemu-img convert -f qcow).")
    try:
        return _parse(head)
    except Damaged as exc:
        raise KvmError(f"{path}: {exc.message}; the file is broken.") from exc


def _parse(head: bytes) -> Header:
    if len(head) < _V2_LENGTH:
        raise Damaged("the qcow2 header is cut off")
    fixed = _Fixed(*struct.unpack(">IQIIQIIQQIIQ", head[4:_V2_LENGTH]))
    if not is_qcow2(head) or fixed.version not in (2, 3) or not 9 <= fixed.cluster_bits <= 21:
        raise Damaged("the qcow2 header is not valid, or of an unknown version")
    features, length = _version_3(head, 1 << fixed.cluster_bits) if fixed.version == 3 else (0, _V2_LENGTH)
    found = _extensions(head, length, fixed.backing_offset or 1 << fixed.cluster_bits)
    compression = head[_V3_LENGTH] if length > _V3_LENGTH and len(head) > _V3_LENGTH else 0
    if compression and not features & _COMPRESSION:
        raise Damaged("the qcow2 header names a type of compression without the feature for it")
    if features & _EXTENDED_L2 and fixed.cluster_bits < 14:
        raise Damaged("the clusters of the qcow2 image are too small to have parts")
    return Header(
        version=fixed.version,
        virtual_size=fixed.size,
        cluster_size=1 << fixed.cluster_bits,
        backing_file=_backing_file(head, fixed),
        data_file=bool(features & _EXTERNAL_DATA),
        encrypted=fixed.crypt_method != 0,
        backing_format=_text(found[_BACKING_FORMAT]) if _BACKING_FORMAT in found else None,
        data_file_name=_text(found[_DATA_FILE_NAME]) if _DATA_FILE_NAME in found else None,
        compression=_COMPRESSIONS.get(compression, "unknown"),
        extended_l2=bool(features & _EXTENDED_L2),
        dirty=bool(features & _DIRTY),
        corrupt=bool(features & _CORRUPT),
        unknown_features=_unknown(features, found.get(_FEATURE_NAMES, b""), compression),
        l1_offset=fixed.l1_offset,
        l1_size=fixed.l1_size,
        snapshots=fixed.snapshots,
    )


def _version_3(head: bytes, cluster_size: int) -> tuple[int, int]:
    """The incompatible features and the length of the header."""
    if len(head) < _V3_LENGTH:
        raise Damaged("the qcow2 header is cut off")
    length = int.from_bytes(head[100:104], "big")
    if not _V3_LENGTH <= length <= min(cluster_size, HEAD_BYTES):
        raise Damaged(f"the qcow2 header claims to be {length} bytes long")
    return int.from_bytes(head[72:80], "big"), length


def _extensions(head: bytes, offset: int, end: int) -> dict[int, bytes]:
    """The header extensions by their types; as for qemu the last of a type counts."""
    found: dict[int, bytes] = {}
    end = min(end, len(head))
    while offset + 8 <= end:
        kind, length = struct.unpack_from(">II", head, offset)
        if kind == _END:
            break
        offset += 8
        if length > end - offset:
            raise Damaged("an extension of the qcow2 header is longer than its room")
        found[kind] = head[offset : offset + length]
        offset += (length + 7) & ~7
    return found


def _backing_file(head: bytes, fixed: _Fixed) -> str | None:
    if fixed.backing_offset == 0:
        return None
    end = fixed.backing_offset + fixed.backing_length
    if fixed.backing_length > _MAX_NAME or end > min(len(head), 1 << fixed.cluster_bits):
        raise Damaged("the qcow2 header is not valid: the name of its backing file is not in it")
    return _text(head[fixed.backing_offset : end]) or None


def _text(raw: bytes) -> str:
    # qemu's strings end at a zero byte, so that what stands behind one must not be another name here.
    return raw.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _unknown(features: int, names: bytes, compression: int) -> tuple[str, ...]:
    """The incompatible features that nobody here knows, under the names that the image itself gives them."""
    told = {}
    for at in range(0, len(names) - 47, 48):
        if names[at] == 0:
            told[names[at + 1]] = _text(names[at + 2 : at + 48])
    unknown = features & ~_KNOWN
    found = [f"{told.get(bit, '')!r} (bit {bit})" for bit in range(64) if unknown >> bit & 1]
    if compression not in _COMPRESSIONS:
        found.append(f"compression of type {compression}")
    return tuple(found)
