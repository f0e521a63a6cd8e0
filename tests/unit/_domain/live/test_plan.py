# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running domains: which operations lead to a definition, and what is left for the next start."""

from __future__ import annotations

import re
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import difference
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.plan import plan
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.situation import LivePlan, Situation
from ansible_collections.hypervisor.kvm.tests.unit._domain.live.documents import (
    definitions,
    disk,
    interface,
    pci,
    q35,
    started,
)
from hypothesis import given

CPUS = Situation(cpus=4)
FREE = pci(4)
AGENT = (
    "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'%s/>"
    "<address type='virtio-serial' controller='0' bus='0' port='1'/></channel>"
    "<controller type='virtio-serial' index='0'/>"
)
VNC = "<graphics type='vnc' port='-1' autoport='yes'%s><listen type='address'/></graphics>"
BEHIND = "<backingStore type='file'><format type='raw'/><source file='/b'/><backingStore/></backingStore>"
SLICE = "<slices><slice type='storage' offset='0' size='512'/></slices>"
SINGLE = "<vcpus><vcpu id='0' enabled='yes' hotpluggable='no'/><vcpu id='1' enabled='%s' hotpluggable='yes'/></vcpus>"
BALLOON = "<memballoon model='virtio'>"


def planned(before: str, after: str, situation: Situation = CPUS, **more: t.Any) -> LivePlan:
    """The plan for a domain that was started as ``before``, when its definition becomes ``after``."""
    live, full = started(before)
    return plan(live, full, after, defined=before, situation=situation, **more)


def left(found: LivePlan, wanted: str) -> list[str]:
    return list(difference.between(_xml.parse(found.after), _xml.parse(wanted)))


def actions(found: LivePlan) -> list[str]:
    return [operation.action for operation in found.operations]


@given(definitions)
def test_what_was_just_started_is_in_line(definition: str) -> None:
    live, full = started(definition)
    for defined in (None, definition):
        found = plan(live, full, definition, defined=defined, situation=CPUS)
        assert found.operations == ()
        assert left(found, definition) == []
        assert difference.between(_xml.parse(found.before), _xml.parse(definition)) == {}


@given(definitions, definitions)
def test_after_the_operations_none_is_left(one: str, other: str) -> None:
    found = planned(one, other)
    full = found.after.replace("</domain>", "<resource/></domain>")
    again = plan(found.after, full, other, situation=CPUS)
    assert again.operations == ()
    assert set(left(again, other)) <= set(left(found, other))


@given(definitions, definitions)
def test_the_same_is_foreseen_and_done(one: str, other: str) -> None:
    """Once the definition is written, the plan is the one of before, without what came first."""
    live, full = started(one)
    before = [item for item in plan(live, full, other, defined=one, situation=CPUS).operations if not item.first]
    assert list(plan(live, full, other, situation=CPUS).operations) == before


#: What is there, what is wanted, the actions that lead there.
LIVE: dict[str, tuple[str, str, list[str]]] = {
    "title": (q35(), q35(more="<title>a</title>"), ["title"]),
    "no title": (q35(more="<title>a</title>"), q35(), ["title"]),
    "description": (q35(more="<description>a</description>"), q35(more="<description>b</description>"), ["description"]),
    "metadata": (q35(), q35(more="<metadata><a:x xmlns:a='urn:a'/></metadata>"), ["metadata"]),
    "other metadata": (
        q35(more="<metadata><a:x xmlns:a='urn:a'/><b:x xmlns:b='urn:b'/></metadata>"),
        q35(more="<metadata><b:x xmlns:b='urn:b'><b:y/></b:x></metadata>"),
        ["metadata", "metadata"],
    ),
    "less memory": (q35(), q35().replace("'KiB'>524288</c", "'KiB'>262144</c"), ["balloon"]),
    "more vcpus": (q35(vcpu="<vcpu current='1'>2</vcpu>"), q35(vcpu="<vcpu>2</vcpu>"), ["set_vcpus"]),
    "some more vcpus": (q35(vcpu="<vcpu current='1'>4</vcpu>"), q35(vcpu="<vcpu current='3'>4</vcpu>"), ["set_vcpus"]),
    "single vcpus": (
        q35(
            "",
            "<vcpus><vcpu id='0' enabled='yes' hotpluggable='no'/><vcpu id='1' enabled='no' hotpluggable='yes'/></vcpus>",
            vcpu="<vcpu current='1'>2</vcpu>",
        ),
        q35(
            "",
            "<vcpus><vcpu id='0' enabled='yes' hotpluggable='no'/><vcpu id='1' enabled='yes' hotpluggable='yes'/></vcpus>",
            vcpu="<vcpu current='2'>2</vcpu>",
        ),
        ["enable_vcpus"],
    ),
    "vcpu pins": (q35(), q35(more="<cputune><vcpupin vcpu='1' cpuset='0,2'/></cputune>"), ["pin"]),
    "no pins": (q35(more="<cputune><emulatorpin cpuset='0'/></cputune>"), q35(), ["pin"]),
    "cpuset": (q35(), q35(vcpu="<vcpu placement='static' cpuset='1-2'>2</vcpu>"), ["pin"]),
    "iothreads": (q35(more="<iothreads>1</iothreads>"), q35(more="<iothreads>3</iothreads>"), ["add_iothreads"]),
    "numbered iothreads": (
        q35(more="<iothreads>2</iothreads>"),
        q35(more="<iothreads>2</iothreads><iothreadids><iothread id='2'/><iothread id='7'/></iothreadids>"),
        ["add_iothreads", "delete_iothreads"],
    ),
    "pool of an iothread": (
        q35(more="<iothreads>1</iothreads>"),
        q35(more="<iothreads>1</iothreads><iothreadids><iothread id='1' thread_pool_max='4'/></iothreadids>"),
        ["iothread_parameters"],
    ),
    "shares": (q35(), q35(more="<cputune><shares>512</shares></cputune>"), ["scheduler"]),
    "no quota": (
        q35(more="<cputune><period>100000</period><quota>5000</quota></cputune>"),
        q35(more="<cputune><period>100000</period></cputune>"),
        ["scheduler"],
    ),
    "limits of memory": (q35(), q35(more="<memtune><hard_limit unit='KiB'>900000</hard_limit></memtune>"), ["memory_limits"]),
    "weight": (q35(), q35(more="<blkiotune><weight>500</weight></blkiotune>"), ["block_limits"]),
    "a limit of a disk of the host": (
        q35(),
        q35(more="<blkiotune><device><path>/dev/a</path><weight>5</weight></device></blkiotune>"),
        ["block_limits"],
    ),
    "nodes": (
        q35(more="<numatune><memory mode='strict' nodeset='0'/></numatune>"),
        q35(more="<numatune><memory mode='strict' nodeset='0-1'/></numatune>"),
        ["numa"],
    ),
    "perf": (q35(), q35(more="<perf><event name='cmt' enabled='yes'/></perf>"), ["perf"]),
    "events": (
        q35(),
        q35().replace("restart</on_reboot>", "destroy</on_reboot>").replace("destroy</on_crash>", "preserve</on_crash>"),
        ["lifecycle", "lifecycle"],
    ),
    "period": (q35(), q35().replace(BALLOON, BALLOON + "<stats period='5'/>"), ["balloon_period"]),
    "no period": (q35().replace(BALLOON, BALLOON + "<stats period='5'/>"), q35(), ["balloon_period"]),
    "a disk more": (q35(), q35(disk("vda", address=FREE)), ["attach"]),
    "a disk less": (q35(disk("vda", address=FREE)), q35(), ["detach"]),
    "a disk for another": (q35(disk("vda", address=FREE)), q35(disk("vdb", address=FREE)), ["detach", "attach"]),
    "a scsi disk": (q35(), q35(disk("sda", bus="scsi")), ["attach"]),
    "a usb disk": (q35(), q35(disk("sda", bus="usb")), ["attach"]),
    "no scsi disk": (q35(disk("sda", bus="scsi")), q35(), ["detach"]),
    "no usb disk": (q35(disk("sda", bus="usb")), q35(), ["detach"]),
    "limits of a disk": (
        q35(disk("vda", address=FREE)),
        q35(disk("vda", "<iotune><total_iops_sec>5</total_iops_sec></iotune>", address=FREE)),
        ["block_io"],
    ),
    "no limits of a disk": (
        q35(disk("vda", "<iotune><total_iops_sec>5</total_iops_sec></iotune>", address=FREE)),
        q35(disk("vda", address=FREE)),
        ["block_io"],
    ),
    "a medium": (
        q35(disk("sda", bus="sata", device="cdrom")),
        q35(disk("sda", "<source file='/iso'/>", bus="sata", device="cdrom")),
        ["update"],
    ),
    "no medium": (
        q35(disk("sda", "<source file='/iso'/>", bus="sata", device="cdrom")),
        q35(disk("sda", bus="sata", device="cdrom")),
        ["update"],
    ),
    "an interface": (q35(), q35(interface(1, address=FREE)), ["attach"]),
    "no interface": (q35(interface(1, address=FREE)), q35(), ["detach"]),
    "link": (q35(interface(1, address=FREE)), q35(interface(1, "<link state='down'/>", FREE)), ["update"]),
    "another network": (
        q35(interface(1, address=FREE)),
        q35(interface(1, address=FREE, source="<source network='other'/>")),
        ["update"],
    ),
    "a bridge": (
        q35(interface(1, address=FREE)),
        q35(interface(1, address=FREE, source="<source bridge='br0'/>")).replace("type='network'", "type='bridge'"),
        ["update"],
    ),
    "a filter": (q35(interface(1, address=FREE)), q35(interface(1, "<filterref filter='x'/>", FREE)), ["update"]),
    "a filter and no link": (
        q35(interface(1, address=FREE)),
        q35(interface(1, "<link state='down'/><filterref filter='x'/>", FREE)),
        ["update", "update"],
    ),
    "bandwidth": (
        q35(interface(1, address=FREE)),
        q35(interface(1, "<bandwidth><inbound average='5'/></bandwidth>", FREE)),
        ["update"],
    ),
    "password": (q35(VNC % " passwd='a'"), q35(VNC % " passwd='b'"), ["update"]),
    "rng": (q35(), q35(f"<rng model='virtio'><backend model='random'>/dev/random</backend>{FREE}</rng>"), ["attach"]),
    "channel": (q35(AGENT.partition("</channel>")[2]), q35(AGENT % ""), ["attach"]),
    "tablet": (q35(), q35("<input type='tablet' bus='usb'/>"), ["attach"]),
    "no keyboard beside that of the board": (
        q35(f"<input type='keyboard' bus='ps2'/><input type='keyboard' bus='virtio'>{FREE}</input>"),
        q35("<input type='keyboard' bus='ps2'/>"),
        ["detach"],
    ),
    "redirection": (q35("<redirdev bus='usb' type='spicevmc'/>"), q35(), ["detach"]),
    "shared memory": (q35(), q35(f"<shmem name='s'><model type='ivshmem-plain'/>{FREE}</shmem>"), ["attach"]),
    "lease": (q35(), q35("<lease><lockspace>a</lockspace><key>b</key><target path='/c'/></lease>"), ["attach"]),
    "dimm": (
        q35(more="<maxMemory slots='2' unit='KiB'>9999999</maxMemory>"),
        q35(
            "<memory model='dimm'><target><size unit='KiB'>131072</size><node>0</node></target></memory>",
            "<maxMemory slots='2' unit='KiB'>9999999</maxMemory>",
        ).replace("KiB'>524288<", "KiB'>655360<"),
        ["attach"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LIVE)
def test_what_a_running_domain_takes(name: str) -> None:
    before, wanted, expected = LIVE[name]
    found = planned(before, wanted)
    assert actions(found) == expected
    assert left(found, wanted) == []


#: What is there, what is wanted, the places that wait.
WAITS: dict[str, tuple[str, str, list[str]]] = {
    "more memory": (q35(), q35().replace("524288", "1048576"), ["memory", "currentMemory"]),
    "the most memory": (q35(), q35(more="<maxMemory slots='2' unit='KiB'>9999999</maxMemory>"), ["maxMemory"]),
    "lockfailure": (q35(more="<on_lockfailure>pause</on_lockfailure>"), q35(more="<on_lockfailure>ignore</on_lockfailure>"), ["on_lockfailure"]),
    "emulator": (q35(), q35().replace("qemu-system-x86_64<", "qemu-kvm<"), ["devices.emulator[0]"]),
    "queues of an interface": (
        q35(interface(1)), q35(interface(1, "<driver queues='2'/>")), ["devices.interface[52:54:00:00:00:01].driver"],
    ),
    "another port": (
        q35("<graphics type='vnc' port='5901' autoport='no'/>"), q35("<graphics type='vnc' port='5902' autoport='no'/>"), ["devices.graphics[vnc].port"],
    ),
    "the most vcpus": (q35(), q35(vcpu="<vcpu placement='static'>4</vcpu>"), ["vcpu"]),
    "fewer vcpus": (q35(), q35(vcpu="<vcpu placement='static' current='1'>2</vcpu>"), ["vcpu.current"]),
    "clock": (q35(), q35(more="<clock offset='localtime'/>"), ["clock"]),
    "a feature": (q35(), q35(more="<features><acpi/></features>"), ["features"]),
    "an I/O thread that a disk uses": (
        q35(disk("vda", address=pci(4)).replace("type='raw'/>", "type='raw' iothread='1'/>"), "<iothreads>1</iothreads>"),
        q35(disk("vda", address=pci(4)).replace("type='raw'/>", "type='raw' iothread='1'/>")),
        ["iothreads"],
    ),
    "cpu": (q35(), q35(more="<cpu mode='host-model'/>"), ["cpu"]),
    "shares that are taken out": (
        q35(more="<cputune><shares>512</shares></cputune>"), q35(more="<cputune><period>2000</period></cputune>"), ["cputune.shares"],
    ),
    "mode of numa": (
        q35(more="<numatune><memory mode='strict' nodeset='0'/></numatune>"),
        q35(more="<numatune><memory mode='preferred' nodeset='0'/></numatune>"),
        ["numatune.memory.mode"],
    ),
    "the file of a disk": (q35(disk("vda")), q35(disk("vda")).replace("/srv/vda", "/srv/b"), ["devices.disk[vda].source.file"]),
    "what is behind a disk": (
        q35(disk("vda")),
        q35(disk("vda", BEHIND)),
        [f"devices.disk[vda].backingStore.{part}" for part in ("type", "format", "source", "backingStore")],
    ),
    "the part of a disk": (
        q35(disk("vda")), q35(disk("vda")).replace("'/srv/vda'/>", "'/srv/vda'>" + SLICE + "</source>"), ["devices.disk[vda].source.slices"],
    ),
    "the label of a disk": (
        q35(disk("vda")), q35(disk("vda")).replace("'/srv/vda'/>", "'/srv/vda'><seclabel model='dac' relabel='no'/></source>"),
        ["devices.disk[vda].source.seclabel"],
    ),
    "a label": (q35(), q35(more="<seclabel type='static' model='dac' relabel='no'><label>1:1</label></seclabel>"), ["seclabel"]),
    "a part of the caches": (q35(), q35(more="<cputune><cachetune vcpus='0'/></cputune>"), ["cputune"]),
    "what is deprecated": (q35(), q35(more="<qemu:deprecation xmlns:qemu='urn:q' behavior='omit'/>"), ["deprecation"]),
    "a single vcpu less": (q35("", SINGLE % "yes", vcpu="<vcpu>2</vcpu>"), q35("", SINGLE % "no", vcpu="<vcpu current='1'>2</vcpu>"), [
        "vcpu.current", "vcpus.vcpu[1].enabled",
    ]),
    "the cache of a disk": (q35(disk("vda")), q35(disk("vda")).replace("type='raw'", "type='raw' cache='none'"), ["devices.disk[vda].driver.cache"]),
    "a sata disk": (q35(), q35(disk("sda", bus="sata")), ["devices.disk[sda]"]),
    "no sata disk": (q35(disk("sda", bus="sata")), q35(), ["devices.disk[sda]"]),
    "a drive without a medium": (q35(), q35(disk("sda", bus="scsi", device="cdrom")), ["devices.disk[sda]"]),
    "the model of an interface": (
        q35(interface(1)),
        q35(interface(1)).replace("<model type='virtio'/><", "<model type='e1000e'/><", 1).replace("<model type='virtio'/></i", "<model type='e1000e'/></i"),
        ["devices.interface[52:54:00:00:00:01].model.type"],
    ),
    "a device of the host": (
        q35(interface(1)),
        q35(interface(1, source="<source dev='eth0' mode='bridge'/>")).replace("type='network'", "type='direct'"),
        [f"devices.interface[52:54:00:00:00:01].{name}" for name in ("source.dev", "source.mode", "source.network", "type")],
    ),
    "another device of the host": (
        q35(interface(1, source="<source dev='eth0' mode='bridge'/>")).replace("type='network'", "type='direct'"),
        q35(interface(1, source="<source dev='eth1' mode='bridge'/>")).replace("type='network'", "type='direct'"),
        ["devices.interface[52:54:00:00:00:01].source.dev"],
    ),
    "another kind of drive": (
        q35(disk("sda", "<source file='/iso'/>", bus="sata", device="cdrom")),
        q35(disk("sda", bus="sata")),
        ["devices.disk[sda].device", "devices.disk[sda].source.file"],
    ),
    "mtu": (q35(interface(1)), q35(interface(1, "<mtu size='1400'/>")), ["devices.interface[52:54:00:00:00:01].mtu"]),
    "the first password": (q35(VNC % ""), q35(VNC % " passwd='b'"), ["devices.graphics[vnc].passwd"]),
    "no password": (q35(VNC % " passwd='b'"), q35(VNC % ""), ["devices.graphics[vnc].passwd"]),
    "graphics": (q35(), q35(VNC % ""), ["devices.graphics[vnc]"]),
    "a serial port": (q35(), q35("<serial type='pty'><target type='isa-serial' port='0'/></serial>"), ["devices.serial[0]"]),
    "sound": (q35("<sound model='ich9'/>"), q35(), ["devices.sound[0]"]),
    "9p": (q35(), q35("<filesystem type='mount'><source dir='/a'/><target dir='b'/></filesystem>"), ["devices.filesystem[b]"]),
    "virtiofs without shared memory": (
        q35(), q35(f"<filesystem type='mount'><driver type='virtiofs'/><source dir='/a'/><target dir='b'/>{FREE}</filesystem>"), ["devices.filesystem[b]"],
    ),
    "no port": (q35(ports=3), q35(disk("vda", address=pci(4)), ports=4), ["devices.controller[pci,4]", "devices.disk[vda]"]),
    "no channel": (q35(), q35(AGENT % ""), ["devices.controller[virtio-serial,0]", "devices.channel[org.qemu.guest_agent.0]"]),
    "watchdog": (q35(), q35("<watchdog model='itco' action='reset'/>"), ["devices.watchdog[0]"]),
    "kernel": (q35(), q35().replace("</os>", "<kernel>/k</kernel></os>"), ["os.kernel"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WAITS)
def test_what_waits_for_the_next_start(name: str) -> None:
    before, wanted, places = WAITS[name]
    found = planned(before, wanted)
    assert sorted(left(found, wanted)) == sorted(places)
    assert set(actions(found)) <= {"scheduler"}


def test_each_unpluggable_device_says_why() -> None:
    found = planned(q35(ports=3), q35(disk("sda", bus="sata") + disk("vda", address=pci(4)), ports=4))
    assert found.reasons["devices.disk[sda]"] == "a disk (sata) cannot be plugged in while the domain runs"
    assert "no port is free" in found.reasons["devices.disk[vda]"]


def test_what_is_pulled_out_makes_room() -> None:
    found = planned(q35(disk("vda", address=FREE), ports=4), q35(disk("vdb", address=FREE), ports=4))
    assert actions(found) == ["detach", "attach"]
    assert "<address" in found.operations[1].arguments["documents"][0]


def test_a_source_is_not_plugged_in_twice() -> None:
    there = disk("sda", bus="sata")
    same = disk("vda", address=FREE).replace("/srv/vda", "/srv/sda")
    found = planned(q35(there), q35(same))
    assert actions(found) == []
    assert found.reasons["devices.disk[vda]"] == "disk sda of the running domain has the same source"
    shared = [text.replace("</disk>", "<shareable/></disk>") for text in (there, same)]
    assert actions(planned(q35(shared[0]), q35("".join(shared)))) == ["attach"]
    assert actions(planned(q35(there), q35(there + disk("vda", address=FREE)))) == ["attach"]
    leaving = disk("vdb", address=FREE)
    assert actions(planned(q35(leaving), q35(leaving.replace("dev='vdb'", "dev='vdc'")))) == ["detach", "attach"]


@pytest.mark.parametrize(
    ("source", "other", "twice"),
    [
        ("protocol='nbd'><host name='a' port='1'/>", "protocol='nbd'><host name='b' port='1'/>", False),
        ("protocol='nbd'><host name='a' port='1'/>", "protocol='nbd'><host name='a' port='1'/>", True),
        ("protocol='rbd' name='p/a'>", "protocol='rbd' name='p/b'>", False),
        ("file='/srv/a'><slices><slice type='storage' offset='0' size='512'/></slices>", "file='/srv/a'>", False),
    ],
)
def test_a_server_and_a_part_of_a_file_belong_to_a_source(source: str, other: str, twice: bool) -> None:
    def on(target: str, bus: str, said: str) -> str:
        return f"<disk type='x'><source {said}</source><target dev='{target}' bus='{bus}'/></disk>"

    found = planned(q35(on("sda", "sata", source)), q35(on("vda", "virtio", other)))
    assert ("same source" in found.reasons.get("devices.disk[vda]", "")) is twice


def test_a_port_that_the_running_domain_lacks_is_another() -> None:
    found = planned(q35(ports=4), q35(disk("vda", address=pci(9)), ports=9))
    assert actions(found) == ["attach"]
    assert "<address" not in found.operations[0].arguments["documents"][0]


def test_a_disk_brings_its_controller() -> None:
    without = q35().replace("<controller type='scsi' index='0' model='virtio-scsi'>" + pci(2) + "</controller>", "")
    found = planned(without, q35(disk("sda", bus="scsi", address="<address type='drive' controller='0' unit='1'/>")))
    attached = [operation.arguments["documents"] for operation in found.operations]
    assert [text.split()[0] for documents in attached for text in documents] == ["<controller", "<disk"]


def test_nothing_is_pulled_out_of_a_paused_guest() -> None:
    found = planned(q35(disk("vda", address=FREE)), q35(), Situation(paused=True))
    assert found.operations == ()
    assert "paused" in found.reasons["devices.disk[vda]"]


def test_a_saved_domain_takes_nothing() -> None:
    wanted = q35(disk("vda", address=FREE), "<title>a</title>").replace("'KiB'>524288</c", "'KiB'>262144</c")
    found = planned(q35(), wanted, Situation(reachable=False))
    assert found.operations == ()
    assert set(left(found, wanted)) == {"title", "currentMemory", "devices.disk[vda]"}


def test_a_detached_device_is_named_as_libvirt_names_it() -> None:
    (operation,) = planned(q35(disk("vda", address=FREE)), q35()).operations
    assert operation.arguments["alias"].startswith("disk")
    assert "<alias" in operation.arguments["document"]


def test_an_update_has_all_of_the_running_device() -> None:
    (operation,) = planned(q35(interface(1, address=FREE)), q35(interface(1, "<link state='down'/>", FREE))).operations
    text = operation.arguments["document"]
    assert all(part in text for part in ("52:54:00:00:00:01", '<link state="down"/>', "<alias", "<address"))


def test_of_two_changes_the_one_that_cannot_be_does_not_hinder_the_other() -> None:
    wanted = q35(interface(1, "<link state='down'/><mtu size='1400'/>", FREE))
    found = planned(q35(interface(1, address=FREE)), wanted)
    assert actions(found) == ["update"]
    assert left(found, wanted) == ["devices.interface[52:54:00:00:00:01].mtu"]
    assert "<mtu" not in found.operations[0].arguments["document"]


def test_limits_that_are_gone_are_lifted() -> None:
    both = "<iotune><read_iops_sec>5</read_iops_sec><group_name>g</group_name></iotune>"
    one = "<iotune><write_iops_sec>6</write_iops_sec></iotune>"
    (operation,) = planned(q35(disk("vda", both)), q35(disk("vda", one))).operations
    assert operation.arguments == {"target": "vda", "values": {"read_iops_sec": 0, "write_iops_sec": 6}}


def test_pins_on_all_processors_are_none() -> None:
    live, full = started(q35(more="<cputune><vcpupin vcpu='0' cpuset='0-3'/></cputune>"))
    assert plan(live, full, q35(), situation=Situation(cpus=4)).operations == ()
    (operation,) = plan(live, full, q35(), situation=Situation(cpus=8)).operations
    assert operation.arguments["pins"] == [{"kind": "vcpu", "number": 0, "cpus": None}]


def test_the_balloon_is_only_moved_when_the_definition_moves() -> None:
    live, full = (text.replace("'KiB'>524288</c", "'KiB'>400000</c") for text in started(q35()))
    assert plan(live, full, q35(), situation=CPUS).operations == ()
    wanted = q35().replace("'KiB'>524288</c", "'KiB'>262144</c")
    (operation,) = plan(live, full, wanted, defined=q35(), situation=CPUS).operations
    assert (operation.first, operation.arguments) == (True, {"size": 262144 * 1024})


def test_fewer_vcpus_are_asked_of_the_agent_that_is_there() -> None:
    wanted = q35(AGENT % "", vcpu="<vcpu placement='static' current='1'>2</vcpu>")
    for state, expected in ((" state='connected'", ["guest_vcpus"]), (" state='disconnected'", [])):
        live, full = started(q35(AGENT % ""))
        full = full.replace('guest_agent.0"', f'guest_agent.0"{state}')
        found = plan(live, full, wanted, defined=q35(AGENT % ""), situation=CPUS)
        assert actions(found) == expected
        assert left(found, wanted) == ["vcpu.current"]


def test_a_reboot_and_a_power_off_are_never_the_wrong_way_round() -> None:
    both = q35().replace("destroy</on_poweroff>", "restart</on_poweroff>")
    one = q35().replace("restart</on_reboot>", "destroy</on_reboot>")
    order = [operation.arguments["event"] for operation in planned(one, both).operations]
    assert order == ["reboot", "poweroff"]
    order = [operation.arguments["event"] for operation in planned(both, one).operations]
    assert order == ["poweroff", "reboot"]


def test_what_control_groups_do_waits_where_there_are_none() -> None:
    live, full = started(q35())
    groups = "<cputune><shares>512</shares></cputune><memtune><hard_limit>99</hard_limit></memtune><blkiotune><weight>500</weight></blkiotune>"
    wanted = q35(more=groups)
    found = plan(live, re.sub("<resource>.*</resource>", "", full), wanted, defined=q35(), situation=CPUS)
    assert found.operations == ()
    assert left(found, wanted) == ["cputune", "memtune", "blkiotune"]
    assert set(found.reasons.values()) == {"libvirt runs domains without control groups here"}


def test_what_was_refused_is_not_asked_for_again() -> None:
    before, wanted = q35(), q35(more="<title>a</title><description>b</description>")
    title = next(item for item in planned(before, wanted).operations if item.action == "title")
    found = planned(before, wanted, Situation(cpus=4, refused={title.key: "no", "other": "never"}))
    assert actions(found) == ["description"]
    assert found.refused == {title.key: "no"}
    assert left(found, wanted) == ["title"]


def test_another_value_is_another_request() -> None:
    def key(text: str) -> str:
        return planned(q35(), q35(more=f"<title>{text}</title>")).operations[0].key

    assert key("a") == key("a") != key("b")


def test_a_password_cannot_be_guessed_by_the_record() -> None:
    def key(password: str) -> str:
        return planned(q35(VNC % " passwd='x'"), q35(VNC % f" passwd='{password}'")).operations[0].key

    assert key("one") == key("two")
