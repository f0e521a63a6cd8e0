# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: what there is of many of them, with libvirt as a few functions."""

from __future__ import annotations

import threading
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import info
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.finder import Told
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.info import Wish
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import process
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.many import Listed

DOCUMENT = "<domain type='qemu'{id}><name>{name}</name><uuid>u</uuid><devices>{devices}</devices></domain>"
DEVICES = """<disk type='file' device='disk'><source file='/no/such'/><target dev='vda' bus='virtio'/></disk>
<interface type='network'><mac address='52:54:00:aa:00:01'/><source network='lan'/><target dev='vnet0'/></interface>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'{state}/></channel>"""


class World:
    """The domains of a host; ``stats`` may hang."""

    def __init__(self) -> None:
        self.listed = {
            "off": Listed("off", "u", False, True, True, True, False),
            "on": Listed("on", "u", True, True, False, False, True),
        }
        self.documents = {
            "off": DOCUMENT.format(name="off", id="", devices=""),
            "on": DOCUMENT.format(name="on", id=" id='4'", devices=DEVICES.format(state=" state='connected'")),
        }
        self.hangs = threading.Event()
        self.hangs.set()
        self.all_hang = True
        self.asked: list[t.Any] = []
        self.on: dict[str, int] = {}
        self.told = {"on": Told()}

    def stats(self, _connection: object, *kinds: str, wait: bool = True, names: object = None) -> dict[str, t.Any]:
        self.asked.append(kinds)
        if "BLOCK" in kinds and (wait or self.all_hang):
            self.hangs.wait(60)
        off, on = {"state.state": 5, "state.reason": 1}, {"state.state": 1, "state.reason": 1}
        if "BLOCK" in kinds:
            on.update({"block.0.name": "vda", "block.0.capacity": 7, "net.0.name": "vnet0", "net.0.rx.bytes": 9})  # type: ignore[dict-item]
        return {"off": off, "on": {**on, **self.on}}

    def read(
        self, _connection: object, names: t.Collection[str], *, inactive: bool = False, secure: bool = False
    ) -> t.Any:
        return {
            name: f"{self.documents[name]}{'<!--inactive-->' if inactive else ''}{'<!--secure-->' if secure else ''}"
            for name in names
            if name in self.documents
        }


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()

    class Finder:
        def __init__(self, *_arguments: object) -> None:
            pass

        def ask(self, views: t.Any, asking: t.Any) -> t.Any:
            made.asked.append(asking)
            return {name: made.told[name] for name in views}

        def addresses(self, views: t.Any, _told: t.Any) -> t.Any:
            return {name: {"52:54:00:aa:00:01": ["192.0.2.1"]} for name in views}

        def close(self) -> None:
            pass

    monkeypatch.setattr(info, "Finder", Finder)
    monkeypatch.setattr(info.many, "listed", lambda _connection: made.listed)
    monkeypatch.setattr(info.many, "documents", made.read)
    monkeypatch.setattr(info.many, "stats", made.stats)
    monkeypatch.setattr(info.host, "uri", lambda _connection: "test:///")
    monkeypatch.setattr(info.snapshots, "tree", lambda _connection, _name: [])
    monkeypatch.setattr(info.Lines, "mine", lambda _self: "line")
    monkeypatch.setattr(info, "state_words", lambda state, _reason: ({1: "running", 5: "stopped"}[state], "unknown"))
    monkeypatch.setattr(process, "pid", lambda *_arguments: 1)
    monkeypatch.setattr(process, "uptime", lambda _pid: 12.5)
    return made


def look(**wish: t.Any) -> dict[str, t.Any]:
    return info.look(None, True, Wish(**wish))


def test_all(world: World) -> None:
    found = look()
    off, on = found["domains"]
    assert found["missing"] == []
    assert (off["name"], off["state"], off["managed_save"], off["autostart"]) == ("off", "saved", True, True)
    assert (off["id"], off["uptime"], off["stats"], off["agent"], off["addresses"]) == (None, None, None, "none", [])
    assert (on["id"], on["uptime"], on["agent"], on["addresses"]) == (4, 12.5, "connected", ["192.0.2.1"])
    assert on["disks"][0]["virtual_size"] == 7
    assert on["interfaces"][0]["stats"] == {"received_bytes": 9}
    assert on["stats_complete"]
    assert not {"xml", "inactive_xml"} & set(on)
    # One call for everything, and no second look for the states.
    assert len(world.asked) == 2


def test_the_sizes_of_a_file_are_those_of_the_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """libvirt's statistics of a running guest say of a file how many blocks it takes in the place of its length."""
    monkeypatch.setattr(info.stats, "disks", lambda _flat: {"vda": {"virtual_size": 9, "physical_size": 4096}})
    monkeypatch.setattr(
        info.disk_files, "look", lambda _disk: {"virtual_size": 8, "allocated_size": 4096, "physical_size": 6}
    )
    disk = look(names=tuple(world.documents))["domains"][1]["disks"][0]
    assert [disk[key] for key in ("virtual_size", "allocated_size", "physical_size")] == [9, 4096, 6]


def test_some(world: World) -> None:
    found = look(names=("on", "none", "on"), stats=False)
    assert [entry["name"] for entry in found["domains"]] == ["on"]
    assert found["missing"] == ["none"]
    assert found["domains"][0]["stats"] is None
    assert world.asked[0] == ("STATE",)
    assert look(names=())["domains"] == []


def test_one_that_is_gone_meanwhile(world: World) -> None:
    del world.documents["off"]
    found = look(names=("off", "on"))
    assert [entry["name"] for entry in found["domains"]] == ["on"]
    assert found["missing"] == ["off"]


def test_a_qemu_that_hangs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info, "_PATIENCE", 0.05)
    monkeypatch.setattr(info, "_LESS_PATIENCE", 0.05)
    world.hangs.clear()
    off, on = look()["domains"]
    world.hangs.set()
    assert (off["state"], on["state"]) == ("saved", "running")
    assert not on["stats_complete"]
    assert on["disks"][0]["virtual_size"] is None


@pytest.mark.parametrize("qemu", [{}, {"balloon.rss": 1}])
def test_beside_a_qemu_that_hangs_the_others_tell_all(
    world: World, monkeypatch: pytest.MonkeyPatch, qemu: dict[str, int]
) -> None:
    monkeypatch.setattr(info, "_PATIENCE", 0.05)
    monkeypatch.setattr(world, "on", qemu)
    world.all_hang = False
    world.hangs.clear()
    off, on = look()["domains"]
    world.hangs.set()
    assert off["stats_complete"]
    assert on["stats_complete"] is bool(qemu)
    assert on["disks"][0]["virtual_size"] == 7


@pytest.mark.usefixtures("world")
def test_statistics_that_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_arguments: object, **_more: object) -> None:
        raise LibvirtError("denied")

    monkeypatch.setattr(info.many, "stats", refuses)
    with pytest.raises(LibvirtError, match="denied"):
        look()


@pytest.mark.parametrize(("told", "state"), [(Told(), "connected"), (Told(silent=True, problem="x"), "silent")])
def test_the_agent(world: World, told: Told, state: str) -> None:
    world.told["on"] = told
    assert look(names=("on",))["domains"][0]["agent"] == state


def test_documents(world: World) -> None:
    off, on = look(xml=True)["domains"]
    assert off["xml"] == world.documents["off"]
    assert "inactive_xml" not in off
    assert on["inactive_xml"].endswith("<!--inactive-->")
    assert "secure" not in on["xml"] + on["inactive_xml"]
    on = look(xml=True, passwords=True)["domains"][1]
    assert on["xml"].endswith("<!--secure-->")
    assert on["inactive_xml"].endswith("<!--inactive--><!--secure-->")
