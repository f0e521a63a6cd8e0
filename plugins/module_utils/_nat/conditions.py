# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""NAT: what has to hold on a host before anything is changed, and what a specification means there. Pure."""

from __future__ import annotations

import dataclasses

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import forwards, obstacles, record, whereabouts
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.observe import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.record import Record
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.spec import NatSpec, overlap
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.values import of_version


def check(spec: NatSpec, seen: Snapshot) -> None:
    """Raises KvmError when the host, as it is, cannot give what is asked for."""
    if spec.state == "absent":
        return
    if spec.persist == "systemd" and not seen.systemd:
        raise KvmError(
            f"nat of bridge {spec.bridge}: persist: systemd needs a running systemd, and there is none on this host;"
            " say persist: none and put the rules back by other means after a restart."
        )
    for version, on, setting in (
        (4, seen.forwarding, "net.ipv4.ip_forward"),
        (6, seen.forwarding6, "net.ipv6.conf.all.forwarding"),
    ):
        if spec.ip_forward == "check" and not on and of_version(spec.subnets, version):
            raise KvmError(
                f"nat of bridge {spec.bridge}: this host does not forward IPv{version} ({setting} is 0), so no guest gets out;"
                " switch it on or say ip_forward: enable."
            )
    obstacles.check(spec, seen)
    for other in seen.records.values():
        # Those of one call have been checked together: one may take over from another, or both from each other.
        if other.bridge != spec.bridge and other.bridge not in seen.called:
            _check_subnets(spec, other)
    for one in spec.shape.port_forwards:
        if one.to_address in (seen.addresses or ()):
            raise InvalidSpec(
                f"nat of bridge {spec.bridge}: port_forwards {one}: to_address {one.to_address} is an address of this host itself;"
                " state that of a guest."
            )


def _check_subnets(spec: NatSpec, other: Record) -> None:
    for subnet in spec.subnets:
        for theirs in other.subnets:
            if overlap(subnet, theirs):
                raise InvalidSpec(
                    f"nat of bridge {spec.bridge}: subnet {subnet} overlaps {theirs} of bridge {other.bridge}"
                    f" (in {record.path(other.bridge)}); take another one, or remove the NAT of {other.bridge} first."
                )


def _check_ports(spec: NatSpec, other: Record) -> None:
    both = forwards.first_clash(spec.shape.port_forwards, other.shape.port_forwards)
    if both is not None:
        raise InvalidSpec(
            f"nat of bridge {spec.bridge}: port_forwards {both[0]}: {both[1]} leads to a guest on bridge {other.bridge} already"
            f" (in {record.path(other.bridge)}); take another port, or remove that one first."
        )


def resolved(spec: NatSpec, seen: Snapshot, known: Record | None) -> NatSpec:
    """The specification with the addresses of the domains that ports are forwarded to; raises KvmError when another bridge has
    one of the ports."""
    some = spec.shape.port_forwards
    if spec.state == "absent" or not some:
        return spec
    if any(one.domain for one in some):
        before = known.shape.port_forwards if known is not None else ()
        some = whereabouts.resolve(spec.bridge, spec.subnets, some, seen.whereabouts, before)
        spec = dataclasses.replace(spec, shape=dataclasses.replace(spec.shape, port_forwards=some))
    for other in seen.records.values():
        # Those of one call have been checked together: one may give a port to another.
        if other.bridge != spec.bridge and other.bridge not in seen.called:
            _check_ports(spec, other)
    return spec
