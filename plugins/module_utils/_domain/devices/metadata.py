# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Metadata that users and their programs keep in a domain: an element for each namespace, which is its identity. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import memory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Leaf, Values, ensure
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


def _namespace(node: Element) -> str | None:
    namespace, brace, _name = str(node.tag).rpartition("}")
    return namespace[1:] if brace else None


def _content(node: Element) -> str:
    return _xml.canonical_text(node)


def _write_content(node: Element, value: t.Any) -> None:
    if value is None:
        return
    new = _xml.parse(value, is_metadata=True)
    for item in list(node):
        node.remove(item)
    for key in list(node.attrib):
        del node.attrib[key]
    node.tag, node.text = new.tag, new.text
    for key, content in new.attrib.items():
        node.set(key, content)
    for item in list(new):
        node.append(item)


def _foreign(node: Element) -> bool:
    return _namespace(node) not in (None, memory.URI)


@dataclasses.dataclass(frozen=True)
class _Metadata(Kind):
    """An entry is the text of an element, not a dictionary."""

    def parse(self, what: str, index: int, params: t.Any) -> Values:
        what = f"{what}: metadata[{index}]"
        node = _xml.parse(str(params), what, is_metadata=True)
        namespace = _namespace(node)
        if not namespace:
            raise InvalidSpec(
                f"{what} has no namespace, so libvirt would not keep it; write it like"
                ' <app:note xmlns:app="http://example.org/app">...</app:note>.'
            )
        if namespace == memory.URI:
            raise InvalidSpec(f"{what}: the namespace {namespace} is that of this collection; choose one of your own.")
        return {"namespace": namespace, "xml": _content(node)}

    def add(self, root: Element, _values: Values) -> Element:
        node = _xml.parse(_values["xml"], is_metadata=True)
        ensure(root, self.parent).append(node)
        return node

    @property
    def arguments(self) -> dict[str, t.Any]:
        return {self.option: {"type": "list", "elements": "str"}}


KIND = _Metadata(
    "metadata",
    "*",
    (
        Leaf("namespace", _namespace, lambda _node, _value: None, None, keep=True),
        Leaf("xml", _content, _write_content, None, keep=True),
    ),
    identity="namespace",
    parent="metadata",
    matches=_foreign,
)
