# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Rules in the format of iptables-save: read, told from those of others, and written. Pure.

A rule is its text without ``-A CHAIN``. The source of this util is also a part of the program that puts the rules back
after a reboot, so it imports the standard library only.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import shlex
import typing as t

#: table -> chain -> rules.
Tables = dict[str, dict[str, list[str]]]

#: The chains that rules of ours are in, in the order in which an addition is safe at every step: closed, then open.
CHAINS = (
    ("filter", "INPUT"),
    ("filter", "FORWARD"),
    ("mangle", "POSTROUTING"),
    ("nat", "POSTROUTING"),
    ("nat", "PREROUTING"),
    ("nat", "OUTPUT"),
)
TABLES = ("filter", "mangle", "nat")

_SIGNS = frozenset({"-i", "-o", "-s", "-d", "--to-destination"})
_NETWORK = re.compile(r"[0-9./]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(/[0-9]+)?")
#: ``[fd00::2]:80-90/8080``, ``[fd00::2]``, ``fd00::2``.
_TARGET6 = re.compile(r"^(?:\[([^]]*)\](:.*)?|([0-9a-fA-F:.]+))$")


def walk(text: str) -> t.Iterator[tuple[str, str]]:
    """The tables of a save text, each with what is in it; raises ValueError when it is cut off or no such text."""
    for table, begin, _rules, end in spans(text):
        yield table, text[begin:end]


def spans(text: str) -> t.Iterator[tuple[str, int, int, int]]:
    """The same without copies: where what is in each table begins, where its first rule does, and where it ends."""
    at = 0
    while at < len(text):
        line, _newline, _rest = text[at : at + 1000].partition("\n")
        stop = text.find("\n", at)
        stop = len(text) if stop < 0 else stop
        if not line.startswith("*"):
            stray(line, inside=False)
            at = stop + 1
            continue
        # Most of a text is rules: the end of a table is looked for without a look at each of them.
        end = text.find("\nCOMMIT", stop)
        while end >= 0 and text[end + 7 : end + 8] not in ("", "\n"):
            end = text.find("\nCOMMIT", end + 1)
        if end < 0:
            raise ValueError("a table without COMMIT")
        # Its chains come first.
        rules = text.find("\n-A ", stop, end)
        yield line[1:].strip(), min(stop + 1, end), rules + 1 if rules >= 0 else end, end
        at = end + 8


def stray(line: str, inside: bool = True) -> None:
    """A line that is neither a chain nor a rule of a table; raises ValueError unless it is a comment."""
    if line.startswith("#") or not line.strip():
        return
    if inside and line.startswith("*"):
        raise ValueError("a table without COMMIT")
    outside = "a rule outside of a table" if line.startswith(("-A ", "[")) and not inside else "a line that is no rule"
    raise ValueError(f"{outside}: {line[:80]}")


def parse(text: str) -> Tables:
    """The rules of a save text or a record; raises ValueError when it is cut off or no such text."""
    tables: Tables = {}
    for table, begin, first, end in spans(text):
        chains, at = tables.setdefault(table, {}), first
        for line in text[begin:first].split("\n"):
            _take(chains, line)
        while at < end:
            chain, some, at = _run(text, at, end)
            if not some:
                for line in text[at:end].split("\n"):
                    _take(chains, line)
                break
            chains.setdefault(chain, []).extend(some)
    return tables


def _take(chains: dict[str, list[str]], line: str) -> None:
    if line.startswith("-A "):
        chain, _space, rule = line[3:].partition(" ")
        chains.setdefault(chain, []).append(rule)
    elif line.startswith(":"):
        chains.setdefault(line[1:].split(" ", 1)[0], [])
    else:
        stray(line)


def _run(text: str, begin: int, end: int) -> tuple[str, list[str], int]:
    """The first chain of the rules that stand between, its rules, and where the next one begins: thousands in a few steps, as all
    of a chain stand together. No rules when they do not."""
    start = " ".join([*text[begin : min(begin + 300, end)].split("\n", 1)[0].split(" ", 2)[:2], ""])
    last = text.rfind(f"\n{start}", begin, end)
    stop = text.find("\n", max(last, begin) + 1, end)
    stop = end if stop < 0 else stop
    rules = text[begin + len(start) : stop].split(f"\n{start}")
    in_order = text.startswith(start, begin) and start.startswith("-A ")
    if not in_order or text.count("\n", begin, stop) != len(rules) - 1:
        return "", [], begin
    return start[3:-1], rules, stop + 1


def get(tables: Tables, table: str, chain: str) -> list[str]:
    """The rules of a chain; none when there is no such chain."""
    return tables.get(table, {}).get(chain, [])


def words(rule: str) -> list[str]:
    """The words of a rule, without the quotes that iptables-save puts around some."""
    if '"' in rule or "\\" in rule:
        try:
            return shlex.split(rule)
        except ValueError:
            # Some names are written as they are, with whatever is in them.
            pass
    return rule.split()


@functools.lru_cache(maxsize=4096)
def key(rule: str) -> tuple[str, ...]:
    """The normal form of a rule: two rules that iptables takes for the same one have the same."""
    said = words(rule)
    form: list[str] = []
    for option, word in zip(["", *said], said):
        form.append(_value(option, word))
        # The match of the protocol is implied by its first option; save writes it out.
        if option == "-p" and word in ("tcp", "udp") and said[len(form) : len(form) + 1] == ["--dport"]:
            form += ["-m", word]
    return tuple(form)


def _value(option: str, word: str) -> str:
    if option in ("--to-destination", "--to-source") and word.count(":") > 1:
        return _TARGET6.sub(_translated, word)
    if option in ("-s", "-d"):
        return _network(word)
    return ",".join(sorted(word.split(","))) if option in ("--state", "--ctstate") else word


# The same few are in many rules.
@functools.lru_cache(maxsize=4096)
def _network(word: str) -> str:
    if _NETWORK.fullmatch(word) is None:
        return word
    try:
        return str(ipaddress.ip_network(word, strict=False))
    except ValueError:
        # A mask that is no prefix, which nothing of ours has.
        return word


def _translated(match: re.Match[str]) -> str:
    """One address of IPv6 in its shortest form, in brackets before ports only."""
    try:
        address = str(ipaddress.IPv6Address(match.group(1) or match.group(3)))
    except ValueError:
        return match.group(0)
    return f"[{address}]{match.group(2)}" if match.group(2) else address


class Own:
    """Which lines of a chain are ours: those of these rules, however they are written."""

    def __init__(self, rules: t.Iterable[str]) -> None:
        self._exact = frozenset(rules)

    # What follows is only needed where there are lines that are not written exactly so.

    @functools.cached_property
    def _keys(self) -> set[tuple[str, ...]]:
        return {key(rule) for rule in self._exact}

    @functools.cached_property
    def _signs(self) -> list[str]:
        """A bridge, a subnet or a guest is in every one of them: lines without any need no closer look."""
        found: set[str] = set()
        for rule in self._exact:
            said = words(rule)
            found |= {value for option, value in zip(said, said[1:]) if option in _SIGNS} or {rule}
        return sorted(found)

    def __contains__(self, rule: str) -> bool:
        return rule in self._exact or (any(sign in rule for sign in self._signs) and key(rule) in self._keys)

    def at(self, lines: t.Sequence[str]) -> list[int]:
        """Where in a chain they are. Of a long one only those lines are looked at that have a sign of ours in them."""
        if not self._exact or not lines:
            return []
        return [index for index in _having(lines, self._signs) if lines[index] in self]


def _having(lines: t.Sequence[str], signs: t.Iterable[str]) -> list[int]:
    """The lines that have one of some words in them; the text of all is searched, which takes a tenth of the time."""
    text = "\n".join(lines)
    found: set[int] = set()
    for sign in signs:
        line, seen, at = 0, 0, text.find(sign)
        while at >= 0:
            line += text.count("\n", seen, at)
            found.add(line)
            seen = text.find("\n", at)
            at = text.find(sign, seen) if seen >= 0 else -1
    return sorted(found)


def edits(chain: str, have: t.Sequence[str], target: t.Sequence[str], own: Own) -> list[str]:
    """The lines for iptables-restore that turn ``have`` into ``target``, which differ in rules of ours only."""
    if have is target or list(have) == list(target):
        return []
    first, last = _same_ends(have, target)
    going = [rule for rule in have[first : len(have) - last] if rule in own]
    staying = {key(rule) for rule in (*have[:first], *have[len(have) - last :]) if rule in own}
    if any(key(rule) in staying for rule in going):
        # A deletion takes the first of several that are the same: then all go and come again.
        first, last = 0, 0
        going = [rule for rule in have if rule in own]
    lines = [f"-D {chain} {rule}" for rule in going]
    length = len(have) - len(lines)
    for index in range(first, len(target) - last):
        rule = target[index]
        if rule in own:
            lines.append(f"-A {chain} {rule}" if index == length else f"-I {chain} {index + 1} {rule}")
            length += 1
    return lines


def _same_ends(have: t.Sequence[str], target: t.Sequence[str]) -> tuple[int, int]:
    """How many rules at the start and at the end are the same in both."""
    most = min(len(have), len(target))
    first = next((index for index in range(most) if have[index] != target[index]), most)
    last = next((index for index in range(most - first) if have[-1 - index] != target[-1 - index]), most - first)
    return first, last


class Rewrite:
    """What it takes to bring chains of a backend to what they are to be: ``lines`` are for iptables-restore, by table; ``chains`` are
    those that change, as a whole."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {table: [] for table in TABLES}
        self.chains: dict[tuple[str, str], list[str]] = {}

    def bring(self, table: str, chain: str, have: t.Sequence[str], target: list[str], own: Own) -> None:
        """Adds what turns ``have`` into ``target``, which differ in rules of ours only."""
        some = edits(chain, have, target, own)
        if some:
            self.lines[table] += some
            self.chains[(table, chain)] = target

    def text(self, order: t.Iterable[str] = TABLES) -> str:
        """The input of iptables-restore; empty when nothing changes."""
        return "".join(payload(table, self.lines[table]) for table in order if self.lines[table])


def payload(table: str, lines: t.Sequence[str]) -> str:
    """The input of ``iptables-restore --noflush``: one table, one commit. Chains are not named, so policies stay."""
    return "\n".join([f"*{table}", *lines, "COMMIT", ""])


def part(record: str, backend: str) -> str | None:
    """What a record has for a backend, as a record of its own; None when it has nothing for it.

    The rules of IPv6 come behind those of IPv4, after a line of their own.
    """
    first, line, second = record.partition("\n# backend6: ")
    if header(first, "backend") == backend:
        return first + "\n" if line else first
    name, _end, rules = second.partition("\n")
    return f"# bridge: {header(first, 'bridge')}\n{rules}" if line and name == backend else None


def header(record: str, name: str, default: str | None = None) -> str:
    """A line ``# name: value`` of a record; raises ValueError when it has none and there is no default."""
    _before, found, rest = f"\n{record}".partition(f"\n# {name}: ")
    if not found and default is None:
        raise ValueError(f"there is no line '# {name}: '")
    return rest.partition("\n")[0].strip() if found else default or ""
