# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: which options a declaration stated, remembered in the domain's own metadata. Pure.

The names of the options are kept, never their values, and a whole document or fragments without their secrets: so what
is no longer declared can be taken out. Losing the record (another tool may drop it) means that nothing is taken out, and
nothing worse.
"""

from __future__ import annotations

import base64
import copy
import dataclasses
import functools
import json
import typing as t
import zlib

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import ensure

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

URI = "urn:hypervisor.kvm:declaration:1"
PREFIX = "declared"
_TAG = f"{{{URI}}}options"

#: The attributes of any element that hold a secret.
SECRETS = ("passwd",)
#: The elements whose text is one.
SECRET_TEXTS = ("cookie",)

#: Kind of device -> label of the device -> names of its options.
Devices = dict[str, dict[str, list[str]]]


@dataclasses.dataclass
class Memory:
    """The options of a declaration, by dotted name, and those of its devices; what it declared as XML."""

    scalars: list[str] = dataclasses.field(default_factory=list)
    devices: Devices = dataclasses.field(default_factory=dict)
    #: A whole document, without secrets.
    document: str | None = None
    #: Fragments in one document, without secrets.
    fragments: str | None = None
    #: Of a domain that runs: what waits for its next start without showing.
    waiting: tuple[str, ...] = ()
    #: The digest of the definition that libvirt made of it, kept only where that could not be foreseen.
    kept: str | None = None
    #: Of a domain that runs: what it has not taken since it was started, and why.
    refused: dict[str, str] = dataclasses.field(default_factory=dict)
    #: Copies of disks that it had begun, by target: path, and the source that the disk was declared with.
    mirrors: dict[str, tuple[str, str | None]] = dataclasses.field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.scalars or self.devices or self.document or self.fragments)

    def to_text(self) -> str:
        """One line of JSON, always the same for the same content."""
        texts = {"document": self.document, "fragments": self.fragments}
        packed = {name: _pack(text) for name, text in texts.items() if text is not None}
        if self.kept is not None:
            packed["kept"] = self.kept
        moment: dict[str, t.Any] = {"waiting": list(self.waiting), "refused": self.refused, "mirrors": self.mirrors}
        moment = {name: value for name, value in moment.items() if value}
        return _JSON.encode({"options": sorted(self.scalars), **self.devices, **packed, **moment})


def _pack(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _unpack(text: str | None) -> str | None:
    if text is None:
        return None
    # Limited: whoever may write metadata shall not fill the memory with it.
    return zlib.decompressobj().decompress(base64.b64decode(text), _LIMIT).decode()


_JSON = json.JSONEncoder(sort_keys=True)
_LIMIT = 16 * 1024 * 1024


def without_secrets(root: Element) -> str:
    """A declared document for the record; that it declares a secret stays known, the secret does not."""
    for node in root.iter():
        for name in SECRETS:
            if node.get(name) is not None:
                node.set(name, "")
        if node.tag in SECRET_TEXTS:
            # libvirt has to take the record for a document, and refuses one without such a text.
            node.text = "hidden"
    return _xml.to_text(root)


def read(root: Element) -> Memory | None:
    """The record in a document; None when there is none (or none that this version understands)."""
    found = root.find(f"metadata/{_TAG}")
    if found is None:
        return None
    try:
        content = json.loads(found.text or "")
        document, fragments = (_unpack(content.pop(name, None)) for name in ("document", "fragments"))
        waiting = tuple(str(name) for name in content.pop("waiting", ()))
        kept = content.pop("kept", None)
        refused = {str(key): str(reason) for key, reason in content.pop("refused", {}).items()}
        mirrors = {target: (str(path), source) for target, (path, source) in content.pop("mirrors", {}).items()}
        return Memory(
            list(content.pop("options")),
            {kind: {k: list(v) for k, v in group.items()} for kind, group in content.items()},
            document,
            fragments,
            waiting,
            None if kept is None else str(kept),
            refused,
            mirrors,
        )
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
        # Written by hand or by a later version: unknown, so nothing is taken out.
        return None


def forget(root: Element) -> None:
    """Takes the record out of a document, for a comparison or a diff without it."""
    _xml.drop_metadata(root, _TAG)


def write(root: Element, memory: Memory) -> None:
    """Puts the record into a document."""
    last = root[-1] if len(root) else None
    if last is not None and last.tag == "metadata" and len(last) == 1 and last[0].tag == _TAG and not len(last[0]):
        # It stays where it is: that is where a new one would be.
        last[0].text = memory.to_text()
        return
    forget(root)
    node = copy.deepcopy(_blank())
    node.text = memory.to_text()
    ensure(root, "metadata").append(node)


@functools.lru_cache(maxsize=1)
def _blank() -> Element:
    return _xml.parse(f'<{PREFIX}:options xmlns:{PREFIX}="{URI}"/>')


def element_text(memory: Memory) -> str:
    """The record as libvirt's call for metadata takes it: without a namespace, which libvirt adds."""
    return _xml.to_text(_xml.element("options", text=memory.to_text())).strip()
