# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: what is returned of a domain."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import facts
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.facts import Known
from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import parse

DOCUMENT = """<domain type='qemu' id='3'><name>a</name><title>A</title><memory unit='KiB'>131072</memory>
<currentMemory unit='KiB'>65536</currentMemory><vcpu current='1'>2</vcpu>
<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/a.qcow2' index='1'/>
<backingStore type='file' index='2'><format type='raw'/><source file='/b.raw'/><backingStore/></backingStore>
<target dev='vda' bus='virtio'/></disk>
<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='rbd' name='pool/x'/><backingStore/>
<target dev='vdb' bus='virtio'/></disk>
<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>
<interface type='network'><mac address='52:54:00:AA:00:01'/><source network='lan'/><target dev='vnet0'/></interface>
<interface type='bridge'><mac address='52:54:00:aa:00:02'/><source bridge='br0'/></interface>
<graphics type='vnc' port='5901' autoport='yes' listen='127.0.0.1' passwd='secret'/>
<graphics type='spice' port='-1' tlsPort='5910' listen='::1'/>
<graphics type='vnc' socket='/run/a.sock'><listen type='socket' socket='/run/a.sock'/></graphics>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel>
</devices></domain>"""
KNOWN = Known("a", "u", "running", "booted", True, True, {"52:54:00:aa:00:01": ["192.0.2.1", "192.0.2.2"]})


def look() -> dict[str, t.Any]:
    return facts.facts(KNOWN, DOCUMENT)


def test_what_there_is() -> None:
    found = look()
    assert (found["name"], found["title"], found["description"]) == ("a", "A", None)
    assert (found["memory"], found["current_memory"], found["vcpus"]) == (128 << 20, 64 << 20, 2)
    assert (found["type"], found["machine"]) == ("qemu", "pc-q35-7.2")
    assert found["agent_connected"]
    assert [disk["target"] for disk in found["disks"]] == ["vda", "vdb", "sda"]
    assert found["disks"][0]["source"] == "/a.qcow2"


def test_addresses_are_of_their_interfaces() -> None:
    found = look()
    assert found["addresses"] == ["192.0.2.1", "192.0.2.2"]
    assert [interface["addresses"] for interface in found["interfaces"]] == [["192.0.2.1", "192.0.2.2"], []]


def test_what_is_added_to_them_is_not_there_the_next_time() -> None:
    expected = repr(look())
    found = look()
    for entry in (found, *found["disks"], *found["interfaces"]):
        entry["more"] = 1
    found["disks"].append({})
    found["interfaces"][0]["addresses"].append("192.0.2.3")
    assert repr(look()) == expected


def test_no_password_is_in_it() -> None:
    assert "secret" not in repr(look())


def test_displays() -> None:
    vnc, spice, socket = facts.displays(parse(DOCUMENT))
    assert (vnc["port"], vnc["display"], vnc["listen"]) == (5901, "127.0.0.1:1", "127.0.0.1")
    assert (spice["port"], spice["tls_port"], spice["display"]) == (None, 5910, None)
    assert (socket["port"], socket["socket"], socket["display"]) == (None, "/run/a.sock", None)
    six = parse("<domain><devices><graphics type='vnc' port='5900' listen='::'/></devices></domain>")
    assert facts.displays(six)[0]["display"] == "[::]:0"


def test_backing_chains() -> None:
    assert facts.backing_chains(parse(DOCUMENT)) == {"vda": ["/b.raw"], "vdb": []}
