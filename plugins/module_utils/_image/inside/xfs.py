# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""XFS, read without the kernel: versions 4 and 5. The log is not replayed: what is read is the state on the disk, which is
that of the mounted file system only where it was unmounted (see ``Xfs.clean``)."""

from __future__ import annotations

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.volume import Node
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.xfs_attr import attributes, headed
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.xfs_dir import entries, find
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.xfs_free import used_ranges
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.xfs_log import is_clean
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.xfs_map import (
    LOCAL,
    Inode,
    extents,
    mapped,
    read_inode,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.xfs_super import (
    Disk,
    Superblock,
    superblock,
)

__all__ = ["Superblock", "Xfs", "superblock"]

_KEPT = 512
# Folders whose names are remembered, for who asks for one name after the other, and how many names one may have for it.
_KEPT_FOLDERS, _KEPT_NAMES = 8, 1 << 16
_LARGE_FOLDER = 64 << 10
_LONGEST_TARGET = 1024
_MOST_AT_ONCE = 1 << 30


class Xfs:
    """A Volume (volume.py). The constructor raises Damaged and Unsupported for what the superblock says."""

    kind = "xfs"

    def __init__(self, reader: Reader) -> None:
        self._disk = Disk(reader)
        self._inodes: dict[int, Inode] = {}
        self._folders: dict[int, dict[bytes, int]] = {}
        self._clean: bool | None = None
        told = self._disk.geometry.told
        self.label: str | None = told.label
        self.uuid: str | None = told.uuid
        self.size: int = told.size
        self.block_size: int = told.block_size

    @property
    def clean(self) -> bool:
        """Whether the log ends with an unmount: False also in doubt. Reads the whole log when first asked."""
        if self._clean is None:
            self._clean = is_clean(self._disk)
        return self._clean

    def used(self) -> list[tuple[int, int]]:
        """The (start, end) in bytes of what is not free, sorted and merged; raises Damaged in any doubt.

        Means something only where ``clean``: the log may know of changes that the disk does not have yet.
        """
        return [(start, start + length) for start, length in used_ranges(self._disk)]

    def root(self) -> Node:
        """See Volume."""
        node = self._node(self._inode(self._disk.geometry.root))
        if node.kind != "directory":
            raise Damaged("the top of the xfs is no folder")
        return node

    def lookup(self, folder: Node, name: str) -> Node | None:
        """See Volume."""
        try:
            wanted = name.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return None  # not a name that any bytes are read as
        number = self._number(folder, wanted)
        return None if number is None else self._node(self._inode(number))

    def _number(self, folder: Node, name: bytes) -> int | None:
        if folder.number in self._folders or folder.size <= _LARGE_FOLDER:
            return self._entries(folder).get(name)
        return find(self._disk, self._of_kind(folder, "directory"), name)

    def names(self, folder: Node) -> list[str]:
        """See Volume."""
        return [name.decode("utf-8", "surrogateescape") for name in self._entries(folder)]

    def read(self, node: Node, offset: int, length: int) -> bytes:
        """See Volume. At most 1 GiB at once: sizes are told by the image."""
        inode = self._of_kind(node, "file")
        length = min(length, inode.size - offset)
        if offset < 0 or length <= 0:
            return b""
        if inode.real_time:
            raise Unsupported(f"the data of inode {inode.number} is on a real-time device")
        if length > _MOST_AT_ONCE:
            raise Unsupported(f"{length} bytes of inode {inode.number} are too many to be read at once")
        return mapped(self._disk, inode.data, offset, length)

    def target(self, node: Node) -> str:
        """See Volume."""
        inode = self._of_kind(node, "symlink")
        if not 0 < inode.size <= _LONGEST_TARGET:
            raise Damaged(f"the symbolic link of inode {inode.number} has a target of {inode.size} bytes")
        if inode.data.form == LOCAL:
            target = inode.data.data[: inode.size]
        elif self._disk.geometry.crc:
            target = self._headed_target(inode)
        else:
            target = mapped(self._disk, inode.data, 0, inode.size)
        if len(target) != inode.size or b"\0" in target:
            raise Damaged(f"the symbolic link of inode {inode.number} has another length than it says")
        return target.decode("utf-8", "surrogateescape")

    def xattrs(self, node: Node) -> dict[str, bytes]:
        """See Volume."""
        return attributes(self._disk, self._inode(node.number))

    def _headed_target(self, inode: Inode) -> bytes:
        """Since version 5 each extent of a target begins with a head."""
        target = b""
        for extent in extents(self._disk, inode.data):
            if len(target) >= inode.size:
                break
            what = inode.data.what
            address, length = self._disk.address(extent.fsblock, extent.blocks, what), extent.blocks * self.block_size
            if extent.blocks > 1 and length > 4 * _LONGEST_TARGET:
                raise Damaged(f"{what} has more blocks than a symbolic link can")
            data = self._disk.read(address, length, what)
            target += headed(self._disk, data, b"XSLM", len(target), address, inode.data)
        return target

    def _entries(self, folder: Node) -> dict[bytes, int]:
        """The inode numbers by their names, in the order of the disk."""
        known = self._folders.get(folder.number)
        if known is None:
            known = {}
            for name, number in entries(self._disk, self._of_kind(folder, "directory")):
                if name in known:
                    raise Damaged(f"the folder of inode {folder.number} has a name twice")
                known[name] = number
            if len(self._folders) >= _KEPT_FOLDERS:
                self._folders.pop(next(iter(self._folders)))
            if len(known) > _KEPT_NAMES:
                self._folders.clear()
            self._folders[folder.number] = known
        return known

    def _of_kind(self, node: Node, kind: str) -> Inode:
        inode = self._inode(node.number)
        if inode.kind != kind:
            raise Damaged(f"inode {node.number} is no {kind}")
        return inode

    def _inode(self, number: int) -> Inode:
        inode = self._inodes.get(number)
        if inode is None:
            inode = read_inode(self._disk, number)
            if len(self._inodes) >= _KEPT:
                self._inodes.clear()
            self._inodes[number] = inode
        return inode

    @staticmethod
    def _node(inode: Inode) -> Node:
        return Node(inode.number, inode.kind, inode.mode, inode.owner, inode.group, inode.size)
