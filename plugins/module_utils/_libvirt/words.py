# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""libvirt's numbers in words."""

from __future__ import annotations

import functools

try:
    import libvirt
except ImportError:
    # connection.require_libvirt() reports it before anything here is called.
    libvirt = None

#: libvirt's states in the words of the module.
_STATES = {
    0: "unknown", 1: "running", 2: "running", 3: "paused", 4: "stopping", 5: "stopped", 6: "crashed", 7: "suspended",
}  # fmt: skip
_REASONS = {1: "RUNNING", 2: "BLOCKED", 3: "PAUSED", 4: "SHUTDOWN", 5: "SHUTOFF", 6: "CRASHED", 7: "PMSUSPENDED"}


@functools.cache
def state_words(state: int, reason: int) -> tuple[str, str]:
    """State and reason of a domain."""
    prefix = f"VIR_DOMAIN_{_REASONS.get(state, 'NOSTATE')}_"
    names = [name for name in dir(libvirt) if name.startswith(prefix) and getattr(libvirt, name) == reason]
    return _STATES.get(state, "unknown"), names[0][len(prefix) :].lower() if names else "unknown"
