# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: all that can be seen of a guest that is not up, for the return values of a failed task. Reads only."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import seen_log
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests import denials
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.addresses import Directory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.guest import Guest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.view import View, view
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import domains


def gather(connection: t.Any, uri: str, guest: Guest, directory: Directory) -> dict[str, t.Any]:
    """What is seen of a guest that was waited for. Where the hypervisor is another machine, without its files."""
    raw = domains.read(connection, guest.name)
    local, running = directory.local, raw.running_xml if raw is not None else None
    look = view(running) if running is not None else guest.view
    log = look.console or guest.view.console
    directory.refresh()
    return {
        "domain_state": raw.state if raw is not None else "absent",
        "domain_reason": raw.reason if raw is not None else "gone",
        "waited": dict(guest.done),
        "waiting_for": {thing: guest.notes.get(thing, "it was not asked yet") for thing in guest.open},
        "console_log": log,
        "console_tail": (seen_log.tail(log) if local else []) or guest.console.tail(),
        "qemu_log_tail": seen_log.qemu_log(guest.name, uri) if local else [],
        "addresses": guest.addresses(directory) if running is not None else [],
        "leases": directory.leases(look.macs),
        "denials": denials.read(look.uuid, guest.view.labels | look.labels, guest.pid) if local and look.uuid else [],
    }


def of_start(connection: t.Any, uri: str, name: str, local: bool) -> dict[str, t.Any]:
    """What is seen of a domain that could not be started."""
    if not local:
        return {"qemu_log_tail": [], "denials": []}
    try:
        raw = domains.read(connection, name)
    except LibvirtError:
        # The error to tell is that of the start.
        raw = None
    look = view(raw.inactive_xml) if raw is not None else View()
    return {"qemu_log_tail": seen_log.qemu_log(name, uri), "denials": denials.of(look)}


def sentence(evidence: dict[str, t.Any]) -> str:
    """Where to look, for the end of the error's sentence."""
    words = [word for word in ("console_tail", "screenshot", "qemu_log_tail", "denials") if evidence.get(word)]
    told = f"; see {', '.join(words)} of this result" if words else ""
    lines = evidence.get("console_tail")
    return f"{told}.{' The last line of its console: ' + lines[-1] if lines else ''}"
