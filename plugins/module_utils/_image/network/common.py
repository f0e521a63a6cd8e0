# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, network: what the files of all network systems have in common. Pure."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.interfaces import Interface

#: The first line of every file that is ours: by it, and by its name, a file of an earlier declaration is known.
MARK = "# Written by hypervisor.kvm.kvm_image"
HEAD = f"{MARK}\n"
LINKS = "/etc/systemd/network"
#: The default of udev is overridden by a file of the same name.
KERNEL_NAMES = f"{LINKS}/99-default.link"
#: Interfaces keep the kernel's names (eth0, eth1, ... in the order of their slots): they are the same in every machine
#: type and with every bus, so they can be declared before the guest has ever run.
KERNEL_NAMES_LINK = (
    f"{MARK}: interfaces keep the kernel's names\n"
    "[Match]\nOriginalName=*\n\n[Link]\nNamePolicy=kernel\nMACAddressPolicy=persistent\n"
)
#: Where IPv4 and IPv6 lead to without any other route; every version of every system reads them like that.
ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
_KERNEL_NAME = re.compile(r"eth[0-9]+")
# systemd.net-naming-scheme(7): by slot, on board, by path or by MAC address.
_PREDICTABLE_NAME = re.compile(r"en[a-zA-Z][A-Za-z0-9_]*[0-9][A-Za-z0-9_]*")
_ORDER = ("ethernet", "bond", "vlan")


def ordered(items: t.Sequence[Interface]) -> list[Interface]:
    """What an interface stands on comes before it."""
    return sorted(items, key=lambda item: _ORDER.index(item.kind))


def bonds(items: t.Sequence[Interface]) -> dict[str, Interface]:
    """The bond of each interface that is part of one, by the name of the part."""
    return {name: item for item in items for name in item.interfaces}


def version_of(text: str) -> int:
    """4 or 6, for an address with or without a prefix, or a network."""
    return 6 if ":" in text else 4


def of_version(texts: t.Iterable[str], version: int) -> list[str]:
    """The addresses of that IP version."""
    return [text for text in texts if version_of(text) == version]


def gateway(item: Interface, version: int) -> str | None:
    """The default gateway of that IP version."""
    return item.gateway4 if version == 4 else item.gateway6


def dhcp(item: Interface, version: int) -> bool:
    """Whether it asks for addresses of that IP version."""
    return item.dhcp4 if version == 4 else item.dhcp6


def on_link(item: Interface, version: int) -> bool:
    """Whether its gateway is reached although no address of it says so: an IPv4 link-local one, which is in no subnet."""
    found = gateway(item, version)
    own = any(text.startswith("169.254.") for text in item.addresses)
    return found is not None and version == 4 and found.startswith("169.254.") and not own


def links(items: t.Sequence[Interface], *, old: bool = False) -> dict[str, str]:
    """udev's files that give the interfaces with a stated MAC address their names; systemd.link(5).

    A vlan has the MAC address of what it stands on and must not match. ``old``: for a systemd before 243, where the type of
    a network card was empty; there only what is on a bus has a path.
    """
    only = "Path=*" if old else "Type=ether"
    return {
        f"{LINKS}/10-kvm-{item.name}.link": (
            f"{HEAD}[Match]\nMACAddress={item.mac}\n{only}\n\n[Link]\nName={item.name}\n"
        )
        for item in items
        if item.mac
    }


def needs_kernel_names(items: t.Sequence[Interface]) -> bool | None:
    """Whether the guest has to use the kernel's names: True when a network card without a MAC address is called like
    ``eth0``, False when one is called like ``ens3``, None when neither is; raises InvalidSpec when both are."""
    bare = [item.name for item in items if item.kind == "ethernet" and item.mac is None]
    kernel = [name for name in bare if _KERNEL_NAME.fullmatch(name)]
    predictable = [name for name in bare if _PREDICTABLE_NAME.fullmatch(name)]
    if kernel and predictable:
        raise InvalidSpec(
            f"customize.interfaces: {kernel[0]} and {predictable[0]} are names of two different schemes, and a guest has"
            " one; use one of them, or state the mac of each."
        )
    return bool(kernel) if kernel or predictable else None
