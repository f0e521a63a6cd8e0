# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Devices of which a domain mostly has one: random numbers, memory balloon, watchdog, TPM, vsock, panic, IOMMU. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.common import (
    PLACE,
    VIRTIO_MODELS,
    forget_place,
    only,
    virtio_driver,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    attributes,
    drop,
    drop_children,
    ensure,
    prune,
    switch,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import (
    ON_OFF,
    PATH,
    UUID,
    YES_NO,
    Shape,
    number,
    words,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


def model_leaf(*models: str) -> Leaf:
    """The model of a device that has it as an attribute of its own; what belonged to the old one goes."""
    return switch("model", "model", words(*models), forget_place)


def defaults(option: str, **filled: t.Any) -> t.Callable[[str, int, Values], None]:
    """What an entry has when it is not stated; a value of None has to be stated."""

    def complete(what: str, _index: int, values: Values) -> None:
        for name, value in filled.items():
            if value is None and name not in values:
                raise InvalidSpec(f"{what}: {option} needs a {name}.")
            values.setdefault(name, value)

    return complete


# --- random numbers ---


def _complete_rng(what: str, _index: int, values: Values) -> None:
    values.setdefault("model", "virtio")
    values.setdefault("backend", "random")
    if "source" in values and values["backend"] == "builtin":
        raise InvalidSpec(f"{what}: rng with the backend builtin has no source.")
    if values["backend"] == "random":
        values.setdefault("source", "/dev/urandom")
    if "rate.period" in values and "rate.bytes" not in values:
        raise InvalidSpec(f"{what}: rng.rate needs its bytes.")


def _write_backend(node: Element, value: t.Any) -> None:
    drop_children(node, "backend")
    if value is not None:
        ensure(node, "backend").set("model", value)


def _write_rng_source(node: Element, value: t.Any) -> None:
    ensure(node, "backend").text = value
    prune(node, "backend")


RNG = Kind(
    "rng",
    "rng",
    (
        model_leaf(*VIRTIO_MODELS),
        Leaf(
            "backend",
            lambda node: _xml.find_attribute(node, "backend", "model"),
            _write_backend,
            words("random", "builtin"),
            keep=True,
        ),
        Leaf("source", lambda node: _xml.find_text(node, "backend"), _write_rng_source, PATH),
        *attributes("rate.", "rate", number(1), "bytes", "period"),
        *virtio_driver(),
        *PLACE,
    ),
    _complete_rng,
    single=True,
    several="rngs",
)


# --- memory balloon ---


def _write_memballoon(node: Element, value: t.Any) -> None:
    node.set("model", value or "virtio")
    if value == "none":
        for item in list(node):
            node.remove(item)


def _complete_memballoon(what: str, _index: int, values: Values) -> None:
    model = values.setdefault("model", "virtio")
    only(f"{what}: memballoon", values, _BALLOON_ONLY, model != "none", "models other than none")


_BALLOON_ONLY = ("autodeflate", "free_page_reporting", "stats_period", "driver")

MEMBALLOON = Kind(
    "memballoon",
    "memballoon",
    (
        Leaf(
            "model", lambda node: node.get("model"), _write_memballoon, words(*VIRTIO_MODELS, "xen", "none"), keep=True
        ),
        attribute("autodeflate", ".", "autodeflate", ON_OFF),
        attribute("free_page_reporting", ".", "freePageReporting", ON_OFF),
        attribute("stats_period", "stats", "period", number(0)),
        *virtio_driver(),
        *PLACE,
    ),
    _complete_memballoon,
    single=True,
)


# --- watchdog, panic, vsock ---

WATCHDOG = Kind(
    "watchdog",
    "watchdog",
    (
        model_leaf("i6300esb", "ib700", "diag288", "itco"),
        attribute(
            "action",
            ".",
            "action",
            words("reset", "shutdown", "poweroff", "pause", "none", "dump", "inject-nmi"),
        ),
        *PLACE,
    ),
    defaults("watchdog", model="i6300esb"),
    single=True,
)

PANIC = Kind(
    "panic",
    "panic",
    (model_leaf("isa", "pseries", "hyperv", "s390", "pvpanic"), *PLACE),
    defaults("panic", model="isa"),
    single=True,
    several="panics",
)


def _complete_vsock(what: str, _index: int, values: Values) -> None:
    values.setdefault("model", "virtio")
    if "cid" in values and values.get("auto"):
        raise InvalidSpec(f"{what}: vsock has a cid ({values['cid']}) and auto; state one of them.")
    values.setdefault("auto", "cid" not in values)
    if not values["auto"] and "cid" not in values:
        raise InvalidSpec(f"{what}: vsock without auto needs a cid.")


VSOCK = Kind(
    "vsock",
    "vsock",
    (
        model_leaf(*VIRTIO_MODELS),
        attribute("auto", "cid", "auto", YES_NO),
        attribute("cid", "cid", "address", number(3, 2**32 - 2)),
        *virtio_driver(),
        *PLACE,
    ),
    _complete_vsock,
    single=True,
)


# --- TPM ---

_BANKS = ("sha1", "sha256", "sha384", "sha512")
_BANK_PATH = "backend/active_pcr_banks"


def _read_banks(node: Element) -> t.Any:
    found = node.find(_BANK_PATH)
    return None if found is None else [bank for bank in _BANKS if found.find(bank) is not None]


def _write_banks(node: Element, value: t.Any) -> None:
    found = node.find(_BANK_PATH)
    if found is not None:
        drop(found)
    for bank in value or ():
        ensure(node, f"{_BANK_PATH}/{bank}")
    prune(node, "backend")


def _parse_banks(_what: str, value: t.Any) -> t.Any:
    return [bank for bank in _BANKS if bank in value]


def _write_tpm_backend(node: Element, value: t.Any) -> None:
    drop_children(node, "backend")
    if value is not None:
        ensure(node, "backend").set("type", value)


def _complete_tpm(what: str, _index: int, values: Values) -> None:
    backend = values.setdefault("backend", "emulator")
    what = f"{what}: tpm"
    only(what, values, _EMULATOR_ONLY, backend == "emulator", "backend emulator")
    only(what, values, ("device",), backend == "passthrough", "backend passthrough")
    only(what, values, ("source",), backend == "external", "backend external")
    if backend == "external" and "source" not in values:
        raise InvalidSpec(f"{what} with the backend external needs a source, the path of a socket.")
    if "active_pcr_banks" in values and values.get("version", "2.0") != "2.0":
        raise InvalidSpec(f"{what}: active_pcr_banks goes with version 2.0.")


def _read_external(node: Element) -> t.Any:
    return _xml.find_attribute(node, "backend[@type='external']/source", "path")


def _write_external(node: Element, value: t.Any) -> None:
    drop_children(ensure(node, "backend"), "source")
    if value is not None:
        _xml.child(ensure(node, "backend"), "source", {"type": "unix", "mode": "connect", "path": value})
    prune(node, "backend")


_EMULATOR_ONLY = ("version", "encryption_secret", "persistent_state", "active_pcr_banks")

TPM = Kind(
    "tpm",
    "tpm",
    (
        model_leaf("tpm-tis", "tpm-crb", "tpm-spapr", "spapr-tpm-proxy"),
        Leaf(
            "backend",
            lambda node: _xml.find_attribute(node, "backend", "type"),
            _write_tpm_backend,
            words("emulator", "passthrough", "external"),
            keep=True,
        ),
        attribute("version", "backend", "version", words("1.2", "2.0")),
        attribute("device", "backend/device", "path", PATH),
        Leaf("source", _read_external, _write_external, PATH),
        attribute("encryption_secret", "backend/encryption", "secret", UUID),
        attribute("persistent_state", "backend", "persistent_state", YES_NO),
        Leaf(
            "active_pcr_banks",
            _read_banks,
            _write_banks,
            Shape({"type": "list", "elements": "str", "choices": list(_BANKS)}, _parse_banks),
        ),
        *PLACE,
    ),
    _complete_tpm,
    single=True,
)


# --- IOMMU ---

IOMMU = Kind(
    "iommu",
    "iommu",
    (
        model_leaf("intel", "smmuv3", "virtio"),
        *attributes("", "driver", ON_OFF, "intremap", "caching_mode", "eim", "iotlb"),
        attribute("aw_bits", "driver", "aw_bits", number(1, 255)),
        *PLACE,
    ),
    defaults("iommu", model=None),
    single=True,
)
