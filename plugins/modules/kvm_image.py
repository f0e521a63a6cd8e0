#!/usr/bin/python
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kvm_image
short_description: Keep disk images of guests as declared
version_added: 0.1.0
description:
  - Makes base images from a distribution's archive, disks of guests from base images, and empty disks; takes a partition
    out of the image of a whole disk, with its kernel; converts, compresses, sparsifies; makes images larger and smaller; sets
    labels; changes files of a guest without starting it; removes images.
  - With a source, the image is made of it when it is missing. Without one, the image that is there is changed in place.
  - An image is made in a private folder beside its place and put there complete and synced, or not at all. A change in
    place is made beside the image, verified, and only then put into it, as a whole. What a killed task has left is finished
    or removed by the next run.
  - What was declared is recorded beside the image, in a file with the suffix C(.kvm_image.json). A guest that has written to its
    disk has not changed that, so nothing is done. What can be changed in place of a changed declaration (files, labels,
    size, format) is changed. Where the image would have to be made anew, the change is refused, because what is on it would
    be lost, unless O(rebuild=on_change).
  - A base image that overlays stand on is neither removed nor changed. An image that a domain, or anybody else, has open for
    writing is not touched; the error says who has it.
  - Images from elsewhere are read without the host's kernel and without trusting anything in them. Only with O(trust=trusted)
    does the kernel mount a file system, in a private place, where no program can change it otherwise (XFS and Btrfs).
  - Missing folders of the image are made, and go again with the last image in them.
requirements:
  - qemu-utils and e2fsprogs (on the host that executes this module)
  - qemu-storage-daemon (on Debian in qemu-system-common) and FUSE, to change an image in place; without them it is copied
  - xfsprogs or btrfs-progs, for labels and new file systems of these types
  - libguestfs-tools, to change files on XFS and Btrfs that are not trusted
  - mmdebstrap and util-linux (on the host that executes this module), for O(source.bootstrap)
  - root, for O(source.bootstrap)
options:
  images:
    description:
      - A list of images, each with the options of this module. Options given beside the list are the defaults of its entries.
      - Base images are made before the images that are made of them, and removed after them.
      - When one image fails, the others are still done, and the task fails at its end.
      - Mutually exclusive with O(path).
    type: list
    elements: dict
    suboptions: &image
      path:
        description:
          - The absolute path of the image.
        type: path
      state:
        description:
          - V(present) makes the image when it is missing.
          - V(absent) removes it with its record, and with the O(kernel) and O(initrd) that are stated and were made with it.
          - Defaults to V(present).
        type: str
        choices: [present, absent]
      format:
        description:
          - The format of the image.
          - Defaults to V(qcow2) for an overlay and with O(compress), to what an image that is changed in place has, and to V(raw)
            otherwise. An existing image is converted.
        type: str
        choices: [raw, qcow2]
      size:
        description:
          - The virtual size, like V(2GiB). A bare number is in bytes.
          - It is the least that is wanted. An existing image grows to it with its root file system and the partition that has it;
            swap and empty space behind that partition are moved to the end of the disk. It is made smaller only with O(shrink).
          - Defaults to V(2GiB) for O(source.bootstrap), to the size of the base image for O(source.image), and to the size of
            the file system that is taken out with O(partition).
        type: str
      shrink:
        description:
          - Whether an image larger than O(size) is made smaller. Its content must fit; else the error says what it needs.
          - For ext2, ext3 and ext4 on the whole disk, also when it is taken out of a partition by this task.
          - Defaults to V(false).
        type: bool
      partition:
        description:
          - With O(source.image), the partition whose file system becomes a disk of its own without partitions, exactly as large
            as the file system. A number, or V(root) for the one with the root file system, whichever it is. The files of a
            separate C(/boot) are put into it.
          - Without a source, the partition that O(filesystem), O(fstab), O(customize) and O(size) are about. The root by default.
        type: str
      sparsify:
        description:
          - Whether the blocks that its file systems do not use are given back to the host, once.
          - Defaults to V(false). A file system that is taken out of a partition comes without its free blocks in any case.
        type: bool
      compress:
        description:
          - Whether a qcow2 image is written compressed. V(yes) is V(zstd), which is much faster; V(zlib) is for programs that
            cannot read it (qemu before 5.1).
        type: str
        choices: ['no', 'yes', zstd, zlib]
      trust:
        description:
          - Whether the content of the image, or of O(source.image), comes from somebody who may do anything on this host.
          - Only the file systems of V(trusted) images are mounted where that is needed, and only their backing files are opened.
          - Defaults to V(trusted) for what this module made of its own sources, and to V(untrusted) for everything else.
        type: str
        choices: [trusted, untrusted]
      source:
        description:
          - What the image is made of, exactly one. Without it, the image must be there and is changed in place.
        type: dict
        suboptions:
          bootstrap:
            description:
              - An operating system of the Debian family from its distribution's archive, ready to be started with its kernel and
                the command line C(root=/dev/vda console=ttyS0). It has ifupdown, an SSH server and the QEMU guest agent,
                and its interfaces have the kernel's names (C(eth0), C(eth1)).
              - One file system on the whole disk, without partitions and without a boot loader.
            type: dict
            suboptions:
              suite:
                description:
                  - The release, like V(bookworm).
                  - Defaults to the release of the hypervisor.
                type: str
              variant:
                description:
                  - How much the base system has, in mmdebstrap's words.
                  - Defaults to V(minbase).
                type: str
                choices: [minbase, apt, buildd, important, standard]
              packages:
                description:
                  - More packages of the base system.
                type: list
                elements: str
              components:
                description:
                  - The components of the archive.
                  - Defaults to those that the hypervisor uses, and to V(main) for stated mirrors.
                type: list
                elements: str
              mirrors:
                description:
                  - Where to fetch packages from, as URIs or as whole lines that start with V(deb).
                  - Defaults to what the hypervisor's own apt uses for its release with updates and security fixes, with another
                    release in its place when O(source.bootstrap.suite) is one.
                type: list
                elements: str
              kernel_package:
                description:
                  - The package of the kernel.
                  - Defaults to V(linux-image-cloud-amd64) or its like on Debian, and to V(linux-image-virtual) on Ubuntu.
                type: str
              apt_options:
                description:
                  - More options of apt for the build, in the form of its configuration files. Proxies, certificates
                    and the like come from the hypervisor's own apt.
                type: list
                elements: str
          image:
            description:
              - Another image.
            type: dict
            suboptions:
              path:
                description:
                  - The absolute path of the base image. Required.
                type: path
              mode:
                description:
                  - V(overlay) makes a qcow2 image that holds only what differs from the base image and needs it for ever.
                    V(copy) makes one that stands on its own. An overlay that is declared as V(copy) later becomes one.
                  - Defaults to V(overlay), and to V(copy) with O(partition), O(sparsify), O(compress), O(shrink) or O(format=raw).
                type: str
                choices: [overlay, copy]
              format:
                description:
                  - The format of the base image. It is never guessed, because a guest can write any header to a raw disk.
                  - Defaults to what this module recorded when it made that image, else to V(raw).
                type: str
                choices: [raw, qcow2]
          blank:
            description:
              - V(true) for an empty disk of O(size), with a file system if O(filesystem) is stated.
            type: bool
      filesystem:
        description:
          - The file system on the whole of a new image, and its label and UUID in an image that exists or is made of another.
          - Defaults to ext4 with the label V(root) for O(source.bootstrap), and to none for O(source.blank).
        type: dict
        suboptions:
          type:
            description:
              - Its type. Defaults to V(ext4) for a new one. One that is there is never made anew; it must be of the stated type.
            type: str
            choices: [ext2, ext3, ext4, xfs, btrfs, swap]
          label:
            description:
              - Its label, up to 16 characters (12 for xfs, 15 for swap).
            type: str
          uuid:
            description:
              - Its UUID. A new file system gets one when it is not stated.
            type: str
      fstab:
        description:
          - V(rewrite) mounts C(/) by the label of its file system (by its UUID if it has none) and comments out the entries
            whose device is not on the finished disk (swap, C(/boot), EFI); every other line stays as it is. What waits for such
            a device in C(/etc/crypttab), in the settings of initramfs-tools and in C(/etc/default/grub) is handled as well.
          - A list is all lines of C(/etc/fstab), each a dictionary with V(src) (like V(LABEL=root)), V(path), V(fstype),
            V(opts) (V(defaults) if it is missing), V(dump) and V(passno) (V(0) if they are missing). One entry is for V(/).
          - V(keep) leaves it as it is.
          - Defaults to the root file system by its label for O(source.bootstrap), and to V(keep) otherwise.
        type: raw
      kernel:
        description:
          - Where to put a copy of the newest kernel in the image, on the same file system as the image.
        type: path
      initrd:
        description:
          - Where to put a copy of the initrd of that kernel.
        type: path
      owner:
        description:
          - The user, by name or number, that owns the files. libvirt changes it for the time that a domain runs.
          - Defaults to the user that executes the module.
        type: str
      group:
        description:
          - The group, by name or number, of the files.
        type: str
      mode:
        description:
          - The mode of the image in octal, quoted. The kernel and the initrd are readable by all.
          - Defaults to V("0644") for O(source.bootstrap) and to V("0600") otherwise.
        type: str
      customize:
        description:
          - What is put into the root file system of the guest.
          - When it is stated at all, even empty, a new disk made of a base image becomes a guest of its own, with an empty machine id
            and without SSH host keys. The guest makes both at its first start. An existing image keeps both.
          - A part that is declared as it was when the image was made or changed last is not looked at any more, for what the
            guest has changed since is its own.
        type: dict
        suboptions:
          hostname:
            description:
              - The host name, also put into C(/etc/hosts) as C(127.0.1.1).
            type: str
          hosts:
            description:
              - Lines of C(/etc/hosts). Each name has the stated address and no other of its kind (IPv4 or IPv6); other lines stay.
              - A line that was stated earlier and is not any more is removed.
            type: list
            elements: dict
            suboptions:
              address:
                description: The address. Required.
                type: str
              names:
                description: The names that it has, the canonical one first. Required.
                type: list
                elements: str
          interfaces:
            description:
              - All interfaces beside the loopback, in netplan's words, written for the guest's own network system (ifupdown, netplan,
                systemd-networkd, NetworkManager, ifcfg files). Files there that say something else are kept under another name.
            type: list
            elements: dict
            suboptions:
              name:
                description:
                  - The name of the interface. The first of a guest is V(eth0), the second V(eth1).
                  - With O(customize.interfaces[].mac) the interface gets this name, so do not use the kernel's own names with it when there
                    are several interfaces. Defaults to V(net) and its place in the list then.
                type: str
              mac:
                description:
                  - The MAC address by which the interface is found. Needed when no name is stated.
                type: str
              dhcp4:
                description: Whether it gets an IPv4 address by DHCP.
                type: bool
              dhcp6:
                description: Whether it gets an IPv6 address by DHCP.
                type: bool
              addresses:
                description: Its static addresses with their prefix, like V(192.0.2.10/24).
                type: list
                elements: str
              gateway4:
                description: The IPv4 default gateway.
                type: str
              gateway6:
                description: The IPv6 default gateway.
                type: str
              nameservers:
                description: The name servers.
                type: list
                elements: str
              search:
                description: The domains in which short names are looked up.
                type: list
                elements: str
              routes:
                description: Static routes.
                type: list
                elements: dict
                suboptions:
                  to:
                    description: The network, like V(198.51.100.0/24), or V(default). Required.
                    type: str
                  via:
                    description: The gateway. Required.
                    type: str
                  metric:
                    description: The metric of the route.
                    type: int
              mtu:
                description: The maximum transmission unit in bytes.
                type: int
              id:
                description:
                  - The id of a vlan, 1 to 4094. With O(customize.interfaces[].link) the interface is a vlan.
                type: int
              link:
                description: The name of the entry that the vlan stands on, no vlan itself.
                type: str
              interfaces:
                description:
                  - The names of the entries that are parts of a bond. Makes the interface a bond. The parts have no addresses of
                    their own.
                type: list
                elements: str
              parameters:
                description: How the bond works.
                type: dict
                suboptions:
                  mode:
                    description: Its mode. Defaults to V(balance-rr).
                    type: str
                    choices: [balance-rr, active-backup, balance-xor, broadcast, 802.3ad, balance-tlb, balance-alb]
                  primary:
                    description: The preferred part, for V(active-backup), V(balance-tlb) and V(balance-alb).
                    type: str
                  mii_monitor_interval:
                    description: How often links are checked in milliseconds. Defaults to V(100).
                    type: int
                  lacp_rate:
                    description: How often LACP packets are asked for, for V(802.3ad).
                    type: str
                    choices: [slow, fast]
                  transmit_hash_policy:
                    description: What chooses the part, for V(balance-xor), V(802.3ad) and V(balance-tlb).
                    type: str
                    choices: [layer2, layer3+4, layer2+3, encap2+3, encap3+4]
          ssh_authorized_keys:
            description:
              - The public SSH keys, all of them, that may log in as root.
            type: list
            elements: str
          root_password:
            description:
              - The password of root as a crypt(3) hash with a fixed salt. Without it nobody can log in with a password.
            type: str
          packages:
            description:
              - More packages. With O(source.bootstrap) only.
            type: list
            elements: str
          files:
            description:
              - Files to put into the guest.
            type: list
            elements: dict
            suboptions:
              path:
                description: The absolute path in the guest. Required.
                type: str
              content:
                description: The whole text. Required.
                type: str
              mode:
                description: The mode in octal, quoted. Defaults to V("0644").
                type: str
              owner:
                description: The numeric id of the owner in the guest. Defaults to V(0).
                type: int
              group:
                description: The numeric id of the group in the guest. Defaults to V(0).
                type: int
          commands:
            description:
              - Commands for the guest's C(/bin/sh), run in it as root after its packages and files are there. With
                O(source.bootstrap) only.
              - They see the network of the hypervisor. Nothing that they start outlives the build.
            type: list
            elements: str
          machine_id:
            description:
              - The machine id, 32 lower case hexadecimal digits, or V(reset) for an empty one that is filled at the next start.
              - Defaults to V(reset) for a new image, and to what there is for an existing one.
            type: str
      rebuild:
        description:
          - What to do when the image exists but was made of another declaration.
          - V(never) refuses, naming what differs. V(on_change) makes it anew, and what was on it is lost.
          - Defaults to V(never).
        type: str
        choices: [never, on_change]
      timeout:
        description:
          - The time for making one image, in seconds. Defaults to V(1800).
        type: int
      keep_failed:
        description:
          - Whether to keep what was made when making the image fails. The error says where. Defaults to V(false).
        type: bool
  # Each option of an entry is an option of the module as well.
  <<: *image
seealso:
  - module: hypervisor.kvm.kvm_domain
  - module: hypervisor.kvm.kvm_net
author:
  - hypervisor.kvm contributors (@hypervisor-kvm)
extends_documentation_fragment:
  - hypervisor.kvm._attributes
  - hypervisor.kvm._attributes.state
"""

EXAMPLES = r"""
- name: A base image from the distribution's archive, with its kernel beside it
  hypervisor.kvm.kvm_image:
    path: /var/instances/base/debian.img
    size: 2GiB
    source:
      bootstrap:
        suite: bookworm
    kernel: /var/instances/base/kernel
    initrd: /var/instances/base/ramdisk

- name: A guest's own disk, an overlay on the base image
  hypervisor.kvm.kvm_image:
    path: /var/instances/web1/disk.qcow2
    size: 10GiB
    source:
      image:
        path: /var/instances/base/debian.img
    customize:
      hostname: web1.example
      interfaces:
        - name: eth0
          addresses: [192.168.100.10/24]
          gateway4: 192.168.100.1
          nameservers: [192.168.100.1]
      ssh_authorized_keys:
        - "{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"

- name: Both in one call, and a raw copy instead of an overlay
  hypervisor.kvm.kvm_image:
    images:
      - path: /var/instances/base/trixie.img
        source:
          bootstrap:
            suite: trixie
            packages: [python3]
        customize:
          commands:
            - systemctl disable apt-daily.timer
      - path: /var/instances/db1/disk.img
        size: 20GiB
        source:
          image:
            path: /var/instances/base/trixie.img
            mode: copy
        customize:
          hostname: db1
          interfaces:
            - mac: "52:54:00:00:00:0b"
              dhcp4: true

- name: An empty data disk with a file system
  hypervisor.kvm.kvm_image:
    path: /var/instances/db1/data.qcow2
    format: qcow2
    size: 50GiB
    source:
      blank: true
    filesystem:
      label: data

- name: The root file system of an installed disk becomes an image without partitions, with its kernel beside it
  hypervisor.kvm.kvm_image:
    path: /var/instances/ubuntu.final.img
    source:
      image:
        path: /var/instances/ubuntu.img
    partition: root
    filesystem:
      label: ubuntu
    fstab: rewrite
    kernel: /var/instances/kernel
    initrd: /var/instances/ramdisk

- name: A small compressed image of an installed disk, for the archive
  hypervisor.kvm.kvm_image:
    path: /var/instances/ubuntu.qcow2
    format: qcow2
    source:
      image:
        path: /var/instances/ubuntu.img
        mode: copy
    sparsify: true
    compress: zstd

- name: A cloud image from elsewhere is changed in place, and grows with its root partition
  hypervisor.kvm.kvm_image:
    path: /var/instances/web2/disk.qcow2
    size: 40GiB
    customize:
      hostname: web2
      hosts:
        - address: 192.168.100.11
          names: [db1.example, db1]
      ssh_authorized_keys:
        - "{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"
      machine_id: reset

- name: A file system of somebody whom you trust, mounted for the change because it is XFS
  hypervisor.kvm.kvm_image:
    path: /var/instances/db2/disk.img
    trust: trusted
    partition: "2"
    filesystem:
      type: xfs
      label: data
    fstab: keep
    customize:
      files:
        - path: /etc/app.conf
          content: "answer = 42\n"
          mode: "0640"

- name: A guest with a bond of two cards, and a vlan on it
  hypervisor.kvm.kvm_image:
    path: /var/instances/web3/disk.qcow2
    size: 10GiB
    source:
      image:
        path: /var/instances/base/debian.img
    customize:
      hostname: web3
      interfaces:
        - {name: eth0}
        - {name: eth1}
        - name: bond0
          interfaces: [eth0, eth1]
          parameters:
            mode: 802.3ad
            mii_monitor_interval: 100
            lacp_rate: fast
            transmit_hash_policy: layer3+4
          dhcp4: true
        - name: bond0.20
          id: 20
          link: bond0
          addresses: [192.0.2.10/24]
          mtu: 1400

- name: An image becomes smaller, as long as its content fits
  hypervisor.kvm.kvm_image:
    path: /var/instances/ubuntu.final.img
    size: 1GiB
    shrink: true

- name: A data disk with XFS and lines of fstab in the guest that mounts it
  hypervisor.kvm.kvm_image:
    images:
      - path: /var/instances/db2/data.img
        size: 20GiB
        source:
          blank: true
        filesystem:
          type: xfs
          label: data
          uuid: 7c0d4b6e-21a2-4c33-9f6e-0b1ad5ad8f11
      - path: /var/instances/db2/disk.img
        fstab:
          - {src: LABEL=root, path: /, fstype: ext4, opts: "defaults,errors=remount-ro", passno: 1}
          - {src: LABEL=data, path: /srv, fstype: xfs, opts: "defaults,nofail", dump: 0}

- name: Remove a guest's disk
  hypervisor.kvm.kvm_image:
    path: /var/instances/web1/disk.qcow2
    state: absent
"""

RETURN = r"""
image:
  description: The image after the task (in check mode, before it); null when there is none. With O(path) only.
  returned: success
  type: dict
  sample:
    path: /var/instances/web1/disk.qcow2
    format: qcow2
    virtual_size: 10737418240
    allocated_size: 4128768
    backing_chain: [/var/instances/base/debian.img]
    partition_table: none
    partitions: []
    root:
      number: null
      offset: 0
      filesystem: ext4
      label: root
      uuid: 2f1c2b1e-8f0c-4f0e-9d62-0a6f6b6c2f5f
      reason: the only file system, on the whole disk
    operating_system: {id: debian, version: "12", pretty_name: Debian GNU/Linux 12 (bookworm)}
    kernels:
      - version: 6.1.0-18-cloud-amd64
        kernel: /boot/vmlinuz-6.1.0-18-cloud-amd64
        initrd: /boot/initrd.img-6.1.0-18-cloud-amd64
    kernel: null
    initrd: null
steps:
  description: What was done, in order, with the time it took. Empty when nothing was. With O(path) only.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: The step., type: str, returned: always}
    seconds: {description: Its duration., type: float, returned: always}
changes:
  description: Every single change that was made, or would be made in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    object: {description: The path of the image., type: str, returned: always}
    field: {description: The option., type: str, returned: always}
    before: {description: The value before., type: raw, returned: always}
    after: {description: The value after. Contents of files and commands are shown as their digest., type: raw, returned: always}
    effect: {description: V(live) or V(recreate)., type: str, returned: always}
restart_required:
  description: Always empty, as no image that is in use is changed.
  returned: always
  type: list
  elements: dict
results:
  description: With O(images), the return values of each image, in the order of the list, with its path.
  returned: when O(images) is given
  type: list
  elements: dict
"""

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._floor import Floor, Work, catch
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import apply, compare, observe, seen
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.observe import ImageState
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.plan import Others
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import (
    DEFAULT_SIZE,
    ImageSpec,
    check_together,
    depth,
    parse,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._module import run


def _text(*names: str) -> dict[str, t.Any]:
    return {name: {"type": "str"} for name in names}


def _texts(*names: str) -> dict[str, t.Any]:
    return {name: {"type": "list", "elements": "str"} for name in names}


def _choice(*values: str) -> dict[str, t.Any]:
    return {"type": "str", "choices": list(values)}


def _list(options: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"type": "list", "elements": "dict", "options": options}


_BOOTSTRAP: dict[str, t.Any] = {
    **_text("suite", "kernel_package"),
    **_texts("packages", "components", "mirrors", "apt_options"),
    "variant": _choice("minbase", "apt", "buildd", "important", "standard"),
}

_SOURCE: dict[str, t.Any] = {
    "bootstrap": {"type": "dict", "options": _BOOTSTRAP},
    "image": {
        "type": "dict",
        "options": {"path": {"type": "path"}, "mode": _choice("overlay", "copy"), "format": _choice("raw", "qcow2")},
    },
    "blank": {"type": "bool"},
}

_BOND: dict[str, t.Any] = {
    "mode": _choice("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"),
    "primary": {"type": "str"},
    "mii_monitor_interval": {"type": "int"},
    "lacp_rate": _choice("slow", "fast"),
    "transmit_hash_policy": _choice("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4"),
}

_INTERFACE: dict[str, t.Any] = {
    **_text("name", "mac", "gateway4", "gateway6"),
    **_texts("addresses", "nameservers", "search"),
    "dhcp4": {"type": "bool"},
    "dhcp6": {"type": "bool"},
    "routes": _list({**_text("to", "via"), "metric": {"type": "int"}}),
    "mtu": {"type": "int"},
    "id": {"type": "int"},
    "link": {"type": "str"},
    "interfaces": {"type": "list", "elements": "str"},
    "parameters": {"type": "dict", "options": _BOND},
}

_CUSTOMIZE: dict[str, t.Any] = {
    **_text("hostname", "machine_id"),
    **_texts("packages", "commands"),
    "hosts": _list({**_text("address"), **_texts("names")}),
    "interfaces": _list(_INTERFACE),
    "ssh_authorized_keys": {"type": "list", "elements": "str", "no_log": False},
    "root_password": {"type": "str", "no_log": True},
    "files": _list({**_text("path", "content", "mode"), "owner": {"type": "int"}, "group": {"type": "int"}}),
}

OPTIONS: dict[str, t.Any] = {
    "path": {"type": "path"},
    "state": _choice("present", "absent"),
    "format": _choice("raw", "qcow2"),
    "source": {"type": "dict", "options": _SOURCE},
    "filesystem": {
        "type": "dict",
        "options": {"type": _choice("ext2", "ext3", "ext4", "xfs", "btrfs", "swap"), **_text("label", "uuid")},
    },
    "fstab": {"type": "raw"},
    "partition": {"type": "str"},
    "shrink": {"type": "bool"},
    "sparsify": {"type": "bool"},
    "compress": _choice("no", "yes", "zstd", "zlib"),
    "trust": _choice("trusted", "untrusted"),
    "kernel": {"type": "path"},
    "initrd": {"type": "path"},
    **_text("size", "owner", "group", "mode"),
    "customize": {"type": "dict", "options": _CUSTOMIZE},
    "rebuild": _choice("never", "on_change"),
    "timeout": {"type": "int"},
    "keep_failed": {"type": "bool"},
}

ImageWork = Work[ImageSpec, ImageState]


class ImageFloor(Floor[ImageSpec, ImageState]):
    """The rooms of images."""

    kind = "image"
    identity = "path"
    list_option = "images"

    def __init__(self) -> None:
        super().__init__()
        self._present: dict[str, ImageSpec] = {}
        self._others = Others()

    def parse(self, params: dict[str, t.Any]) -> ImageSpec:
        return parse(params)

    def check_together(self, specs: t.Sequence[ImageSpec]) -> None:
        check_together(specs)
        self._present = {item.path: item for item in specs if item.state == "present"}
        removed = frozenset(item.path for item in specs if item.state == "absent")
        planned = {
            path: item.size or (DEFAULT_SIZE if item.bootstrap else None) for path, item in self._present.items()
        }
        self._others = Others(planned, removed)

    def observe(self, session: t.Any, spec: ImageSpec) -> ImageState:
        try:
            return observe.observe(spec)
        except OSError as exc:
            raise KvmError(f"image {spec.path}: cannot look at {exc.filename or spec.path}: {exc.strerror}.") from exc

    def compare(self, spec: ImageSpec, observed: ImageState) -> ChangeSet:
        return compare.compare(spec, observed, self._others)

    def foresee(self, work: ImageWork) -> None:
        if work.plan.plan.unfit is not None:
            raise KvmError(work.plan.plan.unfit)

    def apply_all(self, session: t.Any, works: t.Sequence[ImageWork]) -> None:
        for work in sorted(works, key=self._place):
            with catch(work):
                self.apply(session, work)

    def _place(self, work: ImageWork) -> int:
        """Removals of overlays before those of their bases, and bases before what is made of them."""
        if work.spec.state == "absent":
            return -1 - len(work.seen.file.backing)
        return depth(work.spec, self._present)

    def apply(self, session: t.Any, work: ImageWork) -> None:
        outcome = apply.Outcome()
        work.facts["steps"] = outcome.steps
        try:
            apply.apply(work.plan, self.say, outcome)
        finally:
            work.applied = outcome.touched

    def finish_all(self, session: t.Any, works: t.Sequence[ImageWork]) -> bool:
        for work in works:
            with catch(work):
                apply.tidy(work.name)
        return False

    def facts(self, session: t.Any, work: ImageWork) -> dict[str, t.Any]:
        return {"image": seen.facts(work.seen, work.name), "steps": []}


def main() -> None:
    """Runs the module."""
    run(ImageFloor(), OPTIONS)


if __name__ == "__main__":
    main()
