# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: which container formats a file could be taken for, by their magic. Pure: it is given the bytes.

Sources: the specifications of the formats, and the probes of QEMU (block/*.c), as what qemu would take it for matters.
"""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Unsupported

#: How much of the begin and of the end of a file all formats can be told by.
HEAD_BYTES, TAIL_BYTES = 64 * 1024, 512

_STARTS = (
    ("qed", b"QED\0"),
    ("vmdk", b"KDMV"),
    ("vmdk", b"COWD"),
    ("vhd", b"conectix"),
    ("vhdx", b"vhdxfile"),
    ("luks", b"LUKS\xba\xbe"),
    ("parallels", b"WithoutFreeSpace"),
    ("parallels", b"WithouFreSpacExt"),
    ("gzip", b"\x1f\x8b\x08"),
    ("xz", b"\xfd7zXZ\0"),
    ("zstd", b"\x28\xb5\x2f\xfd"),
    ("lz4", b"\x04\x22\x4d\x18"),
    ("zip", b"PK\x03\x04"),
    ("zip", b"PK\x05\x06"),
)
_VDI, _VDI_AT = b"\x7f\x10\xda\xbe", 0x40
_ISO, _ISO_AT = b"CD001", 0x8001
_BZIP2_BLOCKS = (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")
_TEXT_BYTES = 4096

#: What unpacks each of the formats that are no disks yet.
_UNPACK = {"gzip": "gunzip", "xz": "unxz", "zstd": "unzstd", "bzip2": "bunzip2", "lz4": "unlz4", "zip": "unzip"}
_QEMU_NAMES = {"vhd": "vpc"}
#: What a disk of its own may start with: it is content there, no container.
_FINE_ON_RAW = ("iso9660", "luks")


def detect(head: bytes, size: int, tail: bytes = b"") -> tuple[str, ...]:
    """The formats whose magic is there, in no particular order of trust; empty for a file that can only be raw.

    ``head`` and ``tail`` are the first HEAD_BYTES and the last TAIL_BYTES of a file of ``size`` bytes (or all of it).
    The names are qcow2, qcow (version 1), qed, vmdk, vdi, vhd, vhdx, luks, parallels, dmg, iso9660, gzip, xz, zstd,
    bzip2, lz4 and zip.
    """
    found = [name for name, magic in _STARTS if head.startswith(magic)]
    found += [name for name, there in _elsewhere(head) if there]
    if size >= TAIL_BYTES:
        # A fixed VHD is its disk with a footer behind it, of 511 bytes in old versions.
        end = tail[-TAIL_BYTES:]
        found += ["vhd"] if b"conectix" in (end[:8], end[1:9]) else []
        found += ["dmg"] if end[:4] == b"koly" else []
    return tuple(dict.fromkeys(found))


def _elsewhere(head: bytes) -> t.Iterator[tuple[str, bool]]:
    qcow = head[:4] == b"QFI\xfb"
    version_1 = head[4:8] == b"\0\0\0\1"
    yield "qcow", qcow and version_1
    yield "qcow2", qcow and not version_1
    yield "vmdk", _is_descriptor(head[:_TEXT_BYTES])
    yield "vdi", head[_VDI_AT : _VDI_AT + 4] == _VDI
    yield "bzip2", head[:3] == b"BZh" and head[3:4] in b"123456789" and head[4:10] in _BZIP2_BLOCKS
    yield "iso9660", head[_ISO_AT : _ISO_AT + 5] == _ISO


def _is_descriptor(text: bytes) -> bool:
    """Whether a text names the files of a VMware disk: by its title, or as qemu knows it, by a first line "version=N"."""
    lines = [line.strip().lower() for line in text.splitlines()]
    if lines and lines[0].startswith(b"# disk descriptorfile"):
        return True
    told = [line for line in lines if line and not line.startswith(b"#")]
    return bool(told) and told[0] in (b"version=1", b"version=2", b"version=3")


def container(found: t.Sequence[str]) -> str | None:
    """Why a file that ``detect`` has found these formats in, and of which nothing is stated, is not simply a raw disk."""
    names = [name for name in found if name not in _FINE_ON_RAW]
    if not names:
        return None
    return f"it is {_as_found(names[0])}; if it is a raw disk all the same, state format: raw"


def check_declared(image_format: str, head: bytes, size: int, tail: bytes = b"") -> None:
    """Raises Unsupported when a file that is declared as "raw" or "qcow2" is, or could be taken for, something else.

    For files from elsewhere: what a guest wrote to its own raw disk does not make another format of it.
    """
    if image_format == "qcow2":
        # At the end of a qcow2 file stands what the guest wrote last: it says nothing of the file.
        _check_qcow2(detect(head, size), detect(head, size, tail))
    else:
        _check_raw([name for name in detect(head, size, tail) if name not in _FINE_ON_RAW])


def _check_qcow2(found: tuple[str, ...], with_tail: tuple[str, ...]) -> None:
    others = [name for name in found if name != "qcow2"]
    if "qcow2" not in found:
        others = list(with_tail)
        if not others:
            raise Unsupported("it is declared as qcow2 and is none; if it is a raw image, declare format: raw")
        raise Unsupported(_other("qcow2", others[0]))
    if others:
        raise Unsupported(
            f"it can be read as {' and as '.join(found)}, as which depends on who reads it; use an image that is one thing"
        )


def _check_raw(found: list[str]) -> None:
    if found:
        raise Unsupported(_other("raw", found[0]))


def _other(declared: str, found: str) -> str:
    if found == "qcow2":
        return f"it is declared as {declared} and is a qcow2 image; declare format: qcow2"
    if found in ("iso9660", "luks"):
        return f"it is declared as {declared} and is a raw image with {found} on it; declare format: raw"
    return f"it is declared as {declared} and is {_as_found(found)}"


def _as_found(found: str) -> str:
    if found in _UNPACK:
        return f"packed with {found}; unpack it first ({_UNPACK[found]})"
    if found == "dmg":
        return f"an image of macOS ({found}); convert it (qemu-img convert -f dmg)"
    return f"an image in the format {found}; convert it (qemu-img convert -f {_QEMU_NAMES.get(found, found)})"
