# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Generated networks: parameters as a user states them, all of them valid."""

from __future__ import annotations

import ipaddress
import typing as t

from hypothesis import strategies as st

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=12)
MACS = st.binary(min_size=5, max_size=5).map(lambda tail: ":".join(["52", *(f"{byte:02x}" for byte in tail)]))


def optional(values: dict[str, st.SearchStrategy[t.Any]]) -> st.SearchStrategy[dict[str, t.Any]]:
    """Any of the options, in any combination."""
    return st.fixed_dictionaries({}, optional=values)


@st.composite
def ips(draw: st.DrawFn) -> list[dict[str, t.Any]]:
    """Subnets that do not overlap, the first with DHCP perhaps."""
    thirds = draw(st.lists(st.integers(0, 255), unique=True, max_size=3))
    found: list[dict[str, t.Any]] = [
        {"address": f"10.9.{third}.{draw(st.integers(1, 254))}", "prefix": 24} for third in thirds
    ]
    if draw(st.booleans()):
        found.append({"address": f"fd00:9::{draw(st.integers(1, 9999)):x}/64"})
    if found and draw(st.booleans()):
        found[0]["dhcp"] = draw(_dhcp(str(found[0]["address"])))
    return draw(st.permutations(found))


@st.composite
def _dhcp(draw: st.DrawFn, address: str) -> dict[str, t.Any]:
    if ":" in address:
        return {}
    network = ipaddress.ip_interface(f"{address}/24").network
    numbers = draw(st.lists(st.integers(1, 254), unique=True, min_size=2, max_size=6))
    start, end = sorted(numbers[:2])
    macs = draw(st.lists(MACS, unique=True, min_size=len(numbers), max_size=len(numbers)))
    hosts: list[dict[str, t.Any]] = []
    for number, mac in zip(numbers[2:], macs):
        host: dict[str, t.Any] = {"ip": str(network[number]), "mac": mac}
        if draw(st.booleans()):
            host["name"] = f"host-{number}"
        hosts.append(host)
    return {"ranges": [{"start": str(network[start]), "end": str(network[end])}], "hosts": hosts}


FORWARD = st.one_of(
    st.fixed_dictionaries({"mode": st.sampled_from(["none", "open"])}),
    st.fixed_dictionaries({"mode": st.sampled_from(["nat", "route"])}, optional={"dev": st.just("eth0")}),
)
BRIDGE = optional(
    {
        "name": st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=13).map(lambda name: "b" + name),
        "stp": st.booleans(),
        "delay": st.integers(0, 32),
    }
)
NETWORKS = st.fixed_dictionaries(
    {"name": NAMES},
    optional={
        "state": st.sampled_from(["active", "inactive"]),
        "autostart": st.booleans(),
        "forward": FORWARD,
        "bridge": BRIDGE,
        "mac": MACS,
        "mtu": st.integers(68, 65535),
        "domain": st.fixed_dictionaries({"name": st.just("lab.example")}, optional={"local_only": st.booleans()}),
        "dns": optional({"enable": st.booleans()}),
        "ips": ips(),
    },
)
