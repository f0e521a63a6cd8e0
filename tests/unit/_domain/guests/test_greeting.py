# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: an SSH server is known by its greeting. With real sockets on the loopback device."""

from __future__ import annotations

import contextlib
import socket
import threading
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests import greeting


@contextlib.contextmanager
def server(*pieces: bytes) -> t.Iterator[int]:
    """A server that says these pieces to one client, one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                client, _address = listening.accept()
                with client:
                    for piece in pieces:
                        client.sendall(piece)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(timeout=10)


@pytest.mark.parametrize("pieces", [(b"SSH-2.0-x\r\n",), (b"SS", b"H-2.0"), (b"Welcome\r\n", b"SSH-2.0-x\r\n")])
def test_a_greeting(pieces: tuple[bytes, ...]) -> None:
    with server(*pieces) as port:
        assert greeting.why_no_ssh("127.0.0.1", port) is None


@pytest.mark.parametrize("pieces", [(b"220 mail\r\n",), (b"SSH",), (b"x" * 10000,), (b"no SSH-2.0\r\n",)])
def test_no_greeting(pieces: tuple[bytes, ...]) -> None:
    with server(*pieces) as port:
        why = greeting.why_no_ssh("127.0.0.1", port)
        # One that has not read what it was sent is reset.
        assert why in (
            f"127.0.0.1:{port} answers, but not as an SSH server",
            f"127.0.0.1:{port}: connection reset by peer",
        )


def test_one_who_ends_at_once() -> None:
    with server() as port:
        assert greeting.why_no_ssh("127.0.0.1", port) == f"127.0.0.1:{port} takes connections, but says nothing"


def test_one_who_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greeting, "_GREETING", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert greeting.why_no_ssh("127.0.0.1", port) == f"127.0.0.1:{port} takes connections, but says nothing"


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert greeting.why_no_ssh("127.0.0.1", port) == f"127.0.0.1:{port}: connection refused"


def test_a_name_that_nobody_knows() -> None:
    assert "nobody.invalid:22: " in str(greeting.why_no_ssh("nobody.invalid", 22))
