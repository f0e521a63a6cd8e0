# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guest that was to be quiesced is not left frozen, and its agent as it was."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import agent, snapshots
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot import apply
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.plan import Creation, Quiet, SnapshotPlan
from ansible_collections.hypervisor.kvm.tests.unit._snapshot.states import spec

QUIET = Quiet(4, 7)
FAILED = LibvirtError("Cannot make snapshot.", libvirt_code=86)
SILENT, REFUSED = LibvirtError("silent", libvirt_code=1), LibvirtError("no such command", libvirt_code=2)


class World:
    """What is called, in order; ``thaws`` are what the agent does each time it is asked to thaw (the last one again and again)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, created: Exception | None, *thaws: Exception | None) -> None:
        self.calls: list[t.Any] = []
        self.now = 0.0
        self._thaws = list(thaws)
        self._created = created
        monkeypatch.setattr(snapshots, "create", self.create)
        monkeypatch.setattr(agent, "set_limit", lambda _connection, _name, limit: self.calls.append(("limit", limit)))
        monkeypatch.setattr(agent, "release", lambda _connection, _name, before: self.calls.append(("release", before)))
        monkeypatch.setattr(agent, "thaw", self.thaw)
        monkeypatch.setattr(agent, "is_silent", lambda error: error is SILENT)
        monkeypatch.setattr(apply.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(apply.time, "sleep", self.sleep)

    def create(self, *_arguments: t.Any) -> None:
        self.calls.append("create")
        if self._created is not None:
            raise self._created

    def thaw(self, _connection: t.Any, _name: str, limit: int) -> None:
        self.calls.append("thaw")
        answer = self._thaws.pop(0) if len(self._thaws) > 1 else self._thaws[0]
        self.now += limit if answer is SILENT else 0
        if answer is not None:
            raise answer

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def run(self, quiet: Quiet | None = QUIET) -> None:
        changes = ChangeSet("web/before", SnapshotPlan(create=Creation("<domainsnapshot/>", (), quiet)))
        apply.apply(None, spec(quiesce=True), changes, lambda _message: None)


def test_one_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, None)
    world.run()
    assert world.calls == [("limit", 4), "create", ("release", 7)]


def test_without_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, FAILED)
    with pytest.raises(LibvirtError):
        world.run(None)
    assert world.calls == ["create"]


@pytest.mark.parametrize("end", [None, REFUSED])
def test_an_agent_that_answers_late_is_asked_until_it_has_thawed(
    monkeypatch: pytest.MonkeyPatch, end: Exception | None
) -> None:
    world = World(monkeypatch, FAILED, SILENT, SILENT, end)
    with pytest.raises(LibvirtError) as caught:
        world.run()
    assert caught.value is FAILED
    assert world.calls == [("limit", 4), "create", "thaw", "thaw", "thaw", ("release", 7)]


def test_one_that_never_answers_is_told_of_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, FAILED, SILENT)
    with pytest.raises(
        LibvirtError, match=r"^Cannot make snapshot\. Nor does the agent say .*\(virsh domfsthaw web,"
    ) as caught:
        world.run()
    assert caught.value.details == {"libvirt_code": 86, "thawed": False}
    assert world.calls[-1] == ("release", 7)
    assert 34 <= world.now <= 43
