# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Networks: a network that is started again waits for the server that has just been told to end."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import networks
from ansible_collections.hypervisor.kvm.plugins.module_utils._net import apply
from ansible_collections.hypervisor.kvm.plugins.module_utils._net.compare import NetworkPlan

USED = "Cannot start network lan: dnsmasq: failed to create listening socket for 10.0.0.1: Address already in use"


@pytest.mark.parametrize(
    ("stop", "message", "fails", "tries"),
    [(True, USED, 2, 3), (False, USED, 1, 1), (True, "Cannot start network lan: no", 1, 1), (True, USED, 99, None)],
    ids=["released", "somebody else's", "another error", "never released"],
)
def test_a_network_starts_when_its_own_address_is_free(
    monkeypatch: pytest.MonkeyPatch, stop: bool, message: str, fails: int, tries: int | None
) -> None:
    tried: list[str] = []
    clock = [0.0]

    def start(_connection: t.Any, name: str) -> None:
        tried.append(name)
        if len(tried) <= fails:
            raise LibvirtError(message)

    monkeypatch.setattr(networks, "start", start)
    monkeypatch.setattr(networks, "stop", lambda _connection, _name: None)
    monkeypatch.setattr(apply, "taps", lambda _connection, _name: [])
    monkeypatch.setattr(apply.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(apply.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    changes = ChangeSet("lan", NetworkPlan(stop=stop, start=True))
    if tries is not None and len(range(fails)) < tries:
        apply.apply(None, changes)
    else:
        with pytest.raises(LibvirtError, match="Cannot start"):
            apply.apply(None, changes)
    assert tries in (None, len(tried))
    assert clock[0] <= 10.25
