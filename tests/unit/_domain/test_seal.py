# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: what is known to be as declared, and what is not."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import stat
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import seal
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.recognition import Recognition, Still
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import bulk, host
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.bulk import Resting

A = Resting("a", "u-a", "<domain><name>a</name></domain>", "stopped", "unknown", False, False)
B = Resting("b", "u-b", "<domain><name>b</name></domain>", "stopped", "unknown", True, False)
ENTRIES: list[dict[str, t.Any]] = [
    {"name": "b", "state": "stopped", "memory": "1GiB"},
    {"name": "a", "state": "defined", "memory": "1GiB", "disks": [{"target": "vda"}]},
]


class Host:
    """A libvirt with domains that do not run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: pathlib.Path) -> None:
        self.domains = {"a": A, "b": B}
        self.version = (9000000, 7002000)
        self.uri = "qemu:///system"

        def resting(_connection: t.Any, wanted: t.Callable[[str, str], bool]) -> list[Resting]:
            return [domain for name, domain in self.domains.items() if wanted(name, domain.uuid)]

        monkeypatch.setattr(bulk, "resting", resting)
        monkeypatch.setattr(bulk, "uuids", lambda _connection: {domain.uuid for domain in self.domains.values()})
        monkeypatch.setattr(host, "uri", lambda _connection: self.uri)
        monkeypatch.setattr(host, "versions", lambda _connection: self.version)
        monkeypatch.setattr(seal, "CACHE", str(folder))

    def known(self, entries: t.Sequence[dict[str, t.Any]]) -> dict[str, t.Any]:
        """The facts of those that are known."""
        return {name: found.facts for name, found in Recognition(self).known(entries).items()}

    def run(self, entries: t.Sequence[dict[str, t.Any]]) -> None:
        """A run in which all were found as declared."""
        call = Recognition(self)
        assert not call.known(entries)
        call.remember([self.still(entry["name"]) for entry in entries])

    def still(self, name: str) -> Still:
        found = self.domains[name]
        return Still(found, {"domain": {"name": name}}, (("uuid", found.uuid),))

    def change(self, name: str, **fields: t.Any) -> None:
        self.domains[name] = dataclasses.replace(self.domains[name], **fields)


@pytest.fixture(name="there")
def _there(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Host:
    return Host(monkeypatch, tmp_path / "cache")


def test_what_was_found_as_declared_is_known(there: Host) -> None:
    there.run(ENTRIES)
    assert there.known(ENTRIES) == {"b": {"domain": {"name": "b"}}, "a": {"domain": {"name": "a"}}}
    assert there.known(ENTRIES[:1]) == {"b": {"domain": {"name": "b"}}}
    assert Recognition(there).known(ENTRIES)["a"].owns == (("uuid", "u-a"),)
    assert not Recognition(None).known(ENTRIES)


@pytest.mark.parametrize(
    "fields",
    [
        {"document": "<domain><name>a</name><title/></domain>"},
        {"state": "crashed"},
        {"reason": "destroyed"},
        {"autostart": True},
        {"managed_save": True},
        {"uuid": "u-c"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_nothing_of_a_domain_may_have_changed(there: Host, fields: dict[str, t.Any]) -> None:
    there.run(ENTRIES)
    there.change("a", **fields)
    assert list(there.known(ENTRIES)) == ["b"]


@pytest.mark.parametrize(
    "fields",
    [{"memory": "2GiB"}, {"disks": []}, {"disks": [{"target": "vdb"}]}, {"title": None}, {"state": "stopped"}],
    ids=lambda fields: next(iter(fields)),
)
def test_nothing_of_an_entry_may_have_changed(there: Host, fields: dict[str, t.Any]) -> None:
    there.run(ENTRIES)
    assert list(there.known([ENTRIES[0], {**ENTRIES[1], **fields}])) == ["b"]


def test_nor_what_both_depend_on(there: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    there.run(ENTRIES)
    there.version = (9001000, 7002000)
    assert not there.known(ENTRIES)
    there.version, there.uri = (9000000, 7002000), "qemu:///session"
    assert not there.known(ENTRIES)
    there.uri = "qemu:///system"
    assert len(there.known(ENTRIES)) == 2
    monkeypatch.setattr(seal, "VERSION", "9.9.9")
    assert not there.known(ENTRIES)


def test_what_is_to_run_or_to_be_gone_is_looked_at_each_time(there: Host) -> None:
    for state in ("running", "absent", None):
        entries = [{**ENTRIES[1], "state": state}]
        there.run(entries)
        assert not there.known(entries)


def test_what_changed_behind_the_comparison_is_not_remembered(there: Host) -> None:
    call = Recognition(there)
    assert not call.known(ENTRIES)
    compared = [there.still("a"), there.still("b")]
    there.change("b", document="<domain/>")
    call.remember(compared)
    assert list(there.known(ENTRIES)) == ["a"]


def test_domains_that_are_gone_are_forgotten(there: Host, tmp_path: pathlib.Path) -> None:
    there.run(ENTRIES)
    del there.domains["b"]
    there.change("a", document="<domain><uuid/></domain>")
    there.run(ENTRIES[1:])
    assert list(seal.load()) == ["qemu:///system u-a"]
    assert stat.S_IMODE(os.stat(tmp_path / "cache").st_mode) == 0o700
    assert os.listdir(tmp_path / "cache") == ["domains.json"]


@pytest.mark.parametrize(
    "text", ["", "[]", "7", "{", '{"qemu:///system u-a": 7}', '{"qemu:///system u-a": []}', "\udcff"]
)
def test_a_cache_that_cannot_be_read_is_none(there: Host, tmp_path: pathlib.Path, text: str) -> None:
    there.run(ENTRIES)
    (tmp_path / "cache" / "domains.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert not there.known(ENTRIES)
    there.run(ENTRIES)
    assert len(there.known(ENTRIES)) == 2


def test_without_room_for_a_cache_it_goes_on(there: Host, tmp_path: pathlib.Path) -> None:
    (tmp_path / "cache").write_text("a file")
    there.run(ENTRIES)
    assert not there.known(ENTRIES)
