# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: files below an open folder are changed, and nothing outside of it can be, whatever links are there.

Each folder is opened by a call that follows no link and leaves neither the folder nor its file system; in it, only plain
names are used, by calls that follow none either. A file is replaced by a complete new one, by rename.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Edit
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import kernel

_CHUNK = 1 << 20
_REASONS = {
    errno.ELOOP: "a symbolic link is in its way",
    errno.EXDEV: "its path leads out of the file system",
    errno.ENOTDIR: "what should be a folder in its path is none",
    errno.ENOENT: "its folder is not there",
    errno.EISDIR: "it is a folder there",
    errno.EEXIST: "something else stands there",
    errno.ENOSPC: "the file system is full",
    errno.EDQUOT: "the quota of its owner is used up",
}


def apply(root: int, edits: t.Sequence[Edit], what: str) -> None:
    """Makes the changes below the open folder ``root``, in order; raises KvmError, which calls the tree ``what``."""
    for edit in edits:
        try:
            folder, name = _opened(root, edit.path)
            try:
                _ACTIONS[edit.action](folder, name, edit)
            finally:
                os.close(folder)
        except OSError as exc:
            if edit.action == "remove" and exc.errno == errno.ENOENT:
                continue
            reason = _REASONS.get(exc.errno or 0, exc.strerror or str(exc))
            raise KvmError(f"{what}: {edit.path!r} in it cannot be changed: {reason}.") from exc


def _opened(root: int, path: str) -> tuple[int, bytes]:
    """The folder of ``path``, opened, and the name in it."""
    parts = [part for part in path.encode("utf-8", "surrogateescape").split(b"/") if part]
    if not parts or b"\0" in b"".join(parts) or any(part in (b".", b"..") for part in parts):
        raise KvmError(f"{path!r} is no path of a file in an image.")
    folder = b"/".join(parts[:-1]) or b"."
    return kernel.open_beneath(root, folder, os.O_RDONLY | os.O_DIRECTORY), parts[-1]


def _write(folder: int, name: bytes, edit: Edit) -> None:
    _check_replaceable(folder, name)
    temporary = _temporary()
    fd = kernel.open_beneath(folder, temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        try:
            _fill(fd, edit)
            _adorn(fd, edit)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        _forget(folder, temporary)
        raise


def _fill(fd: int, edit: Edit) -> None:
    if edit.source is None:
        _write_all(fd, edit.content or b"")
        return
    source = os.open(edit.source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while True:
            data = os.read(source, _CHUNK)
            if not data:
                return
            _write_all(fd, data)
    finally:
        os.close(source)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _adorn(fd: int, edit: Edit) -> None:
    # The kernel takes capabilities away with a change of owner, and bits of an ACL with a change of mode: this order.
    os.fchown(fd, edit.owner, edit.group)
    os.fchmod(fd, edit.mode)
    for attribute, value in edit.xattrs:
        os.setxattr(fd, attribute, value)


def _mkdir(folder: int, name: bytes, edit: Edit) -> None:
    made = True
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        made = False
    fd = kernel.open_beneath(folder, name, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if made:
            _adorn(fd, edit)
    finally:
        os.close(fd)


def _symlink(folder: int, name: bytes, edit: Edit) -> None:
    _check_replaceable(folder, name)
    temporary = _temporary()
    os.symlink((edit.target or "").encode("utf-8", "surrogateescape"), temporary, dir_fd=folder)
    try:
        os.chown(temporary, edit.owner, edit.group, dir_fd=folder, follow_symlinks=False)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        _forget(folder, temporary)
        raise


def _chmod(folder: int, name: bytes, edit: Edit) -> None:
    # Opening must not wait for the other end of a pipe.
    fd = kernel.open_beneath(folder, name, os.O_RDONLY | os.O_NONBLOCK)
    try:
        # A change of owner takes bits of the mode away: this order.
        os.fchown(fd, edit.owner, edit.group)
        os.fchmod(fd, edit.mode)
    finally:
        os.close(fd)


def _remove(folder: int, name: bytes, _edit: Edit) -> None:
    if _check_replaceable(folder, name):
        os.unlink(name, dir_fd=folder)


_ACTIONS: dict[str, t.Callable[[int, bytes, Edit], None]] = {
    "write": _write,
    "mkdir": _mkdir,
    "symlink": _symlink,
    "chmod": _chmod,
    "remove": _remove,
}


def _check_replaceable(folder: int, name: bytes) -> bool:
    """Whether a file or link is there; raises OSError when something else is."""
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
        return True
    number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EEXIST
    raise OSError(number, os.strerror(number))


def _temporary() -> bytes:
    # A name that nobody in the image could have prepared.
    return f".kvm_image.{secrets.token_hex(8)}".encode()


def _forget(folder: int, name: bytes) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=folder)
