# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    # Virtual processors.
    DOCUMENTATION = r"""
---
options:
  vcpus:
    description:
      - The (maximum) number of virtual CPUs. A new domain has 1 when this is not stated.
    type: int
  current_vcpus:
    description:
      - How many of O(vcpus) are plugged in. All of them when never stated.
    type: int
  vcpu_placement:
    description:
      - V(static) uses O(cpuset), with V(auto) the program numad chooses the host's CPUs at each start.
    type: str
    choices: [static, auto]
  cpuset:
    description:
      - The host's CPUs on which the virtual ones run, like V(1-4,^3,6). All of them when never stated.
    type: str
  vcpu_states:
    description:
      - Single virtual CPUs, which of them are there at a start, and which can be plugged in or pulled out. Those
        without an entry are not there, and can be plugged in. It goes with O(vcpus), and says what O(current_vcpus)
        is.
      - Those that are enabled later are plugged in at once; for one that is disabled the running guest has to be
        restarted.
    type: list
    elements: dict
    suboptions:
      id:
        description:
          - The number of the CPU, from 0. Required.
        type: int
      enabled:
        description:
          - Whether it is there. Defaults to V(true). CPU 0 always is.
        type: bool
      hotpluggable:
        description:
          - Whether it can be plugged in and pulled out. Defaults to V(false) for those that are enabled, and V(true)
            for the others.
        type: bool
      order:
        description:
          - In which order they are brought up; for all that are enabled, or for none.
        type: int
  cpu:
    description:
      - The virtual CPUs; libvirt's choice for what is not stated.
    type: dict
    suboptions:
      mode:
        description:
          - V(custom) is the named O(cpu.model), and follows from it; the others follow the host's processor.
        type: str
        choices: [custom, host-model, host-passthrough, maximum]
      model:
        description:
          - The name of a model, as in C(virsh cpu-models x86_64).
        type: str
      fallback:
        description:
          - Whether a similar model is taken when the host cannot offer the stated one.
        type: str
        choices: [allow, forbid]
      vendor_id:
        description:
          - The vendor that the guest sees, 12 characters.
        type: str
      vendor:
        description:
          - The vendor that the host's processor has to be of.
        type: str
      match:
        description:
          - How closely the CPU has to be what is stated. V(exact) for a new O(cpu.model).
        type: str
        choices: [exact, minimum, strict]
      check:
        description:
          - Whether libvirt checks before a start that the guest gets what is stated.
        type: str
        choices: [none, partial, full]
      migratable:
        description:
          - Whether features that cannot migrate are left out.
        type: bool
      topology:
        description:
          - Sockets, dies, clusters, cores and threads; what is not stated is 1. Their product has to be O(vcpus).
        type: dict
        suboptions:
          sockets:
            description:
              - The number of sockets.
            type: int
          dies:
            description:
              - Dies in a socket.
            type: int
          clusters:
            description:
              - Clusters in a die (libvirt 10.1 or newer).
            type: int
          cores:
            description:
              - Cores in a cluster, die or socket.
            type: int
          threads:
            description:
              - Threads in a core.
            type: int
      features:
        description:
          - Features that are added to the model or taken from it.
        type: list
        elements: dict
        suboptions:
          name:
            description:
              - The name of the feature (V(vmx)). Required.
            type: str
          policy:
            description:
              - V(require) wants it, V(optional) takes it when the host has it, V(disable) hides it, V(force) claims
                it in any case, V(forbid) refuses a host that has it.
              - Defaults to V(require).
            type: str
            choices: [force, require, optional, disable, forbid]
      cache:
        description:
          - The cache that the guest sees.
        type: dict
        suboptions:
          mode:
            description:
              - V(passthrough) is the host's, V(emulate) is qemu's, V(disable) is none.
            type: str
            choices: [emulate, passthrough, disable]
          level:
            description:
              - The level that O(cpu.cache.mode) is about, 1 to 3; all of them when not stated.
            type: int
      maxphysaddr:
        description:
          - How wide a physical address is.
        type: dict
        suboptions:
          mode:
            description:
              - V(passthrough) is as the host has it, V(emulate) is O(cpu.maxphysaddr.bits).
            type: str
            choices: [emulate, passthrough]
          bits:
            description:
              - The number of bits.
            type: int
          limit:
            description:
              - The most bits with V(passthrough) (libvirt 9.3 or newer).
            type: int
      numa:
        description:
          - The NUMA cells of the guest.
        type: list
        elements: dict
        suboptions:
          id:
            description:
              - The number of the cell. Defaults to its place in the list, from 0.
            type: int
          cpus:
            description:
              - Its virtual CPUs, like V(0-3).
            type: str
          memory:
            description:
              - Its memory, in the form of O(memory), which has to be the sum of all cells. Required.
            type: str
          mem_access:
            description:
              - Whether other processes of the host can share it.
            type: str
            choices: [shared, private]
          discard:
            description:
              - Whether its content is thrown away when the domain ends.
            type: bool
          distances:
            description:
              - How far other cells are.
            type: list
            elements: dict
            suboptions:
              id:
                description:
                  - The other cell. Required.
                type: int
              value:
                description:
                  - The distance, 10 (the same cell) to 255 (out of reach). Required.
                type: int
          caches:
            description:
              - Caches of the memory side, from level 1 on (HMAT).
            type: list
            elements: dict
            suboptions:
              level:
                description:
                  - The level. Required.
                type: int
              associativity:
                description:
                  - How addresses are mapped. Required.
                type: str
                choices: [none, direct, full]
              policy:
                description:
                  - When it writes. Required.
                type: str
                choices: [none, writeback, writethrough]
              size:
                description:
                  - Its size; a bare number is in KiB. Required.
                type: str
              line:
                description:
                  - The size of a line; a bare number is in bytes. Required.
                type: str
      interconnects:
        description:
          - How quickly processors of one of O(cpu.numa) reach the memory of another (HMAT).
        type: dict
        suboptions:
          latencies:
            description:
              - How long it takes.
            type: list
            elements: dict
            suboptions:
              initiator:
                description:
                  - The cell with the processors. Required.
                type: int
              target:
                description:
                  - The cell with the memory. Required.
                type: int
              cache:
                description:
                  - The level of the cache that is meant, when it is not the memory itself.
                type: int
              type:
                description:
                  - What is done. Required.
                type: str
                choices: [access, read, write]
              value:
                description:
                  - The time in nanoseconds. Required.
                type: int
          bandwidths:
            description:
              - How much goes through.
            type: list
            elements: dict
            suboptions:
              initiator:
                description:
                  - The cell with the processors. Required.
                type: int
              target:
                description:
                  - The cell with the memory. Required.
                type: int
              cache:
                description:
                  - The level of the cache that is meant, when it is not the memory itself.
                type: int
              type:
                description:
                  - What is done. Required.
                type: str
                choices: [access, read, write]
              value:
                description:
                  - The amount in a second; a bare number is in KiB. Required.
                type: str
"""
