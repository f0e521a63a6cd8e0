# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    # Displays, video and sound.
    DOCUMENTATION = r"""
---
options:
  graphics:
    description:
      - Displays, each known by its O(graphics[].type).
    type: list
    elements: dict
    suboptions:
      type:
        description:
          - The protocol, or the kind of window. V(rdp), V(sdl), V(dbus) and others need a libvirt and a qemu that
            have them. Defaults to V(vnc).
        type: str
        choices: [vnc, spice, rdp, sdl, egl-headless, dbus, desktop]
      listen:
        description:
          - The address (or name) of the host to listen on. libvirt's choice (loopback) when not stated.
        type: str
      listens:
        description:
          - The same in full, for a network or a socket.
        type: list
        elements: dict
        suboptions:
          type:
            description:
              - V(address) is an address, V(network) that of the host in a network of libvirt, V(socket) a UNIX
                socket, V(none) nothing at all. Defaults to V(address).
            type: str
            choices: [address, network, socket, none]
          address:
            description:
              - The address.
            type: str
          network:
            description:
              - The name of the network.
            type: str
          socket:
            description:
              - The path of the socket; libvirt chooses one when not stated.
            type: path
      autoport:
        description:
          - Let libvirt choose a port at each start, which is what it does when no O(graphics[].port) is stated.
        type: bool
      port:
        description:
          - A fixed port, for VNC 5900 or higher; -1 is O(graphics[].autoport=true).
        type: int
      websocket:
        description:
          - A port for browsers; -1 lets libvirt choose (VNC).
        type: int
      keymap:
        description:
          - The keyboard of the person who looks, like V(en-us) or V(de). That of the viewer when not stated.
        type: str
      share_policy:
        description:
          - Who may look at the same time (VNC).
        type: str
        choices: [allow-exclusive, force-shared, ignore]
      power_control:
        description:
          - Whether a viewer may power the guest off (VNC).
        type: bool
      password:
        description:
          - The password, for VNC up to 8 characters.
        type: str
      password_valid_to:
        description:
          - Until when it is valid, as V(2027-01-31T15:00:00) in UTC.
        type: str
      connected:
        description:
          - What happens to viewers when the password changes.
        type: str
        choices: [keep, disconnect, fail]
      gl:
        description:
          - OpenGL.
        type: dict
        suboptions:
          enable:
            description:
              - Whether it is used.
            type: bool
          rendernode:
            description:
              - The device of the host that renders (V(/dev/dri/renderD128)).
            type: path
      tls_port:
        description:
          - A fixed port for encrypted connections (SPICE).
        type: int
      default_mode:
        description:
          - Whether what O(graphics[].channels) does not name is encrypted (SPICE).
        type: str
        choices: [any, secure, insecure]
      channels:
        description:
          - Parts of a connection that are encrypted or not (SPICE).
        type: list
        elements: dict
        suboptions:
          name:
            description:
              - The part. Required.
            type: str
            choices: [main, display, inputs, cursor, playback, record, smartcard, usbredir]
          mode:
            description:
              - Whether it is encrypted. Required.
            type: str
            choices: [any, secure, insecure]
      image_compression:
        description:
          - How images are compressed (SPICE).
        type: str
        choices: [auto_glz, auto_lz, quic, glz, lz, 'off']
      jpeg_compression:
        description:
          - When images lose details for it (SPICE).
        type: str
        choices: [auto, never, always]
      zlib_compression:
        description:
          - When they are compressed once more (SPICE).
        type: str
        choices: [auto, never, always]
      playback_compression:
        description:
          - Whether sound is compressed (SPICE).
        type: bool
      streaming_mode:
        description:
          - What is taken for a video (SPICE).
        type: str
        choices: [filter, all, 'off']
      clipboard_copypaste:
        description:
          - Whether the clipboard is shared (SPICE).
        type: bool
      mouse_mode:
        description:
          - Who draws the mouse (SPICE).
        type: str
        choices: [server, client]
      filetransfer:
        description:
          - Whether files can be sent to the guest (SPICE).
        type: bool
      display:
        description:
          - The display of the host's window (SDL and desktop).
        type: str
      xauth:
        description:
          - The file with the right to open it (SDL).
        type: str
      full_screen:
        description:
          - Whether the window is as large as the screen (SDL and desktop).
        type: bool
      replace_user:
        description:
          - Whether a new viewer takes the place of the old one (RDP).
        type: bool
      multi_user:
        description:
          - Whether several may look at the same time (RDP).
        type: bool
      p2p:
        description:
          - Whether viewers connect directly (D-Bus).
        type: bool
      dbus_address:
        description:
          - The address of the bus (D-Bus).
        type: str
      audio:
        description:
          - Which of O(audios) the viewer hears (VNC and D-Bus).
        type: int
  videos:
    description:
      - Video devices, known by their order. libvirt adds one to a domain with a display when none is stated.
    type: list
    elements: dict
    suboptions:
      model:
        description:
          - The model. Defaults to V(virtio).
        type: str
        choices: [virtio, vga, qxl, cirrus, bochs, ramfb, vmvga, xen, vbox, gop, none]
      vram:
        description:
          - Its memory (V(16MiB)); a bare number is in KiB, as libvirt has it.
        type: str
      ram:
        description:
          - Its primary memory, of model V(qxl), in the same form.
        type: str
      vgamem:
        description:
          - Its memory in VGA modes, of model V(qxl), in the same form.
        type: str
      vram64:
        description:
          - Its memory above 4 GiB, of model V(qxl), in the same form.
        type: str
      heads:
        description:
          - The number of screens.
        type: int
      primary:
        description:
          - Whether the firmware shows itself there.
        type: bool
      blob:
        description:
          - Whether images are shared with the host instead of copied, of model V(virtio) (libvirt 9.2 or newer).
        type: bool
      edid:
        description:
          - Whether the guest can ask what the screen can do (libvirt 11.6 or newer).
        type: bool
      acceleration:
        description:
          - What the host's processor for graphics does.
        type: dict
        suboptions:
          accel3d:
            description:
              - Whether it does 3D.
            type: bool
          accel2d:
            description:
              - Whether it does 2D.
            type: bool
          rendernode:
            description:
              - The device of the host that renders.
            type: path
      resolution:
        description:
          - The least resolution.
        type: dict
        suboptions:
          x:
            description:
              - The width. Required.
            type: int
          y:
            description:
              - The height. Required.
            type: int
      driver:
        description:
          - More of how it is emulated.
        type: dict
        suboptions:
          name:
            description:
              - V(qemu) is qemu itself, V(vhostuser) another process.
            type: str
            choices: [qemu, vhostuser]
          vgaconf:
            description:
              - Whether it is also a VGA device (bhyve).
            type: str
            choices: [io, 'on', 'off']
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
        suboptions: &displays_address
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
  sounds:
    description:
      - Sound cards, known by their order.
    type: list
    elements: dict
    suboptions:
      model:
        description:
          - The model. Defaults to V(ich9).
        type: str
        choices: [ich9, ich7, ich6, ac97, es1370, sb16, pcspk, usb, virtio]
      codecs:
        description:
          - What is connected to a card of the models V(ich6) and V(ich9), in this order.
        type: list
        elements: str
        choices: [duplex, micro, output]
      streams:
        description:
          - The number of streams, of model V(virtio) (libvirt 10.4 or newer).
        type: int
      audio:
        description:
          - Which of O(audios) it plays to; that with the number 1 when not stated.
        type: int
      alias:
        description:
          - A name of one's own for the device; it has to begin with C(ua-).
        type: str
      address:
        description:
          - Where the guest finds the device. Chosen by libvirt once, and kept, when never stated.
        type: dict
        suboptions: *displays_address
  audios:
    description:
      - What of the host plays and records, each known by its O(audios[].id). libvirt adds one that fits the display.
    type: list
    elements: dict
    suboptions:
      id:
        description:
          - Its number. Defaults to the place in the list, from 1.
        type: int
      type:
        description:
          - What it is. Required.
        type: str
        choices: [none, alsa, coreaudio, dbus, file, jack, oss, pipewire, pulseaudio, sdl, spice]
      timer_period:
        description:
          - The period of its timer in microseconds.
        type: int
      server_name:
        description:
          - The name of the server, of type V(pulseaudio).
        type: str
      path:
        description:
          - The file, of type V(file).
        type: path
      driver:
        description:
          - The driver, of type V(sdl).
        type: str
      try_mmap:
        description:
          - Whether the device is mapped into memory, of type V(oss).
        type: bool
      exclusive:
        description:
          - Whether nobody else may use the device, of type V(oss).
        type: bool
      dsp_policy:
        description:
          - The policy for the timing of the device, of type V(oss); V(-1) for that of the host.
        type: int
      input:
        description:
          - How the host records.
        type: dict
        suboptions: &displays_direction
          mixing_engine:
            description:
              - Whether qemu mixes.
            type: bool
          fixed_settings:
            description:
              - Whether it has settings of its own, instead of those that the guest asks for. It needs the mixing engine.
            type: bool
          voices:
            description:
              - The number of voices.
            type: int
          buffer_length:
            description:
              - The length of the buffer in microseconds.
            type: int
          settings:
            description:
              - Those settings, with C(fixed_settings).
            type: dict
            suboptions:
              frequency:
                description:
                  - Samples a second.
                type: int
              channels:
                description:
                  - The number of channels.
                type: int
              format:
                description:
                  - What a sample is.
                type: str
                choices: [s8, u8, s16, u16, s32, u32, f32]
          dev:
            description:
              - The device, of types V(alsa) and V(oss).
            type: str
          buffer_count:
            description:
              - The number of buffers, of types V(coreaudio), V(oss) and V(sdl).
            type: int
          try_poll:
            description:
              - Whether the device is polled, of type V(oss).
            type: bool
          name:
            description:
              - The name of the sink or source, of types V(pipewire) and V(pulseaudio).
            type: str
          stream_name:
            description:
              - By which name others see it, of types V(pipewire) and V(pulseaudio).
            type: str
          latency:
            description:
              - The latency in microseconds, of types V(pipewire) and V(pulseaudio).
            type: int
          server_name:
            description:
              - The name of the server, of type V(jack).
            type: str
          client_name:
            description:
              - By which name the server knows it, of type V(jack).
            type: str
          connect_ports:
            description:
              - A regular expression for the ports to connect to, of type V(jack).
            type: str
          exact_name:
            description:
              - Whether another client of that name is an error, of type V(jack).
            type: bool
      output:
        description:
          - How the host plays.
        type: dict
        suboptions: *displays_direction
"""
