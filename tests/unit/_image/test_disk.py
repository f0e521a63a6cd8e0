# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images: ranges, and how raw files are copied by them. What a copy is to be is said by dd."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps import disk
from ansible_collections.hypervisor.kvm.tests.unit._image import disks
from ansible_collections.hypervisor.kvm.tests.unit._image.disks import KIB, MIB
from hypothesis import given, settings
from hypothesis import strategies as st

Range = tuple[int, int]
SIZE = 200


@st.composite
def ranges(draw: st.DrawFn, most: int = SIZE, unit: int = 1) -> list[Range]:
    """Sorted ranges that do not overlap, though they may touch."""
    ends = sorted(draw(st.sets(st.integers(0, most // unit), max_size=12)))
    return [(a * unit, b * unit) for a, b in zip(ends[::2], ends[1::2])]


def places(found: t.Iterable[Range]) -> list[int]:
    return [place for start, end in found for place in range(start, end)]


@given(ranges(), st.integers(SIZE, SIZE + 20))
def test_the_complement_is_what_is_missing(found: list[Range], size: int) -> None:
    rest = list(disk.complement(found, size))
    assert places(rest) == [place for place in range(size) if place not in set(places(found))]
    assert all(start < end for start, end in rest)


@given(ranges(), ranges())
def test_the_overlap_is_what_both_have(left: list[Range], right: list[Range]) -> None:
    both = list(disk.overlap(left, right))
    assert places(both) == sorted(set(places(left)) & set(places(right)))
    assert all(start < end for start, end in both)


#: Pieces of a file: where, how long, and whether they are zeros that are written, or a hole that is punched again.
PIECES = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 3 * MIB), st.integers(0, 48).map(lambda n: n * 64 * KIB)),
        st.sampled_from([1, 511, 4096, 64 * KIB, 64 * KIB + 1, 200 * KIB, MIB]),
        st.sampled_from(["data", "data", "zeros", "hole"]),
    ),
    max_size=7,
)


def sparse(path: pathlib.Path, size: int, pieces: list[t.Any]) -> None:
    with path.open("wb") as file:
        file.truncate(size)
        for place, most, kind in pieces:
            length = min(most, size - place)
            if length > 0 and kind == "hole":
                disk.punch(file.fileno(), place, place + length)
            elif length > 0:
                os.pwrite(file.fileno(), (b"\0" if kind == "zeros" else b"\xa5") * length, place)


def window(path: pathlib.Path, offset: int, size: int) -> bytes:
    target = path.with_name("by dd")
    flags = "iflag=skip_bytes,count_bytes"
    disks.run("dd", f"if={path}", f"of={target}", "bs=64K", f"skip={offset}", f"count={size}", flags, "status=none")
    return target.read_bytes()


@settings(max_examples=60)
@given(PIECES, st.integers(2 * MIB, 4 * MIB), st.integers(0, MIB), st.integers(0, 2 * MIB), st.data())
def test_a_window_is_copied_as_dd_does(
    tmp_path_factory: pytest.TempPathFactory,
    pieces: list[t.Any],
    size: int,
    offset: int,
    length: int,
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("window")
    source, target = folder / "source", folder / "target"
    sparse(source, size, pieces)
    length = min(length, size - offset)
    used = data.draw(st.none() | ranges(length, 4096) if length >= 4096 else st.none())
    written = disk.copy_window(str(source), offset, length, str(target), used)
    wanted = bytearray(window(source, offset, length))
    for start, end in disk.complement(used, length) if used is not None else ():
        wanted[start:end] = bytes(end - start)
    assert target.read_bytes() == wanted
    assert written >= sum(1 for byte in wanted if byte) > -1
    # Nothing is written that is zeros in whole grains of 64 KiB.
    grains = sum(1 for at in range(0, length, 64 * KIB) if any(wanted[at : at + 64 * KIB]))
    assert written <= grains * 64 * KIB
    assert target.stat().st_blocks * 512 <= grains * 64 * KIB + 64 * KIB


def test_a_window_may_become_a_larger_or_smaller_file(tmp_path: pathlib.Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 10000)
    disk.copy_window(str(source), 100, 5000, str(tmp_path / "larger"), truncate=8192)
    assert (tmp_path / "larger").read_bytes() == b"x" * 5000 + bytes(3192)
    disk.copy_sparse(str(source), str(tmp_path / "copy"), 12345)
    assert (tmp_path / "copy").read_bytes() == b"x" * 10000 + bytes(2345)
    disk.copy_sparse(str(source), str(tmp_path / "same"), 5)
    assert (tmp_path / "same").read_bytes() == b"x" * 10000


def test_nothing_is_copied_over_a_file_or_through_a_link(tmp_path: pathlib.Path) -> None:
    source, target, link = tmp_path / "source", tmp_path / "target", tmp_path / "link"
    source.write_bytes(b"x")
    target.write_bytes(b"y")
    link.symlink_to(source)
    with pytest.raises(FileExistsError):
        disk.copy_window(str(source), 0, 1, str(target))
    assert target.read_bytes() == b"y"
    with pytest.raises(OSError, match="symbolic links"):
        disk.copy_window(str(link), 0, 1, str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_source_that_gets_shorter_is_an_error(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 3 * MIB)
    pread = os.pread

    def shrinking(fd: int, length: int, offset: int) -> bytes:
        os.truncate(source, MIB)
        return pread(fd, length, offset)

    monkeypatch.setattr(os, "pread", shrinking)
    with pytest.raises(KvmError, match="got shorter"):
        disk.copy_window(str(source), 0, 3 * MIB, str(tmp_path / "target"))


@settings(max_examples=40)
@given(PIECES, PIECES, st.integers(0, MIB))
def test_what_is_put_back_is_there_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[t.Any], before: list[t.Any], offset: int
) -> None:
    folder = tmp_path_factory.mktemp("back")
    source, target = folder / "source", folder / "target"
    sparse(source, 2 * MIB + 512, pieces)
    sparse(target, 4 * MIB, before)
    wanted = bytearray(target.read_bytes())
    wanted[offset : offset + 2 * MIB + 512] = source.read_bytes()
    disk.copy_back(str(source), str(target), offset)
    assert target.read_bytes() == wanted


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 3000))
def test_bytes_are_copied_within_a_file(
    tmp_path_factory: pytest.TempPathFactory, source: int, distance: int, size: int
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "a"
    path.write_bytes(bytes(range(251)) * 60)
    size = min(size, distance)
    wanted = bytearray(path.read_bytes())
    wanted[source + distance : source + distance + size] = wanted[source : source + size]
    with path.open("r+b") as file:
        disk.copy_bytes(file.fileno(), source, source + distance, size)
    assert path.read_bytes() == wanted


def test_only_the_stated_files_are_opened_by_qemu(tmp_path: pathlib.Path) -> None:
    """The header of an image may name what it wants: what is not in the graph is not read."""
    secret, top = tmp_path / "secret", tmp_path / "top.qcow2"
    secret.write_bytes(b"s3cret" * 1000)
    os.truncate(secret, MIB)
    disks.run("qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", top)
    graph = disk.source_graph(str(top), "qcow2")
    assert graph["backing"] is None
    disk.convert_window(graph, 0, MIB, str(tmp_path / "alone"), 30)
    assert not any((tmp_path / "alone").read_bytes())
    graph = disk.source_graph(str(top), "qcow2", [(str(secret), "raw")])
    disk.convert_window(graph, 4096, 64 * KIB, str(tmp_path / "whole"), 30)
    assert (tmp_path / "whole").read_bytes() == secret.read_bytes()[4096 : 4096 + 64 * KIB]


@pytest.mark.parametrize("compress", [None, "zlib", "zstd"])
def test_a_qcow2_has_the_content_of_its_source(tmp_path: pathlib.Path, compress: str | None) -> None:
    raw, target, back = tmp_path / "raw", tmp_path / "a.qcow2", tmp_path / "back"
    sparse(raw, 3 * MIB, [(4096, MIB, "data"), (2 * MIB, 1, "data")])
    disk.to_qcow2(str(raw), str(target), 30, compress)
    disks.run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", target, back)
    assert back.read_bytes() == raw.read_bytes()
    assert (target.stat().st_size < MIB) == (compress is not None)
    if compress is not None:
        assert f"compression type: {compress}" in disks.run("qemu-img", "info", target)
