# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is done to go back to a snapshot, and what is refused."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.chain import Layer
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.compare import compare
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.observe import SnapshotState
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.plan import Overlay, Reversion
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.removal import Removal
from ansible_collections.hypervisor.kvm.tests.unit._snapshot.states import NEW, disk, files, spec, state, taken

NOW = "<domain type='qemu'><name>web</name><devices>{}</devices></domain>"
DISK = "<disk type='file' device='disk'><driver name='qemu' type='{}'/><source file='{}'/><target dev='vda'/></disk>"


def _reverted(seen: SnapshotState, **params: t.Any) -> t.Any:
    return compare(spec("snap", state="reverted", **params), seen)


def _internal(**more: t.Any) -> SnapshotState:
    options = {"memory": more.pop("memory", "no"), "state": more.pop("was", "shutoff"), "current": True}
    made = taken("snap", "internal", {"vda": ("/x/a.qcow2", None)}, **options)
    seen = state(
        [disk("vda", "/x/a.qcow2")], made, **{"document": NOW.format(DISK.format("qcow2", "/x/a.qcow2")), **more}
    )
    content = Layer("/x/a.qcow2", "qcow2", size=1 << 30, internal=("snap",))
    return files(seen, contents={"vda": content}, at=frozenset({"vda"}))


def _external(**more: t.Any) -> SnapshotState:
    memory = more.pop("memory", "no")
    options = {"memory": memory, "state": more.pop("was", "shutoff"), "current": more.pop("current", True)}
    if memory == "external":
        options["memory_path"] = "/x/m"
    made = taken("snap", "external", {"vda": ("/x/b.raw", "/x/b.snap")}, **options)
    others = more.pop("others", ())
    layers = disk("vda", *more.pop("chain", ("/x/b.snap", "/x/b.raw")))
    given = {"document": NOW.format(DISK.format("qcow2", layers.chain[0].path)), **more}
    seen = state([layers], made, *others, **given)
    return files(seen, contents={"vda": Layer("/x/b.raw", "raw", size=7 << 20)}, there={"/x/m": "raw"})


def _change(seen: SnapshotState, **more: t.Any) -> SnapshotState:
    return dataclasses.replace(seen, disks=tuple(dataclasses.replace(item, **more) for item in seen.disks))


def _fresh(seen: SnapshotState) -> SnapshotState:
    top, *rest = seen.disks[0].chain
    return _change(seen, chain=(dataclasses.replace(top, empty=True), *rest))


def test_nothing_was_written_since() -> None:
    assert not _reverted(_internal())
    assert not _reverted(_fresh(_external()))


@pytest.mark.parametrize(
    "seen",
    [
        files(_internal(), at=frozenset()),
        dataclasses.replace(_internal(), state="running", active=True),
        dataclasses.replace(_internal(), snapshots=tuple(dataclasses.replace(item, current=False) for item in _internal().snapshots)),
        dataclasses.replace(_internal(), document=NOW.format(DISK.format("qcow2", "/x/a.qcow2") + "<rng/>")),
        dataclasses.replace(_internal(), local=False),
        _external(),
        dataclasses.replace(_fresh(_external()), document=NOW.format("")),
    ],
)  # fmt: skip
def test_something_has_changed_since(seen: SnapshotState) -> None:
    changes = _reverted(seen)
    assert changes.changes[0].field == "state"
    assert changes.plan.revert is not None


def test_a_running_domain_that_has_written_nothing() -> None:
    seen = _change(_internal(memory="internal", was="running", state="running", reason="from_snapshot"), written=False)
    assert not _reverted(seen)
    assert _reverted(_change(seen, written=True))
    assert _reverted(_change(seen, written=None))
    assert _reverted(dataclasses.replace(seen, reason="booted"))
    assert _reverted(seen, running=False).plan.revert == Reversion(flags=("PAUSED",), off_after=True)


@pytest.mark.parametrize(
    ("seen", "params", "wanted"),
    [
        (files(_internal(), at=frozenset()), {}, Reversion()),
        (_internal(), {"running": True}, Reversion(flags=("RUNNING",))),
        (_internal(state="running"), {}, Reversion(stop=True)),
        (_internal(state="running"), {"running": True}, Reversion(stop=True, flags=("RUNNING",))),
        (_internal(memory="internal", was="running"), {}, Reversion()),
        (_internal(memory="internal", was="running"), {"running": True}, Reversion()),
        (_internal(memory="internal", was="paused"), {}, Reversion()),
        (_internal(memory="internal", was="paused"), {"running": True}, Reversion(flags=("RUNNING",))),
        (
            _internal(memory="internal", was="running", state="paused"),
            {"running": False},
            Reversion(flags=("PAUSED",), off_after=True),
        ),
        (files(_internal(), at=frozenset()), {"force": True}, Reversion(flags=("FORCE",))),
        (
            _internal(managed_save=True),
            {"force": True, "running": True},
            Reversion(discard=True, flags=("FORCE", "RUNNING")),
        ),
    ],
)
def test_what_libvirt_does(seen: SnapshotState, params: dict[str, t.Any], wanted: Reversion) -> None:
    assert _reverted(seen, **params).plan.revert == wanted


OVERLAYS = (Overlay("vda", "/x/b.snap", "/x/b.raw", "raw", 7 << 20),)


@pytest.mark.parametrize(
    ("seen", "params", "stop", "start", "memory"),
    [
        (_external(), {}, False, None, None),
        (_external(state="running"), {}, True, None, None),
        (_external(), {"running": True}, False, "running", None),
        (_external(memory="external", was="running"), {}, False, "running", "/x/m"),
        (_external(memory="external", was="paused"), {}, False, "paused", "/x/m"),
        (_external(memory="external", was="running"), {"running": False}, False, None, None),
        (_external(version=NEW), {}, False, None, None),
    ],
)
def test_what_we_do(seen: SnapshotState, params: t.Any, stop: bool, start: str | None, memory: str | None) -> None:
    plan = _reverted(seen, **params).plan.revert
    assert (plan.overlays, plan.stop, plan.start, plan.memory) == (OVERLAYS, stop, start, memory)
    for text in (plan.definition, plan.memory_definition) if memory else (plan.definition,):
        node = _xml.parse(text).find("devices/disk")
        assert node is not None
        assert _xml.find_attribute(node, "source", "file") == "/x/b.snap"
        assert _xml.find_attribute(node, "driver", "type") == "qcow2"


LATER = taken("later", "external", {"vda": ("/x/b.snap", "/x/b.later")}, parent="snap", created=2)


@pytest.mark.parametrize(
    "seen",
    [
        _external(chain=("/x/b.later", "/x/b.snap", "/x/b.raw"), others=[LATER]),
        _external(chain=("/x/mine", "/x/b.raw")),
        _external(chain=("/x/b.raw",)),
        dataclasses.replace(_external(), local=False),
        dataclasses.replace(_external(), persistent=False),
        files(_external(), users={"/x/b.snap": "/x/other"}),
    ],
)
def test_elsewhere_only_a_new_libvirt_goes_back(seen: SnapshotState) -> None:
    with pytest.raises(KvmError, match=r"9\.9 and newer can"):
        _reverted(seen, running=True)
    plan = _reverted(dataclasses.replace(seen, version=NEW), running=True).plan.revert
    assert plan == Reversion(flags=("RUNNING",))


def test_the_later_ones_are_named() -> None:
    with pytest.raises(KvmError, match="state: absent for later"):
        _reverted(_external(chain=("/x/b.later", "/x/b.snap", "/x/b.raw"), others=[LATER]))


ABOVE = taken("above", "external", {"vda": ("/x/a.qcow2", "/x/a.above")}, parent="snap", created=2)


def _with_above() -> SnapshotState:
    seen = _internal()
    return dataclasses.replace(
        seen, snapshots=(*seen.snapshots, ABOVE), disks=(disk("vda", "/x/a.above", "/x/a.qcow2"),)
    )


WRONG: list[tuple[SnapshotState, str]] = [
    (_change(files(_internal(), at=frozenset()), job="commit"), r"block job \(commit\)"),
    (_internal(managed_save=True, state="stopped", document=NOW.format("")), "allow force"),
    (_internal(persistent=False, state="running"), "transient"),
    (_with_above(), "remove above first"),
    (dataclasses.replace(_with_above(), snapshots=_internal().snapshots), "/x/a.above stands on /x/a.qcow2"),
    (files(_internal(), at=frozenset(), users={"/x/a.qcow2": "domain db"}), "domain db stands on /x/a.qcow2"),
    (files(_internal(), at=frozenset(), contents={"vda": Layer("/x/a.qcow2", "qcow2")}), "no such snapshot any more"),
    (
        files(_internal(), at=frozenset(), contents={"vda": Layer("/x/a.qcow2", "qcow2", problem="/x/a.qcow2: gone.")}),
        "is not readable: /x/a.qcow2: gone",
    ),
    (files(_external(memory="external", was="running"), there={}), "with its memory is not there any more"),
    (dataclasses.replace(_external(), removal=Removal(("snap",))), "was interrupted"),
]


@pytest.mark.parametrize(("seen", "says"), WRONG)
def test_what_is_refused(seen: SnapshotState, says: str) -> None:
    with pytest.raises(KvmError, match=says):
        _reverted(seen)


def test_without_its_memory_the_disks_are_still_there() -> None:
    seen = files(_external(memory="external", was="running"), there={})
    assert _reverted(seen, running=False).plan.revert.overlays == OVERLAYS


def test_what_is_missing() -> None:
    assert _reverted(SnapshotState()).plan.missing == ["there is no domain web"]
    assert _reverted(state([])).plan.missing == ["domain web has no snapshot snap (it has: none)"]


def test_a_changed_definition_is_in_the_diff_without_secrets() -> None:
    graphics = "<graphics type='vnc' passwd='secret'/>"
    cookies = "<disk><source><cookies><cookie name='a'>secret</cookie></cookies></source><target dev='vdz'/></disk>"
    document = NOW.format(DISK.format("qcow2", "/x/a.qcow2") + graphics + cookies)
    changes = _reverted(dataclasses.replace(_internal(), document=document))
    shown = str(changes.diff())
    assert "graphics" in shown
    assert "cookie" in shown
    assert "secret" not in shown
