# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Generated declarations, and a stand-in for what libvirt adds to a document; for the tests of domains."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import spec
from hypothesis import strategies as st
from lxml import etree

MIB = 1024 * 1024

_TEXT = st.text("abc <>&\"'=/äß", min_size=1, max_size=12).filter(lambda text: text.strip() == text)


def _some(**options: st.SearchStrategy[t.Any]) -> st.SearchStrategy[dict[str, t.Any]]:
    """Each option stated or not."""
    return st.fixed_dictionaries({}, optional=options)


def _unique(kind: st.SearchStrategy[dict[str, t.Any]], key: str) -> st.SearchStrategy[list[dict[str, t.Any]]]:
    return st.lists(kind, max_size=3, unique_by=lambda device: device[key])


_DISK = st.builds(
    lambda target, folder, more: {"target": target, "source": f"{folder}/{target}", **more},
    st.sampled_from(["vda", "vdb", "vdc", "sdd"]),
    st.sampled_from(["/srv", "/tmp", "/dev"]),
    _some(
        format=st.sampled_from(["raw", "qcow2"]),
        bus=st.sampled_from(["virtio", "scsi", "sata"]),
        readonly=st.booleans(),
        cache=st.sampled_from(["none", "writeback"]),
        discard=st.just("unmap"),
        serial=st.sampled_from(["s1", "s2"]),
    ),
)
_INTERFACE = st.builds(
    lambda number, more: {"source": "lan", "mac": f"52:54:00:00:00:0{number}", **more},
    st.integers(0, 3),
    _some(type=st.sampled_from(["network", "bridge"]), model=st.sampled_from(["virtio", "e1000"])),
)
_SERIAL = st.builds(
    lambda port, more: {"port": port, **more},
    st.integers(0, 3),
    st.one_of(st.just({}), st.just({"path": "/log"}), st.just({"log": "/log"})),
)

#: The options of a domain as a task gives them. Memory is always stated, as for a new domain.
options: st.SearchStrategy[dict[str, t.Any]] = st.builds(
    lambda memory, more: {"name": "web", "memory": memory, **more},
    st.sampled_from(["512", "1GiB", "700000KiB"]),
    _some(
        title=_TEXT,
        description=_TEXT,
        vcpus=st.integers(1, 4),
        cpu=st.sampled_from([{"mode": "host-model"}, {"mode": "custom", "model": "qemu64"}]),
        os=_some(machine=st.just("q35"), boot=st.just(["hd", "network"]), boot_menu=st.booleans()).flatmap(
            lambda os: st.sampled_from([os, {**os, "kernel": "/k", "cmdline": "a=b"}])
        ),
        features=_some(acpi=st.booleans(), apic=st.booleans()),
        clock=st.sampled_from([{"offset": "utc"}, {"offset": "localtime"}]),
        events=_some(poweroff=st.just("destroy"), crash=st.sampled_from(["restart", "preserve"])),
        disks=_unique(_DISK, "target"),
        interfaces=_unique(_INTERFACE, "mac"),
        graphics=st.lists(
            _some(listen=st.just("127.0.0.1"), port=st.integers(5900, 5910), password=st.just("geheim")), max_size=1
        ),
        videos=st.lists(_some(model=st.sampled_from(["virtio", "vga"])), max_size=2),
        serials=_unique(_SERIAL, "port"),
        channels=st.lists(st.just({}), max_size=1),
        rng=st.sampled_from([{}, {"backend": "builtin"}]),
        memballoon=st.sampled_from([{}, {"model": "none"}]),
    ),
)

specs: st.SearchStrategy[spec.DomainSpec] = options.map(spec.parse)


def as_libvirt(document: str, machines: t.Mapping[str, str] | None = None) -> str:
    """A few of the things that libvirt does to a definition: what it fills in and how it writes it."""
    root = etree.fromstring(document)
    if root.find("uuid") is None:
        etree.SubElement(root, "uuid").text = "11111111-2222-3333-4444-555555555555"
    if root.find("currentMemory") is None:
        node = etree.SubElement(root, "currentMemory", unit="KiB")
        node.text = root.findtext("memory")
    kind = root.find("os/type")
    if kind is not None:
        kind.set("arch", kind.get("arch", "x86_64"))
        kind.set("machine", (machines or {}).get(kind.get("machine", "q35"), kind.get("machine", "q35")))
    for number, disk in enumerate(root.findall("devices/disk")):
        target = disk.find("target")
        if target is not None and target.get("bus") is None:
            target.set("bus", "virtio" if target.get("dev", "").startswith("v") else "scsi")
        if disk.find("address") is None:
            etree.SubElement(disk, "address", type="pci", slot=f"0x{number:02x}")
    for graphics in root.findall("devices/graphics"):
        graphics.set("port", graphics.get("port", "-1"))
        graphics.set("autoport", graphics.get("autoport", "yes"))
    return etree.tostring(root, encoding="unicode")
