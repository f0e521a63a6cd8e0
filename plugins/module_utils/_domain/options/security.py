# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: how the host keeps others out of the guest, and the guest out of others: labels, wrapped keys, encrypted memory. Pure."""

from __future__ import annotations

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.common import SECURITY_MODELS, only
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Leaf, Values, attribute, text
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.lists import items, ordered, whole
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import (
    LINE,
    ON_OFF,
    PUBLIC,
    YES_NO,
    hexadecimal,
    number,
    words,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec


def _check_label(what: str, values: Values) -> None:
    kind = values["type"]
    only(what, values, ("label",), kind == "static", "type static")
    only(what, values, ("baselabel",), kind == "dynamic", "type dynamic")
    only(what, values, ("relabel",), kind != "none", "types static and dynamic")
    if kind == "static" and "label" not in values:
        raise InvalidSpec(f"{what} of type static needs the label.")
    if kind == "dynamic" and values.get("relabel") is False:
        raise InvalidSpec(f"{what} of type dynamic labels what the domain uses, so relabel cannot be off.")
    if kind != "none":
        values.setdefault("relabel", kind == "dynamic")


_LABELS = ordered(
    items(
        "seclabels",
        ".",
        "seclabel",
        (
            attribute("type", ".", "type", words("dynamic", "static", "none")),
            attribute("model", ".", "model", SECURITY_MODELS),
            attribute("relabel", ".", "relabel", YES_NO),
            text("label", "label", LINE),
            text("baselabel", "baselabel", LINE),
        ),
        required=("type", "model"),
        unique="model",
        check=_check_label,
    ),
    "model",
)


def _cipher(name: str) -> Leaf:
    return attribute(f"keywrap.{name}", f"keywrap/cipher[@name='{name}']", "state", ON_OFF)


_SEV = ("cbitpos", "reduced_phys_bits", "policy", "kernel_hashes")
_SEV_ONLY = ("dh_cert", "session")
_SNP_ONLY = ("guest_visible_workarounds", "id_block", "id_auth", "host_data", "author_key", "vcek")
_OF_AMD = ("sev", "sev-snp")


def _check_launch(what: str, values: Values) -> None:
    kind = values.get("type")
    if kind is None:
        raise InvalidSpec(f"{what} needs a type.")
    only(what, values, _SEV, kind in _OF_AMD, "types sev and sev-snp")
    only(what, values, _SEV_ONLY, kind == "sev", "type sev")
    only(what, values, _SNP_ONLY, kind == "sev-snp", "type sev-snp")
    if kind in _OF_AMD and "policy" not in values:
        raise InvalidSpec(f"{what} of type {kind} needs a policy.")


_LAUNCH = (
    attribute("type", ".", "type", words("sev", "sev-snp", "s390-pv")),
    text("cbitpos", "cbitpos", number(0)),
    text("reduced_phys_bits", "reducedPhysBits", number(0)),
    text("policy", "policy", hexadecimal(4, 2**64 - 1)),
    attribute("kernel_hashes", ".", "kernelHashes", YES_NO),
    text("dh_cert", "dhCert"),
    text("session", "session"),
    attribute("author_key", ".", "authorKey", YES_NO),
    attribute("vcek", ".", "vcek", YES_NO),
    text("guest_visible_workarounds", "guestVisibleWorkarounds", PUBLIC),
    text("id_block", "idBlock", PUBLIC),
    text("id_auth", "idAuth", PUBLIC),
    text("host_data", "hostData", PUBLIC),
)

LEAVES = (
    _LABELS,
    _cipher("aes"),
    _cipher("dea"),
    whole("launch_security", "launchSecurity", _LAUNCH, check=_check_launch),
)
