#!/usr/bin/python
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kvm_host_info
short_description: What a hypervisor can do and what it has free
version_added: 0.1.0
description:
  - Returns the versions of libvirt and qemu, whether hardware acceleration is usable and why not, machine types, free
    memory and the free space of image folders.
options:
  paths:
    description:
      - Folders whose free space is returned. A folder that does not exist yet counts as part of the one that it will be made in.
      - Only with a connection to this machine.
    type: list
    elements: path
    default: [/var/lib/libvirt/images]
seealso:
  - module: hypervisor.kvm.kvm_domain
author:
  - hypervisor.kvm contributors (@hypervisor-kvm)
extends_documentation_fragment:
  - hypervisor.kvm._connection
  - hypervisor.kvm._attributes
  - hypervisor.kvm._attributes.info
"""

EXAMPLES = r"""
- name: Look at the hypervisor
  hypervisor.kvm.kvm_host_info:
    paths: [/srv/images]
  register: host

- name: Say whether guests are accelerated
  ansible.builtin.debug:
    msg: "{{ host.acceleration.reason }}"
"""

RETURN = r"""
uri:
  description: The URI of the connection.
  returned: success
  type: str
  sample: qemu:///system
libvirt_version:
  description: The version of libvirt.
  returned: success
  type: str
  sample: 9.0.0
qemu_version:
  description: The version of qemu.
  returned: success
  type: str
  sample: 7.2.22
arch:
  description: The architecture of the host.
  returned: success
  type: str
  sample: x86_64
cpus:
  description: How many processors the host has.
  returned: success
  type: int
acceleration:
  description: Whether guests can run on the processor itself.
  returned: success
  type: dict
  contains:
    usable: {description: "Whether they can.", type: bool, returned: success}
    type: {description: "What O(hypervisor.kvm.kvm_domain#module:type=auto) is here, V(kvm) or V(qemu).", type: str, returned: success}
    reason: {description: "One sentence for a person.", type: str, returned: success}
memory:
  description: The memory of the host in bytes, RV(ignore:total), and RV(ignore:free) with what caches would give back.
  returned: success
  type: dict
  sample: {total: 25000000000, free: 20000000000}
space:
  description: For each of O(paths), RV(ignore:size) and RV(ignore:free) of its file system in bytes.
  returned: success
  type: list
  elements: dict
  sample: [{path: /var/lib/libvirt/images, exists: true, size: 100000000000, free: 90000000000}]
guests:
  description: For each architecture of guests, the types of domains and the machine types (short name to full name).
  returned: success
  type: dict
  sample: {x86_64: {types: [qemu, kvm], machines: {q35: pc-q35-7.2}}}
domains:
  description: How many domains there are, RV(ignore:total), and how many of them are RV(ignore:running).
  returned: success
  type: dict
  sample: {total: 3, running: 2}
"""

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._host.observe import FutureHost, Host, describe, space
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import connect
from ansible_collections.hypervisor.kvm.plugins.module_utils._module import URI_OPTION, run_info

OPTIONS: dict[str, t.Any] = {
    "paths": {"type": "list", "elements": "path", "default": ["/var/lib/libvirt/images"]},
    **URI_OPTION,
}


def read(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """The return values."""
    with connect(params["uri"], predict=check_mode) as connection:
        host = FutureHost() if connection is None else Host(connection)
        return {
            **describe(connection, host),
            "acceleration": dataclasses.asdict(host.acceleration),
            "space": [space(path) for path in params["paths"]] if host.local else [],
        }


def main() -> None:
    """Runs the module."""
    run_info(OPTIONS, read)


if __name__ == "__main__":
    main()
