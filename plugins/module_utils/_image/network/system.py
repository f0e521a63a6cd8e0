# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, network: which program sets up the network of a guest. Pure.

There is no list of distributions: what is installed and enabled says it, also of a system that was changed.
"""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._image.network import ifcfg, ifupdown, netplan

NETPLAN = "netplan"
NETWORKD = "networkd"
NETWORKMANAGER = "networkmanager"
IFCFG = "ifcfg"
IFUPDOWN = "ifupdown"

_WANTED = "/etc/systemd/system/multi-user.target.wants"
_DBUS = "/etc/systemd/system/dbus-org.freedesktop."
# A folder for programs may be a link to another or not, depending on the distribution and its age.
_IFUP = ("/usr/sbin/ifup", "/sbin/ifup")
_NETPLAN = ("/usr/sbin/netplan",)
_NETWORKMANAGER = ("/usr/sbin/NetworkManager", "/usr/bin/NetworkManager")
_SCRIPTS = (f"{ifcfg.FOLDER}/ifup-eth",)
#: In this file NetworkManager says that it no longer writes ifcfg files (RHEL 9, Fedora 36 and later).
_NO_IFCFG = (f"{ifcfg.FOLDER}/readme-ifcfg-rh.txt",)
_IFUPDOWN_ENABLED = (
    f"{_WANTED}/networking.service",
    "/etc/systemd/system/network-online.target.wants/networking.service",
    "/etc/rcS.d/S12networking",
    "/etc/runlevels/boot/networking",
)
_NETWORKMANAGER_ENABLED = (f"{_WANTED}/NetworkManager.service",)
_NETWORKD_ENABLED = (f"{_WANTED}/systemd-networkd.service", f"{_DBUS}network1.service")
_RESOLVED_ENABLED = (
    f"{_WANTED}/systemd-resolved.service",
    "/etc/systemd/system/sysinit.target.wants/systemd-resolved.service",
    f"{_DBUS}resolve1.service",
)
_WICKED_ENABLED = (f"{_WANTED}/wicked.service", "/etc/systemd/system/network-online.target.wants/wicked.service")
#: Systems that are known by name only, for the error.
_OTHERS = {"wicked": ("/usr/sbin/wicked",), "connman": ("/usr/sbin/connmand",), "dhcpcd": ("/etc/dhcpcd.conf",)}

#: The paths that must be looked at before ``detect``, ``unknown`` and ``resolved`` are asked, for existence ...
LOOK: tuple[str, ...] = (
    *(*_IFUP, *_NETPLAN, *_NETWORKMANAGER, *_SCRIPTS, *_NO_IFCFG),
    *(*_IFUPDOWN_ENABLED, *_NETWORKMANAGER_ENABLED, *_NETWORKD_ENABLED, *_RESOLVED_ENABLED, *_WICKED_ENABLED),
    *(path for paths in _OTHERS.values() for path in paths),
)
#: ... and for the names in them.
FOLDERS: tuple[str, ...] = (netplan.FOLDER, ifupdown.FOLDER, ifcfg.FOLDER)

Exists = t.Callable[[str], bool]
Names = t.Callable[[str], t.Sequence[str]]


def detect(exists: Exists, names: Names) -> str | None:
    """The network system of a guest, one of the constants above; None when it is none that is known here.

    ``exists`` says whether anything stands at a path of LOOK, also a link that leads to nothing; ``names`` gives the
    entries of a folder of FOLDERS, none when it is not there.
    """
    with_ifupdown = _any(exists, _IFUP) and "interfaces" in names(ifupdown.FOLDER)
    # Beside ifupdown netplan is only somebody's package as long as it has nothing to do.
    used = not with_ifupdown or any(name.endswith(".yaml") for name in names(netplan.FOLDER))
    if used and _any(exists, _NETPLAN):
        return NETPLAN
    if _any(exists, _WICKED_ENABLED):
        return None
    # NetworkManager leaves alone what ifupdown has, so this one comes first where both run.
    if with_ifupdown and _any(exists, _IFUPDOWN_ENABLED):
        return IFUPDOWN
    if _any(exists, _NETWORKMANAGER) and _any(exists, _NETWORKMANAGER_ENABLED):
        return _red_hat(exists, names) or NETWORKMANAGER
    if _any(exists, _NETWORKD_ENABLED):
        return NETWORKD
    return _installed(exists, names, with_ifupdown)


def _installed(exists: Exists, names: Names, with_ifupdown: bool) -> str | None:
    """Nothing says what is enabled: a guest without systemd, or one that enables its services at its first start."""
    # A guest that has /etc/network and lost its file is given a new one.
    if with_ifupdown or (_any(exists, _IFUP) and names(ifupdown.FOLDER)):
        return IFUPDOWN
    if _any(exists, _NETWORKMANAGER):
        return _red_hat(exists, names) or NETWORKMANAGER
    return IFCFG if _any(exists, _SCRIPTS) else None


def _red_hat(exists: Exists, names: Names) -> str | None:
    """Whether NetworkManager is one of those whose own files are ifcfg files: RHEL 7 and 8."""
    files = any(name.startswith("ifcfg-") for name in names(ifcfg.FOLDER))
    return IFCFG if not _any(exists, _NO_IFCFG) and (files or _any(exists, _SCRIPTS)) else None


def resolved(exists: Exists) -> bool:
    """Whether systemd-resolved writes the resolver's file."""
    return _any(exists, _RESOLVED_ENABLED)


def unknown(exists: Exists) -> str:
    """For a guest without a known system: the rest of a sentence after "its network is set up by "."""
    found = [name for name, paths in _OTHERS.items() if _any(exists, paths)]
    known = "ifupdown, netplan, systemd-networkd, NetworkManager and ifcfg files"
    return f"{found[0] if found else 'nothing that is known here'}, and interfaces can be written for {known} only"


def _any(exists: Exists, paths: t.Iterable[str]) -> bool:
    return any(exists(path) for path in paths)
