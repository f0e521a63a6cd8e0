# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disk of the image bench: the layout of the guide, filled with files that are the same in every run."""

from __future__ import annotations

import os
import random
import shutil
import typing as t
from dataclasses import dataclass
from pathlib import Path

from common import BenchError, run, say

_MIB = 1 << 20
ROOT_UUID = "2f1c2b1e-8f0c-4f0e-9d62-0a6f6b6c2f5f"
SWAP_UUID = "6d2f0c52-7a38-4a0b-9f5d-5d2f7f0c9a11"
#: A round second, so that copies by any tool can have the same times.
_TIME = 1_700_000_000
_VERSION = "6.1.0-18-amd64"


@dataclass(frozen=True)
class Layout:
    """An MBR disk: 1 ext4, 2 extended with 5 swap; in sectors of 512 bytes. ``used`` and ``dirt`` are in bytes."""

    disk: int
    root: int
    extended: int
    used: int
    dirt: int

    start: t.ClassVar[int] = 2048
    swap: t.ClassVar[int] = 1044480

    @property
    def offset(self) -> int:
        """Where the root file system begins, in bytes."""
        return self.start * 512

    @property
    def size(self) -> int:
        """The bytes of the root partition."""
        return self.root * 512

    @property
    def swap_start(self) -> int:
        """The first sector of the swap."""
        return self.extended + 2


GUIDE = Layout(disk=10485760, root=9435136, extended=9439230, used=512 * _MIB, dirt=1536 * _MIB)
#: The same in small, to try the bench itself.
SMALL = Layout(disk=10485760 >> 2, root=1572864, extended=1576958, used=48 * _MIB, dirt=128 * _MIB)


@dataclass(frozen=True)
class Disks:
    """The same disk in several shapes."""

    sparse: Path
    full: Path
    dirty: Path
    zlib: Path
    zstd: Path

    def all(self) -> list[Path]:
        """All of them that are (still) there."""
        every = (self.sparse, self.full, self.dirty, self.zlib, self.zstd)
        return [path for path in every if path.exists()]


def make_disks(scratch: Path, layout: Layout) -> Disks:
    """Makes the disk in all its shapes but the fully allocated one."""
    names = {name: scratch / f"{name}.raw" for name in ("sparse", "full", "dirty")}
    disks = Disks(zlib=scratch / "zlib.qcow2", zstd=scratch / "zstd.qcow2", **names)
    say("making the files of the disk")
    tree = scratch / "tree"
    count = _tree(tree, layout.used)
    _disk(disks.sparse, layout, tree)
    shutil.rmtree(tree)
    say(f"the disk has {count} files; making it dirty, and compressed")
    run(["cp", "--sparse=always", disks.sparse, disks.dirty])
    _dirty(disks.dirty, layout, scratch / "dirt")
    for name, path in (("zlib", disks.zlib), ("zstd", disks.zstd)):
        argv: list[str | Path] = ["qemu-img", "convert", "-m", "8", "-W", "-c", "-o", f"compression_type={name}"]
        run([*argv, "-f", "raw", "-O", "qcow2", disks.sparse, path])
    return disks


def make_full(disks: Disks) -> None:
    """Makes the fully allocated one, which is large, only when it is needed."""
    if not disks.full.exists():
        say("making the disk fully allocated")
        run(["cp", "--sparse=never", disks.sparse, disks.full])


def _disk(path: Path, layout: Layout, tree: Path) -> None:
    with path.open("xb") as file:
        file.truncate(layout.disk * 512)
    extended = layout.disk - 2048 - layout.extended if layout is not GUIDE else layout.swap + 2
    swap = extended - 2
    lines = [
        "label: dos",
        "label-id: 0x0007c1f2",
        "unit: sectors",
        f"1 : start={layout.start}, size={layout.root}, type=83, bootable",
        f"2 : start={layout.extended}, size={extended}, type=5",
        f"5 : start={layout.swap_start}, size={swap}, type=82",
    ]
    run(["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", path], input="\n".join(lines) + "\n")
    # mke2fs takes its random numbers for the hash seed from nowhere when it is stated.
    extra = f"offset={layout.offset},hash_seed={ROOT_UUID}"
    argv: list[str | Path] = [
        "mke2fs",
        "-q",
        "-t",
        "ext4",
        "-U",
        ROOT_UUID,
        "-d",
        tree,
        "-E",
        extra,
        path,
        f"{layout.size // 1024}k",
    ]
    run(argv, env={**os.environ, "E2FSPROGS_FAKE_TIME": str(_TIME)})
    area = path.with_suffix(".swap")
    with area.open("xb") as file:
        file.truncate(swap * 512)
    run(["mkswap", "--uuid", SWAP_UUID, area])
    with area.open("rb") as source, path.open("r+b") as target:
        target.seek(layout.swap_start * 512)
        target.write(source.read(4096))
        os.fsync(target.fileno())
    area.unlink()


def _dirty(path: Path, layout: Layout, source: Path) -> None:
    """Writes files into the file system and removes them: its free blocks are full of random data."""
    piece = min(256 * _MIB, layout.dirt)
    rng = random.Random(7)
    with source.open("xb") as file:
        for _turn in range(piece // _MIB):
            file.write(rng.randbytes(_MIB))
    names = [f"dirt{number}" for number in range(layout.dirt // piece)]
    commands = [f"write {source} {name}" for name in names] + [f"rm {name}" for name in names]
    script = source.with_suffix(".commands")
    script.write_text("\n".join(commands) + "\n", encoding="utf-8")
    run(["debugfs", "-w", "-f", script, f"{path}?offset={layout.offset}"])
    source.unlink()
    script.unlink()
    run(["e2fsck", "-fn", f"{path}?offset={layout.offset}"])
    if path.stat().st_blocks * 512 < layout.used + layout.dirt * 9 // 10:
        raise BenchError("debugfs left no dirt in the free blocks")


# --- files -----------------------------------------------------------------------------------------------------------


def _tree(root: Path, wanted: int) -> int:
    """A root file system of ``wanted`` bytes, with what a kernel, an os-release and an fstab look like; counts its files."""
    rng = random.Random(3)
    kinds = ((_prose(rng), "usr/share/doc"), (_numbers(rng), "usr/lib"), (b"", "var/lib"))
    for name in ("etc", "boot", "usr/lib", "usr/share/doc", "var/lib", "home/user", "dev", "proc", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    written = _fixed(root, rng, wanted)
    count = 0
    while written < wanted:
        size = min(int(rng.lognormvariate(10.1, 1.7)) + 1, wanted // 8)
        pool, place = kinds[rng.choices(range(3), (45, 25, 30))[0]]
        data = _slices(rng, pool, size) if pool else rng.randbytes(size)
        folder = root / place / f"p{count % 97:02}"
        folder.mkdir(exist_ok=True)
        file = folder / f"f{count:05}"
        file.write_bytes(data)
        file.chmod((0o644, 0o755, 0o600)[count % 3])
        written, count = written + size, count + 1
    _odd(root)
    for folder_name, folders, files in os.walk(root):
        for name in [*folders, *files]:
            os.utime(os.path.join(folder_name, name), (_TIME, _TIME), follow_symlinks=False)
    os.utime(root, (_TIME, _TIME))
    return count


def _fixed(root: Path, rng: random.Random, wanted: int) -> int:
    (root / "etc/os-release").write_text(
        'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n',
        encoding="utf-8",
    )
    (root / "etc/fstab").write_text(
        f"# <file system> <mount point> <type> <options> <dump> <pass>\n"
        f"UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\nUUID={SWAP_UUID} none swap sw 0 0\n",
        encoding="utf-8",
    )
    kernel, initrd = min(8 * _MIB, wanted // 20), min(40 * _MIB, wanted // 10)
    # The signature of a bzImage, so that `file` and boot loaders would take it for one.
    image = bytearray(rng.randbytes(kernel))
    image[510:512], image[514:518] = b"\x55\xaa", b"HdrS"
    (root / f"boot/vmlinuz-{_VERSION}").write_bytes(image)
    (root / f"boot/initrd.img-{_VERSION}").write_bytes(rng.randbytes(initrd))
    (root / "vmlinuz").symlink_to(f"boot/vmlinuz-{_VERSION}")
    (root / "initrd.img").symlink_to(f"boot/initrd.img-{_VERSION}")
    return kernel + initrd


def _odd(root: Path) -> None:
    """What a copy can lose: a hard link, a hole, an extended attribute, an owner."""
    os.link(root / "etc/os-release", root / "usr/lib/os-release")
    with (root / "var/lib/hole").open("wb") as file:
        file.truncate(64 * _MIB)
        file.seek(32 * _MIB)
        file.write(b"in the middle")
    note = root / "home/user/note"
    note.write_text("mine\n", encoding="utf-8")
    os.setxattr(note, "user.colour", b"blue")
    os.chown(note, 1000, 1000)


def _prose(rng: random.Random) -> bytes:
    """4 MiB of words, common ones often."""
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    known = ["".join(rng.choices(letters, range(26, 0, -1), k=rng.randint(2, 11))) for _turn in range(8000)]
    weights = [1 / (rank + 2) for rank in range(len(known))]
    lines = (" ".join(rng.choices(known, weights, k=12)) for _turn in range(60_000))
    return "\n".join(lines).encode()[: 4 * _MIB]


def _numbers(rng: random.Random) -> bytes:
    """4 MiB like the tables and the code of programs: small steps, some noise."""
    value, out = 0x400000, bytearray()
    while len(out) < 4 * _MIB:
        value += rng.choice((4, 8, 16, 24, 4096))
        out += value.to_bytes(8, "little") + rng.randbytes(3) + bytes(5)
    return bytes(out)


def _slices(rng: random.Random, pool: bytes, size: int) -> bytes:
    parts: list[bytes] = []
    have = 0
    while have < size:
        start, length = rng.randrange(len(pool) - 4096), rng.randint(200, 4096)
        parts.append(pool[start : start + length])
        have += length
    return b"".join(parts)[:size]
