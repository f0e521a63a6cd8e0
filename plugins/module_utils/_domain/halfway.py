# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: the marks by which a change of the UUID that was cut off is found again. Pure.

libvirt has no call that changes it. So the old definition is put aside under another name, the new one takes its place, and
the old one goes. Until then one of the two has a mark in its metadata, which says what is left to do.
"""

from __future__ import annotations

import dataclasses
import json

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import ensure

URI = "urn:hypervisor.kvm:recreate:1"
PREFIX = "recreate"
_TAG = f"{{{URI}}}mark"


def aside(name: str) -> str:
    """What the old definition of a domain is called meanwhile."""
    return f"{name}.replaced"


@dataclasses.dataclass(frozen=True)
class Mark:
    """``old``: this is the definition that is to go (or to come back); else the one that has taken its place. ``name`` is
    that of the domain, ``uuid`` and ``autostart`` what the old definition has."""

    old: bool
    name: str
    uuid: str
    autostart: bool

    def element_text(self) -> str:
        """The mark as libvirt's call for metadata takes it: without a namespace, which libvirt adds."""
        return _xml.to_text(_xml.element("mark", text=json.dumps(dataclasses.asdict(self), sort_keys=True))).strip()


def read(document: str) -> Mark | None:
    """The mark in a document; None when there is none (or none that this version understands)."""
    if URI not in document:
        return None
    text = _xml.find_text(_xml.parse(document), f"metadata/{_TAG}")
    try:
        content = json.loads(text or "")
        return Mark(bool(content["old"]), str(content["name"]), str(content["uuid"]), bool(content["autostart"]))
    except (ValueError, KeyError, TypeError):
        return None


def marked(document: str, mark: Mark) -> str:
    """The document with a mark."""
    root = _xml.parse(document)
    _xml.drop_metadata(root, _TAG)
    ensure(root, "metadata").append(_xml.parse(f'<{PREFIX}:mark xmlns:{PREFIX}="{URI}"/>'))
    ensure(root, f"metadata/{_TAG}").text = json.dumps(dataclasses.asdict(mark), sort_keys=True)
    return _xml.to_text(root)


def unmarked(document: str, name: str | None = None) -> str:
    """The document without a mark, and with that name; the very same text when there is nothing to do."""
    if URI not in document and name is None:
        return document
    root = _xml.parse(document)
    _xml.drop_metadata(root, _TAG)
    if name is not None:
        ensure(root, "name").text = name
    return _xml.to_text(root)
