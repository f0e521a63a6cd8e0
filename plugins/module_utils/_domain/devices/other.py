# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The random number generator and the memory balloon of a domain. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    drop_children,
    ensure,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


def parse_rng(what: str, _index: int, params: dict[str, t.Any]) -> Values:
    """The option ``rng``; ``what`` names the domain in errors."""
    values: Values = {"model": "virtio", "backend": params.get("backend") or "random"}
    source = params.get("source") or ("/dev/urandom" if values["backend"] == "random" else None)
    if source is not None and values["backend"] == "builtin":
        raise InvalidSpec(f"{what}: rng with the backend builtin has no source.")
    if source is not None:
        values["source"] = source
    return values


def _write_backend(node: Element, value: t.Any) -> None:
    drop_children(node, "backend")
    ensure(node, "backend").set("model", value)


def _write_rng_source(node: Element, value: t.Any) -> None:
    ensure(node, "backend").text = value


RNG = Kind(
    "rng",
    "rng",
    (
        attribute("model", ".", "model", keep=True),
        Leaf("backend", lambda node: _xml.find_attribute(node, "backend", "model"), _write_backend, keep=True),
        Leaf("source", lambda node: _xml.find_text(node, "backend"), _write_rng_source),
    ),
    parse_rng,
    single=True,
)


def parse_memballoon(_what: str, _index: int, params: dict[str, t.Any]) -> Values:
    """The option ``memballoon``."""
    return {"model": params.get("model") or "virtio"}


def _write_memballoon(node: Element, value: t.Any) -> None:
    node.set("model", value)
    if value == "none":
        for item in list(node):
            node.remove(item)


MEMBALLOON = Kind(
    "memballoon",
    "memballoon",
    (Leaf("model", lambda node: node.get("model"), _write_memballoon, keep=True),),
    parse_memballoon,
    single=True,
)
