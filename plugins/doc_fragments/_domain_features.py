# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    # Features of the machine.
    DOCUMENTATION = r"""
---
options:
  features:
    description:
      - Features of the machine. libvirt's choice for what is not stated.
    type: dict
    suboptions:
      acpi:
        description:
          - Whether it has ACPI, by which a guest is asked to shut down. V(true) for a new PC when not stated.
        type: bool
      apic:
        description:
          - Whether it has an APIC. V(true) for a new PC when not stated.
        type: bool
      apic_eoi:
        description:
          - Whether the guest need not confirm each interrupt.
        type: bool
      pae:
        description:
          - Whether a 32 bit guest can use more than 4 GiB.
        type: bool
      viridian:
        description:
          - Whether a Windows guest gets help from Xen.
        type: bool
      privnet:
        description:
          - Whether a container has a network of its own.
        type: bool
      hap:
        description:
          - Whether the processor's support for page tables of guests is used.
        type: bool
      pvspinlock:
        description:
          - Whether the guest can give up its turn while it waits for a lock.
        type: bool
      pmu:
        description:
          - Whether it has performance counters.
        type: bool
      vmport:
        description:
          - Whether it has VMware's I/O port.
        type: bool
      smm:
        description:
          - Whether it has the system management mode, which Secure Boot needs.
        type: bool
      vmcoreinfo:
        description:
          - Whether a guest's kernel can leave its debugging information for dumps.
        type: bool
      htm:
        description:
          - Hardware transactional memory (pSeries).
        type: bool
      nested_hv:
        description:
          - Nested virtualization (pSeries).
        type: bool
      ccf_assist:
        description:
          - Count cache flush assist (pSeries).
        type: bool
      ras:
        description:
          - Reports of memory errors (Arm; libvirt 10.4 or newer).
        type: bool
      ps2:
        description:
          - Whether it has the PS/2 controller (libvirt 10.7 or newer).
        type: bool
      smm_tseg:
        description:
          - The memory for the system management mode (V(48MiB)).
        type: str
      gic_version:
        description:
          - The interrupt controller of an Arm machine.
        type: str
        choices: ['2', '3', host]
      ioapic_driver:
        description:
          - Who emulates the I/O APIC.
        type: str
        choices: [kvm, qemu]
      hpt_resizing:
        description:
          - Whether the hashed page table can change its size (pSeries).
        type: str
        choices: [enabled, disabled, required]
      hpt_maxpagesize:
        description:
          - The largest page (pSeries).
        type: str
      msrs_unknown:
        description:
          - What happens when the guest reads a model specific register that nobody knows.
        type: str
        choices: [ignore, fault]
      cfpc:
        description:
          - Flush of the cache on change of privilege (pSeries).
        type: str
        choices: [broken, workaround, fixed]
      sbbc:
        description:
          - Speculation barrier (pSeries).
        type: str
        choices: [broken, workaround, fixed]
      ibs:
        description:
          - Indirect branch speculation (pSeries).
        type: str
        choices: [broken, workaround, fixed-ibs, fixed-ccd, fixed-na]
      tcg_tb_cache:
        description:
          - The memory for translated code with O(type=qemu).
        type: str
      async_teardown:
        description:
          - Whether the memory of a big domain is given back after it has ended (libvirt 9.6 or newer).
        type: bool
      hyperv:
        description:
          - Interfaces of Hyper-V, for Windows guests.
        type: dict
        suboptions:
          mode:
            description:
              - V(passthrough) is all that the host can offer, V(custom) what is stated here.
            type: str
            choices: [custom, passthrough]
          relaxed:
            description:
              - No watchdogs when the host is busy.
            type: bool
          vapic:
            description:
              - A virtual APIC.
            type: bool
          spinlocks:
            description:
              - Help with locks.
            type: bool
          vpindex:
            description:
              - The number of the virtual processor.
            type: bool
          runtime:
            description:
              - The time that was spent in the guest.
            type: bool
          synic:
            description:
              - A synthetic interrupt controller.
            type: bool
          stimer:
            description:
              - Synthetic timers.
            type: bool
          reset:
            description:
              - A reset of the machine.
            type: bool
          frequencies:
            description:
              - The frequencies of the timers.
            type: bool
          reenlightenment:
            description:
              - Notifications after a migration.
            type: bool
          tlbflush:
            description:
              - Flushes of the TLB.
            type: bool
          ipi:
            description:
              - Interrupts between processors.
            type: bool
          evmcs:
            description:
              - The enlightened VMCS.
            type: bool
          avic:
            description:
              - The processor's virtual APIC.
            type: bool
          emsr_bitmap:
            description:
              - A bitmap for model specific registers of nested guests (libvirt 10.7 or newer).
            type: bool
          xmm_input:
            description:
              - Arguments in XMM registers (libvirt 10.7 or newer).
            type: bool
          spinlocks_retries:
            description:
              - How often a lock is tried before the hypervisor is told, 4095 or more.
            type: int
          stimer_direct:
            description:
              - Direct mode of the synthetic timers.
            type: bool
          vendor_id:
            description:
              - The name of the hypervisor that the guest sees, up to 12 characters.
            type: str
      kvm:
        description:
          - How KVM shows itself to the guest.
        type: dict
        suboptions:
          hidden:
            description:
              - Whether the guest does not find KVM by the usual way.
            type: bool
          hint_dedicated:
            description:
              - Whether the guest is told that its virtual CPUs have processors of their own.
            type: bool
          poll_control:
            description:
              - Whether the guest may poll before it halts.
            type: bool
          pv_ipi:
            description:
              - Interrupts between processors by hypercalls.
            type: bool
          dirty_ring:
            description:
              - Whether changed pages are found by a ring.
            type: bool
          dirty_ring_size:
            description:
              - The size of the ring, a power of two from 1024 to 65536.
            type: int
      xen:
        description:
          - How Xen behaves to the guest.
        type: dict
        suboptions:
          e820_host:
            description:
              - Whether the guest sees the host's memory map.
            type: bool
          passthrough:
            description:
              - Whether PCI devices can be passed through.
            type: bool
          passthrough_mode:
            description:
              - How the page tables for that are kept.
            type: str
            choices: [sync_pt, share_pt]
"""
