# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""How libguestfs starts its appliance on this host."""

from __future__ import annotations

import os
import platform

_SETTINGS = "LIBGUESTFS_BACKEND_SETTINGS"
_X86 = ("x86_64", "i686", "i586", "i386")
_CPU = "/proc/cpuinfo"


def environment() -> dict[str, str]:
    """The variables for a program of libguestfs."""
    # Not through libvirt: its user need not be able to read the work folder.
    found = {"LIBGUESTFS_BACKEND": "direct"}
    # Without /dev/kvm it emulates by itself. With one that does not work its appliance would hang until the time is over.
    if _SETTINGS not in os.environ and os.path.exists("/dev/kvm") and not _accelerates():
        found[_SETTINGS] = "force_tcg"
    return found


def _accelerates() -> bool:
    """Whether the processor can do what KVM needs; True where that cannot be told."""
    if platform.machine() not in _X86:
        return True
    try:
        with open(_CPU, encoding="utf-8", errors="replace") as file:
            flags = next((line.partition(":")[2].split() for line in file if line.startswith("flags")), None)
    except OSError:
        return True
    return flags is None or bool({"vmx", "svm"} & set(flags))
