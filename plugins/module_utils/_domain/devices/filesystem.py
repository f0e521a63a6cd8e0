# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Folders of the host that a guest can mount (virtiofs and 9p), and file systems of containers. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.common import (
    BOOT_ORDER,
    PLACE,
    VIRTIO_MODELS,
    only,
    virtio_driver,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    drop_children,
    ensure,
    flag,
    in_kib,
    sized,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import (
    ON_OFF,
    PATH,
    TEXT,
    matching,
    number,
    words,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import parse_size

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

#: The attribute that has the source, by type.
_SOURCE = {
    "mount": "dir",
    "bind": "dir",
    "file": "file",
    "block": "dev",
    "template": "name",
    "ram": "usage",
    "volume": "volume",
}
#: Types whose source is a path on the host.
OF_THE_HOST = ("mount", "bind", "file", "block")
#: How long the name may be by which a guest mounts it.
_LONGEST = {True: 36, False: 31}
_MODE = matching("0?[0-7]{3}", "mode of a file (like 0640)")


def _read_source(node: Element) -> t.Any:
    source, kind = node.find("source"), node.get("type") or "mount"
    if source is None:
        return None
    found = source.get(_SOURCE.get(kind, "dir"))
    if kind == "ram" and found is not None:
        return str(in_kib(found, "usage", source.get("units")))
    return found


def _write_source(node: Element, value: t.Any) -> None:
    drop_children(node, "source")
    if value is None:
        return
    kind = node.get("type") or "mount"
    if kind == "ram":
        _xml.child(node, "source", {"usage": str(int(value) // 1024), "units": "KiB"})
    else:
        _xml.child(node, "source", {_SOURCE[kind]: value})


def _write_type(node: Element, value: t.Any) -> None:
    drop_children(node, "source")
    node.set("type", value or "mount")


def _write_driver(node: Element, value: t.Any) -> None:
    # Programs and options belong to one of them.
    drop_children(node, "driver", "binary")
    if value is not None:
        ensure(node, "driver").set("type", value)


def complete(what: str, index: int, values: Values) -> None:
    """Looks at one entry of ``filesystems``; ``what`` names the domain in errors."""
    if "target" not in values:
        raise InvalidSpec(f"{what}: filesystems[{index}] needs a target, the name by which the guest mounts it.")
    what, kind = f"{what}: file system {values['target']}", values.setdefault("type", "mount")
    if ("source" in values) == ("socket" in values):
        raise InvalidSpec(f"{what} needs a source, or with the driver virtiofs a socket.")
    source, virtiofs = values.get("source", "/"), values.get("driver") == "virtiofs"
    longest = _LONGEST[virtiofs]
    if kind == "mount" and len(values["target"].encode()) > longest:
        raise InvalidSpec(f"{what}: its target has more than {longest} bytes, with which a guest cannot mount it.")
    if kind in OF_THE_HOST and not source.startswith("/"):
        raise InvalidSpec(f"{what}: its source has to be an absolute path, not '{source}'.")
    if kind == "ram":
        values["source"] = str(-(-parse_size(source, f"{what}: source", "MiB") // 1024) * 1024)
    only(what, values, ("socket", "queue", "binary"), virtiofs, "the driver virtiofs")
    only(what, values, ("fmode", "dmode", "multidevs"), not virtiofs, "9p")
    only(what, values, ("format",), values.get("driver") in ("loop", "nbd", "ploop"), "the drivers loop, nbd and ploop")
    if virtiofs and values.get("accessmode", "passthrough") != "passthrough":
        raise InvalidSpec(f"{what}: virtiofs has the accessmode passthrough only.")


LEAVES = (
    attribute("target", "target", "dir", keep=True),
    Leaf("type", lambda node: node.get("type") or "mount", _write_type, words(*_SOURCE), default="mount", keep=True),
    Leaf(
        "driver",
        lambda node: _xml.find_attribute(node, "driver", "type"),
        _write_driver,
        words("path", "virtiofs", "handle", "loop", "nbd", "ploop", "mtp"),
    ),
    Leaf("source", _read_source, _write_source, TEXT, keep=True),
    attribute("socket", "source", "socket", PATH),
    attribute("accessmode", ".", "accessmode", words("passthrough", "mapped", "squash")),
    attribute("multidevs", ".", "multidevs", words("default", "remap", "forbid", "warn")),
    attribute("fmode", ".", "fmode", _MODE),
    attribute("dmode", ".", "dmode", _MODE),
    attribute("model", ".", "model", words(*VIRTIO_MODELS)),
    flag("readonly", "readonly"),
    attribute("format", "driver", "format"),
    attribute("wrpolicy", "driver", "wrpolicy", words("immediate")),
    attribute("queue", "driver", "queue", number(1)),
    *virtio_driver(prefix="virtio_driver."),
    attribute("binary.path", "binary", "path", PATH),
    attribute("binary.xattr", "binary", "xattr", ON_OFF),
    attribute("binary.cache", "binary/cache", "mode", words("none", "auto", "always")),
    attribute("binary.sandbox", "binary/sandbox", "mode", words("namespace", "chroot", "none")),
    attribute("binary.posix_lock", "binary/lock", "posix", ON_OFF),
    attribute("binary.flock", "binary/lock", "flock", ON_OFF),
    attribute("binary.thread_pool_size", "binary/thread_pool", "size", number(0)),
    sized("space_hard_limit", "space_hard_limit"),
    sized("space_soft_limit", "space_soft_limit"),
    BOOT_ORDER,
    *PLACE,
)

KIND = Kind("filesystems", "filesystem", LEAVES, complete, identity="target")
