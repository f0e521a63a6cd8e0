# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Asks the kernel itself which tables and base chains of nf_tables there are, in a hundredth of the time that nft takes."""

from __future__ import annotations

import socket
import struct
import sys
import typing as t

_NETLINK_NETFILTER = 12
_GET_TABLE, _GET_CHAIN = (10 << 8) | 1, (10 << 8) | 4  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GET...
_GENERATION, _GET_GENERATION = (10 << 8) | 15, (10 << 8) | 16  # NFT_MSG_NEWGEN, NFT_MSG_GETGEN
_GENERATION_ID = 1  # NFTA_GEN_ID
_NETWORK = 71  # SO_NETNS_COOKIE, since Linux 5.14
_REQUEST, _DUMP = 0x1, 0x301  # NLM_F_REQUEST, also NLM_F_DUMP
_INTERRUPTED = 0x10  # NLM_F_DUMP_INTR
_ERROR, _DONE = 2, 3
_TABLE, _NAME, _HOOK = 1, 3, 4  # NFTA_CHAIN_..., the first also NFTA_TABLE_NAME
_HEADER = struct.Struct("=IHHII")
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_SECONDS = 5.0


class BaseChain(t.NamedTuple):
    """A chain that the kernel hands packets to."""

    family: str
    table: str
    name: str


def base_chains() -> list[BaseChain] | None:
    """All of them; None when the kernel does not tell (then nft may)."""
    found = _all(_GET_CHAIN)
    return None if found is None else [BaseChain(family, *words) for family, words in found if len(words) == 2]


def tables() -> set[tuple[str, str]] | None:
    """All tables, with their families; None when the kernel does not tell."""
    found = _all(_GET_TABLE)
    return None if found is None else {(family, words[0]) for family, words in found if words}


def generation() -> list[int] | None:
    """What stands for all rules as they are now: the network's number, which no other has until the host is restarted, and
    how often its rules have been changed; None when the kernel does not tell."""
    try:
        with _connected() as kernel:
            network = int.from_bytes(kernel.getsockopt(socket.SOL_SOCKET, _NETWORK, 8), sys.byteorder)
            kernel.send(_HEADER.pack(20, _GET_GENERATION, _REQUEST, 1, 0) + bytes(4))
            for said, _flags, body in messages(kernel.recv(1 << 16)):
                if said == _GENERATION and _GENERATION_ID in (found := _attributes(body)):
                    return [network, int.from_bytes(found[_GENERATION_ID], "big")]
    except (OSError, struct.error):
        pass
    return None


def _all(kind: int) -> list[tuple[str, list[str]]] | None:
    """The families and the names of all tables or base chains."""
    try:
        bodies = _ask(kind)
        return None if bodies is None else [_names(body, kind) for body in bodies]
    except (OSError, struct.error):
        return None


def _connected() -> socket.socket:
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    kernel.settimeout(_SECONDS)
    return kernel


def _ask(kind: int) -> list[bytes] | None:
    with _connected() as kernel:
        kernel.send(_HEADER.pack(20, kind, _DUMP, 1, 0) + bytes(4))
        found: list[bytes] = []
        while True:
            answer = kernel.recv(1 << 18)
            for said, flags, body in messages(answer):
                if said == _ERROR or flags & _INTERRUPTED:
                    return None
                if said == _DONE:
                    return found
                found.append(body)


def messages(answer: bytes) -> t.Iterator[tuple[int, int, bytes]]:
    """The messages of a netlink answer: their types, their flags and what is in them."""
    at = 0
    while at + _HEADER.size <= len(answer):
        length, kind, flags = _HEADER.unpack_from(answer, at)[:3]
        if length < _HEADER.size:
            return
        yield kind, flags, answer[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def _names(body: bytes, kind: int) -> tuple[str, list[str]]:
    """The family of a message, and the names of its table and chain; of a chain that is no base chain none."""
    attributes = _attributes(body)
    needed = (_TABLE,) if kind == _GET_TABLE else (_TABLE, _NAME, _HOOK)
    if not set(needed) <= set(attributes):
        return "", []
    words = [attributes[one].rstrip(b"\0").decode("utf-8", "replace") for one in needed[:2]]
    return _FAMILIES.get(body[0], str(body[0])), words


def _attributes(body: bytes) -> dict[int, bytes]:
    """What is in a message of nf_tables, by kind."""
    found: dict[int, bytes] = {}
    at = 4
    while at + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, at)
        if length < 4:
            break
        found[kind & 0x3FFF] = body[at + 4 : at + length]
        at += (length + 3) & ~3
    return found
