# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: what a version of libvirt does not know is named with the version that does, and nothing else is."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import newer, spec

DISK = {"target": "vda", "source": "/a"}
NEW: list[tuple[dict[str, t.Any], str, int]] = [
    ({"cryptos": [{}]}, "cryptos needs libvirt 9.1.0", 9001000),
    ({"pstore": {"path": "/p", "size": "8"}}, "pstore needs libvirt 10.7.0", 10007000),
    ({"iothread_ids": [{"id": 1}, {"id": 2, "poll_max": 5}]}, "iothread_ids.poll_max needs libvirt 9.4.0", 9004000),
    ({"launch_security": {"type": "sev-snp", "policy": "3"}}, "launch_security.type sev-snp needs", 10005000),
    ({"throttle_groups": [{"name": "a", "total_iops_sec": 5}]}, "throttle_groups needs libvirt 11.2.0", 11002000),
    ({"disks": [{**DISK, "throttle_filters": ["a"]}]}, "disks.throttle_filters needs libvirt 11.2.0", 11002000),
    ({"disks": [{**DISK, "blockio": {"discard_granularity": 512}}]}, "disks.blockio.discard_granularity", 9007000),
    ({"cpu": {"maxphysaddr": {"mode": "passthrough", "limit": 40}}}, "cpu.maxphysaddr.limit needs", 9003000),
    ({"features": {"ps2": False}}, "features.ps2 needs libvirt 10.7.0", 10007000),
    ({"videos": [{"model": "vga", "edid": False}]}, "videos.edid needs libvirt 11.6.0", 11006000),
    ({"sounds": [{"model": "virtio", "streams": 2}]}, "sounds.model virtio needs libvirt 10.4.0", 10004000),
    ({"watchdog": {"model": "itco"}}, "watchdog.model itco needs libvirt 9.1.0", 9001000),
    ({"videos": [{"model": "virtio", "blob": True}]}, "videos.blob needs libvirt 9.2.0", 9002000),
]


@pytest.mark.parametrize(("options", "says", "since"), NEW)
def test_what_is_newer_is_named(options: dict[str, t.Any], says: str, since: int) -> None:
    definition = spec.parse({"name": "web", **options}).definition
    found = newer.too_new(definition, since - 1)
    assert found is not None
    assert found.startswith(says)
    assert newer.too_new(definition, since) is None
    assert f"this host has {(since - 1) // 1_000_000}." in found


@pytest.mark.parametrize(
    "options",
    [
        {"cryptos": [], "vcpus": 2, "disks": [DISK]},
        {"launch_security": {"type": "sev", "policy": "3"}},
        {"iothread_ids": [{"id": 1, "thread_pool_min": 1}]},
    ],
)
def test_what_is_old_is_not(options: dict[str, t.Any]) -> None:
    assert newer.too_new(spec.parse({"name": "web", **options}).definition, 9_000_000) is None
