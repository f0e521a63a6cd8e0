# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""NAT: what the kernel and the files of a host say without any program. Reads only."""

from __future__ import annotations

import ipaddress
import os
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import persist, record
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.spec import NatSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.values import of_version

_LOCAL = re.compile(r"\|-- ([0-9.]+)\n\s*/32 host LOCAL")
_DEVICES = "/sys/class/net"
_ROUTES, _ROUTES6 = "/proc/net/route", "/proc/net/ipv6_route"
#: The flag of a route that came with a router advertisement (RTF_ADDRCONF).
_LEARNED = 0x00040000


def read(path: str) -> str | None:
    """The text of a small file, None when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return None


def files() -> dict[str, str]:
    """The texts of the files of this collection, by path."""
    paths = [persist.SYSCTL, *persist.UNITS, *persist.PROGRAMS]
    if os.path.isdir(record.FOLDER):
        paths += [
            f"{record.FOLDER}/{name}" for name in sorted(os.listdir(record.FOLDER)) if name.endswith(record.SUFFIX)
        ]
    texts = ((path, read(path)) for path in paths)
    return {path: text for path, text in texts if text is not None}


def leads_out() -> dict[int, str]:
    """The devices of the default routes; nothing of a version of IP without one."""
    found: dict[int, list[tuple[int, str]]] = {4: [], 6: []}
    for line in (read(_ROUTES) or "").splitlines()[1:]:
        words = line.split()
        if len(words) > 7 and (words[1], words[7]) == ("00000000", "00000000"):
            found[4].append((int(words[6]), words[0]))
    for line in (read(_ROUTES6) or "").splitlines():
        words = line.split()
        if len(words) == 10 and (words[0], words[1], words[9] != "lo") == ("0" * 32, "00", True):
            found[6].append((int(words[5], 16), words[9]))
    return {number: min(some)[1] for number, some in found.items() if some}


def stated(specs: t.Sequence[NatSpec]) -> dict[str, t.Any]:
    """What there is of the host's addresses and devices, where the declaration states any."""
    shapes = [spec.shape for spec in specs if spec.state == "present"]
    found: dict[str, t.Any] = {}
    said = {one for shape in shapes for one in (shape.snat_address, shape.snat_address6)}
    said |= {one for shape in shapes for port in shape.port_forwards for one in (port.listen_address, port.to_address)}
    if said - {None}:
        four = _LOCAL.findall(read("/proc/net/fib_trie") or "")
        six = [ipaddress.IPv6Address(int(line[:32], 16)) for line in (read("/proc/net/if_inet6") or "").splitlines()]
        found["addresses"] = frozenset(said & {*four, *map(str, six)})
    ways = {one.out_interface for one in shapes if one.out_interface}
    if ways and os.path.isdir(_DEVICES):
        found["devices"] = frozenset(one for one in ways if os.path.exists(f"{_DEVICES}/{one}"))
    return found


def uplinks(specs: t.Sequence[NatSpec], recorded: t.Iterable[str]) -> frozenset[str]:
    """The devices whose routes the kernel has learned from a router: a router itself does not, unless it is told to.

    Behind a bridge of ours are guests: what they say of routes is for nobody.
    """
    if not any(of_version(spec.subnets, 6) for spec in specs):
        return frozenset()
    bridges = {*(spec.bridge for spec in specs), *recorded}
    found: set[str] = set()
    for line in (read(_ROUTES6) or "").splitlines():
        words = line.split()
        if len(words) == 10 and int(words[8], 16) & _LEARNED and words[9] not in bridges:
            found.add(words[9])
    return frozenset(one for one in found if (read(f"/proc/sys/net/ipv6/conf/{one}/accept_ra") or "").strip() == "1")
