# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what AppArmor or SELinux have not let a guest's qemu do, from the logs of kernel and audit daemon. Reads only."""

from __future__ import annotations

import contextlib
import os
import re
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import seen_log
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests import text
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.view import View

_AUDIT = "/var/log/audit/audit.log"
_KERNEL = "/dev/kmsg"
#: Where syslog daemons put what the kernel says, for who may not read it there.
_SYSLOGS = ("/var/log/kern.log", "/var/log/messages", "/var/log/syslog")
_BYTES = 2 * 1024 * 1024
_RECORD = 8192
_SHOWN = 20
_STAMP = re.compile(r"audit\((\d+)\.\d+:\d+\)")
#: How denials begin; what is before it (the log's own time stamps) differs from log to log.
_BEGIN = re.compile(r"(?:audit\(\d|avc: |apparmor=)")
#: A domain that does not run has no label of its own any more: then what guests were denied in the last seconds.
_JUST_NOW = 120


def read(uuid: str, labels: t.Collection[str] = (), pid: int | None = None) -> list[str]:
    """The last denials of a domain: by its AppArmor profile, by its SELinux labels, or by the process id of its qemu."""
    logs = [_kernel(), seen_log.read_end(_AUDIT, _BYTES)]
    if not logs[0]:
        logs += [seen_log.read_end(path, _BYTES) for path in _SYSLOGS]
    lines = [line for log in logs for line in text.lines(log)]
    return choose(lines, uuid, labels, pid, time.time())


def of(view: View, pid: int | None = None) -> list[str]:
    """The same of what is known of a running domain."""
    return read(view.uuid, view.labels, pid) if view.uuid else []


def choose(lines: t.Sequence[str], uuid: str, labels: t.Collection[str], pid: int | None, now: float) -> list[str]:
    """Pure: the lines that are denials of that domain, each once."""
    found: dict[str, str] = {}
    for line in lines:
        if _is_denial(line) and _is_of(line, uuid, labels, pid, now):
            begin = _BEGIN.search(line)
            told = line[begin.start() :] if begin else line
            stamp = _STAMP.search(line)
            # The kernel and the audit daemon write down the same event.
            found[stamp.group(0) if stamp else told] = told
    return list(found.values())[-_SHOWN:]


def _is_denial(line: str) -> bool:
    return 'apparmor="DENIED"' in line or ("avc:" in line and "denied" in line)


def _is_of(line: str, uuid: str, labels: t.Collection[str], pid: int | None, now: float) -> bool:
    if re.search(rf'profile="libvirt-{re.escape(uuid)}(?:"|//)', line):
        return True
    if "avc:" not in line:
        return False
    if any(re.search(rf"scontext={re.escape(label)}(?:\s|$)", line) for label in labels):
        return True
    guest = re.search(r"scontext=\S*:svirt\w*_t:", line) is not None
    if pid is not None and guest and re.search(rf"\bpid={pid}\b", line):
        return True
    stamp = _STAMP.search(line)
    return not labels and pid is None and guest and stamp is not None and now - int(stamp.group(1)) < _JUST_NOW


def _kernel() -> bytes:
    """What the kernel's own log has; nothing for who may not read it."""
    found: list[bytes] = []
    with contextlib.suppress(OSError):
        descriptor = os.open(_KERNEL, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found += _records(descriptor)
        finally:
            os.close(descriptor)
    return b"\n".join(found)


def _records(descriptor: int) -> t.Iterator[bytes]:
    while True:
        try:
            record = os.read(descriptor, _RECORD)
        except BlockingIOError:
            return
        except BrokenPipeError:
            # Overwritten while it was read; the next one is there.
            continue
        if not record:
            return
        # "priority,number,time,flags;message", then lines about the device.
        yield record.partition(b";")[2].split(b"\n")[0]
