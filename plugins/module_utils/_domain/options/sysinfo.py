# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what the firmware tells the guest about its machine (SMBIOS). Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    ensure,
    place_of,
    prune,
    text,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.lists import items, texts
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import LINE, PATH
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

_SMBIOS = "sysinfo[@type='smbios']"
_TABLES = {
    "bios": ("vendor", "version", "date", "release"),
    "system": ("manufacturer", "product", "version", "serial", "uuid", "sku", "family"),
    "baseBoard": ("manufacturer", "product", "version", "serial", "asset", "location"),
    "chassis": ("manufacturer", "version", "serial", "asset", "sku"),
}


def _entry(table: str, key: str) -> Leaf:
    path = f"{_SMBIOS}/{table}/entry[@name='{key}']"

    def put(node: Element, value: t.Any) -> None:
        if value is not None:
            ensure(node, path).text = value
            return
        found = node.find(path)
        if found is not None:
            found.text = None
            prune(node, path)

    name = f"sysinfo.{'base_board' if table == 'baseBoard' else table}.{key}"
    return Leaf(name, lambda node: _xml.find_text(node, path), put, LINE, place=place_of(path))


def _check_fwcfg(what: str, values: Values) -> None:
    if not values["name"].startswith("opt/"):
        raise InvalidSpec(f"{what}.name: '{values['name']}' has to begin with opt/, like opt/com.coreos/config.")
    if ("value" in values) == ("file" in values):
        raise InvalidSpec(f"{what}: {values['name']} needs a value or a file.")


_FWCFG = (
    attribute("name", ".", "name"),
    text("value", "."),
    attribute("file", ".", "file", PATH),
)

LEAVES = (
    *(_entry(table, key) for table, keys in _TABLES.items() for key in keys),
    texts("sysinfo.oem_strings", f"{_SMBIOS}/oemStrings", "entry"),
    items(
        "sysinfo.fwcfg",
        "sysinfo[@type='fwcfg']",
        "entry",
        _FWCFG,
        required=("name",),
        unique="name",
        check=_check_fwcfg,
    ),
)
