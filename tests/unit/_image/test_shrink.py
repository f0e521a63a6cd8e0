# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images: ext file systems are made smaller; what comes out is read by dumpe2fs, debugfs and e2fsck."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import random
import re
import shutil
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, ToolError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import creation
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.content import Area, Content
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import RawFile
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.ext import Ext
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.signature import Signature
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import ImageSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import alter, extfs, inplace, shrink
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.extfs import Part
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.run import Run
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.workspace import Workspace
from ansible_collections.hypervisor.kvm.tests.unit._image import disks
from ansible_collections.hypervisor.kvm.tests.unit._image.disks import MIB

#: What the content of ``made`` takes.
CONTENT = 12 * MIB


def made(folder: pathlib.Path, kind: str, mib: int, *options: object) -> pathlib.Path:
    """A file system with data that cannot be told from any other, hard links, holes, attributes and many small files."""
    tree, source = folder / "tree", random.Random(5)
    (tree / "many").mkdir(parents=True)
    for number in range(CONTENT // MIB):
        (tree / f"data{number}").write_bytes(source.randbytes(MIB))
    os.link(tree / "data0", tree / "again")
    for number in range(500):
        (tree / f"many/a-file-with-quite-a-long-name-{number}").write_text(str(number))
    with (tree / "holes").open("wb") as file:
        file.truncate(30 * MIB)
        os.pwrite(file.fileno(), b"end", 20 * MIB)
    path = folder / "a.img"
    path.touch()
    os.truncate(path, mib * MIB)
    disks.run("mke2fs", "-q", "-F", "-t", kind, "-d", tree, *options, path)
    shutil.rmtree(tree)
    disks.run("debugfs", "-w", "-R", "ea_set /data1 security.selinux label", path)
    return path


def part(path: pathlib.Path) -> Part:
    return Part(str(path), path.stat().st_size, "ext4")


def listing(path: pathlib.Path) -> list[t.Any]:
    """All that the files are: names, inodes' fields but for where they are, content, attributes."""
    out = path.with_name("out")
    out.mkdir()
    disks.debugfs(path, f"rdump / {out}")
    found: list[t.Any] = []
    for folder, _folders, names in os.walk(out):
        for name in sorted(names):
            file = pathlib.Path(folder, name)
            found.append((str(file.relative_to(out)), file.stat().st_mode, hash(file.read_bytes())))
    shutil.rmtree(out)
    links = re.findall(r"Links: \d+", disks.debugfs(path, "stat /again"))
    return [*sorted(found), links, disks.debugfs(path, "ea_list /data1"), blocks_of_holes(path)]


def blocks_of_holes(path: pathlib.Path) -> bool:
    """Whether the file with holes still has them."""
    found = re.search(r"Blockcount: (\d+)", disks.debugfs(path, "stat /holes"))
    return found is not None and int(found[1]) * 512 < MIB


def facts(path: pathlib.Path) -> dict[str, str]:
    return dict(re.findall(r"^([A-Z][\w ]+): +(.+)$", disks.run("dumpe2fs", "-h", path), re.M))


@pytest.mark.parametrize(
    ("kind", "mib", "options"),
    [
        ("ext4", 600, ["-b", 4096, "-J", "size=64"]),
        ("ext4", 400, ["-b", 4096, "-O", "orphan_file,fast_commit,inline_data"]),
        ("ext4", 400, ["-O", "bigalloc,^resize_inode"]),
        ("ext3", 300, ["-b", 4096, "-I", 128]),
        ("ext2", 300, ["-b", 1024]),
    ],
)
def test_as_small_as_its_content_and_what_it_says_it_needs_is_enough(
    tmp_path: pathlib.Path, kind: str, mib: int, options: list[object]
) -> None:
    path = made(tmp_path, kind, mib, *options)
    exact = tmp_path / "exact.img"
    shutil.copy(path, exact)
    extfs.repair(part(path), 30)
    before = listing(path)
    with pytest.raises(KvmError, match="does not fit into 8MiB") as caught:
        shrink.shrink(part(path), 8 * MIB, 60)
    needed = caught.value.details["needed_size"]
    assert str(needed) in caught.value.message
    # Beside the data: small files, the least journal, and the inodes of a block group.
    assert CONTENT < needed <= CONTENT + 16 * MIB
    extfs.repair(part(exact), 30)
    shrink.shrink(part(exact), needed, 60)
    os.truncate(exact, needed)
    disks.check_ext(exact)
    assert listing(exact) == before
    assert ("has_journal" in facts(exact)["Filesystem features"]) == (kind != "ext2")
    assert sorted(os.listdir(tmp_path)) == ["a.img", "exact.img"]


@pytest.mark.parametrize(("kind", "options"), [("ext4", ("-b", 1024)), ("ext2", ("-N", 200000))])
def test_a_prediction_refuses_only_what_cannot_be(
    tmp_path: pathlib.Path, kind: str, options: tuple[object, ...]
) -> None:
    path = made(tmp_path, kind, 512, *options)
    with path.open("rb") as file:
        least = Ext(RawFile(file.fileno())).least()
    assert least is not None
    assert least >= CONTENT
    with pytest.raises(KvmError) as caught:
        shrink.shrink(part(path), 8 * MIB, 60)
    assert least <= caught.value.details["needed_size"]
    wanted = ImageSpec("/srv/a", size=least // 512 * 512 - 512, shrink=True)
    assert "does not fit" in (creation.unfit(wanted, Content(least=least)) or "")
    assert creation.unfit(dataclasses.replace(wanted, size=least), Content(least=least)) is None


def test_a_journal_comes_back_as_large_as_fits(tmp_path: pathlib.Path) -> None:
    path = made(tmp_path, "ext4", 2048, "-b", 4096, "-J", "size=128")
    extfs.repair(part(path), 30)
    shrink.shrink(part(path), 200 * MIB, 60)
    os.truncate(path, 200 * MIB)
    disks.check_ext(path)
    assert facts(path)["Total journal size"] == "16M"
    assert int(facts(path)["Block count"]) * 4096 == 200 * MIB


def test_a_program_that_was_killed_says_nothing_about_the_content(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path, "ext2", 64)

    def killed(*_words: object) -> None:
        raise ToolError("resize2fs did not end within 1 s", rc=-9)

    monkeypatch.setattr(shrink, "_reduce", killed)
    with pytest.raises(ToolError, match="did not end"):
        shrink.shrink(part(path), 32 * MIB, 30)


@pytest.mark.parametrize("more", [0, 512, 3584])
def test_a_disk_that_ends_within_a_block(tmp_path: pathlib.Path, more: int) -> None:
    """The size of the disk and the one that is wanted are no whole blocks."""
    path = tmp_path / "disk.raw"
    with Workspace(str(path)) as space:
        work = pathlib.Path(space.file("disk.raw"))
        made(tmp_path, "ext4", 64).rename(work)
        os.truncate(work, 64 * MIB + more)
        run = Run(ImageSpec(str(path), shrink=True), space, lambda _line: None, [])
        wanted = 40 * MIB + more
        alter.alter(run, inplace.Disk(space, str(work), "raw", 60), alter.Order(size=wanted))
        assert work.stat().st_size == wanted
        disks.check_ext(work)
        assert 40 * MIB <= int(facts(work)["Block count"]) * int(facts(work)["Block size"]) <= wanted


@pytest.mark.parametrize(
    ("kind", "table", "message"),
    [
        ("xfs", "none", "this one has xfs; state a larger size"),
        ("xfs", "gpt", "this one has xfs; state a larger size"),
        (None, "none", "none that is known"),
        ("ext4", "mbr", r"partition table \(mbr\); take the partition out"),
    ],
)
def test_what_is_not_made_smaller_is_told_what_helps(kind: str | None, table: str, message: str) -> None:
    sign = Signature(kind, None, None) if kind is not None else None
    with pytest.raises(KvmError, match=message):
        creation.check_shrink(ImageSpec("/srv/a"), Content(table=table, area=Area(None, 0, MIB, sign)))
