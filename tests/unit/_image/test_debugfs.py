# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images: files of an ext file system are changed by debugfs, planned on what is there; read back by debugfs itself."""

from __future__ import annotations

import pathlib
import re
import shutil
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Edit, Planner
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import RawFile
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.ext import Ext
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.tree import Tree
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import debugfs
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.extfs import Part
from ansible_collections.hypervisor.kvm.tests.unit._image import disks
from ansible_collections.hypervisor.kvm.tests.unit._image.disks import MIB, Link
from hypothesis import given, settings
from hypothesis import strategies as st

FILES: dict[str, t.Any] = {
    "etc/shadow": "root:*:1:::::\n",
    "etc/ssh": None,
    "etc/resolv.conf": Link("/etc/hostname"),
    "etc/os-release": Link("../usr/lib/os-release"),
    "usr/lib/os-release": "ID=tiny\n",
    "root": None,
    "out": Link("/../../etc"),
    "usr/gone": Link("/none/there"),
    "top": "in the top folder",
    "blank in it/file": "x",
}


@pytest.fixture(name="made", scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A file system with the files of a small system, and with links that lead out of it."""
    path = disks.make_ext(tmp_path_factory.mktemp("debugfs") / "a.img", 8 * MIB, FILES)
    disks.run("debugfs", "-w", "-R", "ea_set /etc/shadow security.selinux label", path)
    disks.run("debugfs", "-w", "-R", "sif /etc/shadow mode 0100640", path)
    disks.run("debugfs", "-w", "-R", "sif /etc/shadow gid 42", path)
    return path


@pytest.fixture(name="image")
def _image(made: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "a.img"
    shutil.copy(made, path)
    return path


def change(image: pathlib.Path, *edits: Edit) -> None:
    """Carries out the changes; the file system is sound afterwards."""
    scratch = image.with_name("scratch")
    scratch.mkdir(exist_ok=True)
    debugfs.apply(Part(str(image), image.stat().st_size, "ext4"), edits, str(scratch), 30)
    disks.check_ext(image)


def planner(image: pathlib.Path, *paths: str) -> Planner:
    with image.open("rb") as file:
        return Planner("image a", snapshot.take(Tree(Ext(RawFile(file.fileno()))), paths))


def read(image: pathlib.Path, path: str) -> str | None:
    """The content of a file, as debugfs has it; links are followed as it does."""
    target = image.with_name("dumped")
    target.unlink(missing_ok=True)
    disks.run("debugfs", "-R", f'dump "{path}" {target}', image)
    return target.read_bytes().decode("utf-8", "surrogateescape") if target.exists() else None


def facts(image: pathlib.Path, path: str) -> tuple[str, int, int, int] | None:
    """Kind, mode, owner and group of an entry of a folder; a link is not followed."""
    folder, _slash, name = path.rpartition("/")
    for line in disks.debugfs(image, f'ls -p "{folder or "/"}"').splitlines():
        words = line.split("/")
        if len(words) > 5 and words[5] == name:
            kind = {"10": "file", "12": "symlink", "04": "directory"}[words[2][:2]]
            return kind, int(words[2][2:], 8), int(words[3]), int(words[4])
    return None


def xattrs(image: pathlib.Path, path: str) -> dict[str, str]:
    found = re.findall(r"^\s+(\S+) \(\d+\)(?: = \"(.*)\")?", disks.debugfs(image, f'ea_list "{path}"'), re.M)
    return dict(found)


def test_files_are_written_with_their_owner_and_mode(image: pathlib.Path) -> None:
    plan = planner(image, "/etc/new/deep/file", "/etc/shadow", "/etc/empty", "/root/.ssh", "/root")
    plan.write("/etc/new/deep/file", "text\n", 0o600, 33, 44)
    plan.rewrite("/etc/shadow", "root:x:1:::::\n")
    plan.write("/etc/empty", "", 0o4755, 65535, 65534)
    plan.mkdir("/root", 0o700)
    plan.mkdir("/root/.ssh", 0o700)
    change(image, *plan.edits)
    assert facts(image, "/etc/new/deep/file") == ("file", 0o600, 33, 44)
    assert facts(image, "/etc/new/deep") == ("directory", 0o755, 0, 0)
    assert facts(image, "/etc/shadow") == ("file", 0o640, 0, 42)
    assert facts(image, "/etc/empty") == ("file", 0o4755, 65535, 65534)
    assert facts(image, "/root/.ssh") == ("directory", 0o700, 0, 0)
    assert facts(image, "/root") == ("directory", 0o700, 0, 0)
    assert read(image, "/etc/new/deep/file") == "text\n"
    assert read(image, "/etc/shadow") == "root:x:1:::::\n"
    assert read(image, "/etc/empty") == ""
    again = planner(image, "/etc/new/deep/file", "/etc/shadow", "/etc/empty", "/root/.ssh", "/root")
    again.write("/etc/new/deep/file", "text\n", 0o600, 33, 44)
    again.rewrite("/etc/shadow", "root:x:1:::::\n")
    again.write("/etc/empty", "", 0o4755, 65535, 65534)
    again.mkdir("/root", 0o700)
    again.mkdir("/root/.ssh", 0o700)
    assert again.edits == []


def test_links_are_looked_up_in_the_image_and_replaced_not_followed(image: pathlib.Path) -> None:
    plan = planner(image, "/etc/resolv.conf", "/out/escaped", "/etc/os-release")
    assert plan.snapshot.text("/etc/os-release") == "ID=tiny\n"
    plan.write("/etc/resolv.conf", "nameserver 192.0.2.1\n", 0o644)
    plan.write("/out/escaped", "inside\n", 0o644)
    plan.rewrite("/etc/os-release", "ID=other\n")
    change(image, *plan.edits)
    assert facts(image, "/etc/resolv.conf") == ("file", 0o644, 0, 0)
    assert facts(image, "/etc/hostname") is None
    assert read(image, "/etc/escaped") == "inside\n"
    assert not pathlib.Path("/etc/escaped").exists()
    assert facts(image, "/etc/os-release") == ("symlink", 0o777, 0, 0)
    assert read(image, "/usr/lib/os-release") == "ID=other\n"


def test_extended_attributes_stay_and_come(image: pathlib.Path) -> None:
    plan = planner(image, "/etc/shadow")
    plan.rewrite("/etc/shadow", "root:y:1:::::\n")
    more = (("security.selinux", b"system_u:object_r:etc_t:s0\0"), ("user.odd", bytes(range(256))))
    change(image, *plan.edits, Edit("write", "/etc/x", b"x", xattrs=more), Edit("mkdir", "/etc/d", xattrs=more[:1]))
    assert xattrs(image, "/etc/shadow") == {"security.selinux": "label"}
    with image.open("rb") as file:
        found = Tree(Ext(RawFile(file.fileno()))).find("/etc/x")
        assert found is not None
        assert found.volume.xattrs(found.node) == dict(more)
    assert set(xattrs(image, "/etc/x")) == {"security.selinux", "user.odd"}
    assert set(xattrs(image, "/etc/d")) == {"security.selinux"}


def test_every_action(image: pathlib.Path, tmp_path: pathlib.Path) -> None:
    source = tmp_path / "from here"
    source.write_bytes(bytes(range(256)) * 5000)
    change(
        image,
        Edit("mkdir", "/a folder", mode=0o750, owner=1, group=2),
        Edit("write", "/a folder/b", b"\0\xff\n", 0o640, 3, 4),
        Edit("write", "/a folder/big", None, 0o444, source=str(source)),
        Edit("symlink", "/a folder/link", target="../etc/shadow"),
        Edit("symlink", "/etc/resolv.conf", target="gone", replaces=True),
        Edit("chmod", "/etc/ssh", mode=0o711, owner=7, group=8),
        Edit("write", "/usr/lib/os-release", b"new", replaces=True),
        Edit("remove", "/blank in it/file", replaces=True),
        Edit("remove", "/usr/gone", replaces=True),
    )
    assert facts(image, "/a folder") == ("directory", 0o750, 1, 2)
    assert facts(image, "/a folder/b") == ("file", 0o640, 3, 4)
    assert read(image, "/a folder/b") == "\0\udcff\n"
    assert read(image, "/a folder/big") == source.read_bytes().decode("utf-8", "surrogateescape")
    assert facts(image, "/a folder/big") == ("file", 0o444, 0, 0)
    assert facts(image, "/a folder/link") == ("symlink", 0o777, 0, 0)
    assert 'Fast link dest: "../etc/shadow"' in disks.debugfs(image, 'stat "/a folder/link"')
    assert 'Fast link dest: "gone"' in disks.debugfs(image, "stat /etc/resolv.conf")
    assert facts(image, "/etc/ssh") == ("directory", 0o711, 7, 8)
    assert read(image, "/usr/lib/os-release") == "new"
    assert facts(image, "/blank in it/file") is None
    assert facts(image, "/blank in it") == ("directory", 0o755, 0, 0)
    assert facts(image, "/usr/gone") is None


HOSTILE = ('/etc/"x', "/etc/x\ny", "/etc/\\x", "/etc/\0x", "/etc/\x1b[2J", '/etc/x"\nrm "shadow', '/e"\nq\n"/x')


def test_what_could_be_another_command_is_refused(image: pathlib.Path) -> None:
    before = image.read_bytes()
    for path in HOSTILE:
        for action in ("write", "mkdir", "chmod", "symlink", "remove"):
            with pytest.raises(KvmError, match="no quotes"):
                change(image, Edit(action, path, b"", target="x"))
    assert image.read_bytes() == before


def test_hostile_targets_attributes_and_sources_are_refused(image: pathlib.Path) -> None:
    before = image.read_bytes()
    for edit in (
        Edit("symlink", "/x", target='a"\nrm /etc/shadow'),
        Edit("write", "/x", b"", xattrs=(("user.a\nrm /etc/shadow", b""),)),
        Edit("write", "/x", b"", xattrs=(('user."', b""),)),
        Edit("mkdir", "/x", xattrs=(("user.a b", b""),)),
        Edit("write", "/x", source='/tmp/"x'),
    ):
        with pytest.raises(KvmError, match=r"no quotes|cannot be kept"):
            change(image, edit)
    assert image.read_bytes() == before


def test_what_debugfs_refuses_is_an_error(image: pathlib.Path) -> None:
    full = image.with_name("full")
    full.write_bytes(b"\1" * (9 * MIB))
    for edit in (
        Edit("remove", "/etc/not there"),
        Edit("write", "/not/there", b""),
        Edit("mkdir", "/etc"),
        Edit("chmod", "/none"),
        Edit("symlink", "/etc/shadow", target="x"),
        Edit("write", "/etc/full", source=str(full)),
    ):
        with pytest.raises(KvmError, match="debugfs refused"):
            change(image, edit)


NAMES = st.text(st.characters(blacklist_characters='/"\\', blacklist_categories=("Cc", "Cs")), min_size=1).filter(
    lambda name: name not in (".", "..") and len(name.encode()) <= 255
)


@settings(max_examples=8)
@given(st.dictionaries(NAMES, st.tuples(st.binary(max_size=70), st.integers(0, 0o7777), st.integers(0, 1 << 31))))
def test_whatever_a_file_is_called(
    made: pathlib.Path, tmp_path_factory: pytest.TempPathFactory, wanted: dict[str, tuple[bytes, int, int]]
) -> None:
    image = tmp_path_factory.mktemp("names") / "a.img"
    shutil.copy(made, image)
    change(image, *(Edit("write", f"/root/{name}", data, mode, owner) for name, (data, mode, owner) in wanted.items()))
    with image.open("rb") as file:
        tree = Tree(Ext(RawFile(file.fileno())))
        assert tree.names("/root") == sorted(wanted)
        for name, (data, mode, owner) in wanted.items():
            found = tree.find(f"/root/{name}")
            assert found is not None
            assert (found.node.mode, found.node.owner) == (mode, owner)
            assert found.volume.read(found.node, 0, 100) == data
