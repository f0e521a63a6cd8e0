# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: what a running domain's document says of its guest."""

from __future__ import annotations

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.view import View, view

DOCUMENT = """<domain type='qemu' id='7'><name>a</name><uuid>11111111-2222-3333-4444-555555555555</uuid><devices>
<interface type='network'><mac address='52:54:00:AA:00:01'/></interface>
<interface type='user'/>
{devices}
</devices><seclabel type='dynamic' model='selinux'><label>system_u:system_r:svirt_t:s0:c1,c2</label></seclabel>
<seclabel type='dynamic' model='dac'/></domain>"""
CHANNEL = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'{state}/></channel>"


def look(devices: str = "") -> View:
    return view(DOCUMENT.format(devices=devices))


def test_who_it_is() -> None:
    seen = look()
    assert (seen.id, seen.uuid) == ("7", "11111111-2222-3333-4444-555555555555")
    assert seen.macs == {"52:54:00:aa:00:01"}
    assert seen.labels == {"system_u:system_r:svirt_t:s0:c1,c2"}
    assert view(None) == View()


@pytest.mark.parametrize(
    ("devices", "state"),
    [
        ("", None),
        ("<channel type='unix'><target type='virtio' name='other' state='connected'/></channel>", None),
        ("<channel type='unix'><target type='guestfwd' address='10.0.2.1' port='4600'/></channel>", None),
        (CHANNEL.format(state=" state='connected'"), "connected"),
        (CHANNEL.format(state=" state='disconnected'"), "disconnected"),
        (CHANNEL.format(state=""), "unknown"),
    ],
)
def test_the_agent(devices: str, state: str | None) -> None:
    assert look(devices).agent == state


@pytest.mark.parametrize(
    ("devices", "console"),
    [
        ("", (None, False, False)),
        ("<serial type='pty'/>", (None, False, True)),
        ("<serial type='file'><source path='/a'/></serial>", ("/a", False, False)),
        ("<serial type='file'><source path='/a' append='on'/></serial>", ("/a", True, False)),
        ("<serial type='pty'><source path='/dev/pts/1'/><log file='/b' append='off'/></serial>", ("/b", False, True)),
        ("<serial type='file'><source path='/a'/><log file='/b' append='on'/></serial>", ("/b", True, False)),
        (
            "<serial type='unix'><source path='/s'/></serial><serial type='file'><source path='/c'/></serial>",
            ("/c", False, False),
        ),
        ("<console type='pty'><log file='/d'/><target type='virtio'/></console>", ("/d", False, True)),
    ],
)
def test_the_console(devices: str, console: tuple[str | None, bool, bool]) -> None:
    seen = look(devices)
    assert (seen.console, seen.appends, seen.pty) == console
