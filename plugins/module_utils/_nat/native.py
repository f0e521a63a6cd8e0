# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Chains that others made with nft itself: whether a packet of the guests passes them. Pure.

A packet has to pass every base chain of its hook, so what one of them refuses no rule of iptables can let through.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.dialect import TABLE
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.fields import (
    PROTOCOLS,
    VERSIONS,
    Json,
    Other,
    every,
    field,
    masked,
    same,
)

FIREWALLD = ("inet", "firewalld")
#: Where iptables keeps its chains, which its save program shows.
_BUILTIN = frozenset({"INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING"})
_TABLES = frozenset({"filter", "nat", "mangle", "raw", "security"})
#: The places at which the kernel hands over packets that guests send and get, and all at which it does.
HOOKS = ("forward", "input")
ALL_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
_DHCP = 67
_ENDS = {"accept": "accept", "queue": "accept", "drop": "refuse", "reject": "refuse"}


class Chain(t.NamedTuple):
    """A base chain: the place where the kernel hands a packet to a table; those with the lowest ``priority`` come first."""

    family: str
    table: str
    name: str
    hook: str
    policy: str
    kind: str = "filter"
    priority: int = 0

    def __str__(self) -> str:
        return f"chain {self.name} of table {self.family} {self.table}"


@dataclasses.dataclass(frozen=True)
class Ruleset:
    """The base chains of others, and by table the rules of its chains and its sets, as ``nft -j list table`` has them."""

    chains: tuple[Chain, ...] = ()
    rules: t.Mapping[tuple[str, str, str], t.Sequence[Json]] = dataclasses.field(default_factory=dict)
    sets: t.Mapping[tuple[str, str, str], Json] = dataclasses.field(default_factory=dict)


#: What is known of a packet, by the words of nft; what is not there may be anything.
Packet = t.Mapping[str, t.Any]


def is_known(family: str, table: str, chain: str) -> bool:
    """Whether a base chain is of our own table, one of those that iptables shows, or of frames."""
    ours = family in VERSIONS and table == TABLE
    return ours or family not in ("ip", "ip6", "inet") or (family != "inet" and table in _TABLES and chain in _BUILTIN)


def base_chains(listing: Json, hooks: t.Container[str] = HOOKS) -> tuple[Chain, ...]:
    """From ``nft -j list chains``: the base chains that packets of guests pass, without those of iptables."""
    found = []
    for item in listing.get("nftables", ()):
        one = item.get("chain", {})
        if one.get("hook") not in hooks or is_known(one["family"], one["table"], one["name"]):
            continue
        priority = one.get("prio", 0)
        more = (one.get("type", "filter"), priority if isinstance(priority, int) else 0)
        found.append(Chain(one["family"], one["table"], one["name"], one["hook"], one.get("policy", "accept"), *more))
    return tuple(found)


def ruleset(chains: t.Sequence[Chain], listings: t.Iterable[Json]) -> Ruleset:
    """The tables of these chains, from an ``nft -j list table`` of each."""
    rules: dict[tuple[str, str, str], list[Json]] = {}
    sets: dict[tuple[str, str, str], Json] = {}
    for item in (item for listing in listings for item in listing.get("nftables", ())):
        if "rule" in item:
            rule = item["rule"]
            rules.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule.get("expr", []))
        for kind in ("set", "map"):
            if kind in item:
                one = item[kind]
                sets[(one["family"], one["table"], one["name"])] = one.get("elem", [])
    return Ruleset(tuple(chains), rules, sets)


def of_hooks(rules: Ruleset, hooks: t.Container[str] = HOOKS) -> Ruleset:
    """The same with the base chains of some hooks only."""
    return dataclasses.replace(rules, chains=tuple(chain for chain in rules.chains if chain.hook in hooks))


def _version(subnet: str) -> dict[str, str]:
    return {"nfproto": "ipv6", "protocol": "ip6"} if ":" in subnet else {"nfproto": "ipv4", "protocol": "ip"}


def outgoing(bridge: str, subnet: str, out: str | None) -> tuple[Packet, ...]:
    """What has to be forwarded, so that guests reach anything: a new connection, and its answers."""
    other = out or Other(bridge)
    basics = {**_version(subnet), "l4proto": "tcp", "status": ()}
    there = {**basics, "iifname": bridge, "oifname": other, "state": "new", "saddr": subnet, "dport": 443}
    back = {**basics, "iifname": other, "oifname": bridge, "state": "established", "daddr": subnet, "sport": 443}
    return there, back


def served(bridge: str, port: int) -> Packet:
    """What a guest asks a DNS or DHCP server of the host; the latter before it has an address."""
    basics = {"nfproto": "ipv4", "protocol": "ip", "l4proto": "udp", "status": (), "state": "new"}
    packet: dict[str, t.Any] = {**basics, "iifname": bridge, "dport": port}
    if port == _DHCP:
        packet.update({"saddr": "0.0.0.0/32", "daddr": "255.255.255.255/32", "sport": 68})
        packet.update({"pkttype": "broadcast", "fib type": "broadcast"})
    return packet


def refusing(rules: Ruleset, hook: str, packet: Packet) -> list[Chain]:
    """The base chains that refuse the packet whatever else is in it."""
    return [
        chain for chain in rules.chains if chain.hook == hook and Walk(rules, chain, packet).outcomes() == {"refuse"}
    ]


def outcomes(rules: Ruleset, chain: Chain, packet: Packet) -> set[str]:
    """What may become of the packet in a base chain: ``accept``, ``refuse``, or either."""
    return Walk(rules, chain, packet).outcomes()


def refuses(rules: Ruleset, chain: Chain) -> bool:
    """Whether a base chain or another one of its table refuses anything at all."""
    words = ('"drop"', '"reject"', '"queue"')
    return chain.policy == "drop" or any(
        place[:2] == (chain.family, chain.table) and any(word in json.dumps(several) for word in words)
        for place, several in rules.rules.items()
    )


class Walk:
    """The way of a packet through a base chain, with every outcome that it may have."""

    #: What the verdicts of nft mean here.
    ends: t.ClassVar[t.Mapping[str, str]] = _ENDS

    def __init__(self, rules: Ruleset, chain: Chain, packet: Packet) -> None:
        self._rules, self._chain, self._packet = rules, chain, packet
        #: Whether it is known until now which rules take the packet.
        self._sure = True

    def outcomes(self) -> set[str]:
        if self._chain.family in VERSIONS and self._chain.family != self._packet["protocol"]:
            return {"accept"}
        found = self._through(self._chain.name, frozenset())
        if "go on" in found:
            found.discard("go on")
            found.add(self.ends.get(self._chain.policy, "accept"))
        return found

    def _through(self, chain: str, above: frozenset[str]) -> set[str]:
        if chain in above:
            return {"go on"}
        found: set[str] = set()
        for rule in self._rules.rules.get((self._chain.family, self._chain.table, chain), ()):
            ends, sure = self._rule(rule, above | {chain})
            if sure and "next" not in ends:
                return found | ends
            found |= ends - {"next"}
        return found | {"go on"}

    def _rule(self, rule: t.Sequence[Json], above: frozenset[str]) -> tuple[set[str], bool]:
        """The outcomes of one rule ("next": the rule after it), and whether it is certain that it has one of them."""
        sure = True
        for statement in rule:
            for word, body in statement.items():
                if word == "match":
                    answer = self._match(body)
                    if answer is False:
                        return {"next"}, True
                    sure = sure and answer is True
                elif word in ("limit", "quota", "xt"):
                    sure = False
                elif word == "vmap":
                    return self._vmap(body, above, sure)
                elif word in self.ends or word in ("jump", "goto", "return"):
                    self._sure = self._sure and sure
                    return self._verdict(word, body, above), sure
                else:
                    ends = self._statement(word, body, sure)
                    if ends:
                        self._sure = self._sure and sure
                        return ends, sure
        return {"next"}, True

    def _statement(self, word: str, body: Json, sure: bool) -> set[str]:
        """What else a rule does; the outcomes when the packet goes no further."""
        return set()

    def _verdict(self, word: str, body: Json, above: frozenset[str]) -> set[str]:
        if word in self.ends:
            return {self.ends[word]}
        if word == "return":
            return {"go on"}
        ends = self._through(body["target"], above)
        if word == "jump" and "go on" in ends:
            ends = (ends - {"go on"}) | {"next"}
        return ends

    def _vmap(self, body: Json, above: frozenset[str], sure: bool) -> tuple[set[str], bool]:
        found: set[str] = set()
        for key, verdict in self._elements(body["data"]):
            answer = self._is(body["key"], "==", key)
            if answer is False:
                continue
            self._sure = self._sure and sure and answer is True
            word, target = next(iter(verdict.items()))
            ends = self._verdict(word, target, above)
            if answer is True:
                return found | ends, sure
            found |= ends
        return found | {"next"}, sure

    def _elements(self, data: Json) -> list[Json]:
        if isinstance(data, str) and data.startswith("@"):
            return list(self._rules.sets.get((self._chain.family, self._chain.table, data[1:]), ()))
        return list(data["set"]) if isinstance(data, dict) and "set" in data else [data]

    def _match(self, body: Json) -> bool | None:
        return self._is(body["left"], body.get("op", "=="), body["right"])

    def _is(self, left: Json, op: str, right: Json) -> bool | None:
        """Whether the packet is like that; None = it may be."""
        if isinstance(left, dict) and "exthdr" in left:
            # It has no further header of IPv6: whatever is asked of one, it is not so, but that it is missing.
            return right is False
        if isinstance(left, dict) and op in ("==", "!=") and ("concat" in left or "&" in left):
            answer = self._several(left["concat"], right) if "concat" in left else self._masked(left["&"], right)
            return answer if answer is None or op == "==" else not answer
        protocol = left["payload"].get("protocol") if isinstance(left, dict) and "payload" in left else None
        for several, mine in ((PROTOCOLS, "l4proto"), (VERSIONS, "protocol")):
            if protocol in several and same(self._packet[mine], protocol) is False:
                # It asks for that protocol as well.
                return False
        name = field(left)
        value = self._packet.get(name) if name is not None else None
        if value is None or op not in ("==", "!=", "in"):
            return None
        answers = [same(value, item) for item in self._values(right)]
        if True in answers:
            found: bool | None = True
        else:
            found = None if None in answers else False
        return found if found is None or op != "!=" else not found

    def _several(self, parts: t.Sequence[Json], right: Json) -> bool | None:
        """Whether all of several parts are as one of the elements has them."""
        elements = [one["concat"] for one in self._values(right) if isinstance(one, dict) and "concat" in one]
        answers = [every(self._is(part, "==", value) for part, value in zip(parts, one)) for one in elements]
        return True if True in answers else None if None in answers else False

    def _masked(self, parts: t.Sequence[Json], right: Json) -> bool | None:
        name = field(parts[0])
        value = self._packet.get(name) if name is not None else None
        return masked(value, parts[1], right) if value is not None and len(parts) == 2 else None

    def _values(self, right: Json) -> list[Json]:
        if isinstance(right, list):
            return right
        # An element with a comment or a time-out has its value within.
        return [
            item["elem"]["val"] if isinstance(item, dict) and "elem" in item else item for item in self._elements(right)
        ]
