# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mounts of images: what an image is taken for, with files of qemu-img and mke2fs."""

from __future__ import annotations

import json
import os
import pathlib
import random
import subprocess

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount import image
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.backends import fuse, nbd
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.image import Link, Target
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.record import Record
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.spec import MountSpec
from ansible_collections.hypervisor.kvm.tests.unit._image.inside.physical import (
    EXTENT,
    FIRST,
    group,
    physical,
    segment,
    volume,
)


def run(*words: str | os.PathLike[str]) -> None:
    subprocess.run([os.fspath(word) for word in words], check=True, capture_output=True, timeout=60)


@pytest.fixture(name="raw")
def _raw(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "a.img"
    run("mke2fs", "-q", "-F", "-t", "ext4", path, "8M")
    return path


@pytest.fixture(name="chain")
def _chain(raw: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """An overlay on an overlay on the raw image; the names are relative ones."""
    middle, top = tmp_path / "middle.qcow2", tmp_path / "top.qcow2"
    run("qemu-img", "create", "-f", "qcow2", "-b", raw.name, "-F", "raw", middle)
    run("qemu-img", "create", "-f", "qcow2", "-b", middle.name, "-F", "qcow2", top)
    return top


def spec(path: pathlib.Path, **more: str) -> MountSpec:
    return MountSpec("/mnt/a", str(path), **more)  # type: ignore[arg-type]


def test_a_whole_disk(raw: pathlib.Path) -> None:
    found = image.look(spec(raw), str(raw))
    assert (found.format, found.trust, found.chain) == ("raw", "untrusted", (Link(str(raw), "raw"),))
    assert found.target == Target(None, 0, 8 << 20, "ext4", found.target.uuid)
    assert (found.holders, found.in_use, found.written, found.overlays) == ((), False, False, ())


def test_a_chain_is_followed_for_trusted_images_only(chain: pathlib.Path, raw: pathlib.Path) -> None:
    folder = str(chain.parent)
    found = image.look(spec(chain, format="qcow2", trust="trusted"), str(chain))
    expected = [(str(chain), "qcow2"), (f"{folder}/middle.qcow2", "qcow2"), (str(raw), "raw")]
    assert [(link.path, link.format) for link in found.chain] == expected
    assert found.target.filesystem == "ext4"
    with pytest.raises(KvmError, match=r"middle\.qcow2.*could be any file of this host"):
        image.look(spec(chain, format="qcow2"), str(chain))


def test_every_file_and_format_is_told_to_qemu(chain: pathlib.Path) -> None:
    found = image.look(spec(chain, format="qcow2", trust="trusted"), str(chain))
    for read_only in (True, False):
        record = Record("x", "/mnt/a", "fuse", "qcow2", None, None, 512, 1024, "ext4", read_only, "trusted")
        nodes = fuse.graph(record, found.chain)
        files = [node["filename"] for node in nodes if node["driver"] == "file"]
        assert files == [link.path for link in reversed(found.chain)]
        assert all("backing" in node for node in nodes if node["driver"] == "qcow2")
        assert [node["read-only"] for node in nodes] == [True] * 4 + [read_only] * 3
        assert (nodes[-1]["offset"], nodes[-1]["size"], nodes[-1]["file"]) == (512, 1024, "disk0")
    told = json.loads(nbd.source(record, found.chain)[len("json:") :])
    assert told["file"]["backing"]["backing"] == {
        "driver": "raw",
        "file": {"driver": "file", "filename": found.chain[-1].path},
    }
    # qemu itself understands it.
    run("qemu-img", "info", nbd.source(record, found.chain))


def test_a_format_is_never_guessed(raw: pathlib.Path, chain: pathlib.Path) -> None:
    with pytest.raises(KvmError, match="is a qcow2 image; state format: qcow2"):
        image.look(spec(chain), str(chain))
    with pytest.raises(KvmError, match="declared as qcow2"):
        image.look(spec(raw, format="qcow2"), str(raw))
    # What a guest has written to the disk that we made as raw changes nothing.
    record = {"kvm_image": 1, "id": "x", "declared": {"format": "raw", "source.blank": True}, "complete": True}
    pathlib.Path(f"{raw}.kvm_image.json").write_text(json.dumps(record))
    with raw.open("r+b") as file:
        file.write(b"QFI\xfb\0\0\0\3")
    found = image.look(spec(raw), str(raw))
    assert (found.format, found.chain) == ("raw", (Link(str(raw), "raw"),))


@pytest.mark.parametrize(
    ("trusted", "complete", "expected"),
    [(True, True, "trusted"), (False, True, "untrusted"), (True, False, "untrusted")],
)
def test_trust_is_what_the_record_says(raw: pathlib.Path, trusted: bool, complete: bool, expected: str) -> None:
    record = {"kvm_image": 1, "id": "x", "declared": {"format": "raw"}, "complete": complete, "trusted": trusted}
    pathlib.Path(f"{raw}.kvm_image.json").write_text(json.dumps(record))
    assert image.look(spec(raw), str(raw)).trust == expected
    assert image.look(spec(raw, trust="trusted"), str(raw)).trust == "trusted"


def test_what_is_no_image(tmp_path: pathlib.Path, raw: pathlib.Path) -> None:
    assert image.regular(str(tmp_path / "missing")) is None
    with pytest.raises(KvmError, match="no regular file"):
        image.regular(str(tmp_path))
    (tmp_path / "link").symlink_to(raw)
    assert image.regular(str(tmp_path / "link")) == str(raw)
    empty = tmp_path / "empty"
    empty.write_bytes(bytes(1 << 20))
    with pytest.raises(KvmError, match="empty"):
        image.look(spec(empty), str(empty))


def test_files_outside_are_refused(tmp_path: pathlib.Path) -> None:
    loop, data, gone = tmp_path / "loop.qcow2", tmp_path / "data.qcow2", tmp_path / "gone.qcow2"
    run("qemu-img", "create", "-f", "qcow2", loop, "1M")
    run("qemu-img", "rebase", "-u", "-F", "qcow2", "-b", loop, loop)
    run("qemu-img", "create", "-f", "qcow2", "-o", f"data_file={tmp_path}/data", data, "1M")
    run("qemu-img", "create", "-f", "qcow2", gone, "1M")
    run("qemu-img", "rebase", "-u", "-F", "raw", "-b", tmp_path / "missing", gone)
    net = tmp_path / "net.qcow2"
    run("qemu-img", "create", "-f", "qcow2", net, "1M")
    run("qemu-img", "rebase", "-u", "-F", "raw", "-b", "nbd:localhost:1", net)
    wrong = ((loop, "no end"), (data, "in another file"), (gone, "missing"), (net, "is no file of this host"))
    for path, says in wrong:
        with pytest.raises(KvmError, match=says):
            image.look(spec(path, format="qcow2", trust="trusted"), str(path))


def _answer(path: pathlib.Path, more: dict[str, str]) -> bool:
    """Whether there is a sensible answer: a range, or an error that names the image."""
    try:
        target = image.look(spec(path, **more), str(path)).target
    except KvmError as exc:
        return str(path.parent) in exc.message
    return 0 <= target.offset <= target.offset + target.size


def test_no_image_is_too_strange(raw: pathlib.Path, chain: pathlib.Path) -> None:
    """Bytes of real images are changed; what comes is an answer or a KvmError that names the image."""
    chance = random.Random(1)
    for path, more, length in ((raw, {}, 4096), (chain, {"format": "qcow2", "trust": "trusted"}, 512)):
        sound = path.read_bytes()
        for _round in range(40):
            wrong = bytearray(sound)
            for _change in range(chance.choice((1, 4, 64))):
                wrong[chance.randrange(length)] = chance.randrange(256)
            path.write_bytes(wrong)
            assert _answer(path, more)
        path.write_bytes(sound)


@pytest.mark.parametrize(
    ("offset", "size", "expected"),
    [(0, 100, True), (0, 101, False), (0, 0, False), (150, 0, True), (149, 0, False), (150, 10, True), (120, 5, False)],
)
def test_ranges_that_have_nothing_in_common(offset: int, size: int, expected: bool) -> None:
    assert image.apart(Target(1, 100, 50, "ext4"), offset, size) is expected


def test_a_logical_volume_in_one_piece_is_a_range(tmp_path: pathlib.Path) -> None:
    inner = tmp_path / "inner"
    run("mke2fs", "-q", "-F", "-t", "ext2", "-b", "1024", "-N", "16", inner, f"{40 * EXTENT // 1024}k")
    script = f"mkdir /etc\nwrite {__file__} /etc/os-release\n"
    subprocess.run(
        ["debugfs", "-w", "-f", "-", inner], input=script, check=True, capture_output=True, text=True, timeout=60
    )
    for segments, pieces in (([(0, 40, 4)], False), ([(0, 20, 4), (20, 20, 26)], True)):
        root = volume("root", *(segment(start, count, ("pvA", first)) for start, count, first in segments))
        disk = bytearray(physical(text=group(root, name="vg")).data)
        data = inner.read_bytes()
        for start, count, first in segments:
            piece = data[start * EXTENT : (start + count) * EXTENT]
            disk[FIRST + first * EXTENT : FIRST + first * EXTENT + len(piece)] = piece
        path = tmp_path / "lvm.img"
        path.write_bytes(disk)
        target = image.look(spec(path, partition="root"), str(path)).target
        assert (target.volume, target.pieces, target.filesystem) == ("vg/root", pieces, "ext2")
        assert (target.offset, target.size) == (FIRST + 4 * EXTENT, 40 * EXTENT) or pieces
