# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Mounts of images: by libguestfs, whose own small guest reads the file system, so that a hostile one cannot reach the host."""

from __future__ import annotations

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command, _libguestfs
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount import capabilities
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.backends import daemon
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.record import Record


def mount(record: Record, timeout: float) -> None:
    """Mounts at ``record.mountpoint``; the program keeps running until that is unmounted."""
    program = _command.find(*capabilities.GUESTMOUNT)
    device = "/dev/sda" if record.number is None else f"/dev/sda{record.number}"
    if record.volume is not None:
        device = f"/dev/{record.volume}"
    argv = [program, f"--format={record.format}", "-a", record.path, "-m", device, "--pid-file", record.pid_file]
    if record.read_only:
        argv.append("--ro")
    what = f"Cannot mount {record.path} at {record.mountpoint}"
    daemon.start(record, [*argv, record.mountpoint], timeout, what, env=_libguestfs.environment())
