# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Rules in the format of iptables-save, and where the rules of a bridge belong among those of others. Pure.

This util imports the standard library only: its source is also the program that puts the rules back after a reboot.
A rule is its text without ``-A CHAIN``. Rules of others are read to find the right place, never written.
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
_TARGET = re.compile(r"(?:^| )-[jg] (\S+)")
_NETWORK = re.compile(r"[0-9./]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(/[0-9]+)?")
#: ``[fd00::2]:80-90/8080``, ``[fd00::2]``, ``fd00::2``.
_TARGET6 = re.compile(r"^(?:\[([^]]*)\](:.*)?|([0-9a-fA-F:.]+))$")
#: Jumps of managers whose rules decide before ours do: libvirt's isolation, Docker's own.
_GUARD = re.compile(r"LIBVIRT_|DOCKER")
_HARMLESS = frozenset({"comment", "tcp", "udp", "multiport", "conntrack", "state", "addrtype", "limit"})
_SKIPPED = frozenset({"--comment", "--dst-type", "--limit", "--limit-burst"})
#: How a rule begins that asks for some addresses, and so never takes all packets.
_ADDRESSES = ("-s ", "-d ", "! -s ", "! -d ")
_REFUSALS = frozenset({"DROP", "REJECT"})
_ENDS = {
    "nat": frozenset({"ACCEPT", "RETURN", "MASQUERADE", "SNAT"}),
    "mangle": frozenset({"ACCEPT", "RETURN", "DROP"}),
}
#: Chains in which ours are on top, and those of them that forward ports of the host.
_TOPS = frozenset({"INPUT", "PREROUTING", "OUTPUT"})
_DOORS = frozenset({"PREROUTING", "OUTPUT"})
_DOOR_ENDS = frozenset({"ACCEPT", "DNAT", "REDIRECT", "NETMAP"})
#: DNS and DHCP: what the INPUT rules of a bridge let through.
_SERVED = (53, 67, 547)


def walk(text: str) -> t.Iterator[tuple[str, str]]:
    """The tables of a save text, each with what is in it; raises ValueError when it is cut off or no such text."""
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
        yield line[1:].strip(), text[stop + 1 : end]
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
    for table, body in walk(text):
        chains = tables.setdefault(table, {})
        head, begin, rules = f"\n{body}".partition("\n-A ")
        for line in head.split("\n"):
            _take(chains, line)
        rest = begin[1:] + rules
        while rest:
            chain, some, rest = _run(rest)
            if not some:
                for line in rest.split("\n"):
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


def _run(text: str) -> tuple[str, list[str], str]:
    """The first chain of a text of rules, its rules, and the text behind them: thousands in a few steps, as all of a chain stand
    together. No rules when they do not."""
    start = " ".join([*text[:300].split("\n", 1)[0].split(" ", 2)[:2], ""])
    last = text.rfind(f"\n{start}")
    end = text.find("\n", last + 1)
    end = len(text) if end < 0 else end
    rules = text[len(start) : end].split(f"\n{start}")
    if not text.startswith(start) or not start.startswith("-A ") or text.count("\n", 0, end) != len(rules) - 1:
        return "", [], text
    return start[3:-1], rules, text[end + 1 :]


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
    return str(ipaddress.ip_network(word, strict=False))


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


class _Match:
    """What a rule of others asks of a packet, as far as it says whether it takes all that is ours."""

    def __init__(self, rule: str) -> None:
        self.interfaces: dict[str, tuple[bool, str]] = {}
        self.protocol: str | None = None
        self.ports: str | None = None
        self.destination: str | None = None
        self.special = False
        negated = False
        rest = iter(words(rule))
        for word in rest:
            if word == "!":
                negated = True
                continue
            if word in ("-j", "-g"):
                break
            self._option(word, next(rest, ""), negated)
            negated = False

    def _option(self, option: str, value: str, negated: bool) -> None:
        if option in ("-i", "-o"):
            self.interfaces[option] = (negated, value)
        elif option == "-p" and not negated:
            self.protocol = value
        elif option in ("--dport", "--dports") and not negated:
            self.ports = value
        elif option in ("--state", "--ctstate"):
            self.special = self.special or negated or "NEW" not in value.split(",")
        elif option == "-m":
            self.special = self.special or value not in _HARMLESS
        elif option not in _SKIPPED:
            self.special = True
            if option == "-d" and not negated:
                self.destination = value

    def on_bridge(self, bridge: str) -> bool:
        """Whether it takes packets of this bridge, or of any interface."""
        for negated, name in self.interfaces.values():
            same = bridge.startswith(name[:-1]) if name.endswith("+") else bridge == name
            if same == negated:
                return False
        return True

    def serves(self) -> bool:
        """Whether it takes packets to a DNS or DHCP server, or what IPv6 needs to find one."""
        if self.protocol == "ipv6-icmp":
            return True
        if self.protocol not in (None, "tcp", "udp", "all"):
            return False
        return any(low <= port <= high for low, high in self._spans() for port in _SERVED)

    def meets(self, other: _Match) -> bool:
        """Whether there may be packets that both take."""
        if not {None, "all"} & {self.protocol, other.protocol} and self.protocol != other.protocol:
            return False
        networks = [ipaddress.ip_network(one.destination) for one in (self, other) if one.destination is not None]
        if len(networks) == 2 and not networks[0].overlaps(networks[1]):
            return False
        return any(low <= last and first <= high for low, high in self._spans() for first, last in other._spans())

    def _spans(self) -> list[tuple[int, int]]:
        if self.ports is None:
            return [(0, 65535)]
        spans = [part.partition(":") for part in self.ports.split(",")]
        return [(int(low or 0), int(high or (65535 if colon else low))) for low, colon, high in spans]

    def everything(self) -> bool:
        """Whether it asks nothing about the protocol."""
        return self.protocol in (None, "all") and self.ports is None


# The same rules are looked at for every bridge of a call.
@functools.lru_cache(maxsize=65536)
def _target(rule: str) -> str:
    found = _TARGET.search(rule)
    return found.group(1) if found is not None else ""


@functools.lru_cache(maxsize=65536)
def _match(rule: str) -> _Match:
    return _Match(rule)


def _alike(some: t.Sequence[str], others: t.Sequence[str]) -> bool:
    """Whether iptables takes the one for the other, in this order."""
    return all(one == other or key(one) == key(other) for one, other in zip(some, others))


class Site:
    """A chain of a host as the rules of a bridge find it."""

    def __init__(self, tables: Tables, table: str, chain: str, bridge: str) -> None:
        self.table = table
        self.chain = chain
        self.have = get(tables, table, chain)
        self._chains = tables.get(table, {})
        self._bridge = bridge
        self._want: t.Sequence[str] = ()
        #: The devices by which nothing leaves.
        self._closed: set[str] | None = None

    def place(self, want: t.Sequence[str], own: Own) -> list[str]:
        """The chain as it has to be: the rules of others in their order, ours in one block where it works.

        INPUT, PREROUTING, OUTPUT: on top. FORWARD: behind the jumps of libvirt and Docker, before a catch-all.
        POSTROUTING: before a catch-all. What is right already is left as it is, also with rules of others in between.
        """
        self._want = want
        at = own.at(self.have)
        if len(at) == len(want) and _alike([self.have[index] for index in at], want) and self._in_place(at):
            return self.have
        ours = set(at)
        others = [rule for index, rule in enumerate(self.have) if index not in ours]
        top = 0
        if self.chain not in _TOPS:
            top = next((index for index, rule in self._suspects(others) if self._barrier(rule)), len(others))
        return others[:top] + list(want) + others[top:]

    def _in_place(self, at: t.Sequence[int]) -> bool:
        """Whether no rule of others before ours makes them dead, and no jump that is to be before them comes after."""
        if not at:
            return True
        ours = set(at)
        before = self._suspects(self.have[: at[-1]])
        if any(self._barrier(rule) for index, rule in before if index not in ours):
            return False
        if self.chain == "FORWARD":
            for index in range(at[0] + 1, len(self.have)):
                if index in ours:
                    continue
                if self._barrier(self.have[index]):
                    return True
                if _GUARD.match(_target(self.have[index])):
                    return False
        return True

    def _suspects(self, rules: t.Sequence[str]) -> list[tuple[int, str]]:
        """Those that may be barriers; most rules of long chains ask for an address, and never take all packets."""
        if self.chain in _DOORS:
            return list(enumerate(rules))
        return [(index, rule) for index, rule in enumerate(rules) if not rule.startswith(_ADDRESSES)]

    def _takes(self, rule: str) -> bool:
        if rule.startswith(_ADDRESSES):
            return False
        match = _match(rule)
        if match.special or not match.on_bridge(self._bridge):
            return False
        if self.chain == "INPUT":
            return "-o" not in match.interfaces and match.serves()
        return match.everything() and (self.chain == "FORWARD" or not match.interfaces)

    def _barrier(self, rule: str, seen: frozenset[str] = frozenset()) -> bool:
        """Whether rules of ours behind this one are dead, because it takes (or refuses) all of their packets before."""
        if self.chain in _DOORS:
            return self._captures(rule)
        if rule.endswith("-j ACCEPT") and self.table == "filter":
            return self._opens(rule)
        target = _target(rule)
        if self.table == "filter" and target in _REFUSALS:
            return self._takes(rule) or self._cuts_off(rule)
        if self.table != "filter" and target in _ENDS[self.table] and (target != "RETURN" or not seen):
            return self._takes(rule)
        if target not in self._chains or target in seen or _GUARD.match(target) or not self._takes(rule):
            return False
        # From a goto nothing comes back to what is behind it.
        return (not seen and rule.endswith(f"-g {target}")) or self._holds_barrier(target, seen)

    def _holds_barrier(self, chain: str, seen: frozenset[str]) -> bool:
        lines = self._before_return(self._chains[chain])
        return any(self._barrier(line, seen | {chain}) for _index, line in self._suspects(lines))

    def _before_return(self, rules: t.Sequence[str]) -> t.Sequence[str]:
        """Of a chain that translates: what goes back before its other rules is not known."""
        if self.table == "filter":
            return rules
        return rules[
            : next(
                (index for index, rule in enumerate(rules) if "RETURN" in rule and _target(rule) == "RETURN"),
                len(rules),
            )
        ]

    def _opens(self, rule: str) -> bool:
        """Whether it lets everything through, also to the guests; one that names a device means just that."""
        if self.chain != "FORWARD" or rule.startswith(("-i ", "-o ", "-p ", *_ADDRESSES)):
            # Most rules of most hosts are so.
            return False
        return not _match(rule).interfaces and self._takes(rule)

    def _cuts_off(self, rule: str) -> bool:
        """Whether it refuses all that comes by another device, so that no guest gets an answer from there.

        One whose way out is closed as well is a network that wants to be left alone, like the bridge of other guests.
        """
        if self.chain != "FORWARD" or not rule.startswith("-i "):
            return False
        match = _match(rule)
        negated, device = match.interfaces["-i"]
        if negated or len(match.interfaces) > 1 or match.special or not match.everything() or "state " in rule:
            return False
        if self._closed is None:
            self._closed = {
                line.split(" ", 2)[1]
                for chain in self._chains.values()
                for line in chain
                if line.startswith("-o ") and _target(line) in _REFUSALS and _match(line).everything()
            }
        return device not in self._closed

    def _captures(self, rule: str, seen: frozenset[str] = frozenset()) -> bool:
        """Whether it may take packets for one of the ports that are forwarded: those who declared them mean all of them."""
        target, match = _target(rule), _match(rule)
        if target in seen or not any(match.meets(_match(one)) for one in self._want):
            return False
        if target in self._chains:
            return any(self._captures(line, seen | {target}) for line in self._chains[target])
        return target in _DOOR_ENDS or (target == "RETURN" and not seen)


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


def replay(save: str, records: t.Sequence[str]) -> str:
    """The input for iptables-restore that puts the rules of records in place again; empty when all are."""
    lines, _chains = restored(parse(save), records)
    return "".join(payload(table, lines[table]) for table in TABLES if lines[table])


def restored(tables: Tables, records: t.Sequence[str]) -> tuple[dict[str, list[str]], dict[tuple[str, str], list[str]]]:
    """What it takes to have the rules of records in place again: the lines for iptables-restore by table, and as a whole
    the chains that change. ``tables`` is brought to what is then."""
    lines: dict[str, list[str]] = {table: [] for table in TABLES}
    chains: dict[tuple[str, str], list[str]] = {}
    wants = [parse(record) for record in records]
    for record, want in zip(records, wants):
        bridge, taken = header(record, "bridge"), [other for other in wants if other is not want]
        # A line "#-A" is a rule of before that may still be there; unless another bridge has it now, with the subnet.
        before = parse(record.replace("\n#-A ", "\n-A ")) if "\n#-A " in record else {}
        for table, chain in CHAINS:
            gone = [
                rule
                for rule in get(before, table, chain)
                if not any(rule in get(other, table, chain) for other in taken)
            ]
            known = [*get(want, table, chain), *gone]
            site, own = Site(tables, table, chain, bridge), Own(known)
            target = site.place(get(want, table, chain), own)
            some = edits(chain, site.have, target, own)
            if some:
                lines[table] += some
                chains[(table, chain)] = target
            tables.setdefault(table, {})[chain] = target
    return lines, chains
