# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running domains: docs/live-changes.md says of each change what the plans do (the cases of test_plan.py)."""

from __future__ import annotations

import pathlib
import re

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.scalars import BY_NAME
from ansible_collections.hypervisor.kvm.tests.unit._domain.live.test_plan import LIVE, WAITS

PAGE = pathlib.Path(__file__).resolve().parents[4] / "docs" / "live-changes.md"

#: The first column of each row, and the cases that show it.
CASES = {
    "`title`, `description`": ["title", "no title", "description"],
    "`metadata`": ["metadata", "other metadata"],
    "`events`": ["events"],
    "`current_memory`": ["less memory"],
    "`memory`, `max_memory`": ["more memory", "the most memory"],
    "`memory_devices`": ["dimm"],
    "`current_vcpus`, more": ["more vcpus", "some more vcpus", "single vcpus"],
    "`current_vcpus`, fewer": ["fewer vcpus"],
    "`vcpu_states`: one that is enabled now, and hotpluggable": ["single vcpus"],
    "`vcpu_states`, anything else": ["a single vcpu less"],
    "`perf`": ["perf"],
    "`cputune.cachetune`, `cputune.memorytune`, `seclabels`, `launch_security`, `keywrap`, what begins with `qemu_`": [
        "a part of the caches", "a label", "what is deprecated",
    ],
    "`disks.*.slice`, `seclabels` and `backing_store` of a disk, `throttle_groups`": [
        "the part of a disk", "the label of a disk", "what is behind a disk",
    ],
    "`vcpus`": ["the most vcpus"],
    "`cpuset`, `cputune.vcpupin`, `cputune.emulatorpin`": ["vcpu pins", "no pins", "cpuset"],
    "`cputune`: shares, periods, quotas": ["shares", "no quota"],
    "`memtune`": ["limits of memory"],
    "`blkiotune`": ["weight", "a limit of a disk of the host"],
    "`numatune.nodeset`": ["nodes"],
    "`numatune`, anything else": ["mode of numa"],
    "`iothreads`": ["iothreads", "numbered iothreads", "pool of an iothread"],
    "`iothreads`: without one that a device uses": ["an I/O thread that a disk uses"],
    "`cpu`, `features`, `clock`, `os`, `emulator`": ["cpu", "a feature", "clock", "kernel", "emulator"],
    "`disks`: another one, on `virtio`": ["a disk more", "a disk for another"],
    "`disks`: another one, on `scsi` or `usb`": ["a scsi disk", "a usb disk"],
    "`disks`: one less, on `virtio`, `scsi` or `usb`": ["a disk less", "no scsi disk", "no usb disk"],
    "`disks`: on `sata`, `ide` or `fdc`, a drive without a medium": ["a sata disk", "no sata disk", "a drive without a medium"],
    "`disks.*.source` of a `cdrom` or `floppy`": ["a medium", "no medium"],
    "`disks.*.source` of a disk, `device`, `cache`, other parts of `driver`": ["the file of a disk", "another kind of drive", "the cache of a disk"],
    "`disks.*.iotune`": ["limits of a disk", "no limits of a disk"],
    "`interfaces`: one more or less": ["an interface", "no interface"],
    "`interfaces.*.link_state`": ["link"],
    "`interfaces.*.source` and `type`, among `network` and `bridge`": ["another network", "a bridge"],
    "`interfaces.*.source` and `type`, from or to another kind (`direct`)": ["a device of the host", "another device of the host"],
    "`interfaces.*.filter`": ["a filter", "a filter and no link"],
    "`interfaces.*.bandwidth`": ["bandwidth"],
    "`interfaces.*.model`, `mtu`, `driver`": ["the model of an interface", "mtu", "queues of an interface"],
    "`graphics.*.password`, another one": ["password"],
    "`graphics.*.password`, the first one or none any more": ["the first password", "no password"],
    "`graphics`, anything else": ["graphics", "another port"],
    "`channels`": ["channel"],
    "`rng`, `shmems`": ["rng", "shared memory"],
    "`inputs` on `usb`, `redirdevs`": ["tablet", "redirection"],
    "`memballoon.stats_period`": ["period", "no period"],
    "`serials`, `sounds`, `watchdog` of the board": ["a serial port", "sound", "watchdog"],
    "`filesystems`, 9p": ["9p"],
    "`filesystems`, virtiofs": ["virtiofs without shared memory"],
}  # fmt: skip
#: What the page says outside of the table.
ELSEWHERE = {
    "no keyboard beside that of the board",
    "lease",
    "lockfailure",
    "shares that are taken out",
    "no port",
    "no channel",
}
RECREATE = "`type`, `uuid`, `os.type`, `os.arch`, another kind of `os.machine`"


def rows() -> dict[str, str]:
    table = PAGE.read_text(encoding="utf-8").partition("| change | reached |")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {row[0]: row[1] for row in cells}


def test_each_row_has_cases_that_do_what_it_says() -> None:
    found = rows()
    assert found.pop(RECREATE) == "recreate"
    assert set(found) == set(CASES)
    for change, effect in found.items():
        shown = {"live": LIVE, "next boot": WAITS}[effect]
        assert [name for name in CASES[change] if name not in shown] == [], change


def test_each_case_is_on_the_page() -> None:
    named = {name for names in CASES.values() for name in names}
    assert set(LIVE) | set(WAITS) == named | ELSEWHERE


def test_what_needs_another_domain_is_named() -> None:
    named = set(re.findall(r"`([a-z.]+)`", RECREATE)) - {"os.machine"}
    assert {name for name, leaf in BY_NAME.items() if leaf.effect == "recreate"} == named
