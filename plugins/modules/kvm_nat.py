#!/usr/bin/python
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kvm_nat
short_description: Let the guests behind a bridge reach the network of the host
version_added: 0.1.0
description:
  - Keeps the thirteen rules that masquerade the guests behind a bridge, let them reach the DNS and DHCP service of the
    host, let answers in and refuse everything else that would reach them. Each is there once, in order, where it works
    among the rules of others. Missing, doubled, moved and outdated ones are repaired in one step per table.
  - Rules of others are never changed, moved or removed, and neither is the policy of a chain.
  - The rules of filter INPUT go to the top. Those of filter FORWARD go behind the jumps of libvirt and Docker and before
    the first rule that refuses everything.
  - What was declared for a bridge is recorded in C(/etc/kvm_nat), so that a changed subnet leaves nothing of the old one and
    O(state=absent) removes exactly what this module has made.
  - With several subnets on a bridge, guests of different subnets can reach each other through the host.
  - Between two bridges of this module traffic is allowed in one direction only, that from the bridge whose rules come
    first, as the recipe has it. See O(inter_bridge).
notes:
  - A DHCP answer that is broadcast is masqueraded as well, so clients that ask for broadcast answers get none. This is
    how the thirteen rules are. See O(exempt_local).
  - Connections that are established already are not cut when rules are removed. See O(flush_conntrack).
  - A chain that others made with nft itself and that refuses what the guests send, or their questions to the DNS or DHCP service of
    the host, is named in a warning. No rule of this module can let through what such a chain refuses.
  - The kernel counts the changes of all rules. When nothing had to be changed, that is remembered with the count in
    C(/run/kvm_nat.seals), and the next run with the same options reads no rules until somebody changes one. Those of
    iptables-legacy are not counted; they are read, but looked at only if they have changed. On a host with chains that others made
    with nft itself all is looked at each time.
requirements:
  - iptables, or nftables with O(backend=nftables) (on the host that executes this module)
  - conntrack for O(flush_conntrack)
  - firewalld for O(firewalld_zone)
options:
  nats:
    description:
      - A list of bridges, each with the options of this module. Options given beside the list are the defaults of its entries.
      - All rules are read once and written once per table for the whole list. When one bridge fails, the others are still
        done, and the task fails at its end.
      - Mutually exclusive with O(bridge).
    type: list
    elements: dict
    suboptions: &nat
      bridge:
        description:
          - The bridge that the guests are connected to, up to 15 characters. It does not have to exist yet.
        type: str
      state:
        description:
          - V(present) makes the rules and keeps them as declared, V(absent) removes them and everything that came with them.
          - Defaults to V(present).
        type: str
        choices: [present, absent]
      subnets:
        description:
          - All subnets of the guests behind the bridge, like V(192.168.0.0/24). Bits of the host part are cleared.
          - A unique local subnet of IPv6, like V(fd00:1::/64), is masqueraded by the same rules in C(ip6tables), with
            DHCPv6 and with router and neighbour discovery, which need no DHCP option to be let in.
          - Any other subnet of IPv6 is routed, not masqueraded. Its guests are reached from outside without being asked, as those of
            a routed network of libvirt are, so close their ports elsewhere.
          - Required with O(state=present). With O(state=absent) they are needed only for rules that are not recorded and
            not complete.
        type: list
        elements: str
      backend:
        description:
          - What the rules are made with. V(iptables) is the kind of iptables that C(iptables) is on this host.
          - V(nftables) puts the same rules, with the same effect on packets, into a table of their own (C(ip kvm_nat), C(ip6 kvm_nat)),
            all in one transaction, and needs no iptables. What others refuse no rule there can let through, so it is refused where
            iptables refuses what guests send (the policy that Docker and ufw set, for instance), and the services that the host offers
            its guests have to be let in by the others.
          - V(auto) is the one that the rules of the bridge are in already; V(nftables) on a host without iptables that has rules of nft
            or loads some when it starts; else the kind of iptables that libvirt or Docker use if only one of the two has rules of
            theirs, else the same as V(iptables).
          - When it changes, the rules move without a moment in which they are missing.
          - Defaults to V(auto).
        type: str
        choices: [auto, iptables, iptables-nft, iptables-legacy, nftables]
      ip_forward:
        description:
          - V(enable) switches forwarding of IPv4 (and of IPv6, each where there are subnets of it) on, at once and at every start
            of the host (C(/etc/sysctl.d/60-kvm-nat.conf), which goes with the last bridge; the live value is never switched off).
          - Devices on which the kernel has learned routes of IPv6 from a router are told to go on (C(accept_ra=2)), as
            a host that forwards does not by itself.
          - V(check) fails when it is off. V(ignore) does not care.
          - Defaults to V(enable).
        type: str
        choices: [enable, check, ignore]
      persist:
        description:
          - How the rules come back after a restart of the host, or when another firewall service loads its rules.
          - V(systemd) installs the unit C(kvm-nat.service), which goes with the last bridge, and others that put the rules back when
            nftables, iptables, netfilter-persistent, ufw or firewalld is started, restarted, reloaded or stopped as a service, and
            when firewalld is reloaded by C(firewall-cmd). For less than a second after that the rules may be missing. Without a running
            systemd the task fails before anything is written.
          - Rules that somebody flushes by hand (like C(nft flush ruleset)) come back with the next run of this module, or with
            C(systemctl reload kvm-nat).
          - V(auto) is V(systemd) where systemd runs. Elsewhere it warns and goes on without.
          - V(none) does nothing of the kind.
          - Defaults to V(auto).
        type: str
        choices: [auto, systemd, none]
      firewalld_zone:
        description:
          - The zone of firewalld that the bridge is put into, for good and at once. What firewalld refuses these rules cannot let through,
            so on a host where it runs the bridge has to be in a zone that lets its guests out and lets them ask for the services
            of the host, like C(libvirt), which libvirt brings along.
          - Without this option the task fails where firewalld runs and refuses whatever the guests send, before anything is written.
          - With O(state=absent), or when the option is taken out of the declaration, the bridge is taken out of the zone if this
            module has put it there and it still is.
        type: str
      flush_conntrack:
        description:
          - Whether the connections of the guests are forgotten by the kernel when rules of the bridge change, so that those that
            are open already are judged by the new rules, or end.
          - It needs the program C(conntrack). Without a change of rules nothing is done.
          - Defaults to V(false).
        type: bool
      exempt_local:
        description:
          - Leaves packets to V(224.0.0.0/24), V(255.255.255.255) and V(ff02::/16) as they are, with two more rules for each subnet before the
            masquerading ones. With it a DHCP server on the host can answer clients that ask for broadcast answers.
          - Defaults to V(false), as the thirteen rules have it.
        type: bool
      inter_bridge:
        description:
          - What may pass between the guests of this bridge and those of other bridges of this module.
          - V(recipe) leaves it to the thirteen rules, that is one direction, from the bridge whose rules come first.
          - V(isolate) refuses both directions. It is enough that one of two bridges says so. Ports of the host that
            are forwarded to a guest can still be reached.
          - V(allow) lets both directions pass between bridges that both say so. What passes is still masqueraded, unless
            O(out_interface) is given.
          - The rules of the other bridges change with it, when they have to.
          - Defaults to V(recipe).
        type: str
        choices: [recipe, isolate, allow]
      out_interface:
        description:
          - The only device that the guests may leave the host by, and the only one that they are masqueraded on. Without it they
            may leave by any device. It does not have to exist yet.
        type: str
      snat_address:
        description:
          - The address of the host that the guests are seen with outside, instead of that of the device which they leave by.
          - One address, or a list with one of IPv4 and one of IPv6. Each is for the subnets of its version that are
            masqueraded; those of the other version are seen with the address of the device, and routed ones with their own.
        type: list
        elements: str
      masquerade_ports:
        description:
          - The ports that TCP and UDP connections of the guests are given outside, one or a range.
          - Defaults to V(1024-65535).
        type: str
      dns:
        description:
          - Whether the guests reach a DNS server on the host (port 53, UDP and TCP).
          - Defaults to V(true).
        type: bool
      dhcp:
        description:
          - Whether the guests reach a DHCP server on the host (port 67, UDP and TCP; of IPv6, port 547, UDP).
          - Defaults to V(true).
        type: bool
      checksum_fill:
        description:
          - Whether DHCP answers to the guests get a complete checksum, which old DHCP clients need.
          - Defaults to V(true).
        type: bool
      port_forwards:
        description:
          - Ports of the host's addresses that a guest behind the bridge answers. They are reached from outside, by guests of this and of
            other bridges, and from the host itself by its addresses (not by C(127.0.0.1) and C(::1)); what else would reach the guests
            is still refused.
          - A forward is of one version of IP, that of its addresses. With O(port_forwards[].domain) and neither
            O(port_forwards[].listen_address) nor O(port_forwards[].source) it is for each version that the domain has a known address of.
          - A port of the host has one target for each version of IP. What is not in the list any more goes, and a changed target takes the place of
            the one before. Connections that are established go on to where they went.
          - The list is the whole of it. Without it, or with V([]), no port is forwarded.
        type: list
        elements: dict
        suboptions:
          protocol:
            description: V(tcp) (the default) or V(udp).
            type: str
            choices: [tcp, udp]
          listen_address:
            description:
              - The address of the host to listen on, of IPv4 or IPv6. Without it all of them, those of its bridges included, but of IPv6
                not those of a link (C(fe80::/10)), which no guest on another link could answer to.
            type: str
          listen_port:
            description:
              - The port of the host, or a range like V(8000-8010). A program of the host that listens there is not reached any more.
            type: str
            required: true
          to_address:
            description:
              - The address of the guest, of IPv4 or IPv6, in one of the O(subnets), a routed one included. Either this or the domain has
                to be given.
            type: str
          domain:
            description:
              - The name of a domain of C(qemu:///system) that answers. Its address in the O(subnets) is that of a DHCP
                reservation in a network of libvirt, else the one in the domain's definition, else that of its lease, else (IPv4 only) what
                the host knows of its MAC addresses. A reservation of DHCPv6 is its own by its name or by a DUID made of its MAC address.
              - It is looked for once among the IPv4 subnets and once among those of IPv6, and the ports lead to it by each version that it
                has an address of. RV(port_forwards) has an entry for each.
              - A domain that is not defined yet is at the address of the DHCP reservation that has its name.
              - A domain of which no address of a version is known now (it is off) stays at the one that it had. It is an error when there
                is none of either version, or when there are several of one.
            type: str
          to_port:
            description:
              - The port of the guest, the same as listen_port by default. A range has to be as long as that of listen_port,
                one port takes all of a range.
            type: str
          source:
            description:
              - The networks that it is for, like V(198.51.100.0/24) or V(2001:db8:1::/48). For all others (the host included) the port is as
                if it was not forwarded. Everybody by default.
              - V(0.0.0.0/0) or V(::/0) is everybody of one version of IP, which is how a domain is reached by that version only.
            type: list
            elements: str
          hairpin:
            description:
              - Whether guests of the same bridge reach it as well; they are seen with the address of the bridge then. On a host
                that filters bridged packets (C(net.bridge.bridge-nf-call-iptables)) a guest reaches a port that leads to itself only
                when its port of the bridge is in hairpin mode, and the module warns.
              - Defaults to V(true).
            type: bool
  # Each option of an entry is an option of the module as well.
  <<: *nat
seealso:
  - module: hypervisor.kvm.kvm_net
    description: Its forward mode V(open) makes a bridge without any rules of libvirt.
author:
  - hypervisor.kvm contributors (@hypervisor-kvm)
extends_documentation_fragment:
  - hypervisor.kvm._attributes
  - hypervisor.kvm._attributes.state
"""

EXAMPLES = r"""
- name: Guests on br0 reach what the host reaches
  hypervisor.kvm.kvm_nat:
    bridge: br0
    subnets:
      - 192.168.0.0/24

- name: Several bridges in one step, one of them with two subnets
  hypervisor.kvm.kvm_nat:
    nats:
      - bridge: br0
        subnets: [192.168.0.0/24]
      - bridge: br1
        subnets: [192.168.1.0/24, 10.20.0.0/16]
      - bridge: br-old
        state: absent

- name: Rules for now only, on a host whose forwarding somebody else looks after
  hypervisor.kvm.kvm_nat:
    bridge: br0
    subnets: [192.168.0.0/24]
    backend: iptables-nft
    ip_forward: check
    persist: none

- name: On a host that has nft and no iptables
  hypervisor.kvm.kvm_nat:
    bridge: br0
    subnets: [192.168.0.0/24]
    backend: nftables

- name: DHCP for all clients, and no way between the guests of two bridges
  hypervisor.kvm.kvm_nat:
    exempt_local: true
    inter_bridge: isolate
    nats:
      - bridge: br0
        subnets: [192.168.0.0/24]
      - bridge: br1
        subnets: [192.168.1.0/24]

- name: Out by one device only, with an address and ports of their own, and with no service of the host but DNS
  hypervisor.kvm.kvm_nat:
    bridge: br2
    subnets: [192.168.2.0/24]
    out_interface: eth0
    snat_address: 203.0.113.7
    masquerade_ports: 20000-29999
    dns: true
    dhcp: false
    checksum_fill: false

- name: IPv4 and IPv6, both masqueraded
  hypervisor.kvm.kvm_nat:
    bridge: br0
    subnets:
      - 192.168.0.0/24
      - fd00:1::/64

- name: The web server in a guest, and games for the office only
  hypervisor.kvm.kvm_nat:
    bridge: br0
    subnets: [192.168.0.0/24]
    port_forwards:
      - listen_port: 8080
        domain: web
        to_port: 80
      - protocol: udp
        listen_address: 203.0.113.7
        listen_port: 27000-27015
        to_address: 192.168.0.12
        source: [198.51.100.0/24]

- name: The same by IPv6, of one guest by an address of its own; seen outside with one address of each version
  hypervisor.kvm.kvm_nat:
    bridge: br0
    subnets: [192.168.0.0/24, "fd00:1::/64", "2001:db8:1::/64"]
    snat_address: [203.0.113.7, "2001:db8:ff::7"]
    port_forwards:
      # By IPv4 and by IPv6, when the domain has addresses of both.
      - listen_port: 8080
        domain: web
        to_port: 80
      - listen_address: "2001:db8:ff::7"
        listen_port: 8022
        to_address: "fd00:1::12"
        to_port: 22
        source: ["2001:db8:5::/48"]

- name: On a host with firewalld; connections that were made under other rules end
  hypervisor.kvm.kvm_nat:
    bridge: br0
    subnets: [192.168.0.0/24]
    firewalld_zone: libvirt
    flush_conntrack: true

- name: Remove the rules again
  hypervisor.kvm.kvm_nat:
    bridge: br0
    state: absent
"""

RETURN = r"""
rules:
  description:
    - The rules of the bridge by table, as C(iptables-save) writes them, after the task (in check mode as they would be). Those
      of the backend V(nftables) too, whose own words are in RV(commands).
  returned: success
  type: dict
  sample:
    mangle: ["-A POSTROUTING -o br0 -p udp -m udp --dport 68 -j CHECKSUM --checksum-fill"]
rules6:
  description: The same of IPv6, as C(ip6tables-save) writes them; empty without a subnet of it.
  returned: success
  type: dict
  sample:
    filter: ["-A FORWARD -d fd00:1::/64 -o br0 -m state --state RELATED,ESTABLISHED -j ACCEPT"]
subnets:
  description: The subnets with the bits of the host part cleared.
  returned: success
  type: list
  elements: str
  sample: [192.168.0.0/24]
port_forwards:
  description: The forwarded ports, with the addresses that domains were found at, one entry for each version of IP.
  returned: success
  type: list
  elements: dict
  sample:
    - {protocol: tcp, listen_address: null, listen_port: "8080", to_address: 192.168.0.11, to_port: "80", domain: web, source: [], hairpin: true}
backend:
  description: What was used, V(iptables-nft), V(iptables-legacy) or V(nftables).
  returned: success
  type: str
  sample: iptables-nft
persist:
  description: How the rules come back, V(systemd) or V(none).
  returned: success
  type: str
  sample: systemd
tables_changed:
  description: The tables in which something was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [filter, mangle, nat]
commands:
  description:
    - The programs that were run for this bridge, or would be in check mode, in order. With O(nats), the input for one
      table holds the lines of all bridges.
  returned: success
  type: list
  elements: dict
  contains:
    command: {description: The command line., type: str, returned: always}
    input: {description: The lines of its standard input., type: list, elements: str, returned: always}
changes:
  description: Every single change that was made, or would be made in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    object: {description: The bridge., type: str, returned: always}
    field:
      description: >-
        V(filter), V(mangle) or V(nat) for rules (V(filter of br1) for those of another bridge that change with it, V(filter
        (ip6tables-nft\)) for those of IPv6), V(ip_forward), V(ipv6_forward), V(accept_ra of eth0), V(firewalld_zone),
        V(firewalld_zone (runtime\)), V(conntrack), V(unit), or the path of a file.
      type: str
      returned: always
    before: {description: "The rules before, with their chains and positions; or the value.", type: raw, returned: always}
    after: {description: The same after., type: raw, returned: always}
    effect: {description: Always V(live)., type: str, returned: always}
restart_required:
  description: Always empty, nothing here waits for a restart.
  returned: always
  type: list
  elements: dict
rolled_back:
  description: Set when the task failed and nothing is changed.
  returned: failure
  type: bool
results:
  description: With O(nats), the return values of each bridge, in the order of the list, with its bridge.
  returned: when O(nats) is given
  type: list
  elements: dict
"""

import contextlib
import dataclasses
import functools
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._floor import Floor, Work, catch
from ansible_collections.hypervisor.kvm.plugins.module_utils._module import run
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import (
    apply,
    compare,
    early,
    observe,
    obstacles,
    report,
    seal,
    spec,
)

OPTIONS: dict[str, t.Any] = {
    "bridge": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"]},
    "subnets": {"type": "list", "elements": "str"},
    "backend": {"type": "str", "choices": ["auto", "iptables", "iptables-nft", "iptables-legacy", "nftables"]},
    "ip_forward": {"type": "str", "choices": ["enable", "check", "ignore"]},
    "persist": {"type": "str", "choices": ["auto", "systemd", "none"]},
    "firewalld_zone": {"type": "str"},
    "flush_conntrack": {"type": "bool"},
    "exempt_local": {"type": "bool"},
    "inter_bridge": {"type": "str", "choices": ["recipe", "isolate", "allow"]},
    "out_interface": {"type": "str"},
    "snat_address": {"type": "list", "elements": "str"},
    "masquerade_ports": {"type": "str"},
    "dns": {"type": "bool"},
    "dhcp": {"type": "bool"},
    "checksum_fill": {"type": "bool"},
    "port_forwards": {
        "type": "list",
        "elements": "dict",
        "options": {
            "protocol": {"type": "str", "choices": ["tcp", "udp"]},
            "listen_address": {"type": "str"},
            "listen_port": {"type": "str", "required": True},
            "to_address": {"type": "str"},
            "domain": {"type": "str"},
            "to_port": {"type": "str"},
            "source": {"type": "list", "elements": "str"},
            "hairpin": {"type": "bool"},
        },
    },
}

NatWork = Work[spec.NatSpec, observe.Snapshot]


@dataclasses.dataclass
class Session:
    """What was read last; None = nothing yet, or it has changed since."""

    seen: observe.Snapshot | None = None


class NatFloor(Floor[spec.NatSpec, observe.Snapshot]):
    """The rooms of NAT."""

    kind = "nat of bridge"
    identity = "bridge"
    list_option = "nats"

    def __init__(self) -> None:
        super().__init__()
        # What each bridge was compared to, to tell the next how it leaves the host, need not be compared again.
        self._compared: dict[str, tuple[observe.Snapshot, ChangeSet]] = {}
        self._after: observe.Snapshot | None = None
        self._early: early.Early | None = None
        #: What is to be remembered when this ends.
        self._seal: t.Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def prepared(self) -> t.Iterator[None]:
        with early.Early() as self._early:
            yield

    def parse(self, params: dict[str, t.Any]) -> spec.NatSpec:
        return spec.parse(params)

    @property
    def _first(self) -> early.Early:
        if self._early is None:
            raise RuntimeError("the first look at the host was not begun")
        return self._early

    def check_together(self, specs: t.Sequence[spec.NatSpec]) -> None:
        spec.check_together(specs)

    def session(self, params: dict[str, t.Any]) -> t.ContextManager[Session]:
        return contextlib.nullcontext(Session())

    def observe_all(self, session: Session, works: t.Sequence[NatWork]) -> None:
        """One read for all; each bridge then sees the host as those before it will leave it."""
        if all(work.changes is not None for work in works):
            # After the changes: that they are there was found out when they were made.
            self._after = session.seen = session.seen or observe.observe([work.spec for work in works])
            return
        specs = [work.spec for work in works]
        around = observe.around(specs, self._first)
        ground = seal.ground(self._first.digests)
        code = seal.digest(specs, around) if ground is not None else ""
        found = seal.find(ground, code)
        if found is None:
            session.seen = observe.with_rules(around, specs, self._first)
            self._compare_all(works, session.seen)
            self._may_seal(works, session.seen, ground, code)
        else:
            self._trust(works, around, found)

    def _compare_all(self, works: t.Sequence[NatWork], seen: observe.Snapshot) -> None:
        before = {work.name for work in works if work.error is not None}
        self._compare_in_turn(works, dataclasses.replace(seen, called=seen.called - before))
        failed = {work.name for work in works if work.error is not None}
        if failed - before and failed & set(seen.records):
            # Those keep what they have: nobody else of the call gets it.
            self._compare_all(works, seen)

    def _compare_in_turn(self, works: t.Sequence[NatWork], seen: observe.Snapshot) -> None:
        going = [work for work in works if work.error is None]
        for work in sorted(going, key=lambda one: one.spec.state != "absent"):
            work.observed = seen
            work.warnings = report.warnings(work.spec, seen, first=work is works[0])
            with catch(work):
                changes = compare.compare(work.spec, seen)
                if work.spec.state == "present":
                    work.warnings += obstacles.overruled(work.spec, changes.plan.result)
                self._compared[work.name] = (seen, changes)
                seen = changes.plan.result
        self._after = seen

    def _may_seal(
        self, works: t.Sequence[NatWork], seen: observe.Snapshot, ground: list[t.Any] | None, code: str
    ) -> None:
        """That nothing is to be done is to be remembered, if it is so."""
        plans = [self._compared[work.name][1] for work in works if work.error is None]
        if len(plans) == len(works) and not any(plans) and seal.can_seal(seen):
            found = seal.Found(seen.preferred, {work.name: work.warnings for work in works})
            self._seal = functools.partial(seal.save, ground, self._first.digests, code, found)

    def _trust(self, works: t.Sequence[NatWork], around: observe.Snapshot, found: seal.Found) -> None:
        """Nothing is to be done, as no rule has changed since that was found out."""
        around = dataclasses.replace(around, preferred=found.preferred)
        for work in works:
            work.observed, work.warnings = around, found.told.get(work.name, [])
            plan = compare.NatPlan(backend=around.backend_of(work.spec), result=around)
            self._compared[work.name] = (around, ChangeSet(work.spec.bridge, plan))
        self._after = around

    def compare(self, spec: spec.NatSpec, observed: observe.Snapshot) -> ChangeSet:
        known = self._compared.get(spec.bridge)
        return known[1] if known is not None and known[0] is observed else compare.compare(spec, observed)

    def apply_all(self, session: Session, works: t.Sequence[NatWork]) -> None:
        """One write per table for all; when that fails, each alone, so that one cannot keep the others from theirs."""
        if not works:
            return
        try:
            self._apply(session, works)
        except KvmError as exc:
            if len(works) == 1:
                works[0].error, works[0].applied = exc, not exc.details.get("rolled_back", False)
                return
            for work in works:
                session.seen = None
                self.apply_all(session, [work])

    def _apply(self, session: Session, works: t.Sequence[NatWork]) -> None:
        wanted = {work.spec.bridge: work for work in works}
        seen, planned = session.seen, None
        if seen is None:
            seen = observe.observe([work.spec for work in works])
        else:
            planned = {work.name: work.plan for work in works}
        session.seen = None
        changes, session.seen = apply.apply([work.spec for work in works], seen, observe.observe, planned)
        for change in changes:
            wanted[change.object].changes = change
            wanted[change.object].applied = True

    def finish_all(self, session: Session, works: t.Sequence[NatWork]) -> bool:
        self._seal()
        return False

    def facts(self, session: Session, work: NatWork) -> dict[str, t.Any]:
        return report.facts(work.spec, work.plan, self._after or work.seen)


def main() -> None:
    """Runs the module."""
    run(NatFloor(), OPTIONS)


if __name__ == "__main__":
    main()
