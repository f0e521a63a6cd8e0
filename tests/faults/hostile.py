# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images from somebody who wants to read or harm the host: their containers, and the trees of files in them."""

from __future__ import annotations

import json
import os
import shutil
import stat
import struct
import typing as t

import disks
from disks import MIB, sparse
from ground import run
from watch import Host

CLUSTER = 65536
#: What of a guest is read or written, by kvm_image or by what it declares.
FILES = (
    "etc/os-release", "usr/lib/os-release", "etc/fstab", "etc/hosts", "etc/hostname", "etc/machine-id", "etc/crypttab",
    "etc/passwd", "etc/group", "etc/shadow", "etc/motd", "etc/default/grub", "etc/network/interfaces", "etc/selinux/config",
    "etc/initramfs-tools/conf.d/resume", "root/.ssh/authorized_keys", "etc/ssh/ssh_host_rsa_key", "etc/ssh/sshd_config",
    "var/lib/dbus/machine-id", "var/lib/systemd/random-seed", "etc/cloud/cloud.cfg", "etc/netplan/50-cloud-init.yaml",
    f"boot/vmlinuz-{disks.KERNEL}", f"boot/initrd.img-{disks.KERNEL}",
)  # fmt: skip
#: The folders of a guest in which files are read and written.
FOLDERS = (
    "etc/ssh",
    "etc/netplan",
    "etc/network",
    "etc/NetworkManager",
    "etc/systemd",
    "root/.ssh",
    "root",
    "boot",
    "etc",
)


# --- containers ------------------------------------------------------------------------------------------------------


def qcow2_header(size: int, l1_entries: int, **more: int) -> bytes:
    """A header of version 3 with its L1 table in the second cluster."""
    words = [3, 0, 0, 16, size, 0, l1_entries, CLUSTER, 0, 0, 0, 0]
    head = b"QFI\xfb" + struct.pack(">IQIIQIIQQIIQ", *words)
    return head + struct.pack(">QQQII", more.get("features", 0), 0, 0, 4, 104)


def on_a_file(path: str, name: str, size: int = 64 * MIB) -> str:
    """A qcow2 that stands on the backing file ``name``."""
    run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", name, path, str(size))
    return path


def containers(host: Host, folder: str) -> t.Iterator[tuple[str, str, str]]:
    """(what it is, its path, the format that it is declared with)."""
    graph = json.dumps({"driver": "raw", "file": {"driver": "file", "filename": host.secret}})
    names = {
        "a backing file": host.secret, "a json: backing file": f"json:{graph}", "a file: backing file": f"file:{host.secret}",
        "an nbd: backing file": f"nbd:unix:{host.folder}/pipe", "a device as backing file": f"{host.folder}/device",
        "a pipe as backing file": f"{host.folder}/pipe",
    }  # fmt: skip
    for number, (what, name) in enumerate(names.items()):
        yield f"a qcow2 with {what}", on_a_file(f"{folder}/backing{number}.qcow2", name), "qcow2"
    yield "raw with the header of a qcow2", shutil.copy(f"{folder}/backing0.qcow2", f"{folder}/header.img"), "raw"
    data, other = f"{folder}/data.qcow2", f"{folder}/".ljust(len(host.secret), "x")
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={other},data_file_raw=on", data, "64M")
    os.unlink(other)
    with open(data, "r+b") as file:
        head = file.read(CLUSTER)
        file.seek(0)
        file.write(head.replace(other.encode(), host.secret.encode()))
    yield "a qcow2 with a data file", data, "qcow2"
    yield "a vmdk of a file of the host", _vmdk(f"{folder}/flat.vmdk", host.secret), "raw"


def _vmdk(path: str, extent: str) -> str:
    text = '# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\n\n'
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'{text}RW 64 FLAT "{extent}" 0\n\nddb.adapterType = "ide"\n'.ljust(4096, "\n"))
    return path


def huge(folder: str) -> t.Iterator[tuple[str, str, str]]:
    """Disks of 8 EiB."""
    yield "8 EiB raw", sparse(f"{folder}/huge.img", (1 << 63) - 4096), "raw"
    for number, size in enumerate(((1 << 63) - 512, (1 << 64) - 512, 1 << 62)):
        path = f"{folder}/huge{number}.qcow2"
        with open(path, "xb") as file:
            file.write(qcow2_header(size, 1).ljust(CLUSTER, b"\0") + bytes(CLUSTER))
        yield f"a qcow2 of {size} bytes", path, "qcow2"


def bomb(path: str, size: int, content: str) -> str:
    """A qcow2 of ``size`` bytes: its first 512 MiB are those of ``content``, compressed, and all the others the same again."""
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", content, path)
    with open(path, "r+b") as file:
        file.seek(0, os.SEEK_END)
        end = -(-file.tell() // CLUSTER) * CLUSTER
        file.seek(40)
        (l1,) = struct.unpack(">Q", file.read(8))
        file.seek(l1)
        (table,) = struct.unpack(">Q", file.read(8))
        entries = size // (CLUSTER * CLUSTER // 8)
        file.seek(table & ~(3 << 62))
        first = struct.unpack(">Q", file.read(8))[0]
        # Each cluster of the table is the first one.
        file.seek(table & ~(3 << 62))
        file.write(struct.pack(">Q", first) * (CLUSTER // 8))
        file.seek(end)
        file.write(struct.pack(">Q", table) * entries)
        file.seek(24)
        file.write(struct.pack(">Q", size))
        file.seek(36)
        file.write(struct.pack(">IQ", entries, end))
    return path


# --- trees -----------------------------------------------------------------------------------------------------------


def links(host: Host) -> dict[str, str]:
    """Ways to lead from a guest to the host; each is put before the name of a file there."""
    up = "../" * 20
    return {
        "absolute": host.folder,
        "relative": up + host.folder.lstrip("/"),
        "magic": f"/proc/self/root{host.folder}",
        "magic of init": f"/proc/1/root{host.folder}",
        "magic folder": f"/proc/self/cwd/{up}{host.folder.lstrip('/')}",
    }


def linked_files(folder: str, names: t.Iterable[str], way: str) -> str:
    """A guest some of whose files are links to the secret of the host."""
    disks.tree(folder, 0)
    for name in names:
        _replaced(f"{folder}/{name}", f"{way}/secret")
    return folder


def linked_folder(folder: str, name: str, way: str) -> str:
    """A guest one of whose folders is a link to one of the host."""
    disks.tree(folder, 0)
    _replaced(f"{folder}/{name}", f"{way}/{'ssh' if 'ssh' in name else 'etc'}")
    return folder


def odd_files(folder: str, kind: int) -> str:
    """A guest whose every file is a device, a pipe or a socket; and one that is setuid."""
    disks.tree(folder, 0)
    for name in FILES:
        os.makedirs(os.path.dirname(f"{folder}/{name}"), exist_ok=True)
        if os.path.lexists(f"{folder}/{name}"):
            os.unlink(f"{folder}/{name}")
        os.mknod(f"{folder}/{name}", 0o666 | kind, os.makedev(1, 3) if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0)
    with open(f"{folder}/bin/su", "wb") as file:
        os.fchmod(file.fileno(), 0o4755)
    return folder


def controlled(folder: str, word: str) -> str:
    """A guest that has ``word`` in the content and in the names of its files."""
    disks.tree(folder, 0)
    texts = {
        "etc/os-release": f'ID="{word}"\nVERSION_ID="{word}"\nPRETTY_NAME="{word}"\n',
        "etc/hostname": f"{word}\n",
        "etc/fstab": f"LABEL={word} / ext4 defaults 0 1\nLABEL={word}x /boot ext4 defaults 0 0\n",
        "etc/hosts": f"127.0.1.1 {word}\n",
    }
    for name, text in texts.items():
        with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
    for name in (f"vmlinuz-9{word}", f"initrd.img-9{word}"):
        with open(f"{folder}/boot/{name.replace('/', '')}", "w", encoding="utf-8") as file:
            file.write(word)
    return folder


def _replaced(path: str, target: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
    os.symlink(target, path)


def made(kind: str, tree: str, path: str) -> str:
    """The tree as a file system of a kind."""
    if kind == "ext4":
        return disks.ext4(path, 64 * MIB, tree)
    if kind == "btrfs":
        run("mkfs.btrfs", "-q", "--rootdir", tree, sparse(path, 128 * MIB))
        return path
    run("mkfs.xfs", "-q", sparse(path, 320 * MIB))
    point = f"{path}.point"
    os.mkdir(point)
    run("mount", "-o", "loop", path, point)
    try:
        run("cp", "-a", f"{tree}/.", point)
    finally:
        run("umount", point)
        os.rmdir(point)
    return path
