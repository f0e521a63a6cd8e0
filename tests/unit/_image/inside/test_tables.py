# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images, inside: partition tables. sfdisk and blkid are asked the same of the same bytes; hostile ones are made by hand."""

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
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, KvmError, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import RawFile
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

MIB = 1 << 20
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
DISK = uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")


class Bytes:
    """A disk in memory: pieces on zeros, changed with ``put``."""

    def __init__(self, size: int, pieces: t.Mapping[int, bytes] | None = None) -> None:
        self.size = size
        self.pieces = dict(pieces or {})

    def read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size - offset))
        data = bytearray(length)
        for start, raw in self.pieces.items():
            low, high = max(start, offset), min(start + len(raw), offset + length)
            if low < high:
                data[low - offset : high - offset] = raw[low - start : high - start]
        return bytes(data)

    def put(self, offset: int, data: bytes) -> None:
        """Later pieces win, as dictionaries keep their order."""
        self.pieces.pop(offset, None)
        self.pieces[offset] = data


def run(*words: object, stdin: str = "", ok: bool = True) -> str:
    program = shutil.which(str(words[0]), path=PATH)
    if program is None:
        pytest.skip(f"the program {words[0]} is not installed")
    done = subprocess.run(
        [program, *map(str, words[1:])],
        input=stdin,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0 or not ok, done.stderr
    return done.stdout


def blank(folder: pathlib.Path, size: int, name: str = "disk") -> pathlib.Path:
    path = folder / name
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    return path


def write(folder: pathlib.Path, disk: Bytes) -> pathlib.Path:
    path = blank(folder, disk.size)
    with path.open("r+b") as file:
        for offset, data in disk.pieces.items():
            file.seek(offset)
            file.write(data[: max(0, disk.size - offset)])
    return path


def read(path: pathlib.Path) -> tables.Table:
    fd = os.open(path, os.O_RDONLY)
    try:
        return tables.read(RawFile(fd))
    finally:
        os.close(fd)


def seen_by_sfdisk(path: pathlib.Path) -> dict[str, t.Any]:
    """sfdisk's view: label, id and the partitions by number, those without a length left out as in the kernel."""
    out = run("sfdisk", "--json", path, ok=False)
    if not out.strip():
        return {"label": None, "id": None, "partitions": {}}
    # Remarks about empty tables come first.
    said = json.loads(out[out.index("{") :])["partitiontable"]
    found = {}
    for item in said.get("partitions", []):
        number = int(item["node"][len(str(path)) :].lstrip("p"))
        if item["size"]:
            found[number] = (item["start"], item["size"], item["type"], item.get("bootable", False), item.get("name"))
    return {"label": said["label"], "id": said.get("id"), "partitions": found}


def ours(table: tables.Table) -> dict[int, tuple[t.Any, ...]]:
    return {
        # sfdisk tells of GPT's flag as one of the attributes.
        item.number: (item.start, item.sectors, item.type, item.bootable and table.kind == "mbr", item.name)
        for item in table.partitions
    }


def seen_by_blkid(path: pathlib.Path) -> dict[int, tuple[t.Any, ...]]:
    """libblkid's view: place, length and PARTUUID by number."""
    lines = run("partx", "-g", "-o", "NR,START,SECTORS,UUID", "--show", path, ok=False).splitlines()
    rows = [[*line.split(), None] for line in lines]
    return {int(row[0]): (int(row[1]), int(row[2]), row[3]) for row in rows}


def agree(path: pathlib.Path, blkid: bool = True) -> tables.Table:
    """Asserts that sfdisk and libblkid see the same."""
    said, found = seen_by_sfdisk(path), read(path)
    assert {"dos": "mbr", "gpt": "gpt", None: "none"}[said["label"]] == found.kind
    assert ours(found) == said["partitions"]
    assert found.disk_id == said["id"]
    if blkid:
        # It tells only of the first two sectors of an extended partition.
        rows = {item.number: (item.start, item.sectors, item.uuid) for item in found.partitions}
        extended = {item.number for item in found.partitions if item.role == "extended"}
        seen = seen_by_blkid(path)
        assert {key: row[2] for key, row in seen.items()} == {key: row[2] for key, row in rows.items()}
        assert all(seen[key] == row for key, row in rows.items() if key not in extended)
    return found


def partitioned(folder: pathlib.Path, script: str, size: int = 64 * MIB) -> pathlib.Path:
    path = blank(folder, size)
    run("sfdisk", "-q", "--no-tell-kernel", "--no-reread", path, stdin=script)
    return path


# --- by hand ----------------------------------------------------------------------------------------------------------


def entry(kind: int, start: int, sectors: int, flag: int = 0) -> bytes:
    return struct.pack("<B3sB3sII", flag, b"\xfe\xff\xff", kind, b"\xfe\xff\xff", start, sectors)


def sector(*entries: bytes, identity: int = 0x1234ABCD, code: bytes = b"") -> bytes:
    return (
        code.ljust(440, b"\0")[:440]
        + struct.pack("<IH", identity, 0)
        + b"".join(entries).ljust(64, b"\0")
        + b"\x55\xaa"
    )


def mbr_disk(*entries: bytes, size: int = 64 * MIB, ebrs: t.Mapping[int, bytes] | None = None) -> Bytes:
    """Entries of the first sector, and further tables by their sector."""
    disk = Bytes(size, {0: sector(*entries)})
    for place, data in (ebrs or {}).items():
        disk.put(place * 512, data)
    return disk


def chain(*logicals: tuple[int, int, int], base: int) -> dict[int, bytes]:
    """Tables for logical partitions given as (place of the table, start, sectors)."""
    found = {}
    for index, (place, start, sectors) in enumerate(logicals):
        following = logicals[index + 1] if index + 1 < len(logicals) else None
        link = entry(5, following[0] - base, max(1, following[1] + following[2] - following[0])) if following else b""
        held = entry(0x83, start - place, sectors) if sectors else bytes(16)
        found[place] = sector(held, link, identity=0)
    return found


@dataclasses.dataclass
class Gpt:
    """A GPT to be written by hand, every field of which can be wrong. ``parts``: (first, last) by their index."""

    size: int = 64 * MIB
    unit: int = 512
    parts: dict[int, tuple[int, int]] = dataclasses.field(default_factory=lambda: {0: (2048, 4095), 1: (4096, 8191)})
    entry: int = 128
    count: int = 128
    first: int | None = None
    last: int | None = None
    header: int = 92
    own: int | None = None
    other: int | None = None
    at: int | None = None
    crc: int | None = None
    entries_crc: int | None = None
    protective: tuple[bytes, ...] | None = None
    backup: bool = True
    primary: bool = True

    def table(self) -> bytes:
        step = min(self.entry, 4096) or 128
        raw = bytearray(min(self.count * step, 1 << 20))
        for index, (first, last) in self.parts.items():
            if index * step + 128 <= len(raw):
                kind, own = uuid.UUID(LINUX).bytes_le, uuid.UUID(int=index + 1).bytes_le
                name = f"part {index}".encode("utf-16-le")
                struct.pack_into("<16s16sQQQ72s", raw, index * step, kind, own, first, last, 0, name)
        return bytes(raw)

    def sealed(self, own: int, other: int, at: int) -> bytes:
        raw = self.table()
        end = self.size // self.unit - 1
        slots = -(-len(raw) // self.unit)
        crc = zlib.crc32(raw) if self.entries_crc is None else self.entries_crc
        data = bytearray(self.unit)
        struct.pack_into(
            "<8sIIIIQQQQ16sQIII", data, 0, b"EFI PART", 0x10000, self.header, 0, 0, own, other,
            2 + slots if self.first is None else self.first, end - 1 - slots if self.last is None else self.last,
            DISK.bytes_le, at, self.count, self.entry, crc,
        )  # fmt: skip
        struct.pack_into("<I", data, 16, zlib.crc32(bytes(data[: min(self.header, self.unit)])))
        if self.crc is not None:
            struct.pack_into("<I", data, 16, self.crc)
        return bytes(data)

    def disk(self) -> Bytes:
        end = self.size // self.unit - 1
        slots = -(-len(self.table()) // self.unit)
        protective = self.protective or (entry(0xEE, 1, min(end, 0xFFFFFFFF)),)
        disk = Bytes(self.size, {0: sector(*protective, identity=0)})
        own, other = 1 if self.own is None else self.own, end if self.other is None else self.other
        if self.primary:
            disk.put(self.unit, self.sealed(own, other, 2 if self.at is None else self.at))
            disk.put(2 * self.unit, self.table())
        if self.backup:
            disk.put(end * self.unit, dataclasses.replace(self, crc=None).sealed(end, 1, end - slots))
            disk.put((end - slots) * self.unit, self.table())
        return disk


# --- what sfdisk writes -----------------------------------------------------------------------------------------------

GUIDE = "label: dos\nlabel-id: 0x0008c4a1\nstart=2048, size=100000, type=83, bootable\nstart=104446, size=20482, type=5\nstart=104448, size=20480, type=82\n"
CLOUD = (
    "label: gpt\nfirst-lba: 34\n"
    f"1: start=40960, type={LINUX}, name=root\n14: start=2048, size=6144, type=21686148-6449-6E6F-744E-656564454649\n"
    '15: start=8192, size=32768, type=U, name="EFI System"\n'
)
SCRIPTS = [
    GUIDE,
    CLOUD,
    "label: dos\n",
    "label: gpt\n",
    "label: dos\n,10M,ef\n,10M,c\n,10M,5\n,,a5\n",
    "label: dos\n4: start=2048, size=2048, type=27\n2: start=8192, type=7, bootable\n",
    "label: dos\n1: size=100000, type=f\n5: size=5M, type=83\n6: size=5M, type=82\n7: size=5M, type=8e\n8: type=fd\n",
    "label: dos\nlabel-id: 0x0\n3: start=2048, type=85\n5: size=10M\n6: size=10M\n",
    "label: gpt\nunit: sectors\nsize=10M, attrs=\"LegacyBIOSBootable GUID:63\", name=\"ä ﬁ 𝄞\"\nsize=1M, name=\"a b\"\n",
]  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS, ids=range(len(SCRIPTS)))
def test_what_sfdisk_writes(tmp_path: pathlib.Path, script: str) -> None:
    path = partitioned(tmp_path, script)
    agree(path)


def test_fields(tmp_path: pathlib.Path) -> None:
    first, second, third = read(partitioned(tmp_path, GUIDE)).partitions
    assert (first.role, first.bootable, first.offset, first.size) == ("primary", True, MIB, 100000 * 512)
    assert (second.role, second.type, second.entry) == ("extended", "5", 446 + 16)
    assert (third.role, third.uuid, third.entry) == ("logical", "0008c4a1-05", 104446 * 512 + 446)
    table = read(partitioned(tmp_path, SCRIPTS[-1]))
    assert [item.attributes for item in table.partitions] == [1 << 63 | 4, 0]
    assert [item.bootable for item in table.partitions] == [True, False]
    assert [item.entry for item in table.partitions] == [1024, 1152]


def test_what_sgdisk_writes(tmp_path: pathlib.Path) -> None:
    path = blank(tmp_path, 64 * MIB)
    words = ["-n", "1:2048:+16M", "-t", "1:ef00", "-n", "2::+1M", "-t", "2:0c01", "-n", "4::", "-t", "4:0700"]
    # A hybrid MBR, which shows partition 4 another time, and the list of partitions somewhere else.
    run("sgdisk", *words, "-h", "4", "-j", "64", path)
    table = agree(path)
    assert [item.number for item in table.partitions] == [1, 2, 4]
    assert table.partitions[0].entry == 64 * 512


def test_a_chain_that_goes_back(tmp_path: pathlib.Path) -> None:
    script = (
        "label: dos\nstart=2048, type=5\n5: start=60000, size=100\n6: start=4096, size=100\n7: start=30000, size=100\n"
    )
    assert [item.start for item in agree(partitioned(tmp_path, script)).partitions[1:]] == [60000, 4096, 30000]


@st.composite
def layouts(draw: st.DrawFn) -> str:
    """Scripts for sfdisk: pieces of a disk in any order; on an MBR those behind the third are logical."""
    label = draw(st.sampled_from(["dos", "gpt"]))
    pieces = draw(st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 5000)), max_size=10))
    lines, logicals, at, begin = [], [], 2048, 0
    for number, (gap, size) in enumerate(pieces):
        if label == "dos" and number == 3:
            begin = at = at + gap
        # sfdisk puts the table of a logical partition 2048 sectors before it, even into another partition.
        at += gap + (2048 if begin else 0)
        (logicals if begin else lines).append(f"start={at}, size={size}")
        at += size
    draw(st.randoms(use_true_random=False)).shuffle(lines)
    extended = [f"start={begin}, type={draw(st.sampled_from(['5', 'f', '85']))}"] if begin else []
    return "\n".join([f"label: {label}", *lines, *extended, *logicals]) + "\n"


@settings(max_examples=60, deadline=None, phases=[Phase.generate])
@given(layouts())
def test_any_layout_of_sfdisk(script: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        agree(partitioned(pathlib.Path(folder), script))


# --- hostile and strange ones, by hand --------------------------------------------------------------------------------

BASE = 4096
PRIMARY = entry(0x83, 2048, 2048)
EXTENDED = entry(0x5, BASE, 65536)
TWO = ((BASE, BASE + 8, 100), (BASE + 200, BASE + 208, 100))


def with_chain(ebrs: t.Mapping[int, bytes]) -> Bytes:
    return mbr_disk(PRIMARY, EXTENDED, ebrs=ebrs)


def long_chain(count: int, empty: bool = False) -> dict[int, bytes]:
    step = 65536 // (count + 1)
    places = [BASE + step * index for index in range(count)]
    return chain(*((place, place + 1, 0 if empty else step - 2) for place in places), base=BASE)


DAMAGED_MBR = {
    "leads back": with_chain({BASE: sector(entry(0x83, 8, 100), entry(5, 0, 65536))}),
    "leads back to": with_chain(
        {BASE: sector(entry(0x83, 8, 9), entry(5, 99, 100)), BASE + 99: sector(entry(0x83, 8, 9), entry(5, 99, 100))}
    ),
    "longer than 128": with_chain(long_chain(129)),
    "chain of extended": with_chain(long_chain(1000, empty=True)),
    "out of the extended partition": with_chain({BASE: sector(entry(0x83, 8, 100), entry(5, 65536, 100))}),
    f"sector {BASE} leads out": with_chain({BASE: sector(entry(0x83, 8, 100), entry(5, 0xFFFFFFFF, 100))}),
    "partition 5 is not inside": with_chain({BASE: sector(entry(0x83, 8, 65536))}),
    "5 is not inside the extended": with_chain({BASE: sector(entry(0x83, 0xFFFFFFFF, 0xFFFFFFFF))}),
    "partition 5 has no start": with_chain({BASE: sector(entry(0x83, 0, 100))}),
    "partition 5 has no type": with_chain({BASE: sector(entry(0, 8, 100))}),
    "more than one partition": with_chain({BASE: sector(entry(0x83, 8, 100), entry(0x83, 200, 100))}),
    "leads to two others": with_chain({BASE: sector(entry(5, 8, 100), entry(5, 200, 100))}),
    "partitions 5 and 6 overlap": with_chain(chain((BASE, BASE + 8, 100), (BASE + 2, BASE + 50, 500), base=BASE)),
    "partition 5 covers": with_chain(chain((BASE, BASE + 8, 300), (BASE + 200, BASE + 400, 100), base=BASE)),
    f"sector {BASE} has no signature": with_chain({BASE: sector(entry(0x83, 8, 100))[:510]}),
    f"sector {BASE + 200} has no signature": with_chain({BASE: chain(*TWO, base=BASE)[BASE]}),
    "2 and 3 are both extended": mbr_disk(PRIMARY, EXTENDED, entry(0xF, 70000, 100)),
    "partitions 1 and 2 overlap": mbr_disk(PRIMARY, entry(0x83, 4095, 100)),
    "partitions 1 and 3 overlap": mbr_disk(entry(0x83, 2048, 5000), b"", b"", EXTENDED, entry(7, 3000, 10)),
    "partition 1 has no start": mbr_disk(entry(0x83, 0, 2048)),
    "partition 2 has no length": mbr_disk(PRIMARY, entry(0x83, 8192, 0)),
    "partition 2 has no type": mbr_disk(PRIMARY, entry(0, 8192, 100)),
    "partition 2 ends at sector 131072, but the disk has only 131072": mbr_disk(PRIMARY, entry(0x83, 8192, 122881)),
    "cut off": mbr_disk(PRIMARY, entry(5, 0xFFFFFFFF, 0xFFFFFFFF)),
    "partition 1 has the flag 81, not 00 or 80": mbr_disk(entry(0x83, 2048, 2048, flag=0x81)),
}


@pytest.mark.parametrize("message", DAMAGED_MBR)
def test_an_mbr_that_cannot_be(message: str) -> None:
    with pytest.raises(Damaged, match=re.escape(message)):
        tables.read(DAMAGED_MBR[message])


STRANGE_MBR = {
    "the first table is empty": with_chain(chain((BASE, BASE, 0), (BASE + 99, BASE + 108, 50), base=BASE)),
    "one between is empty": with_chain(chain(TWO[0], (BASE + 150, BASE, 0), TWO[1], base=BASE)),
    "the last is empty": with_chain(chain(*TWO, (BASE + 900, BASE, 0), base=BASE)),
    "only an empty one": with_chain(chain((BASE, BASE, 0), base=BASE)),
    "nothing was ever written": with_chain({}),
    "back and forth": with_chain(chain((BASE, BASE + 4000, 100), (BASE + 200, BASE + 208, 100), base=BASE)),
    "the link comes first": with_chain(
        {BASE: sector(entry(5, 200, 100), entry(0x83, 8, 100)), BASE + 200: sector(entry(0x83, 8, 50))}
    ),
    "garbage behind": with_chain({BASE: sector(entry(0x83, 8, 100), b"\0" * 16, entry(0x83, 99, 0xFFFFFFF))}),
    "no disk id": Bytes(64 * MIB, {0: sector(PRIMARY, identity=0)}),
    "up to the last sector": mbr_disk(PRIMARY, entry(7, 4096, 131072 - 4096)),
    "boot code": Bytes(64 * MIB, {0: sector(PRIMARY, code=b"\xeb\x63\x90" + b"GRUB Geom Hard Disk Read Error" * 9)}),
    "nested BSD label": Bytes(64 * MIB, {0: sector(entry(0xA5, 63, 90000)), 64 * 512: b"\x57\x45\x56\x82" * 99}),
    "no partition": mbr_disk(),
    "3 TiB": mbr_disk(PRIMARY, entry(7, 1 << 31, (1 << 32) - 1), size=3 << 40),
}


@pytest.mark.parametrize("name", STRANGE_MBR)
def test_a_strange_mbr(tmp_path: pathlib.Path, name: str) -> None:
    assert agree(write(tmp_path, STRANGE_MBR[name])).kind == "mbr"


def test_the_longest_chain() -> None:
    table = tables.read(with_chain(long_chain(128)))
    assert [item.number for item in table.partitions] == [1, 2, *range(5, 133)]


@pytest.mark.parametrize(
    ("gpt", "message"),
    [
        (Gpt(crc=1), None),
        (Gpt(entries_crc=1), "the list of partitions of the GPT header at sector 1 does not match"),
        (Gpt(own=2), None),
        (Gpt(header=91), "91 bytes long"),
        (Gpt(header=0xFFFFFFFF), "4294967295 bytes long"),
        (Gpt(entry=0), "an entry is 0 bytes"),
        (Gpt(entry=64), "an entry is 64 bytes"),
        (Gpt(entry=192), "an entry is 192 bytes"),
        (Gpt(entry=1 << 31), "an entry is 2147483648 bytes"),
        (Gpt(count=0), "0 entries"),
        (Gpt(count=0xFFFFFFFF), "4294967295 entries"),
        (Gpt(count=1 << 16), "65536 entries"),
        (Gpt(at=1 << 62), None),
        (Gpt(at=0), None),
        (Gpt(first=1), "not free"),
        (Gpt(first=10), None),
        (Gpt(first=5000, last=4000), "not free"),
        (Gpt(last=131072), "cut off"),
        (Gpt(parts={0: (2048, 2047)}), "begin at sector 2048 and to end at 2047"),
        (Gpt(parts={0: (0, 4000)}), "begin at sector 0"),
        (Gpt(parts={3: (20, 4000)}), "partition 4 is outside"),
        (Gpt(parts={3: (2048, 1 << 62)}), "partition 4 is outside"),
        (Gpt(parts={3: (2048, (1 << 64) - 1)}), "partition 4 is outside"),
        (Gpt(parts={0: (2048, 4096), 5: (4096, 5000)}), "partitions 1 and 6 overlap"),
        (Gpt(parts={0: (2048, 4096)}, primary=False, backup=False), "none at its beginning and none at its end"),
    ],
    ids=str,
)
def test_a_gpt_that_cannot_be(tmp_path: pathlib.Path, gpt: Gpt, message: str | None) -> None:
    disk = gpt.disk()
    if message is None:
        assert agree(write(tmp_path, disk)).partitions[0].entry == (131071 - 32) * 512
        return
    with pytest.raises(Damaged, match=message):
        tables.read(disk)


STRANGE_GPT = {
    "as it should be": Gpt(),
    "256 bytes an entry": Gpt(entry=256, count=64),
    "4 entries": Gpt(count=4),
    "a longer header": Gpt(header=512),
    "no header at the end": Gpt(backup=False),
    "no header at the beginning": Gpt(primary=False),
    "the other is elsewhere": Gpt(other=77777),
    "not the whole disk": Gpt(last=100000),
    "up to the last sector": Gpt(last=131071),
    "hybrid": Gpt(protective=(entry(0xEE, 1, 2047), entry(0x83, 2048, 2048, 0x80))),
    "a flag that means nothing": Gpt(protective=(entry(0xEE, 1, 131071, 0x11),)),
    "protected by the last entry": Gpt(protective=(entry(0x83, 2048, 2048), entry(0xEE, 1, 2047))),
    "the last of 128": Gpt(parts={127: (2048, 2048)}),
}


@pytest.mark.parametrize("name", STRANGE_GPT)
def test_a_strange_gpt(tmp_path: pathlib.Path, name: str) -> None:
    # libblkid knows one length of entries only.
    agree(write(tmp_path, STRANGE_GPT[name].disk()), blkid=STRANGE_GPT[name].entry == 128)


def test_a_gpt_with_large_sectors() -> None:
    for gpt in (Gpt(unit=4096, parts={0: (256, 511)}), Gpt(unit=4096, parts={0: (256, 511)}, primary=False)):
        table = tables.read(gpt.disk())
        assert (table.kind, table.sector_size) == ("gpt", 4096)
        assert [(item.offset, item.size) for item in table.partitions] == [(MIB, MIB)]


def test_a_gpt_that_is_cut_off_or_enlarged(tmp_path: pathlib.Path) -> None:
    path = partitioned(tmp_path, "label: gpt\nsize=30M\nsize=32M\n")
    os.truncate(path, 80 * MIB)
    assert len(agree(path).partitions) == 2
    os.truncate(path, 50 * MIB)
    with pytest.raises(Damaged, match=r"partition 2 ends at sector \d+, .* \(is the image cut off\?\)"):
        read(path)
    os.truncate(path, 20 * MIB)
    with pytest.raises(Damaged, match="partition 1 ends"):
        read(path)


def test_too_many_partitions() -> None:
    parts = {index: (2048 + index, 2048 + index) for index in range(300)}
    with pytest.raises(Unsupported, match="more than 256"):
        tables.read(Gpt(count=512, parts=parts).disk())


def test_headers_that_disagree() -> None:
    disk = Gpt(first=5000, last=4000).disk()
    other = Gpt(parts={0: (9000, 9999)}).disk()
    for place in (131071 * 512, (131071 - 32) * 512):
        disk.put(place, other.read(place, 512))
    with pytest.raises(Damaged, match="has other partitions"):
        tables.read(disk)


# --- what has two bytes at the end of its first sector and is no table ------------------------------------------------


def none(path: pathlib.Path) -> None:
    table = read(path)
    assert (table.kind, table.disk_id, table.partitions) == ("none", None, ())


@pytest.mark.parametrize(
    "words",
    [["mkfs.vfat"], ["mkfs.vfat", "-F", "32", "-s", "1"], ["mkfs.exfat"], ["mkntfs", "-q", "-F"]],
    ids=" ".join,
)
def test_a_boot_sector_is_no_table(tmp_path: pathlib.Path, words: list[str]) -> None:
    path = blank(tmp_path, 64 * MIB)
    run(*words, path)
    none(path)
    # With the text that Windows puts where a table would be.
    with path.open("r+b") as file:
        file.seek(440)
        file.write(
            b"Remove disks or other media.\xff\r\nDisk error\xff\r\nPress any key to restart\r\n\0\0\xac\xcb\xd8"[:72]
        )
    none(path)


@pytest.mark.parametrize(
    "table", [b"", b"\x24\x12\x0f\x09\0\xbe\xbd\x7d\x31\xc0\xcd\x13\x46\x8a\x0c\x80", entry(0x83, 0, 99)]
)
def test_a_file_system_with_boot_code(tmp_path: pathlib.Path, table: bytes) -> None:
    path = blank(tmp_path, 8 * MIB)
    run("mke2fs", "-q", "-t", "ext4", path)
    with path.open("r+b") as file:
        file.write(sector(table, code=b"\xeb\x63\x90", identity=0))
    none(path)


def test_a_table_beside_a_remnant(tmp_path: pathlib.Path) -> None:
    path = blank(tmp_path, 64 * MIB)
    run("mkfs.vfat", path)
    with path.open("r+b") as file:
        file.seek(446)
        file.write(PRIMARY)
        file.seek(32769)
        file.write(b"CD001")
    # Here libblkid believes the file system, but Linux makes partitions.
    assert len(agree(path, blkid=False).partitions) == 1


def test_a_hybrid_image_is_its_file_system(tmp_path: pathlib.Path) -> None:
    path = blank(tmp_path, 8 * MIB)
    with path.open("r+b") as file:
        file.seek(32768)
        file.write(b"\1CD001\1".ljust(2048, b"\0") + b"\xffCD001\1".ljust(2048, b"\0"))
    assert "TYPE=iso9660" in run("blkid", "-p", "-o", "export", path)
    size = path.stat().st_size // 512
    # The tables of isohybrid, of Debian (type 0, with EFI behind) and of Fedora (GPT) in turn.
    gpt = Gpt(size=size * 512, parts={0: (64, size - 100)}, count=4).disk()
    for first in (
        sector(entry(0x17, 0, size, 0x80)),
        sector(entry(0, 64, size - 64, 0x80), entry(0xEF, 80, 100)),
        sector(entry(0x83, 1, size - 1)),
        gpt.read(0, 32768),
        gpt.read(0, 512).ljust(32768, b"\0"),
    ):
        with path.open("r+b") as file:
            file.write(first)
        none(path)


def test_a_program_is_no_table() -> None:
    """As Linux: what has other flags than it knows is none, unless all the rest is as in a table."""
    source = random.Random(3)
    for _turn in range(200):
        assert tables.read(Bytes(MIB, {0: source.randbytes(510) + b"\x55\xaa"})).kind == "none"


def test_no_signature(tmp_path: pathlib.Path) -> None:
    none(blank(tmp_path, 0))
    none(blank(tmp_path, 511))
    none(blank(tmp_path, 64 * MIB))
    assert tables.read(Bytes(64 * MIB, {0: sector(PRIMARY)[:510]})).kind == "none"
    assert tables.read(Bytes(512, {0: sector()})).kind == "mbr"


# --- any bytes --------------------------------------------------------------------------------------------------------


def quietly(disk: Bytes) -> tables.Table | None:
    """The table, None for an error of ours; anything else is a bug."""
    try:
        return tables.read(disk)
    except KvmError:
        return None


EDGES = st.sampled_from([0, 1, 2, 63, 64, 2048, 4095, 4096, 131071, 131072, 1 << 31, (1 << 32) - 1]) | st.integers(
    0, 140000
)
ENTRIES = st.builds(
    entry, st.sampled_from([0, 5, 0xF, 0x83, 0x82, 0xEE]), EDGES, EDGES, st.sampled_from([0, 0, 0x80, 1])
)
SECTORS = st.builds(lambda found: sector(*found), st.lists(ENTRIES, max_size=4))


@settings(max_examples=400, deadline=None)
@given(SECTORS, st.dictionaries(st.integers(1, 70000), SECTORS, max_size=6))
def test_any_entries(first: bytes, others: dict[int, bytes]) -> None:
    table = quietly(Bytes(64 * MIB, {0: first, **{place * 512: data for place, data in others.items()}}))
    for item in table.partitions if table else ():
        assert 0 < item.offset < item.offset + item.size <= 64 * MIB


VALUES = st.sampled_from([0, 1, 2, 33, 34, 128, 131038, 131071, 131072, (1 << 32) - 1]) | st.integers(0, (1 << 32) - 1)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["entry", "count", "first", "last", "own", "at", "header"]), VALUES, max_size=2),
    st.dictionaries(st.integers(0, 127), st.tuples(VALUES, VALUES), max_size=4),
)
def test_any_gpt(fields: dict[str, int], parts: dict[int, tuple[int, int]]) -> None:
    table = quietly(Gpt(parts=parts, **fields).disk())
    for item in table.partitions if table else ():
        assert 0 < item.offset < item.offset + item.size <= 64 * MIB


def places(table: tables.Table) -> list[int]:
    """Sectors in which a change could matter."""
    found = {0, *(item.entry // 512 for item in table.partitions)}
    return sorted(found | ({1, 131071} if table.kind == "gpt" else set()))


@pytest.mark.parametrize("script", [GUIDE, SCRIPTS[6], CLOUD], ids=["guide", "logical", "gpt"])
def test_flipped_bytes(tmp_path: pathlib.Path, script: str) -> None:
    """What is said of a damaged disk is what sfdisk says, or an error."""
    path = partitioned(tmp_path, script)
    source = random.Random(7)
    table = read(path)
    answers = 0
    with path.open("r+b") as file:
        for _turn in range(150):
            place = source.choice(places(table)) * 512
            # The bytes of the table itself, mostly.
            place += source.choice([source.randrange(512), 440 + source.randrange(72), source.randrange(128)])
            file.seek(place)
            old = file.read(1)
            file.seek(place)
            file.write(bytes([source.randrange(256)]))
            file.flush()
            try:
                found = read(path)
            except KvmError:
                continue
            finally:
                file.seek(place)
                changed = file.read(1)
                file.seek(place)
                file.write(old)
                file.flush()
            file.seek(place)
            file.write(changed)
            file.flush()
            answers += 1
            said = seen_by_sfdisk(path)
            assert found.kind == "none" or ours(found).items() == said["partitions"].items(), (place, old, changed)
            file.seek(place)
            file.write(old)
            file.flush()
    assert answers > 50
