# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: label and UUID of a file system that is not mounted, in a range of a raw file.

By the programs of each file system, in user space; the kernel reads nothing of it. Programs that cannot begin in the
middle of a file get a loop device of exactly that range.
"""

from __future__ import annotations

import contextlib
import os
import typing as t
import uuid as uuidlib

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.filesystem import LABEL_BYTES
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import RawFile, Window
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.probe import identify
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import loop, swap


class _Range(t.NamedTuple):
    """A range of an open file; ``name`` is the file for a program that gets ``fd`` passed on."""

    path: str
    fd: int
    offset: int
    size: int

    @property
    def name(self) -> str:
        # Whatever is in the path, nothing of it is taken for options (?offset=, LABEL=).
        return f"/proc/self/fd/{self.fd}"


def set_labels(
    path: str, offset: int, size: int, kind: str, label: str | None, uuid: str | None, timeout: float
) -> None:
    """Gives the file system of ``size`` bytes at ``offset`` of the raw file ``path`` a label and a UUID.

    None is left as it is, and what is there already is not set again; an empty label takes the one there away. ``kind``
    is ext2, ext3, ext4, xfs, btrfs or swap, ``timeout`` is in seconds for each program. XFS and btrfs must have no log
    to replay. Raises KvmError when it cannot be done or was not done, ToolMissing naming the package that is needed.
    """
    setter = _SETTERS.get(kind)
    if setter is None:
        raise KvmError(f"{path}: label and UUID of {kind} cannot be set; they can for {', '.join(_SETTERS)}.")
    wanted = _checked(path, kind, label, uuid)
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        there = _Range(path, fd, offset, size)
        label, uuid = _lacking(there, wanted)
        if label is None and uuid is None:
            return
        said = setter(there, label, uuid, timeout)
        os.fsync(fd)
        if _lacking(there, wanted) != (None, None):
            last = said.strip().splitlines()[-1:] or ["the program said nothing"]
            raise KvmError(f"{path}: its {kind} has not got the label or UUID: {last[0]}", stderr=said)
    finally:
        os.close(fd)


def _checked(path: str, kind: str, label: str | None, uuid: str | None) -> tuple[str | None, str | None]:
    most = LABEL_BYTES[kind]
    # Also those that a program's own little language would read as something else.
    if label is not None and (
        len(label.encode("utf-8", "replace")) > most or not label.isprintable() or set(label) & set(" \"'\\/")
    ):
        raise KvmError(f"{path}: the label {label!r} is not one of up to {most} bytes as {kind} has them.")
    if uuid is None:
        return label, None
    try:
        return label, str(uuidlib.UUID(uuid))
    except ValueError as exc:
        raise KvmError(f"{path}: '{uuid}' is no UUID.") from exc


def _lacking(there: _Range, wanted: tuple[str | None, str | None]) -> tuple[str | None, str | None]:
    """What of the wanted label and UUID the file system does not have."""
    raw = RawFile(there.fd)
    found = identify(Window(raw, there.offset, min(there.size, max(0, raw.size - there.offset))))
    label, uuid = wanted
    if found is not None and label is not None and label == (found.label or ""):
        label = None
    if found is not None and uuid is not None and uuid == found.uuid:
        uuid = None
    return label, uuid


def _ext(there: _Range, label: str | None, uuid: str | None, timeout: float) -> str:
    argv = [_command.find("tune2fs", "e2fsprogs")]
    argv += ([] if label is None else ["-L", label]) + ([] if uuid is None else ["-U", uuid])
    # All checksums depend on the UUID, so tune2fs wants to know that they are right.
    check = [_command.find("e2fsck", "e2fsprogs"), "-f", "-p"]
    what = f"The file system of {there.path} is damaged; repair it with e2fsck by hand first"
    with contextlib.ExitStack() as stack:
        name = f"{there.name}?offset={there.offset}"
        if _has_journal_to_replay(there):
            # These programs look for the file system at the start of the file when they have replayed its journal.
            name = stack.enter_context(_alone(there))
        if uuid is not None or name.startswith("/dev/"):
            _command.run([*check, name], timeout=timeout, ok=(0, 1), what=what, pass_fds=[there.fd])
        return _run(there, [*argv, name], timeout)


def _has_journal_to_replay(there: _Range) -> bool:
    # s_feature_incompat of the superblock: EXT3_FEATURE_INCOMPAT_RECOVER
    return bool(int.from_bytes(os.pread(there.fd, 4, there.offset + 1024 + 96), "little") & 4)


def _xfs(there: _Range, label: str | None, uuid: str | None, timeout: float) -> str:
    # xfs_admin is a script around this program that hands its words to a shell once more.
    argv = [_command.find("xfs_db", "xfsprogs"), "-x", "-p", "xfs_admin"]
    argv += [] if label is None else ["-c", f"label {label or '--'}"]
    argv += [] if uuid is None else ["-c", f"uuid {uuid}"]
    with _alone(there) as name:
        return _run(there, [*argv, *(() if name.startswith("/dev/") else ("-f",)), name], timeout)


def _btrfs(there: _Range, label: str | None, uuid: str | None, timeout: float) -> str:
    said = ""
    with _alone(there) as name:
        if label is not None:
            argv = [_command.find("btrfs", "btrfs-progs"), "filesystem", "label", name, label]
            said += _run(there, argv, timeout)
        if uuid is not None:
            said += _run(there, [_command.find("btrfstune", "btrfs-progs"), "-f", "-U", uuid, name], timeout)
    return said


def _swap(there: _Range, label: str | None, uuid: str | None, _timeout: float) -> str:
    try:
        swap.set_labels(there.fd, there.offset, there.size, label, uuid)
    except KvmError as exc:
        raise KvmError(f"{there.path}: {exc.message}") from exc
    return ""


_SETTERS: dict[str, t.Callable[[_Range, str | None, str | None, float], str]] = {
    "ext2": _ext,
    "ext3": _ext,
    "ext4": _ext,
    "xfs": _xfs,
    "btrfs": _btrfs,
    "swap": _swap,
}


@contextlib.contextmanager
def _alone(there: _Range) -> t.Iterator[str]:
    """A name of the range as a whole file or device."""
    if there.offset == 0 and there.size >= os.fstat(there.fd).st_size:
        yield there.name
    else:
        with loop.attached(there.path, there.offset, there.size, read_only=False) as device:
            yield device


def _run(there: _Range, argv: t.Sequence[str], timeout: float) -> str:
    what = f"Cannot set label or UUID in {there.path}"
    done = _command.run(argv, timeout=timeout, what=what, pass_fds=[there.fd])
    # Some of them end with 0 although they refused; the one who looks at the result may say why.
    return done.stdout + done.stderr
