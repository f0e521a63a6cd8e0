# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: files of a guest as they are and as they are to be, without touching any. Pure.

A change is planned on a snapshot of what stands at the paths that it concerns, so that a prediction and the real run
are the same, and carried out by whichever program may write to that file system.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError

FOLDER_MODE = 0o755
FILE_MODE = 0o644


@dataclasses.dataclass(frozen=True)
class Standing:
    """What stands at a path of the guest.

    ``place`` is the path without links in its folders (the entry itself may be one), ``real`` where the links of the
    entry lead. ``kind`` is that of the entry (file, directory, symlink, other; None = nothing), ``content`` that of the
    file at ``real``. ``missing`` are the folders that ``place`` lacks, outermost first. ``names`` are the entries of a
    folder at ``real``.
    """

    place: str
    kind: str | None = None
    real: str | None = None
    real_kind: str | None = None
    mode: int = FILE_MODE
    owner: int = 0
    group: int = 0
    target: str | None = None
    content: bytes | None = None
    xattrs: tuple[tuple[str, bytes], ...] = ()
    missing: tuple[str, ...] = ()
    #: What stands in the way of the folders and is none.
    blocked: str | None = None
    names: tuple[str, ...] = ()


class Snapshot:
    """What stands at the paths that were asked for."""

    def __init__(self, standings: t.Mapping[str, Standing]) -> None:
        self._standings = dict(standings)

    def at(self, path: str) -> Standing:
        """What stands there; the path must be one that was asked for."""
        return self._standings[path]

    def text(self, path: str) -> str | None:
        """The text of the file there, links followed; None when there is no regular file."""
        content = self.at(path).content
        return None if content is None else content.decode("utf-8", "surrogateescape")

    def is_folder(self, path: str) -> bool:
        """Whether the links of ``path`` lead to a folder."""
        return self.at(path).real_kind == "directory"

    def names(self, path: str) -> tuple[str, ...]:
        """The names in the folder there; empty when there is none."""
        return self.at(path).names


@dataclasses.dataclass(frozen=True)
class Edit:
    """One change. ``action`` is write, mkdir, symlink, chmod (which sets owner and group as well) or remove; ``path`` has
    no links in its folders.

    ``before`` is the content that a file has now. ``source`` instead of ``content``: a file of this host that has it.
    """

    action: str
    path: str
    content: bytes | None = None
    mode: int = FILE_MODE
    owner: int = 0
    group: int = 0
    target: str | None = None
    xattrs: tuple[tuple[str, bytes], ...] = ()
    before: bytes | None = None
    replaces: bool = False
    secret: bool = False
    source: str | None = None


class Planner:
    """Collects the changes that bring the files of a guest to what is wanted; what is there already is no change."""

    def __init__(self, name: str, snapshot: Snapshot) -> None:
        self._name = name
        self.snapshot = snapshot
        self.edits: list[Edit] = []
        self._made: set[str] = set()

    def text(self, path: str) -> str | None:
        """The text of the file there, as far as the changes go up to here; None when there is no regular file."""
        planned = self._planned(path)
        if planned is not None:
            return (planned.content or b"").decode("utf-8", "surrogateescape")
        return self.snapshot.text(path)

    def _planned(self, path: str) -> Edit | None:
        standing = self.snapshot.at(path)
        return self._written(standing.place, standing.real)

    def _written(self, *places: str | None) -> Edit | None:
        return next((edit for edit in self.edits if edit.action == "write" and edit.path in places), None)

    def write(self, path: str, text: str, mode: int, owner: int = 0, group: int = 0, *, secret: bool = False) -> None:
        """A whole file of the declaration: a link in its place is replaced, not followed."""
        standing = self.snapshot.at(path)
        if standing.kind not in (None, "file", "symlink"):
            raise KvmError(f"{self._name}: {path} is a {_word(standing.kind)} there and cannot be replaced by a file.")
        content = text.encode("utf-8", "surrogateescape")
        written = self._written(standing.place)
        if written is not None:
            # Another part of the declaration has it as well: the last one is it.
            final = dataclasses.replace(written, content=content, mode=mode, owner=owner, group=group)
            self.edits[self.edits.index(written)] = dataclasses.replace(final, secret=written.secret or secret)
            return
        same = standing.kind == "file" and (standing.content, standing.mode) == (content, mode)
        if same and (standing.owner, standing.group) == (owner, group):
            return
        self._folders(path, standing)
        file = standing.kind == "file"
        self.edits.append(
            Edit(
                "write", standing.place, content, mode, owner, group,
                xattrs=standing.xattrs if file else (),
                before=standing.content if file else None,
                replaces=standing.kind is not None,
                secret=secret,
            )
        )  # fmt: skip

    def rewrite(self, path: str, text: str, *, secret: bool = False) -> None:
        """A file whose other content matters: a link to it is followed, its mode and owner stay."""
        standing = self.snapshot.at(path)
        content = text.encode("utf-8", "surrogateescape")
        planned = self._planned(path)
        if planned is not None:
            self.edits[self.edits.index(planned)] = dataclasses.replace(planned, content=content)
            return
        if standing.content == content:
            return
        if standing.kind is None:
            self.write(path, text, FILE_MODE)
            return
        if standing.content is None or standing.real is None:
            raise KvmError(
                f"{self._name}: {path} is no regular file there (its links lead to none), so it cannot be edited."
            )
        self.edits.append(
            Edit(
                "write", standing.real, content, standing.mode, standing.owner, standing.group,
                xattrs=standing.xattrs, before=standing.content, replaces=True, secret=secret,
            )
        )  # fmt: skip

    def mkdir(self, path: str, mode: int, owner: int | None = None) -> None:
        """A folder with that mode, and those above it. ``owner``: the user and group that one that is there shall have."""
        standing = self.snapshot.at(path)
        if standing.kind is None:
            self._folders(path, standing)
            self._mkdir(standing.place, mode)
            return
        if standing.real_kind != "directory" or standing.real is None:
            raise KvmError(f"{self._name}: {path} is a {_word(standing.real_kind)} there, not a folder.")
        now = (standing.mode, standing.owner, standing.group)
        wanted = (mode, *now[1:]) if owner is None else (mode, owner, owner)
        if now != wanted:
            self.edits.append(Edit("chmod", standing.real, mode=mode, owner=wanted[1], group=wanted[2]))

    def symlink(self, path: str, target: str) -> None:
        """A symbolic link where nothing is yet."""
        standing = self.snapshot.at(path)
        if standing.kind is None:
            self._folders(path, standing)
            self.edits.append(Edit("symlink", standing.place, target=target, mode=0o777))

    def move(self, path: str, target: str, keep: bool) -> None:
        """Puts a file under another name, as it is; ``keep``: another one is written to its old place."""
        standing = self.snapshot.at(path)
        if standing.content is None:
            return
        self._folders(target, self.snapshot.at(target))
        self.edits.append(
            Edit(
                "write", self.snapshot.at(target).place, standing.content, standing.mode, standing.owner, standing.group,
                xattrs=standing.xattrs, replaces=self.snapshot.at(target).kind is not None,
            )
        )  # fmt: skip
        if not keep:
            self.remove(path)

    def remove(self, path: str) -> None:
        """Removes a file or a link if there is one, and none is to be there."""
        standing = self.snapshot.at(path)
        if standing.kind in ("file", "symlink") and self._written(standing.place) is None:
            self.edits.append(Edit("remove", standing.place, before=standing.content, replaces=True))

    def _folders(self, path: str, standing: Standing) -> None:
        if standing.blocked is not None:
            raise KvmError(f"{self._name}: {path} cannot be made, {standing.blocked} is no folder there.")
        for folder in standing.missing:
            self._mkdir(folder, FOLDER_MODE)

    def _mkdir(self, path: str, mode: int) -> None:
        if path not in self._made:
            self._made.add(path)
            self.edits.append(Edit("mkdir", path, mode=mode))


def _word(kind: str | None) -> str:
    return {None: "link to nothing", "other": "device or socket"}.get(kind, str(kind))
