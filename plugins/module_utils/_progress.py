# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Progress of long work: lines that a person can follow while the module works (Ansible shows a module's output only
at its end). They go to the system log and to one small file: ``tail -F /run/hypervisor.kvm.progress``."""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

PROGRESS_FILE = "/run/hypervisor.kvm.progress"
_LIMIT = 256 * 1024


def teller(log: t.Callable[[str], None], kind: str) -> t.Callable[[str], None]:
    """A function that tells a message both ways. The file is a convenience: that it cannot be written stops nothing."""

    def say(message: str) -> None:
        log(f"{kind}: {message}")
        line = f"{time.strftime('%H:%M:%S')} {kind}: {message}\n"
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(PROGRESS_FILE, flags, 0o644)
            try:
                if os.fstat(descriptor).st_size > _LIMIT:
                    os.ftruncate(descriptor, 0)
                os.write(descriptor, line.encode("utf-8", "replace"))
            finally:
                os.close(descriptor)

    return say
