# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What nft asks of a packet, and whether it is so. Pure."""

from __future__ import annotations

import ipaddress
import typing as t

#: An object of ``nft -j``: its JSON has no other types.
Json = t.Any

#: What a packet with TCP or UDP does not have, and each of these two the other; the same for the versions of IP.
PROTOCOLS = frozenset({"tcp", "udp", "udplite", "sctp", "dccp", "icmp", "icmpv6", "igmp", "esp", "ah", "arp"})
_ICMP = ("icmp", "icmpv6")
VERSIONS = frozenset({"ip", "ip6"})


class Other(t.NamedTuple):
    """Any device but this one."""

    name: str


def field(left: Json) -> str | None:
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
            if kind == "ct":
                return _tracked(found, left[kind].get("dir"))
            return {"iif": "iifname", "oif": "oifname"}.get(found, found)
    return None


def _tracked(key: str, direction: str | None) -> str | None:
    """What connection tracking knows of a packet; its mark is another one than that of the packet."""
    if key == "mark":
        return "ct mark"
    if direction == "original" and key in ("ip daddr", "ip6 daddr", "daddr", "proto-dst"):
        return "first port" if key == "proto-dst" else "first daddr"
    return key if direction is None and key in ("state", "status", "direction") else None


def _payload(protocol: str, field: str) -> str | None:
    if protocol in ("tcp", "udp", "th") and field in ("sport", "dport"):
        return field
    if (protocol, field) == ("tcp", "flags"):
        return "tcp flags"
    if protocol in VERSIONS and field in ("saddr", "daddr", "hoplimit"):
        return field
    if protocol in _ICMP and field == "type":
        return "icmp type"
    return "l4proto" if (protocol, field) in (("ip", "protocol"), ("ip6", "nexthdr")) else None


def same(value: t.Any, item: Json) -> bool | None:
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
        return in_network(value, item) if "/" in value else value == item
    return value == item if isinstance(item, (int, str)) else None


def _within(value: t.Any, item: Json) -> bool | None:
    if "range" in item and isinstance(value, int) and all(isinstance(end, int) for end in item["range"]):
        low, high = item["range"]
        return bool(low <= value <= high)
    if "range" in item and isinstance(value, str):
        return _between(value, item["range"])
    if "prefix" in item and isinstance(value, str):
        return in_network(value, item["prefix"].get("addr"), item["prefix"].get("len"))
    return None


def _between(value: str, ends: t.Sequence[t.Any]) -> bool | None:
    """Whether all of an address or a subnet is between two addresses; None = some of it."""
    try:
        mine, (low, high) = ipaddress.ip_network(value), [ipaddress.ip_address(end) for end in ends]
    except ValueError:
        return None
    if not mine.version == low.version == high.version:
        return False
    first, last = int(mine[0]), int(mine[-1])
    if first >= int(low) and last <= int(high):
        return True
    return False if last < int(low) or first > int(high) else None


def masked(value: t.Any, mask: Json, wanted: Json) -> bool | None:
    """Whether what is left of a mark or of flags is what is asked for."""
    if isinstance(value, int) and isinstance(mask, int) and isinstance(wanted, int):
        return value & mask == wanted
    if isinstance(value, tuple):
        bits, left = (set(some if isinstance(some, list) else [some]) - {0} for some in (mask, wanted))
        return None if any(isinstance(one, int) for one in bits | left) else set(value) & bits == left
    return None


def every(answers: t.Iterable[bool | None]) -> bool | None:
    """Whether all of them are so."""
    found = list(answers)
    return False if False in found else None if None in found else True


def in_network(subnet: str, address: t.Any, length: t.Any = None) -> bool | None:
    """Whether all of a subnet is in a network (without a length: is that one address); None = some of it."""
    try:
        mine, theirs = (
            ipaddress.ip_network(subnet),
            ipaddress.ip_network(address if length is None else f"{address}/{length}"),
        )
    except ValueError:
        return None
    if mine.version != theirs.version:
        return False
    common = mine.supernet(new_prefix=min(mine.prefixlen, theirs.prefixlen))
    if common != theirs.supernet(new_prefix=common.prefixlen):
        return False
    return True if common == theirs else None
