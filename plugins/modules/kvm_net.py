#!/usr/bin/python
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kvm_net
short_description: Keep libvirt networks as declared
version_added: 0.1.0
description:
  - Defines, starts, changes, stops and removes virtual networks of libvirt.
  - Only what is stated is enforced. What libvirt or somebody else filled in (the UUID, the MAC address of the bridge,
    NAT ports, DNS records) is left as it is.
  - Changed DHCP reservations reach a running network at once. Everything else becomes part of the definition and is
    named in RV(restart_required), unless O(restart=if_required).
options:
  networks:
    description:
      - A list of networks, each with the options of this module. Options given beside the list are the defaults of its entries.
      - One connection serves the whole list. When one network fails, the others are still done, and the task fails at its end.
      - Mutually exclusive with O(name).
    type: list
    elements: dict
    suboptions: &network
      name:
        description:
          - The name of the network.
        type: str
      state:
        description:
          - V(active) defines and starts the network, V(inactive) defines and stops it, V(absent) removes it.
          - A network that running domains are connected to is neither stopped nor removed.
          - Defaults to V(active).
        type: str
        choices: [active, inactive, absent]
      autostart:
        description:
          - Whether the network starts with the host. Independent of O(state).
        type: bool
      restart:
        description:
          - Whether a running network may be stopped and started when a change needs that. Running domains are
            connected again, with an interruption of about a second.
          - Defaults to V(never).
        type: str
        choices: [never, if_required]
      forward:
        description:
          - How the network is connected to the world.
        type: dict
        suboptions:
          mode:
            description:
              - V(none) is an isolated network. V(nat) and V(route) come with firewall rules of libvirt's own, V(open) comes
                without any, the one to choose when M(hypervisor.kvm.kvm_nat) makes the rules. V(bridge) uses a bridge of the host.
              - Defaults to V(nat), libvirt's own default.
            type: str
            choices: [none, nat, route, open, bridge]
          dev:
            description:
              - Forward through this device of the host only. With O(forward.mode=nat) or O(forward.mode=route).
            type: str
      bridge:
        description:
          - The bridge device of the network.
        type: dict
        suboptions:
          name:
            description:
              - Its name, up to 15 characters. Chosen by libvirt (C(virbrN)) when never stated.
            type: str
          stp:
            description:
              - Whether the spanning tree protocol runs on it.
            type: bool
          delay:
            description:
              - Its forward delay in seconds, 0 to 32.
            type: int
      mac:
        description:
          - The MAC address of the bridge. Chosen by libvirt once, and kept, when never stated.
        type: str
      mtu:
        description:
          - The maximum transmission unit in bytes, 68 to 65535.
        type: int
      domain:
        description:
          - The DNS domain of the network.
        type: dict
        suboptions:
          name:
            description:
              - Its name. Required.
            type: str
          local_only:
            description:
              - Whether queries for names in it are never forwarded to other name servers.
            type: bool
      dns:
        description:
          - The DNS service of the network.
        type: dict
        suboptions:
          enable:
            description:
              - Whether there is one.
            type: bool
      ips:
        description:
          - All addresses of the host in the network. An empty list is a network without any.
        type: list
        elements: dict
        suboptions:
          address:
            description:
              - The address, V(192.0.2.1) with O(networks[].ips[].prefix), or V(192.0.2.1/24).
            type: str
          prefix:
            description:
              - The length of the prefix in bits.
            type: int
          dhcp:
            description:
              - The DHCP service on this subnet; no service when left out.
            type: dict
            suboptions:
              ranges:
                description:
                  - The ranges of addresses to lease.
                type: list
                elements: dict
                suboptions:
                  start:
                    description: The first address.
                    type: str
                  end:
                    description: The last address.
                    type: str
              hosts:
                description:
                  - Reservations.
                type: list
                elements: dict
                suboptions:
                  ip:
                    description: The address. Required.
                    type: str
                  mac:
                    description: Of the interface with this MAC address.
                    type: str
                  name:
                    description: The host name that is handed out with it.
                    type: str
  # Each option of an entry is an option of the module as well.
  <<: *network
seealso:
  - module: hypervisor.kvm.kvm_nat
  - module: hypervisor.kvm.kvm_domain
  - name: libvirt's network format
    description: What each element means.
    link: https://libvirt.org/formatnetwork.html
author:
  - hypervisor.kvm contributors (@hypervisor-kvm)
extends_documentation_fragment:
  - hypervisor.kvm._connection
  - hypervisor.kvm._attributes
  - hypervisor.kvm._attributes.state
"""

EXAMPLES = r"""
- name: A network whose rules hypervisor.kvm.kvm_nat makes, with static addresses in the guests
  hypervisor.kvm.kvm_net:
    name: lan
    forward:
      mode: open
    bridge:
      name: br-lan
      stp: false
      delay: 0
    mtu: 1500
    ips:
      - address: 192.168.100.1
        prefix: 24
    autostart: true

- name: Two networks in one call, both started with the host
  hypervisor.kvm.kvm_net:
    autostart: true
    networks:
      - name: isolated
        forward:
          mode: none
        bridge:
          name: br-isolated
        mac: 52:54:00:00:00:fe
        dns:
          enable: false
        ips:
          - address: 10.20.0.1/24
      - name: office
        forward:
          mode: nat
          dev: eth0
        domain:
          name: office.example
          local_only: true
        ips:
          - address: 10.30.0.1/24
            dhcp:
              ranges:
                - start: 10.30.0.100
                  end: 10.30.0.199
              hosts:
                - ip: 10.30.0.10
                  mac: 52:54:00:00:00:10
                  name: printer

- name: Change the MTU of a running network at once, reconnecting its guests
  hypervisor.kvm.kvm_net:
    name: lan
    mtu: 9000
    restart: if_required

- name: Let domains use a bridge of the host under a libvirt name
  hypervisor.kvm.kvm_net:
    name: uplink
    forward:
      mode: bridge
    bridge:
      name: br0

- name: Remove a network, on another libvirt
  hypervisor.kvm.kvm_net:
    name: isolated
    state: absent
    uri: qemu:///system
"""

RETURN = r"""
network:
  description: The network after the task (in check mode, before it); null when there is none. With O(name) only.
  returned: success
  type: dict
  sample:
    name: lan
    uuid: 6bf57a4c-7b0b-4d0c-9d8b-0d8c0e3b8c0a
    active: true
    autostart: true
    persistent: true
    forward: {mode: open, dev: null}
    bridge: br-lan
    mac: 52:54:00:6d:90:01
    mtu: 1500
    ips: [192.168.100.1/24]
    connections: 1
changes:
  description: Every single change that was made, or would be made in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    object: {description: The name of the network., type: str, returned: always}
    field: {description: The option., type: str, returned: always}
    before: {description: The value before., type: raw, returned: always}
    after: {description: The value after., type: raw, returned: always}
    effect:
      description: V(live) is in force at once, V(next_boot) after the next start of the network.
      type: str
      returned: always
restart_required:
  description: What waits for the next start of a network, as a list of RV(ignore:object) and its RV(ignore:fields).
  returned: always
  type: list
  elements: dict
  sample: [{object: lan, fields: [mtu]}]
results:
  description: With O(networks), the return values of each network, in the order of the list, with its name.
  returned: when O(networks) is given
  type: list
  elements: dict
"""

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._floor import Floor, Work
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import connect
from ansible_collections.hypervisor.kvm.plugins.module_utils._module import URI_OPTION, run
from ansible_collections.hypervisor.kvm.plugins.module_utils._net.apply import apply
from ansible_collections.hypervisor.kvm.plugins.module_utils._net.compare import compare
from ansible_collections.hypervisor.kvm.plugins.module_utils._net.observe import NetworkState, facts, observe
from ansible_collections.hypervisor.kvm.plugins.module_utils._net.spec import NetworkSpec, check_together, parse

_DHCP: dict[str, t.Any] = {
    "ranges": {"type": "list", "elements": "dict", "options": {"start": {"type": "str"}, "end": {"type": "str"}}},
    "hosts": {
        "type": "list",
        "elements": "dict",
        "options": {"ip": {"type": "str"}, "mac": {"type": "str"}, "name": {"type": "str"}},
    },
}

OPTIONS: dict[str, t.Any] = {
    "name": {"type": "str"},
    "state": {"type": "str", "choices": ["active", "inactive", "absent"]},
    "autostart": {"type": "bool"},
    "restart": {"type": "str", "choices": ["never", "if_required"]},
    "forward": {
        "type": "dict",
        "options": {
            "mode": {"type": "str", "choices": ["none", "nat", "route", "open", "bridge"]},
            "dev": {"type": "str"},
        },
    },
    "bridge": {
        "type": "dict",
        "options": {"name": {"type": "str"}, "stp": {"type": "bool"}, "delay": {"type": "int"}},
    },
    "mac": {"type": "str"},
    "mtu": {"type": "int"},
    "domain": {"type": "dict", "options": {"name": {"type": "str"}, "local_only": {"type": "bool"}}},
    "dns": {"type": "dict", "options": {"enable": {"type": "bool"}}},
    "ips": {
        "type": "list",
        "elements": "dict",
        "options": {"address": {"type": "str"}, "prefix": {"type": "int"}, "dhcp": {"type": "dict", "options": _DHCP}},
    },
}

NetworkWork = Work[NetworkSpec, NetworkState]


class NetworkFloor(Floor[NetworkSpec, NetworkState]):
    """The rooms of networks."""

    kind = "network"
    list_option = "networks"

    def parse(self, params: dict[str, t.Any]) -> NetworkSpec:
        return parse(params)

    def check_together(self, specs: t.Sequence[NetworkSpec]) -> None:
        check_together(specs)

    def session(self, params: dict[str, t.Any]) -> t.ContextManager[t.Any]:
        return connect(params["uri"], predict=self.check_mode)

    def observe(self, session: t.Any, spec: NetworkSpec) -> NetworkState:
        return observe(session, spec)

    def compare(self, spec: NetworkSpec, observed: NetworkState) -> ChangeSet:
        return compare(spec, observed)

    def apply(self, session: t.Any, work: NetworkWork) -> None:
        apply(session, work.plan)

    def facts(self, session: t.Any, work: NetworkWork) -> dict[str, t.Any]:
        return {"network": facts(work.seen, work.name)}


def main() -> None:
    """Runs the module."""
    run(NetworkFloor(), OPTIONS, URI_OPTION)


if __name__ == "__main__":
    main()
