# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The way of a packet through a chain and the chains it jumps to: which rule decides. Pure.

Where it is not known whether a rule takes the packet, both ways are followed, and each possible end is given.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import match
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.packet import Host, Packet
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.saved import Chain

#: What ends the way through a table.
PASS = frozenset({"ACCEPT", "DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NETMAP"})
REFUSE = frozenset({"DROP", "REJECT"})
_QUEUES = frozenset({"QUEUE", "NFQUEUE", "TPROXY", "SYNPROXY"})
#: What does something and goes on. CT, MARK and NOTRACK are followed, the others change nothing that rules ask about.
_GOES_ON = frozenset(
    ("LOG", "NFLOG", "ULOG", "CHECKSUM", "TCPMSS", "TCPOPTSTRIP", "CLASSIFY", "DSCP", "TOS", "ECN", "TTL", "HL", "TEE")
    + ("SET", "AUDIT", "SECMARK", "CONNSECMARK", "IDLETIMER", "LED", "RATEEST", "TRACE", "ACCOUNT", "HMARK", "NFACCT")
)
_MARKS = frozenset({"MARK", "CONNMARK", "CT", "NOTRACK"})


class Place(t.NamedTuple):
    """A rule in a chain; ``position`` as iptables counts them, from 1 (0 = it is none, but what else decides)."""

    table: str
    chain: str
    position: int
    rule: str

    def __str__(self) -> str:
        return f"{self.table} {self.chain}[{self.position}] {self.rule}" if self.position else self.rule


@dataclasses.dataclass(frozen=True)
class End:
    """One end that the way may have.

    ``verdict`` is a target, or UNKNOWN; empty when no rule has decided. ``place`` is the rule that decides, ``via`` the
    jumps that lead to its chain. It comes about if all of ``if_taken`` take the packet, of which that is not known.
    """

    verdict: str
    place: Place | None = None
    arguments: tuple[str, ...] = ()
    via: tuple[Place, ...] = ()
    if_taken: tuple[Place, ...] = ()


@dataclasses.dataclass(frozen=True)
class Way:
    """The way through one table: all possible ``ends``, and the packet as it is then."""

    ends: tuple[End, ...]
    packet: Packet

    @property
    def main(self) -> End:
        """The end if no rule of which it is not known takes the packet."""
        return next(end for end in self.ends if not end.if_taken)

    @property
    def doubts(self) -> tuple[Place, ...]:
        """The rules that another verdict depends on."""
        main = _meaning(self.main)
        places = [self.main.place] if main is None else []
        for end in self.ends:
            if end.if_taken and _meaning(end) != main:
                places += [*end.if_taken, *([end.place] if _meaning(end) is None else [])]
        return tuple(dict.fromkeys(place for place in places if place is not None))


def _meaning(end: End) -> str | None:
    """What an end means for the packet; None when a program or something unknown decides."""
    if end.verdict in REFUSE:
        return "refuse"
    return " ".join([end.verdict, *end.arguments]) if end.verdict in PASS else None


def walk(table: str, chains: t.Mapping[str, Chain], chain: str, packet: Packet, host: Host) -> Way:
    """Sends a packet through a chain of a table that the kernel calls; its policy decides what no rule does."""
    walker = _Walker(table, chains, packet, host)
    policy = chains[chain].policy or "ACCEPT"
    ends = [
        dataclasses.replace(end, verdict=policy) if end.verdict == "" else end
        for end in walker.through(chain, (), sure=True)
    ]
    return Way(tuple(ends), walker.packet)


class _Walker:
    def __init__(self, table: str, chains: t.Mapping[str, Chain], packet: Packet, host: Host) -> None:
        self._table, self._chains, self._host = table, chains, host
        self.packet = packet
        # Marks change, where it comes from does not.
        self._apart = match.apart(packet)

    def through(self, name: str, via: tuple[Place, ...], sure: bool) -> list[End]:
        """The ends of a chain; one with an empty verdict leads back to where it was called.

        ``sure`` = it is known that the packet gets here.
        """
        ends: list[End] = []
        conditions: tuple[Place, ...] = ()
        for position, line in enumerate(self._chains[name].lines, 1):
            if self._apart(line.rule):
                continue
            rule = match.rule(line.rule)
            taken = rule.takes(self.packet, self._host)
            if taken is False:
                continue
            place = Place(self._table, name, position, line.rule)
            needs = conditions if taken else (*conditions, place)
            found = [
                dataclasses.replace(end, if_taken=(*needs, *end.if_taken))
                for end in self._carry_out(rule, place, via, sure=sure and taken is True and not conditions)
            ]
            back = [end for end in found if end.verdict == ""]
            leaves = rule.target == "RETURN" or (rule.goto and rule.target in self._chains)
            ends += found if leaves else [end for end in found if end.verdict]
            if not taken or not found:
                continue
            if leaves or not back:
                return ends
            # Behind a jump: if no sure way leads back, what follows needs what the way back needs.
            conditions = min((end.if_taken for end in back), key=len)
        return [*ends, End("", via=via, if_taken=conditions)]

    def _carry_out(self, rule: match.Rule, place: Place, via: tuple[Place, ...], sure: bool) -> list[End]:
        """The ends that the target of a rule has; none when the packet just goes on."""
        target = rule.target
        ends: list[End] = []
        if target in self._chains:
            # The kernel loads no circles.
            circle = any(step.chain == target for step in (*via, place))
            ends = [End("", place)] if circle else self.through(target, (*via, place), sure)
        elif target == "RETURN":
            ends = [End("", place, via=via)]
        elif target in PASS or target in REFUSE:
            ends = [End(target, place, rule.arguments, via)]
        elif target in _MARKS:
            self._mark(rule, sure)
        elif target in _QUEUES:
            ends = [End("UNKNOWN", place, via=via)]
        elif target and target not in _GOES_ON:
            # Something that this does not know may end the way or not.
            ends = [End("UNKNOWN", place, via=via, if_taken=(place,)), End("", place, via=via)]
        return ends

    def _mark(self, rule: match.Rule, sure: bool) -> None:
        if rule.target == "NOTRACK" or "--notrack" in rule.arguments:
            if sure:
                self.packet = dataclasses.replace(self.packet, state="UNTRACKED")
            return
        if rule.target == "MARK":
            new = _marked(self.packet.mark, rule.arguments)
            self.packet = dataclasses.replace(self.packet, mark=new if sure else None)
        elif rule.target == "CONNMARK" and self._table != "raw" and self.packet.state != "UNTRACKED":
            # In table raw, and where nothing is tracked, there is no connection that could have a mark.
            self._of_connection(rule.arguments, sure)

    def _of_connection(self, arguments: tuple[str, ...], sure: bool) -> None:
        """The target that marks the connection, or copies its mark to the packet or the other way."""
        mark, ct_mark = self.packet.mark, self.packet.ct_mark
        if "--restore-mark" in arguments:
            new = _copied(ct_mark, mark, arguments, "--ctmask", "--nfmask") if sure else None
            self.packet = dataclasses.replace(self.packet, mark=new)
        else:
            save = "--save-mark" in arguments
            new = _copied(mark, ct_mark, arguments, "--nfmask", "--ctmask") if save else _marked(ct_mark, arguments)
            self.packet = dataclasses.replace(self.packet, ct_mark=new if sure else None)


def _copied(mark: int | None, onto: int | None, arguments: t.Sequence[str], mask: str, of_target: str) -> int | None:
    """What is there when the bits of a mark come in the place of those of another one."""
    said = dict(zip(arguments, arguments[1:]))
    try:
        taken, cleared = (int(said.get(one, said.get("--mask", "0xffffffff")), 0) for one in (mask, of_target))
    except ValueError:
        return None
    if mark is None or (onto is None and cleared != 0xFFFFFFFF):
        return None
    return ((onto or 0) & ~cleared) ^ (mark & taken)


def _marked(mark: int | None, arguments: t.Sequence[str]) -> int | None:
    """The mark after a target like ``MARK --set-xmark 0x1/0xffffffff``."""
    if len(arguments) != 2:
        return None
    option, text = arguments
    value, _slash, mask = text.partition("/")
    try:
        bits, wanted = int(mask, 0) if mask else 0xFFFFFFFF, int(value, 0)
    except ValueError:
        return None
    if option in ("--set-xmark", "--set-mark") and bits == 0xFFFFFFFF:
        return wanted
    if mark is None:
        return None
    return {
        "--set-xmark": (mark & ~bits) ^ wanted,
        "--set-mark": (mark & ~bits) | wanted,
        "--and-mark": mark & wanted,
        "--or-mark": mark | wanted,
        "--xor-mark": mark ^ wanted,
    }.get(option)
