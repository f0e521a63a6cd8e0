# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Chains that others made with nft itself: whether a packet of the guests passes them. Pure.

A packet has to pass every base chain of its hook, so what one of them refuses no rule of iptables can let through.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.dialect import TABLE

#: An object of ``nft -j``: its JSON has no other types.
Json = t.Any

FIREWALLD = ("inet", "firewalld")
#: Where iptables keeps its chains, which its save program shows.
_BUILTIN = frozenset({"INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING"})
_HOOKS = ("forward", "input")
_DHCP = 67
#: What a packet with TCP or UDP does not have, and each of these two the other; the same for the versions of IP.
_PROTOCOLS = frozenset({"tcp", "udp", "udplite", "sctp", "dccp", "icmp", "icmpv6", "igmp", "esp", "ah", "arp"})
_ICMP = ("icmp", "icmpv6")
_VERSIONS = frozenset({"ip", "ip6"})
_ENDS = {"accept": "accept", "queue": "accept", "drop": "refuse", "reject": "refuse"}


class Chain(t.NamedTuple):
    """A base chain: the place where the kernel hands a packet to a table."""

    family: str
    table: str
    name: str
    hook: str
    policy: str

    def __str__(self) -> str:
        return f"chain {self.name} of table {self.family} {self.table}"


@dataclasses.dataclass(frozen=True)
class Ruleset:
    """The base chains of others, and by table the rules of its chains and its sets, as ``nft -j list table`` has them."""

    chains: tuple[Chain, ...] = ()
    rules: t.Mapping[tuple[str, str, str], t.Sequence[Json]] = dataclasses.field(default_factory=dict)
    sets: t.Mapping[tuple[str, str, str], Json] = dataclasses.field(default_factory=dict)


class Other(t.NamedTuple):
    """Any device but this one."""

    name: str


#: What is known of a packet, by the words of nft; what is not there may be anything.
Packet = t.Mapping[str, t.Any]


def is_known(family: str, table: str, chain: str) -> bool:
    """Whether a base chain is of our own table, one of those that iptables shows, or of frames."""
    return table == TABLE or family not in ("ip", "ip6", "inet") or (family != "inet" and chain in _BUILTIN)


def base_chains(listing: Json) -> tuple[Chain, ...]:
    """From ``nft -j list chains``: the base chains that packets of guests pass, without those of iptables."""
    found = []
    for item in listing.get("nftables", ()):
        one = item.get("chain", {})
        if one.get("hook") not in _HOOKS or is_known(one["family"], one["table"], one["name"]):
            continue
        found.append(Chain(one["family"], one["table"], one["name"], one["hook"], one.get("policy", "accept")))
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
        chain for chain in rules.chains if chain.hook == hook and _Walk(rules, chain, packet).outcomes() == {"refuse"}
    ]


def outcomes(rules: Ruleset, chain: Chain, packet: Packet) -> set[str]:
    """What may become of the packet in a base chain: ``accept``, ``refuse``, or either."""
    return _Walk(rules, chain, packet).outcomes()


def refuses(rules: Ruleset, chain: Chain) -> bool:
    """Whether a base chain or another one of its table refuses anything at all."""
    words = ('"drop"', '"reject"', '"queue"')
    return chain.policy == "drop" or any(
        place[:2] == (chain.family, chain.table) and any(word in json.dumps(several) for word in words)
        for place, several in rules.rules.items()
    )


class _Walk:
    """The way of a packet through a base chain, with every outcome that it may have."""

    def __init__(self, rules: Ruleset, chain: Chain, packet: Packet) -> None:
        self._rules, self._chain, self._packet = rules, chain, packet

    def outcomes(self) -> set[str]:
        if self._chain.family in _VERSIONS and self._chain.family != self._packet["protocol"]:
            return {"accept"}
        found = self._through(self._chain.name, frozenset())
        if "go on" in found:
            found.discard("go on")
            found.add(_ENDS.get(self._chain.policy, "accept"))
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
                elif word in _ENDS or word in ("jump", "goto", "return"):
                    return self._verdict(word, body, above), sure
        return {"next"}, True

    def _verdict(self, word: str, body: Json, above: frozenset[str]) -> set[str]:
        if word in _ENDS:
            return {_ENDS[word]}
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
        protocol = left["payload"].get("protocol") if isinstance(left, dict) and "payload" in left else None
        for several, mine in ((_PROTOCOLS, "l4proto"), (_VERSIONS, "protocol")):
            if protocol in several and _same(self._packet[mine], protocol) is False:
                # It asks for that protocol as well.
                return False
        field = _field(left)
        value = self._packet.get(field) if field is not None else None
        if value is None or op not in ("==", "!=", "in"):
            return None
        answers = [_same(value, item) for item in self._values(right)]
        if True in answers:
            found: bool | None = True
        else:
            found = None if None in answers else False
        return found if found is None or op != "!=" else not found

    def _values(self, right: Json) -> list[Json]:
        if isinstance(right, list):
            return right
        # An element with a comment or a time-out has its value within.
        return [
            item["elem"]["val"] if isinstance(item, dict) and "elem" in item else item for item in self._elements(right)
        ]


def _field(left: Json) -> str | None:
    """The name under which a packet says what an expression asks for."""
    if isinstance(left, dict) and "fib" in left:
        fib = left["fib"]
        to_all = fib.get("result") == "type" and fib.get("flags") in ("daddr", ["daddr"])
        return "fib type" if to_all else None
    for kind, name in (("meta", "key"), ("ct", "key"), ("payload", "field")):
        if isinstance(left, dict) and kind in left and isinstance(left[kind], dict):
            found = str(left[kind].get(name))
            if kind == "payload":
                return _payload(str(left[kind].get("protocol")), found)
            if kind == "ct" and found not in ("state", "status"):
                return None
            return {"iif": "iifname", "oif": "oifname"}.get(found, found)
    return None


def _payload(protocol: str, field: str) -> str | None:
    if protocol in ("tcp", "udp", "th") and field in ("sport", "dport"):
        return field
    if protocol in _VERSIONS and field in ("saddr", "daddr", "hoplimit"):
        return field
    if protocol in _ICMP and field == "type":
        return "icmp type"
    return "l4proto" if (protocol, field) in (("ip", "protocol"), ("ip6", "nexthdr")) else None


def _same(value: t.Any, item: Json) -> bool | None:
    """Whether what a packet has is an element of nft's: a word, a number, a range, a network or a list of those."""
    if isinstance(value, Other):
        return False if item == value.name else None
    if isinstance(value, tuple):
        return None if isinstance(item, dict) else item in value
    if isinstance(item, dict):
        return _within(value, item)
    if isinstance(value, str) and isinstance(item, str):
        if item.endswith("*"):
            return value.startswith(item[:-1])
        return _in_network(value, item) if "/" in value else value == item
    return value == item if isinstance(item, (int, str)) else None


def _within(value: t.Any, item: Json) -> bool | None:
    if "range" in item and isinstance(value, int) and all(isinstance(end, int) for end in item["range"]):
        low, high = item["range"]
        return bool(low <= value <= high)
    if "prefix" in item and isinstance(value, str):
        return _in_network(value, item["prefix"].get("addr"), item["prefix"].get("len"))
    return None


def _in_network(subnet: str, address: t.Any, length: t.Any = None) -> bool | None:
    """Whether all of a subnet is in a network (without a length: is that one address); None = some of it."""
    try:
        mine, theirs = ipaddress.ip_network(subnet), ipaddress.ip_network(f"{address}/{length}" if length else address)
    except ValueError:
        return None
    if mine.version != theirs.version:
        return False
    common = mine.supernet(new_prefix=min(mine.prefixlen, theirs.prefixlen))
    if common != theirs.supernet(new_prefix=common.prefixlen):
        return False
    return True if common == theirs else None
