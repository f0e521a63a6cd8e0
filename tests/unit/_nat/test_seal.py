# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NAT: nothing is taken for known that is not, and what is known is found again."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import stat
import struct
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import backend, early, kernel, native, saved, seal
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.forwards import Forward
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.listening import Socket
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.observe import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.record import Record
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.shape import Shape
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.spec import NatSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.whereabouts import Whereabouts
from ansible_collections.hypervisor.kvm.tests.unit._nat.hosts import seen as host

SPEC = NatSpec("br0", subnets=("192.168.0.0/24",), shape=Shape(port_forwards=(Forward("tcp", "80", "80", domain="x"),)))
AROUND = host(files={"/a": "text"}, sockets=(Socket("tcp", None, 80),), called=frozenset({"br0", "br1", "br2"}))
GROUND = ("boot", 1, 2, 3)


@pytest.fixture(autouse=True)
def _place(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setattr(seal, "PLACE", str(tmp_path / "seals"))
    monkeypatch.setattr(seal, "ground", lambda _uncounted: list(GROUND))


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"/a": "other"}},
        {"host": backend.Host(backend.LEGACY, AROUND.host.programs)},
        {"forwarding": False},
        {"forwarding6": True},
        {"systemd": True},
        {"unit_on": True},
        {"python": "/usr/bin/other"},
        {"warnings": ("one",)},
        {"whereabouts": {"web": Whereabouts(groups=(("192.168.0.9",),))}},
        {"sockets": ()},
        {"loopless": frozenset({"br0"})},
        {"loopless6": frozenset({"br0"})},
        {"called": frozenset({"br0"})},
        {"uplinks": frozenset({"eth0"})},
        {"leads_out": {4: "eth0"}},
        {"addresses": frozenset({"203.0.113.1"})},
        {"devices": frozenset({"eth0"})},
    ],
)
def test_nothing_of_the_host_may_have_changed(change: dict[str, t.Any]) -> None:
    assert seal.digest([SPEC], dataclasses.replace(AROUND, **change)) != seal.digest([SPEC], AROUND)


def test_every_field_of_a_host_is_asked_for_or_counted_by_the_kernel() -> None:
    asked = {"host", "files", "forwarding", "forwarding6", "systemd", "unit_on", "python", "zones"}
    asked |= {
        "warnings",
        "whereabouts",
        "sockets",
        "loopless",
        "loopless6",
        "called",
        "uplinks",
        "leads_out",
        "addresses",
        "devices",
    }
    counted = {"tables", "native", "policies", "closed", "records", "generation", "preferred"}
    assert {field.name for field in dataclasses.fields(Snapshot)} == asked | counted


@pytest.mark.parametrize(
    "specs",
    [
        [],
        [SPEC, SPEC],
        [dataclasses.replace(SPEC, state="absent")],
        [dataclasses.replace(SPEC, shape=Shape())],
        [dataclasses.replace(SPEC, subnets=("192.168.0.0/25",))],
    ],
)
def test_nor_the_call(specs: list[NatSpec]) -> None:
    assert seal.digest(specs, AROUND) != seal.digest([SPEC], AROUND)


def test_nor_the_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    before = seal.digest([SPEC], AROUND)
    assert seal.digest([dataclasses.replace(SPEC)], dataclasses.replace(AROUND)) == before
    monkeypatch.setattr(seal, "VERSION", "9.9.9")
    assert seal.digest([SPEC], AROUND) != before


def _save(code: str, told: dict[str, list[str]], ground: t.Sequence[t.Any] | None = GROUND) -> None:
    seal.save(list(ground) if ground is not None else None, [], code, seal.Found(backend.NFT, told))


def test_what_was_told_is_found_again_until_a_rule_changes() -> None:
    assert seal.find(list(GROUND), "code") is None
    _save("code", {"br0": ["said"]})
    _save("other", {"br1": []})
    assert seal.find(list(GROUND), "code") == (backend.NFT, {"br0": ["said"]})
    assert seal.find(list(GROUND), "other") == (backend.NFT, {"br1": []})
    assert seal.find(list(GROUND), "third") is None
    assert seal.find(None, "code") is None
    for place in range(len(GROUND)):
        assert seal.find([*GROUND[:place], "else", *GROUND[place + 1 :]], "code") is None
    assert stat.S_IMODE(os.stat(seal.PLACE).st_mode) == 0o600
    assert os.listdir(os.path.dirname(seal.PLACE)) == ["seals"]


def test_what_changed_behind_the_comparison_is_not_remembered() -> None:
    _save("code", {}, [*GROUND[:-1], 2])
    _save("code", {}, None)
    assert not os.path.exists(seal.PLACE)


def test_of_very_many_calls_the_last_are_known() -> None:
    for number in range(100):
        _save(str(number), {})
    assert seal.find(list(GROUND), "99") == (backend.NFT, {})
    assert seal.find(list(GROUND), "0") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        "{",
        '{"ground": ["boot", 1, 2, 3], "seals": {"code": 7}}',
        '{"ground": ["boot", 1, 2, 3], "seals": {"code": ["iptables-nft", 7]}}',
        '{"ground": ["boot", 1, 2, 3], "seals": {"code": ["iptables-nft", {}, {}]}}',
        "\udcff",
    ],
)
def test_a_file_that_cannot_be_read_is_none(text: str) -> None:
    pathlib.Path(seal.PLACE).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert seal.find(list(GROUND), "code") is None
    _save("code", {})
    assert seal.find(list(GROUND), "code") == (backend.NFT, {})


def test_chains_that_others_made_with_nft_are_looked_at_each_time() -> None:
    own = dataclasses.replace(AROUND, records={"br0": Record("br0", backend.NFT, "none", SPEC.subnets, {})})
    assert seal.can_seal(own)
    chain = native.Chain("inet", "firewalld", "filter_FORWARD", "forward", "accept")
    assert not seal.can_seal(dataclasses.replace(own, native=native.Ruleset((chain,))))


def test_without_nat_of_ours_nothing_is_left() -> None:
    assert not seal.can_seal(AROUND)
    _save("code", {})
    for _again in range(2):
        seal.forget()
        assert os.listdir(os.path.dirname(seal.PLACE)) == []


#: What iptables-legacy-save may say one after the other.
LEGACY = [
    "*filter\n:INPUT ACCEPT [1:2]\n:FORWARD ACCEPT [0:0]\n:own - [0:0]\n-A INPUT -j own\nCOMMIT\n",
    "*filter\n:INPUT DROP [1:2]\n:FORWARD ACCEPT [0:0]\n:own - [0:0]\n-A INPUT -j own\nCOMMIT\n",
    "*filter\n:INPUT ACCEPT [1:2]\n:FORWARD ACCEPT [0:0]\n-A INPUT -j own\nCOMMIT\n",
    "*filter\n:INPUT ACCEPT [1:2]\n:FORWARD ACCEPT [0:0]\n:own - [0:0]\n-A FORWARD -j own\nCOMMIT\n",
    "*filter\n:INPUT ACCEPT [1:2]\n:FORWARD ACCEPT [0:0]\n:own - [0:0]\n-A INPUT -j own\n-A INPUT -j own\nCOMMIT\n",
    "*filter\n:INPUT ACCEPT [1:2]\n:FORWARD ACCEPT [0:0]\n:own - [0:0]\nCOMMIT\n",
    "*nat\n:INPUT ACCEPT [1:2]\n:FORWARD ACCEPT [0:0]\n:own - [0:0]\n-A INPUT -j own\nCOMMIT\n",
    '*filter\n:INPUT ACCEPT [1:2]\n-A INPUT -m comment --comment "a [1:2]" -j own\nCOMMIT\n',
    '*filter\n:INPUT ACCEPT [1:2]\n-A INPUT -m comment --comment "a [1:3]" -j own\nCOMMIT\n',
    "*filter\n:INPUT ACCEPT [1:2]\n-A INPUT -j own\nCOMMIT\n*nat\nCOMMIT\n",
    "",
]


def test_every_change_of_rules_that_are_not_counted_has_another_digest() -> None:
    assert len({saved.digest(text) for text in LEGACY}) == len(LEGACY)
    for text in LEGACY:
        later = f"# Generated at noon\n{text}# Completed at noon\n".replace(
            "ACCEPT [1:2]", "ACCEPT [77:18446744073709551615]"
        )
        assert saved.digest(later) == saved.digest(text)
    with pytest.raises(ValueError, match="without COMMIT"):
        saved.digest("*filter\n:INPUT ACCEPT [0:0]\n")


def _says(text: str, code: int = 0) -> _command.Asked:
    return _command.Asked(["sh", "-c", f"cat; exit {code}"], text)


def test_rules_that_the_kernel_does_not_count_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: set[int] = set()
    monkeypatch.setattr(backend, "legacy_tables", lambda number: number in loaded)
    said: dict[str, _command.Asked] = {}
    monkeypatch.setattr(backend, "ask_legacy", lambda: dict(said))

    def digests() -> list[str] | None:
        with early.Early() as first:
            return first.digests

    assert digests() == []
    loaded = {4}
    assert digests() is None
    said = {backend.LEGACY: _says(LEGACY[0])}
    assert digests() == digests() == [saved.digest(LEGACY[0])]
    loaded = {4, 6}
    assert digests() is None
    said[backend.LEGACY6] = _says(LEGACY[1])
    assert digests() == [saved.digest(LEGACY[1]), saved.digest(LEGACY[0])]
    # What cannot be read stands for nothing.
    for bad in (_says(LEGACY[1], 1), _says("-A INPUT")):
        said[backend.LEGACY6] = bad
        assert digests() is None


def test_what_stands_for_all_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    known: list[int] | None = [1, 2]
    monkeypatch.setattr(kernel, "generation", lambda: known)
    before = seal.ground([])
    assert before is not None
    assert before[-2:] == [1, 2]
    assert seal.ground(None) is None
    assert len({str(seal.ground(some)) for some in ([], ["a"], ["b"], ["a", "b"], ["b", "a"])}) == 5
    known = [1, 3]
    assert seal.ground([]) not in (None, before)
    known = None
    assert seal.ground([]) is None


def test_messages_of_the_kernel_are_taken_apart() -> None:
    one = struct.pack("=IHHII", 20, 0xA0F, 0, 1, 0) + bytes(4)
    two = struct.pack("=IHHII", 17, 3, 0x12, 1, 0) + b"x"
    assert list(kernel.messages(one + two)) == [(0xA0F, 0, bytes(4)), (3, 0x12, b"x")]
    assert list(kernel.messages(bytes(20))) == []
