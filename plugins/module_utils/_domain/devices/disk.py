# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Disks and drives of a domain: options, place in the document, identity (the target). Pure."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks import wish
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices import disk_chain, disk_source
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.common import (
    BOOT_ORDER,
    PLACE,
    VIRTIO_MODELS,
    forget_place,
    only,
    rates,
    virtio_driver,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Plain,
    Values,
    attribute,
    attributes,
    drop_children,
    ensure,
    flag,
    text,
    unset,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.lists import texts, whole
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import (
    LINE,
    ON_OFF,
    YES_NO,
    matching,
    number,
    size,
    words,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

_TARGET = re.compile(r"(fd|hd|sd|vd|xvd|ubd)([a-z]{1,3})[0-9]*")
#: The bus that libvirt takes for a target whose bus is not stated.
_GUESSED = {"fd": "fdc", "hd": "ide", "sd": "scsi", "vd": "virtio", "xvd": "xen", "ubd": "uml"}
#: Buses whose places libvirt derives from the letters of the target.
_COUNTED = ("ide", "sata", "scsi", "fdc")


def guessed_bus(target: str) -> str | None:
    """libvirt's guess from the name of the target."""
    match = _TARGET.fullmatch(target)
    return _GUESSED[match.group(1)] if match else None


def place(disk: Values) -> tuple[str, str] | None:
    """The place on a counted bus that follows from the target (``hda`` and ``vda`` are both the first)."""
    match = _TARGET.fullmatch(disk["target"])
    bus = disk.get("bus") or guessed_bus(disk["target"])
    return (bus, match.group(2)) if match and bus in _COUNTED and "address" not in disk else None


def complete(what: str, _index: int, values: Values) -> None:
    """Looks at one entry of ``disks``; ``what`` names the domain in errors."""
    target = values.get("target")
    if not target or not _TARGET.fullmatch(target):
        raise InvalidSpec(f"{what}: a disk needs a target like vda, sda or hda (got '{target or ''}').")
    what, device, source = f"{what}: disk {target}", values.get("device", "disk"), values.get("source")
    disk_source.guess_type(values)
    if source is None and device in ("disk", "lun") and not any(name.startswith("network.") for name in values):
        raise InvalidSpec(f"{what} has no source; only a cdrom or floppy drive may be empty.")
    if "type" in values and (source is not None or values["type"] == "network"):
        disk_source.check(what, values)
    if values.get("type") == "dir":
        values.setdefault("format", "fat")
    _check_device(what, device, values)
    disk_chain.check(what, values)
    wish.check(what, values)


def _check_device(what: str, device: str, values: Values) -> None:
    bus = values.get("bus") or guessed_bus(values["target"])
    if device == "cdrom" and values.get("readonly") is False:
        raise InvalidSpec(f"{what} is a cdrom drive, which cannot be written; leave out readonly.")
    if device == "floppy" and bus != "fdc":
        raise InvalidSpec(f"{what} is a floppy drive, which is on the bus fdc only, not on {bus}.")
    if device != "floppy" and bus == "fdc":
        raise InvalidSpec(f"{what}: on the bus fdc there are floppy drives only; state device: floppy.")
    if device in ("cdrom", "floppy") and bus == "virtio":
        raise InvalidSpec(f"{what}: a {device} drive cannot be on the bus virtio; use sata, scsi, usb or ide.")
    if device == "lun":
        if bus not in ("virtio", "scsi"):
            raise InvalidSpec(f"{what}: a lun is on the bus scsi or virtio only, not on {bus}.")
        if values.get("type") not in ("block", "network", "volume"):
            raise InvalidSpec(f"{what}: a lun is a device of the host (type block), a volume or on the network.")
    only(what, values, ("rawio", "sgio"), device == "lun", "device lun")
    only(what, values, ("driver.queues", "driver.queue_size", "driver.ioeventfd"), bus == "virtio", "the bus virtio")
    if values.get("readonly") and values.get("transient"):
        raise InvalidSpec(f"{what}: readonly and transient exclude each other.")
    _check_iotune(what, values)


def _check_iotune(what: str, values: Values) -> None:
    for suffix in ("", "_max", "_max_length"):
        for unit in ("bytes", "iops"):
            total, single = (
                f"iotune.total_{unit}_sec{suffix}",
                [f"iotune.{way}_{unit}_sec{suffix}" for way in ("read", "write")],
            )
            if values.get(total) and any(values.get(name) for name in single):
                raise InvalidSpec(f"{what}: {total} excludes {single[0]} and {single[1]}.")


def _write_bus(node: Element, value: t.Any) -> None:
    unset(ensure(node, "target"), "bus")
    _xml.set_attributes(ensure(node, "target"), {"bus": value})
    forget_place(node)


def _write_device(node: Element, value: t.Any) -> None:
    if node.get("device") == "cdrom":
        # libvirt says that of each such drive; of another kind it is to be stated.
        drop_children(node, "readonly")
    node.set("device", value or "disk")
    forget_place(node)


_IOTUNE = (*rates("iotune.", "iotune"), text("iotune.group_name", "iotune/group_name"))
_DRIVER = (
    attribute("driver.name", "driver", "name"),
    attribute("driver.ioeventfd", "driver", "ioeventfd", ON_OFF),
    attribute("driver.event_idx", "driver", "event_idx", ON_OFF),
    attribute("driver.iothread", "driver", "iothread", number(1)),
    attribute("driver.queues", "driver", "queues", number(1)),
    attribute("driver.queue_size", "driver", "queue_size", number(1)),
    attribute("driver.discard_no_unref", "driver", "discard_no_unref", ON_OFF),
    text("driver.metadata_cache_size", "driver/metadata_cache/max_size", size("MiB")),
    *virtio_driver(),
)
_GEOMETRY = (
    *attributes("", ".", number(1), "cyls", "heads", "secs"),
    attribute("trans", ".", "trans", words("auto", "none", "lba")),
)
_BLOCKIO = attributes("", ".", number(0), "logical_block_size", "physical_block_size", "discard_granularity")


_LARGEST_BLOCK = 2 * 1024 * 1024


def _check_blockio(what: str, values: Values) -> None:
    logical, physical = (values.get(f"{name}_block_size") for name in ("logical", "physical"))
    for found in (logical, physical):
        if found and (not 512 <= found <= _LARGEST_BLOCK or found & (found - 1)):
            raise InvalidSpec(
                f"{what}: a block of {found} bytes is impossible; a power of two from 512 to {_LARGEST_BLOCK}."
            )
    if logical and physical and physical < logical:
        raise InvalidSpec(f"{what}: physical_block_size ({physical}) is less than logical_block_size ({logical}).")


def _check_geometry(what: str, values: Values) -> None:
    if not {"cyls", "heads", "secs"} <= set(values):
        raise InvalidSpec(f"{what} needs cyls, heads and secs.")


LEAVES = (
    attribute("target", "target", "dev", keep=True),
    Leaf(
        "device",
        Plain(".", "device", lambda text: text or "disk", "disk"),
        _write_device,
        words("disk", "cdrom", "floppy", "lun"),
        default="disk",
        place="@device",
        absent="disk",
    ),
    Leaf(
        "type",
        Plain(".", "type", lambda text: text or "file", "file"),
        disk_source.write_type,
        disk_source.TYPES,
        default="file",
        keep=True,
        place="@type",
        absent="file",
    ),
    *disk_source.LEAVES,
    disk_chain.LEAF,
    attribute("format", "driver", "type", disk_chain.FORMATS, default="raw"),
    Leaf(
        "bus",
        Plain("target", "bus", str),
        _write_bus,
        words("virtio", "scsi", "sata", "ide", "usb", "xen", "fdc", "sd", "uml"),
        keep=True,
        place="target@bus",
    ),
    attribute("model", ".", "model", words(*VIRTIO_MODELS)),
    flag("readonly", "readonly"),
    flag("shareable", "shareable"),
    flag("transient", "transient"),
    attribute("cache", "driver", "cache", words("none", "writethrough", "writeback", "directsync", "unsafe")),
    attribute("io", "driver", "io", words("threads", "native", "io_uring")),
    attribute("discard", "driver", "discard", words("unmap", "ignore")),
    attribute("detect_zeroes", "driver", "detect_zeroes", words("off", "on", "unmap")),
    attribute("error_policy", "driver", "error_policy", words("stop", "report", "ignore", "enospace")),
    attribute("rerror_policy", "driver", "rerror_policy", words("stop", "report", "ignore")),
    attribute("copy_on_read", "driver", "copy_on_read", ON_OFF),
    *_DRIVER,
    text("serial", "serial", own=True),
    text("wwn", "wwn", matching("[0-9a-fA-F]{16}", "WWN (16 hexadecimal digits)")),
    text("vendor", "vendor", matching("[ -~]{1,8}", "vendor (up to 8 printable characters)")),
    text("product", "product", matching("[ -~]{1,16}", "product (up to 16 printable characters)")),
    attribute("removable", "target", "removable", ON_OFF),
    attribute("rotation_rate", "target", "rotation_rate", number(1, 65534)),
    attribute("snapshot", ".", "snapshot", words("no", "internal", "external", "manual")),
    attribute("rawio", ".", "rawio", YES_NO),
    attribute("sgio", ".", "sgio", words("filtered", "unfiltered")),
    whole("geometry", "geometry", _GEOMETRY, check=_check_geometry),
    whole("blockio", "blockio", _BLOCKIO, check=_check_blockio),
    *_IOTUNE,
    texts("throttle_filters", "throttlefilters", "throttlefilter", "group", LINE),
    BOOT_ORDER,
    attribute("loadparm", "boot", "loadparm", matching(r"[a-zA-Z0-9. ]{1,8}", "loadparm (up to 8 characters)")),
    *PLACE,
)

KIND = Kind("disks", "disk", LEAVES, complete, identity="target", beside=wish.LEAVES)
