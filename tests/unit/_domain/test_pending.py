# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: what of a running domain differs by itself, and what waits for a start."""

from __future__ import annotations

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.pending import waiting

DOMAIN = (
    "<domain type='qemu'><memory>%s</memory><vcpu>1</vcpu><os><type>hvm</type></os>%s<devices>%s</devices></domain>"
)


def seen(memory: int = 1024, more: str = "", devices: str = "") -> xml.Seen:
    return xml.read(DOMAIN % (memory, more, devices))


@pytest.mark.parametrize(
    ("live", "wanted"),
    [
        (seen(memory=2048), seen(memory=1025)),
        (seen(more="<title>a</title>"), seen(more="<title>b</title>")),
        (seen(more="<currentMemory>5</currentMemory>"), seen()),
        (seen(more="<cpu mode='custom'><model>x</model></cpu>"), seen(more="<cpu mode='host-model'/>")),
        (seen(more="<on_crash>destroy</on_crash>"), seen()),
        (seen(devices="<graphics type='vnc' port='5901' autoport='yes' listen='::1'/>"), seen(devices="<graphics type='vnc'/>")),
        (seen(devices="<disk device='cdrom'><target dev='sda'/></disk>"),
         seen(devices="<disk device='cdrom'><source file='/a'/><target dev='sda'/></disk>")),
        (seen(devices="<memballoon model='none'/>"), seen()),
        (seen(devices="<disk><driver type='raw'/><target dev='vda' bus='virtio'/></disk>"),
         seen(devices="<disk><driver type='raw'/><target dev='vda'/></disk>")),
    ],
)  # fmt: skip
def test_what_only_the_moment_brings_is_not_waiting(live: xml.Seen, wanted: xml.Seen) -> None:
    assert waiting(live, wanted) == {}


@pytest.mark.parametrize(
    ("live", "wanted", "fields"),
    [
        (seen(memory=4096), seen(memory=8192), ["memory"]),
        (seen(more="<cpu mode='custom'><model>x</model></cpu>"), seen(more="<cpu mode='custom'><model>y</model></cpu>"), ["cpu.model"]),
        (seen(more="<cpu mode='host-passthrough'/>"), seen(more="<cpu mode='host-model'/>"), ["cpu.mode"]),
        (seen(more="<clock offset='localtime'/>"), seen(), ["clock.offset"]),
        (seen(devices="<disk><target dev='vdb'/></disk>"), seen(), ["disks.vdb"]),
        (seen(), seen(devices="<rng model='virtio'/>"), ["rng"]),
        (seen(devices="<interface type='network'><mac address='m'/><source network='a'/></interface>"),
         seen(devices="<interface type='network'><mac address='m'/><source network='b'/></interface>"), ["interfaces.m.source"]),
    ],
)  # fmt: skip
def test_what_waits(live: xml.Seen, wanted: xml.Seen, fields: list[str]) -> None:
    assert list(waiting(live, wanted)) == fields
