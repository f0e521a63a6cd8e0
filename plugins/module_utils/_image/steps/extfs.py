# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: ext2, ext3 and ext4 in a file or in a part of one, by the programs of e2fsprogs. Nothing is mounted."""

from __future__ import annotations

import dataclasses
import os
import uuid as uuidlib

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, ToolError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.filesystem import Filesystem
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import ext
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import RawFile, Window
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.disk import program
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.workspace import write
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import format_size

_PASSES = 5
#: The features that every e2fsprogs of the supported guests knows, whatever the one of this host makes by default.
_MKE2FS = """[defaults]
base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
default_mntopts = acl,user_xattr
enable_periodic_fsck = 0
blocksize = 4096
inode_size = 256
inode_ratio = 16384

[fs_types]
ext4 = {
features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
}
"""


@dataclasses.dataclass(frozen=True)
class Part:
    """A file system in a raw file: ``size`` bytes from ``offset`` of the file ``path``."""

    path: str
    offset: int
    size: int
    kind: str

    @property
    def name(self) -> str:
        """As the programs take it."""
        return f"{self.path}?offset={self.offset}" if self.offset else self.path


def make_filesystem(
    path: str, size: int, fs: Filesystem, *, scratch: str, timeout: float, tree: str | None = None
) -> None:
    """Makes one file system of the whole file, filled from the folder ``tree``; its holes stay holes."""
    config = write(os.path.join(scratch, "mke2fs.conf"), _MKE2FS)
    fs_uuid = fs.uuid or str(uuidlib.uuid4())
    argv = [program("mke2fs"), "-q", "-F", "-t", fs.type or "ext4", "-U", fs_uuid, "-m", "1"]
    argv += ["-E", f"root_owner=0:0,hash_seed={fs_uuid},lazy_itable_init=1"]
    argv += (["-L", fs.label] if fs.label else []) + (["-d", tree] if tree else [])
    with open(path, "xb") as file:
        file.truncate(size)
    what = f"Cannot make the file system of {size} bytes (is it too small for its content?)"
    _command.run([*argv, path, f"{size // 1024}k"], timeout=timeout, env={"MKE2FS_CONFIG": config}, what=what)


def repair(part: Part, timeout: float) -> None:
    """Replays the journal and puts right what can be put right without a question."""
    what = "The file system of the image is damaged; repair it with e2fsck by hand first"
    _command.run([program("e2fsck"), "-f", "-p", part.name], timeout=timeout, ok=(0, 1), what=what)


def verify(part: Part, timeout: float) -> None:
    """Fails unless the file system is without any fault."""
    what = "The file system that was made is not sound"
    _command.run([program("e2fsck"), "-f", "-n", part.name], timeout=timeout, what=what)


def grow(part: Part, timeout: float) -> None:
    """Makes a repaired file system as large as its part."""
    argv = [program("resize2fs"), part.name, f"{part.size // 1024}K"]
    _command.run(argv, timeout=timeout, what="Cannot make the file system larger")


def shrink(part: Part, size: int, timeout: float) -> None:
    """Makes a repaired file system ``size`` bytes large; raises KvmError that names the least that is possible.

    The file must be a work copy: after a failure what is on it is of no use.
    """
    try:
        # resize2fs' own estimate of the least size is far from it; with -f it goes as low as the blocks fit.
        _command.run([program("resize2fs"), "-f", part.name, f"{size // 1024}K"], timeout=timeout)
        return
    except ToolError as exc:
        needed = _least(part, timeout)
        raise KvmError(
            f"its content does not fit into {format_size(size)}; it needs {format_size(needed)} ({needed} bytes).",
            needed_size=needed,
            **exc.details,
        ) from exc


def _least(part: Part, timeout: float) -> int:
    """The least size that resize2fs gets it to; each pass finds a better estimate."""
    size = file_system_size(part)
    for _pass in range(_PASSES):
        repair(part, timeout)
        _command.run(
            [program("resize2fs"), "-M", part.name], timeout=timeout, what="Cannot make the file system smaller"
        )
        before, size = size, file_system_size(part)
        if size >= before:
            break
    return size


def file_system_size(part: Part) -> int:
    """The size of the file system in bytes, which may be less than that of its part."""
    with open(part.path, "rb") as file:
        raw = RawFile(file.fileno())
        found = ext.superblock(Window(raw, part.offset, min(part.size, raw.size - part.offset)))
    if found is None:
        raise KvmError("There is no ext2, ext3 or ext4 file system where one was a moment ago.")
    return found.size
