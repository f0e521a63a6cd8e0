# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Memory that is a device: modules that are plugged in, persistent memory, and memory shared between domains. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.common import PLACE, only
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.single import model_leaf
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    drop_children,
    flag,
    sized,
    text,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import (
    ON_OFF,
    PATH,
    RANGES,
    YES_NO,
    matching,
    number,
    words,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

_WITH_FILE = ("nvdimm", "virtio-pmem")


def complete(what: str, index: int, values: Values) -> None:
    """Looks at one entry of ``memory_devices``; ``what`` names the domain in errors."""
    model, what = values.setdefault("model", "dimm"), f"{what}: memory_devices[{index}]"
    if "size" not in values:
        raise InvalidSpec(f"{what} needs a size.")
    if (model in _WITH_FILE) != ("path" in values):
        raise InvalidSpec(f"{what}: the models {' and '.join(_WITH_FILE)}, and only they, need a path.")
    only(what, values, ("page_size", "nodemask"), model not in _WITH_FILE, "models without a file")
    only(what, values, ("label_size", "readonly", "pmem", "alignsize"), model == "nvdimm", "model nvdimm")
    only(what, values, ("block", "requested"), model == "virtio-mem", "model virtio-mem")
    if model == "virtio-mem" and not {"block", "requested"} <= set(values):
        raise InvalidSpec(f"{what} of model virtio-mem needs block and requested.")


MEMORY_DEVICES = Kind(
    "memory_devices",
    "memory",
    (
        model_leaf("dimm", "nvdimm", "virtio-pmem", "virtio-mem", "sgx-epc"),
        sized("size", "target/size"),
        text("node", "target/node", number(0)),
        attribute("access", ".", "access", words("shared", "private")),
        attribute("discard", ".", "discard", YES_NO),
        text("path", "source/path", PATH),
        sized("page_size", "source/pagesize", unit="KiB"),
        text("nodemask", "source/nodemask", RANGES),
        sized("alignsize", "source/alignsize", unit="KiB"),
        flag("pmem", "source/pmem"),
        sized("block", "target/block"),
        sized("requested", "target/requested"),
        sized("label_size", "target/label/size", unit="KiB"),
        flag("readonly", "target/readonly"),
        *PLACE,
    ),
    complete,
)


def complete_shmem(what: str, index: int, values: Values) -> None:
    """Looks at one entry of ``shmems``."""
    if "name" not in values:
        raise InvalidSpec(f"{what}: shmems[{index}] needs a name.")
    what, model = f"{what}: shared memory {values['name']}", values.setdefault("model", "ivshmem-plain")
    only(what, values, ("server", "msi"), model == "ivshmem-doorbell", "model ivshmem-doorbell")
    only(what, values, ("role",), model == "ivshmem-plain", "model ivshmem-plain")
    if model == "ivshmem-doorbell" and "server" not in values:
        raise InvalidSpec(f"{what} of model ivshmem-doorbell needs a server, the path of a socket.")


def _write_shmem_model(node: Element, value: t.Any) -> None:
    drop_children(node, "model", "server", "msi", "address")
    attribute("model", "model", "type").write(node, value)


SHMEMS = Kind(
    "shmems",
    "shmem",
    (
        attribute("name", ".", "name", matching("[^/]+", "name (no slash)"), keep=True),
        Leaf(
            "model",
            attribute("model", "model", "type").read,
            _write_shmem_model,
            words("ivshmem-plain", "ivshmem-doorbell"),
            keep=True,
        ),
        attribute("role", ".", "role", words("master", "peer")),
        sized("size", "size"),
        attribute("server", "server", "path", PATH),
        attribute("msi.vectors", "msi", "vectors", number(1)),
        attribute("msi.ioeventfd", "msi", "ioeventfd", ON_OFF),
        *PLACE,
    ),
    complete_shmem,
    identity="name",
)
