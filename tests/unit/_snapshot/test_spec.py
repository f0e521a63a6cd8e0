# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parameters of snapshots."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.spec import DiskChoice, check_together, parse


def _parse(**params: t.Any) -> t.Any:
    return parse({"domain": "web", "name": "before", **params})


def test_what_is_not_stated() -> None:
    spec = _parse()
    assert (spec.state, spec.made_as, spec.without_memory, spec.disks) == ("present", "internal", False, None)
    assert (spec.running, spec.children, spec.force, spec.wait_timeout) == (None, False, False, 3600)
    assert spec.label == "web/before"
    # A list gives its entries defaults of None.
    assert _parse(state=None, kind=None, disks=None, running=None, wait_timeout=None) == spec


@pytest.mark.parametrize(
    "params",
    [{"disk_only": True}, {"quiesce": True}, {"memory_path": "/x/m"}, {"disks": [{"target": "vda", "path": "/x/o"}]}],
)
def test_what_only_an_external_snapshot_can_be(params: dict[str, t.Any]) -> None:
    assert _parse(**params).made_as == "external"


def test_quiesced_is_without_memory() -> None:
    assert _parse(quiesce=True).without_memory
    assert _parse(disk_only=True).without_memory
    assert not _parse(kind="external").without_memory


def test_disks() -> None:
    found = _parse(disks=[{"target": "vda", "path": "/x/o"}, {"target": "nvme0n1", "path": None}]).disks
    assert found == (DiskChoice("vda", "/x/o"), DiskChoice("nvme0n1"))


WRONG = [
    ({"domain": None}, "of which domain"),
    ({"domain": ""}, "of which domain"),
    ({"domain": "a/b"}, "no name of a domain"),
    ({"name": "a/b"}, "no slashes"),
    ({"name": ".a"}, "no dot at its begin"),
    ({"name": "a\nb"}, "no control characters"),
    ({"name": "x" * 201}, "at most 200 bytes"),
    ({"name": "ä" * 101}, "at most 200 bytes"),
    ({"name": "12"}, "number of another snapshot"),
    ({"wait_timeout": 0}, "wait_timeout of 0 s is too short"),
    ({"agent_timeout": -1}, "agent_timeout of -1 s is too short"),
    ({"quiesce": True, "disk_only": False}, "quiesce is for snapshots without memory"),
    ({"memory_path": "/x/m", "disk_only": True}, "leave out memory_path"),
    ({"memory_path": "/x/m", "quiesce": True}, "leave out memory_path"),
    ({"memory_path": "/x/m", "kind": "internal"}, "paths are for kind: external"),
    ({"memory_path": "m"}, "absolute path"),
    ({"memory_path": "/x/"}, "absolute path"),
    ({"memory_path": "/dev/sda"}, "would overwrite a device"),
    ({"disks": []}, "disks is empty"),
    ({"disks": [{"target": None}]}, "needs a target"),
    ({"disks": [{"target": "/x"}]}, "needs a target"),
    ({"disks": [{"target": "vda"}, {"target": "vda"}]}, "disk vda is in disks twice"),
    ({"disks": [{"target": "vda", "path": "/x/o"}, {"target": "vdb", "path": "/x/o"}]}, "two of disks have the path"),
    ({"disks": [{"target": "vda", "path": "x"}]}, "absolute path"),
    ({"disks": [{"target": "vda", "path": "/dev/vg/o"}]}, "would overwrite a device"),
    ({"disks": [{"target": "vda", "path": "/x/o"}], "kind": "internal"}, "paths are for kind: external"),
    ({"metadata_only": True}, "goes with state absent only"),
    ({"metadata_only": True, "state": "reverted"}, "goes with state absent only"),
]


@pytest.mark.parametrize(("params", "says"), WRONG)
def test_what_cannot_be(params: dict[str, t.Any], says: str) -> None:
    with pytest.raises(InvalidSpec, match=says):
        _parse(**params)


def test_a_number_is_a_name_of_an_external_snapshot_and_of_one_to_remove() -> None:
    assert _parse(name="12", kind="external").name == "12"
    assert _parse(name="12", state="absent").name == "12"


def test_what_one_call_can_do() -> None:
    first, second = _parse(state="reverted"), _parse(name="other", state="absent")
    check_together([_parse(), second, _parse(domain="db", state="reverted")])
    with pytest.raises(InvalidSpec, match="use two tasks"):
        check_together([first, second])
