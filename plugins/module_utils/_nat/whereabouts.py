# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""NAT: at which address of a bridge a domain is, of those that are known of it. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.forwards import Forward, within


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

    A domain that is off and has no reservation is where it was: in ``recorded``.
    """
    before = {one.domain: one.to_address for one in recorded if one.domain and one.to_address}
    return tuple(
        one
        if one.domain is None
        else dataclasses.replace(
            one,
            to_address=_address(
                f"nat of bridge {bridge}: port_forwards {one}",
                subnets,
                one.domain,
                known.get(one.domain, Whereabouts(exists=False)),
                before.get(one.domain),
            ),
        )
        for one in some
    )


def _address(what: str, subnets: t.Sequence[str], domain: str, known: Whereabouts, before: str | None) -> str:
    if known.error is not None:
        raise KvmError(
            f"{what}: it is not known where domain {domain} is. {known.error.message}", **known.error.details
        )
    if not known.exists:
        raise InvalidSpec(
            f"{what}: there is no domain {domain} on this host, and no DHCP reservation of that name; define one of them"
            " before, or state to_address."
        )
    before = before if before is not None and within(before, subnets) else None
    for group in known.groups:
        found = [address for address in dict.fromkeys(group) if ":" not in address and within(address, subnets)]
        if len(found) == 1:
            return found[0]
        if before in found:
            return str(before)
        if found:
            raise InvalidSpec(
                f"{what}: domain {domain} has {len(found)} addresses in {', '.join(subnets)} ({', '.join(found)}); state the one that"
                " is meant as to_address."
            )
    if before is not None:
        return before
    others = ", ".join(dict.fromkeys(address for group in known.groups for address in group))
    raise InvalidSpec(
        f"{what}: domain {domain} has no known address in {', '.join(subnets)}{f' (only {others})' if others else ''};"
        " give it a DHCP reservation there, start it so that it has a lease, or state to_address."
    )
