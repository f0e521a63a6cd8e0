# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The thirteen rules: specification -> rules, and the way back from rules that nobody recorded. Pure."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Tables


def render(bridge: str, subnets: t.Sequence[str]) -> Tables:
    """The rules of a bridge, each as iptables-save writes it.

    With several subnets the rules of a subnet come once for each, the rules of the bridge once: the two that refuse
    the rest are last, or they would refuse the second subnet.
    """
    nat: list[str] = []
    forward: list[str] = []
    for subnet in subnets:
        outward = f"-s {subnet} ! -d {subnet}"
        nat += [f"{outward} -p {protocol} -j MASQUERADE --to-ports 1024-65535" for protocol in ("tcp", "udp")]
        nat.append(f"{outward} -j MASQUERADE")
        forward.append(f"-d {subnet} -o {bridge} -m state --state RELATED,ESTABLISHED -j ACCEPT")
        forward.append(f"-s {subnet} -i {bridge} -j ACCEPT")
    forward.append(f"-i {bridge} -o {bridge} -j ACCEPT")
    forward += [f"{way} {bridge} -j REJECT --reject-with icmp-port-unreachable" for way in ("-o", "-i")]
    served = (("udp", 53), ("tcp", 53), ("udp", 67), ("tcp", 67))
    return {
        "filter": {
            "INPUT": [f"-i {bridge} -p {protocol} -m {protocol} --dport {port} -j ACCEPT" for protocol, port in served],
            "FORWARD": forward,
        },
        "mangle": {"POSTROUTING": [f"-o {bridge} -p udp -m udp --dport 68 -j CHECKSUM --checksum-fill"]},
        "nat": {"POSTROUTING": nat},
    }


def recognise(bridge: str, found: Tables) -> tuple[str, ...]:
    """The subnets whose five rules are all there for the bridge, though no record says who made them.

    A single rule that looks alike may be somebody's own and proves nothing; the five of them are the recipe.
    """
    pattern = re.compile(rf"-s (\S+) -i {re.escape(bridge)} -j ACCEPT")
    subnets: list[str] = []
    for rule in tables.get(found, "filter", "FORWARD"):
        match = pattern.fullmatch(rule)
        if match is None or match.group(1) in subnets:
            continue
        wanted = render(bridge, [match.group(1)])
        forward = set(wanted["filter"]["FORWARD"][:2])
        if forward <= set(tables.get(found, "filter", "FORWARD")) and set(wanted["nat"]["POSTROUTING"]) <= set(
            tables.get(found, "nat", "POSTROUTING")
        ):
            subnets.append(match.group(1))
    return tuple(subnets)


def union(*several: Tables) -> Tables:
    """All rules of several, each once."""
    result: Tables = {}
    for one in several:
        for table, chains in one.items():
            for chain, rules in chains.items():
                known = result.setdefault(table, {}).setdefault(chain, [])
                known += [rule for rule in rules if rule not in known]
    return result


def without(some: Tables, others: Tables) -> Tables:
    """The rules of ``some`` that ``others`` has not."""
    result: Tables = {}
    for table, chains in some.items():
        for chain, rules in chains.items():
            left = [rule for rule in rules if rule not in tables.get(others, table, chain)]
            if left:
                result.setdefault(table, {})[chain] = left
    return result


def names_bridge(bridge: str, found: Tables) -> list[str]:
    """The rules of libvirt's own chains that name the bridge, as iptables-save writes them."""
    word = re.compile(rf"(?:^| )-[io] {re.escape(bridge)}(?: |$)")
    return [
        f"-A {chain} {rule}"
        for chains in found.values()
        for chain, rules in chains.items()
        if chain.startswith("LIBVIRT_")
        for rule in rules
        if word.search(rule)
    ]
