# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Where the rules of a bridge belong among those of others. Pure.

Rules of others are read to find the right place, never written. The source of this util is also a part of the program that puts
the rules back after a reboot, so it imports the standard library and ``tables`` only.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import (
    CHAINS,
    Own,
    Rewrite,
    Tables,
    get,
    header,
    key,
    parse,
    words,
)

_TARGET = re.compile(r"(?:^| )-[jg] (\S+)")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
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
        if (
            self.destination is not None
            and other.destination is not None
            and _apart(self.destination, other.destination)
        ):
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


def _apart(one: str, other: str) -> bool:
    """Whether no address is in both of two networks; a mask need not be a prefix."""
    (first, mask), (second, more) = _bits(one), _bits(other)
    return (first ^ second) & mask & more != 0


def _bits(network: str) -> tuple[int, int]:
    """An address and a mask."""
    base, _slash, mask = network.partition("/")
    address = ipaddress.ip_address(base)
    length = address.max_prefixlen
    if mask and not mask.isdigit():
        return int(address), int(ipaddress.ip_address(mask))
    return int(address), ((1 << int(mask or length)) - 1) << (length - int(mask or length))


# The same rules are looked at for every bridge of a call.
@functools.lru_cache(maxsize=65536)
def _target(rule: str) -> str:
    # What stands in quotes may look like a target.
    found = _TARGET.search(_QUOTED.sub("", rule) if '"' in rule else rule)
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
        if self.table == "filter" and (target in _REFUSALS or (target == "RETURN" and not seen)):
            # What a RETURN leaves is the policy of the chain.
            return self._takes(rule) or (target != "RETURN" and self._cuts_off(rule))
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


def replay(save: str, records: t.Sequence[str]) -> str:
    """The input for iptables-restore that puts the rules of records in place again; empty when all are."""
    return restored(parse(save), records).text()


def restored(tables: Tables, records: t.Sequence[str]) -> Rewrite:
    """What it takes to have the rules of records in place again. ``tables`` is brought to what is then."""
    found = Rewrite()
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
            site, own = Site(tables, table, chain, bridge), Own([*get(want, table, chain), *gone])
            target = site.place(get(want, table, chain), own)
            found.bring(table, chain, site.have, target, own)
            tables.setdefault(table, {})[chain] = target
    return found
