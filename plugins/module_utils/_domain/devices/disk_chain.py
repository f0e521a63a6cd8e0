# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What is behind the image of a disk, as far as it is declared; else libvirt looks for it in the images. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices import disk_source
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    drop_children,
    text,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.lists import flat, in_order
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import YES_NO, Shape, size, words
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.table import (
    Table,
    arguments,
    nested,
    read,
    stated,
    write,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

FORMATS = words(
    "raw", "qcow2", "qcow", "qed", "vmdk", "vdi", "vhd", "vhdx", "vpc", "luks", "dmg", "bochs", "cloop", "ploop",
    "fat", "iso",
)  # fmt: skip
#: Formats that have nothing behind them.
_ALONE = ("raw", "luks", "iso", "fat")
#: What only the image that the guest writes has.
_OF_THE_DISK = ("startup_policy", "reconnect.", "reservations.")
_TAG = "backingStore"


def _open(step: Element) -> Element | None:
    return step if step.find(_TAG) is None else None


#: The type first, for what is a source depends on it.
_IMAGE = Table(
    (
        attribute("type", ".", "type", disk_source.TYPES),
        *(leaf for leaf in disk_source.LEAVES if not leaf.name.startswith(_OF_THE_DISK)),
        attribute("format", "format", "type", FORMATS),
        text("metadata_cache_size", "format/metadata_cache/max_size", size("MiB")),
        Leaf("probe", lambda node: True if _open(node) is not None else None, lambda _node, _value: None, YES_NO),
    )
)


def _read(node: Element) -> t.Any:
    step = node.find(_TAG)
    if step is None:
        return None
    found = []
    # An empty element is the end.
    while step is not None and step.find("source") is not None:
        found.append(nested(read(_IMAGE, step)))
        step = step.find(_TAG)
    return found


def _write(node: Element, value: t.Any) -> None:
    drop_children(node, _TAG)
    if value is None:
        return
    for image in value:
        node = _xml.child(node, _TAG)
        write(_IMAGE, node, flat(_IMAGE, image), (), new=True)
    if not value or not value[-1].get("probe"):
        _xml.child(node, _TAG)


def _parse(what: str, value: t.Any) -> t.Any:
    return [_image(f"{what}[{index}]", image, index == len(value) - 1) for index, image in enumerate(value)]


def _image(what: str, image: t.Any, last: bool) -> dict[str, t.Any]:
    values = stated(f"{what}.", _IMAGE, image)
    disk_source.guess_type(values)
    if "type" not in values or ("source" not in values and values["type"] != "network"):
        raise InvalidSpec(f"{what}: an image behind a disk needs its source.")
    disk_source.check(what, values)
    if "format" not in values:
        raise InvalidSpec(f"{what}: an image behind a disk needs its format; it is never guessed.")
    if not last and values["format"] in _ALONE:
        raise InvalidSpec(
            f"{what}: there is nothing behind an image of format {values['format']}; end the list with it."
        )
    if values.pop("probe", False):
        if not last or values["format"] in _ALONE:
            raise InvalidSpec(f"{what}: probe goes with the last image only, of a format that has something behind it.")
        values["probe"] = True
    return in_order(_IMAGE, values)


def check(what: str, values: Values) -> None:
    """What must hold between a disk and what is behind it; ``what`` names the disk."""
    if values.get(LEAF.name) is None:
        return
    if "source" not in values and values.get("type") != "network":
        raise InvalidSpec(f"{what}: {LEAF.name} goes with a source, and it has none.")
    if values[LEAF.name] and values.get("format", "raw") in _ALONE:
        raise InvalidSpec(
            f"{what}: {LEAF.name} goes with a format that has something behind it, like qcow2, and not with"
            f" {values.get('format', 'raw')}."
        )


#: All of it, nearest first; an empty list is "nothing", after which libvirt does not look either.
LEAF = Leaf(
    "backing_store",
    _read,
    _write,
    Shape({"type": "list", "elements": "dict", "options": arguments(_IMAGE)}, _parse),
    place=_TAG,
)
