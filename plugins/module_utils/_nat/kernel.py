# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Asks the kernel itself which base chains of nf_tables there are, in a hundredth of the time that the program nft takes."""

from __future__ import annotations

import socket
import struct
import typing as t

_NETLINK_NETFILTER = 12
_GET_CHAIN = (10 << 8) | 4  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETCHAIN
_DUMP = 0x301  # NLM_F_REQUEST, NLM_F_DUMP
_ERROR, _DONE = 2, 3
_TABLE, _NAME, _HOOK = 1, 3, 4  # NFTA_CHAIN_...
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
    try:
        return _ask()
    except (OSError, struct.error):
        return None


def _ask() -> list[BaseChain] | None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as kernel:
        kernel.settimeout(_SECONDS)
        kernel.send(_HEADER.pack(20, _GET_CHAIN, _DUMP, 1, 0) + bytes(4))
        found: list[BaseChain] = []
        while True:
            answer = kernel.recv(1 << 18)
            for kind, body in messages(answer):
                if kind == _ERROR:
                    return None
                if kind == _DONE:
                    return found
                found += _chain(body)


def messages(answer: bytes) -> t.Iterator[tuple[int, bytes]]:
    """The messages of a netlink answer: their types and what is in them."""
    at = 0
    while at + _HEADER.size <= len(answer):
        length, kind = _HEADER.unpack_from(answer, at)[:2]
        if length < _HEADER.size:
            return
        yield kind, answer[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def _chain(body: bytes) -> list[BaseChain]:
    """The chain of a message, if it is a base chain."""
    attributes: dict[int, bytes] = {}
    at = 4
    while at + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, at)
        if length < 4:
            break
        attributes[kind & 0x3FFF] = body[at + 4 : at + length]
        at += (length + 3) & ~3
    if not {_TABLE, _NAME, _HOOK} <= set(attributes):
        return []
    words = (attributes[kind].rstrip(b"\0").decode("utf-8", "replace") for kind in (_TABLE, _NAME))
    return [BaseChain(_FAMILIES.get(body[0], str(body[0])), *words)]
