# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running domains: what a start makes of a definition is no difference, all else is one."""

from __future__ import annotations

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import difference
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.plan import plan
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.situation import Situation
from ansible_collections.hypervisor.kvm.tests.unit._domain.live.documents import disk, pci, q35, started

CPU = "<cpu mode='custom' match='exact' check='%s'><model fallback='%s'>%s</model>%s</cpu>"
SECURE = "<firmware><feature enabled='%s' name='secure-boot'/></firmware>"
CHAIN = "<backingStore type='file'%s><format type='raw'/><source file='/b'/>%s<backingStore/></backingStore>"
EVENT = "<perf><event name='%s' enabled='%s'/></perf>"
FEATURE = "<feature policy='%s' name='%s'/>"


def differences(runs: str, definition: str, *, before: str | None = None) -> list[str]:
    """What counts between a domain that was started as ``runs`` and a definition."""
    live, full = started(runs)
    found = plan(live, full, definition, defined=before, situation=Situation(cpus=4))
    return list(difference.between(_xml.parse(found.before), _xml.parse(definition)))


#: What runs, and the definition of it.
SAME: dict[str, tuple[str, str]] = {
    "memory is rounded up": (q35().replace("524288", "524288"), q35().replace("524288", "523800")),
    "the balloon has moved": (q35().replace("'KiB'>524288</c", "'KiB'>400000</c"), q35()),
    "a model is named": (q35(more=CPU % ("full", "forbid", "EPYC", FEATURE % ("require", "x"))), q35(more=CPU % ("partial", "allow", "EPYC", ""))),
    "an optional feature is decided": (
        q35(more=CPU % ("full", "forbid", "EPYC", FEATURE % ("disable", "x"))), q35(more=CPU % ("partial", "forbid", "EPYC", FEATURE % ("optional", "x"))),
    ),
    "the model of the host is found": (q35(more=CPU % ("full", "forbid", "EPYC", FEATURE % ("require", "x"))), q35(more="<cpu mode='host-model'/>")),
    "at least a model": (q35(more=CPU % ("full", "forbid", "EPYC", "")), q35(more="<cpu match='minimum'><model>qemu64</model></cpu>")),
    "nobody asked for a model": (q35(more=CPU % ("full", "forbid", "qemu64", "")), q35()),
    "the guest sets its clock": (
        q35(more="<clock offset='variable' adjustment='7' basis='utc'/>"), q35(more="<clock offset='variable' adjustment='0' basis='utc'/>"),
    ),
    "what is told while it runs gets a prefix": (
        q35(more="<metadata><ns:x xmlns:ns='urn:d' a='1'><y xmlns='urn:d'/>t</ns:x></metadata>"),
        q35(more="<metadata><x xmlns='urn:d' a='1'><y/>t</x></metadata>"),
    ),
    "it was restored": (q35(more="<genid>1</genid>"), q35(more="<genid>2</genid>")),
    "a firmware is found, and libvirt does not say any more that it was looked for": (
        q35().replace("</os>", "<loader type='pflash'>/c</loader><nvram>/v</nvram></os>"),
        q35().replace("<os>", "<os firmware='efi'>"),
    ),
    "a firmware is found that can do what was asked of it": (
        q35().replace("</os>", SECURE % "yes" + "<loader type='pflash'>/c</loader><nvram>/v</nvram></os>"),
        q35().replace("<os>", "<os firmware='efi'>").replace("</os>", SECURE % "yes" + "</os>"),
    ),
    "a firmware is found": (
        q35().replace("<os>", "<os firmware='efi'>").replace("</os>", "<loader type='pflash'>/c</loader><nvram>/v</nvram></os>"),
        q35().replace("<os>", "<os firmware='efi'>"),
    ),
    "a label is made up": (q35(more="<seclabel type='dynamic' model='selinux' relabel='yes'/>"), q35()),
    "it is in a partition": (q35(more="<resource><partition>/machine</partition></resource>"), q35()),
    "no quota": (q35(more="<cputune><period>5000</period><quota>-1</quota></cputune>"), q35()),
    "an event is not counted": (q35(more=EVENT % ("cmt", "no")), q35(more=EVENT % ("mbmt", "no"))),
    "an event is not counted any more": (q35(more=EVENT % ("cmt", "no")), q35()),
    "vcpus are listed": (q35(more="<vcpus><vcpu id='0' enabled='yes' hotpluggable='no' order='1'/></vcpus>"), q35()),
    "iothreads are listed": (
        q35(more="<iothreads>2</iothreads><iothreadids><iothread id='1'/><iothread id='2'/></iothreadids>"), q35(more="<iothreads>2</iothreads>"),
    ),
    "pinned to each and to all": (
        q35(more="<cputune><vcpupin vcpu='0' cpuset='0-1'/><vcpupin vcpu='1' cpuset='0-1'/><emulatorpin cpuset='0-1'/></cputune>"),
        q35(vcpu="<vcpu placement='static' cpuset='0,1'>2</vcpu>"),
    ),
    "hyperv by the host": (
        q35(more="<features><hyperv mode='passthrough'><relaxed state='on'/></hyperv></features>"),
        q35(more="<features><hyperv mode='passthrough'/></features>"),
    ),
    "no metadata": (q35(more="<metadata/>"), q35()),
    "a chain of files": (
        q35(disk("vda", "<backingStore type='file'><format type='raw'/><source file='/b'/><backingStore/></backingStore>")), q35(disk("vda")),
    ),
    "a copy goes on": (q35(disk("vda", "<mirror type='file' job='copy'><source file='/m'/></mirror>")), q35(disk("vda"))),
    "others write to the disk as well": (
        q35(disk("vda", "<shareable/>").replace("type='raw'", "type='raw' cache='none'")), q35(disk("vda", "<shareable/>")),
    ),
    "a chain that was found": (
        q35(disk("vda", CHAIN % (" index='2'", ""))), q35(disk("vda")),
    ),
    "a chain that is declared, as it is in use": (
        q35(disk("vda", CHAIN % (" index='2'", ""))), q35(disk("vda", CHAIN % ("", ""))),
    ),
    "an open tray": (
        q35(disk("sda", bus="sata", device="cdrom")).replace("dev='sda'", "dev='sda' tray='open'"), q35(disk("sda", bus="sata", device="cdrom")),
    ),
    "a medium that may be missing": (
        q35(disk("sda", bus="sata", device="cdrom")), q35(disk("sda", "<source file='/i' startupPolicy='optional'/>", bus="sata", device="cdrom")),
    ),
    "what is forgotten runs on an overlay": (
        q35(disk("vda", "<transient/>")).replace("/srv/vda", "/srv/vda.TRANSIENT"), q35(disk("vda", "<transient/>")),
    ),
    "a program is found": (
        q35("<filesystem type='mount'><driver type='virtiofs'/><binary path='/v'/><source dir='/a'/><target dir='b'/></filesystem>"),
        q35("<filesystem type='mount'><driver type='virtiofs'/><source dir='/a'/><target dir='b'/></filesystem>"),
    ),
    "the driver of a device of the host": (
        q35("<hostdev mode='subsystem' type='pci'><driver name='vfio'/><source><address bus='1'/></source></hostdev>"),
        q35("<hostdev mode='subsystem' type='pci'><source><address bus='1'/></source></hostdev>"),
    ),
    "a number is drawn": (
        q35("<vsock model='virtio'><cid auto='yes' address='3'/></vsock>"), q35("<vsock model='virtio'><cid auto='yes'/></vsock>"),
    ),
    "where a dimm is": (
        q35("<memory model='dimm'><target><size unit='KiB'>1024</size></target><address type='dimm' slot='0' base='0x100'/></memory>"),
        q35("<memory model='dimm'><target><size unit='KiB'>1024</size></target><address type='dimm' slot='0'/></memory>"),
    ),
    "a port is given": (
        q35("<graphics type='vnc' port='5900' autoport='yes'/>"), q35("<graphics type='vnc' port='-1' autoport='yes'/>"),
    ),
    "the name of a tap": (
        q35("<interface type='user'><mac address='52:54:00:AA:00:01'/><target dev='vnet0'/></interface>"),
        q35("<interface type='user'><mac address='52:54:00:aa:00:01'/></interface>"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_what_a_start_brings_is_no_difference(name: str) -> None:
    runs, definition = SAME[name]
    assert differences(runs, definition) == []


#: What runs, another definition, and what differs.
OTHER: dict[str, tuple[str, str, list[str]]] = {
    "another model": (q35(more=CPU % ("full", "forbid", "EPYC", "")), q35(more=CPU % ("partial", "allow", "Opteron_G1", "")), ["cpu.model"]),
    "another mode": (q35(more="<cpu mode='host-passthrough'/>"), q35(more="<cpu mode='maximum'/>"), ["cpu.mode"]),
    "no mode": (q35(more="<cpu mode='host-passthrough'/>"), q35(), ["cpu"]),
    "a feature is asked for": (
        q35(more=CPU % ("full", "forbid", "EPYC", FEATURE % ("disable", "x"))),
        q35(more=CPU % ("partial", "forbid", "EPYC", FEATURE % ("require", "x"))),
        ["cpu.feature.policy"],
    ),
    "topology": (
        q35(more="<cpu mode='host-model'><topology sockets='2' cores='1' threads='1'/></cpu>"),
        q35(more="<cpu mode='host-model'><topology sockets='1' cores='2' threads='1'/></cpu>"),
        ["cpu.topology.sockets", "cpu.topology.cores"],
    ),
    "another chain": (
        q35(disk("vda", CHAIN % (" index='2'", ""))), q35(disk("vda", CHAIN % ("", "<readonly/>"))), ["devices.disk[vda].backingStore.readonly"],
    ),
    "no chain": (q35(disk("vda", CHAIN % (" index='2'", ""))), q35(disk("vda", "<backingStore/>")), [
        f"devices.disk[vda].backingStore.{name}" for name in ("type", "format", "source", "backingStore")
    ]),
    "a clock": (q35(more="<clock offset='utc'/>"), q35(more="<clock offset='localtime'/>"), ["clock.offset"]),
    "another firmware is asked for, of the same kind": (
        q35().replace("</os>", SECURE % "yes" + "<loader type='pflash'>/c</loader><nvram>/v</nvram></os>"),
        q35().replace("<os>", "<os firmware='efi'>").replace("</os>", SECURE % "no" + "</os>"),
        ["os.firmware.feature.enabled"],
    ),
    "nothing is asked of the firmware any more": (
        q35().replace("</os>", SECURE % "yes" + "<loader type='pflash'>/c</loader><nvram>/v</nvram></os>"),
        q35().replace("<os>", "<os firmware='efi'>"),
        ["os.firmware"],
    ),
    "another kind of firmware": (
        q35(), q35().replace("<os>", "<os firmware='efi'>"), ["os.firmware"],
    ),
    "a chain that is stated": (
        q35(disk("vda", "<backingStore type='file'><source file='/b'/></backingStore>")),
        q35(disk("vda", "<backingStore type='file'><source file='/c'/></backingStore>")),
        ["devices.disk[vda].backingStore.source.file"],
    ),
    "a medium": (
        q35(disk("sda", "<source file='/i'/>", bus="sata", device="cdrom")), q35(disk("sda", bus="sata", device="cdrom")), ["devices.disk[sda].source"],
    ),
    "another place": (q35(disk("vda", address=pci(4))), q35(disk("vda", address=pci(5))), ["devices.disk[vda].address.bus"]),
    "a queue": (
        q35("<interface type='user'><mac address='52:54:00:aa:00:01'/><driver queues='4'/></interface>"),
        q35("<interface type='user'><mac address='52:54:00:aa:00:01'/></interface>"),
        ["devices.interface[52:54:00:aa:00:01].driver"],
    ),
    "a fixed port": (
        q35("<graphics type='vnc' port='5901' autoport='no'/>"), q35("<graphics type='vnc' port='5902' autoport='no'/>"), ["devices.graphics[vnc].port"],
    ),
    "a password": (
        q35("<graphics type='vnc' passwd='a'/>"), q35("<graphics type='vnc' passwd='b'/>"), ["devices.graphics[vnc].passwd"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER)
def test_what_somebody_wants_otherwise_is_one(name: str) -> None:
    runs, definition, places = OTHER[name]
    assert differences(runs, definition) == places


def test_what_a_start_expands_is_known_by_the_definition_in_force() -> None:
    expanded, before = CPU % ("full", "forbid", "EPYC", ""), q35(more="<cpu mode='host-model'/>")
    named = q35(more=CPU % ("partial", "allow", "EPYC", ""))
    # The model that runs is the one that is wanted now, but nobody had asked for it.
    assert differences(q35(more=expanded), named, before=before) != []
    assert differences(q35(more=expanded), named) == []
    # A definition that was never in force says nothing of what runs.
    assert differences(q35(more="<cpu mode='maximum'/>"), named, before=before) == ["cpu.mode"]


def test_another_medium_is_one_though_media_may_be_missing() -> None:
    policy = "<source file='%s' startupPolicy='optional'/>"
    before, wanted = (q35(disk("sda", policy % path, bus="sata", device="cdrom")) for path in ("/i", "/j"))
    runs = q35(disk("sda", bus="sata", device="cdrom"))
    assert differences(runs, wanted, before=before) == ["devices.disk[sda].source"]
    assert differences(runs, before, before=before) == []
