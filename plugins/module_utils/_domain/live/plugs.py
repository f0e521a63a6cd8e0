# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Running domains: what can be plugged in and pulled out, and where. Pure.

Measured against libvirt and qemu: whatever is not here they refuse.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import identity
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.live.ports import Room, number

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: The plug of a disk by its bus.
_DISK = {"virtio": "pci", "scsi": "drive", "usb": "usb"}
_INTERFACES = ("network", "bridge", "direct", "ethernet", "user", "hostdev", "vhostuser", "vdpa")
_SERIALS = {"usb-serial": "usb", "pci-serial": "pci"}
_MEMORIES = {"dimm": "dimm", "nvdimm": "dimm", "virtio-mem": "pci", "virtio-pmem": "pci", "sgx-epc": None}


def _plug(node: Element) -> str | None:
    """What a device is plugged into; None when nothing of a running domain."""
    find = _PLUGS.get(str(node.tag))
    kind = find(node) if find is not None else None
    address = _xml.find_attribute(node, "address", "type")
    if kind == "pci" and address in ("ccw", "virtio-mmio", "spapr-vio", "isa"):
        return "ccw" if address == "ccw" else None
    return kind


def _disk(node: Element) -> str | None:
    if node.get("device") == "floppy":
        return None
    return _DISK.get(_xml.find_attribute(node, "target", "bus") or "")


def _interface(node: Element) -> str | None:
    if node.get("type") not in _INTERFACES:
        return None
    return "usb" if _xml.find_attribute(node, "model", "type") == "usb-net" else "pci"


def _hostdev(node: Element) -> str | None:
    kinds = {"pci": "pci", "usb": "usb", "scsi": "drive", "scsi_host": "pci", "mdev": "pci"}
    return kinds.get(node.get("type") or "") if node.get("mode", "subsystem") == "subsystem" else None


def _virtio_serial(node: Element) -> str | None:
    return "virtio-serial" if _xml.find_attribute(node, "target", "type") == "virtio" else None


def _input(node: Element) -> str | None:
    kind = {"usb": "usb", "virtio": "pci"}.get(node.get("bus") or "")
    return None if node.get("type") == "evdev" else kind


_PLUGS: dict[str, t.Callable[[Element], str | None]] = {
    "disk": _disk,
    "interface": _interface,
    "hostdev": _hostdev,
    "controller": lambda node: "pci" if node.get("type") == "scsi" else None,
    "channel": _virtio_serial,
    "console": _virtio_serial,
    "serial": lambda node: _SERIALS.get(_xml.find_attribute(node, "target", "type") or ""),
    "rng": lambda _node: "pci",
    "input": _input,
    "redirdev": lambda node: "usb" if node.get("bus") == "usb" else None,
    "shmem": lambda _node: "pci",
    "watchdog": lambda node: "pci" if node.get("model") == "i6300esb" else None,
    "memory": lambda node: _MEMORIES.get(node.get("model") or ""),
    "vsock": lambda _node: "pci",
    "filesystem": lambda node: "pci" if _xml.find_attribute(node, "driver", "type") == "virtiofs" else None,
    "lease": lambda _node: "none",
}


def _said(node: Element) -> str:
    bus = _xml.find_attribute(node, "target", "bus") or node.get("bus") or node.get("model") or node.get("type")
    return f"a {identity.local(node)}" + (f" ({bus})" if bus else "")


def why_not_in(node: Element, room: Room) -> str | None:
    """Why a device cannot be plugged into the running domain; None when it can be."""
    if _plug(node) is None:
        return f"{_said(node)} cannot be plugged in while the domain runs"
    if node.tag in _ONLY_ONE and room.full.find(f"devices/{identity.local(node)}") is not None:
        return f"there can be one {identity.local(node)} only, and the running domain has one"
    if node.tag == "disk" and node.get("device") == "cdrom" and node.find("source") is None:
        return "a drive without a medium cannot be plugged in while the domain runs"
    if node.tag == "filesystem":
        return _why_no_filesystem(room.full)
    return None


_ONLY_ONE = ("watchdog", "vsock")


def _why_no_filesystem(full: Element) -> str | None:
    shared = [_xml.find_attribute(full, "memoryBacking/access", "mode")]
    shared += [node.get("memAccess") for node in full.findall("cpu/numa/cell")]
    if "shared" not in shared:
        return "virtiofs needs a domain that was started with shared memory"
    if full.find("resource") is None:
        # libvirt 9.0 comes to its end there: it takes the group of the domain for granted.
        return "libvirt runs domains without control groups here, and virtiofs can then be plugged in only at a start"
    return None


def why_not_out(node: Element, room: Room) -> str | None:
    """Why a device cannot be pulled out of the running domain; None when it can be."""
    kind = _plug(node)
    if kind is None or (node.tag == "memory" and node.get("model") in ("virtio-mem", "virtio-pmem")):
        return f"{_said(node)} cannot be pulled out while the domain runs"
    if kind == "pci" and room.pluggable(node.find("address")) is None:
        return "it is at a place of its bus from which nothing can be pulled out while the domain runs"
    return None


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a device is plugged in: at the address in the definition or at any, after which controllers (each with
    whether it is at its address)."""

    stated: bool
    controllers: tuple[tuple[Element, bool], ...] = ()


def find(node: Element, room: Room) -> Place | None:
    """Takes a place for a device; None when there is none."""
    kind = _plug(node)
    if kind == "pci":
        stated = room.pci(node)
        if stated is not None and node.tag == "controller":
            room.added[number(node, "index")] = node
        return None if stated is None else Place(stated)
    if kind in ("usb", "virtio-serial"):
        return _at(node, room) if room.controllers(kind) else None
    if kind == "drive":
        return _drive(node, room)
    if kind == "dimm":
        slots = number(room.full.find("maxMemory"), "slots")
        return _at(node, room) if len(room.full.findall("devices/memory")) < slots else None
    return Place(True)


def _at(node: Element, room: Room) -> Place:
    free = room.free(node)
    if free:
        room.take(node)
    return Place(free)


def _drive(node: Element, room: Room) -> Place | None:
    """On a controller that is there, else on that of the definition, which is plugged in before."""
    address = node.find("address")
    index = number(address, "controller")
    if index in room.controllers("scsi"):
        return _at(node, room) if address is not None else Place(True)
    controller = room.wanted.find(f"devices/controller[@type='scsi'][@index='{index}']")
    found = None if controller is None else find(controller, room)
    if controller is None or found is None:
        return None
    return Place(_at(node, room).stated, ((controller, found.stated),))
