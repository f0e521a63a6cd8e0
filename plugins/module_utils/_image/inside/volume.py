# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: what every file system looks like to who reads it. Nothing is mounted, the kernel reads nothing of it."""

from __future__ import annotations

import dataclasses
import typing as t


@dataclasses.dataclass(frozen=True)
class Node:
    """An inode. ``kind`` is file, directory, symlink or other (a device, a socket, a pipe); ``mode`` are the permission
    bits (07777); ``size`` is in bytes; ``number`` means something only to the volume that gave it."""

    number: int
    kind: str
    mode: int
    owner: int
    group: int
    size: int


class Volume(t.Protocol):
    """A file system that is read. ``kind`` is blkid's word (ext4, xfs, btrfs), ``size`` that of the file system in bytes.

    Names and targets are text in UTF-8, with bytes that are none as surrogate escapes. What contradicts itself raises
    Damaged; what is sound and not understood (a feature, an encryption) raises Unsupported.
    """

    kind: str
    label: str | None
    uuid: str | None
    size: int

    def root(self) -> Node:
        """The top folder."""

    def lookup(self, folder: Node, name: str) -> Node | None:
        """The entry ``name`` of a folder (never ``.`` or ``..``); None when there is none."""

    def names(self, folder: Node) -> list[str]:
        """The names in a folder, without ``.`` and ``..``, in the order of the disk."""

    def read(self, node: Node, offset: int, length: int) -> bytes:
        """Data of a file, holes as zeros; fewer than ``length`` bytes only at its end."""

    def target(self, node: Node) -> str:
        """Where a symbolic link points to."""

    def xattrs(self, node: Node) -> dict[str, bytes]:
        """The extended attributes by their full names (``security.selinux``)."""
