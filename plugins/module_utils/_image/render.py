# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: the texts that are put into a guest. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._image.customize import Interface, Route
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.filesystem import Mount
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import ImageSpec

FSTAB = "/etc/fstab"
INTERFACES = "/etc/network/interfaces"
RESOLV_CONF = "/etc/resolv.conf"

#: Interfaces keep the kernel's names (eth0, eth1, ... in the order of their slots): they are the same in every machine
#: type and with every bus, so they can be declared before the guest has ever run.
KERNEL_NAMES_LINK = (
    "# Written by hypervisor.kvm.kvm_image: interfaces keep the kernel's names\n"
    "[Match]\nOriginalName=*\n\n[Link]\nNamePolicy=kernel\nMACAddressPolicy=persistent\n"
)
#: Guests made from one image must not share the keys that prove who they are.
HOST_KEYS_UNIT = (
    "# Written by hypervisor.kvm.kvm_image: every guest makes its own host keys at its first start\n"
    "[Unit]\nDescription=Generate missing SSH host keys\nBefore=ssh.service sshd.service\n"
    "ConditionFileIsExecutable=/usr/bin/ssh-keygen\nConditionPathExists=!/etc/ssh/ssh_host_ed25519_key\n\n"
    # No RSA key: without hardware acceleration it takes most of a minute, and every client has known the others for years.
    "[Service]\nType=oneshot\nRemainAfterExit=yes\n"
    "ExecStart=-/usr/bin/ssh-keygen -q -t ecdsa -N '' -f /etc/ssh/ssh_host_ecdsa_key\n"
    "ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key\n\n"
    "[Install]\nWantedBy=ssh.service\n"
)
_LOCALHOST = "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\nff02::1\t\tip6-allnodes\nff02::2\t\tip6-allrouters\n"
_HEAD = "# Written by hypervisor.kvm.kvm_image\n"


def texts(spec: ImageSpec) -> dict[str, str]:
    """The files of the guest whose whole text follows from the declaration (path -> text), for the diff too."""
    found: dict[str, str] = {}
    mounts = fstab_mounts(spec)
    if mounts is not None:
        found[FSTAB] = fstab(mounts)
    found.update(network_texts(spec))
    return found


def network_texts(spec: ImageSpec) -> dict[str, str]:
    """Those of them that set up the network."""
    if spec.customize.interfaces is None:
        return {}
    found = {INTERFACES: interfaces(spec.customize.interfaces), **links(spec.customize.interfaces)}
    resolver = resolv_conf(spec.customize.interfaces)
    return {**found, RESOLV_CONF: resolver} if resolver else found


def fstab_mounts(spec: ImageSpec) -> tuple[Mount, ...] | None:
    """The lines of fstab: the stated ones, for a new system else its root by label, for a disk from a base else none."""
    if isinstance(spec.fstab, tuple):
        return spec.fstab
    if spec.bootstrap is None or spec.filesystem is None:
        return None
    # The line is what makes the root writable: with "ro" as the kernel's default nothing else does.
    kind = spec.filesystem.type or "ext4"
    return (Mount(f"LABEL={spec.filesystem.label}", "/", kind, "defaults,errors=remount-ro", 0, 1),)


def fstab(mounts: t.Sequence[Mount]) -> str:
    """The text of fstab."""
    lines = (f"{m.src}\t{m.path}\t{m.fstype}\t{m.opts}\t{m.dump} {m.passno}\n" for m in mounts)
    return _HEAD + "".join(lines)


def hosts(before: str | None, hostname: str) -> str:
    """``/etc/hosts`` with the own name at 127.0.1.1, as Debian has it; other lines are kept."""
    names = hostname if "." not in hostname else f"{hostname} {hostname.partition('.')[0]}"
    kept = [line for line in (before or _LOCALHOST).splitlines() if line.split("#")[0].split()[:1] != ["127.0.1.1"]]
    place = next((number for number, line in enumerate(kept, 1) if line.split()[:1] == ["127.0.0.1"]), 0)
    return "\n".join([*kept[:place], f"127.0.1.1\t{names}", *kept[place:]]) + "\n"


def shadow(before: str, user: str, crypt: str) -> str | None:
    """``/etc/shadow`` with the password hash of ``user``; None when there is no such user."""
    lines = before.splitlines()
    for number, line in enumerate(lines):
        fields = line.split(":")
        if fields[0] == user and len(fields) > 1:
            lines[number] = ":".join([user, crypt, *fields[2:]])
            return "\n".join(lines) + "\n"
    return None


def interfaces(items: t.Sequence[Interface]) -> str:
    """The text of ifupdown's interfaces file."""
    blocks = ["source /etc/network/interfaces.d/*\n", "auto lo\niface lo inet loopback\n"]
    blocks += [_stanzas(item) for item in items]
    return _HEAD + "\n".join(blocks)


def links(items: t.Sequence[Interface]) -> dict[str, str]:
    """udev's files that give the interfaces with a stated MAC address their names."""
    return {
        f"/etc/systemd/network/10-kvm-{item.name}.link": (
            f"{_HEAD}[Match]\nMACAddress={item.mac}\nType=ether\n\n[Link]\nName={item.name}\n"
        )
        for item in items
        if item.mac
    }


def resolv_conf(items: t.Sequence[Interface]) -> str:
    """The resolver's file from all interfaces; empty when none names a server or a domain."""
    # The resolver reads three servers and ignores the rest.
    servers = list(dict.fromkeys(server for item in items for server in item.nameservers))[:3]
    search = list(dict.fromkeys(domain for item in items for domain in item.search))
    if not servers and not search:
        return ""
    return _HEAD + (f"search {' '.join(search)}\n" if search else "") + "".join(f"nameserver {s}\n" for s in servers)


def _stanzas(item: Interface) -> str:
    """All stanzas of one interface; ifupdown takes one per address."""
    stanzas: list[list[str]] = []
    for version, family, dhcp, gateway in (
        (4, "inet", item.dhcp4, item.gateway4),
        (6, "inet6", item.dhcp6, item.gateway6),
    ):
        own = [text for text in item.addresses if (":" in text) == (version == 6)]
        if dhcp:
            stanzas.append([f"iface {item.name} {family} dhcp"])
        for number, text in enumerate(own):
            stanzas.append([f"iface {item.name} {family} static", f"address {text}"])
            if gateway is not None and number == 0:
                stanzas[-1].append(f"gateway {gateway}")
        routes = [route for route in item.routes if (":" in route.via) == (version == 6)]
        if routes and not (dhcp or own):
            stanzas.append([f"iface {item.name} {family} manual"])
        if routes:
            stanzas[-1] += [_route(item.name, version, route) for route in routes]
    if not stanzas:
        stanzas.append([f"iface {item.name} inet manual", "up ip link set dev $IFACE up"])
    stanzas[0][1:1] = _common(item)
    lines = [f"auto {item.name}"]
    for head, *options in stanzas:
        lines += [head, *(f"    {line}" for line in options)]
    return "\n".join(lines) + "\n"


def _common(item: Interface) -> list[str]:
    lines = []
    if item.mtu is not None:
        # The DHCP method has no option for it; this works with every method.
        lines.append(f"pre-up ip link set dev $IFACE mtu {item.mtu}")
    if item.nameservers:
        lines.append(f"dns-nameservers {' '.join(item.nameservers)}")
    if item.search:
        lines.append(f"dns-search {' '.join(item.search)}")
    return lines


def _route(name: str, version: int, route: Route) -> str:
    metric = "" if route.metric is None else f" metric {route.metric}"
    return f"up ip -{version} route replace {route.to} via {route.via} dev {name}{metric}"
