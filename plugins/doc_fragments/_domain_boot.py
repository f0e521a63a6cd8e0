# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    # What is booted, by which firmware, on what machine.
    DOCUMENTATION = r"""
---
options:
  os:
    description:
      - What is booted, and on what machine.
    type: dict
    suboptions:
      type:
        description:
          - V(hvm) is an unmodified operating system, V(exe) a program in a container, the others are for Xen and User
            Mode Linux. Defaults to V(hvm), for a container to V(exe), and is changed with O(recreate=true) only.
        type: str
        choices: [hvm, linux, xen, xenpvh, exe, uml]
      arch:
        description:
          - The architecture of the guest; the host's when never stated. Changed with O(recreate=true) only.
        type: str
      firmware:
        description:
          - Let libvirt choose a firmware of this kind. With V(efi) it also makes the file for the firmware's
            variables.
          - libvirt's choice (a BIOS on a PC) when never stated.
        type: str
        choices: [efi, bios]
      secure_boot:
        description:
          - Whether the chosen firmware has Secure Boot; that needs O(os.machine=q35) on a PC. With O(os.firmware=efi)
            only.
        type: bool
      enrolled_keys:
        description:
          - Whether the variables come with the vendors' keys in them, so that Secure Boot is in force.
        type: bool
      loader:
        description:
          - A certain firmware instead of one that libvirt chooses.
        type: dict
        suboptions:
          path:
            description:
              - The file of the firmware.
            type: path
          type:
            description:
              - V(rom) is a plain file, V(pflash) a flash memory, which UEFI wants.
            type: str
            choices: [rom, pflash]
          readonly:
            description:
              - Whether the guest cannot write it.
            type: bool
          secure:
            description:
              - Whether it has Secure Boot.
            type: bool
          stateless:
            description:
              - Whether it keeps no variables.
            type: bool
          format:
            description:
              - The format of the file.
            type: str
            choices: [raw, qcow2]
      nvram:
        description:
          - The file in which the firmware keeps its variables. libvirt makes it from a template.
        type: dict
        suboptions:
          path:
            description:
              - The file of this domain. libvirt's choice when never stated.
            type: path
          template:
            description:
              - The file that it is copied from.
            type: path
          format:
            description:
              - The format of the file.
            type: str
            choices: [raw, qcow2]
      bootloader:
        description:
          - A program of the host that chooses the kernel (Xen).
        type: str
      bootloader_args:
        description:
          - Its arguments.
        type: str
      kernel:
        description:
          - A kernel on the host to boot directly.
        type: path
      initrd:
        description:
          - The initial RAM disk that goes with it.
        type: path
      cmdline:
        description:
          - The command line of the kernel.
        type: str
      dtb:
        description:
          - A device tree on the host that goes with it.
        type: path
      slic_table:
        description:
          - A file with an ACPI table SLIC.
        type: path
      init:
        description:
          - The first program of a container.
        type: path
      init_args:
        description:
          - Its arguments.
        type: list
        elements: str
      init_env:
        description:
          - Names and values of the environment of O(os.init), of containers.
        type: dict
      init_dir:
        description:
          - Its working directory.
        type: path
      init_user:
        description:
          - The user that it runs as.
        type: str
      init_group:
        description:
          - The group that it runs as.
        type: str
      boot:
        description:
          - The kinds of devices to boot from, in this order. It excludes C(boot_order) of single devices.
        type: list
        elements: str
        choices: [fd, hd, cdrom, network]
      boot_menu:
        description:
          - Whether the firmware offers a menu at boot.
        type: bool
      boot_menu_timeout:
        description:
          - How long it is offered, in milliseconds.
        type: int
      smbios:
        description:
          - Where SMBIOS comes from, V(sysinfo) is O(sysinfo), V(host) is a copy of the host's, V(emulate) is qemu's
            own.
        type: str
        choices: [emulate, host, sysinfo]
      bios_useserial:
        description:
          - Whether the BIOS speaks on the first serial port too.
        type: bool
      reboot_timeout:
        description:
          - After how many milliseconds the BIOS tries again when nothing can be booted; -1 is never.
        type: int
      machine:
        description:
          - The machine type. A short name (V(q35), V(pc)) is the newest of its kind when the domain is made, and then
            stays what it was. Another kind of machine needs O(recreate=true), another version does not.
          - libvirt's choice when never stated.
        type: str
  sysinfo:
    description:
      - What the guest finds in SMBIOS, with O(os.smbios=sysinfo).
    type: dict
    suboptions:
      bios:
        description:
          - The firmware.
        type: dict
        suboptions:
          vendor:
            description:
              - Its vendor.
            type: str
          version:
            description:
              - Its version.
            type: str
          date:
            description:
              - Its date, as V(mm/dd/yyyy).
            type: str
          release:
            description:
              - Its release, as V(major.minor).
            type: str
      system:
        description:
          - The system.
        type: dict
        suboptions:
          manufacturer:
            description:
              - Its manufacturer.
            type: str
          product:
            description:
              - Its name.
            type: str
          version:
            description:
              - Its version.
            type: str
          serial:
            description:
              - Its serial number.
            type: str
          uuid:
            description:
              - Its UUID, which has to be O(uuid).
            type: str
          sku:
            description:
              - Its stock keeping unit.
            type: str
          family:
            description:
              - Its family.
            type: str
      base_board:
        description:
          - The main board.
        type: dict
        suboptions:
          manufacturer:
            description:
              - Its manufacturer.
            type: str
          product:
            description:
              - Its name.
            type: str
          version:
            description:
              - Its version.
            type: str
          serial:
            description:
              - Its serial number.
            type: str
          asset:
            description:
              - Its asset tag.
            type: str
          location:
            description:
              - Its place in the chassis.
            type: str
      chassis:
        description:
          - The chassis.
        type: dict
        suboptions:
          manufacturer:
            description:
              - Its manufacturer.
            type: str
          version:
            description:
              - Its version.
            type: str
          serial:
            description:
              - Its serial number.
            type: str
          asset:
            description:
              - Its asset tag.
            type: str
          sku:
            description:
              - Its stock keeping unit.
            type: str
      oem_strings:
        description:
          - Free texts.
        type: list
        elements: str
      fwcfg:
        description:
          - What programs in the guest read from the firmware, by name. Ignition (Fedora CoreOS, Flatcar) finds its configuration
            there.
        type: list
        elements: dict
        suboptions:
          name:
            description:
              - The name, which begins with C(opt/) (V(opt/com.coreos/config)). Required.
            type: str
          value:
            description:
              - The content. This or O(sysinfo.fwcfg[].file) is required.
            type: str
          file:
            description:
              - A file on the host with the content.
            type: path
  qemu_commandline:
    description:
      - Arguments and environment for qemu itself, which libvirt passes on unseen. The domain is marked as tainted by
        it.
    type: dict
    suboptions:
      args:
        description:
          - Arguments, each by itself.
        type: list
        elements: str
      env:
        description:
          - Names and values of environment variables.
        type: dict
  qemu_capabilities:
    description:
      - What libvirt is to believe of the abilities of qemu, for tests of qemu and libvirt. The domain is marked as
        tainted by it.
    type: dict
    suboptions:
      add:
        description:
          - Abilities that it is said to have, in libvirt's names.
        type: list
        elements: str
      remove:
        description:
          - Abilities that it is said not to have.
        type: list
        elements: str
  qemu_deprecation:
    description:
      - What qemu does about interfaces of its own that are deprecated, V(omit) hides them, V(reject) refuses their
        use, V(crash) ends at their use. V(none) is as usual.
    type: str
    choices: [none, omit, reject, crash]
  qemu_override:
    description:
      - Properties of devices for which libvirt has no word, each list of them for one device. The domain is marked as
        tainted by it.
    type: list
    elements: dict
    suboptions:
      alias:
        description:
          - The alias of the device. Only one that is stated, and begins with C(ua-), is sure to stay. Required.
        type: str
      properties:
        description:
          - What is set. Required.
        type: list
        elements: dict
        suboptions:
          name:
            description:
              - The name of the property for qemu. Required.
            type: str
          type:
            description:
              - The type of the value; V(remove) leaves out what libvirt would have said. Required.
            type: str
            choices: [string, signed, unsigned, bool, remove]
          value:
            description:
              - The value. Required unless O(qemu_override[].properties[].type=remove).
            type: str
"""
