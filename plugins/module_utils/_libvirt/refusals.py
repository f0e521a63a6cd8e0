# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Running domains: what libvirt's errors mean when a change is not taken."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import is_code

#: Errors that say "not in this way" of a change; what else fails is wrong and has to be put right.
_REFUSED = (
    "VIR_ERR_OPERATION_UNSUPPORTED",
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "VIR_ERR_ARGUMENT_UNSUPPORTED",
    "VIR_ERR_OPERATION_INVALID",
    "VIR_ERR_NO_SUPPORT",
    "VIR_ERR_OPERATION_TIMEOUT",
    "VIR_ERR_AGENT_UNRESPONSIVE",
    "VIR_ERR_AGENT_UNSYNCED",
    # Those two are of newer versions.
    "VIR_ERR_AGENT_COMMAND_TIMEOUT",
    "VIR_ERR_AGENT_COMMAND_FAILED",
)
#: The same in the words of qemu, and of libvirt where it has no number for it.
_WORDS = re.compile(
    r"hot-?plug|hot-?unplug|be unplugged|No more available|not support|no .* controllers are available|[Tt]ray|requires hotplug"
    r"|unable to execute QEMU agent command",
)
#: What is in use and may not be later, for which libvirt says that the argument is invalid.
_USED = "being used by"
_LOCKED = "cannot acquire state change lock"


def is_refusal(error: LibvirtError) -> bool:
    """Whether libvirt says that a running domain does not take such a change, rather than that something is wrong."""
    message = str(error.details.get("libvirt_message", ""))
    if _LOCKED in message:
        return False
    if _USED in message:
        return True
    return is_code(error, *_REFUSED) or (
        is_code(error, "VIR_ERR_INTERNAL_ERROR", "VIR_ERR_OPERATION_FAILED") and _WORDS.search(message) is not None
    )


def is_passing(error: LibvirtError) -> bool:
    """Whether a refusal is one of the moment: the guest may not be up yet, or hold something that it will let go of."""
    message = str(error.details.get("libvirt_message", ""))
    passing = is_code(
        error,
        "VIR_ERR_OPERATION_TIMEOUT",
        "VIR_ERR_AGENT_UNRESPONSIVE",
        "VIR_ERR_AGENT_UNSYNCED",
        "VIR_ERR_AGENT_COMMAND_TIMEOUT",
    )
    return passing or re.search(rf"[Tt]ray|agent|{_USED}", message) is not None


def is_broken(connection: t.Any) -> bool:
    """Whether the connection has broken, so that the next call which can be repeated makes another one."""
    generation = getattr(connection, "generation", None)
    return generation is not None and bool(connection.broken(generation))
