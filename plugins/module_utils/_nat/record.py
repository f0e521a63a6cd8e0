# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The record of a bridge: what was declared for it, as a file. Pure.

It is the memory of which rules are ours (a changed subnet, an absent NAT after a reboot) and what the unit replays.
"""

from __future__ import annotations

import dataclasses

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import dialect, shape, tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.shape import THIRTEEN, Shape
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Tables

FOLDER = "/etc/kvm_nat"
SUFFIX = ".rules"
#: Held by whoever changes the rules; its text changes with each change.
LOCK = "/run/kvm_nat.lock"


@dataclasses.dataclass(frozen=True)
class Record:
    """``rules`` are those in force; ``stale`` those of before that a change is about to remove; ``rules6``, ``stale6`` those of IPv6.

    ``persist`` says whether the unit replays it (``systemd``) or it is memory only (``none``). ``zone`` is the one of firewalld that
    the bridge was put into. ``left`` are the backends that a move is about to leave, where any of these rules may still be; that of
    IPv6 goes with each.
    """

    bridge: str
    backend: str
    persist: str
    subnets: tuple[str, ...]
    rules: Tables
    stale: Tables = dataclasses.field(default_factory=dict)
    shape: Shape = THIRTEEN
    zone: str | None = None
    rules6: Tables = dataclasses.field(default_factory=dict)
    stale6: Tables = dataclasses.field(default_factory=dict)
    left: tuple[str, ...] = ()

    def all(self, version: int) -> tuple[Tables, Tables]:
        """Its rules and its stale rules of a version of IP, whatever the backend."""
        return (self.rules, self.stale) if version == 4 else (self.rules6, self.stale6)

    def of(self, backend: str) -> tuple[Tables, Tables]:
        """Its rules and its stale rules in a backend."""
        return self.all(version(backend)) if backend in (self.backend, six(self.backend)) else ({}, {})

    def backends(self) -> list[str]:
        """Where it has rules, or may have some still; its own first."""
        found = dict.fromkeys((self.backend, *self.left))
        both = [found, map(six, found)] if any(self.all(6)) else [found]
        return [name for some in both for name in some]


def six(backend: str) -> str:
    """The backend of IPv6 that goes with one."""
    return dialect.NFTABLES6 if backend == dialect.NFTABLES else backend.replace("iptables", "ip6tables")


def version(backend: str) -> int:
    """The version of IP that a backend is about."""
    return 6 if backend == six(backend) else 4


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
    options = shape.text(record.shape)
    lines += [f"# options: {options}"] if options else []
    lines += [f"# firewalld_zone: {record.zone}"] if record.zone else []
    lines += [f"# left: {' '.join(record.left)}"] if record.left else []
    lines += _lines(record.rules, record.stale)
    if any(chains.values() for some in (record.rules6, record.stale6) for chains in some.values()):
        lines += [f"# backend6: {six(record.backend)}", *_lines(record.rules6, record.stale6)]
    return "\n".join([*lines, ""])


def _lines(rules: Tables, stale: Tables) -> list[str]:
    lines: list[str] = []
    for table in tables.TABLES:
        lines.append(f"*{table}")
        for mark, some in (("", rules), ("#", stale)):
            chains = some.get(table, {})
            lines += [f"{mark}-A {chain} {rule}" for chain, some_rules in chains.items() for rule in some_rules]
        lines.append("COMMIT")
    return lines


def parse(content: str) -> Record:
    """A record from the text of its file; raises ValueError when it is none."""
    backend = tables.header(content, "backend")
    rules, stale = _read(tables.part(content, backend) or "")
    other = tables.header(content, "backend6", "")
    rules6, stale6 = _read(tables.part(content, other) or "") if other else ({}, {})
    return Record(
        bridge=tables.header(content, "bridge"),
        backend=backend,
        persist=tables.header(content, "persist"),
        subnets=tuple(tables.header(content, "subnets").split()),
        rules=rules,
        stale=stale,
        shape=shape.read(tables.header(content, "options", "")),
        zone=tables.header(content, "firewalld_zone", "") or None,
        rules6=rules6,
        stale6=stale6,
        left=tuple(tables.header(content, "left", "").split()),
    )


def _read(content: str) -> tuple[Tables, Tables]:
    rules = tables.parse(content)
    stale: Tables = {}
    if "\n#-A " not in content:
        return rules, stale
    known = tables.parse(content.replace("\n#-A ", "\n-A "))
    for table, chains in known.items():
        for chain, lines in chains.items():
            left = [line for line in lines if line not in tables.get(rules, table, chain)]
            if left:
                stale.setdefault(table, {})[chain] = left
    return rules, stale
