# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: ext2, ext3 and ext4, read only."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import ext_map, ext_super, ext_tree, ext_used
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Cached, Reader, exactly
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.ext_map import Inode
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.ext_super import Superblock, superblock
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.volume import Node
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import format_size

__all__ = ["Ext", "Superblock", "superblock"]

# Features that limit the size: of s_feature_incompat, of s_feature_ro_compat.
_64BIT, _BIGALLOC = 0x80, 0x200
# The kernel hands out no larger value (XATTR_SIZE_MAX), and an inode has no place for so many of them.
_LARGEST_VALUE = 64 * 1024
_HAS_JOURNAL = 0x4
_JOURNAL = 8  # the inode that it is in
_LARGEST_VALUES = 16 * 1024 * 1024
# Entries of one directory.
_MOST_ENTRIES = 2_000_000


class Ext:
    """A file system of the kind ext2, ext3 or ext4 (blkid's rule). Implements Volume.

    What is read is the state on the disk: the journal is not replayed, so with ``needs_recovery`` a file may be read as
    it was some seconds before the crash, or not at all. Checksums are not compared. Names are compared byte by byte, in
    directories that ignore case, too. A walk over the tree needs limits of its own: a damaged directory can lead back to
    one above it.

    Raises Damaged when there is no such file system or its superblock contradicts itself or the disk, Unsupported for a
    feature that is not read. ``label``, ``uuid``, ``size``, ``block_size``, ``needs_recovery``, ``clean`` and
    ``has_errors`` as in Superblock.
    """

    def __init__(self, reader: Reader) -> None:
        sb = superblock(reader)
        if sb is None:
            raise Damaged("it has no superblock of ext2, ext3 or ext4")
        ext_super.check(sb, reader.size)
        self.kind, self.label, self.uuid, self.size = sb.kind, sb.label, sb.uuid, sb.size
        self.block_size = sb.block_size
        self.needs_recovery, self.clean, self.has_errors = sb.needs_recovery, sb.clean, sb.has_errors
        self._sb = sb
        self._disk = reader
        self._cached = Cached(reader)
        self._inodes = ext_map.Inodes(self._cached, sb)
        self._map = ext_map.Map(self._cached, sb)

    def growth_problem(self, size: int) -> str | None:
        """Why it cannot become ``size`` bytes large (None: it can, as far as its features say)."""
        if self._sb.ro_compat & _BIGALLOC:
            return f"its {self.kind} has the feature bigalloc, and resize2fs makes none of these larger"
        most = (1 << 32) * self.block_size
        if size >= most and not self._sb.incompat & _64BIT:
            return f"its {self.kind} lacks the feature 64bit, without which it cannot have {format_size(most)} or more"
        return None

    def least(self) -> int | None:
        """Bytes below which it cannot be made for sure, None where that is not known; see ``ext_used.least``."""
        journal = self._inodes.get(_JOURNAL).size if self._sb.compat & _HAS_JOURNAL else 0
        return ext_used.least(self._disk, self._sb, journal)

    def root(self) -> Node:
        """See Volume."""
        node = self._node(ext_map.ROOT)
        if node.kind != "directory":
            raise Damaged(f"the root of the {self.kind} file system is not a directory")
        return node

    def lookup(self, folder: Node, name: str) -> Node | None:
        """See Volume. None, too, for a name that no entry can have, and in what is not a directory."""
        try:
            wanted = name.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return None
        inode = self._inodes.get(folder.number)
        if inode.kind != "directory" or not wanted or len(wanted) > 255:
            return None
        what = self._called(inode)
        for block in self._directory(inode):
            # Most blocks do not have the name at all, and a search for its bytes takes no time.
            if wanted not in block:
                continue
            for number, found in ext_tree.entries(block, what):
                if found == wanted:
                    return self._entry(number, what)
        return None

    def names(self, folder: Node) -> list[str]:
        """See Volume. Raises Unsupported for a directory of more entries than can be true."""
        inode = self._inodes.get(folder.number)
        if inode.kind != "directory":
            return []
        what = self._called(inode)
        found: list[str] = []
        for block in self._directory(inode):
            found += [name.decode("utf-8", "surrogateescape") for _number, name in ext_tree.entries(block, what)]
            if len(found) > _MOST_ENTRIES:
                raise Unsupported(f"{what} has more than {_MOST_ENTRIES} entries")
        return found

    def read(self, node: Node, offset: int, length: int) -> bytes:
        """See Volume. Preallocated and never written parts are zeros; nothing for what is not a file."""
        inode = self._inodes.get(node.number)
        return self._data(inode, offset, length) if inode.kind == "file" else b""

    def target(self, node: Node) -> str:
        """See Volume."""
        inode = self._inodes.get(node.number)
        what = self._called(inode)
        if inode.kind != "symlink":
            raise Damaged(f"{what} is not a symbolic link")
        if self._is_fast(inode):
            if inode.size > len(inode.block):
                raise Damaged(f"{what} has a target that is too long for its place")
            data = inode.block[: inode.size]
        elif inode.size > self.block_size:
            raise Damaged(f"{what} has a target that is longer than a block")
        else:
            data = self._data(inode, 0, inode.size)
        return data.split(b"\0")[0].decode("utf-8", "surrogateescape")

    def xattrs(self, node: Node) -> dict[str, bytes]:
        """See Volume. Access control lists have the form that programs see (posix_acl_xattr), not that of the disk."""
        inode = self._inodes.get(node.number)
        what = f"the extended attributes of {self._called(inode)}"
        found: dict[str, bytes] = {}
        total = 0
        for attribute in self._attributes(inode, what):
            name = ext_tree.full_name(attribute)
            if name is None:
                continue
            value = self._value(attribute, what)
            total += len(value)
            if total > _LARGEST_VALUES:
                raise Damaged(f"{what} are larger than {_LARGEST_VALUES} bytes")
            found.setdefault(name, ext_tree.acl(value, what) if ext_tree.is_acl(attribute) else value)
        return found

    def used(self) -> list[tuple[int, int]]:
        """The parts of the disk that the file system uses, as (start, end) in bytes, rising and without overlaps.

        A copy of them, with zeros elsewhere, is the same file system: they hold its metadata (that of groups which
        were never written to, as well), the journal, and the boot block. The block bitmaps are believed only where
        nothing speaks against it: for a file system with a journal to replay, with errors or not unmounted, it is one
        range, the whole. Raises Unsupported for a feature that may give the bitmaps another meaning.
        """
        return ext_used.used(self._disk, self._sb)

    def _called(self, inode: Inode) -> str:
        return f"the inode {inode.number} ({inode.kind}) of the {self.kind} file system"

    def _node(self, number: int) -> Node:
        inode = self._inodes.get(number)
        return Node(number, inode.kind, inode.mode, inode.owner, inode.group, inode.size)

    def _entry(self, number: int, what: str) -> Node:
        if number != ext_map.ROOT and not self._sb.first_inode <= number <= self._sb.inodes:
            raise Damaged(f"{what} has an entry that leads to the inode {number}, which no entry may have")
        return self._node(number)

    def _is_fast(self, inode: Inode) -> bool:
        """Whether a symbolic link stands in the inode. As the kernel sees it: by its size where attributes may have
        inodes of their own, else by the blocks that it occupies."""
        if inode.flags & (ext_map.INLINE_DATA | ext_map.ENCRYPT | ext_map.EXTENTS):
            return False
        if self._sb.incompat & ext_super.EA_INODE:
            return inode.size < len(inode.block)
        unit = self.block_size if inode.flags & ext_map.HUGE_FILE else 512
        own = self._sb.cluster * self.block_size // unit if inode.attributes else 0
        return inode.sectors == own

    def _data(self, inode: Inode, offset: int, length: int) -> bytes:
        """Bytes of what has data, whatever its kind."""
        self._readable(inode)
        end = min(offset + length, inode.size)
        if offset < 0 or offset >= end:
            return b""
        if inode.flags & ext_map.INLINE_DATA:
            first, second = self._inline(inode)
            if inode.size > len(first) + len(second):
                raise Damaged(f"{self._called(inode)} has data that is too long for its place")
            return (first + second)[offset:end]
        pieces, at = [], offset
        for block, start, count in self._map.runs(inode, offset // self.block_size, -(-end // self.block_size)):
            begin, stop = max(block * self.block_size, offset), min((block + count) * self.block_size, end)
            place = start * self.block_size + begin - block * self.block_size
            pieces += [bytes(begin - at), exactly(self._disk, place, stop - begin, self._called(inode))]
            at = stop
        return b"".join([*pieces, bytes(end - at)])

    def _readable(self, inode: Inode) -> None:
        if inode.flags & ext_map.ENCRYPT:
            raise Unsupported(f"{self._called(inode)} is encrypted")

    def _inline(self, inode: Inode) -> tuple[bytes, bytes]:
        """The two places where data stands in an inode: that of the block map, and an attribute."""
        what = f"the extended attributes of {self._called(inode)}"
        for attribute in self._attributes(inode, what):
            if ext_tree.is_inline_data(attribute):
                return inode.block, self._value(attribute, what)
        return inode.block, b""

    def _directory(self, inode: Inode) -> t.Iterator[bytes]:
        """The blocks of a directory; of one in an inode: its two parts."""
        self._readable(inode)
        if inode.flags & ext_map.INLINE_DATA:
            first, second = self._inline(inode)
            yield first[4:]  # without the inode of the directory above
            yield second
            return
        if inode.size > ext_tree.LARGEST_DIRECTORY:
            raise Unsupported(f"{self._called(inode)} is larger than {ext_tree.LARGEST_DIRECTORY} bytes")
        for _block, start, count in self._map.runs(inode, 0, -(-inode.size // self.block_size)):
            for number in range(start, start + count):
                yield exactly(self._cached, number * self.block_size, self.block_size, self._called(inode))

    def _attributes(self, inode: Inode, what: str) -> t.Iterator[ext_tree.Attribute]:
        yield from ext_tree.in_inode(inode.rest, what)
        if inode.attributes:
            if not self._sb.first_block < inode.attributes < self._sb.blocks:
                raise Damaged(f"the block of {what} is outside of the file system")
            yield from ext_tree.in_block(
                exactly(self._cached, inode.attributes * self.block_size, self.block_size, what), what
            )

    def _value(self, attribute: ext_tree.Attribute, what: str) -> bytes:
        if not attribute.inode:
            return attribute.value
        inode = self._inodes.get(attribute.inode)
        if not inode.flags & ext_map.EA_INODE_FLAG or inode.size != attribute.size or inode.size > _LARGEST_VALUE:
            raise Damaged(f"{what} have a value in the inode {attribute.inode}, which does not fit")
        return self._data(inode, 0, inode.size)
