# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Consoles of running domains that have no log: listened to, never typed into, and never taken from somebody else.

Several streams on one connection need libvirt's event loop: a thread that waits in a stream otherwise keeps the answers of
the others from them. So there is a connection and a thread for the loop here, for as long as somebody listens.
"""

from __future__ import annotations

import contextlib
import threading
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import is_code, translated

try:
    import libvirt
except ImportError:
    # connection.require_libvirt() reports it before anything here is called.
    libvirt = None

_TURN = 200
_MOST = 64 * 1024
#: What is said of a console, called in the thread of the loop: its name and what came.
Hear = t.Callable[[str, bytes], None]

_registered = False


class Ears:
    """Listens to consoles. ``hear`` gets what comes; a console that ends, or that somebody takes by force, is let go."""

    def __init__(self, uri: str, hear: Hear) -> None:
        self._hear = hear
        self._streams: dict[str, t.Any] = {}
        self._lock = threading.Lock()
        self._ending = False
        _register()
        with translated(f"Cannot connect to libvirt at {uri}"):
            self._connection = libvirt.open(uri)
            # So that the loop looks up now and then.
            self._timer = libvirt.virEventAddTimeout(_TURN, lambda _timer, _opaque: None, None)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ending:
            libvirt.virEventRunDefaultImpl()

    def listens(self, name: str) -> bool:
        """Whether that domain's console is open here."""
        with self._lock:
            return name in self._streams

    def open(self, name: str) -> None:
        """Opens the console; raises LibvirtError when there is none to listen to, or somebody else has it."""
        with translated(f"Cannot listen to the console of domain {name}"):
            stream = self._connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
            domain = self._connection.lookupByName(name)
            # Never by force: that would end somebody's session.
            domain.openConsole(None, stream, 0)
            with self._lock:
                self._streams[name] = stream
            kinds = ("READABLE", "ERROR", "HANGUP")
            events = sum(int(getattr(libvirt, f"VIR_STREAM_EVENT_{kind}")) for kind in kinds)
            stream.eventAddCallback(events, self._event, name)

    def _event(self, stream: t.Any, _events: int, name: str) -> None:
        try:
            data = stream.recv(_MOST)
        except libvirt.libvirtError:
            data = b""
        if isinstance(data, bytes) and data:
            self._hear(name, data)
        elif isinstance(data, bytes) or data == -1:
            self._let_go(name)

    def _let_go(self, name: str) -> None:
        with self._lock:
            stream = self._streams.pop(name, None)
        if stream is None:
            return
        for step in (stream.eventRemoveCallback, stream.abort):
            # Of one that has ended already nothing is left to be undone.
            with contextlib.suppress(libvirt.libvirtError):
                step()

    def close(self) -> None:
        """Lets go of all consoles, and ends."""
        with self._lock:
            names = list(self._streams)
        for name in names:
            self._let_go(name)
        self._ending = True
        self._thread.join(timeout=5)
        with contextlib.suppress(libvirt.libvirtError):
            libvirt.virEventRemoveTimeout(self._timer)
            self._connection.close()


def _register() -> None:
    """The loop is one for the whole process, and only connections that are opened later use it."""
    global _registered  # noqa: PLW0603
    if not _registered:
        with translated("Cannot use libvirt's event loop"):
            libvirt.virEventRegisterDefaultImpl()
        _registered = True


def is_for_now(error: LibvirtError) -> bool:
    """Whether another try may help: somebody else has the console open (libvirt has no code for that alone), or the domain
    is just not running."""
    return is_code(error, "VIR_ERR_OPERATION_FAILED", "VIR_ERR_OPERATION_INVALID", "VIR_ERR_NO_DOMAIN")
