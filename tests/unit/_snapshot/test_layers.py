# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of disks, against what qemu-img makes of them."""

from __future__ import annotations

import os
import pathlib
import tempfile

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot import layers
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.chain import Layer
from ansible_collections.hypervisor.kvm.tests.unit._image.disks import run
from hypothesis import given, settings
from hypothesis import strategies as st

MIB = 1 << 20


def _qcow2(path: pathlib.Path, size: str = "64M", *options: str) -> Layer:
    run("qemu-img", "create", "-q", "-f", "qcow2", *options, path, size)
    return Layer(str(path), "qcow2")


def _on(path: pathlib.Path, base: Layer) -> Layer:
    return _qcow2(path, "64M", "-b", base.path, "-F", base.format)


def _write(layer: Layer, *pieces: tuple[int, int]) -> None:
    """Start and length in MiB."""
    commands = [word for start, length in pieces for word in ("-c", f"write -P 7 {start}M {length}M")]
    run("qemu-io", "-f", layer.format, *commands, layer.path)


def test_a_chain(tmp_path: pathlib.Path) -> None:
    base = Layer(str(tmp_path / "b.raw"), "raw")
    (tmp_path / "b.raw").write_bytes(bytes(MIB))
    one = _on(tmp_path / "b.one", base)
    two = _on(tmp_path / "b.two", one)
    _write(one, (1, 1))
    found = layers.chain(two)
    assert [(layer.path, layer.format) for layer in found] == [
        (two.path, "qcow2"), (one.path, "qcow2"), (base.path, "raw"),
    ]  # fmt: skip
    assert [(layer.size, layer.empty, layer.problem) for layer in found] == [
        (64 * MIB, True, None), (64 * MIB, False, None), (MIB, False, None),
    ]  # fmt: skip


def test_names_are_found_from_the_folder_of_the_image(tmp_path: pathlib.Path) -> None:
    _qcow2(tmp_path / "base")
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", tmp_path / "over")
    assert [layer.path for layer in layers.chain(Layer(str(tmp_path / "over"), "qcow2"))][1] == str(tmp_path / "base")


def test_what_states_no_format_ends_the_chain(tmp_path: pathlib.Path) -> None:
    """qemu would guess, and a guest can write into a raw disk what it is guessed by."""
    base = _qcow2(tmp_path / "base")
    _on(tmp_path / "over", base)
    # qemu-img of today makes none; the extension becomes one that nobody knows.
    data = (tmp_path / "over").read_bytes()
    (tmp_path / "over").write_bytes(data.replace(b"\xe2\x79\x2a\xca", b"\x00\x00\x00\x07", 1))
    found = layers.chain(Layer(str(tmp_path / "over"), "qcow2"))
    assert [(layer.typed, layer.backing) for layer in found] == [(False, base.path)]


def test_a_raw_disk_is_never_read_as_something_else(tmp_path: pathlib.Path) -> None:
    base = _qcow2(tmp_path / "secret")
    _on(tmp_path / "guest", base)
    assert len(layers.chain(Layer(str(tmp_path / "guest"), "raw"))) == 1


def test_a_chain_that_leads_back_to_itself(tmp_path: pathlib.Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        run(
            "qemu-img",
            "create",
            "-q",
            "-u",
            "-f",
            "qcow2",
            "-b",
            tmp_path / other,
            "-F",
            "qcow2",
            tmp_path / name,
            "1M",
        )
    assert len(layers.chain(Layer(str(tmp_path / "a"), "qcow2"))) == 2


@pytest.mark.parametrize("name", ["nbd:localhost:1", "json:{}"])
def test_what_is_no_file_ends_the_chain(tmp_path: pathlib.Path, name: str) -> None:
    run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", name, "-F", "raw", tmp_path / "a", "1M")
    assert [layer.backing for layer in layers.chain(Layer(str(tmp_path / "a"), "qcow2"))] == [None]


@pytest.mark.parametrize("content", [None, b"", b"QFI\xfb", b"QFI\xfb\0\0\0\x03" + bytes(200)])
def test_what_is_broken_is_told(tmp_path: pathlib.Path, content: bytes | None) -> None:
    path = tmp_path / "x"
    if content is not None:
        path.write_bytes(content)
    found = layers.read(Layer(str(path), "qcow2"))
    assert found.problem is not None
    assert str(path) in found.problem
    assert not layers.is_at(str(path), "s")


def test_a_folder_and_a_pipe_are_no_disk(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("", "pipe"):
        assert layers.read(Layer(str(tmp_path / name), "raw")).problem is not None
    assert layers.looks_like(str(tmp_path / "pipe")) is None


# --- snapshots inside -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", ["compat=1.1", "compat=0.10", "cluster_size=512", "extended_l2=on,cluster_size=64k"]
)
def test_whether_the_disk_is_at_a_snapshot(tmp_path: pathlib.Path, options: str) -> None:
    disk = _qcow2(tmp_path / "d", "64M", "-o", options)
    path = disk.path
    _write(disk, (0, 1))
    run("qemu-img", "snapshot", "-c", "one", path)
    assert layers.is_at(path, "one")
    _write(disk, (33, 1))
    assert not layers.is_at(path, "one")
    run("qemu-img", "snapshot", "-c", "two and more", path)
    assert (layers.is_at(path, "one"), layers.is_at(path, "two and more")) == (False, True)
    run("qemu-img", "snapshot", "-a", "one", path)
    assert (layers.is_at(path, "one"), layers.is_at(path, "two and more")) == (True, False)
    # The same bytes again are a write.
    _write(disk, (0, 1))
    assert not layers.is_at(path, "one")
    assert layers.read(disk).internal == ("one", "two and more")
    assert not layers.is_at(path, "three")


def test_a_discard_is_a_change_as_well(tmp_path: pathlib.Path) -> None:
    disk = _qcow2(tmp_path / "d")
    _write(disk, (0, 4))
    run("qemu-img", "snapshot", "-c", "s", disk.path)
    run("qemu-io", "-f", "qcow2", "-d", "unmap", "-c", "discard 1M 1M", disk.path)
    assert not layers.is_at(disk.path, "s")


# --- room -------------------------------------------------------------------------------------------------------------

pieces = st.lists(st.tuples(st.integers(0, 15), st.integers(1, 3)), max_size=4)


@settings(max_examples=15)
@given(pieces, pieces, st.sampled_from(["raw", "qcow2"]))
def test_how_much_a_file_grows(below: list[tuple[int, int]], above: list[tuple[int, int]], kind: str) -> None:

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        base = Layer(str(folder / "base"), kind)
        if kind == "qcow2":
            _qcow2(folder / "base")
        else:
            # qemu-img would write its first block.
            run("truncate", "-s", "64M", base.path)
        over = _on(folder / "over", base)
        for layer, what in ((base, below), (over, above)):
            if what:
                _write(layer, *what)
        new = {mib for start, length in above for mib in range(start, start + length)}
        old = {mib for start, length in below for mib in range(start, start + length)}
        assert layers.growth(base, [over]) == len(new - old) * MIB


def test_growth_that_cannot_be_told(tmp_path: pathlib.Path) -> None:
    assert layers.growth(Layer(str(tmp_path / "x"), "raw"), [_qcow2(tmp_path / "o")]) is None


def test_images_that_stand_on_something(tmp_path: pathlib.Path) -> None:
    base = _qcow2(tmp_path / "base")
    over = _on(tmp_path / "over", base)
    (tmp_path / "text").write_text("QFI", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    assert layers.images_in([str(tmp_path), str(tmp_path / "none")]) == {over.path: base.path}
    assert [layers.looks_like(str(tmp_path / name)) for name in ("base", "text", "folder", "none")] == [
        "qcow2", "raw", None, None,
    ]  # fmt: skip


def test_free_room(tmp_path: pathlib.Path) -> None:
    found = layers.free(str(tmp_path))
    assert found is not None
    assert found > 0
    assert layers.free(str(tmp_path / "none")) is None
