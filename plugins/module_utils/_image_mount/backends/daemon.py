# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Mounts of images: the programs that keep running for a mount.

They are known by a word in their environment, which whatever they start has too. So they are found also when the task that
started them was killed before it could write down anything.
"""

from __future__ import annotations

import os
import signal
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.holders import command_name, processes
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount import holders
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.holders import User
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.record import Record

_MARK = "KVM_IMAGE_MOUNT"
_KILL_PATIENCE = 5


def start(
    record: Record,
    argv: t.Sequence[str],
    timeout: float,
    what: str,
    ok: t.Collection[int] = (0,),
    env: t.Mapping[str, str] | None = None,
) -> _command.Finished:
    """Runs a program that leaves a daemon behind; see ``_command.run``."""
    os.makedirs(record.work, mode=0o700, exist_ok=True)
    return _command.run(argv, timeout=timeout, what=what, ok=ok, env={**(env or {}), _MARK: record.work})


def servers(work: str) -> list[User]:
    """The daemons of the mount whose folder is ``work``."""
    mark = f"{_MARK}={work}".encode()
    found = []
    for pid in processes():
        if mark in _environment(pid):
            start = holders.started(pid)
            if start:
                found.append(User(pid, start, command_name(pid), ("a daemon of the mount",)))
    return found


def _environment(pid: int) -> list[bytes]:
    try:
        # Another user's process could call itself anything.
        if os.stat(f"/proc/{pid}").st_uid != os.geteuid():
            return []
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def wait(record: Record, timeout: float, programs: t.Collection[str] | None = None) -> None:
    """Waits for daemons (None: all) that end by themselves once what they serve is unmounted and written."""
    holders.wait_until_gone(
        lambda: [user for user in servers(record.work) if programs is None or user.command in programs], timeout
    )


def stop(record: Record, timeout: float) -> None:
    """Ends the daemons of a mount that is no longer mounted; raises KvmError when one does not end."""
    for number, patience in ((signal.SIGTERM, timeout), (signal.SIGKILL, _KILL_PATIENCE)):
        left = servers(record.work)
        holders.tell(left, number)
        if not left or not holders.wait_until_gone(lambda: servers(record.work), patience):
            return
    names = ", ".join(f"process {user.pid} ({user.command})" for user in servers(record.work))
    raise KvmError(f"mount {record.mountpoint}: {names} does not end, not even when killed; it waits for its storage.")
