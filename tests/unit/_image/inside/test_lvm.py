# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images, inside: LVM2. Physical volumes are made by hand, by the format; lvmconfig reads the same texts, dmsetup takes the
same names apart, and, where this is root and has loop devices, lvm makes groups and tells where their extents are.
"""

from __future__ import annotations

import json
import os
import pathlib
import random
import re
import shutil
import struct
import subprocess
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, KvmError, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import lvm, lvm_text
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.ext import Ext
from ansible_collections.hypervisor.kvm.tests.unit._image.inside.physical import (
    COUNT,
    EXTENT,
    FIRST,
    KIB,
    MDA,
    MDA_SIZE,
    MIB,
    ROOT,
    SIZE,
    Bytes,
    crc,
    extent,
    fast_crc,
    group,
    identity,
    label,
    patched,
    physical,
    ring,
    segment,
    store,
    volume,
)
from ansible_collections.hypervisor.kvm.tests.unit.ends import ends
from hypothesis import given, settings
from hypothesis import strategies as st

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def run(*words: object, ok: bool = True, **environment: str) -> str:
    program = shutil.which(str(words[0]), path=PATH)
    if program is None:
        pytest.skip(f"the program {words[0]} is not installed")
    done = subprocess.run(
        [program, *map(str, words[1:])],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "LC_ALL": "C.UTF-8", "LVM_SUPPRESS_FD_WARNINGS": "1", **environment},
    )
    assert done.returncode == 0 or not ok, f"{words}: {done.stderr}"
    return done.stdout if done.returncode == 0 else ""


def everything(found: lvm.LogicalVolume) -> bytes:
    assert found.reader is not None, found.problem
    assert found.problem is None
    assert found.reader.size == found.size
    return found.reader.read(0, found.size)


def test_the_checksum_is_that_of_lvm() -> None:
    assert fast_crc(b"123456789") == crc(b"123456789")


def test_a_volume_in_one_piece() -> None:
    (found,) = lvm.volumes({1: Bytes(bytes(4096)), 2: physical(text=group(ROOT))})
    assert (found.vg, found.name, found.uuid, found.size) == ("vg-0", "root", identity("v"), 5 * EXTENT)
    assert (found.pv, found.contiguous) == (2, (2, FIRST + 3 * EXTENT))
    data = b"".join(extent("A", number) for number in range(3, 8))
    assert everything(found) == data
    assert found.reader is not None
    for offset, length in (
        (0, 1),
        (5, 5000),
        (EXTENT - 1, 2),
        (5 * EXTENT - 1, 10),
        (5 * EXTENT, 1),
        (1 << 40, 1),
        (3, 0),
    ):
        assert found.reader.read(offset, length) == data[offset : offset + length]


def test_a_volume_in_pieces_on_two_areas() -> None:
    parts = volume(
        "root",
        segment(6, 2, ("pvA", 20)),
        segment(0, 2, ("pvB", 9)),
        segment(2, 3, ("pvB", 11)),
        segment(5, 1, ("pvA", 1)),
    )
    text = group(parts, stores=[store("A"), store("B")])
    (found,) = lvm.volumes({2: physical("A", text), 5: physical("B", text)})
    places = [("B", number) for number in range(9, 14)] + [("A", 1), ("A", 20), ("A", 21)]
    data = b"".join(extent(*place) for place in places)
    assert everything(found) == data
    assert (found.pv, found.contiguous) == (5, None)
    assert found.reader is not None
    chance = random.Random(1)
    for _turn in range(200):
        offset, length = chance.randrange(len(data)), chance.randrange(3 * EXTENT)
        assert found.reader.read(offset, length) == data[offset : offset + length]


def test_neighbouring_segments_are_one_piece() -> None:
    text = group(volume("root", segment(0, 2, ("pvA", 9)), segment(2, 3, ("pvA", 11))))
    (found,) = lvm.volumes({None: physical(text=text)})
    assert found.contiguous == (None, FIRST + 9 * EXTENT)


@pytest.mark.parametrize(("sector", "at"), [(0, 32), (1, 32), (2, 32), (3, 32), (1, 48), (3, 300)])
def test_where_the_label_can_be(sector: int, at: int) -> None:
    assert [item.name for item in lvm.volumes({1: physical(text=group(ROOT), sector=sector, at=at)})] == ["root"]


def test_what_is_no_label() -> None:
    disk = physical(text=group(ROOT))
    assert not lvm.volumes({1: patched(disk, 512 + 100, b"\1")}), "its checksum is wrong"
    assert not lvm.volumes({1: patched(disk, 512 + 24, b"LVM1 001")})
    assert not lvm.volumes({1: patched(Bytes(disk.data[512:]), 0, disk.data[512:1024])}), "it is for another sector"
    assert not lvm.volumes({None: Bytes(b""), 1: Bytes(b"LABELONE")})
    assert not lvm.volumes({})


@pytest.mark.parametrize("before", [1, 40, 511, 512, 690])
def test_a_text_that_goes_on_at_the_beginning_of_the_ring(before: int) -> None:
    text = group(ROOT)
    assert len(text) > before
    (found,) = lvm.volumes({1: physical(text=text, offset=MDA_SIZE - before)})
    assert everything(found)[:4] == b"A003"


def test_the_newest_description_counts() -> None:
    both = [store("A"), store("B")]
    old = group(volume("root", segment(0, 2, ("pvA", 0))), stores=both, seqno=9)
    new = group(volume("root", segment(0, 3, ("pvB", 0))), stores=both, seqno=10)
    for first, second in ((old, new), (new, old)):
        (found,) = lvm.volumes({1: physical("A", first), 2: physical("B", second)})
        assert (found.size, found.pv) == (3 * EXTENT, 2)


@pytest.mark.parametrize("how", ["unused", "ignored", "damaged header", "damaged text"])
def test_the_description_may_be_on_another_volume(how: str) -> None:
    text = group(ROOT, volume("home", segment(0, 1, ("pvB", 0)), letter="w"), stores=[store("A"), store("B")])
    stale = group(volume("other", segment(0, 1, ("pvA", 0))), seqno=99)
    first = {
        "unused": physical("A", None),
        "ignored": physical("A", stale, flags=1),
        "damaged header": patched(physical("A", stale), MDA + 300, b"\xff"),
        "damaged text": patched(physical("A", stale), MDA + 700, b"\xff"),
    }[how]
    found = lvm.volumes({1: first, 2: physical("B", text)})
    assert [(item.name, item.pv) for item in found] == [("root", 1), ("home", 2)]
    if how.startswith("damaged"):
        with pytest.raises(Damaged, match=r"the physical volume on partition 1: .* metadata area at byte 4096"):
            lvm.volumes({1: first})
    else:
        assert not lvm.volumes({1: first})


def test_two_metadata_areas() -> None:
    text = group(ROOT)
    disk = patched(physical(text=text), 512, label("A", (MDA, MDA + 4096)))
    second = ring(group(ROOT, seqno=8, name="newer"), size=40 * KIB, own=MDA + 4096)
    both = patched(patched(disk, MDA, ring(text, size=4096)), MDA + 4096, second)
    assert lvm.volumes({1: both})[0].vg == "newer"
    assert lvm.volumes({1: patched(both, MDA + 4096, bytes(512))})[0].vg == "vg-0"
    assert lvm.volumes({1: patched(both, MDA, bytes(512))})[0].vg == "newer"


def test_two_groups_on_one_disk() -> None:
    other = group(volume("root", segment(0, 1, ("pvB", 2))), name="vg1", stores=[store("B")], letter="H")
    found = lvm.volumes({1: physical("A", group(ROOT)), 2: physical("B", other)})
    assert [(item.vg, item.pv) for item in found] == [("vg-0", 1), ("vg1", 2)]
    # A volume that one group still lists and that belongs to another one by now.
    old = group(volume("lost", segment(0, 1, ("pvB", 2))), stores=[store("A"), store("B")])
    found = lvm.volumes({1: physical("A", old), 2: physical("B", other)})
    assert [(item.name, item.reader is None) for item in found] == [("lost", True), ("root", False)]


def test_volumes_that_are_not_here() -> None:
    both = [store("A"), store("B")]
    halves = volume("half", segment(0, 1, ("pvA", 40)), segment(1, 1, ("pvB", 0)), letter="w")
    root, half = lvm.volumes({1: physical("A", group(ROOT, halves, stores=both))})
    assert everything(root)
    assert (half.reader, half.pv, half.contiguous, half.size) == (None, None, None, 2 * EXTENT)
    assert half.problem == f"its physical volume {identity('B')} is not on this disk"
    missing = group(ROOT, stores=[store("A", '"MISSING"')])
    assert "has been missing" in str(lvm.volumes({1: physical("A", missing)})[0].problem)
    twice = lvm.volumes({1: physical("A", group(ROOT)), 2: physical("A", group(ROOT))})
    assert ["there are 2 physical volumes" in str(item.problem) for item in twice] == [True]


HIDDEN = '"READ", "WRITE"'
ODD = [
    volume(
        "thin", segment(0, 13, kind="thin", more='thin_pool = "pool"\ntransaction_id = 0\ndevice_id = 1\n'), letter="b"
    ),
    volume("pool", segment(0, 2, kind="thin-pool", more='metadata = "pool_tmeta"\npool = "pool_tdata"\n'), letter="c"),
    volume("mirr", segment(0, 1, kind="mirror", more='mirror_count = 2\nmirrors = [ "m0", 0, "m1", 0 ]\n'), letter="d"),
    volume(
        "raid", segment(0, 2, kind="raid1", more='device_count = 2\nraids = [ "r0", "i0", "r1", "i1" ]\n'), letter="e"
    ),
    volume("wide", segment(0, 4, ("pvA", 10), ("pvA", 20), more="stripe_size = 8\n"), letter="f"),
    volume("cache", segment(0, 1, kind="cache", more='cache_pool = "cp"\norigin = "co"\n'), letter="g"),
    volume("moved", segment(0, 1, ("pvmove0", 0)), letter="h"),
    volume(
        "pvmove0",
        segment(0, 1, kind="mirror", more='mirrors = [ "pvA", 30, "pvA", 31 ]\n'),
        status='"PVMOVE"',
        letter="i",
    ),
    volume("pool_tdata", segment(0, 2, ("pvA", 32)), status=HIDDEN, letter="j"),
    volume("pool_tmeta", segment(0, 1, ("pvA", 34)), status=HIDDEN, letter="k"),
    volume("snap", segment(0, 1, ("pvA", 35)), status=HIDDEN, letter="l"),
    volume(
        "snapshot0",
        segment(0, 5, kind="snapshot", more='origin = "root"\ncow_store = "snap"\nchunk_size = 8\n'),
        letter="m",
    ),
    volume("back", segment(0, 1, ("pvA", 37)), status=HIDDEN, letter="n"),
    volume("rolled", segment(0, 1, ("pvA", 36)), letter="o"),
    volume("snapshot1", segment(0, 1, kind="snapshot", more='origin = "rolled"\nmerging_store = "back"\n'), letter="p"),
    volume("zeros", segment(0, 1, kind="zero"), letter="q"),
    volume("none", letter="r"),
    volume("half", segment(0, 1, ("pvA", 38)), segment(1, 1, kind="error"), letter="s"),
    volume("line", segment(0, 1, ("pvA", 39), kind="linear"), letter="t"),
]


def test_what_is_not_read() -> None:
    found = {item.name: item for item in lvm.volumes({1: physical(text=group(ROOT, *ODD))})}
    assert {name for name, item in found.items() if item.reader is not None} == {"root", "line"}
    problems = {name: str(item.problem) for name, item in found.items() if item.reader is None}
    unknown = "it is of the type {}, which is not read here"
    assert problems == {
        **{name: unknown.format(kind) for name, kind in (("thin", "thin"), ("mirr", "mirror"), ("raid", "raid1"))},
        **{name: unknown.format(kind) for name, kind in (("cache", "cache"), ("zeros", "zero"), ("half", "error"))},
        "wide": "it is striped over 2 physical volumes, which is not read here",
        "moved": "it lies on pvmove0, which is not a physical volume (is it being moved?)",
        "snap": "it is a snapshot of root, which is not read here",
        "back": "it is a snapshot of rolled, which is not read here",
        "rolled": "a snapshot is being merged into it",
        "none": "it has no extents",
    }
    assert all((item.pv, item.contiguous) == (None, None) for item in found.values() if item.reader is None)
    assert found["thin"].size == 13 * EXTENT


@pytest.mark.parametrize(
    ("vg", "lv"), [("centos", "root"), ("ubuntu-vg", "ubuntu-lv"), ("a--b", "c-"), ("x.y+z", "1_-2")]
)
def test_names(vg: str, lv: str) -> None:
    mapped, short, by_name = lvm.names(vg, lv)
    assert short == f"/dev/{vg}/{lv}"
    assert by_name == mapped.replace("/dev/mapper/", "/dev/disk/by-id/dm-name-")
    name = mapped[len("/dev/mapper/") :]
    out = run("dmsetup", "splitname", "--noheadings", "-c", "--separator", "|", name, "LVM")
    assert out.strip().split("|")[:2] == [vg, lv]


def test_the_name_that_subiquity_writes() -> None:
    (found,) = lvm.volumes({1: physical(text=group(ROOT))})
    assert found.names == (*lvm.names("vg-0", "root"), f"/dev/disk/by-id/dm-uuid-LVM-{'G' * 32}{'v' * 32}")


# --- what contradicts itself ------------------------------------------------------------------------------------------


def seg(old: str, new: str) -> bytes:
    """A group whose only volume has a segment with something else in it."""
    plain = ROOT.replace(old, new, 1)
    assert plain != ROOT
    return group(plain)


WRONG: dict[str, tuple[bytes, str]] = {
    "a gap": (
        group(volume("root", segment(0, 1, ("pvA", 0)), segment(2, 1, ("pvA", 1)))),
        "gap or an overlap at its extent 1",
    ),
    "an overlap": (
        group(volume("root", segment(0, 2, ("pvA", 0)), segment(1, 2, ("pvA", 5)))),
        "overlap at its extent 1",
    ),
    "no beginning": (seg("start_extent = 0", "start_extent = 1"), "overlap at its extent 0"),
    "shared extents": (group(ROOT, volume("x", segment(0, 2, ("pvA", 7)))), "root and x of vg-0 overlap"),
    "twice the same": (
        group(volume("r", segment(0, 1, ("pvA", 7)), segment(1, 1, ("pvA", 7)))),
        "r and r of vg-0 overlap",
    ),
    "hidden and shared": (group(ROOT, volume("x", segment(0, 1, ("pvA", 3)), status=HIDDEN)), "overlap"),
    "beyond the extents": (group(volume("root", segment(0, 5, ("pvA", COUNT - 4)))), "beyond the end of pvA"),
    "far beyond": (group(volume("root", segment(0, 1, ("pvA", (1 << 32) - 1)))), "beyond the end of pvA"),
    "an extent too far": (group(volume("root", segment(0, 1, ("pvA", 1 << 32)))), "stripes that do not match"),
    "a negative extent": (group(volume("root", segment(0, 1, ("pvA", -1)))), "stripes that do not match"),
    "no extents": (seg("extent_count = 5", "extent_count = 0"), "has no extents"),
    "negative extents": (seg("extent_count = 5", "extent_count = -5"), "its extent_count is -5"),
    "too many extents": (seg("extent_count = 5", f"extent_count = {1 << 33}"), f"its extent_count is {1 << 33}"),
    "extents in words": (seg("extent_count = 5", 'extent_count = "5"'), "has no number extent_count"),
    "other segments": (seg("segment_count = 1", "segment_count = 2"), "has 1 segments, but says otherwise"),
    "other stripes": (seg("stripe_count = 1", "stripe_count = 2"), "stripes that do not match"),
    "no stripes": (seg("stripe_count = 1", "stripe_count = 0"), "stripes that do not match"),
    "stripes of one word": (seg('[ "pvA", 3 ]', '"pvA"'), "stripes that do not match"),
    "stripes in a section": (seg('= [ "pvA", 3 ]', "{ }"), "section where its list stripes"),
    "uneven stripes": (group(volume("r", segment(0, 3, ("pvA", 0), ("pvA", 9)))), "stripes that do not match"),
    "a type of sections": (seg('type = "striped"', "type { }"), "has no type"),
    "a name of blanks": (
        group(volume('"ro ot"', segment(0, 1, ("pvA", 0)))),
        "ro ot cannot be the name of a logical volume",
    ),
    "a path": (group(volume('"../x"', segment(0, 1, ("pvA", 0)))), "cannot be the name of a logical volume"),
    "dots": (group(volume('".."', segment(0, 1, ("pvA", 0)))), "cannot be the name of a logical volume"),
    "an option": (group(volume("-x", segment(0, 1, ("pvA", 0)))), "cannot be the name of a logical volume"),
    "escapes": (group(ROOT, name='"\x1b[2J"'), r"\\x1b\[2J cannot be the name of a volume group"),
    "a long name": (group(ROOT, name="g" * 128), "cannot be the name of a volume group"),
    "the same twice": (group(ROOT, ROOT), "root twice"),
    "no UUID": (seg(identity("v"), "short"), r"root has a UUID that is none \(short\)"),
    "extents of nothing": (group(ROOT, extent_size=0), "its extents have no size"),
    "extents of too much": (group(ROOT, extent_size=1 << 32), f"its extent_size is {1 << 32}"),
    "large extents": (group(ROOT, extent_size=(1 << 32) - 1), "larger than its place"),
    "larger than anything": (
        group(
            *[
                volume("t", *[segment(n * 0xFFFFFFFF, 0xFFFFFFFF, kind="thin") for n in (0, 1)]).replace(
                    "= 4294967295", "= 4294967295"
                )
            ],
            extent_size=(1 << 32) - 1,
            stores=[store("A", count=0)],
        ),
        "bytes large",
    ),
    "a cut image": (group(ROOT, stores=[store("A", count=COUNT + 1)]), "partition 1 is larger than its place"),
    "a late start": (group(ROOT, stores=[store("A", start=1 << 62)]), "larger than its place"),
    "a start beyond numbers": (
        group(ROOT, stores=[store("A", start=1 << 72)]),
        "number of 22 digits|its pe_start is|number of",
    ),
    "no group": (b'contents = "Text Format Volume Group"\nversion = 1\n', "has no volume group"),
    "no volumes": (group(ROOT).replace(b"physical_volumes", b"something_else"), "has no section physical_volumes"),
    "nothing": (b"", "has no contents|no room"),
    "no contents": (group(ROOT).replace(b"contents =", b"content ="), "has no contents"),
    "an open section": (group(ROOT).replace(b"}\n}\n}\n}\n#", b"}\n}\n#"), "ends in the middle"),
    "one too many": (group(ROOT).replace(b"# Gen", b"}\n# Gen"), r"makes no sense at its byte [0-9]+ \(a }\)"),
    "an open string": (group(ROOT) + b'x = "y', "quotation mark without"),
    "an open escape": (group(ROOT) + b'x = "y\\', "quotation mark without"),
    "an open list": (group(ROOT) + b"x = [ 1, ", "ends in the middle"),
    "lists in lists": (group(ROOT) + b"x = [ [ 1 ] ]", "makes no sense"),
    "no commas": (group(ROOT) + b"x = [ 1 2 ]", "makes no sense"),
    "no value": (group(ROOT) + b"x = }", "makes no sense"),
    "no sign": (group(ROOT) + b"x y", "makes no sense"),
    "digits": (group(ROOT) + b"x = " + b"9" * 5000, "number of 5000 digits"),
    "deep": (group(ROOT) + b"x {" * 5000, "sections in sections without end"),
}


@pytest.mark.parametrize("name", WRONG)
def test_texts_that_contradict_themselves(name: str) -> None:
    text, message = WRONG[name]
    with pytest.raises(Damaged, match=message) as caught:
        lvm.volumes({1: physical(text=text or b"\0")})
    assert caught.value.message.isprintable()
    assert not caught.value.message.endswith(".")


def test_texts_of_another_kind() -> None:
    for old, new in ((b"version = 1", b"version = 2"), (b'"Text Format', b'"Other Format')):
        with pytest.raises(Unsupported, match="of an unknown kind"):
            lvm.volumes({1: physical(text=group(ROOT).replace(old, new))})


def header(**fields: int) -> bytes:
    """The header of a metadata area with a sound checksum and otherwise what is said."""
    values = {"version": 1, "own": MDA, "size": MDA_SIZE, "offset": 512, "length": 600, "sum": 0, "flags": 0, **fields}
    rest = (b" LVM2 x[5A%r0N*>" + struct.pack("<IQQQQII", *values.values())).ljust(508, b"\0")
    return struct.pack("<I", fast_crc(rest)) + rest


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"own": 0}, Damaged, "no sound header"),
        ({"version": 2}, Unsupported, "of the version 2"),
        ({"size": 0}, Damaged, "no room"),
        ({"size": (1 << 64) - 1}, Damaged, "no room"),
        ({"size": SIZE}, Damaged, "no room"),
        ({"offset": 1}, Damaged, "no room"),
        ({"offset": MDA_SIZE}, Damaged, "no room"),
        ({"offset": (1 << 64) - 1}, Damaged, "no room"),
        ({"length": MDA_SIZE}, Damaged, "no room"),
        ({"length": (1 << 64) - 1}, Damaged, "no room"),
        ({}, Damaged, "does not match its checksum"),
    ],
)
def test_rings_that_cannot_be(fields: dict[str, int], error: type[KvmError], message: str) -> None:
    with pytest.raises(error, match=message):
        lvm.volumes({1: patched(physical(text=group(ROOT)), MDA, header(**fields))})


@pytest.mark.parametrize("area", [SIZE - 511, SIZE, 1 << 63, (1 << 64) - 1])
def test_areas_that_are_not_there(area: int) -> None:
    with pytest.raises(Damaged, match="lies beyond the end"):
        lvm.volumes({1: patched(physical(text=group(ROOT)), 512, label("A", (area,)))})


def test_lists_of_areas_without_end() -> None:
    with pytest.raises(Damaged, match="partition 1 has a list of areas without end"):
        lvm.volumes({1: patched(physical(text=group(ROOT)), 512, label("A", [MDA] * 40))})
    # As many as there is room for, all the same one.
    assert len(lvm.volumes({1: patched(physical(text=group(ROOT)), 512, label("A", [MDA] * 24))})) == 1


def test_labels_whose_header_is_elsewhere() -> None:
    for at in (0, 31, 473, 512, (1 << 32) - 1):
        rest = (struct.pack("<I8s", at, b"LVM2 001")).ljust(492, b"A")
        bad = struct.pack("<8sQI", b"LABELONE", 1, crc(rest)) + rest
        with pytest.raises(Damaged, match=f"its header is at byte {at} of its sector"):
            lvm.volumes({1: patched(physical(text=group(ROOT)), 512, bad)})


BOMBS: dict[str, t.Callable[[], bytes]] = {
    "sections": lambda: b"k{" * (2 * MIB),
    "a list": lambda: b"a=[" + b"1," * (2 * MIB - 2),
    "comments": lambda: b"#\n" * (2 * MIB),
    "escapes": lambda: b'a="' + b"\\x" * (2 * MIB - 2),
    "a word": lambda: b"w" * (4 * MIB),
    "settings": lambda: b"k%d=1\n" * 400_000 % tuple(range(400_000)),
    "empty sections": lambda: b"k%d{}" * 400_000 % tuple(range(400_000)),
    "a number": lambda: b"a=" + b"9" * (4 * MIB - 2),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name: str) -> None:
    with ends(), pytest.raises((Damaged, Unsupported)):
        lvm_text.parse(BOMBS[name]()[: 4 * MIB])


def test_long_texts_are_not_read() -> None:
    with pytest.raises(Unsupported, match="too long"):
        lvm_text.parse(bytes(4 * MIB + 1))

    class Vast:
        """A disk that says that it has everything; a long read would take all memory."""

        size = 1 << 50

        def read(self, offset: int, length: int) -> bytes:
            assert length <= 4 * MIB
            disk = patched(physical(text=group(ROOT)), MDA, header(size=1 << 40, length=1 << 39))
            return disk.read(offset, length)

    with pytest.raises(Unsupported, match="too long to be read here"):
        lvm.volumes({1: Vast()})
    # Many of them, each with a length of its own and a wrong sum.
    size = 2 * MIB
    many: dict[int | None, Reader] = {}
    for number in range(1, 9):
        data = patched(physical(text=None), MDA, header(size=size, length=MIB + number)).data
        many[number] = Bytes(data.ljust(MDA + size, b"\0"))
    with pytest.raises(Unsupported, match="too long to be read here"):
        lvm.volumes(many)


def survives(parts: t.Mapping[int | None, Reader]) -> None:
    """Whatever is there: an answer that can be read, or one of our errors."""
    try:
        for item in lvm.volumes(parts):
            assert (item.reader is None) == (item.problem is not None)
            assert item.problem is None or item.problem.isprintable()
            assert all(name.isascii() and name.isprintable() and "/../" not in name for name in item.names)
            if item.reader is not None:
                assert item.size == item.reader.size <= sum(part.size for part in parts.values())
                assert len(item.reader.read(0, 10_000)) == min(10_000, item.size)
                assert len(item.reader.read(item.size - 100, 200)) == 100
    except KvmError as exc:
        message = exc.message
    else:
        return
    assert message.isprintable()


def test_flipped_bytes() -> None:
    chance = random.Random(20)
    text = group(ROOT, *ODD, stores=[store("A"), store("B")])
    sound = physical(text=text)
    other = physical("B", None)
    for _turn in range(400):
        changed = bytearray(text)
        for _turn in range(chance.choice((1, 1, 2, 5))):
            place = chance.randrange(len(changed))
            changed[place] = chance.choice((chance.randrange(256), *b'{}[],="#\\-09 '))
        survives({1: patched(sound, MDA, ring(bytes(changed))), 2: other})
    for start, first in ((512, 20), (MDA, 4)):
        for _turn in range(150):
            sector = bytearray(sound.data[start : start + 512])
            sector[first + chance.randrange(120)] = chance.randrange(256)
            struct.pack_into("<I", sector, first - 4, fast_crc(bytes(sector[first:])))
            survives({1: patched(sound, start, bytes(sector)), 2: other})


WORDS = st.sampled_from(
    [
        *'{}[],="#\n',
        "{",
        "}",
        "= 1",
        "= 0",
        "= -1",
        '"pvA"',
        "id",
        "seqno",
        "extent_size",
        "physical_volumes",
        "logical_volumes",
    ]
    + [
        "segment1",
        "stripes = [",
        "stripe_count",
        "extent_count",
        f'= "{identity("A")}"',
        "= 9223372036854775807",
        "é\udcff",
    ]
)


@given(st.lists(WORDS, max_size=60))
@settings(max_examples=150)
def test_any_words(words: list[str]) -> None:
    raw = " ".join(words).encode("utf-8", "surrogateescape")
    survives({1: physical(text=raw or b" ")})
    survives({1: physical(text=group(ROOT).replace(b"max_lv = 0", raw))})


# --- the same texts, read by LVM --------------------------------------------------------------------------------------

Tree = dict[str, t.Any]


def random_tree(chance: random.Random, depth: int = 0) -> Tree:
    names = [f"{chance.choice(('lv', '1-', '_', 'x.y+', '9'))}{number}" for number in range(chance.randrange(1, 6))]
    return {name: random_value(chance, depth) for name in names}


def random_value(chance: random.Random, depth: int) -> t.Any:
    kind = chance.randrange(4 if depth < 4 else 3)
    if kind == 0:
        return chance.choice((0, 7, -3, (1 << 63) - 1, chance.randrange(1 << 32)))
    if kind == 1:
        return "".join(chance.choice('ab #{}[]=,"\\/\tü') for _turn in range(chance.randrange(8)))
    if kind == 2:
        return [random_value(chance, 9) for _turn in range(chance.randrange(4))]
    return random_tree(chance, depth + 1)


def flat(value: t.Any) -> t.Any:
    return [item for item in value if not isinstance(item, list)] if isinstance(value, list) else value


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def shown(value: t.Any, gap: t.Callable[[], str]) -> str:
    if not isinstance(value, list):
        return quoted(value) if isinstance(value, str) else str(value)
    items = f",{gap()}".join(f"{shown(item, gap)}{gap()}" for item in value)
    return f"[{gap()}{items}]"


def written(tree: Tree, chance: random.Random | None, depth: int = 0) -> str:
    """The tree as lvmconfig prints it (but for a list of one, which it takes for the one) or, with ``chance``, with blanks
    and comments where they may be."""

    def gap() -> str:
        return chance.choice(("", " ", "\t", "\n", ' # a } " comment\n', "\r\n")) if chance else ""

    lines = []
    for name, value in flattened(tree).items():
        if isinstance(value, dict):
            inner = written(value, chance, depth + 1)
            end = "\t" * depth
            lines.append(f"{end}{name} {gap()}{{\n{inner}{end}}}\n")
        else:
            lines.append(f"{chr(9) * depth}{name}{gap()}={gap()}{shown(value, gap)}\n{gap()}")
    return "".join(lines)


def plain(section: lvm_text.Section) -> Tree:
    return {
        name: plain(value) if isinstance(value, lvm_text.Section) else value for name, value in section.values.items()
    }


def flattened(tree: Tree) -> Tree:
    return {name: flattened(value) if isinstance(value, dict) else flat(value) for name, value in tree.items()}


def test_lvm_reads_the_texts_in_the_same_way(tmp_path: pathlib.Path) -> None:
    chance = random.Random(4)
    tree: Tree = {"vg": {f"section{number}": random_tree(chance) for number in range(60)}}
    text = written(tree, chance)
    (tmp_path / "lvm.conf").write_text(text)
    seen = run("lvmconfig", LVM_SYSTEM_DIR=str(tmp_path))
    # The outermost name is none of lvm.conf: lvmconfig prints what is in it.
    inner = "".join(written(tree, None).splitlines(keepends=True)[1:-1])
    assert seen == re.sub(r"=\[([^\[\],\"]+|\"([^\"\\]|\\.)*\")\]\n", r"=\1\n", inner)
    assert plain(lvm_text.parse(text.encode())) == flattened(tree)


# --- groups that lvm made: needs root and loop devices ----------------------------------------------------------------


class Lab:
    """Loop devices and lvm, which sees only them and writes nothing outside ``folder``."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.files: dict[str, pathlib.Path] = {}

    def attach(self, name: str, size: int) -> str:
        path = self.folder / name
        with path.open("wb") as file:
            file.truncate(size)
        done = subprocess.run(
            ["losetup", "--find", "--show", path], capture_output=True, text=True, timeout=20, check=False
        )
        if done.returncode:
            pytest.skip(f"this place has no loop devices: {done.stderr.strip()}")
        self.files[done.stdout.strip()] = path
        return done.stdout.strip()

    def detach(self) -> None:
        for device in list(self.files):
            subprocess.run(["losetup", "--detach", device], check=True, timeout=20)
            del self.files[device]

    def lvm(self, command: str, *words: object, ok: bool = True) -> str:
        config = (
            'devices { use_devicesfile=0 hints="none" scan_lvs=0 } backup { backup=0 archive=0 }'
            f' global {{ locking_dir="{self.folder}/lock" }} activation {{ udev_sync=0 udev_rules=0 monitoring=0 }}'
        )
        return run(
            *(command, "--driverloaded", "n", "--devices", ",".join(self.files), "--config", config, *words),
            ok=ok,
            LVM_SYSTEM_DIR=str(self.folder / "etc"),
        )

    def group(self, name: str, *words: object) -> None:
        """A group of all devices that the machine's own LVM leaves alone."""
        if not self.lvm("vgcreate", "--setautoactivation", "n", *words, name, *self.files, ok=False):
            pytest.skip("this lvm2 cannot make a volume group, or none that is not activated by udev")

    def volume(self, name: str, *words: object, on: t.Sequence[str] = ()) -> None:
        vg, lv = name.split("/")
        self.lvm("lvcreate", "-an", "-Zn", "-Wn", "-y", "-n", lv, *words, vg, *on)

    def report(self, command: str, columns: str, *words: object) -> list[dict[str, str]]:
        options = ("--reportformat", "json", "--units", "b", "--nosuffix", "--options", columns)
        out = self.lvm(command, *options, *words)
        # lv, seg or pv, by what a row is of.
        (rows,) = json.loads(out)["report"][0].values()
        return list(rows)

    def places(self) -> dict[str, list[tuple[pathlib.Path, int, int]]]:
        """Where lvs and pvs say that the bytes of each volume are: file, offset, length, in order."""
        starts = {row["pv_name"]: int(row["pe_start"]) for row in self.report("pvs", "pv_name,pe_start")}
        extent_size = int(self.report("vgs", "vg_extent_size")[0]["vg_extent_size"])
        rows = self.report("lvs", "lv_name,seg_start_pe,seg_pe_ranges", "--segments")
        found: dict[str, list[tuple[pathlib.Path, int, int]]] = {}
        for row in sorted(rows, key=lambda row: (row["lv_name"], int(row["seg_start_pe"]))):
            ranges = re.fullmatch(r"(/dev/\w+):(\d+)-(\d+)", row["seg_pe_ranges"])
            if ranges is not None:
                first, last = int(ranges[2]), int(ranges[3])
                place = (
                    self.files[ranges[1]],
                    starts[ranges[1]] + first * extent_size,
                    (last - first + 1) * extent_size,
                )
                found.setdefault(row["lv_name"], []).append(place)
        return found

    def ours(self) -> list[lvm.LogicalVolume]:
        """What we read of the files; the areas are numbered from 1."""
        parts: dict[int | None, Reader] = {
            number: Bytes(path.read_bytes()) for number, path in enumerate(self.files.values(), 1)
        }
        return lvm.volumes(parts)


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("lvm makes volume groups only on block devices, which needs root for losetup")
    made = Lab(tmp_path)
    try:
        yield made
    finally:
        made.detach()


def joined(places: t.Sequence[tuple[pathlib.Path, int, int]]) -> bytes:
    return b"".join(path.read_bytes()[offset : offset + length] for path, offset, length in places)


def test_volumes_that_lvm_made(lab: Lab, tmp_path: pathlib.Path) -> None:
    first, second = lab.attach("first", 24 * MIB), lab.attach("second", 24 * MIB)
    lab.group("my-vg", "-s", "128k")
    lab.volume("my-vg/root", "-L", "8M", on=[first])
    lab.volume("my-vg/swap-1", "-L", "1M", on=[first])
    lab.volume("my-vg/wide", "-L", "2M", "-i2")
    lab.lvm("lvextend", "-L", "+4M", "my-vg/root", first)
    lab.lvm("lvextend", "-L", "+4M", "my-vg/root", second)
    lab.volume("my-vg/plus+.x", "-L", "256k", on=[second])
    columns = "lv_name,lv_size,lv_uuid,lv_dm_path,lv_path"
    rows = {row["lv_name"]: row for row in lab.report("lvs", columns)}
    places = lab.places()
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc" / "hostname").write_text("on-lvm\n")
    (tree / "large").write_bytes(random.Random(5).randbytes(9 * MIB))
    image = tmp_path / "ext4"
    run("mkfs.ext4", "-q", "-b", "1024", "-d", tree, image, "16M")
    chance, data, done = random.Random(6), image.read_bytes(), 0
    for name, pieces in places.items():
        for path, offset, length in pieces:
            with path.open("r+b") as file:
                file.seek(offset)
                file.write(data[done : done + length] if name == "root" else chance.randbytes(length))
            done += length if name == "root" else 0
    assert (done, len(places["root"])) == (len(data), 3)
    found = {item.name: item for item in lab.ours()}
    assert set(found) == set(rows)
    for name, item in found.items():
        row = rows[name]
        assert (str(item.size), item.uuid) == (row["lv_size"], row["lv_uuid"])
        assert item.names[:2] == (row["lv_dm_path"], row["lv_path"])
        if name == "wide":
            assert item.problem == "it is striped over 2 physical volumes, which is not read here"
            continue
        assert everything(item) == joined(places[name])
        assert list(lab.files.values())[(item.pv or 0) - 1] == places[name][0][0]
        one = places[name][0][1] if len(places[name]) == 1 else None
        assert (item.contiguous[1] if item.contiguous else None) == one
    volume = Ext(found["root"].reader or Bytes(b""))
    for path, content in (("large", tree / "large"), ("etc/hostname", tree / "etc" / "hostname")):
        node = volume.root()
        for step in path.split("/"):
            node = volume.lookup(node, step) or node
        assert volume.read(node, 0, node.size) == content.read_bytes()


def test_the_ring_of_lvm_goes_around(lab: Lab) -> None:
    device = lab.attach("only", 8 * MIB)
    lab.group("ring", "-s", "64k", "--metadatasize", "32k", "--dataalignment", "64k")
    around = False
    for number in range(60):
        lab.volume(f"ring/volume{number}", "-l", "1")
        head = lab.files[device].read_bytes()[MDA : MDA + 512]
        size = struct.unpack_from("<Q", head, 32)[0]
        offset, length = struct.unpack_from("<QQ", head, 40)
        assert len(lab.ours()) == number + 1
        around = offset + length > size
        if around:
            break
    assert around
    places = lab.places()
    assert {item.name: item.contiguous for item in lab.ours()} == {
        name: (1, offset) for name, [(_path, offset, _length)] in places.items()
    }


RIMAGE = [
    volume(f"raid_r{kind}_{number}", segment(0, count, ("pvA", first)), status=HIDDEN, letter=letter)
    for kind, number, count, first, letter in (
        ("image", 0, 2, 8, "1"),
        ("image", 1, 2, 10, "2"),
        ("meta", 0, 1, 12, "3"),
        ("meta", 1, 1, 13, "4"),
    )
]
RAIDS = '[ "raid_rmeta_0", "raid_rimage_0", "raid_rmeta_1", "raid_rimage_1" ]'
POOL = 'transaction_id = 1\nchunk_size = 128\ndiscards = "passdown"\nzero_new_blocks = 1\n'
#: What lvm accepts as a description, with volumes of kinds that it makes only with the device mapper.
KINDS = [
    ROOT,
    volume(
        "raid", segment(0, 2, kind="raid1", more=f"device_count = 2\nregion_size = 8\nraids = {RAIDS}\n"), letter="e"
    ),
    *RIMAGE,
    volume(
        "pool",
        segment(0, 16, kind="thin-pool", more=f'metadata = "pool_tmeta"\npool = "pool_tdata"\n{POOL}'),
        letter="c",
    ),
    volume("pool_tmeta", segment(0, 1, ("pvA", 14)), status=HIDDEN, letter="k"),
    volume("pool_tdata", segment(0, 16, ("pvA", 15)), status=HIDDEN, letter="j"),
    volume(
        "thin", segment(0, 13, kind="thin", more='thin_pool = "pool"\ntransaction_id = 0\ndevice_id = 1\n'), letter="b"
    ),
    volume("snap", segment(0, 2, ("pvA", 35)), status=HIDDEN, letter="l"),
    volume(
        "snapshot0",
        segment(0, 5, kind="snapshot", more='chunk_size = 8\norigin = "root"\ncow_store = "snap"\n'),
        letter="m",
    ),
    volume("zeros", segment(0, 1, kind="zero"), letter="q"),
    volume("half", segment(0, 1, ("pvA", 38)), segment(1, 1, kind="error"), letter="s"),
    volume("wide", segment(0, 4, ("pvA", 40), ("pvA", 43), more="stripe_size = 8\n"), letter="f"),
]


def test_kinds_that_lvm_knows(lab: Lab) -> None:
    """A text by hand, which lvm writes onto a disk and whose volumes it lists."""
    device = lab.attach("only", 4 * MIB)
    text = lab.folder / "text"
    text.write_bytes(group(*KINDS).rstrip(b"\0"))
    lab.lvm("pvcreate", "-q", "--uuid", identity("A"), "--restorefile", text, device)
    lab.lvm("vgcfgrestore", "--force", "-y", "--file", text, "vg-0")
    rows = {row["lv_name"]: row for row in lab.report("lvs", "lv_name,lv_size,lv_uuid,lv_path") if row["lv_path"]}
    found = {item.name: item for item in lab.ours()}
    assert {name: (str(item.size), item.uuid) for name, item in found.items()} == {
        name: (row["lv_size"], row["lv_uuid"]) for name, row in rows.items()
    }
    assert {name for name, item in found.items() if item.reader is not None} == {"root"}
    assert found["root"].contiguous == (1, lab.places()["root"][0][1])
