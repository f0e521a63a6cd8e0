# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    # Network interfaces.
    DOCUMENTATION = r"""
---
options:
  interfaces:
    description:
      - Network interfaces. One without a stated O(interfaces[].mac) is known by what it is connected to and by its
        place in the list, and keeps its address.
    type: list
    elements: dict
    suboptions:
      type:
        description:
          - V(network) is a network of libvirt, V(bridge) a bridge of the host, V(direct) a network device of the host
            (macvtap), V(user) the user's network without any rights, V(ethernet) a tap device alone, V(hostdev) a
            network card of the host that is handed through, V(vhostuser) a socket of another program, V(vdpa) a vDPA
            device, V(server), V(client), V(mcast) and V(udp) sockets between domains, V(null) a card without a cable.
            Defaults to V(network).
        type: str
        choices:
          [
            network, bridge, direct, vdpa, internal, vhostuser, user, ethernet, hostdev, server, client, mcast, udp,
            'null',
          ]
      source:
        description:
          - The name of the network, bridge or network device, the path of a V(vdpa) device or of a V(vhostuser)
            socket, the PCI address of a V(hostdev) (V(0000:03:10.1)), or address and port of a socket
            (V(230.0.0.1:5558)). Required except for V(user), V(ethernet) and V(null).
        type: str
      portgroup:
        description:
          - The port group of the network.
        type: str
      mode:
        description:
          - How V(direct) is connected, V(vepa), V(bridge), V(private) or V(passthrough), or which end of the socket
            qemu is with V(vhostuser), V(server) or V(client).
        type: str
        choices: [vepa, bridge, private, passthrough, server, client]
      managed:
        description:
          - Whether libvirt takes a V(hostdev) from the host's driver and gives it back.
        type: bool
      reconnect:
        description:
          - What happens when the program behind the socket goes, of type V(vhostuser) with the mode V(client).
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
      local:
        description:
          - Address and port of the own end with V(udp).
        type: str
      virtualport:
        description:
          - The port of a switch that wants to know more.
        type: dict
        suboptions:
          type:
            description:
              - The kind of switch.
            type: str
            choices: [802.1Qbg, 802.1Qbh, openvswitch, midonet]
          managerid:
            description:
              - The manager (802.1Qbg).
            type: int
          typeid:
            description:
              - The type (802.1Qbg).
            type: int
          typeidversion:
            description:
              - The version of the type (802.1Qbg).
            type: int
          instanceid:
            description:
              - The instance, a UUID (802.1Qbg).
            type: str
          interfaceid:
            description:
              - The interface, a UUID (Open vSwitch and MidoNet). libvirt makes one when it is never stated.
            type: str
          profileid:
            description:
              - The profile (802.1Qbh and Open vSwitch).
            type: str
      mac:
        description:
          - The MAC address. Generated once, and kept, when never stated.
        type: str
      model:
        description:
          - The kind of network card. V(virtio) for a new interface when not stated.
        type: str
        choices:
          [
            virtio, virtio-transitional, virtio-non-transitional, e1000, e1000-82544gc, e1000-82545em, e1000e, igb, rtl8139,
            ne2k_pci, pcnet, tulip, i82551, i82557b, i82559er, vmxnet3, usb-net, netfront, spapr-vlan, lan9118, smc91c111, sungem,
          ]
      mtu:
        description:
          - The size of the largest packet.
        type: int
      vlan:
        description:
          - VLANs, where the switch can do that (Open vSwitch, or SR-IOV).
        type: dict
        suboptions:
          tags:
            description:
              - The numbers of the VLANs. Required.
            type: list
            elements: int
          trunk:
            description:
              - Whether the guest sees the tags; always so with more than one.
            type: bool
          native:
            description:
              - The tag whose packets have none.
            type: int
          native_mode:
            description:
              - Whether packets of the native VLAN leave with a tag. V(untagged) when not stated.
            type: str
            choices: [tagged, untagged]
      link_state:
        description:
          - Whether the cable is plugged in.
        type: str
        choices: [up, down]
      isolated:
        description:
          - Whether it cannot reach other isolated ports of the bridge.
        type: bool
      trust_guest_rx_filters:
        description:
          - Whether the host believes the guest which addresses it wants to hear.
        type: bool
      bandwidth:
        description:
          - Limits in KiB a second.
        type: dict
        suboptions:
          inbound:
            description:
              - What reaches the guest.
            type: dict
            suboptions:
              average:
                description:
                  - The average.
                type: int
              peak:
                description:
                  - The peak.
                type: int
              burst:
                description:
                  - How much may be sent at the peak, in KiB.
                type: int
              floor:
                description:
                  - What it gets in any case.
                type: int
          outbound:
            description:
              - What the guest sends.
            type: dict
            suboptions:
              average:
                description:
                  - The average.
                type: int
              peak:
                description:
                  - The peak.
                type: int
              burst:
                description:
                  - How much may be sent at the peak, in KiB.
                type: int
      target:
        description:
          - The device on the host.
        type: dict
        suboptions:
          dev:
            description:
              - Its name. libvirt chooses one that begins with C(vnet) when not stated.
            type: str
          managed:
            description:
              - Whether libvirt makes it, or it is there already (type V(ethernet)).
            type: bool
      guest_dev:
        description:
          - The name of the device in a container.
        type: str
      filter:
        description:
          - A filter of libvirt for the packets (C(virsh nwfilter-list)).
        type: dict
        suboptions:
          name:
            description:
              - The name of the filter.
            type: str
          parameters:
            description:
              - Values for the variables of the filter, by name; one or a list of them (several V(IP) of one card).
            type: dict
      driver:
        description:
          - More of how packets are handled.
        type: dict
        suboptions:
          name:
            description:
              - V(vhost) is the kernel, V(qemu) is qemu itself; V(vfio), V(kvm) and V(xen) are for
                O(interfaces[].type=hostdev).
            type: str
            choices: [vhost, qemu, vfio, kvm, xen]
          queues:
            description:
              - The number of queues.
            type: int
          rx_queue_size:
            description:
              - The size of a queue for what is received, a power of two from 256 to 1024.
            type: int
          tx_queue_size:
            description:
              - The size of a queue for what is sent.
            type: int
          txmode:
            description:
              - How qemu sends.
            type: str
            choices: [iothread, timer]
          ioeventfd:
            description:
              - Whether I/O of the guest wakes qemu by its own thread.
            type: bool
          event_idx:
            description:
              - Whether the guest need not announce each packet.
            type: bool
          rss:
            description:
              - Whether packets are spread over the queues by a hash.
            type: bool
          rss_hash_report:
            description:
              - Whether the guest is told the hash.
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
          host:
            description:
              - What the host does for the guest.
            type: dict
            suboptions:
              csum:
                description:
                  - Checksums.
                type: bool
              tso4:
                description:
                  - Segments of TCP over IPv4.
                type: bool
              tso6:
                description:
                  - Segments of TCP over IPv6.
                type: bool
              ecn:
                description:
                  - Segments with congestion notification.
                type: bool
              ufo:
                description:
                  - Fragments of UDP.
                type: bool
              gso:
                description:
                  - Segments of any kind.
                type: bool
              mrg_rxbuf:
                description:
                  - Packets in several buffers.
                type: bool
          guest:
            description:
              - What the guest can take.
            type: dict
            suboptions:
              csum:
                description:
                  - Packets without checksums.
                type: bool
              tso4:
                description:
                  - Large packets of TCP over IPv4.
                type: bool
              tso6:
                description:
                  - Large packets of TCP over IPv6.
                type: bool
              ecn:
                description:
                  - Large packets with congestion notification.
                type: bool
              ufo:
                description:
                  - Large packets of UDP.
                type: bool
      backend:
        description:
          - What of the host is behind it.
        type: dict
        suboptions:
          type:
            description:
              - The program of a V(user) network.
            type: str
            choices: [default, passt]
          log_file:
            description:
              - Its log file.
            type: path
          tap:
            description:
              - The device for tap devices.
            type: path
          vhost:
            description:
              - The device for vhost.
            type: path
      script:
        description:
          - A program that qemu starts when the interface comes.
        type: str
      downscript:
        description:
          - A program that qemu starts when it goes.
        type: str
      ips:
        description:
          - Addresses of the interface (types V(user) and V(ethernet), containers).
        type: list
        elements: dict
        suboptions:
          address:
            description:
              - The address. Required.
            type: str
          prefix:
            description:
              - The length of the network's prefix.
            type: int
          peer:
            description:
              - The address of the other end.
            type: str
      routes:
        description:
          - Routes of the interface (type V(ethernet), containers).
        type: list
        elements: dict
        suboptions:
          address:
            description:
              - The network. Required.
            type: str
          prefix:
            description:
              - The length of its prefix.
            type: int
          gateway:
            description:
              - The gateway.
            type: str
          metric:
            description:
              - The metric.
            type: int
      sndbuf:
        description:
          - The size of the send buffer in bytes.
        type: int
      coalesce_rx_frames:
        description:
          - How many packets are handed to the guest at once.
        type: int
      teaming:
        description:
          - A pair of a virtio card and a card that is handed through, of which the guest makes one. Both state the same O(interfaces[].mac).
        type: dict
        suboptions:
          type:
            description:
              - V(persistent) is the virtio card, V(transient) the other.
            type: str
            choices: [persistent, transient]
          persistent:
            description:
              - With V(transient), the alias of the virtio card.
            type: str
      acpi_index:
        description:
          - The number by which the guest names the card (V(eno1)).
        type: int
      rom:
        description:
          - The boot ROM of the card.
        type: dict
        suboptions:
          bar:
            description:
              - Whether the guest sees it.
            type: bool
          file:
            description:
              - A file of the host instead of the card's own.
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
        suboptions: &interfaces_address
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
"""
