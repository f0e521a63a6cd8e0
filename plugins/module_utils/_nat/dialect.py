# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The rules in the language of nft, in a table of our own, and back into the one of iptables-save. Pure.

Everything else here speaks of rules as iptables-save writes them; what is no rule of ours in our table keeps its words
behind a mark. This util imports the standard library only: its source is also a part of what puts the rules back after a reboot.
"""

from __future__ import annotations

import re
import typing as t

TABLE = "kvm_nat"
NFTABLES, NFTABLES6 = "nftables", "nftables6"
#: The family of the table by backend.
FAMILIES = {NFTABLES: "ip", NFTABLES6: "ip6"}

#: (table, chain) of iptables -> our chain, its type, hook and priority. Translations come a little before those of others.
CHAINS = {
    ("filter", "INPUT"): ("input", "filter", "input", 0),
    ("filter", "FORWARD"): ("forward", "filter", "forward", 0),
    ("mangle", "POSTROUTING"): ("checksums", "filter", "postrouting", -150),
    ("nat", "POSTROUTING"): ("postrouting", "nat", "postrouting", 95),
    ("nat", "PREROUTING"): ("prerouting", "nat", "prerouting", -105),
    ("nat", "OUTPUT"): ("output", "nat", "output", -105),
}
_PLACES = {definition[0]: place for place, definition in CHAINS.items()}
_PRIORITIES = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}
#: What a rule begins with that nobody has said in the language of iptables.
MARK = "@ "
#: What tells a rule that counts nothing, as others make them, from ours, which all count; iptables knows no such rule.
_UNCOUNTED = "-m comment --comment uncounted"
#: Where what else is in our table stands, beside the tables of iptables.
OTHERS = "others"

_DISCOVERY = {"133": "nd-router-solicit", "134": "nd-router-advert", "135": "nd-neighbor-solicit"}
_DISCOVERY["136"] = "nd-neighbor-advert"
_NUMBERS = {name: number for number, name in _DISCOVERY.items()}
#: What is asked in a few words: option, value, whether it is negated.
_PHRASES = {
    ("--ctstate", "DNAT", False): "ct status dnat",
    ("--ctstate", "DNAT", True): "ct status ! dnat",
    ("--dst-type", "LOCAL", False): "fib daddr type local",
    **{("--icmpv6-type", number, False): f"icmpv6 type {name}" for number, name in _DISCOVERY.items()},
}
_VERDICTS = {"ACCEPT": "accept", "DROP": "drop", "RETURN": "return", "REJECT": "reject"}
_REFUSALS = {"ip": "icmp-port-unreachable", "ip6": "icmp6-port-unreachable"}
_BARE = {"ip": "/32", "ip6": "/128"}
_HEADER = re.compile(r"type (\w+) hook (\w+) priority ([a-z]+|-?\d+)(?: ([+-]) (\d+))?; policy (\w+);")
_TO = re.compile(r"(\[[^\]]+\]|[^:\[\]]+|[0-9a-f:]+)(?::(\d+(?:-\d+)?)(?:/(\d+))?)?")
_MAP = re.compile(
    r"^(.*) to ([0-9.]+|\[[0-9a-f:]+\]) ?: ?(?:tcp|udp) dport map \{ (\d+) : (\d+),.* : (\d+) \}$", re.DOTALL
)


def to_nft(rule: str, family: str) -> str:
    """A rule of iptables-save as one of nft's; raises ValueError for what no rule of ours says."""
    if rule.startswith(MARK):
        return rule[len(MARK) :]
    words = rule.split()
    found: list[str] = []
    protocol, negated, at = "", False, 0
    while at < len(words):
        option, value = words[at], words[at + 1] if at + 1 < len(words) else ""
        at += 2
        if option == "!":
            negated, at = True, at - 1
        elif option == "-j":
            ports = next((word for before, word in zip(words, words[1:]) if before == "--dport"), "")
            counter = [] if _UNCOUNTED in rule else ["counter"]
            return " ".join([*found, *counter, _statement(value, words[at:], family, protocol, ports)])
        elif option == "-p":
            protocol = value
            if "--dport" not in words and "--icmpv6-type" not in words:
                found += ["meta", "l4proto", value]
        elif option != "-m" and (option, value) != ("--comment", "uncounted"):
            found.append(_match(option, value, negated, family, protocol))
            negated = False
    raise ValueError(f"nftables: the rule {rule} has no target")


def _match(option: str, value: str, negated: bool, family: str, protocol: str) -> str:
    unless = "!= " if negated else ""
    if option in ("-s", "-d"):
        address = value[: -len(_BARE[family])] if value.endswith(_BARE[family]) else value
        return f"{family} {'saddr' if option == '-s' else 'daddr'} {unless}{address}"
    if option in ("-i", "-o"):
        return f'{"iifname" if option == "-i" else "oifname"} {unless}"{value}"'
    if option == "--dport":
        return f"{protocol} dport {unless}{value.replace(':', '-')}"
    if (option, value, negated) in _PHRASES:
        return _PHRASES[(option, value, negated)]
    if option == "--state" and not negated:
        return f"ct state {','.join(sorted(value.lower().split(',')))}"
    raise ValueError(f"nftables: there are no words for {option} {value}")


def _statement(target: str, words: t.Sequence[str], family: str, protocol: str, ports: str) -> str:
    if target in _VERDICTS and (not words or list(words) == ["--reject-with", _REFUSALS[family]]):
        return _VERDICTS[target]
    if target == "CHECKSUM":
        return "udp checksum set 0"
    if target == "MASQUERADE":
        return f"masquerade to :{words[1]}" if words else "masquerade"
    if target == "SNAT":
        return f"snat to {words[1]}"
    if target == "DNAT":
        return f"dnat to {_destination(words[1], protocol, ports)}"
    raise ValueError(f"nftables: there are no words for {target} {' '.join(words)}")


def _destination(to: str, protocol: str, ports: str) -> str:
    found = _TO.fullmatch(to)
    if found is None:
        raise ValueError(f"nftables: there are no words for the destination {to}")
    address, span, base = found.groups()
    if base is None:
        return to
    # nft counts no ports: each is said with the one that it becomes.
    first = int(span.partition("-")[0])
    low, _colon, high = ports.partition(":")
    pairs = (f"{port} : {first + port - int(base)}" for port in range(int(low), int(high) + 1))
    return f"{address} : {protocol} dport map {{ {', '.join(pairs)} }}"


def from_nft(text: str, family: str) -> str:
    """The same rule as iptables-save writes it; what no rule of ours could be keeps its words, behind a mark."""
    try:
        return _Reader(text, family).rule()
    except (ValueError, IndexError, KeyError):
        return MARK + text


class _Reader:
    """Reads one line of ``nft list``; each of its steps raises an error for what it does not know."""

    def __init__(self, text: str, family: str) -> None:
        shifted = _MAP.match(text)
        self._base = shifted.groups()[2:] if shifted is not None else None
        self._words = (f"{shifted.group(1)} to {shifted.group(2)}" if shifted is not None else text).split()
        self._family = family
        self._found: list[str] = []

    def rule(self) -> str:
        counted = False
        while self._words:
            word = self._words.pop(0)
            if word == "counter" and not counted:
                counted = True
                if self._words[0] == "packets":
                    del self._words[:4]
            elif self._is_last(word):
                if self._words:
                    raise ValueError(word)
                return " ".join([*self._found[:-1], *([] if counted else [_UNCOUNTED]), self._found[-1]])
            elif counted:
                # It counts what the rest is not asked of.
                raise ValueError(word)
        raise ValueError("no statement")

    def _is_last(self, word: str) -> bool:
        """Takes a match or a statement; True for a statement."""
        if word in ("ip", "ip6") and word == self._family:
            option = {"saddr": "-s", "daddr": "-d"}[self._words.pop(0)]
            unless, value = self._value()
            if not re.fullmatch(r"[0-9a-f.:]+(/\d+)?", value):
                raise ValueError(value)
            self._found.append(f"{unless}{option} {value if '/' in value else value + _BARE[self._family]}")
        elif word in ("iifname", "oifname"):
            unless, value = self._value()
            self._found.append(f"{unless}-{word[0]} {_unquoted(value)}")
        elif word in ("tcp", "udp") and self._words[0] == "dport":
            del self._words[0]
            self._found.append(f"-p {word} -m {word} --dport {_ports(self._words.pop(0))}")
        elif word in ("ct", "meta", "fib", "icmpv6"):
            self._more(word)
        else:
            self._found.append(self._target(word))
            return True
        return False

    def _value(self) -> tuple[str, str]:
        unless = ""
        if self._words[0] == "!=":
            unless = f"{self._words.pop(0)[0]} "
        return unless, self._words.pop(0)

    def _more(self, word: str) -> None:
        words = self._words
        if (word, words[0]) == ("ct", "state"):
            states = sorted(words[1].upper().split(","), reverse=True)
            self._found.append(f"-m state --state {','.join(states)}")
            del words[:2]
        elif (word, *words[:2]) == ("ct", "status", "dnat"):
            self._found.append("-m conntrack --ctstate DNAT")
            del words[:2]
        elif (word, *words[:3]) == ("ct", "status", "!", "dnat"):
            self._found.append("-m conntrack ! --ctstate DNAT")
            del words[:3]
        elif (word, words[0]) == ("meta", "l4proto") and words[1] in ("tcp", "udp"):
            self._found.append(f"-p {words[1]}")
            del words[:2]
        elif (word, *words[:3]) == ("fib", "daddr", "type", "local"):
            self._found.append("-m addrtype --dst-type LOCAL")
            del words[:3]
        elif (word, words[0]) == ("icmpv6", "type"):
            self._found.append(f"-p ipv6-icmp -m icmp6 --icmpv6-type {_NUMBERS[words[1]]}")
            del words[:2]
        else:
            raise ValueError(word)

    def _target(self, word: str) -> str:
        words, self._words = self._words, []
        if word == "reject" and (not words or words[-1] == "port-unreachable"):
            return f"-j REJECT --reject-with {_REFUSALS[self._family]}"
        if word in ("accept", "drop", "return") and not words:
            return f"-j {word.upper()}"
        if (word, *words) == ("udp", "checksum", "set", "0"):
            return "-j CHECKSUM --checksum-fill"
        if word == "masquerade":
            return f"-j MASQUERADE --to-ports {_after(words, ':')}" if words else "-j MASQUERADE"
        if word == "snat":
            return f"-j SNAT --to-source {_after(words, '')}"
        if word == "dnat":
            shift = ""
            if self._base is not None:
                low, first, last = self._base
                shift = f":{first}-{last}/{low}"
            return f"-j DNAT --to-destination {_after(words, '')}{shift}"
        raise ValueError(word)


def _after(words: t.Sequence[str], sign: str) -> str:
    """What a translation is to; anything else behind it is not ours."""
    if len(words) != 2 or words[0] != "to" or not words[1].startswith(sign):
        raise ValueError(" ".join(words))
    return words[1][len(sign) :]


def _unquoted(value: str) -> str:
    if not re.fullmatch(r'"[^"*]+"', value):
        raise ValueError(value)
    return value[1:-1]


def _ports(value: str) -> str:
    if not re.fullmatch(r"\d+(-\d+)?", value):
        raise ValueError(value)
    return value.replace("-", ":")


def read(listing: str, family: str) -> dict[str, dict[str, list[str]]]:
    """Our table as ``nft -s list table`` shows it: table -> chain -> rules, as of iptables. Empty without one.

    Raises ValueError when a chain is not where this makes it: then nothing here can say what the rules in it do.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for place, policy, lines in chains(listing):
        some = [from_nft(line, family) for line in lines]
        if place[0] != OTHERS and policy != "accept":
            # It goes with the rules when they are written anew.
            some = [rule for rule in some if rule.startswith(MARK)]
        found.setdefault(place[0], {})[place[1]] = some
    return found


def chains(listing: str) -> t.Iterator[tuple[tuple[str, str], str, list[str]]]:
    """The chains of our table: (table, chain) of iptables, policy, lines. What else there is has an empty policy."""
    for name, lines in _blocks(listing):
        if name in _PLACES:
            place = _PLACES[name]
            yield place, _policy(name, lines[0] if lines else "", CHAINS[place]), lines[1:]
        else:
            yield (OTHERS, name), "", lines


def _policy(name: str, header: str, definition: tuple[str, str, str, int]) -> str:
    match = _HEADER.fullmatch(header)
    if match is not None:
        kind, hook, priority, sign, more, policy = match.groups()
        number = _PRIORITIES[priority] if priority in _PRIORITIES else int(priority)
        number += int(f"{sign}{more}") if more else 0
        if (name, kind, hook, number) == definition:
            return policy
    raise ValueError(f"chain {name} of table {TABLE} is not where kvm_nat makes it")


def _blocks(listing: str) -> t.Iterator[tuple[str, list[str]]]:
    """The chains and whatever else is in a table, with their lines; a line ends where its braces do."""
    name, open_line = "", ""
    lines: list[str] = []
    for raw in listing.splitlines()[1:]:
        line = f"{open_line}{raw.strip()}"
        if line.count("{") > line.count("}") and name:
            open_line = f"{line} "
            continue
        open_line = ""
        if not name and line.endswith("{"):
            kind, _space, rest = line[:-1].strip().partition(" ")
            name, lines = rest if kind == "chain" else line[:-1].strip(), []
        elif line == "}" and name:
            yield name, lines
            name = ""
        elif name and line:
            lines.append(line)
        elif line.startswith("flags"):
            raise ValueError(f"table {TABLE} has {line}, which kvm_nat does not give it")


def script(family: str, chains: t.Mapping[tuple[str, str], t.Sequence[str]], empty: bool) -> str:
    """The input of ``nft -f`` that makes these chains what they are to be, in one transaction; ``empty`` = nothing is left."""
    where = f"{family} {TABLE}"
    lines = [f"add table {where}"]
    if empty:
        return "\n".join([*lines, f"delete table {where}", ""])
    for place in (place for place in CHAINS if place in chains):
        name, kind, hook, priority = CHAINS[place]
        lines.append(f"add chain {where} {name} {{ type {kind} hook {hook} priority {priority}; policy accept; }}")
        lines.append(f"flush chain {where} {name}")
        lines += [f"add rule {where} {name} {to_nft(rule, family)}" for rule in chains[place]]
        lines += [] if chains[place] else [f"delete chain {where} {name}"]
    return "\n".join([*lines, ""])
