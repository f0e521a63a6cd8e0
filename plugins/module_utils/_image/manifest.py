# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: the record beside an image, by which it is known again. Pure.

It has what was declared (secrets and contents as digests only) and facts that cost more to find than to keep.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing as t

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import ImageSpec


_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The record of one image.

    ``complete`` is False while the image is being put into place; ``inodes`` are the files that may stand at its path
    in that time. ``declared`` is what ``declared()`` gave. ``base`` is ``{path, identity}`` of the base image.
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


def merged(record: Manifest | None, spec: ImageSpec) -> dict[str, t.Any]:
    """What is declared of an image after it was changed: what was, but for what is declared anew."""
    wanted = declared(spec)
    kept = dict(record.declared) if record is not None and spec.in_place else {}
    if spec.individual:
        kept = {name: value for name, value in kept.items() if not name.startswith("customize.")}
    return {**kept, **wanted}


def may_be_rewritten(record: Manifest | None, spec: ImageSpec) -> bool:
    """Whether the declaration has anything for which an image that is there may have to be written anew."""
    before = record.declared if record is not None else {}
    anew = [
        spec.shrink,
        spec.format not in (None, before.get("format")),
        spec.compress not in (None, before.get("compress") or "none"),
        spec.sparsify and not before.get("sparsify"),
        spec.base is not None and spec.base.mode != before.get("source.image.mode"),
    ]
    return any(anew)


def digest(text: str) -> str:
    """What stands for a content or a secret."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


#: The fields that an existing image can be changed to without making it anew.
IN_PLACE = (
    "format",
    "fstab",
    "filesystem.label",
    "filesystem.uuid",
    "compress",
    "sparsify",
    "customize.hostname",
    "customize.hosts",
    "customize.interfaces",
    "customize.ssh_authorized_keys",
    "customize.root_password",
    "customize.files",
    "customize.machine_id",
)


def declared(spec: ImageSpec) -> dict[str, t.Any]:
    """What shapes the content, flat (option -> plain data), without what nobody stated.

    Not in it: the size (an image can grow), where things are put, time-outs, and what only decides how it is done.
    """
    found: dict[str, t.Any] = {"format": spec.format}
    if spec.bootstrap is not None:
        for name, value in dataclasses.asdict(spec.bootstrap).items():
            found[f"source.bootstrap.{name}"] = value
    if spec.base is not None:
        found.update({"source.image.path": spec.base.path, "source.image.mode": spec.base.mode})
    if spec.blank:
        found["source.blank"] = True
    found["partition"] = spec.partition
    for name, value in (dataclasses.asdict(spec.filesystem) if spec.filesystem else {}).items():
        found[f"filesystem.{name}"] = value
    found["fstab"] = [dataclasses.asdict(m) for m in spec.fstab] if isinstance(spec.fstab, tuple) else spec.fstab
    found["sparsify"] = spec.sparsify or None
    found["compress"] = spec.compress
    found.update(_customize(spec))
    # Through JSON, so that what is compared has the form of what was read back.
    plain = json.loads(json.dumps(found))
    return {name: value for name, value in plain.items() if value not in (None, [], {})}


def _customize(spec: ImageSpec) -> dict[str, t.Any]:
    wanted = spec.customize
    interfaces = None
    if wanted.interfaces is not None:
        interfaces = [
            {k: v for k, v in dataclasses.asdict(item).items() if v not in (None, (), False)}
            for item in wanted.interfaces
        ]
    return {
        "customize": spec.individual or None,
        "customize.hostname": wanted.hostname,
        "customize.hosts": None if wanted.hosts is None else [dataclasses.asdict(host) for host in wanted.hosts],
        "customize.machine_id": wanted.machine_id,
        "customize.ssh_authorized_keys": wanted.ssh_authorized_keys,
        "customize.root_password": None if wanted.root_password is None else digest(wanted.root_password),
        "customize.packages": wanted.packages,
        "customize.commands": [digest(command) for command in wanted.commands],
        "customize.files": [{**dataclasses.asdict(file), "content": digest(file.content)} for file in wanted.files],
        "customize.interfaces": interfaces,
    }
