# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    # Disks, drives and controllers.
    DOCUMENTATION = r"""
---
options:
  disks:
    description:
      - Disks and drives, each known by its O(disks[].target).
    type: list
    elements: dict
    suboptions:
      target:
        description:
          - The name of the device for libvirt (V(vda), V(sda), V(hda), V(fda)); the guest may call it otherwise.
            Required.
          - A disk is known by it. One that somebody has given another target by hand gets this one back, known by its source.
        type: str
      device:
        description:
          - What the guest sees. V(lun) hands a SCSI device of the host through. Defaults to V(disk).
        type: str
        choices: [disk, cdrom, floppy, lun]
      type:
        description:
          - What the source is. Defaults to V(network) with O(disks[].network.protocol), to V(volume) with
            O(disks[].pool), to V(block) for a source in C(/dev) and to V(file) otherwise.
        type: str
        choices: [file, block, dir, network, volume, nvme, vhostuser]
      source:
        description:
          - The absolute path of the image, device or folder, or of the socket of type V(vhostuser); the name of the
            volume or, of type V(network), on the server; the namespace of type V(nvme). Only CD-ROM and floppy drives
            may be without.
        type: path
      size:
        description:
          - The virtual size of the disk, like V(20GiB). A bare number is in bytes. A disk that is smaller grows, at once and in
            the running guest too; what is on it stays as it is, so partition and file system are for the guest to grow. No disk is
            ever made smaller; a smaller size is refused.
          - For disks of type V(file) and V(block) with the formats V(raw) and V(qcow2). A disk on a device of the host is as
            large as the device, so state that size once the device has grown. Of a disk with a backing file only the disk
            itself grows.
        type: str
      mirror:
        description:
          - A copy of the disk that is kept alike while the domain runs (block copy). The task begins it and waits, for at most
            O(wait_timeout), until both are alike; a copy that goes on already is no change.
          - Taken out of the declaration, the copying ends, and the copy stays where it is. It also ends with qemu, so
            the domain has to run (or be paused), and the next run begins it again.
          - While it goes on, the disk cannot be pulled out, exchanged or get another size.
        type: dict
        suboptions:
          path:
            description:
              - The absolute path of the copy, a file or (in C(/dev)) a device of the host. Required. A file that is there already is
                refused, unless it is what became of a copy that this declaration has begun.
            type: path
          format:
            description:
              - The format of the copy; that of the disk when not stated.
            type: str
            choices: [raw, qcow2]
          pivot:
            description:
              - Whether the domain goes on with the copy as soon as it is like the disk. Then the copy is the source of the disk, in the
                running domain and in its definition, and the file that it was before stays as it is.
              - That is the state which the declaration asks for, so it is no change when O(disks[].source) still names the old file. When
                O(disks[].mirror) is taken out of the declaration, state the copy as O(disks[].source).
            type: bool
          reuse:
            description:
              - Whether what is at O(disks[].mirror.path) already is written over. It has to be of the stated format and of exactly the
                size of the disk. A device always needs this.
            type: bool
      pool:
        description:
          - The pool of a volume.
        type: str
      mode:
        description:
          - How a volume of an iSCSI pool is reached, through the V(host) or by qemu itself.
        type: str
        choices: [host, direct]
      startup_policy:
        description:
          - What happens when the medium is missing at a start. V(mandatory) fails, V(requisite) leaves it out after a
            migration, V(optional) always leaves it out. Of drives and of types V(file), V(block) and V(volume).
        type: str
        choices: [mandatory, requisite, optional]
      network:
        description:
          - A source of type V(network).
        type: dict
        suboptions: &disk_network
          protocol:
            description:
              - The protocol. Required.
            type: str
            choices: [nbd, rbd, iscsi, gluster, sheepdog, http, https, ftp, ftps, tftp, ssh, nfs, vxhs]
          hosts:
            description:
              - The servers.
            type: list
            elements: dict
            suboptions:
              name:
                description:
                  - The name or address of the server. Required unless O(disks[].network.hosts[].transport=unix).
                type: str
              port:
                description:
                  - The port; that of the protocol when not stated. NFS has none here.
                type: int
              transport:
                description:
                  - How to connect. libvirt takes V(tcp).
                type: str
                choices: [tcp, rdma, unix]
              socket:
                description:
                  - The path of the socket with V(unix).
                type: path
          query:
            description:
              - The query of an HTTP address.
            type: str
          tls:
            description:
              - Whether the connection is encrypted (NBD).
            type: bool
          tls_hostname:
            description:
              - The name that the certificate has to have (NBD).
            type: str
          ssl_verify:
            description:
              - Whether the certificate is verified (HTTPS and FTPS).
            type: bool
          cookies:
            description:
              - Cookies by name (HTTP and HTTPS). Their values are never shown.
            type: dict
          readahead:
            description:
              - How much is read ahead (V(64KiB)); a bare number is in KiB (HTTP, HTTPS, FTP and FTPS).
            type: str
          timeout:
            description:
              - After how many seconds without an answer it gives up (HTTP, HTTPS, FTP and FTPS).
            type: int
          user:
            description:
              - The user as whom it is read and written (NFS); a number with a plus before it is a user ID (V(+107)).
            type: str
          group:
            description:
              - The group, in the same form (NFS).
            type: str
          snapshot:
            description:
              - The name of a snapshot (RBD).
            type: str
          config:
            description:
              - A configuration file on the host (RBD).
            type: path
          initiator:
            description:
              - The name of the initiator (iSCSI).
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
                  - What the secret is for. V(iscsi) for that protocol and V(ceph) otherwise when not stated.
                type: str
                choices: [ceph, iscsi]
              secret_uuid:
                description:
                  - The UUID of the secret. This or O(disks[].network.auth.secret_usage) is required.
                type: str
              secret_usage:
                description:
                  - The usage name of the secret.
                type: str
      nvme:
        description:
          - A source of type V(nvme), a drive of the host that is handed to qemu.
        type: dict
        suboptions: &disk_nvme
          address:
            description:
              - Its PCI address, like V(0000:01:00.0). Required with that type.
            type: str
          managed:
            description:
              - Whether libvirt takes it from the host's driver and gives it back.
            type: bool
      reconnect:
        description:
          - What happens when the program behind the socket goes, of type V(vhostuser).
        type: dict
        suboptions:
          enabled:
            description:
              - Whether qemu connects again.
            type: bool
          timeout:
            description:
              - After how many seconds.
            type: int
      encryption:
        description:
          - Encryption of the image.
        type: dict
        suboptions: &disk_encryption
          format:
            description:
              - The format of the encryption.
            type: str
            choices: [luks, luks2, luks-any, qcow]
          engine:
            description:
              - Who decrypts.
            type: str
            choices: [qemu, librbd]
          secret_uuid:
            description:
              - The UUID of libvirt's secret with the passphrase.
            type: str
          secret_usage:
            description:
              - The usage name of the secret, instead of its UUID.
            type: str
      reservations:
        description:
          - Lets the guest reserve a LUN for itself (SCSI persistent reservations), as clusters do that share one. A helper does
            so in the place of qemu.
        type: dict
        suboptions:
          managed:
            description:
              - Whether libvirt starts the helper. Required unless O(disks[].reservations.socket) is stated.
            type: bool
          socket:
            description:
              - The socket of a helper that somebody else has started.
            type: path
      slice:
        description:
          - The part of the source that is the image, the rest is not seen.
        type: dict
        suboptions: &disk_slice
          offset:
            description:
              - Where the part begins; a bare number is in bytes. Required.
            type: str
          size:
            description:
              - How long it is; a bare number is in bytes. Required.
            type: str
      seclabels:
        description:
          - How security drivers of the host label the source when the domain starts, where that is to be otherwise
            than for the whole domain.
        type: list
        elements: dict
        suboptions: &disk_labels
          model:
            description:
              - The driver. Required.
            type: str
            choices: [selinux, apparmor, dac]
          relabel:
            description:
              - Whether it is labelled at all. True with a label; without one V(false) leaves it as it is.
            type: bool
          label:
            description:
              - The label to give it. For V(dac) a user and a group, like V(root:kvm), or V(+107:+107) by number.
            type: str
      backing_store:
        description:
          - What is behind the image (its backing file), and behind that, nearest first. When not stated, libvirt
            looks for it in the images, which takes their word for it. An empty list is nothing, and libvirt does not
            look.
          - What a snapshot or a copy has put there since is no difference. A change waits for the next start, but for
            the medium of a drive.
        type: list
        elements: dict
        suboptions:
          type:
            description:
              - What it is. Guessed from the rest as that of the disk is.
            type: str
            choices: [file, block, dir, network, volume, nvme, vhostuser]
          source:
            description:
              - Where it is, as O(disks[].source). Required.
            type: path
          format:
            description:
              - Its format, which is never guessed. Required.
            type: str
            choices: [raw, qcow2, qcow, qed, vmdk, vdi, vhd, vhdx, vpc, luks, dmg, bochs, cloop, ploop, fat, iso]
          pool:
            description:
              - The pool of the volume, of type V(volume).
            type: str
          mode:
            description:
              - How a volume of an iSCSI pool is reached.
            type: str
            choices: [host, direct]
          network:
            description:
              - A source on another machine, as O(disks[].network).
            type: dict
            suboptions: *disk_network
          nvme:
            description:
              - A drive of the host, as O(disks[].nvme).
            type: dict
            suboptions: *disk_nvme
          encryption:
            description:
              - Encryption of the image.
            type: dict
            suboptions: *disk_encryption
          slice:
            description:
              - The part of the source that is the image.
            type: dict
            suboptions: *disk_slice
          seclabels:
            description:
              - How security drivers of the host label it.
            type: list
            elements: dict
            suboptions: *disk_labels
          metadata_cache_size:
            description:
              - How much of the tables of a qcow2 image is kept in memory; a bare number is in MiB.
            type: str
          probe:
            description:
              - Whether libvirt looks itself for what is behind it, of the last one only. What is not said here is
                nothing.
            type: bool
      format:
        description:
          - The format of the source. Never guessed, for a guest could fake it; an image that is qcow2 has to be
            declared so. Defaults to V(raw), of type V(dir) to V(fat).
        type: str
        choices: [raw, qcow2, qcow, qed, vmdk, vdi, vhd, vhdx, vpc, luks, dmg, bochs, cloop, ploop, fat, iso]
      bus:
        description:
          - The bus. libvirt guesses from the target when not stated (V(virtio) for C(vda), V(scsi) for C(sda), V(ide)
            for C(hda), V(fdc) for C(fda), V(xen) for C(xvda)).
        type: str
        choices: [virtio, scsi, sata, ide, usb, xen, fdc, sd, uml]
      model:
        description:
          - The model of a virtio disk.
        type: str
        choices: [virtio, virtio-transitional, virtio-non-transitional]
      readonly:
        description:
          - Whether the guest may only read. A CD-ROM drive is always read-only.
        type: bool
      shareable:
        description:
          - Whether several domains may write it at the same time, with a file system that is made for that.
        type: bool
      transient:
        description:
          - Whether what the guest writes is thrown away when it ends.
        type: bool
      cache:
        description:
          - How the host caches. qemu's choice when not stated.
        type: str
        choices: [none, writethrough, writeback, directsync, unsafe]
      io:
        description:
          - How qemu does its I/O. qemu's choice when not stated.
        type: str
        choices: [threads, native, io_uring]
      discard:
        description:
          - Whether space that the guest frees is freed on the host.
        type: str
        choices: [unmap, ignore]
      detect_zeroes:
        description:
          - Whether zeroes that the guest writes take no space; with V(unmap) they free it.
        type: str
        choices: ['off', 'on', unmap]
      error_policy:
        description:
          - What happens after an error of the host. libvirt's choice when not stated.
        type: str
        choices: [stop, report, ignore, enospace]
      rerror_policy:
        description:
          - The same for reading only.
        type: str
        choices: [stop, report, ignore]
      copy_on_read:
        description:
          - Whether what is read from a backing file is copied into the image.
        type: bool
      driver:
        description:
          - More of how qemu handles the disk.
        type: dict
        suboptions:
          name:
            description:
              - The name of the driver, V(qemu) unless Xen is used.
            type: str
          ioeventfd:
            description:
              - Whether I/O of the guest wakes qemu by its own thread.
            type: bool
          event_idx:
            description:
              - Whether the guest need not announce each request.
            type: bool
          iothread:
            description:
              - The number of the thread of O(iothreads) that does its I/O.
            type: int
          queues:
            description:
              - The number of queues.
            type: int
          queue_size:
            description:
              - The size of a queue, a power of two.
            type: int
          discard_no_unref:
            description:
              - Whether freed clusters of a qcow2 image keep their place (libvirt 9.5 or newer).
            type: bool
          metadata_cache_size:
            description:
              - The cache for the tables of a qcow2 image (V(16MiB)); a bare number is in MiB.
            type: str
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
      serial:
        description:
          - The serial number that the guest sees.
        type: str
      wwn:
        description:
          - The world wide name that the guest sees, 16 hexadecimal digits.
        type: str
      vendor:
        description:
          - The vendor that the guest sees (SCSI), up to 8 characters.
        type: str
      product:
        description:
          - The product that the guest sees (SCSI), up to 16 characters.
        type: str
      removable:
        description:
          - Whether it can be taken out (USB and SCSI).
        type: bool
      rotation_rate:
        description:
          - Turns in a minute that the guest sees; 1 is a disk that does not turn.
        type: int
      snapshot:
        description:
          - How it takes part in snapshots of the domain.
        type: str
        choices: ['no', internal, external, manual]
      rawio:
        description:
          - Whether qemu may send any command to the device, of O(disks[].device=lun).
        type: bool
      sgio:
        description:
          - Whether commands of the guest are filtered, of O(disks[].device=lun).
        type: str
        choices: [filtered, unfiltered]
      geometry:
        description:
          - The geometry that the guest sees.
        type: dict
        suboptions:
          cyls:
            description:
              - Cylinders. Required.
            type: int
          heads:
            description:
              - Heads. Required.
            type: int
          secs:
            description:
              - Sectors of a track. Required.
            type: int
          trans:
            description:
              - How the BIOS translates it.
            type: str
            choices: [auto, none, lba]
      blockio:
        description:
          - The sizes of blocks that the guest sees, in bytes.
        type: dict
        suboptions:
          logical_block_size:
            description:
              - The smallest unit that can be addressed.
            type: int
          physical_block_size:
            description:
              - The smallest unit that is written at once.
            type: int
          discard_granularity:
            description:
              - The smallest unit that can be freed (libvirt 9.7 or newer).
            type: int
      iotune:
        description:
          - Limits of its I/O. C(total) excludes C(read) and C(write) of the same kind.
        type: dict
        suboptions:
          total_bytes_sec:
            description:
              - Bytes in a second.
            type: int
          read_bytes_sec:
            description:
              - Bytes read in a second.
            type: int
          write_bytes_sec:
            description:
              - Bytes written in a second.
            type: int
          total_iops_sec:
            description:
              - Requests in a second.
            type: int
          read_iops_sec:
            description:
              - Reads in a second.
            type: int
          write_iops_sec:
            description:
              - Writes in a second.
            type: int
          total_bytes_sec_max:
            description:
              - Bytes in a second, for a short time.
            type: int
          read_bytes_sec_max:
            description:
              - Bytes read in a second, for a short time.
            type: int
          write_bytes_sec_max:
            description:
              - Bytes written in a second, for a short time.
            type: int
          total_iops_sec_max:
            description:
              - Requests in a second, for a short time.
            type: int
          read_iops_sec_max:
            description:
              - Reads in a second, for a short time.
            type: int
          write_iops_sec_max:
            description:
              - Writes in a second, for a short time.
            type: int
          total_bytes_sec_max_length:
            description:
              - How long that time is, in seconds.
            type: int
          read_bytes_sec_max_length:
            description:
              - How long that time is, in seconds.
            type: int
          write_bytes_sec_max_length:
            description:
              - How long that time is, in seconds.
            type: int
          total_iops_sec_max_length:
            description:
              - How long that time is, in seconds.
            type: int
          read_iops_sec_max_length:
            description:
              - How long that time is, in seconds.
            type: int
          write_iops_sec_max_length:
            description:
              - How long that time is, in seconds.
            type: int
          size_iops_sec:
            description:
              - From how many bytes on a request counts as several.
            type: int
          group_name:
            description:
              - The name of a group of disks that share their limits.
            type: str
      throttle_filters:
        description:
          - The names of O(throttle_groups) that limit it, one after the other (libvirt 11.2 or newer).
        type: list
        elements: str
      boot_order:
        description:
          - The place among the devices that are tried at boot, 1 is the first. It excludes O(os.boot).
        type: int
      loadparm:
        description:
          - The parameter for the boot loader (S/390).
        type: str
      alias:
        description:
          - A name of one's own for the device; it has to begin with C(ua-).
        type: str
      address:
        description:
          - Where the guest finds the device. Chosen by libvirt once, and kept, when never stated.
        type: dict
        suboptions: &disks_address
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
  controllers:
    description:
      - Controllers, each known by its O(controllers[].type) and O(controllers[].index). libvirt adds those that
        devices need.
      - A PCI controller that is declared no more stays as long as a device has its place on it, for devices keep their places.
    type: list
    elements: dict
    suboptions:
      type:
        description:
          - What is connected to it. Required.
        type: str
        choices: [pci, scsi, usb, sata, ide, virtio-serial, fdc, ccid, xenbus, isa]
      index:
        description:
          - Its number among those of its type, which addresses refer to. Defaults to 0; required for PCI controllers
            other than the root.
        type: int
      model:
        description:
          - The model; libvirt's choice when never stated. Required for PCI controllers. V(virtio-scsi) is what guests
            with virtio drivers want for SCSI.
        type: str
        choices:
          [
            pci-root, pcie-root, pci-bridge, dmi-to-pci-bridge, pcie-to-pci-bridge, pcie-root-port,
            pcie-switch-upstream-port, pcie-switch-downstream-port, pci-expander-bus, pcie-expander-bus, virtio-scsi,
            auto, buslogic, lsilogic, lsisas1068, lsisas1078, vmpvscsi, ibmvscsi, ncr53c90, dc390, am53c974,
            virtio-transitional, virtio-non-transitional, qemu-xhci, nec-xhci, piix3-uhci, piix4-uhci, ehci, ich9-ehci1,
            ich9-uhci1, ich9-uhci2, ich9-uhci3, vt82c686b-uhci, pci-ohci, qusb1, qusb2, none, piix3, piix4, ich6, virtio,
          ]
      master:
        description:
          - The place of a companion (V(ich9-uhci1) to V(ich9-uhci3)) at the USB 2 controller with the same index, of model
            V(ich9-ehci1).
        type: dict
        suboptions:
          startport:
            description:
              - The first port of that controller which it serves.
            type: int
      ports:
        description:
          - The number of ports, of types V(usb) and V(virtio-serial).
        type: int
      vectors:
        description:
          - The number of interrupts, of type V(virtio-serial).
        type: int
      max_grant_frames:
        description:
          - Limit of a Xen bus.
        type: int
      max_event_channels:
        description:
          - Limit of a Xen bus.
        type: int
      pcihole64:
        description:
          - The space for 64 bit addresses of devices (V(1024GiB)); a bare number is in GiB. Of a PCI root.
        type: str
      model_name:
        description:
          - The device of qemu behind a PCI controller (V(pcie-root-port)).
        type: str
      target:
        description:
          - Numbers of a PCI controller.
        type: dict
        suboptions:
          chassis_nr:
            description:
              - The chassis of a bridge.
            type: int
          chassis:
            description:
              - The chassis of a port.
            type: int
          bus_nr:
            description:
              - The first bus of an expander.
            type: int
          index:
            description:
              - The index of a host bridge (pSeries).
            type: int
          port:
            description:
              - The number of the port.
            type: str
          hotplug:
            description:
              - Whether devices can be plugged in.
            type: bool
          node:
            description:
              - The NUMA cell of the guest that an expander belongs to.
            type: int
      driver:
        description:
          - More of how qemu handles it.
        type: dict
        suboptions:
          queues:
            description:
              - The number of queues, of type V(scsi).
            type: int
          cmd_per_lun:
            description:
              - Commands at the same time for a disk.
            type: int
          max_sectors:
            description:
              - The largest request in sectors.
            type: int
          iothread:
            description:
              - The number of the thread of O(iothreads) that does its I/O.
            type: int
          ioeventfd:
            description:
              - Whether I/O of the guest wakes qemu by its own thread.
            type: bool
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
        suboptions: *disks_address
"""
