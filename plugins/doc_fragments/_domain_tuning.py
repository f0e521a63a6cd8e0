# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    # Parts of the host that the domain gets.
    DOCUMENTATION = r"""
---
options:
  iothreads:
    description:
      - The number of threads that disks can use for their I/O.
    type: int
  iothread_ids:
    description:
      - Numbers of such threads, and how many workers they have. Those without an entry get free numbers.
    type: list
    elements: dict
    suboptions:
      id:
        description:
          - The number of the thread, 1 or higher. Required.
        type: int
      thread_pool_min:
        description:
          - The least number of workers.
        type: int
      thread_pool_max:
        description:
          - The greatest number of workers.
        type: int
  default_iothread:
    description:
      - The workers of qemu's main thread.
    type: dict
    suboptions:
      thread_pool_min:
        description:
          - The least number of workers.
        type: int
      thread_pool_max:
        description:
          - The greatest number of workers.
        type: int
  cputune:
    description:
      - How the domain gets time of the host's processors.
    type: dict
    suboptions:
      shares:
        description:
          - Its weight among others.
        type: int
      period:
        description:
          - The time, in microseconds, in which each virtual CPU may use O(cputune.quota).
        type: int
      quota:
        description:
          - The time of a processor that each virtual CPU may use in a period, in microseconds; -1 is no limit.
        type: int
      global_period:
        description:
          - The same for the whole domain, with O(cputune.global_quota).
        type: int
      global_quota:
        description:
          - The time that the whole domain may use.
        type: int
      emulator_period:
        description:
          - The same for qemu itself, with O(cputune.emulator_quota).
        type: int
      emulator_quota:
        description:
          - The time that qemu itself may use.
        type: int
      iothread_period:
        description:
          - The same for each I/O thread, with O(cputune.iothread_quota).
        type: int
      iothread_quota:
        description:
          - The time that each I/O thread may use.
        type: int
      vcpupin:
        description:
          - On which CPUs of the host single virtual ones run.
        type: list
        elements: dict
        suboptions:
          vcpu:
            description:
              - The number of the virtual CPU, from 0. Required.
            type: int
          cpuset:
            description:
              - CPUs of the host, like V(1-4,^3,6). Required.
            type: str
      emulatorpin:
        description:
          - On which CPUs of the host qemu itself runs.
        type: str
      iothreadpin:
        description:
          - On which CPUs of the host I/O threads run.
        type: list
        elements: dict
        suboptions:
          iothread:
            description:
              - The number of the I/O thread. Required.
            type: int
          cpuset:
            description:
              - CPUs of the host. Required.
            type: str
      vcpusched:
        description:
          - Schedulers of virtual CPUs.
        type: list
        elements: dict
        suboptions:
          vcpus:
            description:
              - Virtual CPUs, like V(0-3). Required.
            type: str
          scheduler:
            description:
              - The scheduler. Required.
            type: str
            choices: [batch, idle, fifo, rr]
          priority:
            description:
              - The priority, 1 to 99, with V(fifo) and V(rr), which need it.
            type: int
      iothreadsched:
        description:
          - Schedulers of I/O threads.
        type: list
        elements: dict
        suboptions:
          iothreads:
            description:
              - I/O threads, like V(1-2). Required.
            type: str
          scheduler:
            description:
              - The scheduler. Required.
            type: str
            choices: [batch, idle, fifo, rr]
          priority:
            description:
              - The priority, 1 to 99, with V(fifo) and V(rr), which need it.
            type: int
      emulatorsched:
        description:
          - The scheduler of qemu itself.
        type: dict
        suboptions:
          scheduler:
            description:
              - The scheduler.
            type: str
            choices: [batch, idle, fifo, rr]
          priority:
            description:
              - The priority, 1 to 99, with V(fifo) and V(rr), which need it.
            type: int
  numatune:
    description:
      - From which memory nodes of the host the memory comes.
    type: dict
    suboptions:
      mode:
        description:
          - How strictly.
        type: str
        choices: [strict, preferred, interleave, restrictive]
      nodeset:
        description:
          - The nodes, like V(0-1).
        type: str
      placement:
        description:
          - With V(auto) the program numad chooses the nodes at each start.
        type: str
        choices: [static, auto]
      memnodes:
        description:
          - The same for single cells of O(cpu.numa).
        type: list
        elements: dict
        suboptions:
          cellid:
            description:
              - The number of the cell. Required.
            type: int
          mode:
            description:
              - How strictly. Defaults to V(strict).
            type: str
            choices: [strict, preferred, interleave, restrictive]
          nodeset:
            description:
              - The nodes of the host. Required.
            type: str
  memtune:
    description:
      - Limits of what the domain and qemu itself may use of the host's memory, in the form of O(memory).
    type: dict
    suboptions:
      hard_limit:
        description:
          - The most memory. A domain that needs more is ended by the kernel, so be generous.
        type: str
      soft_limit:
        description:
          - The memory that it is brought down to when the host has too little.
        type: str
      swap_hard_limit:
        description:
          - The most memory and swap together.
        type: str
      min_guarantee:
        description:
          - What it gets in any case.
        type: str
  blkiotune:
    description:
      - How the domain gets time of the host's disks.
    type: dict
    suboptions:
      weight:
        description:
          - Its weight among others, 10 to 1000.
        type: int
      devices:
        description:
          - Weights and limits for single devices of the host.
        type: list
        elements: dict
        suboptions:
          path:
            description:
              - The device (V(/dev/sda)). Required.
            type: path
          weight:
            description:
              - The weight.
            type: int
          read_iops_sec:
            description:
              - Reads in a second.
            type: int
          write_iops_sec:
            description:
              - Writes in a second.
            type: int
          read_bytes_sec:
            description:
              - Bytes read in a second.
            type: int
          write_bytes_sec:
            description:
              - Bytes written in a second.
            type: int
"""
