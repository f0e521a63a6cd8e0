# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: the few things that are looked up in image files and about them. Reads only, and only headers."""

from __future__ import annotations

import json
import os
import stat
import struct
import typing as t

_MAGIC = b"QFI\xfb"
#: Where a qcow2 image of version 3 says what a reader has to know, how long its header is, and the bit for data in another file.
_FEATURES, _LENGTH, _DATA_OUTSIDE = 72, 100, 4
#: The extension of the header with the name of that file; how much of a header is looked at.
_DATA_FILE = 0x44415441
_HEADER = 65536
#: A folder with more files than this is no folder of images; it is not searched for overlays.
_MANY = 5000


def image_format(path: str) -> str | None:
    """``qcow2`` or ``raw`` by the first bytes of a regular file; None when it cannot be told."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:
            return "qcow2" if file.read(4) == _MAGIC else "raw"
    except OSError:
        return None


def backing_file(path: str) -> str | None:
    """The absolute path of the backing file that a qcow2 image names; None when it has none or is no such image."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:
            head = file.read(20)
            if len(head) < 20 or head[:4] != _MAGIC:
                return None
            offset, size = struct.unpack(">QI", head[8:20])
            if not offset or not 0 < size <= 1023:
                return None
            file.seek(offset)
            name = file.read(size).decode("utf-8", "surrogateescape")
    except OSError:
        return None
    return _beside(path, name)


def data_file(path: str) -> str | None:
    """The absolute path of the file in which a qcow2 image keeps its data, when that is another one."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:
            head = file.read(_HEADER)
    except OSError:
        return None
    if len(head) < _LENGTH + 4 or head[:4] != _MAGIC or struct.unpack_from(">I", head, 4)[0] < 3:
        return None
    if not struct.unpack_from(">Q", head, _FEATURES)[0] & _DATA_OUTSIDE:
        return None
    name = _extension(head, struct.unpack_from(">I", head, _LENGTH)[0], _DATA_FILE)
    return None if name is None else _beside(path, name.decode("utf-8", "surrogateescape"))


def _extension(head: bytes, place: int, wanted: int) -> bytes | None:
    while place + 8 <= len(head):
        kind, size = struct.unpack_from(">II", head, place)
        if kind == wanted:
            return head[place + 8 : place + 8 + size] or None
        if kind == 0:
            break
        place += 8 + (size + 7) // 8 * 8
    return None


def _beside(image: str, name: str) -> str:
    """The absolute path of what an image names."""
    return os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(image)), _plain(name)))


def _plain(name: str) -> str:
    """The file that such a name is about; qemu takes it with a protocol and as JSON, too."""
    if name.startswith("json:"):
        try:
            return _filename(json.loads(name[len("json:") :])) or name
        except ValueError:
            return name
    return name[len("file:") :] if name.startswith("file:") else name


def _filename(node: t.Any) -> str | None:
    if not isinstance(node, dict):
        return None
    for key in ("filename", "file.filename"):
        if isinstance(node.get(key), str):
            return _plain(node[key])
    return next((found for value in node.values() if (found := _filename(value))), None)


def chain(path: str) -> list[str]:
    """A file and the files that back it, as far as qcow2 headers say."""
    found: list[str] = []
    step: str | None = path
    while step is not None and step not in found:
        found.append(step)
        step = backing_file(step)
    return found


def needed(path: str) -> list[str]:
    """A file and all that it cannot be read without: the files that back it, and those with the data of each."""
    return [part for step in chain(path) for part in (step, data_file(step)) if part is not None]


def same(one: str, other: str) -> bool:
    """Whether two paths are the same file, through links too."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def images_on(folders: t.Iterable[str], path: str) -> list[tuple[str, str]]:
    """The images in these folders that have ``path`` as their backing file or data file, with the word for it."""
    found: list[tuple[str, str]] = []
    for folder in sorted(set(folders)):
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names[:_MANY]:
            candidate = os.path.join(folder, name)
            for word, lower in (("backing", backing_file(candidate)), ("data", data_file(candidate))):
                if lower is not None and same(lower, path):
                    found.append((candidate, word))
    return found
