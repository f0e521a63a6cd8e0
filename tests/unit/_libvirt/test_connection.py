# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The connection to libvirt when the daemon goes away, on a stand-in for the library."""

from __future__ import annotations

import errno
import types
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import connection

LOCKED, OTHER = 68, 1


class Error(Exception):
    """libvirt.libvirtError, as far as it is used."""

    def __init__(self, code: int = OTHER, number: int = 0) -> None:
        super().__init__("it failed")
        self.code, self.number = code, number

    def get_error_message(self) -> str:
        return "it failed"

    def get_error_code(self) -> int:
        return self.code

    def get_error_domain(self) -> int:
        return 0

    def get_int1(self) -> int:
        return self.number


class Raw:
    def __init__(self, number: int) -> None:
        self.number, self.alive = number, True

    def isAlive(self) -> bool:  # noqa: N802  # libvirt's name
        return self.alive

    def close(self) -> None:
        self.alive = False


class Library(types.SimpleNamespace):
    """The library: each ``open`` gives the next connection, or fails as long as ``away`` says."""

    def __init__(self) -> None:
        super().__init__(libvirtError=Error, VIR_ERR_OPERATION_TIMEOUT=LOCKED)
        self.opened: list[Raw] = []
        self.away = 0
        self.number = errno.ECONNREFUSED

    def open(self, _uri: str) -> Raw:
        if self.away:
            self.away -= 1
            raise Error(38, self.number)
        self.opened.append(Raw(len(self.opened)))
        return self.opened[-1]

    def registerErrorHandler(self, *_arguments: t.Any) -> None:  # noqa: N802  # libvirt's name
        pass


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    library = Library()
    monkeypatch.setattr(connection, "libvirt", library, raising=False)
    monkeypatch.setattr(connection, "LIBVIRT_TRACE", None)
    monkeypatch.setattr(connection, "_PAUSE", 0)
    return library


@connection.steady
def ask(link: t.Any, script: list[t.Any]) -> int:
    """A call that does what the next entry of its script says: None works, an error fails, "lost" breaks the connection."""
    with connection.translated("Cannot ask"):
        entry = script.pop(0) if script else None
        if entry == "lost":
            link.close()
            raise Error
        if entry is not None:
            raise entry
        return int(link.number)


def test_a_call_is_made_again_on_a_new_connection(library: Library) -> None:
    with connection.connect("qemu:///system") as link:
        assert ask(link, []) == 0
        library.away = 3
        assert ask(link, ["lost"]) == 1
        assert ask(link, ["lost", "lost"]) == 3
        assert link.generation == 3
    assert not library.opened[-1].alive


@pytest.mark.usefixtures("library")
def test_other_errors_are_not_tried_again() -> None:
    with connection.connect("qemu:///system") as link:
        script = [Error(), None]
        with pytest.raises(LibvirtError, match="Cannot ask: it failed"):
            ask(link, script)
        assert script == [None]


def test_a_domain_that_something_else_is_done_with_is_asked_again(library: Library) -> None:
    with connection.connect("qemu:///system") as link:
        assert ask(link, [Error(LOCKED), Error(LOCKED)]) == 0
        with pytest.raises(LibvirtError):
            ask(link, [Error(LOCKED)] * 9)
        assert len(library.opened) == 1


def test_a_daemon_that_stays_away_is_said(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0)
    with connection.connect("qemu:///system") as link:
        library.away = 1
        with pytest.raises(LibvirtError, match="It went away during the task"):
            ask(link, ["lost"])


def test_two_threads_that_saw_it_break_make_one_new_connection(library: Library) -> None:
    with connection.connect("qemu:///system") as link:
        before = link.generation
        link.close()
        assert link.broken(before)
        link.renew(before)
        # The second one comes later, with what it saw.
        assert link.broken(before)
        link.renew(before)
        assert not link.broken(link.generation)
        assert len(library.opened) == 2


def test_a_daemon_that_is_just_being_restarted_has_a_moment(library: Library) -> None:
    library.away = 5
    with connection.connect("qemu:///system") as link:
        assert link.number == 0


@pytest.mark.parametrize("number", [errno.EACCES, 0])
def test_what_a_moment_does_not_help_fails_at_once(library: Library, number: int) -> None:
    library.away, library.number = 5, number
    with pytest.raises(LibvirtError, match="Cannot connect to libvirt"), connection.connect("qemu:///system"):
        pass
    assert library.away == 4


@pytest.mark.usefixtures("library")
def test_a_plain_connection_is_no_link() -> None:
    raw = Raw(7)
    assert ask(raw, []) == 7
    with pytest.raises(LibvirtError):
        ask(raw, ["lost"])
