# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many domains of a hypervisor that has no statistics (as that of containers), on a stand-in for the library."""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import connection, many

NO_SUPPORT, NO_DOMAIN, OTHER = 3, 42, 1


class Error(Exception):
    """libvirt.libvirtError, as far as it is used."""

    def __init__(self, code: int) -> None:
        super().__init__("not supported")
        self.code = code

    def get_error_message(self) -> str:
        return "not supported"

    def get_error_code(self) -> int:
        return self.code

    def get_error_domain(self) -> int:
        return 0


class Domain:
    def __init__(self, name: str, code: int | None = None) -> None:
        self._name, self._code = name, code

    def name(self) -> str:
        return self._name

    def state(self) -> list[int]:
        if self._code is not None:
            raise Error(self._code)
        return [1, 2]

    def info(self) -> list[int]:
        return [1, 2048, 1024, 3, 5_000_000_000]


class Containers:
    """A connection to a hypervisor without statistics; ``code`` is its error."""

    def __init__(self, *domains: Domain, code: int = NO_SUPPORT) -> None:
        self.domains, self.code = domains, code

    def listAllDomains(self, _flags: int) -> list[Domain]:  # noqa: N802  # libvirt's name
        return list(self.domains)

    def getAllDomainStats(self, *_arguments: t.Any) -> t.Any:  # noqa: N802  # libvirt's name
        raise Error(self.code)

    def domainListGetStats(self, *_arguments: t.Any) -> t.Any:  # noqa: N802  # libvirt's name
        raise Error(self.code)


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = types.SimpleNamespace(
        libvirtError=Error, VIR_ERR_NO_SUPPORT=NO_SUPPORT, VIR_ERR_NO_DOMAIN=NO_DOMAIN, VIR_DOMAIN_STATS_STATE=1
    )
    for module in (connection, many):
        monkeypatch.setattr(module, "libvirt", stand_in, raising=False)
    monkeypatch.setattr(connection, "LIBVIRT_TRACE", None)


def test_each_is_asked_for_what_every_hypervisor_knows() -> None:
    link = Containers(Domain("a"), Domain("gone", NO_DOMAIN), Domain("b"))
    known = {
        "state.state": 1,
        "state.reason": 2,
        "cpu.time": 5_000_000_000,
        "balloon.current": 1024,
        "balloon.maximum": 2048,
    }
    assert many.stats(link, "STATE") == {"a": known, "b": known}
    assert many.stats(link, "STATE", names={"b"}) == {"b": known}


def test_the_states_of_many_are_those_of_each() -> None:
    link = Containers(*map(Domain, "abcdef"))
    expected = {**dict.fromkeys("abcdef", many.state_words(1, 2)), "none": ("absent", "gone")}
    assert many.states(link, [*"abcdef", "none"]) == expected


def test_other_errors_are_not_taken_for_that() -> None:
    for broken in (Containers(Domain("a"), code=OTHER), Containers(Domain("a", OTHER))):
        with pytest.raises(LibvirtError, match="not supported"):
            many.stats(broken, "STATE", names={"a"})
