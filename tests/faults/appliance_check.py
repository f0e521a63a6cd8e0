# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is changed through libguestfs, looked at from outside: three starts of the appliance, and a fourth that is killed.

A disk with XFS, btrfs, swap and LVM, whose file tree is hostile, is changed in one run and read back by the kernel,
debugfs and blkid. Run as root with ansible_collections on PYTHONPATH; ends with 77 and a reason where it cannot work.
Without virtualization in the processor it takes more than a minute.
"""

from __future__ import annotations

import contextlib
import glob
import os
import pathlib
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Edit
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import appliance, make
from ansible_collections.hypervisor.kvm.tests.unit._image.flat import MISSING, converted_back, exported

MIB = 1 << 20
TIMEOUT = 300
UUID = "0a1b2c3d-1111-4222-8333-444455556666"
#: number: (start, size of the partition, size of what is made in it), in MiB
LAYOUT = {1: (1, 320, 300), 2: (321, 300, 280), 3: (621, 8, 8), 4: (629, 200, 60)}
DISK = 840 * MIB
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
ACL = bytes.fromhex("02000000 01000700ffffffff 02000600e8030000 04000500ffffffff 10000700ffffffff 20000000ffffffff")


def run(*argv: str | os.PathLike[str], text: str | None = None) -> str:
    done = subprocess.run(list(map(str, argv)), input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def cannot() -> str | None:
    """Why nothing of this works here."""
    if MISSING is not None:
        return MISSING
    if shutil.which("guestfish") is None:
        return "needs guestfish (libguestfs-tools)"
    if not glob.glob("/boot/vmlinuz*"):
        return "needs a kernel in /boot for the appliance"
    known = pathlib.Path("/proc/filesystems").read_text().split()
    missing = [
        kind
        for kind in ("xfs", "btrfs")
        if kind not in known and subprocess.run(["modprobe", kind], check=False).returncode
    ]
    return f"the kernel has no {missing[0]} to read it back" if missing else None


def accelerated() -> bool:
    """Whether the processor has virtualization, in the words of /proc/cpuinfo."""
    words = pathlib.Path("/proc/cpuinfo").read_text().split()
    return "vmx" in words or "svm" in words


def build(folder: pathlib.Path) -> pathlib.Path:
    """The disk: what is in the partitions is smaller than these, and the XFS has links that lead out of it."""
    disk = folder / "a disk,with:odd=name.img"
    with disk.open("wb") as file:
        file.truncate(DISK)
    table = "".join(f"start={start * 2048}, size={size * 2048}\n" for start, size, _made in LAYOUT.values())
    run("sfdisk", "-q", disk, text=f"label: gpt\n{table}")
    proto = folder / "proto"
    (folder / "hostname").write_text("old\n")
    proto.write_text(
        f"/none\n0 0\nd--755 0 0\netc d--755 0 0\nhostname ---644 0 0 {folder}/hostname\n"
        f"out l--777 0 0 {folder}/victim\nup l--777 0 0 ../../../../../../../../{folder}/victim\n$\n$\n"
    )
    alone = folder / "alone"
    with alone.open("wb") as file:
        file.truncate(LAYOUT[1][2] * MIB)
    run("mkfs.xfs", "-q", "-f", "-p", proto, alone)
    run("dd", f"if={alone}", f"of={disk}", "bs=1M", f"seek={LAYOUT[1][0]}", "conv=notrunc,sparse", "status=none")
    make.make_filesystem(str(disk), LAYOUT[2][0] * MIB, LAYOUT[2][2] * MIB, "btrfs", None, None, 60)
    make.make_filesystem(str(disk), LAYOUT[3][0] * MIB, LAYOUT[3][2] * MIB, "swap", None, None, 60)
    run("sfdisk", "-q", "-N", "4", disk, text=f"size={LAYOUT[4][2] * 2048}\n")
    lines = ["run", "pvcreate /dev/sda4", "vgcreate vg0 /dev/sda4", "lvcreate root vg0 40", "mkfs ext4 /dev/vg0/root"]
    run("guestfish", "--rw", "--format=raw", "-a", disk, text="\n".join(lines))
    run("sfdisk", "-q", "-N", "4", disk, text=f"size={LAYOUT[4][1] * 2048}\n")
    return disk


def edits(canary: pathlib.Path, source: pathlib.Path) -> list[Edit]:
    touch = f"touch {canary}"
    xattrs = (("security.selinux", b"system_u:object_r:etc_t:s0\0"), ("user.note", b"x"))
    binary = (("security.capability", CAPABILITY), ("user.note", b"a\0\xff\n"))
    return [
        Edit("write", "/etc/hostname", b"new\n!" + touch.encode(), mode=0o640, owner=5, group=6, xattrs=xattrs),
        Edit("write", "/etc/out", b"a file now", mode=0o4755, owner=1),
        Edit("write", "/etc/binary", b"\0binary", mode=0o751, owner=7, group=8, xattrs=binary),
        Edit("write", "/etc/acl", b"acl", mode=0o770, xattrs=(("system.posix_acl_access", ACL),)),
        Edit("write", "/etc/big", source=str(source), mode=0o600),
        Edit("mkdir", f'/etc/x" | {touch} "\n!{touch}\n'.replace(str(canary), "canary"), mode=0o711, owner=3, group=4),
        Edit("write", "/etc/\udcff~odd\\\n'\"", b"odd"),
        Edit("symlink", "/etc/link", target=f"~root\n!{touch}"),
        Edit("remove", "/etc/up"),
        Edit("remove", "/etc/never"),
        Edit("chmod", "/etc", mode=0o750),
    ]


def change(folder: pathlib.Path, disk: pathlib.Path, wanted: list[Edit]) -> None:
    """Everything in one run, on a qcow2 that is shown as a raw file, as images are changed in place."""
    commands = appliance.grow_commands("/dev/vg0/root", "ext4", physical_volume="/dev/sda4")
    # A second time there is nothing to grow, which is no error.
    commands += appliance.grow_commands("/dev/vg0/root", "ext4", physical_volume="/dev/sda4")
    commands += appliance.edit_commands(
        "/dev/vg0/root", "ext4", [Edit("write", "/file", b"in LVM")], str(folder / "one")
    )
    for number, kind in ((1, "xfs"), (2, "btrfs")):
        device = f"/dev/sda{number}"
        commands += appliance.grow_commands(device, kind)
        commands += appliance.relabel_commands(device, kind, f"new-{kind}", UUID.replace("0a", f"0{number}"))
    commands += appliance.edit_commands("/dev/sda1", "xfs", wanted, str(folder / "two"))
    commands += appliance.edit_commands(
        "/dev/sda2", "btrfs", [Edit("write", "/file", b"in btrfs")], str(folder / "three")
    )
    commands += appliance.relabel_commands("/dev/sda3", "swap", "new-swap", UUID)
    with exported(folder, disk) as (flat, _daemon):
        appliance.carry_out(str(flat), "raw", commands, TIMEOUT)
    converted_back(folder, disk)


@contextlib.contextmanager
def looked_into(folder: pathlib.Path, disk: pathlib.Path, number: int, kind: str) -> t.Iterator[bytes]:
    point = folder / "point"
    point.mkdir(exist_ok=True)
    start, size, _made = LAYOUT[number]
    run("mount", "-t", kind, "-o", f"ro,loop,offset={start * MIB},sizelimit={size * MIB}", disk, point)
    try:
        yield os.fsencode(point)
    finally:
        run("umount", point)


def file_system_size(disk: pathlib.Path, offset: int, kind: str) -> int:
    """By the words of the superblock: sb_blocksize and sb_dblocks of XFS, total_bytes of btrfs."""
    with disk.open("rb") as file:
        file.seek(offset + (0 if kind == "xfs" else 0x10070))
        head = file.read(16)
    if kind == "btrfs":
        return int.from_bytes(head[:8], "little")
    return int.from_bytes(head[4:8], "big") * int.from_bytes(head[8:16], "big")


def verify(folder: pathlib.Path, disk: pathlib.Path, wanted: list[Edit], source: pathlib.Path) -> None:
    for number, kind in ((1, "xfs"), (2, "btrfs")):
        start, size, _made = LAYOUT[number]
        assert file_system_size(disk, start * MIB, kind) == size * MIB
        shown = run("blkid", "-p", "-o", "export", "-O", str(start * MIB), "-S", str(size * MIB), disk)
        assert f"LABEL=new-{kind}\nUUID={UUID.replace('0a', f'0{number}')}\n" in shown, shown
        with looked_into(folder, disk, number, kind) as point:
            if kind == "btrfs":
                assert pathlib.Path(os.fsdecode(point), "file").read_bytes() == b"in btrfs"
            else:
                assert stat.S_IMODE(os.stat(point + b"/etc").st_mode) == 0o750
                for entry in wanted:
                    arrived(point, entry, source)
                names = {os.fsencode(os.path.basename(entry.path)) for entry in wanted[:8]}
                assert set(os.listdir(point + b"/etc")) == names
    shown = run("blkid", "-p", "-o", "export", "-O", str(LAYOUT[3][0] * MIB), "-S", str(LAYOUT[3][1] * MIB), disk)
    assert f"LABEL=new-swap\nUUID={UUID}\n" in shown, shown
    # The only logical volume begins where the data of its physical volume do.
    alone = folder / "alone"
    run(
        "dd",
        f"if={disk}",
        f"of={alone}",
        "bs=1M",
        f"skip={LAYOUT[4][0] + 1}",
        f"count={LAYOUT[4][1] - 1}",
        "status=none",
    )
    assert run("debugfs", "-R", "cat /file", alone) == "in LVM"
    stats = dict(line.split(":", 1) for line in run("dumpe2fs", "-h", alone).splitlines() if ":" in line)
    grown = int(stats["Block count"]) * int(stats["Block size"])
    assert (LAYOUT[4][1] - 8) * MIB < grown <= LAYOUT[4][1] * MIB, grown
    run("e2fsck", "-f", "-n", alone)


def arrived(point: bytes, entry: Edit, source: pathlib.Path) -> None:
    path = point + entry.path.encode("utf-8", "surrogateescape")
    if entry.action == "remove":
        assert not os.path.lexists(path), path
        return
    status = os.lstat(path)
    if entry.action == "symlink":
        assert os.readlink(path) == (entry.target or "").encode()
        return
    if entry.action == "chmod":
        return
    assert (status.st_uid, status.st_gid) == (entry.owner, entry.group), path
    assert stat.S_IMODE(status.st_mode) == entry.mode, (path, oct(status.st_mode))
    if entry.action == "write":
        with open(path, "rb") as file:
            assert file.read() == (source.read_bytes() if entry.source else entry.content), path
    # XFS shows an ACL a second time, under the name that it has on the disk.
    names = [name for name in os.listxattr(path) if not name.startswith("trusted.SGI_ACL_")]
    found = {name: os.getxattr(path, name) for name in names}
    assert found == dict(entry.xattrs), (path, found)


def killed(disk: pathlib.Path) -> None:
    """A kill of the task ends the virtual machine."""
    script = (
        "import sys; from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import appliance;"
        "appliance.carry_out(sys.argv[1], 'raw', [appliance.command('sleep', 600)], 900)"
    )
    env = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", script, str(disk)], env=env) as child:
        wait(lambda: any(name.startswith("qemu") for name in users(disk)), 60)
        child.kill()
    wait(lambda: not users(disk), 20)


def users(disk: pathlib.Path) -> list[str]:
    """The names of the programs that have the disk open, or in their command line."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            here = any(os.fsencode(disk) in word.replace(b",,", b",") for word in words)
            if here and int(folder.name) != os.getpid():
                found.append(os.path.basename(os.fsdecode(words[0])))
    return found


def wait(condition: t.Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.1)


def refused(folder: pathlib.Path) -> None:
    """An error inside is an error here, with libguestfs' own words; the disk is the qcow2 itself."""
    disk = folder / "disk.qcow2"
    said = ""
    try:
        appliance.edit(str(disk), "qcow2", "/dev/sda9", "xfs", [Edit("mkdir", "/x")], str(folder), TIMEOUT)
    except KvmError as error:
        said = f"{error.message} {error.details}"
    assert "/dev/sda9" in said, said


def main() -> int:
    """Runs all of it."""
    reason = cannot()
    if reason is not None:
        print(f"SKIPPED: {reason}")
        return 77
    if platform.machine() == "x86_64" and not accelerated():
        # There may be a /dev/kvm all the same, on which a guest hangs.
        os.environ.setdefault("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg")
    with tempfile.TemporaryDirectory(prefix="appliance_check.", dir="/var/tmp") as name:
        folder = pathlib.Path(name)
        (folder / "victim").write_text("of the host")
        source = folder / "source"
        source.write_bytes(os.urandom(2 * MIB + 3))
        started = time.monotonic()
        disk = build(folder)
        wanted = edits(folder / "canary", source)
        change(folder, disk, wanted)
        verify(folder, disk, wanted, source)
        refused(folder)
        killed(disk)
        assert (folder / "victim").read_text() == "of the host"
        assert not (folder / "canary").exists()
        assert not pathlib.Path("canary").exists()
        print(f"all as it should be, {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
