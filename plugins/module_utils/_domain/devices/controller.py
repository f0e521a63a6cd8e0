# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Controllers of a domain: options, place in the document, identity (type and index). Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.common import PLACE, only, virtio_driver
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    attributes,
    drop,
    drop_children,
    sized,
    text,
    unset,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import ON_OFF, hexadecimal, number, words
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

_TYPES = words("pci", "scsi", "usb", "sata", "ide", "virtio-serial", "fdc", "ccid", "xenbus", "isa")
_MODELS = {
    "pci": (
        "pci-root", "pcie-root", "pci-bridge", "dmi-to-pci-bridge", "pcie-to-pci-bridge", "pcie-root-port",
        "pcie-switch-upstream-port", "pcie-switch-downstream-port", "pci-expander-bus", "pcie-expander-bus",
    ),
    "scsi": (
        "virtio-scsi", "auto", "buslogic", "lsilogic", "lsisas1068", "lsisas1078", "vmpvscsi", "ibmvscsi", "ncr53c90",
        "dc390", "am53c974", "virtio-transitional", "virtio-non-transitional",
    ),
    "usb": (
        "qemu-xhci", "nec-xhci", "piix3-uhci", "piix4-uhci", "ehci", "ich9-ehci1", "ich9-uhci1", "ich9-uhci2",
        "ich9-uhci3", "vt82c686b-uhci", "pci-ohci", "qusb1", "qusb2", "none",
    ),
    "ide": ("piix3", "piix4", "ich6"),
    "virtio-serial": ("virtio", "virtio-transitional", "virtio-non-transitional"),
}  # fmt: skip
_PCI = ("pci-root", "pcie-root")


def _identity(node: Element) -> str:
    key = f"{node.get('type')}.{node.get('index') or 0}"
    # The companions of an EHCI controller have its index; what tells them apart is where they begin.
    master = node.find("master")
    return key if master is None else f"{key}.{master.get('startport')}"


def complete(what: str, index: int, values: Values) -> None:
    """Looks at one entry of ``controllers``; ``what`` names the domain in errors."""
    kind, model = values.get("type"), values.get("model")
    if kind is None:
        raise InvalidSpec(f"{what}: controllers[{index}] needs a type.")
    if kind == "pci" and "index" not in values and model not in _PCI:
        raise InvalidSpec(f"{what}: controllers[{index}] is a PCI controller and needs its index.")
    values.setdefault("index", 0)
    values["identity"] = f"{kind}.{values['index']}"
    what = f"{what}: controller {kind} {values['index']}"
    only(
        what,
        values,
        ("master.startport",),
        (model or "").startswith("ich9-uhci"),
        "the models ich9-uhci1 to ich9-uhci3",
    )
    if "master.startport" in values:
        values["identity"] += f".{values['master.startport']}"
    if model is not None and model not in _MODELS.get(kind, ()):
        known = ", ".join(_MODELS.get(kind, ())) or "none"
        raise InvalidSpec(f"{what} cannot have the model {model} (of that type there are: {known}).")
    if kind == "pci" and model is None:
        raise InvalidSpec(f"{what} needs a model.")
    only(what, values, ("ports",), kind in ("usb", "virtio-serial"), "type usb or virtio-serial")
    only(what, values, ("vectors",), kind == "virtio-serial", "type virtio-serial")
    only(what, values, ("target", "model_name"), kind == "pci", "type pci")
    only(what, values, ("pcihole64",), model in _PCI, "the models pci-root and pcie-root")
    only(what, values, ("driver.queues", "driver.iothread"), kind == "scsi", "type scsi")
    only(what, values, ("max_grant_frames", "max_event_channels"), kind == "xenbus", "type xenbus")


def _write_model(node: Element, value: t.Any) -> None:
    # What libvirt chose for the old model, ports of its own included.
    drop_children(node, "model", "target", "address", "master")
    unset(node, "model", "ports")
    if value is not None:
        node.set("model", value)


def _drop_companions(devices: Element) -> None:
    found = [node for node in devices.findall("controller") if node.get("type") == "usb"]
    masters = {node.get("index") for node in found if (node.get("model") or "").startswith("ich9-ehci")}
    for node in found:
        if node.find("master") is not None and node.get("index") not in masters:
            drop(node)


LEAVES = (
    Leaf("identity", _identity, lambda _node, _value: None, None, keep=True),
    attribute("type", ".", "type", _TYPES, keep=True),
    attribute("index", ".", "index", number(0), keep=True),
    Leaf(
        "model",
        lambda node: node.get("model"),
        _write_model,
        words(*dict.fromkeys(model for models in _MODELS.values() for model in models)),
        keep=True,
    ),
    attribute("master.startport", "master", "startport", number(0, 15), keep=True),
    attribute("ports", ".", "ports", number(1)),
    attribute("vectors", ".", "vectors", number(0)),
    attribute("max_grant_frames", ".", "maxGrantFrames", number(1)),
    attribute("max_event_channels", ".", "maxEventChannels", number(1)),
    sized("pcihole64", "pcihole64", unit="GiB"),
    attribute("model_name", "model", "name"),
    *attributes("target.", "target", number(0, 255), "chassisNr", "chassis", "busNr", "index"),
    attribute("target.port", "target", "port", hexadecimal(1, 255)),
    attribute("target.hotplug", "target", "hotplug", ON_OFF),
    text("target.node", "target/node", number(0)),
    *attributes("driver.", "driver", number(1), "queues", "cmd_per_lun", "max_sectors", "iothread"),
    attribute("driver.ioeventfd", "driver", "ioeventfd", ON_OFF),
    *virtio_driver(),
    *PLACE,
)

KIND = Kind("controllers", "controller", LEAVES, complete, identity="identity", after_change=_drop_companions)
