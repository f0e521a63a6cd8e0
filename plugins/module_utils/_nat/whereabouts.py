# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""NAT: at which address of a bridge a domain is, of those that are known of it. Pure."""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.forwards import Forward, within
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.values import of_version


@dataclasses.dataclass(frozen=True)
class Whereabouts:
    """What is known of a domain: groups of addresses, the most reliable first. ``error`` when nobody could be asked."""

    exists: bool = True
    groups: tuple[tuple[str, ...], ...] = ()
    error: KvmError | None = None


def resolve(
    bridge: str,
    subnets: t.Sequence[str],
    some: t.Sequence[Forward],
    known: t.Mapping[str, Whereabouts],
    recorded: t.Sequence[Forward] = (),
) -> tuple[Forward, ...]:
    """The forwards with the addresses of their domains; raises KvmError with a sentence that names the one that has none.

    One that does not say which version of IP it is for becomes one for each that the domain has an address of. A domain that
    is off and has no reservation is where it was: in ``recorded``.
    """
    before: dict[str, list[str]] = {}
    for one in recorded:
        if one.domain and one.to_address:
            before.setdefault(one.domain, []).append(one.to_address)
    found: list[Forward] = []
    for one in some:
        if one.domain is None:
            found.append(one)
            continue
        what = f"nat of bridge {bridge}: port_forwards {one}"
        meant = of_version(subnets, one.version) if one.version else list(subnets)
        whereabouts = known.get(one.domain, Whereabouts(exists=False))
        found += map(one.at, _addresses(what, meant, one.domain, whereabouts, before.get(one.domain, ())))
    return tuple(found)


def _addresses(
    what: str, subnets: t.Sequence[str], domain: str, known: Whereabouts, before: t.Sequence[str]
) -> list[str]:
    """Where it is, of each version of IP at most one."""
    if known.error is not None:
        raise KvmError(
            f"{what}: it is not known where domain {domain} is. {known.error.message}", **known.error.details
        )
    if not known.exists:
        raise InvalidSpec(
            f"{what}: there is no domain {domain} on this host, and no DHCP reservation of that name; define one of them"
            " before, or state to_address."
        )
    both = (_address(what, of_version(subnets, number), domain, known, before) for number in (4, 6))
    found = [address for address in both if address is not None]
    if found:
        return found
    others = ", ".join(dict.fromkeys(address for group in known.groups for address in group))
    raise InvalidSpec(
        f"{what}: domain {domain} has no known address in {', '.join(subnets)}{f' (only {others})' if others else ''};"
        " give it a DHCP reservation there, start it so that it has a lease, or state to_address."
    )


def _address(
    what: str, subnets: t.Sequence[str], domain: str, known: Whereabouts, before: t.Sequence[str]
) -> str | None:
    """Its address in subnets of one version."""
    stayed = next((address for address in before if within(address, subnets)), None)
    for group in known.groups:
        # The same address of IPv6 can be written in many ways.
        plain = dict.fromkeys(str(ipaddress.ip_address(address)) for address in group)
        found = [address for address in plain if within(address, subnets)]
        if len(found) == 1:
            return found[0]
        if stayed in found:
            return stayed
        if found:
            raise InvalidSpec(
                f"{what}: domain {domain} has {len(found)} addresses in {', '.join(subnets)} ({', '.join(found)}); state the one that"
                " is meant as to_address."
            )
    return stayed
