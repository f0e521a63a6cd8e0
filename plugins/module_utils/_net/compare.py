# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Networks: (wanted, observed) -> ChangeSet. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet, Effect
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy
from ansible_collections.hypervisor.kvm.plugins.module_utils._net import xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._net.observe import NetworkState
from ansible_collections.hypervisor.kvm.plugins.module_utils._net.spec import DhcpHost, NetworkSpec

#: The fields that a document has.
FIELDS = ("forward", "bridge", "mac", "mtu", "domain", "dns_enable", "ips")


@dataclasses.dataclass
class NetworkPlan:
    """What the apply room does, in this order; None or empty = nothing of the kind."""

    document: str | None = None
    #: (add or delete, index of the ip element, reservation), in the running network and its definition at once.
    hosts: list[tuple[str, int, DhcpHost]] = dataclasses.field(default_factory=list)
    autostart: bool | None = None
    stop: bool = False
    start: bool = False
    undefine: bool = False


def compare(spec: NetworkSpec, observed: NetworkState) -> ChangeSet:
    """The changes that bring the network to its specification; ``plan`` is a NetworkPlan.

    Raises Busy when running domains would lose a network that is to be stopped.
    """
    changes = ChangeSet(spec.name, NetworkPlan())
    if spec.state == "absent":
        _absent(changes, observed)
        return changes
    document = xml.merge(spec, observed.document)
    _definition(changes, spec, observed, document)
    _activity(changes, spec, observed)
    was = observed.autostart if observed.persistent else False
    if changes.compare("autostart", was, spec.autostart):
        changes.plan.autostart = spec.autostart
    return changes


def _absent(changes: ChangeSet, observed: NetworkState) -> None:
    if not observed.exists:
        return
    _refuse_when_used(changes.object, observed)
    changes.add("state", _state(observed), "absent")
    changes.document(f"{changes.object} (definition)", observed.document or "", "")
    changes.plan.stop = observed.active
    changes.plan.undefine = observed.persistent


def _state(observed: NetworkState) -> str:
    if not observed.exists:
        return "absent"
    return "active" if observed.active else "inactive"


def _refuse_when_used(name: str, observed: NetworkState) -> None:
    if observed.active and observed.connections:
        raise Busy(
            f"network {name}: {observed.connections} interface(s) of running domains are connected to it;"
            " stop those domains first.",
            connections=observed.connections,
        )


def _plain(value: t.Any) -> t.Any:
    """A field as plain data, without what nobody stated."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {key: _plain(item) for key, item in dataclasses.asdict(value).items() if item not in (None, (), [])}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item not in (None, (), [])}
    return value


def _definition(changes: ChangeSet, spec: NetworkSpec, observed: NetworkState, document: str) -> None:
    # The merged document is what exists with the stated fields in it: any difference is one that the user stated.
    wanted = xml.read(document)
    defined = observed.defined if observed.persistent else None
    stays = observed.active and spec.state == "active"
    hosts = _host_changes(defined, wanted) if defined is not None and stays else None
    effect: Effect = "next_boot" if stays and hosts is None else "live"
    if defined is None:
        for field in FIELDS:
            if getattr(spec, field) is not None:
                changes.add(field, None, _plain(getattr(spec, field)), effect)
    else:
        for field in FIELDS:
            changes.compare(field, _plain(getattr(defined, field)), _plain(getattr(wanted, field)), effect)
    if defined is None or changes:
        before = observed.document if observed.persistent else None
        changes.document(f"{changes.object} (definition)", before or "", document)
        if hosts:
            changes.plan.hosts = hosts
        else:
            changes.plan.document = document
    if stays and observed.live is not None:
        _pending(changes, spec, observed.live, wanted if not hosts else xml.read(observed.document or document))


def _host_changes(defined: NetworkSpec, wanted: NetworkSpec) -> list[tuple[str, int, DhcpHost]] | None:
    """The updates when nothing but DHCP reservations differs, which libvirt applies to a running network; else None."""
    bare_defined = dataclasses.replace(defined, ips=_without_hosts(defined))
    bare_wanted = dataclasses.replace(wanted, ips=_without_hosts(wanted))
    updates: list[tuple[str, int, DhcpHost]] = []
    if bare_defined != bare_wanted:
        return None
    for index, (old, new) in enumerate(zip(defined.ips or (), wanted.ips or ())):
        updates += [("delete", index, host) for host in old.hosts if host not in new.hosts]
        updates += [("add", index, host) for host in new.hosts if host not in old.hosts]
    served = all(ip.ranges or ip.hosts for ip, now in zip(defined.ips or (), wanted.ips or ()) if ip.hosts != now.hosts)
    # Without any DHCP service so far there is no dnsmasq to tell: that needs a restart of the network.
    return updates if updates and served else None


def _without_hosts(spec: NetworkSpec) -> tuple[t.Any, ...] | None:
    return None if spec.ips is None else tuple(dataclasses.replace(ip, hosts=()) for ip in spec.ips)


def _pending(changes: ChangeSet, spec: NetworkSpec, live: NetworkSpec, wanted: NetworkSpec) -> None:
    """What the running network lacks, from this change or an earlier one; restarts it when that is wished."""
    waiting = [field for field in FIELDS if _plain(getattr(live, field)) != _plain(getattr(wanted, field))]
    # A MAC that libvirt has invented itself is nobody's wish.
    waiting = [field for field in waiting if getattr(wanted, field) is not None]
    if not waiting:
        return
    if spec.restart == "if_required":
        for field in waiting:
            if not changes.has(field):
                changes.add(field, _plain(getattr(live, field)), _plain(getattr(wanted, field)), "next_boot")
        changes.restarts = True
        changes.plan.stop = changes.plan.start = True
    for field in waiting:
        changes.require_restart(field)


def _activity(changes: ChangeSet, spec: NetworkSpec, observed: NetworkState) -> None:
    if _state(observed) == spec.state:
        return
    if spec.state == "inactive":
        _refuse_when_used(changes.object, observed)
    changes.plan.start = spec.state == "active"
    changes.plan.stop = observed.active
    changes.add("state", _state(observed), spec.state)
