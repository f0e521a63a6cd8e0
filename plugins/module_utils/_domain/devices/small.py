# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Small devices: USB hubs, leases, processors for cryptography, a store for what a dying guest says. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.common import PLACE
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.single import defaults
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Leaf, Values, attribute, sized, text
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import LINE, PATH, PUBLIC, number, words
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

HUBS = Kind(
    "hubs",
    "hub",
    (attribute("type", ".", "type", words("usb"), keep=True), *PLACE),
    defaults("hubs", type="usb"),
)


# --- leases of a lock manager ---


def _lease(node: Element) -> str:
    return f"{_xml.find_text(node, 'lockspace') or ''}.{_xml.find_text(node, 'key') or ''}"


def _complete_lease(what: str, index: int, values: Values) -> None:
    what = f"{what}: leases[{index}]"
    for option in ("lockspace", "key", "path"):
        if option not in values:
            raise InvalidSpec(f"{what} needs a {option}.")
    if values.get("offset") == 0:
        # libvirt does not write it down.
        del values["offset"]
    values["identity"] = f"{values['lockspace']}.{values['key']}"


LEASES = Kind(
    "leases",
    "lease",
    (
        Leaf("identity", _lease, lambda _node, _value: None, None, keep=True),
        text("lockspace", "lockspace", LINE, keep=True),
        text("key", "key", PUBLIC, keep=True),
        attribute("path", "target", "path", PATH),
        attribute("offset", "target", "offset", number(0)),
    ),
    _complete_lease,
    identity="identity",
)


# --- cryptography ---

CRYPTOS = Kind(
    "cryptos",
    "crypto",
    (
        attribute("model", ".", "model", words("virtio"), keep=True),
        attribute("type", ".", "type", words("qemu"), keep=True),
        attribute("backend", "backend", "model", words("builtin", "lkcf"), keep=True),
        attribute("queues", "backend", "queues", number(1)),
        *PLACE,
    ),
    defaults("cryptos", model="virtio", type="qemu", backend="builtin"),
)


# --- what a guest keeps of its own end ---

PSTORE = Kind(
    "pstore",
    "pstore",
    (
        attribute("backend", ".", "backend", words("acpi-erst"), keep=True),
        text("path", "path", PATH),
        sized("size", "size", unit="KiB"),
        *PLACE,
    ),
    defaults("pstore", backend="acpi-erst", path=None, size=None),
    single=True,
)
