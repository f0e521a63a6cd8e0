# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a result of the image bench is right, by the tools of the distribution and by the kernel that mounts it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import typing as t
from pathlib import Path

from common import BenchError, run
from image_data import SWAP_UUID, Layout


def digest(image: Path, offset: int, size: int) -> str:
    """The digest of all files of a file system (names, kinds, owners, modes, times, links, attributes, content).

    The kernel mounts it read-only, in a mount namespace that is gone with its process, loop device included.
    """
    argv: list[str | Path] = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "--",
        sys.executable,
        __file__,
        image,
        str(offset),
        str(size),
    ]
    return run(argv).strip()


def clean(image: Path, offset: int = 0) -> None:
    """Raises BenchError when e2fsck finds anything."""
    run(["e2fsck", "-fn", f"{image}?offset={offset}" if offset else image])


def check_root(image: Path, offset: int, size: int, wanted: str) -> None:
    """Raises BenchError unless there is a clean file system with these files."""
    clean(image, offset)
    found = digest(image, offset, size)
    if found != wanted:
        raise BenchError(f"{image.name}: its files are not those of the source")


def partitions(image: Path) -> dict[int, tuple[int, int]]:
    """(first byte, bytes) of each partition by its number, as sfdisk reads them."""
    table = json.loads(run(["sfdisk", "--json", image]))["partitiontable"]
    return {
        int(entry["node"][len(str(image)) :]): (entry["start"] * 512, entry["size"] * 512)
        for entry in table["partitions"]
    }


def check_disk(image: Path, layout: Layout, wanted: str, grown: int = 0) -> None:
    """Raises BenchError unless it is the whole disk, its root partition larger by nearly ``grown`` bytes."""
    found = partitions(image)
    if sorted(found) != [1, 2, 5]:
        raise BenchError(f"{image.name}: its partitions are {sorted(found)}")
    offset, size = found[1]
    if offset != layout.offset or size < layout.size + grown - (64 << 20):
        raise BenchError(f"{image.name}: its root partition has {size} bytes from {offset}")
    check_root(image, offset, size, wanted)
    if grown and _blocks(image, offset) * 4096 < size - (1 << 20):
        raise BenchError(f"{image.name}: its file system has not grown with its partition")
    swap, length = found[5]
    uuid = run(
        ["blkid", "--probe", "--output", "value", "--match-tag", "UUID", "-O", str(swap), "-S", str(length), image]
    )
    if uuid.strip() != SWAP_UUID:
        raise BenchError(f"{image.name}: its swap has the UUID {uuid.strip()!r}")


def _blocks(image: Path, offset: int) -> int:
    said = run(["debugfs", "-R", "stats -h", f"{image}?offset={offset}"])
    return int(next(line.split()[-1] for line in said.splitlines() if line.startswith("Block count:")))


def check_qcow2(image: Path, layout: Layout, wanted: str) -> None:
    """The same for a qcow2, which must be compressed."""
    run(["qemu-img", "check", "-q", "-f", "qcow2", image])
    raw = image.with_suffix(".check")
    try:
        run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw])
        check_disk(raw, layout, wanted)
    finally:
        raw.unlink(missing_ok=True)


# --- in the mount namespace ------------------------------------------------------------------------------------------


def _entries(top: Path) -> t.Iterator[Path]:
    yield top
    for folder, folders, files in os.walk(top):
        folders.sort()
        yield from (Path(folder) / name for name in sorted([*folders, *files]))


def _describe(path: Path, top: Path) -> bytes:
    status = path.lstat()
    words: list[t.Any] = [str(path.relative_to(top)), oct(status.st_mode), status.st_uid, status.st_gid]
    names = sorted(os.listxattr(path, follow_symlinks=False))
    words += [(name, os.getxattr(path, name, follow_symlinks=False).hex()) for name in names]
    if stat.S_ISLNK(status.st_mode):
        words.append(os.readlink(path))
    elif stat.S_ISREG(status.st_mode):
        with path.open("rb") as file:
            content = hashlib.sha256()
            while data := file.read(1 << 20):
                content.update(data)
        words += [status.st_size, status.st_nlink, status.st_mtime_ns, content.hexdigest()]
    return json.dumps(words).encode()


def _mounted() -> None:
    image, offset, size = sys.argv[1:]
    # Nobody else is in this namespace: any folder will do.
    options = f"ro,noload,nodev,nosuid,noexec,loop,offset={offset},sizelimit={size}"
    run(["mount", "-t", "ext4", "-o", options, image, "/mnt"])
    try:
        every = hashlib.sha256()
        for path in _entries(Path("/mnt")):
            every.update(_describe(path, Path("/mnt")))
        print(every.hexdigest())
    finally:
        run(["umount", "/mnt"])


if __name__ == "__main__":
    _mounted()
