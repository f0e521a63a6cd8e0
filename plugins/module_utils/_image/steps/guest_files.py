# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: files inside an ext2/3/4 file system that is not mounted, through debugfs.

Every path is looked up by debugfs in the image: a symbolic link there leads to another place in the image, never to one
of this host. The kernel reads nothing of the image.
"""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.disk import program

_MAX_LINKS = 8
_MAX_READ = 64 << 20
_TYPES = {"regular": 0o100000, "directory": 0o040000}
_STAT = re.compile(r"Inode: \d+ +Type: (\w[\w ]*?) +Mode: +(\d+)")
_OWNER = re.compile(r"User: +(\d+) +Group: +(\d+)(?:.*?Size: (\d+))?")
_LINK = re.compile(r'Fast link dest: "(.*)"$', re.M)
_XATTR = re.compile(r"^  ([A-Za-z][\w.]*) \(\d+\)", re.M)
_BANNER = re.compile(r"debugfs \d")
_UNSAFE = re.compile(r'[\x00-\x1f"\\]')


@dataclasses.dataclass(frozen=True)
class Inode:
    """What stands at a path: ``type`` in debugfs' words (regular, directory, symlink, ...)."""

    type: str
    mode: int
    owner: int
    group: int
    size: int = 0
    link: str | None = None
    xattrs: tuple[str, ...] = ()


class GuestFiles:
    """The files of the file system in ``image``, which errors call ``name``. ``scratch`` is a private folder of the host for
    what goes in and comes out."""

    def __init__(self, name: str, image: str, scratch: str, timeout: float) -> None:
        self._name = name
        self._image = image
        self._scratch = os.path.join(scratch, "debugfs")
        self._timeout = timeout
        os.makedirs(self._scratch, mode=0o700, exist_ok=True)

    def stat(self, path: str) -> Inode | None:
        """What stands at ``path``, a symbolic link itself; None when there is nothing."""
        output, errors = self._debugfs([f'stat "{_safe(path)}"'], write=False)
        # A link with a long target has it in a block; such a thing is told apart by its type alone.
        match, owner = _STAT.search(output), _OWNER.search(output)
        if match is None or owner is None:
            if any("not found" in line or "not a directory" in line.lower() for line in errors):
                return None
            raise KvmError(f"{self._name}: cannot look up {path} in it: {' '.join(errors) or 'debugfs said nothing'}")
        link = _LINK.search(output)
        return Inode(
            type=match.group(1),
            mode=int(match.group(2), 8),
            owner=int(owner.group(1)),
            group=int(owner.group(2)),
            size=int(owner.group(3) or 0),
            link=link.group(1) if link else None,
            xattrs=tuple(_XATTR.findall(output.partition("Extended attributes:")[2])),
        )

    def resolve(self, path: str) -> str | None:
        """Follows the links at the end of ``path``; None when they lead to nothing. debugfs follows the others."""
        for _step in range(_MAX_LINKS):
            inode = self.stat(path)
            if inode is None or inode.type != "symlink":
                return path if inode is not None else None
            if inode.link is None:
                return None
            path = inode.link if inode.link.startswith("/") else f"{os.path.dirname(path)}/{inode.link}"
            if _UNSAFE.search(path):
                return None
        return None

    def read(self, path: str) -> str | None:
        """The text of a file, None when there is none."""
        found = self.resolve(path)
        inode = self.stat(found) if found is not None else None
        if found is None or inode is None or inode.type != "regular" or inode.size > _MAX_READ:
            return None
        with open(self.dump(found, "out"), encoding="utf-8", errors="surrogateescape") as file:
            return file.read()

    def dump(self, path: str, name: str) -> str:
        """Copies a file of the image into the scratch folder under ``name``; gives the copy's path."""
        target = os.path.join(self._scratch, name)
        if os.path.lexists(target):
            os.unlink(target)
        self._checked([f'dump "{_safe(path)}" "{target}"'], write=False)
        return target

    def listdir(self, path: str) -> list[str]:
        """The names in a folder; empty when there is none."""
        found = self.resolve(path)
        inode = self.stat(found) if found is not None else None
        if found is None or inode is None or inode.type != "directory":
            return []
        output, _errors = self._debugfs([f'ls -p "{_safe(found)}"'], write=False)
        names = [line.split("/")[5] for line in output.splitlines() if line.startswith("/") and line.count("/") >= 6]
        return [name for name in names if name not in (".", "..", "") and not _UNSAFE.search(name)]

    def write(
        self, path: str, content: str, mode: int | None = None, owner: int | None = None, group: int | None = None
    ) -> None:
        """Puts a file in place of what stands there (a link is replaced, not followed). What is not stated stays as it
        was, or is 0644 of root; missing folders are made."""
        folder, name = os.path.split(path)
        folder = self.mkdir(folder)
        before = self.stat(path)
        if before is not None and before.type not in ("regular", "symlink"):
            raise KvmError(f"{self._name}: {path} is a {before.type} there and cannot be replaced by a file.")
        kept = before if before is not None and before.type == "regular" else Inode("regular", 0o644, 0, 0)
        attributes = self._save_xattrs(path, kept)
        source = os.path.join(self._scratch, "in")
        with open(source, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(content)
        commands = [f'cd "{_safe(folder)}"'] + ([f'rm "{_safe(name)}"'] if before is not None else [])
        commands.append(f'write "{source}" "{name}"')
        # debugfs keeps one name for each half of the mode, so the type of the file goes along.
        commands += self._set(
            name,
            _TYPES["regular"] | (kept.mode if mode is None else mode),
            _or(owner, kept.owner),
            _or(group, kept.group),
        )
        commands += [f'ea_set -f "{value}" "{name}" {attribute}' for attribute, value in attributes]
        self._checked(commands, write=True)

    def mkdir(self, path: str, mode: int | None = None) -> str:
        """Makes a folder with those above it, 0755 of root; a stated ``mode`` is set on the last in any case. Gives the
        folder to which the links at the end of ``path`` lead."""
        if path in ("", "/"):
            return "/"
        found = self.resolve(path)
        inode = self.stat(found) if found is not None else None
        if inode is not None and inode.type != "directory":
            raise KvmError(f"{self._name}: {path} is a {inode.type} there, not a folder.")
        if found is None or inode is None:
            folder, name = os.path.split(path)
            folder = self.mkdir(folder)
            commands = [f'cd "{_safe(folder)}"', f'mkdir "{_safe(name)}"']
            found = f"{folder.rstrip('/')}/{name}"
            wanted = _TYPES["directory"] | (0o755 if mode is None else mode)
            self._checked([*commands, *self._set(name, wanted, 0, 0)], write=True)
        elif mode is not None and inode.mode != mode:
            self._checked([f'sif "{_safe(found)}" mode 0{_TYPES["directory"] | mode:o}'], write=True)
        return found

    def symlink(self, path: str, target: str) -> None:
        """Makes a symbolic link where nothing is yet."""
        folder, name = os.path.split(path)
        folder = self.mkdir(folder)
        if self.stat(path) is None:
            self._checked([f'cd "{_safe(folder)}"', f'symlink "{_safe(name)}" "{_safe(target)}"'], write=True)

    def remove(self, path: str) -> None:
        """Removes a file or link if it is there."""
        inode = self.stat(path)
        if inode is not None and inode.type in ("regular", "symlink"):
            self._checked([f'rm "{_safe(path)}"'], write=True)

    def _save_xattrs(self, path: str, inode: Inode) -> list[tuple[str, str]]:
        saved = []
        for number, name in enumerate(inode.xattrs):
            value = os.path.join(self._scratch, f"xattr{number}")
            self._checked([f'ea_get -f "{value}" "{_safe(path)}" {name}'], write=False)
            saved.append((name, value))
        return saved

    def _set(self, name: str, mode: int, owner: int, group: int) -> list[str]:
        return [f'sif "{name}" mode 0{mode:o}', f'sif "{name}" uid {owner}', f'sif "{name}" gid {group}']

    def _checked(self, commands: t.Sequence[str], write: bool) -> None:
        _output, errors = self._debugfs(commands, write)
        if errors:
            raise KvmError(f"{self._name}: debugfs refused to change or read it: {errors[0]}", stderr="\n".join(errors))

    def _debugfs(self, commands: t.Sequence[str], write: bool) -> tuple[str, list[str]]:
        """Output and error lines; debugfs ends with 0 whatever its commands did."""
        argv = [program("debugfs"), *(["-w"] if write else []), "-f", "-", self._image]
        done = _command.run(
            argv,
            timeout=self._timeout,
            stdin="\n".join([*commands, ""]),
            what=f"{self._name}: cannot open its file system",
        )
        errors = [line for line in done.stderr.splitlines() if line.strip() and not _BANNER.match(line)]
        return "\n".join(line for line in done.stdout.splitlines() if not line.startswith("debugfs: ")), errors


def _or(value: int | None, fallback: int) -> int:
    return fallback if value is None else value


def _safe(text: str) -> str:
    """A word between quotes; debugfs knows no escaping that could be relied on."""
    if _UNSAFE.search(text):
        raise KvmError(
            f"'{text!r}' cannot be looked up in an image: no quotes, backslashes or control characters, please."
        )
    return text
