# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""NAT: what kvm_nat_info reads of a host beside its rules: devices and routes. Reads only."""

from __future__ import annotations

import ipaddress
import json
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.leg import Route
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.packet import Address, Device, Host
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.surroundings import read

_SECONDS = 60


def host(version: int) -> Host:
    """The devices of the host, and whether its rules for a version of IP are passed by bridged packets."""
    program = _command.find("ip", "iproute2")
    bridges = {
        one.get("ifname")
        for one in _list(
            _command.ask([program, "-j", "link", "show", "type", "bridge"], timeout=_SECONDS, ok=()).stdout
        )
    }
    hairpin = {name: _hairpin(program, str(name)) for name in bridges}
    devices = {}
    for one in _list(_command.ask([program, "-j", "address", "show"], timeout=_SECONDS, ok=()).stdout):
        name = one.get("ifname", "")
        addresses = [
            (ipaddress.ip_address(entry["local"]), int(entry["prefixlen"]), _address(entry.get("broadcast")))
            for entry in sorted(one.get("addr_info", []), key=lambda entry: bool(entry.get("secondary")))
            # One of IPv6 that is still tried, or that somebody else has, is not used.
            if "local" in entry and not entry.get("tentative") and not entry.get("dadfailed")
        ]
        devices[name] = Device(
            name,
            name in bridges,
            hairpin.get(name, False),
            tuple(addresses),
            deprecated=frozenset(
                ipaddress.ip_address(entry["local"]) for entry in one.get("addr_info", []) if entry.get("deprecated")
            ),
            neighbours=not {"LOOPBACK", "NOARP"} & set(one.get("flags", [])),
        )
    program = "iptables" if version == 4 else "ip6tables"
    passes = (read(f"/proc/sys/net/bridge/bridge-nf-call-{program}") or "0").strip() == "1"
    return Host(devices, passes)


def _hairpin(program: str, bridge: str) -> bool | None:
    """Whether all, none (False) or some (None) of the ports of a bridge are in hairpin mode."""
    done = _command.ask([program, "-j", "-d", "link", "show", "master", bridge], timeout=_SECONDS, ok=())
    modes = {bool(one.get("linkinfo", {}).get("info_slave_data", {}).get("hairpin")) for one in _list(done.stdout)}
    return False if not modes else modes.pop() if len(modes) == 1 else None


class Router:
    """Asks the kernel for its routes (``ip route get``, which sends nothing)."""

    def __init__(self) -> None:
        self._program = _command.find("ip", "iproute2")
        self._known: dict[tuple[Address, Address | None, str], Route] = {}

    def __call__(self, destination: Address, source: Address | None, came_by: str) -> Route:
        question = (destination, source, came_by)
        if question not in self._known:
            self._known[question] = self._ask(*question)
        return self._known[question]

    def _ask(self, destination: Address, source: Address | None, came_by: str) -> Route:
        words = [f"-{destination.version}", "-j", "route", "get", str(destination)]
        words += ["from", str(source)] if source is not None else []
        words += ["iif", came_by] if came_by else []
        done = _command.ask([self._program, *words], timeout=_SECONDS, ok=())
        answers = _list(done.stdout) if done.rc == 0 else []
        if not answers:
            reason = (done.stderr.strip().splitlines() or ["the kernel gave no route"])[-1]
            return Route("none", problem=reason.replace("RTNETLINK answers: ", ""))
        found = answers[0]
        kind = found.get("type", "unicast")
        if kind in ("unreachable", "prohibit", "blackhole", "throw"):
            return Route("none", problem=f"the route is of type {kind}")
        local = kind in ("local", "anycast") or bool(came_by and kind in ("broadcast", "multicast"))
        return Route(
            "local" if local else "unicast",
            found.get("dev", ""),
            _address(found.get("gateway") or found.get("via", {}).get("host")),
            _address(found.get("prefsrc")),
        )


def _address(text: str | None) -> Address | None:
    return ipaddress.ip_address(text) if text else None


def _list(text: str) -> list[dict[str, t.Any]]:
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
