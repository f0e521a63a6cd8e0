# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    # Serial and parallel ports, consoles, channels and what is like them.
    DOCUMENTATION = r"""
---
options:
  serials:
    description:
      - Serial ports, each known by its O(serials[].port). The first one is the console.
    type: list
    elements: dict
    suboptions:
      <<: &characters_end
        path:
          description:
            - The file, device or socket, of types V(file), V(dev), V(pipe) and V(unix).
          type: path
        host:
          description:
            - The host to connect to or the address to listen on, of type V(tcp), or to send to, of type V(udp).
          type: str
        service:
          description:
            - The port, of types V(tcp) and V(udp), which need it.
          type: str
        seclabels:
          description:
            - How security drivers of the host label the file, device or socket when the domain starts, where that is to be
              otherwise than for the whole domain.
          type: list
          elements: dict
          suboptions:
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
        bind_host:
          description:
            - The address to receive on, of type V(udp).
          type: str
        bind_service:
          description:
            - The port to receive on, of type V(udp).
          type: str
        protocol:
          description:
            - What is spoken, of type V(tcp).
          type: str
          choices: [raw, telnet, telnets, tls]
        tls:
          description:
            - Whether the connection is encrypted, of type V(tcp).
          type: bool
        append:
          description:
            - Whether the file is kept at a start, of type V(file).
          type: bool
        reconnect:
          description:
            - What happens when the other end goes, of types V(tcp) and V(unix).
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
        port_name:
          description:
            - The name of the port, of types V(spiceport) and V(dbus).
          type: str
        master:
          description:
            - The master's device, of type V(nmdm).
          type: path
        slave:
          description:
            - The slave's device, of type V(nmdm).
          type: path
        clipboard_copypaste:
          description:
            - Whether the clipboard is shared, of type V(qemu-vdagent).
          type: bool
        mouse_mode:
          description:
            - Who draws the mouse, of type V(qemu-vdagent).
          type: str
          choices: [server, client]
        alias:
          description:
            - A name of one's own for the device; it has to begin with C(ua-).
          type: str
        address:
          description:
            - Where the guest finds the device. Chosen by libvirt once, and kept, when never stated.
          type: dict
          suboptions: &characters_address
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
      port:
        description:
          - The number of the port, 0 to 3. Defaults to the place in the list.
        type: int
      type:
        description:
          - The host's end. V(file) writes what the guest says into O(serials[].path), V(pty) is for C(virsh console),
            V(unix), V(tcp) and V(udp) are sockets, V(stdio) is qemu's own output, which goes to its log, V(null) is
            nothing.
          - Defaults to V(file) when there is a path and to V(pty) otherwise.
        type: str
        choices: [pty, file, unix, tcp, udp, dev, pipe, stdio, 'null', vc, spiceport, nmdm, dbus]
      mode:
        description:
          - Whether qemu listens (V(bind)) or connects, of types V(tcp) and V(unix). V(connect) for V(tcp) when not
            stated, libvirt's choice for V(unix).
        type: str
        choices: [connect, bind]
      log:
        description:
          - Also write what the guest says into this file.
        type: path
      log_append:
        description:
          - Whether that file is kept at a start.
        type: bool
      target_type:
        description:
          - The kind of port. libvirt's choice for the machine when never stated.
        type: str
        choices: [isa-serial, usb-serial, pci-serial, spapr-vio-serial, system-serial, sclp-serial, isa-debug]
      target_model:
        description:
          - The model of that kind. libvirt's choice when never stated.
        type: str
        choices:
          [
            isa-serial, usb-serial, pci-serial, spapr-vty, pl011, 16550a, sclpconsole, sclplmconsole, isa-debugcon,
          ]
  parallels:
    description:
      - Parallel ports, each known by its O(parallels[].port).
    type: list
    elements: dict
    suboptions:
      <<: *characters_end
      port:
        description:
          - The number of the port, 0 to 2. Defaults to the place in the list.
        type: int
      type:
        description:
          - The host's end, as of O(serials[].type).
        type: str
        choices: [pty, file, unix, tcp, udp, dev, pipe, stdio, 'null', vc, spiceport, nmdm, dbus]
      mode:
        description:
          - Whether qemu listens (V(bind)) or connects, of types V(tcp) and V(unix). V(connect) for V(tcp) when not
            stated, libvirt's choice for V(unix).
        type: str
        choices: [connect, bind]
      log:
        description:
          - Also write what the guest says into this file.
        type: path
      log_append:
        description:
          - Whether that file is kept at a start.
        type: bool
  consoles:
    description:
      - Consoles, known by their order. One on a serial port is that port, so it is the same as an entry
        of O(serials); others are devices of their own.
    type: list
    elements: dict
    suboptions:
      <<: *characters_end
      type:
        description:
          - The host's end, as of O(serials[].type).
        type: str
        choices: [pty, file, unix, tcp, udp, dev, pipe, stdio, 'null', vc, spiceport, nmdm, dbus]
      mode:
        description:
          - Whether qemu listens (V(bind)) or connects, of types V(tcp) and V(unix). V(connect) for V(tcp) when not
            stated, libvirt's choice for V(unix).
        type: str
        choices: [connect, bind]
      log:
        description:
          - Also write what the guest says into this file.
        type: path
      log_append:
        description:
          - Whether that file is kept at a start.
        type: bool
      target_type:
        description:
          - What it is for the guest. V(virtio) is C(hvc0). Defaults to V(serial), in containers to V(lxc), in paravirtual
            guests of Xen to V(xen).
        type: str
        choices: [serial, virtio, xen, lxc, openvz, uml, sclp, sclplm]
      port:
        description:
          - The number of the port. Defaults to the place in the list for V(serial), and is chosen by libvirt for
            others.
        type: int
  channels:
    description:
      - Channels between host and guest, each known by its name.
    type: list
    elements: dict
    suboptions:
      <<: *characters_end
      target_type:
        description:
          - What it is for the guest, a named port of virtio or Xen, or an address of a V(user) network. Defaults to
            V(virtio).
        type: str
        choices: [virtio, guestfwd, xen]
      name:
        description:
          - The name in the guest. Defaults to that of the guest agent, V(org.qemu.guest_agent.0), of types
            V(spicevmc) and V(qemu-vdagent) to V(com.redhat.spice.0). With O(channels[].target_type=guestfwd) an
            address with a port (V(10.0.2.1:4600)).
        type: str
      type:
        description:
          - The host's end. Defaults to V(unix), with a socket where libvirt wants it.
        type: str
        choices:
          [
            pty, file, unix, tcp, udp, dev, pipe, stdio, 'null', vc, spicevmc, spiceport, nmdm, qemu-vdagent, dbus,
          ]
      mode:
        description:
          - Whether qemu listens (V(bind)) or connects, of types V(tcp) and V(unix). V(connect) for V(tcp) when not
            stated, libvirt's choice for V(unix).
        type: str
        choices: [connect, bind]
      log:
        description:
          - Also write what the guest says into this file.
        type: path
      log_append:
        description:
          - Whether that file is kept at a start.
        type: bool
  redirdevs:
    description:
      - Connections by which a viewer can hand USB devices to the guest, known by their order.
    type: list
    elements: dict
    suboptions:
      <<: *characters_end
      type:
        description:
          - The host's end. Defaults to V(spicevmc).
        type: str
        choices:
          [
            pty, file, unix, tcp, udp, dev, pipe, stdio, 'null', vc, spicevmc, spiceport, nmdm, qemu-vdagent, dbus,
          ]
      mode:
        description:
          - Whether qemu listens (V(bind)) or connects, of types V(tcp) and V(unix). V(connect) for V(tcp) when not
            stated, libvirt's choice for V(unix).
        type: str
        choices: [connect, bind]
      log:
        description:
          - Also write what the guest says into this file.
        type: path
      log_append:
        description:
          - Whether that file is kept at a start.
        type: bool
      boot_order:
        description:
          - The place among the devices that are tried at boot, 1 is the first. It excludes O(os.boot).
        type: int
  redirfilter:
    description:
      - Which USB devices O(redirdevs) may bring to the guest; the first rule that fits a device counts. What a rule does not state
        may be anything.
    type: list
    elements: dict
    suboptions:
      class:
        description:
          - The class of the device (V(0x08) is storage).
        type: str
      vendor:
        description:
          - Its vendor (V(0x1234)).
        type: str
      product:
        description:
          - Its product.
        type: str
      version:
        description:
          - Its version (V("2.0")).
        type: str
      allow:
        description:
          - Whether it may be brought. Required.
        type: bool
  smartcard:
    description:
      - A reader for smartcards.
    type: dict
    suboptions:
      <<: *characters_end
      mode:
        description:
          - Whose cards the guest sees. V(passthrough) are those of another program, a viewer for one, V(host) those of the
            host, V(host-certificates) three certificates of the host. Defaults to V(passthrough).
        type: str
        choices: [passthrough, host, host-certificates]
      certificates:
        description:
          - The names of the three certificates, of mode V(host-certificates).
        type: list
        elements: str
      database:
        description:
          - The folder with the database of the certificates, of mode V(host-certificates). libvirt takes C(/etc/pki/nssdb).
        type: path
      socket_mode:
        description:
          - Whether qemu listens (V(bind)) or connects, of types V(tcp) and V(unix). V(connect) for V(tcp) when not stated,
            libvirt's choice for V(unix).
        type: str
        choices: [connect, bind]
      type:
        description:
          - The host's end. Defaults to V(spicevmc).
        type: str
        choices:
          [
            pty, file, unix, tcp, udp, dev, pipe, stdio, 'null', vc, spicevmc, spiceport, nmdm, qemu-vdagent, dbus,
          ]
"""
