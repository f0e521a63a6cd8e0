# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Network interfaces of a domain: options, place in the document, identity (the MAC address, else the order). Pure."""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices import interface_source
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.common import (
    BOOT_ORDER,
    PLACE,
    ROM,
    VIRTIO_MODELS,
    only,
    virtio_driver,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    attributes,
    drop_children,
    text,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.lists import items, mapping
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import (
    IP,
    MAC,
    ON_OFF,
    PATH,
    YES_NO,
    Shape,
    matching,
    number,
    words,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

_MODELS = (
    *VIRTIO_MODELS, "e1000", "e1000-82544gc", "e1000-82545em", "e1000e", "igb", "rtl8139", "ne2k_pci", "pcnet", "tulip",
    "i82551", "i82557b", "i82559er", "vmxnet3", "usb-net", "netfront", "spapr-vlan", "lan9118", "smc91c111", "sungem",
)  # fmt: skip
#: A Linux network device, which the host's end of these types is, has no larger MTU (its header counts, too).
_DEVICES = ("network", "bridge", "ethernet")
_LARGEST_MTU = 65521
#: qemu takes it for "none stated", and gives each guest the same one.
_NO_MAC = "00:00:00:00:00:00"
#: Names that libvirt gives to devices of running domains; what begins so it does not keep.
_GENERATED = ("vnet", "vif", "macvtap", "macvlan")


def complete(what: str, index: int, values: Values) -> None:
    """Looks at one entry of ``interfaces``; ``what`` names the domain in errors."""
    what = f"{what}: interface {index + 1}"
    values.setdefault("type", "network")
    interface_source.check(what, values)
    kind = values["type"]
    if values.get("mtu", 0) > _LARGEST_MTU and kind in _DEVICES:
        raise InvalidSpec(f"{what}: an mtu of {values['mtu']} is impossible with type {kind}; 68 to {_LARGEST_MTU}.")
    if values.get("mac") == _NO_MAC:
        raise InvalidSpec(
            f"{what}: mac {_NO_MAC} is the address of no device; leave mac out to have one given, or state another."
        )
    target = values.get("target.dev")
    if target is not None and target.startswith(_GENERATED):
        raise InvalidSpec(f"{what}: target.dev {target} is a name that libvirt gives itself; choose another beginning.")
    only(what, values, ("ips", "routes"), kind in ("user", "ethernet"), "types user and ethernet")
    only(what, values, ("backend.type", "backend.log_file"), kind == "user", "type user")
    only(what, values, ("script", "downscript"), kind in ("ethernet", "bridge"), "types ethernet and bridge")
    only(what, values, ("filter",), kind in ("network", "bridge", "ethernet"), "types network, bridge and ethernet")
    wires = ("network", "bridge", "direct", "hostdev")
    only(what, values, ("vlan",), kind in wires, f"types {', '.join(wires)}")
    limits = ("network", "bridge", "direct", "ethernet")
    only(what, values, ("bandwidth",), kind in limits, f"types {', '.join(limits)}")
    if kind == "hostdev":
        only(what, values, ("model", "driver.queues"), False, "types other than hostdev")
    elif values.get("driver.name") in ("vfio", "kvm", "xen"):
        raise InvalidSpec(f"{what}: driver.name {values['driver.name']} goes with type hostdev only.")
    if values.get("filter.parameters") and "filter.name" not in values:
        raise InvalidSpec(f"{what}: filter.parameters goes with filter.name.")
    _check_teaming(what, values)


def _check_teaming(what: str, values: Values) -> None:
    if "teaming.type" not in values and "teaming.persistent" not in values:
        return
    if (values.get("teaming.type") == "transient") != ("teaming.persistent" in values):
        raise InvalidSpec(f"{what}: teaming.type transient, and only that, names the alias of its teaming.persistent.")
    if "teaming.persistent" in values and "mac" not in values:
        raise InvalidSpec(f"{what}: teaming.type transient needs a mac, that of its {values['teaming.persistent']}.")


_VLAN = Shape(
    {
        "type": "dict",
        "options": {
            "tags": {"type": "list", "elements": "int"},
            "trunk": {"type": "bool"},
            "native": {"type": "int"},
            "native_mode": {"type": "str", "choices": ["tagged", "untagged"]},
        },
    }
)


def _parse_vlan(what: str, value: t.Any) -> t.Any:
    tags, native = value.get("tags") or [], value.get("native")
    for tag in tags:
        if not 0 <= tag <= 4095:
            raise InvalidSpec(f"{what}.tags: {tag} is no VLAN; 0 to 4095.")
    if not tags or len(set(tags)) != len(tags):
        raise InvalidSpec(f"{what} needs tags, each once.")
    if native is not None and native not in tags:
        raise InvalidSpec(f"{what}.native: {native} is none of its tags.")
    if native is None and value.get("native_mode") is not None:
        raise InvalidSpec(f"{what}.native_mode goes with native.")
    trunk = len(tags) > 1 or native is not None
    if trunk and value.get("trunk") is False:
        raise InvalidSpec(f"{what}: several tags, or a native one, are a trunk.")
    found: dict[str, t.Any] = {"tags": list(tags), "trunk": bool(value.get("trunk")) or trunk}
    if native is not None:
        found.update(native=native, native_mode=value.get("native_mode") or "untagged")
    return found


def _read_vlan(node: Element) -> t.Any:
    vlan = node.find("vlan")
    if vlan is None:
        return None
    tags = vlan.findall("tag")
    found: dict[str, t.Any] = {"tags": [int(tag.get("id") or 0) for tag in tags], "trunk": vlan.get("trunk") == "yes"}
    for tag in tags:
        if tag.get("nativeMode") is not None:
            found.update(native=int(tag.get("id") or 0), native_mode=tag.get("nativeMode"), trunk=True)
    found["trunk"] = found["trunk"] or len(tags) > 1
    return found


def _write_vlan(node: Element, value: t.Any) -> None:
    drop_children(node, "vlan")
    if value is None:
        return
    vlan = _xml.child(node, "vlan", {"trunk": "yes"} if value["trunk"] else {})
    for tag in value["tags"]:
        native = value["native_mode"] if tag == value.get("native") else None
        _xml.child(vlan, "tag", {"id": str(tag), "nativeMode": native})


def _family(shape: Shape) -> Shape:
    """libvirt writes down of which family an address is."""

    def parse(what: str, value: t.Any) -> t.Any:
        found = shape.parse(what, value)
        for item in found:
            item["family"] = f"ipv{ipaddress.ip_address(item['address']).version}"
        return found

    return Shape(shape.option, parse)


def _addresses(name: str, tag: str, table: tuple[Leaf, ...]) -> Leaf:
    family = attribute("family", ".", "family", None)
    leaf = items(name, ".", tag, (*table, family), required=("address",))
    return Leaf(name, leaf.read, leaf.write, _family(leaf.shape or Shape({})), place=leaf.place)


_IP = (
    attribute("address", ".", "address", IP),
    attribute("prefix", ".", "prefix", number(0, 128)),
    attribute("peer", ".", "peer", IP),
)
_ROUTE = (
    attribute("address", ".", "address", IP),
    attribute("prefix", ".", "prefix", number(0, 128)),
    attribute("gateway", ".", "gateway", IP),
    attribute("metric", ".", "metric", number(1)),
)


def _read_model(node: Element) -> t.Any:
    # A device that is handed through is what it is, whatever libvirt writes there.
    return None if node.get("type") == "hostdev" else _xml.find_attribute(node, "model", "type")


def _write_model(node: Element, value: t.Any) -> None:
    if node.get("type") != "hostdev" or value is None:
        attribute("model", "model", "type").write(node, value)


def _bandwidth(direction: str) -> tuple[Leaf, ...]:
    keys = ("average", "peak", "burst", "floor") if direction == "inbound" else ("average", "peak", "burst")
    return attributes(f"bandwidth.{direction}.", f"bandwidth/{direction}", number(1), *keys)


_OFFLOADS = ("csum", "tso4", "tso6", "ecn", "ufo")
_DRIVER = (
    attribute("driver.name", "driver", "name", words("vhost", "qemu", "vfio", "kvm", "xen")),
    *attributes("driver.", "driver", number(1), "queues", "rx_queue_size", "tx_queue_size"),
    attribute("driver.txmode", "driver", "txmode", words("iothread", "timer")),
    *attributes("driver.", "driver", ON_OFF, "ioeventfd", "event_idx", "rss", "rss_hash_report"),
    *virtio_driver(),
    *attributes("driver.host.", "driver/host", ON_OFF, *_OFFLOADS, "gso", "mrg_rxbuf"),
    *attributes("driver.guest.", "driver/guest", ON_OFF, *_OFFLOADS),
)
_NAME = matching(r"[^/\s]{1,15}", "name of a network device (up to 15 characters)")

LEAVES = (
    *interface_source.LEAVES,
    attribute("mac", "mac", "address", MAC, keep=True, own=True),
    Leaf(
        "model",
        _read_model,
        _write_model,
        words(*_MODELS),
        default="virtio",
        place="model@type",
    ),
    attribute("mtu", "mtu", "size", number(68, 65535)),
    Leaf("vlan", _read_vlan, _write_vlan, Shape(_VLAN.option, _parse_vlan), place="vlan"),
    attribute("link_state", "link", "state", words("up", "down")),
    attribute("isolated", "port", "isolated", YES_NO),
    attribute("trust_guest_rx_filters", ".", "trustGuestRxFilters", YES_NO),
    *_bandwidth("inbound"),
    *_bandwidth("outbound"),
    attribute("target.dev", "target", "dev", _NAME, own=True),
    attribute("target.managed", "target", "managed", YES_NO),
    attribute("guest_dev", "guest", "dev", _NAME),
    attribute("filter.name", "filterref", "filter"),
    mapping("filter.parameters", "filterref", "parameter", "name", "value", several=True),
    *_DRIVER,
    attribute("backend.type", "backend", "type", words("default", "passt")),
    attribute("backend.log_file", "backend", "logFile", PATH),
    attribute("backend.tap", "backend", "tap", PATH),
    attribute("backend.vhost", "backend", "vhost", PATH),
    attribute("script", "script", "path"),
    attribute("downscript", "downscript", "path"),
    _addresses("ips", "ip", _IP),
    _addresses("routes", "route", _ROUTE),
    text("sndbuf", "tune/sndbuf", number(0)),
    attribute("coalesce_rx_frames", "coalesce/rx/frames", "max", number(0)),
    attribute("teaming.type", "teaming", "type", words("persistent", "transient")),
    attribute("teaming.persistent", "teaming", "persistent"),
    attribute("acpi_index", "acpi", "index", number(1)),
    *ROM,
    BOOT_ORDER,
    *PLACE,
)


class _Interface(Kind):
    """The two cards of a team have one MAC address, by which the guest finds them."""

    def label(self, node: Element) -> t.Any:
        return _in_team(super().label(node), _xml.find_attribute(node, "teaming", "type"))

    def key(self, values: Values) -> t.Any:
        return _in_team(super().key(values), values.get("teaming.type"))


def _in_team(mac: str | None, role: str | None) -> str | None:
    return f"{mac}/{role}" if mac is not None and role == "transient" else mac


KIND = _Interface("interfaces", "interface", LEAVES, complete, identity="mac")
