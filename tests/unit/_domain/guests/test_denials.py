# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: denials of AppArmor and SELinux are found by profile, label or process, and only those of the domain."""

from __future__ import annotations

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests import denials

UUID = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"
LABEL = "system_u:system_r:svirt_t:s0:c1,c2"
NOW = 1_700_000_050.0
ARMOR = (
    'audit: type=1400 audit(1700000000.123:45): apparmor="DENIED" operation="open" class="file" profile="libvirt-{uuid}"'
    ' name="/srv/a.qcow2" pid=77 comm="qemu-system-x86" requested_mask="r" denied_mask="r"'
)
AVC = (
    'type=AVC msg=audit(1700000000.123:46): avc:  denied  {{ read }} for  pid=77 comm="qemu-kvm" name="a.qcow2"'
    " scontext={label} tcontext=system_u:object_r:user_home_t:s0 tclass=file permissive=0"
)


def found(*lines: str, labels: frozenset[str] = frozenset(), pid: int | None = None) -> list[str]:
    return denials.choose(lines, UUID, labels, pid, NOW)


def test_a_profile() -> None:
    line = ARMOR.format(uuid=UUID)
    assert found(f"[ 12.3] {line}", ARMOR.format(uuid=OTHER)) == [line.partition("type=1400 ")[2]]
    assert found(line.replace(UUID, UUID + "//qemu_bridge_helper"))
    assert not found(line.replace(UUID, UUID + "0"))
    assert not found(line.replace("DENIED", "ALLOWED"))


def test_the_same_event_in_two_logs_is_one() -> None:
    line = ARMOR.format(uuid=UUID)
    assert len(found(f"kernel: {line}", "type=AVC msg=" + line.partition("type=1400 ")[2])) == 1
    assert len(found(line, line.replace(":45)", ":46)"))) == 2


def test_a_label() -> None:
    mine, others = AVC.format(label=LABEL), AVC.format(label=LABEL + "3")
    assert found(mine, others, labels=frozenset({LABEL})) == [mine.partition("msg=")[2]]
    assert not found(mine.replace("denied", "granted"), labels=frozenset({LABEL}))


def test_a_process() -> None:
    line = AVC.format(label="system_u:system_r:svirt_tcg_t:s0:c5,c6")
    assert found(line, pid=77)
    assert not found(line, pid=7)
    assert not found(line.replace("svirt_tcg_t", "httpd_t"), pid=77)


@pytest.mark.parametrize(("age", "there"), [(10, True), (1000, False)])
def test_a_domain_without_a_label_has_those_of_the_last_moment(age: int, there: bool) -> None:
    line = AVC.format(label=LABEL).replace("1700000000", str(int(NOW) - age))
    assert bool(found(line)) == there


def test_only_the_last_ones() -> None:
    lines = [ARMOR.format(uuid=UUID).replace(":45)", f":{number})") for number in range(100)]
    assert len(found(*lines)) == 20
    assert ":99)" in found(*lines)[-1]


def test_no_denials() -> None:
    assert found("", "audit: something else", "denied") == []
    assert denials.read("") == denials.read(OTHER) == []
