# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: what does not go together, and what cannot be, is refused with a sentence that names it."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import spec
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

UUID = "6b2f6c5c-2f0a-4d3e-9a61-1f4a3c7d9e10"


def parse(**options: t.Any) -> spec.DomainSpec:
    return spec.parse({"name": "web", **options})


def disk(**more: t.Any) -> dict[str, t.Any]:
    return {"disks": [{"target": "vda", "source": "/a", **more}]}


def network(**more: t.Any) -> dict[str, t.Any]:
    return {"disks": [{"target": "vda", "source": "x", "network": more}]}


def nic(**more: t.Any) -> dict[str, t.Any]:
    return {"interfaces": [{"source": "lan", **more}]}


def lun(**more: t.Any) -> dict[str, t.Any]:
    return {"disks": [{"target": "sda", "device": "lun", "source": "/dev/sdc", **more}]}


KEY = "6b2f6c5c-2f0a-4d3e-9a61-1f4a3c7d9e10"
MAC = "52:54:00:00:00:01"


def team(persistent: dict[str, t.Any], transient: dict[str, t.Any]) -> dict[str, t.Any]:
    first = {"source": "lan", "alias": "ua-a", "teaming": {"type": "persistent"}, **persistent}
    second = {"type": "hostdev", "source": "0000:03:10.1", "teaming": {"type": "transient", "persistent": "ua-a"}}
    return {"interfaces": [first, {**second, **transient}]}


CELLS = [{"memory": "1GiB", "cpus": "0-1"}, {"memory": "1GiB", "cpus": "2-3"}]

DAC = {"model": "dac", "label": "+0:+0"}


def behind(*images: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
    return disk(format="qcow2", backing_store=list(images), **more)


def memory(**more: t.Any) -> dict[str, t.Any]:
    return {"cpu": {"numa": [{"memory": "1GiB", "cpus": "0"}], "interconnects": more}}


def states(*entries: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
    return {"vcpus": 3, "vcpu_states": list(entries), **more}


#: The ways of what has come late to the options.
WRONG_LATE: list[tuple[dict[str, t.Any], str]] = [
    # What is behind a disk.
    (behind({"source": "/b"}), r"disks\[0\].backing_store\[0\]: an image behind a disk needs its format"),
    (behind({"format": "raw"}), r"backing_store\[0\]: an image behind a disk needs its source"),
    (behind({"source": "b", "format": "raw"}), r"backing_store\[0\]: its source has to be an absolute path"),
    (behind({"source": "/b", "format": "raw"}, {"source": "/c", "format": "raw"}), "nothing behind an image of format raw"),
    (behind({"source": "/b", "format": "raw", "probe": True}), "probe goes with the last image only"),
    (behind({"source": "/b", "format": "qcow2", "probe": True}, {"source": "/c", "format": "raw"}), "last image only"),
    (behind({"source": "/b", "format": "raw", "slice": {"offset": 0}}), r"backing_store\[0\].slice needs an offset and"),
    (behind({"source": "x", "format": "raw", "network": {"protocol": "nbd"}}), r"\[0\]: a source with the protocol nbd needs"),
    (behind({"source": "v", "format": "raw", "type": "volume"}), r"\[0\]: a source of type volume needs its pool"),
    (disk(backing_store=[{"source": "/b", "format": "raw"}]), "disk vda: backing_store goes with a format that has something"),
    ({"disks": [{"target": "sda", "device": "cdrom", "backing_store": []}]}, "disk sda: backing_store goes with a source"),
    (disk(slice={"size": 5}), r"disks\[0\].slice needs an offset and a size"),
    (disk(slice={"offset": 0, "size": 0}), "slice.size of 0 is too small"),
    # Labels.
    (
        behind({"source": "x", "format": "raw", "network": {"protocol": "nbd", "hosts": [{"name": "h"}]}, "seclabels": [DAC]}),
        r"backing_store\[0\]: seclabels goes with sources on this host only",
    ),
    (disk(seclabels=[{"model": "dac"}]), r"disks\[0\].seclabels\[0\]: a label of a source says relabel: false, or has"),
    (disk(seclabels=[{"model": "dac", "relabel": True}]), "says relabel: false, or has the label"),
    (disk(seclabels=[{**DAC, "relabel": False}]), "so relabel cannot be off"),
    (disk(seclabels=[DAC, DAC]), "two entries have the model dac"),
    (disk(seclabels=[{"label": "x"}]), "model is missing"),
    (behind({"source": "/b", "format": "raw", "seclabels": [{"model": "dac"}]}), r"backing_store\[0\].seclabels\[0\]: a label"),
    ({"serials": [{"seclabels": [DAC]}]}, "serial port 0: seclabels goes with types file, dev, pipe and unix only"),
    ({"seclabels": [{"type": "static", "model": "dac"}]}, r"seclabels\[0\] of type static needs the label"),
    ({"seclabels": [{"type": "dynamic", "model": "dac", "relabel": False}]}, "relabel cannot be off"),
    ({"seclabels": [{"type": "dynamic", "model": "dac", "label": "x"}]}, "label goes with type static only"),
    ({"seclabels": [{"type": "static", "model": "dac", "label": "x", "baselabel": "y"}]}, "baselabel goes with type dynamic"),
    ({"seclabels": [{"type": "none", "model": "dac", "relabel": True}]}, "relabel goes with types static and dynamic"),
    ({"seclabels": [{"model": "dac"}]}, "type is missing"),
    ({"seclabels": [{"type": "none", "model": "dac"}], **disk(seclabels=[DAC])}, r"disks\[0\] has a label of dac, but seclabels"),
    ({"seclabels": [{"type": "static", **DAC}], **behind({"source": "/b", "format": "raw", "seclabels": [DAC]})}, "nothing is labelled"),
    # Processors, caches and memory.
    ({"vcpu_states": [{"id": 0}]}, "vcpu_states needs vcpus"),
    (states({"id": 3}), "vcpu_states names vCPU 3, but there are 3"),
    (states({"id": 1}), "vCPU 0 of vcpu_states has to be enabled"),
    (states({"id": 0, "hotpluggable": True}), "cannot be hotpluggable"),
    (states({"id": 0}, {"id": 0}), "two entries have the id 0"),
    (states({"id": 0}, {"id": 1, "enabled": False, "hotpluggable": False}), r"vcpu_states\[1\]: one that is not enabled"),
    (states({"id": 0}, {"id": 1, "enabled": False, "order": 2}), "order goes with those that are enabled only"),
    (states({"id": 0, "order": 1}, {"id": 1, "hotpluggable": True}), "either all that are enabled have an order"),
    (states({"id": 0}, {"id": 2}), "come first, but 2 is behind 1"),
    (states({"id": 0}, current_vcpus=2), "has 1 that are enabled, but current_vcpus is 2"),
    (memory(latencies=[{"initiator": 0, "target": 1, "type": "read", "value": 1}]), "names cell 1, which cpu.numa does not have"),
    (memory(bandwidths=[{"initiator": 0, "target": 0, "cache": 1, "type": "read", "value": 1}]), "names the cache 1 of cell 0"),
    (memory(bandwidths=[{"initiator": 0, "target": 0, "value": 1}]), r"cpu.interconnects.bandwidths\[0\]: type is missing"),
    ({"cpu": {"numa": [{"memory": "1GiB", "caches": [{"level": 1}]}]}}, r"cpu.numa\[0\].caches\[0\]: associativity is missing"),
    ({"cputune": {"cachetune": [{"vcpus": "0"}]}}, r"cputune.cachetune\[0\] needs caches, or monitors"),
    ({"cputune": {"memorytune": [{"vcpus": "0"}]}}, r"cputune.memorytune\[0\]: nodes is missing"),
    (
        {"cputune": {"memorytune": [{"vcpus": v, "nodes": [{"id": 0, "bandwidth": 9}]} for v in ("0-1", "1-2")]}},
        "cputune.memorytune has a group of the vCPUs 1-2, some of which are in that of 0-1 too",
    ),
    # The rest.
    ({"rng": {}, "rngs": [{}]}, "rng is a list of one in rngs; state one of the two"),
    ({"rngs": [{}, {"backend": "builtin", "source": "/a"}]}, "rng with the backend builtin has no source"),
    ({"panics": [{"model": "isa"}, {}]}, "two of panics have the model isa"),
    ({"launch_security": {"policy": "3"}}, "launch_security needs a type"),
    ({"launch_security": {"type": "sev"}}, "launch_security of type sev needs a policy"),
    ({"launch_security": {"type": "s390-pv", "policy": "3"}}, "policy goes with types sev and sev-snp only"),
    ({"launch_security": {"type": "sev", "policy": "3", "id_block": "A"}}, "id_block goes with type sev-snp only"),
    ({"launch_security": {"type": "sev", "policy": "x"}}, "launch_security.policy: 'x' is no number"),
    ({"fibrechannel_appid": "x" * 129}, "is no identifier of an application"),
    ({"idmap": {"uids": [{"start": 0, "target": 1}]}}, r"idmap.uids\[0\]: count is missing"),
    ({"qemu_override": [{"alias": "ua-a"}]}, r"qemu_override\[0\]: properties is missing"),
    ({"qemu_override": [{"alias": "a", "properties": [{"name": "p", "type": "bool", "value": "x"}]}]}, "neither true nor false"),
    ({"qemu_override": [{"alias": "a", "properties": [{"name": "p", "type": "unsigned", "value": "-1"}]}]}, "less than 0"),
    ({"qemu_override": [{"alias": "a", "properties": [{"name": "p", "type": "signed", "value": "x"}]}]}, "'x' is no number"),
    ({"qemu_override": [{"alias": "a", "properties": [{"name": "p", "type": "remove", "value": "1"}]}]}, "unless its type is remove"),
    ({"qemu_capabilities": {"add": ["a b"]}}, r"qemu_capabilities.add\[0\]: 'a b' is no capability of qemu"),
    ({"throttle_groups": [{"name": "a"}]}, "the group a needs a limit"),
    ({"memory": 64, **disk(throttle_filters=["a"])}, "disk vda has the throttle_filters a, which throttle_groups does not have"),
    ({"leases": [{"key": "a", "path": "/l"}]}, r"leases\[0\] needs a lockspace"),
    ({"pstore": {"path": "/l"}}, "pstore needs a size"),
    ({"hostdevs": [{"type": "scsi", "source": "iqn.2026-01.org.example:a"}]}, r"hostdevs\[0\]: a unit of iSCSI needs one of"),
    (
        {"hostdevs": [{"type": "scsi", "source": "scsi_host0:0:0:0", "network": {"hosts": [{"name": "h"}]}}]},
        "network goes with a unit of iSCSI as its source",
    ),
    ({"hostdevs": [{"type": "usb", "source": "1.4", "acpi_index": 3}]}, "acpi_index goes with type pci only"),
]  # fmt: skip

WRONG: list[tuple[dict[str, t.Any], str]] = [
    *WRONG_LATE,
    ({"disks": [{"target": "vda", "source": "/a"}, {"target": "vdb", "source": "/a"}]}, "vda and vdb both write to /a"),
    ({"os": {"boot": ["hd", "cdrom", "hd"]}}, "os.boot has hd twice"),
    ({"serials": [{"type": "tcp", "host": "::1", "service": "65536"}]}, "service 65536 is no port"),
    # Processors and memory.
    ({"cpuset": "4-1"}, "cpuset: '4-1' is no list of numbers"),
    ({"cpuset": "1-3,^1-3"}, "no list of numbers"),
    ({"cpuset": "1,^1"}, "names nothing at all"),
    ({"cpuset": "0-99999"}, "no list of numbers"),
    ({"cpuset": "1", "vcpu_placement": "auto"}, "numad chooses"),
    ({"cpu": {"features": [{"name": "vmx"}]}}, "cpu.features needs a cpu.mode or a cpu.model"),
    ({"os": {"smbios": "sysinfo"}, "sysinfo": {"fwcfg": [{"name": "opt/a", "value": "b"}]}}, "needs texts in sysinfo"),
    (disk(blockio={"logical_block_size": 513}), "a block of 513 bytes is impossible"),
    (disk(blockio={"physical_block_size": 256}), "a block of 256 bytes is impossible"),
    (disk(blockio={"logical_block_size": 4096, "physical_block_size": 512}), "less than logical_block_size"),
    ({"filesystems": [{"target": "x" * 32, "source": "/s"}]}, "more than 31 bytes"),
    ({"filesystems": [{"target": "x" * 37, "source": "/s", "driver": "virtiofs"}]}, "more than 36 bytes"),
    ({"serials": [{}] * 5}, "serial port 4: a machine has the ports 0 to 3"),
    (nic(type="user", source=None, vlan={"tags": [5]}), "vlan goes with types network, bridge, direct, hostdev only"),
    (nic(type="user", source=None, bandwidth={"inbound": {"average": 5}}), "bandwidth.inbound.average goes with types"),
    ({"graphics": [{"password": "x", "password_valid_to": "2030-02-30T15:00:00"}]}, "is no time"),
    ({"vcpus": 4, "cpu": {"topology": {"cores": 3}}}, "is of 3 CPUs, but vcpus is 4"),
    ({"cpu": {"migratable": True}}, "cpu.migratable goes with"),
    ({"cpu": {"features": [{"policy": "force"}]}}, r"cpu.features\[0\]: name is missing"),
    ({"cpu": {"features": [{"name": "a"}, {"name": "a"}]}}, "two entries have the name a"),
    ({"vcpus": 2, "memory": "2GiB", "cpu": {"numa": CELLS}}, "names vCPU 3, but there are 2"),
    ({"vcpus": 4, "memory": "3GiB", "cpu": {"numa": CELLS}}, "2GiB together, but memory is 3GiB"),
    ({"cpu": {"numa": [{"memory": 1, "cpus": "0-1"}, {"memory": 1, "cpus": "1"}]}}, "vCPU 1 in two cells"),
    ({"cpu": {"numa": [{"memory": 1, "id": 1}]}}, "ids of cpu.numa"),
    ({"cpu": {"numa": [{"id": 0}]}}, "memory is missing"),
    (
        {"memory": "2GiB", "current_memory": "4GiB", "memory_devices": [{"size": "1GiB"}]},
        r"current_memory \(4GiB\) is more than memory",
    ),
    ({"memory": "2GiB", "max_memory": {"size": "1GiB", "slots": 1}}, "more than max_memory.size"),
    ({"max_memory": {"size": "1GiB"}}, "needs both its size and its slots"),
    ({"memory_backing": {"hugepages": False, "pages": [{"size": 2}]}}, "hugepages, which is off"),
    ({"numatune": {"placement": "auto", "nodeset": "0"}}, "numad chooses the nodes"),
    ({"cpu": {"numa": CELLS}, "numatune": {"memnodes": [{"cellid": 2, "nodeset": "0"}]}}, "names cell 2"),
    ({"vcpus": 2, "cputune": {"vcpupin": [{"vcpu": 2, "cpuset": "0"}]}}, "names vCPU 2, but there are 2"),
    ({"cputune": {"vcpupin": [{"vcpu": 0, "cpuset": "0"}, {"vcpu": 0, "cpuset": "1"}]}}, "two entries have the vcpu 0"),
    ({"cputune": {"vcpupin": [{"vcpu": 0}]}}, "cpuset is missing"),
    ({"cputune": {"vcpusched": [{"vcpus": "0", "scheduler": "fifo"}]}}, "fifo and rr need a priority"),
    ({"cputune": {"vcpusched": [{"vcpus": "0", "scheduler": "idle", "priority": 1}]}}, "the others have none"),
    ({"cputune": {"vcpusched": [{"vcpus": x, "scheduler": "idle"} for x in ("0-1", "1")]}}, "1 is in two entries"),
    ({"cputune": {"period": 5}}, "1000 to 1000000"),
    ({"iothreads": 1, "cputune": {"iothreadpin": [{"iothread": 2, "cpuset": "0"}]}}, "names I/O thread 2"),
    ({"iothreads": 1, "iothread_ids": [{"id": 1}, {"id": 2}]}, "has 2 entries, but iothreads is 1"),
    ({"memory": 64, **disk(driver={"iothread": 1})}, "use I/O thread 1, but iothreads is 0"),
    # Boot, firmware, clock.
    ({"os": {"boot_menu_timeout": 5}}, "goes with os.boot_menu"),
    ({"os": {"secure_boot": True}}, "goes with os.firmware efi"),
    ({"os": {"firmware": "efi", "enrolled_keys": True, "secure_boot": False}}, "needs os.secure_boot"),
    ({"os": {"firmware": "efi", "secure_boot": True}, "features": {"smm": False}}, "needs features.smm"),
    ({"os": {"nvram": {"path": "/a"}}}, "os.nvram goes with"),
    ({"os": {"loader": {"path": "a"}}}, "os.loader.path has to be an absolute path"),
    ({"os": {"cmdline": "a\nb", "kernel": "/k"}}, "one line"),
    ({"clock": {"offset": "timezone"}}, "needs clock.timezone"),
    ({"clock": {"offset": "utc", "timezone": "UTC"}}, "goes with clock.offset timezone"),
    ({"clock": {"offset": "absolute"}}, "needs clock.start"),
    ({"clock": {"offset": "variable", "adjustment": "reset"}}, "a number of seconds"),
    ({"clock": {"offset": "utc", "adjustment": "5"}}, "reset with utc"),
    ({"clock": {"timers": [{"name": "hpet", "track": "guest"}]}}, "hpet has no track"),
    ({"clock": {"timers": [{"name": "rtc", "catchup": {"slew": 1}}]}}, "the tickpolicy catchup only"),
    ({"clock": {"timers": [{"name": "rtc"}, {"name": "rtc"}]}}, "two entries have the name rtc"),
    ({"features": {"hyperv": {"vendor_id": "much too long"}}}, "no vendor for Hyper-V"),
    ({"features": {"hyperv": {"spinlocks_retries": 1}}}, "4095 or more"),
    # Metadata.
    ({"metadata": ["<a/>"]}, "has no namespace"),
    ({"metadata": ["<a"]}, "no well-formed XML"),
    ({"metadata": ['<a xmlns="urn:x"/>', '<b xmlns="urn:x"/>']}, "two of metadata have the namespace urn:x"),
    ({"metadata": ['<a xmlns="urn:hypervisor.kvm:declaration:1"/>']}, "choose one of your own"),
    # Disks.
    (disk(bus="ide", target="hda") | {"os": {"machine": "q35"}}, "the bus ide, which the machine q35 does not have"),
    (disk(target="hda") | {"os": {"machine": "pc-q35-7.2"}}, "the bus ide, which the machine pc-q35-7.2"),
    (
        {"disks": [{"target": x, "source": f"/{x}", "bus": "ide"} for x in ("vda", "hda")]},
        "are both the a on the bus ide",
    ),
    (disk(target="fda"), "state device: floppy"),
    (disk(device="floppy"), "on the bus fdc only"),
    (disk(device="cdrom"), "cannot be on the bus virtio"),
    (disk(device="lun"), "type block"),
    (disk(device="lun", bus="ide", type="block"), "on the bus scsi or virtio only"),
    (disk(sgio="filtered"), "sgio goes with device lun only"),
    (disk(bus="sata", target="sda", driver={"queues": 2}), "driver.queues goes with the bus virtio only"),
    (disk(readonly=True, transient=True), "exclude each other"),
    (disk(iotune={"total_bytes_sec": 1, "read_bytes_sec": 1}), "excludes iotune.read_bytes_sec"),
    (disk(geometry={"cyls": 1}), "needs cyls, heads and secs"),
    (disk(wwn="1"), "no WWN"),
    (disk(vendor="much too long"), "no vendor"),
    (disk(alias="virtio-disk0"), "has to begin with ua-"),
    (disk(address={"slot": "4"}), "an address needs its type"),
    (disk(address={"type": "drive", "slot": "4"}), "of type drive has no slot"),
    (disk(address={"type": "pci", "slot": "four"}), "'four' is no number"),
    (disk(address={"type": "pci", "function": "9"}), "0 to 0x7"),
    (disk(type="volume"), "needs its pool"),
    (disk(pool="p", type="file"), "pool goes with type volume only"),
    (disk(type="nvme", source="1"), "needs nvme.address"),
    (network(hosts=[{"name": "h"}]), "needs network.protocol"),
    (network(protocol="nbd"), "needs network.hosts"),
    (network(protocol="nbd", hosts=[{"port": 1}]), "a host has a name"),
    (network(protocol="nbd", hosts=[{"name": "h", "port": 0}]), "1 to 65535"),
    (network(protocol="nfs", hosts=[{"name": "h", "port": 2049}]), "NFS has no port"),
    (
        network(protocol="nbd", hosts=[{"name": "h"}], cookies={"a": "b"}),
        "network.cookies goes with the protocols http and https only",
    ),
    (network(protocol="nbd", hosts=[{"name": "h"}], timeout=3), "network.timeout goes with"),
    (network(protocol="nbd", hosts=[{"name": "h"}], user="u"), "network.user goes with the protocol nfs only"),
    (disk(reservations={"managed": True}), "reservations.managed goes with device lun only"),
    (lun(reservations={"managed": True, "socket": "/s"}), "that libvirt does not manage"),
    (lun(reservations={"managed": False}), "needs the socket of its helper"),
    (disk(reconnect={"enabled": True, "timeout": 3}), "reconnect.enabled goes with type vhostuser only"),
    (disk(type="vhostuser", reconnect={"enabled": True}), "needs enabled: true and a timeout"),
    (disk(encryption={"format": "luks", "secret_uuid": KEY, "secret_usage": "u"}), "state one of them"),
    (network(protocol="rbd", auth={"username": "u"}), "either a secret_uuid or a secret_usage"),
    (network(protocol="rbd", auth={"username": "u", "secret_uuid": "x"}), "is no UUID"),
    ({"disks": [{"target": "vda", "network": {"protocol": "iscsi", "hosts": [{"name": "h"}]}}]}, "needs a name"),
    # The order of boot.
    ({"os": {"boot": ["hd"]}, **disk(boot_order=1)}, "use one of the two"),
    ({**disk(boot_order=1), **nic(boot_order=1)}, r"disks\[0\] and interfaces\[0\] both have the boot_order 1"),
    (disk(boot_order=0), "1 or more"),
    # Controllers.
    ({"controllers": [{}]}, "needs a type"),
    ({"controllers": [{"type": "pci", "model": "pcie-root-port"}]}, "needs its index"),
    ({"controllers": [{"type": "usb", "model": "virtio-scsi"}]}, "cannot have the model virtio-scsi"),
    ({"controllers": [{"type": "sata", "ports": 2}]}, "ports goes with type usb or virtio-serial only"),
    ({"controllers": [{"type": "scsi"}, {"type": "scsi", "index": 0}]}, "two of controllers"),
    (
        {"controllers": [{"type": "usb", "model": "qemu-xhci", "master": {"startport": 0}}]},
        "goes with the models ich9-uhci1",
    ),
    ({"controllers": [{"type": "ide"}], "os": {"machine": "q35"}}, "no controller of type ide"),
    # Interfaces.
    (nic(type="user"), "of type user has no source"),
    ({"interfaces": [{"type": "direct"}]}, "needs a source, the name of a network device"),
    (nic(type="bridge", mode="bridge"), "type bridge has no mode bridge"),
    (nic(type="direct", mode="server"), "has no mode server"),
    (nic(type="hostdev"), "is no PCI address"),
    (nic(type="hostdev", source="0:0:40.0"), "a slot above 1f"),
    (nic(type="mcast"), "no address with a port"),
    (nic(type="bridge", portgroup="p"), "portgroup goes with type network only"),
    (nic(vlan={"trunk": True}), "needs tags"),
    (nic(vlan={"tags": [1], "native": 2}), "none of its tags"),
    (nic(vlan={"tags": [5000]}), "is no VLAN"),
    (nic(vlan={"tags": [1, 2], "trunk": False}), "are a trunk"),
    (nic(target={"dev": "vnet7"}), "a name that libvirt gives itself"),
    (nic(driver={"name": "vfio"}), "goes with type hostdev only"),
    (nic(filter={"parameters": {"IP": "1"}}), "goes with filter.name"),
    (nic(teaming={"type": "transient"}), "teaming"),
    (nic(teaming={"type": "transient", "persistent": "ua-a"}), "needs a mac, that of its ua-a"),
    (team({"mac": MAC}, {"mac": "52:54:00:00:00:02"}), "the cards of a team have one mac, but that of ua-a is 52:54"),
    (team({}, {"mac": MAC}), "that of ua-a is not stated"),
    (team({"mac": MAC}, {"mac": MAC, "teaming": {}}), "two of interfaces have the mac"),
    (nic(mtu=67), "68 to 65535"),
    (nic(mtu=65522), "an mtu of 65522 is impossible with type network; 68 to 65521"),
    (nic(mac="00:00:00:00:00:00"), "is the address of no device; leave mac out"),
    (nic(mac="41135040011"), "in quotes, for YAML has made a number of it"),
    (nic(type="hostdev", source="180.0"), "in quotes"),
    ({"memory": 64, **nic(type="vhostuser", source="/s", mode="client")}, "needs memory that the host can share"),
    # Displays.
    ({"graphics": [{"port": 5901, "websocket": 5901}]}, "port and websocket are both 5901"),
    ({"graphics": [{"port": 5901}, {"type": "spice", "port": 5901}]}, "port of vnc and port of spice are both 5901"),
    (
        {"graphics": [{"type": "spice", "port": 5901, "tls_port": 5901}]},
        "port of spice and tls_port of spice are both 5901",
    ),
    ({"graphics": [{"type": "sdl", "port": 5901}]}, "port goes with types vnc, spice and rdp only"),
    ({"graphics": [{"listen": "127.0.0.1", "listens": [{"address": "::1"}]}]}, "state one of them"),
    ({"graphics": [{"listens": [{"type": "network"}]}]}, "the name of a network"),
    ({"graphics": [{"listens": [{"type": "none", "address": "::1"}]}]}, "goes with type address"),
    ({"graphics": [{"listens": [{"type": "socket"}], "port": 5900}]}, "has no port"),
    ({"graphics": [{"type": "spice", "share_policy": "ignore"}]}, "share_policy goes with type vnc only"),
    ({"graphics": [{"mouse_mode": "client"}]}, "mouse_mode goes with type spice only"),
    ({"graphics": [{"connected": "keep"}]}, "go with a password"),
    ({"graphics": [{"password": "a", "password_valid_to": "soon"}]}, "'soon' is no time"),
    ({"videos": [{"model": "none"}, {}]}, "stands alone"),
    ({"videos": [{"primary": True}, {"primary": True}]}, "only one of the videos"),
    ({"videos": [{"ram": 1024}]}, "ram goes with model qxl only"),
    ({"videos": [{"model": "none", "heads": 1}]}, "heads goes with models other than none only"),
    ({"sounds": [{"model": "ac97", "codecs": ["micro"]}]}, "codecs goes with models ich6 and ich9"),
    ({"audios": [{}]}, "needs a type"),
    ({"audios": [{"type": "none", "input": {"dev": "/dev/dsp"}}]}, "input.dev goes with type alsa or oss only"),
    ({"audios": [{"type": "oss", "input": {"fixed_settings": True}}]}, "needs input.mixing_engine"),
    ({"audios": [{"type": "none", "exclusive": True}]}, "exclusive goes with type oss only"),
    ({"audios": [{"type": "none", "output": {"settings": {"channels": 2}}}]}, "goes with output.fixed_settings only"),
    # Characters.
    ({"serials": [{"type": "tcp"}]}, "needs a service"),
    ({"serials": [{"type": "tcp", "service": "1"}]}, "needs a host"),
    ({"serials": [{"type": "pty", "host": "h"}]}, "host goes with types tcp and udp only"),
    ({"serials": [{"log_append": True}]}, "goes with log"),
    ({"serials": [{"type": "unix", "reconnect": {"enabled": True}}]}, "needs enabled: true and a timeout"),
    ({"serials": [{"port": 0}, {"port": 0}]}, "two of serials"),
    ({"serials": [{}], "consoles": [{"type": "stdio"}]}, "a console on serial port 0 is that port"),
    ({"channels": [{"target_type": "guestfwd"}]}, "needs a name like 10.0.2.1:4600"),
    ({"channels": [{"type": "spiceport", "name": "a"}]}, "needs its port_name"),
    ({"smartcard": {"mode": "host", "type": "pty"}}, "with the mode host has no type"),
    ({"smartcard": {"mode": "host-certificates", "certificates": ["a", "b"]}}, "names of 3 certificates"),
    ({"smartcard": {"database": "/d"}}, "database goes with mode host-certificates only"),
    ({"smartcard": {"type": "pty", "socket_mode": "bind"}}, "socket_mode goes with types tcp and unix only"),
    ({"sysinfo": {"fwcfg": [{"name": "a", "value": "b"}]}}, "has to begin with opt/"),
    ({"sysinfo": {"fwcfg": [{"name": "opt/a", "value": "b", "file": "/c"}]}}, "needs a value or a file"),
    ({"redirfilter": [{"class": "0x100", "allow": True}]}, "0 to 0xff"),
    ({"redirfilter": [{"class": "0x10"}]}, "allow is missing"),
    (nic(type="vhostuser", source="/s", mode="server", reconnect={"enabled": True, "timeout": 3}), "mode client only"),
    # The rest.
    ({"inputs": [{}]}, "needs a type"),
    ({"inputs": [{"type": "tablet", "bus": "ps2"}]}, "no tablet on the bus ps2"),
    ({"inputs": [{"type": "evdev"}]}, "needs a source"),
    ({"inputs": [{"type": "tablet"}, {"type": "tablet"}]}, "two of inputs"),
    ({"inputs": [{"type": "mouse", "model": "virtio"}]}, "goes with the bus virtio only"),
    ({"rng": {"rate": {"period": 1}}}, "needs its bytes"),
    ({"memballoon": {"model": "none", "stats_period": 1}}, "stats_period goes with models other than none only"),
    ({"tpm": {"backend": "passthrough", "version": "2.0"}}, "version goes with backend emulator only"),
    ({"tpm": {"backend": "external"}}, "needs a source"),
    ({"tpm": {"version": "1.2", "active_pcr_banks": ["sha1"]}}, "goes with version 2.0"),
    ({"vsock": {"cid": 3, "auto": True}}, "state one of them"),
    ({"vsock": {"auto": False}}, "needs a cid"),
    ({"vsock": {"cid": 2}}, "3 to"),
    ({"iommu": {}}, "needs a model"),
    ({"memory_devices": [{}]}, "needs a size"),
    ({"memory_devices": [{"size": 1, "model": "nvdimm"}]}, "need a path"),
    ({"memory_devices": [{"size": 1, "model": "virtio-mem"}]}, "needs block and requested"),
    ({"shmems": [{}]}, "needs a name"),
    ({"shmems": [{"name": "a/b"}]}, "no slash"),
    ({"shmems": [{"name": "a", "model": "ivshmem-doorbell"}]}, "needs a server"),
    ({"filesystems": [{"source": "/a"}]}, "needs a target"),
    ({"filesystems": [{"target": "a"}]}, "needs a source"),
    ({"filesystems": [{"target": "a", "source": "a"}]}, "absolute path"),
    ({"filesystems": [{"target": "a", "source": "/a", "queue": 1}]}, "goes with the driver virtiofs only"),
    ({"memory": 64, "filesystems": [{"target": "a", "source": "/a", "driver": "virtiofs"}]}, "that the host can share"),
    ({"hostdevs": [{"type": "usb"}]}, "needs a source"),
    ({"hostdevs": [{"type": "usb", "source": "mouse"}]}, "no USB device"),
    ({"hostdevs": [{"type": "pci", "source": "eth0"}]}, "is no PCI address"),
    ({"hostdevs": [{"type": "mdev", "source": "x"}]}, "no UUID of a mediated device"),
    ({"hostdevs": [{"type": "scsi", "source": "sda"}]}, "no device of type scsi"),
    ({"hostdevs": [{"type": "usb", "source": "1.4", "driver": "vfio"}]}, "driver goes with type pci only"),
    ({"hostdevs": [{"type": "usb", "source": x} for x in ("046d:C52B", "046D:c52b")]}, "two of hostdevs"),
]


@pytest.mark.parametrize(("options", "says"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_what_cannot_be_is_named(options: dict[str, t.Any], says: str) -> None:
    with pytest.raises(InvalidSpec, match=says) as refused:
        parse(**options)
    assert "domain web" in refused.value.message
    assert refused.value.message.endswith(".")


RIGHT: list[dict[str, t.Any]] = [
    {"cpuset": "1-4,^3,6", "vcpus": 2, "current_vcpus": 1},
    {"memory": "2GiB", "current_memory": "3GiB", "memory_devices": [{"size": "1GiB"}]},
    {"vcpus": 8, "cpu": {"topology": {"cores": 4, "threads": 2}}},
    {"vcpus": 4, "memory": "2GiB", "cpu": {"numa": CELLS}, "numatune": {"memnodes": [{"cellid": 1, "nodeset": "0"}]}},
    {"iothreads": 2, "iothread_ids": [{"id": 7}], "memory": 64, **disk(driver={"iothread": 7})},
    {"disks": [{"target": "vda", "source": "/a", "bus": "ide"}], "os": {"machine": "pc"}},
    {
        "disks": [
            {"target": "hda", "source": "/a"},
            {"target": "sda", "source": "/b"},
            {"target": "vda", "source": "/c"},
        ]
    },
    {"disks": [{"target": "hda", "device": "cdrom"}, {"target": "fda", "device": "floppy"}]},
    {**disk(boot_order=1), **nic(boot_order=2), "os": {"boot": []}},
    {"disks": [{"target": "vda", "network": {"protocol": "nbd", "hosts": [{"name": "h"}]}}]},
    {"graphics": [{"port": -1, "autoport": True, "keymap": "en-us", "listen": "192.0.2.1"}, {"type": "spice"}]},
    {"graphics": [{"listen": "host.example.org"}]},
    {"graphics": [{"listens": [{"type": "socket"}], "autoport": False}]},
    {"serials": [{}], "consoles": [{"type": "pty"}, {"target_type": "virtio"}]},
    {
        "memory": 64,
        "memory_backing": {"access": "shared"},
        "filesystems": [{"target": "a", "source": "/a", "driver": "virtiofs"}],
    },
    nic(vlan={"tags": [42, 47], "native": 42}),
    {"hostdevs": [{"type": "usb", "source": "046D:C52B"}, {"type": "pci", "source": "3:0.1"}]},
    {"metadata": ['<app1:foo xmlns:app1="http://app1.org/app1/">..</app1:foo>']},
]


@pytest.mark.parametrize("options", RIGHT, ids=[str(number) for number in range(len(RIGHT))])
def test_what_can_be_is_accepted(options: dict[str, t.Any]) -> None:
    assert parse(**options).definition


def test_values_have_their_normal_form() -> None:
    found = parse(
        memory="131072KB",
        cpuset="1-4, ^3 ,6",
        uuid=UUID.upper(),
        vcpus=8,
        cpu={
            "mode": "host-model",
            "topology": {"cores": 8, "dies": 1},
            "features": [{"name": "vmx"}],
            "numa": [{"memory": "125 MiB"}],
        },
        cputune={"vcpusched": [{"vcpus": "2,0-1", "scheduler": "idle"}]},
        iothreads=3,
        iothread_ids=[{"id": 2}],
        disks=[{"target": "vda", "source": "/a", "address": {"type": "pci", "slot": "0x0a", "bus": "1"}}],
        interfaces=[{"type": "hostdev", "source": "3:00.1"}],
        hostdevs=[{"type": "usb", "source": "001.004"}],
        graphics=[{"port": -1, "listen": "::0001"}],
    ).definition
    scalars = found.scalars
    assert scalars["memory"] == 128000 * 1024
    assert scalars["cpuset"] == "1-2,4,6"
    assert scalars["uuid"] == UUID
    assert scalars["cpu.topology"] == {"sockets": 1, "cores": 8, "threads": 1}
    assert scalars["cpu.features"] == [{"name": "vmx", "policy": "require"}]
    assert scalars["cpu.numa"] == [{"id": 0, "memory": 125 * 1024**2}]
    assert [item["vcpus"] for item in scalars["cputune.vcpusched"]] == ["0", "1", "2"]
    assert scalars["iothread_ids"] == [{"id": 1}, {"id": 2}, {"id": 3}]
    address = {"type": "pci", "domain": 0, "bus": 1, "slot": 10, "function": 0}
    assert found.devices["disks"][0]["address"] == address
    assert found.devices["interfaces"][0]["source"] == "0000:03:00.1"
    assert found.devices["hostdevs"][0]["source"] == "1.4"
    assert found.devices["graphics"][0] == {"type": "vnc", "listen": "::1", "autoport": True}


def test_one_address_to_listen_on_is_the_short_form() -> None:
    long = parse(graphics=[{"listens": [{"type": "address", "address": "127.0.0.1"}]}])
    assert long.definition == parse(graphics=[{"listen": "127.0.0.1"}]).definition
