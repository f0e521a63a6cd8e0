#!/usr/bin/python
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kvm_nat_info
short_description: What NAT rules there are, whether they work, and which rule decides about a packet
version_added: 0.1.0
description:
  - Returns for each bridge that M(hypervisor.kvm.kvm_nat) looks after its rules with their positions and counters, whether all
    of them are there once, in order and where they work, and who else has a say about the packets of the guests.
  - With O(explain) it follows the first packet of a flow, and the answer to it, through all rules of the host, those of others as
    well, and names the rule that decides in each chain.
  - It reads rules, devices and routes. It sends nothing and changes nothing.
options:
  bridge:
    description:
      - One bridge only. When there is no record of it, the thirteen rules of the bridge are looked for, which somebody may have
        typed in.
      - All bridges that are recorded when this is not stated.
    type: str
  explain:
    description:
      - A flow that is to be explained, from its first packet on.
      - Rules are judged by addresses, interfaces, protocol, ports, the state of the connection, types of addresses, ranges, marks of
        packets and of connections, ICMP types and whether a packet is bridged. Headers of IPv6 that the first packet of a flow has not count as missing.
        A rule that asks for anything else (sets, limits, times, owners, ...) is in
        RV(explanation.depends_on) where it makes a difference.
      - Chains of nft itself are followed as well, at all places where packets of IP pass and in the order of their priorities; what they
        refuse, mark and translate counts. Of two that translate addresses at the same priority the first one cannot be told.
        Chains of the families bridge and netdev are not looked at.
      - In IPv6 both ends of a link have to ask for each other first. Where rules refuse that, RV(explanation.verdict) is V(unreachable);
        who knows the other from before may go on for a while.
    type: dict
    suboptions:
      source:
        description:
          - The address that the flow comes from. The host itself when it is not stated.
        type: str
      destination:
        description:
          - The address that it is sent to, before any port forward.
          - The device of an address that each link has for itself is stated with it (V(fe80::11%br0), V(ff02::1%br0)), here or in
            O(explain.source).
        type: str
        required: true
      protocol:
        description:
          - V(tcp), V(udp), V(icmp) (an echo request of either version of IP), or the number of another protocol.
        type: str
        default: tcp
      destination_port:
        description:
          - The port that it is sent to, of protocols that have some. Without, what rules for single ports do is in
            RV(explanation.depends_on).
        type: int
      source_port:
        description:
          - The port that it is sent from.
        type: int
      in_interface:
        description:
          - The device that it comes by, of a flow with O(explain.source). When not stated, it is the bridge in whose subnets O(explain.source) is, else the
            device that the host would answer by.
        type: str
seealso:
  - module: hypervisor.kvm.kvm_nat
author:
  - hypervisor.kvm contributors (@hypervisor-kvm)
requirements:
  - iptables or nftables (on the host that executes this module)
  - iproute2 (on the host that executes this module)
extends_documentation_fragment:
  - hypervisor.kvm._attributes
  - hypervisor.kvm._attributes.info
"""

EXAMPLES = r"""
- name: Look at the NAT of all bridges
  hypervisor.kvm.kvm_nat_info:
  register: found

- name: Complain of bridges whose rules are not where they work
  ansible.builtin.fail:
    msg: "{{ item.bridge }}: {{ item.problems | join('; ') }}"
  loop: "{{ found.nats | rejectattr('in_place') }}"
  loop_control:
    label: "{{ item.bridge }}"

- name: Complain of a host that does not forward IPv6, though bridges have subnets of it
  ansible.builtin.fail:
    msg: net.ipv6.conf.all.forwarding is 0
  when: not found.ipv6_forward and found.nats | map(attribute='rules6') | flatten | length > 0

- name: Show what each rule of br0 has counted
  hypervisor.kvm.kvm_nat_info:
    bridge: br0
  register: br0

- name: Print it
  ansible.builtin.debug:
    msg: "{{ item.table }} {{ item.chain }}[{{ item.position }}] {{ item.packets }} packets: {{ item.rule }}"
  loop: "{{ br0.nats[0].rules }}"
  loop_control:
    label: "{{ item.rule }}"

- name: Why does a guest not reach the web
  hypervisor.kvm.kvm_nat_info:
    explain:
      source: 192.168.0.11
      destination: 203.0.113.80
      destination_port: 443
  register: web

- name: Say it
  ansible.builtin.debug:
    msg: "{{ web.explanation.summary }}"
"""

RETURN = r"""
nats:
  description: The NAT of each bridge, by name.
  returned: success
  type: list
  elements: dict
  contains:
    bridge: {description: The bridge., type: str, returned: always}
    recorded: {description: "Whether M(hypervisor.kvm.kvm_nat) has recorded it; else its rules were recognised.", type: bool, returned: always}
    subnets: {description: The subnets of the guests., type: list, elements: str, returned: always}
    backend: {description: "Where its rules are, a kind of iptables or V(nftables).", type: str, returned: always}
    persist: {description: "How the rules come back, V(systemd) or V(none).", type: str, returned: always}
    options:
      description:
        - The options of M(hypervisor.kvm.kvm_nat) that make its rules. V(snat_address) is that of IPv4, V(snat_address6) that of IPv6.
      type: dict
      returned: always
    rules:
      description: The rules as declared, in their order.
      type: list
      elements: dict
      returned: always
      contains:
        table: {description: The table., type: str, returned: always}
        chain: {description: The chain., type: str, returned: always}
        rule: {description: "The rule, as C(iptables-save) writes it, also where it is in a table of nft.", type: str, returned: always}
        position: {description: "Its position in the chain, from 1; null when it is missing.", type: int, returned: always}
        packets: {description: "How many packets it has taken. In table nat, only the first of a connection counts.", type: int, returned: always}
        bytes: {description: Their bytes., type: int, returned: always}
    rules6:
      description: The same of IPv6, as C(ip6tables-save) writes them.
      type: list
      elements: dict
      returned: always
    in_place: {description: "Whether all rules are there, once, in order, and where rules of others let them work.", type: bool, returned: always}
    problems: {description: Why they are not., type: list, elements: str, returned: always}
ip_forward:
  description: Whether the host forwards IPv4 at the moment.
  returned: success
  type: bool
ipv6_forward:
  description: Whether the host forwards IPv6 at the moment (C(net.ipv6.conf.all.forwarding)).
  returned: success
  type: bool
conflicts:
  description:
    - Who else has a say about the packets of guests. V(firewalld), V(ufw), V(docker), V(libvirt) and V(nftables) are other
      managers, V(iptables-nft), V(iptables-legacy) and V(nftables) are the rules themselves, V(ip6tables-nft), V(ip6tables-legacy) and
      V(nftables6) those of IPv6, which are looked at where a bridge has subnets of it, or where a flow of it is explained.
  returned: success
  type: list
  elements: dict
  contains:
    manager: {description: "Who.", type: str, returned: always}
    problem: {description: "What, for a person.", type: str, returned: always}
    where: {description: "The table and chain.", type: str, returned: always}
    bridge: {description: "The bridge, where it is about one only; else empty.", type: str, returned: always}
explanation:
  description: What becomes of the flow.
  returned: with O(explain)
  type: dict
  contains:
    summary: {description: One sentence for a person., type: str, returned: always}
    works:
      description: Whether the first packet arrives and the answer comes back; null when that depends on what the rules do not tell.
      type: bool
      returned: always
    verdict:
      description: What becomes of the first packet, V(accepted), V(dropped), V(rejected), V(unreachable) (no route, no neighbour) or V(depends).
      type: str
      returned: always
    answer:
      description: The same of the answer; null when the first packet does not arrive, or is for all on a network.
      type: str
      returned: always
    in_interface: {description: "The device that it comes by; null from the host itself.", type: str, returned: always}
    out_interface: {description: "The device that it leaves by; null when it is for the host itself.", type: str, returned: always}
    source: {description: The address that it comes from., type: str, returned: always}
    translated:
      description: >-
        Source and destination as the receiver sees them. V(source_port) is a range or V(any) where the kernel chooses, and null when
        it is as the sender chose it.
      type: dict
      returned: always
      sample: {source: 198.51.100.1, source_port: 1024-65535, destination: 203.0.113.80, destination_port: 443}
    depends_on: {description: "The rules that decide and cannot be judged.", type: list, elements: str, returned: always}
    steps:
      description: Each routing decision and each table, in the order of the kernel. Tables that say nothing are left away.
      type: list
      elements: dict
      returned: always
      contains:
        direction: {description: "V(there), or V(back) for the answer.", type: str, returned: always}
        hook:
          description: V(PREROUTING), V(INPUT), V(FORWARD), V(OUTPUT), V(POSTROUTING), V(routing), V(neighbours) or V(bridge).
          type: str
          returned: always
        table: {description: "The table; null for a routing decision.", type: str, returned: always}
        backend: {description: "The kind of iptables that it is in.", type: str, returned: always}
        chain: {description: "The chain of the rule that decides; null when it is the policy.", type: str, returned: always}
        position: {description: Its position there., type: int, returned: always}
        rule: {description: "The rule, without its chain.", type: str, returned: always}
        verdict: {description: "Its target, V(UNKNOWN) when a program decides; for routing V(accepted) or V(unreachable).", type: str, returned: always}
        via: {description: The jumps that lead to its chain., type: list, elements: str, returned: always}
        depends_on: {description: Rules here that cannot be judged and make a difference., type: list, elements: str, returned: always}
        text: {description: The step for a person., type: str, returned: always}
"""

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._module import run_info
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import (
    backend,
    conflicts,
    explain,
    info,
    look,
    native,
    observe,
    question,
    saved,
    shape,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.backend import Rules
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.leg import World
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.native import Ruleset
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.record import six

OPTIONS: dict[str, t.Any] = {
    "bridge": {"type": "str"},
    "explain": {
        "type": "dict",
        "options": {
            "source": {"type": "str"},
            "destination": {"type": "str", "required": True},
            "protocol": {"type": "str", "default": "tcp"},
            "destination_port": {"type": "int"},
            "source_port": {"type": "int"},
            "in_interface": {"type": "str"},
        },
    },
}


#: The rules of the host by version of IP.
Versions = dict[int, Rules]


def _rules(seen: observe.Snapshot, bridge: str | None, asked: explain.Flow | None) -> Versions:
    """Those of IPv4; of IPv6 where bridges have some, or where it is asked for."""
    found = {4: backend.rules(seen.host, 4)}
    six_wanted = asked is not None and asked.destination.version == 6
    if six_wanted or any((one.rules6 or one.stale6) and bridge in (None, name) for name, one in seen.records.items()):
        found[6] = backend.rules(seen.host, 6)
    return found


def _nats(seen: observe.Snapshot, found: Versions, bridge: str | None) -> list[dict[str, t.Any]]:
    records = [one for name, one in sorted(seen.records.items()) if bridge in (None, name)]
    four, others = found[4].saved, found[6].saved if 6 in found else {}
    nats = [info.nat(one, four.get(one.backend, {}), True, others.get(six(one.backend))) for one in records]
    if bridge is not None and not nats:
        for name, theirs in four.items():
            one = info.recognised(bridge, name, theirs)
            nats += [info.nat(one, theirs, recorded=False)] if one is not None else []
    return nats


def _conflicts(found: Versions, chosen: str, others: Ruleset, bridges: t.Sequence[str]) -> list[conflicts.Conflict]:
    together = conflicts.of_nft(native.of_hooks(others, ("input", "forward", "output")))
    for version, rules in found.items():
        together += conflicts.of_host(rules.saved, rules.problems, chosen if version == 4 else six(chosen))
        plain = {name: saved.plain(one) for name, one in rules.saved.items()}
        for bridge in bridges:
            together += conflicts.of_bridge(bridge, plain)
    return together


def _explanation(
    asked: explain.Flow, seen: observe.Snapshot, found: Rules, chosen: str, others: Ruleset
) -> dict[str, t.Any]:
    host = look.host(asked.destination.version)
    question.check(asked, host)
    world = World(
        saved={name: found.saved[name] for name in sorted(found.saved, key=lambda name: name != chosen)},
        host=host,
        route=look.Router(),
        networks={bridge: one.subnets for bridge, one in seen.records.items()},
        forwards={version for version, on in ((4, seen.forwarding), (6, seen.forwarding6)) if on},
        native=others,
    )
    return info.explanation(asked, explain.explain(asked, world))


def read(params: dict[str, t.Any], _check_mode: bool) -> dict[str, t.Any]:
    """The return values."""
    bridge = params["bridge"]
    if bridge is not None and not shape.is_device(bridge):
        raise InvalidSpec(f"bridge '{bridge}' is no name of a device; {shape.DEVICES}.")
    asked = question.flow(params["explain"]) if params["explain"] is not None else None
    seen = observe.observe([])
    found = _rules(seen, bridge, asked)
    nats = _nats(seen, found, bridge)
    chosen = nats[0]["backend"] if nats else seen.preferred
    others = backend.foreign(native.ALL_HOOKS)
    result: dict[str, t.Any] = {
        "nats": nats,
        "ip_forward": seen.forwarding,
        "ipv6_forward": seen.forwarding6,
        "conflicts": [
            dataclasses.asdict(one) for one in _conflicts(found, chosen, others, [nat["bridge"] for nat in nats])
        ],
    }
    if asked is not None:
        version = asked.destination.version
        first = chosen if version == 4 else six(chosen)
        result["explanation"] = _explanation(asked, seen, found[version], first, others)
    return result


def main() -> None:
    """Runs the module."""
    run_info(OPTIONS, read)


if __name__ == "__main__":
    main()
