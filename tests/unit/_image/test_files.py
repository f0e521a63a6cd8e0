# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images: what stands in a guest, and the changes that bring its files to what is wanted."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Edit, Planner
from ansible_collections.hypervisor.kvm.tests.unit._image import disks
from ansible_collections.hypervisor.kvm.tests.unit._image.disks import Link
from ansible_collections.hypervisor.kvm.tests.unit._image.volumes import Entry, shot
from hypothesis import assume, given, settings
from hypothesis import strategies as st

FILES: dict[str, t.Any] = {
    "etc/file": Entry(b"old", 0o640, 7, 42, xattrs={"security.selinux": b"label\0", "user.a": b"1"}),
    "etc/odd": b"\xff\xfe",
    "etc/link": Link("file"),
    "etc/far": Link("/usr/lib/far"),
    "usr/lib/far": Entry("far", 0o600, 1, 2),
    "etc/dangling": Link("/none/there"),
    "etc/tofolder": Link("../usr"),
    "etc/pipe": Entry("", kind="other"),
    "etc/closed": Entry(None, 0o700, 5, 6),
    "lib": Link("usr/lib"),
    "gone": Link("/not/there"),
    "notafolder": Link("/etc/file"),
}


def plan(*paths: str) -> Planner:
    return Planner("image a", shot(FILES, paths))


def test_what_stands_at_a_path() -> None:
    found = shot(
        FILES, ["/etc/file", "/etc/far", "/lib/far", "/etc/dangling", "/a/b/c", "/gone/x", "/notafolder/x", "/", "/usr"]
    )
    file = found.at("/etc/file")
    assert (file.place, file.kind, file.real, file.real_kind) == ("/etc/file", "file", "/etc/file", "file")
    assert (file.mode, file.owner, file.group, file.content, file.target) == (0o640, 7, 42, b"old", None)
    assert file.xattrs == (("security.selinux", b"label\0"), ("user.a", b"1"))
    far = found.at("/etc/far")
    assert (far.place, far.kind, far.real, far.real_kind) == ("/etc/far", "symlink", "/usr/lib/far", "file")
    assert (far.mode, far.owner, far.content, far.target) == (0o600, 1, b"far", "/usr/lib/far")
    assert found.at("/lib/far").place == "/usr/lib/far"
    dangling = found.at("/etc/dangling")
    assert (dangling.kind, dangling.real, dangling.content) == ("symlink", None, None)
    assert found.at("/a/b/c").missing == ("/a", "/a/b")
    assert (found.at("/a/b/c").kind, found.at("/a/b/c").place) == (None, "/a/b/c")
    assert found.at("/gone/x").blocked == "/gone"
    assert found.at("/notafolder/x").blocked == "/etc/file"
    assert (found.at("/").kind, found.names("/")) == ("directory", ("etc", "gone", "lib", "notafolder", "usr"))
    assert found.is_folder("/usr")
    assert not found.is_folder("/etc/file")
    assert found.names("/etc/file") == ()
    assert found.text("/usr") is None


def test_bytes_that_are_no_text_stay_what_they_are() -> None:
    found = plan("/etc/odd")
    text = found.snapshot.text("/etc/odd")
    assert text == "\udcff\udcfe"
    found.rewrite("/etc/odd", text)
    found.write("/etc/odd", text, 0o644)
    assert found.edits == []
    found.rewrite("/etc/odd", text + "x")
    assert found.edits[0].content == b"\xff\xfex"


def test_what_is_there_already_is_no_change() -> None:
    found = plan("/etc/file", "/etc/far", "/etc/closed", "/etc/tofolder", "/etc/new", "/etc/dangling", "/lib/far")
    found.write("/etc/file", "old", 0o640, 7, 42)
    found.write("/lib/far", "far", 0o600, 1, 2)
    found.rewrite("/etc/far", "far")
    found.mkdir("/etc/closed", 0o700)
    found.mkdir("/etc/tofolder", 0o755)
    found.symlink("/etc/dangling", "/other")
    found.symlink("/etc/file", "/other")
    found.remove("/etc/new")
    found.remove("/etc/closed")
    assert found.edits == []


@pytest.mark.parametrize(
    ("content", "mode", "owner", "group"),
    [("new", 0o640, 7, 42), ("old", 0o600, 7, 42), ("old", 0o640, 0, 42), ("old", 0o640, 7, 0)],
)
def test_whatever_differs_is_written(content: str, mode: int, owner: int, group: int) -> None:
    found = plan("/etc/file")
    found.write("/etc/file", content, mode, owner, group)
    attributes = (("security.selinux", b"label\0"), ("user.a", b"1"))
    assert found.edits == [
        Edit(
            "write", "/etc/file", content.encode(), mode, owner, group, xattrs=attributes, before=b"old", replaces=True
        )
    ]


def test_a_link_in_the_place_of_a_declared_file_is_replaced_not_followed() -> None:
    for path in ("/etc/far", "/etc/dangling", "/etc/tofolder"):
        found = plan(path)
        found.write(path, "far", 0o600, 1, 2)
        assert found.edits == [Edit("write", path, b"far", 0o600, 1, 2, replaces=True)]


def test_a_link_in_the_place_of_an_edited_file_is_followed() -> None:
    found = plan("/etc/far", "/etc/link")
    found.rewrite("/etc/far", "more")
    found.rewrite("/etc/link", "more", secret=True)
    first, second = found.edits
    assert first == Edit("write", "/usr/lib/far", b"more", 0o600, 1, 2, before=b"far", replaces=True)
    assert (second.path, second.mode, second.owner, second.group, second.secret) == ("/etc/file", 0o640, 7, 42, True)
    assert len(second.xattrs) == 2


def test_a_file_that_is_edited_and_is_not_there_is_made() -> None:
    found = plan("/etc/new", "/a/b/new")
    found.rewrite("/etc/new", "x")
    found.rewrite("/a/b/new", "y")
    assert found.edits == [
        Edit("write", "/etc/new", b"x"),
        Edit("mkdir", "/a", mode=0o755),
        Edit("mkdir", "/a/b", mode=0o755),
        Edit("write", "/a/b/new", b"y"),
    ]


def test_folders_are_made_once_and_below_the_real_ones() -> None:
    found = plan("/lib/x/y/1", "/usr/lib/x/y/2", "/lib/x", "/etc/tofolder/lib/x/y/z/3")
    found.write("/lib/x/y/1", "", 0o600)
    found.write("/usr/lib/x/y/2", "", 0o600)
    found.mkdir("/lib/x", 0o700)
    found.write("/etc/tofolder/lib/x/y/z/3", "", 0o600)
    assert [(edit.action, edit.path) for edit in found.edits] == [
        ("mkdir", "/usr/lib/x"),
        ("mkdir", "/usr/lib/x/y"),
        ("write", "/usr/lib/x/y/1"),
        ("write", "/usr/lib/x/y/2"),
        ("mkdir", "/usr/lib/x/y/z"),
        ("write", "/usr/lib/x/y/z/3"),
    ]


def test_folders_and_links() -> None:
    found = plan("/etc/closed", "/etc/tofolder", "/new", "/etc/link2", "/etc/far", "/etc/dangling", "/etc/file")
    found.mkdir("/etc/closed", 0o755)
    found.mkdir("/etc/tofolder", 0o711)
    found.mkdir("/etc/tofolder", 0o755, owner=0)
    found.mkdir("/etc/closed", 0o700, owner=0)
    found.mkdir("/new", 0o700)
    found.symlink("/etc/link2", "../x")
    found.remove("/etc/far")
    found.remove("/etc/dangling")
    found.remove("/etc/file")
    assert found.edits == [
        Edit("chmod", "/etc/closed", mode=0o755, owner=5, group=6),
        Edit("chmod", "/usr", mode=0o711),
        Edit("chmod", "/etc/closed", mode=0o700, owner=0, group=0),
        Edit("mkdir", "/new", mode=0o700),
        Edit("symlink", "/etc/link2", target="../x", mode=0o777),
        Edit("remove", "/etc/far", before=b"far", replaces=True),
        Edit("remove", "/etc/dangling", replaces=True),
        Edit("remove", "/etc/file", before=b"old", replaces=True),
    ]


@pytest.mark.parametrize(
    ("call", "path", "message"),
    [
        ("write", "/etc/closed", "/etc/closed is a directory there"),
        ("write", "/etc/pipe", "/etc/pipe is a device or socket there"),
        ("write", "/gone/x", "/gone/x cannot be made, /gone is no folder"),
        ("write", "/notafolder/x/y", "/etc/file is no folder"),
        ("write", "/etc/pipe/x", "/etc/pipe is no folder"),
        ("write", "/etc/file/x", "/etc/file is no folder"),
        ("rewrite", "/etc/dangling", "/etc/dangling is no regular file"),
        ("rewrite", "/etc/closed", "/etc/closed is no regular file"),
        ("rewrite", "/etc/pipe", "/etc/pipe is no regular file"),
        ("rewrite", "/gone/x", "/gone is no folder"),
        ("mkdir", "/etc/file", "/etc/file is a file there, not a folder"),
        ("mkdir", "/etc/dangling", "/etc/dangling is a link to nothing there"),
        ("mkdir", "/gone/x", "/gone is no folder"),
        ("symlink", "/gone/x", "/gone is no folder"),
    ],
)
def test_what_is_in_the_way_is_named(call: str, path: str, message: str) -> None:
    found = plan(path)
    last: tuple[t.Any, ...] = {"write": ("x", 0o600), "rewrite": ("x",), "mkdir": (0o700,), "symlink": ("x",)}[call]
    with pytest.raises(KvmError) as caught:
        getattr(found, call)(path, *last)
    assert message in caught.value.message
    assert caught.value.message.startswith("image a: ")
    assert found.edits == []


def carry_out(root: pathlib.Path, edits: t.Sequence[Edit]) -> None:
    """The changes on a folder of this host, which none of its links leaves."""
    for edit in edits:
        path = root / edit.path.lstrip("/")
        if edit.action in ("remove",) or edit.replaces:
            path.unlink()
        if edit.action == "write":
            assert not os.path.lexists(path)
            path.write_bytes(edit.content or b"")
            path.chmod(edit.mode)
        elif edit.action == "mkdir":
            path.mkdir()
            path.chmod(edit.mode)
        elif edit.action == "symlink":
            path.symlink_to(edit.target or "")
        elif edit.action == "chmod":
            path.chmod(edit.mode)


NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(
    PATHS,
    st.one_of(st.none(), st.sampled_from(["x", "y"]), PATHS.map(Link), PATHS.map(lambda p: Link(f"../{p}"))),
    max_size=6,
)
CALLS = st.lists(
    st.tuples(st.sampled_from(["write", "rewrite", "mkdir"]), PATHS, st.sampled_from(["x", "y"])), max_size=1
)


@settings(max_examples=50)
@given(TREES, CALLS)
def test_after_the_changes_there_are_none(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, t.Any], calls: list[tuple[str, str, str]]
) -> None:
    """What was planned on a snapshot does what it says on a real tree, after which nothing is left to do."""
    root = tmp_path_factory.mktemp("files")
    files = {name: files[name] for name in sorted(files) if not any(name.startswith(f"{other}/") for other in files)}
    disks.plant(root, files)
    for path in [root, *root.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)

    def planned() -> list[Edit]:
        found = Planner("image a", shot(_read(root), [f"/{path}" for _call, path, _text in calls]))
        for call, path, text in calls:
            last: tuple[t.Any, ...] = {"write": (text, 0o600), "rewrite": (text,), "mkdir": (0o700,)}[call]
            getattr(found, call)(f"/{path}", *last)
        return found.edits

    try:
        edits = planned()
    except KvmError:
        return
    # A link may stand in the path to itself; without it the path is another one.
    assume(not any(f"/{path}".startswith(f"{edit.path}/") for edit in edits if edit.replaces for _c, path, _t in calls))
    carry_out(root, edits)
    assert planned() == []


def _read(root: pathlib.Path) -> dict[str, t.Any]:
    """A real tree as a dictionary."""
    found: dict[str, t.Any] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = Link(os.readlink(path))
        else:
            mode = path.stat().st_mode & 0o7777
            found[name] = Entry(None, mode) if path.is_dir() else Entry(path.read_bytes(), mode)
    return found
