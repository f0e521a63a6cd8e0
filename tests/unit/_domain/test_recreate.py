# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: what becomes another domain, what stays of the one before, and a change of the UUID that is cut off anywhere."""

from __future__ import annotations

import copy
import dataclasses
import os
import pathlib
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import (
    activity,
    candidate,
    compare,
    exchange,
    halfway,
    leftovers,
    planning,
    spec,
    xml,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.halfway import Mark
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.observe import DomainState
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.surroundings import Surroundings
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, InvalidSpec, KvmError, LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.domains import RawDomain

OLD, NEW = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
AROUND = Surroundings(
    offered_types=("qemu", "kvm"),
    machines={"q35": "pc-q35-7.2", "pc": "pc-i440fx-7.2"},
    memory_total=1 << 40,
    networks={"lan": True},
    formats={"/a": "raw"},
)
THERE = f"""<domain type='qemu'><name>web</name><uuid>{OLD}</uuid>
<metadata><o:owner xmlns:o='urn:owner'>team</o:owner></metadata><memory unit='KiB'>524288</memory>
<os firmware='efi'><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type><nvram>/v/web.fd</nvram></os>
<devices><controller type='ide' index='0'/>
<disk type='file' device='disk'><source file='/a'/><target dev='vda' bus='virtio'/>
<address type='pci' domain='0x0000' bus='0x00' slot='0x04' function='0x0'/></disk>
<interface type='network'><mac address='52:54:00:00:00:09'/><source network='lan'/></interface></devices></domain>"""


def parse(**options: t.Any) -> spec.DomainSpec:
    disks = [{"target": "vda", "source": "/a"}]
    efi = {"firmware": "efi", **options.pop("os", {})}
    return spec.parse(
        {"name": "web", "memory": 512, "disks": disks, "interfaces": [{"source": "lan"}], "os": efi, **options}
    )


def state(declared: spec.DomainSpec, **changed: t.Any) -> DomainState:
    found = planning.immediate(
        candidate.Ground(declared, THERE, Memory(), machines=AROUND.machines, new_mac=lambda: "52:54:00:00:00:77")
    )
    seen = DomainState(
        exists=True, uuid=OLD, state="stopped", persistent=True, document=THERE, around=AROUND, candidate=found, obstacles=()
    )  # fmt: skip
    return dataclasses.replace(seen, **changed)


CHANGES: list[tuple[dict[str, t.Any], str]] = [
    ({"uuid": NEW}, "uuid"),
    ({"type": "kvm"}, "type"),
    ({"os": {"machine": "q35"}}, "os.machine"),
    ({"os": {"arch": "i686"}}, "os.arch"),
]


@pytest.mark.parametrize(("options", "field"), CHANGES, ids=lambda value: value if isinstance(value, str) else "")
def test_another_domain_has_to_be_allowed(options: dict[str, t.Any], field: str) -> None:
    declared = parse(**options)
    with pytest.raises(InvalidSpec, match=f"its {field} is .* cannot become .*; allow recreate"):
        compare.compare(declared, state(declared))
    allowed = dataclasses.replace(declared, recreate=True)
    changes = compare.compare(allowed, state(allowed))
    assert {change.field for change in changes.changes if change.effect == "recreate"} == {field}
    assert changes.plan.anew
    assert (changes.plan.replaces is not None) == (field == "uuid")


@pytest.mark.parametrize(("options", "field"), CHANGES, ids=lambda value: value if isinstance(value, str) else "")
def test_what_the_guest_is_known_by_stays(options: dict[str, t.Any], field: str) -> None:
    declared = dataclasses.replace(parse(**options), recreate=True)
    document = compare.compare(declared, state(declared)).plan.merged.document
    seen = xml.read(document)
    assert list(seen.devices["interfaces"]) == ["52:54:00:00:00:09"]
    assert seen.devices["disks"]["vda"]["source"] == "/a"
    assert seen.scalars["uuid"] == (NEW if field == "uuid" else OLD)
    assert "urn:owner" in document
    assert "/v/web.fd" in document
    assert list(xml.remembered(document).devices["interfaces"]) == ["52:54:00:00:00:09"]
    # Another kind of machine has other places.
    assert ("slot='0x04'" in document.replace('"', "'")) == (field in ("uuid", "type"))


def test_a_whole_document_takes_over_the_same() -> None:
    text = (
        "<domain type='qemu'><memory unit='MiB'>512</memory><os firmware='efi'><type machine='q35'>hvm</type></os><devices>"
        "<disk type='file'><source file='/a'/><target dev='vda'/></disk>"
        "<interface type='network'><source network='lan'/></interface></devices></domain>"
    )
    declared = spec.parse({"name": "web", "xml": text, "recreate": True})
    changes = compare.compare(declared, state(declared))
    assert {change.field for change in changes.changes if change.effect == "recreate"} == {"os.machine"}
    document = changes.plan.merged.document
    assert (xml.read(document).scalars["uuid"], xml.macs(document)) == (OLD, ["52:54:00:00:00:09"])
    assert "urn:owner" in document
    assert "/v/web.fd" in document


@pytest.mark.parametrize("last", [Memory(), Memory(["genid"]), Memory(document="<domain><genid/></domain>")])
def test_a_generation_that_was_declared_and_is_not_any_more_goes(last: Memory) -> None:
    root = _xml.parse("<domain><name>web</name></domain>")
    planning.anew.take_over(root, _xml.parse(THERE.replace("<memory", f"<genid>{NEW}</genid><memory", 1)), last)
    assert _xml.find_text(root, "genid") == (None if last else NEW)
    assert _xml.find_text(root, "uuid") == OLD


def test_a_document_without_a_machine_means_the_one_that_libvirt_chooses() -> None:
    text = "<domain type='qemu'><memory unit='MiB'>512</memory><os><type arch='x86_64'>hvm</type></os></domain>"
    declared = spec.parse({"name": "web", "xml": text}).definition
    q35 = THERE.replace("pc-i440fx-7.2", "pc-q35-7.2")
    assert planning.anew.causes(declared, THERE, AROUND.machines, "x86_64") == ()
    assert planning.anew.causes(declared, q35, AROUND.machines, "x86_64") == ("os.machine",)


@pytest.mark.parametrize(
    ("stated", "native", "expected"),
    [("", "x86_64", ("os.arch",)), (" arch='i686'", "x86_64", ()), ("", "i686", ()), ("", None, ())],
)
def test_a_document_without_an_architecture_means_that_of_the_host(
    stated: str, native: str | None, expected: object
) -> None:
    text = f"<domain type='qemu'><memory unit='MiB'>512</memory><os><type{stated}>hvm</type></os></domain>"
    declared = spec.parse({"name": "web", "xml": text, "recreate": True})
    there = THERE.replace("x86_64", "i686")
    assert planning.anew.causes(declared.definition, there, AROUND.machines, native) == expected
    ground = candidate.Ground(declared, there, Memory(), machines=AROUND.machines, native=native)
    # Nothing would be in its place any more.
    assert ("slot=" in planning.immediate(ground).document) == (not expected)


def test_what_nobody_declares_is_not_lost() -> None:
    declared = dataclasses.replace(parse(os={"machine": "q35"}, disks=[]), recreate=True)
    with pytest.raises(Busy, match="disks vda"):
        compare.compare(declared, state(declared))
    # What a declaration has brought and this one leaves out is to go.
    known = Memory(devices={"disks": {"vda": ["target"]}})
    assert compare.compare(declared, state(declared, memory=known)).plan.anew
    # Another UUID has a place for everything.
    declared = dataclasses.replace(parse(uuid=NEW, disks=[]), recreate=True)
    assert "/a" in compare.compare(declared, state(declared)).plan.merged.document


def test_what_is_in_the_way_is_said() -> None:
    declared = dataclasses.replace(parse(uuid=NEW), recreate=True)
    with pytest.raises(Busy, match=r"it has snapshots \(a\)"):
        compare.compare(declared, state(declared, obstacles=("it has snapshots (a)",)))
    taken = dataclasses.replace(AROUND, holder="other")
    with pytest.raises(InvalidSpec, match="domain other has the uuid"):
        compare.compare(declared, state(declared, around=taken))


def test_a_domain_that_is_made_anew_has_to_be_described() -> None:
    with pytest.raises(InvalidSpec, match="at least its memory"):
        state(spec.parse({"name": "web", "os": {"machine": "q35"}, "recreate": True}))


@pytest.mark.parametrize(
    ("wanted", "now", "ending", "following", "told"),
    [
        ("running", ("stopped", ""), (), ("start",), ("stopped", "running")),
        ("running", ("running", ""), ("shutdown",), ("start",), None),
        ("running", ("saved", ""), ("restore", "shutdown"), ("start",), ("saved", "running")),
        ("paused", ("paused", "user"), ("resume", "shutdown"), ("start_paused",), None),
        ("saved", ("saved", ""), ("restore", "shutdown"), ("start_paused", "save_running"), None),
        ("stopped", ("running", ""), ("shutdown",), (), ("running", "stopped")),
        ("defined", ("running", ""), ("shutdown",), ("start",), None),
        ("defined", ("stopping", ""), ("shutdown",), (), ("stopping", "stopped")),
        ("defined", ("stopped", ""), (), (), None),
        ("defined", ("saved", ""), ("restore", "shutdown"), (), ("saved", "stopped")),
    ],
)
def test_it_is_off_in_between(
    wanted: str, now: tuple[str, str], ending: t.Any, following: t.Any, told: tuple[str, str] | None
) -> None:
    found = activity.plan(activity.Wanted("web", wanted, anew=True), activity.Now(*now, persistent=True))
    assert (found.opening, found.ending, found.following, found.told) == ((), ending, following, told)
    assert not found.goes_on


class Killed(BaseException):
    """What ends a process and cannot be caught."""


@dataclasses.dataclass
class Defined:
    uuid: str
    document: str
    autostart: bool
    active: bool = False


class Host:
    """A stand-in for libvirt's definitions that can be killed before each call that writes, or refuse one."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.domains: dict[str, Defined] = {}
        self.folder = folder
        self.calls: list[str] = []
        self.kill_at = 0
        self.refuses = ""

    def write(self, call: str) -> None:
        self.calls.append(call)
        if len(self.calls) == self.kill_at:
            raise Killed
        if call == self.refuses:
            raise LibvirtError(f"Cannot {call}.")

    def set_record(self, _c: t.Any, name: str, element: str | None, _namespace: t.Any) -> None:
        self.write("set_record")
        found = self.domains[name]
        found.document = halfway.unmarked(found.document)
        if element is not None:
            mark = Mark(**planning_json(element))
            found.document = halfway.marked(found.document, mark)

    def rename(self, _c: t.Any, name: str, other: str) -> None:
        self.write("rename")
        assert other not in self.domains
        self.domains[other] = self.domains.pop(name)

    def define(self, _c: t.Any, name: str, document: str) -> str:
        self.write("define")
        uuid = xml.read(document).scalars["uuid"]
        assert all(found.uuid != uuid for other, found in self.domains.items() if other != name)
        assert name not in self.domains
        self.domains[name] = Defined(uuid, document, False)
        return document

    def set_autostart(self, _c: t.Any, name: str, autostart: bool) -> None:
        self.write("set_autostart")
        self.domains[name].autostart = autostart

    def undefine(self, _c: t.Any, name: str, keep: bool = False) -> None:
        self.write("undefine")
        assert keep
        del self.domains[name]

    def move(self, old: str, new: str) -> None:
        self.write("move")
        pathlib.Path(old).rename(new)

    def read(self, _c: t.Any, name: str) -> RawDomain | None:
        found = self.domains.get(name)
        if found is None:
            return None
        return RawDomain(
            found.uuid, "stopped", "", found.active, True, found.autostart, found.document, None, None, None
        )

    def state(self, _c: t.Any, name: str) -> tuple[str, str]:
        return ("stopped", "") if name in self.domains else ("absent", "gone")


def planning_json(element: str) -> dict[str, t.Any]:
    text = f'<a><metadata><m:mark xmlns:m="{halfway.URI}">{element.partition(">")[2].partition("<")[0]}</m:mark></metadata></a>'
    mark = halfway.read(text)
    assert mark is not None
    return dataclasses.asdict(mark)


@pytest.fixture(name="host")
def _host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(tmp_path)
    for name in ("set_record", "define", "set_autostart", "read", "state"):
        monkeypatch.setattr(exchange.domains, name, getattr(host, name))
    for name in ("rename", "undefine"):
        monkeypatch.setattr(exchange.lifecycle, name, getattr(host, name))
    monkeypatch.setattr(exchange, "os", Moving(host))
    monkeypatch.setattr(leftovers, "_TPM", str(tmp_path))
    return host


class Moving:
    """The part of ``os`` that is asked for."""

    path = os.path

    def __init__(self, host: Host) -> None:
        self.rename = host.move


def start(host: Host) -> Mark:
    host.domains = {"web": Defined(OLD, THERE, True)}
    (host.folder / OLD).mkdir()
    (host.folder / OLD / "key").write_text("a")
    host.calls = []
    return Mark(True, "web", OLD, True)


def run(host: Host) -> None:
    """What a task does: looks, puts right what was cut off, and changes what is still to be changed."""
    raw, left = leftovers.found("web", lambda name: host.read(None, name))
    assert raw is not None
    assert raw.autostart
    if left is not None:
        exchange.put_right(None, "web", left)
    if raw.uuid != NEW:
        exchange.replace(None, Mark(True, "web", raw.uuid, raw.autostart), raw.inactive_xml.replace(OLD, NEW))


def check(host: Host) -> None:
    assert list(host.domains) == ["web"]
    assert (host.domains["web"].uuid, host.domains["web"].autostart) == (NEW, True)
    assert halfway.URI not in host.domains["web"].document
    assert [path.name for path in host.folder.iterdir()] == [NEW]
    assert (host.folder / NEW / "key").read_text() == "a"


def test_a_change_of_the_uuid_that_is_killed_anywhere_is_finished(host: Host, tmp_path: pathlib.Path) -> None:
    start(host)
    run(host)
    check(host)
    steps = len(host.calls)
    assert steps == 8
    for first in range(1, steps + 1):
        # Killed once, and then once more in the next run, anywhere.
        for second in range(1, steps + 6):
            for path in tmp_path.iterdir():
                (path / "key").unlink()
                path.rmdir()
            start(host)
            for kill_at in (first, second, 0):
                host.calls, host.kill_at = [], kill_at
                try:
                    run(host)
                except Killed:
                    assert any(found.uuid in (OLD, NEW) for found in host.domains.values())
            check(host)


def test_what_libvirt_refuses_leaves_the_old_definition(host: Host) -> None:
    old = start(host)
    before = copy.deepcopy(host.domains["web"])
    host.refuses = "define"
    with pytest.raises(LibvirtError):
        exchange.replace(None, old, THERE.replace(OLD, NEW))
    after = host.domains["web"]
    assert list(host.domains) == ["web"]
    assert (after.uuid, after.autostart) == (OLD, True)
    assert candidate.plain(after.document) == candidate.plain(before.document)


def test_one_that_runs_is_left_alone(host: Host) -> None:
    old = start(host)
    host.kill_at = 4
    with pytest.raises(Killed):
        exchange.replace(None, old, THERE.replace(OLD, NEW))
    host.calls, host.kill_at = [], 0
    host.domains["web.replaced"].active = True
    with pytest.raises(KvmError, match=r"web\.replaced, runs"):
        run(host)
    del host.domains["web"]
    with pytest.raises(Busy, match=r"web\.replaced, runs"):
        run(host)


def test_a_domain_of_that_name_that_is_somebodys_own_is_none(host: Host) -> None:
    start(host)
    host.domains["web.replaced"] = host.domains.pop("web")
    assert leftovers.found("web", lambda name: host.read(None, name)) == (None, None)
