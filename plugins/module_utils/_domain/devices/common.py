# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What devices of many kinds have: an address, an alias, a place in the boot order, driver options of virtio. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    attributes,
    drop_children,
    ensure,
    text,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.lists import in_order, items, ordered
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import (
    LINE,
    ON_OFF,
    PATH,
    YES_NO,
    Shape,
    hexadecimal,
    matching,
    number,
    words,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.table import Table, arguments, read, stated
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: The drivers by which a host keeps guests apart.
SECURITY_MODELS = words("selinux", "apparmor", "dac")
#: Models of a virtio device.
VIRTIO_MODELS = ("virtio", "virtio-transitional", "virtio-non-transitional")

_ADDRESS = Table(
    (
        attribute(
            "type",
            ".",
            "type",
            words(
                "pci",
                "drive",
                "usb",
                "virtio-serial",
                "ccw",
                "isa",
                "spapr-vio",
                "ccid",
                "dimm",
                "virtio-mmio",
                "unassigned",
            ),
        ),
        attribute("domain", ".", "domain", hexadecimal(4)),
        attribute("bus", ".", "bus", hexadecimal(2)),
        attribute("slot", ".", "slot", hexadecimal(2)),
        attribute("function", ".", "function", hexadecimal(1, 7)),
        attribute("multifunction", ".", "multifunction", ON_OFF),
        attribute("controller", ".", "controller", number(0)),
        attribute("target", ".", "target", number(0)),
        attribute("unit", ".", "unit", number(0)),
        attribute("port", ".", "port", matching(r"[0-9]+(\.[0-9]+){0,3}", "port (1, or 1.2 behind a hub)")),
        attribute("cssid", ".", "cssid", hexadecimal(2)),
        attribute("ssid", ".", "ssid", hexadecimal(1, 3)),
        attribute("devno", ".", "devno", hexadecimal(4)),
        attribute("iobase", ".", "iobase", hexadecimal(4)),
        attribute("irq", ".", "irq", hexadecimal(1)),
        attribute("reg", ".", "reg", hexadecimal(8)),
        attribute("base", ".", "base", hexadecimal(1, 2**64 - 1)),
    )
)
#: By type: what an address has, with what it is when it is not stated (None: it may be absent).
_PARTS: dict[str, dict[str, int | str | bool | None]] = {
    "pci": {"domain": 0, "bus": 0, "slot": 0, "function": 0, "multifunction": None},
    "drive": {"controller": 0, "bus": 0, "target": 0, "unit": 0},
    "usb": {"bus": 0, "port": None},
    "virtio-serial": {"controller": 0, "bus": 0, "port": None},
    "ccw": {"cssid": 0xFE, "ssid": 0, "devno": 0},
    "isa": {"iobase": None, "irq": None},
    "spapr-vio": {"reg": None},
    "ccid": {"controller": 0, "slot": 0},
    "dimm": {"slot": 0, "base": None},
    "virtio-mmio": {},
    "unassigned": {},
}
#: libvirt reads the bus of these as a decimal number only.
_DECIMAL = ("drive", "usb", "virtio-serial", "ccid", "dimm")


def _parse_address(what: str, value: t.Any) -> dict[str, t.Any]:
    values = stated(f"{what}.", _ADDRESS, value)
    kind = values.get("type")
    if kind is None:
        raise InvalidSpec(f"{what}: an address needs its type.")
    parts = _PARTS[kind]
    foreign = [option for option in values if option not in ("type", *parts)]
    if foreign:
        raise InvalidSpec(f"{what}: an address of type {kind} has no {foreign[0]}.")
    for option, default in parts.items():
        if default is not None:
            values.setdefault(option, default)
    return in_order(_ADDRESS, values)


def _read_address(node: Element) -> t.Any:
    found = node.find("address")
    return None if found is None else read(_ADDRESS, found)


def _write_address(node: Element, value: t.Any) -> None:
    found = node.find("address")
    if found is not None and (value is None or found.get("type") != value["type"]):
        drop_children(node, "address")
    if value is None:
        return
    # What is not stated (several functions in one slot) libvirt has filled in; that stays.
    place = ensure(node, "address")
    for leaf in _ADDRESS:
        if leaf.name in value:
            leaf.write(place, value[leaf.name])
            if value["type"] in _DECIMAL and leaf.name in ("bus", "slot"):
                place.set(leaf.name, str(value[leaf.name]))


#: Taking it out of a declaration changes nothing: the guest keeps its device where it is.
ADDRESS = Leaf(
    "address",
    _read_address,
    _write_address,
    Shape({"type": "dict", "options": arguments(_ADDRESS)}, _parse_address),
    keep=True,
    place="address",
)


def _parse_alias(what: str, value: t.Any) -> t.Any:
    if not value.startswith("ua-"):
        raise InvalidSpec(f"{what} has to begin with ua-, not '{value}': all other names are libvirt's own.")
    return matching(r"[a-zA-Z0-9_\-]+", "alias (letters, digits, - and _)").parse(what, value)


def _read_alias(node: Element) -> t.Any:
    found = node.find("alias")
    name = None if found is None else found.get("name")
    return name if name is not None and name.startswith("ua-") else None


ALIAS = Leaf(
    "alias",
    _read_alias,
    attribute("alias", "alias", "name").write,
    Shape({"type": "str"}, _parse_alias),
    place="alias@name",
)
BOOT_ORDER = attribute("boot_order", "boot", "order", number(1))
PLACE = (ALIAS, ADDRESS)
#: What happens when the other end of a socket goes.
RECONNECT = (
    attribute("reconnect.enabled", "source/reconnect", "enabled", YES_NO),
    attribute("reconnect.timeout", "source/reconnect", "timeout", number(1)),
)


def _check_label(what: str, values: Values) -> None:
    # libvirt drops one that says neither, and writes down what a label means.
    if values.get("relabel", "label" not in values) and "label" not in values:
        raise InvalidSpec(f"{what}: a label of a source says relabel: false, or has the label to give it.")
    if "label" in values and not values.setdefault("relabel", True):
        raise InvalidSpec(f"{what}: a label is given to the source, so relabel cannot be off; leave one of them out.")


#: How the security drivers of the host label what is behind a device.
SOURCE_LABELS = ordered(
    items(
        "seclabels",
        "source",
        "seclabel",
        (
            attribute("model", ".", "model", SECURITY_MODELS),
            attribute("relabel", ".", "relabel", YES_NO),
            text("label", "label", LINE),
        ),
        required=("model",),
        unique="model",
        check=_check_label,
    ),
    "model",
)
ROM = (
    attribute("rom.bar", "rom", "bar", ON_OFF),
    attribute("rom.file", "rom", "file", PATH),
    attribute("rom.enabled", "rom", "enabled", YES_NO),
)


def virtio_driver(path: str = "driver", prefix: str = "driver.") -> tuple[Leaf, ...]:
    """Options of any virtio device."""
    return attributes(prefix, path, ON_OFF, "iommu", "ats", "packed", "page_per_vq")


def rates(prefix: str, path: str) -> tuple[Leaf, ...]:
    """Limits of the bytes and operations in a second; ``path`` is where they are."""
    place = "" if path == "." else f"{path}/"
    names = [f"{way}_{unit}_sec" for unit in ("bytes", "iops") for way in ("total", "read", "write")]
    limits = [f"{name}{suffix}" for suffix in ("", "_max", "_max_length") for name in names]
    return tuple(text(f"{prefix}{name}", f"{place}{name}", number(0)) for name in (*limits, "size_iops_sec"))


def forget_place(node: Element) -> None:
    """A device that moves to another bus gets an address there from libvirt; stated ones are written afterwards."""
    drop_children(node, "address")
    for item in node.findall("alias"):
        if not (item.get("name") or "").startswith("ua-"):
            node.remove(item)


def check_reconnect(what: str, values: Values) -> None:
    """libvirt wants to read both."""
    waits = values.get("reconnect.enabled")
    if waits != ("reconnect.timeout" in values) and (waits or "reconnect.timeout" in values):
        raise InvalidSpec(f"{what}: reconnect needs enabled: true and a timeout.")


def only(what: str, values: Values, options: t.Iterable[str], allowed: bool, why: str) -> None:
    """Refuses options that do not go with the rest; ``why`` says with what they go."""
    if allowed:
        return
    found = next(
        (name for name in values for option in options if name == option or name.startswith(f"{option}.")), None
    )
    if found is not None:
        raise InvalidSpec(f"{what}: {found} goes with {why} only.")
