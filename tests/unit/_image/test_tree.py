# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images: paths and links of a guest are looked up as the kernel does in a chroot. The kernel is asked itself (openat2)."""

from __future__ import annotations

import ctypes
import errno
import os
import pathlib
import stat
import struct
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.tree import Found, Tree, pieces
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.volume import Node
from ansible_collections.hypervisor.kvm.tests.unit._image.disks import Link
from ansible_collections.hypervisor.kvm.tests.unit._image.volumes import Entry, FakeVolume
from hypothesis import example, given, settings
from hypothesis import strategies as st

_OPENAT2, _IN_ROOT = 437, 0x10
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
_LIBC = ctypes.CDLL(None, use_errno=True)


def kernel(root: int, path: str, follow: bool) -> tuple[str, str] | str | None:
    """Path and kind of what the kernel finds with ``root`` as its root; a word, or None for nothing."""
    how = struct.pack("QQQ", os.O_PATH | (0 if follow else os.O_NOFOLLOW), 0, _IN_ROOT)
    fd = _LIBC.syscall(_OPENAT2, root, path.encode(), how, len(how))
    if fd < 0:
        number = ctypes.get_errno()
        if number in (errno.ENOSYS, errno.EPERM):
            pytest.skip(f"no openat2 here: {os.strerror(number)}")
        return {errno.ELOOP: "loop", errno.ENOTDIR: "no folder", errno.ENOENT: None}[number]
    try:
        real = os.readlink(f"/proc/self/fd/{fd}")[len(os.readlink(f"/proc/self/fd/{root}")) :]
        return real or "/", _KINDS[stat.S_IFMT(os.fstat(fd).st_mode)]
    finally:
        os.close(fd)


def ours(tree: Tree, path: str, follow: bool) -> tuple[str, str] | str | None:
    try:
        found = tree.find(path, follow)
    except Damaged:
        return "loop"
    return None if found is None else (found.path, found.node.kind)


NAMES = st.sampled_from(["a", "b", "c", "é"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
TARGETS = st.tuples(
    st.sampled_from(["", "/", "//", "../", "../../", "/../../", "./", "/./"]),
    st.lists(st.one_of(NAMES, NAMES, st.sampled_from(["..", ".", ""])), min_size=1, max_size=5).map("/".join),
).map("".join)
ENTRIES = st.one_of(
    st.none(), st.just("x"), TARGETS.map(lambda target: Link(target or ".")), TARGETS.map(lambda x: Link(x or "/"))
)
TREES = st.dictionaries(PATHS, ENTRIES, max_size=12)


def build(folder: pathlib.Path, files: dict[str, t.Any]) -> dict[str, t.Any]:
    """The tree on the disk, as far as its names fit together; gives what was made."""
    made = {}
    for path, content in sorted(files.items()):
        place = folder / path
        above = [folder / part for part in pathlib.Path(path).parents if str(part) != "."]
        if any(part.is_symlink() or part.is_file() for part in above) or os.path.lexists(place):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            place.mkdir()
        elif isinstance(content, Link):
            os.symlink(content, place)
        else:
            place.write_text(content)
        made[path] = content
    return made


@settings(max_examples=150)
@given(TREES, st.lists(st.one_of(PATHS, TARGETS), min_size=1, max_size=8), st.booleans())
@example({"a": Link("b"), "b": Link("a")}, ["a", "a/x", "b"], True)
@example({"a": Link("/../../b"), "b/c": "x"}, ["a/c", "a/../b/c"], True)
@example({"a": Link("."), "b": "x"}, ["a/a/a/a/b"], False)
def test_a_path_is_looked_up_as_the_kernel_does(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, t.Any], paths: list[str], follow: bool
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    tree = Tree(FakeVolume(build(folder, files)))
    root = os.open(folder, os.O_PATH)
    try:
        for path in paths:
            told, found = kernel(root, path, follow), ours(tree, path, follow)
            if told == "no folder" or path.endswith(("/", "/.")):
                # What is no folder may stand before a slash here; it is still in the tree.
                told = told if found is None or found == "loop" else kernel(root, found[0], follow=False)
                found = told if found is None or found == "loop" else found
            assert found == told, path
    finally:
        os.close(root)


@pytest.mark.parametrize("links", [39, 40, 41])
def test_as_many_links_as_the_kernel_follows(tmp_path: pathlib.Path, links: int) -> None:
    files: dict[str, t.Any] = {f"l{number}": Link(f"l{number + 1}") for number in range(links)}
    files = build(tmp_path, {**files, f"l{links}": "x"})
    root = os.open(tmp_path, os.O_PATH)
    assert ours(Tree(FakeVolume(files)), "/l0", True) == kernel(root, "/l0", True)
    os.close(root)


BOMB = {f"l{number}": Link(f"l{number + 1}/../l{number + 1}") for number in range(30)}
LONG = "x/" * 5000


@pytest.mark.parametrize(
    "files",
    [
        {"a": Link("a")},
        {"a": Link("/b/c"), "b": Link("/a")},
        {**BOMB, "l30": None, "a": Link("l0")},
        {"a": Link(LONG)},
        {"a": Link("x" * 5000)},
        {"a": Link("./" * 2040 + "a")},
        {"a": Link("a/" * 2040)},
    ],
)
def test_links_without_end_are_damage(files: dict[str, t.Any]) -> None:
    with pytest.raises(Damaged, match="/a lead in a circle"):
        Tree(FakeVolume(files)).find("/a")
    link = Tree(FakeVolume(files)).find("/a", follow=False)
    assert link is not None
    assert link.node.kind == "symlink"


def test_a_path_that_is_too_long_is_cut_not_followed_for_ever() -> None:
    assert Tree(FakeVolume({"x": None})).find("/x" * 1000000) is None


def test_other_file_systems_are_seen_in_their_place() -> None:
    root = FakeVolume(
        {"boot/hidden": "x", "etc/fstab": "x", "vmlinuz": Link("boot/k"), "lib": Link("usr/lib"), "usr": None}
    )
    boot = FakeVolume({"k": "kernel", "up": Link("../etc/fstab"), "root": Link("/boot/k"), "efi": None})
    tree = Tree(root)
    tree.mount("/boot", boot)
    tree.mount("/boot/efi", FakeVolume({"EFI/x": "efi"}))
    tree.mount("/usr", FakeVolume({"lib/os-release": "ID=x"}))
    found = tree.find("/vmlinuz")
    assert found is not None
    assert (found.path, found.inner, found.volume) == ("/boot/k", "/k", boot)
    assert tree.find("/boot/hidden") is None
    assert tree.text("/boot/up") == "x"
    assert tree.text("/boot/root") == "kernel"
    assert tree.text("/boot/efi/EFI/x") == "efi"
    assert tree.text("/boot/efi/../../boot/../lib/os-release") == "ID=x"
    assert tree.names("/boot/efi/..") == ["efi", "k", "root", "up"]
    top = tree.find("/boot/efi/../../..")
    assert top is not None
    assert (top.path, top.inner, top.volume) == ("/", "/", root)


def test_names_are_those_of_the_folder_that_is_asked_for() -> None:
    tree = Tree(FakeVolume({"a/x": "", "b/y": ""}))
    listed = tree.names("/a")
    listed.clear()
    assert [tree.names(path) for path in ("/a", "/a", "/b", "/a", "/none")] == [["x"], ["x"], ["y"], ["x"], []]
    tree.mount("/a", FakeVolume({"z": ""}))
    assert tree.names("/a") == ["z"]


def test_what_is_no_file_is_not_read() -> None:
    tree = Tree(FakeVolume({"a": "text", "b": None, "c": Link("none"), "d": Entry(b"x", kind="other"), "e": b"\xff\0"}))
    assert [tree.read(path, 10) for path in ("/a", "/b", "/c", "/d", "/x", "/a/b")] == [b"text", *[None] * 5]
    assert tree.text("/e") == "\udcff\0"
    assert [tree.names(path) for path in ("/b", "/a", "/none")] == [[], [], []]
    assert tree.names("/") == ["a", "b", "c", "d", "e"]
    with pytest.raises(Damaged, match="more than the 3"):
        tree.read("/a", 3)


class Endless(FakeVolume):
    """Says that its files are larger than what it gives."""

    def read(self, node: Node, offset: int, length: int) -> bytes:
        return super().read(node, offset, length) if offset < 3 else b""


@given(st.binary(max_size=40), st.integers(1, 9))
def test_pieces_are_the_whole(data: bytes, size: int) -> None:
    found = Tree(FakeVolume({"a": data})).find("/a")
    assert found is not None
    assert b"".join(pieces(found, size)) == data


def test_a_file_that_ends_too_early_is_damage() -> None:
    found = Tree(Endless({"a": b"12345"})).find("/a")
    assert isinstance(found, Found)
    with pytest.raises(Damaged, match="/a ends before its size"):
        list(pieces(found, 2))
