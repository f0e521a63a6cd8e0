# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: ext2, ext3 and ext4 in a file, by the programs of e2fsprogs. Nothing is mounted."""

from __future__ import annotations

import dataclasses
import os
import typing as t
import uuid as uuidlib

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.filesystem import Filesystem
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import ext
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import RawFile
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.disk import program
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.workspace import write

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
    """A file system that fills the raw file ``path``; ``size`` is in bytes, ``kind`` blkid's word.

    Never a file with something behind the file system: resize2fs cuts that off, whatever offset it is told.
    """

    path: str
    size: int
    kind: str

    def run(
        self,
        argv: t.Callable[[str], t.Sequence[str]],
        timeout: float,
        *,
        what: str | None = None,
        ok: t.Collection[int] = (0,),
        stdin: str | None = None,
        reads: t.Sequence[str] = (),
    ) -> _command.Finished:
        """Runs a program on it: ``argv`` makes its words from the name that the program is to open. It can open nothing else
        than the folder of the file, and ``reads``."""
        # By its descriptor: a confined program may not look into another process, which has the view of an image mounted.
        fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            name = f"/proc/self/fd/{fd}"
            confine = _command.Confine(reads=tuple(reads), writes=(os.path.dirname(self.path),))
            return _command.run(
                argv(name), timeout=timeout, what=what, ok=ok, stdin=stdin, pass_fds=(fd,), confine=confine
            )
        finally:
            os.close(fd)


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
    part.run(lambda name: [program("e2fsck"), "-f", "-p", name], timeout, ok=(0, 1), what=what)


def verify(part: Part, timeout: float, *, files: bool = True) -> None:
    """Fails unless the file system is without any fault; without ``files``, its superblock and group descriptors alone, for a
    file system whose files were checked just before and not touched since."""
    what = "The file system that was made is not sound"
    words = ["-f", "-n"] if files else ["-n"]
    part.run(lambda name: [program("e2fsck"), *words, name], timeout, what=what)


def grow(part: Part, timeout: float) -> None:
    """Makes a repaired file system as large as its part."""
    what = "Cannot make the file system larger"
    part.run(lambda name: [program("resize2fs"), name, f"{part.size // 1024}K"], timeout, what=what)


def file_system_size(part: Part) -> int:
    """The size of the file system in bytes, which may be less than that of its part."""
    return _superblock(part).size


def needs_recovery(part: Part) -> bool:
    """Whether its journal holds what is not in its place yet."""
    return _superblock(part).needs_recovery


def _superblock(part: Part) -> ext.Superblock:
    with open(part.path, "rb") as file:
        found = ext.superblock(RawFile(file.fileno()))
    if found is None:
        raise KvmError("There is no ext2, ext3 or ext4 file system where one was a moment ago.")
    return found
