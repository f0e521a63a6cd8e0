# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what a declaration gives as XML, checked: a whole document, and fragments with their places. Pure."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: Elements below "devices" (https://libvirt.org/formatdomain.html#devices). Those that are elsewhere too are in _place().
DEVICES = frozenset(
    [
        "audio",
        "channel",
        "console",
        "controller",
        "crypto",
        "disk",
        "emulator",
        "filesystem",
        "graphics",
        "hostdev",
        "hub",
        "input",
        "interface",
        "iommu",
        "lease",
        "memballoon",
        "panic",
        "parallel",
        "pstore",
        "redirdev",
        "redirfilter",
        "rng",
        "serial",
        "shmem",
        "smartcard",
        "sound",
        "tpm",
        "video",
        "vsock",
        "watchdog",
    ]
)
#: Elements of the domain itself.
_DOMAIN = frozenset(
    [
        "blkiotune",
        "bootloader",
        "bootloader_args",
        "clock",
        "cpu",
        "cputune",
        "currentMemory",
        "defaultiothread",
        "description",
        "features",
        "genid",
        "idmap",
        "iothreadids",
        "iothreads",
        "keywrap",
        "launchSecurity",
        "maxMemory",
        "memory",
        "memoryBacking",
        "memtune",
        "metadata",
        "nvram",
        "numatune",
        "on_crash",
        "on_lockfailure",
        "on_poweroff",
        "on_reboot",
        "os",
        "perf",
        "pm",
        "resource",
        "seclabel",
        "sysinfo",
        "throttlegroups",
        "title",
        "vcpu",
        "vcpus",
    ]
)
#: As libvirt reads it.
_UUID = re.compile(r"(-?[0-9a-fA-F]{2}){16}")
#: Elements that are the domain's identity.
_IDENTITY = ("name", "uuid")


def document(what: str, name: str, text: str) -> str:
    """The option ``xml``; raises InvalidSpec when it is no document of the domain of that name."""
    root = _xml.parse(text, f"{what}: xml")
    if root.tag != "domain":
        raise InvalidSpec(
            f"{what}: xml has to be a domain element, not {root.tag!s}; a piece of one goes into extra_xml."
        )
    if root.get("type") is None:
        raise InvalidSpec(f"{what}: the domain element of xml needs a type, such as kvm.")
    found = _xml.find_text(root, "name")
    if found not in (None, name):
        raise InvalidSpec(f"{what}: xml is of a domain {found}; give both the same name, or leave it out of xml.")
    text = _identified(root) or text
    uuid = _xml.find_text(root, "uuid")
    if uuid is not None and not _UUID.fullmatch(uuid):
        # Domains are looked for by it before libvirt judges the document.
        raise InvalidSpec(f"{what}: xml: '{uuid}' is no UUID.")
    return text


#: Where the tables that the guest's firmware shows have the UUID.
TABLED_UUID = "sysinfo[@type='smbios']/system/entry[@name='uuid']"


def _identified(root: Element) -> str | None:
    """The document with the UUID that it says in one place only: libvirt takes the guest's table for it."""
    uuid = _xml.find_text(root, TABLED_UUID)
    if uuid is None or _xml.find_text(root, "uuid") is not None:
        return None
    node = root.find("uuid")
    if node is None:
        node = _xml.child(root, "uuid")
    node.text = uuid
    return _xml.to_text(root)


def fragments(what: str, value: t.Any) -> tuple[str, ...]:
    """The option ``extra_xml``: one fragment or a list of them."""
    if value is None:
        return ()
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise InvalidSpec(f"{what}: extra_xml is an XML fragment, or a list of them.")
    for text in texts:
        for node in elements(what, text):
            if node.tag in _IDENTITY:
                raise InvalidSpec(f"{what}: extra_xml cannot say the {node.tag!s}; there is an option for it.")
            place(what, node)
    return tuple(texts)


def elements(what: str, text: str) -> list[Element]:
    """The elements of a fragment: itself, or what is in it when it is a domain or devices element."""
    root = _xml.parse(text, f"{what}: a fragment of extra_xml")
    if root.tag == "domain":
        found = [node for node in root if node.tag != "devices"]
        return found + [node for devices in root.findall("devices") for node in devices]
    return list(root) if root.tag == "devices" else [root]


def place(what: str, node: Element) -> str:
    """Where an element of a fragment belongs: ``devices`` or ``.`` (the domain)."""
    tag = str(node.tag)
    if tag in DEVICES or (tag == "memory" and node.get("model") is not None):
        return "devices"
    if tag == "nvram" and node.find("address") is not None:
        return "devices"
    if tag in _DOMAIN or tag.startswith("{"):
        return "."
    raise InvalidSpec(f"{what}: extra_xml has an element {tag}, which neither a domain nor its devices have.")
