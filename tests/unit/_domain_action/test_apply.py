# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Actions on domains: a reboot is one only when the machine began anew."""

from __future__ import annotations

import contextlib
import threading
import types
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain_action import apply
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain_action.spec import parse
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError


def _host(monkeypatch: pytest.MonkeyPatch, found: tuple[str, str], begins: bool, document: str = "<domain/>") -> None:
    """A guest that is found so, and has begun anew by then or not."""
    event = threading.Event()

    @contextlib.contextmanager
    def reboots(_uri: str, _name: str) -> t.Iterator[threading.Event]:
        yield event

    def state(_connection: t.Any, _name: str) -> tuple[str, str]:
        if begins:
            event.set()
        return found

    monkeypatch.setattr(apply.host, "uri", lambda _connection: "test:///")
    monkeypatch.setattr(apply.actions, "reboots", reboots)
    monkeypatch.setattr(apply.actions, "reboot", lambda *_arguments: None)
    monkeypatch.setattr(apply.domains, "state", state)
    raw = types.SimpleNamespace(running_xml=document)
    monkeypatch.setattr(apply.domains, "read", lambda _connection, _name: raw)


def _run() -> dict[str, t.Any]:
    return apply.apply(None, parse({"name": "web", "action": "reboot"}), lambda _text: None)


@pytest.mark.parametrize("found", [("stopped", "shutdown"), ("absent", "gone")])
def test_a_guest_that_powers_off_did_not_reboot(monkeypatch: pytest.MonkeyPatch, found: tuple[str, str]) -> None:
    _host(monkeypatch, found, begins=False)
    with pytest.raises(KvmError, match=r"web.*powered off instead of rebooting") as failed:
        _run()
    assert failed.value.details == {"domain_state": found[0], "domain_reason": found[1]}


@pytest.mark.parametrize("found", [("running", "booted"), ("stopped", "shutdown")])
def test_a_guest_that_began_anew_did(monkeypatch: pytest.MonkeyPatch, found: tuple[str, str]) -> None:
    _host(monkeypatch, found, begins=True)
    assert _run()["forced"] is False


def test_a_domain_that_a_reboot_ends_did_what_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    _host(
        monkeypatch, ("stopped", "shutdown"), begins=False, document="<domain><on_reboot>destroy</on_reboot></domain>"
    )
    assert _run()["forced"] is False


def test_one_that_a_reboot_restarts_did_not(monkeypatch: pytest.MonkeyPatch) -> None:
    _host(
        monkeypatch, ("stopped", "shutdown"), begins=False, document="<domain><on_reboot>restart</on_reboot></domain>"
    )
    with pytest.raises(KvmError, match="powered off instead"):
        _run()
