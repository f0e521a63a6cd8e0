# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: files of an ext2, ext3 or ext4 that is not mounted are changed through debugfs. The kernel reads nothing of it.

The paths have no links in their folders, because they were looked up before, and debugfs looks them up in the image
anyway: none leads to this host.
"""

from __future__ import annotations

import os
import posixpath
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Edit
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import extfs
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.disk import program
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.extfs import Part

_TYPES = {"write": 0o100000, "mkdir": 0o040000, "chmod": 0o040000}
# Where the superblock has the features without which it may be read only, and the one of quotas (fs/ext4/ext4.h).
_RO_COMPAT, _QUOTA = 1024 + 0x64, 0x100
_BANNER = re.compile(r"debugfs \d")
_UNSAFE = re.compile(r'[\x00-\x1f"\\]')


def apply(part: Part, edits: t.Sequence[Edit], scratch: str, timeout: float) -> None:
    """Makes the changes, in order. ``scratch`` is a private folder of this host for the contents.

    Raises KvmError with what debugfs said when it refused one; the file system is of no use then.
    """
    folder = os.path.join(scratch, "debugfs")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    commands: list[str] = []
    for number, edit in enumerate(edits):
        commands += _COMMANDS[edit.action](edit, os.path.join(folder, str(number)))
    if commands:
        _run(part, commands, scratch, timeout)
        if _has_quotas(part):
            # debugfs does not count for them, e2fsck does.
            extfs.repair(part, timeout)


def _has_quotas(part: Part) -> bool:
    with open(part.path, "rb") as file:
        file.seek(_RO_COMPAT)
        return bool(int.from_bytes(file.read(4), "little") & _QUOTA)


def _write(edit: Edit, spool: str) -> list[str]:
    source = edit.source or _spool(spool, edit.content or b"")
    parent, name = posixpath.split(edit.path)
    commands = [f'cd "{_safe(parent)}"'] + ([f'rm "{_safe(name)}"'] if edit.replaces else [])
    commands += [f'write "{_safe(source)}" "{_safe(name)}"', *_set(edit)]
    for index, (attribute, value) in enumerate(edit.xattrs):
        commands.append(f'ea_set -f "{_spool(f"{spool}.{index}", value)}" "{name}" {_safe_word(attribute)}')
    return commands


def _mkdir(edit: Edit, spool: str) -> list[str]:
    parent, name = posixpath.split(edit.path)
    commands = [f'cd "{_safe(parent)}"', f'mkdir "{_safe(name)}"', *_set(edit)]
    for index, (attribute, value) in enumerate(edit.xattrs):
        commands.append(f'ea_set -f "{_spool(f"{spool}.{index}", value)}" "{name}" {_safe_word(attribute)}')
    return commands


def _chmod(edit: Edit, _spool_path: str) -> list[str]:
    path = _safe(edit.path)
    values = (("mode", f"0{_TYPES['chmod'] | edit.mode:o}"), ("uid", str(edit.owner)), ("gid", str(edit.group)))
    return ['cd "/"', *(f'sif "{path}" {field} {value}' for field, value in values)]


def _symlink(edit: Edit, _spool_path: str) -> list[str]:
    parent, name = posixpath.split(edit.path)
    gone = [f'rm "{_safe(name)}"'] if edit.replaces else []
    return [f'cd "{_safe(parent)}"', *gone, f'symlink "{_safe(name)}" "{_safe(edit.target or "")}"']


def _remove(edit: Edit, _spool_path: str) -> list[str]:
    # Not by the whole path: debugfs looks for what is in the top folder in the current one.
    parent, name = posixpath.split(edit.path)
    return [f'cd "{_safe(parent)}"', f'rm "{_safe(name)}"']


def _set(edit: Edit) -> list[str]:
    # debugfs keeps one name for each half of the mode, so the type of the file goes along.
    name = posixpath.basename(edit.path)
    values = (("mode", f"0{_TYPES[edit.action] | edit.mode:o}"), ("uid", str(edit.owner)), ("gid", str(edit.group)))
    return [f'sif "{name}" {field} {value}' for field, value in values]


_COMMANDS: dict[str, t.Callable[[Edit, str], list[str]]] = {
    "write": _write,
    "mkdir": _mkdir,
    "chmod": _chmod,
    "symlink": _symlink,
    "remove": _remove,
}


def _spool(path: str, content: bytes) -> str:
    with open(path, "wb") as file:
        file.write(content)
    return path


def _run(part: Part, commands: t.Sequence[str], scratch: str, timeout: float) -> None:
    """debugfs ends with 0 whatever its commands did; what it says on its error output is what went wrong."""
    text = "\n".join([*commands, ""])
    what = "Cannot change files in the image"
    done = part.run(
        lambda name: [program("debugfs"), "-w", "-f", "-", name], timeout, what=what, stdin=text, reads=[scratch]
    )
    errors = [line for line in done.stderr.splitlines() if line.strip() and not _BANNER.match(line)]
    if errors:
        raise KvmError(f"debugfs refused to change a file in the image: {errors[0]}", stderr="\n".join(errors[-20:]))


def _safe(text: str) -> str:
    """A word between quotes; debugfs knows no escaping that could be relied on."""
    if _UNSAFE.search(text):
        raise KvmError(f"{text!r} cannot be changed in an image: no quotes, backslashes or control characters, please.")
    return text


def _safe_word(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.@-]+", text):
        raise KvmError(f"the extended attribute {text!r} of a file in the image cannot be kept; remove it first.")
    return text
