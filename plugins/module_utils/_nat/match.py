# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Whether a rule of iptables takes a packet: yes, no, or None where the rules alone cannot tell. Pure."""

from __future__ import annotations

import functools
import ipaddress
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.packet import (
    EPHEMERAL,
    Address,
    Host,
    Packet,
    protocol_number,
)

Answer = t.Optional[bool]

_ECHO = {1: ("8", "0"), 58: ("128", "129")}
_ICMP_NAMES = {"echo-request": ("8", "128"), "echo-reply": ("0", "129")}
#: Words that an option has, where they may look like options themselves, or are two.
_WORDS = {"--comment": 1, "--log-prefix": 1, "--nflog-prefix": 1, "--string": 1, "--hex-string": 1, "--tcp-flags": 2}
#: Matches that ask nothing beyond their options, all of which are known here or answered with None.
_PLAIN = frozenset(
    ("comment", "tcp", "udp", "dccp", "sctp", "udplite", "icmp", "icmp6")
    + ("multiport", "state", "conntrack", "iprange", "addrtype", "mark", "connmark", "physdev", "hl")
)
#: Those for packets with a further header of IPv6: a route, a fragment, options.
_HEADERS = frozenset({"rt", "frag", "dst", "hbh"})


class Test(t.NamedTuple):
    """One question of a rule: the option, its words, whether it is negated."""

    option: str
    words: tuple[str, ...]
    negated: bool


class Rule:
    """A rule, taken apart. ``target`` is empty when it only counts; ``goto`` does not come back."""

    def __init__(self, text: str) -> None:
        self.tests: list[Test] = []
        self.target = ""
        self.goto = False
        self.arguments: tuple[str, ...] = ()
        words = tables.words(text)
        negated, at, module = False, 0, ""
        while at < len(words):
            word = words[at]
            at += 1
            if word == "!":
                negated = True
                continue
            if word in ("-j", "-g"):
                self.goto = word == "-g"
                self.target, self.arguments = words[at], tuple(words[at + 1 :])
                break
            upto = at + _count(word, words[at:])
            module = words[at] if word == "-m" else module
            # Of two options with one name: that of the packet and that of its connection.
            option = "--ctmark" if (module, word) == ("connmark", "--mark") else word
            self._take(Test(option, tuple(words[at:upto]), negated))
            negated, at = False, upto

    def _take(self, test: Test) -> None:
        if test.option == "-m":
            if test.words[0] not in _PLAIN:
                self.tests.append(test)
        elif test.option != "--comment":
            self.tests.append(test)

    def takes(self, packet: Packet, host: Host) -> Answer:
        """Whether it takes the packet."""
        sure: Answer = True
        for test in self.tests:
            ask = _QUESTIONS.get(test.option)
            answer = ask(test.words, packet, host) if ask is not None else None
            if answer is None:
                sure = None
            elif answer is test.negated:
                return False
        return sure


@functools.lru_cache(maxsize=65536)
def rule(text: str) -> Rule:
    """A rule by its text without ``-A CHAIN``."""
    return Rule(text)


def apart(packet: Packet) -> t.Callable[[str], object]:
    """What tells by a quick look at its text whether a rule is surely not for a packet: most of many thousands are not.

    It asks for one other address, or for another device. What stands in quotes could be anything, and a comment may be "-i".
    """
    device = re.escape(packet.in_interface)
    found = rf'(?:^|(?<=[^!] ))-i (?!{device} )[^ "+!-][^ "+]* [^"]*$'
    if packet.source.version == 4:
        found += rf'|^-s (?!{re.escape(str(packet.source))}/)[0-9.]+/32 [^"]*$'
    return re.compile(found).search


def _count(option: str, rest: t.Sequence[str]) -> int:
    """How many of the words after an option are its own."""
    if option in _WORDS:
        return _WORDS[option]
    return next((index for index, word in enumerate(rest) if word == "!" or word.startswith("-")), len(rest))


def within(address: Address, text: str) -> Answer:
    """Whether an address is in ``10.0.0.0/8`` or ``10.0.0.5/255.0.0.255``."""
    base, _slash, mask = text.partition("/")
    try:
        wanted = ipaddress.ip_address(base)
        if wanted.version != address.version:
            return None
        if not mask:
            bits = (1 << wanted.max_prefixlen) - 1
        elif mask.isdigit():
            bits = ((1 << int(mask)) - 1) << (wanted.max_prefixlen - int(mask))
        else:
            bits = int(ipaddress.ip_address(mask))
    except ValueError:
        return None
    return int(address) & bits == int(wanted) & bits


def _device(words: t.Sequence[str], name: str) -> bool:
    wanted = words[0]
    return name.startswith(wanted[:-1]) if wanted.endswith("+") else name == wanted


def _protocol(words: t.Sequence[str], packet: Packet, _host: Host) -> Answer:
    if words[0] in ("all", "0"):
        return True
    number = protocol_number(words[0])
    return None if number is None else number == packet.protocol


def _span(text: str) -> tuple[int, int]:
    low, colon, high = text.partition(":")
    first = int(low or 0)
    return first, int(high or 65535) if colon else first


def _port(words: t.Sequence[str], port: int | None, client: bool) -> Answer:
    """Whether a port is in any of ``80,1024:65535``; a client's that is not known is one of those that the kernel gives."""
    try:
        spans = [_span(part) for part in words[0].split(",")]
    except ValueError:
        return None
    if port is not None:
        return any(low <= port <= high for low, high in spans)
    first, last = EPHEMERAL if client else (1, 65535)
    if any(low <= first and last <= high for low, high in spans):
        return True
    return False if client and all(high < first or last < low for low, high in spans) else None


def _source_port(words: t.Sequence[str], packet: Packet, _host: Host) -> Answer:
    return _port(words, packet.source_port, not packet.answer)


def _destination_port(words: t.Sequence[str], packet: Packet, _host: Host) -> Answer:
    return _port(words, packet.destination_port, packet.answer)


def _ports(words: t.Sequence[str], packet: Packet, host: Host) -> Answer:
    answers = [_source_port(words, packet, host), _destination_port(words, packet, host)]
    return True if True in answers else None if None in answers else False


def _flags(words: t.Sequence[str], packet: Packet, _host: Host) -> Answer:
    have = {"SYN", "ACK"} if packet.answer else {"SYN"}
    mask = {"FIN", "SYN", "RST", "PSH", "ACK", "URG"} if words[0] == "ALL" else set(words[0].split(","))
    return have & mask == (set() if words[1] == "NONE" else mask if words[1] == "ALL" else set(words[1].split(",")))


def _syn(_words: t.Sequence[str], packet: Packet, _host: Host) -> Answer:
    return not packet.answer


def _icmp(words: t.Sequence[str], packet: Packet, _host: Host) -> Answer:
    if packet.protocol not in _ECHO:
        return False
    kind = str(packet.message) if packet.message else _ECHO[packet.protocol][packet.answer]
    wanted, _slash, code = words[0].partition("/")
    if wanted in ("any", "255"):
        return True
    if wanted in _ICMP_NAMES:
        return kind in _ICMP_NAMES[wanted]
    return wanted == kind and code in ("", "0") if wanted.isdigit() else None


def _state(words: t.Sequence[str], packet: Packet, _host: Host) -> Answer:
    return packet.state in words[0].split(",")


def _ctstate(words: t.Sequence[str], packet: Packet, _host: Host) -> Answer:
    have = {packet.state}
    if packet.state != "UNTRACKED":
        have |= {name for name, on in (("DNAT", packet.dnat), ("SNAT", packet.snat)) if on}
    return bool(have & set(words[0].split(",")))


def _ctdir(words: t.Sequence[str], packet: Packet, _host: Host) -> Answer:
    return (words[0] == "REPLY") is packet.answer


def _first_destination(words: t.Sequence[str], packet: Packet, _host: Host) -> Answer:
    return within(packet.first[0] if packet.first else packet.destination, words[0])


def _first_port(words: t.Sequence[str], packet: Packet, _host: Host) -> Answer:
    return _port(words, packet.first[1] if packet.first else packet.destination_port, client=False)


def _range(words: t.Sequence[str], address: Address) -> Answer:
    low, _dash, high = words[0].partition("-")
    try:
        ends = [ipaddress.ip_address(low), ipaddress.ip_address(high or low)]
    except ValueError:
        return None
    if any(end.version != address.version for end in ends):
        return None
    return int(ends[0]) <= int(address) <= int(ends[1])


def _kind(words: t.Sequence[str], address: Address, host: Host) -> Answer:
    kinds = set(words[0].split(","))
    if host.kind(address) in kinds:
        return True
    return False if kinds <= {"LOCAL", "BROADCAST", "MULTICAST", "UNICAST"} else None


def _marked(words: t.Sequence[str], mark: int | None) -> Answer:
    value, _slash, mask = words[0].partition("/")
    try:
        wanted, bits = int(value, 0), int(mask, 0) if mask else 0xFFFFFFFF
    except ValueError:
        return None
    return None if mark is None else mark & bits == wanted


def _hops(words: t.Sequence[str], packet: Packet, _host: Host) -> Answer:
    return None if packet.hops is None or not words[0].isdigit() else packet.hops == int(words[0])


def _header(words: t.Sequence[str], _packet: Packet, _host: Host) -> Answer:
    """A match that asks for a header of IPv6 which the first packet of a flow has not, whatever it asks of it."""
    return False if words[0] in _HEADERS else None


def _is_bridged(_words: t.Sequence[str], packet: Packet, _host: Host) -> Answer:
    return packet.bridged


_QUESTIONS: dict[str, t.Callable[[t.Sequence[str], Packet, Host], Answer]] = {
    "-m": _header,
    "-s": lambda words, packet, _host: within(packet.source, words[0]),
    "-d": lambda words, packet, _host: within(packet.destination, words[0]),
    "-i": lambda words, packet, _host: _device(words, packet.in_interface),
    "-o": lambda words, packet, _host: _device(words, packet.out_interface),
    "-p": _protocol,
    # Fragments after the first one: a flow is asked about by its first packet.
    "-f": lambda _words, _packet, _host: False,
    "--sport": _source_port,
    "--dport": _destination_port,
    "--sports": _source_port,
    "--dports": _destination_port,
    "--ports": _ports,
    "--tcp-flags": _flags,
    "--syn": _syn,
    "--icmp-type": _icmp,
    "--icmpv6-type": _icmp,
    "--hl-eq": _hops,
    "--state": _state,
    "--ctstate": _ctstate,
    "--ctdir": _ctdir,
    "--ctorigdst": _first_destination,
    "--ctorigdstport": _first_port,
    "--src-range": lambda words, packet, _host: _range(words, packet.source),
    "--dst-range": lambda words, packet, _host: _range(words, packet.destination),
    "--src-type": lambda words, packet, host: _kind(words, packet.source, host),
    "--dst-type": lambda words, packet, host: _kind(words, packet.destination, host),
    "--mark": lambda words, packet, _host: _marked(words, packet.mark),
    "--ctmark": lambda words, packet, _host: packet.state != "UNTRACKED" and _marked(words, packet.ct_mark),
    "--physdev-is-bridged": _is_bridged,
}
