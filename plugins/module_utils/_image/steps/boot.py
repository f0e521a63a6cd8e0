# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: a separate /boot goes into the root file system that is taken out of its disk."""

from __future__ import annotations

import os
import posixpath
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Edit
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.ext import Ext
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.look import Inside
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.tree import Found, Tree, pieces
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.volume import Node, Volume
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.run import Run

_BOOT = "/boot"
_MAX_ENTRIES = 10000
_MAX_DEPTH = 8
# What is left free at least in the root file system, so that the guest can still start.
_RESERVE = 32 << 20


def merge(run: Run, inside: Inside) -> list[Edit]:
    """The changes that put the files of a separate /boot where they were mounted; none when there is no such partition,
    or no room for them (the kernel and the initrd are taken out all the same)."""
    volume = inside.separate(_BOOT)
    root = inside.volume(inside.root.area) if inside.root is not None else None
    if volume is None or root is None:
        return []
    found = list(_walk(volume, volume.root(), "", 0))
    needed = sum(node.size for _path, node in found if node.kind == "file")
    if isinstance(root, Ext):
        free = root.size - sum(end - start for start, end in root.used())
        if needed + _RESERVE > free:
            run.say(f"its separate /boot ({needed} bytes) does not fit into its root file system and is left out")
            return []
    tree = Tree(root)
    edits: list[Edit] = []
    with run.step("boot", "copying the files of its /boot partition"):
        for number, (path, node) in enumerate(found):
            edits += _edits(run, tree, volume, path, node, number)
    return edits


def _walk(volume: Volume, folder: Node, path: str, depth: int) -> t.Iterator[tuple[str, Node]]:
    if depth > _MAX_DEPTH:
        raise Damaged("the folders of its /boot partition are nested too deep")
    for number, name in enumerate(volume.names(folder)):
        if number > _MAX_ENTRIES:
            raise Damaged("a folder of its /boot partition has too many entries")
        node = volume.lookup(folder, name)
        if node is None or name == "lost+found" or node.kind == "other":
            continue
        yield posixpath.join(path, name), node
        if node.kind == "directory":
            yield from _walk(volume, node, posixpath.join(path, name), depth + 1)


def _edits(run: Run, root: Tree, volume: Volume, path: str, node: Node, number: int) -> list[Edit]:
    """The changes for one file, whatever was hidden at its place while the partition was mounted there."""
    target = posixpath.join(_BOOT, path)
    standing = root.find(target, follow=False)
    kind = standing.node.kind if standing is not None else None
    xattrs = tuple(sorted(volume.xattrs(node).items()))
    if node.kind == "directory":
        gone = [Edit("remove", target, replaces=True)] if kind not in (None, "directory") else []
        action = "chmod" if kind == "directory" else "mkdir"
        return [*gone, Edit(action, target, mode=node.mode, owner=node.owner, group=node.group, xattrs=xattrs)]
    if kind == "directory":
        run.say(f"{target} of its separate /boot is left out, a folder with that name is in its root file system")
        return []
    replaces = standing is not None
    if node.kind == "symlink":
        return [Edit("symlink", target, target=volume.target(node), replaces=replaces)]
    spool = os.path.join(run.space.path, f"boot{number}")
    with open(spool, "xb") as file:
        file.writelines(pieces(Found(target, node, volume, path)))
    return [
        Edit("write", target, None, node.mode, node.owner, node.group, xattrs=xattrs, replaces=replaces, source=spool)
    ]
