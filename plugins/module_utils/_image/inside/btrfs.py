# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: btrfs on one disk, read only."""

from __future__ import annotations

import dataclasses
import stat
import struct
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, NotFound, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.btrfs_data import Data
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.btrfs_super import Disk, Top, superblock
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.btrfs_tree import LAST, Trees
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.signature import clean
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.volume import Node

# Types of items.
_INODE, _XATTR, _DIR_ITEM, _DIR_INDEX, _ROOT, _ROOT_REF, _CHUNK = 1, 24, 84, 96, 132, 156, 228
_TOP_LEVEL = 5
_FOLDER_OF_ROOTS = 6
_FIRST_CHUNK = 256

_MOST_AT_ONCE = 1 << 30
_LONGEST_TARGET = 4095
_MOST_ENTRIES = 2_000_000
_LARGEST_VALUES = 16 << 20
_MOST_KEPT = 512
# A snapshot keeps the entry of a subvolume that was in its original, but not the subvolume: an empty folder stands there.
_EMPTY = Node(0, "directory", 0o755, 0, 0, 0)


@dataclasses.dataclass(frozen=True)
class _Tree:
    """A subvolume: its number, the top of its tree, and the inode of its own top folder."""

    number: int
    top: Top
    folder: int


@dataclasses.dataclass(frozen=True)
class _Entry:
    """An entry of a folder, or an extended attribute (then with a value): what it leads to is an inode or a subvolume."""

    name: bytes
    target: int
    kind: int
    value: bytes


class Btrfs:
    """A file system of the kind btrfs. Implements Volume.

    ``subvolume`` is a path from the top level as in ``mount -o subvol=`` (a plain folder is taken as well); without it,
    the default subvolume is read. Subvolumes inside of it are folders. What is read is the state of the last commit: the
    log is not replayed, so without ``clean`` a file that was synced just before a crash may be older than it should be.
    Checksums are not compared. A walk over the tree needs limits of its own.

    Raises Damaged, Unsupported (several disks, RAID, a feature), and NotFound for a subvolume that is not there.
    """

    kind = "btrfs"

    def __init__(self, reader: Reader, subvolume: str | None = None) -> None:
        sb = superblock(reader)
        self._disk = Disk(reader, sb)
        self._trees = Trees(self._disk)
        self._data = Data(self._disk, self._trees)
        self._roots = sb.roots
        self._known: dict[int, _Tree] = {}
        self.label: str | None = sb.label
        self.uuid: str | None = sb.uuid
        self.size: int = sb.size
        self.block_size: int = sb.sector
        self.clean: bool = sb.clean
        low, high = (_FIRST_CHUNK, _CHUNK, 0), (_FIRST_CHUNK, _CHUNK, LAST)
        # All at once: while they are read, the disk must know only the first ones.
        self._disk.take([(key[2], item) for key, item in self._trees.items(sb.chunks, low, high)])
        self._top = self._default() if subvolume is None else self._at(subvolume)

    def root(self) -> Node:
        """See Volume."""
        return self._top

    def lookup(self, folder: Node, name: str) -> Node | None:
        """See Volume."""
        try:
            wanted = name.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return None  # not a name that any bytes are read as
        if self._is_empty(folder):
            return None
        tree, inode = self._place(folder)
        item = self._trees.one(tree.top, (inode, _DIR_ITEM, name_hash(wanted)))
        for entry in _entries(item or b""):
            if entry.name == wanted:
                return self._entered(tree, inode, entry)
        return None

    def names(self, folder: Node) -> list[str]:
        """See Volume."""
        names: list[str] = []
        if self._is_empty(folder):
            return names
        tree, inode = self._place(folder)
        for _key, item in self._trees.items(tree.top, (inode, _DIR_INDEX, 0), (inode, _DIR_INDEX, LAST)):
            names += [_name(entry.name) for entry in _entries(item)]
            if len(names) > _MOST_ENTRIES:
                raise Damaged(f"the folder {inode} of the btrfs has more than {_MOST_ENTRIES} entries")
        return names

    def read(self, node: Node, offset: int, length: int) -> bytes:
        """See Volume. At most 1 GiB at once: sizes are told by the image."""
        length = min(length, node.size - offset)
        if node.kind not in ("file", "symlink"):
            raise Damaged(f"the inode {node.number & LAST} of the btrfs is no file")
        if offset < 0 or length <= 0:
            return b""
        if length > _MOST_AT_ONCE:
            raise Unsupported(f"{length} bytes of a file of the btrfs are too many to be read at once")
        tree, inode = self._place(node)
        return self._data.read(tree.top, inode, offset, length)

    def target(self, node: Node) -> str:
        """See Volume."""
        if node.kind != "symlink" or not 0 < node.size <= _LONGEST_TARGET:
            raise Damaged(f"the inode {node.number & LAST} of the btrfs is no symbolic link or has no possible target")
        target = self.read(node, 0, node.size)
        if b"\0" in target:
            raise Damaged(f"the symbolic link {node.number & LAST} of the btrfs has a target with a zero byte")
        return target.decode("utf-8", "surrogateescape")

    def xattrs(self, node: Node) -> dict[str, bytes]:
        """See Volume."""
        found: dict[str, bytes] = {}
        if node == _EMPTY:
            return found
        tree, inode = self._place(node)
        total = 0
        for _key, item in self._trees.items(tree.top, (inode, _XATTR, 0), (inode, _XATTR, LAST)):
            total += len(item)
            if total > _LARGEST_VALUES:
                raise Damaged(f"the extended attributes of inode {inode} of the btrfs are too large")
            found.update({entry.name.decode("utf-8", "surrogateescape"): entry.value for entry in _entries(item)})
        return found

    def _default(self) -> Node:
        number = _TOP_LEVEL
        item = self._trees.one(self._roots, (_FOLDER_OF_ROOTS, _DIR_ITEM, name_hash(b"default")))
        for entry in _entries(item or b""):
            if entry.name == b"default" and entry.kind == _ROOT:
                number = entry.target
        return self._folder_of(self._tree(number))

    def _at(self, subvolume: str) -> Node:
        node: Node | None = self._folder_of(self._tree(_TOP_LEVEL))
        for name in filter(None, subvolume.split("/")):
            node = self.lookup(node, name) if node is not None and node.kind == "directory" else None
        if node is None or node.kind != "directory":
            raise NotFound(f"The btrfs has no subvolume {clean(subvolume)}: name one that it has.")
        return node

    def _folder_of(self, tree: _Tree) -> Node:
        node = self._node(tree, tree.folder)
        if node.kind != "directory":
            raise Damaged(f"the top of the subvolume {tree.number} of the btrfs is no folder")
        return node

    def _entered(self, tree: _Tree, folder: int, entry: _Entry) -> Node:
        if entry.kind == _INODE:
            return self._node(tree, entry.target)
        if entry.kind != _ROOT:
            raise Damaged(f"an entry of the folder {folder} of the btrfs leads neither to an inode nor to a subvolume")
        # The kernel's rule: the subvolume has to know this folder and this name.
        ref = self._trees.one(self._roots, (tree.number, _ROOT_REF, entry.target))
        if ref is None or ref[:8] != struct.pack("<Q", folder) or ref[18:] != entry.name:
            return _EMPTY
        return self._folder_of(self._tree(entry.target))

    def _tree(self, number: int) -> _Tree:
        tree = self._known.get(number)
        if tree is None:
            if number != _TOP_LEVEL and number < 256:
                raise Damaged(f"the btrfs has a subvolume with the number {number}")
            key = self._trees.floor(self._roots, (number, _ROOT, LAST))
            item = self._trees.one(self._roots, key) if key is not None and key[:2] == (number, _ROOT) else None
            if item is None or len(item) < 239:
                raise Damaged(f"the btrfs has no subvolume {number}, to which something in it leads")
            generation, folder, address = struct.unpack_from("<QQQ", item, 160)
            if len(self._known) >= _MOST_KEPT:
                self._known.clear()
            tree = self._known[number] = _Tree(number, Top(address, item[238], generation), folder)
        return tree

    def _node(self, tree: _Tree, inode: int) -> Node:
        item = self._trees.one(tree.top, (inode, _INODE, 0))
        if item is None or len(item) < 56:
            raise Damaged(f"the inode {inode} in the subvolume {tree.number} of the btrfs is missing")
        size = struct.unpack_from("<Q", item, 16)[0]
        owner, group, mode = struct.unpack_from("<III", item, 44)
        kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
        kind = kinds.get(stat.S_IFMT(mode), "other")
        return Node(tree.number << 64 | inode, kind, mode & 0o7777, owner, group, size)

    def _place(self, node: Node) -> tuple[_Tree, int]:
        return self._tree(node.number >> 64), node.number & LAST

    @staticmethod
    def _is_empty(folder: Node) -> bool:
        if folder.kind != "directory":
            raise Damaged(f"the inode {folder.number & LAST} of the btrfs is no folder")
        return folder == _EMPTY


def _entries(item: bytes) -> t.Iterator[_Entry]:
    """Those with the same hash share an item."""
    offset = 0
    while offset < len(item):
        if offset + 30 > len(item):
            raise Damaged("an entry of a folder of the btrfs is too short")
        target, kind, _offset, _transaction, value, length = struct.unpack_from("<QBQQHH", item, offset)
        end = offset + 30 + length
        if end + value > len(item):
            raise Damaged("an entry of a folder of the btrfs is longer than its item")
        yield _Entry(item[offset + 30 : end], target, kind, item[end : end + value])
        offset = end + value


def _name(name: bytes) -> str:
    """What stands in a folder, if it can be a name: nothing else may become part of a path."""
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise Damaged("an entry of a folder of the btrfs has an impossible name")
    return name.decode("utf-8", "surrogateescape")


def _table() -> t.Iterator[int]:
    for byte in range(256):
        crc = byte
        for _turn in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        yield crc


_CRC32C = tuple(_table())


def name_hash(name: bytes) -> int:
    """By which an entry is found: CRC-32C with a start value of its own, and not inverted at the end."""
    crc = 0xFFFFFFFE
    for byte in name:
        crc = _CRC32C[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc
