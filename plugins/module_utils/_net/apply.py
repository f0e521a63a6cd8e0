# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Networks: carries out a ChangeSet. The only room that writes."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import networks
from ansible_collections.hypervisor.kvm.plugins.module_utils._net import xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._net.compare import NetworkPlan
from ansible_collections.hypervisor.kvm.plugins.module_utils._net.observe import taps

#: Seconds in which the dnsmasq of a network that was stopped has given its addresses back.
_RELEASE = 10


def apply(connection: t.Any, changes: ChangeSet) -> None:
    """Definition first, then what runs: a failure half-way leaves a state from which the next run goes on."""
    name = changes.object
    plan: NetworkPlan = changes.plan
    if plan.document is not None:
        networks.define(connection, name, plan.document)
    for command, index, host in plan.hosts:
        networks.update_dhcp_host(connection, name, command, index, xml.host_text(host))
    if plan.autostart is not None:
        networks.set_autostart(connection, name, plan.autostart)
    devices = taps(connection, name) if plan.stop and plan.start else []
    if plan.undefine:
        # Before the stop: what is stopped and no longer defined is gone, what failed in between is still listed.
        networks.undefine(connection, name)
    if plan.stop:
        networks.stop(connection, name)
    if plan.start:
        _start(connection, name, time.monotonic() + (_RELEASE if plan.stop else 0))
    if devices:
        _reconnect(connection, name, devices)


def _start(connection: t.Any, name: str, deadline: float) -> None:
    """Starts it. libvirt does not wait for the dnsmasq of the network that it has just stopped, which may still have its address."""
    while True:
        try:
            networks.start(connection, name)
            return
        except LibvirtError as exc:
            if "Address already in use" not in exc.message or time.monotonic() >= deadline:
                raise
            time.sleep(0.25)


def _reconnect(connection: t.Any, name: str, devices: t.Sequence[str]) -> None:
    """Puts the interfaces of running domains back into the new bridge; libvirt itself does so at its own start only."""
    raw = networks.read(connection, name)
    spec = xml.read(raw.live_xml) if raw is not None and raw.live_xml is not None else None
    if spec is None or spec.bridge is None or spec.bridge.name is None:
        return
    program = _command.find("ip", "iproute2")
    for device in devices:
        argv = [program, "link", "set", "dev", device, "master", spec.bridge.name]
        _command.run(argv, timeout=10, what=f"Cannot put {device} back into network {name}")
