# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: the record beside an image, by which it is known again. Pure.

It has what was declared (secrets and contents as digests only) and facts that cost more to find than to keep.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t

_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The record of one image.

    ``complete`` is False while the image is being put into place; ``inodes`` are the files that may stand at its path
    in that time. ``declared`` is what ``declaration.declared()`` gave. ``base`` is ``{path, identity}`` of the base image.
    """

    id: str
    declared: dict[str, t.Any]
    complete: bool = True
    inodes: tuple[int, ...] = ()
    base: dict[str, t.Any] | None = None
    kernel: str | None = None
    initrd: str | None = None
    tools: dict[str, str] = dataclasses.field(default_factory=dict)
    created: str = ""
    #: Whether everything on it came from this module, and from archives and images that it trusts.
    trusted: bool = True
    #: While the image is replaced by another form of itself: the ``inode`` of the new file, and what was ``declared`` of
    #: the old one, so that it is known which of them stands there.
    switch: dict[str, t.Any] | None = None
    #: Whether the image was there before this module changed it for the first time.
    adopted: bool = False
    #: The UUID of the root file system of an adopted image when it was changed last.
    root: str | None = None


def dump(manifest: Manifest) -> str:
    """As the text of the file."""
    body = {"kvm_image": _VERSION, **dataclasses.asdict(manifest)}
    return json.dumps(body, indent=2, sort_keys=True) + "\n"


def load(text: str) -> Manifest | None:
    """From the text of the file; None when it is no such record (or one of a later version)."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict) or body.pop("kvm_image", None) != _VERSION:
        return None
    known = {field.name for field in dataclasses.fields(Manifest)}
    values = {name: value for name, value in body.items() if name in known}
    if not _is_sound(values):
        return None
    values["inodes"] = tuple(values.get("inodes") or ())
    return Manifest(**values)


_FORMS: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "declared": (dict,),
    "complete": (bool,),
    "inodes": (list,),
    "base": (dict, type(None)),
    "kernel": (str, type(None)),
    "initrd": (str, type(None)),
    "tools": (dict,),
    "created": (str,),
    "trusted": (bool,),
    "switch": (dict, type(None)),
    "adopted": (bool,),
    "root": (str, type(None)),
}


def _is_sound(values: t.Mapping[str, t.Any]) -> bool:
    """Whether what was read has the form of what was written; somebody may have had it in an editor."""
    if not {"id", "declared"} <= set(values) or any(not isinstance(v, _FORMS[name]) for name, v in values.items()):
        return False
    then = (values.get("switch") or {}).get("declared") or {}
    return isinstance(then, dict) and all(_is_declaration(found) for found in (values["declared"], then))


def _is_declaration(found: t.Mapping[str, t.Any]) -> bool:
    files, hosts = found.get("customize.files") or [], found.get("customize.hosts") or []
    return (
        found.get("format") in (None, "raw", "qcow2")
        and all(isinstance(entries, list) and all(isinstance(e, dict) for e in entries) for entries in (files, hosts))
        and all(isinstance(entry.get("path"), str) for entry in files)
        and all(isinstance(e.get("address"), str) and isinstance(e.get("names"), list) for e in hosts)
    )


def settled(record: Manifest, inode: int) -> Manifest:
    """The record as it is true for the file with that inode."""
    if record.switch is None or record.switch.get("inode") == inode:
        return record
    return dataclasses.replace(record, declared=record.switch.get("declared") or {}, switch=None)
