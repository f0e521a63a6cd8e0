# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the errors of old and new versions of libvirt mean when a running domain does not take a change."""

from __future__ import annotations

import types

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import connection, refusals

_NO_COMMAND = "unable to execute QEMU agent command 'guest-get-vcpus': The command was not found"
_CODES = {
    "VIR_ERR_INTERNAL_ERROR": 1,
    "VIR_ERR_NO_MEMORY": 2,
    "VIR_ERR_OPERATION_FAILED": 9,
    "VIR_ERR_OPERATION_TIMEOUT": 68,
    "VIR_ERR_AGENT_UNRESPONSIVE": 86,
}
_NEWER = {"VIR_ERR_AGENT_COMMAND_TIMEOUT": 112, "VIR_ERR_AGENT_COMMAND_FAILED": 113}


def refused(code: int, message: str) -> LibvirtError:
    return LibvirtError("It cannot be changed.", libvirt_code=code, libvirt_domain=10, libvirt_message=message)


@pytest.mark.parametrize(
    ("codes", "code", "message", "is_refusal", "is_passing"),
    [
        (_CODES, 1, _NO_COMMAND, True, True),
        ({**_CODES, **_NEWER}, 113, f"guest agent command failed: {_NO_COMMAND}", True, True),
        ({**_CODES, **_NEWER}, 112, "guest didn't respond to synchronization within '5' seconds", True, True),
        (_CODES, 86, "QEMU guest agent is not connected", True, True),
        (_CODES, 68, "cannot acquire state change lock (held by monitor=remoteDispatchDomainBlockCommit)", False, True),
        (_CODES, 1, "unexpected failure", False, False),
        (_CODES, 2, "out of memory", False, False),
        # A number that this version has no name for.
        (_CODES, 113, "something new", False, False),
    ],
)
def test_what_an_error_means(
    monkeypatch: pytest.MonkeyPatch, codes: dict[str, int], code: int, message: str, is_refusal: bool, is_passing: bool
) -> None:
    monkeypatch.setattr(connection, "libvirt", types.SimpleNamespace(**codes), raising=False)
    error = refused(code, message)
    assert refusals.is_refusal(error) is is_refusal
    assert refusals.is_passing(error) is is_passing
