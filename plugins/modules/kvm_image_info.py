#!/usr/bin/python
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kvm_image_info
short_description: Look into disk images of guests
version_added: 0.1.0
description:
  - Tells what is on a disk image without mounting it, without a loop device and without starting a program. Its partition table,
    what its partitions hold, which of them is the root file system and why, the operating system and its kernels.
  - For raw and qcow2 images, also compressed ones. Reads ext2, ext3, ext4, XFS, Btrfs and FAT; recognises many more. A file in
    another format (vmdk, vdi, vhdx and so on) or a packed one is an error that says what to do.
  - The image may come from anybody. What contradicts itself (a table that leads in circles, partitions that overlap or end beyond
    the disk) is an error that names it, and what could be read before that is returned with it.
  - The journal of a file system is not replayed, so an image that is in use is seen as it is on the disk.
options:
  path:
    description:
      - The absolute path of the image.
    type: path
    required: true
  format:
    description:
      - Its format.
      - Defaults to what M(hypervisor.kvm.kvm_image) recorded when it made the image, else it is told from its first bytes. State it
        for a raw disk that a guest has written to, because a guest can write the header of another format to it.
    type: str
    choices: [raw, qcow2]
  partition:
    description:
      - The partition that is taken for the root file system, a number or V(root).
      - Defaults to V(root), the one that looks like it.
    type: str
  trust:
    description:
      - Whether the image comes from somebody who may read any file of this host. The backing files of others are not opened, so
        only what stands in the image itself is seen; V(image.no_root) says so where that is too little.
      - Defaults to V(trusted) for what M(hypervisor.kvm.kvm_image) made of its own sources, and to V(untrusted) for everything else.
    type: str
    choices: [trusted, untrusted]
seealso:
  - module: hypervisor.kvm.kvm_image
author:
  - hypervisor.kvm contributors (@hypervisor-kvm)
extends_documentation_fragment:
  - hypervisor.kvm._attributes
  - hypervisor.kvm._attributes.info
"""

EXAMPLES = r"""
- name: What is on this disk?
  hypervisor.kvm.kvm_image_info:
    path: /var/instances/ubuntu.img
  register: disk

- name: Its root file system begins here
  ansible.builtin.debug:
    msg: "byte {{ disk.image.root.offset }}, because {{ disk.image.root.reason }}"

- name: A raw disk that a guest has written to, made of an image that I trust
  hypervisor.kvm.kvm_image_info:
    path: /var/instances/web1/disk.img
    format: raw
    partition: "1"
    trust: trusted
"""

RETURN = r"""
image:
  description: What is on the image; null when there is no file.
  returned: always
  type: dict
  contains:
    path: {description: Its path., type: str, returned: always}
    format: {description: "V(raw) or V(qcow2).", type: str, returned: always}
    virtual_size: {description: The size of the disk in bytes., type: int, returned: always}
    allocated_size: {description: What its file occupies in bytes., type: int, returned: always}
    backing_chain: {description: "The files that it stands on, nearest first.", type: list, elements: str, returned: always}
    partition_table:
      description: V(mbr), V(gpt) or V(none); null when it could not be read, or is in a backing file that was not opened.
      type: str
      returned: always
    partitions:
      description:
        - Its partitions. V(start) and V(sectors) in sectors of the table (512 bytes but for disks with larger ones), V(offset)
          and V(size) in bytes. V(type) is the number of an MBR partition in hexadecimal digits, or the GUID of a GPT partition.
        - What a partition holds is V(filesystem), V(label) and V(uuid), in the words of blkid. V(partuuid) and V(name) are
          its own.
      type: list
      elements: dict
      returned: always
    root:
      description: The root file system, with the V(reason) why it was chosen; null when none could be.
      type: dict
      returned: always
    operating_system: {description: "V(id), V(version) and V(pretty_name) from its os-release; null without one.", type: dict, returned: always}
    kernels:
      description: The kernels in C(/boot), newest first, with V(version), V(kernel) and V(initrd) (paths in the image).
      type: list
      elements: dict
      returned: always
    kernel: {description: Where M(hypervisor.kvm.kvm_image) has put a copy of the kernel., type: str, returned: always}
    initrd: {description: Where it has put a copy of the initrd., type: str, returned: always}
    trusted: {description: Whether the image counts as trusted when nothing is stated., type: bool, returned: always}
    no_root: {description: Why no root file system was chosen., type: str, returned: always}
  sample:
    path: /var/instances/ubuntu.img
    format: raw
    virtual_size: 5368709120
    allocated_size: 578813952
    backing_chain: []
    partition_table: mbr
    partitions:
      - {number: 1, start: 2048, sectors: 9435136, offset: 1048576, size: 4830789632, type: "83", bootable: true,
         name: null, partuuid: 0007c1f2-01, filesystem: ext4, label: null, uuid: 2f1c2b1e-8f0c-4f0e-9d62-0a6f6b6c2f5f}
    root:
      number: 1
      offset: 1048576
      filesystem: ext4
      label: null
      uuid: 2f1c2b1e-8f0c-4f0e-9d62-0a6f6b6c2f5f
      reason: it has /etc/os-release
    operating_system: {id: ubuntu, version: "12.04", pretty_name: Ubuntu precise (12.04 LTS)}
    kernels:
      - {version: 3.2.0-23-generic, kernel: /boot/vmlinuz-3.2.0-23-generic, initrd: /boot/initrd.img-3.2.0-23-generic}
"""

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import info
from ansible_collections.hypervisor.kvm.plugins.module_utils._module import run_info

OPTIONS: dict[str, t.Any] = {
    "path": {"type": "path", "required": True},
    "format": {"type": "str", "choices": ["raw", "qcow2"]},
    "partition": {"type": "str"},
    "trust": {"type": "str", "choices": ["trusted", "untrusted"]},
}


def _read(params: dict[str, t.Any]) -> dict[str, t.Any]:
    try:
        return {"image": info.look(params["path"], params["format"], params["partition"], params["trust"])}
    except OSError as exc:
        raise KvmError(f"image {params['path']}: cannot read it: {exc.strerror}.") from exc


def main() -> None:
    """Runs the module."""
    run_info(OPTIONS, lambda params, _check_mode: _read(params))


if __name__ == "__main__":
    main()
