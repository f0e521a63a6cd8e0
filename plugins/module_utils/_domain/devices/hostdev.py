# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Devices of the host that are handed to a domain: PCI, USB, SCSI and mediated ones, known by their source. Pure."""

from __future__ import annotations

import re
import typing as t
import uuid

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices import disk_source
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.common import (
    BOOT_ORDER,
    PLACE,
    ROM,
    VIRTIO_MODELS,
    only,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    drop_children,
    ensure,
    flag,
    prune,
    switch,
    unset,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import (
    ON_OFF,
    TEXT,
    YES_NO,
    number,
    pci_parts,
    pci_text,
    words,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

_PCI_PARTS = ("domain", "bus", "slot", "function")
_PRODUCT = re.compile(r"([0-9a-f]{4}):([0-9a-f]{4})")
_DEVICE = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})")
_UNIT = re.compile(r"(scsi_host[0-9]+):([0-9]+):([0-9]+):([0-9]+)")
_IQN = re.compile(r"(iqn\.|eui\.|naa\.)[^\s/]+(/[0-9]+)?")
_WWPN = re.compile(r"naa\.[0-9a-f]{16}")


def _number(node: Element, key: str) -> int:
    return int(node.get(key) or "0", 0)


def _read_usb(source: Element) -> str | None:
    vendor, product = source.find("vendor"), source.find("product")
    if vendor is not None and product is not None:
        return f"{_number(vendor, 'id'):04x}:{_number(product, 'id'):04x}"
    address = source.find("address")
    return None if address is None else f"{_number(address, 'bus')}.{_number(address, 'device')}"


def _read_scsi(source: Element) -> str | None:
    if source.get("protocol") == "iscsi":
        return source.get("name")
    adapter, address = source.find("adapter"), source.find("address")
    if adapter is None or address is None:
        return None
    parts = (_number(address, key) for key in ("bus", "target", "unit"))
    return ":".join([adapter.get("name") or "", *(str(part) for part in parts)])


def _read_source(node: Element) -> t.Any:
    source, kind = node.find("source"), node.get("type")
    if source is None or node.get("mode", "subsystem") != "subsystem":
        return None
    if kind == "usb":
        return _read_usb(source)
    if kind == "scsi":
        return _read_scsi(source)
    if kind == "scsi_host":
        return source.get("wwpn")
    address = source.find("address")
    if address is None:
        return None
    return address.get("uuid") if kind == "mdev" else pci_text(*(_number(address, key) for key in _PCI_PARTS))


def _write_source(node: Element, value: t.Any) -> None:
    kind = node.get("type")
    source = ensure(node, "source")
    drop_children(source, "address", "vendor", "product", "adapter")
    unset(source, "name")
    if value is None:
        prune(node, "source")
        return
    if kind == "pci":
        parts = zip(_PCI_PARTS, pci_parts("source", value))
        _xml.child(source, "address", {key: f"{part:#x}" for key, part in parts})
    elif kind == "mdev":
        _xml.child(source, "address", {"uuid": value})
    elif kind == "scsi_host":
        _xml.set_attributes(source, {"protocol": "vhost", "wwpn": value})
    elif kind == "scsi" and not _UNIT.fullmatch(value):
        _xml.set_attributes(source, {"protocol": "iscsi", "name": value})
    elif kind == "scsi":
        adapter, *parts = value.split(":")
        _xml.child(source, "adapter", {"name": adapter})
        _xml.child(source, "address", dict(zip(("bus", "target", "unit"), parts)))
    elif ":" in value:
        vendor, product = value.split(":")
        _xml.child(source, "vendor", {"id": f"0x{vendor}"})
        _xml.child(source, "product", {"id": f"0x{product}"})
    else:
        bus, device = value.split(".")
        _xml.child(source, "address", {"bus": bus, "device": device})


def _check_network(what: str, values: Values) -> None:
    values.setdefault("network.protocol", "iscsi")
    hosts = values.get("network.hosts") or []
    if len(hosts) != 1 or "name" not in hosts[0]:
        raise InvalidSpec(f"{what}: a unit of iSCSI needs one of network.hosts, with its name.")
    disk_source.check_auth(what, values)


def _normal(what: str, kind: str, value: str) -> str:
    """The source of a type in the form in which it is read."""
    if kind == "pci":
        return pci_text(*pci_parts(f"{what}: source", value))
    lower = value.lower()
    if kind == "usb":
        device = _DEVICE.fullmatch(lower)
        if device is not None:
            return f"{int(device.group(1))}.{int(device.group(2))}"
        if _PRODUCT.fullmatch(lower):
            return lower
        raise InvalidSpec(
            f"{what}: '{value}' is no USB device; write vendor and product like 046d:c52b, or bus and device like 1.4."
        )
    if kind == "scsi_host" and _WWPN.fullmatch(lower):
        return lower
    if kind == "scsi" and (_UNIT.fullmatch(lower) or _IQN.fullmatch(value)):
        return value if _IQN.fullmatch(value) else lower
    if kind == "mdev":
        try:
            return str(uuid.UUID(value))
        except ValueError as exc:
            raise InvalidSpec(f"{what}: '{value}' is no UUID of a mediated device.") from exc
    wanted = "naa.5001405bc0ff1cce" if kind == "scsi_host" else "scsi_host0:0:0:0 (adapter, bus, target, unit)"
    raise InvalidSpec(f"{what}: '{value}' is no device of type {kind}; write it like {wanted}.")


def complete(what: str, index: int, values: Values) -> None:
    """Looks at one entry of ``hostdevs``; ``what`` names the domain in errors."""
    what = f"{what}: hostdevs[{index}]"
    for option in ("type", "source"):
        if option not in values:
            raise InvalidSpec(f"{what} needs a {option}.")
    kind = values["type"]
    values["source"] = _normal(what, kind, values["source"])
    remote = kind == "scsi" and not _UNIT.fullmatch(values["source"])
    if remote or any(name.startswith("network.") for name in values):
        if not remote:
            raise InvalidSpec(
                f"{what}: network goes with a unit of iSCSI as its source (iqn.2026-01.org.example:disks/1)."
            )
        _check_network(what, values)
    models = {"mdev": ("vfio-pci", "vfio-ccw", "vfio-ap"), "scsi_host": VIRTIO_MODELS}.get(kind, ())
    if kind == "mdev":
        values.setdefault("model", "vfio-pci")
    if values.get("model") not in (None, *models):
        raise InvalidSpec(
            f"{what}: type {kind} has no model {values['model']} (it has: {', '.join(models) or 'none'})."
        )
    only(what, values, ("driver", "rom", "write_filtering", "acpi_index"), kind == "pci", "type pci")
    only(what, values, ("managed",), kind in ("pci", "usb", "scsi_host"), "types pci, usb and scsi_host")
    only(what, values, ("guest_reset",), kind == "usb", "type usb")
    only(what, values, ("startup_policy",), kind in ("pci", "usb"), "types pci and usb")
    only(what, values, ("rawio", "sgio", "readonly", "shareable"), kind == "scsi", "type scsi")
    only(what, values, ("display", "ramfb"), kind == "mdev", "type mdev")
    if values.get("ramfb") and not values.get("display"):
        raise InvalidSpec(f"{what}: ramfb goes with display.")


def _clear(node: Element) -> None:
    drop_children(node, "source", "driver")
    node.set("mode", "subsystem")


def _of_the_subsystem(node: Element) -> bool:
    return node.get("mode", "subsystem") == "subsystem"


_OF_ISCSI = ("network.hosts", "network.initiator", "network.auth.")

LEAVES = (
    switch("type", "type", words("pci", "usb", "mdev", "scsi", "scsi_host"), _clear),
    Leaf("source", _read_source, _write_source, TEXT, keep=True),
    attribute("network.protocol", "source", "protocol", words("iscsi"), keep=True),
    *(leaf for leaf in disk_source.LEAVES if leaf.name.startswith(_OF_ISCSI)),
    attribute("model", ".", "model", words("vfio-pci", "vfio-ccw", "vfio-ap", *VIRTIO_MODELS), keep=True),
    attribute("managed", ".", "managed", YES_NO),
    attribute("driver", "driver", "name", words("vfio", "kvm", "xen")),
    attribute("startup_policy", "source", "startupPolicy", words("mandatory", "requisite", "optional")),
    attribute("write_filtering", "source", "writeFiltering", YES_NO),
    attribute("guest_reset", "source", "guestReset", words("off", "uninitialized", "on")),
    attribute("display", ".", "display", ON_OFF),
    attribute("ramfb", ".", "ramfb", ON_OFF),
    attribute("rawio", ".", "rawio", YES_NO),
    attribute("sgio", ".", "sgio", words("filtered", "unfiltered")),
    flag("readonly", "readonly"),
    flag("shareable", "shareable"),
    attribute("acpi_index", "acpi", "index", number(1)),
    *ROM,
    BOOT_ORDER,
    *PLACE,
)

KIND = Kind("hostdevs", "hostdev", LEAVES, complete, identity="source", matches=_of_the_subsystem)
