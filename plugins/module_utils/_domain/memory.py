# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: which options a declaration stated, remembered in the domain's own metadata. Pure.

The names of the options are kept, never their values: no secret can leak, and what is no longer declared can be
taken out. Losing the record (another tool may drop it) means that nothing is taken out, and nothing worse.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import ensure

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

URI = "urn:hypervisor.kvm:declaration:1"
PREFIX = "declared"
_TAG = f"{{{URI}}}options"

#: Kind of device -> label of the device -> names of its options.
Devices = dict[str, dict[str, list[str]]]


@dataclasses.dataclass
class Memory:
    """The options of a declaration, by dotted name, and those of its devices."""

    scalars: list[str] = dataclasses.field(default_factory=list)
    devices: Devices = dataclasses.field(default_factory=dict)

    def to_text(self) -> str:
        """One line of JSON, always the same for the same content."""
        return json.dumps({"options": sorted(self.scalars), **self.devices}, sort_keys=True)


def read(root: Element) -> Memory | None:
    """The record in a document; None when there is none (or none that this version understands)."""
    found = root.find(f"metadata/{_TAG}")
    if found is None:
        return None
    try:
        content = json.loads(found.text or "")
        return Memory(
            list(content.pop("options")),
            {kind: {k: list(v) for k, v in group.items()} for kind, group in content.items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        # Written by hand or by a later version: unknown, so nothing is taken out.
        return None


def forget(root: Element) -> None:
    """Takes the record out of a document, for a comparison or a diff without it."""
    metadata = root.find("metadata")
    if metadata is None:
        return
    for node in metadata.findall(_TAG):
        metadata.remove(node)
    if len(metadata) == 0:
        root.remove(metadata)


def write(root: Element, memory: Memory) -> None:
    """Puts the record into a document."""
    forget(root)
    ensure(root, "metadata").append(_xml.parse(f'<{PREFIX}:options xmlns:{PREFIX}="{URI}"/>'))
    node = root.find(f"metadata/{_TAG}")
    if node is not None:
        node.text = memory.to_text()


def element_text(memory: Memory) -> str:
    """The record as libvirt's call for metadata takes it: without a namespace, which libvirt adds."""
    return _xml.to_text(_xml.element("options", text=memory.to_text())).strip()
