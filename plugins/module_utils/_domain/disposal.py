# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: which files a disk is that is to be removed with its domain, and why they have to stay. Reads only."""

from __future__ import annotations

import os
import stat
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import files, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Values
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import domains
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.snapshots import Snapshot

#: Attributes and elements of a document that name files.
_ATTRIBUTES = ("file", "dev", "path", "dir")
_ELEMENTS = ("kernel", "initrd", "loader", "nvram", "dtb")

#: The documents of domains by their names.
Documents = t.Mapping[str, t.Sequence[str]]


def files_of(target: str, disk: Values, taken: t.Sequence[Snapshot]) -> tuple[str, ...]:
    """The files of a disk: the one it writes to, and those that the domain's own external snapshots have made it of, to the
    one that was there before the first. What backs that one is somebody else's. An overlay comes before what it is on."""
    found = [str(disk["source"])] if "source" in disk else []
    of_it = [item for snapshot in taken for item in snapshot.disks if item.target == target and item.kind == "external"]
    for item in reversed(of_it):
        found += [path for path in (*item.reverted, item.path, item.content) if path is not None]
    named: list[str] = []
    for path in dict.fromkeys(found):
        # A link goes after what it leads to: as long as that is there it says where.
        named += [os.path.realpath(path), path] if os.path.islink(path) else [path]
    return tuple(dict.fromkeys(named))


def why_not(disk: Values, local: bool) -> str | None:
    """Why the files of such a disk are never removed."""
    if disk["device"] != "disk":
        return f"is a {disk['device']} drive, whose medium is never removed"
    if disk["type"] != "file" or disk.get("source") is None:
        return f"is of type {disk['type']}; only files are removed"
    return None if local else "is on another machine, whose files cannot be looked at from here"


def why_kept(paths: t.Sequence[str], going: t.Collection[str], used: t.Mapping[str, t.Collection[str]]) -> str | None:
    """Why one of the files has to stay although its domain goes; ``going`` are all files that go with it."""
    for path in paths:
        if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
            return f"({path}) is no regular file; only those are removed"
        for name, sources in used.items():
            for source in sources:
                if any(files.same(step, path) for step in files.needed(source)):
                    return f"({path}) is used by domain {name}, itself or through {source}, which stands on it"
    folders = {os.path.dirname(os.path.realpath(path)) for path in going}
    folders |= {os.path.dirname(source) for group in used.values() for source in group}
    for path in paths:
        for image, word in files.images_on(folders, path):
            if not any(files.same(image, other) for other in going):
                return f"({path}) is the {word} file of {image}"
    return None


def used(connection: t.Any, documents: Documents) -> dict[str, set[str]]:
    """The files that domains name, in whichever way."""
    return {name: {path for text in texts for path in _paths(connection, text)} for name, texts in documents.items()}


def kept_by_itself(name: str, document: str, targets: t.Collection[str]) -> dict[str, set[str]]:
    """The files of the other disks of the domain that goes."""
    disks = xml.read(document).devices["disks"]
    sources = {str(disk["source"]) for target, disk in disks.items() if target not in targets and "source" in disk}
    return {f"{name} for another disk": {source for source in sources if source.startswith("/")}}


def _paths(connection: t.Any, text: str) -> t.Iterator[str]:
    root = _xml.parse(text)
    for node in root.iter():
        yield from (value for key in _ATTRIBUTES if (value := node.get(key, "")).startswith("/"))
        content = (node.text or "").strip()
        if node.tag in _ELEMENTS and content.startswith("/"):
            yield content
        pool, volume = node.get("pool"), node.get("volume")
        path = domains.volume_path(connection, pool, volume) if pool and volume else None
        if path is not None:
            yield path
