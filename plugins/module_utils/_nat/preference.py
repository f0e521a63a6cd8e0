# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""NAT: what ``backend: auto`` means on a host. Reads only."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import backend, dialect
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Tables


class Preferred(t.NamedTuple):
    """The backend that is meant, the tables that had to be read for that, and a warning when both kinds hold rules."""

    backend: str
    tables: dict[str, Tables]
    warnings: tuple[str, ...] = ()


def prefer(host: backend.Host, asked: backend.Answers) -> Preferred:
    """What ``auto`` means; ``asked`` is what was asked already."""
    if not {backend.NFT, backend.LEGACY} & set(host.programs) and backend.uses_nft(host):
        return Preferred(dialect.NFTABLES, {})
    other = backend.LEGACY if host.default == backend.NFT else backend.NFT
    # The kernel lists the legacy tables that are loaded: without any there is nothing to read.
    if other == backend.LEGACY and not backend.legacy_tables(4):
        return Preferred(host.default, {})
    others = backend.in_use(host, other, asked)
    busy = sorted(table for table, chains in others.items() if any(chains.values()))
    if not busy:
        return Preferred(host.default, {other: others} if others else {})
    found = {other: others}
    preferred = host.default
    if _managed(others):
        found[host.default] = backend.save(host, host.default, asked)
        preferred = host.default if _managed(found[host.default]) else other
    warning = (
        f"This host has rules of {other} (in {', '.join(busy)}) beside {host.default}, and a packet has to pass both:"
        f" what one refuses the other cannot let through. With backend: auto, new rules go to {preferred}."
    )
    return Preferred(preferred, found, (warning,))


def _managed(found: Tables) -> bool:
    return any(chain.startswith(("LIBVIRT_", "DOCKER")) for chains in found.values() for chain in chains)
