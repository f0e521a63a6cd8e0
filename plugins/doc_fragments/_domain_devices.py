# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    # Other devices, and metadata.
    DOCUMENTATION = r"""
---
options:
  rng:
    description:
      - A random number generator.
    type: dict
    suboptions: &devices_rng
      model:
        description:
          - The model. Defaults to V(virtio).
        type: str
        choices: [virtio, virtio-transitional, virtio-non-transitional]
      backend:
        description:
          - V(random) reads O(rng.source), V(builtin) is qemu's own. Defaults to V(random).
        type: str
        choices: [random, builtin]
      source:
        description:
          - A device of the host. Defaults to V(/dev/urandom).
        type: path
      rate:
        description:
          - How much the guest may take.
        type: dict
        suboptions:
          bytes:
            description:
              - Bytes in a period. Required.
            type: int
          period:
            description:
              - The period in milliseconds.
            type: int
      driver:
        description:
          - More of how it is connected.
        type: dict
        suboptions:
          iommu:
            description:
              - Whether it goes through the guest's IOMMU.
            type: bool
          ats:
            description:
              - Whether the device translates addresses itself.
            type: bool
          packed:
            description:
              - Whether it has packed queues.
            type: bool
          page_per_vq:
            description:
              - Whether each queue has its own page for notifications.
            type: bool
      alias:
        description:
          - A name of one's own for the device; it has to begin with C(ua-).
        type: str
      address:
        description:
          - Where the guest finds the device. Chosen by libvirt once, and kept, when never stated.
        type: dict
        suboptions: &devices_address
          type:
            description:
              - The kind of address. Required.
            type: str
            choices: [pci, drive, usb, virtio-serial, ccw, isa, spapr-vio, ccid, dimm, virtio-mmio, unassigned]
          domain:
            description:
              - The PCI domain, of type V(pci).
            type: str
          bus:
            description:
              - The bus, of types V(pci), V(drive), V(usb) and V(virtio-serial).
            type: str
          slot:
            description:
              - The slot, of types V(pci), V(ccid) and V(dimm). Numbers are written like V(0x1f) or V(31).
            type: str
          function:
            description:
              - The function in the slot, 0 to 7, of type V(pci).
            type: str
          multifunction:
            description:
              - Whether the slot has several functions, of type V(pci).
            type: bool
          controller:
            description:
              - The index of the controller, of types V(drive), V(virtio-serial) and V(ccid).
            type: int
          target:
            description:
              - The target, of type V(drive).
            type: int
          unit:
            description:
              - The unit, of type V(drive).
            type: int
          port:
            description:
              - The port, of types V(usb) and V(virtio-serial).
            type: str
          cssid:
            description:
              - The channel subsystem, of type V(ccw).
            type: str
          ssid:
            description:
              - The subchannel set, of type V(ccw).
            type: str
          devno:
            description:
              - The number of the device, of type V(ccw).
            type: str
          iobase:
            description:
              - The I/O address, of type V(isa).
            type: str
          irq:
            description:
              - The interrupt, of type V(isa).
            type: str
          reg:
            description:
              - The register, of type V(spapr-vio).
            type: str
          base:
            description:
              - The base address, of type V(dimm).
            type: str
  memballoon:
    description:
      - The device by which memory is taken from a running guest.
    type: dict
    suboptions:
      model:
        description:
          - Its model, V(none) for no such device. Defaults to V(virtio).
        type: str
        choices: [virtio, virtio-transitional, virtio-non-transitional, xen, none]
      autodeflate:
        description:
          - Whether the guest gets memory back before it has to end programs.
        type: bool
      free_page_reporting:
        description:
          - Whether memory that the guest does not use goes back to the host.
        type: bool
      stats_period:
        description:
          - How often the guest tells what it uses, in seconds; 0 is never.
        type: int
      driver:
        description:
          - More of how it is connected.
        type: dict
        suboptions:
          iommu:
            description:
              - Whether it goes through the guest's IOMMU.
            type: bool
          ats:
            description:
              - Whether the device translates addresses itself.
            type: bool
          packed:
            description:
              - Whether it has packed queues.
            type: bool
          page_per_vq:
            description:
              - Whether each queue has its own page for notifications.
            type: bool
      alias:
        description:
          - A name of one's own for the device; it has to begin with C(ua-).
        type: str
      address:
        description:
          - Where the guest finds the device. Chosen by libvirt once, and kept, when never stated.
        type: dict
        suboptions: *devices_address
  watchdog:
    description:
      - A watchdog, which acts when the guest does not stroke it any more.
    type: dict
    suboptions:
      model:
        description:
          - The model. Defaults to V(i6300esb). A machine V(q35) has V(itco) in any case (libvirt 9.1 or newer).
        type: str
        choices: [i6300esb, ib700, diag288, itco]
      action:
        description:
          - What happens. V(reset) when never stated.
        type: str
        choices: [reset, shutdown, poweroff, pause, none, dump, inject-nmi]
      alias:
        description:
          - A name of one's own for the device; it has to begin with C(ua-).
        type: str
      address:
        description:
          - Where the guest finds the device. Chosen by libvirt once, and kept, when never stated.
        type: dict
        suboptions: *devices_address
  tpm:
    description:
      - A trusted platform module.
    type: dict
    suboptions:
      model:
        description:
          - The model; libvirt's choice for the machine when never stated.
        type: str
        choices: [tpm-tis, tpm-crb, tpm-spapr, spapr-tpm-proxy]
      backend:
        description:
          - V(emulator) is the program swtpm, V(passthrough) the host's own, V(external) a program behind a socket.
            Defaults to V(emulator).
        type: str
        choices: [emulator, passthrough, external]
      version:
        description:
          - The version of the emulator. libvirt's choice when never stated.
        type: str
        choices: ['1.2', '2.0']
      device:
        description:
          - The device of the host, with V(passthrough).
        type: path
      source:
        description:
          - The path of the socket, with V(external).
        type: path
      encryption_secret:
        description:
          - The UUID of libvirt's secret with which the emulator encrypts what it keeps.
        type: str
      persistent_state:
        description:
          - Whether what it keeps outlives a transient domain.
        type: bool
      active_pcr_banks:
        description:
          - Which banks of registers are active.
        type: list
        elements: str
        choices: [sha1, sha256, sha384, sha512]
      alias:
        description:
          - A name of one's own for the device; it has to begin with C(ua-).
        type: str
      address:
        description:
          - Where the guest finds the device. Chosen by libvirt once, and kept, when never stated.
        type: dict
        suboptions: *devices_address
  vsock:
    description:
      - A socket between host and guest.
    type: dict
    suboptions:
      model:
        description:
          - The model. Defaults to V(virtio).
        type: str
        choices: [virtio, virtio-transitional, virtio-non-transitional]
      auto:
        description:
          - Whether libvirt chooses the number at each start, which it does when no O(vsock.cid) is stated.
        type: bool
      cid:
        description:
          - The guest's number, 3 or higher.
        type: int
      driver:
        description:
          - More of how it is connected.
        type: dict
        suboptions:
          iommu:
            description:
              - Whether it goes through the guest's IOMMU.
            type: bool
          ats:
            description:
              - Whether the device translates addresses itself.
            type: bool
          packed:
            description:
              - Whether it has packed queues.
            type: bool
          page_per_vq:
            description:
              - Whether each queue has its own page for notifications.
            type: bool
      alias:
        description:
          - A name of one's own for the device; it has to begin with C(ua-).
        type: str
      address:
        description:
          - Where the guest finds the device. Chosen by libvirt once, and kept, when never stated.
        type: dict
        suboptions: *devices_address
  rngs:
    description:
      - The same for several of them, instead of O(rng), which is a list of one.
    type: list
    elements: dict
    suboptions: *devices_rng
  panic:
    description:
      - A device by which the guest tells that it has crashed; what then happens is O(events.crash).
    type: dict
    suboptions: &devices_panic
      model:
        description:
          - The model. Defaults to V(isa), for a PC.
        type: str
        choices: [isa, pseries, hyperv, s390, pvpanic]
      alias:
        description:
          - A name of one's own for the device; it has to begin with C(ua-).
        type: str
      address:
        description:
          - Where the guest finds the device. Chosen by libvirt once, and kept, when never stated.
        type: dict
        suboptions: *devices_address
  panics:
    description:
      - The same for several of them, each of another model, instead of O(panic), which is a list of one.
    type: list
    elements: dict
    suboptions: *devices_panic
  iommu:
    description:
      - An IOMMU for the guest.
    type: dict
    suboptions:
      model:
        description:
          - The model. Required.
        type: str
        choices: [intel, smmuv3, virtio]
      intremap:
        description:
          - Whether interrupts are remapped (Intel); needs O(features.ioapic_driver=qemu).
        type: bool
      caching_mode:
        description:
          - Whether it can be used for devices that are handed through (Intel).
        type: bool
      eim:
        description:
          - Whether there can be more than 255 virtual CPUs (Intel).
        type: bool
      iotlb:
        description:
          - Whether devices may cache addresses (Intel).
        type: bool
      aw_bits:
        description:
          - How wide an address is (Intel).
        type: int
      alias:
        description:
          - A name of one's own for the device; it has to begin with C(ua-).
        type: str
      address:
        description:
          - Where the guest finds the device. Chosen by libvirt once, and kept, when never stated.
        type: dict
        suboptions: *devices_address
  inputs:
    description:
      - Keyboards, mice and tablets, known by what they are. libvirt adds a mouse and a keyboard to a PC with a
        display.
    type: list
    elements: dict
    suboptions:
      type:
        description:
          - What it is. V(passthrough) and V(evdev) hand an input device of the host through. Required.
        type: str
        choices: [tablet, mouse, keyboard, passthrough, evdev]
      bus:
        description:
          - How it is connected. Defaults to V(usb) for a tablet, to V(virtio) for V(passthrough) and to V(ps2) for
            others.
        type: str
        choices: [usb, ps2, virtio, xen]
      model:
        description:
          - The model of a virtio device.
        type: str
        choices: [virtio, virtio-transitional, virtio-non-transitional]
      source:
        description:
          - The device of the host (V(/dev/input/event3)), of types V(passthrough) and V(evdev), which need it.
        type: path
      grab:
        description:
          - Whether all devices are grabbed at once, of type V(evdev).
        type: str
        choices: [all]
      grab_toggle:
        description:
          - The keys that give them back, of type V(evdev).
        type: str
        choices: [ctrl-ctrl, alt-alt, shift-shift, meta-meta, scrolllock, ctrl-scrolllock]
      repeat:
        description:
          - Whether a pressed key is repeated, of type V(evdev).
        type: bool
      driver:
        description:
          - More of how it is connected.
        type: dict
        suboptions:
          iommu:
            description:
              - Whether it goes through the guest's IOMMU.
            type: bool
          ats:
            description:
              - Whether the device translates addresses itself.
            type: bool
          packed:
            description:
              - Whether it has packed queues.
            type: bool
          page_per_vq:
            description:
              - Whether each queue has its own page for notifications.
            type: bool
      alias:
        description:
          - A name of one's own for the device; it has to begin with C(ua-).
        type: str
      address:
        description:
          - Where the guest finds the device. Chosen by libvirt once, and kept, when never stated.
        type: dict
        suboptions: *devices_address
  memory_devices:
    description:
      - Memory that is plugged in as a device, known by its order. It needs O(max_memory).
    type: list
    elements: dict
    suboptions:
      model:
        description:
          - The model. Defaults to V(dimm).
        type: str
        choices: [dimm, nvdimm, virtio-pmem, virtio-mem, sgx-epc]
      size:
        description:
          - The size, in the form of O(memory). Required.
        type: str
      node:
        description:
          - The cell of O(cpu.numa) that it belongs to.
        type: int
      access:
        description:
          - Whether other processes of the host can share it.
        type: str
        choices: [shared, private]
      discard:
        description:
          - Whether its content is thrown away when the domain ends.
        type: bool
      path:
        description:
          - The file behind it, of models V(nvdimm) and V(virtio-pmem), which need it.
        type: path
      page_size:
        description:
          - The size of a page of the host behind it; a bare number is in KiB.
        type: str
      nodemask:
        description:
          - The host's nodes that it comes from.
        type: str
      alignsize:
        description:
          - The alignment; a bare number is in KiB.
        type: str
      pmem:
        description:
          - Whether the file is on persistent memory, of model V(nvdimm).
        type: bool
      block:
        description:
          - The size of a block, of model V(virtio-mem), which needs it.
        type: str
      requested:
        description:
          - How much the guest shall have, of model V(virtio-mem), which needs it.
        type: str
      label_size:
        description:
          - The size of the label, of model V(nvdimm); a bare number is in KiB.
        type: str
      readonly:
        description:
          - Whether the guest may only read, of model V(nvdimm).
        type: bool
      alias:
        description:
          - A name of one's own for the device; it has to begin with C(ua-).
        type: str
      address:
        description:
          - Where the guest finds the device. Chosen by libvirt once, and kept, when never stated.
        type: dict
        suboptions: *devices_address
  shmems:
    description:
      - Memory shared between domains, each known by its O(shmems[].name).
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - The name, the same in each of the domains. Required.
        type: str
      model:
        description:
          - The model. Defaults to V(ivshmem-plain).
        type: str
        choices: [ivshmem-plain, ivshmem-doorbell]
      role:
        description:
          - Whether the memory moves with this domain in a migration.
        type: str
        choices: [master, peer]
      size:
        description:
          - The size, a power of two in the form of O(memory).
        type: str
      server:
        description:
          - The socket of the server, of model V(ivshmem-doorbell), which needs it.
        type: path
      msi:
        description:
          - Interrupts, of model V(ivshmem-doorbell).
        type: dict
        suboptions:
          vectors:
            description:
              - Their number.
            type: int
          ioeventfd:
            description:
              - Whether they go by file descriptors.
            type: bool
      alias:
        description:
          - A name of one's own for the device; it has to begin with C(ua-).
        type: str
      address:
        description:
          - Where the guest finds the device. Chosen by libvirt once, and kept, when never stated.
        type: dict
        suboptions: *devices_address
  hubs:
    description:
      - Hubs, each with more ports for USB devices.
    type: list
    elements: dict
    suboptions:
      type:
        description:
          - The kind of hub. Defaults to V(usb).
        type: str
        choices: [usb]
      alias:
        description:
          - A name of one's own for the device; it has to begin with C(ua-).
        type: str
      address:
        description:
          - Where the guest finds the device. Chosen by libvirt once, and kept, when never stated.
        type: dict
        suboptions: *devices_address
  leases:
    description:
      - Leases that a lock manager of the host (C(sanlock)) has to get before the domain starts, each known by its key
        and lockspace.
    type: list
    elements: dict
    suboptions:
      lockspace:
        description:
          - The lockspace. Required.
        type: str
      key:
        description:
          - The key in it. Required.
        type: str
      path:
        description:
          - The file with the lease. Required.
        type: path
      offset:
        description:
          - Where it is in the file, in bytes. Defaults to V(0).
        type: int
  cryptos:
    description:
      - Devices that do cryptography for the guest (libvirt 9.1 or newer).
    type: list
    elements: dict
    suboptions:
      model:
        description:
          - The model. Defaults to V(virtio).
        type: str
        choices: [virtio]
      type:
        description:
          - Who does it. Defaults to V(qemu).
        type: str
        choices: [qemu]
      backend:
        description:
          - With what. V(builtin) is qemu itself, V(lkcf) the host's kernel. Defaults to V(builtin).
        type: str
        choices: [builtin, lkcf]
      queues:
        description:
          - How many queues it has.
        type: int
      alias:
        description:
          - A name of one's own for the device; it has to begin with C(ua-).
        type: str
      address:
        description:
          - Where the guest finds the device. Chosen by libvirt once, and kept, when never stated.
        type: dict
        suboptions: *devices_address
  pstore:
    description:
      - A file of the host in which a guest that dies leaves its last words (libvirt 10.7 or newer).
    type: dict
    suboptions:
      backend:
        description:
          - How the guest finds it. Defaults to V(acpi-erst).
        type: str
        choices: [acpi-erst]
      path:
        description:
          - The file. Required.
        type: path
      size:
        description:
          - Its size; a bare number is in KiB. Required.
        type: str
      alias:
        description:
          - A name of one's own for the device; it has to begin with C(ua-).
        type: str
      address:
        description:
          - Where the guest finds the device. Chosen by libvirt once, and kept, when never stated.
        type: dict
        suboptions: *devices_address
  metadata:
    description:
      - What programs of yours keep in the domain, a list of XML elements, each in a namespace of its own (which must
        not be that of another entry). Elements in other namespaces are left alone, with their comments.
    type: list
    elements: str
"""
