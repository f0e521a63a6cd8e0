# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Actions on domains: files that take their place complete, and never that of another file."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError


@contextlib.contextmanager
def made(what: str, path: str, overwrite: bool) -> t.Iterator[str]:
    """The path of a file to write, in a folder of its own beside ``path``; afterwards it is at ``path``, for its owner only.

    Whatever fails, nothing is left of it.
    """
    try:
        workshop = tempfile.mkdtemp(prefix=".kvm_domain_action.", dir=os.path.dirname(path))
    except OSError as exc:
        raise KvmError(f"{what}: cannot write beside {path}: {exc.strerror}.") from exc
    try:
        part = os.path.join(workshop, "part")
        yield part
        _publish(what, part, path, overwrite)
    except OSError as exc:
        raise KvmError(f"{what}: cannot write {path}: {exc.strerror}.") from exc
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _publish(what: str, part: str, path: str, overwrite: bool) -> None:
    descriptor = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(descriptor, os.geteuid(), os.getegid())
        os.fchmod(descriptor, 0o600)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if overwrite and not _is_other(path):
        os.replace(part, path)
    else:
        _link(what, part, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _is_other(path: str) -> bool:
    """Whether there is something that is no regular file."""
    try:
        return not stat.S_ISREG(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _link(what: str, part: str, path: str) -> None:
    """Only this fails when something is there already, whoever has put it there in the meantime."""
    try:
        os.link(part, path, follow_symlinks=False)
    except FileExistsError as exc:
        raise Busy(f"{what}: {path} exists by now, so it is left alone; choose another path.") from exc
    except OSError as exc:
        # A file system without hard links.
        if exc.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS) or os.path.lexists(path):
            raise
        os.rename(part, path)
