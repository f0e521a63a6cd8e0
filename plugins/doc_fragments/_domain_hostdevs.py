# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    # Devices and folders of the host.
    DOCUMENTATION = r"""
---
options:
  hostdevs:
    description:
      - Devices of the host that the guest gets for itself, each known by its O(hostdevs[].source).
    type: list
    elements: dict
    suboptions:
      type:
        description:
          - What kind of device. Required.
        type: str
        choices: [pci, usb, mdev, scsi, scsi_host]
      source:
        description:
          - Which one. A PCI address (V(0000:03:00.0)), vendor and product of a USB device (V(046d:c52b)) or its bus
            and number (V(1.4)), the UUID of a mediated device, adapter, bus, target and unit of a SCSI device
            (V(scsi_host0:0:0:0)), a target of iSCSI with its unit (V(iqn.2026-01.org.example:disks/1), of type V(scsi)), or the
            name of a vhost target (V(naa.5001405bc0ff1cce)). Required.
        type: str
      network:
        description:
          - Where a unit of iSCSI is.
        type: dict
        suboptions:
          protocol:
            description:
              - How it is reached. Defaults to V(iscsi).
            type: str
            choices: [iscsi]
          hosts:
            description:
              - The server, one. Required.
            type: list
            elements: dict
            suboptions:
              name:
                description:
                  - Its name or address. Required.
                type: str
              port:
                description:
                  - The port.
                type: int
              transport:
                description:
                  - How it is connected.
                type: str
                choices: [tcp, rdma, unix]
              socket:
                description:
                  - Of no use here.
                type: path
          initiator:
            description:
              - The name by which the host logs in.
            type: str
          auth:
            description:
              - How to log in. The secret itself is with libvirt (C(virsh secret-define)).
            type: dict
            suboptions:
              username:
                description:
                  - The user. Required.
                type: str
              secret_type:
                description:
                  - What the secret is for. Defaults to V(iscsi).
                type: str
                choices: [ceph, iscsi]
              secret_uuid:
                description:
                  - The UUID of the secret. This or O(hostdevs[].network.auth.secret_usage) is required.
                type: str
              secret_usage:
                description:
                  - The usage name of the secret.
                type: str
      model:
        description:
          - How a mediated device is handed over (V(vfio-pci) when not stated), or the model of type V(scsi_host).
        type: str
        choices: [vfio-pci, vfio-ccw, vfio-ap, virtio, virtio-transitional, virtio-non-transitional]
      managed:
        description:
          - Whether libvirt takes it from the host's driver and gives it back.
        type: bool
      driver:
        description:
          - The driver that hands a PCI device over.
        type: str
        choices: [vfio, kvm, xen]
      startup_policy:
        description:
          - What happens when the device is missing at a start.
        type: str
        choices: [mandatory, requisite, optional]
      write_filtering:
        description:
          - Whether writes to the configuration of a PCI device are filtered.
        type: bool
      guest_reset:
        description:
          - Whether the guest can reset a USB device.
        type: str
        choices: ['off', uninitialized, 'on']
      display:
        description:
          - Whether a mediated device is a display.
        type: bool
      ramfb:
        description:
          - Whether it shows what the firmware says.
        type: bool
      rawio:
        description:
          - Whether qemu may send any command to a SCSI device.
        type: bool
      sgio:
        description:
          - Whether commands of the guest to a SCSI device are filtered.
        type: str
        choices: [filtered, unfiltered]
      readonly:
        description:
          - Whether the guest may only read a SCSI device.
        type: bool
      shareable:
        description:
          - Whether several domains may use a SCSI device.
        type: bool
      acpi_index:
        description:
          - The number by which the guest names the device (C(eno7)), of type V(pci).
        type: int
      rom:
        description:
          - The boot ROM of a PCI device.
        type: dict
        suboptions:
          bar:
            description:
              - Whether the guest sees it.
            type: bool
          file:
            description:
              - A file of the host instead of the device's own.
            type: path
          enabled:
            description:
              - Whether there is one.
            type: bool
      boot_order:
        description:
          - The place among the devices that are tried at boot, 1 is the first. It excludes O(os.boot).
        type: int
      alias:
        description:
          - A name of one's own for the device; it has to begin with C(ua-).
        type: str
      address:
        description:
          - Where the guest finds the device. Chosen by libvirt once, and kept, when never stated.
        type: dict
        suboptions: &hostdevs_address
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
  filesystems:
    description:
      - Folders of the host that the guest can mount, each known by its O(filesystems[].target).
    type: list
    elements: dict
    suboptions:
      target:
        description:
          - The name by which the guest mounts it. Required.
        type: str
      type:
        description:
          - What the source is. V(mount) is a folder, the others are for containers. Defaults to V(mount).
        type: str
        choices: [mount, bind, file, block, template, ram, volume]
      driver:
        description:
          - V(virtiofs) is fast and needs O(memory_backing.access=shared), V(path) is 9p; the others are for
            containers. libvirt takes V(path).
        type: str
        choices: [path, virtiofs, handle, loop, nbd, ploop, mtp]
      source:
        description:
          - The folder (or what else the type has); of type V(ram) a size, a bare number in MiB. Required unless there
            is a socket.
        type: str
      socket:
        description:
          - The socket of a running virtiofsd.
        type: path
      accessmode:
        description:
          - Whose rights count. V(passthrough) are those of the guest's users, V(mapped) those of qemu, which keeps
            the guest's beside the files, V(squash) is V(passthrough) without its errors.
        type: str
        choices: [passthrough, mapped, squash]
      multidevs:
        description:
          - What happens to files of other devices in the folder (9p).
        type: str
        choices: [default, remap, forbid, warn]
      fmode:
        description:
          - The mode of new files with V(mapped), like V(0640).
        type: str
      dmode:
        description:
          - The mode of new folders with V(mapped), like V(0750).
        type: str
      model:
        description:
          - The model of the virtio device.
        type: str
        choices: [virtio, virtio-transitional, virtio-non-transitional]
      readonly:
        description:
          - Whether the guest may only read.
        type: bool
      format:
        description:
          - The format of an image, of drivers V(loop), V(nbd) and V(ploop).
        type: str
      wrpolicy:
        description:
          - Whether each write is on the disk at once.
        type: str
        choices: [immediate]
      queue:
        description:
          - The size of the queue, with V(virtiofs).
        type: int
      virtio_driver:
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
      binary:
        description:
          - The program virtiofsd.
        type: dict
        suboptions:
          path:
            description:
              - Its path. libvirt's choice when never stated.
            type: path
          xattr:
            description:
              - Whether extended attributes are passed on.
            type: bool
          cache:
            description:
              - What the guest may cache.
            type: str
            choices: [none, auto, always]
          sandbox:
            description:
              - How it is kept in the folder.
            type: str
            choices: [namespace, chroot, none]
          posix_lock:
            description:
              - Whether locks of POSIX are passed on.
            type: bool
          flock:
            description:
              - Whether locks of BSD are passed on.
            type: bool
          thread_pool_size:
            description:
              - The number of its threads.
            type: int
      space_hard_limit:
        description:
          - The most space (containers), in the form of O(memory).
        type: str
      space_soft_limit:
        description:
          - The space that can be used for a while (containers).
        type: str
      boot_order:
        description:
          - The place among the devices that are tried at boot, 1 is the first. It excludes O(os.boot).
        type: int
      alias:
        description:
          - A name of one's own for the device; it has to begin with C(ua-).
        type: str
      address:
        description:
          - Where the guest finds the device. Chosen by libvirt once, and kept, when never stated.
        type: dict
        suboptions: *hostdevs_address
"""
