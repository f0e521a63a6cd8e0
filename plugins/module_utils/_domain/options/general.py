# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what a domain is called, what happens at events, and what is not grouped elsewhere. Pure."""

from __future__ import annotations

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Leaf, attribute, text
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.lists import items
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import (
    LINE,
    PATH,
    UUID,
    YES_NO,
    hexadecimal,
    matching,
    number,
    words,
)

#: All types of libvirt; which of them a host offers is looked up there.
TYPES = (
    "kvm", "qemu", "xen", "lxc", "hvf", "bhyve", "openvz", "vz", "parallels", "vbox", "vmware", "hyperv", "phyp",
    "test", "uml", "kqemu",
)  # fmt: skip

_AFTER = words("destroy", "restart", "preserve", "rename-restart")
_AFTER_CRASH = words("destroy", "restart", "preserve", "rename-restart", "coredump-destroy", "coredump-restart")

#: What is not stated may be anything.
_USB_RULE = (
    attribute("class", ".", "class", hexadecimal(2)),
    attribute("vendor", ".", "vendor", hexadecimal(4)),
    attribute("product", ".", "product", hexadecimal(4)),
    attribute("version", ".", "version", matching(r"[0-9]{1,2}\.[0-9]{1,2}", "version of a USB device (like 2.0)")),
    attribute("allow", ".", "allow", YES_NO),
)

_ID = tuple(attribute(key, ".", key, number(0 if key != "count" else 1)) for key in ("start", "target", "count"))


def _ids(name: str) -> Leaf:
    """Users or groups of a container, and who of the host they are."""
    return items(f"idmap.{name}s", "idmap", name, _ID, required=("start", "target", "count"))


LEAVES = (
    attribute("type", ".", "type", words("auto", *TYPES), effect="recreate", keep=True),
    text("uuid", "uuid", UUID, effect="recreate", keep=True, own=True),
    text("genid", "genid", UUID, own=True),
    text("title", "title", LINE, effect="live", runtime=True, own=True),
    text("description", "description", effect="live", runtime=True, own=True),
    text("events.poweroff", "on_poweroff", _AFTER),
    text("events.reboot", "on_reboot", _AFTER),
    text("events.crash", "on_crash", _AFTER_CRASH),
    text("events.lockfailure", "on_lockfailure", words("poweroff", "restart", "pause", "ignore")),
    attribute("pm.suspend_to_mem", "pm/suspend-to-mem", "enabled", YES_NO),
    attribute("pm.suspend_to_disk", "pm/suspend-to-disk", "enabled", YES_NO),
    text("emulator", "devices/emulator", PATH),
    _ids("uid"),
    _ids("gid"),
    items("redirfilter", "devices/redirfilter", "usbdev", _USB_RULE, required=("allow",)),
)
