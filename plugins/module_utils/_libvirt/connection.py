# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The connection to libvirt: opened once, closed always, every error translated.

Only the files in this folder import libvirt; they hand out plain data. A connection outlives the daemon: guests run on
while libvirtd is restarted, and so do tasks. A call that was cut off may have been done or not; so only calls that look
first, or that can be made twice, are ``steady``: they are made again as a whole, with a new look at the domain.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
import threading
import time
import traceback
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibraryMissing, LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import require_lxml

try:
    import libvirt

    LIBVIRT_TRACE: str | None = None
except ImportError:
    LIBVIRT_TRACE = traceback.format_exc()

#: Seconds for which a daemon that went away is waited for, for which one that is not there at first, and between two tries.
PATIENCE = 60
_SETTLE = 5
_PAUSE = 0.25
#: How often a call is made at most. libvirt itself waits 30 s for a domain that something else is done with.
_TRIES = 4

CallT = t.TypeVar("CallT", bound=t.Callable[..., t.Any])


def require_libvirt() -> None:
    """Raises LibraryMissing when the libvirt binding cannot be imported."""
    if LIBVIRT_TRACE is not None:
        raise LibraryMissing("libvirt", "python3-libvirt", LIBVIRT_TRACE)


def _sentence(text: str) -> str:
    text = text.strip().rstrip(".")
    return text + "."


@contextlib.contextmanager
def translated(what: str, advice: str = "") -> t.Iterator[None]:
    """Turns libvirt's errors into ours: ``what`` names object and action ("Cannot start network lan")."""
    require_libvirt()
    try:
        yield
    except libvirt.libvirtError as exc:
        message = exc.get_error_message() or str(exc)
        raise LibvirtError(
            f"{what}: {_sentence(message)}{' ' + advice if advice else ''}",
            libvirt_code=exc.get_error_code() or 0,
            libvirt_domain=exc.get_error_domain() or 0,
            libvirt_message=message,
        ) from exc


def nothing_here_yet(uri: str) -> bool:
    """Whether this is a machine before its first run: no binding, or no daemon program for a connection to itself.

    Check mode predicts for such a machine from "nothing exists" instead of failing for what an earlier task of the
    same play would have installed.
    """
    if LIBVIRT_TRACE is not None:
        return True
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    local = uri.partition("://")[2].startswith("/")
    return local and not any(shutil.which(daemon, path=path) for daemon in ("libvirtd", "virtqemud"))


def another(uri: str) -> t.Any:
    """A connection of one's own, for who closes it: for threads whose questions may take long."""
    # Without this the library prints each error to stderr, beside the one we report.
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    advice = "Is the libvirt daemon running, and may this user use it? The role hypervisor.kvm.kvm_host sets both up."
    with translated(f"Cannot connect to libvirt at {uri}", advice):
        return _open(uri)


def is_alive(connection: t.Any) -> bool:
    """Whether the daemon is still at the other end."""
    try:
        with translated("Cannot ask for the connection"):
            return bool(connection.isAlive())
    except LibvirtError:
        return False


def _open(uri: str) -> t.Any:
    """Opens it; a daemon that is just being restarted has a moment to be there."""
    deadline = time.monotonic() + _SETTLE
    while True:
        try:
            return libvirt.open(uri)
        except libvirt.libvirtError as exc:
            # Its first number is the errno of what failed.
            if exc.get_int1() not in (errno.ECONNREFUSED, errno.ENOENT) or time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE)


@contextlib.contextmanager
def connect(uri: str, predict: bool = False) -> t.Iterator[t.Any]:
    """A read-write connection (``virConnect``) to ``uri``; raises LibvirtError when the daemon does not answer.

    With ``predict`` (check mode) it is None on a machine that has no libvirt yet: then nothing exists.
    """
    if predict and nothing_here_yet(uri):
        yield None
        return
    require_libvirt()
    require_lxml()
    connection = Link(uri, another(uri))
    try:
        yield connection
    finally:
        connection.close()


def is_code(error: LibvirtError, *names: str) -> bool:
    """Whether the error is one of libvirt's, by name (``VIR_ERR_NO_DOMAIN``); names unknown to the binding are not."""
    return error.code in [getattr(libvirt, name) for name in names if hasattr(libvirt, name)]


def is_unknown(error: LibvirtError) -> bool:
    """Whether the hypervisor says that it does not have such a call or filter."""
    return is_code(error, "VIR_ERR_NO_SUPPORT", "VIR_ERR_OPERATION_UNSUPPORTED", "VIR_ERR_INVALID_ARG")


class Link:
    """Like the ``virConnect`` in it, which is replaced when it has broken."""

    def __init__(self, uri: str, raw: t.Any) -> None:
        self._uri = uri
        self._raw = raw
        self._lock = threading.Lock()
        #: Which connection it is by now; threads that saw the same one break make one new one.
        self.generation = 0

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self._raw, name)

    def broken(self, generation: int) -> bool:
        """Whether the connection of that generation has broken (and has perhaps been replaced already)."""
        if generation != self.generation:
            return True
        try:
            return not self._raw.isAlive()
        except libvirt.libvirtError:
            return True

    def renew(self, generation: int) -> None:
        """A new connection in the place of that one; raises LibvirtError when the daemon stays away."""
        with self._lock:
            if generation != self.generation:
                return
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    advice = f"It went away during the task, and was not back after {PATIENCE} s; start it and run the task again."
                    with translated(f"Cannot connect to libvirt at {self._uri}", advice):
                        raw = libvirt.open(self._uri)
                    break
                except LibvirtError:
                    if time.monotonic() >= deadline:
                        raise
                    time.sleep(_PAUSE)
            # The broken one is not closed: another thread may be in a call of it. It ends with its last reference.
            self._raw, self.generation = raw, self.generation + 1


def steady(call: CallT) -> CallT:
    """A call whose first argument is the connection, made again when the connection broke or the domain was locked."""

    @functools.wraps(call)
    def again(connection: t.Any, *args: t.Any, **options: t.Any) -> t.Any:
        for left in reversed(range(_TRIES)):
            generation = getattr(connection, "generation", None)
            try:
                return call(connection, *args, **options)
            except LibvirtError as exc:
                broken = generation is not None and connection.broken(generation)
                # "cannot acquire state change lock": something else is done with the domain, for a time.
                if not left or not (broken or is_code(exc, "VIR_ERR_OPERATION_TIMEOUT")):
                    raise
            if broken:
                connection.renew(generation)
        return None

    return t.cast("CallT", again)
