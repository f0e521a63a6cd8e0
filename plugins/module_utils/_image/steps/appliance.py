# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: what the kernel of this host must not read, and what it cannot, is changed inside of libguestfs' appliance.

A small virtual machine mounts the file system; its program guestfish is told what to do there. A start takes seconds
(without acceleration some twenty), so everything for one disk goes into one run: see ``carry_out``.

The commands are lines of text, and names and contents come from strangers. Each word is quoted as guestfish(1) says, and
no line is longer than what guestfish takes for one: it would take the rest for a command of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import tarfile
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command, _libguestfs
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, ToolError, ToolMissing
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Edit
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.filesystem import check_label

#: guestfish reads its input into a buffer of 8192 bytes, and takes what does not fit for the next line.
_LINE = 8000
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 /._:=+@%,-")
_ACLS = {"system.posix_acl_access": "access", "system.posix_acl_default": "default"}
#: Tags of an ACL entry, linux/posix_acl.h; those with an id have it behind the first colon.
_ACL_TAGS = {1: "user", 2: "user", 4: "group", 8: "group", 16: "mask", 32: "other"}
_ACL_WITH_ID = (2, 8)
#: What a name in a header of tar may have without being read as something else.
_XATTR = re.compile(r"[A-Za-z0-9_.@-]+")
_UNKNOWN = re.compile(r"feature '(\w+)' is not available")
_ELSEWHERE = re.compile(r"/proc/([0-9]+)/root(/.+)")
EXT = ("ext2", "ext3", "ext4")


def quoted(word: str | bytes) -> str:
    """A word of a command, between double quotes, every doubtful byte as ``\\xhh``; raises KvmError for a zero byte."""
    raw = word if isinstance(word, bytes) else word.encode("utf-8", "surrogateescape")
    if 0 in raw:
        raise KvmError(f"{word!r} has a zero byte and cannot be handed to libguestfs.")
    return '"' + "".join(chr(byte) if byte in _PLAIN else f"\\x{byte:02x}" for byte in raw) + '"'


def available() -> bool:
    """Whether libguestfs is installed here."""
    return shutil.which("guestfish") is not None


def command(name: str, *words: str | bytes | int, options: str = "") -> str:
    """A line for guestfish. ``options`` are its optional words (``correct:true``), which are ours; raises KvmError."""
    line = " ".join([name, *(quoted(str(word) if isinstance(word, int) else word) for word in words)])
    line += f" {options}" if options else ""
    if len(line) > _LINE:
        raise KvmError(f"{words[-1]!r:.200} is too long to be handed to libguestfs.")
    return line


def edit(
    disk: str,
    image_format: str,
    device: str,
    kind: str,
    edits: t.Sequence[Edit],
    scratch: str,
    timeout: float,
    *,
    subvol: str | None = None,
) -> None:
    """Changes files of the file system ``kind`` on ``device``, in order; see ``carry_out`` for the rest.

    ``scratch`` is a private folder of this host for the contents, ``subvol`` the subvolume of btrfs that is the top.
    """
    carry_out(disk, image_format, edit_commands(device, kind, edits, scratch, subvol=subvol), timeout)


def grow(
    disk: str, image_format: str, device: str, kind: str, *, physical_volume: str | None = None, timeout: float
) -> None:
    """Makes a file system as large as its device; with ``physical_volume``, that and the logical volume before.

    The disk and its partition must have their new sizes already. See ``carry_out`` for the rest.
    """
    carry_out(disk, image_format, grow_commands(device, kind, physical_volume=physical_volume), timeout)


def relabel(
    disk: str, image_format: str, device: str, kind: str, label: str | None, uuid: str | None, timeout: float
) -> None:
    """Sets label and UUID (None: as it is) of ext2, ext3, ext4, xfs, btrfs or swap. See ``carry_out`` for the rest."""
    if label is not None:
        check_label(disk, kind, label)
    commands = relabel_commands(device, kind, label, uuid)
    said = carry_out(
        disk, image_format, [*commands, command("vfs-label", device), command("vfs-uuid", device)], timeout
    )
    found = said.splitlines()[-2:]
    if len(found) != 2 or label not in (None, found[0]) or uuid not in (None, found[1]):
        raise KvmError(f"{disk}: the {kind} on {device} has not got the label or UUID: it has {' and '.join(found)}.")


def carry_out(disk: str, image_format: str, commands: t.Sequence[str], timeout: float) -> str:
    """One run of the appliance on the disk file; gives what the commands printed.

    ``image_format`` (raw, qcow2) is stated, never guessed. A device is ``/dev/sda`` (the whole disk), ``/dev/sda2`` or
    ``/dev/VG/LV``. ``timeout`` is in seconds for all of it. Raises ToolMissing without libguestfs, ToolError with what
    it said. The disk is of no use after an error in the middle.
    """
    enter, path = _place(os.path.abspath(disk))
    argv = [*enter, _program(disk), "--rw", f"--format={image_format}", "-a", path]
    text = "\n".join(["run", *commands, "umount-all", ""])
    what = f"Cannot change {disk} through libguestfs"
    try:
        return _command.run(argv, timeout=timeout, stdin=text, env=_libguestfs.environment(), what=what).stdout
    except ToolError as exc:
        unknown = _UNKNOWN.search(str(exc.details.get("stderr", "")))
        if unknown is None:
            raise
        raise KvmError(
            f"{disk}: the libguestfs of this hypervisor knows no {unknown[1]}; install what adds it (libguestfs-{unknown[1]}).",
            **exc.details,
        ) from exc


def _place(path: str) -> tuple[list[str], str]:
    """How to get where a path is valid, and the path there.

    libguestfs resolves it, so ``/proc/PID/root/x`` would become the ``/x`` of this host, which is something else when
    the process has mounts of its own (that of an image as a raw file).
    """
    match = _ELSEWHERE.fullmatch(path)
    if match is None:
        return [], path
    return [_command.find("nsenter", "util-linux"), "--target", match[1], "--mount", "--"], match[2]


def _program(disk: str) -> str:
    try:
        return _command.find("guestfish", "libguestfs-tools")
    except ToolMissing as exc:
        raise ToolMissing(
            f"{disk}: its file system can be changed through libguestfs only: install libguestfs-tools (with a kernel in"
            " /boot), or state trust: trusted if it comes from somebody whom you trust.",
            **exc.details,
        ) from exc


def edit_commands(
    device: str, kind: str, edits: t.Sequence[Edit], scratch: str, *, subvol: str | None = None
) -> list[str]:
    """The commands of ``edit``; the contents are written into ``scratch``, where they must stay until the run."""
    folder = os.path.join(os.path.abspath(scratch), "appliance")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    commands = [_mount(device, kind, subvol)]
    for number, entry in enumerate(edits):
        _check_path(entry.path)
        commands += _COMMANDS[entry.action](entry, os.path.join(folder, f"{number}"))
    return [*commands, "umount-all"]


def grow_commands(device: str, kind: str, *, physical_volume: str | None = None) -> list[str]:
    """The commands of ``grow``."""
    commands = []
    if physical_volume is not None:
        commands = [command("pvresize", physical_volume), command("lvresize-free", device, 100)]
    if kind in EXT:
        return [*commands, command("e2fsck", device, options="correct:true"), command("resize2fs", device)]
    if kind not in ("xfs", "btrfs"):
        raise KvmError(f"a file system {kind} cannot be made larger; ext2, ext3, ext4, xfs and btrfs can.")
    growing = "xfs-growfs" if kind == "xfs" else "btrfs-filesystem-resize"
    return [*commands, _mount(device, kind, None), command(growing, "/"), "umount-all"]


def relabel_commands(device: str, kind: str, label: str | None, uuid: str | None) -> list[str]:
    """The commands of ``relabel``."""
    if kind not in (*EXT, "xfs", "btrfs", "swap"):
        raise KvmError(f"label and UUID of {kind} cannot be set.")
    commands = [] if label is None else [command("set-label", device, label)]
    return commands + ([] if uuid is None else [command("set-uuid", device, uuid)])


def _mount(device: str, kind: str, subvol: str | None) -> str:
    return command("mount-vfs", "" if subvol is None else f"subvol={subvol}", kind, device, "/")


def _check_path(path: str) -> None:
    parts = path.split("/")
    if not path.startswith("/") or any(part in ("", ".", "..") for part in parts[1:]):
        raise KvmError(f"{path!r} is no path of a file in an image.")


def _write(entry: Edit, spool: str) -> list[str]:
    # What stands there may be a link, which would be followed.
    commands = [command("rm-f", entry.path)]
    plain = [(name, value) for name, value in entry.xattrs if name not in _ACLS]
    if all(_fits_a_command(name, value) for name, value in plain):
        commands += [command("upload", _source(entry, spool), entry.path), *_owner_and_mode(entry)]
        commands += [command("lsetxattr", name, _text(value), len(value), entry.path) for name, value in plain]
    else:
        _pack(entry, plain, spool)
        commands += [command("tar-in", spool, "/", options="xattrs:true selinux:true")]
    return commands + _acls(entry)


def _mkdir(entry: Edit, _spool: str) -> list[str]:
    commands = [command("mkdir-p", entry.path), *_owner_and_mode(entry)]
    for name, value in entry.xattrs:
        if name not in _ACLS:
            commands.append(command("lsetxattr", name, _text(value), len(value), entry.path))
    return commands + _acls(entry)


def _symlink(entry: Edit, _spool: str) -> list[str]:
    return [
        command("rm-f", entry.path),
        command("ln-s", entry.target or "", entry.path),
        command("lchown", entry.owner, entry.group, entry.path),
    ]


def _chmod(entry: Edit, _spool: str) -> list[str]:
    return _owner_and_mode(entry)


def _remove(entry: Edit, _spool: str) -> list[str]:
    return [command("rm-f", entry.path)]


_COMMANDS: dict[str, t.Callable[[Edit, str], list[str]]] = {
    "write": _write,
    "mkdir": _mkdir,
    "symlink": _symlink,
    "chmod": _chmod,
    "remove": _remove,
}


def _owner_and_mode(entry: Edit) -> list[str]:
    # A change of owner takes set-user-id bits away: this order.
    return [
        command("chown", entry.owner, entry.group, entry.path),
        command("chmod", f"0{entry.mode:o}", entry.path),
    ]


def _source(entry: Edit, spool: str) -> str:
    if entry.source is not None:
        return os.path.abspath(entry.source)
    with open(spool, "wb") as file:
        file.write(entry.content or b"")
    return spool


def _text(value: bytes) -> bytes:
    """A value for lsetxattr, whose length goes along: its last byte may be the zero that ends each text there."""
    return value[:-1] if value.endswith(b"\0") else value


def _fits_a_command(name: str, value: bytes) -> bool:
    return 0 not in _text(value) and len(quoted(_text(value))) + len(name) < _LINE // 4


def _pack(entry: Edit, xattrs: t.Sequence[tuple[str, bytes]], spool: str) -> None:
    """The file as a tar archive, the only way for extended attributes with zero bytes (capabilities)."""
    for name, _value in xattrs:
        if not _XATTR.fullmatch(name):
            raise KvmError(f"the extended attribute {name!r} of {entry.path!r} in the image cannot be kept.")
    member = tarfile.TarInfo(entry.path.lstrip("/"))
    member.mode, member.uid, member.gid, member.mtime = entry.mode, entry.owner, entry.group, int(time.time())
    member.pax_headers = {f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape") for name, value in xattrs}
    content = f"{spool}.content"
    with open(_source(entry, content), "rb") as file:
        member.size = os.fstat(file.fileno()).st_size
        with tarfile.open(spool, "w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape") as archive:
            archive.addfile(member, file)


def _acls(entry: Edit) -> list[str]:
    return [
        command("acl-set-file", entry.path, _ACLS[name], acl_text(value))
        for name, value in entry.xattrs
        if name in _ACLS
    ]


def acl_text(value: bytes) -> str:
    """An ACL as text, from the form in which the kernel gives it (linux/posix_acl_xattr.h); raises KvmError."""
    if len(value) % 8 != 4 or value[:4] != b"\2\0\0\0":
        raise KvmError("an ACL of a file in the image cannot be kept; remove it first.")
    entries = []
    for tag, permissions, number in struct.iter_unpack("<HHI", value[4:]):
        if tag not in _ACL_TAGS or permissions > 7:
            raise KvmError("an ACL of a file in the image cannot be kept; remove it first.")
        allowed = "".join(letter if permissions & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))
        entries.append(f"{_ACL_TAGS[tag]}:{number if tag in _ACL_WITH_ID else ''}:{allowed}")
    return ",".join(entries)
