#!/usr/bin/python
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kvm_domain_info
short_description: What domains there are, and how they are
version_added: 0.1.0
description:
  - Returns of one, of some or of all domains their state with its reason, addresses, devices, real sizes of disks, use of
    processor, memory, disks and network, displays and snapshots, and on request what the guest agent knows of the guest
    and the documents of libvirt.
  - All domains of a host take few calls; a guest agent or a qemu that hangs delays the answer for a limited time only and
    hides nothing of the other domains.
options:
  name:
    description:
      - The name of one domain. Mutually exclusive with O(names).
    type: str
  names:
    description:
      - The names of some domains. All domains of the host when neither this nor O(name) is stated.
    type: list
    elements: str
  stats:
    description:
      - Whether what the domains have used, and the sizes that only libvirt knows, are returned. Without them the answer for
        a host with very many running domains comes sooner.
    type: bool
    default: true
  guest:
    description:
      - Whether the guest agents are asked for the operating system, the host name, the time zone and the file systems.
    type: bool
    default: false
  agent_timeout:
    description:
      - How long a guest agent has for an answer, in seconds. Eight agents are asked at the same time.
    type: int
    default: 5
  xml:
    description:
      - Whether libvirt's documents are returned.
    type: bool
    default: false
  xml_passwords:
    description:
      - Whether the documents have the passwords in them that libvirt keeps (those of displays). Without, libvirt leaves them out.
    type: bool
    default: false
seealso:
  - module: hypervisor.kvm.kvm_domain
  - module: hypervisor.kvm.kvm_snapshot
  - module: hypervisor.kvm.kvm_host_info
author:
  - hypervisor.kvm contributors (@hypervisor-kvm)
extends_documentation_fragment:
  - hypervisor.kvm._connection
  - hypervisor.kvm._attributes
  - hypervisor.kvm._attributes.info
"""

EXAMPLES = r"""
- name: Look at all domains
  hypervisor.kvm.kvm_domain_info:
  register: found

- name: Name those that do not run, and why
  ansible.builtin.debug:
    msg: "{{ item.name }} is {{ item.state }} ({{ item.reason }})"
  loop: "{{ found.domains | rejectattr('state', 'equalto', 'running') }}"
  loop_control:
    label: "{{ item.name }}"

- name: Look at one domain, with what its agent says and its document
  hypervisor.kvm.kvm_domain_info:
    name: web1
    guest: true
    xml: true
  register: web1

- name: Complain of a file system that is nearly full
  ansible.builtin.fail:
    msg: "{{ item.mountpoint }} of web1 is nearly full"
  loop: "{{ web1.domains[0].guest.filesystems }}"
  when: item.size and item.used / item.size > 0.9

- name: Look at some domains, of which some may not be there
  hypervisor.kvm.kvm_domain_info:
    names: [web1, web2]
    stats: false
  register: webs

- name: Use the first address of each
  ansible.builtin.debug:
    msg: "{{ webs.domains | rejectattr('addresses', 'equalto', []) | map(attribute='addresses.0') }}"
"""

RETURN = r"""
domains:
  description:
    - The domains, in the order of O(names) or by name. What M(hypervisor.kvm.kvm_domain) returns of a domain is the same,
      with less.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: "Its name.", type: str, returned: always}
    uuid: {description: "Its UUID.", type: str, returned: always}
    id: {description: "libvirt's number of it while it runs; null otherwise.", type: int, returned: always}
    state:
      description: V(running), V(stopped), V(saved), V(paused), V(stopping), V(crashed) or V(suspended).
      type: str
      returned: always
    reason: {description: "Why it is in that state, in libvirt's word.", type: str, returned: always}
    autostart: {description: "Whether it starts with the host.", type: bool, returned: always}
    persistent: {description: "Whether it is defined.", type: bool, returned: always}
    managed_save: {description: "Whether its memory is saved, so that its next start goes on there.", type: bool, returned: always}
    title: {description: "Its title.", type: str, returned: always}
    description: {description: "Its description.", type: str, returned: always}
    type: {description: "V(kvm), V(qemu) or another kind.", type: str, returned: always}
    machine: {description: "The machine type.", type: str, returned: always}
    memory: {description: "Memory in bytes.", type: int, returned: always}
    current_memory: {description: "What the guest has of it at the moment, in bytes.", type: int, returned: always}
    vcpus: {description: "The maximum number of virtual CPUs.", type: int, returned: always}
    uptime: {description: "Seconds since its qemu was started; null when it does not run here.", type: float, returned: always}
    addresses:
      description:
        - The addresses by which others reach the guest, neither loopback nor link-local, by the domain's MAC addresses.
        - From its agent; where that tells none, from the leases of libvirt's networks and from the host's neighbour table,
          which may be those of an earlier life of the guest.
      type: list
      elements: str
      returned: always
    agent:
      description:
        - V(none) (it has no channel to one), V(disconnected) (nobody in the guest has opened the channel), V(connected), or
          V(silent) (the channel is open, but there was no answer in time).
      type: str
      returned: always
    agent_connected: {description: "Whether somebody in the guest has opened the channel.", type: bool, returned: always}
    agent_problem: {description: "Why a connected agent told nothing, or not all; null when it did.", type: str, returned: always}
    guest:
      description:
        - What the guest agent says with O(guest=true), null when it says nothing. V(os) has what it calls the operating
          system (V(id), V(name), V(pretty_name), V(version_id), V(kernel_release), ...), V(filesystems) a list of V(name),
          V(mountpoint), V(type), V(size) and V(used) in bytes, and V(disks).
      type: dict
      returned: always
      sample:
        hostname: web1
        os: {id: debian, pretty_name: Debian GNU/Linux 12 (bookworm), version_id: "12"}
        timezone: {name: UTC, offset: 0}
        filesystems: [{name: vda1, mountpoint: /, type: ext4, size: 10000000000, used: 1500000000, disks: [vda]}]
    graphics:
      description:
        - Displays with V(type), V(listen), the actual V(port), V(tls_port) and V(websocket), the V(socket), and for VNC the
          V(display) as viewers take it.
      type: list
      elements: dict
      returned: always
      sample: [{type: vnc, listen: 127.0.0.1, port: 5901, tls_port: null, websocket: null, socket: null, display: "127.0.0.1:1"}]
    console_log: {description: "The file that the first logged serial port or console writes to.", type: str, returned: always}
    disks:
      description: Disks, with the options that they have, and what they really are.
      type: list
      elements: dict
      returned: always
      contains:
        target: {description: "The name of the device for libvirt.", type: str, returned: always}
        source: {description: "The image or block device.", type: str, returned: when it has one}
        virtual_size: {description: "What the guest sees, in bytes; null where it is not known.", type: int, returned: always}
        allocated_size: {description: "What it takes on the host, in bytes; null where it is not known.", type: int, returned: always}
        physical_size: {description: "The length of the file or device, in bytes; null where it is not known.", type: int, returned: always}
        backing_chain:
          description: The files behind it, nearest first; null where it is not known.
          type: list
          elements: str
          returned: always
        stats:
          description: What was read, written and flushed since the start, as V(read_bytes), V(read_requests) and so on; null when it is off.
          type: dict
          returned: always
    interfaces:
      description: Interfaces, with the options that they have.
      type: list
      elements: dict
      returned: always
      contains:
        mac: {description: "The MAC address.", type: str, returned: always}
        addresses: {description: "The addresses found for it.", type: list, elements: str, returned: always}
        stats:
          description: What the guest has received and sent, as V(received_bytes), V(sent_packets) and so on; null when it is off.
          type: dict
          returned: always
    stats:
      description:
        - What a running domain has used since its start; null when it is off or with O(stats=false). V(cpu) has V(time),
          V(user) and V(system) in seconds, V(vcpus) the V(time) of each, V(memory) is in bytes - V(current), V(maximum),
          V(resident) (on the host), and what the guest's balloon driver tells (V(available), V(usable), V(unused), ...).
      type: dict
      returned: always
      sample:
        cpu: {time: 12.5, user: 10.1, system: 2.4}
        vcpus: [{number: 0, time: 11.9}]
        memory: {current: 1073741824, maximum: 1073741824, resident: 612368384}
    stats_complete:
      description: Whether all statistics of this domain could be read; not when its qemu hangs.
      type: bool
      returned: always
    snapshots:
      description:
        - The snapshots, parents before their children, with V(name), V(parent), V(current), V(created) (seconds since 1970), V(state),
          V(kind), V(memory), V(description) and V(disks).
      type: list
      elements: dict
      returned: always
    xml: {description: "The document of what runs, of the definition when it is off.", type: str, returned: with O(xml=true)}
    inactive_xml:
      description: The definition of a domain that runs, which holds from its next start on.
      type: str
      returned: with O(xml=true), when it runs and is defined
missing:
  description: Those of O(name) and O(names) that there are not.
  returned: success
  type: list
  elements: str
"""

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import info
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._host.observe import is_local
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import host
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import connect
from ansible_collections.hypervisor.kvm.plugins.module_utils._module import URI_OPTION, run_info

OPTIONS: dict[str, t.Any] = {
    "name": {"type": "str"},
    "names": {"type": "list", "elements": "str"},
    "stats": {"type": "bool", "default": True},
    "guest": {"type": "bool", "default": False},
    "agent_timeout": {"type": "int", "default": 5},
    "xml": {"type": "bool", "default": False},
    "xml_passwords": {"type": "bool", "default": False, "no_log": False},
    **URI_OPTION,
}


def read(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """The return values."""
    if params["name"] is not None and params["names"] is not None:
        raise InvalidSpec("State either name or names, not both.")
    if not 1 <= params["agent_timeout"] <= 3600:
        raise InvalidSpec(f"agent_timeout of {params['agent_timeout']} s is impossible; 1 to 3600.")
    names = params["names"] if params["name"] is None else [params["name"]]
    wish = info.Wish(
        names=None if names is None else tuple(names),
        stats=params["stats"],
        guest=params["guest"],
        xml=params["xml"],
        passwords=params["xml_passwords"],
        agent_timeout=params["agent_timeout"],
    )
    with connect(params["uri"], predict=check_mode) as connection:
        if connection is None:
            return {"domains": [], "missing": list(dict.fromkeys(names or ()))}
        return info.look(connection, is_local(host.uri(connection)), wish)


def main() -> None:
    """Runs the module."""
    run_info(OPTIONS, read)


if __name__ == "__main__":
    main()
