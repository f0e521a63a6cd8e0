# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host as libvirt sees it."""

from __future__ import annotations

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import host
from hypothesis import given
from hypothesis import strategies as st

libvirt = pytest.importorskip("libvirt")
KNOWN = ("vmx", "svm", "aes")


class Connection:
    """A libvirt that knows a few features of processors."""

    def __init__(self, code: int = 0) -> None:
        self.asked, self._code = 0, code

    def compareCPU(self, text: str, _flags: int) -> int:  # noqa: N802  # libvirt's name
        self.asked += 1
        names = [node.get("name") for node in _xml.parse(text).findall("feature")]
        if self._code or not set(names) <= set(KNOWN):
            error = libvirt.libvirtError("Unknown CPU feature")
            error.err = (
                self._code or libvirt.VIR_ERR_INTERNAL_ERROR,
                0,
                "Unknown CPU feature",
                0,
                None,
                None,
                None,
                0,
                0,
            )
            raise error
        return 0


@given(st.lists(st.sampled_from((*KNOWN, "vmxx", "AES")), min_size=1, unique=True))
def test_only_the_features_that_are_not_known_are_named(names: list[str]) -> None:
    connection = Connection()
    assert host.unknown_features(connection, names) == tuple(name for name in names if name not in KNOWN)
    # Where nothing is wrong it is asked once.
    assert connection.asked == 1 or not set(names) <= set(KNOWN)


@pytest.mark.parametrize("code", ["VIR_ERR_NO_SUPPORT", "VIR_ERR_INTERNAL_ERROR"])
def test_nothing_is_said_where_libvirt_compares_nothing(code: str) -> None:
    assert host.unknown_features(Connection(getattr(libvirt, code)), ["vmxx"]) == ()
