# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said to guestfish: no name and no content becomes a command. The real guestfish reads it back, without a guest.

What happens inside of the appliance is in tests/faults/appliance_check.py: a start of it takes too long for here.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import tarfile
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, ToolError, ToolMissing
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Edit
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import appliance
from hypothesis import given
from hypothesis import strategies as st

need_guestfish = pytest.mark.skipif(shutil.which("guestfish") is None, reason="needs guestfish (libguestfs-tools)")
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
ACL = bytes.fromhex("02000000 01000700ffffffff 02000600e8030000 04000500ffffffff 10000700ffffffff 20000000ffffffff")


def fish(lines: t.Sequence[str]) -> bytes:
    text = "\n".join([*lines, ""]).encode()
    done = subprocess.run(["guestfish"], input=text, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def nasty(canary: pathlib.Path) -> list[bytes]:
    touch = f"touch {canary}".encode()
    texts = [
        b"", b" ", b"plain", b"~root", b"~", b"#x", b"-x", b"<x", b"!" + touch, b'"', b"\\", b'\\"', b"\\x22", b"'", b"`",
        b'" | ' + touch, b"| " + touch, b'"\n!' + touch + b"\n", b"\n!" + touch, b"\r\n!" + touch, b"x\\\n!" + touch,
        b"$(" + touch + b")", b'x" \'' + touch, b"\t", b"\xff\xfe", "\u00e4\u2028".encode(), b"correct:true", b"-",
        b"-<<END", bytes(range(1, 256)), b"*", b"{a,b}", b"%s%n",
    ]  # fmt: skip
    return texts + [text + other for text in texts[8:12] for other in texts[12:20]]


@need_guestfish
def test_guestfish_reads_back_what_was_meant(tmp_path: pathlib.Path) -> None:
    canary = tmp_path / "canary"
    words = nasty(canary)
    lines = []
    for word in words:
        lines += [appliance.command("echo", word), "echo @next@"]
    assert fish(lines).split(b"\n@next@\n") == [*words, b""]
    assert not canary.exists()


@need_guestfish
def test_a_line_that_is_too_long_would_be_a_command(tmp_path: pathlib.Path) -> None:
    canary = tmp_path / "canary"
    line = "echo " + "a" * 8186 + f"!touch {canary}"
    fish([line])
    assert canary.exists(), "guestfish has changed; the limit may no longer be needed"


@pytest.mark.parametrize("length", [7993, 8192, 100000])
def test_a_line_that_is_too_long_is_refused(length: int) -> None:
    with pytest.raises(KvmError, match="too long"):
        appliance.command("rm-f", "/" + "a" * length)
    with pytest.raises(KvmError, match="too long"):
        appliance.command("rm-f", b"/" + b"\xff" * (length // 3))


@need_guestfish
def test_the_longest_line_is_one() -> None:
    word = "a" * (8000 - len('echo ""'))
    assert fish([appliance.command("echo", word)]) == word.encode() + b"\n"


@given(st.binary(max_size=200).filter(lambda raw: 0 not in raw))
def test_quoted_is_one_line_of_plain_text(raw: bytes) -> None:
    word = appliance.quoted(raw)
    inside = word[1:-1]
    assert word[0] == word[-1] == '"'
    assert '"' not in inside
    assert all(" " <= char <= "~" for char in word)
    assert inside.encode().decode("unicode_escape").encode("latin-1") == raw


def test_a_zero_byte_is_refused() -> None:
    with pytest.raises(KvmError, match="zero byte"):
        appliance.command("rm-f", "/a\0b")


EDITS = (
    Edit("mkdir", "/etc", mode=0o750, owner=3, group=4),
    Edit("write", "/etc/file", b"content", mode=0o4755, owner=5, xattrs=(("security.selinux", b"a:b\0"),)),
    Edit("symlink", "/etc/link", target="~x | y", mode=0o777),
    Edit("chmod", "/etc", mode=0o700),
    Edit("remove", "/etc/gone"),
)


def test_the_commands_of_an_edit(tmp_path: pathlib.Path) -> None:
    commands = appliance.edit_commands("/dev/sda1", "xfs", EDITS, str(tmp_path))
    spool = f"{tmp_path}/appliance/1"
    assert commands == [
        'mount-vfs "" "xfs" "/dev/sda1" "/"',
        'mkdir-p "/etc"', 'chown "3" "4" "/etc"', 'chmod "0750" "/etc"',
        'rm-f "/etc/file"', f'upload {appliance.quoted(spool)} "/etc/file"',
        'chown "5" "0" "/etc/file"', 'chmod "04755" "/etc/file"', 'lsetxattr "security.selinux" "a:b" "4" "/etc/file"',
        'rm-f "/etc/link"', 'ln-s "\\x7ex \\x7c y" "/etc/link"', 'lchown "0" "0" "/etc/link"',
        'chown "0" "0" "/etc"', 'chmod "0700" "/etc"',
        'rm-f "/etc/gone"',
        "umount-all",
    ]  # fmt: skip
    assert pathlib.Path(spool).read_bytes() == b"content"
    assert os.stat(tmp_path / "appliance").st_mode & 0o777 == 0o700


def test_attributes_that_are_no_text_go_as_an_archive(tmp_path: pathlib.Path) -> None:
    xattrs = (("security.capability", CAPABILITY), ("user.x", b"\0\xff"), ("system.posix_acl_access", ACL))
    edit = Edit("write", "/bin/\udcffx", b"content", mode=0o755, owner=7, group=8, xattrs=xattrs)
    commands = appliance.edit_commands("/dev/VG/LV", "btrfs", [edit], str(tmp_path), subvol="@")
    spool = f"{tmp_path}/appliance/0"
    assert commands == [
        'mount-vfs "subvol=@" "btrfs" "/dev/VG/LV" "/"',
        'rm-f "/bin/\\xffx"',
        f'tar-in {appliance.quoted(spool)} "/" xattrs:true selinux:true',
        'acl-set-file "/bin/\\xffx" "access" "user::rwx,user:1000:rw-,group::r-x,mask::rwx,other::---"',
        "umount-all",
    ]
    with tarfile.open(spool, encoding="utf-8", errors="surrogateescape") as archive:
        (member,) = archive.getmembers()
        assert (member.name, member.mode, member.uid, member.gid) == ("bin/\udcffx", 0o755, 7, 8)
        assert {key: value.encode("utf-8", "surrogateescape") for key, value in member.pax_headers.items() if "xattr" in key} == {
            "SCHILY.xattr.security.capability": CAPABILITY,
            "SCHILY.xattr.user.x": b"\0\xff",
        }  # fmt: skip
        content = archive.extractfile(member)
        assert content is not None
        assert content.read() == b"content"


@pytest.mark.parametrize("path", ["relative", "/a/../b", "/", "/a//b", "/a/", "", "/.", "/a\0b"])
def test_what_is_no_path_is_refused(tmp_path: pathlib.Path, path: str) -> None:
    with pytest.raises(KvmError):
        appliance.edit_commands("/dev/sda", "xfs", [Edit("write", path, b"")], str(tmp_path))


@pytest.mark.parametrize("name", ["user.a=b", "user.\n", "user.a b"])
def test_an_attribute_that_tar_would_misread_is_refused(tmp_path: pathlib.Path, name: str) -> None:
    with pytest.raises(KvmError, match="cannot be kept"):
        appliance.edit_commands("/dev/sda", "xfs", [Edit("write", "/x", b"", xattrs=((name, b"\0\0"),))], str(tmp_path))


@given(st.binary(max_size=60))
def test_any_acl_is_text_or_an_error(raw: bytes) -> None:
    for value in (raw, b"\2\0\0\0" + raw):
        try:
            text = appliance.acl_text(value)
        except KvmError:
            continue
        assert text == "" or all(entry.count(":") == 2 for entry in text.split(","))


@pytest.mark.parametrize(
    ("kind", "volume", "expected"),
    [
        ("ext4", None, ['e2fsck "/dev/d" correct:true', 'resize2fs "/dev/d"']),
        ("xfs", None, ['mount-vfs "" "xfs" "/dev/d" "/"', 'xfs-growfs "/"', "umount-all"]),
        ("btrfs", None, ['mount-vfs "" "btrfs" "/dev/d" "/"', 'btrfs-filesystem-resize "/"', "umount-all"]),
        (
            "ext3",
            "/dev/sda2",
            [
                'pvresize "/dev/sda2"',
                'lvresize-free "/dev/d" "100"',
                'e2fsck "/dev/d" correct:true',
                'resize2fs "/dev/d"',
            ],
        ),
    ],
)
def test_the_commands_of_growing(kind: str, volume: str | None, expected: list[str]) -> None:
    assert appliance.grow_commands("/dev/d", kind, physical_volume=volume) == expected


def test_other_kinds_are_refused() -> None:
    with pytest.raises(KvmError):
        appliance.grow_commands("/dev/d", "vfat")
    with pytest.raises(KvmError):
        appliance.relabel_commands("/dev/d", "vfat", "x", None)
    with pytest.raises(KvmError):
        appliance.relabel("/disk", "raw", "/dev/d", "xfs", "much too long for it", None, 1)


def test_without_libguestfs_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_command, "_search_path", lambda: "/nonexistent")
    with pytest.raises(ToolMissing, match=r"install libguestfs-tools .* or state trust: trusted"):
        appliance.carry_out("/disk", "raw", [], 10)


def test_what_guestfish_gets(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "guestfish"
    script.write_text('#!/bin/sh\necho "$LIBGUESTFS_BACKEND" "$@"\ncat\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("LIBGUESTFS_BACKEND", "libvirt")
    said = appliance.carry_out("/a disk", "qcow2", ["one", "two"], 10)
    assert said == "direct --rw --format=qcow2 -a /a disk\nrun\none\ntwo\numount-all\n"
    script.write_text("#!/bin/sh\necho 'libguestfs: error: no such device' >&2\nexit 1\n")
    with pytest.raises(ToolError, match=r"Cannot change /a disk .*: libguestfs: error: no such device"):
        appliance.carry_out("/a disk", "qcow2", ["one", "two"], 10)
    script.write_text("#!/bin/sh\nsleep 60\n")
    with pytest.raises(ToolError, match="did not end within"):
        appliance.carry_out("/a disk", "qcow2", ["one", "two"], 0.2)


def test_a_path_in_the_name_space_of_a_daemon_is_gone_to() -> None:
    enter, path = appliance._place("/proc/4711/root/work folder/edit.raw")
    assert [os.path.basename(enter[0]), *enter[1:]] == ["nsenter", "--target", "4711", "--mount", "--"]
    assert path == "/work folder/edit.raw"
    for ordinary in ("/var/lib/disk.img", "/proc/self/root/x", "/proc/1/rootx", "/proc/4711/root", "/x/proc/1/root/y"):
        assert appliance._place(ordinary) == ([], ordinary)


def test_labels_are_looked_at_afterwards(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "guestfish"
    script.write_text("#!/bin/sh\necho noise\necho found\necho 0a1b\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    appliance.relabel("/disk", "raw", "/dev/sda", "xfs", "found", "0a1b", 10)
    appliance.relabel("/disk", "raw", "/dev/sda", "xfs", None, "0a1b", 10)
    for label, uuid in (("other", None), (None, "other")):
        with pytest.raises(KvmError, match="has not got"):
            appliance.relabel("/disk", "raw", "/dev/sda", "xfs", label, uuid, 10)
