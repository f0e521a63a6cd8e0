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
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import wait


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


@pytest.mark.parametrize("pieces", [(b"SSH-2.0-x\r\n",), (b"SS", b"H-2.0")])
def test_a_greeting(pieces: tuple[bytes, ...]) -> None:
    with server(*pieces) as port:
        assert wait.ssh_answers("127.0.0.1", port)


@pytest.mark.parametrize("pieces", [(b"220 mail\r\n",), (b"SSH",), ()])
def test_no_greeting(pieces: tuple[bytes, ...]) -> None:
    with server(*pieces) as port:
        assert not wait.ssh_answers("127.0.0.1", port)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert not wait.ssh_answers("127.0.0.1", port)
