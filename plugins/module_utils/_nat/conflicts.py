# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Who else has a say about the packets of the guests, and what that means for them. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import native, rules, saved
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.saved import Saved
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Tables


@dataclasses.dataclass(frozen=True)
class Conflict:
    """``manager`` is whose it is; ``where`` a table, a chain or a rule; ``bridge`` the one that it is about, if it is about one."""

    manager: str
    problem: str
    where: str = ""
    bridge: str = ""


_MANAGERS = (
    ("ufw", re.compile(r"ufw-")),
    ("docker", re.compile(r"DOCKER")),
    ("firewalld", re.compile(r"(?:FWD|FWDI|FWDO|IN|POST|PRE)_[A-Za-z]+$|FORWARD_direct$|INPUT_ZONES$")),
)


def of_host(by_backend: t.Mapping[str, Saved], unreadable: t.Mapping[str, str], chosen: str) -> list[Conflict]:
    """What is about all bridges: other managers, two kinds of iptables, policies, what cannot be read."""
    found = [Conflict(name, f"not all of its rules can be read: {why}") for name, why in unreadable.items()]
    busy = {name: saved.busy(one) for name, one in by_backend.items()}
    others = [name for name, tables in busy.items() if tables and name != chosen]
    found += [
        Conflict(
            name,
            f"has rules as well, and a packet has to pass both: what one refuses {chosen} cannot let through",
            ", ".join(busy[name]),
        )
        for name in others
    ]
    for name, one in by_backend.items():
        found += _managers(name, one)
    return found


def _managers(backend: str, one: Saved) -> list[Conflict]:
    found = []
    for manager, pattern in _MANAGERS:
        chains = [f"{table} {chain}" for table, chains in one.items() for chain in chains if pattern.match(chain)]
        if chains:
            found.append(Conflict(manager, f"has chains of its own in {backend}", ", ".join(sorted(chains)[:5])))
    for chain in ("INPUT", "FORWARD", "OUTPUT"):
        known = one.get("filter", {}).get(chain)
        if known is not None and known.policy == "DROP":
            found.append(Conflict(backend, "its policy is DROP: what no rule accepts is dropped", f"filter {chain}"))
    return found


def of_nft(theirs: native.Ruleset) -> list[Conflict]:
    """Chains of nft itself: what they refuse, no rule of iptables lets through."""
    found = []
    for chain in theirs.chains:
        # What the host itself sends is refused by rules more often than not: that alone says nothing of guests.
        about_guests = chain.kind == "filter" and (chain.hook != "output" or chain.policy == "drop")
        if not about_guests or not native.refuses(theirs, chain):
            continue
        firewalld = (chain.family, chain.table) == native.FIREWALLD
        what = "its policy is drop" if chain.policy == "drop" else "its table has rules that refuse packets"
        hint = (
            "put the bridge into a zone that accepts and forwards"
            if firewalld
            else "let the guests' packets pass there too"
        )
        problem = f"{what}; rules of iptables cannot let through what it refuses: {hint}"
        where = f"{chain.family} {chain.table} {chain.name}"
        found.append(Conflict("firewalld" if firewalld else "nftables", problem, where))
    return found


def of_bridge(bridge: str, by_backend: t.Mapping[str, Tables]) -> list[Conflict]:
    """Rules of libvirt for a bridge that this module serves: of each of its chains the first."""
    found = []
    for name, one in by_backend.items():
        first: dict[str, str] = {}
        for table, chain, rule in rules.names_bridge(bridge, one):
            first.setdefault(f"{table} {chain}", rule)
        found += [
            Conflict(
                "libvirt",
                f"has rules of its own for this bridge in {name}, which come first ({rule}): give its network the forward mode open",
                where,
                bridge,
            )
            for where, rule in first.items()
        ]
    return found
