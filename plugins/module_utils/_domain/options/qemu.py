# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what goes past libvirt to qemu itself, in a namespace of its own. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Leaf, Values, attribute
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.lists import items, mapping, texts
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import LINE, matching, words
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

_QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"


def _tag(name: str) -> str:
    return f"{{{_QEMU}}}{name}"


def _within(name: str, leaf: Leaf) -> Leaf:
    """What is in an element of qemu's own namespace, which the root of a document has only when it is used."""
    tag = _tag(name)

    def get(node: Element) -> t.Any:
        found = node.find(tag)
        return None if found is None else leaf.read(found)

    def put(node: Element, value: t.Any) -> None:
        found = node.find(tag)
        if found is None:
            if not value:
                return
            found = _xml.parse(f'<qemu:{name} xmlns:qemu="{_QEMU}"/>')
            node.append(found)
        leaf.write(found, value)
        if not len(found) and not found.attrib:
            node.remove(found)

    return Leaf(leaf.name, get, put, leaf.shape)


_TRUTHS = {"true": "true", "yes": "true", "false": "false", "no": "false"}


def _check_property(what: str, values: Values) -> None:
    kind, value = values["type"], values.get("value")
    if (kind == "remove") != (value is None):
        raise InvalidSpec(f"{what}: a property has a value, unless its type is remove.")
    if kind == "bool":
        values["value"] = _TRUTHS.get(str(value).lower())
        if values["value"] is None:
            raise InvalidSpec(f"{what}: '{value}' is neither true nor false.")
    if kind in ("signed", "unsigned"):
        values["value"] = _number(what, str(value), kind == "signed")


def _number(what: str, value: str, signed: bool) -> str:
    try:
        found = int(value, 0)
    except ValueError as exc:
        raise InvalidSpec(f"{what}: '{value}' is no number.") from exc
    if found < 0 and not signed:
        raise InvalidSpec(f"{what}: {value} is less than 0; the type is signed then.")
    return str(found)


_PROPERTY = (
    attribute("name", ".", "name", LINE),
    attribute("type", ".", "type", words("string", "signed", "unsigned", "bool", "remove")),
    attribute("value", ".", "value"),
)
_DEVICE = (
    attribute("alias", ".", "alias", LINE),
    _within(
        "frontend",
        items(
            "properties",
            ".",
            _tag("property"),
            _PROPERTY,
            required=("name", "type"),
            unique="name",
            check=_check_property,
        ),
    ),
)
_CAPABILITY = matching(r"[a-zA-Z0-9_.+\-]+", "capability of qemu")

LEAVES = (
    _within("commandline", texts("qemu_commandline.args", ".", _tag("arg"), "value")),
    _within("commandline", mapping("qemu_commandline.env", ".", _tag("env"), "name", "value")),
    _within("capabilities", texts("qemu_capabilities.add", ".", _tag("add"), "capability", _CAPABILITY)),
    _within("capabilities", texts("qemu_capabilities.remove", ".", _tag("del"), "capability", _CAPABILITY)),
    _within("deprecation", attribute("qemu_deprecation", ".", "behavior", words("none", "omit", "reject", "crash"))),
    _within(
        "override",
        items("qemu_override", ".", _tag("device"), _DEVICE, required=("alias", "properties"), unique="alias"),
    ),
)
