# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Mounts of images: the programs that keep running for a mount. They are known by the mount's own folder in their
command line, so they are found also when the task that started them was killed before it could write down anything.
"""

from __future__ import annotations

import os
import signal
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.holders import command_line, command_name, processes
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount import holders
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.holders import User
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.record import Record

_PROGRAMS = ("qemu-storage-daemon", "qemu-nbd", "guestmount", "fuse2fs")


def servers(work: str) -> list[User]:
    """The daemons of the mount whose folder is ``work``."""
    found = []
    for pid in processes():
        words = command_line(pid)
        if os.path.basename(words[0]) in _PROGRAMS and any(work + "/" in word for word in words) and _own(pid):
            start = holders.started(pid)
            if start:
                found.append(User(pid, start, command_name(pid), ("a daemon of the mount",)))
    return found


def _own(pid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}").st_uid == os.geteuid()
    except OSError:
        return False


def wait(record: Record, programs: t.Collection[str], timeout: float) -> None:
    """Waits for daemons that end by themselves once what they serve is unmounted and written."""
    holders.wait_until_gone(lambda: [user for user in servers(record.work) if user.command in programs], timeout)


def stop(record: Record, timeout: float) -> None:
    """Ends the daemons of a mount that is no longer mounted; raises KvmError when one does not end."""
    for number, patience in ((signal.SIGTERM, timeout), (signal.SIGKILL, 5)):
        left = servers(record.work)
        holders.tell(left, number)
        if not left or not holders.wait_until_gone(lambda: servers(record.work), patience):
            return
    names = ", ".join(f"process {user.pid} ({user.command})" for user in servers(record.work))
    raise KvmError(f"mount {record.mountpoint}: {names} does not end, not even when killed; it waits for its storage.")
