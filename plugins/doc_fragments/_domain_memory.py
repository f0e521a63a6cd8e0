# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    # Memory.
    DOCUMENTATION = r"""
---
options:
  memory:
    description:
      - The memory, as a number with a unit (V(2GiB)); a bare number is in MiB. KB is 1000 bytes and KiB is 1024, as
        libvirt has it; what is no whole number of KiB is rounded up. Required for a new domain.
    type: str
  current_memory:
    description:
      - How much of O(memory) the guest has at the moment (the rest is taken by the balloon), in the same form.
      - All of it when never stated.
    type: str
  max_memory:
    description:
      - Up to what the memory can grow by devices that are plugged in at run time. It needs cells in O(cpu.numa).
    type: dict
    suboptions:
      size:
        description:
          - The limit, in the form of O(memory). Required.
        type: str
      slots:
        description:
          - How many devices there can be. Required.
        type: int
  memory_backing:
    description:
      - What of the host is behind the memory of the guest.
    type: dict
    suboptions:
      pages:
        description:
          - The sizes of huge pages to use. O(memory_backing.hugepages) follows from it.
        type: list
        elements: dict
        suboptions:
          size:
            description:
              - The size of a page (V(2MiB)); a bare number is in MiB. Required.
            type: str
          nodeset:
            description:
              - For which cells of O(cpu.numa) (V(0-1,3)); all when not stated.
            type: str
      hugepages:
        description:
          - Whether it is of huge pages, of the default size unless O(memory_backing.pages) says more. The host has to
            have them.
        type: bool
      nosharepages:
        description:
          - Whether the host must not share equal pages of guests (KSM).
        type: bool
      locked:
        description:
          - Whether the memory is never swapped out. State O(memtune.hard_limit) with it.
        type: bool
      source:
        description:
          - The kind of memory on the host.
        type: str
        choices: [file, anonymous, memfd]
      access:
        description:
          - Whether other processes of the host can share it; V(shared) is what virtiofs and vhost-user need.
        type: str
        choices: [shared, private]
      allocation:
        description:
          - Whether all of it is allocated at the start or when it is used.
        type: str
        choices: [immediate, ondemand]
      allocation_threads:
        description:
          - How many threads allocate it.
        type: int
      discard:
        description:
          - Whether its content is thrown away when the domain ends, so that a file behind it is not written.
        type: bool
  dump_core:
    description:
      - Whether a core dump of qemu has the memory of the guest in it.
    type: bool
"""
