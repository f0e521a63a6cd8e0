# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""A packet in the chains that others made with nft: where they come among those of iptables, and what they make of it. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import native
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.fields import Json, field
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.saved import Saved

#: The tables that the kernel asks at each of its hooks, in its order.
HOOKS = {
    "PREROUTING": ("raw", "mangle", "nat"),
    "INPUT": ("mangle", "filter", "security", "nat"),
    "FORWARD": ("mangle", "filter", "security"),
    "OUTPUT": ("raw", "mangle", "nat", "filter", "security"),
    "POSTROUTING": ("mangle", "nat"),
}
_PRIORITIES = {"raw": -300, "mangle": -150, "filter": 0, "security": 50}
#: When the kernel translates addresses: all chains of that kind, one after the other until one of them does.
_TRANSLATION = {"PREROUTING": -100, "OUTPUT": -100, "INPUT": 100, "POSTROUTING": 100}
#: From here on connections are tracked.
TRACKED = -200
_MARKS = frozenset({"mark", "ct mark"})
_TARGETS = {"dnat": "DNAT", "snat": "SNAT", "masquerade": "MASQUERADE", "redirect": "REDIRECT"}
_FLAGS = {"random": "--random", "fully-random": "--random-fully", "persistent": "--persistent"}


class Station(t.NamedTuple):
    """One chain that is asked at a hook: that of a table of iptables, or ``chain`` of nft itself."""

    #: When the kernel comes there, and of several that translate which one is the first.
    when: tuple[int, int]
    table: str
    backend: str = ""
    chain: native.Chain | None = None

    @property
    def translates(self) -> bool:
        """Whether it is asked for the first packet of a connection only, until one has translated it."""
        return self.table == "nat"


def stations(saved: t.Mapping[str, Saved], rules: native.Ruleset, hook: str) -> list[Station]:
    """All that is asked at a hook, in the order of the kernel; which of two at the same time is first cannot be told."""
    found = [
        Station(_when(table, hook, backend), table, backend)
        for table in HOOKS[hook]
        for backend in saved
        if hook in saved[backend].get(table, {})
    ]
    for chain in rules.chains:
        if chain.hook == hook.lower():
            translates = chain.kind == "nat"
            at = _TRANSLATION.get(hook, 0) if translates else chain.priority
            found.append(Station((at, chain.priority), "nat" if translates else "", chain=chain))
    return sorted(found, key=lambda station: station.when)


def _when(table: str, hook: str, backend: str) -> tuple[int, int]:
    if table != "nat":
        return _PRIORITIES[table], 0
    at = _TRANSLATION[hook]
    # Our own table of nft is a little before the others.
    return at, at - 5 * backend.startswith("nftables")


class Passage(native.Walk):
    """The way of a packet through a base chain, with what becomes of it: ``accept``, ``drop``, ``reject``, ``queue`` or a
    target of iptables with its words. ``mark`` is that of the packet then, ``ct_mark`` that of its connection, None = not known;
    ``untracked`` tells whether its connection is left alone by conntrack from now on."""

    ends: t.ClassVar[t.Mapping[str, str]] = {word: word for word in ("accept", "queue", "drop", "reject")}

    def __init__(self, rules: native.Ruleset, chain: native.Chain, packet: native.Packet) -> None:
        self._known = dict(packet)
        super().__init__(rules, chain, self._known)
        self.untracked = False

    @property
    def mark(self) -> int | None:
        """The mark of the packet behind the chain."""
        return self._known.get("mark")

    @property
    def ct_mark(self) -> int | None:
        """That of its connection."""
        return self._known.get("ct mark")

    def _statement(self, word: str, body: Json, sure: bool) -> set[str]:
        name = field(body.get("key")) if word == "mangle" else None
        if name in _MARKS:
            new = self._value(body.get("value")) if sure and self._sure else None
            self._known.pop(name, None)
            if new is not None:
                self._known[name] = new
        elif word == "notrack":
            self.untracked = sure and self._sure
        elif word in _TARGETS:
            return self._translation(word, body or {})
        return set()

    def _value(self, said: Json) -> int | None:
        """A mark as ``meta mark set`` has it; None where it cannot be told."""
        if isinstance(said, int):
            return said
        if not isinstance(said, dict) or len(said) != 1:
            return None
        sign, parts = next(iter(said.items()))
        if sign in ("meta", "ct"):
            name = field(said)
            return self._known.get(name) if name in _MARKS else None
        two = [self._value(part) for part in parts] if sign in ("|", "&", "^") else []
        if len(two) != 2 or two[0] is None or two[1] is None:
            return None
        return {"|": two[0] | two[1], "&": two[0] & two[1], "^": two[0] ^ two[1]}[sign]

    def _translation(self, word: str, body: t.Mapping[str, Json]) -> set[str]:
        """None of another version of IP than the packet has; ``?`` where it cannot be told what it is to."""
        if body.get("family", self._packet["protocol"]) != self._packet["protocol"]:
            return set()
        to = self._looked_up(body.get("addr"))
        if to == {}:
            # The map has nothing for the packet: then the rule is none for it.
            return set()
        address, port = _text(to), _text(body.get("port"))
        flags = body.get("flags", [])
        words = [_FLAGS.get(flag, "?") for flag in (flags if isinstance(flags, list) else [flags])]
        if word in ("masquerade", "redirect"):
            words = ["--to-ports", port, *words] if port else words
        else:
            both = address if not port else f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
            words = ["--to-destination" if word == "dnat" else "--to-source", both, *words]
        return {" ".join([_TARGETS[word], *words])}

    def _looked_up(self, said: Json) -> Json:
        """What a map has for the packet; an empty one when it has nothing."""
        if not isinstance(said, dict) or "map" not in said:
            return said
        for key, value in self._elements(said["map"].get("data")):
            answer = self._is(said["map"].get("key"), "==", key)
            if answer is not False:
                return value if answer else {"?": key}
        return {}


def _text(said: Json) -> str:
    """An address, a port, a range of them or both, as iptables writes them; ``?`` for anything else."""
    if said is None:
        return ""
    if isinstance(said, dict) and set(said) == {"range"}:
        return "-".join(str(end) for end in said["range"])
    if isinstance(said, dict) and set(said) == {"concat"} and len(said["concat"]) == 2:
        address, port = (_text(part) for part in said["concat"])
        return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return str(said) if isinstance(said, (str, int)) else "?"
