# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What ``iptables-save -c`` says, with the policies of chains and the counters of rules. Pure."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import dialect, tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Tables

_RULE = re.compile(r"(?:\[(\d+):(\d+)\] )?-A (\S+) ?(.*)")


class Line(t.NamedTuple):
    """A rule, its text without ``-A CHAIN``, and what it has counted."""

    rule: str
    packets: int
    bytes: int


@dataclasses.dataclass
class Chain:
    """``policy`` is ACCEPT or DROP; None for a chain that somebody made."""

    policy: str | None
    lines: list[Line] = dataclasses.field(default_factory=list)


#: table -> chain -> what is in it.
Saved = dict[str, dict[str, Chain]]


def parse(text: str) -> Saved:
    """The rules of a save text; raises ValueError when it is cut off or no such text."""
    saved: Saved = {}
    for table, body in tables.walk(text):
        chains = saved.setdefault(table, {})
        for line in body.split("\n"):
            found = _RULE.fullmatch(line)
            if found is not None:
                packets, size, chain, rule = found.groups()
                known = chains.get(chain)
                if known is None:
                    known = chains[chain] = Chain(None)
                known.lines.append(Line(rule, int(packets or 0), int(size or 0)))
            elif line.startswith(":"):
                name, policy = line[1:].split(" ")[:2]
                chains[name] = Chain(_policy(policy))
            else:
                tables.stray(line)
    return saved


_COUNTS = re.compile(r" \[\d+:\d+\]$", re.MULTILINE)


def digest(text: str) -> str:
    """What stands for a text without the counters of its rules: equal for texts that differ in times and the counters of chains
    only. Raises ValueError as parse does."""
    found = hashlib.sha256()
    for table, begin, rules, end in tables.spans(text):
        found.update(f"*{table}\n{_COUNTS.sub('', text[begin:rules])}".encode())
        found.update(text[rules:end].encode())
    return found.hexdigest()


def uncounted(text: str) -> Saved:
    """The same of a text without counters: thousands of rules in a few steps."""
    policies: dict[tuple[str, str], str] = {}
    for table, begin, first, _end in tables.spans(text):
        for line in text[begin:first].split("\n"):
            if line.startswith(":"):
                name, policy = line[1:].split(" ")[:2]
                policies[(table, name)] = policy
    return {
        table: {
            name: Chain(_policy(policies.get((table, name), "-")), [Line(rule, 0, 0) for rule in rules])
            for name, rules in chains.items()
        }
        for table, chains in tables.parse(text).items()
    }


def _policy(word: str) -> str | None:
    return None if word == "-" else word


_COUNTER = re.compile(r"\bcounter packets (\d+) bytes (\d+)")


def of_nft(listing: str, family: str) -> Saved:
    """Our own table as ``nft list table`` shows it, in the words of iptables; raises ValueError as dialect.read does."""
    saved: Saved = {}
    for (table, chain), policy, lines in dialect.chains(listing):
        known = saved.setdefault(table, {})[chain] = Chain(policy.upper() or None)
        for line in lines:
            counted = _COUNTER.search(line)
            packets, size = counted.groups() if counted is not None else ("0", "0")
            rule = dialect.from_nft(line, family)
            # What that does is not known here.
            known.lines.append(
                Line(
                    rule if not rule.startswith(dialect.MARK) else f"{rule} -j {dialect.NFTABLES}",
                    int(packets),
                    int(size),
                )
            )
    return saved


def plain(saved: Saved, start: str = "") -> Tables:
    """The same without policies and counters, of the chains whose names have that start."""
    return {
        table: {name: [line.rule for line in chain.lines] for name, chain in chains.items() if name.startswith(start)}
        for table, chains in saved.items()
    }


def without(saved: Saved, some: Tables) -> Saved:
    """What is left of it when some rules are gone, however they are written."""

    def left(table: str, name: str, chain: Chain) -> Chain:
        going = set(tables.Own(tables.get(some, table, name)).at([line.rule for line in chain.lines]))
        return Chain(chain.policy, [line for index, line in enumerate(chain.lines) if index not in going])

    return {
        table: {
            name: left(table, name, chain) if tables.get(some, table, name) else chain for name, chain in chains.items()
        }
        for table, chains in saved.items()
    }


def closed(text: str) -> frozenset[str]:
    """The chains of table filter with the policy DROP."""
    chains = (text[begin:rules] for table, begin, rules, _end in tables.spans(text) if table == "filter")
    return frozenset(re.findall(r"^:(\S+) DROP ", next(chains, ""), re.MULTILINE))


def of_plain(some: Tables, closed: t.Container[str] = ()) -> Saved:
    """Rules of which no counters are known, and of policies only which chains of table filter are ``closed``."""

    def policy(table: str, name: str) -> str | None:
        return "DROP" if table == "filter" and name in closed else None

    return {
        table: {
            name: Chain(policy(table, name), [Line(rule, 0, 0) for rule in lines]) for name, lines in chains.items()
        }
        for table, chains in some.items()
    }


def busy(saved: Saved) -> list[str]:
    """The tables in which anything can happen to a packet."""
    return sorted(
        table
        for table, chains in saved.items()
        if any(chain.lines or chain.policy == "DROP" for chain in chains.values())
    )
