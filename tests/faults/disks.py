# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks for the tests, made by the programs that everybody uses, and looked into by those as well."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import tempfile
import typing as t

from ground import run

MIB = 1 << 20
SWAP_UUID = "5a5a5a5a-1111-4222-8333-444455556666"
ROOT_UUID = "0a0a0a0a-1111-4222-8333-444455556666"
DISK_ID = "0xc0ffee01"
#: The kernel that is to be taken, and one that is older.
KERNEL, OLD_KERNEL = "6.1.0-22-test", "6.1.0-3-test"
FSTAB = f"""# what the installer wrote
UUID={ROOT_UUID} /     ext4 errors=remount-ro 0 1
UUID={SWAP_UUID} none  swap sw 0 0
tmpfs /tmp tmpfs nosuid 0 0
"""


def sparse(path: str, size: int) -> str:
    """An empty file of a size."""
    with open(path, "xb") as file:
        file.truncate(size)
    return path


def tree(folder: str, payload: int = 24) -> str:
    """The files of a small guest, with ``payload`` MiB of data that nothing compresses."""
    source = random.Random(payload)
    for name in ("etc/ssh", "etc/network", "boot", "root", "var/lib/systemd", "srv", "bin"):
        os.makedirs(f"{folder}/{name}")
    texts = {
        "etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian of the tests"\n',
        "etc/fstab": FSTAB,
        "etc/hostname": "before\n",
        "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 before\n",
        "etc/shadow": "root:*:19000:0:99999:7:::\n",
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        "etc/ssh/ssh_host_ed25519_key": "secret of the base\n",
        "var/lib/systemd/random-seed": "seed\n",
    }
    for name, text in texts.items():
        with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
    for version in (KERNEL, OLD_KERNEL):
        for name in ("vmlinuz", "initrd.img"):
            with open(f"{folder}/boot/{name}-{version}", "wb") as file:
                file.write(f"{name} {version}\n".encode() + source.randbytes(MIB // 2))
    for number in range(payload):
        with open(f"{folder}/srv/{number}", "wb") as file:
            file.write(source.randbytes(MIB))
    return folder


def ext4(path: str, size: int, folder: str | None = None, offset: int = 0, *options: str) -> str:
    """An ext4 of ``size`` bytes at ``offset`` of a file (made if it is missing), with the files of ``folder``."""
    if not os.path.exists(path):
        sparse(path, offset + size)
    argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-U", ROOT_UUID, "-E", f"offset={offset},lazy_itable_init=1", *options]
    run(*argv, *(["-d", folder] if folder else []), path, f"{size // 1024}k")
    return path


def installed(path: str, folder: str, size: int = 300) -> str:
    """The disk of an installed guest, of ``size`` MiB: MBR, ext4 at sector 2048, swap in a logical partition behind it."""
    sparse(path, size * MIB)
    root, swap = size - 30, 20
    table = f"label: dos\nlabel-id: {DISK_ID}\n"
    table += f"start=2048, size={root * 2048}, type=83, bootable\n"
    table += f"start={(root + 1) * 2048}, size={(swap + 1) * 2048}, type=5\n"
    table += f"start={(root + 2) * 2048}, size={swap * 2048}, type=82\n"
    run("sfdisk", "-q", path, text=table)
    ext4(path, root * MIB, folder, MIB)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(path)) as work:
        paste(run_mkswap(f"{work}/swap", swap * MIB), path, (root + 2) * MIB)
    return path


def run_mkswap(path: str, size: int) -> str:
    """A swap space in a file of its own."""
    run("mkswap", "-q", "-U", SWAP_UUID, "-L", "swap", sparse(path, size))
    return path


def paste(source: str, target: str, offset: int) -> None:
    """Puts the data of a file into another one."""
    run(
        "dd",
        f"if={source}",
        f"of={target}",
        "bs=64K",
        "oflag=seek_bytes",
        f"seek={offset}",
        "conv=notrunc,sparse",
        "status=none",
    )


def to_qcow2(source: str, target: str, *options: str) -> str:
    """A raw file as qcow2."""
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, source, target)
    return target


# --- looking ---------------------------------------------------------------------------------------------------------


def extents(fd: int) -> t.Iterator[tuple[int, int]]:
    """(start, end) of what is no hole."""
    end = 0
    with contextlib.suppress(OSError):
        while True:
            start = os.lseek(fd, end, os.SEEK_DATA)
            end = os.lseek(fd, start, os.SEEK_HOLE)
            yield start, end


def digest(path: str) -> str | None:
    """What is in a file, however much of it is holes; None when there is none."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        found = hashlib.sha256(str(os.fstat(fd).st_size).encode())
        for start, end in extents(fd):
            for position in range(start - start % 4096, end, 4096):
                data = os.pread(fd, 4096, position)
                if data.count(0) != len(data):
                    found.update(position.to_bytes(8, "little") + data)
        return found.hexdigest()
    finally:
        os.close(fd)


class Looked:
    """An image as a raw file for a moment, whatever it is; ``part`` gives a partition as a file of its own."""

    def __init__(self, path: str, image_format: str) -> None:
        self._folder = tempfile.mkdtemp(dir=os.path.dirname(os.path.dirname(path)))
        self.raw = path
        if image_format != "raw":
            run("qemu-img", "check", "-q", "-f", image_format, path)
            self.raw = f"{self._folder}/raw"
            run("qemu-img", "convert", "-f", image_format, "-O", "raw", path, self.raw)

    def __enter__(self) -> Looked:
        return self

    def __exit__(self, *_details: t.Any) -> None:
        shutil.rmtree(self._folder)

    @property
    def size(self) -> int:
        return os.path.getsize(self.raw)

    @property
    def table(self) -> dict[str, t.Any]:
        """The partition table as sfdisk tells it."""
        found: dict[str, t.Any] = json.loads(run("sfdisk", "--json", self.raw))["partitiontable"]
        return found

    def part(self, number: int) -> str:
        """Partition ``number`` as a file."""
        entry = next(
            p
            for p in self.table["partitions"]
            if p["node"] == f"{self.raw}{'p' if self.raw[-1].isdigit() else ''}{number}"
        )
        target = f"{self._folder}/part{number}"
        size = entry["size"] * 512
        argv = [
            f"if={self.raw}",
            f"of={target}",
            "bs=1M",
            "iflag=skip_bytes,count_bytes",
            f"skip={entry['start'] * 512}",
        ]
        run("dd", *argv, f"count={size}", "conv=sparse", "status=none")
        os.truncate(target, size)
        return target


def sound(path: str) -> None:
    """Asks e2fsck."""
    run("e2fsck", "-f", "-n", path)


def cat(path: str, name: str) -> str:
    """A file of an ext4, as debugfs sees it; empty when it is not there."""
    return run("debugfs", "-R", f'cat "{name}"', path)


def tag(path: str, name: str) -> str:
    """One of blkid's values (LABEL, UUID, TYPE)."""
    return run("blkid", "-p", "-s", name, "-o", "value", path, ok=(0, 2)).strip()
