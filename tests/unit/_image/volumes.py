# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A file system that is a dictionary, for what is told of the files of a guest without any image."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Edit, Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.tree import Tree
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.volume import Node
from ansible_collections.hypervisor.kvm.tests.unit._image.disks import Files, Link


@dataclasses.dataclass
class Entry:
    """What stands at a path: text, bytes, None for a folder, a Link, "other" by ``kind``."""

    content: t.Any = None
    mode: int | None = None
    owner: int = 0
    group: int = 0
    kind: str = ""
    xattrs: dict[str, bytes] = dataclasses.field(default_factory=dict)


class FakeVolume:
    """See ``inside.volume.Volume``. The folders above a file are made by its name."""

    kind, label, uuid, size = "ext4", None, None, 0

    def __init__(self, files: Files) -> None:
        self.entries = [Entry()]
        self._folders: list[dict[str, int]] = [{}]
        for path, content in files.items():
            self._add(path, content if isinstance(content, Entry) else Entry(content))

    def _add(self, path: str, entry: Entry) -> None:
        folder = 0
        *above, name = [part for part in path.split("/") if part] or [""]
        for part in above:
            folder = self._folders[folder].get(part) or self._new(folder, part, Entry())
        if name:
            self._new(folder, name, entry)

    def _new(self, folder: int, name: str, entry: Entry) -> int:
        self.entries.append(entry)
        self._folders.append({})
        self._folders[folder][name] = len(self.entries) - 1
        return len(self.entries) - 1

    def _node(self, number: int) -> Node:
        entry = self.entries[number]
        content = entry.content
        kind = entry.kind or ("directory" if content is None else "symlink" if isinstance(content, Link) else "file")
        mode = entry.mode if entry.mode is not None else 0o755 if kind == "directory" else 0o644
        return Node(number, kind, mode, entry.owner, entry.group, len(self._bytes(number)))

    def _bytes(self, number: int) -> bytes:
        content = self.entries[number].content or b""
        return content.encode("utf-8", "surrogateescape") if isinstance(content, str) else bytes(content)

    def root(self) -> Node:
        return self._node(0)

    def lookup(self, folder: Node, name: str) -> Node | None:
        assert folder.kind == "directory"
        assert name not in ("", ".", "..")
        assert "/" not in name
        number = self._folders[folder.number].get(name)
        return None if number is None else self._node(number)

    def names(self, folder: Node) -> list[str]:
        return list(self._folders[folder.number])

    def read(self, node: Node, offset: int, length: int) -> bytes:
        assert node.kind == "file"
        return self._bytes(node.number)[offset : offset + length]

    def target(self, node: Node) -> str:
        assert node.kind == "symlink"
        return str(self.entries[node.number].content)

    def xattrs(self, node: Node) -> dict[str, bytes]:
        return self.entries[node.number].xattrs


def shot(files: Files, paths: t.Iterable[str]) -> Snapshot:
    """What stands at the paths."""
    return snapshot.take(Tree(FakeVolume(files)), paths)


def changed(files: Files, edits: t.Iterable[Edit]) -> dict[str, t.Any]:
    """The files after the changes, whose paths have no links in their folders."""
    found = {path.strip("/"): content for path, content in files.items()}
    for edit in edits:
        path = edit.path.strip("/")
        if edit.action == "remove" or edit.replaces:
            del found[path]
        if edit.action in ("write", "mkdir"):
            assert path not in found
            content = edit.content if edit.action == "write" else None
            found[path] = Entry(content, edit.mode, edit.owner, edit.group, xattrs=dict(edit.xattrs))
        elif edit.action == "symlink":
            assert path not in found
            found[path] = Link(edit.target or "")
        elif edit.action == "chmod":
            found[path] = Entry(None, edit.mode, edit.owner, edit.group)
    return found
