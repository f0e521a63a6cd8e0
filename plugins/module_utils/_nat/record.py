# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The record of a bridge: what was declared for it, as a file. Pure.

It is the memory of which rules are ours (a changed subnet, an absent NAT after a reboot) and what the unit replays.
"""

from __future__ import annotations

import dataclasses

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Tables

FOLDER = "/etc/kvm_nat"
SUFFIX = ".rules"
#: Held by whoever changes the rules; its text changes with each change.
LOCK = "/run/kvm_nat.lock"


@dataclasses.dataclass(frozen=True)
class Record:
    """``rules`` are those in force; ``stale`` those of before that a change is about to remove.

    ``persist`` says whether the unit replays it (``systemd``) or it is memory only (``none``).
    """

    bridge: str
    backend: str
    persist: str
    subnets: tuple[str, ...]
    rules: Tables
    stale: Tables = dataclasses.field(default_factory=dict)


def path(bridge: str) -> str:
    """The file of a bridge."""
    return f"{FOLDER}/{bridge}{SUFFIX}"


def text(record: Record) -> str:
    """The record as the text of its file: comments, then what iptables-restore reads."""
    lines = [
        "# What hypervisor.kvm.kvm_nat has declared. The next run writes it anew: change the playbook, not this file.",
        f"# bridge: {record.bridge}",
        f"# subnets: {' '.join(record.subnets)}",
        f"# backend: {record.backend}",
        f"# persist: {record.persist}",
    ]
    for table in tables.TABLES:
        lines.append(f"*{table}")
        for mark, some in (("", record.rules), ("#", record.stale)):
            chains = some.get(table, {})
            lines += [f"{mark}-A {chain} {rule}" for chain, rules in chains.items() for rule in rules]
        lines.append("COMMIT")
    return "\n".join([*lines, ""])


def parse(content: str) -> Record:
    """A record from the text of its file; raises ValueError when it is none."""
    rules = tables.parse(content)
    known = tables.parse(content.replace("\n#-A ", "\n-A "))
    stale: Tables = {}
    for table, chains in known.items():
        for chain, lines in chains.items():
            left = [line for line in lines if line not in tables.get(rules, table, chain)]
            if left:
                stale.setdefault(table, {})[chain] = left
    return Record(
        bridge=tables.header(content, "bridge"),
        backend=tables.header(content, "backend"),
        persist=tables.header(content, "persist"),
        subnets=tuple(tables.header(content, "subnets").split()),
        rules=rules,
        stale=stale,
    )
