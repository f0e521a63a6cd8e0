# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mounts of images: the kernel's list of mounts."""

from __future__ import annotations

from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount import mountinfo
from hypothesis import given
from hypothesis import strategies as st

TEXT = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
23 22 0:20 / /proc rw,nosuid shared:12 master:3 - proc proc rw
40 22 7:0 / /mnt/a\040b ro,nosuid,nodev - ext4 /dev/loop0 rw
41 40 0:6 / /mnt/a\040b/dev rw - devtmpfs devtmpfs rw
42 41 0:21 / /mnt/a\040b/dev/pts rw - devpts devpts rw
43 40 0:22 / /mnt/a\040b/proc rw - proc none rw
44 22 7:1 / /mnt/a\040bc rw - xfs /dev/loop1 ro
45 22 7:2 /sub /mnt/a\040b rw - btrfs /dev/loop2 rw
"""


def test_lines_are_read() -> None:
    entries = mountinfo.parse(TEXT)
    assert len(entries) == 8
    assert entries[2].point == "/mnt/a b"
    assert entries[2].options == ("ro", "nosuid", "nodev")
    assert (entries[2].kind, entries[2].source, entries[2].device) == ("ext4", "/dev/loop0", "7:0")
    assert [entry.read_only for entry in entries] == [False, False, True, False, False, False, True, False]


def test_the_topmost_counts() -> None:
    entries = mountinfo.parse(TEXT)
    found = mountinfo.at(entries, "/mnt/a b")
    assert found is not None
    assert (found.id, found.root) == (45, "/sub")
    assert mountinfo.at(entries, "/mnt") is None


def test_what_is_beneath_comes_in_an_order_in_which_it_can_go() -> None:
    found = [entry.point for entry in mountinfo.beneath(mountinfo.parse(TEXT), "/mnt/a b")]
    assert found == ["/mnt/a b/dev/pts", "/mnt/a b/proc", "/mnt/a b/dev"]


def test_the_real_one_is_read() -> None:
    found = mountinfo.at(mountinfo.read(), "/proc")
    assert found is not None
    assert found.kind == "proc"
    assert mountinfo.read(1 << 30) == []


@given(st.text(alphabet=" -\\012/a:,\n", max_size=80))
def test_no_line_is_too_strange(text: str) -> None:
    mountinfo.parse(text)
