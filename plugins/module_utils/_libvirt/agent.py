# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Guest agents of domains: thin typed calls that take and give plain data. Safe to call from several threads.

Without a limit a dead agent blocks the call, and with it everybody who wants something of that domain, for ever. The limit
is the domain's, not the call's: so it is set before each question, and ``release`` gives back what was there before.
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import is_code, translated

try:
    import libvirt
    import libvirt_qemu
except ImportError:
    # connection.require_libvirt() reports it before anything here is called.
    libvirt = libvirt_qemu = None


class Refused(LibvirtError):
    """The agent answers, but not to this: it does not know the command, may not do it, or could not."""


def _agent_says(error: LibvirtError, command: str) -> bool:
    """Whether the error is the agent's own answer. Older libvirt has no code for that, but names the command."""
    return is_code(error, "VIR_ERR_AGENT_COMMAND_FAILED") or (
        is_code(error, "VIR_ERR_INTERNAL_ERROR") and command in str(error.details.get("libvirt_message"))
    )


def _limited(connection: t.Any, name: str, limit: int) -> t.Any:
    domain = connection.lookupByName(name)
    if hasattr(domain, "agentSetResponseTimeout"):
        domain.agentSetResponseTimeout(limit)
    return domain


def set_limit(connection: t.Any, name: str, limit: int) -> None:
    """For a call that is no question to the agent alone."""
    with translated(f"Cannot set how long the agent of domain {name} has for an answer"):
        _limited(connection, name, limit)


def release(connection: t.Any, name: str, before: int | None) -> None:
    """Gives a domain back the limit that it had (None: libvirt's own, which is none)."""
    try:
        with translated(f"Cannot reset the time-out of the agent of domain {name}"):
            _limited(connection, name, -2 if before is None else before)
    except LibvirtError as exc:
        # One that has ended has no limit, some hypervisors have no agents.
        if not is_code(exc, "VIR_ERR_NO_DOMAIN", "VIR_ERR_OPERATION_INVALID", "VIR_ERR_NO_SUPPORT"):
            raise


def ping(connection: t.Any, name: str, limit: int) -> None:
    """Returns when the agent of a running domain answers, raises LibvirtError when it does not within ``limit`` seconds."""
    try:
        with translated(f"Cannot ask the agent of domain {name}"):
            # As cheap as a ping, and unlike one it does not mark the domain as tainted.
            _limited(connection, name, limit).getTime()
    except LibvirtError as exc:
        if not _agent_says(exc, "guest-get-time"):
            raise


def thaw(connection: t.Any, name: str, limit: int) -> None:
    """Lets the guest write again; one that is not frozen stays as it is."""
    with translated(f"Cannot thaw the file systems of domain {name}"):
        _limited(connection, name, limit).fsThaw(None, 0)


def is_silent(error: LibvirtError) -> bool:
    """Whether an error means that nobody answers (not connected, silent, or the domain is just not running)."""
    codes = ("VIR_ERR_AGENT_UNRESPONSIVE", "VIR_ERR_AGENT_UNSYNCED", "VIR_ERR_AGENT_COMMAND_TIMEOUT")
    # A lock that was not got: somebody else waits for this agent.
    return is_code(error, *codes, "VIR_ERR_OPERATION_INVALID", "VIR_ERR_OPERATION_TIMEOUT", "VIR_ERR_NO_DOMAIN")


def interfaces(connection: t.Any, name: str, limit: int) -> list[dict[str, t.Any]]:
    """The interfaces that the guest has: ``name``, ``mac`` and ``addresses``, whatever they are."""
    with translated(f"Cannot ask the agent of domain {name} for its addresses"):
        source = libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT
        found = _limited(connection, name, limit).interfaceAddresses(source, 0)
    return [
        {
            "name": label,
            "mac": (entry.get("hwaddr") or "").lower(),
            "addresses": [address["addr"] for address in entry.get("addrs") or ()],
        }
        for label, entry in found.items()
    ]


def guest_info(connection: t.Any, name: str, limit: int) -> dict[str, t.Any]:
    """What the guest says of its system, host name, time zone, users and file systems, flat (``fs.0.mountpoint``)."""
    words = ("OS", "HOSTNAME", "TIMEZONE", "FILESYSTEM")
    kinds = sum(getattr(libvirt, f"VIR_DOMAIN_GUEST_INFO_{word}", 0) for word in words)
    with translated(f"Cannot ask the agent of domain {name} about the guest"):
        return dict(_limited(connection, name, limit).guestInfo(kinds, 0))


def command(connection: t.Any, name: str, limit: int, execute: str, **arguments: t.Any) -> t.Any:
    """The answer to a command that libvirt has no call for. Marks the domain as tainted, as libvirt calls it; raises
    Refused when the agent answers with an error."""
    text = json.dumps({"execute": execute, **({"arguments": arguments} if arguments else {})})
    try:
        with translated(f"The agent of domain {name} does not do {execute}"):
            answer = libvirt_qemu.qemuAgentCommand(_limited(connection, name, limit), text, limit, 0)
    except LibvirtError as exc:
        if _agent_says(exc, execute):
            raise Refused(exc.message, **exc.details) from exc
        raise
    return json.loads(answer).get("return")
