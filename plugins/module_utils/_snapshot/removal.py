# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Snapshots: what is being removed, noted in the domain's own metadata while it is under way. Pure.

A removal that is interrupted has changed the contents of a snapshot already, and may have merged a file that it has not
unlinked yet: the note keeps anybody from going back to such a snapshot, and lets the next run end what was begun.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.chain import Merge

URI = "urn:hypervisor.kvm:snapshot:1"
PREFIX = "snapshot"
_TAG = f"{{{URI}}}removal"


@dataclasses.dataclass(frozen=True)
class Removal:
    """The snapshots that go, the merges for it, and the files that nobody needs when those are done."""

    snapshots: tuple[str, ...] = ()
    merges: tuple[Merge, ...] = ()
    files: tuple[str, ...] = ()

    def text(self) -> str:
        """The note as the element that libvirt's call for metadata takes: without a namespace, which libvirt adds."""
        content = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return _xml.to_text(_xml.element("removal", text=content)).strip()

    def joined(self, other: Removal) -> Removal:
        """Both in one."""
        return Removal(
            tuple(dict.fromkeys((*self.snapshots, *other.snapshots))),
            tuple(dict.fromkeys((*self.merges, *other.merges))),
            tuple(dict.fromkeys((*self.files, *other.files))),
        )


def read(*documents: str | None) -> Removal | None:
    """The note in the first document that has one; None when none has."""
    for document in documents:
        node = _xml.parse(document).find(f"metadata/{_TAG}") if document is not None else None
        if node is not None:
            return _read(node.text or "")
    return None


def _read(text: str) -> Removal | None:
    try:
        content: dict[str, t.Any] = json.loads(text)
        merges = [Merge(**{**entry, "drop": tuple(entry["drop"])}) for entry in content["merges"]]
        return Removal(tuple(content["snapshots"]), tuple(merges), tuple(content["files"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        # Written by hand or by a later version: it says nothing here.
        return None
