# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The connection to libvirt: opened once, closed always, every error translated.

Only the files in this folder import libvirt; they hand out plain data.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import traceback
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibraryMissing, LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import require_lxml

try:
    import libvirt

    LIBVIRT_TRACE: str | None = None
except ImportError:
    LIBVIRT_TRACE = traceback.format_exc()


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
    # Without this the library prints each error to stderr, beside the one we report.
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    advice = "Is the libvirt daemon running, and may this user use it? The role hypervisor.kvm.kvm_host sets both up."
    with translated(f"Cannot connect to libvirt at {uri}", advice):
        connection = libvirt.open(uri)
    try:
        yield connection
    finally:
        connection.close()


def is_code(error: LibvirtError, *names: str) -> bool:
    """Whether the error is one of libvirt's, by name (``VIR_ERR_NO_DOMAIN``); names unknown to the binding are not."""
    return error.code in [getattr(libvirt, name) for name in names if hasattr(libvirt, name)]
