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
      poll_max:
        description:
          - The longest time that it waits for the next request without sleeping, in nanoseconds (libvirt 9.4 or
            newer).
        type: int
      poll_grow:
        description:
          - By which factor that time grows; 0 is qemu's choice (libvirt 9.4 or newer).
        type: int
      poll_shrink:
        description:
          - By which factor it shrinks; 0 is qemu's choice (libvirt 9.4 or newer).
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
      cachetune:
        description:
          - Parts of the host's caches that virtual CPUs have for themselves (resource control). Of domains of type
            V(kvm) only.
        type: list
        elements: dict
        suboptions:
          vcpus:
            description:
              - The virtual CPUs of the group, like V(0-3). Required.
            type: str
          caches:
            description:
              - The parts.
            type: list
            elements: dict
            suboptions:
              id:
                description:
                  - The number of the cache on the host. Required.
                type: int
              level:
                description:
                  - The level. Required.
                type: int
              type:
                description:
                  - What is cached. Required.
                type: str
                choices: [both, code, data]
              size:
                description:
                  - How much; a bare number is in KiB. Required.
                type: str
          monitors:
            description:
              - Of which virtual CPUs the use is measured.
            type: list
            elements: dict
            suboptions:
              level:
                description:
                  - The level of the cache. Required.
                type: int
              vcpus:
                description:
                  - The virtual CPUs, which are of the group. Required.
                type: str
      memorytune:
        description:
          - How much of the bandwidth of the host's memory virtual CPUs get. Of domains of type V(kvm) only. A group
            that is in O(cputune.cachetune) too has the same O(cputune.memorytune[].vcpus) there.
        type: list
        elements: dict
        suboptions:
          vcpus:
            description:
              - The virtual CPUs of the group, like V(0-3). Required.
            type: str
          nodes:
            description:
              - The memory nodes of the host. Required.
            type: list
            elements: dict
            suboptions:
              id:
                description:
                  - The number of the node. Required.
                type: int
              bandwidth:
                description:
                  - How much, in percent on processors of Intel. Required.
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
  perf:
    description:
      - Events that the host counts for the domain. A change works at once where the host can count them.
    type: dict
    suboptions:
      cmt:
        description:
          - How much of the cache it uses.
        type: bool
      mbmt:
        description:
          - Its whole memory traffic.
        type: bool
      mbml:
        description:
          - Its memory traffic to the nearest memory.
        type: bool
      cpu_cycles:
        description:
          - Cycles of processors.
        type: bool
      instructions:
        description:
          - Instructions.
        type: bool
      cache_references:
        description:
          - Uses of caches.
        type: bool
      cache_misses:
        description:
          - Uses of caches in vain.
        type: bool
      branch_instructions:
        description:
          - Branches.
        type: bool
      branch_misses:
        description:
          - Branches that were guessed wrong.
        type: bool
      bus_cycles:
        description:
          - Cycles of buses.
        type: bool
      stalled_cycles_frontend:
        description:
          - Cycles that were lost for want of instructions.
        type: bool
      stalled_cycles_backend:
        description:
          - Cycles that were lost for want of results.
        type: bool
      ref_cpu_cycles:
        description:
          - Cycles of processors, whatever their frequency.
        type: bool
      cpu_clock:
        description:
          - Time of processors.
        type: bool
      task_clock:
        description:
          - Time of its tasks.
        type: bool
      page_faults:
        description:
          - Page faults.
        type: bool
      context_switches:
        description:
          - Changes of contexts.
        type: bool
      cpu_migrations:
        description:
          - Moves to other processors.
        type: bool
      page_faults_min:
        description:
          - Page faults without access to disks.
        type: bool
      page_faults_maj:
        description:
          - Page faults with access to disks.
        type: bool
      alignment_faults:
        description:
          - Accesses that were not aligned.
        type: bool
      emulation_faults:
        description:
          - Instructions that had to be emulated.
        type: bool
  throttle_groups:
    description:
      - Limits that disks share, by the names in their O(disks[].throttle_filters) (libvirt 11.2 or newer).
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - The name of the group. Required.
        type: str
      total_bytes_sec:
        description:
          - Bytes in a second.
        type: int
      read_bytes_sec:
        description:
          - Bytes that are read in a second.
        type: int
      write_bytes_sec:
        description:
          - Bytes that are written in a second.
        type: int
      total_iops_sec:
        description:
          - Requests in a second.
        type: int
      read_iops_sec:
        description:
          - Requests that are read in a second.
        type: int
      write_iops_sec:
        description:
          - Requests that are written in a second.
        type: int
      total_bytes_sec_max:
        description:
          - Bytes in a second in bursts.
        type: int
      read_bytes_sec_max:
        description:
          - Bytes that are read in a second in bursts.
        type: int
      write_bytes_sec_max:
        description:
          - Bytes that are written in a second in bursts.
        type: int
      total_iops_sec_max:
        description:
          - Requests in a second in bursts.
        type: int
      read_iops_sec_max:
        description:
          - Requests that are read in a second in bursts.
        type: int
      write_iops_sec_max:
        description:
          - Requests that are written in a second in bursts.
        type: int
      total_bytes_sec_max_length:
        description:
          - Bytes in a second in bursts, how long these may be, in seconds.
        type: int
      read_bytes_sec_max_length:
        description:
          - Bytes that are read in a second in bursts, how long these may be, in seconds.
        type: int
      write_bytes_sec_max_length:
        description:
          - Bytes that are written in a second in bursts, how long these may be, in seconds.
        type: int
      total_iops_sec_max_length:
        description:
          - Requests in a second in bursts, how long these may be, in seconds.
        type: int
      read_iops_sec_max_length:
        description:
          - Requests that are read in a second in bursts, how long these may be, in seconds.
        type: int
      write_iops_sec_max_length:
        description:
          - Requests that are written in a second in bursts, how long these may be, in seconds.
        type: int
      size_iops_sec:
        description:
          - The size of a request that counts as one, in bytes.
        type: int
"""
