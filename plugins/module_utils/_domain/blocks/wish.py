# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What a declaration wants of a disk beside its place in the document: its size, and a copy of it. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Leaf, Values
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import PATH, YES_NO, Shape, words
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import parse_size

#: What qemu counts in.
_SECTOR = 512
#: The formats that can be made, grown and looked into.
_FORMATS = ("raw", "qcow2")
_OF_OLD_PLACE = ("pool", "mode", "startup_policy", "network.", "nvme.", "slice", "seclabels", "backing_store")


@dataclasses.dataclass(frozen=True)
class Mirror:
    """A copy that is kept alike. ``reuse``: what is at the path may be written over."""

    path: str
    format: str = "raw"
    pivot: bool = False
    reuse: bool = False

    @property
    def type(self) -> str:
        """The type of a disk that is there."""
        return "block" if self.path.startswith("/dev/") else "file"


@dataclasses.dataclass(frozen=True)
class Wish:
    """``source`` is the source as it is declared, wherever the disk is by now; ``size`` in bytes; ``reached``: whether the disk
    has gone on with its copy."""

    source: str | None = None
    size: int | None = None
    mirror: Mirror | None = None
    reached: bool = False


#: By target.
Wishes = dict[str, Wish]


def _parse_size(what: str, value: t.Any) -> t.Any:
    found = -(-parse_size(value, what) // _SECTOR) * _SECTOR
    if not found:
        raise InvalidSpec(f"{what} of {value} is no size of a disk.")
    return found


def _beside(name: str, shape: Shape) -> Leaf:
    """An option that is nowhere in the document."""
    return Leaf(name, lambda _node: None, lambda _node, _value: None, shape)


LEAVES = (
    _beside("size", Shape({"type": "str"}, _parse_size)),
    _beside("mirror.path", PATH),
    _beside("mirror.format", words(*_FORMATS)),
    _beside("mirror.pivot", YES_NO),
    _beside("mirror.reuse", YES_NO),
)


def check(what: str, values: Values) -> None:
    """What must hold of the stated values of one disk, which ``what`` names; raises InvalidSpec."""
    mirror = any(name.startswith("mirror.") for name in values)
    for option in (["size"] if "size" in values else []) + (["mirror"] if mirror else []):
        device = values.get("device", "disk")
        if device != "disk":
            raise InvalidSpec(f"{what} is a {device}, which has no {option}; that is for disks only.")
        for flag in ("readonly", "transient"):
            if values.get(flag):
                raise InvalidSpec(f"{what}: {option} and {flag} exclude each other.")
    if "size" in values:
        _check_size(what, values)
    if mirror:
        _check_mirror(what, values)


def _check_size(what: str, values: Values) -> None:
    if values.get("type") not in ("file", "block"):
        raise InvalidSpec(
            f"{what}: the size of a source of type {values.get('type')} is not kvm_domain's to change, but that of the storage"
            " where it is; leave out size."
        )
    if values.get("format", "raw") not in _FORMATS:
        raise InvalidSpec(f"{what}: size goes with the formats raw and qcow2, not with {values['format']}.")


def _check_mirror(what: str, values: Values) -> None:
    path, source = values.get("mirror.path"), values.get("source")
    if path is None:
        raise InvalidSpec(f"{what}: mirror needs a path, where the copy is to be.")
    if path == source and not values.get("mirror.pivot"):
        raise InvalidSpec(f"{what}: its mirror ({path}) is its source; a copy needs a place of its own.")
    if values.get("shareable"):
        raise InvalidSpec(f"{what}: mirror and shareable exclude each other; others write to it past the copy.")
    if any(name.startswith("encryption.") for name in values):
        raise InvalidSpec(f"{what}: mirror and encryption exclude each other, for the copy would not be encrypted.")
    if values.get("type") in ("dir", "vhostuser", "nvme"):
        raise InvalidSpec(f"{what}: a source of type {values['type']} cannot be mirrored; leave out mirror.")
    if "mirror.format" not in values and values.get("format", "raw") not in _FORMATS:
        raise InvalidSpec(f"{what}: state mirror.format, for no copy is made in the format {values['format']}.")


def taken(disks: t.Sequence[Values]) -> Wishes:
    """The wishes of checked disks, taken out of their values: what is left is all in the document."""
    found: Wishes = {}
    for values in disks:
        names = [leaf.name for leaf in LEAVES if leaf.name in values]
        stated = {name: values.pop(name) for name in names}
        if stated:
            mirror, source = _mirror(stated, values), values.get("source")
            if mirror is not None and mirror.pivot:
                # Stated before and afterwards, so that the record of the declaration stays the same.
                values.setdefault("format", "raw")
            reached = mirror is not None and mirror.path == source
            found[values["target"]] = Wish(source, stated.get("size"), mirror, reached)
    return found


def _mirror(stated: Values, disk: Values) -> Mirror | None:
    if "mirror.path" not in stated:
        return None
    return Mirror(
        stated["mirror.path"],
        stated.get("mirror.format") or disk.get("format", "raw"),
        bool(stated.get("mirror.pivot")),
        bool(stated.get("mirror.reuse")),
    )


def of_old_place(option: str) -> bool:
    """Whether an option says where a source is, and nothing about a copy of it."""
    return option.startswith(_OF_OLD_PLACE)


def kept(values: t.Iterable[str], wish: Wish | None) -> list[str]:
    """What of the options of a disk holds wherever it goes on."""
    moves = wish is not None and wish.mirror is not None and wish.mirror.pivot
    return [name for name in values if not (moves and of_old_place(name))]


def check_together(what: str, disks: t.Sequence[Values], wishes: Wishes) -> None:
    """No two disks of a domain, and no two copies, are at one path; raises InvalidSpec."""
    places = {str(values["source"]): values["target"] for values in disks if "source" in values}
    for target, wish in wishes.items():
        if wish.mirror is None:
            continue
        other = places.setdefault(wish.mirror.path, target)
        if other != target:
            raise InvalidSpec(
                f"{what}: the mirror of disk {target} ({wish.mirror.path}) is at the place of disk {other}; each needs its own."
            )
