# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Definitions as libvirt writes them, and what a start makes of them; for the tests of running domains."""

from __future__ import annotations

import copy
import typing as t

from hypothesis import strategies as st
from lxml import etree

PORTS = 8

_PCI = "<address type='pci' domain='0x0000' bus='%#04x' slot='%#04x' function='0x0'/>"


def pci(bus: int, slot: int = 0) -> str:
    return _PCI % (bus, slot)


def disk(target: str, more: str = "", *, bus: str = "virtio", address: str = "", device: str = "disk") -> str:
    source = f"<source file='/srv/{target}'/>" if device == "disk" else ""
    return (
        f"<disk type='file' device='{device}'><driver name='qemu' type='raw'/>{source}{more}"
        f"<target dev='{target}' bus='{bus}'/>{address}</disk>"
    )


def interface(number: int, more: str = "", address: str = "", source: str = "<source network='lan'/>") -> str:
    return (
        f"<interface type='network'><mac address='52:54:00:00:00:{number:02x}'/>{source}<model type='virtio'/>"
        f"{more}{address}</interface>"
    )


def q35(
    devices: str = "", more: str = "", *, ports: int = PORTS, vcpu: str = "<vcpu placement='static'>2</vcpu>"
) -> str:
    """A definition with so many root ports (buses 1 to ``ports``), a USB and a SCSI controller on the first two."""
    roots = "".join(
        f"<controller type='pci' index='{number}' model='pcie-root-port'><model name='pcie-root-port'/>"
        f"<address type='pci' domain='0x0000' bus='0x00' slot='0x02' function='{number:#x}'/></controller>"
        for number in range(1, ports + 1)
    )
    return (
        "<domain type='qemu'><name>web</name><uuid>11111111-2222-3333-4444-555555555555</uuid>"
        f"<memory unit='KiB'>524288</memory><currentMemory unit='KiB'>524288</currentMemory>{vcpu}"
        f"<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>{more}"
        "<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>"
        "<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>"
        f"<controller type='pci' index='0' model='pcie-root'/>{roots}"
        f"<controller type='usb' index='0' model='qemu-xhci'>{pci(1)}</controller>"
        f"<controller type='scsi' index='0' model='virtio-scsi'>{pci(2)}</controller>"
        f"<input type='mouse' bus='ps2'/><audio id='1' type='none'/>{devices}"
        f"<memballoon model='virtio'>{pci(3)}</memballoon></devices></domain>"
    )


def started(definition: str) -> tuple[str, str]:
    """What libvirt shows of it when it runs: as for a migration, and in full."""
    full = etree.fromstring(definition)
    full.set("id", "7")
    for number, node in enumerate(full.find("devices")):
        if node.tag == "emulator":
            continue
        etree.SubElement(node, "alias", name=f"{node.tag}{number}")
        if node.tag == "disk" and node.find("source") is not None:
            node.find("source").set("index", "1")
            if node.find("backingStore") is None:
                node.insert(0, etree.Element("backingStore"))
    live = copy.deepcopy(full)
    del live.attrib["id"]
    etree.SubElement(etree.SubElement(full, "resource"), "partition").text = "/machine"
    etree.strip_elements(live.find("os"), "firmware")
    devices = live.find("devices")
    for node in list(devices):
        for alias in node.findall("alias"):
            if not alias.get("name").startswith("ua-"):
                node.remove(alias)
        if node.tag == "audio" or node.get("bus") == "ps2":
            devices.remove(node)
    for source in live.iter("source"):
        source.attrib.pop("index", None)
    return etree.tostring(live, encoding="unicode"), etree.tostring(full, encoding="unicode")


#: Devices, each of them once; those behind a port come with its number.
_DEVICES: dict[str, t.Callable[[int], str]] = {
    "vda": lambda port: disk("vda", address=pci(port)),
    "vdb": lambda port: disk("vdb", "<iotune><read_iops_sec>5</read_iops_sec></iotune>", address=pci(port)),
    "sda": lambda _port: disk(
        "sda", bus="scsi", address="<address type='drive' controller='0' bus='0' target='0' unit='0'/>"
    ),
    "cdrom": lambda _port: disk("sdz", bus="sata", device="cdrom"),
    "nic": lambda port: interface(port, address=pci(port)),
    "nic2": lambda port: interface(port, "<link state='down'/>", pci(port)),
    "rng": lambda port: f"<rng model='virtio'><backend model='random'>/dev/urandom</backend>{pci(port)}</rng>",
    "tablet": lambda _port: "<input type='tablet' bus='usb'><address type='usb' bus='0' port='1'/></input>",
    "serial": lambda _port: "<serial type='pty'><target type='isa-serial' port='0'/></serial>",
    "vnc": lambda _port: "<graphics type='vnc' port='-1' autoport='yes' passwd='a'><listen type='address'/></graphics>",
}
_PARTS = {
    "title": "<title>a</title>",
    "description": "<description>b</description>",
    "metadata": "<metadata><a:x xmlns:a='urn:a'><a:y>1</a:y></a:x></metadata>",
    "iothreads": "<iothreads>2</iothreads>",
    "cputune": "<cputune><shares>5</shares><vcpupin vcpu='0' cpuset='0'/></cputune>",
    "memtune": "<memtune><soft_limit unit='KiB'>1000000</soft_limit></memtune>",
    "cpu": "<cpu mode='host-model' check='partial'/>",
    "clock": "<clock offset='localtime'/>",
    "perf": "<perf><event name='page_faults' enabled='yes'/></perf>",
}


def _composed(devices: list[str], parts: list[str], vcpu: str) -> str:
    made = "".join(_DEVICES[name](4 + number) for number, name in enumerate(devices))
    return q35(made, "".join(_PARTS[name] for name in parts), ports=16, vcpu=vcpu)


#: Definitions of many kinds.
definitions: st.SearchStrategy[str] = st.builds(
    _composed,
    st.lists(st.sampled_from(sorted(_DEVICES)), unique=True),
    st.lists(st.sampled_from(sorted(_PARTS)), unique=True),
    st.sampled_from(
        [
            "<vcpu placement='static'>2</vcpu>",
            "<vcpu placement='static' current='1'>2</vcpu>",
            "<vcpu placement='static' cpuset='0'>4</vcpu>",
        ]
    ),
)
