#!/usr/bin/python
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kvm_image_mount
short_description: Mount disk images of guests on the hypervisor, and unmount them without a rest
version_added: 0.1.0
description:
  - Mounts the file system of a raw or qcow2 image at a folder, the whole disk or one of its partitions, and unmounts it.
  - Only the bytes of that one file system are ever attached, so the kernel reads no partition table and makes no devices for
    partitions. Which file system it is, is found out before and told to the kernel. Device nodes and setuid programs of the
    image have no effect.
  - An image that was not built by this collection is not shown to the kernel of the hypervisor at all, see O(trust).
  - What a killed task has left is finished or removed by the next run, with either state. After V(unmounted) there is no loop device,
    no daemon and no folder of this module, and what was written is on the disk.
  - An image that a running domain or another process has open for writing is not mounted, and the message says who has it.
    A raw image that is mounted by O(backend=loop) is not locked against a domain that is started later. With O(backend=fuse) it is.
  - Several partitions of a raw image can be mounted for writing at once, by O(backend=loop).
requirements:
  - root
  - qemu-utils (on the host that executes this module; qemu-system-common on Debian 12), for qcow2 images and for O(backend=fuse)
  - guestmount with a kernel in C(/boot), or fuse2fs, for images that are not trusted
options:
  mounts:
    description:
      - A list of mounts, each with the options of this module. Options given beside the list are the defaults of its entries.
      - Entries to be unmounted are done before those to be mounted, so an image can move from one folder to another. One may lie in
        the folder of another.
      - When one mount fails, the others are still done, and the task fails at its end.
      - Mutually exclusive with O(mountpoint).
    type: list
    elements: dict
    suboptions: &mount
      path:
        description:
          - The absolute path of the image.
          - Required for O(state=mounted), and for unmounting what was mounted by hand.
        type: path
      mountpoint:
        description:
          - The absolute path of the folder. It is made when it is missing, and what was made is removed again after unmounting.
          - Nothing is mounted over a folder that has something in it.
        type: path
      state:
        description:
          - V(mounted) mounts the image. A mount with another partition, backend or the like is unmounted before.
          - V(unmounted) unmounts it. When nothing is mounted there, nothing is done.
          - Defaults to V(mounted).
        type: str
        choices: [mounted, unmounted]
      format:
        description:
          - The format of the image.
          - It is never guessed, because a guest can write any header to a raw disk. Defaults to what the record beside the image says
            (M(hypervisor.kvm.kvm_image) writes it), and to V(raw) without one. A raw image that begins like one of another
            format is then refused.
        type: str
        choices: [raw, qcow2]
      partition:
        description:
          - The number of the partition, or V(root) for the one that has the root file system.
          - The root file system may lie in a logical volume of LVM. One that lies in one piece is mounted like a partition; one
            in several pieces needs guestmount.
          - Defaults to the file system on the whole disk, and to V(root) for a disk with partitions.
        type: str
      read_only:
        description:
          - Whether to mount without writing anything to the image, not even what the journal of the file system has left to do.
          - Defaults to V(false).
        type: bool
      trust:
        description:
          - Whether the kernel of the hypervisor may read the file system. Kernels do not withstand file systems that were made to
            attack them.
          - With V(untrusted) a program reads it. guestmount does so in a small guest of its own. fuse2fs is quicker, and is a process
            of root's on the hypervisor.
          - Defaults to V(trusted) for an image that this collection built, by the record beside it, from nothing else than what it
            built itself, and to V(untrusted) for any other.
          - Backing files are followed for trusted images only, because a header can name any file of the hypervisor.
        type: str
        choices: [trusted, untrusted]
      backend:
        description:
          - How it is mounted. RV(mount.backend) says which one it was.
          - V(loop) is a loop device, for trusted raw images.
          - V(fuse) is qemu-storage-daemon, which holds qemu's own lock on the image, with a loop device, or with fuse2fs for an
            ext2, ext3 or ext4 that is not trusted.
          - V(nbd) is qemu-nbd and the kernel's module nbd, for trusted images.
          - V(guestmount) is libguestfs, for any image.
          - V(auto) takes the first that the hypervisor can do. For trusted images these are V(loop) (raw only), V(fuse), V(nbd) and
            V(guestmount), for others V(guestmount) and V(fuse).
          - Defaults to V(auto).
        type: str
        choices: [auto, loop, fuse, nbd, guestmount]
      chroot:
        description:
          - Whether to bind C(/dev), C(/dev/pts), C(/proc) and C(/sys) of the hypervisor into the mount, for running programs of the image
            by chroot. They run as root on the hypervisor, so the image must be trusted.
          - Defaults to V(false), which also takes such binds out of a mount that has them.
        type: bool
      holders:
        description:
          - What to do about processes that use the mount when it is to be unmounted.
          - V(fail) names them. V(terminate) sends them SIGTERM and fails when some are left. V(kill) sends SIGKILL to these.
          - The process of this task and those that have started it are never ended.
          - Defaults to V(fail).
        type: str
        choices: [fail, terminate, kill]
      holders_timeout:
        description:
          - How long to wait for them to end after SIGTERM, in seconds. Defaults to V(10).
        type: int
      lazy:
        description:
          - Whether to take the mount out of sight when it is still used after all (C(umount -l)), with a warning. The image then stays
            in use until those that use it end.
          - Defaults to V(false).
        type: bool
      timeout:
        description:
          - The time for starting or ending a daemon, and for waiting for another run of this module, in seconds. Defaults to V(300).
        type: int
  # Each option of an entry is an option of the module as well.
  <<: *mount
notes:
  - The mounts are those of the running system. They are gone after a restart of the hypervisor, so they belong around the tasks
    that need them and not into C(/etc/fstab).
seealso:
  - module: hypervisor.kvm.kvm_image
author:
  - hypervisor.kvm contributors (@hypervisor-kvm)
extends_documentation_fragment:
  - hypervisor.kvm._attributes
  - hypervisor.kvm._attributes.state
"""

EXAMPLES = r"""
- name: Look into a guest's disk, without changing anything on it
  hypervisor.kvm.kvm_image_mount:
    path: /var/instances/web1/disk.qcow2
    mountpoint: /mnt/web1
    read_only: true

- name: A downloaded image, which the kernel of the hypervisor never gets to see
  hypervisor.kvm.kvm_image_mount:
    path: /var/instances/downloads/appliance.img
    mountpoint: /mnt/appliance
    partition: 2
    read_only: true
  register: appliance

- name: Run programs of an image on the hypervisor
  block:
    - name: Mount it for that
      hypervisor.kvm.kvm_image_mount:
        path: /var/instances/base/debian.img
        mountpoint: /mnt/debian
        chroot: true

    - name: Which packages does it have?
      ansible.builtin.command: chroot /mnt/debian dpkg --list
      changed_when: false
  always:
    - name: Unmount it, whatever still runs in it
      hypervisor.kvm.kvm_image_mount:
        path: /var/instances/base/debian.img
        mountpoint: /mnt/debian
        state: unmounted
        holders: kill

- name: Two at once
  hypervisor.kvm.kvm_image_mount:
    read_only: true
    mounts:
      - path: /var/instances/db1/disk.img
        mountpoint: /mnt/db1
      - path: /var/instances/db2/disk.img
        mountpoint: /mnt/db2
        partition: root
"""

RETURN = r"""
mount:
  description: The mount after the task (in check mode, before it). With O(mountpoint) only.
  returned: success
  type: dict
  contains:
    path: {description: The image., type: str, returned: always}
    mountpoint: {description: The folder., type: str, returned: always}
    state:
      description: V(mounted), V(unmounted), or V(incomplete) for what a killed task has left.
      type: str
      returned: always
    backend: {description: What mounted it., type: str, returned: when mounted}
    partition: {description: Its number; null for the whole disk., type: int, returned: when mounted}
    offset: {description: Where the file system begins on the disk in bytes., type: int, returned: when mounted}
    filesystem: {description: Its type., type: str, returned: when mounted}
    read_only: {description: Whether nothing can be written to it., type: bool, returned: when mounted}
    device: {description: The loop or nbd device; null when no kernel reads it., type: str, returned: when mounted}
    holders:
      description: The processes that use it.
      type: list
      elements: dict
      returned: always
      contains:
        pid: {description: The process id; 0 for a loop device on a file in it., type: int, returned: always}
        command: {description: The name of the program or device., type: str, returned: always}
        domain: {description: The domain that it is., type: str, returned: always}
        what: {description: What it uses., type: list, elements: str, returned: always}
    binds: {description: What of the host is bound into it., type: list, elements: str, returned: always}
  sample:
    path: /var/instances/base/debian.img
    mountpoint: /mnt/debian
    state: mounted
    backend: loop
    partition: null
    offset: 0
    filesystem: ext4
    read_only: false
    device: /dev/loop0
    holders: []
    binds: [dev, dev/pts, proc, sys]
changes:
  description: Every single change that was made, or would be made in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    object: {description: The mountpoint., type: str, returned: always}
    field: {description: The option or property., type: str, returned: always}
    before: {description: The value before., type: raw, returned: always}
    after: {description: The value after., type: raw, returned: always}
    effect: {description: V(live); V(recreate) where it is unmounted for that., type: str, returned: always}
restart_required:
  description: Always empty, as nothing here waits for a restart.
  returned: always
  type: list
  elements: dict
holders:
  description: The processes that are in the way, as in RV(mount.holders).
  returned: when they are why it failed
  type: list
  elements: dict
results:
  description: With O(mounts), the return values of each mount, in the order of the list, with its mountpoint.
  returned: when O(mounts) is given
  type: list
  elements: dict
"""

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._floor import Floor, Work, catch
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount import apply, observe
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.compare import Leaving, compare
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.observe import MountState
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.spec import MountSpec, check_together, parse
from ansible_collections.hypervisor.kvm.plugins.module_utils._module import run


def _choice(*values: str) -> dict[str, t.Any]:
    return {"type": "str", "choices": list(values)}


OPTIONS: dict[str, t.Any] = {
    "path": {"type": "path"},
    "mountpoint": {"type": "path"},
    "state": _choice("mounted", "unmounted"),
    "format": _choice("raw", "qcow2"),
    "partition": {"type": "str"},
    "read_only": {"type": "bool"},
    "trust": _choice("trusted", "untrusted"),
    "backend": _choice("auto", "loop", "fuse", "nbd", "guestmount"),
    "chroot": {"type": "bool"},
    "holders": _choice("fail", "terminate", "kill"),
    "holders_timeout": {"type": "int"},
    "lazy": {"type": "bool"},
    "timeout": {"type": "int"},
}

MountWork = Work[MountSpec, MountState]


class MountFloor(Floor[MountSpec, MountState]):
    """The rooms of mounts of images."""

    kind = "mount"
    identity = "mountpoint"
    list_option = "mounts"

    def parse(self, params: dict[str, t.Any]) -> MountSpec:
        return parse(params)

    def __init__(self) -> None:
        super().__init__()
        self._leaving = Leaving()

    def check_together(self, specs: t.Sequence[MountSpec]) -> None:
        check_together(specs)
        going = [spec for spec in specs if spec.state == "unmounted"]
        self._leaving = Leaving(
            frozenset(spec.mountpoint for spec in going),
            frozenset(spec.path for spec in going if spec.path is not None),
        )

    def observe(self, session: t.Any, spec: MountSpec) -> MountState:
        try:
            return observe.observe(spec)
        except OSError as exc:
            raise KvmError(f"mount {spec.mountpoint}: cannot look at {exc.filename}: {exc.strerror}.") from exc

    def compare(self, spec: MountSpec, observed: MountState) -> ChangeSet:
        return compare(spec, observed, self._leaving)

    def apply_all(self, session: t.Any, works: t.Sequence[MountWork]) -> None:
        # An image that moves from one folder to another must be free before it is mounted again, and what lies in another
        # mount comes after that and goes before it.
        going = [work for work in works if work.spec.state == "unmounted"]
        coming = [work for work in works if work.spec.state == "mounted"]
        going.sort(key=lambda work: work.name.count("/"), reverse=True)
        coming.sort(key=lambda work: work.name.count("/"))
        for work in (*going, *coming):
            with catch(work):
                self.apply(session, work)

    def apply(self, session: t.Any, work: MountWork) -> None:
        outcome = apply.Outcome()
        try:
            apply.apply(work.plan, self.say, outcome)
        except OSError as exc:
            raise KvmError(f"mount {work.name}: {exc.strerror}: {exc.filename}.") from exc
        finally:
            work.applied = outcome.touched
            work.warnings += outcome.warnings

    def facts(self, session: t.Any, work: MountWork) -> dict[str, t.Any]:
        return {"mount": observe.facts(work.seen, work.spec)}


def main() -> None:
    """Runs the module."""
    run(MountFloor(), OPTIONS)


if __name__ == "__main__":
    main()
