# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: what changes, how it reaches a running domain, and what is refused."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import HIDDEN, ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import compare, spec, surroundings, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import running as running_room
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.activity import Activity
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.situation import Situation
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.observe import DomainState
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.surroundings import Surroundings
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, InvalidSpec, LibvirtError
from ansible_collections.hypervisor.kvm.tests.unit._domain.declarations import MIB, as_libvirt, specs
from hypothesis import given

AROUND = Surroundings(
    virt_type="qemu",
    offered_types=("qemu",),
    machines={"q35": "pc-q35-7.2", "pc": "pc-i440fx-7.2", "pc-q35-7.2": "pc-q35-7.2"},
    buses=("virtio", "scsi", "sata", "usb"),
    memory_total=64 * 1024 * MIB,
    networks={"lan": True, "off": False},
    bridges=frozenset({"lan"}),
    formats={"/a": "raw", "/b": "qcow2", "/dev/c": None, "/k": "raw"},
    folders=frozenset({"/"}),
)
NOWHERE = DomainState(around=AROUND)
MACHINES = {**AROUND.machines, "pc-i440fx-7.2": "pc-i440fx-7.2"}
#: A running domain stays as it is.
STAYS = Activity(goes_on=True, reachable=True)


def parse(**options: t.Any) -> spec.DomainSpec:
    return spec.parse({"name": "web", "memory": 512, **options})


def defined(changes: ChangeSet, was: DomainState = NOWHERE) -> DomainState:
    """The domain once the changes are carried out, as far as its definition goes."""
    if changes.plan.merged is None:
        # A record alone is refreshed without a change.
        return was if changes.plan.remember is None else dataclasses.replace(was, memory=changes.plan.remember)
    macs = (f"52:54:00:ff:00:{number:02x}" for number in range(99))
    made = xml.Draft(_xml.parse(changes.plan.merged.document), changes.plan.merged.memory)
    xml.give_macs(made, lambda: next(macs))
    document = as_libvirt(made.merged().document, AROUND.machines)
    return dataclasses.replace(
        was, exists=True, persistent=True, state="stopped", document=document, memory=xml.remembered(document)
    )


def running(state: DomainState) -> DomainState:
    return dataclasses.replace(
        state, state="running", reason="booted", active=True, live=state.document, live_memory=state.memory
    )


def operations(changes: ChangeSet) -> list[str]:
    return [operation.action for operation in changes.plan.running.plan.operations]


def a_domain(**options: t.Any) -> DomainState:
    return running(defined(compare.compare(parse(**options), NOWHERE)))


def fields(changes: ChangeSet) -> dict[str, str]:
    return {change.field: change.effect for change in changes.changes}


def tolerant(declared: spec.DomainSpec) -> DomainState:
    """Surroundings in which nothing that the declaration names is wrong."""
    formats = {disk["source"]: disk.get("format", "raw") for disk in declared.definition.devices.get("disks", ())}
    return DomainState(around=dataclasses.replace(AROUND, formats={**AROUND.formats, **formats}))


@given(specs)
def test_what_is_as_declared_does_not_change(declared: spec.DomainSpec) -> None:
    first = compare.compare(declared, tolerant(declared))
    assert first.plan.activity.starts
    assert not first.plan.missing
    second = compare.compare(declared, running(defined(first, tolerant(declared))))
    assert second.results() == []
    assert second.restart_required == []
    assert operations(second) == []
    assert dataclasses.replace(second.plan, running=None, kept=None) == compare.DomainPlan(activity=STAYS)


@given(specs, specs)
def test_from_any_declaration_one_step_leads_to_any_other(one: spec.DomainSpec, other: spec.DomainSpec) -> None:
    around = tolerant(other).around
    there = dataclasses.replace(defined(compare.compare(one, tolerant(one))), around=around)
    moved = defined(compare.compare(dataclasses.replace(other, state="defined"), there), there)
    settled = compare.compare(dataclasses.replace(other, state="defined"), moved)
    assert settled.results() == []
    assert settled.plan.remember is None


@given(specs, specs)
def test_a_running_domain_is_told_what_waits_for_its_next_start(one: spec.DomainSpec, other: spec.DomainSpec) -> None:
    around = tolerant(other).around
    there = dataclasses.replace(running(defined(compare.compare(one, tolerant(one)))), around=around)
    changes = compare.compare(other, there)
    waiting = {change.field for change in changes.changes if change.effect == "next_boot"}
    told = {field for entry in changes.restart_required for field in entry["fields"]}
    assert all(any(running_room.related(field, name) for name in told) for field in waiting)
    found, now = changes.plan.running, running(defined(changes, there))
    now = dataclasses.replace(now, live=found.plan.after)
    after = running_room.afterwards(now, now.document, found, Situation())
    again = compare.compare(other, dataclasses.replace(now, live_memory=after.record(now.memory, there.memory)))
    assert again.results() == []
    assert told == {field for entry in again.restart_required for field in entry["fields"]}
    # What was to come at once and did not is found the next time: what runs still has its record.
    late = compare.compare(other, dataclasses.replace(now, live=there.live, live_memory=there.memory))
    assert {"balloon", *operations(late)} >= set(operations(changes))
    restarted = compare.compare(dataclasses.replace(other, restart="if_required"), there)
    assert bool(restarted.plan.activity.ending) == restarted.plan.activity.starts == bool(told)
    assert restarted.restart_required == []


def test_a_new_domain_needs_memory() -> None:
    with pytest.raises(InvalidSpec, match="does not exist yet"):
        compare.compare(spec.parse({"name": "web"}), NOWHERE)


def test_a_new_domain_names_all_that_was_stated_and_its_type() -> None:
    changes = compare.compare(parse(graphics=[{"password": "geheim"}], autostart=True), NOWHERE)
    assert list(fields(changes)) == ["memory", "type", "graphics.vnc", "autostart", "state"]
    assert "geheim" not in str(changes.results()) + str(changes.diff())
    assert changes.changes[2].after["password"] == HIDDEN


def test_a_task_without_a_definition_leaves_it_alone() -> None:
    there = a_domain(title="a", disks=[{"target": "vda", "source": "/a"}])
    changes = compare.compare(spec.parse({"name": "web", "state": "stopped", "autostart": True}), there)
    assert fields(changes) == {"autostart": "live", "state": "live"}
    assert (changes.plan.merged, changes.plan.remember) == (None, None)
    assert changes.plan.activity.ending == ("shutdown",)


def test_titles_and_the_balloon_are_live_and_the_rest_waits() -> None:
    there = a_domain(memballoon={}, vcpus=4, current_vcpus=1)
    changes = compare.compare(
        parse(memballoon={}, title="a", memory=1024, current_memory=256, vcpus=4, current_vcpus=2, rng={}), there
    )
    assert fields(changes) == {
        "title": "live", "memory": "next_boot", "current_memory": "live", "current_vcpus": "live", "rng": "next_boot",
    }  # fmt: skip
    assert operations(changes) == ["balloon", "set_vcpus", "title"]
    assert changes.restart_required == [{"object": "web", "fields": ["memory", "rng"]}]


@pytest.mark.parametrize(
    ("was", "options", "field"),
    [
        ({"memballoon": {"model": "none"}}, {"current_memory": 256, "memballoon": {"model": "none"}}, "current_memory"),
        ({"memballoon": {}}, {"memory": 2048, "current_memory": 1024, "memballoon": {}}, "current_memory"),
        ({"vcpus": 4}, {"vcpus": 4, "current_vcpus": 2}, "current_vcpus"),
    ],
)
def test_what_the_running_domain_cannot_take_waits(was: t.Any, options: t.Any, field: str) -> None:
    changes = compare.compare(parse(**options), a_domain(**was))
    assert fields(changes)[field] == "next_boot"
    assert operations(changes) == []


def test_a_domain_that_is_off_has_nothing_waiting() -> None:
    there = defined(compare.compare(parse(), NOWHERE))
    changes = compare.compare(parse(memory=1024, state="defined"), there)
    assert fields(changes) == {"memory": "live"}
    assert changes.restart_required == []


def test_a_restart_brings_what_waited_since_an_earlier_task() -> None:
    there = a_domain()
    later = dataclasses.replace(running(defined(compare.compare(parse(memory=1024), there), there)), live=there.live)
    assert compare.compare(parse(memory=1024), later).restart_required == [{"object": "web", "fields": ["memory"]}]
    changes = compare.compare(parse(memory=1024, restart="if_required"), later)
    assert fields(changes) == {"memory": "next_boot"}
    assert changes.restart_required == []
    assert changes.plan.activity.ending == ("shutdown",)
    assert changes.plan.activity.following == ("start",)
    assert changes.plan.merged is None


def test_what_an_earlier_declaration_stated_is_told_until_it_runs_no_more() -> None:
    there = a_domain(vcpus=4, current_vcpus=3)
    less = parse(vcpus=2)
    changes = compare.compare(less, there)
    assert changes.restart_required == [{"object": "web", "fields": ["current_vcpus", "vcpus"]}]
    now = dataclasses.replace(running(defined(changes, there)), live=there.live)
    after = running_room.afterwards(now, now.document, changes.plan.running, Situation())
    later = dataclasses.replace(now, live_memory=after.record(now.memory, there.memory))
    again = compare.compare(less, later)
    assert (again.results(), again.restart_required) == ([], changes.restart_required)
    assert again.plan.running.record(now.memory, later.live_memory) == later.live_memory
    back = compare.compare(parse(vcpus=3), later)
    assert back.restart_required == [{"object": "web", "fields": ["vcpus"]}]
    assert "current_vcpus" not in back.plan.running.record(now.memory, later.live_memory).scalars


def test_what_goes_with_a_change_waits_with_it() -> None:
    disks = [{"target": "vda", "source": "/a"}]
    there = a_domain(disks=disks)
    # libvirt boots from the first disk when nothing is said.
    document = there.document.replace("</os>", '<boot dev="hd"/></os>')
    there = dataclasses.replace(there, document=document, live=document)
    ordered = parse(disks=[{**disks[0], "boot_order": 1}])
    changes = compare.compare(ordered, there)
    assert fields(changes) == {"disks.vda.boot_order": "next_boot", "os.boot": "next_boot"}
    assert changes.restart_required == [{"object": "web", "fields": ["disks.vda.boot_order", "os.boot"]}]
    now = dataclasses.replace(running(defined(changes, there)), live=there.live)
    after = running_room.afterwards(now, now.document, changes.plan.running, Situation())
    again = compare.compare(ordered, dataclasses.replace(now, live_memory=after.record(now.memory, there.memory)))
    assert (again.results(), again.restart_required) == ([], changes.restart_required)
    # The definition went back in a run that came no further.
    settled = dataclasses.replace(there, live_memory=after.record(now.memory, there.memory))
    assert compare.compare(parse(disks=disks), settled).restart_required == []


def test_memory_that_is_plugged_in_is_no_memory_of_the_start() -> None:
    room = {"memory": 512, "max_memory": {"size": "4GiB", "slots": 4}, "vcpus": 1}
    dimm = {**room, "memory_devices": [{"model": "dimm", "size": "128MiB", "node": 0}]}
    there = a_domain(**dimm)
    less = compare.compare(parse(**room), there)
    assert less.restart_required == [{"object": "web", "fields": ["current_memory", "memory_devices.0"]}]
    # As much as before in all, but not in the same place.
    more = compare.compare(parse(**{**room, "memory": 640}), there)
    assert "memory" in more.restart_required[0]["fields"]


def test_the_same_is_told_of_a_device_in_each_run() -> None:
    there = a_domain(disks=[{"target": "sda", "bus": "sata", "device": "cdrom", "source": "/a"}])
    text = there.document.replace("</disk>", "<readonly/></disk>")
    there = dataclasses.replace(there, document=text, live=text)
    other = parse(disks=[{"target": "sda", "bus": "sata", "source": "/a", "serial": "x"}])
    changes = compare.compare(other, there)
    assert changes.restart_required == [{"object": "web", "fields": ["disks.sda.device", "disks.sda.serial"]}]
    now = dataclasses.replace(running(defined(changes, there)), live=there.live)
    after = running_room.afterwards(now, now.document, changes.plan.running, Situation())
    later = dataclasses.replace(now, live_memory=after.record(now.memory, there.memory))
    again = compare.compare(other, later)
    assert (again.results(), again.restart_required) == ([], changes.restart_required)


@pytest.mark.parametrize(
    "options",
    [
        {"type": "kvm"},
        {"os": {"machine": "pc"}},
        {"os": {"arch": "i686"}},
        {"uuid": "22222222-2222-3333-4444-555555555555"},
    ],
)
def test_what_makes_another_domain_of_it_is_refused(options: t.Any) -> None:
    around = dataclasses.replace(AROUND, offered_types=("qemu", "kvm"))
    with pytest.raises(InvalidSpec, match=r"cannot become .* declare it again"):
        compare.compare(parse(**options), dataclasses.replace(a_domain(), around=around))


def test_adopting_a_device_changes_only_the_record() -> None:
    there = a_domain(disks=[{"target": "vda", "source": "/a"}])
    forgetful = dataclasses.replace(there, memory=xml.Memory())
    changes = compare.compare(parse(disks=[{"target": "vda", "source": "/a"}]), forgetful)
    assert not changes
    assert changes.plan.remember.devices == {"disks": {"vda": ["source", "target", "type"]}}


@pytest.mark.parametrize(
    ("options", "around", "says"),
    [
        ({"type": "kvm"}, {"virt_type": "kvm"}, "offers no domains of type kvm"),
        ({}, {"known_arch": False}, "has no qemu for"),
        ({"os": {"machine": "x"}}, {}, "no machine type x; .*: pc, q35"),
        (
            {"cpu": {"mode": "custom", "model": "epyc"}},
            {"cpu_models": ("qemu64", "EPYC", "EPYC-Rome")},
            "no cpu.model epyc .* one of EPYC",
        ),
        ({"cpu": {"mode": "custom", "model": "x"}}, {"cpu_models": ("qemu64",)}, "no cpu.model x .* virsh cpu-models"),
        (
            {"cpu": {"mode": "host-model", "features": [{"name": "vmx"}, {"name": "vmxx", "policy": "disable"}]}},
            {"unknown_features": ("vmxx",)},
            "no feature vmxx of processors",
        ),
        ({"memory": "65GiB"}, {}, "more than the host has"),
        ({"disks": [{"target": "hda", "source": "/a", "bus": "ide"}]}, {}, "cannot be on bus ide"),
        ({"disks": [{"target": "vda", "source": "/b"}]}, {}, "is a qcow2 image"),
        ({"disks": [{"target": "vda", "source": "/a", "format": "qcow2"}]}, {}, "is no qcow2 image"),
        ({"wait_for": ["agent"]}, {}, "needs a channel"),
    ],
)
def test_what_the_host_can_never_do_is_refused(options: t.Any, around: t.Any, says: str) -> None:
    with pytest.raises(InvalidSpec, match=says):
        compare.compare(parse(**options), DomainState(around=dataclasses.replace(AROUND, **around)))


def test_what_is_not_started_may_need_more_than_this_host_has() -> None:
    large = parse(state="defined", memory="65GiB", vcpus=4096)
    assert compare.compare(large, DomainState(around=AROUND)).plan.candidate is not None


def test_a_model_of_a_processor_is_refused_only_where_it_is_known_not_to_be() -> None:
    known = DomainState(around=dataclasses.replace(AROUND, cpu_models=("EPYC",)))
    assert compare.compare(parse(cpu={"mode": "custom", "model": "EPYC"}), known)
    assert compare.compare(parse(cpu={"mode": "host-model"}), known)
    assert compare.compare(parse(cpu={"mode": "custom", "model": "any"}), NOWHERE)


@pytest.mark.parametrize("cpu", ["<model>any</model>", "<feature name='vmxx'/>"])
def test_a_document_is_refused_for_its_processor_only_when_it_is_to_start(cpu: str) -> None:
    around = dataclasses.replace(AROUND, cpu_models=("EPYC",), unknown_features=("vmxx",))
    text = f"<domain type='qemu'><memory>65536</memory><os><type>hvm</type></os><cpu mode='custom'>{cpu}</cpu></domain>"
    declared = spec.parse({"name": "web", "xml": text})
    with pytest.raises(InvalidSpec, match="libvirt knows no"):
        compare.compare(declared, DomainState(around=around))
    assert compare.compare(dataclasses.replace(declared, state="defined"), DomainState(around=around))
    # Now it goes on with what it has.
    there = dataclasses.replace(running(a_domain()), around=around)
    assert compare.compare(declared, there)
    # Of the other modes none has a model.
    other = spec.parse({"name": "web", "xml": text.replace("custom", "host-model").replace("vmxx", "vmx")})
    assert compare.compare(other, DomainState(around=dataclasses.replace(around, unknown_features=())))


@pytest.mark.parametrize(
    ("in_source", "in_disk", "in_domain"),
    [
        ("", "<blockio logical_block_size='0512'/>", ""),
        ("", "<blockio logical_block_size='1000'/>", ""),
        ("", "<geometry cyls='1'/>", ""),
        ("<slices><slice type='storage' offset='1'/></slices>", "", ""),
        ("", "", "<launchSecurity><policy>0x1</policy></launchSecurity>"),
    ],
)
def test_what_a_document_has_is_for_libvirt_to_judge(in_source: str, in_disk: str, in_domain: str) -> None:
    disk = f"<disk type='file'><source file='/a'>{in_source}</source><target dev='vda'/>{in_disk}</disk>"
    text = f"<domain type='qemu'><memory>65536</memory><os><type>hvm</type></os>{in_domain}<devices>{disk}</devices></domain>"
    assert compare.compare(spec.parse({"name": "web", "xml": text}), DomainState(around=AROUND))


KEY = "0a81f5b2-8403-7b23-c8d6-21ccc2f80d6f"


class _Objects:
    """A host with one of each of libvirt's objects."""

    connection = None
    filters: frozenset[str] | None = frozenset({"clean"})
    secrets: frozenset[tuple[str, str]] | None = frozenset({("uuid", KEY), ("ceph", "mine")})


def test_what_a_start_needs_of_other_objects_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings.supplies, "volume_lacks", lambda _connection, pool, name: f"{pool}/{name}")

    def lacking(text: str, session: t.Any = _Objects) -> list[str]:
        document = f"<domain type='qemu'><memory>65536</memory><devices>{text}</devices></domain>"
        declared = spec.parse({"name": "web", "xml": document})
        return list(surroundings._lacking(session, surroundings.in_options(declared)))

    disk = "<disk type='network'><source protocol='rbd' name='p/i'><auth username='u'><secret type='ceph' {}/></auth></source><target dev='vda'/></disk>"
    card = "<interface type='ethernet'><filterref filter='{}'/></interface>"
    volume = "<disk type='volume'><source pool='p' volume='v'{}/><target dev='vdb'/></disk>"
    there = [
        disk.format("usage='mine'"),
        disk.format(f"uuid=' {KEY.upper().replace('-', '')}'"),
        card.format("clean"),
    ]
    assert [lacking(text) for text in there] == [[], [], []]
    other = KEY.replace("0", "1")
    assert lacking(disk.format("usage='other'")) == ["there is no secret for ceph with the usage other"]
    assert lacking(disk.format(f"uuid='{other}'")) == [f"there is no secret {other}"]
    assert lacking(f"<tpm><backend type='emulator'><encryption secret='{other}'/></backend></tpm>") == [
        f"there is no secret {other}"
    ]
    assert lacking(2 * card.format("other")) == ["there is no network filter other"]
    assert lacking(volume.format("")) == ["p/v"]
    assert lacking(volume.format(" startupPolicy='optional'")) == []

    class Without(_Objects):
        """A host without such objects: there nothing is said against a name."""

        filters = secrets = None

    assert lacking(disk.format("usage='other'") + card.format("other"), Without) == []


def test_what_libvirt_refuses_is_said_in_our_words_where_they_say_more() -> None:
    refused = dataclasses.replace(NOWHERE, candidate=LibvirtError("XML error: No PCI buses available"))
    with pytest.raises(InvalidSpec, match="no machine type x"):
        compare.compare(parse(os={"machine": "x"}), refused)
    with pytest.raises(LibvirtError, match="No PCI buses"):
        compare.compare(parse(), refused)


HANDED = frozenset({"0000:03:00.0"})


@pytest.mark.parametrize("machine", [None, "pc", "pc-i440fx-7.2"])
def test_secure_boot_needs_another_machine(machine: str | None) -> None:
    boot = {"firmware": "efi", "secure_boot": True, **({"machine": machine} if machine else {})}
    with pytest.raises(InvalidSpec, match="secure_boot needs the machine q35"):
        compare.compare(
            parse(os=boot), dataclasses.replace(NOWHERE, around=dataclasses.replace(AROUND, machines=MACHINES))
        )
    # An existing domain may have it without saying so.
    there = a_domain(os={"machine": "q35", "firmware": "efi"})
    if machine is None:
        assert compare.compare(parse(os=boot), there)


def test_devices_of_the_host_are_known_by_each_of_their_names(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings, "_SYSTEM", str(tmp_path))
    (tmp_path / "pci" / "devices" / "0000:03:00.0").mkdir(parents=True)
    for name, number in (("1-4", 4), ("usb1", 1)):
        place = tmp_path / "usb" / "devices" / name
        place.mkdir(parents=True)
        for file, text in (
            ("idVendor", "046d"),
            ("idProduct", f"c52{number}"),
            ("busnum", "1"),
            ("devnum", str(number)),
        ):
            (place / file).write_text(f"{text}\n")
    usb = [{"type": "usb", "source": name} for name in ("046d:c524", "1.4", "1.5", "046d:c525")]
    pci = [{"type": "pci", "source": f"0000:0{number}:00.0"} for number in (3, 4)]
    there = surroundings._host_devices(parse(hostdevs=[*usb, *pci]))
    assert there == {"046d:c524", "1.4", "0000:03:00.0"}


def test_a_device_that_a_running_domain_has_is_not_looked_for() -> None:
    there = running(a_domain(hostdevs=[{"type": "usb", "source": "046d:c52b"}]))
    changes = compare.compare(parse(title="other", hostdevs=[{"type": "usb", "source": "046d:c52b"}]), there)
    assert changes
    assert changes.plan.missing == []


def test_what_is_not_there_yet_is_listed() -> None:
    changes = compare.compare(
        parse(
            os={"kernel": "/missing"},
            disks=[
                {"target": "vda", "source": "/gone"},
                {"target": "sda", "device": "cdrom", "source": "/may-be-gone", "startup_policy": "optional"},
            ],
            interfaces=[{"source": "no"}, {"source": "off"}, {"type": "bridge", "source": "br9"}],
            serials=[{"path": "/no/log"}],
            vsock={},
            filesystems=[{"target": "a", "source": "/no-folder"}, {"target": "b", "source": "/k"}],
            graphics=[{"listens": [{"type": "network", "network": "nowhere"}]}],
            hostdevs=[
                {"type": "pci", "source": "0000:03:00.0"},
                {"type": "pci", "source": "0000:04:00.0"},
                {"type": "usb", "source": "046d:c52b"},
                {"type": "usb", "source": "1.4", "startup_policy": "optional"},
            ],
        ),
        dataclasses.replace(
            NOWHERE,
            around=dataclasses.replace(
                NOWHERE.around, vsock=False, host_devices=HANDED, lacking=("there is no network filter f",)
            ),
        ),
    )
    assert changes.plan.missing == [
        "the file /missing does not exist",
        "the file /gone does not exist",
        "the file /no-folder does not exist",
        "the folder /no for the console's log does not exist",
        "the host has no /dev/vhost-vsock for its vsock (modprobe vhost_vsock)",
        "the host has no PCI device 0000:04:00.0",
        "the host has no USB device 046d:c52b",
        "there is no network no",
        "network off is not active",
        "there is no network nowhere",
        "the host has no bridge br9",
        "there is no network filter f",
    ]


def test_variables_of_a_firmware_that_stay_are_told() -> None:
    efi = {"machine": "q35", "firmware": "efi", "secure_boot": False}
    there = a_domain(os=efi)
    kept = dataclasses.replace(there, around=dataclasses.replace(AROUND, variables="/n/web_VARS.fd"))
    other = parse(os={**efi, "secure_boot": True}, features={"smm": True})
    (note,) = compare.compare(other, kept).plan.notes
    assert "os.secure_boot changes, but the variables of its firmware (/n/web_VARS.fd) stay" in note
    assert "virsh start web --reset-nvram" in note
    assert compare.compare(other, there).plan.notes == []
    assert compare.compare(parse(os=efi, title="other"), kept).plan.notes == []
    fresh = dataclasses.replace(NOWHERE, around=kept.around)
    assert compare.compare(other, fresh).plan.notes == []


def test_absent_removes_only_the_named_disks() -> None:
    there = a_domain(disks=[{"target": "vda", "source": "/a"}, {"target": "vdb", "source": "/b", "format": "qcow2"}])
    gone = spec.parse({"name": "web", "state": "absent", "remove_disks": ["vda"]})
    removable = Surroundings(removable={"vda": None}, files={"vda": ("/a",)})
    changes = compare.compare(gone, dataclasses.replace(there, around=removable))
    assert fields(changes) == {"state": "live", "disks.vda.source": "live"}
    assert list(changes.plan.remove) == ["vda"]
    assert changes.plan.activity.ending == ("shutdown",)
    assert changes.plan.activity.following == ("undefine",)
    with pytest.raises(Busy, match="disk vda is used"):
        compare.compare(gone, dataclasses.replace(there, around=Surroundings(removable={"vda": "is used"})))
    with pytest.raises(InvalidSpec, match="does not have"):
        compare.compare(dataclasses.replace(gone, remove_disks=("vdx",)), there)
    assert not compare.compare(gone, DomainState())
    # What a task has left that was killed when the domain was gone already.
    assert fields(compare.compare(gone, DomainState(around=removable))) == {"disks.vda.source": "live"}


def test_variables_go_with_a_domain_that_has_no_definition() -> None:
    there = dataclasses.replace(a_domain(), around=Surroundings(variables="/n/web.fd"))
    gone = spec.parse({"name": "web", "state": "absent"})
    assert compare.compare(gone, dataclasses.replace(there, persistent=False)).plan.variables == "/n/web.fd"
    assert compare.compare(gone, there).plan.variables is None


def test_a_transient_domain_becomes_persistent() -> None:
    changes = compare.compare(parse(), dataclasses.replace(a_domain(), persistent=False))
    assert fields(changes) == {"persistent": "live"}
    assert changes.plan.merged is not None


def test_a_changed_password_shows_that_it_changed_and_nothing_else() -> None:
    changes = compare.compare(parse(graphics=[{"password": "neu"}]), a_domain(graphics=[{"password": "alt"}]))
    assert changes.results() == [
        {"object": "web", "field": "graphics.vnc.password", "before": HIDDEN, "after": HIDDEN, "effect": "live"}
    ]
