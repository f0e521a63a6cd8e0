# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Growing a partition: what sfdisk, sgdisk and blkid say of a disk before, after, and at every write between."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import random
import re
import shutil
import struct
import subprocess
import tempfile
import typing as t
import uuid
import zlib

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, InvalidSpec, KvmError, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import layout
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import RawFile
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.layout_room import Plan
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

MIB = 1 << 20
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
Contents = dict[int, t.Optional[str]]


def run(*words: object, stdin: str = "", ok: bool = True) -> str:
    program = shutil.which(str(words[0]), path=PATH)
    if program is None:
        pytest.skip(f"the program {words[0]} is not installed")
    done = subprocess.run([program, *map(str, words[1:])], input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not ok, done.stderr + done.stdout
    return done.stdout


class Disk:
    """An image with a table by sfdisk and what its partitions hold."""

    def __init__(
        self, folder: pathlib.Path, script: str, size: int = 128 * MIB, contents: Contents | None = None
    ) -> None:
        self.path = folder / "disk"
        self.path.unlink(missing_ok=True)
        with self.path.open("wb") as file:
            file.truncate(size)
        run("sfdisk", "-q", "--no-tell-kernel", "--no-reread", self.path, stdin=script)
        self.contents = dict(contents or {})
        self.fill()

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def table(self) -> tables.Table:
        with self.path.open("rb") as file:
            return tables.read(RawFile(file.fileno()))

    def fill(self) -> None:
        """Real file systems, made elsewhere where mkfs knows no offset."""
        for item in self.table().partitions:
            kind = self.contents.get(item.number)
            if kind is None:
                continue
            part = self.path.with_suffix(".part")
            with part.open("wb") as file:
                file.truncate(item.size)
            words = ["mkswap", "-q"] if kind == "swap" else ["mke2fs", "-q", "-t", kind]
            if kind == "vfat":
                run("mkfs.vfat", "-n", f"LABEL{item.number}", part)
            else:
                run(*words, "-L", f"label{item.number}", part)
            with self.path.open("r+b") as file:
                file.seek(item.offset)
                file.write(part.read_bytes())
            part.unlink()

    def plan(self, number: int, size: int) -> Plan:
        """Made on the disk as it was, applied to the larger one."""
        with self.path.open("rb") as file:
            return layout.grow(RawFile(file.fileno()), self.table(), number, size, self.contents)

    def enlarge(self, size: int) -> None:
        os.truncate(self.path, size)

    def copy(self, plan: Plan) -> None:
        with self.path.open("r+b") as file:
            for move in plan.moves:
                # What is not in the plan's care must not be needed: a swap area is its header alone.
                file.seek(move.old_offset)
                data = file.read(move.copied)
                file.seek(move.new_offset)
                file.write(data)

    def write(self, patch: layout.Patch) -> None:
        with self.path.open("r+b") as file:
            file.seek(patch.offset)
            file.write(patch.data)

    def grow(self, number: int, size: int) -> Plan:
        plan = self.plan(number, size)
        self.enlarge(size)
        self.copy(plan)
        for patch in plan.patches:
            self.write(patch)
        return plan

    def said(self) -> dict[str, t.Any]:
        """sfdisk's view; places by number, and all the rest."""
        said = json.loads(run("sfdisk", "--json", self.path))["partitiontable"]
        parts = {int(item.pop("node")[len(str(self.path)) :]): item for item in said["partitions"]}
        return {
            "id": said["id"],
            "places": {number: (item.pop("start"), item.pop("size")) for number, item in parts.items()},
            "rest": parts,
        }

    def held(self) -> dict[int, str]:
        """What blkid sees at each place that sfdisk names."""
        return {
            number: run(
                "blkid", "-p", "-O", start * 512, "-S", size * 512, "-o", "export", self.path, ok=False
            ).partition("\n")[2]
            for number, (start, size) in self.said()["places"].items()
            if self.contents.get(number)
        }

    def verify(self) -> None:
        assert "No errors detected" in run("sfdisk", "--verify", self.path)


def facts(text: str) -> list[str]:
    return [line for line in text.splitlines() if re.match(r"TYPE|UUID|LABEL", line)]


def check(disk: Disk, number: int, size: int) -> Plan:
    """Grows and asserts that everything else is as it was."""
    before, held = disk.said(), disk.held()
    plan = disk.grow(number, size)
    disk.verify()
    after = disk.said()
    assert (after["id"], after["rest"]) == (before["id"], before["rest"])
    assert {key: facts(text) for key, text in disk.held().items()} == {key: facts(text) for key, text in held.items()}
    start, sectors = after["places"][number]
    assert (start * 512, sectors * 512) == (plan.offset, plan.size)
    moved = {move.number: move for move in plan.moves}
    for key, (old, length) in before["places"].items():
        if key in moved:
            assert after["places"][key] == (moved[key].new_offset // 512, length)
            assert moved[key].old_offset == old * 512
            assert (moved[key].new_offset - moved[key].old_offset) % MIB == 0
        elif before["rest"][key]["type"] not in {"5", "f"} and key != number:
            assert after["places"][key] == (old, length)
    return plan


GUIDE = "label: dos\nlabel-id: 0x0008c4a1\nstart=2048, size=200704, type=83, bootable\nstart=204798, size=57346, type=5\nstart=204800, size=57344, type=82\n"
LOGICAL = "label: dos\nstart=2048, size=20480, type=83\nstart=22528, type=f\nstart=24576, size=100000, type=83\nstart=126976, size=40960, type=82\n"
CLOUD = (
    "label: gpt\nfirst-lba: 34\n"
    "1: start=40960, type=L, name=root\n14: start=2048, size=6144, type=21686148-6449-6E6F-744E-656564454649\n"
    '15: start=8192, size=32768, type=U, name="EFI System", attrs="GUID:63"\n'
)


def test_the_layout_of_the_guide(tmp_path: pathlib.Path) -> None:
    disk = Disk(tmp_path, GUIDE, contents={1: "ext4", 5: "swap"})
    plan = check(disk, 1, 512 * MIB)
    places = disk.said()["places"]
    assert sum(places[5]) == 512 * MIB // 512
    assert (places[5][0] - places[2][0], sum(places[2])) == (2, sum(places[5]))
    # As before, it ends on a whole MiB.
    assert sum(places[1]) == (places[2][0] // 2048) * 2048
    assert plan.commits == len(plan.patches) - 1
    assert [(patch.offset, len(patch.data)) for patch in plan.patches] == [(places[2][0] * 512, 512), (446, 64)]
    again = disk.plan(1, 512 * MIB)
    assert (again.patches, again.moves, again.size, again.commits) == ((), (), plan.size, None)


def test_a_small_growth_moves_swap_into_itself(tmp_path: pathlib.Path) -> None:
    disk = Disk(tmp_path, GUIDE, contents={1: "ext4", 5: "swap"})
    assert check(disk, 1, 130 * MIB).moves[0].copied == 65536
    assert disk.plan(1, 130 * MIB + 4096).patches == ()


def test_the_last_partition_takes_all(tmp_path: pathlib.Path) -> None:
    disk = Disk(tmp_path, "label: dos\nsize=50M, type=83, bootable\ntype=8e\n", contents={1: "ext4"})
    check(disk, 2, 300 * MIB + 512)
    assert sum(disk.said()["places"][2]) == 600 * 1024 + 1


def test_a_gap_is_used_where_nothing_can_move(tmp_path: pathlib.Path) -> None:
    disk = Disk(tmp_path, "label: dos\nstart=2048,size=2048\nstart=100000,size=162144\n", contents={2: "ext4"})
    plan = check(disk, 1, disk.size)
    assert (plan.moves, disk.said()["places"][1]) == ((), (2048, 100000 // 2048 * 2048 - 2048))


def test_data_behind_is_moved_when_there_is_room(tmp_path: pathlib.Path) -> None:
    script = "label: dos\nsize=20M\nsize=10M, type=c\nsize=30M\nsize=10M, type=82\n"
    disk = Disk(tmp_path, script, 72 * MIB, {1: "ext4", 2: "vfat", 3: "ext4", 4: "swap"})
    with pytest.raises(
        Unsupported, match=r"partition 2 stands behind partition 1 and the disk has not grown by enough"
    ):
        disk.plan(1, 80 * MIB)
    plan = check(disk, 1, 140 * MIB)
    assert [move.kind for move in plan.moves] == ["vfat", "ext4", "swap"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [(None, "what it holds is not known here"), ("ntfs", "its ntfs would not start"), ("BitLocker", "its BitLocker")],
)
def test_what_must_not_move(tmp_path: pathlib.Path, kind: str | None, message: str) -> None:
    disk = Disk(tmp_path, GUIDE)
    disk.contents = {5: kind}
    with pytest.raises(
        Unsupported, match=f"partition 5 stands behind partition 1 and {message}.*: move or delete it first"
    ):
        disk.plan(1, 512 * MIB)


def test_a_logical_root_with_swap_behind(tmp_path: pathlib.Path) -> None:
    disk = Disk(tmp_path, LOGICAL, contents={1: "ext4", 5: "ext4", 6: "swap"})
    plan = check(disk, 5, 300 * MIB)
    places = disk.said()["places"]
    assert sum(places[2]) == 300 * MIB // 512
    assert places[6][0] > 126976
    # The table of partition 5 holds its end and the way to partition 6: it is what switches.
    assert plan.patches[-1].offset == 22528 * 512 + 446
    # The last logical partition, with nothing behind.
    check(disk, 6, 400 * MIB)
    places = disk.said()["places"]
    assert sum(places[2]) == sum(places[6]) == 400 * MIB // 512


def test_a_second_run_after_a_crash_ends_where_the_first_would_have(tmp_path: pathlib.Path) -> None:
    disk = Disk(tmp_path, LOGICAL, contents={1: "ext4", 5: "ext4", 6: "swap"})
    plan = disk.plan(5, 300 * MIB)
    disk.enlarge(300 * MIB)
    disk.copy(plan)
    for patch in plan.patches[:-1]:
        disk.write(patch)
    again = check(disk, 5, 300 * MIB)
    assert (again.moves, again.size, again.patches[-1]) == (plan.moves, plan.size, plan.patches[-1])


def test_logical_and_primary_ones_behind(tmp_path: pathlib.Path) -> None:
    script = (
        LOGICAL.replace("start=22528, type=f", "start=22528, size=163840, type=f")
        + "3: start=200000, size=20480, type=82\n"
    )
    script = (
        script.replace("start=24576", "5: start=24576").replace("start=126976", "6: start=126976, ").replace(", ,", ",")
    )
    disk = Disk(tmp_path, script, contents={5: "ext4", 6: "swap", 3: "swap"})
    plan = check(disk, 5, 200 * MIB)
    assert [move.number for move in plan.moves] == [6, 3]
    disk = Disk(tmp_path, script, contents={5: "ext4", 6: "swap", 3: "swap"})
    assert [move.number for move in check(disk, 6, 200 * MIB).moves] == [3]


def test_a_chain_in_another_order_is_refused(tmp_path: pathlib.Path) -> None:
    script = "label: dos\nstart=2048, type=5\n5: start=60000, size=10000\n6: start=4096, size=100\n7: start=90000, size=100\n"
    disk = Disk(tmp_path, script)
    disk.contents = {5: "ext4", 6: "ext4", 7: "swap"}
    with pytest.raises(Unsupported, match="not in the order of the disk"):
        disk.plan(6, 300 * MIB)
    # In front of the whole chain its order does not matter.
    behind = "2: start=4096, type=5\n1: start=2048, size=2048\n" + script.split("\n", 2)[2].replace("4096,", "8192,")
    disk = Disk(tmp_path, "label: dos\n" + behind)
    disk.contents = {5: "swap", 6: "swap", 7: "swap"}
    check(disk, 1, 400 * MIB)


def test_garbage_must_not_become_a_partition(tmp_path: pathlib.Path) -> None:
    disk = Disk(tmp_path, LOGICAL, contents={1: "ext4", 5: "ext4", 6: "swap"})
    with disk.path.open("r+b") as file:
        file.seek(22528 * 512 + 446 + 32)
        file.write(struct.pack("<B3sB3sII", 0, b"", 0x83, b"", 262144, 100))
    assert len(disk.table().partitions) == 4
    with pytest.raises(Unsupported, match="table at sector 22528 has an entry without meaning"):
        disk.plan(5, 300 * MIB)


def test_debians_cloud_layout(tmp_path: pathlib.Path) -> None:
    disk = Disk(tmp_path, CLOUD, contents={1: "ext4", 15: "vfat"})
    with disk.path.open("r+b") as file:
        file.write(b"\xeb\x63\x90 boot code")
    plan = check(disk, 1, 600 * MIB)
    assert plan.moves == ()
    assert sum(disk.said()["places"][1]) == 600 * 2048 - 33
    assert "No problems found" in run("sgdisk", "-v", disk.path)
    with disk.path.open("rb") as file:
        assert file.read(13) == b"\xeb\x63\x90 boot code"
        file.seek(446)
        assert file.read(16) == struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, 600 * 2048 - 1)
    # The table at the end is the same.
    with disk.path.open("r+b") as file:
        file.seek(512)
        file.write(bytes(512))
    assert disk.table().partitions[0].size == plan.size


def test_swap_behind_in_a_gpt(tmp_path: pathlib.Path) -> None:
    disk = Disk(
        tmp_path,
        "label: gpt\nsize=10M, type=U\nsize=40M, name=root\nsize=20M, type=S, name=swap\n",
        contents={1: "vfat", 2: "ext4", 3: "swap"},
    )
    plan = check(disk, 2, 300 * MIB)
    assert [move.number for move in plan.moves] == [3]
    assert "No problems found" in run("sgdisk", "-v", disk.path)


def test_a_hybrid_table_follows(tmp_path: pathlib.Path) -> None:
    disk = Disk(tmp_path, "label: gpt\nsize=40M\nsize=20M\n", contents={1: "ext4", 2: "swap"})
    run("sgdisk", "-h", "1:2", disk.path)
    check(disk, 1, 200 * MIB)
    found = run("sgdisk", "-v", disk.path)
    assert "No problems found" in found
    with disk.path.open("rb") as file:
        file.seek(446)
        raw = file.read(64)
    places = disk.said()["places"]
    shown = {struct.unpack_from("<II", raw, at * 16 + 8) for at in range(4)}
    assert set(places.values()) <= shown


def large_sectors(size: int) -> bytearray:
    """A GPT with sectors of 4096 bytes: p1 and p2, without help of tools, which know only 512 for files."""
    disk, end = bytearray(size), size // 4096 - 1
    disk[446:462] = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, end)
    disk[510:512] = b"\x55\xaa"
    raw = bytearray(128 * 128)
    for index, (first, last) in enumerate([(256, 2047), (2048, 4095)]):
        kind = uuid.UUID("0FC63DAF-8483-4772-8E79-3D69D8477DE4").bytes_le
        struct.pack_into("<16s16sQQ", raw, index * 128, kind, uuid.UUID(int=index + 1).bytes_le, first, last)
    for own, other, at in ((1, end, 2), (end, 1, end - 4)):
        head = bytearray(92)
        struct.pack_into(
            "<8sIIIIQQQQ16sQIII", head, 0, b"EFI PART", 0x10000, 92, 0, 0, own, other, 6, end - 5,
            uuid.UUID(int=99).bytes_le, at, 128, 128, zlib.crc32(raw),
        )  # fmt: skip
        struct.pack_into("<I", head, 16, zlib.crc32(head))
        disk[own * 4096 : own * 4096 + 92] = head
        disk[at * 4096 : at * 4096 + len(raw)] = raw
    return disk


def test_sectors_of_4096_bytes(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(large_sectors(32 * MIB))
    disk = Disk.__new__(Disk)
    disk.path, disk.contents = path, {2: "swap"}
    plan = disk.grow(1, 64 * MIB)
    assert (plan.offset, plan.moves[0].new_offset) == (MIB, 55 * MIB)
    assert plan.size == 54 * MIB
    for option in ([], ["--backup"]):
        if option:
            with path.open("r+b") as file:
                file.seek(4096)
                file.write(bytes(4096))
        first, second = disk.table().partitions
        assert (first.end, second.offset, second.size) == (55 * 256, 55 * MIB, 8 * MIB)
        said = run("parted", "-sm", path, "unit", "B", "print", ok=False)
        assert said or not option
    end = 64 * MIB // 4096 - 1
    assert struct.unpack("<I", path.read_bytes()[446 + 12 : 446 + 16]) == (end,)


def test_an_mbr_ends_where_32_bits_end(tmp_path: pathlib.Path) -> None:
    disk = Disk(tmp_path, "label: dos\nsize=50M\n")
    check(disk, 1, 3 << 40)
    assert disk.said()["places"][1] == (2048, 0xFFFFFFFF - 2048)
    assert disk.plan(1, 4 << 40).patches == ()


def test_cylinders_are_kept_up(tmp_path: pathlib.Path) -> None:
    """What sfdisk writes for the same places, byte for byte."""
    for size in (400 * MIB, 20 << 30):
        disk = Disk(tmp_path, GUIDE, contents={5: "swap"})
        disk.grow(1, size)
        places = disk.said()["places"]
        lines = [
            f"start={start}, size={length}, type={kind}"
            for (start, length), kind in zip(places.values(), ("83, bootable", "5", "82"))
        ]
        script = "\n".join(["label: dos", "label-id: 0x0008c4a1", *lines]) + "\n"
        (tmp_path / "other").mkdir(exist_ok=True)
        other = Disk(tmp_path / "other", script, size)
        for offset in (0, places[2][0] * 512):
            with disk.path.open("rb") as ours, other.path.open("rb") as theirs:
                ours.seek(offset + 440)
                theirs.seek(offset + 440)
                assert ours.read(72) == theirs.read(72)


def test_other_forms_of_addresses(tmp_path: pathlib.Path) -> None:
    disk = Disk(tmp_path, "label: dos\nsize=50M\n")
    with disk.path.open("r+b") as file:
        file.seek(446 + 5)
        file.write(b"\1\2\3")
    disk.grow(1, 200 * MIB)
    with disk.path.open("rb") as file:
        file.seek(446)
        assert file.read(8) == b"\0\x20\x21\0\x83\xfe\xff\xff"


def test_wrong_questions(tmp_path: pathlib.Path) -> None:
    disk = Disk(tmp_path, GUIDE, contents={5: "swap"})
    with pytest.raises(InvalidSpec, match=r"no partition 3 \(but 1, 2, 5\)"):
        disk.plan(3, 512 * MIB)
    with pytest.raises(InvalidSpec, match="partition 2 is an extended partition"):
        disk.plan(2, 512 * MIB)
    with pytest.raises(InvalidSpec, match="too small for partition"):
        disk.plan(1, 64 * MIB)
    gpt = Disk(tmp_path, "label: gpt\nsize=100M\n")
    with pytest.raises(InvalidSpec, match="too small for partition 1"):
        gpt.plan(1, 64 * MIB)
    with gpt.path.open("r+b") as file:
        file.seek(512)
        file.write(b"x")
    with pytest.raises(Damaged, match="at the beginning of the disk is damaged"):
        gpt.plan(1, 512 * MIB)


# --- any layout, and a crash after any write --------------------------------------------------------------------------


@dataclasses.dataclass
class Case:
    script: str
    number: int
    more: int
    kinds: random.Random


@st.composite
def cases(draw: st.DrawFn) -> Case:
    label = draw(st.sampled_from(["dos", "dos", "gpt"]))
    pieces = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 30)), min_size=1, max_size=6))
    split = draw(st.integers(0, 3))
    lines, at, begin, numbers = [], 2048, 0, []
    for index, (gap, size) in enumerate(pieces):
        at += gap * 512
        if label == "dos" and index == split and not begin and len(pieces) > split:
            begin = at = at + 7
            numbers.append(0)
            lines.append(f"{index + 1}: start={begin}, type=5")
        at += 2048 if begin else 0
        number = 5 + index - split if begin else index + 1
        numbers.append(number)
        lines.append(f"{number}: start={at}, size={size * 1024}")
        at += size * 1024
    number = draw(st.sampled_from([number for number in numbers if number]))
    more = draw(st.integers(0, 400)) * 512 * draw(st.sampled_from([1, 700]))
    return Case(f"label: {label}\n" + "\n".join(lines) + "\n", number, more, draw(st.randoms(use_true_random=False)))


def marked(disk: Disk) -> dict[int, bytes]:
    """The first bytes of each partition, by what the table says now."""
    with disk.path.open("rb") as file:
        found = {}
        for item in disk.table().partitions:
            if item.role != "extended":
                file.seek(item.offset)
                found[item.number] = file.read(512)
    return found


def layout_of(disk: Disk) -> dict[int, tuple[int, int]]:
    return {item.number: (item.start, item.sectors) for item in disk.table().partitions if item.role != "extended"}


@settings(max_examples=50, deadline=None, phases=[Phase.generate])
@given(cases())
def test_any_layout_survives_a_crash_at_any_write(case: Case) -> None:
    with tempfile.TemporaryDirectory() as folder:
        disk = Disk(pathlib.Path(folder), case.script)
        with disk.path.open("r+b") as file:
            for item in disk.table().partitions:
                if item.role != "extended":
                    disk.contents[item.number] = case.kinds.choice(["swap", "swap", "ext4"])
                    file.seek(item.offset)
                    file.write(f"I am {item.number}".encode().ljust(512, b"."))
        old, marks, size = layout_of(disk), marked(disk), disk.size + case.more
        try:
            plan = disk.plan(case.number, size)
        except Unsupported:
            return
        disk.enlarge(size)
        disk.copy(plan)
        assert (layout_of(disk), marked(disk)) == (old, marks)
        new = dict(old)
        new[case.number] = (old[case.number][0], plan.size // 512)
        new.update({move.number: (move.new_offset // 512, move.size // 512) for move in plan.moves})
        primaries = {**old, **{number: place for number, place in new.items() if number < 5}}
        for index, patch in enumerate(plan.patches):
            if len(patch.data) > 512:
                disk.write(dataclasses.replace(patch, data=patch.data[: 512 * case.kinds.randrange(1, 4)]))
                assert layout_of(disk) in (old, new)
                assert marked(disk) == marks
            disk.write(patch)
            places = disk.said()["places"]
            assert layout_of(disk) == {number: place for number, place in places.items() if number in new}
            # With logical partitions, those behind the extended one move first.
            assert layout_of(disk) in (old, new, primaries)
            assert marked(disk) == marks
            assert (layout_of(disk) == new) >= (index == plan.commits)
        if plan.patches:
            disk.verify()
            assert {key: place for key, place in disk.said()["places"].items() if key in new} == new
            assert new[case.number][1] > old[case.number][1]


@settings(max_examples=30, deadline=None)
@given(cases(), st.lists(st.tuples(st.integers(440, 511), st.integers(0, 255)), max_size=4))
def test_only_our_errors_leave(case: Case, flips: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        disk = Disk(pathlib.Path(folder), case.script)
        with disk.path.open("r+b") as file:
            for at, value in flips:
                file.seek(at)
                file.write(bytes([value]))
        disk.contents = dict.fromkeys(range(1, 20), "swap")
        try:
            disk.plan(case.number, disk.size + case.more)
        except KvmError:
            return
