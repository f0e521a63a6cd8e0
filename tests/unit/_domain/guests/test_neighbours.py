# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The neighbour table, as the kernel says it."""

from __future__ import annotations

import socket
import struct

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests import neighbours
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.neighbours import Neighbour
from hypothesis import given
from hypothesis import strategies as st

MAC = bytes.fromhex("525400aa0001")


def attribute(kind: int, data: bytes) -> bytes:
    return (struct.pack("=HH", len(data) + 4, kind) + data).ljust((len(data) + 7) & ~3, b"\0")


def message(address: bytes, mac: bytes = MAC, state: int = 2, confirmed: int = 300, kind: int = 28) -> bytes:
    body = struct.pack("=BxxxiHBB", 2 if len(address) == 4 else 10, 3, state, 0, 1)
    body += attribute(1, address) + attribute(2, mac) + attribute(3, struct.pack("=IIII", confirmed, 1, 1, 0))
    return struct.pack("=IHHII", len(body) + 16, kind, 2, 1, 0) + body


DONE = struct.pack("=IHHIIi", 20, 3, 2, 1, 0, 0)


def test_entries() -> None:
    four, six = socket.inet_aton("192.0.2.1"), socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    data = message(four) + message(six, state=4, confirmed=1000) + message(four, state=1) + message(four, state=0x20)
    data += message(four, mac=b"") + message(four, kind=99)
    assert neighbours.parse(data) == (
        True,
        [
            Neighbour("52:54:00:aa:00:01", "192.0.2.1", True, 3.0),
            Neighbour("52:54:00:aa:00:01", "2001:db8::1", False, 10.0),
        ],
    )
    assert neighbours.parse(DONE) == (False, [])
    assert neighbours.parse(message(four) + DONE)[1] != []


@given(st.binary(max_size=100))
def test_odd_data_ends(data: bytes) -> None:
    body = struct.pack("=BxxxiHBB", 2, 3, 2, 0, 1) + data
    neighbours.parse(struct.pack("=IHHII", len(body) + 16, 28, 2, 1, 0) + body)
    neighbours.parse(data[:15])


def test_the_kernel_answers() -> None:
    for entry in neighbours.read():
        assert len(entry.mac) == 17


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_refusal_is_an_answer(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as bound:
        try:
            bound.bind((address, 0))
        except OSError:
            pytest.skip(f"this machine has no {address}")
        monkeypatch.setattr(neighbours, "_ANYBODY", bound.getsockname()[1])
        # Bound, but nobody listens.
        assert neighbours.knock(address)
        bound.listen()
        assert neighbours.knock(address)


def test_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_arguments: object, **_more: object) -> socket.socket:
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", nobody)
    assert not neighbours.knock("127.0.0.1")
