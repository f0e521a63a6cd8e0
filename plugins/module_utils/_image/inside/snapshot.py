# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: what stands at the paths of a guest that a declaration concerns."""

from __future__ import annotations

import posixpath
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Snapshot, Standing
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.tree import Found, Tree

_MAX_CONTENT = 16 << 20
_MAX_NAMES = 10000


def take(tree: Tree, paths: t.Iterable[str]) -> Snapshot:
    """Looks at each of ``paths`` (plain, absolute)."""
    return Snapshot({path: _look(tree, path) for path in paths})


def _look(tree: Tree, path: str) -> Standing:
    folder, missing, blocked = _folder(tree, posixpath.dirname(path))
    place = posixpath.join(missing[-1] if missing else folder, posixpath.basename(path)) if path != "/" else "/"
    entry = tree.find(path, follow=False) if not missing and blocked is None else None
    if entry is None:
        return Standing(place, missing=tuple(missing), blocked=blocked)
    real = tree.find(path)
    return Standing(
        place=place,
        kind=entry.node.kind,
        real=real.path if real is not None else None,
        real_kind=real.node.kind if real is not None else None,
        mode=(real or entry).node.mode,
        owner=(real or entry).node.owner,
        group=(real or entry).node.group,
        target=entry.volume.target(entry.node) if entry.node.kind == "symlink" else None,
        content=tree.read(path, _MAX_CONTENT) if real is not None and real.node.kind == "file" else None,
        xattrs=_xattrs(real or entry),
        names=tuple(tree.names(path)[:_MAX_NAMES]) if real is not None and real.node.kind == "directory" else (),
    )


def _folder(tree: Tree, path: str) -> tuple[str, list[str], str | None]:
    """The real path of the deepest folder that exists, the ones that are missing below it, and what is in their way."""
    lacking: list[str] = []
    while True:
        found = tree.find(path)
        if found is not None:
            break
        if tree.find(path, follow=False) is not None:
            # A link that leads to nothing is no place to make anything in.
            return path, [], path
        lacking.insert(0, posixpath.basename(path))
        path = posixpath.dirname(path)
    if found.node.kind != "directory":
        return found.path, [], found.path
    missing, folder = [], found.path
    for name in lacking:
        folder = posixpath.join(folder, name)
        missing.append(folder)
    return found.path, missing, None


def _xattrs(found: Found) -> tuple[tuple[str, bytes], ...]:
    return tuple(sorted(found.volume.xattrs(found.node).items()))
