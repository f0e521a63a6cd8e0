# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Running domains: where there is room for another device. Pure.

A running domain has the buses and ports that it was started with.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: PCI controllers into which devices can be plugged, by the kind of plug, with their first and last slot.
_PLUGS = {
    "pcie-root-port": ("express", 0, 0),
    "pcie-switch-downstream-port": ("express", 0, 0),
    "pci-root": ("pci", 1, 31),
    "pci-bridge": ("pci", 1, 31),
    "pcie-to-pci-bridge": ("pci", 1, 31),
}
_EXPRESS_ONLY = ("pcie-root", "pcie-root-port", "pcie-switch-downstream-port", "pcie-switch-upstream-port")

#: Kind of bus, its number, the place on it.
Spot = tuple[str, int, tuple[int, ...]]


def number(node: Element | None, name: str) -> int:
    """A number from an attribute, in whichever base; 0 when it is not there."""
    text = None if node is None else node.get(name)
    try:
        return int(text, 0) if text else 0
    except ValueError:
        return 0


def spot(address: Element | None) -> Spot | None:
    """Where an address is; None when it says nothing that could be taken."""
    find = _SPOTS.get(address.get("type") or "") if address is not None else None
    return None if find is None or address is None else find(address)


def _usb(address: Element) -> Spot | None:
    ports = tuple(int(part) for part in (address.get("port") or "").split(".") if part.isdigit())
    return ("usb", number(address, "bus"), ports) if ports else None


def _numbers(kind: str, bus: str | None, *names: str) -> t.Callable[[Element], Spot | None]:
    return lambda node: (kind, number(node, bus) if bus else 0, tuple(number(node, name) for name in names))


_SPOTS: dict[str, t.Callable[[Element], Spot | None]] = {
    "pci": _numbers("pci", "bus", "slot", "function"),
    "usb": _usb,
    "drive": _numbers("drive", "controller", "bus", "target", "unit"),
    "virtio-serial": _numbers("virtio-serial", "controller", "bus", "port"),
    "dimm": _numbers("dimm", None, "slot"),
}


@dataclasses.dataclass
class Room:
    """The buses of a running domain (``full``: its document with everything) and what is taken of them."""

    full: Element
    wanted: Element
    taken: set[Spot] = dataclasses.field(default_factory=set)
    #: SCSI controllers that are plugged in on the way, by their index.
    added: dict[int, Element] = dataclasses.field(default_factory=dict)
    #: Disks that others have plugged in.
    strangers: t.Sequence[Element] = ()

    def __post_init__(self) -> None:
        for node in self.full.findall("devices/*"):
            self.take(node)

    def take(self, device: Element) -> None:
        """Notes the place of a device as taken."""
        where = _place(device)
        if where is not None:
            self.taken.add(where)

    def leave(self, device: Element) -> None:
        """Notes it as free."""
        where = _place(device)
        if where is not None:
            self.taken.discard(where)

    def controllers(self, kind: str) -> dict[int, Element]:
        """The controllers of a kind by their index."""
        found = self.full.findall(f"devices/controller[@type='{kind}']")
        there = {number(node, "index"): node for node in found if node.get("model") != "none"}
        return {**there, **self.added} if kind == "scsi" else there

    def state(self) -> tuple[set[Spot], dict[int, Element]]:
        """What is taken and added now, for ``restore``."""
        return set(self.taken), dict(self.added)

    def restore(self, state: tuple[set[Spot], dict[int, Element]]) -> None:
        """Forgets what was taken and added since."""
        self.taken, self.added = state

    def pluggable(self, address: Element | None) -> str | None:
        """The kind of plug at a PCI address; None when nothing can be plugged in or pulled out there."""
        if address is None or address.get("type") not in (None, "pci"):
            return None
        if address.get("multifunction") == "on" or number(address, "function"):
            return None
        controller = self.controllers("pci").get(number(address, "bus"))
        plug = None if controller is None else self._plug(controller)
        return None if plug is None else plug[0]

    def _plug(self, controller: Element) -> tuple[str, int, int] | None:
        """What can be plugged into a PCI controller while the domain runs."""
        plug = _PLUGS.get(controller.get("model") or "")
        if plug is None or _xml.find_attribute(controller, "target", "hotplug") == "off":
            return None
        return None if plug[0] == "pci" and self.without_acpi else plug

    @property
    def without_acpi(self) -> bool:
        """Whether it is a PC without ACPI, which serves the slots of conventional PCI."""
        arch = _xml.find_attribute(self.full, "os/type", "arch")
        return arch in ("x86_64", "i686") and self.full.find("features/acpi") is None

    def free(self, device: Element) -> bool:
        """Whether nothing is where the definition puts a device."""
        where = _place(device)
        return where is not None and where not in self.taken

    def pci(self, device: Element) -> bool | None:
        """Finds a PCI port for a device of the definition: True at its own address, False at another, None nowhere."""
        address = device.find("address")
        if address is not None and self.pluggable(address) == self._kind(address) and self.free(device):
            self.take(device)
            return True
        kind = self._kind(address)
        for index, controller in self.controllers("pci").items():
            plug = self._plug(controller)
            if plug is None or plug[0] != kind:
                continue
            for slot in range(plug[1], plug[2] + 1):
                if not self._used(index, slot):
                    self.taken.add(("pci", index, (slot, 0)))
                    return False
        return None

    def _used(self, bus: int, slot: int) -> bool:
        # In slot 1 of the first bus of a PC are parts of its board.
        return (bus, slot) == (0, 1) or any(
            kind == "pci" and number_ == bus and place[0] == slot for kind, number_, place in self.taken
        )

    def _kind(self, address: Element | None) -> str:
        """Which kind of plug a device needs, by where the definition puts it."""
        buses = {number(node, "index"): node for node in self.wanted.findall("devices/controller[@type='pci']")}
        root = buses.get(0)
        controller = buses.get(number(address, "bus")) if address is not None else root
        model = (controller.get("model") if controller is not None else None) or "pci-root"
        return "express" if model in _EXPRESS_ONLY else "pci"


def _place(device: Element) -> Spot | None:
    where = spot(device.find("address"))
    if where is not None and where[0] == "drive":
        # Drives of different controllers of one number do not meet.
        bus = _xml.find_attribute(device, "target", "bus")
        return (f"drive-{bus or 'scsi'}", *where[1:])
    return where
