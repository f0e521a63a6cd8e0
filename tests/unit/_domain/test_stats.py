# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: libvirt's statistics as a person reads them."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import stats
from hypothesis import given
from hypothesis import strategies as st

FLAT = {
    "state.state": 1, "cpu.time": 4_500_000_000, "cpu.user": 4_000_000_000, "balloon.current": 1024, "balloon.unused": 2,
    "balloon.last-update": 5, "vcpu.current": 2, "vcpu.0.time": 1_000_000_000, "vcpu.0.state": 1, "vcpu.2.state": 1,
    "net.count": 1, "net.0.name": "vnet0", "net.0.rx.bytes": 7, "net.0.tx.pkts": 8,
    "block.count": 3, "block.0.name": "vda", "block.0.backingIndex": 1, "block.0.capacity": 100, "block.0.allocation": 10,
    "block.0.physical": 20, "block.0.rd.bytes": 1, "block.1.name": "vda", "block.1.backingIndex": 2, "block.1.capacity": 5,
    "block.10.name": "sda",
}  # fmt: skip


def test_usage() -> None:
    assert stats.usage(FLAT) == {
        "cpu": {"time": 4.5, "user": 4.0},
        "vcpus": [{"number": 0, "time": 1.0}, {"number": 1, "time": 0.0}],
        "memory": {"current": 1048576, "unused": 2048, "last_update": 5},
    }


def test_devices() -> None:
    assert stats.disks(FLAT) == {
        "vda": {"virtual_size": 100, "allocated_size": 10, "physical_size": 20, "stats": {"read_bytes": 1}},
        "sda": {"virtual_size": None, "allocated_size": None, "physical_size": None, "stats": None},
    }
    assert stats.interfaces(FLAT) == {"vnet0": {"received_bytes": 7, "sent_packets": 8}}


def test_the_guest() -> None:
    flat = {
        "hostname": "a", "os.id": "debian", "os.pretty-name": "Debian", "timezone.name": "UTC", "timezone.offset": 0,
        "fs.count": 1, "fs.0.name": "vda1", "fs.0.mountpoint": "/", "fs.0.fstype": "ext4", "fs.0.total-bytes": 10,
        "fs.0.used-bytes": 5, "fs.0.disk.count": 1, "fs.0.disk.0.alias": "vda", "fs.0.disk.0.serial": "x",
    }  # fmt: skip
    assert stats.guest(flat) == {
        "hostname": "a",
        "os": {"id": "debian", "pretty_name": "Debian"},
        "timezone": {"name": "UTC", "offset": 0},
        "filesystems": [{"name": "vda1", "mountpoint": "/", "type": "ext4", "size": 10, "used": 5, "disks": ["vda"]}],
    }
    assert stats.guest({})["filesystems"] == []


_NAME = st.lists(st.sampled_from(["block", "net", "vcpu", "fs", "0", "1", "name", "time", "x"]), min_size=1, max_size=4)


@given(st.dictionaries(_NAME.map(".".join), st.integers() | st.text(max_size=3), max_size=20))
def test_whatever_a_newer_libvirt_says(flat: dict[str, t.Any]) -> None:
    whole = {name: value for name, value in flat.items() if isinstance(value, int) or not name.endswith("time")}
    for read in (stats.usage, stats.disks, stats.interfaces, stats.guest):
        read(whole)
