# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: the texts that are put into a guest. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._image.customize import Host
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.filesystem import Mount
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.network import common, ifupdown
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import ImageSpec

FSTAB = "/etc/fstab"

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
    """Those of them that set up the network, as a guest with ifupdown has them."""
    items = spec.customize.interfaces
    if items is None:
        return {}
    found = {ifupdown.INTERFACES: ifupdown.interfaces(items), **common.links(items)}
    resolver = ifupdown.resolv_conf(items)
    return {**found, ifupdown.RESOLV_CONF: resolver} if resolver else found


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


def host_entries(before: str | None, wanted: t.Sequence[Host], former: t.Sequence[Host] = ()) -> str:
    """``/etc/hosts`` with the wanted lines, without the ``former`` ones. A wanted name has no other address of the same
    kind; every other line, and a line that says what is wanted already, stays byte for byte."""
    missing = list(wanted)
    lines: list[str] = []
    for line in (_LOCALHOST if before is None else before).splitlines():
        words = line.split("#")[0].split()
        host = Host(words[0], tuple(words[1:])) if words else None
        if host is None or host in missing:
            missing = [other for other in missing if other != host]
            lines.append(line)
        elif host not in former:
            lines += _without(line, host, wanted)
    return "".join(f"{line}\n" for line in [*lines, *(f"{host.address}\t{' '.join(host.names)}" for host in missing)])


def _without(line: str, host: Host, wanted: t.Sequence[Host]) -> list[str]:
    """A line as it stays beside the wanted ones; none when they say all of it."""
    taken = {name for other in wanted if (":" in other.address) == (":" in host.address) for name in other.names}
    if not taken & set(host.names):
        return [line]
    names = [name for name in host.names if name not in taken]
    return [f"{host.address}\t{' '.join(names)}"] if names else []


def shadow(before: str, user: str, crypt: str) -> str | None:
    """``/etc/shadow`` with the password hash of ``user``; None when there is no such user."""
    lines = before.splitlines()
    for number, line in enumerate(lines):
        fields = line.split(":")
        if fields[0] == user and len(fields) > 1:
            lines[number] = ":".join([user, crypt, *fields[2:]])
            return "\n".join(lines) + "\n"
    return None
