# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: paths in the file systems of an image. Every link is followed inside the image, never on this host."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.volume import Node, Volume

# The kernel's own limits (path_resolution(7)): links in one look-up, and the length of a path.
_MAX_LINKS = 40
_MAX_PATH = 4096


@dataclasses.dataclass(frozen=True)
class Found:
    """What stands at a path. ``path`` is the real one, without links and dots; ``volume`` the file system it is on and
    ``inner`` its path there."""

    path: str
    node: Node
    volume: Volume
    inner: str


@dataclasses.dataclass(frozen=True)
class _Place:
    """A folder on the way; the root has no name."""

    names: tuple[str, ...]
    node: Node
    volume: Volume
    inner: tuple[str, ...]


class Tree:
    """The files of a system: its root file system, and others mounted in it."""

    def __init__(self, root: Volume) -> None:
        self._root = root
        self._mounts: dict[tuple[str, ...], Volume] = {}
        # The folder that was listed last, as /boot is asked for again.
        self._listed: tuple[Volume, Node, list[str]] | None = None
        # Most paths that are asked for begin alike, and a folder without an index is read to its end for each name.
        self._looked_up: dict[tuple[int, int, str], Node | None] = {}

    def mount(self, path: str, volume: Volume) -> None:
        """Lets ``path`` (plain, absolute) show another file system."""
        self._mounts[tuple(part for part in path.split("/") if part)] = volume

    def find(self, path: str, follow: bool = True) -> Found | None:
        """What stands at ``path``; ``follow``: a link at its end is followed as well. None when there is nothing.

        Raises Damaged when the links lead in a circle.
        """
        trail = [_Place((), self._root.root(), self._root, ())]
        todo = _parts(path)
        links = 0
        while todo:
            name = todo.pop(0)
            if name == "..":
                # Above the root is the root, as in a chroot.
                del trail[max(1, len(trail) - 1) :]
                continue
            here = self._step(trail[-1], name)
            if here is None:
                return None
            if here.node.kind == "symlink" and (todo or follow):
                links += 1
                target = here.volume.target(here.node)
                if links > _MAX_LINKS or len(target) > _MAX_PATH:
                    raise Damaged(f"the symbolic links of {path} lead in a circle")
                if target.startswith("/"):
                    del trail[1:]
                todo = [*_parts(target), *todo]
                continue
            trail.append(here)
        last = trail[-1]
        return Found("/" + "/".join(last.names), last.node, last.volume, "/" + "/".join(last.inner))

    def names(self, path: str) -> list[str]:
        """The names in a folder, sorted; empty when there is no such folder."""
        found = self.find(path)
        if found is None or found.node.kind != "directory":
            return []
        last = self._listed
        if last is None or last[0] is not found.volume or last[1] != found.node:
            last = self._listed = (found.volume, found.node, sorted(found.volume.names(found.node)))
        return list(last[2])

    def read(self, path: str, limit: int) -> bytes | None:
        """The content of a file; None when there is no regular file, Damaged when it is longer than ``limit``."""
        found = self.find(path)
        if found is None or found.node.kind != "file":
            return None
        if found.node.size > limit:
            raise Damaged(f"{path} has {found.node.size} bytes, more than the {limit} that such a file may have")
        return found.volume.read(found.node, 0, found.node.size)

    def text(self, path: str, limit: int = 1 << 20) -> str | None:
        """``read`` as text, with bytes that are no UTF-8 as surrogate escapes."""
        data = self.read(path, limit)
        return None if data is None else data.decode("utf-8", "surrogateescape")

    def _step(self, place: _Place, name: str) -> _Place | None:
        if place.node.kind != "directory":
            return None
        names = (*place.names, name)
        mounted = self._mounts.get(names)
        if mounted is not None:
            return _Place(names, mounted.root(), mounted, ())
        key = (id(place.volume), place.node.number, name)
        if key not in self._looked_up:
            self._looked_up[key] = place.volume.lookup(place.node, name)
        node = self._looked_up[key]
        return _Place(names, node, place.volume, (*place.inner, name)) if node is not None else None


def _parts(path: str) -> list[str]:
    return [part for part in path[:_MAX_PATH].split("/") if part not in ("", ".")]


def pieces(found: Found, size: int = 1 << 20) -> t.Iterator[bytes]:
    """The content of a file that was found, piece by piece."""
    offset = 0
    while offset < found.node.size:
        piece = found.volume.read(found.node, offset, min(size, found.node.size - offset))
        if not piece:
            raise Damaged(f"{found.path} ends before its size of {found.node.size} bytes")
        offset += len(piece)
        yield piece
