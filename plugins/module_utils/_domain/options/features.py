# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: features of the machine, also those by which a guest finds its hypervisor. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    attribute,
    drop,
    ensure,
    flag,
    prune,
    sized,
    state,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import (
    ON_OFF,
    YES_NO,
    matching,
    number,
    words,
)

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

_STATES = ("hap", "pvspinlock", "pmu", "vmport", "smm", "vmcoreinfo", "htm", "nested-hv", "ccf-assist", "ras", "ps2")
_HYPERV = (
    "relaxed", "vapic", "spinlocks", "vpindex", "runtime", "synic", "stimer", "reset", "frequencies",
    "reenlightenment", "tlbflush", "ipi", "evmcs", "avic", "emsr_bitmap", "xmm_input",
)  # fmt: skip
_KVM = ("hidden", "hint-dedicated", "poll-control", "pv-ipi", "dirty-ring")
_VENDOR = "features/hyperv/vendor_id"


def _write_vendor(node: Element, value: t.Any) -> None:
    found = node.find(_VENDOR)
    if value is not None:
        element = ensure(node, _VENDOR)
        element.set("state", "on")
        element.set("value", value)
    elif found is not None:
        drop(found)
        prune(node, "features/hyperv")


def _word(tag: str) -> str:
    return tag.replace("-", "_")


LEAVES = (
    flag("features.acpi", "features/acpi", default=True),
    # In this order: an element that has lost its attribute is gone, and is made again when it is wanted.
    attribute("features.apic_eoi", "features/apic", "eoi", ON_OFF),
    flag("features.apic", "features/apic", default=True),
    flag("features.pae", "features/pae"),
    flag("features.viridian", "features/viridian"),
    flag("features.privnet", "features/privnet"),
    *(state(f"features.{_word(tag)}", f"features/{tag}") for tag in _STATES),
    sized("features.smm_tseg", "features/smm/tseg"),
    attribute("features.gic_version", "features/gic", "version", words("2", "3", "host")),
    attribute("features.ioapic_driver", "features/ioapic", "driver", words("kvm", "qemu")),
    attribute("features.hpt_resizing", "features/hpt", "resizing", words("enabled", "disabled", "required")),
    sized("features.hpt_maxpagesize", "features/hpt/maxpagesize"),
    attribute("features.msrs_unknown", "features/msrs", "unknown", words("ignore", "fault")),
    attribute("features.cfpc", "features/cfpc", "value", words("broken", "workaround", "fixed")),
    attribute("features.sbbc", "features/sbbc", "value", words("broken", "workaround", "fixed")),
    attribute(
        "features.ibs", "features/ibs", "value", words("broken", "workaround", "fixed-ibs", "fixed-ccd", "fixed-na")
    ),
    sized("features.tcg_tb_cache", "features/tcg/tb-cache"),
    attribute("features.async_teardown", "features/async-teardown", "enabled", YES_NO),
    attribute("features.hyperv.mode", "features/hyperv", "mode", words("custom", "passthrough")),
    *(state(f"features.hyperv.{tag}", f"features/hyperv/{tag}") for tag in _HYPERV),
    attribute("features.hyperv.spinlocks_retries", "features/hyperv/spinlocks", "retries", number(4095)),
    state("features.hyperv.stimer_direct", "features/hyperv/stimer/direct"),
    Leaf(
        "features.hyperv.vendor_id",
        lambda node: _xml.find_attribute(node, _VENDOR, "value"),
        _write_vendor,
        matching("[^,]{1,12}", "vendor for Hyper-V (1 to 12 characters, no comma)"),
    ),
    *(state(f"features.kvm.{_word(tag)}", f"features/kvm/{tag}") for tag in _KVM),
    attribute("features.kvm.dirty_ring_size", "features/kvm/dirty-ring", "size", number(1024, 65536)),
    state("features.xen.e820_host", "features/xen/e820_host"),
    state("features.xen.passthrough", "features/xen/passthrough"),
    attribute("features.xen.passthrough_mode", "features/xen/passthrough", "mode", words("sync_pt", "share_pt")),
)
