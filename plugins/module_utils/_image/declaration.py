# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: specification -> what a record keeps of it. Pure."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._image.manifest import Manifest
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import ImageSpec


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
