# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Snapshots: the parameters as a typed, validated specification. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

#: libvirt keeps a snapshot in a file of its name: no slash, no dot at its begin, and not too long.
_NAME = re.compile(r"(?!\.)[^\x00-\x1f\x7f/]+")
_MAX_NAME = 200
_DOMAIN = re.compile(r"[^\x00-\x1f/]+")
_TARGET = re.compile(r"[a-z][a-z0-9]{1,14}")
_TIMEOUT, _AGENT_TIMEOUT = 3600, 30


@dataclasses.dataclass(frozen=True)
class DiskChoice:
    """A disk that is to be in the snapshot; ``path`` is where its overlay is to be made (None: beside the disk)."""

    target: str
    path: str | None = None


@dataclasses.dataclass(frozen=True)
class SnapshotSpec:
    """A snapshot of a domain. None is "not stated"; ``disks`` None: all that can be written."""

    domain: str
    name: str
    state: str = "present"
    kind: str | None = None
    description: str | None = None
    disk_only: bool | None = None
    memory_path: str | None = None
    quiesce: bool = False
    disks: tuple[DiskChoice, ...] | None = None
    children: bool = False
    metadata_only: bool = False
    running: bool | None = None
    force: bool = False
    agent_timeout: int = _AGENT_TIMEOUT
    wait_timeout: int = _TIMEOUT

    @property
    def label(self) -> str:
        """What the snapshot is called in results and messages of several domains."""
        return f"{self.domain}/{self.name}"

    @property
    def what(self) -> str:
        """The begin of an error."""
        return f"domain {self.domain}, snapshot {self.name}"

    @property
    def made_as(self) -> str:
        """The kind that a new snapshot is to have: as stated, else external when only such a one can be what is stated."""
        if self.kind is not None:
            return self.kind
        paths = [choice.path for choice in self.disks or () if choice.path is not None]
        return "external" if self.disk_only or self.quiesce or self.memory_path or paths else "internal"

    @property
    def without_memory(self) -> bool:
        """Whether the memory of a running domain is to be left out."""
        return bool(self.disk_only or self.quiesce)


def parse(params: dict[str, t.Any]) -> SnapshotSpec:
    """The options of one snapshot to its specification; raises InvalidSpec with a sentence that names it."""
    domain, name = params.get("domain"), params["name"]
    if not domain:
        raise InvalidSpec(f"snapshot {name}: say of which domain (option domain).")
    if not _DOMAIN.fullmatch(domain):
        raise InvalidSpec(
            f"snapshot {name}: '{domain}' is no name of a domain: no slashes and no control characters, please."
        )
    given = {
        option: params[option]
        for option in (field.name for field in dataclasses.fields(SnapshotSpec))
        if option not in ("domain", "name", "disks") and params.get(option) is not None
    }
    spec = SnapshotSpec(domain, name, disks=_disks(domain, name, params.get("disks")), **given)
    _check_name(spec)
    _check_numbers(spec)
    if spec.state == "present":
        _check_kind(spec)
    if spec.metadata_only and spec.state != "absent":
        raise InvalidSpec(f"{spec.what}: metadata_only goes with state absent only.")
    return spec


def _check_name(spec: SnapshotSpec) -> None:
    if not _NAME.fullmatch(spec.name) or len(spec.name.encode()) > _MAX_NAME:
        raise InvalidSpec(
            f"snapshot name '{spec.name}': no slashes, no control characters, no dot at its begin, at most {_MAX_NAME} bytes."
        )


def _check_numbers(spec: SnapshotSpec) -> None:
    for option in ("agent_timeout", "wait_timeout"):
        if getattr(spec, option) < 1:
            raise InvalidSpec(f"{spec.what}: {option} of {getattr(spec, option)} s is too short; 1 is the least.")


def _check_kind(spec: SnapshotSpec) -> None:
    if spec.quiesce and spec.disk_only is False:
        raise InvalidSpec(f"{spec.what}: quiesce is for snapshots without memory; leave out disk_only: false.")
    if spec.without_memory and spec.memory_path is not None:
        raise InvalidSpec(f"{spec.what}: with disk_only or quiesce there is no memory, so leave out memory_path.")
    if spec.made_as == "internal":
        if spec.name.isdigit():
            raise InvalidSpec(
                f"{spec.what}: qemu could take a name of digits for the number of another snapshot in the image; choose"
                f" another name, like s{spec.name}."
            )
        if spec.memory_path is not None or any(choice.path is not None for choice in spec.disks or ()):
            raise InvalidSpec(
                f"{spec.what}: an internal snapshot is in the disks themselves; paths are for kind: external."
            )
    if spec.memory_path is not None:
        _check_path(spec.what, "memory_path", spec.memory_path)


def _disks(domain: str, name: str, entries: list[dict[str, t.Any]] | None) -> tuple[DiskChoice, ...] | None:
    if entries is None:
        return None
    what = f"domain {domain}, snapshot {name}"
    if not entries:
        raise InvalidSpec(f"{what}: disks is empty; name the disks to be in it, or leave it out for all.")
    choices: list[DiskChoice] = []
    for entry in entries:
        target, path = entry.get("target"), entry.get("path")
        if not target or not _TARGET.fullmatch(target):
            raise InvalidSpec(f"{what}: an entry of disks needs a target like vda or sda (got '{target or ''}').")
        if target in [choice.target for choice in choices]:
            raise InvalidSpec(f"{what}: disk {target} is in disks twice.")
        if path is not None:
            _check_path(what, f"the path of disk {target}", path)
            if path in [choice.path for choice in choices]:
                raise InvalidSpec(f"{what}: two of disks have the path {path}.")
        choices.append(DiskChoice(target, path))
    return tuple(choices)


def _check_path(what: str, option: str, path: str) -> None:
    if not path.startswith("/") or path.endswith("/") or re.search(r"[\x00-\x1f]", path):
        raise InvalidSpec(f"{what}: {option} has to be an absolute path of a file, not '{path}'.")
    if path.startswith("/dev/"):
        raise InvalidSpec(f"{what}: {option} of {path} would overwrite a device; name a file to be made.")


def check_together(specs: t.Sequence[SnapshotSpec]) -> None:
    """What one call can do: a domain cannot be put back and have its snapshots changed at once."""
    for spec in specs:
        others = [other for other in specs if other is not spec and other.domain == spec.domain]
        if spec.state == "reverted" and others:
            raise InvalidSpec(
                f"{spec.what}: the same call has snapshot {others[0].name} of that domain; what comes first matters, so use two"
                " tasks."
            )
